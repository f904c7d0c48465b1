//! Why nothing could be learned, or a checkpoint not be changed.

use std::io;
use std::path::PathBuf;

use crate::model::checkpoint::CheckpointError;
use crate::replay::ReplayError;

/// Why nothing could be learned, or the served checkpoint not be changed.
#[derive(Debug, thiserror::Error)]
pub enum LearnError {
    /// A checkpoint cannot be read or written.
    #[error("a checkpoint cannot be used")]
    Checkpoint(#[from] CheckpointError),
    /// What was answered, or what happened, cannot be read.
    #[error("answers and truths cannot be put together")]
    Replay(#[from] ReplayError),
    /// What is remembered cannot be read or written.
    #[error("cannot {doing} `{}`", path.display())]
    State {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// Another process is learning.
    #[error("another process is learning already: it holds `{}`", path.display())]
    Busy {
        /// The file that it has locked.
        path: PathBuf,
    },
    /// A checkpoint does not answer as it must.
    #[error("`{name}` cannot be served: {reason}")]
    Unsound {
        /// The checkpoint.
        name: String,
        /// What it does.
        reason: String,
    },
    /// It is served already.
    #[error("`{name}` is the checkpoint that is served already")]
    Served {
        /// The checkpoint.
        name: String,
    },
    /// There is nothing to go back to.
    #[error("no change of the served checkpoint is on record, so there is none to go back to")]
    NoHistory,
}
