//! What the tests of this room share, and those of the whole.

use super::*;
use crate::journal::{Record, RecordedAnswer};

/// 2026-11-22T00:00:00Z.
pub(super) const BEGIN_NS: u64 = 1_795_305_600_000_000_000;

pub(super) fn yes(time_seconds: f64, confidence: f64) -> RecordedAnswer {
    RecordedAnswer { converted: true, time_seconds, confidence }
}

pub(super) fn no(confidence: f64) -> RecordedAnswer {
    RecordedAnswer { converted: false, time_seconds: -1.0, confidence }
}

/// An answer that took 3 s.
pub(super) fn resolved(time_ns: u64, answer: RecordedAnswer, truth: Truth) -> Resolved {
    let mut record = Record::sample("a", time_ns);
    record.answer = answer;
    record.response_time_seconds = 3.0;
    Resolved { record, truth, known_ns: time_ns }
}

/// Hands the scored rows to `look`.
pub(super) fn rows_of<T>(
    resolved: &[Resolved],
    spec: &RewardSpec,
    look: impl FnOnce(&[Row<'_>]) -> T,
) -> T {
    look(&rows(resolved, spec))
}

/// The window begins at [`BEGIN_NS`], and there is no checkpoint.
pub(super) fn options(spec: RewardSpec) -> DiagnoseOptions<'static> {
    let now_ns = BEGIN_NS + 30 * DAY_NS;
    DiagnoseOptions { spec, from_ns: BEGIN_NS, now_ns, checkpoint: None }
}

/// A checkpoint called `first`, as the sample record has it, that was fitted on nothing but 41 times
/// that lie evenly within 10 s of the predicted one, and says "converts" from 0.5 on.
pub(super) struct First {
    pub(super) predictor: Predictor,
    pub(super) manifest: Manifest,
    pub(super) conversations: Vec<Conversation>,
    pub(super) truths: Vec<Truth>,
}

impl First {
    pub(super) fn new() -> First {
        use crate::features::scaler::Scaler;
        use crate::model::baseline::Baseline;
        use crate::model::calibration::Calibration;
        use crate::model::decision::{Decision, Rule};
        use crate::subnet::reward::ClassWeights;

        let times: Vec<(f64, f64)> =
            (0..41).map(|row| (50.0, 40.0 + f64::from(row) * 0.5)).collect();
        let predictor = Predictor {
            scaler: Scaler::fit(&[]),
            ensemble: None,
            baseline: Baseline::constant(9, &[50.0, 51.0, 90.0]),
            calibration: Calibration::default(),
            decision: Decision::fit(Rule::Threshold(0.5), &times, 0.4),
            spec: RewardSpec::MAIN,
            class_weights: ClassWeights::START,
        };
        let mut manifest = Manifest::of(&predictor);
        manifest.data.rows = 100;
        manifest.data.converted = 40;
        manifest.data.validation_rows = 1000;
        manifest.metrics = serde_json::json!({
            "miner": {"ece": 0.02, "brier": 0.1, "log_loss": 0.3, "mean_reward": 0.45},
            "time_distribution": {"crps_seconds": 2.5},
        });
        let mut conversation = Conversation::EMPTY;
        conversation.set(0, 92.5);
        let conversations = vec![conversation; 40];
        let truths = vec![Truth::not_converted(); 40];
        First { predictor, manifest, conversations, truths }
    }

    pub(super) fn options(&self) -> DiagnoseOptions<'_> {
        let sample = Sample { conversations: &self.conversations, truths: &self.truths };
        let (manifest, predictor) = (&self.manifest, &self.predictor);
        let reference = Reference { name: "first", manifest, predictor, sample: Ok(sample) };
        DiagnoseOptions { checkpoint: Some(reference), ..options(RewardSpec::MAIN) }
    }

    /// An answer of this checkpoint: 0.35 is what its baseline says of everything.
    pub(super) fn answer(number: u64, answer: RecordedAnswer, truth: Truth) -> Resolved {
        let mut resolved = resolved(BEGIN_NS + number * 1000, answer, truth);
        resolved.record.raw_probability = Some(0.35);
        resolved.record.session_id = Some(number.to_string());
        resolved
    }
}

/// What is written is read, but for the last digit of numbers.
fn check_read_back(diagnosis: &Diagnosis) {
    let written = serde_json::to_value(diagnosis).unwrap();
    let read: Diagnosis = serde_json::from_str(&written.to_string()).unwrap();
    check_same(&serde_json::to_value(read).unwrap(), &written);
}

fn check_same(left: &serde_json::Value, right: &serde_json::Value) {
    use serde_json::Value::{Array, Number, Object};

    match (left, right) {
        (Number(left), Number(right)) => {
            let (left, right) = (left.as_f64().unwrap(), right.as_f64().unwrap());
            assert!((left - right).abs() <= 1e-12 * right.abs(), "{left} {right}");
        }
        (Array(left), Array(right)) => {
            assert_eq!(left.len(), right.len());
            left.iter().zip(right).for_each(|(left, right)| check_same(left, right));
        }
        (Object(left), Object(right)) => {
            assert!(left.keys().eq(right.keys()));
            left.values().zip(right.values()).for_each(|(left, right)| check_same(left, right));
        }
        (left, right) => assert_eq!(left, right),
    }
}

#[test]
fn the_parts_agree() {
    let first = First::new();
    let after = Truth::converted_after;
    let rows: Vec<Resolved> = (0..240)
        .map(|number| match number % 4 {
            0 => First::answer(number, yes(60.0, 0.8), after(62.0)),
            1 => First::answer(number, no(0.2), Truth::not_converted()),
            2 => First::answer(number, yes(60.0, 0.7), Truth::not_converted()),
            _ => First::answer(number, no(0.4), after(200.0)),
        })
        .collect();
    let found = diagnose(&rows, &first.options());
    assert_eq!((found.version, found.points, found.converted), (VERSION, 240, 120));
    assert_eq!(found.checkpoint.as_deref(), Some("first"));
    let near = |left: f64, right: f64| assert!((left - right).abs() < 1e-12, "{left} {right}");
    let mean = found.mean_reward.unwrap();
    near(found.lost.reward, mean);
    near(found.lost.reward + found.lost.total(), found.lost.most);
    near(found.compared[0].reward.mean, mean);
    // As `convminer replay` counts it, with the weights that change after 100 truths.
    let scored = score(&rows, &RewardSpec::MAIN);
    near(mean, scored.iter().map(|scored| scored.reward.total).sum::<f64>() / 240.0);
    near(found.validators[0].part.reward.mean, mean);
    assert_eq!(found.validators[0].positive_weight, 0.5);
    for partition in &found.segments {
        let sum = partition.parts.iter().map(|part| part.reward.mean * part.rows as f64);
        assert!((sum.sum::<f64>() / 240.0 - mean).abs() < 1e-9, "{}", partition.by);
    }
    near(found.days[0].reward.unwrap().mean, mean);
    // Nobody could do better without any time: no part of that.
    let oracle = found.compared.iter().find(|one| one.way == Way::Truth).unwrap();
    near(oracle.reward.mean, found.lost.most - found.lost.latency);
    assert_eq!(found.ece, Some(found.calibration.as_ref().unwrap().sent.ece));
    assert_eq!(found.calibration.as_ref().unwrap().validation_ece, Some(0.02));
    assert_eq!(found.times.validation_crps_seconds, Some(2.5));
    assert_eq!((found.coverage.len(), found.coverage[0].rows), (3, 120));
    assert!(found.drifted && !found.reasons.is_empty(), "{:?}", found.checks);
    check_read_back(&found);
    assert_eq!(diagnose(&rows, &first.options()), found);
}

#[test]
fn nothing_and_one_answer() {
    let first = First::new();
    let found = diagnose(&[], &first.options());
    assert_eq!((found.points, found.mean_reward, found.ece), (0, None, None));
    assert!(!found.drifted);
    check_read_back(&found);
    let one = [First::answer(1, yes(60.0, 0.8), Truth::converted_after(66.0))];
    for options in [first.options(), options(RewardSpec::GUIDE)] {
        let found = diagnose(&one, &options);
        assert_eq!((found.points, found.mean_reward_error), (1, None));
        assert_eq!((found.days.len(), found.best_threshold_offset.as_ref()), (1, None));
        assert!(!found.drifted && found.features.not_available.is_some());
        check_read_back(&found);
    }
}

#[test]
fn a_sample_is_noted() {
    let mut rows = [1, 2, 3].map(|at| resolved(BEGIN_NS + at, no(0.1), Truth::not_converted()));
    rows.iter_mut().for_each(|row| row.record.sampled = Sampled::All);
    assert!(diagnose(&rows, &options(RewardSpec::MAIN)).notes.is_empty());
    rows[1].record.sampled = Sampled::Margin;
    let found = diagnose(&rows, &options(RewardSpec::MAIN));
    let [note] = &found.notes[..] else { panic!("{:?}", found.notes) };
    assert!(note.starts_with("1 of 3 answers are a sample"), "{note}");
    check_read_back(&found);
}

/// What was answered before the window does not count, and does not change what counts.
#[test]
fn the_window_is_scored_by_itself() {
    let right = |day: u64| resolved(BEGIN_NS + day * DAY_NS, no(0.1), Truth::not_converted());
    let all: Vec<Resolved> = (0..150).map(|_| right(1)).chain((0..10).map(|_| right(9))).collect();
    let options = DiagnoseOptions { from_ns: BEGIN_NS + 5 * DAY_NS, ..options(RewardSpec::MAIN) };
    let found = diagnose(&all, &options);
    assert_eq!(found.points, 10);
    // After 100 truths of one class that class is worth nothing, were they counted.
    assert!((found.mean_reward.unwrap() - 0.465).abs() < 1e-12);
    assert_eq!(found, diagnose(&all[150..], &options));
}
