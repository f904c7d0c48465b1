//! Why answers cannot be replayed.

use std::io;
use std::path::PathBuf;

use crate::journal::JournalError;
use crate::outcomes::OutcomesError;

/// Why answers cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// What was answered cannot be read.
    #[error("cannot read what was answered")]
    Journal(#[from] JournalError),
    /// What really happened cannot be read.
    #[error("cannot read what really happened")]
    Outcomes(#[from] OutcomesError),
    /// The results cannot be written.
    #[error("cannot write the results to `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
}
