//! What became of the requests.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use super::histogram::Histogram;

/// Why a request got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// The server refused, with this HTTP status.
    Refused(u16),
    /// The HTTP status is 200, but not the one that the network's clients go by.
    NoSuccess,
    /// No answer within the timeout.
    TimedOut,
    /// No connection.
    NotConnected,
    /// The connection ended before the response did.
    BrokenOff,
    /// What came is no response.
    Malformed,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Refused(status) => write!(formatter, "refused with {status}"),
            Failure::NoSuccess => formatter.write_str("no success in the axon's status"),
            Failure::TimedOut => formatter.write_str("timed out"),
            Failure::NotConnected => formatter.write_str("not connected"),
            Failure::BrokenOff => formatter.write_str("broken off"),
            Failure::Malformed => formatter.write_str("malformed"),
        }
    }
}

/// The counts of a run.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// How long the callers of answered requests waited.
    pub latency: Histogram,
    /// How long after it was due a request was sent; empty in a closed loop.
    pub lateness: Histogram,
    /// How many requests got no answer, by reason.
    pub failures: BTreeMap<Failure, u64>,
    /// The answered ones of each caller, where there are several.
    pub callers: Vec<CallerTally>,
    /// When the last answer or failure came.
    pub last: Option<Instant>,
}

/// The counts of one caller.
#[derive(Debug, Clone, Default)]
pub struct CallerTally {
    /// How long it waited for its answers.
    pub latency: Histogram,
    /// How many of its requests got none.
    pub failed: u64,
}

impl Tally {
    /// For this many callers.
    pub fn new(callers: usize) -> Self {
        let each = if callers > 1 { callers } else { 0 };
        Tally { callers: vec![CallerTally::default(); each], ..Tally::default() }
    }

    /// Counts what became of a request of the caller with this number.
    pub fn count(&mut self, caller: usize, outcome: Result<Duration, Failure>, now: Instant) {
        self.last = Some(now);
        let own = self.callers.get_mut(caller);
        match outcome {
            Ok(latency) => {
                self.latency.add(latency);
                if let Some(own) = own {
                    own.latency.add(latency);
                }
            }
            Err(failure) => {
                *self.failures.entry(failure).or_default() += 1;
                if let Some(own) = own {
                    own.failed += 1;
                }
            }
        }
    }

    /// How many requests were answered.
    pub fn answered(&self) -> u64 {
        self.latency.count()
    }

    /// How many were not.
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_is_counted_once() {
        let (mut tally, now) = (Tally::new(2), Instant::now());
        let ms = Duration::from_millis(1);
        tally.count(0, Ok(ms), now);
        tally.count(1, Ok(3 * ms), now);
        tally.count(1, Err(Failure::Refused(503)), now);
        tally.count(1, Err(Failure::Refused(503)), now + ms);
        tally.count(0, Err(Failure::BrokenOff), now);
        assert_eq!((tally.answered(), tally.failed()), (2, 3));
        assert_eq!(tally.failures[&Failure::Refused(503)], 2);
        assert_eq!(tally.last, Some(now));
        let [first, second] = &tally.callers[..] else { panic!("{}", tally.callers.len()) };
        assert_eq!((first.latency.count(), first.failed), (1, 1));
        assert_eq!((second.latency.count(), second.failed), (1, 2));
        assert_eq!(Failure::Refused(503).to_string(), "refused with 503");
    }
}
