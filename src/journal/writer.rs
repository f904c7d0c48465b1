//! Writes records as lines, and keeps those that could not be written until they are.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::Record;
use super::disk::{Disk, LineFile, Opened};
use super::error::{JournalError, writing};
use super::lines;
use super::lock::FolderLock;
use super::parts::{self, Part};
use crate::clock::Moment;

/// So many bytes are written and brought to the disk at once.
const BATCH_BYTES: usize = 4 << 20;

/// The part that is being written, for who must leave it alone.
pub(super) type OpenPart = Arc<Mutex<Option<Part>>>;

/// Writes lines into a folder.
pub(super) struct Writer {
    folder: PathBuf,
    disk: Box<dyn Disk>,
    /// A part of this size gets no more lines.
    roll_bytes: u64,
    open_part: OpenPart,
    lock: Arc<FolderLock>,
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
            lock: Arc::new(FolderLock::new(folder.clone())),
            folder,
            disk,
            roll_bytes,
            open_part,
            current: None,
            batches: VecDeque::new(),
            counts: Counts::default(),
        }
    }

    /// Makes the folder, and makes sure that nobody else writes into it. One that was moved away or
    /// removed since is made anew.
    ///
    /// # Errors
    ///
    /// If somebody does, or the folder cannot be written to.
    pub(super) fn prepare(&mut self) -> Result<(), JournalError> {
        if self.lock.is_held() {
            return Ok(());
        }
        if let Some(mut current) = self.current.take() {
            // Best effort, in a folder that was moved away: what is written again is here then.
            current.clean().ok();
        }
        self.lock.take()?;
        lines::remove_partial(&self.folder);
        Ok(())
    }

    /// Whether the folder is ours.
    pub(super) fn is_prepared(&self) -> bool {
        self.lock.is_held()
    }

    /// The lock of the folder, for who must do nothing without it.
    pub(super) fn lock(&self) -> Arc<FolderLock> {
        Arc::clone(&self.lock)
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
        // Lines beside a table are those that it was made of.
        last.part.number.saturating_add(u32::from(is_full || last.table.is_some()))
    });
    let mut part = Part { day: day.to_owned(), number };
    // Something else may have the name of the file, or of the table that it is to become.
    while is_other(&part.lines(folder)) || is_other(&part.table(folder)) {
        part.number = part.number.checked_add(1).ok_or(io::ErrorKind::AlreadyExists)?;
    }
    Ok(part)
}

/// Whether there is something that is no file.
fn is_other(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| !metadata.is_file())
}

#[cfg(test)]
mod tests;
