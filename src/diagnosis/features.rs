//! Whether what is asked still looks like what was trained on.

use serde::{Deserialize, Serialize};

use super::{DiagnoseOptions, Row, Sample};
use crate::features::Conversation;
use crate::report::Mean;
use crate::report::importance::Importance;
use crate::report::statistics::quantile;
use crate::subnet::schema::FEATURES;

/// Bins between quantiles of the training sample; what is missing has one more.
const BINS: usize = 10;
/// What is added to each bin's count, so that an empty one is not infinitely far off.
const PSEUDO_COUNT: f64 = 0.5;
/// From this index on a feature has shifted, by the usual rule of thumb.
pub(super) const MODERATE: f64 = 0.1;
/// From this one on it has shifted much.
pub(super) const LARGE: f64 = 0.25;
/// Fewer rows say nothing about how a feature lies.
const FEWEST_ROWS: usize = 20;

/// The features of the window against those that were trained on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FeatureDiagnosis {
    /// Why nothing can be said; absent where something can.
    pub not_available: Option<String>,
    /// Rows of the training sample.
    pub training_rows: usize,
    /// Answers of the window.
    pub rows: usize,
    /// All features, the one that shifted most first.
    pub features: Vec<FeatureShift>,
}

/// How far a feature has shifted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeatureShift {
    /// Its name.
    pub feature: String,
    /// The population stability index: `sum of (now - then) * ln(now / then)` over bins that lie
    /// between ten quantiles of the training sample, and one for what is missing.
    pub psi: f64,
    /// What chance alone keeps the index below, in 999 of 1,000 cases, for so many rows.
    pub psi_by_chance: f64,
    /// What the index means.
    pub size: ShiftSize,
    /// The share that was missing in training.
    pub missing_then: f64,
    /// The share that is missing now.
    pub missing_now: f64,
    /// The median in training; absent if all were missing.
    pub median_then: Option<f64>,
    /// The median now.
    pub median_now: Option<f64>,
    /// The mean reward that the checkpoint loses on the training sample when this feature's values
    /// are shuffled; absent where no feature shifted, since nobody asks then.
    pub importance: Option<Mean>,
}

/// What a population stability index means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShiftSize {
    /// Below 0.1, or no more than chance does.
    Stable,
    /// From 0.1 on.
    Moderate,
    /// From 0.25 on.
    Large,
}

impl FeatureDiagnosis {
    pub(super) fn of(rows: &[Row<'_>], options: &DiagnoseOptions<'_>) -> FeatureDiagnosis {
        let absent = |reason: &str| FeatureDiagnosis {
            not_available: Some(reason.to_owned()),
            ..FeatureDiagnosis::default()
        };
        let Some(reference) = options.checkpoint else {
            return absent("there is no checkpoint whose training could be compared with");
        };
        let sample = match reference.sample {
            Ok(sample) => sample,
            Err(reason) => return absent(reason),
        };
        let now: Vec<&Conversation> =
            rows.iter().map(|row| &row.resolved.record.features).collect();
        let then: Vec<&Conversation> = sample.conversations.iter().collect();
        if now.len() < FEWEST_ROWS || then.len() < FEWEST_ROWS {
            return absent(&format!(
                "there are {} answers and {} rows of training, of {FEWEST_ROWS} that it takes",
                now.len(),
                then.len()
            ));
        }
        let mut features: Vec<FeatureShift> =
            (0..FEATURES.len()).map(|feature| shift(feature, &then, &now)).collect();
        if features.iter().any(|shift| shift.size != ShiftSize::Stable) {
            add_importance(&mut features, sample, options);
        }
        features.sort_by(|left, right| right.psi.total_cmp(&left.psi));
        let (training_rows, rows) = (then.len(), now.len());
        FeatureDiagnosis { not_available: None, training_rows, rows, features }
    }
}

impl FeatureShift {
    /// Whether the checkpoint's answers rest on it: its loss is more than two standard errors.
    pub fn is_important(&self) -> bool {
        let Some(Mean { mean, standard_error }) = self.importance else { return false };
        mean > 2.0 * standard_error.unwrap_or(f64::INFINITY) && mean > 0.0
    }
}

fn add_importance(
    features: &mut [FeatureShift],
    sample: Sample<'_>,
    options: &DiagnoseOptions<'_>,
) {
    let Some(reference) = options.checkpoint else { return };
    let (conversations, truths) = (sample.conversations, sample.truths);
    let found =
        Importance::of_rows(reference.predictor, conversations, truths, &reference.predictor.spec);
    for feature in features {
        let permuted = found.features.iter().find(|permuted| permuted.feature == feature.feature);
        feature.importance = permuted.map(|permuted| permuted.drop);
    }
}

fn shift(feature: usize, then: &[&Conversation], now: &[&Conversation]) -> FeatureShift {
    let known = |rows: &[&Conversation]| {
        let values = rows.iter().map(|row| f64::from(row.values[feature]));
        let mut known: Vec<f64> = values.filter(|value| !value.is_nan()).collect();
        known.sort_by(f64::total_cmp);
        known
    };
    let (known_then, known_now) = (known(then), known(now));
    let borders = borders(&known_then);
    let (counts_then, counts_now) =
        (counts(&known_then, then.len(), &borders), counts(&known_now, now.len(), &borders));
    let psi = stability_index(&counts_then, &counts_now);
    let used = counts_then.iter().zip(&counts_now).filter(|(then, now)| **then + **now > 0).count();
    let psi_by_chance = index_by_chance(used, then.len(), now.len());
    let missing =
        |known: &[f64], rows: &[&Conversation]| 1.0 - known.len() as f64 / rows.len() as f64;
    let median = |known: &[f64]| (!known.is_empty()).then(|| quantile(known, 0.5));
    FeatureShift {
        feature: FEATURES[feature].name.to_owned(),
        psi,
        psi_by_chance,
        size: match psi {
            psi if psi <= psi_by_chance || psi < MODERATE => ShiftSize::Stable,
            psi if psi < LARGE => ShiftSize::Moderate,
            _ => ShiftSize::Large,
        },
        missing_then: missing(&known_then, then),
        missing_now: missing(&known_now, now),
        median_then: median(&known_then),
        median_now: median(&known_now),
        importance: None,
    }
}

/// The borders between bins: quantiles of the sorted values, each once. A value lies below a border
/// if it is smaller or equal.
fn borders(sorted: &[f64]) -> Vec<f64> {
    if sorted.is_empty() {
        return Vec::new();
    }
    let mut borders: Vec<f64> = (1..BINS)
        .map(|step| {
            // A value of the sample, not between two: a flag's bins are its values.
            let rank = (step * sorted.len()).div_ceil(BINS).max(1) - 1;
            sorted[rank]
        })
        .collect();
    borders.dedup();
    borders
}

/// How many values lie in each bin, and last, how many of the rows are missing.
fn counts(sorted: &[f64], rows: usize, borders: &[f64]) -> Vec<usize> {
    let mut below = 0;
    let mut counts: Vec<usize> = borders
        .iter()
        .map(|border| {
            let upto = sorted.partition_point(|value| value <= border);
            let inside = upto - below;
            below = upto;
            inside
        })
        .collect();
    counts.push(sorted.len() - below);
    counts.push(rows - sorted.len());
    counts
}

/// The population stability index of counts in the same bins. Each count has
/// [`PSEUDO_COUNT`] added; bins that are empty in both do not count.
fn stability_index(then: &[usize], now: &[usize]) -> f64 {
    let used: Vec<(f64, f64)> = then
        .iter()
        .zip(now)
        .filter(|(then, now)| **then + **now > 0)
        .map(|(then, now)| (*then as f64 + PSEUDO_COUNT, *now as f64 + PSEUDO_COUNT))
        .collect();
    let all = used.iter().fold((0.0, 0.0), |sum, bin| (sum.0 + bin.0, sum.1 + bin.1));
    used.iter()
        .map(|(then, now)| (then / all.0, now / all.1))
        .map(|(then, now)| (now - then) * (now / then).ln())
        .sum()
}

/// What the index stays below in 999 of 1,000 cases where nothing has shifted: it is then nearly
/// `(1 / then + 1 / now)` times a chi-squared number with one degree of freedom less than there are
/// bins (Yurdakul, Statistical properties of the population stability index, 2018), whose quantile
/// is that of Wilson and Hilferty.
fn index_by_chance(bins: usize, then: usize, now: usize) -> f64 {
    /// The quantile of the normal distribution at 0.999.
    const Z999: f64 = 3.090_232_306_167_814;
    let freedom = bins.saturating_sub(1).max(1) as f64;
    let ninth = 2.0 / (9.0 * freedom);
    let quantile = freedom * (1.0 - ninth + Z999 * ninth.sqrt()).powi(3);
    quantile * (1.0 / then as f64 + 1.0 / now as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subnet::schema::position;

    const DURATION: usize = position("conversation_duration_seconds");

    fn conversations(values: impl Iterator<Item = f64>) -> Vec<Conversation> {
        values
            .map(|value| {
                let mut conversation = Conversation::EMPTY;
                conversation.set(DURATION, value);
                conversation
            })
            .collect()
    }

    fn shifted(then: &[Conversation], now: &[Conversation]) -> FeatureShift {
        shift(DURATION, &then.iter().collect::<Vec<_>>(), &now.iter().collect::<Vec<_>>())
    }

    /// ```python
    /// from math import log
    /// t, n = [8.5, 2.5], [5.5, 5.5]
    /// sum((b/11 - a/11) * log(b / a) for a, b in zip(t, n))   # 0.3337612...
    /// ```
    #[test]
    fn the_index_by_hand() {
        let expected = (3.0 / 11.0) * (8.5_f64 / 5.5).ln() + (3.0 / 11.0) * (5.5_f64 / 2.5).ln();
        assert!((stability_index(&[8, 2, 0], &[5, 5, 0]) - expected).abs() < 1e-12);
        assert_eq!(stability_index(&[3, 7], &[3, 7]), 0.0);
        // The same shares of more rows are nearly the same.
        assert!(stability_index(&[30, 70], &[300, 700]) < 1e-4);
        // What was never seen is far off, and finite.
        assert!(stability_index(&[100, 0], &[0, 100]) > 5.0);
    }

    #[test]
    fn bins_by_hand() {
        let sorted: Vec<f64> = (1..=100).map(f64::from).collect();
        let tens: Vec<f64> = (1..=9).map(|ten| f64::from(ten) * 10.0).collect();
        assert_eq!(borders(&sorted), tens);
        assert_eq!(counts(&sorted, 103, &tens), [10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 3]);
        // A flag: what is 0, what is above, and what is missing.
        let flag = [0.0, 0.0, 0.0, 1.0, 1.0];
        assert_eq!(borders(&flag), [0.0, 1.0]);
        assert_eq!(counts(&flag, 5, &borders(&flag)), [3, 2, 0, 0]);
        assert_eq!(counts(&[], 5, &borders(&[])), [0, 5]);
    }

    #[test]
    fn shifts_are_told_from_chance() {
        // The same values in another order, and 20 % more of them.
        let spread = |count: usize, by: f64| {
            conversations((0..count).map(move |row| 60.0 + (row * 37 % 101) as f64 * 0.9 + by))
        };
        let same = shifted(&spread(1010, 0.0), &spread(606, 0.0));
        assert_eq!(same.size, ShiftSize::Stable);
        assert!(same.psi < 0.01, "{same:?}");
        assert_eq!(same.median_then, same.median_now);
        let later = shifted(&spread(1010, 0.0), &spread(606, 40.0));
        assert_eq!(later.size, ShiftSize::Large);
        assert!((later.median_now.unwrap() - later.median_then.unwrap() - 40.0).abs() < 1e-4);
        // Of 20 rows the index is large by chance.
        assert!(index_by_chance(11, 1010, 20) > 1.0);
        // ```python
        // scipy.stats.chi2.ppf(0.999, 10) * 2 / 1000   # 0.0591766
        // ```
        assert!((index_by_chance(11, 1000, 1000) - 0.059_177).abs() < 5e-4);
        let gone = shifted(&spread(1010, 0.0), &conversations((0..606).map(|_| f64::NAN)));
        assert_eq!((gone.missing_then, gone.missing_now), (0.0, 1.0));
        assert_eq!((gone.size, gone.median_now), (ShiftSize::Large, None));
    }
}
