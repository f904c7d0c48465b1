//! Saves what changes, every so often and at the end.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How saving goes, for who looks. Shared by all that save.
#[derive(Debug, Default)]
pub struct StateHealth {
    failures: AtomicU64,
    /// What cannot be saved at the moment, and why.
    failing: Mutex<Vec<(String, String)>>,
}

impl StateHealth {
    /// How often something could not be saved.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// What cannot be saved at the moment and why, a line each.
    pub fn failing(&self) -> Vec<String> {
        let failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        failing.iter().map(|(what, why)| format!("{what}: {why}")).collect()
    }

    /// Notes how it went to save `what`; it is told in the log when that changes.
    pub fn saved(&self, what: &str, result: &io::Result<()>) {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let place = failing.iter().position(|(known, _)| known == what);
        match (result, place) {
            (Ok(()), None) => (),
            (Ok(()), Some(place)) => {
                failing.remove(place);
                tracing::info!(file = what, "saved again");
            }
            (Err(error), place) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                match place {
                    Some(place) => failing[place].1 = error.to_string(),
                    None => {
                        tracing::warn!(file = what, %error, "cannot be saved; trying again");
                        failing.push((what.to_owned(), error.to_string()));
                    }
                }
            }
        }
    }
}

/// Something that saves one file.
type Job = Box<dyn FnMut() -> io::Result<()> + Send>;

/// A thread that saves some files every so often. Dropping it saves them for the last time.
#[must_use = "dropping it ends the saving"]
pub struct Keeper {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Keeper").finish_non_exhaustive()
    }
}

impl Keeper {
    /// Runs each of the jobs, which have names for the log, every so often and once at the end. What
    /// fails is counted and told in `health`, and tried again the next time.
    ///
    /// # Errors
    ///
    /// If the thread cannot be started.
    pub fn start(
        every: Duration,
        health: Arc<StateHealth>,
        mut jobs: Vec<(String, Job)>,
    ) -> io::Result<Keeper> {
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = thread::Builder::new().name("state".to_owned()).spawn(move || {
            loop {
                let is_last = stopped.recv_timeout(every) != Err(RecvTimeoutError::Timeout);
                for (name, job) in &mut jobs {
                    health.saved(name, &job());
                }
                if is_last {
                    return;
                }
            }
        })?;
        Ok(Keeper { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // A panic in it has been printed already.
            thread.join().ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::time::Instant;

    use super::*;

    #[test]
    fn it_saves_again_and_again_and_at_the_end() {
        let (count, fails) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(true)));
        let health = Arc::new(StateHealth::default());
        let (ours, failing) = (Arc::clone(&count), Arc::clone(&fails));
        let job: Job = Box::new(move || {
            ours.fetch_add(1, Ordering::Relaxed);
            match failing.load(Ordering::Relaxed) {
                true => Err(io::Error::other("the disk is full")),
                false => Ok(()),
            }
        });
        let every = Duration::from_millis(1);
        let keeper =
            Keeper::start(every, Arc::clone(&health), vec![("a".to_owned(), job)]).unwrap();
        let wait = |is_so: &dyn Fn() -> bool| {
            let started = Instant::now();
            while !is_so() {
                assert!(started.elapsed() < Duration::from_secs(30));
                thread::sleep(every);
            }
        };
        wait(&|| health.failures() >= 3);
        assert_eq!(health.failing(), ["a: the disk is full"]);
        fails.store(false, Ordering::Relaxed);
        wait(&|| health.failing().is_empty());
        drop(keeper);
        assert!(count.load(Ordering::Relaxed) > health.failures());

        let ours = Arc::clone(&count);
        let job: Job = Box::new(move || {
            ours.store(0, Ordering::Relaxed);
            Ok(())
        });
        drop(
            Keeper::start(Duration::from_secs(3600), health, vec![("b".to_owned(), job)]).unwrap(),
        );
        assert_eq!(count.load(Ordering::Relaxed), 0, "at the end at least");
    }
}
