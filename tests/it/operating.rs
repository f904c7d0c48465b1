//! What an operator does to a running miner: restarts it, and replaces its files.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use convminer::chain::Keypair;

use crate::hostile::{Caller, read_response};
use crate::serve::Miner;
use crate::support::{convminer, generate, signal, succeed, train};

/// How long anything may take that is known to come.
const PATIENCE: Duration = Duration::from_secs(60);

/// A wallet in `folder`, and the flags that name it.
pub(crate) fn wallet(folder: &Path) -> Vec<String> {
    let seed = [7; 32];
    let keys = folder.join("wallets/w/hotkeys");
    fs::create_dir_all(&keys).unwrap();
    let file = json!({
        "secretSeed": format!("0x{}", "07".repeat(32)),
        "ss58Address": Keypair::from_seed(&seed).address(),
    });
    fs::write(keys.join("h"), file.to_string()).unwrap();
    let path = format!("--wallet.path={}", folder.join("wallets").display());
    vec![path, "--wallet.name=w".to_owned(), "--wallet.hotkey=h".to_owned()]
}

pub(crate) fn start(folder: &Path, wallet: &[String], more: &[&str]) -> Miner {
    let arguments: Vec<&str> = wallet.iter().map(String::as_str).chain(more.to_vec()).collect();
    Miner::start(folder, &[&["--axon.ip=127.0.0.1"], &arguments[..]].concat())
}

pub(crate) fn shipped() -> String {
    format!("--checkpoint={}/checkpoints/default", env!("CARGO_MANIFEST_DIR"))
}

/// The status of a request as it is.
fn status_of(miner: &Miner, request: &[u8]) -> u16 {
    use std::io::Write as _;
    let mut stream = std::net::TcpStream::connect(&miner.listening).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request).unwrap();
    read_response(&mut stream).unwrap().0
}

pub(crate) fn log(folder: &Path) -> String {
    fs::read_to_string(folder.join("serve.log")).unwrap()
}

pub(crate) fn wait_until(what: &str, folder: &Path, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "{what}: {}", log(folder));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_request_is_answered_once_however_the_miner_was_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let wallet = wallet(folder);
    let shipped = shipped();
    let flags = ["--allow-unregistered", &shipped];
    let mut captured: Vec<Vec<u8>> = Vec::new();
    for how in ["TERM", "KILL", "KILL", "TERM"] {
        let mut miner = start(folder, &wallet, &flags);
        for old in &captured {
            assert_eq!(status_of(&miner, old), 401, "replayed before {how}");
        }
        let caller = Caller { keypair: Keypair::generate(), axon: miner.hotkey.clone() };
        let request = caller.request();
        assert_eq!(status_of(&miner, &request), 200, "{}", log(folder));
        assert_eq!(status_of(&miner, &request), 401, "replayed at once");
        captured.push(request);
        signal(&miner.child, how);
        assert_eq!(miner.child.wait().unwrap().success(), how == "TERM", "{}", log(folder));
    }
    let hotkey = Keypair::from_seed(&[7; 32]).address().to_owned();
    let file = folder.join(format!("data/state/nonces.{hotkey}.json"));
    let state: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(state["is_last"], true);

    // A damaged file stops no miner, is not thrown away, and lets nothing be replayed.
    fs::write(&file, "{\"format_version\": 1, \"call").unwrap();
    let miner = start(folder, &wallet, &flags);
    for old in &captured {
        assert_eq!(status_of(&miner, old), 401);
    }
    assert!(log(folder).contains("set aside"), "{}", log(folder));
    let names = fs::read_dir(folder.join("data/state")).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.iter().any(|name| name.to_string_lossy().contains("damaged")), "{names:?}");
}

#[test]
fn a_metagraph_that_is_replaced_counts_and_a_broken_one_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (one, two) = (Keypair::generate(), Keypair::generate());
    let write = |keys: &[&Keypair]| {
        let neurons: Vec<Value> = keys
            .iter()
            .map(|key| {
                json!({"uid": 0, "hotkey": key.address(), "stake": 1.0, "validator_permit": true})
            })
            .collect();
        fs::write(folder.join("new.json"), Value::from(neurons).to_string()).unwrap();
        fs::rename(folder.join("new.json"), folder.join("metagraph.json")).unwrap();
    };
    write(&[&one]);
    let miner = start(folder, &[], &["--metagraph=metagraph.json", &shipped()]);
    let ask = |keypair: &Keypair| {
        let caller = Caller { keypair: keypair.clone(), axon: miner.hotkey.clone() };
        status_of(&miner, &caller.request())
    };
    assert_eq!((ask(&one), ask(&two)), (200, 403));
    write(&[&two]);
    wait_until("the new file", folder, || ask(&two) == 200);
    assert_eq!(ask(&one), 403);
    fs::write(folder.join("metagraph.json"), "[{").unwrap();
    wait_until("told", folder, || log(folder).contains("the old content stays"));
    assert_eq!((ask(&one), ask(&two)), (403, 200));
    write(&[&one, &two]);
    wait_until("mended", folder, || ask(&one) == 200);
}

#[test]
fn lists_of_hotkeys() {
    let folder = tempfile::tempdir().unwrap();
    let (wanted, unwanted) = (Keypair::generate(), Keypair::generate());
    let white = format!("--whitelist.hotkeys={},{}", wanted.address(), unwanted.address());
    let black = format!("--blacklist.hotkeys={}", unwanted.address());
    let miner = start(folder.path(), &[], &[&white, &black, &shipped()]);
    for (keypair, status) in [(wanted, 200), (unwanted, 403), (Keypair::generate(), 403)] {
        let caller = Caller { keypair, axon: miner.hotkey.clone() };
        assert_eq!(status_of(&miner, &caller.request()), status);
    }
}

/// While questions go on without a pause, `latest` names one checkpoint after the other, and a
/// damaged one in between: each answer is that of a whole checkpoint, and none is lost.
#[test]
fn another_checkpoint_is_taken_up_without_losing_a_request() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    generate(folder, "noisy", 300, 1, "a.parquet");
    generate(folder, "rule", 300, 2, "b.parquet");
    generate(folder, "noisy", 5, 3, "ask.parquet");
    train(folder, "a.parquet", "checkpoints/a");
    train(folder, "b.parquet", "checkpoints/b");
    let damaged = folder.join("checkpoints/c");
    fs::create_dir(&damaged).unwrap();
    for entry in fs::read_dir(folder.join("checkpoints/b")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), damaged.join(entry.file_name())).unwrap();
    }
    fs::write(damaged.join("scaler.json"), "{}").unwrap();
    let name = |checkpoint: &str| {
        fs::write(folder.join("checkpoints/new"), format!("{checkpoint}\n")).unwrap();
        fs::rename(folder.join("checkpoints/new"), folder.join("checkpoints/latest")).unwrap();
    };
    let predicted = |checkpoint: &str| -> Vec<f64> {
        let path = format!("checkpoints/{checkpoint}");
        let arguments = ["predict", "--data", "ask.parquet", "--checkpoint", &path];
        let lines = succeed(convminer(folder).args(arguments));
        lines.lines().skip(1).map(|l| l.rsplit(',').next().unwrap().parse().unwrap()).collect()
    };
    let (of_a, of_b) = (predicted("a"), predicted("b"));
    let alike = |found: &[f64], expected: &[f64]| {
        found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-4)
    };
    assert!(!alike(&of_a, &of_b));

    name("a");
    let miner = start(folder, &[], &["--allow-unregistered"]);
    let asked = || -> Vec<f64> {
        let mut query: Command = miner.query(folder, "ask.parquet");
        let lines = succeed(&mut query);
        let answers = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        answers.filter_map(|answer| answer["confidence"].as_f64()).collect()
    };
    assert!(alike(&asked(), &of_a));
    name("c");
    wait_until("refused", folder, || {
        assert!(alike(&asked(), &of_a));
        log(folder).contains("the old content stays")
    });
    name("b");
    wait_until("taken up", folder, || {
        let answers = asked();
        assert_eq!(answers.len(), 5);
        alike(&answers, &of_b)
    });
}
