//! Keeps a journal within its budget, on a thread of its own: to compact a day takes seconds.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::JournalError;
use super::budget::{Step, bytes_of, next_step};
use super::compact::{Compacted, compact};
use super::error::{reading, writing};
use super::held::Held;
use super::lock::FolderLock;
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
    /// Nothing is done without it.
    pub(super) lock: Arc<FolderLock>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) shared: Arc<Shared>,
}

impl Keeper {
    /// Looks whenever it is told to and now and then, until nobody can tell it any more.
    pub(super) fn run(&self, look: &Receiver<()>) {
        while look.recv_timeout(EVERY) != Err(RecvTimeoutError::Disconnected) {
            self.look();
        }
    }

    /// Does what needs to be done now, and tells what cannot be done when that changes.
    fn look(&self) {
        let errors = self.keep();
        let reasons: Vec<_> = errors.iter().map(|error| with_causes(error)).collect();
        let reason = (!reasons.is_empty()).then(|| reasons.join("; "));
        let before = std::mem::replace(&mut self.shared.stats().budget_failing, reason.clone());
        if let Some(reason) = reason.filter(|reason| before.as_ref() != Some(reason)) {
            tracing::warn!(reason, "the journal's files cannot be kept in their budget");
        }
    }

    /// Does what needs to be done now. What fails ends nothing else.
    fn keep(&self) -> Vec<JournalError> {
        let (mut failed, mut errors) = (Vec::new(), Vec::new());
        // Without the lock, the files may be another process's.
        while !self.shared.queue.is_stopping() && self.lock.is_held() {
            let files = match parts::list(&self.folder) {
                Ok(files) => files,
                Err(error) => {
                    errors.push(reading(&self.folder)(error));
                    break;
                }
            };
            self.shared.stats().bytes = bytes_of(&files);
            let open = self.open_part();
            let now_ns = self.clock.now_ns();
            let step = next_step(&files, now_ns, self.budget_bytes, open.as_ref(), &failed);
            let Some(step) = step else { break };
            let (part, done) = match step {
                Step::Compact(part) => (part.clone(), self.compact(&part, now_ns)),
                Step::Tidy(part) => (part.clone(), self.tidy(&part, now_ns)),
                Step::Remove(part) => (part.clone(), self.remove(&part)),
            };
            if let Err(error) = done {
                errors.push(error);
                failed.push(part);
            }
        }
        errors
    }

    fn open_part(&self) -> Option<Part> {
        self.open_part.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn compact(&self, part: &Part, now_ns: u64) -> Result<(), JournalError> {
        let goes_on = || !self.shared.queue.is_stopping();
        let compacted = compact(&self.folder, part, now_ns, &goes_on)?;
        let Some(compacted) = compacted else { return Ok(()) };
        if !self.exchange(part, &compacted).inspect_err(|_| compacted.remove())? {
            compacted.remove();
            return Ok(());
        }
        let (lines, table) = (part.lines(&self.folder), part.table(&self.folder));
        // From here on there are both for a while if a step fails.
        sync_parent(&table).map_err(writing(&table))?;
        let mut stats = self.shared.stats();
        stats.compacted += 1;
        stats.torn += compacted.torn;
        drop(stats);
        let (bytes, file) = (compacted.lines_bytes, lines.display());
        let bytes_after = fs::metadata(&table).map_or(0, |metadata| metadata.len());
        let aside = compacted.aside.map(|aside| aside.display().to_string());
        tracing::info!(%file, bytes, bytes_after, aside, "a part of the journal is a table now");
        fs::remove_file(&lines).map_err(writing(&lines))
    }

    /// Gives a table its name, unless its lines have changed since it was made of them.
    fn exchange(&self, part: &Part, compacted: &Compacted) -> Result<bool, JournalError> {
        let (lines, table) = (part.lines(&self.folder), part.table(&self.folder));
        // Who writes takes a part under this lock, and none that has a table.
        let open = self.open_part.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = fs::metadata(&lines).map_err(reading(&lines))?.len();
        if open.as_ref() == Some(part) || bytes != compacted.lines_bytes {
            return Ok(false);
        }
        fs::rename(&compacted.temporary, &table).map_err(writing(&table))?;
        Ok(true)
    }

    /// Removes lines that the table beside them holds, every one. Any other table is set aside: it
    /// may be the half of a copy.
    fn tidy(&self, part: &Part, now_ns: u64) -> Result<(), JournalError> {
        let (lines, table) = (part.lines(&self.folder), part.table(&self.folder));
        let expected = Held::by_lines(&lines)?;
        let reason = match Held::by_table(&table) {
            Ok(found) if found.is_same(&expected) => {
                let removed = sync_parent(&table).and_then(|()| fs::remove_file(&lines));
                return removed.map_err(writing(&lines));
            }
            Ok(_) => "it holds other records than the lines beside it".to_owned(),
            Err(error) => with_causes(&error),
        };
        let aside = free_name(&table, now_ns);
        let moved = fs::rename(&table, &aside).and_then(|()| sync_parent(&aside));
        moved.map_err(writing(&table))?;
        let (file, aside) = (table.display(), aside.display());
        tracing::warn!(%file, %aside, reason, "a table of the journal is not one of its lines; set aside");
        Ok(())
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

/// A name beside `table` that nothing has.
fn free_name(table: &Path, now_ns: u64) -> PathBuf {
    let name = table.file_name().unwrap_or_default().to_string_lossy();
    let named = |unique: u64| table.with_file_name(format!("{name}.aside-{unique}"));
    let free = (now_ns..).map(named).find(|aside| fs::symlink_metadata(aside).is_err());
    free.unwrap_or_else(|| named(now_ns))
}

#[cfg(test)]
mod tests {
    use super::super::lock::LOCK;
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
        let lock = FolderLock::new(folder.to_owned());
        lock.take().unwrap();
        Keeper {
            folder: folder.to_owned(),
            budget_bytes,
            open_part: OpenPart::default(),
            lock: Arc::new(lock),
            clock: Arc::new(StoppedClock),
            shared: Arc::new(Shared::new(Queue::new(1), Arc::default())),
        }
    }

    /// It does all that needs to be done.
    fn done(keeper: &Keeper) {
        let errors = keeper.keep();
        assert!(errors.is_empty(), "{errors:?}");
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
        names.retain(|name| name != LOCK);
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
        done(&keeper);
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
        let keeper = keeper(folder.path(), content.len() as u64);
        done(&keeper);
        assert_eq!(keeper.shared.stats().torn, 2);
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
        done(&keeper(folder.path(), lines.len() as u64));
        fs::write(&file, &lines).unwrap();
        assert_eq!(read_text(folder.path()), lines);
        done(&keeper(folder.path(), u64::MAX));
        assert_eq!(names(folder.path()), ["2025-11-22.parquet"]);
        assert_eq!(read_text(folder.path()), lines);
    }

    /// What has the name of a table is not believed to be one.
    #[test]
    fn no_lines_are_removed_for_the_name_of_a_table() {
        let outer = tempfile::tempdir().unwrap();
        let (lines, others) = (text(&records(400, 0)), text(&records(400, 1)));
        // A table of as many other records, and one of a part of them.
        let table_of = |name: &str, lines: &str| {
            let folder = outer.path().join(name);
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("2025-11-22.jsonl"), lines).unwrap();
            done(&keeper(&folder, lines.len() as u64));
            fs::read(folder.join("2025-11-22.parquet")).unwrap()
        };
        let half = &lines[..=lines.match_indices('\n').nth(199).unwrap().0];
        let whole = table_of("whole", &lines);
        for (number, content) in [
            vec![],
            whole[..whole.len() / 2].to_owned(),
            table_of("half", half),
            table_of("others", &others),
        ]
        .into_iter()
        .enumerate()
        {
            let folder = outer.path().join(number.to_string());
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("2025-11-22.jsonl"), &lines).unwrap();
            fs::write(folder.join("2025-11-22.parquet"), content).unwrap();
            done(&keeper(&folder, u64::MAX));
            let aside = format!("2025-11-22.parquet.aside-{}", DAY + 5 * DAY_NS);
            assert_eq!(names(&folder), ["2025-11-22.jsonl", aside.as_str()]);
            assert_eq!(read_text(&folder), lines);
        }
    }

    /// Folders cannot be removed as files are: they are in nobody's way, and what fails is told.
    #[test]
    fn what_fails_ends_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        for name in ["2025-11-20.parquet", "2025-11-21.jsonl", "2025-11-22.parquet"] {
            fs::create_dir(file(name)).unwrap();
        }
        let days = [0, 1].map(|day| text(&records(400, day)));
        fs::write(file("2025-11-22.jsonl"), &days[0]).unwrap();
        fs::write(file("2025-11-23.jsonl"), &days[1]).unwrap();
        let keeper = keeper(folder.path(), days.concat().len() as u64);
        keeper.look();
        assert!(file("2025-11-22.jsonl").exists(), "its table has no place");
        assert!(file("2025-11-23.parquet").is_file() && !file("2025-11-23.jsonl").exists());
        let told = keeper.shared.stats().budget_failing.clone();
        assert!(told.as_ref().unwrap().contains("2025-11-22.parquet"), "{told:?}");
        fs::remove_dir(file("2025-11-22.parquet")).unwrap();
        keeper.look();
        assert!(file("2025-11-22.parquet").is_file());
        assert_eq!(keeper.shared.stats().budget_failing, None);
    }

    #[test]
    fn a_compaction_that_comes_to_nothing_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let content = format!("{{}}\n{}", text(&records(400, 0)));
        fs::write(folder.path().join("2025-11-22.jsonl"), &content).unwrap();
        fs::create_dir(folder.path().join("2025-11-22.parquet")).unwrap();
        let keeper = keeper(folder.path(), 1);
        for _ in 0..2 {
            assert_eq!(keeper.keep().len(), 1);
            assert_eq!(names(folder.path()), ["2025-11-22.jsonl", "2025-11-22.parquet"]);
        }
        let part = Part { day: "2025-11-22".to_owned(), number: 0 };
        *keeper.open_part.lock().unwrap() = Some(part.clone());
        keeper.compact(&part, 1).unwrap();
        assert_eq!(names(folder.path()), ["2025-11-22.jsonl", "2025-11-22.parquet"]);
        assert_eq!(keeper.shared.stats().torn, 0);
    }

    #[test]
    fn the_files_of_another_process_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("2025-11-22.jsonl"), text(&records(3, 0))).unwrap();
        let without = Arc::new(FolderLock::new(folder.path().to_owned()));
        done(&Keeper { lock: without, ..keeper(folder.path(), 1) });
        assert_eq!(names(folder.path()), ["2025-11-22.jsonl"]);
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
        done(&keeper(folder.path(), 3 * fs::metadata(&one).unwrap().len()));
        let table = fs::metadata(folder.path().join("2025-11-22.parquet")).unwrap().len();
        let keeper = keeper(folder.path(), table * 5 / 2);
        *keeper.open_part.lock().unwrap() = Some(Part { day: "2025-11-27".to_owned(), number: 0 });
        done(&keeper);
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
        done(&keeper);
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
