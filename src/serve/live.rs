//! What is read from files and taken up anew while it is in use, when the files are replaced.

use std::error::Error;
use std::fmt;
use std::fs::{self, Metadata};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use sha2::{Digest as _, Sha256};

use crate::causes::with_causes;

/// Files up to this size are read at each look, since a length and a time can both stay the same
/// when counts change. Larger ones are read when their length, time or place on the disk is another.
const SMALL_BYTES: u64 = 64 << 10;
/// Files that could not be used are tried again after this time, though they hold the same: what was
/// in the way may be gone.
const RETRY: Duration = Duration::from_secs(60);

type Files = Box<dyn Fn() -> Vec<PathBuf> + Send + Sync>;
type Load<T> = Box<dyn Fn(Option<&Arc<T>>) -> Result<Arc<T>, String> + Send + Sync>;

/// The latest of what could be loaded from some files.
pub struct Live<T> {
    /// Locked for as long as it takes to clone or replace an [`Arc`].
    current: RwLock<Arc<T>>,
    files: Files,
    load: Load<T>,
    seen: Mutex<Seen>,
}

/// The files that were loaded, and those that last could not be.
#[derive(Debug)]
struct Seen {
    loaded: Vec<Stamped>,
    refused: Option<Refused>,
}

#[derive(Debug)]
struct Refused {
    files: Vec<Stamped>,
    reason: String,
    at: Instant,
}

/// What [`Live::refresh`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refresh {
    /// The files hold what was loaded from them.
    Unchanged,
    /// The new content is in use from now on.
    Replaced,
    /// The new files cannot be used, for this reason; the old content stays. Told once for the same
    /// files.
    Refused(String),
    /// The files are still those that were refused, for this reason.
    StillRefused(String),
}

impl<T: Send + Sync + 'static> Live<T> {
    /// What never changes.
    pub fn fixed(value: Arc<T>) -> Live<T> {
        Live {
            current: RwLock::new(value),
            files: Box::new(Vec::new),
            load: Box::new(|current| current.cloned().ok_or_else(|| "nothing to load".to_owned())),
            seen: Mutex::new(Seen { loaded: Vec::new(), refused: None }),
        }
    }

    /// Loads what is there now, and will load it anew when `files` names other files, or one of them
    /// holds something else. `files` is asked before each look and should cost little.
    ///
    /// `load` is given what it would replace: nothing the first time.
    ///
    /// # Errors
    ///
    /// What the first `load` fails with.
    pub fn load<E: Error>(
        files: impl Fn() -> Vec<PathBuf> + Send + Sync + 'static,
        load: impl Fn(Option<&Arc<T>>) -> Result<Arc<T>, E> + Send + Sync + 'static,
    ) -> Result<Live<T>, E> {
        // Before anything is loaded: a file that is replaced meanwhile is noticed later.
        let loaded = stamped(files(), &[]);
        Ok(Live {
            current: RwLock::new(load(None)?),
            files: Box::new(files),
            load: Box::new(move |current| load(current).map_err(|error| with_causes(&error))),
            seen: Mutex::new(Seen { loaded, refused: None }),
        })
    }

    /// What is in use.
    pub fn current(&self) -> Arc<T> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Loads anew if the files were replaced. Whoever uses the old content goes on meanwhile. Files
    /// that cannot be used are told in the log once, and tried again when they change or a minute has
    /// passed.
    pub fn refresh(&self) -> Refresh {
        self.refresh_at(Instant::now())
    }

    fn refresh_at(&self, now: Instant) -> Refresh {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let known = seen.refused.as_ref().map_or(&seen.loaded, |refused| &refused.files);
        let found = stamped((self.files)(), known);
        if found == seen.loaded {
            // Not only the same: the newer times spare the next look the reading.
            *seen = Seen { loaded: found, refused: None };
            return Refresh::Unchanged;
        }
        let mut told = false;
        if let Some(refused) = seen.refused.as_mut().filter(|refused| refused.files == found) {
            if now.saturating_duration_since(refused.at) < RETRY {
                refused.files = found;
                return Refresh::StillRefused(refused.reason.clone());
            }
            told = true;
        }
        let files = changed(&seen.loaded, &found);
        // A panic must not end the watch: the next files may be good.
        let load = || (self.load)(Some(&self.current()));
        let loaded = catch_unwind(AssertUnwindSafe(load));
        match loaded.unwrap_or_else(|_| Err("to load it ended in a panic".to_owned())) {
            Ok(value) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = value;
                *seen = Seen { loaded: found, refused: None };
                tracing::info!(files, "replaced; the new content is in use from now on");
                Refresh::Replaced
            }
            Err(reason) => {
                seen.refused = Some(Refused { files: found, reason: reason.clone(), at: now });
                if told {
                    return Refresh::StillRefused(reason);
                }
                tracing::warn!(files, reason, "replaced, but unusable; the old content stays");
                Refresh::Refused(reason)
            }
        }
    }

    /// Refreshes on a thread of its own, every so often, as long as the result lives. `told` hears of
    /// everything but [`Refresh::Unchanged`] and [`Refresh::StillRefused`].
    ///
    /// # Errors
    ///
    /// If the thread cannot be started.
    pub fn watch(
        self: &Arc<Self>,
        every: Duration,
        mut told: impl FnMut(&Refresh) + Send + 'static,
    ) -> io::Result<Watch> {
        let (stop, stopped) = mpsc::channel();
        let live = Arc::clone(self);
        let thread = thread::Builder::new().name("watch".to_owned()).spawn(move || {
            while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                match live.refresh() {
                    Refresh::Unchanged | Refresh::StillRefused(_) => (),
                    news => told(&news),
                }
            }
        })?;
        Ok(Watch { stop: Some(stop), thread: Some(thread) })
    }
}

impl<T> fmt::Debug for Live<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Live").field("seen", &self.seen).finish_non_exhaustive()
    }
}

/// A thread that refreshes something. Dropping it ends the thread.
#[derive(Debug)]
#[must_use = "dropping it ends the watch"]
pub struct Watch {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // A panic in it has been printed already, and the answers did not depend on it.
            thread.join().ok();
        }
    }
}

/// A file, and what it holds.
#[derive(Debug, Clone)]
struct Stamped {
    file: PathBuf,
    /// None if it cannot be read.
    stamp: Option<Stamp>,
}

/// Equal for the same content, wherever and whenever it was written.
impl PartialEq for Stamped {
    fn eq(&self, other: &Stamped) -> bool {
        let digest = |stamped: &Stamped| stamped.stamp.as_ref().map(|stamp| stamp.digest);
        self.file == other.file && digest(self) == digest(other)
    }
}

#[derive(Debug, Clone)]
struct Stamp {
    place: Place,
    digest: [u8; 32],
}

/// What changes when a file is written, as far as clocks are fine enough.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    bytes: u64,
    modified: Option<SystemTime>,
    inode: u64,
}

impl Place {
    fn of(metadata: &Metadata) -> Place {
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(metadata);
        #[cfg(not(unix))]
        let inode = 0;
        Place { bytes: metadata.len(), modified: metadata.modified().ok(), inode }
    }
}

fn stamped(files: Vec<PathBuf>, known: &[Stamped]) -> Vec<Stamped> {
    let stamped = |file: PathBuf| {
        let known = known.iter().find(|known| known.file == file);
        let stamp = stamp(&file, known.and_then(|known| known.stamp.as_ref()));
        Stamped { file, stamp }
    };
    files.into_iter().map(stamped).collect()
}

fn stamp(file: &Path, known: Option<&Stamp>) -> Option<Stamp> {
    // Before the content: who writes in between is seen by the next look.
    let place = Place::of(&fs::metadata(file).ok()?);
    let digest = match known {
        Some(known) if known.place == place && place.bytes > SMALL_BYTES => known.digest,
        _ => Sha256::digest(fs::read(file).ok()?).into(),
    };
    Some(Stamp { place, digest })
}

/// The files that hold something else, or are new among them.
fn changed(before: &[Stamped], now: &[Stamped]) -> String {
    let changed = now.iter().filter(|stamped| !before.contains(stamped));
    let files: Vec<String> = changed.map(|stamped| stamped.file.display().to_string()).collect();
    files.join(", ")
}

#[cfg(test)]
mod tests {
    use std::num::ParseFloatError;

    use super::*;

    /// What the file says.
    fn live(file: &Path) -> Result<Live<f64>, ParseFloatError> {
        let (path, files) = (file.to_owned(), vec![file.to_owned()]);
        let load = move |_: Option<&Arc<f64>>| {
            fs::read_to_string(&path).unwrap_or_default().parse().map(Arc::new)
        };
        Live::load(move || files.clone(), load)
    }

    const NO_FLOAT: &str = "invalid float literal";

    #[test]
    fn a_replaced_file_is_loaded_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        assert!(live(&file).is_err());
        fs::write(&file, "0.25").unwrap();
        let live = live(&file).unwrap();
        assert_eq!((live.refresh(), *live.current()), (Refresh::Unchanged, 0.25));
        // As long as the old one.
        crate::files::write_atomically(&file, b"0.75").unwrap();
        assert_eq!((live.refresh(), *live.current()), (Refresh::Replaced, 0.75));
        assert_eq!(live.refresh(), Refresh::Unchanged);
        // Written again, with the same content.
        crate::files::write_atomically(&file, b"0.75").unwrap();
        assert_eq!(live.refresh(), Refresh::Unchanged);
    }

    #[test]
    fn a_damaged_file_changes_nothing_and_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        fs::write(&file, "0.25").unwrap();
        let live = live(&file).unwrap();
        fs::write(&file, "damaged").unwrap();
        let refused = Refresh::Refused(NO_FLOAT.to_owned());
        assert_eq!((live.refresh(), *live.current()), (refused.clone(), 0.25));
        let still = Refresh::StillRefused(NO_FLOAT.to_owned());
        assert_eq!(live.refresh(), still);
        fs::write(&file, "other damage").unwrap();
        assert_eq!(live.refresh(), refused, "this is another file");
        fs::remove_file(&file).unwrap();
        assert!(matches!(live.refresh(), Refresh::Refused(_)));
        fs::write(&file, "0.25").unwrap();
        assert_eq!(live.refresh(), Refresh::Unchanged);
        fs::write(&file, "0.5").unwrap();
        assert_eq!((live.refresh(), *live.current()), (Refresh::Replaced, 0.5));
    }

    #[test]
    fn what_was_refused_is_tried_again_after_a_while() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        fs::write(&file, "0.25").unwrap();
        // Something beside the files that is in the way, such as too little memory.
        let in_the_way = Arc::new(Mutex::new(false));
        let (path, files) = (file.clone(), vec![file.clone()]);
        let ours = Arc::clone(&in_the_way);
        let load = move |_: Option<&Arc<f64>>| {
            if *ours.lock().unwrap() {
                return Err(io::Error::from(io::ErrorKind::OutOfMemory));
            }
            Ok(Arc::new(fs::read_to_string(&path)?.parse().unwrap()))
        };
        let live = Live::load(move || files.clone(), load).unwrap();
        *in_the_way.lock().unwrap() = true;
        fs::write(&file, "0.5").unwrap();
        let start = Instant::now();
        assert!(matches!(live.refresh_at(start), Refresh::Refused(_)));
        let later = start + RETRY;
        assert!(matches!(live.refresh_at(later), Refresh::StillRefused(_)), "tried, and in vain");
        *in_the_way.lock().unwrap() = false;
        let before = later + RETRY - Duration::from_secs(1);
        assert!(matches!(live.refresh_at(before), Refresh::StillRefused(_)), "not tried");
        assert_eq!((live.refresh_at(later + RETRY), *live.current()), (Refresh::Replaced, 0.5));
    }

    #[test]
    fn the_files_to_watch_may_be_others_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let in_folder = |name: &str| folder.path().join(name);
        for (name, content) in [("latest", "a"), ("a", "0.25"), ("b", "0.5")] {
            fs::write(in_folder(name), content).unwrap();
        }
        let root = folder.path().to_owned();
        let files = move || {
            let latest = root.join("latest");
            let named = root.join(fs::read_to_string(&latest).unwrap());
            vec![latest, named]
        };
        let ours = files.clone();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&seen);
        let load = move |before: Option<&Arc<f64>>| {
            told.lock().unwrap().push(before.map(|before| **before));
            fs::read_to_string(&ours()[1]).unwrap().parse::<f64>().map(Arc::new)
        };
        let live = Live::load(files, load).unwrap();
        fs::write(in_folder("b"), "0.75").unwrap();
        assert_eq!(live.refresh(), Refresh::Unchanged, "nobody looks at b yet");
        fs::write(in_folder("latest"), "b").unwrap();
        assert_eq!((live.refresh(), *live.current()), (Refresh::Replaced, 0.75));
        fs::write(in_folder("b"), "1.5").unwrap();
        assert_eq!((live.refresh(), *live.current()), (Refresh::Replaced, 1.5));
        fs::write(in_folder("a"), "2.5").unwrap();
        assert_eq!(live.refresh(), Refresh::Unchanged, "nobody looks at a any more");
        assert_eq!(*seen.lock().unwrap(), [None, Some(0.25), Some(0.75)]);
    }

    #[test]
    fn a_large_file_is_read_only_when_it_was_touched() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("large");
        let size = SMALL_BYTES as usize + 1;
        fs::write(&file, vec![b'a'; size]).unwrap();
        let first = stamp(&file, None).unwrap();
        // A known digest that is not the file's shows whether it was read.
        let known = Stamp { place: first.place.clone(), digest: [0; 32] };
        assert_eq!(stamp(&file, Some(&known)).unwrap().digest, [0; 32]);
        let elsewhere = Place { inode: first.place.inode + 1, ..first.place.clone() };
        let known = Stamp { place: elsewhere, digest: [0; 32] };
        assert_eq!(stamp(&file, Some(&known)).unwrap().digest, first.digest);
        fs::write(&file, "small").unwrap();
        let first = stamp(&file, None).unwrap();
        let known = Stamp { place: first.place.clone(), digest: [0; 32] };
        assert_eq!(stamp(&file, Some(&known)).unwrap().digest, first.digest, "always read");
    }

    #[test]
    fn what_is_fixed_stays() {
        let live = Live::fixed(Arc::new(3));
        assert_eq!((live.refresh(), *live.current()), (Refresh::Unchanged, 3));
    }

    #[test]
    fn watched_until_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        fs::write(&file, "0.25").unwrap();
        let live = Arc::new(live(&file).unwrap());
        let (tell, told) = mpsc::channel();
        let watch = live
            .watch(Duration::from_millis(1), move |news| tell.send(news.clone()).unwrap())
            .unwrap();
        crate::files::write_atomically(&file, b"0.5").unwrap();
        assert_eq!((told.recv(), *live.current()), (Ok(Refresh::Replaced), 0.5));
        crate::files::write_atomically(&file, b"half").unwrap();
        assert_eq!(told.recv(), Ok(Refresh::Refused(NO_FLOAT.to_owned())));
        drop(watch);
        assert_eq!(told.iter().count(), 0, "told once");
        assert_eq!(Arc::strong_count(&live), 1, "the thread has ended");
        fs::write(&file, "0.75").unwrap();
        assert_eq!(*live.current(), 0.5);
    }
}
