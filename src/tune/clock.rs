//! A clock that shows what it was told.

use std::str::FromStr;

use toml::value::{Datetime, Offset};

use crate::clock::{Clock, SECOND_NS};

/// A clock that stands at a moment: for tests, and to ask what would be allowed then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetClock(
    /// What it shows, in nanoseconds since 1970.
    pub u64,
);

impl Clock for SetClock {
    fn now_ns(&self) -> u64 {
        self.0
    }
}

/// This is no moment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a moment of 1970 or later with its offset, such as 2026-11-22T05:30:00Z, but found \
     `{0}`"
)]
pub struct NoMoment(String);

impl FromStr for SetClock {
    type Err = NoMoment;

    /// Reads a moment as in RFC 3339, with offset.
    fn from_str(text: &str) -> Result<SetClock, NoMoment> {
        let moment: Datetime = text.parse().map_err(|_| NoMoment(text.to_owned()))?;
        nanoseconds(&moment).map(SetClock).ok_or_else(|| NoMoment(text.to_owned()))
    }
}

fn nanoseconds(moment: &Datetime) -> Option<u64> {
    let (date, time) = (moment.date?, moment.time?);
    let offset_minutes = match moment.offset? {
        Offset::Z => 0,
        Offset::Custom { minutes } => i64::from(minutes),
    };
    let days = days_since_1970(i64::from(date.year), i64::from(date.month), i64::from(date.day));
    let minutes = i64::from(time.hour) * 60 + i64::from(time.minute) - offset_minutes;
    let seconds = days * 86_400 + minutes * 60 + i64::from(time.second.unwrap_or(0));
    let seconds = u64::try_from(seconds).ok()?;
    seconds.checked_mul(SECOND_NS)?.checked_add(u64::from(time.nanosecond.unwrap_or(0)))
}

/// Days from 1970-01-01 to a day of the Gregorian calendar. The year begins in March here, so that the
/// leap day is its last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    365 * year + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Moment;

    #[test]
    fn moments_are_read() {
        // date -u -d TEXT +%s
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T00:00:00Z", 951_782_400),
            ("2000-03-01T00:00:00Z", 951_868_800),
            ("2026-11-22T05:30:00Z", 1_795_325_400),
            ("2026-11-22T06:30:00+01:00", 1_795_325_400),
            ("2026-11-21T23:30:00-06:00", 1_795_325_400),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
        ] {
            assert_eq!(text.parse(), Ok(SetClock(seconds * SECOND_NS)), "{text}");
        }
        assert_eq!("1970-01-01T00:00:01.5Z".parse(), Ok(SetClock(1_500_000_000)));
    }

    #[test]
    fn every_day_of_some_centuries_is_itself() {
        for day in (0..150_000_u64).step_by(7) {
            let ns = day * 86_400 * SECOND_NS;
            let text = Moment::of_ns(ns).rfc3339();
            assert_eq!(text.parse(), Ok(SetClock(ns)), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in [
            "",
            "now",
            "2026-11-22",
            "2026-11-22T05:30:00",
            "1969-12-31T23:59:59Z",
            "2026-13-01T00:00:00Z",
        ] {
            assert!(text.parse::<SetClock>().is_err(), "{text}");
        }
    }
}
