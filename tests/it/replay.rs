//! `convminer replay` and `convminer calibrate --from-journal`: what was answered, scored once more.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use serde_json::Value;
use tempfile::TempDir;

use convminer::clock::{Clock as _, DAY_NS, Moment, SECOND_NS, SystemClock};
use convminer::features::Conversation;
use convminer::journal::{Record, RecordedAnswer, Sampled};
use convminer::model::calibration::{choose, fit};
use convminer::model::checkpoint;
use convminer::model::{Model as _, Predictor};
use convminer::outcomes::{self, Outcome};
use convminer::subnet::challenge::{Challenge, NoisyRates};
use convminer::subnet::reward::{Answer, Truth};

use crate::support::{convminer, examples, fail, succeed};

const MINUTE_NS: u64 = 60 * SECOND_NS;
const VALIDATORS: [&str; 3] = ["5Alice", "5Bob", "5Charlie"];

/// A folder like a miner's, with the records and truths that were put into it.
struct Miner {
    folder: TempDir,
    records: Vec<Record>,
    truths: HashMap<String, Truth>,
}

fn record(id: &str, time_ns: u64, validator: &str, features: Conversation) -> Record {
    Record {
        time_ns,
        validator: validator.to_owned(),
        nonce: time_ns + 7,
        session_id: Some(id.to_owned()),
        test_pk: None,
        coverage: features.coverage(),
        features,
        raw_probability: None,
        calibrated: None,
        answer: RecordedAnswer { converted: false, time_seconds: -1.0, confidence: 0.25 },
        time_quantiles: None,
        model: "ensemble".to_owned(),
        checkpoint: "default".to_owned(),
        response_time_seconds: 0.05,
        sampled: Sampled::All,
        shadow: None,
    }
}

/// What looks like chance, but is the same each time.
fn mixed(row: u64, salt: u64) -> f64 {
    let mut bits = (row * 97 + salt).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    ((bits ^ (bits >> 32)) >> 11) as f64 / (1_u64 << 53) as f64
}

/// 700 answers to three validators over ten days, of which most have a known truth.
fn miner() -> Miner {
    let folder = tempfile::tempdir().unwrap();
    let (conversations, labels) = examples(Challenge::Noisy(NoisyRates::default()), 700, 5);
    let start_ns = SystemClock.now_ns() - 11 * DAY_NS;
    let mut records = Vec::new();
    let mut truths = HashMap::new();
    for (row, (conversation, truth)) in (0..).zip(conversations.into_iter().zip(labels)) {
        let id = format!("conversation-{row}");
        let validator = VALIDATORS[(mixed(row, 1) * 3.0) as usize];
        let mut one = record(&id, start_ns + row * 20 * MINUTE_NS, validator, conversation);
        if mixed(row, 2) < 0.6 {
            let time_seconds = 40.0 + 50.0 * mixed(row, 3);
            let confidence = mixed(row, 4);
            one.answer = RecordedAnswer { converted: true, time_seconds, confidence };
        }
        one.response_time_seconds = 70.0 * mixed(row, 5).powi(4);
        one.model = if mixed(row, 6) < 0.8 { "ensemble" } else { "baseline" }.to_owned();
        if mixed(row, 7) < 0.5 {
            // The name of its truth is another one then.
            one.test_pk = Some(format!("published-{row}"));
        }
        records.push(one);
        if mixed(row, 8) < 0.9 {
            let name = records.last().unwrap().id().unwrap().to_owned();
            let unknown = truth.converted && mixed(row, 9) < 0.1;
            let time_seconds = if unknown { f64::NAN } else { truth.time_seconds };
            truths.insert(name, Truth { time_seconds, ..truth });
        }
    }
    let miner = Miner { folder, records, truths };
    miner.write();
    miner
}

impl Miner {
    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes all files, each day's lines in another order than that of time, and some twice.
    fn write(&self) {
        let folder = self.path().join("data/predictions");
        fs::create_dir_all(&folder).unwrap();
        let mut days: HashMap<String, Vec<String>> = HashMap::new();
        for (row, record) in (0..).zip(&self.records) {
            let lines = days.entry(Moment::of_ns(record.time_ns).date()).or_default();
            let line = serde_json::to_string(record).unwrap() + "\n";
            lines.extend((mixed(row, 10) < 0.03).then(|| line.clone()));
            lines.push(line);
        }
        for (day, mut lines) in days {
            lines.reverse();
            fs::write(folder.join(format!("{day}.jsonl")), lines.concat()).unwrap();
        }
        let outcome = |(id, truth): (&String, &Truth)| Outcome {
            id: id.clone(),
            converted: truth.converted,
            time_seconds: Some(truth.time_seconds).filter(|time| *time > 0.0),
            known_ns: SystemClock.now_ns(),
            also: None,
            source: "test".to_owned(),
        };
        let all = self.truths.iter().map(outcome).collect();
        outcomes::append(&self.path().join("data/outcomes"), all, SystemClock.now_ns()).unwrap();
    }

    /// The rewards of these answers, counted apart from the program: each with its record.
    fn rewards(&self, answer: impl Fn(&Record) -> Answer) -> Vec<(&Record, f64)> {
        let mut weights: HashMap<&str, (f64, f64)> = HashMap::new();
        let mut seen: HashMap<&str, Vec<bool>> = HashMap::new();
        let mut rewards = Vec::new();
        for record in &self.records {
            let Some(truth) = self.truths.get(record.id().unwrap()) else { continue };
            let (positive, negative) = *weights.entry(&record.validator).or_insert((0.375, 0.625));
            let answer = answer(record);
            let right = answer.converted == truth.converted;
            let weight = if truth.converted { positive } else { negative };
            let class = if right { weight } else { 0.0 };
            let off = (answer.time_seconds - truth.time_seconds).abs();
            let both = answer.converted && truth.converted && !off.is_nan();
            let time = if both { (1.0 - off / 15.0).max(0.0) } else { 0.0 };
            let quick = (1.0 - record.response_time_seconds / 60.0).max(0.0);
            rewards.push((record, 0.8 * (0.55 * class + 0.45 * time) + 0.2 * quick));
            let truths = seen.entry(&record.validator).or_default();
            truths.push(truth.converted);
            if truths.len() == 100 {
                let converted = truths.drain(..).filter(|converted| *converted).count() as f64;
                weights.insert(&record.validator, (1.0 - converted / 100.0, converted / 100.0));
            }
        }
        rewards
    }
}

fn mean(rewards: &[(&Record, f64)]) -> f64 {
    rewards.iter().map(|(_, reward)| reward).sum::<f64>() / rewards.len() as f64
}

fn ema(rewards: &[(&Record, f64)]) -> f64 {
    rewards.iter().fold(0.0, |ema, (_, reward)| 0.1 * reward + 0.9 * ema)
}

fn near(found: &Value, expected: f64) {
    let found = found.as_f64().unwrap();
    assert!((found - expected).abs() < 1e-9, "expected {expected}, found {found}");
}

fn replay(folder: &Path, arguments: &[&str]) -> Value {
    let arguments = [&["replay", "--json"], arguments].concat();
    serde_json::from_str(&succeed(convminer(folder).args(arguments))).unwrap()
}

/// The checkpoint that comes with the project.
fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("checkpoints/default")
}

fn predictor(path: &Path) -> Predictor {
    checkpoint::load(path, &Device::flex()).unwrap()
}

#[test]
fn rewards_are_those_of_an_independent_count() {
    let miner = miner();
    let rewards = miner.rewards(|record| record.answer.into());
    let report = replay(miner.path(), &[]);
    near(&report["mean_reward"], mean(&rewards));
    near(&report["ema"], ema(&rewards));
    assert_eq!(report["answers"], rewards.len());
    let joined = &report["joined"];
    assert_eq!((&joined["records"], &joined["resolved"]), (&700.into(), &rewards.len().into()));
    assert_eq!(joined["unresolved"], 700 - rewards.len());
    let unknown = miner.truths.values().filter(|truth| truth.time_seconds.is_nan()).count();
    assert!(unknown > 5 && joined["time_unknown"] == unknown, "{joined}");
    assert!(joined["duplicates"].as_u64().unwrap() > 5, "{joined}");

    for (validator, found) in VALIDATORS.iter().zip(report["validators"].as_array().unwrap()) {
        let own: Vec<_> =
            rewards.iter().filter(|(record, _)| record.validator == *validator).copied().collect();
        assert!(own.len() > 100, "the weights must have changed");
        assert_eq!(
            (&found["validator"], &found["answers"]),
            (&(*validator).into(), &own.len().into())
        );
        near(&found["mean_reward"], mean(&own));
        near(&found["ema"], ema(&own));
        assert_ne!(found["class_weights"]["positive"], 0.375);
    }
    for (model, found) in ["baseline", "ensemble"].iter().zip(report["models"].as_array().unwrap())
    {
        let own: Vec<_> =
            rewards.iter().filter(|(record, _)| record.model == *model).copied().collect();
        assert_eq!((&found["model"], &found["checkpoint"]), (&(*model).into(), &"default".into()));
        near(&found["mean_reward"], mean(&own));
    }
    let no = Answer { converted: false, time_seconds: -1.0, confidence: 0.0 };
    near(&report["constants"]["always_no"], mean(&miner.rewards(|_| no)));
    let time_seconds = report["constants"]["best_time_seconds"].as_f64().unwrap();
    let yes = Answer { converted: true, time_seconds, confidence: 1.0 };
    near(&report["constants"]["always_yes"], mean(&miner.rewards(|_| yes)));

    // The lines say the same, one by one and in order.
    let results = fs::read_to_string(miner.path().join(report["results"].as_str().unwrap()));
    let results = results.unwrap();
    assert_eq!(results.lines().count(), rewards.len());
    for (line, (record, reward)) in results.lines().zip(&rewards) {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["id"], record.id().unwrap());
        near(&line["reward"]["total"], *reward);
    }
}

#[test]
fn another_checkpoint_is_asked() {
    let miner = miner();
    let path = shipped();
    let said = predictor(&path);
    let rewards = miner.rewards(|record| said.predict(std::slice::from_ref(&record.features))[0]);
    let own = miner.rewards(|record| record.answer.into());
    let out = ["--checkpoint", path.to_str().unwrap(), "--out", "results.jsonl"];
    let report = replay(miner.path(), &out);
    near(&report["mean_reward"], mean(&own));
    let other = &report["what_if"];
    assert_eq!(other["checkpoint"], "default");
    // Alone, a conversation is computed by other code than in a batch: to 1e-5 the same.
    let close = |found: &Value, expected: f64| {
        assert!((found.as_f64().unwrap() - expected).abs() < 1e-5, "{found} {expected}");
    };
    close(&other["mean_reward"], mean(&rewards));
    let difference = &other["difference"];
    close(&difference["mean"], mean(&rewards) - mean(&own));
    let bound = |name: &str| difference[name].as_f64().unwrap();
    assert!(bound("low") > 0.0 && bound("low") < bound("mean") && bound("mean") < bound("high"));
    assert_eq!(other["validators"].as_array().unwrap().len(), 3);

    let results = fs::read_to_string(miner.path().join("results.jsonl")).unwrap();
    let again: Vec<Value> =
        results.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let total: f64 =
        again.iter().map(|line| line["what_if"]["reward"]["total"].as_f64().unwrap()).sum();
    near(&other["mean_reward"], total / again.len() as f64);

    let shown = succeed(convminer(miner.path()).arg("replay").args(out));
    for expected in
        ["all  ", "validator 5Alice", "ensemble of default", "always no", "more a request"]
    {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
}

#[test]
fn days_and_specs_are_chosen() {
    let miner = miner();
    let report = replay(miner.path(), &["--days", "5"]);
    let records = report["joined"]["records"].as_u64().unwrap();
    assert!(records > 200 && records < 400, "{records}");
    let then = Moment::of_ns(SystemClock.now_ns() - 5 * DAY_NS).rfc3339();
    let earlier = replay(miner.path(), &["--days", "5", "--now", &then]);
    let before = earlier["joined"]["records"].as_u64().unwrap();
    assert!(before > 340 && before < 380, "five days of 72, and an hour: {before}");
    let main = replay(miner.path(), &[]);
    let api = replay(miner.path(), &["--reward-spec", "api"]);
    assert_eq!(
        (&api["reward_spec"], &api["parts"]["class"]),
        (&"api".into(), &main["parts"]["class"])
    );
    assert!(api["mean_reward"].as_f64() > main["mean_reward"].as_f64(), "it waits for longer");
    // Results never take the place of others.
    assert_eq!(fs::read_dir(miner.path().join("data/replay")).unwrap().count(), 2 * 4);
}

#[test]
fn the_summary_is_kept_and_a_sample_is_told() {
    let mut miner = miner();
    let run = |folder: &Path| {
        let output = convminer(folder).args(["replay", "--json"]).output().unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        (report, String::from_utf8(output.stderr).unwrap())
    };
    let (report, stderr) = run(miner.path());
    let kept = report["results"].as_str().unwrap().replace(".jsonl", ".summary.json");
    let kept = fs::read(miner.path().join(kept)).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&kept).unwrap(), report);
    assert_eq!(report["joined"]["sampled"], 0);
    assert!(!stderr.contains("sample"), "{stderr}");

    for record in &mut miner.records[600..] {
        record.sampled = Sampled::High;
    }
    fs::remove_dir_all(miner.path().join("data")).unwrap();
    miner.write();
    let (report, stderr) = run(miner.path());
    assert_eq!(report["joined"]["sampled"], 100);
    assert_eq!(stderr.matches("warning: 100 of 700 requests").count(), 1, "{stderr}");
    assert!(stderr.contains("cannot be known exactly"), "{stderr}");
}

#[test]
fn what_is_torn_is_told_and_the_rest_counts() {
    let miner = miner();
    let before = replay(miner.path(), &[]);
    let folder = miner.path().join("data/predictions");
    let mut days: Vec<PathBuf> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    days.sort();
    let last = days.last().unwrap();
    let line = serde_json::to_string(&miner.records[0]).unwrap();
    let torn = fs::read_to_string(last).unwrap() + "{\"no\": \"record\"}\n" + &line[..300];
    fs::write(last, torn).unwrap();
    let output = convminer(miner.path()).args(["replay", "--json"]).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["mean_reward"], before["mean_reward"]);
    assert_eq!(
        (&report["joined"]["torn"], &report["joined"]["unreadable"]),
        (&1.into(), &1.into())
    );
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("warning: `data/predictions/"), "{stderr}");
}

#[test]
fn what_is_missing_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |arguments: &[&str]| fail(convminer(folder.path()).arg("replay").args(arguments));
    let stderr = refused(&[]);
    assert!(stderr.contains("in `data/predictions`, but it is no folder"), "{stderr}");
    assert!(stderr.contains("hint: `convminer serve` writes"), "{stderr}");

    let path = folder.path().join("data/predictions");
    fs::create_dir_all(&path).unwrap();
    assert!(refused(&[]).contains("but there are none"));
    let now_ns = SystemClock.now_ns();
    let one = record("a", now_ns, "5Alice", Conversation::EMPTY);
    let file = path.join(format!("{}.jsonl", Moment::of_ns(now_ns).date()));
    fs::write(file, serde_json::to_string(&one).unwrap() + "\n").unwrap();
    let stderr = refused(&[]);
    assert!(stderr.contains("expected some of the 1 requests"), "{stderr}");
    assert!(stderr.contains("hint: `convminer outcomes import`"), "{stderr}");
    assert!(!folder.path().join("data/replay").exists());

    // How much serve writes is another setting than where it is, whatever the flag is called.
    let set = [("CONVMINER_JOURNAL", "sampled"), ("CONVMINER_JOURNAL_DIR", "elsewhere")];
    let stderr = fail(convminer(folder.path()).arg("replay").envs(set));
    assert!(stderr.contains("in `elsewhere`, but it is no folder"), "{stderr}");
    assert!(refused(&["--journal", "else"]).contains("in `else`, but it is no folder"));

    let stderr = refused(&["--checkpoint", "nowhere"]);
    assert!(stderr.contains("`nowhere` is not a checkpoint"), "{stderr}");
    let stderr = refused(&["--reward-spec", "best"]);
    assert!(stderr.contains("one of `main`, `api` and `guide`"), "{stderr}");
    assert!(refused(&["--days", "0"]).contains("0 is not in 1.."));
}

/// A miner whose checkpoint `own` answered what it would, and whose confidence is far too low.
fn with_own_checkpoint() -> (Miner, Vec<f64>) {
    let mut miner = miner();
    let own = miner.path().join("checkpoints/own");
    fs::create_dir_all(&own).unwrap();
    for file in checkpoint::files_of(&shipped()) {
        fs::copy(&file, own.join(file.file_name().unwrap())).unwrap();
    }
    let predictor = predictor(&own);
    assert!(predictor.ensemble.is_some());
    let mut raw = Vec::new();
    for (row, record) in (0..).zip(&mut miner.records) {
        let opinion = predictor.explain(std::slice::from_ref(&record.features))[0];
        record.set_opinion(&opinion);
        record.checkpoint = if row % 10 == 0 { "elsewhere" } else { "own" }.to_owned();
        raw.push(record.raw_probability.unwrap());
        let converted = mixed(row, 11) < record.raw_probability.unwrap().sqrt();
        if let Some(truth) = miner.truths.get_mut(record.id().unwrap()) {
            *truth = if converted { Truth::converted_after(60.0) } else { Truth::not_converted() };
        }
    }
    fs::remove_dir_all(miner.path().join("data")).unwrap();
    miner.write();
    (miner, raw)
}

#[test]
fn a_checkpoint_is_calibrated_on_what_it_answered() {
    let (miner, raw) = with_own_checkpoint();
    let rows = miner.records.iter().zip(&raw).filter_map(|(record, raw)| {
        let is_own = record.model == "ensemble" && record.checkpoint == "own";
        let truth = miner.truths.get(record.id().unwrap()).filter(|_| is_own)?;
        Some((*raw, truth.converted))
    });
    let (raw, converted): (Vec<f64>, Vec<bool>) = rows.unzip();
    let calibrate = "calibrate --checkpoint checkpoints/own --from-journal --json";
    let report = succeed(convminer(miner.path()).args(calibrate.split(' ')));
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["rows"], raw.len());
    let choice = choose(10, &raw, &converted);
    let expected = fit(choice.lowest, 10, &raw, &converted);
    assert_ne!(report["method"], "none");
    let found: convminer::model::calibration::Calibration =
        serde_json::from_value(report["calibration"].clone()).unwrap();
    for probability in [0.02, 0.1, 0.3, 0.5, 0.9] {
        let difference = found.apply(probability) - expected.apply(probability);
        assert!(difference.abs() < 1e-6, "{found} {expected}");
    }
    assert!(report["after"]["log_loss"].as_f64() < report["before"]["log_loss"].as_f64());
    let left_out = &report["left_out"];
    assert!(left_out["other_checkpoint"].as_u64() > Some(40), "{left_out}");
    assert!(left_out["other_model"].as_u64() > Some(80), "{left_out}");
    assert_eq!(left_out["not_reproduced"], 0);
    let path = miner.path().join("checkpoints/own/calibration.json");
    let written: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    assert_eq!(written, report["calibration"]);
}

#[test]
fn too_little_to_calibrate_on_is_refused() {
    let (miner, _) = with_own_checkpoint();
    let refused =
        |arguments: &str| fail(convminer(miner.path()).arg("calibrate").args(arguments.split(' ')));
    let stderr = refused("--checkpoint checkpoints/own --from-journal --days 1");
    assert!(stderr.contains("expected requests of the last 1 days"), "{stderr}");
    let stderr = refused("--checkpoint checkpoints/own --from-journal --days 2");
    assert!(stderr.contains("expected at least 100 labelled rows to calibrate on"), "{stderr}");
    assert!(stderr.contains("of other checkpoints, "), "{stderr}");
    // What another checkpoint of the same name says is not what was answered.
    fs::rename(miner.path().join("checkpoints/own"), miner.path().join("checkpoints/elsewhere"))
        .unwrap();
    let stderr = refused("--checkpoint checkpoints/elsewhere --from-journal --days 2");
    assert!(stderr.contains("left out: "), "{stderr}");
    let stderr = refused("--checkpoint checkpoints/elsewhere");
    assert!(stderr.contains("hint: --from-journal takes what was answered"), "{stderr}");
}
