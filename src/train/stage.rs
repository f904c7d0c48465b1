//! One stage: batches, steps, validation, and the best weights kept.

use burn::grad_clipping::GradientClippingConfig;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
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
    /// Trains a network and returns it as it was after its best epoch, without gradients.
    pub(super) fn run(
        &self,
        network: Mlp,
        observer: &mut dyn Observer,
    ) -> Result<(Mlp, StageReport), Diverged> {
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
        // Interrupted before the first epoch ended: what there is, is what was asked for.
        let (best_epoch, _, network) = match run.best.take() {
            Some(best) => best,
            None if ended == Ended::Interrupted => (0, f64::NAN, run.network().valid()),
            None => return Err(Diverged),
        };
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
        let steps = rows.div_ceil(plan.config.batch_size) * plan.config.epochs;
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
        let mut steps = 0;
        let order = std::mem::take(&mut self.order);
        for batch in order.chunks(plan.config.batch_size) {
            if observer.stop_requested() {
                return None;
            }
            // A short rest gives poor statistics to the batch norm; other rows are left over in
            // the next epoch.
            if batch.len() * 2 < plan.config.batch_size && order.len() > batch.len() {
                continue;
            }
            losses = losses + self.step(plan, batch);
            steps += 1;
        }
        self.order = order;

        let network = self.network().valid();
        let epoch = Epoch {
            number: self.epochs.len() + 1,
            // Read once an epoch: every reading waits for the device.
            loss: f64::from(floats(losses)[0]) / f64::from(steps),
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
