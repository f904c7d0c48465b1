//! How long a search may take, and whether a job would still end in time.

use super::halving::Job;
use super::record::Record;
use crate::clock::{Clock, SECOND_NS};

/// The end of a search that may take so long, or never.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget<'a> {
    clock: &'a dyn Clock,
    end_ns: Option<u64>,
}

impl<'a> Budget<'a> {
    /// So many minutes from now; without them, no end.
    pub(super) fn new(clock: &'a dyn Clock, minutes: Option<f64>) -> Budget<'a> {
        let end_ns = minutes.map(|minutes| {
            // A float beyond the range becomes its end: later than any clock shows.
            clock.now_ns().saturating_add((minutes * 60.0 * SECOND_NS as f64) as u64)
        });
        Budget { clock, end_ns }
    }

    /// The same clock, without an end.
    pub(super) fn endless(self) -> Budget<'a> {
        Budget { end_ns: None, ..self }
    }

    /// Whether it is over.
    pub(super) fn is_over(&self) -> bool {
        self.end_ns.is_some_and(|end_ns| self.clock.now_ns() >= end_ns)
    }

    /// Whether something that takes so long would end in time; what nobody knows, might.
    pub(super) fn allows(&self, seconds: Option<f64>) -> bool {
        let Some(end_ns) = self.end_ns else { return true };
        let left_ns = end_ns.saturating_sub(self.clock.now_ns());
        left_ns > 0 && seconds.unwrap_or(0.0) * SECOND_NS as f64 <= left_ns as f64
    }

    /// The seconds since a moment of this clock.
    pub(super) fn seconds_since(&self, then_ns: u64) -> f64 {
        self.clock.now_ns().saturating_sub(then_ns) as f64 / SECOND_NS as f64
    }

    /// The time.
    pub(super) fn now_ns(&self) -> u64 {
        self.clock.now_ns()
    }
}

/// How long a job will take, in seconds: by the same trial's own time with fewer rows, or else by
/// the mean of what was done on the rung, or else on one below. Time grows with the rows, or more
/// slowly.
pub(super) fn estimate(done: &[Record], job: Job, rows: usize) -> Option<f64> {
    let scaled = |record: &Record| record.seconds * rows as f64 / record.rows.max(1) as f64;
    let own = done.iter().filter(|it| it.trial == job.trial && it.rung < job.rung);
    if let Some(own) = own.max_by_key(|it| it.rung) {
        return Some(scaled(own));
    }
    (0..=job.rung).rev().find_map(|rung| {
        let seconds: Vec<f64> = done.iter().filter(|it| it.rung == rung).map(scaled).collect();
        (!seconds.is_empty()).then(|| seconds.iter().sum::<f64>() / seconds.len() as f64)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[derive(Debug)]
    struct HandClock(AtomicU64);

    impl Clock for HandClock {
        fn now_ns(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn what_does_not_end_in_time_does_not_begin() {
        let clock = HandClock(AtomicU64::new(7 * SECOND_NS));
        let budget = Budget::new(&clock, Some(0.5));
        assert!(budget.allows(Some(30.0)) && !budget.allows(Some(30.1)) && budget.allows(None));
        clock.0.store(17 * SECOND_NS, Ordering::Relaxed);
        assert!(budget.allows(Some(20.0)) && !budget.allows(Some(20.1)));
        assert_eq!(budget.seconds_since(7 * SECOND_NS), 10.0);
        clock.0.store(37 * SECOND_NS, Ordering::Relaxed);
        assert!(budget.is_over() && !budget.allows(None) && !budget.allows(Some(0.0)));
        assert!(!budget.endless().is_over() && budget.endless().allows(Some(1e9)));
        assert!(Budget::new(&clock, None).allows(Some(1e9)));
        assert!(Budget::new(&clock, Some(1e300)).allows(Some(1e9)));
    }

    #[test]
    fn estimates_by_hand() {
        let job = |trial, rung| Job { trial, rung };
        assert_eq!(estimate(&[], job(0, 0), 1000), None);
        // `sample` gives 1000 rows to rung 0 and 2000 to rung 1.
        let record = |trial, rung, seconds| Record { seconds, ..Record::sample(trial, rung) };
        let done = [record(0, 0, 4.0), record(0, 1, 10.0), record(1, 0, 2.0)];
        assert_eq!(estimate(&done, job(2, 0), 1000), Some(3.0), "the mean of its rung");
        assert_eq!(estimate(&done, job(1, 1), 2000), Some(4.0), "its own, for twice the rows");
        assert_eq!(estimate(&done, job(1, 2), 6000), Some(12.0), "its own, for six times");
        assert_eq!(estimate(&done[..1], job(1, 1), 2000), Some(8.0), "of the rung below");
    }
}
