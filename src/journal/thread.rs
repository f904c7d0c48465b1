//! The journal's own thread.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::queue::Queue;
use super::sampling::{Sampler, SharedIntervals};
use super::writer::Writer;
use super::{Annotate, JournalError, JournalStats, Record};
use crate::causes::with_causes;
use crate::clock::Clock;

/// How many bytes of lines may wait for a disk that takes none. The records behind them stay in the
/// queue, and what has no room there is dropped.
const WAITING_BYTES: usize = 8 << 20;
/// How long after a failure it is tried again: at first, and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// How long it is waited for records when there is nothing else to do.
const NOTHING_TO_DO: Duration = Duration::from_secs(3600);

/// What the thread shares with those that hand it records.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) queue: Queue,
    pub(super) intervals: Arc<SharedIntervals>,
    /// Records that had no room.
    pub(super) dropped: AtomicU64,
    stats: Mutex<JournalStats>,
}

impl Shared {
    pub(super) fn new(queue: Queue, intervals: Arc<SharedIntervals>) -> Shared {
        Shared { queue, intervals, dropped: AtomicU64::new(0), stats: Mutex::default() }
    }

    pub(super) fn stats(&self) -> MutexGuard<'_, JournalStats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the thread works with.
pub(super) struct Scribe {
    pub(super) shared: Arc<Shared>,
    pub(super) writer: Writer,
    /// None where all is written.
    pub(super) sampler: Option<Sampler>,
    pub(super) annotate: Option<Annotate>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) flush_every: Duration,
    /// Hears of each part that is begun.
    pub(super) opened: SyncSender<()>,
    pub(super) trouble: Option<Trouble>,
    /// Since when something waits to be written.
    pub(super) waits_since: Option<Instant>,
}

/// A disk that takes nothing.
pub(super) struct Trouble {
    pause: Duration,
    retry: Instant,
    dropped_before: u64,
}

impl Scribe {
    /// Writes until the queue is stopped, and then what is left.
    pub(super) fn run(mut self) {
        // It takes the place of the queue's own list, in turns.
        let mut records = Vec::with_capacity(self.shared.queue.capacity());
        loop {
            let goes_on = if self.writer.waiting_bytes() < WAITING_BYTES {
                self.shared.queue.take(&mut records, self.patience())
            } else {
                self.shared.queue.pause(self.patience())
            };
            self.accept(&mut records);
            if !goes_on {
                break;
            }
            if self.patience().is_zero() {
                self.flush();
            }
        }
        // What came while the lines that wait left no room.
        self.shared.queue.take(&mut records, Duration::ZERO);
        self.accept(&mut records);
        self.flush();
        let lost = self.writer.waiting();
        if lost > 0 {
            self.shared.dropped.fetch_add(lost, Ordering::Relaxed);
            self.shared.stats().waiting = 0;
            tracing::error!(lost, "the journal could not be written until the end");
        }
    }

    /// How long nothing needs to be done.
    fn patience(&self) -> Duration {
        let now = Instant::now();
        let due = match (&self.trouble, self.waits_since) {
            (Some(trouble), _) => trouble.retry,
            (None, Some(since)) => since + self.flush_every,
            (None, None) => return NOTHING_TO_DO,
        };
        if self.trouble.is_none() && self.writer.waiting_bytes() >= WAITING_BYTES {
            return Duration::ZERO;
        }
        due.saturating_duration_since(now)
    }

    fn accept(&mut self, records: &mut Vec<Record>) {
        if records.is_empty() {
            return;
        }
        let before = records.len();
        if let Some(sampler) = &mut self.sampler {
            let intervals = self.shared.intervals.current();
            records.retain_mut(|record| match sampler.choose(record, intervals) {
                Some(sampled) => {
                    record.sampled = sampled;
                    true
                }
                None => false,
            });
        }
        if let Some(annotate) = &mut self.annotate {
            annotate(records);
        }
        for record in records.iter() {
            self.writer.push(record);
        }
        if !records.is_empty() {
            self.waits_since.get_or_insert_with(Instant::now);
        }
        let mut stats = self.shared.stats();
        stats.left_out += (before - records.len()) as u64;
        stats.waiting = self.writer.waiting();
        drop(stats);
        records.clear();
    }

    fn flush(&mut self) {
        let before = self.writer.counts;
        let result = self.writer.flush(self.clock.now_ns());
        if result.is_ok() {
            self.waits_since = None;
        }
        let counts = self.writer.counts;
        let mut stats = self.shared.stats();
        stats.written = counts.written;
        // Who compacts counts there, too.
        stats.torn += counts.torn - before.torn;
        stats.waiting = self.writer.waiting();
        drop(stats);
        self.judge(result);
        if counts.opened > before.opened {
            // Full means that it will look anyway.
            self.opened.try_send(()).ok();
        }
    }

    /// Tells a failure once, and its end.
    pub(super) fn judge(&mut self, result: Result<(), JournalError>) {
        let dropped = self.shared.dropped.load(Ordering::Relaxed);
        match (result, self.trouble.take()) {
            (Ok(()), None) => {}
            (Ok(()), Some(Trouble { dropped_before, .. })) => {
                self.shared.stats().failing = None;
                let dropped = dropped - dropped_before;
                tracing::info!(dropped, "the journal is written again");
            }
            (Err(error), before) => {
                let reason = with_causes(&error);
                if before.is_none() {
                    tracing::error!(
                        reason,
                        "the journal cannot be written; answers go on, records wait, and what has \
                         no room is dropped"
                    );
                }
                self.shared.stats().failing = Some(reason);
                let pause = before.as_ref().map_or(RETRY.0, |it| (it.pause * 2).min(RETRY.1));
                let dropped_before = before.map_or(dropped, |it| it.dropped_before);
                let retry = Instant::now() + pause;
                self.trouble = Some(Trouble { pause, retry, dropped_before });
            }
        }
    }
}
