//! The file of the history: read whole, written whole, by one at a time.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::error::TuneError;
use super::history::{Break, Document, FORMAT, History};
use crate::files;

/// The file's name in the folder of what outlives the process.
pub const HISTORY_FILE: &str = "tuning_history.json";
/// What is locked by who writes. It is a file of its own, because the history is replaced.
const LOCK_FILE: &str = "tuning_history.lock";

/// Where the history of a folder is.
pub fn history_path(state_dir: &Path) -> PathBuf {
    state_dir.join(HISTORY_FILE)
}

/// Reads the history, and where it is not as it was written. No file is an empty history.
///
/// # Errors
///
/// If the file cannot be read or understood.
pub fn inspect(state_dir: &Path) -> Result<(History, Option<Break>), TuneError> {
    #[derive(Deserialize)]
    struct Format {
        format: u64,
    }
    let path = history_path(state_dir);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Default::default()),
        Err(source) => return Err(TuneError::File { action: "read", path, source }),
    };
    let unreadable = |source| TuneError::Unreadable { path: path.clone(), source };
    // First, since another format may hold other fields.
    let Format { format: found } = serde_json::from_slice(&bytes).map_err(unreadable)?;
    if found != FORMAT {
        return Err(TuneError::Format { path, expected: FORMAT, found });
    }
    let document: Document = serde_json::from_slice(&bytes).map_err(unreadable)?;
    Ok(History::check(document))
}

/// Reads a history that is as it was written.
///
/// # Errors
///
/// If the file cannot be read, or is not as it was written.
pub fn read(state_dir: &Path) -> Result<History, TuneError> {
    match inspect(state_dir)? {
        (history, None) => Ok(history),
        (_, Some(problem)) => Err(TuneError::Broken { path: history_path(state_dir), problem }),
    }
}

/// A history that nobody else can write.
#[derive(Debug)]
pub(super) struct Writing {
    path: PathBuf,
    /// What was read, and then changed.
    pub(super) history: History,
    /// Held until this is dropped, or the process ends however it does.
    _lock: File,
}

impl Writing {
    /// Waits until nobody else writes, and reads the history. The folder is made if it is not there.
    pub(super) fn begin(state_dir: &Path) -> Result<Writing, TuneError> {
        let lock = state_dir.join(LOCK_FILE);
        let locked = fs::create_dir_all(state_dir).and_then(|()| {
            let file = File::options().create(true).append(true).open(&lock)?;
            file.lock()?;
            Ok(file)
        });
        let _lock =
            locked.map_err(|source| TuneError::File { action: "lock", path: lock, source })?;
        Ok(Writing { path: history_path(state_dir), history: read(state_dir)?, _lock })
    }

    /// Writes the history.
    pub(super) fn save(&self) -> Result<(), TuneError> {
        let mut text = serde_json::to_vec_pretty(&self.history.document())
            .expect("numbers, texts and lists of them can be written as JSON. This is a bug.");
        text.push(b'\n');
        files::write_atomically(&self.path, &text).map_err(|source| TuneError::File {
            action: "write",
            path: self.path.clone(),
            source,
        })
    }
}
