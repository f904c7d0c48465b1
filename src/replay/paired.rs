//! Whether one way to answer earns more than another, on the same conversations.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

/// Resamples of few rows.
const MOST_RESAMPLES: usize = 2000;
/// Resamples of many rows, whose mean hardly varies.
const FEWEST_RESAMPLES: usize = 400;
/// Rows that are drawn in all, while that leaves resamples enough: half a second or so.
const DRAWS: usize = 60_000_000;

/// How much more the one earns than the other on the same rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Difference {
    /// Rows.
    pub rows: usize,
    /// The mean over rows of what the one earns above the other.
    pub mean: f64,
    /// The 2.5th percentile of that mean over resampled rows.
    pub low: f64,
    /// The 97.5th.
    pub high: f64,
    /// The share of the resamples in which the one earns more; ties count half.
    pub more_share: f64,
    /// Resamples.
    pub resamples: usize,
}

/// The paired bootstrap of `one - other`: rows are drawn with replacement, and both answers of a row
/// stay together, so that what is hard for both falls out. The same seed gives the same numbers.
/// `None` without rows.
///
/// # Panics
///
/// If there are not as many rewards of the one as of the other.
pub fn difference(one: &[f64], other: &[f64], seed: u64) -> Option<Difference> {
    assert_eq!(one.len(), other.len(), "two rewards a row. This is a bug.");
    let differences: Vec<f64> = one.iter().zip(other).map(|(one, other)| one - other).collect();
    let rows = differences.len();
    if rows == 0 {
        return None;
    }
    let resamples = (DRAWS / rows).clamp(FEWEST_RESAMPLES, MOST_RESAMPLES);
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut resample = || {
        let drawn = (0..rows).map(|_| differences[random.random_range(0..rows)]);
        drawn.sum::<f64>() / rows as f64
    };
    let mut means: Vec<f64> = (0..resamples).map(|_| resample()).collect();
    means.sort_by(f64::total_cmp);
    let below = means.partition_point(|mean| *mean < 0.0);
    let upto = means.partition_point(|mean| *mean <= 0.0);
    let more = (resamples - upto) as f64 + (upto - below) as f64 / 2.0;
    Some(Difference {
        rows,
        mean: differences.iter().sum::<f64>() / rows as f64,
        low: quantile(&means, 0.025),
        high: quantile(&means, 0.975),
        more_share: more / resamples as f64,
        resamples,
    })
}

/// The quantile of a level in 0..=1 of at least one value, linear between the values.
fn quantile(sorted: &[f64], level: f64) -> f64 {
    let last = sorted.len() - 1;
    let place = last as f64 * level;
    let (below, above) = (sorted[place as usize], sorted[(place as usize + 1).min(last)]);
    below + (above - below) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_always_more_is_surely_more() {
        let other: Vec<f64> = (0..50).map(|row| f64::from(row) * 7.0).collect();
        let one: Vec<f64> = other.iter().map(|reward| reward + 0.5).collect();
        let found = difference(&one, &other, 1).unwrap();
        assert_eq!((found.mean, found.low, found.high, found.more_share), (0.5, 0.5, 0.5, 1.0));
        let same = difference(&one, &one, 1).unwrap();
        assert_eq!((same.mean, same.low, same.high, same.more_share), (0.0, 0.0, 0.0, 0.5));
        assert_eq!(difference(&[], &[], 1), None);
    }

    /// ```python
    /// import random
    /// d = [(row * 37 % 101) / 100 - 0.45 for row in range(200)]
    /// random.seed(0)
    /// means = sorted(sum(random.choices(d, k=200)) / 200 for _ in range(40000))
    /// sum(d) / 200, means[1000], means[39000]    # 0.05044999, 0.00994999, 0.09174999
    /// sum(mean > 0 for mean in means) / 40000    # 0.992275
    /// ```
    #[test]
    fn an_interval_by_reference() {
        let differences: Vec<f64> =
            (0..200).map(|row| f64::from(row * 37 % 101) / 100.0 - 0.45).collect();
        let zero = vec![0.0; 200];
        let found = difference(&differences, &zero, 1).unwrap();
        assert!((found.mean - 0.050_45).abs() < 1e-12, "{found:?}");
        assert!((found.low - 0.009_95).abs() < 0.004, "{found:?}");
        assert!((found.high - 0.091_75).abs() < 0.004, "{found:?}");
        assert!((found.more_share - 0.992).abs() < 0.005, "{found:?}");
        assert_eq!(difference(&differences, &zero, 1), Some(found));
        let turned = difference(&zero, &differences, 1).unwrap();
        assert!((turned.mean + found.mean).abs() < 1e-12 && (turned.low + found.high).abs() < 1e-9);
    }
}
