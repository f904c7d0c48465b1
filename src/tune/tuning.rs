//! Asks for changes, and makes those that are allowed.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::entry::{Entry, Event, Starter};
use super::error::TuneError;
use super::file::{self, Writing};
use super::history::{History, Moment};
use super::parameter::{Limits, PARAMETERS, Parameter, rounded};
use super::rules::{self, Refusal, Rules};
use crate::clock::Clock;

/// The operator's way to the parameters: every change goes through the rules into the history.
#[derive(Debug, Clone)]
pub struct Tuning {
    /// The folder of what outlives the process.
    pub state_dir: PathBuf,
    /// How much time must pass.
    pub rules: Rules,
    /// Between what parameters may be tuned.
    pub limits: Limits,
    /// Tells the real time.
    pub clock: Arc<dyn Clock>,
    /// The moment to take for now, in nanoseconds since 1970, if it is given by hand; entries say so.
    /// It never says when mining began, and no change is gone back from later than the clock shows.
    pub now_by_hand_ns: Option<u64>,
}

/// A change to ask for.
#[derive(Debug, Clone, PartialEq)]
pub struct Wish {
    /// What is to change.
    pub parameter: Parameter,
    /// Its value to be.
    pub to: f64,
    /// Why.
    pub reason: String,
}

/// What the rules say of a change.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// What is to change.
    pub parameter: Parameter,
    /// Its value in force.
    pub from: f64,
    /// Its value to be, if that was said.
    pub to: Option<f64>,
    /// Everything that speaks against it; nothing if it is allowed.
    pub refusals: Vec<Refusal>,
    /// From when on it is allowed if nothing else changes, in nanoseconds since 1970; none if waiting
    /// does not help.
    #[serde(rename = "allowed_from", serialize_with = "as_text")]
    pub allowed_from_ns: Option<u64>,
}

fn as_text<S: Serializer>(ns: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    ns.map(rules::shown).serialize(serializer)
}

impl Verdict {
    /// Whether nothing speaks against it.
    pub fn is_allowed(&self) -> bool {
        self.refusals.is_empty()
    }
}

/// What became of a wish.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Decision {
    /// What the rules say of it.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// What was written into the history; none if it was refused.
    pub entry: Option<Entry>,
}

/// One parameter as it stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Standing {
    /// Which one.
    pub parameter: Parameter,
    /// Its value in force.
    pub value: f64,
    /// What its value counts.
    pub unit: &'static str,
    /// What it does.
    pub meaning: &'static str,
    /// Its value where nobody tuned it.
    pub default: f64,
    /// The lowest value that it may get.
    pub lowest: f64,
    /// The highest value that it may get.
    pub highest: f64,
    /// The largest difference that one change may make.
    pub largest_step: f64,
    /// When it was last changed, in nanoseconds since 1970.
    #[serde(rename = "changed", serialize_with = "as_text")]
    pub changed_ns: Option<u64>,
    /// From when on it may be changed, in nanoseconds since 1970.
    #[serde(rename = "allowed_from", serialize_with = "as_text")]
    pub allowed_from_ns: Option<u64>,
    /// Whether that is now.
    pub is_allowed: bool,
}

impl Tuning {
    /// Says whether a parameter may be changed now, to a value if one is given.
    ///
    /// # Errors
    ///
    /// If the history cannot be read or is not as it was written.
    pub fn check(&self, parameter: Parameter, to: Option<f64>) -> Result<Verdict, TuneError> {
        Ok(self.verdict(&file::read(&self.state_dir)?, parameter, to.map(rounded)))
    }

    /// Says how every parameter stands.
    ///
    /// # Errors
    ///
    /// If the history cannot be read or is not as it was written.
    pub fn standings(&self) -> Result<Vec<Standing>, TuneError> {
        let history = file::read(&self.state_dir)?;
        let standings = PARAMETERS.iter().map(|spec| {
            let verdict = self.verdict(&history, spec.parameter, None);
            let limit = self.limits.of(spec.parameter);
            Standing {
                parameter: spec.parameter,
                value: verdict.from,
                unit: spec.unit,
                meaning: spec.meaning,
                default: spec.default,
                lowest: limit.lowest,
                highest: limit.highest,
                largest_step: limit.largest_step,
                changed_ns: history.last_change_of(spec.parameter).map(|change| change.time_ns),
                allowed_from_ns: verdict.allowed_from_ns,
                is_allowed: verdict.is_allowed(),
            }
        });
        Ok(standings.collect())
    }

    /// Writes a change down that is allowed, to be applied later. It takes the place of one that was
    /// proposed before.
    ///
    /// # Errors
    ///
    /// If it has no reason, or the history cannot be read, written, or is not as it was written.
    pub fn propose(&self, wish: &Wish) -> Result<Decision, TuneError> {
        self.decide(wish, |_, from, reason| Event::Proposed {
            parameter: wish.parameter,
            from,
            to: rounded(wish.to),
            reason,
        })
    }

    /// Makes a change that is allowed. A running miner takes it up.
    ///
    /// # Errors
    ///
    /// If it has no reason, or the history cannot be read, written, or is not as it was written.
    pub fn apply(&self, wish: &Wish) -> Result<Decision, TuneError> {
        let to = rounded(wish.to);
        self.decide(wish, |history, from, reason| Event::Applied {
            parameter: wish.parameter,
            from,
            to,
            reason,
            proposal: history
                .pending()
                .filter(|pending| pending.parameter == wish.parameter && pending.to == to)
                .map(|pending| pending.number),
            rules: self.rules,
            limit: self.limits.of(wish.parameter),
        })
    }

    /// The change that was proposed and not yet made, for `apply`; with this reason, if one is given.
    ///
    /// # Errors
    ///
    /// If there is none, or the history cannot be read or is not as it was written.
    pub fn proposed(&self, reason: Option<String>) -> Result<Wish, TuneError> {
        let pending = file::read(&self.state_dir)?.pending().ok_or(TuneError::NothingProposed)?;
        let reason = reason.unwrap_or(pending.reason);
        Ok(Wish { parameter: pending.parameter, to: pending.to, reason })
    }

    /// Goes back to the value before the last change, whatever the rules: safety comes first. It is a
    /// change like any other for those that follow it. With a clock that is behind, its entry has the
    /// time of the one before it.
    ///
    /// # Errors
    ///
    /// If it has no reason, the time is given by hand and later than the clock shows, so that nothing
    /// could be tuned until then, there is no change to undo or the last one was of another parameter than
    /// the one that is named, or the history cannot be read, written, or is not as it was written.
    pub fn revert(&self, named: Option<Parameter>, reason: &str) -> Result<Entry, TuneError> {
        let reason = sound(reason)?;
        let clock_ns = self.clock.now_ns();
        if let Some(asked_ns) = self.now_by_hand_ns.filter(|asked_ns| *asked_ns > clock_ns) {
            return Err(TuneError::NotYet { asked_ns, clock_ns });
        }
        let mut writing = Writing::begin(&self.state_dir)?;
        let last = writing.history.last_change().filter(|change| !change.is_revert);
        let last = last.ok_or(TuneError::NothingToRevert)?;
        if named.is_some_and(|named| named != last.parameter) {
            return Err(TuneError::NotTheLast { last: last.parameter });
        }
        let event = Event::Reverted {
            parameter: last.parameter,
            from: last.to,
            to: last.from,
            reason,
            change: last.number,
        };
        let newest_ns = writing.history.entries().last().map_or(0, |entry| entry.time_ns);
        let moment = self.moment();
        writing.push(event, Moment { ns: moment.ns.max(newest_ns), ..moment })
    }

    /// Holds a wish against the rules, and writes down what `event` makes of it and of the value in
    /// force, if it is allowed.
    fn decide(
        &self,
        wish: &Wish,
        event: impl FnOnce(&History, f64, String) -> Event,
    ) -> Result<Decision, TuneError> {
        let reason = sound(&wish.reason)?;
        let mut writing = Writing::begin(&self.state_dir)?;
        writing.start(Starter::Tune, self.clock.now_ns())?;
        // Under the lock and after the start, so that no entry is younger.
        let moment = self.moment();
        let verdict =
            self.verdict_at(&writing.history, wish.parameter, Some(rounded(wish.to)), moment.ns);
        let entry = if verdict.is_allowed() {
            let event = event(&writing.history, verdict.from, reason);
            Some(writing.push(event, moment)?)
        } else {
            None
        };
        Ok(Decision { verdict, entry })
    }

    pub(super) fn verdict(
        &self,
        history: &History,
        parameter: Parameter,
        to: Option<f64>,
    ) -> Verdict {
        self.verdict_at(history, parameter, to, self.now_ns())
    }

    fn verdict_at(
        &self,
        history: &History,
        parameter: Parameter,
        to: Option<f64>,
        now_ns: u64,
    ) -> Verdict {
        let with = (&self.rules, &self.limits);
        // Where it is not recorded, mining begins now, by the real clock.
        let started_ns = history.started_ns().unwrap_or_else(|| self.clock.now_ns());
        let refusals = rules::refusals(history, with, (parameter, to), (started_ns, now_ns));
        let mut untils = refusals.iter().map(Refusal::until_ns);
        let allowed_from_ns = untils.try_fold(now_ns, |latest, until| Some(latest.max(until?)));
        let from = history.current().get(parameter);
        Verdict { parameter, from, to, refusals, allowed_from_ns }
    }

    /// The moment to take for now, in nanoseconds since 1970.
    pub fn now_ns(&self) -> u64 {
        self.now_by_hand_ns.unwrap_or_else(|| self.clock.now_ns())
    }

    fn moment(&self) -> Moment {
        Moment { ns: self.now_ns(), is_by_hand: self.now_by_hand_ns.is_some() }
    }
}

/// A reason in one line, without what a terminal would obey.
fn sound(reason: &str) -> Result<String, TuneError> {
    let printable = reason.replace(char::is_control, " ");
    let words: Vec<&str> = printable.split_whitespace().collect();
    if words.is_empty() { Err(TuneError::NoReason) } else { Ok(words.join(" ")) }
}
