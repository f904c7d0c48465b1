//! A circuit breaker: after many failures in a row, nobody asks for a while.

use std::time::Duration;

/// No pause is longer.
const LONGEST: Duration = Duration::from_secs(600);

/// Counts failures in a row. Closed, everybody may ask; open, nobody; after the pause one may try,
/// and whether that works closes it or opens it for twice as long.
#[derive(Debug, Clone)]
pub(super) struct Breaker {
    /// So many failures in a row open it.
    threshold: u32,
    /// How long it is open the first time.
    pause: Duration,
    /// So often it opens in a row before it is given up.
    most_openings: u32,
    failures: u32,
    openings: u32,
    open_until: Duration,
}

/// The API was tried often enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GivenUp;

impl Breaker {
    pub(super) fn new(threshold: u32, pause: Duration, most_openings: u32) -> Breaker {
        let (failures, openings, open_until) = (0, 0, Duration::ZERO);
        Breaker { threshold, pause, most_openings, failures, openings, open_until }
    }

    /// How long nobody may ask.
    pub(super) fn wait(&self, now: Duration) -> Duration {
        self.open_until.saturating_sub(now)
    }

    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    pub(super) fn succeeded(&mut self) {
        *self = Breaker::new(self.threshold, self.pause, self.most_openings);
    }

    pub(super) fn failed(&mut self, now: Duration) -> Result<(), GivenUp> {
        self.failures += 1;
        if self.openings == 0 && self.failures < self.threshold {
            return Ok(());
        }
        if self.openings == self.most_openings {
            return Err(GivenUp);
        }
        let pause = self.pause.saturating_mul(1 << self.openings.min(16)).min(LONGEST);
        self.openings += 1;
        self.open_until = now + pause;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn opens_half_opens_and_gives_up() {
        let mut breaker = Breaker::new(3, seconds(30), 2);
        for _ in 0..2 {
            breaker.failed(seconds(0)).unwrap();
            assert_eq!(breaker.wait(seconds(0)), seconds(0));
        }
        breaker.failed(seconds(10)).unwrap();
        assert_eq!(breaker.wait(seconds(10)), seconds(30));
        assert_eq!(breaker.wait(seconds(40)), seconds(0), "one may try");
        breaker.failed(seconds(40)).unwrap();
        assert_eq!(breaker.wait(seconds(40)), seconds(60), "twice as long");
        assert_eq!(breaker.failed(seconds(100)), Err(GivenUp));
        assert_eq!(breaker.failures(), 5);
        breaker.succeeded();
        breaker.failed(seconds(100)).unwrap();
        assert_eq!(breaker.wait(seconds(100)), seconds(0), "closed again");
    }
}
