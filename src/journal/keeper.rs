//! Keeps a journal within its budget, on a thread of its own: to compact a day takes seconds.

use std::fs;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::JournalError;
use super::budget::{Step, bytes_of, next_step};
use super::compact::{Compacted, compact};
use super::error::{reading, writing};
use super::parts::{self, Part};
use super::thread::Shared;
use super::writer::OpenPart;
use crate::causes::with_causes;
use crate::clock::Clock;
use crate::files::sync_parent;

/// How often it is looked at least.
const EVERY: Duration = Duration::from_secs(600);

/// Keeps a journal within its budget.
pub(super) struct Keeper {
    pub(super) folder: PathBuf,
    pub(super) budget_bytes: u64,
    /// The part that is left alone.
    pub(super) open_part: OpenPart,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) shared: Arc<Shared>,
}

impl Keeper {
    /// Looks whenever it is told to and now and then, until nobody can tell it any more.
    pub(super) fn run(&self, look: &Receiver<()>) {
        let mut is_told = false;
        while look.recv_timeout(EVERY) != Err(RecvTimeoutError::Disconnected) {
            match self.keep() {
                Ok(()) => is_told = false,
                Err(error) => {
                    if !std::mem::replace(&mut is_told, true) {
                        let reason = with_causes(&error);
                        tracing::warn!(
                            reason,
                            "the journal's files cannot be kept in their budget"
                        );
                    }
                }
            }
        }
    }

    /// Does what needs to be done now. The first error is returned; what else can be done is done.
    pub(super) fn keep(&self) -> Result<(), JournalError> {
        let (mut failed, mut first) = (Vec::new(), None);
        while !self.shared.queue.is_stopping() {
            let files = parts::list(&self.folder).map_err(reading(&self.folder))?;
            self.shared.stats().bytes = bytes_of(&files);
            let open = self.open_part();
            let now_ns = self.clock.now_ns();
            let step = next_step(&files, now_ns, self.budget_bytes, open.as_ref(), &failed);
            match step {
                None => break,
                Some(Step::Compact(part)) => {
                    if let Err(error) = self.compact(&part, now_ns) {
                        first.get_or_insert(error);
                        failed.push(part);
                    }
                }
                Some(Step::Tidy(part)) => self.tidy(&part)?,
                Some(Step::Remove(part)) => self.remove(&part)?,
            }
        }
        first.map_or(Ok(()), Err)
    }

    fn open_part(&self) -> Option<Part> {
        self.open_part.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn compact(&self, part: &Part, now_ns: u64) -> Result<(), JournalError> {
        let goes_on = || !self.shared.queue.is_stopping();
        let compacted = compact(&self.folder, part, now_ns, &goes_on)?;
        let Some(Compacted { temporary, lines_bytes, aside }) = compacted else { return Ok(()) };
        let (lines, table) = (part.lines(&self.folder), part.table(&self.folder));
        // Who writes takes a part under this lock, and none that has a table.
        let open = self.open_part.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = fs::metadata(&lines).map_err(reading(&lines))?.len();
        if open.as_ref() == Some(part) || bytes != lines_bytes {
            fs::remove_file(&temporary).map_err(writing(&temporary))?;
            return Ok(());
        }
        // From here on the table counts, with or without the lines beside it.
        let named = fs::rename(&temporary, &table).and_then(|()| sync_parent(&table));
        named.map_err(writing(&table))?;
        fs::remove_file(&lines).map_err(writing(&lines))?;
        drop(open);
        self.shared.stats().compacted += 1;
        let bytes_after = fs::metadata(&table).map_or(0, |metadata| metadata.len());
        let (file, aside) = (lines.display(), aside.map(|aside| aside.display().to_string()));
        tracing::info!(%file, bytes, bytes_after, aside, "a part of the journal is a table now");
        Ok(())
    }

    fn tidy(&self, part: &Part) -> Result<(), JournalError> {
        let lines = part.lines(&self.folder);
        fs::remove_file(&lines).map_err(writing(&lines))
    }

    fn remove(&self, part: &Part) -> Result<(), JournalError> {
        let table = part.table(&self.folder);
        fs::remove_file(&table).map_err(writing(&table))?;
        self.shared.stats().removed += 1;
        let (file, budget_bytes) = (table.display(), self.budget_bytes);
        tracing::warn!(%file, budget_bytes, "the journal's budget is used up; its oldest part is removed");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::queue::Queue;
    use super::super::read;
    use super::super::{Record, RecordedAnswer, Shadow};
    use super::*;
    use crate::clock::DAY_NS;

    const DAY: u64 = 20_414 * DAY_NS; // 2025-11-22

    #[derive(Debug)]
    struct StoppedClock;

    impl Clock for StoppedClock {
        fn now_ns(&self) -> u64 {
            DAY + 5 * DAY_NS
        }
    }

    fn keeper(folder: &Path, budget_bytes: u64) -> Keeper {
        Keeper {
            folder: folder.to_owned(),
            budget_bytes,
            open_part: OpenPart::default(),
            clock: Arc::new(StoppedClock),
            shared: Arc::new(Shared::new(Queue::new(1), Arc::default())),
        }
    }

    fn records(count: u64, day: u64) -> Vec<Record> {
        let record = |number: u64| {
            let mut record =
                Record::sample(&format!("{day}-{number}"), DAY + day * DAY_NS + number);
            record.features.set(2, 1.0 / 3.0);
            record.answer.confidence = 0.1 + 0.2;
            match number % 4 {
                0 => record.test_pk = Some("pk \"\n\u{e9}".to_owned()),
                1 => record.time_quantiles = None,
                2 => {
                    record.session_id = None;
                    record.raw_probability = None;
                    record.calibrated = None;
                    record.checkpoint = String::new();
                }
                _ => {
                    let answer = RecordedAnswer {
                        converted: true,
                        time_seconds: 0.1,
                        confidence: 1.0 / 3.0,
                    };
                    record.shadow = Some(Shadow { checkpoint: "second".to_owned(), answer });
                }
            }
            record
        };
        (0..count).map(record).collect()
    }

    fn text(records: &[Record]) -> String {
        let lines = records.iter().map(|record| serde_json::to_string(record).unwrap() + "\n");
        lines.collect()
    }

    /// As lines: a NaN is not equal to itself.
    fn read_text(folder: &Path) -> String {
        let mut all = Vec::new();
        let report = read(folder, None, &mut |record| all.push(record)).unwrap();
        assert_eq!((report.torn, report.unreadable), (0, vec![]));
        text(&all)
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn compacted_records_are_the_same() {
        let folder = tempfile::tempdir().unwrap();
        // More than two groups of rows.
        let lines = text(&records(20_000, 0));
        fs::write(folder.path().join("2025-11-22.jsonl"), &lines).unwrap();
        let before = read_text(folder.path());
        let keeper = keeper(folder.path(), lines.len() as u64 + 1);
        keeper.keep().unwrap();
        assert_eq!(names(folder.path()), ["2025-11-22.parquet"]);
        assert!(read_text(folder.path()) == before, "something was lost");
        let stats = keeper.shared.stats().clone();
        assert_eq!((stats.compacted, stats.removed), (1, 0));
        assert!(stats.bytes * 4 < lines.len() as u64, "{} of {}", stats.bytes, lines.len());
    }

    #[test]
    fn what_is_no_record_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let lines = text(&records(400, 0));
        let content = format!("{{}}\n{lines}{}", &lines[..40]);
        fs::write(folder.path().join("2025-11-22.jsonl"), &content).unwrap();
        keeper(folder.path(), content.len() as u64).keep().unwrap();
        let aside = format!("2025-11-22.jsonl.torn-{}", DAY + 5 * DAY_NS);
        assert_eq!(names(folder.path()), [aside.as_str(), "2025-11-22.parquet"]);
        let kept = fs::read_to_string(folder.path().join(aside)).unwrap();
        assert_eq!(kept, format!("{{}}\n{}\n", &lines[..40]));
        assert_eq!(read_text(folder.path()), lines);
    }

    /// A process died after the table had got its name.
    #[test]
    fn a_crash_between_two_steps_doubles_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let lines = text(&records(400, 0));
        let file = folder.path().join("2025-11-22.jsonl");
        fs::write(&file, &lines).unwrap();
        keeper(folder.path(), lines.len() as u64).keep().unwrap();
        fs::write(&file, &lines).unwrap();
        assert_eq!(read_text(folder.path()), lines);
        keeper(folder.path(), u64::MAX).keep().unwrap();
        assert_eq!(names(folder.path()), ["2025-11-22.parquet"]);
        assert_eq!(read_text(folder.path()), lines);
    }

    #[test]
    fn the_oldest_are_removed_when_nothing_else_helps() {
        let folder = tempfile::tempdir().unwrap();
        for day in 0..5 {
            let name = format!("2025-11-{}.jsonl", 22 + day);
            fs::write(folder.path().join(name), text(&records(2000, day))).unwrap();
        }
        // The tables of about two days and a half.
        let one = folder.path().join("2025-11-22.jsonl");
        keeper(folder.path(), 3 * fs::metadata(&one).unwrap().len()).keep().unwrap();
        let table = fs::metadata(folder.path().join("2025-11-22.parquet")).unwrap().len();
        let keeper = keeper(folder.path(), table * 5 / 2);
        *keeper.open_part.lock().unwrap() = Some(Part { day: "2025-11-27".to_owned(), number: 0 });
        keeper.keep().unwrap();
        assert_eq!(names(folder.path()), ["2025-11-25.parquet", "2025-11-26.parquet"]);
        assert_eq!(keeper.shared.stats().removed, 3);
        assert!(keeper.shared.stats().bytes <= keeper.budget_bytes);
    }

    #[test]
    fn what_is_being_written_stays() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("2025-11-22.jsonl"), text(&records(3, 0))).unwrap();
        let keeper = keeper(folder.path(), 1);
        *keeper.open_part.lock().unwrap() = Some(Part { day: "2025-11-22".to_owned(), number: 0 });
        keeper.keep().unwrap();
        assert_eq!(names(folder.path()), ["2025-11-22.jsonl"]);
    }

    #[test]
    fn a_compaction_ends_when_it_is_asked_to() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("2025-11-22.jsonl"), text(&records(9000, 0))).unwrap();
        let keeper = keeper(folder.path(), 1);
        keeper.shared.queue.stop();
        let part = Part { day: "2025-11-22".to_owned(), number: 0 };
        keeper.compact(&part, 1).unwrap();
        assert_eq!(names(folder.path()), ["2025-11-22.jsonl"]);
    }
}
