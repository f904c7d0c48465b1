//! One network's training: batches, steps, validation, and the best weights kept.

use burn::grad_clipping::{GradientClipping, GradientClippingConfig};
use burn::module::{Module, ParamGroup};
use burn::optim::{AdamW, AdamWConfig, AdamWState, GradientsParams, ModuleOptimizer, Optimizer};
use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::member::MemberConfig;
use super::observer::{Ended, Epoch, Observer, Stage, StageReport};
use crate::features::engineer::INPUT_COUNT;
use crate::model::networks::{Network, floats};

/// Where the learning rate ends, as a share of where it starts.
const FINAL_RATE: f64 = 0.01;
/// The share of all steps over which the learning rate rises.
const RISE: f64 = 0.03;
/// Rows a step where the table is too small for the batches that were asked for: so many batches a
/// pass, but no smaller ones than this.
const SMALL_TABLE: (usize, usize) = (16, 32);

/// Scaled rows on a device, with what there is to learn of them.
#[derive(Debug, Clone)]
pub(super) struct Rows {
    /// `[rows, INPUT_COUNT]`
    pub(super) inputs: Tensor<2>,
    /// `[rows]`, 0 or 1
    pub(super) converted: Tensor<1>,
    /// `[rows]`, in the stage's unit of time
    pub(super) times: Tensor<1>,
}

impl Rows {
    /// Brings rows to a device.
    pub(super) fn new(
        inputs: Vec<f32>,
        converted: Vec<f32>,
        times: Vec<f32>,
        device: &Device,
    ) -> Rows {
        let shape = [converted.len(), INPUT_COUNT];
        Rows {
            inputs: Tensor::from_data(TensorData::new(inputs, shape), device),
            converted: Tensor::from_floats(converted.as_slice(), device),
            times: Tensor::from_floats(times.as_slice(), device),
        }
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.inputs.dims()[0]
    }

    /// The rows with these numbers, in this order.
    fn select(&self, rows: &[i32]) -> Rows {
        let rows = Tensor::<1, Int>::from_ints(rows, &self.inputs.device());
        Rows {
            inputs: self.inputs.clone().select(0, rows.clone()),
            converted: self.converted.clone().select(0, rows.clone()),
            times: self.times.clone().select(0, rows),
        }
    }
}

/// What makes a training: its data, what it minimises, and what decides which weights are kept.
pub(super) struct StagePlan<'a> {
    pub(super) stage: Stage,
    pub(super) name: &'a str,
    pub(super) config: &'a MemberConfig,
    /// On the device with gradients.
    pub(super) training: &'a Rows,
    /// The loss of a batch, `[1]`.
    pub(super) loss: &'a dyn Fn(&Network, Rows) -> Tensor<1>,
    /// [`Stage::metric`] of a network on the held-out rows.
    pub(super) metric: &'a dyn Fn(&Network) -> f64,
    pub(super) seed: u64,
    /// Whether the network as it is given is a result too, should no epoch make it better.
    pub(super) keeps_start: bool,
}

/// The loss or metric was never a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Diverged;

impl StagePlan<'_> {
    /// Trains a network and returns it as it was after its best epoch, without gradients; none if
    /// it was interrupted before an epoch ended.
    pub(super) fn run(
        &self,
        network: Network,
        observer: &mut dyn Observer,
    ) -> Result<(Option<Network>, StageReport), Diverged> {
        let mut run = Run::new(self, network);
        observer.stage_started(self.stage, self.name, run.pace.epochs, self.training.len());
        let ended = loop {
            if run.epochs.len() == run.pace.epochs {
                break Ended::Completed;
            }
            if run.epochs_without_progress() >= run.pace.patience {
                break Ended::NoProgress;
            }
            match run.epoch(self, observer) {
                Some(epoch) => observer.epoch_ended(self.stage, &epoch),
                None => break Ended::Interrupted,
            }
        };
        let best = run.best.take();
        if best.is_none() && ended != Ended::Interrupted {
            return Err(Diverged);
        }
        let (best_epoch, network) = best.map(|(number, _, network)| (number, network)).unzip();
        let report = StageReport {
            stage: self.stage,
            member: self.name.to_owned(),
            rows: self.training.len(),
            epochs: run.epochs,
            best_epoch,
            ended,
        };
        observer.stage_ended(&report);
        Ok((network, report))
    }
}

/// How a table is passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pace {
    /// Batches of a pass.
    batches: usize,
    /// Passes at most.
    epochs: usize,
    /// Passes without progress.
    patience: usize,
}

impl Pace {
    /// A small table gets smaller batches and more passes, so that there are steps enough to learn
    /// from; the patience grows with the passes.
    fn new(config: &MemberConfig, rows: usize) -> Pace {
        let (parts, smallest) = SMALL_TABLE;
        let batch_size = config.batch_size.min((rows / parts).max(smallest));
        let batches = batches(rows, batch_size);
        let epochs = config.epochs.max(config.least_steps.div_ceil(batches));
        let patience = (config.patience * epochs).div_ceil(config.epochs);
        Pace { batches, epochs, patience }
    }
}

/// A training under way.
struct Run {
    /// `None` only while a step is computed.
    network: Option<Network>,
    optimizer: ModuleOptimizer,
    pace: Pace,
    steps: usize,
    random: ChaCha8Rng,
    order: Vec<i32>,
    epochs: Vec<Epoch>,
    /// Number, metric and weights of the best epoch so far; 0 is the start.
    best: Option<(usize, f64, Network)>,
}

impl Run {
    fn new(plan: &StagePlan<'_>, network: Network) -> Run {
        let rows = plan.training.len();
        let start = plan.keeps_start.then(|| network.valid());
        Run {
            best: start.map(|start| (0, (plan.metric)(&start), start)),
            network: Some(network),
            optimizer: optimizer(plan.config),
            pace: Pace::new(plan.config, rows),
            steps: 0,
            random: ChaCha8Rng::seed_from_u64(plan.seed),
            order: (0..i32::try_from(rows).unwrap_or(i32::MAX)).collect(),
            epochs: Vec::new(),
        }
    }

    fn network(&self) -> &Network {
        self.network.as_ref().expect("there is a network between steps. This is a bug.")
    }

    /// One pass over the rows, or `None` if the observer asked to stop.
    fn epoch(&mut self, plan: &StagePlan<'_>, observer: &mut dyn Observer) -> Option<Epoch> {
        self.order.shuffle(&mut self.random);
        let mut losses = Tensor::<1>::zeros([1], &plan.training.inputs.device().inner());
        let order = std::mem::take(&mut self.order);
        let batches = self.pace.batches;
        let border = |batch: usize| batch * order.len() / batches;
        for batch in 0..batches {
            if observer.stop_requested() {
                return None;
            }
            losses = losses + self.step(plan, &order[border(batch)..border(batch + 1)]);
        }
        self.order = order;

        let network = self.network().valid();
        let epoch = Epoch {
            number: self.epochs.len() + 1,
            // Read once an epoch: every reading waits for the device.
            loss: f64::from(floats(losses)[0]) / batches as f64,
            validation: (plan.metric)(&network),
        };
        let best = self.best.as_ref().map_or(f64::INFINITY, |(_, metric, _)| *metric);
        if epoch.validation < best {
            self.best = Some((epoch.number, epoch.validation, network));
        }
        self.epochs.push(epoch);
        Some(epoch)
    }

    /// One step; returns the loss, without gradients.
    fn step(&mut self, plan: &StagePlan<'_>, batch: &[i32]) -> Tensor<1> {
        let network = self.network.take().expect("no step within a step. This is a bug.");
        let loss = (plan.loss)(&network, plan.training.select(batch));
        let gradients = GradientsParams::from_grads(loss.backward(), &network);
        let done = self.steps as f64 / (self.pace.batches * self.pace.epochs) as f64;
        self.steps += 1;
        let rate = plan.config.learning_rate * rate_share(done);
        self.network = Some(self.optimizer.step(rate, network, gradients));
        loss.inner()
    }

    fn epochs_without_progress(&self) -> usize {
        self.epochs.len() - self.best.as_ref().map_or(0, |(number, ..)| *number)
    }
}

/// The learning rate after a share of all steps, as a share of the largest: a short rise, then half
/// a cosine down.
fn rate_share(done: f64) -> f64 {
    let cosine = 0.5 * (1.0 + (std::f64::consts::PI * done).cos());
    let rise = ((done + 0.1 * RISE) / RISE).min(1.0);
    rise * (FINAL_RATE + (1.0 - FINAL_RATE) * cosine)
}

/// AdamW, whose decay is for the weights of layers only and whose gates are drawn to zero.
fn optimizer(config: &MemberConfig) -> ModuleOptimizer {
    let adam = AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(0.0);
    let clip = config.gradient_clip;
    let clipping = (clip > 0.0).then_some(GradientClippingConfig::Norm(clip));
    let decaying = adam.clone().with_weight_decay(config.weight_decay as f32);
    let gates = Gates { adam: adam.build(), penalty: config.gate_penalty };
    let clip_of = || clipping.as_ref().map(GradientClippingConfig::init);
    adam.clone()
        .with_grad_clipping(clipping.clone())
        .init()
        .with_group(ParamGroup::from_predicate("weight"), decaying.build(), clip_of())
        .with_group(ParamGroup::from_predicate("gates"), gates, None::<GradientClipping>)
}

/// Adam with an L1 penalty by proximal steps: what is closer to zero than the penalty's step
/// becomes exactly zero.
#[derive(Clone)]
struct Gates {
    adam: AdamW,
    penalty: f64,
}

impl Optimizer for Gates {
    type State<const D: usize> = AdamWState<D>;

    fn step<const D: usize>(
        &self,
        rate: f64,
        tensor: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let (moved, state) = self.adam.step(rate, tensor, gradient, state);
        let threshold = rate * self.penalty;
        let above = (moved.clone() - threshold).clamp_min(0.0);
        let below = (moved + threshold).clamp_max(0.0);
        (above + below, state)
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        <AdamW as Optimizer>::to_device(state, device)
    }
}

/// How many batches an epoch has: all of nearly the same size, for a short rest would give the
/// batch norm poor statistics.
fn batches(rows: usize, batch_size: usize) -> usize {
    ((rows + batch_size / 2) / batch_size).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_nearly_as_asked() {
        for (rows, batch_size, expected) in [
            (10, 256, 1),
            (375, 256, 1),
            (384, 256, 2),
            (600, 256, 2),
            (20_000, 256, 78),
            (5, 1, 5),
        ] {
            assert_eq!(batches(rows, batch_size), expected, "{rows} by {batch_size}");
        }
    }

    #[test]
    fn small_tables_get_more_passes() {
        let config = MemberConfig {
            epochs: 10,
            patience: 5,
            least_steps: 1000,
            batch_size: 256,
            ..MemberConfig::default()
        };
        // 78 batches a pass, 780 steps: 13 passes make a thousand.
        let large = Pace { batches: 78, epochs: 13, patience: 7 };
        assert_eq!(Pace::new(&config, 20_000), large);
        // Batches of 32 rows, 3 a pass.
        let small = Pace { batches: 3, epochs: 334, patience: 167 };
        assert_eq!(Pace::new(&config, 100), small);
    }

    #[test]
    fn the_rate_rises_and_falls() {
        assert!((rate_share(0.0) - 0.1).abs() < 1e-9);
        assert!(rate_share(0.03) > 0.99);
        assert!((rate_share(0.5) - 0.505).abs() < 1e-9);
        assert!((rate_share(1.0) - FINAL_RATE).abs() < 1e-9);
    }

    #[test]
    fn gates_close() {
        let device = Device::flex();
        let gates = Gates { adam: AdamWConfig::new().with_weight_decay(0.0).build(), penalty: 0.5 };
        // Without gradient Adam does not move; the penalty takes 0.1 * 0.5 of each.
        let tensor = Tensor::<1>::from_floats([1.0, 0.04, -0.02, -0.2], &device);
        let (moved, _) = gates.step(0.1, tensor, Tensor::zeros([4], &device), None);
        let expected = [0.95, 0.0, 0.0, -0.15];
        for (moved, expected) in floats(moved).into_iter().zip(expected) {
            assert!((moved - expected).abs() < 1e-6, "{moved}, expected {expected}");
        }
    }
}
