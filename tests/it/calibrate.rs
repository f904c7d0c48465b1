//! `convminer calibrate` and what it leaves in a checkpoint.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{convminer, fail, generate, succeed, train};

const METHODS: [&str; 6] = ["none", "temperature", "platt", "beta", "bins", "isotonic"];

/// A folder with a checkpoint and 400 fresh rows.
fn trained() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    generate(folder.path(), "noisy", 600, 1, "train.parquet");
    generate(folder.path(), "noisy", 400, 2, "fresh.parquet");
    train(folder.path(), "train.parquet", "checkpoints/a");
    folder
}

fn calibrate(folder: &Path, arguments: &str) -> Value {
    let all = format!("calibrate --json {arguments}");
    serde_json::from_str(&succeed(convminer(folder).args(all.split(' ')))).unwrap()
}

fn refused(folder: &Path, arguments: &str) -> String {
    fail(convminer(folder).arg("calibrate").args(arguments.split(' ')))
}

fn file(folder: &Path) -> Value {
    let path = folder.join("checkpoints/a/calibration.json");
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The sum of a number over the bins of the checkpoint.
fn counted(folder: &Path, what: &str) -> f64 {
    let file = file(folder);
    file["bins"].as_array().unwrap().iter().map(|bin| bin[what].as_f64().unwrap()).sum()
}

#[test]
fn every_method_is_fitted_and_told() {
    let folder = trained();
    let folder = folder.path();
    for method in METHODS {
        let report = calibrate(folder, &format!("--data fresh.parquet --method {method}"));
        assert_eq!((&report["method"], &report["written"]), (&method.into(), &true.into()));
        assert_eq!(report["calibration"], file(folder));
        assert_eq!(file(folder)["method"], method);
        let candidates = report["candidates"].as_array().unwrap();
        assert!(candidates.iter().map(|one| &one["method"]).eq(METHODS), "{report}");
        for score in ["log_loss", "ece", "brier"] {
            assert!(candidates.iter().all(|one| one[score].as_f64().unwrap() > 0.0), "{report}");
        }
        let shown = succeed(convminer(folder).arg("inspect"));
        let line = shown.lines().find(|line| line.contains("calibration ")).unwrap();
        assert!(line.to_lowercase().contains(method), "{line}");
    }
}

#[test]
fn auto_takes_the_simplest_of_the_best() {
    let folder = trained();
    let folder = folder.path();
    // Every label is wrong, so what the model says is the worst that can be said.
    let flipped = "generate --challenge noisy --flip-rate 1 --rows 400 --seed 2 --out flipped.csv";
    succeed(convminer(folder).args(flipped.split(' ')));
    let before = file(folder);
    let report = calibrate(folder, "--data flipped.csv --dry-run");
    assert_eq!((report["written"].as_bool(), file(folder)), (Some(false), before));
    let loss = |name: &str| {
        let all = report["candidates"].as_array().unwrap();
        let found = all.iter().find(|one| one["method"] == name).unwrap();
        found["log_loss"].as_f64().unwrap()
    };
    let taken = report["method"].as_str().unwrap();
    assert!(taken != "none" && loss(taken) < loss("none") - 0.1, "{report}");
    assert!(METHODS.iter().all(|method| loss(taken) < loss(method) + 0.05), "{report}");
    assert!(report["after"]["log_loss"].as_f64() < report["before"]["log_loss"].as_f64());

    let printed = succeed(convminer(folder).args(["calibrate", "--data", "fresh.parquet"]));
    assert_eq!(printed.matches("   taken\n").count(), 1, "{printed}");
    assert!(printed.contains("after (cross-fitted)"), "{printed}");
}

#[test]
fn bins_go_on_learning() {
    let folder = trained();
    let folder = folder.path();
    generate(folder, "noisy", 30, 3, "few.csv");
    calibrate(folder, "--data fresh.parquet --method bins --bins 5");
    let (rows, converted) = (counted(folder, "rows"), counted(folder, "converted"));
    assert_eq!(rows, 400.0);

    // The same rows once more: each count is twice what it was.
    let report = calibrate(folder, "--data fresh.parquet --update");
    assert_eq!(report["before"]["reliability"].as_array().unwrap().len(), 5);
    assert_eq!(report["candidates"], Value::Array(vec![]));
    assert_eq!((counted(folder, "rows"), counted(folder, "converted")), (800.0, 2.0 * converted));

    // Few rows are enough to count. A half-life stays, and bounds what a bin can hold:
    // 1 / (1 - 0.5^(1/2)) = 3.41 rows.
    calibrate(folder, "--data few.csv --update --half-life-rows 2");
    assert_eq!(file(folder)["half_life_rows"], 2.0);
    calibrate(folder, "--data fresh.parquet --update");
    assert_eq!(file(folder)["half_life_rows"], 2.0);
    let bins = file(folder)["bins"].as_array().unwrap().clone();
    assert!(bins.iter().any(|bin| bin["rows"].as_f64().unwrap() > 3.0), "{bins:?}");
    assert!(bins.iter().all(|bin| bin["rows"].as_f64().unwrap() < 3.5), "{bins:?}");
    let shown = succeed(convminer(folder).arg("inspect"));
    assert!(shown.contains("a row counts half after 2 more in its bin"), "{shown}");

    let stderr = refused(folder, "--data few.csv --update --bins 10");
    assert!(stderr.contains("expected --bins 5"), "{stderr}");
    let stderr = refused(folder, "--data few.csv --update --method beta");
    assert!(stderr.contains("--method says beta"), "{stderr}");
    calibrate(folder, "--data fresh.parquet --method platt");
    let before = file(folder);
    let stderr = refused(folder, "--data few.csv --update");
    assert!(stderr.contains("which alone go on learning"), "{stderr}");
    assert!(stderr.contains("hint: `convminer calibrate --method bins`"), "{stderr}");
    assert_eq!(file(folder), before);
}

#[test]
fn mistakes_are_explained() {
    let folder = trained();
    let folder = folder.path();
    for (arguments, expected) in [
        ("--data fresh.parquet --method magic", "possible values: auto, none, temperature"),
        ("--data fresh.parquet --half-life-rows 0", "expected a number of rows above 0"),
        ("--data fresh.parquet --half-life-rows -1", "expected a number of rows above 0"),
        ("--data fresh.parquet --bins 1", "1 is not in 2..=1000"),
    ] {
        let stderr = refused(folder, arguments);
        assert!(stderr.contains(expected), "{arguments}: {stderr}");
    }
    let mut command = convminer(folder);
    command.args("calibrate --data fresh.parquet --method beta --half-life-rows 5".split(' '));
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && stderr.contains("only bins go on learning"), "{stderr}");
}
