//! The two stages: classifiers from all rows, then regressors from those that converted.

use burn::module::{Module as _, ParamGroup};
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

/// One network's training.
struct Lesson<'a> {
    stage: Stage,
    name: &'a str,
    config: &'a MemberConfig,
    /// Which of its stage.
    index: usize,
    /// Whether the start is a result too.
    keeps_start: bool,
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
        let trained = self.stage(Stage::Regressor, &training, &validation, record)?;
        Ok(best_alone_or_together(trained, &validation))
    }

    fn stage(
        &self,
        stage: Stage,
        training: &Rows,
        validation: &Rows,
        record: &mut Record<'_>,
    ) -> Result<Vec<(Member, Network)>, TrainError> {
        let mut trained = Vec::new();
        for (index, (name, config)) in names(self.config.members(stage)).into_iter().enumerate() {
            let bins = self.bins(stage, config);
            let network = config.network(self.outputs(stage), bins.len());
            let start = network.init(&bins, &self.device.clone().autodiff());
            let lesson = Lesson { stage, name: &name, config, index, keeps_start: false };
            if let Some(best) = self.lesson(lesson, start, training, validation, record)? {
                let (best, network) = best.pruned(network);
                trained.push((Member { name, weight: 1.0, network }, best));
            }
        }
        let share = 1.0 / trained.len().max(1) as f32;
        trained.iter_mut().for_each(|(member, _)| member.weight = share);
        Ok(trained)
    }

    /// Trains networks on from their own weights; each is left as it is where that does no good, or
    /// if it was interrupted. Their gates stay as they are, for what lies behind closed ones is gone.
    pub(super) fn further(
        &self,
        stage: Stage,
        networks: &[(Member, Network)],
        settings: &dyn Fn(Architecture) -> MemberConfig,
        record: &mut Record<'_>,
    ) -> Result<Vec<(Member, Network)>, TrainError> {
        let part = |part: &Part| match stage {
            Stage::Classifier => part.clone(),
            Stage::Regressor => part.converted(),
        };
        let unit_seconds = match stage {
            Stage::Classifier => self.config.reward_loss.time_unit_seconds,
            Stage::Regressor => self.unit_seconds,
        };
        let training = part(self.training).rows(unit_seconds, &self.device.clone().autodiff());
        let validation = part(self.validation).rows(unit_seconds, self.device);
        let mut trained = Vec::new();
        for (index, (member, network)) in networks.iter().enumerate() {
            let config = settings(Architecture::of(&member.network));
            let start = network.clone().train();
            let start = start.set_require_grad_group(ParamGroup::from_predicate("gates"), false);
            let lesson =
                Lesson { stage, name: &member.name, config: &config, index, keeps_start: true };
            let best = self.lesson(lesson, start, &training, &validation, record)?;
            trained.push((member.clone(), best.unwrap_or_else(|| network.clone())));
        }
        Ok(trained)
    }

    /// Trains one network from a start; none if it was interrupted before there was a result.
    fn lesson(
        &self,
        Lesson { stage, name, config, index, keeps_start }: Lesson<'_>,
        start: Network,
        training: &Rows,
        validation: &Rows,
        record: &mut Record<'_>,
    ) -> Result<Option<Network>, TrainError> {
        let plan = StagePlan {
            stage,
            name,
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
            seed: seed_of(self.config.seed, self.fold, stage, index),
            keeps_start,
        };
        let (best, report) =
            plan.run(start, record.observer).map_err(|Diverged| TrainError::Diverged(stage))?;
        record.stages.push(report);
        Ok(best)
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

/// The regressor with the smallest error on held-out rows, or all of them, if together they have a
/// smaller one. Exact times want networks that are free to follow them, and noisy ones such as are
/// held back: one of the two kinds is wrong on each table, and would only spoil the mean.
fn best_alone_or_together(
    mut trained: Vec<(Member, Network)>,
    validation: &Rows,
) -> Vec<(Member, Network)> {
    if trained.len() < 2 {
        return trained;
    }
    let truths = floats(validation.times.clone());
    let error = |times: &[f64]| {
        let errors =
            times.iter().zip(&truths).map(|(time, truth)| (time - f64::from(*truth)).abs());
        errors.sum::<f64>()
    };
    let said: Vec<Vec<f64>> = trained
        .iter()
        .map(|(_, network)| {
            let outputs = network.forward(validation.inputs.clone());
            packed_means(time_units(outputs), f64::from).collect()
        })
        .collect();
    let together = |row: usize| said.iter().map(|of| of[row]).sum::<f64>() / said.len() as f64;
    let together: Vec<f64> = (0..truths.len()).map(together).collect();
    let alone = said.iter().map(|times| error(times)).enumerate();
    let best = alone.min_by(|one, other| one.1.total_cmp(&other.1));
    if let Some((best, _)) = best.filter(|(_, of_best)| *of_best <= error(&together)) {
        let mut alone = trained.swap_remove(best);
        alone.0.weight = 1.0;
        return vec![alone];
    }
    trained
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
