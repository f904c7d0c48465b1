//! When to ask again, as a server says it: seconds, or a date (RFC 9110, 10.2.3).

use std::time::Duration;

use super::Response;

/// How long the answer asks to wait. A date counts from the answer's own, since clocks differ.
pub(super) fn retry_after(response: &Response) -> Option<Duration> {
    let text = response.retry_after.as_deref()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let until = seconds_of(text)?;
    let now = seconds_of(response.date.as_deref()?)?;
    Some(Duration::from_secs(until.saturating_sub(now)))
}

/// The seconds since year 0 of a date such as `Sun, 06 Nov 1994 08:49:37 GMT`, the only form that
/// servers may write.
fn seconds_of(date: &str) -> Option<u64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let words: Vec<&str> = date.split_ascii_whitespace().collect();
    let [_, day, month, year, time, "GMT"] = words[..] else { return None };
    let month = 1 + MONTHS.iter().position(|name| *name == month)? as u64;
    let (day, year): (u64, u64) = (day.parse().ok()?, year.parse().ok()?);
    let time: Vec<u64> = time.split(':').map_while(|part| part.parse().ok()).collect();
    let [hour, minute, second] = time[..] else { return None };
    if year > 9999 || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // The year begins in March, so that the leap day is its last.
    let (year, month) =
        if month < 3 { (year.checked_sub(1)?, month + 9) } else { (year, month - 3) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates() {
        let wait = |retry_after: &str, date: &str| {
            let (retry_after, date) = (Some(retry_after.to_owned()), Some(date.to_owned()));
            retry_after_seconds(&Response { retry_after, date, ..Response::default() })
        };
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        // python: datetime differences
        for (text, expected) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:50:07 GMT", Some(30)),
            ("Sun, 06 Nov 1994 08:49:07 GMT", Some(0)),
            ("Wed, 01 Mar 1995 08:49:37 GMT", Some(115 * 86_400)),
            ("Fri, 01 Mar 1996 08:49:37 GMT", Some(481 * 86_400)),
            ("-5", None),
            ("soon", None),
            ("Sun, 06 Brumaire 1994 08:49:37 GMT", None),
            ("Sun, 99999999999999999999 Nov 1994 08:49:37 GMT", None),
        ] {
            assert_eq!(wait(text, date), expected, "{text}");
        }
        assert_eq!(wait(date, "yesterday"), None);
        assert_eq!(retry_after(&Response::default()), None);
    }

    fn retry_after_seconds(response: &Response) -> Option<u64> {
        retry_after(response).map(|wait| wait.as_secs())
    }
}
