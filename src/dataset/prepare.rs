//! From the sources to the cache: one pass, on several threads.
//!
//! One thread decodes ahead (see [`table::scan`]), as many as there are cores compute inputs, one
//! writes, and one hashes the sources meanwhile, which the page cache then holds for both readers.

use std::num::NonZero;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::{fs, io};

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::cache::{Dataset, Footer, SourceRecord, Writer};
use super::row::{ROW_BYTES, Row};
use super::{DatasetError, Sources, folder, hash};
use crate::clock::{Clock, SECOND_NS};
use crate::features::engineer::input_hash;
use crate::features::table::{self, Chunk, LabelMode, ScanOptions, Scanned, TableError, Warning};

/// Files whose oddities are told one by one.
const TOLD_FILES: usize = 5;

/// How sources become a cache.
#[derive(Debug, Clone)]
pub struct PrepareOptions {
    /// Whether rows that nothing can be learned from are left out, instead of refusing the sources.
    pub drop_invalid: bool,
    /// Where the cache is kept; none for a folder beside the first source.
    pub folder: Option<PathBuf>,
    /// Rows that are scanned at once.
    pub scan_rows: usize,
}

/// What the making of a cache took. The threads overlap: their seconds together are more than
/// `seconds`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct PrepareTimings {
    /// From the first byte to the last.
    pub seconds: f64,
    /// Waiting for decoded rows: what decoding took beyond the rest.
    pub scan_seconds: f64,
    /// Computing inputs.
    pub featurise_seconds: f64,
    /// Writing.
    pub write_seconds: f64,
}

/// A cache, and what making it took; nothing if it was there.
#[derive(Debug)]
pub struct Prepared {
    /// The rows.
    pub dataset: Dataset,
    /// Absent if the cache was there.
    pub timings: Option<PrepareTimings>,
}

/// Finds the cache of these sources, or makes it. `observe` is told how many rows were done so far.
///
/// # Errors
///
/// If a source is wrong or changes meanwhile, or the cache cannot be written.
pub fn prepare(
    sources: &Sources,
    options: &PrepareOptions,
    clock: &dyn Clock,
    observe: &mut dyn FnMut(usize),
) -> Result<Prepared, DatasetError> {
    let files = sources.files();
    let folder = folder::of(options.folder.as_deref(), files);
    let cannot = |path: &Path, source| DatasetError::Cache { path: path.to_owned(), source };
    let place = folder::place(&folder, files, options.drop_invalid);
    // Before anything is read, hashes among it.
    let stamps = hash::Stamps::of(files)?;
    // A cache can only be believed if the sources are still what it was made of.
    let mut hashes = None;
    if place.exists() {
        let found = hash::files(files)?;
        let key = key(options.drop_invalid, &found);
        if let Some(dataset) = Dataset::open(&place, &key).map_err(|it| cannot(&place, it))? {
            return Ok(Prepared { dataset, timings: None });
        }
        // Of no use to anybody, and the new one may need its room.
        folder::remove_outdated(&place).map_err(|source| cannot(&place, source))?;
        hashes = Some(found);
    }
    fs::create_dir_all(&folder).map_err(|source| cannot(&folder, source))?;
    folder::remove_unfinished(&folder).map_err(|source| cannot(&folder, source))?;
    let start = clock.now_ns();
    let mut making = Making { options, clock, observe, timings: PrepareTimings::default() };
    let key = making.make(files, &place, hashes, &stamps)?;
    let timings = PrepareTimings { seconds: seconds_since(start, clock), ..making.timings };
    folder::remove_old(&folder, &place).map_err(|source| cannot(&folder, source))?;
    let dataset = Dataset::open(&place, &key).map_err(|source| cannot(&place, source))?;
    let dataset = dataset.ok_or(DatasetError::Damaged { path: place })?;
    Ok(Prepared { dataset, timings: Some(timings) })
}

/// What rows follow from: the sources' content, how it is read, and what is computed of it.
fn key(drop_invalid: bool, hashes: &[String]) -> String {
    let mut hasher = Sha256::new();
    hasher.update(env!("CARGO_PKG_VERSION"));
    hasher.update(input_hash());
    hasher.update([u8::from(drop_invalid)]);
    hasher.update(hash::of_all(hashes));
    hex::encode(hasher.finalize())
}

fn seconds_since(start: u64, clock: &dyn Clock) -> f64 {
    clock.now_ns().saturating_sub(start) as f64 / SECOND_NS as f64
}

/// Encoded rows on their way to the file, a piece a thread.
type Pieces = Vec<Vec<u8>>;

/// A cache in the making.
struct Making<'a> {
    options: &'a PrepareOptions,
    clock: &'a dyn Clock,
    observe: &'a mut dyn FnMut(usize),
    timings: PrepareTimings,
}

impl Making<'_> {
    /// Reads all sources into a cache, and returns its key.
    fn make(
        &mut self,
        files: &[PathBuf],
        place: &Path,
        hashes: Option<Vec<String>>,
        stamps: &hash::Stamps,
    ) -> Result<String, DatasetError> {
        let cannot = |source| DatasetError::Cache { path: place.to_owned(), source };
        let writer = Writer::create(place).map_err(cannot)?;
        let clock = self.clock;
        let (scanned, written, hashes) = thread::scope(|scope| {
            let (sender, receiver) = sync_channel::<Pieces>(1);
            let writing = scope.spawn(move || write(writer, &receiver, clock));
            let hashing = scope.spawn(move || hashes.map_or_else(|| hash::files(files), Ok));
            let scanned = self.scan(files, &sender);
            drop(sender);
            let written = writing.join().expect("writing does not panic. This is a bug.");
            let hashes = hashing.join().expect("hashing does not panic. This is a bug.");
            (scanned, written, hashes)
        });
        // A failure to write is what ended the scan, so it comes first.
        let (writer, write_seconds) = written.map_err(cannot)?;
        self.timings.write_seconds = write_seconds;
        let (scanned, hashes) = (scanned?, hashes?);
        if let Some(path) = stamps.changed(files)? {
            return Err(DatasetError::Changed { path });
        }
        let footer = footer(files, &scanned, hashes, self.options.drop_invalid)?;
        let key = footer.key.clone();
        writer.finish(footer).map_err(cannot)?;
        Ok(key)
    }

    /// Reads the sources one after the other; a result each, and none for one without rows.
    fn scan(
        &mut self,
        files: &[PathBuf],
        sender: &SyncSender<Pieces>,
    ) -> Result<Vec<Option<Scanned>>, DatasetError> {
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        let options = ScanOptions {
            labels: LabelMode::Required { drop_invalid: self.options.drop_invalid },
            session_ids: false,
            chunk_rows: self.options.scan_rows,
        };
        let mut rows = 0;
        let mut results = Vec::with_capacity(files.len());
        let mut waiting = self.clock.now_ns();
        for path in files {
            let scanned = table::scan(path, options, &mut |chunk| {
                self.timings.scan_seconds += seconds_since(waiting, self.clock);
                let start = self.clock.now_ns();
                rows += chunk.len();
                let pieces = encode(&chunk, threads);
                self.timings.featurise_seconds += seconds_since(start, self.clock);
                // Before it waits for the writer: rows in memory are not needed twice.
                drop(chunk);
                // Nobody listens any more if writing failed.
                let sent = sender.send(pieces);
                (self.observe)(rows);
                waiting = self.clock.now_ns();
                if sent.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
            match scanned {
                Ok(Some(scanned)) => results.push(Some(scanned)),
                Ok(None) => return Ok(results),
                // Of many files one may be empty, as those are that some writers leave.
                Err(TableError::NoRows { .. } | TableError::NoRowsLeft { .. })
                    if files.len() > 1 =>
                {
                    results.push(None);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(results)
    }
}

/// Writes what comes, and says how long writing took without the waiting.
fn write(
    mut writer: Writer,
    receiver: &Receiver<Pieces>,
    clock: &dyn Clock,
) -> io::Result<(Writer, f64)> {
    let mut seconds = 0.0;
    for pieces in receiver {
        let start = clock.now_ns();
        for piece in pieces {
            writer.write(&piece)?;
        }
        seconds += seconds_since(start, clock);
    }
    Ok((writer, seconds))
}

/// The rows of a chunk as bytes, a piece a thread.
fn encode(chunk: &Chunk, threads: usize) -> Pieces {
    let truths = chunk.truths.as_deref().unwrap_or_default();
    let size = chunk.len().div_ceil(threads).max(1);
    let pieces = chunk.conversations.chunks(size).zip(truths.chunks(size));
    thread::scope(|scope| {
        let threads: Vec<_> = pieces
            .map(|(conversations, truths)| {
                scope.spawn(move || {
                    let mut bytes = Vec::with_capacity(conversations.len() * ROW_BYTES);
                    for (conversation, truth) in conversations.iter().zip(truths) {
                        Row::new(conversation, *truth).append_to(&mut bytes);
                    }
                    bytes
                })
            })
            .collect();
        let joined = threads
            .into_iter()
            .map(|thread| thread.join().expect("computing inputs does not panic. This is a bug."));
        joined.collect()
    })
}

fn footer(
    files: &[PathBuf],
    scanned: &[Option<Scanned>],
    hashes: Vec<String>,
    drop_invalid: bool,
) -> Result<Footer, DatasetError> {
    let rows_of = |scanned: &Option<Scanned>| scanned.as_ref().map_or(0, |it| it.rows);
    let rows = scanned.iter().map(rows_of).sum();
    if rows == 0 {
        return Err(DatasetError::NoRows { files: files.len() });
    }
    let converted = scanned.iter().flatten().map(|scanned| scanned.converted).sum();
    let key = key(drop_invalid, &hashes);
    let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let sources = files.iter().zip(scanned).zip(hashes).map(|((path, scanned), sha256)| {
        SourceRecord { file: name(path), sha256, rows: rows_of(scanned) }
    });
    Ok(Footer {
        key,
        rows,
        converted,
        sources: sources.collect(),
        warnings: warnings(files, scanned, rows, converted),
        sums: Vec::new(),
    })
}

/// What was odd, by file if there are several.
fn warnings(
    files: &[PathBuf],
    scanned: &[Option<Scanned>],
    rows: usize,
    converted: usize,
) -> Vec<String> {
    let of_files = files.iter().zip(scanned).map(|(path, scanned)| {
        (path.as_path(), scanned.as_ref().map(|scanned| scanned.warnings.as_slice()))
    });
    let mut told = tell(of_files);
    if converted == 0 || converted == rows {
        told.push(Warning::OneClass { converted: converted > 0 }.to_string());
    }
    told
}

/// The warnings of several files as lines, each with its file if there are several; none for the
/// warnings of a file that has no rows.
pub(super) fn tell<'a>(
    files: impl ExactSizeIterator<Item = (&'a Path, Option<&'a [Warning]>)>,
) -> Vec<String> {
    let several = files.len() > 1;
    let mut told = Vec::new();
    let mut odd_files = 0;
    for (path, warnings) in files {
        let lines: Vec<String> = match warnings {
            None => vec!["no rows".to_owned()],
            Some(warnings) => warnings.iter().map(ToString::to_string).collect(),
        };
        odd_files += usize::from(!lines.is_empty());
        if odd_files <= TOLD_FILES {
            let place = if several { format!("`{}`: ", path.display()) } else { String::new() };
            told.extend(lines.into_iter().map(|line| format!("{place}{line}")));
        }
    }
    if odd_files > TOLD_FILES {
        told.push(format!("there is as much to say of {} more files", odd_files - TOLD_FILES));
    }
    told
}
