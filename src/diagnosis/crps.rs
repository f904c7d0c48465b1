//! How far a sample of a predictive distribution lies from what happened.

/// The continuous ranked probability score of a sample that stands for a distribution, and what
/// happened, in the unit of both; less is better. `None` without a sample, or where any number is
/// not finite.
///
/// The distribution is the one that gives each of the `n` values the weight `1 / n`. Its score has
/// a closed form, which is exact:
///
/// ```text
/// mean over i of |x_i - truth| - 1/2 * mean over i and j of |x_i - x_j|
/// ```
///
/// With the values ascending and counted from 0, the second mean is `2 / n² * sum of
/// (2 i + 1 - n) x_i`, so it takes as long as sorting. Gneiting and Raftery, Strictly proper
/// scoring rules, prediction, and estimation, JASA 102 (2007), equation 21.
pub fn crps_of_sample(sample: &[f64], truth: f64) -> Option<f64> {
    if sample.is_empty() || !truth.is_finite() || sample.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let mut sorted = sample.to_vec();
    sorted.sort_by(f64::total_cmp);
    let count = sorted.len() as f64;
    let distance: f64 = sorted.iter().map(|value| (value - truth).abs()).sum();
    // Distances from the truth in place of the values: the weights add up to nothing, and large
    // values that lie close together would cancel.
    let spread: f64 = sorted
        .iter()
        .enumerate()
        .map(|(index, value)| (2.0 * index as f64 + 1.0 - count) * (value - truth))
        .sum();
    Some((distance / count - spread / (count * count)).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        // One value: the distance. Two, 0 and 4, and 1: (1 + 3) / 2 - 1/2 * (2 * 4) / 4 = 1.
        assert_eq!(crps_of_sample(&[5.0], 2.0), Some(3.0));
        assert_eq!(crps_of_sample(&[4.0, 0.0], 1.0), Some(1.0));
        assert_eq!(crps_of_sample(&[7.0; 5], 7.0), Some(0.0));
        for (sample, truth) in [
            (vec![], 1.0),
            (vec![1.0, f64::NAN], 1.0),
            (vec![1.0], f64::NAN),
            (vec![1.0], -1.0 / 0.0),
        ] {
            assert_eq!(crps_of_sample(&sample, truth), None);
        }
    }

    /// ```python
    /// import numpy as np, properscoring as ps   # 0.1
    /// q = np.array([50 + 3.7 * i + 0.11 * i * i for i in range(19)])
    /// for y in (20.0, 50.0, 83.3, 95.25, 200.0): print(repr(float(ps.crps_ensemble(y, q))))
    /// print(ps.crps_ensemble(3.0, [1.0, 4.0, 4.0, 10.0]))
    /// s = np.random.default_rng(3).gamma(2, 40, 19).round(3)
    /// print(list(s), ps.crps_ensemble(61.5, s))
    /// ```
    #[test]
    fn as_properscoring_has_it() {
        let near = |found: Option<f64>, expected: f64| {
            let found = found.unwrap();
            assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
        };
        let quantiles: Vec<f64> =
            (0..19).map(f64::from).map(|index| 50.0 + 3.7 * index + 0.11 * index * index).collect();
        for (truth, expected) in [
            (20.0, 57.573_157_894_736_84),
            (50.0, 27.573_157_894_736_845),
            (83.3, 9.788_947_368_421_056),
            (95.25, 9.128_421_052_631_577),
            (200.0, 86.553_157_894_736_81),
        ] {
            near(crps_of_sample(&quantiles, truth), expected);
        }
        near(crps_of_sample(&[1.0, 4.0, 4.0, 10.0], 3.0), 1.0625);
        let unsorted = [
            237.353, 90.672, 45.917, 7.301, 31.225, 79.019, 53.17, 25.675, 94.78, 129.364, 67.927,
            98.964, 57.664, 224.837, 54.864, 30.568, 123.415, 71.505, 28.376,
        ];
        near(crps_of_sample(&unsorted, 61.5), 12.013_329_639_889_196);
    }

    /// Against both means as they are written, for large values that lie close together.
    #[test]
    fn nothing_cancels() {
        let sample: Vec<f64> = (0..100).map(|index| 1e9 + f64::from(index * 37 % 101)).collect();
        let truth = 1e9 + 40.25;
        let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
        let distance = mean(sample.iter().map(|value| (value - truth).abs()).collect());
        let pairs = sample.iter().flat_map(|one| sample.iter().map(move |two| (one - two).abs()));
        let expected = distance - mean(pairs.collect()) / 2.0;
        let found = crps_of_sample(&sample, truth).unwrap();
        assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
    }
}
