//! The nonces that were accepted.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::StateHealth;
use super::file::set_aside;
use crate::causes::with_causes;
use crate::clock::Clock;
use crate::files;
use crate::serve::AxonView;
use crate::serve::nonces::{NonceLimits, Nonces};

/// How often it is looked whether something must be saved at once.
const LOOK: Duration = Duration::from_millis(100);

/// The file of one axon's nonces.
#[derive(Debug, Clone)]
pub struct NonceFile {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    /// One writes at a time.
    writing: Arc<Mutex<()>>,
    health: Arc<StateHealth>,
}

impl NonceFile {
    /// The file of the axon with this hotkey, each of which has its own, in `folder`, which is made
    /// if it is not there.
    ///
    /// # Errors
    ///
    /// If the folder cannot be made.
    pub fn of(folder: &Path, hotkey: &str, clock: Arc<dyn Clock>) -> io::Result<NonceFile> {
        std::fs::create_dir_all(folder)?;
        let path = folder.join(format!("{}.{hotkey}.json", super::NONCES));
        Ok(NonceFile { path, clock, writing: Arc::default(), health: Arc::default() })
    }

    /// The same, which tells there how [`NonceFile::keep`] goes.
    #[must_use]
    pub fn with_health(self, health: Arc<StateHealth>) -> NonceFile {
        NonceFile { health, ..self }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What an earlier process accepted. A file that cannot be used is set aside under another name,
    /// and what is not known counts as accepted.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, set aside, or marked as being in use.
    pub fn restore(&self, limits: NonceLimits) -> io::Result<Nonces> {
        let now_ns = self.clock.now_ns();
        let nonces = match std::fs::read(&self.path) {
            Ok(bytes) => match Nonces::restore(limits, &bytes, now_ns) {
                Ok(nonces) => nonces,
                Err(error) => {
                    let reason = with_causes(&error);
                    let aside = set_aside(&self.path, now_ns)?;
                    let (file, aside) = (self.path.display(), aside.display());
                    tracing::warn!(%file, %aside, reason, "the saved nonces are damaged; set aside");
                    Nonces::started(limits, now_ns)
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Nonces::started(limits, now_ns)
            }
            Err(error) => return Err(error),
        };
        // From now on the file may lack something, should this process die.
        self.save(&nonces, false)?;
        Ok(nonces)
    }

    /// Saves; `is_last` promises that nothing more is accepted.
    ///
    /// # Errors
    ///
    /// If the file cannot be written; the old one stays then.
    pub fn save(&self, nonces: &Nonces, is_last: bool) -> io::Result<()> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        // Before what is saved: what comes meanwhile counts as not saved.
        let accepted = nonces.accepted();
        files::write_atomically(&self.path, &nonces.save(is_last, self.clock.now_ns()))?;
        nonces.saved(accepted);
        Ok(())
    }

    /// Saves every so often when there is something new, and at once when it must not be lost, until
    /// it is dropped. A file that cannot be written is told once and tried again.
    pub async fn keep(self, view: AxonView, every: Duration) {
        let (mut saved, mut at) = (view.nonces().accepted(), Instant::now());
        let name = self.path.display().to_string();
        loop {
            tokio::time::sleep(LOOK.min(every)).await;
            let accepted = view.nonces().accepted();
            let is_due = accepted != saved && at.elapsed() >= every;
            if !is_due && !view.nonces().is_urgent() {
                continue;
            }
            let (file, nonces) = (self.clone(), view.clone());
            let result = tokio::task::spawn_blocking(move || file.save(nonces.nonces(), false));
            // Else the runtime is ending.
            if let Ok(result) = result.await {
                self.health.saved(&name, &result);
                if result.is_ok() {
                    saved = accepted;
                }
            }
            at = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::nonces::{NonceClaim, NonceError};

    const NOW: u64 = 1_763_789_253_000_000_000;

    #[derive(Debug)]
    struct StoppedClock;

    impl Clock for StoppedClock {
        fn now_ns(&self) -> u64 {
            NOW
        }
    }

    fn claim(nonce: u64) -> NonceClaim<'static> {
        NonceClaim { hotkey: "5H", uuid: "a", nonce, timeout_seconds: 60.0 }
    }

    #[test]
    fn nonces_outlive_a_stop() {
        let folder = tempfile::tempdir().unwrap();
        let file =
            NonceFile::of(&folder.path().join("state"), "5M", Arc::new(StoppedClock)).unwrap();
        let nonces = file.restore(NonceLimits::default()).unwrap();
        assert_eq!(nonces.check(claim(NOW), NOW), Err(NonceError::BeforeStart));
        nonces.accept(claim(NOW + 1), NOW).unwrap();
        file.save(&nonces, true).unwrap();
        let again = file.restore(NonceLimits::default()).unwrap();
        assert_eq!(again.check(claim(NOW + 1), NOW), Err(NonceError::Replayed));
        // The process died without a last save: what it accepted is not known.
        let third = file.restore(NonceLimits::default()).unwrap();
        let other = NonceClaim { hotkey: "5I", ..claim(NOW) };
        assert_eq!(third.check(other, NOW), Err(NonceError::BeforeStart));
    }

    #[test]
    fn a_damaged_file_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let file = NonceFile::of(folder.path(), "5M", Arc::new(StoppedClock)).unwrap();
        std::fs::write(file.path(), "{\"format").unwrap();
        let nonces = file.restore(NonceLimits::default()).unwrap();
        assert_eq!(nonces.check(claim(NOW), NOW), Err(NonceError::BeforeStart));
        let mut names: Vec<_> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, [format!("nonces.5M.damaged-{NOW}"), "nonces.5M.json".to_owned()]);
        assert_eq!(std::fs::read(folder.path().join(&names[0])).unwrap(), b"{\"format");
    }
}
