//! More data than memory: several files, the cache, and the limit that holds.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::support::{convminer, fail, generate, succeed, transcript};

/// One pass of the guide's networks.
const QUICK: [&str; 8] =
    ["--epochs", "1", "--classifiers", "mlp", "--regressors", "mlp", "--device", "cpu"];

fn train(folder: &Path, data: &[&str], out: &str, more: &[&str]) -> Command {
    let mut command = convminer(folder);
    command.arg("train").arg("--data").args(data).args(["--out", out, "--json"]);
    command.args(QUICK).args(more);
    command
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn manifest(folder: &Path, checkpoint: &str) -> Value {
    json(&fs::read_to_string(folder.join(checkpoint).join("manifest.json")).unwrap())
}

/// The most memory that a process has had resident so far, in MiB; none when it has ended.
fn peak_mib(child: &Child) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().unwrap() / 1024)
}

/// Watches a process until it ends, or until it has had more than this.
fn watch(child: &mut Child, most_mib: u64) -> u64 {
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() && peak <= most_mib {
        peak = peak.max(peak_mib(child).unwrap_or(0));
        thread::sleep(Duration::from_millis(10));
    }
    peak
}

#[test]
fn the_limit_holds_and_would_not_without_streaming() {
    const LIMIT_MIB: u64 = 512;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for (seed, rows) in [(1, 400_000), (2, 200_000), (3, 100_000)] {
        generate(folder, "rule", rows, seed, &format!("part{seed}.parquet"));
    }
    let start = |out: &str, limit: &str| -> Child {
        let more = ["--max-memory", limit, "--batch-size", "4096"];
        let mut command = train(folder, &["part*.parquet"], out, &more);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let mut child = start("streamed", &format!("{LIMIT_MIB}MiB"));
    let peak = watch(&mut child, u64::MAX);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", transcript(&output));
    assert!((100..LIMIT_MIB).contains(&peak), "{peak} MiB");

    let results = json(&String::from_utf8(output.stdout).unwrap());
    let streaming = &results["streaming"];
    let own = streaming["peak_memory"].as_u64().unwrap() >> 20;
    assert!((100..LIMIT_MIB).contains(&own), "{own} MiB");
    for phase in streaming["phases"].as_array().unwrap() {
        assert!(phase["rows_per_second"].as_f64().unwrap() > 0.0, "{phase}");
    }
    let manifest = manifest(folder, "streamed");
    assert_eq!(manifest["data"]["rows"], 700_000);
    assert_eq!(manifest["data"]["file"], "part1.parquet and 2 more");
    let held_out = manifest["data"]["validation_rows"].as_u64().unwrap();
    assert_eq!(manifest["training"]["stages"][0]["rows"], 700_000 - held_out);
    // It has learned.
    let reward = |who: &str| results["evaluation"][who]["mean_reward"].as_f64().unwrap();
    assert!(reward("miner") > reward("always_yes") + 0.05, "{results}");

    // In memory the same rows take more; that is seen long before the end.
    let mut child = start("whole", "64GiB");
    let peak = watch(&mut child, LIMIT_MIB);
    let _ = child.kill();
    child.wait().unwrap();
    assert!(peak > LIMIT_MIB, "{peak} MiB");
}

#[test]
fn the_cache_is_found_again_and_gives_the_same_weights() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::create_dir(folder.join("big")).unwrap();
    generate(folder, "rule", 150_000, 1, "big/a.parquet");
    generate(folder, "rule", 3000, 2, "big/b.ndjson");
    generate(folder, "rule", 3000, 3, "big/c.csv");
    fs::write(folder.join("big/notes.txt"), "no table").unwrap();
    let run = |out: &str| {
        let more = ["--max-memory", "330MiB", "--cache", "kept"];
        let output = train(folder, &["big"], out, &more).output().unwrap();
        assert!(output.status.success(), "{}", transcript(&output));
        let results = json(&String::from_utf8(output.stdout).unwrap());
        (results["streaming"]["cached"].clone(), String::from_utf8(output.stderr).unwrap())
    };
    let (cached, told) = run("one");
    assert_eq!(cached, false);
    assert!(told.contains("passed over 1 files that are no tables"), "{told}");
    let caches: Vec<_> = fs::read_dir(folder.join("kept")).unwrap().collect();
    assert_eq!(caches.len(), 1);
    assert!(!folder.join("big/.convminer-cache").exists());

    let (cached, _) = run("two");
    assert_eq!(cached, true);
    let weights = |name: &str| fs::read(folder.join(name).join("weights.safetensors")).unwrap();
    assert!(weights("one") == weights("two"));
    let data = |name: &str| manifest(folder, name)["data"].clone();
    assert_eq!(data("one"), data("two"));
    assert_eq!(data("one")["rows"], 156_000);
}

#[test]
fn several_small_files_are_trained_on_as_one() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for seed in 1..=3 {
        generate(folder, "rule", 1000, seed, &format!("{seed}.csv"));
    }
    succeed(&mut train(folder, &["1.csv", "2.csv", "3.csv"], "named", &[]));
    succeed(&mut train(folder, &["*.csv"], "matched", &["--max-memory", "16GiB"]));
    let data = |name: &str| manifest(folder, name)["data"].clone();
    assert_eq!(data("named"), data("matched"));
    assert_eq!(data("named")["rows"], 3000);
    let weights = |name: &str| fs::read(folder.join(name).join("weights.safetensors")).unwrap();
    assert!(weights("named") == weights("matched"), "the limit changes nothing where all fits");
    assert!(!folder.join(".convminer-cache").exists());
    let arguments = ["evaluate", "--data", "1.csv", "2.csv", "--checkpoint", "named", "--json"];
    let scores = json(&succeed(convminer(folder).args(arguments)));
    assert_eq!((&scores["rows"], &scores["data"]), (&2000.into(), &"1.csv, 2.csv".into()));
}

#[test]
fn what_cannot_be_read_or_done_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    generate(folder, "rule", 300_000, 1, "a.parquet");
    fs::create_dir(folder.join("empty")).unwrap();
    fs::write(folder.join("bad.csv"), "message_ratio,conversion_happened\n1,0\n2,no idea\n")
        .unwrap();
    for (data, more, expected) in [
        (&["*.csv.gz"][..], &[][..], "`*.csv.gz`: no file matches"),
        (&["a.parquet", "notes.txt"], &[], "`notes.txt`: expected a name that ends in"),
        (&["empty"], &[], "`empty`: expected files that end in .parquet"),
        (&["none.csv"], &[], "hint: `convminer generate` makes"),
        (
            &["a.parquet", "bad.csv"],
            &["--max-memory", "512MiB"],
            "`bad.csv`: row 2: expected `conversion_happened`",
        ),
        (&["a.parquet"], &["--max-memory", "90MiB"], "expected a memory limit of at least"),
        (&["a.parquet"], &["--max-memory", "lots"], "such as 2GiB"),
        (
            &["a.parquet"],
            &["--max-memory", "330MiB", "--folds", "3"],
            "3 folds need all rows in memory",
        ),
        (
            &["a.parquet"],
            &["--max-memory", "330MiB", "--cache", "/proc/nowhere"],
            "--cache names another folder",
        ),
    ] {
        let told = fail(&mut train(folder, data, "out", more));
        assert!(told.contains(expected), "{data:?} {more:?}:\n{told}");
    }
    // The least that is told is enough.
    let told = fail(&mut train(
        folder,
        &["a.parquet"],
        "out",
        &["--max-memory", "90MiB", "--batch-size", "4096"],
    ));
    let least = told.split("at least ").nth(1).and_then(|rest| rest.split(',').next()).unwrap();
    let least = least.replace(' ', "");
    let results = json(&succeed(&mut train(
        folder,
        &["a.parquet"],
        "least",
        &["--max-memory", &least, "--batch-size", "4096"],
    )));
    let mib = least.trim_end_matches("MiB").parse::<u64>().unwrap();
    let peak = results["streaming"]["peak_memory"].as_u64().unwrap() >> 20;
    assert!(peak < mib, "{peak} of {mib} MiB");
}
