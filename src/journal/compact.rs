//! Makes a table of a part's lines.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use polars::io::parquet::write::BatchedWriter;
use polars::prelude::ParquetWriter;

use super::Record;
use super::error::{JournalError, reading, writing};
use super::lines::{self, Line};
use super::parts::Part;
use super::table::{self, GROUP_RECORDS};
use crate::files::temporary_name;

/// A table that is complete, under a temporary name.
#[derive(Debug)]
pub(super) struct Compacted {
    /// Where it is.
    pub(super) temporary: PathBuf,
    /// How many bytes the lines had.
    pub(super) lines_bytes: u64,
    /// What is no record was put into this file.
    pub(super) aside: Option<PathBuf>,
    /// How many lines that were.
    pub(super) torn: u64,
}

impl Compacted {
    /// Removes what was made. Best effort: the lines are all still there.
    pub(super) fn remove(&self) {
        remove(&self.temporary, self.aside.as_deref());
    }
}

/// Writes the records of a part's lines into a table under a temporary name, and makes sure that it
/// holds them. What is no record goes into a file of its own. `goes_on` is asked now and then; nothing
/// comes of it if it says no.
///
/// # Errors
///
/// If anything cannot be read or written, or the table does not hold what it should. No file that
/// was made is left then.
pub(super) fn compact(
    folder: &Path,
    part: &Part,
    now_ns: u64,
    goes_on: &dyn Fn() -> bool,
) -> Result<Option<Compacted>, JournalError> {
    let (from, temporary) = (part.lines(folder), temporary_name(&part.table(folder)));
    let mut aside = Aside { from: from.clone(), now_ns, file: None, lines: 0 };
    let compacted = copy(&from, &temporary, &mut aside, goes_on);
    if !matches!(compacted, Ok(Some(_))) {
        remove(&temporary, aside.path());
    }
    compacted
}

/// Best effort: what matters is the error before.
fn remove(temporary: &Path, aside: Option<&Path>) {
    for path in [Some(temporary), aside].into_iter().flatten() {
        let _ = fs::remove_file(path);
    }
}

fn copy(
    from: &Path,
    temporary: &Path,
    aside: &mut Aside,
    goes_on: &dyn Fn() -> bool,
) -> Result<Option<Compacted>, JournalError> {
    let lines = File::open(from).map_err(reading(from))?;
    let lines_bytes = lines.metadata().map_err(reading(from))?.len();
    let (mut rows, mut result, mut is_stopped) = (Rows::create(temporary)?, Ok(()), false);
    let all = lines::each(lines, |_, line| {
        result = match line {
            Line::Whole(line) => match lines::record(line) {
                Ok(record) => rows.push(record),
                Err(_) => aside.add(line),
            },
            // Whoever wrote it is gone: the part is not open.
            Line::Torn(piece) | Line::TooLong(piece) => aside.add(piece),
        };
        is_stopped = rows.waiting.is_empty() && !goes_on();
        result.is_ok() && !is_stopped
    });
    all.map_err(reading(from))?;
    result?;
    if is_stopped {
        return Ok(None);
    }
    let expected = rows.finish()?;
    let found = table::count(temporary)?;
    if found != expected {
        return Err(JournalError::Count { path: temporary.to_owned(), expected, found });
    }
    aside.sync()?;
    let (temporary, torn) = (temporary.to_owned(), aside.lines);
    Ok(Some(Compacted { temporary, lines_bytes, aside: aside.path().map(Path::to_owned), torn }))
}

/// Records on their way into a table.
struct Rows<'a> {
    path: &'a Path,
    writer: BatchedWriter<File>,
    waiting: Vec<Record>,
    written: u64,
}

impl<'a> Rows<'a> {
    fn create(path: &'a Path) -> Result<Rows<'a>, JournalError> {
        let file = File::create(path).map_err(writing(path))?;
        let schema = table::frame(&[]).map(|frame| frame.schema().as_ref().clone());
        let writer = schema.and_then(|schema| ParquetWriter::new(file).batched(&schema));
        let writer = writer.map_err(table::damaged(path))?;
        Ok(Rows { path, writer, waiting: Vec::with_capacity(GROUP_RECORDS), written: 0 })
    }

    fn push(&mut self, record: Record) -> Result<(), JournalError> {
        self.waiting.push(record);
        if self.waiting.len() >= GROUP_RECORDS { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), JournalError> {
        let frame = table::frame(&self.waiting);
        let written = frame.and_then(|frame| self.writer.write_batch(&frame));
        written.map_err(table::damaged(self.path))?;
        self.written += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }

    /// Completes the table and brings it to the disk. How many records it holds.
    fn finish(mut self) -> Result<u64, JournalError> {
        if !self.waiting.is_empty() {
            self.write()?;
        }
        self.writer.finish().map_err(table::damaged(self.path))?;
        let synced = File::open(self.path).and_then(|file| file.sync_all());
        synced.map_err(writing(self.path))?;
        Ok(self.written)
    }
}

/// What is no record and must not be lost.
struct Aside {
    from: PathBuf,
    now_ns: u64,
    file: Option<(PathBuf, File)>,
    lines: u64,
}

impl Aside {
    fn add(&mut self, piece: &[u8]) -> Result<(), JournalError> {
        if self.file.is_none() {
            let created = lines::set_aside(&self.from, self.now_ns);
            self.file = Some(created.map_err(writing(&self.from))?);
        }
        let Some((path, file)) = &mut self.file else { return Ok(()) };
        self.lines += 1;
        file.write_all(piece).and_then(|()| file.write_all(b"\n")).map_err(writing(path))
    }

    fn sync(&self) -> Result<(), JournalError> {
        let Some((path, file)) = &self.file else { return Ok(()) };
        file.sync_all().map_err(writing(path))
    }

    fn path(&self) -> Option<&Path> {
        self.file.as_ref().map(|(path, _)| path.as_path())
    }
}
