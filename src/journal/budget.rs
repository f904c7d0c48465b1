//! What must go so that a journal stays within its budget.

use super::parts::{Part, PartFiles};
use crate::clock::{DAY_NS, Moment};

/// A day's lines are left as they are for so many days after it, if there is room.
const FRESH_DAYS: u64 = 2;

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Make a table of the lines.
    Compact(Part),
    /// Remove the lines if the table beside them is one of them.
    Tidy(Part),
    /// Remove the table, and with it the records.
    Remove(Part),
}

/// How much room the files take, in bytes.
pub(super) fn bytes_of(files: &[PartFiles]) -> u64 {
    let bytes = files.iter().flat_map(|files| [files.lines, files.table]).flatten();
    bytes.fold(0, u64::saturating_add)
}

/// The next step, if there is one. `files` are in order of time; `open` is being written, and
/// `failed` are parts of which a step failed.
///
/// Over half of the budget the oldest lines become a table, if they are of a day that is over for
/// two days. Over all of it, any lines that are not being written do; then the oldest tables are
/// removed.
pub(super) fn next_step(
    files: &[PartFiles],
    now_ns: u64,
    budget_bytes: u64,
    open: Option<&Part>,
    failed: &[Part],
) -> Option<Step> {
    let is_free = |files: &&PartFiles| open != Some(&files.part) && !failed.contains(&files.part);
    let mut free = files.iter().filter(is_free);
    if let Some(both) = free.find(|files| files.lines.is_some() && files.table.is_some()) {
        return Some(Step::Tidy(both.part.clone()));
    }
    let bytes = bytes_of(files);
    if bytes <= budget_bytes / 2 {
        return None;
    }
    let fresh = Moment::of_ns(now_ns.saturating_sub(FRESH_DAYS * DAY_NS)).date();
    let mut free = files.iter().filter(is_free);
    let oldest = free.find(|files| files.lines.is_some()).map(|files| &files.part);
    if let Some(part) = oldest.filter(|part| part.day < fresh) {
        return Some(Step::Compact(part.clone()));
    }
    if bytes <= budget_bytes {
        return None;
    }
    if let Some(part) = oldest {
        return Some(Step::Compact(part.clone()));
    }
    let table = files.iter().filter(is_free).find(|files| files.table.is_some());
    table.map(|files| Step::Remove(files.part.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 20_414 * DAY_NS + 1; // 2025-11-22

    fn part(text: &str) -> Part {
        let (day, number) = text.split_once('.').unwrap_or((text, "0"));
        Part { day: day.to_owned(), number: number.parse().unwrap() }
    }

    /// Name, lines and table, in bytes; 0 for none.
    fn files(all: &[(&str, u64, u64)]) -> Vec<PartFiles> {
        let some = |bytes: u64| (bytes > 0).then_some(bytes);
        all.iter()
            .map(|(name, lines, table)| PartFiles {
                part: part(name),
                lines: some(*lines),
                table: some(*table),
            })
            .collect()
    }

    #[test]
    fn steps_by_hand() {
        let (old, young, today) = ("2025-11-19", "2025-11-20", "2025-11-22");
        let compact = |name: &str| Some(Step::Compact(part(name)));
        for (all, open, expected, why) in [
            (&[][..], None, None, "nothing is there"),
            (&[(old, 50, 0)], None, None, "half of the budget is free"),
            (&[(old, 51, 0)], None, compact(old), "over half of it"),
            (&[(young, 51, 0)], None, None, "a day of two days ago stays"),
            (&[(old, 51, 0)], Some(old), None, "it is being written"),
            (&[(old, 10, 0), (young, 51, 0)], None, compact(old), "the oldest"),
            (&[(old, 0, 10), (young, 51, 0)], None, None, "it is a table already"),
            (
                &[(old, 10, 1), (today, 1, 0)],
                Some(today),
                Some(Step::Tidy(part(old))),
                "a process died between two steps",
            ),
            (
                &[(old, 0, 60), (young, 30, 0), (today, 11, 0)],
                Some(today),
                compact(young),
                "over the budget, before anything is lost",
            ),
            (
                &[(old, 0, 60), (young, 0, 30), (today, 11, 0)],
                Some(today),
                Some(Step::Remove(part(old))),
                "nothing else to gain",
            ),
            (
                &[("2025-11-22.1", 60, 0), ("2025-11-22.2", 60, 0)],
                Some("2025-11-22.2"),
                compact("2025-11-22.1"),
                "a day that grows fast",
            ),
            (&[(today, 101, 0)], Some(today), None, "what is being written stays"),
        ] {
            let open = open.map(part);
            assert_eq!(next_step(&files(all), NOW, 100, open.as_ref(), &[]), expected, "{why}");
        }
    }

    #[test]
    fn what_failed_is_passed_over() {
        let all = files(&[("2025-11-18", 60, 0), ("2025-11-19", 60, 0), ("2025-11-20", 0, 9)]);
        let failed = [part("2025-11-18")];
        let step = next_step(&all, NOW, 100, None, &failed);
        assert_eq!(step, Some(Step::Compact(part("2025-11-19"))));
        let failed = [part("2025-11-18"), part("2025-11-19")];
        let step = next_step(&all, NOW, 100, None, &failed);
        assert_eq!(step, Some(Step::Remove(part("2025-11-20"))));
        let all = files(&[("2025-11-18", 9, 9), ("2025-11-19", 0, 60), ("2025-11-20", 0, 60)]);
        let step = next_step(&all, NOW, 100, None, &[part("2025-11-18"), part("2025-11-19")]);
        assert_eq!(step, Some(Step::Remove(part("2025-11-20"))));
    }
}
