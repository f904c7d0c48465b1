//! Answers and their truths, put together.
//!
//! A hash join: what really happened is in memory by its name (about 150 bytes an outcome), and what
//! was answered streams by it, a record at a time. Of a record that was seen only its validator and its
//! nonce are remembered (some 30 bytes), so that it counts once.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use serde::Serialize;

use super::{ReplayError, Resolved, in_order};
use crate::clock::{DAY_NS, SECOND_NS};
use crate::journal::{self, Record, Sampled};
use crate::outcomes::OutcomeSet;

/// From when to when answers count, in nanoseconds since 1970; an end that is absent is open. The
/// default is all of time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Window {
    /// The first moment that counts.
    pub from_ns: Option<u64>,
    /// The first moment that does not count any more.
    pub to_ns: Option<u64>,
}

impl Window {
    /// The last so many days, and an hour that is still to come: the clocks of two machines differ.
    pub fn last_days(days: u32, now_ns: u64) -> Window {
        let from_ns = now_ns.saturating_sub(u64::from(days) * DAY_NS);
        let to_ns = now_ns.saturating_add(3600 * SECOND_NS);
        Window { from_ns: Some(from_ns), to_ns: Some(to_ns) }
    }

    /// Whether a moment counts.
    pub fn contains(&self, time_ns: u64) -> bool {
        self.from_ns.is_none_or(|from| time_ns >= from) && self.to_ns.is_none_or(|to| time_ns < to)
    }
}

/// What became of the records of a window.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct JoinReport {
    /// Records in the window, each request once.
    pub records: usize,
    /// Of those, the ones that were written for a sample of the requests. If there are any, others are
    /// missing, and nobody can tell exactly what class weights and moving averages validators have.
    pub sampled: usize,
    /// Further records of the same requests, which were dropped.
    pub duplicates: usize,
    /// Records without a name under which a truth could be known.
    pub without_id: usize,
    /// Records whose truth is not known yet.
    pub unresolved: usize,
    /// Records whose truth is known.
    pub resolved: usize,
    /// Of those, the ones that converted after nobody knows how long: nothing earns their time.
    pub time_unknown: usize,
    /// Files of the journal that end in the middle of a line: a crash cut it off, or it is being
    /// written.
    pub torn: u64,
    /// Lines and tables of the journal that could not be read.
    pub unreadable: u64,
    /// The first hundred of what is torn or unreadable.
    pub faults: Vec<String>,
    /// Conversations whose truth is known, asked about or not.
    pub outcomes: usize,
    /// Outcomes that contradict an earlier one of the same conversation, and win over it.
    pub contradictions: usize,
    /// Lines of the outcomes that are none.
    pub unreadable_outcomes: usize,
}

/// Puts the answers of a window and their truths together, in the order of the journal. The request
/// that a validator signs with one nonce is visited once.
///
/// # Errors
///
/// If the journal's or the outcomes' folder cannot be read.
pub fn join(
    journal: &Path,
    outcomes: &Path,
    window: Window,
    visit: &mut dyn FnMut(Resolved),
) -> Result<JoinReport, ReplayError> {
    let outcomes = OutcomeSet::read(outcomes)?;
    let mut joining = Joining::new(&outcomes, window);
    let read = journal::read(journal, window.from_ns, &mut |record| {
        if let Some(resolved) = joining.take(record) {
            visit(resolved);
        }
    })?;
    let mut report = joining.report;
    report.torn = read.torn;
    report.unreadable = read.unreadable_count;
    report.faults = read.unreadable.iter().map(ToString::to_string).collect();
    Ok(report)
}

/// As [`join`], in memory and in order of time: see [`in_order`]. A record takes about 700 bytes, most
/// of it the features and the quantiles of the time.
///
/// # Errors
///
/// As [`join`].
pub fn resolved(
    journal: &Path,
    outcomes: &Path,
    window: Window,
) -> Result<(Vec<Resolved>, JoinReport), ReplayError> {
    let mut all = Vec::new();
    let report = join(journal, outcomes, window, &mut |resolved| all.push(resolved))?;
    all.sort_by(|left, right| in_order(&left.record).cmp(&in_order(&right.record)));
    Ok((all, report))
}

/// Records on their way past the outcomes.
struct Joining<'a> {
    outcomes: &'a OutcomeSet,
    window: Window,
    /// A number for each validator, so that a request is remembered in a few bytes.
    validators: HashMap<String, u32>,
    seen: HashSet<(u32, u64)>,
    report: JoinReport,
}

impl Joining<'_> {
    fn new(outcomes: &OutcomeSet, window: Window) -> Joining<'_> {
        let (validators, seen) = (HashMap::new(), HashSet::new());
        let report = JoinReport {
            outcomes: outcomes.len(),
            contradictions: outcomes.contradictions().len(),
            unreadable_outcomes: outcomes.unreadable().len() + outcomes.torn(),
            ..JoinReport::default()
        };
        Joining { outcomes, window, validators, seen, report }
    }

    /// The record with its truth, if it counts and that is known.
    fn take(&mut self, record: Record) -> Option<Resolved> {
        if !self.window.contains(record.time_ns) {
            return None;
        }
        if !self.is_new(&record) {
            self.report.duplicates += 1;
            return None;
        }
        self.report.records += 1;
        self.report.sampled += usize::from(record.sampled != Sampled::All);
        if record.id().is_none() {
            self.report.without_id += 1;
            return None;
        }
        let Some(outcome) = self.outcomes.of(&record) else {
            self.report.unresolved += 1;
            return None;
        };
        let truth = outcome.truth();
        self.report.resolved += 1;
        self.report.time_unknown += usize::from(truth.time_seconds.is_nan());
        Some(Resolved { record, truth, known_ns: outcome.known_ns })
    }

    fn is_new(&mut self, record: &Record) -> bool {
        let validator = match self.validators.get(&record.validator) {
            Some(number) => *number,
            None => {
                let number = u32::try_from(self.validators.len()).unwrap_or(u32::MAX);
                self.validators.insert(record.validator.clone(), number);
                number
            }
        };
        self.seen.insert((validator, record.nonce))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcomes::Outcome;

    fn outcome(id: &str, converted: bool, time_seconds: Option<f64>) -> Outcome {
        let source = "test".to_owned();
        Outcome {
            id: id.to_owned(),
            also: None,
            converted,
            time_seconds,
            known_ns: 9 * DAY_NS,
            source,
        }
    }

    /// Writes lines into the files of a folder.
    fn write(folder: &Path, files: &[(&str, String)]) {
        std::fs::create_dir_all(folder).unwrap();
        for (name, content) in files {
            std::fs::write(folder.join(name), content).unwrap();
        }
    }

    fn lines<T: Serialize>(all: &[T]) -> String {
        all.iter().map(|one| serde_json::to_string(one).unwrap() + "\n").collect()
    }

    #[test]
    fn every_record_is_accounted_for() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, outcomes) = (folder.path().join("journal"), folder.path().join("outcomes"));
        let at = |id: &str, hour: u64| Record::sample(id, DAY_NS + hour * DAY_NS / 24);
        let mut nameless = at("", 3);
        nameless.session_id = None;
        let mut published = at("other", 4);
        published.test_pk = Some("b".to_owned());
        let mut second_validator = at("a", 2);
        second_validator.validator = "5W".to_owned();
        let first_day = [at("a", 5), at("a", 2), second_validator, nameless, published, at("?", 6)];
        let mut sampled = at("c", 30);
        sampled.sampled = Sampled::Low;
        let second_day = [at("a", 5), sampled];
        let torn = lines(&second_day) + "{\"time_ns\":1";
        let days = [("1970-01-02.jsonl", lines(&first_day)), ("1970-01-03.jsonl", torn)];
        write(&journal, &days);
        let known =
            [outcome("a", true, Some(60.0)), outcome("b", true, None), outcome("c", false, None)];
        append(&outcomes, &known);

        let (all, report) = resolved(&journal, &outcomes, Window::default()).unwrap();
        let found: Vec<(u64, &str, &str)> = all
            .iter()
            .map(|one| {
                let hours = (one.record.time_ns - DAY_NS) / (DAY_NS / 24);
                (hours, one.record.id().unwrap(), one.record.validator.as_str())
            })
            .collect();
        let expected =
            [(2, "a", "5V"), (2, "a", "5W"), (4, "b", "5V"), (5, "a", "5V"), (30, "c", "5V")];
        assert_eq!(found, expected);
        assert!(all[2].truth.converted && all[2].truth.time_seconds.is_nan());
        assert_eq!((all[0].truth.time_seconds, all[0].known_ns), (60.0, 9 * DAY_NS));
        let (faults, expected) = (
            report.faults.len(),
            JoinReport {
                records: 7,
                sampled: 1,
                duplicates: 1,
                without_id: 1,
                unresolved: 1,
                resolved: 5,
                time_unknown: 1,
                torn: 1,
                outcomes: 3,
                ..JoinReport::default()
            },
        );
        assert_eq!((faults, JoinReport { faults: Vec::new(), ..report }), (1, expected));

        let from_ns = Some(DAY_NS + DAY_NS / 6);
        let window = Window { from_ns, to_ns: Some(2 * DAY_NS) };
        let (all, report) = resolved(&journal, &outcomes, window).unwrap();
        // Hours 4 to 23: b, a and what is not known. The first is of its moment, the last not.
        assert_eq!((all.len(), report.records, report.unresolved), (2, 3, 1));
    }

    fn append(folder: &Path, outcomes: &[Outcome]) {
        crate::outcomes::append(folder, outcomes.to_vec(), 9 * DAY_NS).unwrap();
    }

    #[test]
    fn what_is_not_there_gives_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let nowhere = folder.path().join("nowhere");
        let (all, report) = resolved(&nowhere, &nowhere, Window::default()).unwrap();
        assert_eq!((all, report), (Vec::new(), JoinReport::default()));
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(matches!(
            resolved(&file, &nowhere, Window::default()),
            Err(ReplayError::Journal(_))
        ));
        assert!(matches!(
            resolved(&nowhere, &file, Window::default()),
            Err(ReplayError::Outcomes(_))
        ));
    }

    #[test]
    fn days_back_from_now() {
        let window = Window::last_days(30, 100 * DAY_NS);
        assert!(window.contains(70 * DAY_NS) && !window.contains(70 * DAY_NS - 1));
        let hour = 3600 * SECOND_NS;
        assert!(window.contains(100 * DAY_NS + hour - 1) && !window.contains(100 * DAY_NS + hour));
        assert!(Window::last_days(30, DAY_NS).contains(0));
        assert!(Window::default().contains(u64::MAX));
    }
}
