//! Whether the files of a folder have changed.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::clock::SECOND_NS;

/// The shortest time between two readings.
const SHORTEST_NS: u64 = 2 * SECOND_NS;
/// Reading takes some 10 ns a byte: so long a pause a byte keeps a processor busy for a fiftieth of
/// the time at most.
const PAUSE_NS_A_BYTE: u64 = 500;
/// A file's name begins with its day: `2026-11-22`.
const DAY_LETTERS: usize = 10;

/// A folder whose files are read anew when they change, but not more often than is cheap.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    read: Vec<Seen>,
    /// When it was last read, and how long to wait from then.
    last_ns: Option<(u64, u64)>,
}

/// What a file looks like from outside.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    path: PathBuf,
    bytes: u64,
    modified: Option<SystemTime>,
}

impl Folder {
    pub(super) fn new(path: PathBuf) -> Folder {
        Folder { path, read: Vec::new(), last_ns: None }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is to be read now; then the caller does.
    pub(super) fn take_change(&mut self, now_ns: u64) -> bool {
        let is_due = |(last_ns, pause_ns): (u64, u64)| {
            // A clock that was set back must not stop the reading.
            now_ns < last_ns || now_ns - last_ns >= pause_ns
        };
        if !self.last_ns.is_none_or(is_due) {
            return false;
        }
        let found = list(&self.path);
        if found == self.read {
            return false;
        }
        // All parts of a day are read if one has changed.
        let day = |seen: &Seen| -> Option<String> {
            Some(seen.path.file_name()?.to_str()?.chars().take(DAY_LETTERS).collect())
        };
        let changed: HashSet<_> =
            found.iter().filter(|seen| !self.read.contains(seen)).map(day).collect();
        let read = found.iter().filter(|seen| changed.contains(&day(seen)));
        let bytes: u64 = read.map(|seen| seen.bytes).sum();
        self.last_ns = Some((now_ns, SHORTEST_NS.max(bytes.saturating_mul(PAUSE_NS_A_BYTE))));
        self.read = found;
        true
    }

    /// Notes that it could not be read: it is tried again, as if it had changed.
    pub(super) fn failed(&mut self) {
        self.read.clear();
    }
}

/// The files of a folder that are not hidden; none where there is no folder.
fn list(folder: &Path) -> Vec<Seen> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let seen = |entry: fs::DirEntry| {
        let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        let metadata = entry.metadata().ok().filter(|metadata| metadata.is_file() && !is_hidden)?;
        let (bytes, modified) = (metadata.len(), metadata.modified().ok());
        Some(Seen { path: entry.path(), bytes, modified })
    };
    let mut all: Vec<Seen> = entries.flatten().filter_map(seen).collect();
    all.sort();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_seen_once_and_not_too_often() {
        let root = tempfile::tempdir().unwrap();
        let mut folder = Folder::new(root.path().join("outcomes"));
        assert!(!folder.take_change(0), "there is none");
        fs::create_dir(folder.path()).unwrap();
        fs::write(folder.path().join(".lock"), "hidden").unwrap();
        assert!(!folder.take_change(1));
        let write = |name: &str, bytes: usize| {
            fs::write(root.path().join("outcomes").join(name), vec![b'x'; bytes]).unwrap();
        };
        write("a.jsonl", 10_000_000);
        assert!(folder.take_change(2) && !folder.take_change(2));
        write("a.jsonl", 10_000_001);
        // 10 MB * 500 ns are 5 s.
        assert!(!folder.take_change(4 * SECOND_NS) && folder.take_change(6 * SECOND_NS));
        write("b.jsonl", 1);
        assert!(!folder.take_change(7 * SECOND_NS));
        assert!(folder.take_change(3 * SECOND_NS), "the clock was set back");
        folder.failed();
        assert!(!folder.take_change(4 * SECOND_NS) && folder.take_change(9 * SECOND_NS));
    }
}
