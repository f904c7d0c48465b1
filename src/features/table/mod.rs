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

use std::fs::File;
use std::io;
use std::path::Path;

use super::Conversation;
use crate::subnet::reward::Truth;
use builder::Builder;

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
#[derive(Debug, Clone)]
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

/// Reads the table in `path`, whose extension says its format. Of its columns only the features,
/// the `session_id` and, unless ignored, the labels are read.
///
/// # Errors
///
/// See [`TableError`].
pub fn read(path: &Path, labels: LabelMode) -> Result<Table, TableError> {
    let format = Format::of(path)?;
    let mut builder = Builder::new(path, labels);
    match format {
        Format::Parquet => parquet::read(&mut builder)?,
        Format::Csv => csv::read(&mut builder)?,
        Format::NdJson => ndjson::read(&mut builder)?,
    }
    builder.finish()
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
