//! Whole searches, by a clock that the trainings move.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::clock::SECOND_NS;
use crate::model::device::DeviceChoice;
use crate::subnet::challenge::Challenge;
use crate::train::observer::Stage;

/// Each network takes ten seconds by it.
#[derive(Debug, Default)]
struct NetworkClock(AtomicU64);

impl Clock for NetworkClock {
    fn now_ns(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Moves the clock, counts trials, and asks to stop after so many of them.
struct Watcher<'a> {
    clock: &'a NetworkClock,
    begun: usize,
    again: usize,
    most: usize,
}

impl Observer for Watcher<'_> {
    fn stage_started(&mut self, _stage: Stage, _member: &str, _epochs: usize, _rows: usize) {
        self.clock.0.fetch_add(10 * SECOND_NS, Ordering::Relaxed);
    }

    fn stop_requested(&mut self) -> bool {
        self.begun > self.most
    }
}

impl SearchObserver for Watcher<'_> {
    fn trial_started(&mut self, _job: Job, _rungs: usize, _rows: usize) {
        self.begun += 1;
    }

    fn training_again(&mut self, _trial: usize, _rows: usize) {
        self.again += 1;
    }
}

/// A search in a folder: what came of it, trials that were begun, and how many were trained again.
fn run(
    folder: &Path,
    trials: usize,
    minutes: Option<f64>,
    most: usize,
) -> (Result<Found, SearchError>, usize, usize) {
    let (conversations, truths): (Vec<_>, Vec<_>) = Challenge::Noisy(Default::default())
        .examples(1)
        .take(300)
        .map(|example| (Conversation::of(&example.features), example.truth))
        .unzip();
    // One network a stage of two epochs: trial 0 takes twenty seconds.
    let start = TrainConfig::from_toml(
        "folds = 1\n[[classifier]]\narchitecture = 'mlp'\nepochs = 2\nleast_steps = 0\n\
         [[regressor]]\narchitecture = 'mlp'\nepochs = 2\nleast_steps = 0\n",
    );
    let plan = SearchPlan { start: start.unwrap(), seed: 3, trials, minutes };
    let device = DeviceChoice::Cpu.open().unwrap();
    let place = Place { device: &device, name: "cpu".to_owned() };
    let clock = NetworkClock::default();
    let mut watcher = Watcher { clock: &clock, begun: 0, again: 0, most };
    let found = search(&conversations, &truths, &plan, folder, &place, &clock, &mut watcher);
    (found, watcher.begun, watcher.again)
}

#[test]
fn no_trial_ends_after_the_time_and_all_is_done_in_the_next_run() {
    let folder = tempfile::tempdir().unwrap();
    let (unbroken, broken) = (folder.path().join("a"), folder.path().join("b"));
    let whole = run(&unbroken, 5, None, usize::MAX).0.unwrap();
    assert_eq!((whole.ended, whole.trials, whole.rungs.len()), (Ended::Completed, 5, 1));
    assert_eq!(whole.records[0].seconds, 20.0, "{:?}", whole.records[0]);

    let (found, begun, again) = run(&broken, 5, Some(0.75), usize::MAX);
    let found = found.unwrap();
    assert_eq!(found.ended, Ended::OutOfTime);
    let seconds: f64 = found.records.iter().map(|record| record.seconds).sum();
    assert!(seconds <= 45.0, "{seconds}");
    // At most the last one was begun and ended before it was done, and nothing was trained twice.
    assert!((found.records.len()..=found.records.len() + 1).contains(&begun), "{begun}");
    assert!(found.unseen.is_some() && again == 0);
    // By then there was no time for another trial of the mean length.
    let mean = seconds / found.records.len() as f64;
    assert!(seconds + mean > 45.0 || begun > found.records.len(), "{seconds}");

    let finished = run(&broken, 5, None, usize::MAX).0.unwrap();
    assert_eq!(finished.records, whole.records);
    assert_eq!((finished.best, finished.unseen), (whole.best, whole.unseen));
}

#[test]
fn the_start_is_measured_in_any_time() {
    let folder = tempfile::tempdir().unwrap();
    let (found, begun, _) = run(folder.path(), 5, Some(0.01), usize::MAX);
    let found = found.unwrap();
    assert_eq!((found.best, found.records.len(), begun), (0, 1, 1));
    assert_eq!(found.unseen.map(|it| it.verdict()), Some(Verdict::IsStart));
}

#[test]
fn what_is_interrupted_does_not_count() {
    let folder = tempfile::tempdir().unwrap();
    let (found, begun, _) = run(folder.path(), 3, None, 0);
    assert!(matches!(found, Err(SearchError::Interrupted)), "{found:?}");
    assert_eq!(begun, 1);
    let (found, begun, _) = run(folder.path(), 3, None, 1);
    let found = found.unwrap();
    assert_eq!((found.ended, found.records.len(), begun), (Ended::Interrupted, 1, 2));
    // The rest, whatever was interrupted before.
    let found = run(folder.path(), 3, None, usize::MAX).0.unwrap();
    assert_eq!(found.records.iter().map(|it| it.trial).collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn a_start_that_cannot_be_is_told_before_there_is_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let device = DeviceChoice::Cpu.open().unwrap();
    let place = Place { device: &device, name: "cpu".to_owned() };
    let start = TrainConfig { folds: 1000, ..TrainConfig::default() };
    let plan = SearchPlan { start, seed: 1, trials: 1, minutes: None };
    let clock = NetworkClock::default();
    let error = search(&[], &[], &plan, &path, &place, &clock, &mut ()).unwrap_err();
    assert!(matches!(error, SearchError::Config(_)), "{error}");
    let plan = SearchPlan { start: TrainConfig::default(), ..plan };
    let error = search(&[], &[], &plan, &path, &place, &clock, &mut ()).unwrap_err();
    assert!(matches!(error, SearchError::TooFewRows(0)), "{error}");
    assert!(!path.exists());
}
