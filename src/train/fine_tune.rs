//! Learning on: a miner that is at work goes on from its weights, on what has become known since.
//!
//! Several ways are tried and the held-out new rows choose among them, for the class and for the time:
//! the networks as they are; trained on with new rows and as many that the miner was trained on, which
//! keeps them from forgetting; trained on with new rows alone; and trained from nothing on those. The
//! last two are for when what decides the outcome has changed: then the old rows teach what is wrong,
//! and gates that are closed for good may hide what is needed.

mod trial;

use std::sync::PoisonError;

use burn::tensor::Device;
use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::config::TrainConfig;
use super::data::Part;
use super::evaluation::Evaluation;
use super::fit::{Fit, Fitted, Record};
use super::models::{HeldOutRow, join};
use super::observer::{Observer, Stage, StageReport};
use super::split::{Split, Strata};
use super::{
    Calibrating, FEWEST_ROWS, FEWEST_TO_CALIBRATE, HeldOutRows, ONE_AT_A_TIME, TrainError,
    coverage, finish, median,
};
use crate::features::Conversation;
use crate::features::engineer::INPUT_COUNT;
use crate::model::baseline::Baseline;
use crate::model::calibration::Method;
use crate::model::checkpoint::CoverageRecord;
use crate::model::networks::{Member, Network};
use crate::model::predictor::{Estimate, Predictor};
use crate::subnet::reward::Truth;
use trial::Trials;

/// How a miner learns on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FineTuneConfig {
    /// Seed of everything random.
    pub seed: u64,
    /// Passes over the rows at most, of networks that go on from their weights.
    pub epochs: usize,
    /// Their learning rate, as a share of what a network of their kind is trained with from nothing.
    pub rate_share: f64,
    /// The share of the new rows that no network learns from: they choose the way and the epoch, and
    /// calibration and decision are fitted to them.
    pub held_out_share: f64,
}

impl Default for FineTuneConfig {
    fn default() -> Self {
        FineTuneConfig { seed: 7, epochs: 12, rate_share: 0.1, held_out_share: 0.3 }
    }
}

/// Conversations with what became of them; the time of one that converted may be NaN, for unknown.
#[derive(Debug, Clone, Copy)]
pub struct Labelled<'a> {
    /// The conversations.
    pub conversations: &'a [Conversation],
    /// One a conversation.
    pub truths: &'a [Truth],
}

/// Where a stage's networks come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// They are as they were.
    Unchanged,
    /// They went on from their weights, with new rows and old ones.
    Mixed,
    /// They went on from their weights, with new rows alone.
    NewOnly,
    /// They were trained from nothing on the new rows.
    Fresh,
    /// There are none: the baseline says it.
    Baseline,
}

/// A way that was tried, and how it did on the held-out new rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Trial {
    /// Of which stage.
    pub stage: Stage,
    /// The way.
    pub way: Way,
    /// [`Stage::metric`] on the held-out new rows; less is better, and infinite is what no number can
    /// be said of.
    pub metric: f64,
}

/// A miner that has learned on, and how it came about.
#[derive(Debug)]
pub struct FineTuned {
    /// The miner.
    pub predictor: Predictor,
    /// Where its classifiers come from.
    pub class: Way,
    /// Where its regressors come from.
    pub time: Way,
    /// Everything that was tried.
    pub trials: Vec<Trial>,
    /// How it does on the held-out new rows.
    pub evaluation: Evaluation,
    /// What each of its models earns on them, by how much is known of them.
    pub coverage: CoverageRecord,
    /// Which of the new rows were held out, and what was said of them.
    pub held_out: HeldOutRows,
    /// How the training of each network went.
    pub stages: Vec<StageReport>,
    /// What went otherwise than it should.
    pub warnings: Vec<String>,
}

/// Trains a copy of a miner on, with `new` rows and `old` ones that it was trained on.
///
/// The same rows, configuration and seed give the same weights on the CPU, bit for bit. A run waits
/// while another one in the process trains.
///
/// # Errors
///
/// If there are too few new rows, or they are all of one class, or training diverges.
///
/// # Panics
///
/// If there are not as many truths as conversations.
pub fn fine_tune(
    champion: &Predictor,
    old: Labelled<'_>,
    new: Labelled<'_>,
    config: &FineTuneConfig,
    device: &Device,
    observer: &mut dyn Observer,
) -> Result<FineTuned, TrainError> {
    if new.truths.len() < FEWEST_ROWS {
        return Err(TrainError::TooFewRows(new.truths.len()));
    }
    let strata =
        Strata::new(new.conversations, new.truths.iter().map(|truth| truth.converted).collect());
    let split = strata.hold_out(config.held_out_share, config.seed);
    let table = Part::new(&champion.scaler, new.conversations, new.truths);
    let (fresh, held_out) = (table.select(&split.training), table.select(&split.validation));
    if !fresh.has_both_classes() || !held_out.has_both_classes() {
        return Err(TrainError::OneClass);
    }
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    device.seed(config.seed);
    let old = rehearsed(champion, old, fresh.len(), config.seed);
    let learning = Learning { champion, old, fresh, held_out, config, device };
    let mut record = Record::new(observer);
    let (mut predictor, class, time, trials) = learning.run(&mut record)?;
    let said = learning.said(&predictor, &split);
    let few = strata.select(&split.validation).rarer() < FEWEST_TO_CALIBRATE;
    let plan = TrainConfig {
        decision: champion.decision.rule,
        calibration: few.then_some(Method::Identity),
        ..TrainConfig::default()
    };
    let calibrating = if few && matches!(class, Way::Unchanged | Way::Mixed) {
        // The champion's was fitted to more rows, by networks that said much the same.
        Calibrating::Kept
    } else {
        Calibrating::Anew
    };
    let (evaluation, held_out) =
        finish(&mut predictor, &said, new.truths, &strata, &plan, calibrating)
            .ok_or(TrainError::TooFewRows(new.truths.len()))?;
    let coverage = coverage::of_held_out(&predictor, &held_out, new.conversations, new.truths);
    let Record { stages, warnings, .. } = record;
    Ok(FineTuned {
        predictor,
        class,
        time,
        trials,
        evaluation,
        coverage,
        held_out,
        stages,
        warnings,
    })
}

/// As many old rows as there are new ones, drawn at random.
fn rehearsed(champion: &Predictor, old: Labelled<'_>, most: usize, seed: u64) -> Part {
    let mut rows: Vec<usize> = (0..old.truths.len()).collect();
    rows.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    rows.truncate(most);
    rows.sort_unstable();
    Part::new(&champion.scaler, old.conversations, old.truths).select(&rows)
}

/// What there is to learn on with.
struct Learning<'a> {
    champion: &'a Predictor,
    /// Rows that the champion was trained on.
    old: Part,
    /// New rows to learn from.
    fresh: Part,
    /// New rows that choose.
    held_out: Part,
    config: &'a FineTuneConfig,
    device: &'a Device,
}

impl Learning<'_> {
    /// Tries all ways and makes a miner of the best, whose calibration and decision are still those
    /// of the champion.
    fn run(
        &self,
        record: &mut Record<'_>,
    ) -> Result<(Predictor, Way, Way, Vec<Trial>), TrainError> {
        let champion = self.champion;
        let mixed = self.fresh.joined(&self.old);
        let baseline = self.baseline(&mixed);
        let mut tried = Trials { learning: self, mixed: &mixed, trials: Vec::new() };
        let (class, classifiers) = tried.best(Stage::Classifier, &baseline, record)?;
        let (time, regressors) = tried.best(Stage::Regressor, &baseline, record)?;
        let trials = tried.trials;
        let fitted = Fitted { classifiers, regressors };
        let combination = champion.ensemble.as_ref().map(|it| it.config().combination);
        let combination = combination.unwrap_or_default();
        let predictor = Predictor {
            scaler: champion.scaler.clone(),
            ensemble: join(fitted, combination, self.unit_seconds(), self.device),
            baseline,
            calibration: champion.calibration.clone(),
            decision: champion.decision.clone(),
            spec: champion.spec,
            class_weights: champion.class_weights,
        };
        Ok((predictor, class, time, trials))
    }

    /// The networks of a stage as they are.
    fn networks(&self, stage: Stage) -> Vec<(Member, Network)> {
        let Some(ensemble) = &self.champion.ensemble else { return Vec::new() };
        let (networks, config) = (ensemble.networks(), ensemble.config());
        let (members, networks) = match stage {
            Stage::Classifier => (&config.classifiers, &networks.classifiers),
            Stage::Regressor => (&config.regressors, &networks.regressors),
        };
        members.iter().cloned().zip(networks.iter().cloned()).collect()
    }

    /// The unit of times: that of the networks which go on from their weights.
    fn unit_seconds(&self) -> f64 {
        match &self.champion.ensemble {
            Some(ensemble) if !ensemble.config().regressors.is_empty() => {
                f64::from(ensemble.config().unit_seconds)
            }
            _ => median(self.fresh.converted_times()),
        }
    }

    /// The baseline of new and old rows, or of the new ones alone if that knows the held-out ones
    /// better; the champion's if neither can be fitted.
    fn baseline(&self, mixed: &Part) -> Baseline {
        let champion = &self.champion.baseline;
        let fits = [mixed, &self.fresh].into_iter().filter_map(|rows| {
            let times = rows.converted_times();
            let mut fitted = trial::logistic(rows, &times)?;
            if times.is_empty() {
                fitted.time_seconds = champion.time_seconds;
                fitted.time_accuracy = champion.time_accuracy;
            }
            Some(fitted)
        });
        let loss = |baseline: &Baseline| trial::log_loss_of_baseline(baseline, &self.held_out);
        let best = fits.map(|fitted| (loss(&fitted), fitted)).min_by(|a, b| a.0.total_cmp(&b.0));
        best.map_or_else(|| champion.clone(), |(_, fitted)| fitted)
    }

    /// What the miner and its baseline say of the held-out rows.
    fn said(&self, predictor: &Predictor, split: &Split) -> Vec<HeldOutRow> {
        let inputs = &self.held_out.inputs;
        let outputs = predictor.ensemble.as_ref().map(|ensemble| ensemble.outputs(inputs));
        let rows = inputs.chunks_exact(INPUT_COUNT).zip(&split.validation).enumerate();
        rows.map(|(index, (inputs, row))| {
            let output = outputs.as_ref().map(|outputs| outputs[index]);
            let alone = Estimate::of_baseline(&predictor.baseline, inputs);
            (*row, Estimate::of(output, &predictor.baseline, inputs), alone)
        })
        .collect()
    }

    /// What networks are trained on with.
    fn fit<'b>(&'b self, training: &'b Part, config: &'b TrainConfig) -> Fit<'b> {
        Fit {
            training,
            streams: None,
            validation: &self.held_out,
            config,
            unit_seconds: self.unit_seconds(),
            fold: 0,
            device: self.device,
        }
    }
}

#[cfg(test)]
mod tests;
