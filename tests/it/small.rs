//! Small and odd tables: each trains to something sane, or is refused in a clear sentence.

use std::fs;

use convminer::features::Conversation;
use convminer::model::checkpoint::{self, Manifest};
use convminer::model::device::DeviceChoice;
use convminer::model::predictor::Predictor;
use convminer::model::{Model as _, calibration::Calibration};
use convminer::subnet::challenge::Challenge;
use convminer::subnet::reward::{NOT_CONVERTED, Truth};
use convminer::subnet::schema::position;
use convminer::train::capacity::{Choice, Comparison};
use convminer::train::member::MemberConfig;
use convminer::train::observer::{Observer, StageReport};
use convminer::train::{TrainConfig, TrainError, Trained, cross_validate, train};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use crate::support::{Labelled, QUICK, convminer, examples, fail, generate, signal, succeed};

const DURATION: usize = position("conversation_duration_seconds");
const RATIO: usize = position("message_ratio");
const ENTITIES: usize = position("entities_collected_count");
const LENGTH: usize = position("avg_message_length_user");

/// A conversation of four numbers.
fn conversation(random: &mut ChaCha8Rng) -> Conversation {
    let mut conversation = Conversation::EMPTY;
    for (feature, range) in
        [(DURATION, 30.0..300.0), (RATIO, 0.5..2.0), (ENTITIES, 0.0..8.0), (LENGTH, 10.0..90.0)]
    {
        conversation.set(feature, random.random_range(range));
    }
    conversation
}

fn truth(time_seconds: Option<f64>) -> Truth {
    Truth { converted: time_seconds.is_some(), time_seconds: time_seconds.unwrap_or(NOT_CONVERTED) }
}

/// Rows that differ, the first ones converted after a minute or so: nothing says which do.
fn noise(rows: usize, converted: usize, seed: u64) -> Labelled {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    (0..rows)
        .map(|row| {
            let time = random.random_range(40.0..80.0);
            (conversation(&mut random), truth((row < converted).then_some(time)))
        })
        .unzip()
}

/// Rows as they were once published: four in five are empty, and of the others every fifth
/// converts, the likelier the more entities there are.
fn published(rows: usize, seed: u64) -> Labelled {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    (0..rows)
        .map(|row| {
            if row % 5 > 0 {
                let mut empty = Conversation::EMPTY;
                empty.set(DURATION, random.random_range(0.0..9.0));
                empty.set(RATIO, 0.0);
                empty.set(ENTITIES, 0.0);
                return (empty, truth(None));
            }
            let conversation = conversation(&mut random);
            let probability = f64::from(conversation.values[ENTITIES]) / 20.0;
            let time = random.random_range(20.0..200.0);
            (conversation, truth(random.random_bool(probability).then_some(time)))
        })
        .unzip()
}

/// Networks that are trained in a moment.
fn quick() -> TrainConfig {
    TrainConfig::from_toml(QUICK).map(|config| TrainConfig { folds: 0, ..config }).unwrap()
}

fn trained((conversations, truths): &Labelled, config: &TrainConfig) -> Trained {
    let device = DeviceChoice::Cpu.open().unwrap();
    train(conversations, truths, config, &device, &mut ()).unwrap()
}

fn choice(trained: &Trained) -> &Choice {
    trained.choice.as_ref().unwrap()
}

fn loss(comparison: &Comparison, name: &str) -> f64 {
    let candidate = comparison.candidates.iter().find(|candidate| candidate.name == name);
    candidate.and_then(|candidate| candidate.loss).unwrap()
}

/// All confidences, each checked together with its answer.
fn confidences(predictor: &Predictor, conversations: &[Conversation]) -> Vec<f64> {
    let answers = predictor.predict(conversations);
    assert!(answers.iter().all(|answer| answer.check().is_ok()), "{answers:?}");
    answers.iter().map(|answer| answer.confidence).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Whatever the table, the miner answers validly, and is neither certain nor far from the share
/// that converted.
#[test]
fn odd_tables_train() {
    let empty: Labelled = (
        vec![Conversation::EMPTY; 50],
        (0..50).map(|row| truth((row < 5).then_some(60.0))).collect(),
    );
    let mut one_column = noise(60, 20, 3);
    for conversation in &mut one_column.0 {
        let duration = conversation.values[DURATION];
        *conversation = Conversation::EMPTY;
        conversation.values[DURATION] = duration;
        conversation.set(RATIO, 1.5);
    }
    let mut doubled = noise(50, 12, 4);
    doubled.0.extend(doubled.0.clone());
    doubled.1.extend(doubled.1.clone());
    let mut contradicting = noise(50, 12, 5);
    contradicting.0.extend(contradicting.0.clone());
    contradicting.1.extend(vec![truth(None); 50]);
    // (name, rows, warning)
    for (name, table, warning) in [
        ("ten rows", noise(10, 3, 1), "only 3 rows converted"),
        ("ten rows, one converted", noise(10, 1, 1), "one conversation alone is of its class"),
        ("none converted", noise(100, 0, 2), "all rows have the same class"),
        ("all converted", noise(100, 100, 2), "all rows have the same class"),
        ("one converted", noise(100, 1, 2), "one conversation alone is of its class"),
        ("all but one converted", noise(100, 99, 2), "one conversation alone is of its class"),
        ("two converted", noise(100, 2, 2), "only 2 rows converted"),
        ("all missing", empty, "all conversations are the same"),
        ("constant and missing columns", one_column, ""),
        ("doubled rows", doubled, ""),
        ("rows that contradict each other", contradicting, "only 12 rows converted"),
    ] {
        let trained = trained(&table, &quick());
        let share =
            table.1.iter().filter(|truth| truth.converted).count() as f64 / table.1.len() as f64;
        let confidences = confidences(&trained.predictor, &table.0);
        let mean = mean(&confidences);
        assert!((mean - share).abs() < 0.06, "{name}: {mean}, but {share} converted");
        assert!(confidences.iter().all(|it| *it > 0.0 && *it < 1.0), "{name}: {confidences:?}");
        assert!(trained.evaluation.miner.log_loss.is_finite(), "{name}");
        let warnings = trained.warnings.join("\n");
        assert!(warnings.contains(warning), "{name}: {warnings}");
        assert_eq!(trained.held_out.rows.len(), table.1.len(), "{name}");
    }
}

#[test]
fn too_few_rows_are_refused() {
    let (conversations, truths) = noise(9, 3, 1);
    let device = DeviceChoice::Cpu.open().unwrap();
    let error = train(&conversations, &truths, &quick(), &device, &mut ()).unwrap_err();
    let expected = "expected at least 10 labelled rows to train on, but there are 9";
    assert_eq!(error.to_string(), expected);
    let error = cross_validate(&conversations, &truths, &quick(), 3, &device, &mut ()).unwrap_err();
    assert!(matches!(error, TrainError::TooManyFolds { .. }), "{error}");
}

/// Where nothing separates, one probability for all is what is right. By luck something else wins
/// on a few noise tables in a hundred, by a hundredth of a nat at most; not on these.
#[test]
fn the_constant_wins_on_noise() {
    for (converted, seed) in [(100, 1), (60, 2), (8, 3)] {
        let table = noise(200, converted, seed);
        let trained = trained(&table, &quick());
        assert_eq!(choice(&trained).class.chosen, "constant", "{converted}: {:?}", trained.choice);
        let fresh = noise(100, 0, seed + 100).0;
        // Jeffreys' prior: half a row of each class more.
        let expected = (converted as f64 + 0.5) / 201.0;
        for confidence in confidences(&trained.predictor, &fresh) {
            assert!((confidence - expected).abs() < 0.02, "{confidence}, expected {expected}");
        }
        assert_eq!(trained.evaluation.miner.auc, Some(0.5));
    }
}

/// Copies on both sides of a split would let a model look up what it should predict.
#[test]
fn copies_teach_nothing() {
    let (conversations, truths) = noise(60, 25, 7);
    let table = (vec![conversations; 5].concat(), truths.repeat(5));
    let trained = trained(&table, &quick());
    assert_eq!(choice(&trained).class.chosen, "constant", "{:?}", trained.choice);
    assert_eq!(trained.predictor.calibration, Calibration::Identity);
}

#[test]
fn what_separates_is_found() {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let table: Labelled = (0..300)
        .map(|_| {
            let conversation = conversation(&mut random);
            let converts = conversation.values[RATIO] + conversation.values[ENTITIES] / 8.0 > 1.75;
            (conversation, truth(converts.then_some(60.0)))
        })
        .unzip();
    let trained = trained(&table, &quick());
    let class = &choice(&trained).class;
    assert_ne!(class.chosen, "constant");
    assert!(loss(class, &class.chosen) < 0.5 * loss(class, "constant"), "{class:?}");
    assert!(trained.evaluation.miner.auc.unwrap() > 0.95);
}

/// A hundred rows, about four of them converted: the confidences on fresh rows of the kind come
/// true, and tell the empty ones from the others.
#[test]
fn confidences_come_true_on_fresh_rows() {
    let fresh = published(5000, 99);
    let share = fresh.1.iter().filter(|truth| truth.converted).count() as f64 / 5000.0;
    let mut said = Vec::new();
    let mut learned = 0;
    for seed in 1..=10 {
        let table = published(100, seed);
        let converted = table.1.iter().filter(|truth| truth.converted).count() as f64;
        let trained = trained(&table, &TrainConfig::default());
        let confidences = confidences(&trained.predictor, &fresh.0);
        let mean = mean(&confidences);
        // As sure as its rows were.
        assert!((mean - (converted + 0.5) / 101.0).abs() < 0.025, "{seed}: {mean}, {converted}");
        said.push(mean);
        let losses = |sure: &dyn Fn(usize) -> f64| -> f64 {
            let loss = |(row, truth): (usize, &Truth)| {
                -(if truth.converted { sure(row) } else { 1.0 - sure(row) }).ln()
            };
            fresh.1.iter().enumerate().map(loss).sum()
        };
        learned += usize::from(losses(&|row| confidences[row]) < losses(&|_| share));
    }
    assert!((mean(&said) - share).abs() < 0.015, "{said:?}, but {share} convert");
    assert!(learned >= 8, "{learned} of 10 say more than the share itself");
}

/// Rows of which so many converted, whose time is a line of the duration or has nothing to do with
/// anything.
fn timed(rows: usize, converted: usize, known: bool) -> Labelled {
    let mut random = ChaCha8Rng::seed_from_u64(5);
    (0..rows)
        .map(|row| {
            let conversation = conversation(&mut random);
            let line = 0.6 * f64::from(conversation.values[DURATION]);
            let time = if known { line } else { random.random_range(20.0..180.0) };
            (conversation, truth((row < converted).then_some(time)))
        })
        .unzip()
}

/// The default networks: how good they are is the point here.
#[test]
fn a_regressor_must_earn_its_place() {
    for (converted, known, chosen) in [(60, true, true), (19, true, false), (60, false, false)] {
        let table = timed(120, converted, known);
        let few_steps = |member: &MemberConfig| MemberConfig { least_steps: 300, ..member.clone() };
        let default = TrainConfig::default();
        let config = TrainConfig {
            classifier: default.classifier.iter().map(few_steps).collect(),
            regressor: default.regressor.iter().map(few_steps).collect(),
            ..default
        };
        let trained = trained(&table, &config);
        let time = &choice(&trained).time;
        assert_eq!(time.chosen != "best constant", chosen, "{converted} {known}: {time:?}");
        let regressors = trained.predictor.ensemble.as_ref();
        let regressors = regressors.map_or(0, |it| it.config().regressors.len());
        assert_eq!(regressors > 0, chosen, "{converted} {known}");
    }
}

/// Networks that say when beside a baseline that says whether: saved and loaded like any other.
#[test]
fn a_miner_with_regressors_only() {
    // Too few that did not convert for a network that says whether, enough for one that says when.
    let table = timed(200, 185, true);
    let trained = trained(&table, &TrainConfig::default());
    let ensemble = trained.predictor.ensemble.as_ref().unwrap();
    assert!(ensemble.config().classifiers.is_empty() && !ensemble.config().regressors.is_empty());

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    checkpoint::save(&path, &trained.predictor, Manifest::of(&trained.predictor)).unwrap();
    let loaded = checkpoint::load(&path, &DeviceChoice::Cpu.open().unwrap()).unwrap();
    let estimates = trained.predictor.estimate(&table.0);
    assert_eq!(loaded.estimate(&table.0), estimates);
    assert!(estimates.iter().all(|estimate| !estimate.fallback));
    assert!(estimates.iter().any(|estimate| estimate.time_seconds > 100.0));
    assert!(estimates.iter().any(|estimate| estimate.time_seconds < 60.0));
}

#[test]
fn the_seed_decides_the_choice_and_the_weights() {
    let table = examples(Challenge::Rule, 300, 3);
    let of = |seed| {
        let trained = trained(&table, &TrainConfig { seed, ..quick() });
        let estimates = trained.predictor.estimate(&table.0);
        (trained.choice, estimates, trained.predictor.calibration)
    };
    let first = of(1);
    assert!(first.0.as_ref().is_some_and(|choice| choice.time.chosen != "best constant"));
    assert_eq!(of(1), first);
    assert_ne!(of(2), first);
}

/// An observer that asks to stop from some moment on.
struct Impatient {
    patience: usize,
}

impl Observer for Impatient {
    fn stage_ended(&mut self, _report: &StageReport) {
        panic!("the trainings of a comparison are not told one by one");
    }

    fn stop_requested(&mut self) -> bool {
        self.patience = self.patience.saturating_sub(1);
        self.patience == 0
    }
}

#[test]
fn an_interrupted_comparison_chooses_among_what_it_has() {
    let (conversations, truths) = published(100, 1);
    let device = DeviceChoice::Cpu.open().unwrap();
    // A hundred fits a penalty: at 150, the second one has done whole repeats only in part.
    // (stops asked for until one is wanted, candidates compared)
    for (patience, expected) in [(1, 1), (150, 3), (usize::MAX, 5)] {
        let observer = &mut Impatient { patience };
        let trained =
            train(&conversations, &truths, &TrainConfig::default(), &device, observer).unwrap();
        let compared = choice(&trained).class.candidates.iter().filter(|it| it.loss.is_some());
        assert_eq!(compared.count(), expected, "{patience}: {:?}", trained.choice);
        let warned = trained.warnings.iter().any(|warning| warning.contains("interrupted"));
        assert_eq!(warned, patience < usize::MAX, "{:?}", trained.warnings);
    }
}

#[test]
fn cross_validation_by_hand() {
    // Nothing separates, so each fold's miner says its own share.
    let (conversations, truths) = noise(100, 20, 1);
    let device = DeviceChoice::Cpu.open().unwrap();
    let result = cross_validate(&conversations, &truths, &quick(), 5, &device, &mut ()).unwrap();
    assert_eq!((result.rows, result.converted, result.evaluations.len()), (100, 20, 5));
    let always_no = result.always_no.accuracy.unwrap();
    assert!((always_no.mean - 0.8).abs() < 1e-12 && always_no.deviation.unwrap() < 1e-12);
    assert!(result.evaluations.iter().all(|it| it.rows == 20 && it.converted == 4));
    let mean = result.evaluations.iter().map(|it| it.miner.log_loss).sum::<f64>() / 5.0;
    assert!((result.miner.log_loss.unwrap().mean - mean).abs() < 1e-12);
    // Within noise of the entropy of 0.2, which is 0.5004.
    assert!((mean - 0.5004).abs() < 0.02, "{mean}");
}

#[test]
fn cross_validation_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    generate(folder, "rule", 200, 1, "a.parquet");
    fs::write(folder.join("quick.toml"), QUICK).unwrap();
    let arguments = "train --data a.parquet --config quick.toml --cv 3";
    let table = succeed(convminer(folder).args(arguments.split(' ')));
    for word in ["this training", "at threshold 0.5", "always no", "3 of 3 folds, 200 rows"] {
        assert!(table.contains(word), "{word} is not in\n{table}");
    }
    let json = succeed(convminer(folder).args(arguments.split(' ')).arg("--json"));
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["evaluations"].as_array().unwrap().len(), 3);
    for score in ["accuracy", "auc", "log_loss", "brier", "ece", "time_mae_seconds", "mean_reward"]
    {
        for way in ["miner", "at_half", "baseline"] {
            let spread = &json[way][score];
            assert!(
                spread["mean"].is_f64() && spread["deviation"].is_f64(),
                "{way} {score}: {json}"
            );
        }
    }
    assert!(!folder.join("checkpoints").exists());
    for (arguments, expected) in [
        ("train --data a.parquet --cv 3 --out b", "cannot be used with"),
        ("train --data a.parquet --cv 1", "1 is not in 2..=1000"),
        ("train --data a.parquet --cv 500", "500 folds of 200 rows cannot be"),
    ] {
        let stderr = fail(convminer(folder).args(arguments.split(' ')));
        assert!(stderr.contains(expected), "{arguments}:\n{stderr}");
    }
}

/// Ctrl-C ends a cross-validation; what two folds gave by then would be told, and one gives nothing.
#[cfg(unix)]
#[test]
fn cross_validation_can_be_interrupted() {
    use std::time::{Duration, Instant};

    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    generate(folder, "rule", 2500, 1, "a.parquet");
    let endless = "folds = 1\n[[classifier]]\nepochs = 1000000\npatience = 1000000\n";
    fs::write(folder.join("endless.toml"), endless).unwrap();
    let log = fs::File::create(folder.join("log")).unwrap();
    let mut child = convminer(folder)
        .args("train --data a.parquet --config endless.toml --cv 3".split(' '))
        .stderr(log)
        .spawn()
        .unwrap();
    let log = || fs::read_to_string(folder.join("log")).unwrap();
    let started = Instant::now();
    while !log().contains("at most 1000000 epochs") {
        assert!(started.elapsed() < Duration::from_secs(60), "it did not start: {}", log());
        std::thread::sleep(Duration::from_millis(50));
    }
    signal(&child, "INT");
    assert_eq!(child.wait().unwrap().code(), Some(2), "{}", log());
    assert!(log().contains("interrupted before two folds were done"), "{}", log());
}
