//! The time of day: injected, so that tests can set it, and as people write it.

use std::time::{SystemTime, UNIX_EPOCH};

/// Tells the time of day.
pub trait Clock: std::fmt::Debug + Send + Sync {
    /// Nanoseconds since the epoch, as nonces count.
    fn now_ns(&self) -> u64;
}

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ns(&self) -> u64 {
        // A clock before 1970 makes every nonce look like one of the future, which refuses all.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }
}

/// A moment in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Seconds since 1970, without leap seconds.
    seconds: u64,
}

/// Nanoseconds of a second.
pub const SECOND_NS: u64 = 1_000_000_000;
/// Nanoseconds of a day.
pub const DAY_NS: u64 = 86_400 * SECOND_NS;

impl Moment {
    /// Now. A clock before 1970 counts as 1970.
    pub fn now() -> Moment {
        Moment::of_ns(SystemClock.now_ns())
    }

    /// So many nanoseconds after 1970 began.
    pub fn of_ns(ns: u64) -> Moment {
        Moment { seconds: ns / SECOND_NS }
    }

    /// The day: `2026-11-22`.
    pub fn date(self) -> String {
        let ((year, month, day), _) = self.parts();
        format!("{year:04}-{month:02}-{day:02}")
    }

    /// As in RFC 3339: `2026-11-22T05:30:00Z`.
    pub fn rfc3339(self) -> String {
        let ((year, month, day), (hour, minute, second)) = self.parts();
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }

    /// For file names: `20261122-053000`.
    pub fn compact(self) -> String {
        let ((year, month, day), (hour, minute, second)) = self.parts();
        format!("{year:04}{month:02}{day:02}-{hour:02}{minute:02}{second:02}")
    }

    fn parts(self) -> ((u64, u64, u64), (u64, u64, u64)) {
        let (days, time) = (self.seconds / 86_400, self.seconds % 86_400);
        (civil(days), (time / 3600, time / 60 % 60, time % 60))
    }
}

/// Year, month and day of a day since 1970 in the Gregorian calendar. The year begins in March
/// here, so that the leap day is its last.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // from 0000-03-01
    let era = days / 146_097; // 400 years
    let of_era = days % 146_097;
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        // date -u -d @N +%FT%TZ
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_795_325_400, "2026-11-22T05:30:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(Moment { seconds }.rfc3339(), expected);
        }
        let moment = Moment::of_ns(1_795_325_400 * SECOND_NS + 999_999_999);
        assert_eq!(moment.compact(), "20261122-053000");
        assert_eq!(moment.date(), "2026-11-22");
    }
}
