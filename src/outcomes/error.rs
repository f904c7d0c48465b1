//! What can go wrong with the store of outcomes.

use std::io;
use std::path::{Path, PathBuf};

/// Why outcomes could not be read or added.
#[derive(Debug, thiserror::Error)]
pub enum OutcomesError {
    /// A file or the folder cannot be read.
    #[error("`{}`: the outcomes cannot be read", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Nothing can be added to a file or the folder. What was there before still is.
    #[error("`{}`: outcomes cannot be added", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An outcome of no conversation.
    #[error("an outcome from `{from}` names no conversation; it needs a test_pk or a session_id")]
    NoName {
        /// Where it comes from.
        from: String,
    },
}

impl OutcomesError {
    pub(super) fn reading(path: &Path) -> impl Fn(io::Error) -> OutcomesError {
        move |source| OutcomesError::Read { path: path.to_owned(), source }
    }

    pub(super) fn writing(path: &Path) -> impl Fn(io::Error) -> OutcomesError {
        move |source| OutcomesError::Write { path: path.to_owned(), source }
    }
}
