use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::super::disk::SystemDisk;
use super::super::lock::LOCK;
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

#[test]
fn a_folder_that_was_moved_or_removed_is_made_anew() {
    let outer = tempfile::tempdir().unwrap();
    let (folder, moved) = (outer.path().join("predictions"), outer.path().join("moved"));
    let mut writer = writer(&folder, NO_ROLL);
    writer.push(&Record::sample("a", DAY));
    writer.flush(DAY).unwrap();
    fs::rename(&folder, &moved).unwrap();
    // Somebody else was quicker: what comes waits.
    let other = FolderLock::new(folder.clone());
    other.take().unwrap();
    writer.push(&Record::sample("b", DAY));
    let error = writer.flush(DAY).unwrap_err();
    assert!(matches!(error, JournalError::InUse { .. }), "{error}");
    assert_eq!((writer.waiting(), writer.is_prepared()), (1, false));
    drop(other);
    writer.flush(DAY).unwrap();
    assert_eq!((ids(&folder), ids(&moved)), (vec!["b".to_owned()], vec!["a".to_owned()]));
    assert!(writer.is_prepared());

    fs::remove_dir_all(&folder).unwrap();
    writer.push(&Record::sample("c", DAY));
    writer.flush(DAY).unwrap();
    assert_eq!(ids(&folder), ["c"]);
}

#[test]
fn a_folder_with_the_name_of_a_file_is_in_nobodys_way() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["2025-11-22.jsonl", "2025-11-22.1.parquet"] {
        fs::create_dir(folder.path().join(name)).unwrap();
    }
    let mut writer = writer(folder.path(), NO_ROLL);
    writer.push(&Record::sample("a", DAY));
    writer.flush(DAY).unwrap();
    assert_eq!(ids(folder.path()), ["a"]);
    assert!(folder.path().join("2025-11-22.2.jsonl").is_file());
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
