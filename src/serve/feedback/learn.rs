//! The recalibration that truths teach, and whether it may be trusted.
//!
//! Bad labels teach nonsense, and a calibration that was good needs no other. So what was learned is
//! measured as it was learned: each truth first tells which confidence was nearer, the checkpoint's own
//! or the corrected one as it stood before, and only then counts. A conversation that several
//! validators asked about has one truth and is one lesson. The correction is in force while, of the
//! last [`COMPARED`] truths, its log loss is lower by more than one standard error of the paired
//! differences. Otherwise it goes on counting.

use serde::{Deserialize, Serialize};

use crate::model::adjustment::Recalibration;
use crate::tune::Tunables;

/// In how many bins of confidence outcomes are counted.
const BINS: usize = 10;
/// Over how many of the last truths it is measured.
pub(super) const COMPARED: usize = 200;
/// With fewer truths the difference says nothing.
pub(super) const FEWEST: usize = 100;
/// A confidence counts as no nearer to 0 or 1: a single truth must not decide alone.
const NEAREST: f64 = 1e-6;

/// A confidence by the checkpoint's own calibration, and what came true.
pub(super) type Lesson = (f64, bool);

/// How a recalibration did on the last truths, each before it counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// From how many truths it has learned, one a conversation.
    pub truths: u64,
    /// On how many of the last ones it was measured.
    pub compared: usize,
    /// By how much its mean log loss is lower than that of the checkpoint's own confidence.
    pub gain: f64,
    /// The standard error of that.
    pub standard_error: f64,
}

impl Judgement {
    /// Whether the recalibration may change answers.
    pub fn is_good(&self) -> bool {
        self.compared >= FEWEST && self.gain > self.standard_error
    }

    /// What the differences say.
    fn of(truths: usize, gains: &[f64]) -> Judgement {
        let count = gains.len() as f64;
        let mean = gains.iter().sum::<f64>() / count.max(1.0);
        let squares: f64 = gains.iter().map(|gain| (gain - mean).powi(2)).sum();
        let variance = squares / (count - 1.0).max(1.0);
        Judgement {
            truths: truths as u64,
            compared: gains.len(),
            gain: mean,
            standard_error: (variance / count.max(1.0)).sqrt(),
        }
    }
}

/// What lessons teach about the calibration called `of`, in order of time.
pub(super) fn learn(
    of: &str,
    lessons: &[Lesson],
    tunables: &Tunables,
) -> (Recalibration, Judgement) {
    let mut learned = Recalibration::new(of, BINS, tunables.calibration_shrinkage_rows);
    learned.bins.half_life_rows = Some(tunables.calibration_half_life_rows);
    let mut gains = Vec::with_capacity(COMPARED.min(lessons.len()));
    let first = lessons.len().saturating_sub(COMPARED);
    for (place, (confidence, converted)) in lessons.iter().enumerate() {
        if place >= first {
            let corrected = learned.apply(*confidence);
            gains.push(log_loss(*confidence, *converted) - log_loss(corrected, *converted));
        }
        learned.observe(*confidence, *converted);
    }
    let judgement = Judgement::of(lessons.len(), &gains);
    (learned, judgement)
}

fn log_loss(confidence: f64, converted: bool) -> f64 {
    let said = if converted { confidence } else { 1.0 - confidence };
    -said.max(NEAREST).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Tunables = Tunables {
        threshold_offset: 0.0,
        calibration_shrinkage_rows: 10.0,
        calibration_half_life_rows: 1e12,
        time_quantile_shift: 0.0,
        low_interval_seconds: 1800.0,
        high_interval_seconds: 900.0,
    };

    /// Truths of which every `one_in`th converted.
    fn lessons(confidence: f64, count: usize, one_in: usize) -> Vec<Lesson> {
        (0..count).map(|row| (confidence, row % one_in == 0)).collect()
    }

    /// ```python
    /// from math import log, sqrt
    /// rows, converted, gains = 0, 0, []
    /// for truth in [1, 0, 0, 1]:
    ///     corrected = (converted + 10 * .25) / (rows + 10)
    ///     said = lambda p: p if truth else 1 - p
    ///     gains.append(log(said(corrected)) - log(said(.25)))
    ///     rows, converted = rows + 1, converted + truth
    /// mean = sum(gains) / 4
    /// print(mean, sqrt(sum((g - mean)**2 for g in gains) / 3 / 4))
    /// # -0.01959015537263792 0.0368646278448506
    /// ```
    #[test]
    fn each_truth_is_judged_before_it_counts() {
        let four = [(0.25, true), (0.25, false), (0.25, false), (0.25, true)];
        let (learned, judgement) = learn("a", &four, &PLAIN);
        assert_eq!(learned.of, "a");
        assert!((learned.bins.rows() - 4.0).abs() < 1e-6);
        assert_eq!((judgement.truths, judgement.compared), (4, 4));
        assert!((judgement.gain + 0.01959015537263792).abs() < 1e-9, "{judgement:?}");
        assert!((judgement.standard_error - 0.0368646278448506).abs() < 1e-9, "{judgement:?}");
        assert!(!judgement.is_good());
        assert_eq!(learn("a", &[], &PLAIN).1, Judgement::default());
    }

    #[test]
    fn it_is_in_force_while_it_is_better_and_measured_on_enough() {
        // 0.5 is said of what converts once in ten times.
        let wrong = lessons(0.5, 300, 10);
        assert!(learn("a", &wrong, &PLAIN).1.is_good());
        assert!(!learn("a", &wrong[..99], &PLAIN).1.is_good(), "too few");
        // What is said is right, as far as one can tell.
        let right = lessons(0.1, 300, 10);
        let (learned, judgement) = learn("a", &right, &PLAIN);
        assert!(!judgement.is_good(), "{judgement:?}");
        assert!((learned.bins.rows() - 300.0).abs() < 1e-6, "it goes on counting");
    }

    /// For a while all labels are wrong. The correction learns them, and is out of force again once
    /// none of those that it is measured on is wrong.
    #[test]
    fn bad_labels_do_not_last() {
        let mut all = lessons(0.1, 400, 10);
        all.extend(lessons(0.1, 200, 10).into_iter().map(|(said, truth)| (said, !truth)));
        assert!(learn("a", &all, &PLAIN).1.is_good(), "who could know");
        all.extend(lessons(0.1, 200, 10));
        assert!(!learn("a", &all, &PLAIN).1.is_good());
    }
}
