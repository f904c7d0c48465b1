//! What a diagnosis says should be tuned.
//!
//! A parameter is suggested when, over at least 10 answers with a known truth, performance is off:
//!
//! - threshold offset and time quantile shift: when another value would have earned at least 0.002 more
//!   reward an answer, over all answers, by more than two standard errors, on conversations that did not
//!   choose that value;
//! - calibration shrinkage: when the confidences that were sent are off by 0.05 or more on average (ECE)
//!   and by more than chance explains in 95 of 100 cases, and what was learned while serving made them
//!   better or worse (in log loss, by more than two standard errors). Where it made them better, half of
//!   it lets outcomes count sooner; where worse, double of it. Where nothing was learned, or it made no
//!   difference, shrinkage is not what is wrong.
//!
//! A diagnosis supports nothing if it was made more than 14 days ago, before the last change, or of
//! another checkpoint than the one that is served; and nothing for a parameter that was changed within
//! its window.
//! Nothing is suggested for the other parameters: no figure says what they cost. What is suggested goes
//! as far towards what was best as one change may, the one that would have earned the most first.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::TuneError;
use super::file;
use super::history::History;
use super::parameter::Parameter;
use super::rules::shown;
use super::tuning::{Tuning, Verdict};
use crate::clock::{DAY_NS, SECOND_NS};

/// Days after which a diagnosis says nothing of today.
const MOST_DAYS: u64 = 14;
/// A diagnosis of later than in an hour is none: the clocks of two machines differ by less.
const AHEAD_NS: u64 = 3600 * SECOND_NS;
/// Confidences that were moved by less on average are as good as not moved.
const LEAST_MOVED: f64 = 0.005;

/// What is read of a diagnosis.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Evidence {
    /// Answers whose truth is known.
    pub points: u64,
    /// From when on it looked, in nanoseconds since 1970.
    #[serde(default)]
    pub from_ns: Option<u64>,
    /// Until when it looked, in nanoseconds since 1970.
    #[serde(default)]
    pub to_ns: Option<u64>,
    /// The checkpoint that it is of.
    #[serde(default)]
    pub checkpoint: Option<String>,
    /// How far the confidences are off on average.
    #[serde(default)]
    pub ece: Option<f64>,
    /// How often true times lay below quantiles.
    #[serde(default)]
    pub coverage: Vec<Coverage>,
    /// How far confidences are off.
    #[serde(default)]
    pub calibration: Option<Calibrated>,
    /// What reward was lost to.
    #[serde(default)]
    pub lost: Option<LostTo>,
    /// What the threshold offset had better been.
    #[serde(default)]
    pub best_threshold_offset: Option<Better>,
    /// What the time quantile shift had better been.
    #[serde(default)]
    pub best_time_quantile_shift: Option<Better>,
}

/// How often true times lay below a quantile.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct Coverage {
    /// The quantile's level.
    pub level: f64,
    /// The share below it.
    pub below: f64,
    /// Of so many.
    pub rows: u64,
}

/// What reward was lost to, an answer.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct LostTo {
    /// To wrong classes.
    pub class: f64,
    /// To times.
    pub time: f64,
}

/// How far confidences are off.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct Calibrated {
    /// What chance alone explains.
    pub by_chance: Chance,
    /// What was learned while serving did to them.
    #[serde(default)]
    pub learned: Option<Learned>,
}

/// What the ECE of confidences without fault is.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct Chance {
    /// What it stays below in 95 of 100 cases.
    pub high: f64,
}

/// What was learned while serving did to the checkpoint's own confidences.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct Learned {
    /// Of so many conversations.
    pub rows: u64,
    /// How far it moved them on average.
    pub moved: f64,
    /// How much lower it made the log loss.
    pub gain: Gain,
}

/// A value that would have earned more.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct Better {
    /// The value.
    pub value: f64,
    /// How much more reward an answer it would have earned.
    pub gain: Gain,
    /// Answers that this is known from; others chose the value.
    pub judged_on: u64,
}

/// How much something is worth, on average.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct Gain {
    /// The mean.
    pub mean: f64,
    /// Its standard error.
    pub standard_error: Option<f64>,
}

/// What makes performance bad enough to tune something.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bar {
    /// Fewer answers with a known truth support nothing.
    pub least_points: u64,
    /// Less reward an answer is not worth a change.
    pub least_gain: f64,
    /// A gain must be more than so many of its standard errors.
    pub standard_errors: f64,
    /// Confidences that are less off are well enough.
    pub least_ece: f64,
}

impl Default for Bar {
    fn default() -> Bar {
        Bar { least_points: 10, least_gain: 0.002, standard_errors: 2.0, least_ece: 0.05 }
    }
}

/// What a diagnosis says should be tuned, the most worthwhile first: only one can be changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Suggestions {
    /// Answers whose truth is known.
    pub points: u64,
    /// What made performance bad enough.
    pub bar: Bar,
    /// What should be tuned; nothing if all is well or too little is known.
    pub suggestions: Vec<Suggestion>,
    /// Why nothing else is suggested.
    pub otherwise: Vec<String>,
}

/// A parameter that should be tuned.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Suggestion {
    /// The change, and whether and when it is allowed.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// What would be best, which one change may not reach.
    pub best: f64,
    /// What that would have earned more, an answer; none where that is not known.
    pub gain: Option<f64>,
    /// Why.
    pub why: String,
}

/// Something that is off, or why it is well enough.
type Finding = Result<(Parameter, f64, Option<f64>, String), String>;

impl Evidence {
    /// Reads a diagnosis.
    ///
    /// # Errors
    ///
    /// If it cannot be read or understood.
    pub fn read(path: &Path) -> Result<Evidence, TuneError> {
        let bytes = fs::read(path)
            .map_err(|source| TuneError::Diagnosis { path: path.to_owned(), source })?;
        serde_json::from_slice(&bytes)
            .map_err(|source| TuneError::NoDiagnosis { path: path.to_owned(), source })
    }

    fn threshold(&self, bar: &Bar) -> Finding {
        let parameter = Parameter::ThresholdOffset;
        let (better, mut why) = worth(parameter, self.best_threshold_offset, bar)?;
        if let Some(lost) = self.lost {
            why += &format!("; {:.4} an answer are lost to wrong classes", lost.class);
        }
        Ok((parameter, better.value, Some(better.gain.mean), why))
    }

    fn time_shift(&self, bar: &Bar) -> Finding {
        let parameter = Parameter::TimeQuantileShift;
        let (better, mut why) = worth(parameter, self.best_time_quantile_shift, bar)?;
        if let Some(lost) = self.lost {
            why += &format!("; {:.4} an answer are lost to times", lost.time);
        }
        let is_median = |covered: &&Coverage| (covered.level - 0.5).abs() < 1e-9;
        if let Some(Coverage { below, rows, .. }) = self.coverage.iter().find(is_median) {
            let share = 100.0 * below;
            why += &format!("; {share:.0} % of {rows} true times lay below their median");
        }
        Ok((parameter, better.value, Some(better.gain.mean), why))
    }

    fn shrinkage(&self, bar: &Bar, rows: f64) -> Finding {
        let parameter = Parameter::CalibrationShrinkageRows;
        let (Some(ece), Some(calibration)) = (self.ece, self.calibration) else {
            return Err(format!("{parameter}: how far confidences are off is not known"));
        };
        let chance = calibration.by_chance.high;
        let least = bar.least_ece.max(chance);
        // A NaN is not above anything.
        let is_off = ece > chance && ece >= bar.least_ece;
        if !is_off {
            return Err(format!(
                "{parameter}: confidences are off by {ece:.3} on average (ECE), of which up to \
                 {least:.3} does not matter or is chance"
            ));
        }
        let (gain, learned) = effect(calibration.learned, bar)
            .map_err(|why| format!("{parameter}: confidences are off by {ece:.3}, but {why}"))?;
        let points = self.points;
        let (best, advice) = if gain > 0.0 {
            (rows / 2.0, "outcomes should count sooner")
        } else {
            (2.0 * rows, "that should count less")
        };
        let why = format!(
            "confidences were off by {ece:.3} on average (ECE) over {points} answers, where chance \
             explains {chance:.3}; {learned}: {advice}"
        );
        Ok((parameter, best, None, why))
    }

    /// Why this says nothing of what is in force now; nothing if it does.
    fn is_stale(&self, history: &History, now_ns: u64, served: Option<&str>) -> Option<String> {
        let Some(to_ns) = self.to_ns else {
            return Some("this diagnosis does not say until when it looked".to_owned());
        };
        let to = shown(to_ns);
        if to_ns > now_ns.saturating_add(AHEAD_NS) {
            return Some(format!("this diagnosis is of {to}, which is still to come"));
        }
        if now_ns.saturating_sub(to_ns) > MOST_DAYS * DAY_NS {
            return Some(format!(
                "this diagnosis is of {to}, and one of more than {MOST_DAYS} days ago says nothing of \
                 today"
            ));
        }
        if let Some(change) = history.last_change().filter(|change| to_ns < change.time_ns) {
            return Some(format!(
                "{} was changed after this diagnosis: what is off now takes a new one",
                change.parameter
            ));
        }
        let served = served.filter(|served| self.checkpoint.as_deref() != Some(served))?;
        let of = self.checkpoint.as_ref().map_or("none".to_owned(), |name| format!("`{name}`"));
        Some(format!("this diagnosis is of checkpoint {of}, but `{served}` is served"))
    }

    /// Why this says nothing of a parameter: some of its answers were given before that was changed.
    fn predates(&self, history: &History, parameter: Parameter) -> Option<String> {
        let change = history.last_change_of(parameter)?;
        let from_ns = self.from_ns.unwrap_or(0);
        (from_ns < change.time_ns).then(|| {
            format!(
                "{parameter}: it was changed on {}, and this diagnosis looks at answers from {} on: it \
                 takes one with a shorter --window",
                shown(change.time_ns),
                shown(from_ns)
            )
        })
    }
}

/// The better value and why it is better, if it is worth a change; else why not.
fn worth(
    parameter: Parameter,
    better: Option<Better>,
    bar: &Bar,
) -> Result<(Better, String), String> {
    let better = better.ok_or_else(|| format!("{parameter}: what is best is not known"))?;
    let Better { value, gain: Gain { mean, standard_error }, judged_on } = better;
    let Some(error) = standard_error.filter(|error| (value + mean + error).is_finite()) else {
        return Err(format!("{parameter}: how sure a gain is is not known"));
    };
    let words = format!(
        "{value} would have earned {mean:.4} more an answer (standard error {error:.4}, {judged_on} \
         answers)"
    );
    if judged_on < bar.least_points {
        return Err(format!("{parameter}: {words}, which are too few"));
    }
    if mean < bar.least_gain || mean <= bar.standard_errors * error {
        return Err(format!("{parameter}: {words}, too little or too unsure for a change"));
    }
    Ok((better, words))
}

/// How much better what was learned while serving made confidences, and the same in words; else why
/// that cannot be told.
fn effect(learned: Option<Learned>, bar: &Bar) -> Result<(f64, String), String> {
    let Some(Learned { rows, moved, gain: Gain { mean, standard_error } }) = learned else {
        return Err(
            "what was learned while serving cannot be told from the checkpoint's own".into()
        );
    };
    if rows < bar.least_points {
        return Err(format!("what was learned while serving is known of {rows} answers only"));
    }
    // A NaN is not above anything.
    if !moved.is_finite() || moved < LEAST_MOVED {
        return Err(format!(
            "what was learned while serving moved them by {moved:.3} on average, which is as good as \
             nothing"
        ));
    }
    let error = standard_error.filter(|error| (mean + error).is_finite());
    let words = |error: f64| {
        let way = if mean > 0.0 { "lower" } else { "higher" };
        let size = mean.abs();
        format!(
            "what was learned while serving made the log loss {size:.4} {way} (standard error \
             {error:.4}, {rows} answers)"
        )
    };
    match error {
        Some(error) if mean.abs() > bar.standard_errors * error => Ok((mean, words(error))),
        Some(error) => Err(words(error) + ", which may be chance"),
        None => Err("how sure the effect of what was learned while serving is is not known".into()),
    }
}

/// Says what should be tuned. Every suggestion is within bounds and the largest step, and says when it
/// is allowed. `served` is the name of the checkpoint that is served, where it is known.
///
/// # Errors
///
/// If the history cannot be read or is not as it was written.
pub fn suggest(
    tuning: &Tuning,
    evidence: &Evidence,
    bar: &Bar,
    served: Option<&str>,
) -> Result<Suggestions, TuneError> {
    let history = file::read(&tuning.state_dir)?;
    let points = evidence.points;
    let mut found = Suggestions { points, bar: *bar, suggestions: vec![], otherwise: vec![] };
    if points < bar.least_points {
        let least = bar.least_points;
        found.otherwise =
            vec![format!("{points} answers with a known truth are too few: it takes {least}")];
        return Ok(found);
    }
    if let Some(why) = evidence.is_stale(&history, tuning.now_ns(), served) {
        found.otherwise = vec![why];
        return Ok(found);
    }
    let current = history.current();
    let rows = current.calibration_shrinkage_rows;
    for finding in
        [evidence.threshold(bar), evidence.time_shift(bar), evidence.shrinkage(bar, rows)]
    {
        let (parameter, best, gain, why) = match finding {
            Ok(finding) => finding,
            Err(otherwise) => {
                found.otherwise.push(otherwise);
                continue;
            }
        };
        if let Some(why) = evidence.predates(&history, parameter) {
            found.otherwise.push(why);
            continue;
        }
        let from = current.get(parameter);
        let to = tuning.limits.of(parameter).towards(from, best);
        if super::parameter::same(from, to) {
            found
                .otherwise
                .push(format!("{parameter}: it is {from}, as near to {best} as it may be"));
            continue;
        }
        let verdict = tuning.verdict(&history, parameter, Some(to));
        found.suggestions.push(Suggestion { verdict, best, gain, why });
    }
    // Those without a known gain come last.
    found.suggestions.sort_by(|one, other| {
        let gain = |it: &Suggestion| it.gain.unwrap_or(0.0);
        gain(other).total_cmp(&gain(one))
    });
    Ok(found)
}
