//! Why a checkpoint cannot be read or written.

use std::io;
use std::path::PathBuf;

use super::{FORMAT_VERSION, LATEST, MANIFEST};
use crate::model::networks::WeightsError;

/// Why a checkpoint cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// There is no such folder, or nothing in it that makes it a checkpoint.
    #[error("`{}` is not a checkpoint: it has no {MANIFEST}", path.display())]
    NotACheckpoint {
        /// The folder.
        path: PathBuf,
    },
    /// No checkpoint was named, and none is the latest.
    #[error("no checkpoint in `{}`: there is no file `{LATEST}` that names one", root.display())]
    NoLatest {
        /// The folder of checkpoints.
        root: PathBuf,
    },
    /// Nothing can have this name.
    #[error("`{}` is no name for a checkpoint", path.display())]
    NoName {
        /// What was given.
        path: PathBuf,
    },
    /// The name is taken.
    #[error("`{}` exists already", path.display())]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// A file could not be read or written.
    #[error("cannot {doing} `{}`", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("`{}` is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The sample of its rows cannot be written as a table.
    #[error("the sample of the rows of `{}` cannot be written: {reason}", path.display())]
    Sample {
        /// The checkpoint.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It was made by a newer or much older program.
    #[error("`{}` has format {found}, but this program reads format {FORMAT_VERSION}", path.display())]
    Format {
        /// The folder.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// It was trained on other inputs than this program makes.
    #[error("`{}` was trained on other inputs than this program makes: {difference}", path.display())]
    Inputs {
        /// The folder.
        path: PathBuf,
        /// The first difference, by name.
        difference: String,
    },
    /// Its weights are not of its networks.
    #[error("cannot load the networks of `{}`", path.display())]
    Weights {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        source: WeightsError,
    },
}
