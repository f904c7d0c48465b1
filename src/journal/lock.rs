//! Says that a process writes into a folder.

use std::fs::{self, File, TryLockError};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::JournalError;
use super::disk::LineFile as _;
use super::error::writing;

/// The file that is locked.
pub(super) const LOCK: &str = ".lock";

/// The lock of a folder, held until it is dropped.
#[derive(Debug)]
pub(super) struct FolderLock {
    folder: PathBuf,
    file: Mutex<Option<File>>,
}

impl FolderLock {
    /// The lock of this folder, which is not taken yet.
    pub(super) fn new(folder: PathBuf) -> FolderLock {
        FolderLock { folder, file: Mutex::default() }
    }

    /// Makes the folder if it is not there, and takes the lock.
    ///
    /// # Errors
    ///
    /// If somebody else has it, or the folder cannot be written to. It is not held then.
    pub(super) fn take(&self) -> Result<(), JournalError> {
        let mut held = self.file();
        // What was held may be that of a folder that was moved away.
        *held = None;
        let path = self.folder.join(LOCK);
        fs::create_dir_all(&self.folder).map_err(writing(&path))?;
        let file = File::options().create(true).append(true).open(&path).map_err(writing(&path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(JournalError::InUse { path: self.folder.clone() });
            }
            Err(TryLockError::Error(source)) => return Err(writing(&path)(source)),
        }
        *held = Some(file);
        Ok(())
    }

    /// Whether the folder is ours: it was taken, and is still the one that its path leads to.
    pub(super) fn is_held(&self) -> bool {
        self.file().as_ref().is_some_and(|file| file.is_at(&self.folder.join(LOCK)))
    }

    fn file(&self) -> MutexGuard<'_, Option<File>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
