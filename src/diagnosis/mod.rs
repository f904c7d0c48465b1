//! Where the reward is lost, and whether the miner still fits what it is asked.
//!
//! [`Diagnosis`] has all numbers; [`page`] draws nothing that is not in it. Each file computes one
//! part: `lost` splits the reward, `times` judges the predicted times (with the exact `crps`),
//! `calibration` the confidences, `days` goes along time, `parts` by validator and by kind of
//! conversation, `features` compares with what was trained on, `compared` with other ways to
//! answer, `shifts` asks what another threshold or quantile would have earned, and `verdict` says
//! whether anything has drifted.
//!
//! What the best possible model would have answered cannot be known from a journal: only who made
//! a conversation up knows its chances. The truth itself, which no model can reach where there is
//! chance, is the one bound there is, as in `convminer report`.

mod calibration;
mod compared;
pub mod crps;
mod days;
mod features;
mod lost;
pub mod page;
mod parts;
mod shifts;
mod times;
mod verdict;

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::clock::{DAY_NS, Moment};
use crate::features::Conversation;
use crate::journal::Sampled;
use crate::model::Predictor;
use crate::model::checkpoint::Manifest;
use crate::replay::{Resolved, Scored, score};
use crate::report::Mean;
use crate::subnet::reward::{Answer, RewardSpec, Truth};

pub use calibration::{CalibrationDiagnosis, CalibrationScores, Chance, Learned, Period};
pub use compared::{Compared, Way};
pub use crps::crps_of_sample;
pub use days::Day;
pub use features::{FeatureDiagnosis, FeatureShift, ShiftSize};
pub use lost::Lost;
pub use parts::{Part, Partition, ValidatorPart};
pub use shifts::{Shift, ShiftPoint};
pub use times::{Covered, Horizon, TimeDiagnosis, TimeScores};
pub use verdict::Check;

/// The version of the diagnosis' format.
pub const VERSION: u32 = 1;

/// So many days of answers before the window lead up to its rolling averages.
pub const LEAD_DAYS: u64 = days::ROLLING_DAYS;

/// Everything random in a diagnosis comes from this, so that the same rows give the same numbers.
const SEED: u64 = 7;

/// What a diagnosis is made for.
#[derive(Debug, Clone, Copy)]
pub struct DiagnoseOptions<'a> {
    /// The reward to count.
    pub spec: RewardSpec,
    /// The first moment of the window, in nanoseconds since 1970. What was answered before it only
    /// leads up to the rolling averages.
    pub from_ns: u64,
    /// When the diagnosis is made, in nanoseconds since 1970.
    pub now_ns: u64,
    /// The checkpoint that serves: its validation and what it was trained on are compared with.
    pub checkpoint: Option<Reference<'a>>,
}

/// A checkpoint that answers are compared with.
#[derive(Debug, Clone, Copy)]
pub struct Reference<'a> {
    /// Its name, as the journal has it.
    pub name: &'a str,
    /// What it says of itself.
    pub manifest: &'a Manifest,
    /// What it answers.
    pub predictor: &'a Predictor,
    /// Some of the rows that it was trained on, or why there are none.
    pub sample: Result<Sample<'a>, &'a str>,
}

/// Labelled rows that a checkpoint was trained on.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'a> {
    /// The conversations.
    pub conversations: &'a [Conversation],
    /// What became of each.
    pub truths: &'a [Truth],
}

/// All numbers of a diagnosis: what `diagnostics.json` holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// The version of this format, [`VERSION`].
    pub version: u32,
    /// The version of convminer that made it.
    pub convminer_version: String,
    /// When it was made, RFC 3339 in UTC.
    pub made: String,
    /// The first moment of the window, RFC 3339 in UTC.
    pub from: String,
    /// The last one.
    pub to: String,
    /// The same in nanoseconds since 1970.
    pub from_ns: u64,
    /// The same in nanoseconds since 1970.
    pub to_ns: u64,
    /// The reward's spec.
    pub reward_spec: String,
    /// The checkpoint that is compared with; absent without one.
    pub checkpoint: Option<String>,
    /// Data points: answers of the window whose truth is known.
    pub points: usize,
    /// How many of those conversations converted.
    pub converted: usize,
    /// How many of these converted after nobody knows how long; no time is judged by them.
    pub time_unknown: usize,
    /// The mean reward as the validators counted it; absent without points.
    pub mean_reward: Option<f64>,
    /// Its standard error; absent below two points.
    pub mean_reward_error: Option<f64>,
    /// What the reward was lost to.
    pub lost: Lost,
    /// How often true times lay below the 5, 50 and 95 % quantiles; empty if none can be judged.
    pub coverage: Vec<Covered>,
    /// The expected calibration error of the confidences that were sent; absent without points.
    pub ece: Option<f64>,
    /// What the decision's threshold offset had better been; absent where it cannot be known.
    pub best_threshold_offset: Option<Shift>,
    /// What the shift of the time's quantile had better been; absent where it cannot be known.
    pub best_time_quantile_shift: Option<Shift>,
    /// Whether something has drifted so far that learning should look at it.
    pub drifted: bool,
    /// What has, in words.
    pub reasons: Vec<String>,
    /// All that was looked at for that.
    pub checks: Vec<Check>,
    /// What these numbers cannot tell exactly, in words.
    #[serde(default)]
    pub notes: Vec<String>,
    /// The times.
    pub times: TimeDiagnosis,
    /// The confidences; absent without points.
    pub calibration: Option<CalibrationDiagnosis>,
    /// Day by day.
    pub days: Vec<Day>,
    /// By who asked.
    pub validators: Vec<ValidatorPart>,
    /// By kind of conversation.
    pub segments: Vec<Partition>,
    /// The features against those that were trained on.
    pub features: FeatureDiagnosis,
    /// Other ways to answer the same conversations.
    pub compared: Vec<Compared>,
}

/// An answer, what it earned, and what it lost.
#[derive(Debug, Clone, Copy)]
struct Row<'a> {
    resolved: &'a Resolved,
    scored: Scored,
    lost: Lost,
}

impl Row<'_> {
    fn truth(&self) -> Truth {
        self.resolved.truth
    }

    fn answer(&self) -> Answer {
        self.resolved.record.answer.into()
    }

    fn reward(&self) -> f64 {
        self.scored.reward.total
    }
}

fn rows<'a>(resolved: &'a [Resolved], spec: &RewardSpec) -> Vec<Row<'a>> {
    let scored = score(resolved, spec);
    let row = |(resolved, scored): (&'a Resolved, Scored)| {
        let row = Row { resolved, scored, lost: Lost::default() };
        Row { lost: Lost::of(&row, spec), ..row }
    };
    resolved.iter().zip(scored).map(row).collect()
}

/// Which answers are the last ones of their conversations. Several validators ask about one, and its
/// truth is one data point.
fn last_of_each<'a>(all: impl DoubleEndedIterator<Item = &'a Resolved>) -> Vec<bool> {
    let mut seen = HashSet::new();
    let is_new = |one: &'a Resolved| one.record.id().is_none_or(|id| seen.insert(id));
    let mut last: Vec<bool> = all.rev().map(is_new).collect();
    last.reverse();
    last
}

/// What cannot be known of these answers.
fn notes(resolved: &[Resolved]) -> Vec<String> {
    let sampled = resolved.iter().filter(|row| row.record.sampled != Sampled::All).count();
    if sampled == 0 {
        return Vec::new();
    }
    let all = resolved.len();
    vec![format!(
        "{sampled} of {all} answers are a sample of what was answered: a validator's class weights \
         follow all of its conversations, so they, and the rewards that rest on them, cannot be known \
         exactly here; `convminer serve --journal all` logs every answer"
    )]
}

/// The mean of values; absent for none.
fn mean(values: &[f64]) -> Option<Mean> {
    (!values.is_empty()).then(|| Mean::of(values))
}

fn rewards_of(rows: &[Row<'_>]) -> Vec<f64> {
    rows.iter().map(Row::reward).collect()
}

/// Diagnoses answers in order of time.
///
/// The window is scored by itself, with the class weights that a validator begins with, as
/// `convminer replay` over the same days does; so is what leads up to it.
pub fn diagnose(resolved: &[Resolved], options: &DiagnoseOptions<'_>) -> Diagnosis {
    let from = resolved.partition_point(|row| row.record.time_ns < options.from_ns);
    let (lead, window) = resolved.split_at(from);
    let (lead, rows) = (rows(lead, &options.spec), rows(window, &options.spec));
    let rewards = mean(&rewards_of(&rows));
    let reference = options.checkpoint.as_ref();
    let times = TimeDiagnosis::of(
        &rows,
        reference.and_then(|of| validation(of, "/time_distribution/crps_seconds")),
    );
    let calibration = CalibrationDiagnosis::of(&rows, options);
    let features = FeatureDiagnosis::of(&rows, options);
    let checks = verdict::checks(&rows, calibration.as_ref(), &features, options);
    let reasons: Vec<String> =
        checks.iter().filter(|check| check.drifted).map(|check| check.words.clone()).collect();
    let last_ns = rows.last().map_or(0, |row| row.resolved.record.time_ns);
    let to_ns = options.now_ns.max(last_ns);
    let moment = |ns| Moment::of_ns(ns).rfc3339();
    Diagnosis {
        version: VERSION,
        convminer_version: env!("CARGO_PKG_VERSION").to_owned(),
        made: moment(options.now_ns),
        from: moment(options.from_ns),
        to: moment(to_ns),
        from_ns: options.from_ns,
        to_ns,
        reward_spec: options.spec.name.to_owned(),
        checkpoint: reference.map(|reference| reference.name.to_owned()),
        points: rows.len(),
        converted: rows.iter().filter(|row| row.truth().converted).count(),
        time_unknown: rows.iter().filter(|row| row.truth().time_seconds.is_nan()).count(),
        mean_reward: rewards.map(|mean| mean.mean),
        mean_reward_error: rewards.and_then(|mean| mean.standard_error),
        lost: Lost::mean(rows.iter().map(|row| &row.lost)),
        coverage: times.watched(),
        ece: calibration.as_ref().map(|calibration| calibration.sent.ece),
        best_threshold_offset: shifts::threshold_offset(&rows, options),
        best_time_quantile_shift: shifts::time_quantile_shift(&rows, options),
        drifted: !reasons.is_empty(),
        reasons,
        checks,
        notes: notes(window),
        times,
        calibration,
        days: days::of(&lead, &rows, options),
        validators: parts::validators(&rows),
        segments: parts::segments(&rows),
        features,
        compared: compared::of(&rows, options),
    }
}

/// A figure of a checkpoint's own validation, where its manifest has it.
fn validation(reference: &Reference<'_>, pointer: &str) -> Option<f64> {
    reference.manifest.metrics.pointer(pointer).and_then(serde_json::Value::as_f64)
}

/// Where the day of a moment begins.
fn day_of(time_ns: u64) -> u64 {
    time_ns - time_ns % DAY_NS
}

#[cfg(test)]
mod tests;
