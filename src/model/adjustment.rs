//! What is changed in a trained miner's answers while it runs: by its operator, within bounds, and by
//! what became of earlier answers.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::calibration::{Bins, bin_of};

/// What is changed in a trained miner's answers. The default changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Adjustment {
    /// By how much more probable than the decision asks a conversion must be for "converts".
    pub threshold_offset: f64,
    /// By how much higher a quantile of the time is answered than the decision asks, as a level: 0.05
    /// answers the 55th percentile in place of the median.
    pub time_quantile_shift: f64,
    /// Corrects the confidence by what became of earlier answers.
    pub recalibration: Option<Recalibration>,
}

/// A correction of the confidence that goes on learning: in bins of what the checkpoint's own
/// calibration says, the share that converted, mixed with what it says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recalibration {
    /// Which calibration of which checkpoint it corrects. For any other it means nothing.
    pub of: String,
    /// How many rows the checkpoint's own confidence counts for in each bin: the shrinkage.
    pub prior_rows: f64,
    /// What was counted, and how it is forgotten.
    pub bins: Bins,
}

impl Recalibration {
    /// One that has counted nothing, and so changes nothing.
    pub fn new(of: &str, bins: usize, prior_rows: f64) -> Recalibration {
        Recalibration { of: of.to_owned(), prior_rows, bins: Bins::new(bins) }
    }

    /// The corrected confidence: `(converted + prior * confidence) / (rows + prior)` of its bin.
    pub fn apply(&self, confidence: f64) -> f64 {
        let bins = &self.bins.bins;
        if bins.is_empty() || confidence.is_nan() {
            return confidence;
        }
        let bin = bins[bin_of(confidence, bins.len())];
        let weight = bin.rows + self.prior_rows;
        if weight > 0.0 {
            (bin.converted + self.prior_rows * confidence) / weight
        } else {
            confidence
        }
    }

    /// Counts what became of an answer of which the checkpoint's own calibration said `confidence`.
    pub fn observe(&mut self, confidence: f64, converted: bool) {
        self.bins.observe(confidence, converted);
    }

    /// Whether the numbers can be computed with.
    pub fn is_valid(&self) -> bool {
        self.prior_rows >= 0.0 && self.prior_rows.is_finite() && self.bins.is_valid()
    }
}

impl Adjustment {
    /// The confidence to send for what the checkpoint's own calibration says.
    pub fn confidence(&self, calibrated: f64) -> f64 {
        self.recalibration.as_ref().map_or(calibrated, |learned| learned.apply(calibrated))
    }

    /// The adjustment as it holds for one calibration.
    pub fn of(&self, calibration: &str) -> Cow<'_, Adjustment> {
        match &self.recalibration {
            Some(learned) if learned.of != calibration => {
                Cow::Owned(Adjustment { recalibration: None, ..*self })
            }
            _ => Cow::Borrowed(self),
        }
    }

    /// Whether the numbers can be computed with.
    pub fn is_valid(&self) -> bool {
        (-1.0..=1.0).contains(&self.threshold_offset)
            && (-1.0..=1.0).contains(&self.time_quantile_shift)
            && self.recalibration.as_ref().is_none_or(Recalibration::is_valid)
    }
}

/// The adjustment in force, shared by who answers and who changes it.
#[derive(Debug, Default)]
pub struct Adjusting(Mutex<Arc<Adjustment>>);

impl Adjusting {
    /// One that begins with this adjustment.
    pub fn new(adjustment: Adjustment) -> Adjusting {
        Adjusting(Mutex::new(Arc::new(adjustment)))
    }

    /// The adjustment in force.
    pub fn current(&self) -> Arc<Adjustment> {
        // What is replaced is replaced whole, so a panic leaves nothing half-written.
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the adjustment for all answers that begin from now on.
    pub fn update(&self, change: impl FnOnce(&mut Adjustment)) {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut current));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recalibration_by_hand() {
        let mut learned = Recalibration::new("a", 10, 5.0);
        assert_eq!(learned.apply(0.25), 0.25);
        for converted in [true, true, true, false, true] {
            learned.observe(0.22, converted);
        }
        // (4 + 5 * 0.25) / (5 + 5)
        assert!((learned.apply(0.25) - 0.525).abs() < 1e-12);
        assert_eq!(learned.apply(0.35), 0.35, "another bin has counted nothing");
        assert!(learned.apply(f64::NAN).is_nan());
        let trusting = Recalibration { prior_rows: 0.0, ..learned };
        assert!((trusting.apply(0.25) - 0.8).abs() < 1e-12);
        assert_eq!(trusting.apply(0.95), 0.95);
    }

    #[test]
    fn who_answers_sees_one_adjustment_whole() {
        let adjusting = Adjusting::default();
        let before = adjusting.current();
        adjusting.update(|adjustment| adjustment.threshold_offset = 0.1);
        assert_eq!(before.threshold_offset, 0.0);
        assert_eq!(adjusting.current().threshold_offset, 0.1);
        assert!(adjusting.current().is_valid());
        adjusting.update(|adjustment| adjustment.threshold_offset = f64::NAN);
        assert!(!adjusting.current().is_valid());
    }
}
