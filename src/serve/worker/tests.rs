//! Threads with models that break their word.

use std::sync::mpsc as sync;

use super::*;
use crate::model::Model;
use crate::serve::models::fakes::{Fake, conversation, each, says, sure};
use crate::subnet::reward::Answer;

const LONG: Duration = Duration::from_secs(30);

fn limits(queue: usize, max_batch: usize, threads: usize) -> ModelLimits {
    ModelLimits { queue, max_batch, threads, ..ModelLimits::default() }
}

fn start<F>(limits: ModelLimits, model: F) -> ModelThread
where
    F: Fn(&[Conversation]) -> Vec<Answer> + Send + Sync + 'static,
{
    let models = Registry::single(Arc::new(Fake(model)));
    ModelThread::start(Arc::new(models), limits).unwrap()
}

fn soon() -> Instant {
    Instant::now() + LONG
}

fn echo(conversation: &Conversation) -> Answer {
    says(f64::from(conversation.values[0]))
}

fn confidence(reply: Result<Reply, PredictError>) -> f64 {
    reply.unwrap().prediction.answer().confidence
}

/// Asks from a task of its own.
fn ask(handle: &ModelHandle, value: f32) -> tokio::task::JoinHandle<Result<Reply, PredictError>> {
    let handle = handle.clone();
    tokio::spawn(async move { handle.predict(conversation(value), soon()).await })
}

async fn waiting(handle: &ModelHandle, count: usize) {
    while handle.waiting() != count {
        tokio::task::yield_now().await;
    }
}

/// The next word, without holding up the runtime.
async fn next<T: Send + 'static>(word: sync::Receiver<T>) -> (T, sync::Receiver<T>) {
    let wait = move || (word.recv_timeout(LONG).unwrap(), word);
    tokio::task::spawn_blocking(wait).await.unwrap()
}

/// A model that tells of each batch and then waits to be let through; echoes.
#[expect(clippy::type_complexity, reason = "the parts are used once")]
fn gated() -> (
    impl Fn(&[Conversation]) -> Vec<Answer> + Send + Sync + 'static,
    sync::Receiver<usize>,
    sync::Sender<()>,
) {
    let ((seen, sizes), (release, gate)) = (sync::channel(), sync::channel::<()>());
    let gate = Mutex::new(gate);
    let model = move |conversations: &[Conversation]| {
        seen.send(conversations.len()).ok();
        gate.lock().unwrap().recv().ok();
        conversations.iter().map(echo).collect()
    };
    (model, sizes, release)
}

#[tokio::test]
async fn what_waits_becomes_one_batch() {
    let (model, sizes, release) = gated();
    let thread = start(limits(8, 3, 1), model);
    let handle = thread.handle();
    let first = ask(&handle, 0.0);
    let (size, sizes) = next(sizes).await;
    assert_eq!(size, 1);
    let rest: Vec<_> = (1..=4).map(|index| ask(&handle, index as f32 / 8.0)).collect();
    waiting(&handle, 4).await;
    drop(release);
    let first = first.await.unwrap().unwrap();
    assert_eq!((first.prediction.answer().confidence, first.batch), (0.0, 1));
    assert_eq!(&*first.model, "model");
    assert!(first.computed > Duration::ZERO);
    for (index, reply) in (1..).zip(rest) {
        let reply = reply.await.unwrap().unwrap();
        let confidence = reply.prediction.answer().confidence;
        assert_eq!(confidence, f64::from(index) / 8.0, "to its own caller");
        assert!(reply.waited > Duration::ZERO);
        assert_eq!(reply.batch, if index < 4 { 3 } else { 1 });
    }
    assert!(thread.stop(LONG).await);
    assert_eq!(sizes.try_iter().collect::<Vec<_>>(), [3, 1], "no batch is larger than allowed");
}

#[tokio::test]
async fn several_threads_work_at_once() {
    let (model, sizes, release) = gated();
    let thread = start(limits(8, 8, 2), model);
    let handle = thread.handle();
    let first = ask(&handle, 0.25);
    let (_, sizes) = next(sizes).await;
    let second = ask(&handle, 0.5);
    let (_, sizes) = next(sizes).await;
    drop(release);
    assert_eq!(confidence(first.await.unwrap()), 0.25);
    assert_eq!(confidence(second.await.unwrap()), 0.5);
    assert!(thread.stop(LONG).await);
    assert_eq!(sizes.try_iter().count(), 0);
}

#[tokio::test]
async fn a_full_queue_and_a_passed_deadline_are_told() {
    let (model, sizes, release) = gated();
    let thread = start(limits(1, 1, 1), model);
    let handle = thread.handle();
    let busy = ask(&handle, 0.5);
    let (_, sizes) = next(sizes).await;
    let passed = handle.predict(conversation(0.5), Instant::now()).await;
    assert_eq!(passed, Err(PredictError::DeadlinePassed), "it still lies in the queue");
    let full = handle.predict(conversation(0.5), soon()).await;
    assert_eq!(full, Err(PredictError::Overloaded));
    drop(release);
    assert!(busy.await.unwrap().is_ok());
    assert!(thread.stop(LONG).await);
    assert!(sizes.try_recv().is_err(), "no forward pass for who has gone");
    let stopped = handle.predict(conversation(0.5), soon()).await;
    assert_eq!(stopped, Err(PredictError::Stopped));
}

#[tokio::test]
async fn failures_are_told_where_nobody_else_can_answer() {
    let thread = start(limits(8, 8, 1), |conversations| {
        let answer = |conversation: &Conversation| match conversation.values[0] {
            7.0 => panic!("seven"),
            _ => echo(conversation),
        };
        conversations.iter().map(answer).collect()
    });
    let handle = thread.handle();
    let replies = tokio::join!(
        handle.predict(conversation(0.25), soon()),
        handle.predict(conversation(7.0), soon()),
        handle.predict(conversation(0.75), soon()),
    );
    assert_eq!(confidence(replies.0), 0.25);
    let panicked = PredictError::Model(ModelFailure::Panicked("seven".to_owned()));
    assert_eq!(replies.1, Err(panicked));
    assert_eq!(confidence(replies.2), 0.75);
    assert!(thread.stop(LONG).await);
}

#[tokio::test]
async fn who_hangs_loses_its_work_to_the_next() {
    let (model, sizes, release) = gated();
    let models: [(_, Arc<dyn Model>); 2] = [("hangs", Arc::new(Fake(model))), ("next", sure(0.2))];
    let models = Arc::new(Registry::of(models));
    let hangs_after = Duration::from_millis(40);
    let limits = ModelLimits { hangs_after, ..limits(8, 8, 1) };
    let thread = ModelThread::start(Arc::clone(&models), limits).unwrap();
    let handle = thread.handle();
    for _ in 0..3 {
        let reply = handle.predict(conversation(0.5), soon()).await.unwrap();
        assert_eq!((&*reply.model, reply.batch), ("next", 1));
    }
    assert_eq!(sizes.try_iter().count(), 1, "it was asked once");
    let statistics = models.statistics();
    assert_eq!((statistics[0].name.as_str(), statistics[0].requests), ("next", 3));
    assert_eq!((statistics[1].failures, statistics[1].healthy), (1, false));
    assert!(thread.stop(LONG).await, "a thread that was given up is not waited for");
    drop(release);
}

#[tokio::test]
async fn where_the_only_one_hangs_that_is_told() {
    let (model, sizes, release) = gated();
    let limits = ModelLimits { hangs_after: Duration::from_millis(40), ..limits(8, 8, 1) };
    let thread = start(limits, model);
    for _ in 0..2 {
        let reply = thread.handle().predict(conversation(0.5), soon()).await;
        assert_eq!(reply, Err(PredictError::Model(ModelFailure::NoModel)));
    }
    assert_eq!(sizes.try_iter().count(), 1);
    drop(release);
    assert!(thread.stop(LONG).await);
}

#[tokio::test]
async fn a_model_that_hangs_does_not_hang_the_stop() {
    let (model, _sizes, release) = gated();
    let thread = start(limits(8, 8, 1), model);
    let hanging = ask(&thread.handle(), 0.5);
    tokio::task::yield_now().await;
    assert!(!thread.stop(Duration::from_millis(50)).await);
    drop(release);
    assert!(hanging.await.unwrap().is_ok());
}

#[tokio::test]
async fn threads_end_with_the_last_way_to_them() {
    let model = each(echo);
    let watched = Arc::downgrade(&model);
    let models = Arc::new(Registry::single(model));
    let thread = ModelThread::start(models, limits(8, 8, 2)).unwrap();
    let handle = thread.handle();
    drop(thread);
    assert_eq!(confidence(handle.predict(conversation(0.5), soon()).await), 0.5);
    drop(handle);
    let started = Instant::now();
    while watched.upgrade().is_some() {
        assert!(started.elapsed() < LONG);
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_forgotten() {
    let thread = start(limits(64, 8, 2), |all| all.iter().map(echo).collect());
    let callers = (0..8).map(|caller| {
        let handle = thread.handle();
        tokio::spawn(async move {
            for round in 0..2000 {
                let value = (caller * 2000 + round) as f32 / 16_000.0;
                let reply = handle.predict(conversation(value), soon()).await;
                assert_eq!(confidence(reply), f64::from(value));
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    assert!(thread.stop(LONG).await);
}
