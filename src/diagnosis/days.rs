//! The reward along time.

use serde::{Deserialize, Serialize};

use super::{DiagnoseOptions, Lost, Row, day_of, mean, rewards_of};
use crate::clock::{DAY_NS, Moment};
use crate::report::Mean;

/// Days of a rolling average: the day itself and those before it.
pub(super) const ROLLING_DAYS: u64 = 7;

/// One day, in UTC.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Day {
    /// The day: `2026-11-22`.
    pub date: String,
    /// Answers with a known truth on that day, as far as it lies in the window.
    pub rows: usize,
    /// Their mean reward; absent without any.
    pub reward: Option<Mean>,
    /// What they lost.
    pub lost: Lost,
    /// Answers of this day and the six before it, which may lie before the window.
    pub rolling_rows: usize,
    /// Their mean reward; absent without any.
    pub rolling: Option<Mean>,
}

/// The days from the first answer of the window to the last one.
pub(super) fn of(lead: &[Row<'_>], rows: &[Row<'_>], options: &DiagnoseOptions<'_>) -> Vec<Day> {
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Vec::new() };
    let time = |row: &Row<'_>| row.resolved.record.time_ns;
    let all: Vec<Row<'_>> = lead.iter().chain(rows).copied().collect();
    let between = |from: u64, to: u64| {
        let index = |ns: u64| all.partition_point(|row| time(row) < ns);
        &all[index(from)..index(to)]
    };
    let begin = day_of(time(first));
    let count = (day_of(time(last)) - begin) / DAY_NS + 1;
    (0..count)
        .map(|number| {
            let start = begin + number * DAY_NS;
            let end = start.saturating_add(DAY_NS);
            let of_day = between(start.max(options.from_ns), end);
            let rolling = between(end.saturating_sub(ROLLING_DAYS * DAY_NS), end);
            Day {
                date: Moment::of_ns(start).date(),
                rows: of_day.len(),
                reward: mean(&rewards_of(of_day)),
                lost: Lost::mean(of_day.iter().map(|row| &row.lost)),
                rolling_rows: rolling.len(),
                rolling: mean(&rewards_of(rolling)),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::tests::{BEGIN_NS, no, options, resolved, yes};
    use crate::diagnosis::{diagnose, rows};
    use crate::subnet::reward::{RewardSpec, Truth};

    #[test]
    fn rolling_by_hand() {
        let at = |day: u64| BEGIN_NS + day * DAY_NS + 5;
        let right = |day| resolved(at(day), no(0.1), Truth::not_converted());
        let wrong = |day| resolved(at(day), yes(60.0, 0.9), Truth::not_converted());
        // Two before the window, of which one is within seven days of its first day.
        let all = [wrong(1), wrong(4), right(10), right(10), wrong(12), right(17)];
        let options = crate::diagnosis::DiagnoseOptions {
            from_ns: BEGIN_NS + 10 * DAY_NS,
            ..options(RewardSpec::MAIN)
        };
        let days = diagnose(&all, &options).days;
        // A right no earns 0.8 * 0.34375 + 0.2 * 0.95, a wrong yes only the response time.
        let (good, bad) = (0.465, 0.19);
        let found: Vec<_> = days.iter().map(|day| (day.rows, day.rolling_rows)).collect();
        assert_eq!(
            found,
            [(2, 3), (0, 2), (1, 3), (0, 3), (0, 3), (0, 3), (0, 3), (1, 2)],
            "{days:?}"
        );
        let near = |found: Option<Mean>, expected: f64| {
            assert!((found.unwrap().mean - expected).abs() < 1e-12, "{found:?} not {expected}");
        };
        near(days[0].reward, good);
        near(days[0].rolling, (2.0 * good + bad) / 3.0);
        assert_eq!(days[1].reward, None);
        near(days[1].rolling, good);
        near(days[7].rolling, (good + bad) / 2.0);
        assert!((days[2].lost.class - 0.275).abs() < 1e-12);
        assert_eq!(days[0].date, Moment::of_ns(at(10)).date());
        // One answer alone, and none.
        let one = [right(3)];
        let of_one = of(&[], &rows(&one, &RewardSpec::MAIN), &options);
        assert_eq!((of_one.len(), of_one[0].rolling_rows), (1, 1));
        assert!(of(&[], &[], &options).is_empty());
    }
}
