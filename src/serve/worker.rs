//! The threads that do what takes time: checking signatures, asking the models, signing.
//!
//! None of that runs on a thread of the runtime, which only moves bytes. Requests wait in a bounded
//! queue; whatever waits when a thread becomes free is answered as one batch.
//!
//! A hand-over costs a wake-up only if there is somebody to wake: a thread that is busy finds what
//! came meanwhile, and of many that come while one wakes, only the first wakes it.
//!
//! A model that does not come back cannot be stopped. Its thread is given up, another one takes its
//! place, and what it should have answered goes to the head of the queue, for the next model.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::models::{Answered, Asking, Lineup, Registry};
use crate::features::Conversation;
use crate::model::opinion::Basis;
use crate::subnet::synapse::Prediction;

pub use super::models::ModelFailure;

/// Why a conversation got no prediction.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PredictError {
    /// The queue is full.
    #[error("the queue of the model is full")]
    Overloaded,
    /// The caller waits no longer.
    #[error("the time is up")]
    DeadlinePassed,
    /// The miner is stopping.
    #[error("the miner is stopping")]
    Stopped,
    /// No model could answer.
    #[error(transparent)]
    Model(#[from] ModelFailure),
}

/// How much is given to the models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelLimits {
    /// How many conversations may wait. Default: 1024.
    pub queue: usize,
    /// How many of them are answered at a time at most. Default: 64.
    pub max_batch: usize,
    /// How many threads answer. Default: 1.
    pub threads: usize,
    /// A model that has not answered a batch after this time hangs. Default: 10 s.
    pub hangs_after: Duration,
}

impl Default for ModelLimits {
    fn default() -> ModelLimits {
        let hangs_after = Duration::from_secs(10);
        ModelLimits { queue: 1024, max_batch: 64, threads: 1, hangs_after }
    }
}

/// An answer, and how it came about.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// The answer.
    pub prediction: Prediction,
    /// What it rests on, where the model can say so.
    pub basis: Option<Basis>,
    /// The name of the model that gave it.
    pub model: Arc<str>,
    /// The name of the checkpoint that the model is of; empty without one.
    pub checkpoint: Arc<str>,
    /// How long the conversation lay in the queue.
    pub waited: Duration,
    /// How long its batch took.
    pub computed: Duration,
    /// How many conversations were in the batch.
    pub batch: usize,
}

/// What is done for a request on a model's thread.
pub trait Task: Send {
    /// The conversation to ask the models about; none if there is nothing to ask, and then the task
    /// is over. Called once.
    fn prepare(&mut self) -> Option<Conversation>;

    /// Takes what the models say, or why they were not asked, which ends the task.
    fn finish(self: Box<Self>, result: Result<Reply, PredictError>);

    /// Whether somebody still waits for it.
    fn is_wanted(&self) -> bool;
}

struct Job {
    task: Box<dyn Task>,
    /// What the task prepared.
    conversation: Option<Conversation>,
    came: Instant,
    deadline: Instant,
}

impl Job {
    /// Whether there is something to ask. A task that panics is over, like any request that does.
    fn prepare(&mut self) -> bool {
        if self.conversation.is_none() {
            let prepared = catch_unwind(AssertUnwindSafe(|| self.task.prepare()));
            self.conversation = prepared.unwrap_or_default();
        }
        self.conversation.is_some()
    }

    fn finish(self, result: Result<Reply, PredictError>) {
        // Who waits for it sees that it is gone.
        catch_unwind(AssertUnwindSafe(|| self.task.finish(result))).ok();
    }
}

/// Asks about one conversation and does nothing else.
struct Question {
    conversation: Option<Conversation>,
    reply: oneshot::Sender<Result<Reply, PredictError>>,
}

impl Task for Question {
    fn prepare(&mut self) -> Option<Conversation> {
        self.conversation.take()
    }

    fn finish(self: Box<Self>, result: Result<Reply, PredictError>) {
        // An error means that the client has gone meanwhile.
        self.reply.send(result).ok();
    }

    fn is_wanted(&self) -> bool {
        !self.reply.is_closed()
    }
}

/// The threads, to be stopped.
#[derive(Debug)]
pub struct ModelThread {
    handle: ModelHandle,
    /// Ends when all threads have ended that were not given up.
    ended: mpsc::Receiver<()>,
}

/// A way to the threads. They end when all ways to them are gone, or by [`ModelThread::stop`].
#[derive(Debug, Clone)]
pub struct ModelHandle(Arc<Entrance>);

/// What all ways to the threads share.
struct Entrance(Arc<Shared>);

struct Shared {
    models: Arc<Registry>,
    limits: ModelLimits,
    state: Mutex<State>,
    /// For threads that have nothing to do.
    work: Condvar,
    /// For the keeper.
    end: Condvar,
}

struct State {
    jobs: VecDeque<Job>,
    /// Threads that sleep.
    idle: usize,
    /// Of those, how many were told to wake up and have not yet.
    woken: usize,
    stopping: bool,
    /// The places of the threads that were not given up.
    seats: Vec<Arc<Seat>>,
}

/// What a thread is doing.
#[derive(Default)]
struct Seat {
    asking: Asking,
    work: Mutex<Work>,
}

#[derive(Default)]
struct Work {
    jobs: Vec<Job>,
    /// With whom, and since when; none between batches.
    current: Option<(Arc<Lineup>, Instant)>,
    /// The thread did not come back and is not waited for any more.
    given_up: bool,
    /// Dropped when the thread has ended or is given up.
    ended: Option<mpsc::Sender<()>>,
}

impl ModelThread {
    /// Starts the threads.
    ///
    /// # Errors
    ///
    /// If the system gives no thread.
    pub fn start(models: Arc<Registry>, limits: ModelLimits) -> io::Result<Self> {
        let limits = ModelLimits {
            queue: limits.queue.max(1),
            max_batch: limits.max_batch.max(1),
            threads: limits.threads.max(1),
            ..limits
        };
        let state = State {
            jobs: VecDeque::with_capacity(limits.queue.min(4096)),
            idle: 0,
            woken: 0,
            stopping: false,
            seats: Vec::new(),
        };
        let shared = Arc::new(Shared {
            models,
            limits,
            state: Mutex::new(state),
            work: Condvar::new(),
            end: Condvar::new(),
        });
        // From here on, an error drops this, which ends what was started.
        let handle = ModelHandle(Arc::new(Entrance(Arc::clone(&shared))));
        let (alive, ended) = mpsc::channel(1);
        for _ in 0..limits.threads {
            shared.start_thread(alive.clone())?;
        }
        let keeper = thread::Builder::new().name("keeper".to_owned());
        keeper.spawn(move || shared.keep())?;
        Ok(ModelThread { handle, ended })
    }

    /// A way to the threads.
    pub fn handle(&self) -> ModelHandle {
        self.handle.clone()
    }

    /// Lets the threads answer what waits and ends them. Whether they ended within `limit`.
    pub async fn stop(mut self, limit: Duration) -> bool {
        self.handle.0.0.stop();
        // Nothing is ever sent: it ends when the last thread drops its end.
        tokio::time::timeout(limit, self.ended.recv()).await.is_ok()
    }
}

impl ModelHandle {
    /// Asks the models about one conversation and waits for the answer until `deadline`.
    pub async fn predict(
        &self,
        conversation: Conversation,
        deadline: Instant,
    ) -> Result<Reply, PredictError> {
        let (reply, answer) = oneshot::channel();
        self.run(Box::new(Question { conversation: Some(conversation), reply }), deadline)?;
        match tokio::time::timeout_at(deadline, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(PredictError::Stopped),
            Err(_) => Err(PredictError::DeadlinePassed),
        }
    }

    /// Has a task done, unless its deadline passes first.
    ///
    /// # Errors
    ///
    /// If it cannot even wait. The task is dropped then.
    pub fn run(&self, task: Box<dyn Task>, deadline: Instant) -> Result<(), PredictError> {
        self.0.0.push(Job { task, conversation: None, came: Instant::now(), deadline })
    }

    /// How many tasks wait.
    pub fn waiting(&self) -> usize {
        self.0.0.lock().jobs.len()
    }
}

impl Drop for Entrance {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl std::fmt::Debug for Entrance {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Shared { models, limits, .. } = &*self.0;
        formatter
            .debug_struct("Entrance")
            .field("models", models)
            .field("limits", limits)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs while it is locked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, job: Job) -> Result<(), PredictError> {
        let mut state = self.lock();
        if state.stopping {
            return Err(PredictError::Stopped);
        }
        if state.jobs.len() >= self.limits.queue {
            return Err(PredictError::Overloaded);
        }
        state.jobs.push_back(job);
        let wake = state.wakes_another();
        drop(state);
        if wake {
            self.work.notify_one();
        }
        Ok(())
    }

    /// Waits for work and takes it into `batch`. Whether there will be more.
    fn take(&self, batch: &mut Vec<Job>) -> bool {
        let mut state = self.lock();
        while state.jobs.is_empty() {
            if state.stopping {
                return false;
            }
            state.idle += 1;
            while state.woken == 0 && !state.stopping {
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.idle -= 1;
            state.woken = state.woken.saturating_sub(1);
        }
        // The other threads get their share: they sleep, or will be free soon.
        let share = state.jobs.len().div_ceil(self.limits.threads);
        let size = share.min(self.limits.max_batch);
        batch.extend(state.jobs.drain(..size));
        let wake = !state.jobs.is_empty() && state.wakes_another();
        drop(state);
        if wake {
            self.work.notify_one();
        }
        true
    }

    fn stop(&self) {
        self.lock().stopping = true;
        self.work.notify_all();
        self.end.notify_all();
    }

    fn start_thread(self: &Arc<Self>, alive: mpsc::Sender<()>) -> io::Result<()> {
        let seat = Arc::new(Seat::default());
        seat.lock().ended = Some(alive);
        let (shared, ours) = (Arc::clone(self), Arc::clone(&seat));
        self.lock().seats.push(Arc::clone(&seat));
        let thread = thread::Builder::new().name("model".to_owned());
        let started = thread.spawn(move || {
            let mut batch = Vec::with_capacity(shared.limits.max_batch.min(4096));
            while shared.take(&mut batch) && shared.answer(&ours, &mut batch) {}
            shared.leave(&ours);
        });
        if let Err(error) = started {
            self.leave(&seat);
            return Err(error);
        }
        Ok(())
    }

    /// The thread of this seat has ended or is not waited for any more.
    fn leave(&self, seat: &Arc<Seat>) {
        self.lock().seats.retain(|other| !Arc::ptr_eq(other, seat));
        seat.lock().ended = None;
        self.end.notify_all();
    }

    /// Answers and empties the batch. Whether the thread is still wanted.
    fn answer(&self, seat: &Seat, batch: &mut Vec<Job>) -> bool {
        let started = Instant::now();
        for job in batch.extract_if(.., |job| job.deadline <= started) {
            job.finish(Err(PredictError::DeadlinePassed));
        }
        // For a client that has gone nothing needs to be done.
        batch.retain_mut(|job| job.task.is_wanted() && job.prepare());
        if batch.is_empty() {
            return true;
        }
        let conversations: Vec<_> =
            batch.iter().filter_map(|job| job.conversation.clone()).collect();
        let asked = Instant::now();
        let lineup = self.models.current();
        {
            let mut work = seat.lock();
            std::mem::swap(&mut work.jobs, batch);
            work.current = Some((Arc::clone(&lineup), asked));
        }
        let answers = lineup.predict(&conversations, &seat.asking);
        {
            let mut work = seat.lock();
            if work.given_up {
                return false;
            }
            work.current = None;
            std::mem::swap(&mut work.jobs, batch);
        }
        let (computed, batch_size) = (asked.elapsed(), conversations.len());
        for (job, answer) in batch.drain(..).zip(answers) {
            let waited = started.saturating_duration_since(job.came);
            let reply = |Answered { prediction, basis, model }| Reply {
                prediction,
                basis,
                model,
                checkpoint: lineup.checkpoint_name(),
                waited,
                computed,
                batch: batch_size,
            };
            job.finish(answer.map(reply).map_err(PredictError::Model));
        }
        true
    }

    /// Looks after the models: gives up who hangs, and lets who is ill try again. Ends with the last
    /// thread.
    fn keep(self: &Arc<Self>) {
        let pause = (self.limits.hangs_after / 8).min(Duration::from_millis(250));
        let mut state = self.lock();
        while !(state.stopping && state.seats.is_empty()) {
            let seats = state.seats.clone();
            drop(state);
            for seat in &seats {
                self.rescue(seat);
            }
            self.models.current().probe();
            state = self.lock();
            if !(state.stopping && state.seats.is_empty()) {
                let waited = self.end.wait_timeout(state, pause);
                (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// Takes the work from a thread whose model hangs, for another thread to do.
    fn rescue(self: &Arc<Self>, seat: &Arc<Seat>) {
        let (jobs, alive) = {
            let mut work = seat.lock();
            let hangs = |(_, since): &mut (Arc<Lineup>, Instant)| {
                since.elapsed() >= self.limits.hangs_after
            };
            let Some((lineup, _)) = work.current.take_if(hangs) else { return };
            lineup.hangs(&seat.asking, work.jobs.len(), self.limits.hangs_after);
            work.given_up = true;
            (std::mem::take(&mut work.jobs), work.ended.take())
        };
        // Before anything is free to take it: the order of the queue is that of arrival.
        let mut state = self.lock();
        for job in jobs.into_iter().rev() {
            state.jobs.push_front(job);
        }
        let wake = state.wakes_another();
        drop(state);
        if wake {
            self.work.notify_one();
        }
        let started = alive.map(|alive| self.start_thread(alive));
        if let Some(Err(error)) = started {
            tracing::error!(%error, "there is no thread to replace one whose model hangs");
        }
        self.leave(seat);
    }
}

impl State {
    /// Notes that a sleeping thread is woken, if there is one that is not being woken already.
    fn wakes_another(&mut self) -> bool {
        let sleeps = self.woken < self.idle;
        if sleeps {
            self.woken += 1;
        }
        sleeps
    }
}

impl Seat {
    fn lock(&self) -> MutexGuard<'_, Work> {
        // Nothing that can panic runs while it is locked.
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
