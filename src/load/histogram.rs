//! Counts durations in buckets whose width grows with the duration, so that a million of them take
//! no more room than one.

use std::time::Duration;

/// Buckets a power of two: a bucket is at most 1/128 of its value wide, and its middle is told.
const STEPS: u64 = 128;
const STEP_BITS: u32 = STEPS.trailing_zeros();
const BUCKETS: usize = ((u64::BITS - STEP_BITS + 1) as usize) << STEP_BITS;

/// Durations in nanoseconds, told again with an error below 0.4 %. The extremes are exact.
#[derive(Debug, Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    count: u64,
    sum_ns: u128,
    longest_ns: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { counts: vec![0; BUCKETS], count: 0, sum_ns: 0, longest_ns: 0 }
    }
}

impl Histogram {
    /// Counts one.
    pub fn add(&mut self, duration: Duration) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket_of(ns)] += 1;
        self.count += 1;
        self.sum_ns += u128::from(ns);
        self.longest_ns = self.longest_ns.max(ns);
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The mean; zero when there is none.
    pub fn mean(&self) -> Duration {
        let ns = self.sum_ns.checked_div(u128::from(self.count)).unwrap_or(0);
        Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
    }

    /// The longest; zero when there is none.
    pub fn longest(&self) -> Duration {
        Duration::from_nanos(self.longest_ns)
    }

    /// The smallest duration that a share of `quantile` (0..=1) of them does not exceed; zero when
    /// there is none.
    pub fn quantile(&self, quantile: f64) -> Duration {
        let rank = ((self.count as f64 * quantile).ceil() as u64).clamp(1, self.count.max(1));
        let mut below = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            below += count;
            if below >= rank {
                // The middle of the last bucket may lie beyond all that was seen.
                return Duration::from_nanos(middle_of(bucket).min(self.longest_ns));
            }
        }
        Duration::ZERO
    }
}

/// The first 128 buckets hold one value each, the next 128 two each, then four, and so on.
fn bucket_of(ns: u64) -> usize {
    let shift = (u64::BITS - ns.leading_zeros()).saturating_sub(STEP_BITS + 1);
    ((u64::from(shift) << STEP_BITS) + (ns >> shift)) as usize
}

fn middle_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return bucket;
    }
    let shift = (bucket >> STEP_BITS) - 1;
    let lowest = (bucket - (shift << STEP_BITS)) << shift;
    lowest + ((1 << shift) >> 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values_ns: impl IntoIterator<Item = u64>) -> Histogram {
        let mut histogram = Histogram::default();
        for ns in values_ns {
            histogram.add(Duration::from_nanos(ns));
        }
        histogram
    }

    #[test]
    fn small_values_are_exact() {
        // By hand: of 1..=100 the smallest that half of them do not exceed is 50.
        let histogram = of(1..=100);
        for (quantile, ns) in [(0.0, 1), (0.5, 50), (0.9, 90), (0.99, 99), (0.999, 100), (1.0, 100)]
        {
            assert_eq!(histogram.quantile(quantile).as_nanos(), ns, "{quantile}");
        }
        assert_eq!(histogram.count(), 100);
        assert_eq!(histogram.mean().as_nanos(), 50, "5050 / 100");
        assert_eq!(histogram.longest().as_nanos(), 100);
    }

    #[test]
    fn every_value_is_told_within_half_a_percent() {
        let mut value = 1u64;
        while value < u64::MAX / 3 {
            for ns in [value - 1, value, value + 1, value + value / 3] {
                // A longer one beside it, so that the exact maximum does not help.
                let told = of([ns, u64::MAX]).quantile(0.5).as_nanos() as f64;
                let error = (told - ns as f64).abs();
                assert!(error <= ns as f64 * 0.004, "{ns} is told as {told}");
            }
            value *= 2;
        }
    }

    #[test]
    fn buckets_follow_each_other() {
        // By hand: 127 and 128 have buckets of their own, 256 and 257 share one.
        assert_eq!([0, 127, 128, 255].map(bucket_of), [0, 127, 128, 255]);
        assert_eq!([256, 257, 258, 511, 512].map(bucket_of), [256, 256, 257, 383, 384]);
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
        assert_eq!((middle_of(255), middle_of(256), middle_of(384)), (255, 257, 514));
    }

    #[test]
    fn a_rare_long_one_is_seen_where_it_should_be() {
        let histogram = of((0..999).map(|_| 1_000_000).chain([1_000_000_000]));
        assert!(histogram.quantile(0.999) < Duration::from_micros(1005));
        assert_eq!(histogram.quantile(1.0), Duration::from_secs(1));
    }

    #[test]
    fn nothing_is_zero() {
        let histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), Duration::ZERO);
        assert_eq!((histogram.mean(), histogram.longest()), (Duration::ZERO, Duration::ZERO));
    }
}
