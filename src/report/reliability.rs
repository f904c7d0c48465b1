//! Whether what the miner says comes true as often as it says.

use serde::Serialize;

use super::Subject;
use crate::train::evaluation::{
    ReliabilityBin, brier, expected_calibration_error, log_loss, reliability,
};

/// Bins of the diagram.
const BINS: usize = 10;
/// Bins of the histogram.
const HISTOGRAM_BINS: usize = 20;

/// The reliability of the networks' own probabilities, and of the confidences that are sent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReliabilityPair {
    /// Before calibration.
    pub before: ReliabilityScores,
    /// After it.
    pub after: ReliabilityScores,
    /// How many rows have a confidence in each of twenty bins of equal width.
    pub histogram: Vec<usize>,
}

/// How reliable probabilities are.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReliabilityScores {
    /// What each of ten bins of equal width said, and what came true.
    pub bins: Vec<ReliabilityBin>,
    /// The expected calibration error over these bins.
    pub ece: f64,
    /// The mean logarithmic loss, in nats.
    pub log_loss: f64,
    /// The mean squared error.
    pub brier: f64,
}

impl ReliabilityPair {
    pub(super) fn of(subject: Subject<'_>) -> ReliabilityPair {
        let converted = subject.converted();
        let raw: Vec<f64> =
            subject.said.estimates.iter().map(|estimate| estimate.probability).collect();
        let confidences = &subject.said.confidences;
        let histogram = reliability(confidences, &converted, HISTOGRAM_BINS);
        ReliabilityPair {
            before: ReliabilityScores::of(&raw, &converted),
            after: ReliabilityScores::of(confidences, &converted),
            histogram: histogram.into_iter().map(|bin| bin.rows).collect(),
        }
    }
}

impl ReliabilityScores {
    fn of(probabilities: &[f64], converted: &[bool]) -> ReliabilityScores {
        let losses = probabilities.iter().zip(converted);
        let losses: f64 = losses.map(|(said, converted)| log_loss(*said, *converted)).sum();
        ReliabilityScores {
            bins: reliability(probabilities, converted, BINS),
            ece: expected_calibration_error(probabilities, converted, BINS),
            log_loss: losses / probabilities.len() as f64,
            brier: brier(probabilities, converted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_by_hand() {
        let scores = ReliabilityScores::of(&[0.25, 0.75], &[false, false]);
        assert!((scores.ece - 0.5).abs() < 1e-12);
        assert!((scores.log_loss - -(0.75_f64.ln() + 0.25_f64.ln()) / 2.0).abs() < 1e-12);
        assert!((scores.brier - (0.0625 + 0.5625) / 2.0).abs() < 1e-12);
        let rows: Vec<usize> = scores.bins.iter().map(|bin| bin.rows).collect();
        assert_eq!(rows, [0, 0, 1, 0, 0, 0, 0, 1, 0, 0]);
    }
}
