//! What can go wrong with a journal.

use std::io;
use std::path::{Path, PathBuf};

use polars::prelude::PolarsError;

/// Why a journal cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another process writes into the folder.
    #[error(
        "the journal in `{path}` is being written by another process: only one can, so end it or \
         name another folder"
    )]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The system gives no thread.
    #[error("there is no thread for the journal")]
    Thread(#[source] io::Error),
    /// The folder is there, but cannot be read.
    #[error("the journal's folder `{path}` cannot be read")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file cannot be read.
    #[error("`{path}` cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("`{path}` cannot be written")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A table of records cannot be read or written.
    #[error("`{path}` should be a table of records, but is not")]
    Table {
        /// The file.
        path: PathBuf,
        /// What polars says.
        source: PolarsError,
    },
    /// A table holds what no record does.
    #[error("`{path}` should be a table of records, but its row {row} has {found}")]
    Row {
        /// The file.
        path: PathBuf,
        /// The row, from 1.
        row: usize,
        /// What it has.
        found: String,
    },
    /// A table that was just written does not hold what was put into it.
    #[error("`{path}` should hold {expected} records, but holds {found}")]
    Count {
        /// The file.
        path: PathBuf,
        /// How many it should hold.
        expected: u64,
        /// How many it holds.
        found: u64,
    },
}

/// Makes an error of one that occurred while `path` was read.
pub(super) fn reading(path: &Path) -> impl Fn(io::Error) -> JournalError {
    move |source| JournalError::Read { path: path.to_owned(), source }
}

/// Makes an error of one that occurred while `path` was written.
pub(super) fn writing(path: &Path) -> impl Fn(io::Error) -> JournalError {
    move |source| JournalError::Write { path: path.to_owned(), source }
}
