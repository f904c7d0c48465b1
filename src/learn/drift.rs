//! Whether a checkpoint earns less than it did in validation, and since when things are as they are.

use serde::Serialize;

use crate::model::checkpoint::Manifest;

/// Rows that are looked at: the newest.
const RECENT: usize = 200;
/// Fewer rows say nothing.
const FEWEST: usize = 100;
/// How many standard errors the reward must have fallen.
const STANDARD_ERRORS: f64 = 3.0;
/// How many standard errors a change must be, of so many places at which it may be.
const CHANGE_ERRORS: f64 = 5.0;

/// Of so many truths one at most may be without its time, for the reward to be compared without them.
const FEW: usize = 20;

/// How well a checkpoint lately did, compared with the rows of its validation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Drift {
    /// What is compared.
    pub measure: Measure,
    /// Its mean over the newest conversations, counted as validation counts it.
    pub recent: f64,
    /// Its mean in validation.
    pub validated: f64,
    /// The standard error of the difference.
    pub error: f64,
    /// Conversations.
    pub rows: usize,
    /// Whether it has fallen by more than chance.
    pub drifted: bool,
}

/// By what a checkpoint is compared with its validation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// The reward.
    Reward,
    /// The share of right classes: of too many truths the time is not known, for which nothing is
    /// earned however good the answer.
    Accuracy,
}

/// What an answer earned, as far as that can be compared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Plain {
    /// The reward in all; absent where it converted after nobody knows how long.
    pub(super) total: Option<f64>,
    /// What it earned for the class.
    pub(super) class: f64,
}

/// What each answer earned, all counted alike: by their classes if the time of any truth is unknown.
pub(super) fn alike(rewards: &[Plain]) -> Vec<f64> {
    let totals: Option<Vec<f64>> = rewards.iter().map(|one| one.total).collect();
    totals.unwrap_or_else(|| rewards.iter().map(|one| one.class).collect())
}

impl Drift {
    /// Compares rewards in order of time with what a checkpoint's manifest says; none if either says
    /// too little.
    pub(super) fn of(rewards: &[Plain], manifest: &Manifest) -> Option<Drift> {
        let recent = &rewards[rewards.len().saturating_sub(RECENT)..];
        let totals: Vec<f64> = recent.iter().filter_map(|one| one.total).collect();
        let (measure, name, recent) = if (recent.len() - totals.len()) * FEW <= recent.len() {
            (Measure::Reward, "/miner/mean_reward", totals)
        } else {
            let right = recent.iter().map(|one| f64::from(u8::from(one.class > 0.0)));
            (Measure::Accuracy, "/miner/accuracy", right.collect())
        };
        let rows = recent.len();
        let validated = manifest.metrics.pointer(name)?.as_f64()?;
        let validation_rows = manifest.metrics.pointer("/rows")?.as_f64()?;
        if rows < FEWEST || validation_rows < 1.0 {
            return None;
        }
        let mean = recent.iter().sum::<f64>() / rows as f64;
        let variance =
            recent.iter().map(|one| (one - mean).powi(2)).sum::<f64>() / (rows as f64 - 1.0);
        // Validation's rows are taken to vary as much.
        let error = (variance / rows as f64 + variance / validation_rows).sqrt();
        let drifted = mean + STANDARD_ERRORS * error < validated;
        Some(Drift { measure, recent: mean, validated, error, rows, drifted })
    }
}

/// Where the newest values begin that are all of one kind: 0 if nothing ever changed.
///
/// Cuts where the means before and after differ most, by standard errors, and again what comes after,
/// as long as a cut is worth it. Both sides of a cut have a hundred values.
pub(super) fn newest_kind(values: &[f64]) -> usize {
    let mut start = 0;
    while let Some(cut) = cut(&values[start..]) {
        start += cut;
    }
    start
}

fn cut(values: &[f64]) -> Option<usize> {
    let count = values.len();
    let (sum, squares) = values
        .iter()
        .fold((0.0, 0.0), |(sum, squares), value| (sum + value, squares + value * value));
    let mut best = (CHANGE_ERRORS, None);
    let (mut before, mut before_squares) = (0.0, 0.0);
    for (index, value) in values.iter().enumerate() {
        let (left, right) = (index as f64, (count - index) as f64);
        if index >= FEWEST && count - index >= FEWEST {
            let (mean, other) = (before / left, (sum - before) / right);
            // The variance within both sides.
            let within = (before_squares - left * mean * mean)
                + (squares - before_squares - right * other * other);
            let variance = (within / (count as f64 - 2.0)).max(f64::MIN_POSITIVE);
            let errors = (mean - other).abs() / (variance * (1.0 / left + 1.0 / right)).sqrt();
            if errors > best.0 {
                best = (errors, Some(index));
            }
        }
        before += value;
        before_squares += value * value;
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 0 and 1 in turn, `high` of ten being 1, in an order that is nowhere one-sided.
    fn rewards(count: usize, high: usize) -> Vec<f64> {
        (0..count).map(|row| f64::from(u8::from(row * 7 % 10 < high))).collect()
    }

    #[test]
    fn a_change_is_found_where_it_is() {
        assert_eq!(newest_kind(&rewards(1000, 6)), 0);
        assert_eq!(newest_kind(&[]), 0);
        assert_eq!(newest_kind(&vec![0.5; 500]), 0);
        let changed = [rewards(700, 8), rewards(300, 4)].concat();
        let found = newest_kind(&changed);
        assert!((695..=705).contains(&found), "{found}");
        // A bad time that is over.
        let over = [rewards(700, 8), rewards(200, 2), rewards(300, 8)].concat();
        let found = newest_kind(&over);
        assert!((895..=905).contains(&found), "{found}");
        // Too new to be seen where it is.
        let found = newest_kind(&[rewards(700, 8), rewards(40, 2)].concat());
        assert!(found == 0 || (620..=640).contains(&found), "{found}");
    }

    fn manifest(metrics: serde_json::Value) -> Manifest {
        let predictor = crate::learn::challenger::tests::constant(0.5);
        Manifest { metrics, ..Manifest::of(&predictor) }
    }

    fn timed(rewards: &[f64]) -> Vec<Plain> {
        rewards.iter().map(|reward| Plain { total: Some(*reward), class: 0.3 }).collect()
    }

    /// Of 200 answers, 160 are of the right class. Time after time is not known.
    #[test]
    fn truths_without_a_time_are_no_drift() {
        let validated = serde_json::json!({ "mean_reward": 0.9, "accuracy": 0.81 });
        let manifest = manifest(serde_json::json!({ "rows": 800, "miner": validated }));
        let plain = |unknown: usize, right: usize| -> Vec<Plain> {
            let one = |row| Plain {
                total: (row >= unknown).then_some(0.9),
                class: if row * 7 % 10 < right { 0.3 } else { 0.0 },
            };
            (0..200).map(one).collect()
        };
        let found = |unknown, right| {
            let found = Drift::of(&plain(unknown, right), &manifest).unwrap();
            (found.measure, found.rows, found.drifted)
        };
        // Up to ten are left out.
        assert_eq!(found(10, 8), (Measure::Reward, 190, false));
        assert_eq!(found(11, 8), (Measure::Accuracy, 200, false));
        assert_eq!(found(200, 8), (Measure::Accuracy, 200, false));
        // 0.6 with an error of sqrt(0.24 / 199 * 200 * (1/200 + 1/800)) = 0.039.
        assert_eq!(found(200, 6), (Measure::Accuracy, 200, true));
        assert_eq!(alike(&plain(0, 8)), vec![0.9; 200]);
        assert_eq!(alike(&plain(1, 8))[..2], [0.3, 0.3]);
    }

    #[test]
    fn a_fall_by_hand() {
        let manifest = |reward: f64| {
            manifest(serde_json::json!({ "rows": 800, "miner": { "mean_reward": reward } }))
        };
        // The newest 200 of them: half are 1, so the variance is 0.25 * 200/199, and the error
        // sqrt(0.251256 * (1/200 + 1/800)) = 0.0396277.
        let rewards = timed(&[rewards(500, 9), rewards(200, 5)].concat());
        let found = Drift::of(&rewards, &manifest(0.63)).unwrap();
        assert_eq!((found.recent, found.rows, found.drifted), (0.5, 200, true));
        assert!((found.error - 0.039_627_7).abs() < 1e-7, "{found:?}");
        assert!(!Drift::of(&rewards, &manifest(0.61)).unwrap().drifted);
        assert_eq!(Drift::of(&rewards[..99], &manifest(0.9)), None);
    }

    #[test]
    fn a_checkpoint_that_says_nothing_has_not_drifted() {
        let rewards = timed(&rewards(500, 1));
        assert_eq!(Drift::of(&rewards, &manifest(serde_json::Value::Null)), None);
    }
}
