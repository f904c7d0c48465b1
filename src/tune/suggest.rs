//! What a diagnosis says should be tuned.
//!
//! A parameter is suggested when, over at least 10 answers with a known truth, performance is off:
//!
//! - threshold offset and time quantile shift: when another value would have earned at least 0.002 more
//!   reward an answer, by more than two standard errors, on answers that did not choose that value;
//! - calibration shrinkage: when the confidences that were sent are off by 0.05 or more on average (ECE)
//!   and by more than chance explains in 95 of 100 cases. Half of it lets outcomes count sooner; but
//!   where the checkpoint's own confidences are less off than those sent, double of it.
//!
//! A diagnosis that is older than the last change supports nothing.
//! Nothing is suggested for the other parameters: no figure says what they cost. What is suggested goes
//! as far towards what was best as one change may, the one that would have earned the most first.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::TuneError;
use super::file;
use super::parameter::Parameter;
use super::tuning::{Tuning, Verdict};

/// What is read of a diagnosis.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Evidence {
    /// Answers whose truth is known.
    pub points: u64,
    /// Until when it looked, in nanoseconds since 1970.
    #[serde(default)]
    pub to_ns: Option<u64>,
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
    /// How far the checkpoint's own are off, before what was learned while serving.
    #[serde(default)]
    pub checkpoint: Option<OffBy>,
}

/// What the ECE of confidences without fault is.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct Chance {
    /// What it stays below in 95 of 100 cases.
    pub high: f64,
}

/// How far some confidences are off on average.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct OffBy {
    /// The ECE.
    pub ece: f64,
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

/// How much more reward an answer something would have earned.
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
        let points = self.points;
        let why = format!(
            "confidences were off by {ece:.3} on average (ECE) over {points} answers, where chance \
             explains {chance:.3}"
        );
        Ok(match calibration.checkpoint.filter(|own| own.ece < ece) {
            Some(own) => {
                let why = format!(
                    "{why}; without what was learned while serving it would be {:.3}, so that should \
                     count less",
                    own.ece
                );
                (parameter, 2.0 * rows, None, why)
            }
            None => (parameter, rows / 2.0, None, why + "; outcomes should count sooner"),
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

/// Says what should be tuned. Every suggestion is within bounds and the largest step, and says when it
/// is allowed.
///
/// # Errors
///
/// If the history cannot be read or is not as it was written.
pub fn suggest(tuning: &Tuning, evidence: &Evidence, bar: &Bar) -> Result<Suggestions, TuneError> {
    let history = file::read(&tuning.state_dir)?;
    let points = evidence.points;
    let mut found = Suggestions { points, bar: *bar, suggestions: vec![], otherwise: vec![] };
    if points < bar.least_points {
        let least = bar.least_points;
        found.otherwise =
            vec![format!("{points} answers with a known truth are too few: it takes {least}")];
        return Ok(found);
    }
    let last = history.last_change();
    if let Some(change) = last.filter(|last| evidence.to_ns.is_some_and(|to| to < last.time_ns)) {
        let parameter = change.parameter;
        found.otherwise = vec![format!(
            "{parameter} was changed after this diagnosis: what is off now takes a new one"
        )];
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
