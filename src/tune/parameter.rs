//! The one table of what can be tuned.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::nearest::nearest;

/// Places behind the point that a value keeps: far finer than anybody can measure, and coarse enough
/// that a value is the same number after it was written and read.
const DECIMALS: f64 = 1e6;
/// How far sums of such values may be off.
const TOLERANCE: f64 = 0.5 / DECIMALS;

/// Something that can be tuned while the miner runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Parameter {
    /// By how much more probable a conversion must be for "converts".
    ThresholdOffset,
    /// How many rows the checkpoint's own confidence counts for.
    CalibrationShrinkageRows,
    /// After how many rows an outcome counts half.
    CalibrationHalfLifeRows,
    /// By how much higher a quantile of the time is answered.
    TimeQuantileShift,
    /// The pause between two records of little information.
    LowIntervalSeconds,
    /// The pause between two records of much information.
    HighIntervalSeconds,
}

/// What is known of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ParameterSpec {
    /// Which one it is.
    pub parameter: Parameter,
    /// What it is called, everywhere.
    pub name: &'static str,
    /// What its value counts.
    pub unit: &'static str,
    /// What it does.
    pub meaning: &'static str,
    /// Its value where nobody tuned it.
    pub default: f64,
    /// Between what it may be tuned, and how fast, unless the operator set other limits.
    pub limit: Limit,
    /// The lowest and the highest value that mean anything: no limits go beyond.
    pub possible: (f64, f64),
}

/// Between what a parameter may be tuned, and by how much at once.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// The lowest value.
    pub lowest: f64,
    /// The highest value.
    pub highest: f64,
    /// The largest difference that one change may make.
    pub largest_step: f64,
}

/// How many parameters there are.
pub const PARAMETER_COUNT: usize = 6;

/// Every parameter, in the order of [`Parameter`].
pub const PARAMETERS: [ParameterSpec; PARAMETER_COUNT] = [
    ParameterSpec {
        parameter: Parameter::ThresholdOffset,
        name: "threshold_offset",
        unit: "probability",
        meaning: "added to the probability from which `converts` is answered",
        default: 0.0,
        limit: Limit { lowest: -0.2, highest: 0.2, largest_step: 0.05 },
        possible: (-1.0, 1.0),
    },
    ParameterSpec {
        parameter: Parameter::CalibrationShrinkageRows,
        name: "calibration_shrinkage_rows",
        unit: "rows",
        meaning: "rows that the checkpoint's own confidence counts for in a bin of outcomes",
        default: 50.0,
        limit: Limit { lowest: 5.0, highest: 500.0, largest_step: 50.0 },
        possible: (0.0, 1e6),
    },
    ParameterSpec {
        parameter: Parameter::CalibrationHalfLifeRows,
        name: "calibration_half_life_rows",
        unit: "rows",
        meaning: "further outcomes of a bin after which an outcome counts half",
        default: 500.0,
        limit: Limit { lowest: 50.0, highest: 5000.0, largest_step: 250.0 },
        possible: (1.0, 1e6),
    },
    ParameterSpec {
        parameter: Parameter::TimeQuantileShift,
        name: "time_quantile_shift",
        unit: "level",
        meaning: "added to the quantile level of the time that is answered",
        default: 0.0,
        limit: Limit { lowest: -0.2, highest: 0.2, largest_step: 0.05 },
        possible: (-1.0, 1.0),
    },
    ParameterSpec {
        parameter: Parameter::LowIntervalSeconds,
        name: "low_interval_seconds",
        unit: "seconds",
        meaning: "pause between two sampled records of low information from one validator",
        default: 1800.0,
        limit: Limit { lowest: 60.0, highest: 14_400.0, largest_step: 900.0 },
        possible: (0.0, 86_400.0),
    },
    ParameterSpec {
        parameter: Parameter::HighIntervalSeconds,
        name: "high_interval_seconds",
        unit: "seconds",
        meaning: "pause between two sampled records of high information from one validator",
        default: 900.0,
        limit: Limit { lowest: 60.0, highest: 7200.0, largest_step: 450.0 },
        possible: (0.0, 86_400.0),
    },
];

impl Parameter {
    /// Its row of the table.
    pub fn spec(self) -> &'static ParameterSpec {
        &PARAMETERS[self as usize]
    }

    /// What it is called.
    pub fn name(self) -> &'static str {
        self.spec().name
    }

    /// Whether a value means anything at all, whatever the limits.
    pub fn can_be(self, value: f64) -> bool {
        let (lowest, highest) = self.spec().possible;
        (lowest..=highest).contains(&value)
    }
}

impl fmt::Display for Parameter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// No parameter is called like this.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no parameter `{name}`; {advice}")]
pub struct UnknownParameter {
    name: String,
    advice: String,
}

impl FromStr for Parameter {
    type Err = UnknownParameter;

    /// Dashes and underscores are the same.
    fn from_str(text: &str) -> Result<Parameter, UnknownParameter> {
        let name = text.trim().to_ascii_lowercase().replace('-', "_");
        if let Some(spec) = PARAMETERS.iter().find(|spec| spec.name == name) {
            return Ok(spec.parameter);
        }
        let names = PARAMETERS.map(|spec| spec.name);
        let advice = match nearest(&name, names) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("the parameters are {}", names.join(", ")),
        };
        Err(UnknownParameter { name: text.to_owned(), advice })
    }
}

/// A value as it is kept: with six places behind the point.
pub(super) fn rounded(value: f64) -> f64 {
    // Adding zero turns -0 into 0, which is written otherwise.
    (value * DECIMALS).round() / DECIMALS + 0.0
}

/// Whether two values are the same as far as values are kept.
pub(super) fn same(one: f64, other: f64) -> bool {
    (one - other).abs() < TOLERANCE
}

/// The limits of all parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits([Limit; PARAMETER_COUNT]);

impl Default for Limits {
    fn default() -> Limits {
        Limits(PARAMETERS.map(|spec| spec.limit))
    }
}

impl Limits {
    /// The limit of one parameter.
    pub fn of(&self, parameter: Parameter) -> Limit {
        self.0[parameter as usize]
    }

    /// The same, but for one parameter.
    #[must_use]
    pub fn with(mut self, LimitOf { parameter, limit }: LimitOf) -> Limits {
        self.0[parameter as usize] = limit;
        self
    }
}

impl Limit {
    /// Whether a value is within the bounds.
    pub fn contains(&self, value: f64) -> bool {
        value >= self.lowest - TOLERANCE && value <= self.highest + TOLERANCE
    }

    /// Whether one change may lead from one value to the other.
    pub fn allows_step(&self, from: f64, to: f64) -> bool {
        (to - from).abs() <= self.largest_step + TOLERANCE
    }

    /// The value nearest to `wanted` that one change from `from` may lead to.
    pub fn towards(&self, from: f64, wanted: f64) -> f64 {
        let step = (wanted - from).clamp(-self.largest_step, self.largest_step);
        rounded((from + step).max(self.lowest).min(self.highest))
    }
}

/// A limit that the operator set, as `NAME=LOWEST..HIGHEST/STEP`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LimitOf {
    /// Of what.
    pub parameter: Parameter,
    /// The limit.
    pub limit: Limit,
}

/// This is no limit.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LimitError {
    /// It is written in another way.
    #[error(
        "expected NAME=LOWEST..HIGHEST/STEP such as threshold_offset=-0.2..0.2/0.05, but found `{0}`"
    )]
    Form(String),
    /// There is no such parameter.
    #[error(transparent)]
    Parameter(#[from] UnknownParameter),
    /// Nothing is between these, or it means nothing.
    #[error(
        "expected limits of {parameter} with {} <= LOWEST < HIGHEST <= {} and a STEP above 0 that is \
         no larger than that, but found {lowest}..{highest}/{step}",
        .parameter.spec().possible.0, .parameter.spec().possible.1
    )]
    Senseless {
        /// Of what.
        parameter: Parameter,
        /// The lowest value.
        lowest: f64,
        /// The highest value.
        highest: f64,
        /// The largest step.
        step: f64,
    },
}

impl FromStr for LimitOf {
    type Err = LimitError;

    fn from_str(text: &str) -> Result<LimitOf, LimitError> {
        let form = || LimitError::Form(text.to_owned());
        let number = |text: &str| text.trim().parse().map(rounded).map_err(|_| form());
        let (name, limit) = text.split_once('=').ok_or_else(form)?;
        let (bounds, step) = limit.split_once('/').ok_or_else(form)?;
        let (lowest, highest) = bounds.split_once("..").ok_or_else(form)?;
        let parameter = name.parse::<Parameter>()?;
        let (lowest, highest, step) = (number(lowest)?, number(highest)?, number(step)?);
        let possible = parameter.spec().possible;
        let is_possible = parameter.can_be(lowest)
            && parameter.can_be(highest)
            && step > 0.0
            && step <= possible.1 - possible.0;
        if !is_possible || lowest >= highest {
            return Err(LimitError::Senseless { parameter, lowest, highest, step });
        }
        Ok(LimitOf { parameter, limit: Limit { lowest, highest, largest_step: step } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_in_itself_sound() {
        for (index, spec) in PARAMETERS.iter().enumerate() {
            let ParameterSpec { parameter, name, default, limit, possible, .. } = *spec;
            assert_eq!(parameter as usize, index, "{name}");
            assert_eq!(name.parse(), Ok(parameter));
            assert_eq!(serde_json::to_value(parameter).unwrap(), name);
            assert!(limit.contains(default), "{name}");
            assert!(possible.0 <= limit.lowest && limit.highest <= possible.1, "{name}");
            assert!(limit.largest_step < limit.highest - limit.lowest, "{name}");
            assert_eq!(rounded(default), default, "{name}");
        }
        assert_eq!("Threshold-Offset".parse(), Ok(Parameter::ThresholdOffset));
    }

    #[test]
    fn a_mistyped_name_is_explained() {
        for (name, expected) in [
            (
                "treshold-offset",
                "there is no parameter `treshold-offset`; did you mean threshold_offset?",
            ),
            ("lambda", "there is no parameter `lambda`; the parameters are threshold_offset, cali"),
        ] {
            let error = name.parse::<Parameter>().unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn values_keep_six_places() {
        assert_eq!(rounded(0.123_456_789), 0.123_457);
        assert_eq!(rounded(-1e-9).to_bits(), 0.0_f64.to_bits());
        assert!(same(0.1 + 0.2, 0.3) && !same(0.3, 0.300_001));
        // In binary, 0.15 + 0.05 is a little more than 0.2, and 0.3 - 0.1 a little less.
        let limit = PARAMETERS[0].limit;
        assert!(limit.contains(0.15 + 0.05) && !limit.contains(0.200_001));
        assert!(limit.allows_step(0.15, 0.2) && !limit.allows_step(0.15, 0.200_002));
        assert!(!limit.contains(f64::NAN) && !limit.allows_step(0.0, f64::NAN));
    }

    #[test]
    fn one_change_goes_as_far_as_it_may() {
        let limit = PARAMETERS[0].limit;
        for (from, wanted, expected) in [
            (0.0, 0.03, 0.03),
            (0.0, 0.5, 0.05),
            (0.0, -0.5, -0.05),
            (0.18, 0.5, 0.2),
            (-0.2, -0.5, -0.2),
        ] {
            assert_eq!(limit.towards(from, wanted), expected, "{from} -> {wanted}");
        }
    }

    #[test]
    fn limits_are_read_and_checked() {
        let read: LimitOf = "threshold-offset = -0.5..0.4 / 0.3".parse().unwrap();
        let limits = Limits::default().with(read);
        let limit = Limit { lowest: -0.5, highest: 0.4, largest_step: 0.3 };
        assert_eq!(limits.of(Parameter::ThresholdOffset), limit);
        assert_eq!(limits.of(Parameter::TimeQuantileShift), PARAMETERS[3].limit);
        for (text, expected) in [
            ("threshold_offset", "expected NAME=LOWEST..HIGHEST/STEP"),
            ("threshold_offset=0..1", "expected NAME=LOWEST..HIGHEST/STEP"),
            ("threshold_offset=0..x/1", "expected NAME=LOWEST..HIGHEST/STEP"),
            ("lambda=0..1/1", "there is no parameter `lambda`"),
            ("threshold_offset=-2..1/1", "with -1 <= LOWEST < HIGHEST <= 1"),
            ("threshold_offset=0.1..0.1/1", "but found 0.1..0.1/1"),
            ("threshold_offset=0..1/0", "a STEP above 0"),
            ("threshold_offset=0..1/inf", "a STEP above 0"),
            ("threshold_offset=NaN..1/1", "with -1 <= LOWEST"),
        ] {
            let error = text.parse::<LimitOf>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
