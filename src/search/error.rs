//! Why a search cannot begin, go on or end.

use std::io;
use std::path::PathBuf;

use super::parts::FEWEST_ROWS;
use crate::subnet::reward::UnknownSpec;
use crate::train::config::ConfigError;

/// Why a search found nothing.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The start cannot be trained.
    #[error("the configuration to start from cannot be used")]
    Config(#[from] ConfigError),
    /// The reward spec has no such name.
    #[error("the configuration to start from cannot be used")]
    Spec(#[from] UnknownSpec),
    /// There is too little to divide.
    #[error("expected at least {FEWEST_ROWS} labelled rows to search with, but there are {0}")]
    TooFewRows(usize),
    /// A file cannot be read or written.
    #[error("cannot {doing} `{}`", path.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The folder holds other things.
    #[error(
        "expected a new folder, or one with a search to go on with, but `{}` has files and no \
         search.json", path.display()
    )]
    OtherFolder {
        /// The folder.
        path: PathBuf,
    },
    /// The file that says what is searched says nothing.
    #[error("`{}` does not say what is searched: {reason}", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Its trials cannot be compared with new ones.
    #[error(
        "the search in `{}` has another {what}: {found} there, and {expected} now", path.display()
    )]
    OtherSearch {
        /// The folder.
        path: PathBuf,
        /// What is different.
        what: &'static str,
        /// What the folder has.
        found: String,
        /// What this search has.
        expected: String,
    },
    /// A line that is not the last one is damaged.
    #[error("line {line} of `{}` is no result of this search: {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// Another process searches there.
    #[error("another process is searching in `{}`", path.display())]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// No trial came to an end on all rows.
    #[error("no trial could be trained on all rows; that of the start failed: {0}")]
    NothingTrained(String),
    /// The start was not measured yet.
    #[error("interrupted before the start was measured, so there is nothing to compare with yet")]
    Interrupted,
}

/// For `map_err`: what was tried with a file.
pub(super) fn failed(
    doing: &'static str,
    path: &std::path::Path,
) -> impl FnOnce(io::Error) -> SearchError {
    let path = path.to_owned();
    move |source| SearchError::File { doing, path, source }
}
