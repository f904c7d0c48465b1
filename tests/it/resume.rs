//! `convminer train --resume`: a training that is killed ends as one that never was.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use crate::support::{convminer, fail, generate, succeed};

/// What a checkpoint has that follows from its data and seed alone.
const LASTING: [&str; 6] = [
    "weights.safetensors",
    "scaler.json",
    "baseline.json",
    "calibration.json",
    "decision.json",
    "sample.parquet",
];

/// Networks of both kinds of learners, batch norm and dropout among them, that take seconds.
const CONFIG: &str = "\
[[classifier]]
architecture = \"mlp\"
epochs = 6
least_steps = 0
[[classifier]]
architecture = \"residual\"
units = 16
layers = 1
epochs = 4
least_steps = 0
[[classifier]]
architecture = \"tabular\"
epochs = 4
least_steps = 0
[[regressor]]
architecture = \"mlp\"
epochs = 8
least_steps = 0
";

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    generate(folder.path(), "rule", 6000, 5, "a.parquet");
    fs::write(folder.path().join("train.toml"), CONFIG).unwrap();
    folder
}

fn start(folder: &Path, arguments: &[&str]) -> Child {
    convminer(folder)
        .args(arguments)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap()
}

const TRAIN: [&str; 7] =
    ["train", "--data", "a.parquet", "--config", "train.toml", "--device", "cpu"];

/// The sizes of what the states of a run's networks are, by name, as a measure of how far it is.
fn states(folder: &Path, name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let Ok(entries) = fs::read_dir(folder.join(format!(".{name}.unfinished"))) else {
        return Vec::new();
    };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut states: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|it| it == "state"))
        .filter_map(|path| Some((path.clone(), fs::read(path).ok()?)))
        .collect();
    states.sort();
    states
}

/// Kills a training once it has kept another state than what is there; whether it was still going.
fn kill_after_a_step(folder: &Path, name: &str, mut child: Child) -> bool {
    let before = states(folder, name);
    loop {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        if states(folder, name) != before {
            child.kill().unwrap();
            child.wait().unwrap();
            return true;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_killed_training_ends_as_an_unbroken_one() {
    let folder = folder();
    let folder = folder.path();
    succeed(convminer(folder).args(TRAIN).args(["--out", "whole"]));
    assert!(states(folder, "whole").is_empty(), "what is finished leaves no states");

    let mut kills = 0;
    let first = start(folder, &[&TRAIN[..], &["--out", "broken"]].concat());
    kills += usize::from(kill_after_a_step(folder, "broken", first));
    assert!(!folder.join("broken").exists());
    while !folder.join("broken").exists() {
        let next = start(folder, &["train", "--resume", "--out", "broken"]);
        kills += usize::from(kill_after_a_step(folder, "broken", next));
        if kills >= 8 {
            succeed(convminer(folder).args(["train", "--resume", "--out", "broken"]));
        }
    }
    assert!(kills >= 3, "only {kills} kills came in time");
    assert!(states(folder, "broken").is_empty());
    for file in LASTING {
        let read = |name: &str| fs::read(folder.join(name).join(file)).unwrap();
        assert!(read("broken") == read("whole"), "{file} differs");
    }
    let told = |name: &str| {
        let manifest = fs::read(folder.join(name).join("manifest.json")).unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        (manifest["training"]["stages"].clone(), manifest["metrics"].clone())
    };
    assert_eq!(told("broken"), told("whole"));
}

#[test]
fn what_cannot_be_gone_on_with_is_said() {
    let folder = folder();
    let folder = folder.path();
    let none = fail(convminer(folder).args(["train", "--resume"]));
    assert!(none.contains("there is no unfinished training under `checkpoints`"), "{none}");

    let child = start(folder, &[&TRAIN[..], &["--out", "b"]].concat());
    assert!(kill_after_a_step(folder, "b", child));
    let other = fail(convminer(folder).args(["train", "--resume", "--out", "b", "--seed", "8"]));
    assert!(other.contains("another configuration"), "{other}");
    let device =
        fail(convminer(folder).args(["train", "--resume", "--out", "b", "--data", "c.csv"]));
    assert!(device.contains("--data"), "{device}");

    generate(folder, "rule", 6000, 6, "a.parquet");
    let changed = fail(convminer(folder).args(["train", "--resume", "--out", "b"]));
    assert!(changed.contains("has changed since"), "{changed}");
    // Begun anew, the old states are of no use and no harm.
    succeed(convminer(folder).args(TRAIN).args(["--out", "b", "--epochs", "1"]));
}

#[test]
fn a_damaged_state_costs_time_and_nothing_else() {
    let folder = folder();
    let folder = folder.path();
    succeed(convminer(folder).args(TRAIN).args(["--out", "whole"]));
    let child = start(folder, &[&TRAIN[..], &["--out", "b"]].concat());
    assert!(kill_after_a_step(folder, "b", child));
    for (path, mut bytes) in states(folder, "b") {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, bytes).unwrap();
    }
    let output = convminer(folder).args(["train", "--resume", "--out", "b"]).output().unwrap();
    assert!(output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("its network starts anew"), "{said}");
    let read = |name: &str| fs::read(folder.join(name).join("weights.safetensors")).unwrap();
    assert!(read("b") == read("whole"));
}
