//! Tables of conversations: parquet, CSV and newline-delimited JSON, in either spelling.
//!
//! A value means the same here as in a request: text is read by
//! [`parse_text`](super::reader::parse_text), numbers go through [`Conversation::set`], and what
//! cannot be read is missing and reported. Labels never become features. Row numbers, in errors
//! and warnings, count the rows of data from 1; a header is not a row.

mod builder;
mod columns;
mod csv;
mod error;
mod frame;
mod labels;
mod ndjson;
mod parquet;
mod write;

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::ControlFlow;
use std::path::Path;

use super::Conversation;
use crate::subnet::reward::Truth;
use builder::{Builder, Halt};

pub use error::{TableError, Unreadable, Warning};
pub use labels::{BadRow, LabelRow, read_labels};
pub use write::ExampleWriter;

/// The formats that tables come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `.parquet`, `.pq`
    Parquet,
    /// `.csv`
    Csv,
    /// `.ndjson`, `.jsonl`: one JSON object a line
    NdJson,
}

impl Format {
    /// The format that the extension of `path` stands for, in either case.
    pub fn of(path: &Path) -> Result<Format, TableError> {
        let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        match extension.as_str() {
            "parquet" | "pq" => Ok(Format::Parquet),
            "csv" => Ok(Format::Csv),
            "ndjson" | "jsonl" => Ok(Format::NdJson),
            _ => Err(TableError::UnknownExtension { path: path.to_owned() }),
        }
    }

    /// The format in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Parquet => "a parquet file",
            Format::Csv => "a CSV file",
            Format::NdJson => "newline-delimited JSON",
        }
    }
}

/// What to do with the labels of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabelMode {
    /// They are read, and must be there.
    Required {
        /// Whether rows that nothing can be learnt from are left out and counted: those without a
        /// label, and those that converted without a positive, finite time. Otherwise they are an
        /// error.
        drop_invalid: bool,
    },
    /// They are not even looked at.
    Ignored,
}

/// A table as read.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// The conversations' names; none where a row has none.
    pub session_ids: Vec<Option<String>>,
    /// The features, a row each.
    pub conversations: Vec<Conversation>,
    /// What happened, a row each; none with [`LabelMode::Ignored`].
    pub truths: Option<Vec<Truth>>,
    /// What the user should know of the table.
    pub warnings: Vec<Warning>,
}

impl Table {
    /// How many rows there are. Never 0 after [`read`].
    pub fn len(&self) -> usize {
        self.conversations.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.conversations.is_empty()
    }
}

/// Bytes of a line or a record, at most, beyond which it is none: a file of another kind, or one whose
/// quote is open, would fill memory.
const LONGEST_ROW: u64 = 16 << 20;

/// How a table is read piece by piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanOptions {
    /// What to do with the labels.
    pub labels: LabelMode,
    /// Whether the conversations' names are read.
    pub session_ids: bool,
    /// So many rows, about, are handed over at once; no more in any case.
    pub chunk_rows: usize,
}

/// Some rows of a table, in its order.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// The conversations' names; none where a row has none, and no rows if they are not read.
    pub session_ids: Vec<Option<String>>,
    /// The features, a row each.
    pub conversations: Vec<Conversation>,
    /// What happened, a row each; none with [`LabelMode::Ignored`].
    pub truths: Option<Vec<Truth>>,
}

impl Chunk {
    /// How many rows there are. Never 0 where it is handed over.
    pub fn len(&self) -> usize {
        self.conversations.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.conversations.is_empty()
    }
}

/// What is known of a table after all of it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Scanned {
    /// Rows that were handed over. Never 0.
    pub rows: usize,
    /// How many of them converted; 0 with [`LabelMode::Ignored`].
    pub converted: usize,
    /// What the user should know, but for [`Warning::OneClass`] and [`Warning::DuplicateSessions`]:
    /// a file may hold one class among others, and names are not remembered here.
    pub warnings: Vec<Warning>,
}

/// Reads the table in `path`, whose extension says its format, a chunk of rows after the other, in
/// memory that does not grow with the table. Of its columns only the features and, if they are
/// asked for, the names and labels are read. None if `visit` wanted no more.
///
/// # Errors
///
/// See [`TableError`]. What is wrong with labels is told after the last row, with its count; no more
/// rows are handed over from the first such row's chunk on.
pub fn scan(
    path: &Path,
    options: ScanOptions,
    visit: &mut dyn FnMut(Chunk) -> ControlFlow<()>,
) -> Result<Option<Scanned>, TableError> {
    let format = Format::of(path)?;
    let mut builder = Builder::new(path, options, visit);
    let read = match format {
        Format::Parquet => parquet::read(&mut builder),
        Format::Csv => csv::read(&mut builder),
        Format::NdJson => ndjson::read(&mut builder),
    };
    match read.and_then(|()| builder.finish()) {
        Ok(scanned) => Ok(Some(scanned)),
        Err(Halt::Stopped) => Ok(None),
        Err(Halt::Failed(error)) => Err(error),
    }
}

/// How many rows a table has, or about: exactly in a parquet file, and by the length of some lines
/// otherwise, rather too many then.
///
/// # Errors
///
/// If the file cannot be read.
pub fn count(path: &Path) -> Result<usize, TableError> {
    match Format::of(path)? {
        Format::Parquet => parquet::count(path),
        Format::Csv | Format::NdJson => count_lines(path),
    }
}

/// By the mean length of lines at several places of the file, where they are the shortest: who asks
/// is better told of too many rows than of too few.
fn count_lines(path: &Path) -> Result<usize, TableError> {
    const PLACES: u64 = 8;
    const PLACE_BYTES: u64 = 128 << 10;
    let mut file = open(path)?;
    let failed = |source| TableError::Read { path: path.to_owned(), source };
    let bytes = file.metadata().map_err(failed)?.len();
    // A small file is looked at as a whole.
    let (places, size) =
        if bytes <= PLACES * PLACE_BYTES { (1, bytes) } else { (PLACES, PLACE_BYTES) };
    let mut lines: f64 = 0.0;
    let mut place = Vec::new();
    for number in 0..places {
        let start = (bytes - size) / (places - 1).max(1) * number;
        place.clear();
        file.seek(SeekFrom::Start(start)).map_err(failed)?;
        file.by_ref().take(size).read_to_end(&mut place).map_err(failed)?;
        let full = place.split_inclusive(|byte| *byte == b'\n').filter(|line| is_line(line));
        let full = full.count().max(1) as f64;
        lines = lines.max(bytes as f64 * full / place.len().max(1) as f64);
    }
    // The last line may lack its line feed.
    Ok(lines.ceil() as usize + 1)
}

/// Whether it ends and has something in it.
fn is_line(line: &[u8]) -> bool {
    line.ends_with(b"\n") && !line.trim_ascii().is_empty()
}

/// Rows that [`read`] takes over at once.
const READ_ROWS: usize = 1 << 17;

/// Reads the table in `path`, whose extension says its format. Of its columns only the features,
/// the `session_id` and, unless ignored, the labels are read.
///
/// # Errors
///
/// See [`TableError`].
pub fn read(path: &Path, labels: LabelMode) -> Result<Table, TableError> {
    let options = ScanOptions { labels, session_ids: true, chunk_rows: READ_ROWS };
    let truths = (labels != LabelMode::Ignored).then(Vec::new);
    let mut table = Table { truths, ..Table::default() };
    let scanned = scan(path, options, &mut |chunk| {
        table.session_ids.extend(chunk.session_ids);
        table.conversations.extend(chunk.conversations);
        if let (Some(truths), Some(more)) = (&mut table.truths, chunk.truths) {
            truths.extend(more);
        }
        ControlFlow::Continue(())
    })?;
    table.warnings = scanned.map(|scanned| scanned.warnings).unwrap_or_default();
    table.warnings.extend(one_class(table.truths.as_deref().unwrap_or_default()));
    table.warnings.extend(duplicates(&table.session_ids));
    Ok(table)
}

/// The warning of rows that are all of a class.
pub(crate) fn one_class(truths: &[Truth]) -> Option<Warning> {
    let converted = truths.first()?.converted;
    let is_only = truths.iter().all(|truth| truth.converted == converted);
    is_only.then_some(Warning::OneClass { converted })
}

/// The warning of conversations that occur more than once.
pub(crate) fn duplicates(session_ids: &[Option<String>]) -> Option<Warning> {
    let mut seen = HashSet::with_capacity(session_ids.len());
    let mut repeated = session_ids.iter().flatten().filter(|id| !seen.insert(id.as_str()));
    let example = repeated.next()?.clone();
    Some(Warning::DuplicateSessions { count: 1 + repeated.count(), example })
}

fn open(path: &Path) -> Result<File, TableError> {
    let file = File::open(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => TableError::NoSuchFile { path: path.to_owned() },
        _ => TableError::Open { path: path.to_owned(), source },
    })?;
    let metadata =
        file.metadata().map_err(|source| TableError::Open { path: path.to_owned(), source })?;
    if metadata.is_dir() {
        return Err(TableError::Folder { path: path.to_owned() });
    }
    if metadata.len() == 0 {
        return Err(TableError::NoRows { path: path.to_owned() });
    }
    Ok(file)
}

#[cfg(test)]
mod tests;
