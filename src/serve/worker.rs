//! The thread that the model lives on.
//!
//! A forward pass takes a core for itself, so it never runs on a thread of the runtime. Requests
//! wait in a bounded queue; whatever waits when the model becomes free is answered as one batch.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use std::{io, thread};

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::features::Conversation;
use crate::model::Model;
use crate::subnet::reward::AnswerFault;
use crate::subnet::synapse::Prediction;

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
    /// The model did something that it must not.
    #[error(transparent)]
    Model(#[from] ModelFailure),
}

/// What a model did that it must not.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ModelFailure {
    /// It panicked.
    #[error("the model panicked: {0}")]
    Panicked(String),
    /// It did not answer each conversation once.
    #[error("the model should give {asked} answers, but gave {given}")]
    Count {
        /// How many conversations there were.
        asked: usize,
        /// How many answers came.
        given: usize,
    },
    /// It gave an answer for which there is no reward.
    #[error(transparent)]
    Answer(#[from] AnswerFault),
}

struct Job {
    conversation: Conversation,
    deadline: Instant,
    reply: oneshot::Sender<Result<Prediction, PredictError>>,
}

enum Command {
    Predict(Job),
    Stop,
}

/// The thread, to be stopped.
#[derive(Debug)]
pub struct ModelThread {
    commands: mpsc::Sender<Command>,
    thread: JoinHandle<()>,
}

/// A way to the thread.
#[derive(Debug, Clone)]
pub struct ModelHandle {
    commands: mpsc::Sender<Command>,
}

impl ModelThread {
    /// Starts the thread with room for `queue` waiting conversations; it takes up to `max_batch` of
    /// them at a time. It ends by [`ModelThread::stop`] or when all handles are gone.
    pub fn start(model: Arc<dyn Model>, queue: usize, max_batch: usize) -> io::Result<Self> {
        let (commands, receiver) = mpsc::channel(queue.max(1));
        let thread = thread::Builder::new()
            .name("model".to_owned())
            .spawn(move || run(model.as_ref(), receiver, max_batch.max(1)))?;
        Ok(ModelThread { commands, thread })
    }

    /// A way to the thread.
    pub fn handle(&self) -> ModelHandle {
        ModelHandle { commands: self.commands.clone() }
    }

    /// Lets the thread answer what waits and ends it. Whether it ended within `limit`.
    pub async fn stop(self, limit: Duration) -> bool {
        let ModelThread { commands, thread } = self;
        let ended = async {
            // An error means that the thread has ended already.
            commands.send(Command::Stop).await.ok();
            commands.closed().await;
        };
        if tokio::time::timeout(limit, ended).await.is_err() {
            return false;
        }
        // The receiver is dropped as the thread's last act, so this join is immediate.
        thread.join().is_ok()
    }
}

impl ModelHandle {
    /// Asks the model about one conversation and waits for the answer until `deadline`.
    pub async fn predict(
        &self,
        conversation: Conversation,
        deadline: Instant,
    ) -> Result<Prediction, PredictError> {
        let (reply, answer) = oneshot::channel();
        let job = Command::Predict(Job { conversation, deadline, reply });
        self.commands.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => PredictError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => PredictError::Stopped,
        })?;
        match tokio::time::timeout_at(deadline, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(PredictError::Stopped),
            Err(_) => Err(PredictError::DeadlinePassed),
        }
    }
}

fn run(model: &dyn Model, mut commands: mpsc::Receiver<Command>, max_batch: usize) {
    let mut batch = Vec::with_capacity(max_batch);
    let mut stopping = false;
    while !stopping {
        let mut command = commands.blocking_recv();
        loop {
            match command {
                Some(Command::Predict(job)) => batch.push(job),
                Some(Command::Stop) | None => {
                    stopping = true;
                    break;
                }
            }
            if batch.len() == max_batch {
                break;
            }
            match commands.try_recv() {
                Ok(next) => command = Some(next),
                Err(_) => break,
            }
        }
        answer(model, &mut batch);
    }
}

/// Answers and empties the batch.
fn answer(model: &dyn Model, batch: &mut Vec<Job>) {
    let now = Instant::now();
    for job in batch.extract_if(.., |job| job.deadline <= now) {
        job.reply.send(Err(PredictError::DeadlinePassed)).ok();
    }
    // A client that has gone needs no forward pass.
    batch.retain(|job| !job.reply.is_closed());
    let conversations: Vec<_> = batch.iter().map(|job| job.conversation.clone()).collect();
    let answers = match predict(model, &conversations) {
        Ok(answers) => answers,
        // One conversation that breaks the model must not cost the others their answer.
        Err(failure) if conversations.len() > 1 => {
            tracing::warn!(%failure, size = conversations.len(), "a batch failed; asking one by one");
            conversations.chunks(1).map(|one| predict(model, one)?.remove(0)).collect()
        }
        Err(failure) => vec![Err(failure); conversations.len()],
    };
    for (job, answer) in batch.drain(..).zip(answers) {
        // An error means that the client has gone meanwhile.
        job.reply.send(answer.map_err(PredictError::Model)).ok();
    }
}

type Predictions = Vec<Result<Prediction, ModelFailure>>;

/// One result a conversation, or a failure of the whole call.
fn predict(model: &dyn Model, conversations: &[Conversation]) -> Result<Predictions, ModelFailure> {
    if conversations.is_empty() {
        return Ok(Vec::new());
    }
    // A model has no state that an unwound call could leave half-written for the next one to see:
    // `predict` takes `&self`, and a poisoned lock in it panics again, which is caught again.
    let answers = catch_unwind(AssertUnwindSafe(|| model.predict(conversations)))
        .map_err(|panic| ModelFailure::Panicked(panic_message(panic.as_ref())))?;
    if answers.len() != conversations.len() {
        let (asked, given) = (conversations.len(), answers.len());
        return Err(ModelFailure::Count { asked, given });
    }
    Ok(answers.into_iter().map(|answer| Ok(Prediction::new(answer)?)).collect())
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc as sync;

    use super::*;
    use crate::subnet::reward::{Answer, NOT_CONVERTED};

    /// A model made of a function.
    struct Fake<F>(F);

    impl<F: Fn(&[Conversation]) -> Vec<Answer> + Send + Sync> Model for Fake<F> {
        fn predict(&self, conversations: &[Conversation]) -> Vec<Answer> {
            (self.0)(conversations)
        }
    }

    fn start<F>(queue: usize, max_batch: usize, model: F) -> ModelThread
    where
        F: Fn(&[Conversation]) -> Vec<Answer> + Send + Sync + 'static,
    {
        ModelThread::start(Arc::new(Fake(model)), queue, max_batch).unwrap()
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(30)
    }

    /// The conversation whose first value is `value`; the models below answer with that confidence.
    fn conversation(value: f32) -> Conversation {
        let mut conversation = Conversation::EMPTY;
        conversation.values[0] = value;
        conversation
    }

    fn echo(conversation: &Conversation) -> Answer {
        let confidence = f64::from(conversation.values[0]);
        Answer { converted: false, time_seconds: NOT_CONVERTED, confidence }
    }

    #[tokio::test]
    async fn what_waits_becomes_one_batch() {
        let (release, gate) = sync::channel::<()>();
        let (gate, (seen, sizes)) = (Mutex::new(gate), sync::channel());
        let thread = start(8, 3, move |conversations| {
            seen.send(conversations.len()).unwrap();
            gate.lock().unwrap().recv().unwrap();
            conversations.iter().map(echo).collect()
        });
        let handle = thread.handle();
        let ask = |value: f32| {
            let handle = handle.clone();
            tokio::spawn(async move { handle.predict(conversation(value), soon()).await })
        };
        let first = ask(0.0);
        let (size, sizes) =
            tokio::task::spawn_blocking(move || (sizes.recv(), sizes)).await.unwrap();
        assert_eq!(size, Ok(1));
        let rest: Vec<_> = (1..=4).map(|index| ask(index as f32 / 8.0)).collect();
        while handle.commands.capacity() > 4 {
            tokio::task::yield_now().await;
        }
        for _ in 0..3 {
            release.send(()).unwrap();
        }
        assert_eq!(first.await.unwrap().unwrap().answer().confidence, 0.0);
        for (index, answer) in (1..).zip(rest) {
            let answer = answer.await.unwrap().unwrap().answer();
            assert_eq!(answer.confidence, f64::from(index) / 8.0, "to its own caller");
        }
        assert!(thread.stop(Duration::from_secs(10)).await);
        assert_eq!(sizes.iter().collect::<Vec<_>>(), [3, 1], "no batch is larger than allowed");
    }

    #[tokio::test]
    async fn a_full_queue_and_a_passed_deadline_are_told() {
        let (release, gate) = sync::channel::<()>();
        let (gate, (seen, sizes)) = (Mutex::new(gate), sync::channel());
        let thread = start(1, 1, move |conversations| {
            seen.send(conversations.len()).unwrap();
            gate.lock().unwrap().recv().unwrap();
            conversations.iter().map(echo).collect()
        });
        let handle = thread.handle();
        let busy = tokio::spawn({
            let handle = handle.clone();
            async move { handle.predict(conversation(0.5), soon()).await }
        });
        let sizes = tokio::task::spawn_blocking(move || sizes.recv().map(|_| sizes)).await.unwrap();
        let passed = handle.predict(conversation(0.5), Instant::now()).await;
        assert_eq!(passed, Err(PredictError::DeadlinePassed), "it still lies in the queue");
        let full = handle.predict(conversation(0.5), soon()).await;
        assert_eq!(full, Err(PredictError::Overloaded));
        release.send(()).unwrap();
        assert!(busy.await.unwrap().is_ok());
        drop(release);
        assert!(thread.stop(Duration::from_secs(10)).await);
        assert!(sizes.unwrap().recv().is_err(), "no forward pass for who has gone");
        let stopped = handle.predict(conversation(0.5), soon()).await;
        assert_eq!(stopped, Err(PredictError::Stopped));
    }

    #[tokio::test]
    async fn a_model_that_breaks_its_word_costs_one_answer_only() {
        let thread = start(8, 8, |conversations| {
            conversations
                .iter()
                .map(|conversation| match conversation.values[0] {
                    7.0 => panic!("seven"),
                    _ => echo(conversation),
                })
                .collect()
        });
        let handle = thread.handle();
        let answers = tokio::join!(
            handle.predict(conversation(0.25), soon()),
            handle.predict(conversation(7.0), soon()),
            handle.predict(conversation(0.75), soon()),
            handle.predict(conversation(2.0), soon()),
        );
        assert_eq!(answers.0.unwrap().answer().confidence, 0.25);
        let panicked = PredictError::Model(ModelFailure::Panicked("seven".to_owned()));
        assert_eq!(answers.1, Err(panicked));
        assert_eq!(answers.2.unwrap().answer().confidence, 0.75);
        let invalid = PredictError::Model(AnswerFault::Confidence(2.0).into());
        assert_eq!(answers.3, Err(invalid));
        assert!(thread.stop(Duration::from_secs(10)).await);
    }

    #[tokio::test]
    async fn too_few_answers_are_no_answer() {
        let thread = start(8, 8, |_| Vec::new());
        let answer = thread.handle().predict(conversation(0.5), soon()).await;
        let failure = ModelFailure::Count { asked: 1, given: 0 };
        assert_eq!(answer, Err(PredictError::Model(failure)));
    }

    #[tokio::test]
    async fn a_model_that_hangs_does_not_hang_the_stop() {
        let (release, gate) = sync::channel::<()>();
        let gate = Mutex::new(gate);
        let thread = start(8, 8, move |conversations| {
            gate.lock().unwrap().recv().ok();
            conversations.iter().map(echo).collect()
        });
        let handle = thread.handle();
        let hanging = tokio::spawn(async move { handle.predict(conversation(0.5), soon()).await });
        tokio::task::yield_now().await;
        assert!(!thread.stop(Duration::from_millis(50)).await);
        drop(release);
        assert!(hanging.await.unwrap().is_ok());
    }
}
