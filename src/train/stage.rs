//! One stage: batches, steps, validation, and the best weights kept.

use burn::grad_clipping::GradientClippingConfig;
use burn::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::module::Module;
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::config::StageConfig;
use super::observer::{Ended, Epoch, Observer, Stage, StageReport};
use crate::features::engineer::INPUT_COUNT;
use crate::model::mlp::Mlp;
use crate::model::networks::floats;

/// Where the learning rate ends, as a share of where it starts.
const FINAL_RATE: f64 = 0.01;

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

/// What makes a stage: its data, what it minimises, and what decides which weights are kept.
pub(super) struct StagePlan<'a> {
    pub(super) stage: Stage,
    pub(super) config: &'a StageConfig,
    /// On the device with gradients.
    pub(super) training: Rows,
    /// The loss of a batch, `[1]`.
    pub(super) loss: &'a dyn Fn(&Mlp, Rows) -> Tensor<1>,
    /// [`Stage::metric`] of a network on the held-out rows.
    pub(super) metric: &'a dyn Fn(&Mlp) -> f64,
    pub(super) seed: u64,
}

/// The stage's loss or metric was never a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Diverged;

impl StagePlan<'_> {
    /// Trains a network and returns it as it was after its best epoch, without gradients; none if
    /// it was interrupted before an epoch ended.
    pub(super) fn run(
        &self,
        network: Mlp,
        observer: &mut dyn Observer,
    ) -> Result<(Option<Mlp>, StageReport), Diverged> {
        observer.stage_started(self.stage, self.config.epochs, self.training.len());
        let mut run = Run::new(self, network);
        let ended = loop {
            if run.epochs.len() == self.config.epochs {
                break Ended::Completed;
            }
            if run.epochs_without_progress() >= self.config.patience {
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
            rows: self.training.len(),
            epochs: run.epochs,
            best_epoch,
            ended,
        };
        observer.stage_ended(&report);
        Ok((network, report))
    }
}

/// A stage under way.
struct Run {
    /// `None` only while a step is computed.
    network: Option<Mlp>,
    optimizer: ModuleOptimizer,
    schedule: ModuleLrScheduler,
    random: ChaCha8Rng,
    order: Vec<i32>,
    epochs: Vec<Epoch>,
    /// Number, metric and weights of the best epoch so far.
    best: Option<(usize, f64, Mlp)>,
}

impl Run {
    fn new(plan: &StagePlan<'_>, network: Mlp) -> Run {
        let rows = plan.training.len();
        let steps = batches(rows, plan.config.batch_size) * plan.config.epochs;
        let rate = plan.config.learning_rate;
        let clipping = GradientClippingConfig::Norm(plan.config.gradient_clip);
        Run {
            network: Some(network),
            optimizer: AdamConfig::new()
                .with_epsilon(1e-8)
                .with_grad_clipping(Some(clipping))
                .init(),
            schedule: CosineAnnealingLrSchedulerConfig::new(rate, steps.max(1))
                .with_min_lr(rate * FINAL_RATE)
                .init()
                .expect("the configuration was checked. This is a bug."),
            random: ChaCha8Rng::seed_from_u64(plan.seed),
            order: (0..i32::try_from(rows).unwrap_or(i32::MAX)).collect(),
            epochs: Vec::new(),
            best: None,
        }
    }

    fn network(&self) -> &Mlp {
        self.network.as_ref().expect("there is a network between steps. This is a bug.")
    }

    /// One pass over the rows, or `None` if the observer asked to stop.
    fn epoch(&mut self, plan: &StagePlan<'_>, observer: &mut dyn Observer) -> Option<Epoch> {
        self.order.shuffle(&mut self.random);
        let mut losses = Tensor::<1>::zeros([1], &plan.training.inputs.device().inner());
        let order = std::mem::take(&mut self.order);
        let batches = batches(order.len(), plan.config.batch_size);
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
        let rate = self.schedule.step();
        self.network = Some(self.optimizer.step(rate, network, gradients));
        loss.inner()
    }

    fn epochs_without_progress(&self) -> usize {
        self.epochs.len() - self.best.as_ref().map_or(0, |(number, ..)| *number)
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
}
