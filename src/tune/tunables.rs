//! The values of all parameters, and what they do.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::parameter::{PARAMETERS, Parameter};
use crate::model::adjustment::Adjustment;

/// The values of all parameters. The default changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tunables {
    /// By how much more probable than the decision asks a conversion must be for "converts".
    pub threshold_offset: f64,
    /// How many rows the checkpoint's own confidence counts for in each bin of outcomes.
    pub calibration_shrinkage_rows: f64,
    /// After how many further outcomes of its bin an outcome counts half.
    pub calibration_half_life_rows: f64,
    /// By how much higher a quantile of the time is answered than the decision asks, as a level.
    pub time_quantile_shift: f64,
    /// The pause between two sampled records of low information from one validator, in seconds.
    pub low_interval_seconds: f64,
    /// The pause between two sampled records of high information from one validator, in seconds.
    pub high_interval_seconds: f64,
}

impl Default for Tunables {
    fn default() -> Tunables {
        let default = |parameter: Parameter| parameter.spec().default;
        Tunables {
            threshold_offset: default(Parameter::ThresholdOffset),
            calibration_shrinkage_rows: default(Parameter::CalibrationShrinkageRows),
            calibration_half_life_rows: default(Parameter::CalibrationHalfLifeRows),
            time_quantile_shift: default(Parameter::TimeQuantileShift),
            low_interval_seconds: default(Parameter::LowIntervalSeconds),
            high_interval_seconds: default(Parameter::HighIntervalSeconds),
        }
    }
}

impl Tunables {
    /// The value of one parameter.
    pub fn get(&self, parameter: Parameter) -> f64 {
        let mut copy = *self;
        *copy.value_of(parameter)
    }

    /// Sets the value of one parameter.
    pub fn set(&mut self, parameter: Parameter, value: f64) {
        *self.value_of(parameter) = value;
    }

    fn value_of(&mut self, parameter: Parameter) -> &mut f64 {
        match parameter {
            Parameter::ThresholdOffset => &mut self.threshold_offset,
            Parameter::CalibrationShrinkageRows => &mut self.calibration_shrinkage_rows,
            Parameter::CalibrationHalfLifeRows => &mut self.calibration_half_life_rows,
            Parameter::TimeQuantileShift => &mut self.time_quantile_shift,
            Parameter::LowIntervalSeconds => &mut self.low_interval_seconds,
            Parameter::HighIntervalSeconds => &mut self.high_interval_seconds,
        }
    }

    /// Whether a miner can run with these values.
    pub fn is_valid(&self) -> bool {
        PARAMETERS.iter().all(|spec| spec.parameter.can_be(self.get(spec.parameter)))
    }

    /// Changes a miner's answers as these values ask. What a recalibration has counted stays; only how
    /// much it counts for, and how it is forgotten from now on, is changed.
    pub fn adjust(&self, adjustment: &mut Adjustment) {
        adjustment.threshold_offset = self.threshold_offset;
        adjustment.time_quantile_shift = self.time_quantile_shift;
        if let Some(recalibration) = &mut adjustment.recalibration {
            recalibration.prior_rows = self.calibration_shrinkage_rows;
            recalibration.bins.half_life_rows = Some(self.calibration_half_life_rows);
        }
    }

    /// The pause between two sampled records of low information.
    pub fn low_interval(&self) -> Duration {
        duration(self.low_interval_seconds)
    }

    /// The pause between two sampled records of high information.
    pub fn high_interval(&self) -> Duration {
        duration(self.high_interval_seconds)
    }
}

/// What is no duration counts as none.
fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::adjustment::Recalibration;

    #[test]
    fn the_default_changes_nothing() {
        let mut adjustment = Adjustment::default();
        Tunables::default().adjust(&mut adjustment);
        assert_eq!(adjustment, Adjustment::default());
        assert_eq!(
            serde_json::to_value(Tunables::default()).unwrap(),
            serde_json::json!({
                "threshold_offset": 0.0, "calibration_shrinkage_rows": 50.0,
                "calibration_half_life_rows": 500.0, "time_quantile_shift": 0.0,
                "low_interval_seconds": 1800.0, "high_interval_seconds": 900.0,
            })
        );
    }

    #[test]
    fn every_value_arrives() {
        let mut tunables = Tunables::default();
        for (value, spec) in [0.1, 20.0, 100.0, -0.05, 600.0, 300.0].into_iter().zip(&PARAMETERS) {
            tunables.set(spec.parameter, value);
            assert_eq!(tunables.get(spec.parameter), value, "{}", spec.name);
        }
        assert!(tunables.is_valid());
        let mut adjustment = Adjustment {
            recalibration: Some(Recalibration::new("a", 10, 50.0)),
            ..Adjustment::default()
        };
        if let Some(learned) = &mut adjustment.recalibration {
            learned.observe(0.25, true);
        }
        tunables.adjust(&mut adjustment);
        let learned = adjustment.recalibration.clone().unwrap();
        assert_eq!((adjustment.threshold_offset, adjustment.time_quantile_shift), (0.1, -0.05));
        assert_eq!((learned.prior_rows, learned.bins.half_life_rows), (20.0, Some(100.0)));
        assert_eq!(learned.bins.rows(), 1.0, "what was counted stays");
        assert!(adjustment.is_valid());
        assert_eq!(tunables.low_interval(), Duration::from_secs(600));
        assert_eq!(tunables.high_interval(), Duration::from_secs(300));
    }

    #[test]
    fn what_cannot_be_is_seen() {
        for bad in [f64::NAN, -1.5, f64::INFINITY] {
            let tunables = Tunables { threshold_offset: bad, ..Tunables::default() };
            assert!(!tunables.is_valid(), "{bad}");
        }
        let tunables = Tunables { low_interval_seconds: -1.0, ..Tunables::default() };
        assert!(!tunables.is_valid());
        assert_eq!(tunables.low_interval(), Duration::ZERO);
    }
}
