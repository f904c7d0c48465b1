//! The times: predicted against true, the errors of the answers, and how well the spread is known.

use serde::Serialize;

use super::Subject;
use super::statistics::{Interval, quantile, share_interval};
use crate::subnet::reward::TIME_WINDOW_SECONDS;

/// Points of the scatter at most: more would be one blot.
const MOST_POINTS: usize = 600;
/// Bins of the histogram, roughly.
const ERROR_BINS: f64 = 36.0;
/// Points of the band of the predictive distribution.
const SPREAD_POINTS: usize = 25;

/// The times of the rows that converted, whatever class was answered.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TimeReport {
    /// Rows that converted.
    pub rows: usize,
    /// The mean absolute error of the answered time, in seconds.
    pub mae_seconds: f64,
    /// The median error, answered minus true, in seconds: not 0 where the times are biased.
    pub median_error_seconds: f64,
    /// The share of errors that are small enough to earn something.
    pub within_window: f64,
    /// Predicted and true times of some of the rows, evenly picked.
    pub points: Vec<PredictedTime>,
    /// How many errors lie where; the first and the last hundredth are left out.
    pub errors: Vec<ErrorBin>,
    /// Errors that lie outside of all bins.
    pub errors_outside: usize,
    /// The mean continuous ranked probability score of the predictive distribution, in seconds;
    /// absent if there is none.
    pub crps_seconds: Option<f64>,
    /// How often the truth lay below quantiles of the distribution; empty if there is none.
    pub coverage: Vec<CoveragePoint>,
    /// Where the distribution lies around a predicted time; empty if there is none.
    pub spread: Vec<TimeSpread>,
}

/// A predicted and a true time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PredictedTime {
    /// What the regressors say, in seconds.
    pub predicted_seconds: f64,
    /// The truth, in seconds.
    pub true_seconds: f64,
}

/// A bin of errors.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ErrorBin {
    /// Its lower bound, in seconds.
    pub from_seconds: f64,
    /// Its upper bound, in seconds.
    pub to_seconds: f64,
    /// Rows in it.
    pub rows: usize,
}

/// A level, and the share of true times below its quantile.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CoveragePoint {
    /// The quantile's level, in 0..=1.
    pub level: f64,
    /// The share of true times at or below it.
    pub below: f64,
    /// The share's 95 % interval.
    pub interval: Interval,
}

/// The predictive distribution around a predicted time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct TimeSpread {
    /// What the regressors say, in seconds.
    pub predicted_seconds: f64,
    /// Its 5 % quantile, in seconds.
    pub low_seconds: f64,
    /// Its median, in seconds.
    pub median_seconds: f64,
    /// Its 95 % quantile, in seconds.
    pub high_seconds: f64,
}

impl TimeReport {
    pub(super) fn of(subject: Subject<'_>) -> Option<TimeReport> {
        let (predictor, said) = (subject.predictor, subject.said);
        let rows = said.estimates.iter().zip(subject.rows.truths);
        let (mut errors, pairs): (Vec<f64>, Vec<PredictedTime>) = rows
            .filter(|(_, truth)| truth.converted)
            .map(|(estimate, truth)| {
                let predicted_seconds = estimate.time_seconds;
                let pair = PredictedTime { predicted_seconds, true_seconds: truth.time_seconds };
                (predictor.time_of(*estimate) - truth.time_seconds, pair)
            })
            .unzip();
        if errors.is_empty() {
            return None;
        }
        errors.sort_by(f64::total_cmp);
        let count = errors.len() as f64;
        let bins = error_bins(&errors);
        let inside: usize = bins.iter().map(|bin| bin.rows).sum();
        let earning = errors.iter().filter(|error| error.abs() < TIME_WINDOW_SECONDS);
        let scores = said.evaluation.time_distribution.as_ref();
        Some(TimeReport {
            rows: errors.len(),
            mae_seconds: errors.iter().map(|error| error.abs()).sum::<f64>() / count,
            median_error_seconds: quantile(&errors, 0.5),
            within_window: earning.count() as f64 / count,
            errors_outside: errors.len() - inside,
            errors: bins,
            crps_seconds: scores.map(|scores| scores.crps_seconds),
            coverage: scores.map_or_else(Vec::new, |scores| {
                let point = |level, below: f64| {
                    let count = (below * scores.rows as f64).round() as usize;
                    CoveragePoint { level, below, interval: share_interval(count, scores.rows) }
                };
                scores.coverage.iter().map(|found| point(found.level, found.below)).collect()
            }),
            spread: spread(subject, &pairs),
            points: pairs.iter().step_by(pairs.len().div_ceil(MOST_POINTS)).copied().collect(),
        })
    }
}

fn error_bins(sorted: &[f64]) -> Vec<ErrorBin> {
    let (low, high) = (quantile(sorted, 0.01), quantile(sorted, 0.99));
    let width = ((high - low) / ERROR_BINS).max(1e-3);
    // Round widths, and a border at 0.
    let unit = 10_f64.powf(width.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * unit);
    let step = step.into_iter().find(|step| *step >= width * 0.999).unwrap_or(width);
    let (first, last) = ((low / step).floor(), (high / step).floor());
    let count = (last - first) as usize + 1;
    (0..count)
        .map(|index| {
            let from = (first + index as f64) * step;
            let to = (first + index as f64 + 1.0) * step;
            let rows = sorted.partition_point(|error| *error < to)
                - sorted.partition_point(|error| *error < from);
            ErrorBin { from_seconds: from, to_seconds: to, rows }
        })
        .collect()
}

fn spread(subject: Subject<'_>, pairs: &[PredictedTime]) -> Vec<TimeSpread> {
    let Some(distribution) = &subject.predictor.decision.times else { return Vec::new() };
    let mut predicted: Vec<f64> = pairs.iter().map(|pair| pair.predicted_seconds).collect();
    predicted.sort_by(f64::total_cmp);
    let (low, high) = (predicted[0], predicted[predicted.len() - 1]);
    (0..SPREAD_POINTS)
        .map(|index| {
            let part = index as f64 / (SPREAD_POINTS - 1) as f64;
            let predicted_seconds = low + (high - low) * part;
            let at = |level| distribution.quantile(level, predicted_seconds);
            TimeSpread {
                predicted_seconds,
                low_seconds: at(0.05),
                median_seconds: at(0.5),
                high_seconds: at(0.95),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_by_hand() {
        // 1 % and 99 % quantiles -10 and 20 or so: a width of 1 s.
        let sorted: Vec<f64> = (0..=300).map(|index| f64::from(index) / 10.0 - 10.0).collect();
        let bins = error_bins(&sorted);
        assert!(bins.iter().any(|bin| bin.from_seconds == 0.0));
        assert!(bins.windows(2).all(|pair| pair[0].to_seconds == pair[1].from_seconds));
        assert_eq!((bins[0].from_seconds, bins[0].rows), (-10.0, 10));
        assert_eq!(bins.last().unwrap().to_seconds, 20.0);
        let equal = error_bins(&[2.0, 2.0, 2.0]);
        assert_eq!(equal.len(), 1);
        assert_eq!(equal[0].rows, 3);
    }
}
