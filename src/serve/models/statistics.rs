//! What a model did, this process and those before it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::saved::{SavedRewards, SavedStatistics};

/// How a model does.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct ModelStatistics {
    /// Its name.
    pub name: String,
    /// Whether it is asked at all at the moment.
    pub healthy: bool,
    /// How many conversations it was asked about.
    pub requests: u64,
    /// To how many of them it gave no valid answer.
    pub failures: u64,
    /// The mean time of the batches that it answered, in seconds.
    pub mean_seconds: f64,
    /// The 99th percentile of those times, in seconds.
    pub p99_seconds: f64,
    /// The mean confidence that it gave.
    pub mean_confidence: f64,
    /// The mean reward of its answers, where the truth is known.
    pub mean_reward: Option<f64>,
}

/// The sums behind a [`ModelStatistics`].
#[derive(Debug, Default)]
pub(super) struct Statistics(Mutex<Sums>);

#[derive(Debug, Default)]
struct Sums {
    requests: u64,
    failures: u64,
    times: Times,
    confidence: f64,
    rewards: u64,
    reward: f64,
}

impl Statistics {
    /// Counts conversations with one answer each, and how long all of them took.
    pub(super) fn answered(&self, confidences: impl Iterator<Item = f64>, took: Duration) {
        let mut sums = self.lock();
        sums.times.add(took);
        for confidence in confidences {
            sums.requests += 1;
            sums.confidence += confidence;
        }
    }

    /// Counts conversations without a valid answer.
    pub(super) fn failed(&self, conversations: usize) {
        let mut sums = self.lock();
        sums.requests += conversations as u64;
        sums.failures += conversations as u64;
    }

    /// Sets what its answers earned: of how many that is known, and their sum.
    pub(super) fn set_rewards(&self, rewards: u64, sum: f64) {
        let mut sums = self.lock();
        (sums.rewards, sums.reward) = (rewards, sum);
    }

    /// What is kept over a restart.
    pub(super) fn save(&self) -> SavedStatistics {
        let sums = self.lock();
        SavedStatistics {
            requests: sums.requests,
            failures: sums.failures,
            confidence_sum: sums.confidence,
            batches: sums.times.count,
            seconds: sums.times.seconds,
            time_bins: sums.times.bins.to_vec(),
            rewards: SavedRewards { count: sums.rewards, sum: sums.reward },
        }
    }

    /// Goes on from what an earlier process counted.
    pub(super) fn restore(&self, saved: &SavedStatistics) {
        let mut times = Times { count: saved.batches, seconds: saved.seconds, ..Times::default() };
        for (bin, count) in times.bins.iter_mut().zip(&saved.time_bins) {
            *bin = *count;
        }
        *self.lock() = Sums {
            requests: saved.requests,
            failures: saved.failures.min(saved.requests),
            times,
            confidence: saved.confidence_sum,
            rewards: saved.rewards.count,
            reward: saved.rewards.sum,
        };
    }

    pub(super) fn of(&self, name: &str, healthy: bool) -> ModelStatistics {
        let sums = self.lock();
        let answered = sums.requests - sums.failures;
        ModelStatistics {
            name: name.to_owned(),
            healthy,
            requests: sums.requests,
            failures: sums.failures,
            mean_seconds: sums.times.mean_seconds(),
            p99_seconds: sums.times.quantile_seconds(0.99),
            mean_confidence: sums.confidence / answered.max(1) as f64,
            mean_reward: (sums.rewards > 0).then(|| sums.reward / sums.rewards as f64),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Sums> {
        // Sums that a panic left behind are at worst one conversation short.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bins of times: each power of two of a microsecond has eight.
const BINS_A_DOUBLING: f64 = 8.0;
/// Up to 2^27 us, over two minutes.
const BINS: usize = 27 * 8;

/// Durations, counted in bins that are 9 % wide.
#[derive(Debug)]
struct Times {
    count: u64,
    seconds: f64,
    bins: [u32; BINS],
}

impl Default for Times {
    fn default() -> Times {
        Times { count: 0, seconds: 0.0, bins: [0; BINS] }
    }
}

impl Times {
    fn add(&mut self, took: Duration) {
        let microseconds = took.as_secs_f64() * 1e6;
        // A float below 0 becomes the index 0.
        let bin = ((microseconds.log2() * BINS_A_DOUBLING) as usize).min(BINS - 1);
        self.count += 1;
        self.seconds += took.as_secs_f64();
        self.bins[bin] = self.bins[bin].saturating_add(1);
    }

    fn mean_seconds(&self) -> f64 {
        self.seconds / self.count.max(1) as f64
    }

    /// The middle of the bin that the quantile lies in; 0 without times.
    fn quantile_seconds(&self, level: f64) -> f64 {
        let counted: u64 = self.bins.iter().map(|count| u64::from(*count)).sum();
        let mut left = (level * counted as f64).ceil() as u64;
        for (bin, count) in self.bins.iter().enumerate() {
            let count = u64::from(*count);
            if count > 0 && left <= count {
                return ((bin as f64 + 0.5) / BINS_A_DOUBLING).exp2() / 1e6;
            }
            left -= count;
        }
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_by_hand() {
        let statistics = Statistics::default();
        let nothing = statistics.of("a", true);
        assert_eq!((nothing.requests, nothing.mean_seconds, nothing.p99_seconds), (0, 0.0, 0.0));
        assert_eq!((nothing.mean_confidence, nothing.mean_reward), (0.0, None));
        statistics.answered([0.2, 0.4].into_iter(), Duration::from_millis(3));
        statistics.answered([0.9].into_iter(), Duration::from_millis(1));
        statistics.failed(2);
        statistics.set_rewards(2, 0.75);
        let found = statistics.of("a", false);
        assert_eq!((found.name.as_str(), found.healthy), ("a", false));
        assert_eq!((found.requests, found.failures), (5, 2));
        assert!((found.mean_seconds - 0.002).abs() < 1e-12);
        assert!((found.mean_confidence - 0.5).abs() < 1e-12);
        assert_eq!(found.mean_reward, Some(0.375));
        let again = Statistics::default();
        again.restore(&statistics.save());
        assert_eq!(again.of("a", false), found);
    }

    /// ```python
    /// from math import *
    /// middle = lambda us: 2**((floor(log2(us)*8) + .5)/8)/1e6
    /// print(middle(100), middle(10_000))  # 9.917e-05 0.0099288
    /// ```
    #[test]
    fn quantiles_are_within_a_bin() {
        let mut times = Times::default();
        for _ in 0..98 {
            times.add(Duration::from_micros(100));
        }
        times.add(Duration::from_millis(10));
        times.add(Duration::from_millis(10));
        assert!((times.quantile_seconds(0.5) / 100e-6 - 1.0).abs() < 0.05);
        assert!((times.quantile_seconds(0.98) / 100e-6 - 1.0).abs() < 0.05);
        assert!((times.quantile_seconds(0.99) / 10e-3 - 1.0).abs() < 0.05);
        times.add(Duration::ZERO);
        times.add(Duration::from_secs(100_000));
        assert_eq!((times.bins[0], times.bins[BINS - 1]), (1, 1), "what lies outside is not lost");
    }
}
