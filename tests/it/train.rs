//! From a table to a checkpoint and its answers, through the program.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use convminer::model::device::DeviceChoice;
use convminer::model::ensemble::Path as ForwardPath;
use convminer::subnet::challenge::Challenge;
use convminer::train::TrainConfig;
use serde_json::Value;

use crate::support::{
    QUICK, convminer, examples, fail, generate, signal, succeed, train, transcript,
};

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
        "evaluate",
        "--data",
        "test.csv",
        "--checkpoint",
        "checkpoints/one",
        "--json",
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
        "evaluate",
        "--data",
        "test.csv",
        "--reward-spec",
        "api",
        "--json",
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
    let stdout =
        succeed(convminer(folder).args(["predict", "--data", "unlabelled.csv", "--out", "-"]));
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
    let arguments = "calibrate --data test.csv --method bins --json";
    let report = succeed(convminer(folder).args(arguments.split(' ')));
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["rows"], 1000);
    assert_eq!(report["before"]["reliability"].as_array().unwrap().len(), 10);
    assert_ne!(fs::read(folder.join("checkpoints/one/calibration.json")).unwrap(), before);
    let shown = succeed(convminer(folder).args(["inspect"]));
    assert!(shown.contains("10 bins from 1000 rows"), "{shown}");
    let manifest = succeed(convminer(folder).args(["inspect", "checkpoints/one", "--json"]));
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!(manifest["data"]["rows"], 3000);
    assert_eq!(manifest["training"]["config"]["classifier"][0]["epochs"], 8);
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
        "train",
        "--data",
        "train.ndjson",
        "--config",
        "quick.toml",
        "--out",
        "a",
        "--json",
        "--loss",
        "reward",
        "--time-loss",
        "huber",
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
    let answers =
        succeed(convminer(folder).args(["predict", "--data", "yes.csv", "--checkpoint", "a"]));
    // 40 of 40 rows converted: (40 + 0.5) / (40 + 1), and the best constant is 51 s.
    let first = answers.lines().nth(1).unwrap();
    assert!(first.starts_with("s0,1,51.0,0.98780"), "{first}");
}

/// A time in milliseconds by mistake, and a cell of nonsense: the other rows still teach.
#[test]
fn one_absurd_row_does_not_ruin_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    generate(folder, "rule", 3000, 1, "clean.csv");
    generate(folder, "rule", 1000, 2, "test.csv");
    let text = fs::read_to_string(folder.join("clean.csv")).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let row = lines.iter().position(|line| line.contains(",1,") && !line.contains("-1")).unwrap();
    let mut cells: Vec<&str> = lines[row].split(',').collect();
    (cells[1], cells[42]) = ("1e9", "1e12");
    lines[row] = cells.join(",");
    fs::write(folder.join("absurd.csv"), lines.join("\n") + "\n").unwrap();
    let reward = |data: &str| {
        train(folder, &format!("{data}.csv"), data);
        let arguments = format!("evaluate --data test.csv --checkpoint {data} --json");
        let scores = succeed(convminer(folder).args(arguments.split(' ')));
        let scores: Value = serde_json::from_str(&scores).unwrap();
        scores["miner"]["mean_reward"].as_f64().unwrap()
    };
    let (clean, absurd) = (reward("clean"), reward("absurd"));
    assert!(absurd > clean - 0.01, "{absurd} with an absurd row, {clean} without");
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
    fs::write(folder.join("bad.toml"), "[[classifier]]\nepoch = 3\n").unwrap();
    for (arguments, expected) in [
        ("train --data none.parquet", "`none.parquet`: no such file"),
        ("train --data a.parquet --out taken", "`taken` exists already"),
        (
            "train --data nine.csv",
            "expected at least 10 labelled rows to train on, but there are 9",
        ),
        ("train --data a.parquet --valid-fraction 0.7", "valid_fraction should be in 0.05..=0.5"),
        ("train --data a.parquet --lr 0", "classifier.learning_rate should be above 0"),
        ("train --data a.parquet --config bad.toml", "unknown field `epoch`"),
        ("train --data a.parquet --loss hinge", "hinge"),
        ("train --data a.parquet --reward-spec mian", "mian"),
        ("train --data a.parquet --device gpu", "gpu"),
        ("evaluate --data a.parquet", "no checkpoint in `checkpoints`"),
        ("inspect taken", "`taken` is not a checkpoint"),
        ("train --data a.parquet --out checkpoints/latest", "is no name for a checkpoint"),
        ("predict --data a.parquet --out a.parquet", "are the same file"),
        ("predict --data a.parquet --out no/x.csv", "which is no folder"),
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
        "[[classifier]]\nepochs = 1000000\npatience = 1000000\n[[regressor]]\nepochs = 2\nleast_steps = 0\n",
    )
    .unwrap();
    let log = fs::File::create(folder.join("log")).unwrap();
    let mut child = convminer(folder)
        .args(["train", "--data", "train.parquet", "--config", "endless.toml", "--out", "a"])
        .stderr(log)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let log = || fs::read_to_string(folder.join("log")).unwrap();
    let started = Instant::now();
    while !log().contains("classifier tabular: 1600 rows, at most 1000000 epochs") {
        assert!(started.elapsed() < Duration::from_secs(60), "it did not start: {}", log());
        std::thread::sleep(Duration::from_millis(50));
    }
    // Time for some of the epochs, each of which takes a fraction of it.
    std::thread::sleep(Duration::from_secs(3));
    signal(&child, "INT");
    let status = child.wait().unwrap();
    assert!(status.success(), "{}", log());
    assert!(log().contains("(interrupted), kept epoch"), "{}", log());
    assert!(log().contains("regressor"), "{}", log());
    succeed(convminer(folder).args(["inspect", "a"]));
}

/// `cargo test --release --features ndarray ndarray`
#[cfg(feature = "ndarray")]
#[test]
fn ndarray_trains_and_answers() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    generate(folder, "rule", 3000, 1, "train.parquet");
    generate(folder, "rule", 1000, 2, "test.parquet");
    fs::write(folder.join("quick.toml"), QUICK).unwrap();
    succeed(
        convminer(folder).args(
            "train --data train.parquet --config quick.toml --out checkpoints/a --device ndarray"
                .split(' '),
        ),
    );
    let scores = |device: &str| -> Value {
        let arguments = format!("evaluate --data test.parquet --json --device {device}");
        serde_json::from_str(&succeed(convminer(folder).args(arguments.split(' ')))).unwrap()
    };
    let (ndarray, flex) = (scores("ndarray"), scores("cpu"));
    let reward = |scores: &Value, name: &str| scores[name]["mean_reward"].as_f64().unwrap();
    assert!(reward(&ndarray, "miner") > reward(&ndarray, "baseline") + 0.05, "{ndarray}");
    // The same weights answer the same on both devices.
    assert!((reward(&ndarray, "miner") - reward(&flex, "miner")).abs() < 1e-4);
}

/// Right after the build, before anything was trained.
#[test]
fn the_shipped_checkpoint_answers_where_none_was_trained() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("checkpoints/default");
    let copy = folder.join("checkpoints/default");
    fs::create_dir_all(&copy).unwrap();
    let mut bytes = 0;
    for file in fs::read_dir(shipped).unwrap() {
        let file = file.unwrap();
        bytes += fs::copy(file.path(), copy.join(file.file_name())).unwrap();
    }
    assert!(bytes <= 1_000_000, "the shipped checkpoint has {bytes} bytes");
    assert!(succeed(convminer(folder).arg("inspect")).contains("checkpoints/default"));
    generate(folder, "rule", 50, 5, "new.csv");
    let answers = succeed(convminer(folder).args(["predict", "--data", "new.csv", "--out", "-"]));
    assert_eq!(answers.lines().count(), 51);
    // One that was trained goes before it.
    train(folder, "new.csv", "checkpoints/own");
    assert!(succeed(convminer(folder).arg("inspect")).contains("checkpoints/own"));
}

/// Single rows take a path of their own: for trained networks of every architecture, with what
/// training did to norms, gates and bends, it must say what Burn says.
#[test]
fn trained_networks_say_the_same_by_either_path() {
    let (conversations, truths) = examples(Challenge::Rule, 1500, 11);
    let member = |stage: &str, name: &str| {
        format!("[[{stage}]]\narchitecture = '{name}'\nepochs = 3\nleast_steps = 0\n")
    };
    let names = ["mixture", "tabular", "residual", "mlp"];
    let mut text = "folds = 1\n".to_owned();
    text.extend(names.iter().map(|name| member("classifier", name)));
    text.extend(names[1..].iter().map(|name| member("regressor", name)));
    let config = TrainConfig::from_toml(&text).unwrap();
    let device = DeviceChoice::Cpu.open().unwrap();
    let trained =
        convminer::train::train(&conversations, &truths, &config, &device, &mut ()).unwrap();
    let predictor = trained.predictor;
    let ensemble = predictor.ensemble.as_ref().unwrap();
    let rows = predictor.scaler.rows(&conversations[..100]);
    let tensors = ensemble.outputs_by(ForwardPath::Tensors, &rows);
    let lean = ensemble.outputs_by(ForwardPath::Lean, &rows);
    for (tensors, lean) in tensors.iter().zip(&lean) {
        let (p, q) = (tensors.probability.unwrap(), lean.probability.unwrap());
        assert!((p - q).abs() < 1e-5, "{p} and {q}");
        let (t, u) = (tensors.time_seconds.unwrap(), lean.time_seconds.unwrap());
        assert!((t / u - 1.0).abs() < 1e-5, "{t} and {u}");
    }
    let spread = |values: Vec<f64>| values.iter().copied().fold(f64::MIN, f64::max);
    assert!(spread(lean.iter().filter_map(|output| output.probability).collect()) > 0.6);
}
