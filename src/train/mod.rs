//! Trains a miner in two stages, and measures it.
//!
//! Stage one trains the classifiers on all training rows, stage two the regressors on those that
//! converted. Each keeps the weights of the epoch that did best on the held-out rows. What a small
//! table bears is found by [`capacity`] first. Calibration and decision are fitted on rows that no
//! network saw, and the [`Predictor`] that results is what is evaluated and saved: what is reported
//! is what is served.

mod autodiff;
pub mod capacity;
pub mod config;
mod coverage;
mod cross;
mod data;
pub mod evaluation;
pub mod fine_tune;
mod fit;
mod frugal;
mod latch;
mod learner;
pub mod loss;
pub mod member;
mod models;
mod native;
mod objective;
pub mod observer;
mod resume;
pub(crate) mod split;
mod stage;
mod stream;
pub mod throughput;
mod weights;
mod work;

use std::sync::{Mutex, PoisonError};

use burn::tensor::Device;

use capacity::{Capacity, Choice};
use config::ConfigError;
pub use config::TrainConfig;
pub use cross::{CrossValidation, Spread, SpreadScores, cross_validate};
use data::Part;
use evaluation::{Evaluation, HeldOut};
pub use fine_tune::{FineTuneConfig, FineTuned, Labelled, fine_tune};
use fit::{Record, Streams};
pub use learner::StreamError;
use models::{HeldOutRow, Models};
use observer::{Observer, Stage, StageReport};
pub use resume::Resumable;
use split::{Split, Strata};
pub use stream::{StreamTrained, Streamed, survey_options, train_streamed};
pub use work::work;

use crate::features::Conversation;
use crate::features::scaler::Scaler;
use crate::model::calibration::{self, Calibration, Method};
use crate::model::checkpoint::CoverageRecord;
use crate::model::decision::Decision;
use crate::model::predictor::{Estimate, Predictor};
use crate::model::time::TimeDistribution;
use crate::subnet::reward::{ClassWeights, RewardSpec, Truth};

/// The fewest rows that are trained on.
pub const FEWEST_ROWS: usize = 10;
/// The fewest converted training rows that a regressor is trained on.
pub const FEWEST_CONVERTED: usize = 20;

/// With fewer different conversations of a class, the priors of the models say more about how sure
/// to be than the held-out rows do.
const FEWEST_TO_CALIBRATE: usize = 20;

/// With fewer held-out conversions of a known time, a distribution of times that is there already is
/// kept.
const FEWEST_TIMES: usize = 10;

/// Bins of a binned calibration.
const CALIBRATION_BINS: usize = 10;

/// A trained miner and how it came about.
#[derive(Debug)]
pub struct Trained {
    /// The miner.
    pub predictor: Predictor,
    /// How the training of each network went.
    pub stages: Vec<StageReport>,
    /// How large a model the table bears, if it is a small one.
    pub choice: Option<Choice>,
    /// How it does on rows that no network of it was trained on, each measured with a calibration
    /// and a distribution of times that were fitted without it.
    pub evaluation: Evaluation,
    /// What each of its models earns on those rows, by how much is known of them.
    pub coverage: CoverageRecord,
    /// The rows that were held out once, and what was said of them.
    pub held_out: HeldOutRows,
    /// What was left out or replaced, and why.
    pub warnings: Vec<String>,
}

/// Rows that were held out, and what is said of them by who did not see them: one value a row.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HeldOutRows {
    /// Which of the conversations.
    pub rows: Vec<usize>,
    /// What the networks say.
    pub estimates: Vec<Estimate>,
    /// Their calibrated probabilities.
    pub confidences: Vec<f64>,
    /// What the baseline says.
    pub baseline: Vec<Estimate>,
}

impl HeldOutRows {
    /// The other ones of so many rows: those that networks were trained on. With folds, where each
    /// row was held out once, that is all of them.
    pub fn others(&self, rows: usize) -> Vec<usize> {
        if self.rows.len() >= rows {
            return (0..rows).collect();
        }
        let mut is_held_out = vec![false; rows];
        self.rows.iter().for_each(|row| is_held_out[*row] = true);
        (0..rows).filter(|row| !is_held_out[*row]).collect()
    }
}

/// Why nothing was trained.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A setting cannot be.
    #[error("the training configuration cannot be used")]
    Config(#[from] ConfigError),
    /// The reward spec has no such name.
    #[error("the training configuration cannot be used")]
    Spec(#[from] crate::subnet::reward::UnknownSpec),
    /// Rows of one class teach nothing of what tells the two apart.
    #[error("expected new rows of both classes to learn on from, but there is only one")]
    OneClass,
    /// There is too little to learn from.
    #[error("expected at least {FEWEST_ROWS} labelled rows to train on, but there are {0}")]
    TooFewRows(usize),
    /// Rows with the same conversation are held out together or not at all.
    #[error(
        "no row was held out, because most of the {0} rows are copies of few conversations, which \
         stay together; hold out more of them with `--valid-fraction`"
    )]
    NothingHeldOut(usize),
    /// More rows than a tensor's index can name.
    #[error("expected at most {most} rows, but there are {0}", most = i32::MAX)]
    TooManyRows(usize),
    /// The loss ran away.
    #[error("the {0}'s validation metric was never a number")]
    Diverged(Stage),
    /// The rows cannot be divided into so many parts.
    #[error(
        "{folds} folds of {rows} rows cannot be: each needs a conversation of its own, and \
         {FEWEST_ROWS} rows beside it to train on"
    )]
    TooManyFolds {
        /// The folds that were asked for.
        folds: usize,
        /// The rows that there are.
        rows: usize,
    },
    /// Folds need all rows at hand.
    #[error(
        "{0} folds need all rows in memory, which they do not fit into; allow more memory, or ask \
         for one held-out part"
    )]
    FoldsInMemory(usize),
    /// Rows that memory does not hold could not be read.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// A cross-validation was interrupted before two folds were done.
    #[error("interrupted before two folds were done, so there is nothing to report")]
    Interrupted,
}

/// Burn's flex device has one random generator a process, so two runs at once would not be
/// reproducible.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Trains a miner on labelled conversations.
///
/// The same rows, configuration and seed give the same weights on the CPU, bit for bit, as long as
/// nothing else in the process draws random numbers from Burn meanwhile. A second run waits.
///
/// # Errors
///
/// If a setting cannot be, there are too few or too many rows, or training diverges.
pub fn train(
    conversations: &[Conversation],
    truths: &[Truth],
    config: &TrainConfig,
    device: &Device,
    observer: &mut dyn Observer,
) -> Result<Trained, TrainError> {
    train_resumably(conversations, truths, config, device, observer, None)
}

/// As [`train`], with the states of the trainings kept in `states`, and those that are there gone on
/// from: the result is that of a run that was never interrupted.
///
/// A table that is so small that candidates are compared leaves no states: it takes seconds.
///
/// # Errors
///
/// Those of [`train`]. That a state cannot be written or used is a warning, and no error.
pub fn train_resumably(
    conversations: &[Conversation],
    truths: &[Truth],
    config: &TrainConfig,
    device: &Device,
    observer: &mut dyn Observer,
    states: Option<&mut Resumable>,
) -> Result<Trained, TrainError> {
    config.check()?;
    if truths.len() < FEWEST_ROWS {
        return Err(TrainError::TooFewRows(truths.len()));
    }
    if i32::try_from(truths.len()).is_err() {
        return Err(TrainError::TooManyRows(truths.len()));
    }
    let converted = truths.iter().map(|truth| truth.converted).collect();
    let strata = Strata::new(conversations, converted);
    // Whoever names a number of folds wants the networks of the configuration.
    let share = config.held_out_share(strata.rarer());
    let is_small = config.folds == 0 && !strata.bear_one_part(share);
    let splits = match config.folds {
        0 | 1 => vec![strata.hold_out(share, config.seed)],
        count => strata.folds(count, config.seed),
    };
    // With folds every row is trained on by some model, so all rows may say how inputs lie.
    let seen = match splits.as_slice() {
        [only] if !is_small => only.training.clone(),
        _ => (0..truths.len()).collect(),
    };
    let scaler = Scaler::fit(&seen.iter().map(|row| &conversations[*row]).collect::<Vec<_>>());
    let baseline_rows = seen.len();
    let streams = None;
    Parted { conversations, truths, strata, splits, scaler, is_small, baseline_rows, streams }
        .train(config, device, observer, states)
}

/// Rows in memory, parted into those to learn from and those that are held out.
struct Parted<'a> {
    conversations: &'a [Conversation],
    truths: &'a [Truth],
    strata: Strata,
    splits: Vec<Split>,
    scaler: Scaler,
    /// Whether it is to be found out first how large a model they bear.
    is_small: bool,
    /// Rows that the baseline is fitted to.
    baseline_rows: usize,
    /// What the networks learn from, if it is more than these rows.
    streams: Option<Streams<'a>>,
}

impl Parted<'_> {
    /// Trains all models, finishes the miner that they make, and measures it.
    fn train(
        self,
        config: &TrainConfig,
        device: &Device,
        observer: &mut dyn Observer,
        states: Option<&mut Resumable>,
    ) -> Result<Trained, TrainError> {
        let spec: RewardSpec = config.reward_spec.parse()?;
        let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        device.seed(config.seed);
        let Parted { conversations, truths, strata, splits, scaler, streams, .. } = self;
        let table = Part::new(&scaler, conversations, truths);
        let unit_seconds = median(table.converted_times());

        let mut record = Record { states, ..Record::new(observer) };
        let models = if self.is_small {
            let (table, strata) = (&table, &strata);
            Capacity { table, strata, config, unit_seconds, device }.models(&mut record)
        } else {
            record.observer.baseline_started(self.baseline_rows);
            let record = &mut record;
            Models::as_configured(&table, &splits, streams, config, unit_seconds, device, record)?
        };
        let Models { ensemble, baseline, held_out, choice } = models;

        let mut predictor = Predictor {
            scaler,
            ensemble,
            baseline,
            calibration: Calibration::default(),
            decision: Decision::fit(config.decision, &[], 0.0),
            spec,
            class_weights: ClassWeights::START,
        };
        let calibrating = Calibrating::Anew;
        let (evaluation, held_out) =
            finish(&mut predictor, &held_out, truths, &strata, config, calibrating)
                .ok_or(TrainError::TooFewRows(truths.len()))?;
        let coverage = coverage::of_held_out(&predictor, &held_out, conversations, truths);
        let Record { stages, mut warnings, states, .. } = record;
        warnings.extend(states.map(Resumable::take_warnings).unwrap_or_default());
        Ok(Trained { predictor, stages, choice, evaluation, coverage, held_out, warnings })
    }
}

/// The median, as the f32 that a checkpoint keeps; 1 for no times. Unlike the mean it does not mind
/// an absurd time.
fn median(mut times: Vec<f64>) -> f64 {
    if times.is_empty() {
        return 1.0;
    }
    let middle = times.len() / 2;
    let (_, median, _) = times.select_nth_unstable_by(middle, f64::total_cmp);
    f64::from(*median as f32)
}

/// Where the calibration of a miner comes from that is finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Calibrating {
    /// It is fitted to the held-out rows.
    Anew,
    /// It is the one that the miner has, which is of other rows.
    Kept,
}

/// Fits decision and, if it is not kept, calibration to the held-out rows, and measures the miner on
/// them: each row with what was fitted without it.
fn finish(
    predictor: &mut Predictor,
    held_out: &[HeldOutRow],
    truths: &[Truth],
    strata: &Strata,
    config: &TrainConfig,
    calibrating: Calibrating,
) -> Option<(Evaluation, HeldOutRows)> {
    let rows: Vec<usize> = held_out.iter().map(|(row, ..)| *row).collect();
    let estimates: Vec<Estimate> = held_out.iter().map(|(_, estimate, _)| *estimate).collect();
    let baseline: Vec<Estimate> = held_out.iter().map(|(_, _, alone)| *alone).collect();
    let truths: Vec<Truth> = held_out.iter().map(|(row, ..)| truths[*row]).collect();
    let confidences = match calibrating {
        Calibrating::Anew => calibrate(predictor, held_out, &truths, strata, config),
        Calibrating::Kept => {
            estimates.iter().map(|estimate| predictor.calibrated(*estimate)).collect()
        }
    };

    let times: Vec<(f64, f64)> = estimates
        .iter()
        .zip(&truths)
        .filter(|(_, truth)| truth.converted && truth.time_seconds.is_finite())
        .map(|(estimate, truth)| (estimate.time_seconds, truth.time_seconds))
        .collect();
    let prior = f64::from(predictor.baseline.time_accuracy);
    if times.len() >= FEWEST_TIMES || predictor.decision.times.is_none() {
        predictor.decision = Decision::fit(config.decision, &times, prior);
    }
    // Halves that each measure the other.
    let halves: Vec<Option<TimeDistribution>> = (0..2)
        .map(|half| {
            let others = times.iter().skip(1 - half).step_by(2).copied().collect::<Vec<_>>();
            TimeDistribution::fit(&others)
        })
        .collect();
    let evaluation = evaluation::of_held_out(
        predictor,
        &HeldOut {
            estimates: &estimates,
            confidences: &confidences,
            baseline: &baseline,
            truths: &truths,
            distribution: &|index| halves[index % 2].as_ref(),
        },
    )?;
    Some((evaluation, HeldOutRows { rows, estimates, confidences, baseline }))
}

/// Fits the calibration to held-out rows, with one truth each. Says how sure of each row to be with
/// what is fitted without it.
fn calibrate(
    predictor: &mut Predictor,
    held_out: &[HeldOutRow],
    truths: &[Truth],
    strata: &Strata,
    config: &TrainConfig,
) -> Vec<f64> {
    let probabilities: Vec<f64> =
        held_out.iter().map(|(_, estimate, _)| estimate.probability).collect();
    let converted: Vec<bool> = truths.iter().map(|truth| truth.converted).collect();
    let method = config.calibration.unwrap_or_else(|| {
        if strata.rarer() < FEWEST_TO_CALIBRATE {
            return Method::Identity;
        }
        // Copies would make anything that learns them by heart look good.
        let first: Vec<usize> =
            (0..held_out.len()).filter(|index| strata.is_first(held_out[*index].0)).collect();
        let probabilities: Vec<f64> = first.iter().map(|index| probabilities[*index]).collect();
        let converted: Vec<bool> = first.iter().map(|index| converted[*index]).collect();
        calibration::choose(CALIBRATION_BINS, &probabilities, &converted).method
    });
    predictor.calibration = if method == Method::Identity {
        Calibration::default()
    } else {
        calibration::fit(method, CALIBRATION_BINS, &probabilities, &converted)
    };
    calibration::cross_fitted(method, CALIBRATION_BINS, &probabilities, &converted)
}
