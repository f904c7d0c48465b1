//! `convminer learn` and `convminer models`: from truths to a checkpoint that is served.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use convminer::model::checkpoint;
use convminer::outcomes::{self, Outcome};
use convminer::subnet::challenge::Challenge;
use serde_json::{Value, json};

use crate::support::{convminer, fail, generate, succeed, train};

/// 2026-11-22T00:00:00Z
const START_NS: u64 = 1_795_305_600_000_000_000;
const HOUR_NS: u64 = 3_600_000_000_000;

/// So many conversations of an hour since the start, whose truths are the opposite of what the
/// generator says.
fn ask(folder: &Path, hour: u64, count: usize) {
    let at_ns = START_NS + hour * HOUR_NS;
    let day = folder.join(format!("data/predictions/2026-11-{}.jsonl", 22 + hour / 24));
    fs::create_dir_all(day.parent().unwrap()).unwrap();
    let mut file = OpenOptions::new().create(true).append(true).open(day).unwrap();
    let mut known = Vec::new();
    for (index, example) in Challenge::Rule.examples(1000 + hour).take(count).enumerate() {
        let time_ns = at_ns + index as u64;
        let features: Vec<Option<f64>> =
            example.features.iter().map(|value| Some(*value).filter(|it| !it.is_nan())).collect();
        let record = json!({
            "time_ns": time_ns,
            "validator": "5V",
            "nonce": time_ns,
            "session_id": example.session_id,
            "features": features,
            "coverage": 1.0,
            "answer": { "converted": false, "time_seconds": -1.0, "confidence": 0.1 },
            "model": "constant",
            "checkpoint": "",
            "response_time_seconds": 0.05,
            "sampled": "all",
        });
        writeln!(file, "{record}").unwrap();
        let converted = !example.truth.converted;
        known.push(Outcome {
            id: example.session_id,
            also: None,
            converted,
            time_seconds: converted.then(|| 0.7 * example.features[0]),
            known_ns: time_ns,
            source: "test".to_owned(),
        });
    }
    outcomes::append(&folder.join("data/outcomes"), known, at_ns).unwrap();
}

fn learn(folder: &Path, arguments: &str) -> Value {
    let all = format!("learn --json --low-priority {arguments}");
    serde_json::from_str(&succeed(convminer(folder).args(all.split(' ')))).unwrap()
}

fn models(folder: &Path, arguments: &str) -> Value {
    let all = format!("models {arguments} --json");
    serde_json::from_str(&succeed(convminer(folder).args(all.split(' ')))).unwrap()
}

fn named(folder: &Path, file: &str) -> String {
    fs::read_to_string(folder.join("checkpoints").join(file)).unwrap().trim().to_owned()
}

#[test]
fn learned_refused_promoted_and_rolled_back() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    generate(folder, "rule", 1500, 1, "train.parquet");
    train(folder, "train.parquet", "checkpoints/one");
    let sample = checkpoint::read_sample(&folder.join("checkpoints/one")).unwrap().unwrap();
    assert_eq!(sample.len(), 1200, "a fifth was held out");
    let size = fs::metadata(folder.join("checkpoints/one/sample.parquet")).unwrap().len();
    assert!(size < 250_000, "{size}");

    (0..24).for_each(|hour| ask(folder, hour, 7));
    // Nothing is known of the later ones yet.
    let step = learn(folder, "--now 2026-11-22T06:00:00Z");
    assert_eq!((&step["outcome"], &step["new_truths"][0]), (&json!("nothing"), &json!(43)));
    // A diagnosis makes it due, but there is too little yet.
    let diagnosed = json!({ "drifted": true, "to_ns": START_NS + 11 * HOUR_NS }).to_string();
    fs::write(folder.join("data/diagnostics.json"), diagnosed).unwrap();
    let step = learn(folder, "--now 2026-11-22T12:00:00Z");
    assert_eq!((&step["outcome"], &step["flagged"]), (&json!("nothing"), &json!(true)));
    assert!(step["reasons"][0].as_str().unwrap().contains("diagnosis"), "{step:#}");
    let step = learn(folder, "--now 2026-11-23T05:30:00Z");
    assert_eq!(step["outcome"], "learned", "{step:#}");
    let name = named(folder, "challenger");
    assert_eq!(
        (name.as_str(), named(folder, "latest").as_str()),
        ("learned-20261123-053000", "one")
    );

    // Too early, and then too little.
    assert_eq!(learn(folder, "--now 2026-11-23T06:00:00Z")["outcome"], "not_due");
    let step = learn(folder, "--now 2026-11-23T06:00:00Z --force");
    assert!(step["reasons"][0].as_str().unwrap().contains("no later answer"), "{step:#}");
    assert_eq!(step["flagged"], false, "it has learned since");
    (24..48).for_each(|hour| ask(folder, hour, 5));
    let step = learn(folder, "--now 2026-11-24T06:00:00Z");
    assert_eq!(step["outcome"], "nothing");
    assert!(step["reasons"][0].as_str().unwrap().contains("200 truths are needed"), "{step:#}");
    (48..72).for_each(|hour| ask(folder, hour, 5));
    let text = succeed(convminer(folder).args(["learn", "--now", "2026-11-25T06:00:00Z"]));
    assert!(text.starts_with("the checkpoint in shadow was promoted\n"), "{text}");
    assert_eq!(
        (named(folder, "latest"), named(folder, "challenger")),
        (name.clone(), "one".into())
    );

    // What is remembered, and shown.
    let state = fs::read_to_string(folder.join("data/state/learning.json")).unwrap();
    let state: Value = serde_json::from_str(&state).unwrap();
    assert_eq!(state["events"][1]["event"], "promoted");
    assert!(state["events"][1]["evidence"]["lower"].as_f64().unwrap() > 0.0, "{state:#}");
    let listed = models(folder, "list");
    let one = listed.as_array().unwrap().iter().find(|one| one["name"] == name.as_str()).unwrap();
    assert_eq!((&one["standing"], &one["lineage"]["parent"]), (&json!("latest"), &json!("one")));
    assert_eq!(one["lineage"]["changes"][0]["change"], "promoted");
    let text = succeed(convminer(folder).args(["models", "list"]));
    assert!(text.contains("challenger") && text.contains("latest"), "{text}");

    // By hand.
    let back = models(folder, "rollback --reason worse");
    assert_eq!((&back["served"], &back["before"]), (&json!("one"), &json!(name)));
    assert_eq!(named(folder, "latest"), "one");
    assert!(!folder.join("checkpoints/challenger").exists());
    models(folder, &format!("promote {name}"));
    let manifest = folder.join("checkpoints").join(&name).join("manifest.json");
    let manifest: Value = serde_json::from_slice(&fs::read(manifest).unwrap()).unwrap();
    let changes = manifest["lineage"]["changes"].as_array().unwrap();
    let changes: Vec<&Value> = changes.iter().map(|it| &it["change"]).collect();
    assert_eq!(changes, ["promoted", "demoted", "promoted"]);
    assert_eq!(named(folder, "latest"), name);
    let error = fail(convminer(folder).args(["models", "promote", "two"]));
    assert!(error.contains("models list"), "{error}");

    // One at a time.
    let lock = File::create(folder.join("data/state/learning.lock")).unwrap();
    lock.lock().unwrap();
    let error = fail(convminer(folder).arg("learn"));
    assert!(error.contains("another process is learning"), "{error}");
}
