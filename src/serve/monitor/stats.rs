//! What `/stats.json` and the dashboard show, and how it is gathered.

use serde::{Serialize, Serializer};

use super::super::models::ModelStatistics;
use super::errors::RecentError;
use super::tally::{CONFIDENCE_PARTS, QUANTILE_RELATIVE_ERROR, Tally, seconds};
use super::window::{Moment, NAMES, SECONDS, Windows};
use super::{
    Monitor, Outcome, RecalibrationStats, Snapshot, StateStats, Truths, TuningStats, process,
};
use crate::journal::JournalStats;

/// What the miner has done and how it is. Its fields are the keys of `/stats.json`; times are in
/// seconds, moments in seconds since 1970.
#[derive(Debug, Clone, Serialize)]
pub struct Stats {
    /// The version of the program.
    pub version: &'static str,
    /// The moment that this is about.
    pub now: f64,
    /// How long it has counted.
    pub uptime_seconds: f64,
    /// Whether it can answer.
    pub ready: bool,
    /// Why it cannot.
    pub not_ready: Option<String>,
    /// The name of the checkpoint in use.
    pub checkpoint: String,
    /// The memory of the process; `null` where the system does not say.
    pub memory_bytes: Option<u64>,
    /// How many requests wait for their turn.
    pub queue_depth: usize,
    /// How many requests are worked on.
    pub at_work: usize,
    /// How many connections are open.
    pub connections: usize,
    /// How many nonces are remembered.
    pub nonces: usize,
    /// How many hotkeys the metagraph knows; `null` without one.
    pub registered: Option<usize>,
    /// The largest relative error of the quantiles of response times from 10 us to 120 s.
    pub quantile_relative_error: f64,
    /// Since the start.
    pub total: Total,
    /// The last minute, hour and day.
    pub windows: Spans<WindowStats>,
    /// The same in steps of time.
    pub history: Spans<History>,
    /// The models, the preferred one first.
    pub models: Vec<ModelStatistics>,
    /// The verified callers, the busiest first; the 256 that were heard from last.
    pub validators: Vec<ValidatorStats>,
    /// The latest kinds of requests without an answer, the last first; 50 at most.
    pub errors: Vec<ErrorStats>,
    /// Files that were taken up anew or refused.
    pub reloads: Vec<ReloadStats>,
    /// How the answers fared whose truth is known; `null` while none is.
    pub truths: Option<Truths>,
    /// How far the confidence is corrected by that; `null` where nobody looks.
    pub recalibration: Option<RecalibrationStats>,
    /// The tuned parameters; `null` where nobody follows them.
    pub tuning: Option<TuningStats>,
    /// How the journal is written; `null` without one.
    pub journal: Option<JournalStats>,
    /// How state is saved.
    pub state: StateStats,
}

/// One of something for each window.
#[derive(Debug, Clone, PartialEq)]
pub struct Spans<T>(pub [T; 3]);

impl<T> Spans<T> {
    fn new(of: impl FnMut(usize) -> T) -> Self {
        Spans([0, 1, 2].map(of))
    }
}

impl<T: Serialize> Serialize for Spans<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(NAMES.iter().zip(&self.0))
    }
}

/// How many requests came to which end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ByOutcome(pub [u64; Outcome::ALL.len()]);

impl ByOutcome {
    /// How many came to this end.
    pub fn of(&self, outcome: Outcome) -> u64 {
        self.0[outcome as usize]
    }
}

impl Serialize for ByOutcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(Outcome::ALL.iter().map(|outcome| outcome.name()).zip(self.0))
    }
}

/// What was counted since the start.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Total {
    /// All requests.
    pub requests: u64,
    /// By what became of them.
    pub outcomes: ByOutcome,
    /// Answers that say "converts".
    pub converted: u64,
    /// Answers that do not.
    pub not_converted: u64,
}

/// What was counted in the last `seconds`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WindowStats {
    /// How long the window is. It begins with a whole slot of time, so it may reach back a little
    /// less: 1/60 of it (1/96 for the day), and 1/12 for a single validator.
    pub seconds: u64,
    /// All requests.
    pub requests: u64,
    /// By what became of them.
    pub outcomes: ByOutcome,
    /// The response times of those that were answered; `null` without any.
    pub response_seconds: Option<ResponseTimes>,
    /// The mean confidence of the answers.
    pub mean_confidence: Option<f64>,
    /// The share of the answers that say "converts".
    pub positive_rate: Option<f64>,
    /// How many answers had a confidence in each tenth of 0 to 1.
    pub confidence: [u32; CONFIDENCE_PARTS],
}

/// Response times in seconds: average, extremes and quantiles.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct ResponseTimes {
    pub avg: f64,
    pub min: f64,
    pub max: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
}

impl WindowStats {
    fn new(window: usize, tally: &Tally) -> Self {
        let quantile = |share| tally.quantile(share).unwrap_or_default();
        WindowStats {
            seconds: SECONDS[window],
            requests: tally.requests(),
            outcomes: ByOutcome(tally.outcomes.map(u64::from)),
            response_seconds: tally.times().map(|(avg, min, max)| ResponseTimes {
                avg,
                min,
                max,
                p50: quantile(0.5),
                p90: quantile(0.9),
                p99: quantile(0.99),
            }),
            mean_confidence: tally.mean_confidence(),
            positive_rate: tally.positive_rate(),
            confidence: tally.confidence,
        }
    }
}

/// A window in steps, the oldest first; the last one is not over yet.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct History {
    /// How long a step is.
    pub step_seconds: u64,
    /// Requests that were answered.
    pub answered: Vec<u64>,
    /// Requests that were not.
    pub refused: Vec<u64>,
    /// The median response time; `null` without an answer.
    pub p50: Vec<Option<f64>>,
    /// The 99th percentile of the response times.
    pub p99: Vec<Option<f64>>,
}

impl History {
    fn new(window: usize, windows: &Windows, moment: Moment) -> Self {
        let slots = || windows.slots(window, moment);
        let count = |of: fn(&Tally) -> u64| slots().map(|slot| slot.map_or(0, of)).collect();
        let quantile = |share| slots().map(|slot| slot.and_then(|it| it.quantile(share))).collect();
        let answered: Vec<u64> = count(Tally::answered);
        History {
            step_seconds: SECONDS[window] / answered.len() as u64,
            answered,
            refused: count(|slot| slot.requests() - slot.answered()),
            p50: quantile(0.5),
            p99: quantile(0.99),
        }
    }
}

/// A verified caller.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ValidatorStats {
    /// Its address.
    pub hotkey: String,
    /// For how long it has not called.
    pub silent_seconds: f64,
    /// Its last minute, hour and day.
    pub windows: Spans<WindowStats>,
}

/// Requests that got no answer for the same reason.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ErrorStats {
    /// What became of them.
    pub outcome: &'static str,
    /// Why, at most 200 letters. May hold what a caller sent.
    pub reason: String,
    /// How many.
    pub count: u64,
    /// When the first was.
    pub first: f64,
    /// When the last was.
    pub last: f64,
}

impl From<RecentError> for ErrorStats {
    fn from(error: RecentError) -> Self {
        ErrorStats {
            outcome: error.outcome.name(),
            reason: error.reason,
            count: error.count,
            first: seconds(error.first.wall_ns),
            last: seconds(error.last.wall_ns),
        }
    }
}

/// A file that is taken up anew when it changes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReloadStats {
    /// Which.
    pub what: &'static str,
    /// How often it was taken up.
    pub ok: u64,
    /// How often it was refused.
    pub refused: u64,
    /// When it was last tried.
    pub last: f64,
    /// Why it was refused, if it was the last time.
    pub refusal: Option<String>,
}

impl Monitor {
    /// Everything that is known. The lock is held for one part at a time, so that requests go on.
    pub fn stats(&self, snapshot: &Snapshot) -> Stats {
        let outcomes = self.metrics.requests();
        let [converted, not_converted] = self.metrics.answers();
        let (now, errors, reloads) = {
            let (state, moment) = self.state();
            (seconds(moment.wall_ns), state.errors.latest_first(), state.reloads.clone())
        };
        Stats {
            version: env!("CARGO_PKG_VERSION"),
            now,
            uptime_seconds: self.uptime_seconds(),
            ready: snapshot.not_ready.is_none(),
            not_ready: snapshot.not_ready.clone(),
            checkpoint: snapshot.checkpoint.clone(),
            memory_bytes: process::resident_bytes(),
            queue_depth: snapshot.queue_depth,
            at_work: snapshot.at_work,
            connections: snapshot.connections,
            nonces: snapshot.nonces,
            registered: snapshot.registered,
            quantile_relative_error: QUANTILE_RELATIVE_ERROR,
            total: Total {
                requests: outcomes.iter().sum(),
                outcomes: ByOutcome(outcomes),
                converted,
                not_converted,
            },
            windows: Spans::new(|window| {
                let (state, moment) = self.state();
                WindowStats::new(window, &state.all.total(window, moment))
            }),
            history: Spans::new(|window| {
                let (state, moment) = self.state();
                History::new(window, &state.all, moment)
            }),
            models: snapshot.models.clone(),
            validators: self.validators(),
            errors: errors.into_iter().map(ErrorStats::from).collect(),
            reloads,
            truths: snapshot.truths.clone(),
            recalibration: snapshot.recalibration,
            tuning: snapshot.tuning.clone(),
            journal: snapshot.journal.clone(),
            state: snapshot.state.clone(),
        }
    }

    fn validators(&self) -> Vec<ValidatorStats> {
        let hotkeys = self.state().0.validators.hotkeys();
        let stats = |hotkey: Box<str>| {
            let (state, moment) = self.state();
            // It may have made room for another by now.
            let validator = state.validators.get(&hotkey)?;
            let silent_ns = moment.steady_ns.saturating_sub(validator.last.steady_ns);
            Some(ValidatorStats {
                silent_seconds: seconds(silent_ns),
                windows: Spans::new(|window| {
                    WindowStats::new(window, &validator.windows.total(window, moment))
                }),
                hotkey: hotkey.into_string(),
            })
        };
        let mut validators: Vec<ValidatorStats> = hotkeys.into_iter().filter_map(stats).collect();
        let busy = |validator: &ValidatorStats| validator.windows.0[2].requests;
        validators.sort_by(|left, right| {
            busy(right).cmp(&busy(left)).then_with(|| left.hotkey.cmp(&right.hotkey))
        });
        validators
    }
}
