//! Whether times come true as they were predicted: coverage of the quantiles, and CRPS.

use serde::{Deserialize, Serialize};

use super::crps::crps_of_sample;
use super::{Row, mean};
use crate::model::opinion::{TIME_LEVELS, TimeQuantiles};
use crate::report::statistics::share_interval;
use crate::report::{Interval, Mean};

/// The levels whose coverage is watched.
pub(super) const WATCHED_LEVELS: [f64; 3] = [0.05, 0.50, 0.95];

/// What true times are called, by whether they are so many seconds.
const HORIZONS: [(&str, IsOf); 3] = [
    ("short", |seconds| seconds < 60.0),
    ("medium", |seconds| (60.0..=300.0).contains(&seconds)),
    ("long", |seconds| seconds > 300.0),
];

/// Whether so many seconds belong to a horizon.
type IsOf = fn(f64) -> bool;

/// How the predicted times did, over all answers to conversations that converted, whatever class
/// was answered.
///
/// The predictive distribution is what the journal has of it: its quantiles at
/// [`TIME_LEVELS`]. For the CRPS they are taken as a sample.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TimeDiagnosis {
    /// All of them, at all levels.
    pub all: TimeScores,
    /// By their true time. What is known to be short lies below more quantiles than one that is not
    /// known yet, so the shares of a part are not meant to be the levels; they tell a miner that
    /// tells times apart (near the levels) from one that predicts the same for all (0 and 1).
    pub horizons: Vec<Horizon>,
    /// What the checkpoint's own validation says of the CRPS, in seconds, where it is known. That is
    /// of the whole distribution, which scores a little better than its quantiles as a sample.
    pub validation_crps_seconds: Option<f64>,
    /// Conversations that converted without a predicted distribution or a known time, which do not
    /// count.
    pub left_out: usize,
}

/// The scores of the times of some conversations.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TimeScores {
    /// Conversations that converted, with a known time and a predicted distribution.
    pub rows: usize,
    /// The mean continuous ranked probability score, in seconds; absent without rows.
    pub crps_seconds: Option<Mean>,
    /// How often the truth lay below quantiles; empty without rows.
    pub coverage: Vec<Covered>,
}

/// A level, and the share of true times below its quantile.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Covered {
    /// The quantile's level, in 0..=1.
    pub level: f64,
    /// The share of true times at or below it.
    pub below: f64,
    /// The share's 95 % interval.
    pub interval: Interval,
    /// True times.
    pub rows: usize,
}

/// The conversations whose true time lies between two.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Horizon {
    /// `short` below 60 s, `medium` from 60 to 300 s, `long` above.
    pub name: String,
    /// Their scores.
    pub scores: TimeScores,
}

/// A true time and the quantiles that were predicted for it.
type Pair<'a> = (f64, &'a TimeQuantiles);

impl TimeDiagnosis {
    pub(super) fn of(rows: &[Row<'_>], validation_crps_seconds: Option<f64>) -> TimeDiagnosis {
        let converted = rows.iter().filter(|row| row.truth().converted);
        let pairs: Vec<Pair<'_>> = converted.clone().filter_map(pair).collect();
        let horizons = HORIZONS.map(|(name, holds)| {
            let inside: Vec<Pair<'_>> =
                pairs.iter().copied().filter(|(truth, _)| holds(*truth)).collect();
            Horizon { name: name.to_owned(), scores: TimeScores::of(&inside, &WATCHED_LEVELS) }
        });
        TimeDiagnosis {
            all: TimeScores::of(&pairs, &TIME_LEVELS),
            horizons: horizons.to_vec(),
            validation_crps_seconds,
            left_out: converted.count() - pairs.len(),
        }
    }

    /// The coverage at 5, 50 and 95 %.
    pub(super) fn watched(&self) -> Vec<Covered> {
        let is_watched = |covered: &&Covered| WATCHED_LEVELS.contains(&covered.level);
        self.all.coverage.iter().filter(is_watched).copied().collect()
    }
}

fn pair<'a>(row: &Row<'a>) -> Option<Pair<'a>> {
    let truth = row.truth().time_seconds;
    let quantiles = row.resolved.record.time_quantiles.as_ref()?;
    let known = truth.is_finite() && quantiles.iter().all(|quantile| quantile.is_finite());
    known.then_some((truth, quantiles))
}

impl TimeScores {
    fn of(pairs: &[Pair<'_>], levels: &[f64]) -> TimeScores {
        if pairs.is_empty() {
            return TimeScores::default();
        }
        let crps: Vec<f64> =
            pairs.iter().filter_map(|(truth, sample)| crps_of_sample(*sample, *truth)).collect();
        let covered = |level: &f64| {
            let index = TIME_LEVELS.iter().position(|known| known == level)?;
            let below =
                pairs.iter().filter(|(truth, quantiles)| *truth <= quantiles[index]).count();
            let rows = pairs.len();
            let interval = share_interval(below, rows);
            Some(Covered { level: *level, below: below as f64 / rows as f64, interval, rows })
        };
        TimeScores {
            rows: pairs.len(),
            crps_seconds: mean(&crps),
            coverage: levels.iter().filter_map(covered).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::tests::{resolved, rows_of, yes};
    use crate::subnet::reward::{RewardSpec, Truth};

    /// The quantiles of the sample record are 50, 51, ... 68.
    fn diagnosed(times: &[f64]) -> TimeDiagnosis {
        let all: Vec<_> = times
            .iter()
            .map(|time| resolved(1, yes(60.0, 0.9), Truth::converted_after(*time)))
            .collect();
        rows_of(&all, &RewardSpec::MAIN, |rows| TimeDiagnosis::of(rows, None))
    }

    #[test]
    fn coverage_by_hand() {
        let found = diagnosed(&[40.0, 50.0, 59.0, 59.5, 68.0, 400.0, f64::NAN]);
        assert_eq!((found.all.rows, found.left_out), (6, 1));
        let watched = found.watched();
        let shares: Vec<(f64, f64)> =
            watched.iter().map(|covered| (covered.level, covered.below)).collect();
        // 50 is the 5 % quantile, 59 the median and 68 the 95 % one; what lies on one counts.
        assert_eq!(shares, [(0.05, 2.0 / 6.0), (0.5, 3.0 / 6.0), (0.95, 5.0 / 6.0)]);
        assert_eq!(found.all.coverage.len(), 19);
        assert!(watched.iter().all(|covered| covered.rows == 6
            && covered.interval.low < covered.below
            && covered.interval.high > covered.below));
    }

    #[test]
    fn horizons_by_hand() {
        let found = diagnosed(&[59.9, 60.0, 299.0, 300.0, 300.1, 9000.0]);
        let rows: Vec<(&str, usize)> = found
            .horizons
            .iter()
            .map(|horizon| (horizon.name.as_str(), horizon.scores.rows))
            .collect();
        assert_eq!(rows, [("short", 1), ("medium", 3), ("long", 2)]);
        // Of a sample of 50..=68 and 9000: 8941 - 1/2 * mean of distances; (19² - 1) / (3 * 19) / 2.
        let spread = 360.0 / 57.0 / 2.0;
        let long = found.horizons[2].scores.crps_seconds.unwrap().mean;
        assert!((long - ((8941.0 + 241.1) / 2.0 - spread)).abs() < 1e-9, "{long}");
        let empty = diagnosed(&[20.0]).horizons[2].clone();
        assert_eq!((empty.scores.rows, empty.scores.crps_seconds), (0, None));
        assert!(empty.scores.coverage.is_empty());
    }
}
