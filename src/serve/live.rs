//! A model that is loaded anew while it serves, when its files are replaced.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::causes::with_causes;
use crate::features::Conversation;
use crate::model::Model;
use crate::subnet::reward::Answer;

type Load = Box<dyn Fn() -> Result<Arc<dyn Model>, String> + Send + Sync>;

/// What a file holds, or nothing if it cannot be read. Small files are read whole, since a time and
/// a length can both stay the same when counts change.
type Stamp = Option<[u8; 32]>;

/// Answers with the latest model that could be loaded.
pub struct LiveModel {
    /// Locked for as long as it takes to clone or replace an [`Arc`], never while predicting.
    current: RwLock<Arc<dyn Model>>,
    files: Vec<PathBuf>,
    load: Load,
    seen: Mutex<Seen>,
}

/// The contents of the files that were loaded, and of those that last could not be.
#[derive(Debug)]
struct Seen {
    loaded: Vec<Stamp>,
    refused: Option<Vec<Stamp>>,
}

/// What [`LiveModel::refresh`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refresh {
    /// The files hold what was loaded from them.
    Unchanged,
    /// The new model answers from now on.
    Replaced,
    /// The new files cannot be used, for this reason; the old model goes on answering.
    Kept(String),
}

impl LiveModel {
    /// Loads the model, and will load it anew when one of `files` holds something else.
    ///
    /// # Errors
    ///
    /// What `load` fails with.
    pub fn load<E: Error>(
        files: Vec<PathBuf>,
        load: impl Fn() -> Result<Arc<dyn Model>, E> + Send + Sync + 'static,
    ) -> Result<LiveModel, E> {
        // Before the model is loaded: a file that is replaced meanwhile is noticed later.
        let loaded = stamps(&files);
        Ok(LiveModel {
            current: RwLock::new(load()?),
            files,
            load: Box::new(move || load().map_err(|error| with_causes(&error))),
            seen: Mutex::new(Seen { loaded, refused: None }),
        })
    }

    /// Loads the model anew if its files were replaced. Predictions go on meanwhile. A load that
    /// failed is tried again by each call, and told in the log once.
    pub fn refresh(&self) -> Refresh {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let found = stamps(&self.files);
        if found == seen.loaded {
            seen.refused = None;
            return Refresh::Unchanged;
        }
        let changed = self.files.iter().zip(found.iter().zip(&seen.loaded));
        let changed = changed.filter(|(_, (found, loaded))| found != loaded);
        let files: Vec<String> = changed.map(|(file, _)| file.display().to_string()).collect();
        let files = files.join(", ");
        match (self.load)() {
            Ok(model) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = model;
                *seen = Seen { loaded: found, refused: None };
                tracing::info!(files, "replaced; the new content answers from now on");
                Refresh::Replaced
            }
            Err(reason) => {
                if seen.refused.as_ref() != Some(&found) {
                    tracing::warn!(files, reason, "replaced, but unusable; the old content stays");
                    seen.refused = Some(found);
                }
                Refresh::Kept(reason)
            }
        }
    }

    /// Refreshes the model on a thread of its own, every so often, as long as the result lives.
    ///
    /// # Errors
    ///
    /// If the thread cannot be started.
    pub fn watch(self: &Arc<Self>, every: Duration) -> io::Result<Watch> {
        let (stop, stopped) = mpsc::channel();
        let model = Arc::clone(self);
        let thread = thread::Builder::new().name("watch".to_owned()).spawn(move || {
            while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                model.refresh();
            }
        })?;
        Ok(Watch { stop: Some(stop), thread: Some(thread) })
    }
}

impl Model for LiveModel {
    fn predict(&self, conversations: &[Conversation]) -> Vec<Answer> {
        let current = Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner));
        current.predict(conversations)
    }
}

impl fmt::Debug for LiveModel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("LiveModel").field("files", &self.files).finish_non_exhaustive()
    }
}

/// A thread that refreshes a model. Dropping it ends the thread.
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

fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |file: &PathBuf| Some(Sha256::digest(std::fs::read(file).ok()?).into());
    files.iter().map(stamp).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::num::ParseFloatError;
    use std::path::Path;

    use super::*;
    use crate::subnet::reward::NOT_CONVERTED;

    /// Answers with one confidence.
    struct Constant(f64);

    impl Model for Constant {
        fn predict(&self, conversations: &[Conversation]) -> Vec<Answer> {
            let answer =
                Answer { converted: false, time_seconds: NOT_CONVERTED, confidence: self.0 };
            vec![answer; conversations.len()]
        }
    }

    /// The confidence is what the file says.
    fn live(file: &Path) -> Result<LiveModel, ParseFloatError> {
        let path = file.to_owned();
        LiveModel::load(vec![file.to_owned()], move || {
            let text = fs::read_to_string(&path).unwrap_or_default();
            Ok(Arc::new(Constant(text.parse()?)))
        })
    }

    fn confidence(model: &LiveModel) -> f64 {
        model.predict(&[Conversation::EMPTY])[0].confidence
    }

    #[test]
    fn a_replaced_file_is_loaded_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        assert!(live(&file).is_err());
        fs::write(&file, "0.25").unwrap();
        let model = live(&file).unwrap();
        assert_eq!((model.refresh(), confidence(&model)), (Refresh::Unchanged, 0.25));
        // As long as the old one.
        crate::files::write_atomically(&file, b"0.75").unwrap();
        assert_eq!((model.refresh(), confidence(&model)), (Refresh::Replaced, 0.75));
        assert_eq!(model.refresh(), Refresh::Unchanged);
    }

    #[test]
    fn a_damaged_file_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        fs::write(&file, "0.25").unwrap();
        let model = live(&file).unwrap();
        fs::write(&file, "damaged").unwrap();
        let kept = Refresh::Kept("invalid float literal".to_owned());
        assert_eq!((model.refresh(), confidence(&model)), (kept.clone(), 0.25));
        assert_eq!(model.refresh(), kept, "it is tried again");
        fs::remove_file(&file).unwrap();
        assert!(matches!(model.refresh(), Refresh::Kept(_)));
        fs::write(&file, "0.25").unwrap();
        assert_eq!(model.refresh(), Refresh::Unchanged);
        fs::write(&file, "0.5").unwrap();
        assert_eq!((model.refresh(), confidence(&model)), (Refresh::Replaced, 0.5));
    }

    #[test]
    fn watched_until_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        fs::write(&file, "0.25").unwrap();
        let model = Arc::new(live(&file).unwrap());
        let watch = model.watch(Duration::from_millis(1)).unwrap();
        fs::write(&file, "0.5").unwrap();
        while confidence(&model) != 0.5 {
            thread::yield_now();
        }
        drop(watch);
        assert_eq!(Arc::strong_count(&model), 1, "the thread has ended");
        fs::write(&file, "0.75").unwrap();
        assert_eq!(confidence(&model), 0.5);
    }
}
