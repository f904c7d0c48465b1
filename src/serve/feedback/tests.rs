//! A miner that hears of truths, with files and a clock that stands where it is put.

use std::fs;
use std::path::Path;

use super::*;
use crate::clock::DAY_NS;
use crate::journal::Record;
use crate::outcomes::{Outcome, append};
use crate::serve::live::Refresh;
use crate::serve::models::fakes::checkpoint;
use crate::serve::monitor::Snapshot;
use crate::tune::{self, Limits, Parameter, Rules, SetClock, Wish};

const START: u64 = 20_414 * DAY_NS; // 2025-11-22
const HOUR: u64 = 3600 * SECOND_NS;

struct Scene {
    folder: tempfile::TempDir,
    options: FeedbackOptions,
}

impl Scene {
    fn new() -> Scene {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("checkpoint"), "first 1").unwrap();
        fs::create_dir(at("journal")).unwrap();
        let options = FeedbackOptions {
            journal: at("journal"),
            outcomes: at("outcomes"),
            state_dir: at("state"),
            recalibrate: true,
            models: Arc::new(checkpoint(&at("checkpoint"))),
            adjusting: Arc::default(),
            intervals: Arc::default(),
        };
        Scene { folder, options }
    }

    fn feedback(&self) -> Feedback {
        Feedback::new(self.options.clone())
    }

    fn at(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// Writes into the journal that these were asked, a second each from START on, when the ensemble
    /// said 0.23.
    fn asked(&self, ids: std::ops::Range<u64>) {
        let record = |id: u64| Record {
            raw_probability: Some(0.23),
            ..Record::sample(&id.to_string(), START + id * SECOND_NS)
        };
        write(&self.options.journal, ids.map(record));
    }

    /// Writes down what became of them.
    fn became(&self, ids: std::ops::Range<u64>, converted: impl Fn(u64) -> bool) {
        let outcome = |id: u64| Outcome {
            id: id.to_string(),
            converted: converted(id),
            time_seconds: converted(id).then_some(60.0),
            known_ns: START + DAY_NS,
            also: None,
            source: "test".to_owned(),
        };
        append(&self.options.outcomes, ids.map(outcome).collect(), START + DAY_NS).unwrap();
    }

    fn confidence(&self, calibrated: f64) -> f64 {
        self.options.adjusting.current().confidence(calibrated)
    }

    fn mean_reward(&self) -> Option<f64> {
        self.options.models.statistics()[0].mean_reward
    }
}

fn write(journal: &Path, records: impl Iterator<Item = Record>) {
    let mut text = fs::read_to_string(journal.join("2025-11-22.jsonl")).unwrap_or_default();
    for record in records {
        text += &(serde_json::to_string(&record).unwrap() + "\n");
    }
    fs::write(journal.join("2025-11-22.jsonl"), text).unwrap();
}

fn truths(feedback: &Feedback) -> Option<Truths> {
    feedback.view().look(Snapshot::default()).truths
}

const QUICK: f64 = 0.2 * (1.0 - 0.05 / 60.0);

#[test]
fn a_truth_counts_once_and_the_later_one_wins() {
    let scene = Scene::new();
    let mut feedback = scene.feedback();
    scene.asked(0..4);
    feedback.step(START + HOUR);
    assert_eq!((truths(&feedback), scene.mean_reward()), (None, None));
    scene.became(0..2, |id| id == 0);
    feedback.step(START + 2 * HOUR);
    // One of the two "does not convert" was right: 0.8*0.55*0.625 for it.
    let known = truths(&feedback).unwrap();
    assert_eq!(known.known, 2);
    assert!((known.mean_reward.unwrap() - (0.275 / 2.0 + QUICK)).abs() < 1e-12);
    assert_eq!(scene.mean_reward(), known.mean_reward);
    // What is looked at again, written again or said again counts no more than before.
    scene.asked(0..4);
    scene.became(0..2, |id| id == 0);
    for hours in 3..6 {
        feedback.step(START + hours * HOUR);
    }
    assert_eq!(truths(&feedback).unwrap(), known);
    scene.became(0..3, |_| false);
    feedback.step(START + 6 * HOUR);
    let known = truths(&feedback).unwrap();
    assert_eq!(known.known, 3);
    assert!((known.mean_reward.unwrap() - (0.275 + QUICK)).abs() < 1e-12, "all three right");
    assert_eq!(known.reliability[0].converted_rate, 0.0);
    // What was asked long ago is forgotten.
    scene.asked(9..10);
    feedback.step(START + 31 * DAY_NS);
    assert_eq!(feedback.memory.len(), 0);
}

/// 0.23 is said of what converts four times in five.
#[test]
fn the_confidence_is_corrected_while_that_helps() {
    let scene = Scene::new();
    let mut feedback = scene.feedback();
    scene.asked(0..300);
    scene.became(0..99, |id| id % 5 != 0);
    feedback.step(START + HOUR);
    assert_eq!(scene.confidence(0.25), 0.25, "too few truths");
    scene.became(99..150, |id| id % 5 != 0);
    feedback.step(START + 2 * HOUR);
    // With q = 2^(-1/500), (1 - q^150) / (1 - q) = 135.6 rows, of which four fifths converted, and 50
    // of 0.25: (108.5 + 12.5) / 185.6.
    assert!((scene.confidence(0.25) - 0.652).abs() < 0.005, "{}", scene.confidence(0.25));
    let shown = feedback.view().look(Snapshot::default()).recalibration.unwrap();
    assert!(shown.in_force && shown.truths == 150 && shown.gain > shown.standard_error);

    // Another calibration of the same checkpoint: what was learned is about the one before.
    fs::write(scene.at("checkpoint"), "first 0.5").unwrap();
    assert_eq!(scene.options.models.refresh(), Refresh::Replaced);
    feedback.step(START + 3 * HOUR);
    let learned = scene.options.adjusting.current().recalibration.clone().unwrap();
    assert_eq!(learned.of, "first 0.5");
    // It says 1 / (1 + (0.77 / 0.23)^2) = 0.0819 of all of them, which is another bin.
    assert!(learned.apply(0.0819) > 0.5 && learned.apply(0.25) == 0.25);

    // Another checkpoint: nothing is known of it yet, but what the ensemble's name has earned.
    fs::write(scene.at("checkpoint"), "second 1").unwrap();
    assert_eq!(scene.options.models.refresh(), Refresh::Replaced);
    feedback.step(START + 4 * HOUR);
    assert_eq!(scene.confidence(0.25), 0.25);
    assert_eq!(feedback.learned.judgement, Judgement::default());
    fs::write(scene.at("checkpoint"), "first 1").unwrap();
    assert_eq!(scene.options.models.refresh(), Refresh::Replaced);
    feedback.step(START + 5 * HOUR);
    assert!(scene.confidence(0.25) > 0.6, "it is learned again from the journal");
}

/// Three validators ask about the same 50 conversations. Each answer earned its reward, but there are
/// 50 truths to learn from, which is too few.
#[test]
fn a_truth_teaches_once_however_many_ask() {
    let scene = Scene::new();
    let mut feedback = scene.feedback();
    let asked = (0..150_u64).map(|row| Record {
        raw_probability: Some(if row % 3 == 0 { 0.23 } else { 0.77 }),
        validator: format!("validator {}", row % 3),
        ..Record::sample(&(row / 3).to_string(), START + row * SECOND_NS)
    });
    write(&scene.options.journal, asked);
    scene.became(0..50, |id| id % 5 != 0);
    feedback.step(START + HOUR);
    assert_eq!(truths(&feedback).unwrap().known, 150);
    let learned = &feedback.learned;
    assert_eq!((learned.judgement.truths, learned.judgement.compared), (50, 50));
    // The first answer to each is what it learns from: 0.23, of what converts four times in five.
    let bins = &learned.recalibration.as_ref().unwrap().bins.bins;
    assert!(bins[2].rows > 40.0 && bins[7].rows == 0.0, "{bins:?}");
    assert_eq!(scene.confidence(0.25), 0.25);
}

#[test]
fn who_does_not_want_it_is_not_corrected() {
    let mut scene = Scene::new();
    scene.options.recalibrate = false;
    let mut feedback = scene.feedback();
    scene.asked(0..150);
    scene.became(0..150, |id| id % 5 != 0);
    feedback.step(START + HOUR);
    assert_eq!(scene.confidence(0.25), 0.25);
    let shown = feedback.view().look(Snapshot::default()).recalibration.unwrap();
    assert!(!shown.in_force && shown.gain > shown.standard_error, "{shown:?}");
}

#[test]
fn what_was_learned_outlives_the_process_and_the_journal() {
    let scene = Scene::new();
    let mut feedback = scene.feedback();
    scene.asked(0..150);
    scene.became(0..150, |id| id % 5 != 0);
    feedback.step(START + HOUR);
    let before = scene.confidence(0.25);
    let saved = serde_json::to_string(&*feedback.view().saved()).unwrap();
    let saved: SavedFeedback = serde_json::from_str(&saved).unwrap();

    let mut later = Feedback::new(FeedbackOptions {
        adjusting: Arc::default(),
        journal: scene.at("gone"),
        ..scene.options.clone()
    });
    later.restore(saved.clone());
    for hours in 2..4 {
        later.step(START + hours * HOUR);
        let now = later.options.adjusting.current().confidence(0.25);
        assert!((now - before).abs() < 1e-9, "{now} {before}");
        assert_eq!(truths(&later).unwrap().known, 150);
    }
    // Of another calibration it says nothing.
    fs::write(scene.at("checkpoint"), "first 0.5").unwrap();
    let models = Arc::new(checkpoint(&scene.at("checkpoint")));
    let adjusting: Arc<Adjusting> = Arc::default();
    let options = FeedbackOptions { models, adjusting, ..later.options.clone() };
    let mut other = Feedback::new(options);
    other.restore(saved);
    assert_eq!(other.options.adjusting.current().recalibration, None);
}

#[test]
fn what_is_tuned_is_in_force_and_what_is_broken_is_not() {
    let scene = Scene::new();
    tune::record_start(&scene.options.state_dir, START).unwrap();
    let mut feedback = scene.feedback();
    let tuning = tune::Tuning {
        state_dir: scene.options.state_dir.clone(),
        rules: Rules::default(),
        now_by_hand_ns: None,
        limits: Limits::default(),
        clock: Arc::new(SetClock(START + 60 * DAY_NS)),
    };
    let wish = Wish {
        parameter: Parameter::ThresholdOffset,
        to: 0.02,
        reason: "a test wants it".to_owned(),
    };
    assert!(tuning.apply(&wish).unwrap().entry.is_some());
    feedback.step(START);
    assert_eq!(scene.options.adjusting.current().threshold_offset, 0.02);
    let shown = || feedback.view().look(Snapshot::default()).tuning.unwrap();
    assert_eq!((shown().parameters["threshold_offset"], shown().refused), (0.02, None));
    assert_eq!(shown().parameters["low_interval_seconds"], 1800.0);

    let history = tune::history_path(&scene.options.state_dir);
    let text = fs::read_to_string(&history).unwrap();
    fs::write(&history, text.replace("0.02", "0.03")).unwrap();
    feedback.step(START + HOUR);
    assert_eq!(scene.options.adjusting.current().threshold_offset, 0.02, "what was in force stays");
    let refused = feedback.view().look(Snapshot::default()).tuning.unwrap().refused.unwrap();
    assert!(refused.contains("not as it was written"), "{refused}");
    // From the start a broken history counts as none.
    assert_eq!(scene.feedback().tuning.current().threshold_offset, 0.0);
    fs::write(&history, text).unwrap();
    feedback.step(START + 2 * HOUR);
    assert_eq!(feedback.view().look(Snapshot::default()).tuning.unwrap().refused, None);
}

#[test]
fn unreadable_truths_are_tried_again() {
    let scene = Scene::new();
    let mut feedback = scene.feedback();
    scene.asked(0..2);
    scene.became(0..2, |_| false);
    // A link to itself cannot be read.
    let link = scene.options.outcomes.join("a.jsonl");
    std::os::unix::fs::symlink(&link, &link).unwrap();
    feedback.step(START + HOUR);
    assert!(truths(&feedback).is_none() && feedback.told.is_some());
    fs::remove_file(&link).unwrap();
    feedback.step(START + 2 * HOUR);
    assert_eq!(truths(&feedback).unwrap().known, 2);
}
