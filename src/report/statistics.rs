//! Means with their errors, and the two kinds of interval that the report draws.

use serde::{Deserialize, Serialize};

/// Standard errors on either side of a mean that 95 % of the normal distribution lie within.
const Z95: f64 = 1.959_963_984_540_054;

/// A mean over rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Mean {
    /// The mean.
    pub mean: f64,
    /// Its standard error; absent for fewer than two rows.
    pub standard_error: Option<f64>,
}

/// The bounds of an interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The lower bound.
    pub low: f64,
    /// The upper bound.
    pub high: f64,
}

impl Mean {
    /// The mean of at least one value.
    pub(crate) fn of(values: &[f64]) -> Mean {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let standard_error =
            (values.len() > 1).then(|| (squares / (count - 1.0)).sqrt() / count.sqrt());
        Mean { mean, standard_error }
    }

    /// How much more the first has than the second, row by row: what both find hard or easy
    /// falls out of the error.
    pub(crate) fn of_difference(left: &[f64], right: &[f64]) -> Mean {
        assert_eq!(left.len(), right.len(), "a difference has two values a row. This is a bug.");
        let differences: Vec<f64> =
            left.iter().zip(right).map(|(left, right)| left - right).collect();
        Mean::of(&differences)
    }

    /// The 95 % interval of the normal distribution; without an error, the mean alone.
    pub(crate) fn interval(&self) -> Interval {
        let half = Z95 * self.standard_error.unwrap_or(0.0);
        Interval { low: self.mean - half, high: self.mean + half }
    }

    /// The mean of the other sign.
    pub(crate) fn negated(self) -> Mean {
        Mean { mean: -self.mean, ..self }
    }
}

/// Wilson's 95 % interval of a share; all of 0..=1 where there is nothing to count.
pub(crate) fn share_interval(count: usize, of: usize) -> Interval {
    if of == 0 {
        return Interval { low: 0.0, high: 1.0 };
    }
    let (rows, share) = (of as f64, count as f64 / of as f64);
    let square = Z95 * Z95;
    let middle = (share + square / (2.0 * rows)) / (1.0 + square / rows);
    let spread = (share * (1.0 - share) / rows + square / (4.0 * rows * rows)).sqrt();
    let half = Z95 / (1.0 + square / rows) * spread;
    Interval { low: (middle - half).max(0.0), high: (middle + half).min(1.0) }
}

/// The quantile of a level in 0..=1, linear between the values; NaN for none.
pub(crate) fn quantile(sorted: &[f64], level: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let place = last as f64 * level;
    let (below, above) = (sorted[place as usize], sorted[(place as usize + 1).min(last)]);
    below + (above - below) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_by_hand() {
        // The mean is 2, the deviation sqrt((1 + 0 + 1) / 2) = 1.
        let mean = Mean::of(&[1.0, 2.0, 3.0]);
        assert_eq!(mean.mean, 2.0);
        assert!((mean.standard_error.unwrap() - 1.0 / 3.0_f64.sqrt()).abs() < 1e-12);
        let half = 1.959_963_984_540_054 / 3.0_f64.sqrt();
        assert!((mean.interval().low - (2.0 - half)).abs() < 1e-12);
        assert!((mean.interval().high - (2.0 + half)).abs() < 1e-12);
        let one = Mean::of(&[5.0]);
        assert_eq!((one.mean, one.standard_error), (5.0, None));
        assert_eq!(one.interval(), Interval { low: 5.0, high: 5.0 });
    }

    #[test]
    fn a_difference_is_paired() {
        // Far apart rows, but always 1 more.
        let difference = Mean::of_difference(&[2.0, 101.0, -6.0], &[1.0, 100.0, -7.0]);
        assert_eq!((difference.mean, difference.standard_error), (1.0, Some(0.0)));
        assert_eq!(difference.negated().mean, -1.0);
    }

    /// ```python
    /// from statsmodels.stats.proportion import proportion_confint
    /// proportion_confint(8, 10, method="wilson")   # 0.49016247, 0.94331781
    /// proportion_confint(0, 10, method="wilson")   # 0.0, 0.27753279
    /// ```
    #[test]
    fn shares_by_reference() {
        for (count, of, low, high) in
            [(8, 10, 0.490_162_47, 0.943_317_81), (0, 10, 0.0, 0.277_532_79), (0, 0, 0.0, 1.0)]
        {
            let interval = share_interval(count, of);
            assert!((interval.low - low).abs() < 1e-7, "{count} of {of}: {interval:?}");
            assert!((interval.high - high).abs() < 1e-7, "{count} of {of}: {interval:?}");
        }
    }

    #[test]
    fn quantiles_by_hand() {
        let sorted = [1.0, 2.0, 4.0];
        for (level, expected) in [(0.0, 1.0), (0.25, 1.5), (0.5, 2.0), (0.75, 3.0), (1.0, 4.0)] {
            assert_eq!(quantile(&sorted, level), expected);
        }
        assert_eq!(quantile(&[3.0], 0.4), 3.0);
        assert!(quantile(&[], 0.5).is_nan());
    }
}
