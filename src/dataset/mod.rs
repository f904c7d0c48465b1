//! More data than memory: many files as one table, whose features are computed once.
//!
//! [`Sources`] finds the files, [`prepare()`] reads them in one streaming pass into a cache on disk,
//! a [`Dataset`] gives its rows back block by block, and a [`Survey`] is what must be known of all
//! rows before one is learned from: the scaler, the rows that are held out, and a sample. How much
//! memory all that may take is decided by [`memory`].

mod cache;
mod folder;
mod hash;
pub mod memory;
mod prepare;
mod read;
mod row;
mod sources;
mod survey;

use std::io;
use std::path::PathBuf;

pub use cache::{BLOCK_ROWS, Dataset, SourceRecord};
pub use hash::{of_all as hash_of_all, of_sources as hash_sources};
pub use memory::{ByteCount, MemoryPlan};
pub use prepare::{PrepareOptions, PrepareTimings, Prepared, prepare};
pub use read::{count, read};
pub use row::Row;
pub use sources::{Sources, SourcesError};
pub use survey::{Rows, Survey, SurveyOptions};

use crate::features::table::TableError;

/// Why a dataset cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// There is nothing to read.
    #[error(transparent)]
    Sources(#[from] SourcesError),
    /// Something is wrong with a table.
    #[error(transparent)]
    Table(#[from] TableError),
    /// All files are empty.
    #[error("expected rows, but none of the {files} files has one")]
    NoRows {
        /// How many files there are.
        files: usize,
    },
    /// A source cannot be read.
    #[error("`{}`: cannot be read", path.display())]
    Source {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody wrote to a source.
    #[error("`{}`: was changed while it was read; try again", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The cache cannot be written or read.
    #[error("the cache `{}` cannot be used", path.display())]
    Cache {
        /// The file or its folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The cache is not what was written.
    #[error("the cache `{}` is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

#[cfg(test)]
mod tests;
