//! The thread around a feedback.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use super::Feedback;
use crate::clock::Clock;

/// A thread that takes the steps of a feedback. It ends after this is dropped: nobody waits for it,
/// since it may be reading a journal of many days, and leaves nothing half done on the disk.
#[derive(Debug)]
#[must_use = "dropping it ends the thread"]
pub struct FeedbackWatch {
    _stop: mpsc::Sender<()>,
}

impl Feedback {
    /// Takes a step now and then every so often, on a thread of its own, as long as the result lives.
    ///
    /// # Errors
    ///
    /// If the thread cannot be started.
    pub fn watch(mut self, clock: Arc<dyn Clock>, every: Duration) -> io::Result<FeedbackWatch> {
        let (stop, stopped) = mpsc::channel();
        thread::Builder::new().name("feedback".to_owned()).spawn(move || {
            loop {
                // What it knows is replaced whole, so the next step may mend what a panic left. It
                // has been printed already.
                let step = || self.step(clock.now_ns());
                if catch_unwind(AssertUnwindSafe(step)).is_err() {
                    tracing::error!("learning from what really happened ended in a panic");
                }
                if stopped.recv_timeout(every) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        })?;
        Ok(FeedbackWatch { _stop: stop })
    }
}
