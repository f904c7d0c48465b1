//! The two stages: classifiers from all rows, then regressors from those that converted.

use burn::tensor::{Device, Tensor};

use super::config::{ClassifierLoss, TrainConfig};
use super::data::Part;
use super::evaluation::log_loss;
use super::loss;
use super::member::{Architecture, MemberConfig};
use super::observer::{Observer, Stage, StageReport};
use super::stage::{Diverged, Rows, StagePlan};
use super::{FEWEST_CONVERTED, TrainError};
use crate::features::engineer::INPUT_COUNT;
use crate::model::networks::piecewise::Bins;
use crate::model::networks::{Member, Network, floats, time_units};
use crate::model::predictor::sigmoid;

/// The networks that one split of the rows gave.
#[derive(Debug, Clone, Default)]
pub(super) struct Fitted {
    pub(super) classifiers: Vec<(Member, Network)>,
    pub(super) regressors: Vec<(Member, Network)>,
}

/// What the networks of a split are trained with.
pub(super) struct Fit<'a> {
    pub(super) training: &'a Part,
    pub(super) validation: &'a Part,
    pub(super) config: &'a TrainConfig,
    /// The unit of times, in seconds.
    pub(super) unit_seconds: f64,
    /// Added to the seed, so that no two splits draw the same numbers.
    pub(super) fold: usize,
    pub(super) device: &'a Device,
}

/// What is told of a run besides its networks.
pub(super) struct Record<'a> {
    pub(super) observer: &'a mut dyn Observer,
    pub(super) stages: Vec<StageReport>,
    pub(super) warnings: Vec<String>,
}

impl Record<'_> {
    pub(super) fn warn(&mut self, warning: impl Into<String>) {
        let warning = warning.into();
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }
}

impl Fit<'_> {
    /// Trains all networks of both stages; no classifiers if all were interrupted, and no
    /// regressors if too few rows converted.
    pub(super) fn run(&self, record: &mut Record<'_>) -> Result<Fitted, TrainError> {
        let mut fitted = Fitted { classifiers: self.classifiers(record)?, ..Fitted::default() };
        if fitted.classifiers.is_empty() {
            record.warn(
                "the classifiers were interrupted before their first epoch ended: the baseline \
                 answers",
            );
            return Ok(fitted);
        }
        let converted = self.training.converted_times().len();
        if converted < FEWEST_CONVERTED {
            record.warn(format!(
                "only {converted} training rows converted, fewer than {FEWEST_CONVERTED}: no \
                 regressor was trained, and the time is the best constant"
            ));
            return Ok(fitted);
        }
        fitted.regressors = self.regressors(record)?;
        if fitted.regressors.is_empty() {
            record.warn(
                "the regressors were interrupted before their first epoch ended: the time is the \
                 best constant",
            );
        }
        Ok(fitted)
    }

    /// Trains the classifiers; none if all were interrupted.
    pub(super) fn classifiers(
        &self,
        record: &mut Record<'_>,
    ) -> Result<Vec<(Member, Network)>, TrainError> {
        let unit_seconds = self.config.reward_loss.time_unit_seconds;
        let training = self.training.rows(unit_seconds, &self.device.clone().autodiff());
        let validation = self.validation.rows(unit_seconds, self.device);
        self.stage(Stage::Classifier, &training, &validation, record)
    }

    /// Trains the regressors on the rows that converted; none if all were interrupted.
    pub(super) fn regressors(
        &self,
        record: &mut Record<'_>,
    ) -> Result<Vec<(Member, Network)>, TrainError> {
        let (training, validation) = (self.training.converted(), self.validation.converted());
        let training = training.rows(self.unit_seconds, &self.device.clone().autodiff());
        let validation = validation.rows(self.unit_seconds, self.device);
        self.stage(Stage::Regressor, &training, &validation, record)
    }

    fn stage(
        &self,
        stage: Stage,
        training: &Rows,
        validation: &Rows,
        record: &mut Record<'_>,
    ) -> Result<Vec<(Member, Network)>, TrainError> {
        let mut trained = Vec::new();
        for (name, config) in names(self.config.members(stage)) {
            let bins = self.bins(stage, config);
            let network = config.network(self.outputs(stage), bins.len());
            let plan = StagePlan {
                stage,
                name: &name,
                config,
                training,
                loss: &|network, rows| match stage {
                    Stage::Classifier => self.classifier_loss(config, network, rows),
                    Stage::Regressor => self.regressor_loss(network, rows),
                },
                metric: &|network| match stage {
                    Stage::Classifier => mean_log_loss(network, validation),
                    Stage::Regressor => mean_error(network, validation) * self.unit_seconds,
                },
                // Another order of rows for each network.
                seed: seed_of(self.config.seed, self.fold, stage, trained.len()),
            };
            let initial = network.init(&bins, &self.device.clone().autodiff());
            let (best, report) = plan
                .run(initial, record.observer)
                .map_err(|Diverged| TrainError::Diverged(stage))?;
            record.stages.push(report);
            if let Some(best) = best {
                let (best, network) = best.pruned(network);
                trained.push((Member { name, weight: 1.0, network }, best));
            }
        }
        let share = 1.0 / trained.len().max(1) as f32;
        trained.iter_mut().for_each(|(member, _)| member.weight = share);
        Ok(trained)
    }

    /// The borders of the encoding, from the rows that the stage trains on.
    fn bins(&self, stage: Stage, config: &MemberConfig) -> Bins {
        let mut bins = Bins::default();
        if matches!(config.architecture, Architecture::Mlp | Architecture::Residual) {
            return bins;
        }
        let converted;
        let part = match stage {
            Stage::Classifier => self.training,
            Stage::Regressor => {
                converted = self.training.converted();
                &converted
            }
        };
        if config.bins > 0 {
            bins.add_quantiles(&part.inputs, INPUT_COUNT, config.bins);
        }
        if config.splits > 0 {
            bins.add_splits(&part.inputs, INPUT_COUNT, &part.classes(), config.splits);
        }
        bins
    }

    /// The reward loss has a term of the time, so its networks say that too.
    fn outputs(&self, stage: Stage) -> usize {
        match (stage, self.config.loss) {
            (Stage::Classifier, ClassifierLoss::Reward) => 2,
            (Stage::Classifier, ClassifierLoss::Bce) | (Stage::Regressor, _) => 1,
        }
    }

    fn classifier_loss(&self, config: &MemberConfig, network: &Network, rows: Rows) -> Tensor<1> {
        let outputs = network.forward(rows.inputs);
        let [packed, _, _] = outputs.dims();
        let logits = first_outputs(outputs.clone());
        let converted = repeated(rows.converted, packed);
        let smoothing = config.label_smoothing;
        let labels = converted.clone() * (1.0 - smoothing) + smoothing / 2.0;
        let loss = match self.config.loss {
            ClassifierLoss::Bce => loss::binary_cross_entropy(logits, labels),
            ClassifierLoss::Reward => loss::reward_optimized(
                &self.config.reward_loss,
                logits,
                time_units(outputs.narrow(2, 1, 1).flatten(0, 2)),
                converted,
                repeated(rows.times, packed),
            ),
        };
        // As if each packed network were alone: their gradients do not depend on their number.
        loss * packed as f64
    }

    fn regressor_loss(&self, network: &Network, rows: Rows) -> Tensor<1> {
        let outputs = network.forward(rows.inputs);
        let [packed, _, _] = outputs.dims();
        let times = time_units(first_outputs(outputs));
        let loss = loss::time_loss(
            self.config.time_loss,
            times,
            repeated(rows.times, packed),
            self.unit_seconds,
        );
        loss * packed as f64
    }
}

/// The first output of each packed network, one network after the other.
///
/// # Shapes
///
/// - `outputs`: `[packed, batch, outputs]`
/// - output: `[packed * batch]`
fn first_outputs(outputs: Tensor<3>) -> Tensor<1> {
    outputs.narrow(2, 0, 1).flatten(0, 2)
}

/// The same values for each packed network: `[packed * batch]`.
fn repeated(values: Tensor<1>, packed: usize) -> Tensor<1> {
    if packed == 1 { values } else { values.repeat_dim(0, packed) }
}

/// The mean log loss of the packed networks' mean probability.
fn mean_log_loss(network: &Network, validation: &Rows) -> f64 {
    let outputs = network.forward(validation.inputs.clone());
    let truths = floats(validation.converted.clone());
    let probabilities = packed_means(outputs, |raw| sigmoid(f64::from(raw)));
    let losses = probabilities.zip(&truths).map(|(p, truth)| log_loss(p, *truth > 0.5));
    losses.sum::<f64>() / truths.len() as f64
}

/// The mean absolute error of the packed networks' mean time, in units.
fn mean_error(network: &Network, validation: &Rows) -> f64 {
    let outputs = network.forward(validation.inputs.clone());
    let truths = floats(validation.times.clone());
    let times = packed_means(time_units(outputs), f64::from);
    let errors = times.zip(&truths).map(|(time, truth)| (time - f64::from(*truth)).abs());
    errors.sum::<f64>() / truths.len() as f64
}

/// For each row the mean over the packed networks of what their first outputs mean.
fn packed_means(outputs: Tensor<3>, meaning: impl Fn(f32) -> f64) -> impl Iterator<Item = f64> {
    let [packed, batch, _] = outputs.dims();
    let raw = floats(first_outputs(outputs));
    (0..batch).map(move |row| {
        let said = raw.iter().skip(row).step_by(batch).map(|raw| meaning(*raw));
        said.sum::<f64>() / packed as f64
    })
}

/// Each network that a stage trains: the architecture's name, with a number if there are several.
fn names(members: &[MemberConfig]) -> Vec<(String, &MemberConfig)> {
    let all: Vec<&MemberConfig> =
        members.iter().flat_map(|member| std::iter::repeat_n(member, member.copies)).collect();
    let name = |member: &MemberConfig| member.network(1, 0).architecture();
    let numbered = all.iter().enumerate().map(|(index, member)| {
        let same = |others: &[&MemberConfig]| {
            others.iter().filter(|other| name(other) == name(member)).count()
        };
        match same(&all) {
            1 => name(member).to_owned(),
            _ => format!("{} {}", name(member), same(&all[..=index])),
        }
    });
    numbered.zip(all.iter().copied()).collect()
}

/// A seed of its own for each network of a run.
fn seed_of(seed: u64, fold: usize, stage: Stage, index: usize) -> u64 {
    let stage = match stage {
        Stage::Classifier => 0,
        Stage::Regressor => 1,
    };
    seed.wrapping_add(stage).wrapping_add(1000 * index as u64).wrapping_add(1_000_000 * fold as u64)
}
