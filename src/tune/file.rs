//! The file of the history: read whole, written whole, by one at a time.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::entry::{Entry, Event, Starter};
use super::error::TuneError;
use super::history::{Break, Document, FORMAT, History, Moment};
use super::witness::Witness;
use crate::files;

/// The file's name in the folder of what outlives the process.
pub const HISTORY_FILE: &str = "tuning_history.json";
/// What lies beside it and knows how far it went.
pub const HEAD_FILE: &str = "tuning_head.json";
/// What is locked by who writes. It is a file of its own, because the history is replaced.
const LOCK_FILE: &str = "tuning_history.lock";

/// Where the history of a folder is.
pub fn history_path(state_dir: &Path) -> PathBuf {
    state_dir.join(HISTORY_FILE)
}

/// Reads the history, and where it is not as it was written. Where neither it nor the witness beside
/// it is there, it is empty.
///
/// # Errors
///
/// If a file cannot be read, or the history cannot be understood.
pub fn inspect(state_dir: &Path) -> Result<(History, Option<Break>), TuneError> {
    /// Reads between which others wrote, before that is given up: each of them is a command of an
    /// operator.
    const MOST_READS: usize = 100;
    let mut read = Reading::of(state_dir)?;
    for _ in 1..MOST_READS {
        if read.is_settled {
            break;
        }
        read = Reading::of(state_dir)?;
    }
    Ok((read.history, read.problem))
}

/// The two files, read once.
struct Reading {
    history: History,
    problem: Option<Break>,
    /// Whether a problem is one, and not that somebody wrote between.
    is_settled: bool,
}

impl Reading {
    /// Takes no lock, which who only reads may not be allowed to: where the witness is the same before
    /// and after, the history that was read between is the one that it saw, with at most the one
    /// entry more that is being made.
    fn of(state_dir: &Path) -> Result<Reading, TuneError> {
        let path = state_dir.join(HEAD_FILE);
        let seen = bytes_of(&path)?;
        let (history, problem) = match bytes_of(&history_path(state_dir))? {
            Some(bytes) => parse(history_path(state_dir), &bytes)?,
            None => Default::default(),
        };
        let problem = problem.or_else(|| match Witness::parse(seen.as_deref()) {
            Ok(witness) => witness.contradicts(&history),
            Err(problem) => Some(problem),
        });
        let is_settled = problem.is_none() || bytes_of(&path)? == seen;
        Ok(Reading { history, problem, is_settled })
    }
}

/// What a file holds; none if it is not there.
fn bytes_of(path: &Path) -> Result<Option<Vec<u8>>, TuneError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(TuneError::File { action: "read", path: path.to_owned(), source }),
    }
}

fn parse(path: PathBuf, bytes: &[u8]) -> Result<(History, Option<Break>), TuneError> {
    #[derive(Deserialize)]
    struct Format {
        format: u64,
    }
    let unreadable = |source| TuneError::Unreadable { path: path.clone(), source };
    // First, since another format may hold other fields.
    let Format { format: found } = serde_json::from_slice(bytes).map_err(unreadable)?;
    if found != FORMAT {
        return Err(TuneError::Format { path, expected: FORMAT, found });
    }
    let document: Document = serde_json::from_slice(bytes).map_err(unreadable)?;
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
    state_dir: PathBuf,
    /// What was read, and then added to.
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
        let history = read(state_dir)?;
        let writing = Writing { state_dir: state_dir.to_owned(), history, _lock };
        // After a crash between the two files the witness is one entry behind, and must not fall
        // behind further.
        let seen = bytes_of(&state_dir.join(HEAD_FILE))?;
        if Witness::parse(seen.as_deref()) != Ok(Witness::of(&writing.history)) {
            writing.save_witness()?;
        }
        Ok(writing)
    }

    /// Writes down that mining began, unless that is known. `now_ns` is what the real clock shows.
    pub(super) fn start(&mut self, by: Starter, now_ns: u64) -> Result<(), TuneError> {
        if self.history.entries().is_empty() {
            self.push(Event::Started { by }, Moment { ns: now_ns, is_by_hand: false })?;
        }
        Ok(())
    }

    /// Appends an entry, and writes the history and then the witness.
    pub(super) fn push(&mut self, event: Event, moment: Moment) -> Result<Entry, TuneError> {
        let entry = self.history.push(event, moment).clone();
        self.save(HISTORY_FILE, &self.history.document())?;
        self.save_witness()?;
        Ok(entry)
    }

    fn save_witness(&self) -> Result<(), TuneError> {
        self.save(HEAD_FILE, &Witness::of(&self.history))
    }

    fn save(&self, name: &str, content: &impl Serialize) -> Result<(), TuneError> {
        let path = self.state_dir.join(name);
        let mut text = serde_json::to_vec_pretty(content)
            .expect("numbers, texts and lists of them can be written as JSON. This is a bug.");
        text.push(b'\n');
        files::write_atomically(&path, &text).map_err(|source| TuneError::File {
            action: "write",
            path,
            source,
        })
    }
}
