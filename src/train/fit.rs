//! The two stages: classifiers from all rows, then regressors from those that converted.

use burn::module::Module as _;
use burn::tensor::{Device, Tensor, TensorData};

use super::config::{ClassifierLoss, TrainConfig};
use super::data::Part;
use super::evaluation::log_loss;
use super::learner::{self, ChunkSource, Training};
use super::member::{Architecture, MemberConfig};
use super::objective::{Objective, first_outputs};
use super::observer::{Observer, Stage, StageReport};
use super::resume::{Bookmark, Resumable};
use super::stage::{StageError, StagePlan};
use super::{FEWEST_CONVERTED, TrainError, weights};
use crate::features::engineer::INPUT_COUNT;
use crate::model::device::memory;
use crate::model::ensemble::softplus;
use crate::model::networks::piecewise::Bins;
use crate::model::networks::{Member, Network, floats};
use crate::model::predictor::sigmoid;

/// The networks that one split of the rows gave.
#[derive(Debug, Clone, Default)]
pub(super) struct Fitted {
    pub(super) classifiers: Vec<(Member, Network)>,
    pub(super) regressors: Vec<(Member, Network)>,
}

/// What the networks of a split are trained with.
pub(super) struct Fit<'a> {
    /// All rows to learn from, or, with `streams`, a sample of them, which the encoding is made from.
    pub(super) training: &'a Part,
    /// Where the rows to learn from are read, if memory does not hold them.
    pub(super) streams: Option<Streams<'a>>,
    pub(super) validation: &'a Part,
    pub(super) config: &'a TrainConfig,
    /// The unit of times, in seconds.
    pub(super) unit_seconds: f64,
    /// Added to the seed, so that no two splits draw the same numbers.
    pub(super) fold: usize,
    pub(super) device: &'a Device,
}

/// More rows than memory holds.
#[derive(Clone, Copy)]
pub(super) struct Streams<'a> {
    /// All rows to learn from.
    pub(super) all: &'a dyn ChunkSource,
    /// Those that converted after a known time.
    pub(super) converted: &'a dyn ChunkSource,
}

impl Streams<'_> {
    /// How many rows there are to learn from, and how many of them converted after a known time.
    pub(super) fn rows(&self) -> (usize, usize) {
        let rows = |source: &dyn ChunkSource| source.chunk_rows().iter().sum::<usize>();
        (rows(self.all), rows(self.converted))
    }
}

/// One network's training.
struct Lesson<'a> {
    stage: Stage,
    name: &'a str,
    config: &'a MemberConfig,
    /// Which of its stage.
    index: usize,
    /// Whether it goes on from a start that is a result too, with its gates as they are.
    goes_on: bool,
}

/// The held-out rows of a stage.
struct HeldOutPart {
    /// Scaled inputs, so many rows each that a device evaluates at once: `[rows, INPUT_COUNT]`
    inputs: Vec<Tensor<2>>,
    converted: Vec<f32>,
    /// In the stage's unit of time.
    times: Vec<f32>,
}

/// What is told of a run besides its networks.
pub(super) struct Record<'a> {
    pub(super) observer: &'a mut dyn Observer,
    pub(super) stages: Vec<StageReport>,
    pub(super) warnings: Vec<String>,
    /// Where the states of the trainings are kept, if they are.
    pub(super) states: Option<&'a mut Resumable>,
}

impl<'a> Record<'a> {
    /// Of a run whose states are not kept.
    pub(super) fn new(observer: &'a mut dyn Observer) -> Record<'a> {
        Record { observer, stages: Vec::new(), warnings: Vec::new(), states: None }
    }

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
        let converted = match self.streams {
            // A sample may hold none of few.
            Some(streams) => streams.rows().1,
            None => self.training.converted_times().len(),
        };
        if converted < FEWEST_CONVERTED {
            record.warn(format!(
                "only {converted} training rows converted, fewer than {FEWEST_CONVERTED}: no \
                 regressor was trained, and the time is the best constant"
            ));
            return Ok(fitted);
        }
        if self.validation.converted_times().is_empty() {
            record.warn(
                "no held-out row converted after a known time: no regressor was trained, and the \
                 time is the best constant",
            );
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
        let validation = HeldOutPart::new(self.validation, unit_seconds, self.device);
        let training = match self.streams {
            Some(streams) => Training::Stream(streams.all),
            None => Training::Whole(self.training),
        };
        self.stage(Stage::Classifier, training, &validation, record)
    }

    /// Trains the regressors on the rows that converted; none if all were interrupted.
    pub(super) fn regressors(
        &self,
        record: &mut Record<'_>,
    ) -> Result<Vec<(Member, Network)>, TrainError> {
        let converted = self.training.converted();
        let training = match self.streams {
            Some(streams) => Training::Stream(streams.converted),
            None => Training::Whole(&converted),
        };
        let validation =
            HeldOutPart::new(&self.validation.converted(), self.unit_seconds, self.device);
        let trained = self.stage(Stage::Regressor, training, &validation, record)?;
        Ok(best_alone_or_together(trained, &validation))
    }

    fn stage(
        &self,
        stage: Stage,
        training: Training<'_>,
        validation: &HeldOutPart,
        record: &mut Record<'_>,
    ) -> Result<Vec<(Member, Network)>, TrainError> {
        let mut trained = Vec::new();
        for (index, (name, config)) in names(self.config.members(stage)).into_iter().enumerate() {
            let bins = self.bins(stage, config);
            let network = config.network(self.outputs(stage), bins.len());
            // Each network's weights follow from its own seed, whatever was trained before it, and
            // wherever it is trained: each device would draw other numbers.
            let cpu = Device::flex();
            cpu.seed(seed_of(self.config.seed, self.fold, stage, index));
            let start = network.init(&bins, &cpu);
            // Burn draws a parameter's numbers when it is first looked at, wherever it is by then.
            weights::count(&start);
            let start = start.to_device(self.device);
            let lesson = Lesson { stage, name: &name, config, index, goes_on: false };
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
        let (training, validation) = (part(self.training), part(self.validation));
        let unit_seconds = match stage {
            Stage::Classifier => self.config.reward_loss.time_unit_seconds,
            Stage::Regressor => self.unit_seconds,
        };
        let validation = HeldOutPart::new(&validation, unit_seconds, self.device);
        let mut trained = Vec::new();
        for (index, (member, network)) in networks.iter().enumerate() {
            let config = settings(Architecture::of(&member.network));
            let name = &member.name;
            let lesson = Lesson { stage, name, config: &config, index, goes_on: true };
            let (start, training) = (network.clone(), Training::Whole(&training));
            let best = self.lesson(lesson, start, training, &validation, record)?;
            trained.push((member.clone(), best.unwrap_or_else(|| network.clone())));
        }
        Ok(trained)
    }

    /// Trains one network from a start; none if it was interrupted before there was a result.
    fn lesson(
        &self,
        Lesson { stage, name, config, index, goes_on }: Lesson<'_>,
        start: Network,
        training: Training<'_>,
        validation: &HeldOutPart,
        record: &mut Record<'_>,
    ) -> Result<Option<Network>, TrainError> {
        let plan = StagePlan {
            stage,
            name,
            config,
            training,
            metric: &|network| match stage {
                Stage::Classifier => validation.mean_log_loss(network),
                Stage::Regressor => validation.mean_error(network) * self.unit_seconds,
            },
            // Another order of rows for each network.
            seed: seed_of(self.config.seed, self.fold, stage, index),
            keeps_start: goes_on,
        };
        let objective = self.objective(stage, config);
        let learner = learner::learner(start, objective, config, goes_on, self.device);
        let place = format!("{}-{stage}-{index}", self.fold);
        let mut bookmark = Bookmark::new(record.states.as_deref_mut(), &place);
        let result = plan.run(learner, &mut bookmark, record.observer);
        let (best, report) = result.map_err(|error| match error {
            StageError::Diverged => TrainError::Diverged(stage),
            StageError::Stream(error) => TrainError::Stream(error),
        })?;
        record.stages.push(report);
        Ok(best)
    }

    /// The borders of the encoding, from the rows that the stage trains on.
    pub(super) fn bins(&self, stage: Stage, config: &MemberConfig) -> Bins {
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

    /// What a network of a stage minimises.
    pub(super) fn objective(&self, stage: Stage, config: &MemberConfig) -> Objective {
        match stage {
            Stage::Classifier => Objective::Classifier {
                loss: self.config.loss,
                reward: self.config.reward_loss.clone(),
                label_smoothing: config.label_smoothing,
            },
            Stage::Regressor => Objective::Regressor {
                loss: self.config.time_loss,
                unit_seconds: self.unit_seconds,
            },
        }
    }
}

/// Rows that a GPU evaluates at once: many, for launches are what it takes time for, but no more than
/// what their encodings leave room for.
const EVALUATED_AT_ONCE: usize = 1 << 15;
/// Rows that the CPU evaluates at once, which gains nothing by more: an encoding is thirty times as
/// large as its row, and memory may be limited.
const EVALUATED_ON_CPU: usize = 1 << 11;

impl HeldOutPart {
    fn new(part: &Part, unit_seconds: f64, device: &Device) -> HeldOutPart {
        let (converted, times) = part.targets(unit_seconds);
        let on_gpu = memory::may_run_short(device);
        let at_once = if on_gpu { EVALUATED_AT_ONCE } else { EVALUATED_ON_CPU };
        let inputs = part.inputs.chunks(at_once * INPUT_COUNT).map(|rows| {
            let shape = [rows.len() / INPUT_COUNT, INPUT_COUNT];
            Tensor::from_data(TensorData::new(rows.to_vec(), shape), device)
        });
        HeldOutPart { inputs: inputs.collect(), converted, times }
    }

    /// For each row the mean over the packed networks of what their first outputs mean.
    fn said(&self, network: &Network, meaning: impl Fn(f32) -> f64) -> Vec<f64> {
        let mut said = Vec::with_capacity(self.converted.len());
        let forward = |inputs| {
            let outputs = network.forward(inputs);
            let [packed, batch, _] = outputs.dims();
            (packed, batch, floats(first_outputs(outputs)))
        };
        let parts = self.inputs.iter().flat_map(|it| memory::in_parts(it.clone(), &forward));
        for (packed, batch, raw) in parts {
            said.extend((0..batch).map(|row| {
                let of_row = raw.iter().skip(row).step_by(batch).map(|raw| meaning(*raw));
                of_row.sum::<f64>() / packed as f64
            }));
        }
        said
    }

    /// The mean log loss of the packed networks' mean probability.
    fn mean_log_loss(&self, network: &Network) -> f64 {
        let probabilities = self.said(network, |raw| sigmoid(f64::from(raw)));
        let losses = probabilities.iter().zip(&self.converted);
        let losses = losses.map(|(p, truth)| log_loss(*p, *truth > 0.5));
        losses.sum::<f64>() / self.converted.len() as f64
    }

    /// The mean times of the packed networks, in units.
    fn times(&self, network: &Network) -> Vec<f64> {
        self.said(network, |raw| softplus(f64::from(raw)))
    }

    /// The sum of the absolute errors of times, in units.
    fn error_of(&self, times: &[f64]) -> f64 {
        times.iter().zip(&self.times).map(|(time, truth)| (time - f64::from(*truth)).abs()).sum()
    }

    /// The mean absolute error of the packed networks' mean time, in units.
    fn mean_error(&self, network: &Network) -> f64 {
        self.error_of(&self.times(network)) / self.times.len() as f64
    }
}

/// The regressor with the smallest error on held-out rows, or all of them, if together they have a
/// smaller one. Exact times want networks that are free to follow them, and noisy ones such as are
/// held back: one of the two kinds is wrong on each table, and would only spoil the mean.
fn best_alone_or_together(
    mut trained: Vec<(Member, Network)>,
    validation: &HeldOutPart,
) -> Vec<(Member, Network)> {
    if trained.len() < 2 {
        return trained;
    }
    let said: Vec<Vec<f64>> =
        trained.iter().map(|(_, network)| validation.times(network)).collect();
    let together = |row: usize| said.iter().map(|of| of[row]).sum::<f64>() / said.len() as f64;
    let together: Vec<f64> = (0..validation.times.len()).map(together).collect();
    let alone = said.iter().map(|times| validation.error_of(times)).enumerate();
    let best = alone.min_by(|one, other| one.1.total_cmp(&other.1));
    if let Some((best, _)) = best.filter(|(_, of_best)| *of_best <= validation.error_of(&together))
    {
        let mut alone = trained.swap_remove(best);
        alone.0.weight = 1.0;
        return vec![alone];
    }
    trained
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
