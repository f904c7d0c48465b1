//! From a table to a checkpoint and its answers, through the program.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{convminer, transcript};

/// Settings with which training takes a moment, and still learns.
const QUICK: &str = "
[classifier]
epochs = 8
first_units = 32
second_units = 16
[regressor]
epochs = 8
first_units = 32
second_units = 16
";

fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", transcript(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// stderr of a command that must fail with exit code 2.
fn fail(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", transcript(&output));
    String::from_utf8(output.stderr).unwrap()
}

fn generate(folder: &Path, challenge: &str, rows: usize, seed: u64, out: &str) {
    let (rows, seed) = (rows.to_string(), seed.to_string());
    succeed(convminer(folder).args([
        "generate", "--challenge", challenge, "--rows", &rows, "--seed", &seed, "--out", out,
    ]));
}

fn train(folder: &Path, data: &str, out: &str) -> String {
    fs::write(folder.join("quick.toml"), QUICK).unwrap();
    succeed(convminer(folder).args([
        "train", "--data", data, "--config", "quick.toml", "--out", out, "--device", "cpu",
    ]))
}

#[test]
fn the_whole_way() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    generate(folder, "rule", 3000, 1, "train.parquet");
    generate(folder, "rule", 1000, 2, "test.csv");
    let table = train(folder, "train.parquet", "checkpoints/one");
    for word in ["this miner", "logistic baseline", "always no", "always yes", "oracle", "ECE"] {
        assert!(table.contains(word), "{word} is not in\n{table}");
    }

    // Evaluated by name and as the latest one, the result is the same, and it has learned.
    let by_name = succeed(convminer(folder).args([
        "evaluate", "--data", "test.csv", "--checkpoint", "checkpoints/one", "--json",
    ]));
    let latest = succeed(convminer(folder).args(["evaluate", "--data", "test.csv", "--json"]));
    assert_eq!(by_name, latest);
    let scores: Value = serde_json::from_str(&by_name).unwrap();
    let reward = |name: &str| scores[name]["mean_reward"].as_f64().unwrap();
    assert_eq!(scores["rows"], 1000);
    assert_eq!(scores["reward_spec"], "main");
    assert!(reward("miner") > reward("baseline") + 0.05, "{by_name}");
    assert!(reward("miner") < reward("oracle"), "{by_name}");
    // The longest timeout, so the least lost to the 0.05 s.
    let api = succeed(convminer(folder).args([
        "evaluate", "--data", "test.csv", "--reward-spec", "api", "--json",
    ]));
    let api: Value = serde_json::from_str(&api).unwrap();
    assert!(api["oracle"]["mean_reward"].as_f64().unwrap() > reward("oracle"));

    // Predictions need no labels, and are the same in both formats.
    let csv = fs::read_to_string(folder.join("test.csv")).unwrap();
    let unlabelled: Vec<String> = csv
        .lines()
        .map(|line| line.splitn(42, ',').take(41).collect::<Vec<_>>().join(","))
        .collect();
    fs::write(folder.join("unlabelled.csv"), unlabelled.join("\n") + "\n").unwrap();
    let stdout = succeed(convminer(folder).args(["predict", "--data", "unlabelled.csv", "--out", "-"]));
    succeed(convminer(folder).args(["predict", "--data", "test.csv", "--out", "answers.csv"]));
    assert_eq!(fs::read_to_string(folder.join("answers.csv")).unwrap(), stdout);
    succeed(convminer(folder).args(["predict", "--data", "test.csv", "--out", "answers.parquet"]));
    assert!(fs::read(folder.join("answers.parquet")).unwrap().starts_with(b"PAR1"));
    let mut lines = stdout.lines();
    assert_eq!(
        lines.next(),
        Some("session_id,conversion_happened,time_to_conversion_seconds,confidence")
    );
    assert_eq!(lines.clone().count(), 1000);
    for line in lines {
        let cells: Vec<&str> = line.split(',').collect();
        let (time, confidence): (f64, f64) = (cells[2].parse().unwrap(), cells[3].parse().unwrap());
        assert!((0.0..=1.0).contains(&confidence), "{line}");
        match cells[1] {
            "0" => assert_eq!(time, -1.0, "{line}"),
            "1" => assert!(time > 0.0, "{line}"),
            _ => panic!("{line}"),
        }
    }

    // Calibration is written into the checkpoint.
    let before = fs::read(folder.join("checkpoints/one/calibration.json")).unwrap();
    let report = succeed(convminer(folder).args(["calibrate", "--data", "test.csv", "--json"]));
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["rows"], 1000);
    assert_eq!(report["before"]["reliability"].as_array().unwrap().len(), 10);
    assert_ne!(fs::read(folder.join("checkpoints/one/calibration.json")).unwrap(), before);
    let shown = succeed(convminer(folder).args(["inspect"]));
    assert!(shown.contains("10 bins from 1000 rows"), "{shown}");
    let manifest = succeed(convminer(folder).args(["inspect", "checkpoints/one", "--json"]));
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!(manifest["data"]["rows"], 3000);
    assert_eq!(manifest["training"]["config"]["classifier"]["epochs"], 8);
}

#[test]
fn the_seed_decides_the_weights() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    generate(folder, "noisy", 1500, 5, "train.parquet");
    for name in ["one", "two"] {
        train(folder, "train.parquet", name);
    }
    fs::write(folder.join("convminer.toml"), "[train]\nseed = 8\n").unwrap();
    train(folder, "train.parquet", "three");
    let file = |name: &str, file: &str| fs::read(folder.join(name).join(file)).unwrap();
    for part in ["weights.safetensors", "scaler.json", "baseline.json", "decision.json"] {
        assert!(file("one", part) == file("two", part), "{part} differs with the same seed");
    }
    assert!(file("one", "weights.safetensors") != file("three", "weights.safetensors"));
}

#[test]
fn the_reward_loss_learns_too() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    generate(folder, "rule", 2000, 1, "train.ndjson");
    fs::write(folder.join("quick.toml"), QUICK).unwrap();
    let report = succeed(convminer(folder).args([
        "train", "--data", "train.ndjson", "--config", "quick.toml", "--out", "a", "--json",
        "--loss", "reward", "--time-loss", "huber",
    ]));
    let report: Value = serde_json::from_str(&report).unwrap();
    let reward = |name: &str| report["evaluation"][name]["mean_reward"].as_f64().unwrap();
    assert!(reward("miner") > reward("baseline"), "{report}");
}

#[test]
fn one_class_only_gives_the_baseline() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let rows: String = (0..40)
        .map(|row| format!("s{row},{},1.5,{},1,1,{}\n", 60 + row, row % 7, 50 + row % 3))
        .collect();
    let header = "session_id,conversation_duration_seconds,message_ratio,\
                  entities_collected_count,has_target_entity,conversion_happened,\
                  time_to_conversion_seconds\n";
    fs::write(folder.join("yes.csv"), format!("{header}{rows}")).unwrap();
    let output =
        convminer(folder).args(["train", "--data", "yes.csv", "--out", "a"]).output().unwrap();
    assert!(output.status.success(), "{}", transcript(&output));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("no network was trained"), "{stderr}");
    let answers = succeed(convminer(folder).args([
        "predict", "--data", "yes.csv", "--checkpoint", "a",
    ]));
    // 32 of 32 training rows converted: (32 + 0.5) / (32 + 1), and the best constant is 51 s.
    let first = answers.lines().nth(1).unwrap();
    assert!(first.starts_with("s0,1,51.0,0.98484"), "{first}");
}

#[test]
fn few_converted_rows_give_the_best_constant_time() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    generate(folder, "rule", 24, 3, "few.parquet");
    fs::write(folder.join("quick.toml"), QUICK).unwrap();
    let output = convminer(folder)
        .args(["train", "--data", "few.parquet", "--config", "quick.toml", "--out", "a"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", transcript(&output));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("the time is the best constant"), "{stderr}");
}

#[test]
fn refused_before_the_work() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    generate(folder, "rule", 60, 1, "a.parquet");
    generate(folder, "rule", 9, 1, "nine.csv");
    fs::create_dir(folder.join("taken")).unwrap();
    fs::write(folder.join("bad.toml"), "[classifier]\nepoch = 3\n").unwrap();
    for (arguments, expected) in [
        ("train --data none.parquet", "`none.parquet`: no such file"),
        ("train --data a.parquet --out taken", "`taken` exists already"),
        ("train --data nine.csv", "expected at least 10 labelled rows to train on, but there are 9"),
        ("train --data a.parquet --valid-fraction 0.7", "valid_fraction should be in 0.05..=0.5"),
        ("train --data a.parquet --lr 0", "classifier.learning_rate should be in 0..1"),
        ("train --data a.parquet --config bad.toml", "unknown field `epoch`"),
        ("train --data a.parquet --loss hinge", "hinge"),
        ("train --data a.parquet --reward-spec mian", "mian"),
        ("train --data a.parquet --device gpu", "gpu"),
        ("evaluate --data a.parquet", "no checkpoint in `checkpoints`"),
        ("inspect taken", "`taken` is not a checkpoint"),
        ("predict --data a.parquet --out x.txt", "expected --out to end in .csv or .parquet"),
    ] {
        let stderr = fail(convminer(folder).args(arguments.split(' ')));
        assert!(stderr.contains(expected), "{arguments}:\n{stderr}");
        assert!(!stderr.contains("panicked"), "{stderr}");
    }
    // Nothing was left behind by any of them.
    assert!(!folder.join("checkpoints/latest").exists());
}

#[test]
fn calibration_wants_a_hundred_rows() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    generate(folder, "rule", 200, 1, "train.parquet");
    generate(folder, "rule", 99, 2, "few.parquet");
    train(folder, "train.parquet", "checkpoints/a");
    let stderr = fail(convminer(folder).args(["calibrate", "--data", "few.parquet"]));
    assert!(stderr.contains("expected at least 100 labelled rows"), "{stderr}");
    assert!(stderr.contains("--force"), "{stderr}");
    succeed(convminer(folder).args(["calibrate", "--data", "few.parquet", "--force"]));
}

/// Ctrl-C ends a stage; the next one runs, and a checkpoint is written all the same.
#[cfg(unix)]
#[test]
fn an_interrupted_stage_keeps_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    generate(folder, "rule", 2000, 1, "train.parquet");
    fs::write(
        folder.join("endless.toml"),
        "[classifier]\nepochs = 1000000\npatience = 1000000\n[regressor]\nepochs = 2\n",
    )
    .unwrap();
    let log = fs::File::create(folder.join("log")).unwrap();
    let mut child = convminer(folder)
        .args(["train", "--data", "train.parquet", "--config", "endless.toml", "--out", "a"])
        .stderr(log)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    // The stage says nothing without a terminal until it ends, so give it a moment, and ask again
    // if the signal came before anybody listened.
    let started = Instant::now();
    let status = loop {
        std::thread::sleep(Duration::from_secs(2));
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        assert!(started.elapsed() < Duration::from_secs(120), "it did not stop");
        let log = fs::read_to_string(folder.join("log")).unwrap();
        if !log.contains("interrupted") {
            Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        }
    };
    let log = fs::read_to_string(folder.join("log")).unwrap();
    assert!(status.success(), "{log}");
    assert!(log.contains("(interrupted), kept epoch"), "{log}");
    assert!(log.contains("regressor"), "{log}");
    succeed(convminer(folder).args(["inspect", "a"]));
}
