//! A miner and its caller as two processes.

use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{convminer, fail, generate, signal, succeed, train};

/// A running `convminer serve`, ended with the test.
pub(crate) struct Miner {
    pub(crate) child: Child,
    pub(crate) listening: String,
    pub(crate) hotkey: String,
}

impl Miner {
    pub(crate) fn start(folder: &Path, arguments: &[&str]) -> Miner {
        let mut child = convminer(folder)
            // No wallet of whoever runs the tests.
            .env("HOME", folder)
            .args(["serve", "--axon.port=0", "--admin.listen=127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(fs::File::create(folder.join("serve.log")).unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap_or_else(|_| {
            panic!("not ready: {}", fs::read_to_string(folder.join("serve.log")).unwrap())
        });
        let text = |key: &str| ready[key].as_str().unwrap().to_owned();
        Miner { child, listening: text("listening"), hotkey: text("hotkey") }
    }

    pub(crate) fn query(&self, folder: &Path, data: &str) -> Command {
        let mut command = convminer(folder);
        command.env("HOME", folder).args(["query", "--axon", &self.listening]);
        command.args(["--hotkey", &self.hotkey, "--data", data, "--json"]);
        command
    }
}

impl Drop for Miner {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn asked_over_the_network_it_answers_as_predict_does() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    generate(folder, "noisy", 1500, 1, "train.parquet");
    generate(folder, "noisy", 40, 2, "ask.parquet");
    train(folder, "train.parquet", "checkpoints/a");
    let mut miner = Miner::start(folder, &["--allow-unregistered"]);
    assert!(miner.listening.starts_with("127.0.0.1:"), "a development key must stay on loopback");

    let asked = succeed(&mut miner.query(folder, "ask.parquet"));
    let predicted = succeed(convminer(folder).args(["predict", "--data", "ask.parquet"]));
    let answers: Vec<Value> = asked.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let answers: Vec<&Value> = answers.iter().filter(|a| a.get("session_id").is_some()).collect();
    assert_eq!(answers.len(), 40, "{asked}");
    for (answer, line) in answers.iter().zip(predicted.lines().skip(1)) {
        let cells: Vec<&str> = line.split(',').collect();
        assert_eq!(answer["session_id"], cells[0]);
        assert_eq!(answer["conversion_happened"].to_string(), cells[1]);
        for (key, cell) in [("time_to_conversion_seconds", 2), ("confidence", 3)] {
            let (found, expected) =
                (answer[key].as_f64().unwrap(), cells[cell].parse::<f64>().unwrap());
            assert!((found - expected).abs() < 1e-4 * expected.abs(), "{key}: {answer} {line}");
        }
    }

    signal(&miner.child, "TERM");
    assert!(miner.child.wait().unwrap().success());
    let log = fs::read_to_string(folder.join("serve.log")).unwrap();
    assert!(log.contains("DEVELOPMENT KEY"), "{log}");
    assert!(log.contains("stopped"), "{log}");
}

/// What `convminer calibrate` writes is answered with while serving, unless it is damaged.
#[test]
fn a_new_calibration_needs_no_restart() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    generate(folder, "noisy", 600, 1, "train.parquet");
    generate(folder, "noisy", 300, 2, "fresh.parquet");
    // All that is true of them is not any more.
    let flipped = "generate --challenge noisy --flip-rate 1 --rows 300 --seed 2 --out flipped.csv";
    succeed(convminer(folder).args(flipped.split(' ')));
    generate(folder, "noisy", 10, 3, "ask.parquet");
    train(folder, "train.parquet", "checkpoints/a");
    succeed(convminer(folder).args("calibrate --data fresh.parquet --method bins".split(' ')));
    let miner = Miner::start(folder, &["--allow-unregistered"]);
    let log = || fs::read_to_string(folder.join("serve.log")).unwrap();
    let asked = || -> Vec<f64> {
        let lines = succeed(&mut miner.query(folder, "ask.parquet"));
        let answers = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        answers.filter_map(|answer| answer["confidence"].as_f64()).collect()
    };
    let predicted = || -> Vec<f64> {
        let lines = succeed(convminer(folder).args(["predict", "--data", "ask.parquet"]));
        lines.lines().skip(1).map(|l| l.rsplit(',').next().unwrap().parse().unwrap()).collect()
    };
    let alike = |found: &[f64], expected: &[f64]| {
        let pairs = found.iter().zip(expected);
        found.len() == 10 && pairs.into_iter().all(|(f, e)| (f - e).abs() < 1e-4)
    };
    let before = predicted();
    assert!(alike(&asked(), &before));

    let update = "calibrate --data flipped.csv --update --half-life-rows 20";
    succeed(convminer(folder).args(update.split(' ')));
    let after = predicted();
    assert!(!alike(&after, &before), "{after:?}");
    let started = Instant::now();
    while !alike(&asked(), &after) {
        assert!(started.elapsed() < Duration::from_secs(60), "{}", log());
    }
    assert!(log().contains("INFO"), "{}", log());
    assert!(log().contains("calibration.json"), "{}", log());

    fs::write(folder.join("checkpoints/a/calibration.json"), "{").unwrap();
    while !log().contains("unusable") {
        assert!(started.elapsed() < Duration::from_secs(60), "{}", log());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(alike(&asked(), &after));
}

#[test]
fn nobody_may_call_a_miner_that_knows_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    generate(folder, "rule", 60, 1, "train.csv");
    train(folder, "train.csv", "checkpoints/a");
    let miner = Miner::start(folder, &[]);
    let output = miner.query(folder, "train.csv").args(["--limit", "1"]).output().unwrap();
    assert!(!output.status.success());
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(text.contains("403"), "{text}");
    let log = fs::read_to_string(folder.join("serve.log")).unwrap();
    assert!(log.contains("every caller is refused with 403"), "{log}");
}

/// Who connects and says nothing must not turn a stop into a failure.
#[test]
fn an_idle_connection_does_not_spoil_a_stop() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    generate(folder, "rule", 60, 1, "train.csv");
    train(folder, "train.csv", "checkpoints/a");
    let mut miner = Miner::start(folder, &["--allow-unregistered"]);
    let mut stream = TcpStream::connect(&miner.listening).unwrap();
    stream.write_all(b"POST /Conv").unwrap();
    signal(&miner.child, "TERM");
    assert!(miner.child.wait().unwrap().success());
}

#[test]
fn a_wallet_that_was_named_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    generate(folder, "rule", 60, 1, "train.csv");
    train(folder, "train.csv", "checkpoints/a");
    let stderr =
        fail(convminer(folder).args(["serve", "--wallet.path", "none", "--axon.port", "0"]));
    assert!(stderr.contains("none/default/hotkeys/default"), "{stderr}");
}
