//! When a parameter may be changed, and to what.

use serde::{Deserialize, Serialize, Serializer};

use super::history::History;
use super::parameter::{Limits, Parameter, same};
use crate::clock::{DAY_NS, Moment, SECOND_NS};

/// How much time must pass. An operator may set other numbers; what was in force stands in the entry of
/// each change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// Days since mining began in which nothing is tuned.
    pub first_days: u32,
    /// Days between two changes of one parameter.
    pub between_days: u32,
    /// Days after any change in which what it does is observed, and nothing else is changed: so
    /// parameters change one at a time.
    pub observation_days: u32,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules { first_days: 14, between_days: 30, observation_days: 14 }
    }
}

/// Why a parameter may not be changed, or not so.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The clock went backwards.
    #[error(
        "the clock shows {}, but entry {entry} of the history was made at {}: set the clock right, or \
         wait until then", shown(*now_ns), shown(*until_ns)
    )]
    ClockBehind {
        /// The last entry.
        entry: u64,
        /// What the clock shows.
        now_ns: u64,
        /// When the entry was made.
        until_ns: u64,
    },
    /// Mining began too short a time ago.
    #[error(
        "mining began on {}, and nothing is tuned in its first {days} days: from {} on",
        shown(*started_ns), shown(*until_ns)
    )]
    JustBegun {
        /// When it began.
        started_ns: u64,
        /// How long that matters.
        days: u32,
        /// When it is over.
        until_ns: u64,
    },
    /// The parameter was changed too short a time ago.
    #[error(
        "{parameter} was changed on {}, and {days} days lie between two changes of a parameter: from \
         {} on", shown(*changed_ns), shown(*until_ns)
    )]
    ChangedLately {
        /// What was changed.
        parameter: Parameter,
        /// When.
        changed_ns: u64,
        /// How long that matters.
        days: u32,
        /// When it is over.
        until_ns: u64,
    },
    /// What a change does is still observed.
    #[error(
        "{parameter} was changed on {}, and what that does is observed for {days} days: from {} on",
        shown(*changed_ns), shown(*until_ns)
    )]
    Observing {
        /// What was changed.
        parameter: Parameter,
        /// When.
        changed_ns: u64,
        /// How long that matters.
        days: u32,
        /// When it is over.
        until_ns: u64,
    },
    /// It has that value.
    #[error("{parameter} is {value} already")]
    Unchanged {
        /// What.
        parameter: Parameter,
        /// Its value.
        value: f64,
    },
    /// It may never have that value.
    #[error("{parameter} must be in {lowest}..={highest}, but {value} is asked for")]
    OutOfBounds {
        /// What.
        parameter: Parameter,
        /// What was asked for.
        value: f64,
        /// The lowest value.
        lowest: f64,
        /// The highest value.
        highest: f64,
    },
    /// It may have that value, but not at once.
    #[error("{parameter} is {from} and may change by {largest} at once, but {to} is asked for")]
    StepTooLarge {
        /// What.
        parameter: Parameter,
        /// Its value.
        from: f64,
        /// What was asked for.
        to: f64,
        /// The largest step.
        largest: f64,
    },
}

impl Refusal {
    /// Its name, for programs.
    pub fn rule(&self) -> &'static str {
        match self {
            Refusal::ClockBehind { .. } => "clock",
            Refusal::JustBegun { .. } => "first_days",
            Refusal::ChangedLately { .. } => "between_days",
            Refusal::Observing { .. } => "observation_days",
            Refusal::Unchanged { .. } => "unchanged",
            Refusal::OutOfBounds { .. } => "bounds",
            Refusal::StepTooLarge { .. } => "largest_step",
        }
    }

    /// When it ends, in nanoseconds since 1970; none where waiting does not help.
    pub fn until_ns(&self) -> Option<u64> {
        match self {
            Refusal::ClockBehind { until_ns, .. }
            | Refusal::JustBegun { until_ns, .. }
            | Refusal::ChangedLately { until_ns, .. }
            | Refusal::Observing { until_ns, .. } => Some(*until_ns),
            Refusal::Unchanged { .. }
            | Refusal::OutOfBounds { .. }
            | Refusal::StepTooLarge { .. } => None,
        }
    }
}

impl Serialize for Refusal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shown {
            rule: &'static str,
            why: String,
            until: Option<String>,
        }
        let until = self.until_ns().map(shown);
        Shown { rule: self.rule(), why: self.to_string(), until }.serialize(serializer)
    }
}

/// The first whole second that is not before a moment.
pub(super) fn shown(ns: u64) -> String {
    Moment::of_ns(ns.div_ceil(SECOND_NS).saturating_mul(SECOND_NS)).rfc3339()
}

/// Everything that speaks against changing a parameter, if it is said to what, at a moment after
/// mining began.
pub(super) fn refusals(
    history: &History,
    (rules, limits): (&Rules, &Limits),
    (parameter, to): (Parameter, Option<f64>),
    (started_ns, now_ns): (u64, u64),
) -> Vec<Refusal> {
    let mut refusals = times(history, rules, parameter, (started_ns, now_ns));
    refusals.extend(to.and_then(|to| value(history, limits, parameter, to)));
    refusals
}

fn times(
    history: &History,
    rules: &Rules,
    parameter: Parameter,
    (started_ns, now_ns): (u64, u64),
) -> Vec<Refusal> {
    let after =
        |since_ns: u64, days: u32| since_ns.saturating_add(u64::from(days).saturating_mul(DAY_NS));
    let last = history.entries().last().filter(|entry| now_ns < entry.time_ns);
    let behind = last.map(|entry| Refusal::ClockBehind {
        entry: entry.number,
        now_ns,
        until_ns: entry.time_ns,
    });
    let days = rules.first_days;
    let begun = Refusal::JustBegun { started_ns, days, until_ns: after(started_ns, days) };
    let days = rules.between_days;
    let lately = history.last_change_of(parameter).map(|change| Refusal::ChangedLately {
        parameter,
        changed_ns: change.time_ns,
        days,
        until_ns: after(change.time_ns, days),
    });
    let days = rules.observation_days;
    let observing = history.last_change().map(|change| Refusal::Observing {
        parameter: change.parameter,
        changed_ns: change.time_ns,
        days,
        until_ns: after(change.time_ns, days),
    });
    let all = [behind, Some(begun), lately, observing].into_iter().flatten();
    all.filter(|refusal| refusal.until_ns().is_some_and(|until| now_ns < until)).collect()
}

fn value(history: &History, limits: &Limits, parameter: Parameter, to: f64) -> Option<Refusal> {
    let (from, limit) = (history.current().get(parameter), limits.of(parameter));
    if !limit.contains(to) {
        let (lowest, highest) = (limit.lowest, limit.highest);
        return Some(Refusal::OutOfBounds { parameter, value: to, lowest, highest });
    }
    if same(from, to) {
        return Some(Refusal::Unchanged { parameter, value: from });
    }
    let largest = limit.largest_step;
    let is_allowed = limit.allows_step(from, to);
    (!is_allowed).then_some(Refusal::StepTooLarge { parameter, from, to, largest })
}
