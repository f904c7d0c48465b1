//! A journal that is being written.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde::Serialize;

use super::disk::{Disk, SystemDisk};
use super::keeper::Keeper;
use super::queue::Queue;
use super::sampling::{Sampler, Sampling, SharedIntervals};
use super::thread::{Scribe, Shared};
use super::writer::{OpenPart, Writer};
use super::{JournalError, Record};
use crate::clock::{Clock, SystemClock};

/// The longest name of a conversation that is written, in bytes. A truth is never looked for under a
/// longer one, and what a caller sends must not fill the memory.
const LONGEST_NAME: usize = 1024;
/// A part of the journal is this share of the budget, so that there is always something to compact
/// or to remove.
const PARTS_OF_BUDGET: u64 = 8;
/// How long the end of a journal that is dropped may take.
const DROP_LIMIT: Duration = Duration::from_secs(5);

/// Looks at records before they are written, on the journal's thread, and may add to them.
pub type Annotate = Box<dyn FnMut(&mut [Record]) + Send>;

/// How a journal is written.
pub struct JournalOptions {
    /// The folder. It is made if it is not there.
    pub folder: PathBuf,
    /// Which records are written. Default: all.
    pub sampling: Sampling,
    /// How often, where not all are. Default: every 30 and every 15 minutes.
    pub intervals: Arc<SharedIntervals>,
    /// How much room the files may take, in bytes. Default: 2 GiB.
    pub budget_bytes: u64,
    /// How many records may wait for the thread; more are dropped. Default: 16384, some 10 MB.
    pub queue_records: usize,
    /// How long a record may wait until it is brought to the disk. Default: half a second.
    pub flush_every: Duration,
    /// Adds to records before they are written. Default: nothing does.
    pub annotate: Option<Annotate>,
    /// The time of day. Default: the system's.
    pub clock: Arc<dyn Clock>,
}

impl JournalOptions {
    /// The defaults for this folder.
    pub fn new(folder: impl Into<PathBuf>) -> JournalOptions {
        JournalOptions {
            folder: folder.into(),
            sampling: Sampling::All,
            intervals: Arc::default(),
            budget_bytes: 2 << 30,
            queue_records: 1 << 14,
            flush_every: Duration::from_millis(500),
            annotate: None,
            clock: Arc::new(SystemClock),
        }
    }
}

impl std::fmt::Debug for JournalOptions {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("JournalOptions")
            .field("folder", &self.folder)
            .field("sampling", &self.sampling)
            .field("intervals", &self.intervals)
            .field("budget_bytes", &self.budget_bytes)
            .field("queue_records", &self.queue_records)
            .field("flush_every", &self.flush_every)
            .finish_non_exhaustive()
    }
}

/// What a journal did since it was started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct JournalStats {
    /// Records that are on the disk.
    pub written: u64,
    /// Records that were taken and are not on the disk yet, or still wait to be taken.
    pub waiting: u64,
    /// Records that were lost, since there was no room to wait, or no disk until the end.
    pub dropped: u64,
    /// Records that sampling left out.
    pub left_out: u64,
    /// Lines that were not finished or are no records, and were set aside.
    pub torn: u64,
    /// Files of lines that became tables.
    pub compacted: u64,
    /// Tables that were removed to stay in the budget.
    pub removed: u64,
    /// How much room the files took when it was last looked, in bytes.
    pub bytes: u64,
    /// Why the disk takes nothing; none while it does.
    pub failing: Option<String>,
    /// Why the files cannot be kept within the budget; none while they can.
    pub budget_failing: Option<String>,
}

/// Writes what was answered, on a thread of its own. Shared by all that answer.
pub struct Journal {
    shared: Arc<Shared>,
    threads: Mutex<Option<Threads>>,
}

struct Threads {
    scribe: JoinHandle<()>,
    keeper: JoinHandle<()>,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Journal").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl Journal {
    /// Starts to write. A folder that cannot be written to is tried again later.
    ///
    /// # Errors
    ///
    /// If another process writes into the folder, or the system gives no thread.
    pub fn start(options: JournalOptions) -> Result<Journal, JournalError> {
        Journal::start_on(options, Box::new(SystemDisk))
    }

    pub(super) fn start_on(
        options: JournalOptions,
        disk: Box<dyn Disk>,
    ) -> Result<Journal, JournalError> {
        let JournalOptions { folder, budget_bytes, clock, .. } = options;
        let shared = Shared::new(Queue::new(options.queue_records), options.intervals);
        let shared = Arc::new(shared);
        let open_part = OpenPart::default();
        let roll_bytes = (budget_bytes / PARTS_OF_BUDGET).max(1);
        let writer = Writer::new(folder.clone(), disk, roll_bytes, Arc::clone(&open_part));
        let (opened, look) = mpsc::sync_channel(1);
        let mut scribe = Scribe {
            shared: Arc::clone(&shared),
            writer,
            sampler: (options.sampling == Sampling::Sampled).then(Sampler::default),
            annotate: options.annotate,
            clock: Arc::clone(&clock),
            flush_every: options.flush_every,
            opened,
            trouble: None,
            waits_since: None,
        };
        match scribe.writer.prepare() {
            Err(error @ JournalError::InUse { .. }) => return Err(error),
            prepared => scribe.judge(prepared),
        }
        if scribe.writer.is_prepared() {
            scribe.opened.try_send(()).ok();
        }
        let lock = scribe.writer.lock();
        let shared_too = Arc::clone(&shared);
        let keeper = Keeper { folder, budget_bytes, open_part, lock, clock, shared: shared_too };
        let threads = Threads {
            keeper: spawn("journal-keeper", &shared, move || keeper.run(&look))?,
            scribe: spawn("journal", &shared, move || scribe.run())?,
        };
        Ok(Journal { shared, threads: Mutex::new(Some(threads)) })
    }

    /// Hands over a record. Never waits: one that has no room is dropped and counted.
    pub fn submit(&self, mut record: Record) {
        record.session_id.take_if(|name| name.len() > LONGEST_NAME);
        record.test_pk.take_if(|name| name.len() > LONGEST_NAME);
        // JSON has no such numbers.
        record.time_quantiles.take_if(|times| times.iter().any(|time| !time.is_finite()));
        if !self.shared.queue.push(record) {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many records are surely on the disk. Where all are written and none was dropped, these are
    /// the first so many that were handed over.
    pub fn acknowledged(&self) -> u64 {
        self.shared.stats().written
    }

    /// What it did.
    pub fn stats(&self) -> JournalStats {
        let mut stats = self.shared.stats().clone();
        stats.waiting += self.shared.queue.len() as u64;
        stats.dropped = self.shared.dropped.load(Ordering::Relaxed);
        stats
    }

    /// The intervals of sampling, which may be changed.
    pub fn intervals(&self) -> &Arc<SharedIntervals> {
        &self.shared.intervals
    }

    /// Writes what waits and ends. Whether that was done within `limit`; if not, the disk hangs, and
    /// what it does not take is lost with the process. Records that come later are dropped.
    pub fn stop(&self, limit: Duration) -> bool {
        self.shared.queue.stop();
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner).take();
        let ended = self.shared.queue.wait_for_end(2, limit);
        if let Some(Threads { scribe, keeper }) = threads.filter(|_| ended) {
            // A panic was printed already, and nothing else depended on it.
            scribe.join().ok();
            keeper.join().ok();
        }
        ended
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.stop(DROP_LIMIT);
    }
}

fn spawn(
    name: &str,
    shared: &Arc<Shared>,
    work: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, JournalError> {
    let ended = Ended(Arc::clone(shared));
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(move || {
        // Also after a panic: nobody should wait for what does not come.
        let _ended = ended;
        work();
    });
    spawned.map_err(JournalError::Thread)
}

/// Tells that a thread has ended, when it is dropped.
struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        if thread::panicking() {
            let reason = "the journal's thread ended in a panic. This is a bug.";
            self.0.stats().failing = Some(reason.to_owned());
            // Without it records would gather that nobody takes.
            self.0.queue.stop();
        }
        self.0.queue.add_ended();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io;
    use std::path::Path;
    use std::sync::atomic::AtomicBool;
    use std::time::Instant;

    use super::super::disk::{LineFile, Opened};
    use super::super::{Sampled, read};
    use super::*;
    use crate::clock::DAY_NS;

    const DAY: u64 = 20_414 * DAY_NS; // 2025-11-22
    /// Long enough for any machine; nothing waits for it unless it fails.
    const PATIENCE: Duration = Duration::from_secs(60);

    fn options(folder: &Path) -> JournalOptions {
        JournalOptions { flush_every: Duration::from_millis(1), ..JournalOptions::new(folder) }
    }

    fn wait_for(journal: &Journal, is_so: impl Fn(&JournalStats) -> bool) -> JournalStats {
        let started = Instant::now();
        loop {
            let stats = journal.stats();
            if is_so(&stats) {
                return stats;
            }
            assert!(started.elapsed() < PATIENCE, "{stats:?}");
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn records(folder: &Path) -> Vec<Record> {
        let mut records = Vec::new();
        let report = read(folder, None, &mut |record| records.push(record)).unwrap();
        assert_eq!((report.torn, report.unreadable), (0, vec![]));
        records
    }

    fn times(folder: &Path) -> Vec<u64> {
        records(folder).iter().map(|record| record.time_ns - DAY).collect()
    }

    #[test]
    fn what_is_acknowledged_is_there_before_the_end_and_the_rest_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::start(options(folder.path())).unwrap();
        (0..10).for_each(|n| journal.submit(Record::sample("a", DAY + n)));
        wait_for(&journal, |stats| stats.written == 10);
        assert_eq!(journal.acknowledged(), 10);
        assert_eq!(times(folder.path()), (0..10).collect::<Vec<u64>>());
        (10..20).for_each(|n| journal.submit(Record::sample("a", DAY + n)));
        assert!(journal.stop(PATIENCE));
        journal.submit(Record::sample("a", DAY + 20));
        let stats = journal.stats();
        let expected = JournalStats { written: 20, dropped: 1, ..JournalStats::default() };
        assert_eq!(JournalStats { bytes: 0, ..stats }, expected);
        assert_eq!(times(folder.path()), (0..20).collect::<Vec<u64>>());
    }

    #[test]
    fn only_one_journal_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let first = Journal::start(options(folder.path())).unwrap();
        let error = Journal::start(options(folder.path())).unwrap_err();
        assert!(error.to_string().contains("by another process"), "{error}");
        drop(first);
        Journal::start(options(folder.path())).unwrap();
    }

    #[test]
    fn what_json_or_the_memory_cannot_hold_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::start(options(folder.path())).unwrap();
        let mut record = Record::sample(&"x".repeat(LONGEST_NAME + 1), DAY);
        record.test_pk = Some("y".repeat(LONGEST_NAME));
        record.time_quantiles = Some([f64::INFINITY; 19]);
        record.raw_probability = Some(f64::NAN);
        journal.submit(record);
        drop(journal);
        let record = &records(folder.path())[0];
        assert_eq!((&record.session_id, record.time_quantiles), (&None, None));
        assert_eq!((record.test_pk.as_ref().unwrap().len(), record.raw_probability), (1024, None));
    }

    #[test]
    fn sampled_and_annotated() {
        let folder = tempfile::tempdir().unwrap();
        let annotate: Annotate =
            Box::new(|records| records.iter_mut().for_each(|it| it.checkpoint = "seen".to_owned()));
        let sampling = Sampling::Sampled;
        let annotate = Some(annotate);
        let journal =
            Journal::start(JournalOptions { sampling, annotate, ..options(folder.path()) });
        let journal = journal.unwrap();
        let intervals = journal.intervals().current();
        (0..3).for_each(|n| journal.submit(Record::sample("a", DAY + n)));
        let stats = wait_for(&journal, |stats| stats.written + stats.left_out == 3);
        assert_eq!((stats.written, stats.left_out), (1, 2));
        journal.intervals().set(super::super::SamplingIntervals { low_seconds: 0.0, ..intervals });
        journal.submit(Record::sample("a", DAY + 3));
        drop(journal);
        let records = records(folder.path());
        assert_eq!(records.len(), 2);
        assert!(records.iter().all(|it| it.sampled == Sampled::Low && it.checkpoint == "seen"));
    }

    /// A disk that hangs until it is told to go on.
    #[derive(Clone, Default)]
    struct Hanging(Arc<Mutex<()>>, Arc<AtomicBool>);

    struct HangingFile(Hanging, Box<dyn LineFile>);

    impl Disk for Hanging {
        fn open(&mut self, path: &Path, now_ns: u64) -> io::Result<Opened> {
            let opened = SystemDisk.open(path, now_ns)?;
            Ok(Opened { file: Box::new(HangingFile(self.clone(), opened.file)), ..opened })
        }
    }

    impl LineFile for HangingFile {
        fn append(&mut self, lines: &[u8]) -> io::Result<()> {
            self.1.append(lines)
        }

        fn sync(&mut self) -> io::Result<()> {
            self.0.1.store(true, Ordering::Relaxed);
            drop(self.0.0.lock().unwrap());
            self.1.sync()
        }

        fn truncate(&mut self, bytes: u64) -> io::Result<()> {
            self.1.truncate(bytes)
        }

        fn is_at(&self, path: &Path) -> bool {
            self.1.is_at(path)
        }
    }

    /// Whoever hands over a record would never come back if that waited for the disk.
    #[test]
    fn a_disk_that_hangs_delays_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Hanging::default();
        let hangs = disk.0.lock().unwrap();
        let options = JournalOptions { queue_records: 100, ..options(folder.path()) };
        let journal = Journal::start_on(options, Box::new(disk.clone())).unwrap();
        journal.submit(Record::sample("a", DAY));
        let started = Instant::now();
        while !disk.1.load(Ordering::Relaxed) {
            assert!(started.elapsed() < PATIENCE);
            thread::yield_now();
        }
        (1..1000).for_each(|n| journal.submit(Record::sample("a", DAY + n)));
        let stats = journal.stats();
        assert_eq!((stats.written, stats.dropped), (0, 899));
        assert!(!journal.stop(Duration::from_millis(10)), "it gives up");
        drop(hangs);
        assert!(journal.stop(PATIENCE));
        assert_eq!(journal.acknowledged(), 101);
        assert_eq!(times(folder.path()), (0..101).collect::<Vec<u64>>());
    }

    /// Told, retried, and no record is lost that had room to wait.
    #[test]
    fn a_folder_that_cannot_be_made_is_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let in_the_way = folder.path().join("file");
        fs::write(&in_the_way, "").unwrap();
        let inner = in_the_way.join("predictions");
        let journal = Journal::start(options(&inner)).unwrap();
        let stats = journal.stats();
        assert!(stats.failing.as_ref().unwrap().contains(".lock"), "{stats:?}");
        (0..10).for_each(|n| journal.submit(Record::sample("a", DAY + n)));
        fs::remove_file(&in_the_way).unwrap();
        let stats = wait_for(&journal, |stats| stats.written == 10);
        assert_eq!((stats.dropped, stats.failing), (0, None));
        assert_eq!(times(&inner), (0..10).collect::<Vec<u64>>());
    }

    /// A day that grows beyond its share of the budget goes on in other files, of which the older
    /// become tables, and the oldest are removed.
    #[test]
    fn a_budget_holds_while_records_come() {
        let folder = tempfile::tempdir().unwrap();
        let budget_bytes = 2 << 20;
        let journal =
            Journal::start(JournalOptions { budget_bytes, ..options(folder.path()) }).unwrap();
        let (mut submitted, started) = (0, Instant::now());
        while journal.stats().removed == 0 {
            assert!(started.elapsed() < PATIENCE, "{:?}", journal.stats());
            (0..500).for_each(|n| journal.submit(Record::sample("a", DAY + submitted + n)));
            submitted += 500;
            wait_for(&journal, |stats| stats.written == submitted);
        }
        drop(journal);
        let left = times(folder.path());
        let first = left[0];
        assert!(first > 0);
        assert_eq!(left, (first..submitted).collect::<Vec<u64>>(), "the youngest, in order");
    }
}
