//! What a miner keeps over a restart, and what it learns while it serves.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use convminer::features::table::{LabelMode, read};
use convminer::outcomes::{Outcome, append};
use convminer::replay::{Window, resolved, score};
use convminer::subnet::reward::RewardSpec;
use serde_json::{Value, json};

use crate::operating::{log, shipped, start, wait_until, wallet};
use crate::serve::Miner;
use crate::support::{convminer, generate, signal, succeed, transcript};

/// What the operator's listener says at a path.
fn look(folder: &Path, path: &str) -> String {
    let log = log(folder);
    let (_, rest) = log.rsplit_once("dashboard are at http://").unwrap();
    let (address, _) = rest.split_once('/').unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text.split_once("\r\n\r\n").unwrap().1.to_owned()
}

pub(crate) fn stats(folder: &Path) -> Value {
    serde_json::from_str(&look(folder, "/stats.json")).unwrap()
}

/// The statistics of the ensemble.
fn ensemble(folder: &Path) -> Value {
    let stats = stats(folder);
    let models = stats["models"].as_array().unwrap();
    models.iter().find(|model| model["name"] == "ensemble").unwrap().clone()
}

fn ask(miner: &Miner, folder: &Path) {
    succeed(&mut miner.query(folder, "ask.parquet"));
}

/// Writes down what became of the conversations that are asked about.
fn tell_truths(folder: &Path) {
    let table = read(&folder.join("ask.parquet"), LabelMode::Required { drop_invalid: false });
    let table = table.unwrap();
    let (ids, truths) = (table.session_ids.into_iter().flatten(), table.truths.unwrap());
    let outcome = |(id, truth): (String, convminer::subnet::reward::Truth)| Outcome {
        id,
        converted: truth.converted,
        time_seconds: truth.converted.then_some(truth.time_seconds),
        known_ns: 1_800_000_000_000_000_000,
        also: None,
        source: "test".to_owned(),
    };
    let outcomes = ids.zip(truths).map(outcome).collect();
    append(&folder.join("data/outcomes"), outcomes, 1_800_000_000_000_000_000).unwrap();
}

/// Where a miner keeps what it knows of its models.
fn models_of(miner: &Miner, folder: &Path) -> PathBuf {
    folder.join(format!("data/state/models.{}.json", miner.hotkey))
}

#[test]
fn truths_are_learned_while_serving_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    generate(folder, "noisy", 40, 3, "ask.parquet");
    let wallet = wallet(folder);
    let shipped = shipped();
    let flags = ["--allow-unregistered", &shipped];
    let mut miner = start(folder, &wallet, &flags);
    ask(&miner, folder);
    assert_eq!(
        (ensemble(folder)["requests"].as_u64(), &stats(folder)["truths"]),
        (Some(40), &Value::Null)
    );
    tell_truths(folder);
    let known = || stats(folder)["truths"]["known"].as_u64();
    wait_until("the truths", folder, || known() == Some(40));

    // As replay counts it.
    let window = Window::default();
    let (all, _) =
        resolved(&folder.join("data/predictions"), &folder.join("data/outcomes"), window).unwrap();
    let rewards = score(&all, &RewardSpec::MAIN);
    let mean = rewards.iter().map(|scored| scored.reward.total).sum::<f64>() / 40.0;
    let stats_before = stats(folder);
    let found = stats_before["truths"]["mean_reward"].as_f64().unwrap();
    assert!((found - mean).abs() < 1e-12, "{found} {mean}");
    let before = ensemble(folder);
    assert!((before["mean_reward"].as_f64().unwrap() - mean).abs() < 1e-12, "{before}");
    assert_eq!(stats_before["recalibration"]["truths"], 40);
    assert_eq!(stats_before["recalibration"]["in_force"], false, "40 truths say too little");
    let metrics = look(folder, "/metrics");
    for line in [
        "convminer_truths_known 40",
        "convminer_recalibration_in_force 0",
        "convminer_tuning{parameter=\"threshold_offset\"} 0.0",
        "convminer_tuning_refused 0",
        "convminer_journal_written_total 40",
        "convminer_journal_failing 0",
        "convminer_state_save_failures_total 0",
    ] {
        assert!(metrics.lines().any(|it| it == line), "{line} is not in\n{metrics}");
    }

    let apply = "tune apply threshold_offset 0.01 --reason test --first-days 0";
    succeed(convminer(folder).args(apply.split(' ')));
    wait_until("tuned", folder, || {
        stats(folder)["tuning"]["parameters"]["threshold_offset"] == 0.01
    });
    signal(&miner.child, "TERM");
    assert!(miner.child.wait().unwrap().success(), "{}", log(folder));
    let shown = succeed(convminer(folder).args(["state", "show"]));
    assert!(shown.contains("ensemble: 40 conversations, 0 failures, of default"), "{shown}");
    assert!(shown.contains("the truth of 40 answers is known, mean reward"), "{shown}");
    assert!(shown.contains("threshold_offset 0.01"), "{shown}");
    let shown: Value =
        serde_json::from_str(&succeed(convminer(folder).args(["state", "show", "--json"])))
            .unwrap();
    let held: Vec<&Value> = shown.as_array().unwrap().iter().map(|entry| &entry["holds"]).collect();
    assert_eq!(held, [&json!("feedback"), &json!("models"), &json!("nonces"), &json!("tuning")]);
    succeed(convminer(folder).args(["state", "check"]));

    // Even where nothing else is left.
    fs::remove_dir_all(folder.join("data/predictions")).unwrap();
    let _miner = start(folder, &wallet, &flags);
    let now = stats(folder);
    assert_eq!(now["truths"]["known"], 40);
    for (key, value) in before.as_object().unwrap() {
        // A sum that was written and read may differ in its last digit.
        match (value.as_f64(), ensemble(folder)[key].as_f64()) {
            (Some(before), Some(after)) => assert!((before - after).abs() < 1e-12, "{key}"),
            (_, _) => assert_eq!(&ensemble(folder)[key], value, "{key}"),
        }
    }
    assert_eq!(now["tuning"]["parameters"]["threshold_offset"], 0.01);
}

#[test]
fn a_crash_loses_little_and_a_damaged_file_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    generate(folder, "noisy", 20, 3, "ask.parquet");
    let wallet = wallet(folder);
    let shipped = shipped();
    let flags = ["--allow-unregistered", "--state-interval=0.1", &shipped];
    let mut miner = start(folder, &wallet, &flags);
    ask(&miner, folder);
    let models = models_of(&miner, folder);
    wait_until("saved", folder, || {
        let saved = fs::read(&models).unwrap_or_default();
        let saved: Value = serde_json::from_slice(&saved).unwrap_or_default();
        saved["content"]["models"][0]["statistics"]["requests"] == 20
    });
    signal(&miner.child, "KILL");
    miner.child.wait().unwrap();
    let mut miner = start(folder, &wallet, &flags);
    assert_eq!(ensemble(folder)["requests"], 20);
    ask(&miner, folder);
    signal(&miner.child, "TERM");
    assert!(miner.child.wait().unwrap().success());

    let text = fs::read_to_string(&models).unwrap();
    let requests = "\"requests\":40";
    assert!(text.contains(requests), "{text}");
    fs::write(&models, text.replace(requests, "\"requests\":41")).unwrap();
    let check = || convminer(folder).args(["state", "check"]).output().unwrap();
    let output = check();
    assert_eq!(output.status.code(), Some(1), "{}", transcript(&output));
    let said = transcript(&output);
    assert!(
        said.contains("models.") && said.contains("SHA-256") && said.contains("move it away"),
        "{said}"
    );

    let _miner = start(folder, &wallet, &flags);
    assert!(log(folder).contains("the saved state cannot be used; set aside"), "{}", log(folder));
    assert_eq!(ensemble(folder)["requests"], 0);
    let output = check();
    assert_eq!(output.status.code(), Some(0), "{}", transcript(&output));
    assert!(transcript(&output).contains("set aside"), "{}", transcript(&output));
}

/// Where state cannot be written the miner answers all the same, and says so.
#[test]
fn state_that_cannot_be_saved_stops_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    generate(folder, "noisy", 5, 3, "ask.parquet");
    let wallet = wallet(folder);
    let shipped = shipped();
    let flags = ["--allow-unregistered", "--state-interval=0.1", &shipped];
    let miner = start(folder, &wallet, &flags);
    let models = models_of(&miner, folder);
    // Whoever runs the tests may be allowed to write anywhere; but not a file over a folder.
    wait_until("in the way", folder, || {
        fs::remove_file(&models).is_ok() && fs::create_dir(&models).is_ok()
    });
    ask(&miner, folder);
    wait_until("told", folder, || stats(folder)["state"]["failures"].as_u64() > Some(0));
    assert!(stats(folder)["state"]["failing"][0].as_str().unwrap().contains("models."));
    ask(&miner, folder);
    fs::remove_dir(&models).unwrap();
    wait_until("saved again", folder, || stats(folder)["state"]["failing"] == json!([]));
    assert!(models.is_file());
}
