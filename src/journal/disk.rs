//! The files that a journal is written to. Tests put a faulty disk in its place.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use super::lines;
use crate::files;

/// Where files of lines are written.
pub(super) trait Disk: Send {
    /// Opens a file to append to, which is made if it is not there. Its last line is whole then: what
    /// was torn has been set aside.
    fn open(&mut self, path: &Path, now_ns: u64) -> io::Result<Opened>;
}

/// A file that was opened to be appended to.
pub(super) struct Opened {
    pub(super) file: Box<dyn LineFile>,
    pub(super) bytes: u64,
    /// Whether its last line was torn.
    pub(super) was_torn: bool,
}

/// A file of lines.
pub(super) trait LineFile: Send {
    /// Writes all of this at the end. After an error some of it may have been written.
    fn append(&mut self, lines: &[u8]) -> io::Result<()>;
    /// Waits until all that was written is on the disk.
    fn sync(&mut self) -> io::Result<()>;
    /// Shortens it.
    fn truncate(&mut self, bytes: u64) -> io::Result<()>;
    /// Whether it is still the one that is found at this path.
    fn is_at(&self, path: &Path) -> bool;
}

/// The system's files.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SystemDisk;

impl Disk for SystemDisk {
    fn open(&mut self, path: &Path, now_ns: u64) -> io::Result<Opened> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let was_torn = match lines::mend(path, now_ns)? {
            Some(aside) => {
                let (file, aside) = (path.display(), aside.display());
                tracing::warn!(%file, %aside, "the journal's last line was not finished; set aside");
                true
            }
            None => false,
        };
        files::sync_parent(path)?;
        let bytes = file.metadata()?.len();
        Ok(Opened { file: Box::new(file), bytes, was_torn })
    }
}

impl LineFile for File {
    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        self.write_all(lines)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        self.set_len(bytes)
    }

    #[cfg(unix)]
    fn is_at(&self, path: &Path) -> bool {
        use std::os::unix::fs::MetadataExt as _;
        let (Ok(ours), Ok(there)) = (self.metadata(), fs::metadata(path)) else { return false };
        (ours.dev(), ours.ino()) == (there.dev(), there.ino())
    }

    #[cfg(not(unix))]
    fn is_at(&self, path: &Path) -> bool {
        path.exists()
    }
}
