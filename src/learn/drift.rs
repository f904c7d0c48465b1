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

/// How a checkpoint's recent reward compares with the one on the rows of its validation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Drift {
    /// The mean reward of the newest conversations, counted as validation counts it.
    pub recent: f64,
    /// The mean reward in validation.
    pub validated: f64,
    /// The standard error of the difference.
    pub error: f64,
    /// Conversations.
    pub rows: usize,
    /// Whether it has fallen by more than chance.
    pub drifted: bool,
}

impl Drift {
    /// Compares rewards in order of time with what a checkpoint's manifest says; none if either says
    /// too little.
    pub(super) fn of(rewards: &[f64], manifest: &Manifest) -> Option<Drift> {
        let recent = &rewards[rewards.len().saturating_sub(RECENT)..];
        let rows = recent.len();
        let validated = manifest.metrics.pointer("/miner/mean_reward")?.as_f64()?;
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
        Some(Drift { recent: mean, validated, error, rows, drifted })
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

    #[test]
    fn a_fall_by_hand() {
        let manifest = |reward: f64| {
            manifest(serde_json::json!({ "rows": 800, "miner": { "mean_reward": reward } }))
        };
        // The newest 200 of them: half are 1, so the variance is 0.25 * 200/199, and the error
        // sqrt(0.251256 * (1/200 + 1/800)) = 0.0396277.
        let rewards = [rewards(500, 9), rewards(200, 5)].concat();
        let found = Drift::of(&rewards, &manifest(0.63)).unwrap();
        assert_eq!((found.recent, found.rows, found.drifted), (0.5, 200, true));
        assert!((found.error - 0.039_627_7).abs() < 1e-7, "{found:?}");
        assert!(!Drift::of(&rewards, &manifest(0.61)).unwrap().drifted);
        assert_eq!(Drift::of(&rewards[..99], &manifest(0.9)), None);
    }

    #[test]
    fn a_checkpoint_that_says_nothing_has_not_drifted() {
        assert_eq!(Drift::of(&rewards(500, 1), &manifest(serde_json::Value::Null)), None);
    }
}
