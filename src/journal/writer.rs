//! Writes records as lines, and keeps those that could not be written until they are.

use std::collections::VecDeque;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::Record;
use super::disk::{Disk, LineFile, Opened};
use super::error::{JournalError, writing};
use super::lines;
use super::parts::{self, Part};
use crate::clock::Moment;

/// So many bytes are written and brought to the disk at once.
const BATCH_BYTES: usize = 4 << 20;
/// The file that says that a process writes into the folder.
const LOCK: &str = ".lock";

/// The part that is being written, for who must leave it alone.
pub(super) type OpenPart = Arc<Mutex<Option<Part>>>;

/// Writes lines into a folder.
pub(super) struct Writer {
    folder: PathBuf,
    disk: Box<dyn Disk>,
    /// A part of this size gets no more lines.
    roll_bytes: u64,
    open_part: OpenPart,
    lock: Option<File>,
    current: Option<Current>,
    batches: VecDeque<Batch>,
    pub(super) counts: Counts,
}

/// What was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Records that are on the disk.
    pub(super) written: u64,
    /// Torn lines that were set aside.
    pub(super) torn: u64,
    /// Parts that were begun or gone on with.
    pub(super) opened: u64,
}

struct Current {
    part: Part,
    path: PathBuf,
    file: Box<dyn LineFile>,
    /// Up to here all is on the disk.
    durable_bytes: u64,
    /// Whether something that is not may follow.
    is_dirty: bool,
}

/// Lines of one day that wait to be written.
#[derive(Default)]
struct Batch {
    day: String,
    lines: Vec<u8>,
    records: u64,
}

impl Writer {
    pub(super) fn new(
        folder: PathBuf,
        disk: Box<dyn Disk>,
        roll_bytes: u64,
        open_part: OpenPart,
    ) -> Writer {
        Writer {
            folder,
            disk,
            roll_bytes,
            open_part,
            lock: None,
            current: None,
            batches: VecDeque::new(),
            counts: Counts::default(),
        }
    }

    /// Makes the folder, and makes sure that nobody else writes into it.
    ///
    /// # Errors
    ///
    /// If somebody does, or the folder cannot be written to.
    pub(super) fn prepare(&mut self) -> Result<(), JournalError> {
        if self.lock.is_some() {
            return Ok(());
        }
        let path = self.folder.join(LOCK);
        let failed = |source| JournalError::Write { path: path.clone(), source };
        fs::create_dir_all(&self.folder).map_err(failed)?;
        let file = File::options().create(true).append(true).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(JournalError::InUse { path: self.folder.clone() });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        lines::remove_partial(&self.folder);
        self.lock = Some(file);
        Ok(())
    }

    /// Whether the folder is ours.
    pub(super) fn is_prepared(&self) -> bool {
        self.lock.is_some()
    }

    /// Takes a record, to be written by the next [`Writer::flush`].
    pub(super) fn push(&mut self, record: &Record) {
        let day = Moment::of_ns(record.time_ns).date();
        let fits = |batch: &Batch| batch.day == day && batch.lines.len() < BATCH_BYTES;
        if !self.batches.back().is_some_and(fits) {
            self.batches.push_back(Batch { day, ..Batch::default() });
        }
        let Some(batch) = self.batches.back_mut() else { return };
        serde_json::to_writer(&mut batch.lines, record)
            .expect("a record is JSON and memory takes it. This is a bug.");
        batch.lines.push(b'\n');
        batch.records += 1;
    }

    /// How many bytes wait to be written.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.batches.iter().map(|batch| batch.lines.len()).sum()
    }

    /// How many records wait to be written.
    pub(super) fn waiting(&self) -> u64 {
        self.batches.iter().map(|batch| batch.records).sum()
    }

    /// Brings all that waits to the disk.
    ///
    /// # Errors
    ///
    /// If a step fails. What was not brought to the disk still waits, and is in no file.
    pub(super) fn flush(&mut self, now_ns: u64) -> Result<(), JournalError> {
        // Also where nothing waits: who has a folder of which nothing is known should hear of it.
        self.prepare()?;
        while let Some(batch) = self.batches.pop_front() {
            match self.write(&batch, now_ns) {
                Ok(()) => self.counts.written += batch.records,
                Err(error) => {
                    self.batches.push_front(batch);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn write(&mut self, batch: &Batch, now_ns: u64) -> Result<(), JournalError> {
        if let Some(current) = &mut self.current {
            current.clean()?;
        }
        let is_usable = |current: &Current| {
            current.part.day == batch.day
                && current.durable_bytes < self.roll_bytes
                && current.file.is_at(&current.path)
        };
        if !self.current.as_ref().is_some_and(is_usable) {
            self.current = None;
            self.open(&batch.day, now_ns).map_err(writing(&self.folder))?;
        }
        let Some(current) = &mut self.current else { return Ok(()) };
        current.is_dirty = true;
        let written = current.file.append(&batch.lines).and_then(|()| current.file.sync());
        if let Err(error) = written {
            // What of it is there would be there twice, or be torn, when it is written again.
            current.clean().ok();
            return Err(writing(&current.path)(error));
        }
        current.is_dirty = false;
        current.durable_bytes += batch.lines.len() as u64;
        Ok(())
    }

    /// Opens the part of this day that records are to be appended to.
    fn open(&mut self, day: &str, now_ns: u64) -> io::Result<()> {
        // Who compacts parts looks at this under the same lock.
        let mut open_part = self.open_part.lock().unwrap_or_else(PoisonError::into_inner);
        let part = next_part(&self.folder, day, self.roll_bytes)?;
        let path = part.lines(&self.folder);
        *open_part = Some(part.clone());
        drop(open_part);
        let Opened { file, bytes, was_torn } = self.disk.open(&path, now_ns)?;
        self.counts.torn += u64::from(was_torn);
        self.counts.opened += 1;
        self.current = Some(Current { part, path, file, durable_bytes: bytes, is_dirty: false });
        Ok(())
    }
}

impl Current {
    /// Takes out of the file what is not surely on the disk.
    fn clean(&mut self) -> Result<(), JournalError> {
        if self.is_dirty {
            let shortened = self.file.truncate(self.durable_bytes);
            shortened.map_err(writing(&self.path))?;
            self.is_dirty = false;
        }
        Ok(())
    }
}

/// The last part of a day if that is a file of lines with room, or else the one after it.
fn next_part(folder: &Path, day: &str, roll_bytes: u64) -> io::Result<Part> {
    let all = parts::list(folder)?;
    let last = all.iter().rfind(|files| files.part.day == day);
    let number = last.map_or(0, |last| {
        let is_full = last.lines.is_some_and(|bytes| bytes >= roll_bytes);
        // Lines that are appended beside a table would be read by nobody.
        last.part.number + u32::from(is_full || last.table.is_some())
    });
    Ok(Part { day: day.to_owned(), number })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use super::super::disk::SystemDisk;
    use super::super::read;
    use super::*;
    use crate::clock::DAY_NS;

    const DAY: u64 = 20_414 * DAY_NS; // 2025-11-22
    const NO_ROLL: u64 = u64::MAX;

    fn writer(folder: &Path, roll_bytes: u64) -> Writer {
        Writer::new(folder.to_owned(), Box::new(SystemDisk), roll_bytes, OpenPart::default())
    }

    fn ids(folder: &Path) -> Vec<String> {
        let mut ids = Vec::new();
        let report =
            read(folder, None, &mut |record| ids.push(record.id().unwrap().to_owned())).unwrap();
        assert_eq!((report.torn, report.unreadable), (0, vec![]));
        ids
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
    fn a_file_a_day() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("data/predictions");
        let mut writer = writer(&folder, NO_ROLL);
        for (id, time_ns) in [("a", DAY), ("b", DAY + DAY_NS), ("c", DAY + 1)] {
            writer.push(&Record::sample(id, time_ns));
        }
        assert_eq!((writer.waiting(), writer.counts.written), (3, 0));
        assert!(writer.waiting_bytes() > 1000);
        writer.flush(DAY).unwrap();
        assert_eq!((writer.waiting(), writer.counts.written), (0, 3));
        assert_eq!(names(&folder), ["2025-11-22.jsonl", "2025-11-23.jsonl"]);
        assert_eq!(ids(&folder), ["a", "c", "b"]);
    }

    #[test]
    fn only_one_writes() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = writer(folder.path(), NO_ROLL);
        first.prepare().unwrap();
        let mut second = writer(folder.path(), NO_ROLL);
        let error = second.prepare().unwrap_err();
        assert!(matches!(error, JournalError::InUse { .. }), "{error}");
        second.push(&Record::sample("a", DAY));
        assert!(second.flush(DAY).is_err());
        assert_eq!(names(folder.path()), [""; 0]);
        drop(first);
        second.flush(DAY).unwrap();
        assert_eq!(ids(folder.path()), ["a"]);
    }

    #[test]
    fn a_torn_line_of_an_earlier_process_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("2025-11-22.jsonl");
        let whole = serde_json::to_string(&Record::sample("a", DAY)).unwrap();
        fs::write(&path, format!("{whole}\n{}", &whole[..50])).unwrap();
        let partial = folder.path().join(".2025-11-21.parquet.1.partial");
        fs::write(&partial, "").unwrap();
        let mut writer = writer(folder.path(), NO_ROLL);
        writer.push(&Record::sample("b", DAY + 1));
        writer.flush(7).unwrap();
        assert_eq!(writer.counts.torn, 1);
        assert_eq!(ids(folder.path()), ["a", "b"]);
        assert_eq!(names(folder.path()), ["2025-11-22.jsonl", "2025-11-22.jsonl.torn-7"]);
    }

    #[test]
    fn a_part_that_is_large_or_compacted_gets_no_more_lines() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("2025-11-22.parquet"), "").unwrap();
        let mut writer = writer(folder.path(), 1);
        for (id, time_ns) in [("a", DAY), ("b", DAY + 1), ("c", DAY + DAY_NS)] {
            writer.push(&Record::sample(id, time_ns));
            writer.flush(DAY).unwrap();
        }
        let expected =
            ["2025-11-22.1.jsonl", "2025-11-22.2.jsonl", "2025-11-22.parquet", "2025-11-23.jsonl"];
        assert_eq!(names(folder.path()), expected);
        let open = writer.open_part.lock().unwrap().clone().unwrap();
        assert_eq!((open.day.as_str(), open.number), ("2025-11-23", 0));
    }

    #[test]
    fn a_file_that_was_removed_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = writer(folder.path(), NO_ROLL);
        writer.push(&Record::sample("a", DAY));
        writer.flush(DAY).unwrap();
        fs::remove_file(folder.path().join("2025-11-22.jsonl")).unwrap();
        writer.push(&Record::sample("b", DAY));
        writer.flush(DAY).unwrap();
        assert_eq!(ids(folder.path()), ["b"]);
    }

    /// A disk on which so many bytes fit, and whose other faults are switched on.
    #[derive(Clone, Default)]
    struct Faulty {
        free: Arc<AtomicU64>,
        no_sync: Arc<AtomicBool>,
        no_truncate: Arc<AtomicBool>,
        no_open: Arc<AtomicBool>,
    }

    struct FaultyFile(Faulty, Box<dyn LineFile>);

    fn fault(is_on: &AtomicBool) -> io::Result<()> {
        match is_on.load(Ordering::Relaxed) {
            true => Err(io::Error::other("switched off")),
            false => Ok(()),
        }
    }

    impl Disk for Faulty {
        fn open(&mut self, path: &Path, now_ns: u64) -> io::Result<Opened> {
            fault(&self.no_open)?;
            let opened = SystemDisk.open(path, now_ns)?;
            Ok(Opened { file: Box::new(FaultyFile(self.clone(), opened.file)), ..opened })
        }
    }

    impl LineFile for FaultyFile {
        fn append(&mut self, lines: &[u8]) -> io::Result<()> {
            let free = self.0.free.load(Ordering::Relaxed);
            let fits = (lines.len() as u64).min(free);
            self.1.append(&lines[..fits as usize])?;
            if fits < lines.len() as u64 {
                return Err(io::Error::from(io::ErrorKind::StorageFull));
            }
            self.0.free.store(free - fits, Ordering::Relaxed);
            Ok(())
        }

        fn sync(&mut self) -> io::Result<()> {
            fault(&self.0.no_sync)?;
            self.1.sync()
        }

        fn truncate(&mut self, bytes: u64) -> io::Result<()> {
            fault(&self.0.no_truncate)?;
            self.1.truncate(bytes)
        }

        fn is_at(&self, path: &Path) -> bool {
            self.1.is_at(path)
        }
    }

    fn faulty(folder: &Path) -> (Writer, Faulty) {
        let disk = Faulty::default();
        disk.free.store(u64::MAX, Ordering::Relaxed);
        let boxed = Box::new(disk.clone());
        let mut writer = Writer::new(folder.to_owned(), boxed, NO_ROLL, OpenPart::default());
        writer.push(&Record::sample("a", DAY));
        writer.flush(DAY).unwrap();
        writer.push(&Record::sample("b", DAY));
        writer.push(&Record::sample("c", DAY));
        (writer, disk)
    }

    /// Room for one line and a half of two: neither is there, and both are when there is room.
    #[test]
    fn a_full_disk_leaves_no_torn_line() {
        let folder = tempfile::tempdir().unwrap();
        let (mut writer, disk) = faulty(folder.path());
        let line = writer.waiting_bytes() as u64 / 2;
        for no_truncate in [false, true] {
            disk.no_truncate.store(no_truncate, Ordering::Relaxed);
            disk.free.store(line * 3 / 2, Ordering::Relaxed);
            let error = writer.flush(DAY).unwrap_err();
            let JournalError::Write { path, source } = error else { panic!("{error}") };
            assert_eq!(path, folder.path().join("2025-11-22.jsonl"));
            assert_eq!(source.kind(), io::ErrorKind::StorageFull);
            assert_eq!((writer.waiting(), writer.counts.written), (2, 1));
            if !no_truncate {
                assert_eq!(ids(folder.path()), ["a"]);
            }
        }
        // Nothing is written behind what could not be taken out.
        disk.free.store(u64::MAX, Ordering::Relaxed);
        assert!(writer.flush(DAY).is_err());
        disk.no_truncate.store(false, Ordering::Relaxed);
        writer.push(&Record::sample("d", DAY + DAY_NS));
        writer.flush(DAY).unwrap();
        assert_eq!(ids(folder.path()), ["a", "b", "c", "d"]);
    }

    /// What a failed synchronisation wrote may be lost though a later one goes well.
    #[test]
    fn what_is_not_surely_on_the_disk_is_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let (mut writer, disk) = faulty(folder.path());
        disk.no_sync.store(true, Ordering::Relaxed);
        assert!(writer.flush(DAY).is_err());
        assert_eq!(ids(folder.path()), ["a"]);
        disk.no_sync.store(false, Ordering::Relaxed);
        writer.flush(DAY).unwrap();
        assert_eq!((ids(folder.path()).len(), writer.counts.written), (3, 3));
    }

    #[test]
    fn a_folder_that_cannot_be_written_to_is_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("file/predictions");
        fs::write(folder.path().join("file"), "").unwrap();
        let mut writer = writer(&inner, NO_ROLL);
        assert!(writer.flush(DAY).is_err(), "though nothing waits");
        writer.push(&Record::sample("a", DAY));
        assert!(writer.flush(DAY).is_err());
        assert!(!writer.is_prepared());
        fs::remove_file(folder.path().join("file")).unwrap();
        writer.flush(DAY).unwrap();
        assert_eq!(ids(&inner), ["a"]);

        let (mut writer, disk) = faulty(&folder.path().join("other"));
        disk.no_open.store(true, Ordering::Relaxed);
        writer.push(&Record::sample("d", DAY + DAY_NS));
        assert!(writer.flush(DAY).is_err());
        assert_eq!(writer.counts.written, 3);
        disk.no_open.store(false, Ordering::Relaxed);
        writer.flush(DAY).unwrap();
        assert_eq!(writer.counts.written, 4);
    }
}
