//! `convminer diagnose`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use convminer::clock::{Clock as _, DAY_NS, Moment, SystemClock};
use convminer::diagnosis::Diagnosis;
use convminer::features::Conversation;
use convminer::journal::{Record, RecordedAnswer, Sampled};
use convminer::model::Model as _;
use convminer::model::checkpoint;
use convminer::outcomes::{self, Outcome};
use convminer::subnet::challenge::{Challenge, Example, NoisyRates};
use serde_json::Value;

use crate::support::{convminer, fail, generate, succeed, train};

/// Answers of a checkpoint to generated conversations, as `serve` would log them, and what became
/// of these, both in `folder/data`. They lie evenly in the last so many days.
struct Logged<'a> {
    folder: &'a Path,
    checkpoint: &'a Path,
    days: u64,
    now_ns: u64,
}

impl Logged<'_> {
    fn write(&self, examples: &[Example], edit: &dyn Fn(usize, &mut Record)) {
        let device = convminer::model::device::DeviceChoice::Cpu.open().unwrap();
        let model = checkpoint::load(self.checkpoint, &device).unwrap();
        let conversations: Vec<Conversation> = examples.iter().map(conversation).collect();
        let opinions = model.explain(&conversations);
        let step = self.days * DAY_NS / examples.len() as u64;
        let mut files: BTreeMap<String, String> = BTreeMap::new();
        let mut truths = Vec::new();
        for (index, (example, opinion)) in examples.iter().zip(&opinions).enumerate() {
            let time_ns = self.now_ns - (examples.len() - index) as u64 * step + step / 2;
            let features = conversations[index].clone();
            let mut record = Record {
                time_ns,
                validator: [
                    "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY",
                    "5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty",
                ][index % 5 / 4]
                    .to_owned(),
                nonce: time_ns,
                session_id: Some(example.session_id.clone()),
                test_pk: None,
                coverage: features.coverage(),
                features,
                raw_probability: None,
                calibrated: None,
                answer: RecordedAnswer { converted: false, time_seconds: -1.0, confidence: 0.0 },
                time_quantiles: None,
                model: "ensemble".to_owned(),
                checkpoint: self.checkpoint.file_name().unwrap().to_string_lossy().into_owned(),
                response_time_seconds: 0.04 + (index % 17) as f64 * 0.02,
                sampled: Sampled::All,
                shadow: None,
            };
            record.set_opinion(opinion);
            edit(index, &mut record);
            let line = serde_json::to_string(&record).unwrap();
            let file = files.entry(Moment::of_ns(time_ns).date()).or_default();
            file.push_str(&line);
            file.push('\n');
            let truth = example.truth;
            truths.push(Outcome {
                id: example.session_id.clone(),
                converted: truth.converted,
                time_seconds: truth.converted.then_some(truth.time_seconds),
                known_ns: time_ns + DAY_NS / 4,
                also: None,
                source: "test".to_owned(),
            });
        }
        let journal = self.folder.join("data/predictions");
        fs::create_dir_all(&journal).unwrap();
        for (date, lines) in files {
            fs::write(journal.join(format!("{date}.jsonl")), lines).unwrap();
        }
        outcomes::append(&self.folder.join("data/outcomes"), truths, self.now_ns).unwrap();
    }
}

fn conversation(example: &Example) -> Conversation {
    let mut conversation = Conversation::EMPTY;
    for (index, value) in example.features.iter().enumerate() {
        conversation.set(index, *value);
    }
    conversation
}

fn noisy(rows: usize, seed: u64) -> Vec<Example> {
    Challenge::Noisy(NoisyRates::default()).examples(seed).take(rows).collect()
}

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("checkpoints/default")
}

fn read(path: &Path) -> Diagnosis {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn numbers_tables_and_page() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    generate(folder, "noisy", 1500, 1, "train.parquet");
    train(folder, "train.parquet", "checkpoints/first");
    let checkpoint = folder.join("checkpoints/first");
    let now_ns = SystemClock.now_ns();
    let logged = Logged { folder, checkpoint: &checkpoint, days: 10, now_ns };
    logged.write(&noisy(600, 2), &|_, _| ());
    let arguments = ["diagnose", "--window", "7d", "--html", "diagnosis.html"];
    let table = succeed(convminer(folder).args(arguments));
    for words in ["lost to class", "oracle (the truth)", "by validator", "drifted: no", "medium"] {
        assert!(table.contains(words), "{words} is not in\n{table}");
    }
    for line in table.lines() {
        assert!(line.chars().count() <= 80, "{} columns: {line}", line.chars().count());
    }
    let found = read(&folder.join("data/diagnostics.json"));
    assert_eq!((found.points, found.days.len()), (420, 8), "{:?}", found.days);
    assert!(!found.drifted, "{:?}", found.checks);
    assert_eq!(found.features.not_available, None);
    assert!(found.best_threshold_offset.is_some());
    // What led up to the window is in its first rolling average.
    assert!(found.days[0].rolling_rows > found.days[0].rows + 150, "{:?}", found.days[0]);
    // As replay over the same days, and as another program reads it.
    let replay = succeed(convminer(folder).args(["replay", "--days", "7", "--json"]));
    let replay: Value = serde_json::from_str(&replay).unwrap();
    let text = replay.to_string();
    let mean = found.mean_reward.unwrap();
    assert!(mentions(&replay, mean), "{mean} is not in {text}");
    let html = fs::read_to_string(folder.join("diagnosis.html")).unwrap();
    for word in ["http:", "https:", "<script", "<link", "<img", "@import", "url(", "NaN"] {
        assert!(!html.contains(word), "{word}");
    }
    let json = succeed(convminer(folder).args(["diagnose", "--json", "--quiet"]));
    let json: Diagnosis = serde_json::from_str(&json).unwrap();
    assert_eq!(json.reward_spec, "main");
}

/// Whether a number is anywhere in a document, but for rounding.
fn mentions(value: &Value, number: f64) -> bool {
    match value {
        Value::Number(found) => found.as_f64().is_some_and(|found| (found - number).abs() < 1e-9),
        Value::Array(values) => values.iter().any(|value| mentions(value, number)),
        Value::Object(values) => values.values().any(|value| mentions(value, number)),
        _ => false,
    }
}

/// What was answered after `--now`, or in the far future, does not count, as in replay; and a sample is
/// told.
#[test]
fn the_window_has_an_end() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let now_ns = SystemClock.now_ns();
    let logged = Logged { folder, checkpoint: &shipped(), days: 10, now_ns };
    // One an hour.
    logged.write(&noisy(240, 6), &|index, record| {
        if index < 200 {
            record.sampled = Sampled::High;
        }
    });
    let now = format!("--now={}", Moment::of_ns(now_ns - 3 * DAY_NS).rfc3339());
    let replay = succeed(convminer(folder).args(["replay", "--days", "2", "--json", &now]));
    let replay: Value = serde_json::from_str(&replay).unwrap();
    let output = convminer(folder).args(["diagnose", "--window", "2d", &now]).output().unwrap();
    let warned = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{warned}");
    let found = read(&folder.join("data/diagnostics.json"));
    assert!((48..=49).contains(&found.points), "{}", found.points);
    assert!(mentions(&replay, found.mean_reward.unwrap()), "{replay}");
    assert!(warned.contains("answers are a sample of what was answered"), "{warned}");
    assert!(found.notes[0].contains("class weights"), "{:?}", found.notes);
}

/// Another kind of conversation than was trained on.
#[test]
fn a_drift_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let now_ns = SystemClock.now_ns();
    let logged = Logged { folder, checkpoint: &shipped(), days: 6, now_ns };
    let examples: Vec<Example> = Challenge::Template.examples(3).take(300).collect();
    logged.write(&examples, &|_, _| ());
    let checkpoint = shipped();
    let arguments = ["diagnose", "--checkpoint", checkpoint.to_str().unwrap(), "--quiet"];
    let table = succeed(convminer(folder).args(arguments));
    assert!(table.contains("drifted: yes"), "{table}");
    let found = read(&folder.join("data/diagnostics.json"));
    assert!(found.reasons.iter().any(|reason| reason.starts_with("calibration")), "{found:?}");
}

#[test]
fn nothing_and_one() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let error = fail(convminer(folder).arg("diagnose"));
    assert!(error.contains("expected answers of the last 7 days in `data/predictions`"), "{error}");
    assert!(!folder.join("data/diagnostics.json").exists());
    let now_ns = SystemClock.now_ns();
    let logged = Logged { folder, checkpoint: &shipped(), days: 1, now_ns };
    logged.write(&noisy(1, 5), &|_, _| ());
    // There is no checkpoint in this folder.
    let table =
        succeed(convminer(folder).args(["diagnose", "--window", "48h", "--html", "a/b.html"]));
    assert!(table.contains("1 answers with a known truth"), "{table}");
    assert!(folder.join("a/b.html").is_file());
    fs::remove_dir_all(folder.join("data/outcomes")).unwrap();
    let error = fail(convminer(folder).arg("diagnose"));
    assert!(error.contains("to have a known truth, but none has"), "{error}");
    let error = fail(convminer(folder).args(["diagnose", "--window", "7"]));
    assert!(error.contains("7d or 24h"), "{error}");
}

/// A month in which conversations change on day 20, for people: the page lies in the folder that it
/// names.
#[test]
#[ignore = "makes a page for people to look at"]
fn a_page_to_look_at() {
    let folder = std::env::temp_dir().join("convminer-diagnosis");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    generate(&folder, "noisy", 3000, 1, "train.parquet");
    train(&folder, "train.parquet", "checkpoints/first");
    let checkpoint = folder.join("checkpoints/first");
    let now_ns = SystemClock.now_ns();
    let logged = Logged { folder: &folder, checkpoint: &checkpoint, days: 30, now_ns };
    let mut examples = noisy(2000, 2);
    let rates = NoisyRates::new(0.25, 14.0, 0.2).unwrap();
    examples.extend(Challenge::Noisy(rates).examples(3).take(700));
    examples.extend(Challenge::Template.examples(4).take(300));
    logged.write(&examples, &|_, _| ());
    let page = folder.join("diagnosis.html");
    let arguments = ["diagnose", "--window", "30d", "--html", page.to_str().unwrap()];
    let table = succeed(convminer(&folder).args(arguments));
    fs::write(folder.join("table.txt"), table).unwrap();
    assert!(page.is_file());
}
