//! The journal of a miner that is killed, and whose disk takes nothing.

use std::collections::{HashMap, HashSet};
use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use convminer::chain::Keypair;
use convminer::clock::{Clock as _, SystemClock};
use convminer::features::Conversation;
use convminer::journal::{
    Journal, JournalOptions, ReadReport, Record, RecordedAnswer, Sampled, read,
};

use crate::hostile::{Caller, read_response};
use crate::operating::{log, shipped, start, wait_until};
use crate::serve::Miner;
use crate::state::stats;
use crate::support::{fail, signal};

/// How long anything may take that is known to come.
const PATIENCE: Duration = Duration::from_secs(60);
/// Names the folder to a process that writes until it is killed.
const FOLDER: &str = "CONVMINER_TEST_JOURNAL";
/// And its number.
const RUN: &str = "CONVMINER_TEST_RUN";
/// How often the journal alone is killed, and how often a whole miner.
const KILLS: (u64, u64) = (92, 8);

/// A record whose every part follows from its nonce.
fn record(nonce: u64) -> Record {
    let mut features = Conversation::EMPTY;
    (0..40).for_each(|index| features.set(index, (nonce % 1000) as f64 + index as f64));
    let confidence = (nonce % 997) as f64 / 997.0;
    Record {
        time_ns: SystemClock.now_ns(),
        validator: "5V".to_owned(),
        nonce,
        session_id: Some(format!("session {nonce}")),
        test_pk: None,
        coverage: features.coverage(),
        features,
        raw_probability: Some(confidence),
        calibrated: None,
        answer: RecordedAnswer { converted: false, time_seconds: -1.0, confidence },
        time_quantiles: None,
        model: "m".repeat((nonce % 300) as usize),
        checkpoint: String::new(),
        response_time_seconds: 0.5,
        sampled: Sampled::All,
        shadow: None,
    }
}

/// No test of its own: the process that [`killed_a_hundred_times`] kills.
#[test]
#[ignore = "it writes until it is killed, for another test"]
fn a_process_that_writes() {
    let (Some(folder), Ok(run)) = (env::var_os(FOLDER), env::var(RUN)) else { return };
    let first = run.parse::<u64>().unwrap() << 32;
    let flush_every = Duration::from_millis(1);
    let journal =
        Journal::start(JournalOptions { flush_every, ..JournalOptions::new(folder) }).unwrap();
    let mut next = first;
    let mut out = std::io::stdout();
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        // The first so many of this run are acknowledged, since none is dropped.
        if journal.stats().waiting < 4000 {
            for _ in 0..200 {
                journal.submit(record(next));
                next += 1;
            }
        }
        assert_eq!(journal.stats().dropped, 0);
        writeln!(out, "acknowledged {}", journal.acknowledged()).unwrap();
        out.flush().unwrap();
        thread::sleep(Duration::from_millis(1));
    }
}

fn spawn_writer(folder: &Path, run: u64) -> Child {
    // This very program, though another one may have taken its place meanwhile.
    let itself = Path::new("/proc/self/exe");
    let program = if itself.exists() { itself.into() } else { env::current_exe().unwrap() };
    Command::new(program)
        .args(["--exact", "journal::a_process_that_writes", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .env(RUN, run.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// How many records it said were safe before it was killed, in a moment that differs each time.
fn kill_in_the_middle(mut child: Child, run: u64) -> u64 {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || {
        let line = lines.next()?.unwrap();
        // The test's own line may stand before it.
        Some(line.rsplit_once("acknowledged ").map_or(0, |(_, count)| count.parse().unwrap_or(0)))
    };
    while next().expect("it ended by itself") == 0 {}
    thread::sleep(Duration::from_micros(run * 7919 % 30_000));
    child.kill().unwrap();
    child.wait().unwrap();
    // Nothing is read of a line that was cut off: its number might be, too.
    let mut told = vec![0];
    while let Some(count) = next() {
        told.push(count);
    }
    told.pop();
    told.into_iter().max().unwrap_or(0)
}

/// The nonces of each validator, of which none comes twice.
fn nonces(
    folder: &Path,
    mut visit: impl FnMut(&Record),
) -> (HashMap<String, HashSet<u64>>, ReadReport) {
    let mut nonces: HashMap<String, HashSet<u64>> = HashMap::new();
    let report = read(folder, None, &mut |record| {
        visit(&record);
        let of = nonces.entry(record.validator.clone()).or_default();
        assert!(of.insert(record.nonce), "{} of {} comes twice", record.nonce, record.validator);
    });
    (nonces, report.unwrap())
}

#[test]
fn killed_a_hundred_times() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut acknowledged = Vec::new();
    for run in 0..KILLS.0 {
        acknowledged.push(kill_in_the_middle(spawn_writer(folder, run), run));
    }
    // What the last one left unfinished is set aside by the next.
    let journal = Journal::start(JournalOptions::new(folder)).unwrap();
    journal.submit(record(KILLS.0 << 32));
    drop(journal);
    let same_but_for_the_time = |found: &Record| {
        let expected = Record { time_ns: found.time_ns, ..record(found.nonce) };
        let close = |one: f64, other: f64| (one - other).abs() < 1e-12;
        assert!(close(found.answer.confidence, expected.answer.confidence), "{found:?}");
        let found = Record {
            answer: expected.answer,
            raw_probability: expected.raw_probability,
            ..found.clone()
        };
        assert_eq!(found, expected);
    };
    let (nonces, report) = nonces(folder, same_but_for_the_time);
    assert_eq!((report.torn, report.unreadable), (0, vec![]));
    let nonces = &nonces["5V"];
    for (run, count) in (0_u64..).zip(&acknowledged) {
        let lost = (0..*count).map(|index| (run << 32) + index).find(|it| !nonces.contains(it));
        assert_eq!(lost, None, "of {count} acknowledged by run {run}");
    }
    assert!(acknowledged.iter().filter(|count| **count > 0).count() > 50, "{acknowledged:?}");
}

/// Asks until the miner is gone. What was asked goes into `asked` before, what was answered is
/// counted.
fn ask_until_the_end(miner: &Miner, caller: &Caller, asked: &Mutex<Vec<u64>>) -> u64 {
    let Ok(mut stream) = TcpStream::connect(&miner.listening) else { return 0 };
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answered = 0;
    loop {
        let request = caller.request();
        let text = String::from_utf8_lossy(&request);
        let (_, nonce) = text.split_once("bt_header_dendrite_nonce: ").unwrap();
        let nonce = nonce.split_once('\r').unwrap().0.parse().unwrap();
        asked.lock().unwrap().push(nonce);
        if stream.write_all(&request).is_err() {
            return answered;
        }
        match read_response(&mut stream) {
            Some((200, ..)) => answered += 1,
            Some((status, head, body)) => panic!("{status}: {head}{body}"),
            None => return answered,
        }
    }
}

/// The miner itself, under load.
#[test]
fn a_miner_that_is_killed_loses_nothing_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let shipped = shipped();
    let flags = ["--allow-unregistered", &shipped, "--rate-limit.ip=0", "--rate-limit.hotkey=0"];
    let mut runs = Vec::new();
    for run in 0..KILLS.1 {
        let miner = start(folder, &[], &flags);
        let callers: Vec<Caller> = (0..3)
            .map(|_| Caller { keypair: Keypair::generate(), axon: miner.hotkey.clone() })
            .collect();
        let asked: Vec<Mutex<Vec<u64>>> = callers.iter().map(|_| Mutex::default()).collect();
        let acknowledged = thread::scope(|scope| {
            for (caller, asked) in callers.iter().zip(&asked) {
                let miner = &miner;
                scope.spawn(move || ask_until_the_end(miner, caller, asked));
            }
            let written = || stats(folder)["journal"]["written"].as_u64().unwrap();
            let mut acknowledged = 0;
            wait_until("written", folder, || {
                acknowledged = written();
                acknowledged > 0
            });
            thread::sleep(Duration::from_millis(run * 37 % 100));
            acknowledged = acknowledged.max(written());
            signal(&miner.child, "KILL");
            acknowledged
        });
        drop(miner);
        runs.push((callers, asked, acknowledged));
    }
    let predictions = folder.join("data/predictions");
    drop(Journal::start(JournalOptions::new(&predictions)).unwrap());
    let (nonces, report) = nonces(&predictions, |record| {
        assert_eq!(record.session_id.as_deref(), Some("a"));
        assert_eq!(record.features.values[0], 62.0);
        assert!(record.response_time_seconds > 0.0 && record.calibrated.is_some());
    });
    // A torn line at the very end stays where it is until something is appended.
    assert!(report.torn <= 1 && report.unreadable_count == 0, "{report:?}");
    for (callers, asked, acknowledged) in runs {
        let mut written = 0;
        for (caller, asked) in callers.iter().zip(asked) {
            let Some(nonces) = nonces.get(caller.keypair.address()) else { continue };
            let asked: HashSet<u64> = asked.into_inner().unwrap().into_iter().collect();
            assert!(nonces.is_subset(&asked), "nobody asked that");
            written += nonces.len() as u64;
        }
        assert!(acknowledged > 0 && written >= acknowledged, "{written} of {acknowledged}");
    }
}

/// So many questions, all of which are answered.
fn ask(miner: &Miner, questions: usize) {
    let caller = Caller { keypair: Keypair::generate(), axon: miner.hotkey.clone() };
    let mut stream = TcpStream::connect(&miner.listening).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    for _ in 0..questions {
        stream.write_all(&caller.request()).unwrap();
        assert_eq!(read_response(&mut stream).unwrap().0, 200);
    }
}

fn count(folder: &Path) -> u64 {
    let (nonces, report) = nonces(folder, |_| ());
    assert_eq!((report.torn, report.unreadable), (0, vec![]));
    nonces.values().map(|nonces| nonces.len() as u64).sum()
}

#[test]
fn what_waits_is_written_when_the_miner_stops() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let shipped = shipped();
    let flags = ["--allow-unregistered", &shipped, "--journal.dir=answers"];
    let mut miner = start(folder, &[], &flags);
    ask(&miner, 3);
    let second = crate::support::convminer(folder)
        .env("HOME", folder)
        .args(["serve", "--axon.port=0", "--admin.listen=off"])
        .args(flags)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("another process") && stderr.contains("--journal.dir"), "{stderr}");
    signal(&miner.child, "TERM");
    assert!(miner.child.wait().unwrap().success(), "{}", log(folder));
    assert_eq!(count(&folder.join("answers")), 3);
    assert!(!folder.join("data/predictions").exists());

    let miner = start(folder, &[], &["--allow-unregistered", &shipped, "--journal=off"]);
    ask(&miner, 1);
    drop(miner);
    assert!(!folder.join("data/predictions").exists());
    fail(crate::support::convminer(folder).args(["serve", "--journal.budget=little"]));
}

/// A folder that nothing can be written into, until it can.
#[test]
fn a_folder_that_is_read_only_delays_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // Whoever runs the tests may write where permissions forbid it, but not below a file.
    fs::write(folder.join("file"), "").unwrap();
    let shipped = shipped();
    let flags = ["--allow-unregistered", &shipped, "--journal.dir=file/predictions"];
    let miner = start(folder, &[], &flags);
    let journal = || stats(folder)["journal"].clone();
    ask(&miner, 50);
    wait_until("told", folder, || journal()["failing"].is_string());
    assert_eq!(journal()["dropped"], 0);
    assert_eq!(log(folder).matches("the journal cannot be written").count(), 1, "{}", log(folder));
    fs::remove_file(folder.join("file")).unwrap();
    wait_until("retried", folder, || journal()["written"] == 50);
    assert_eq!(journal()["failing"], Value::Null);
    assert!(log(folder).contains("the journal is written again"), "{}", log(folder));
    assert_eq!(count(&folder.join("file/predictions")), 50);
}

/// An aborted copy beside a day's lines, and a folder that is moved while records come.
#[test]
fn lines_outlive_what_is_done_to_their_folder() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (predictions, moved) = (folder.join("data/predictions"), folder.join("moved"));
    fs::create_dir_all(&predictions).unwrap();
    let (lines, table) =
        (predictions.join("2026-01-01.jsonl"), predictions.join("2026-01-01.parquet"));
    fs::write(&lines, serde_json::to_string(&record(1)).unwrap() + "\n").unwrap();
    fs::write(&table, "").unwrap();
    let miner = start(folder, &[], &["--allow-unregistered", &shipped()]);
    let written = || stats(folder)["journal"]["written"].clone();
    ask(&miner, 3);
    wait_until("written", folder, || written() == 3);
    wait_until("looked at", folder, || !table.exists());
    assert!(lines.exists());
    fs::rename(&predictions, &moved).unwrap();
    ask(&miner, 2);
    wait_until("written elsewhere", folder, || written() == 5);
    assert_eq!((count(&moved), count(&predictions)), (4, 2));
}

/// A miner to which a file that grows too large is an error, and not the end.
#[cfg(target_os = "linux")]
fn start_with_a_limit(folder: &Path, arguments: &[&str]) -> Miner {
    let script = "trap '' XFSZ; exec \"$0\" \"$@\"";
    let mut child = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_convminer"), "serve"])
        .args(["--axon.port=0", "--admin.listen=127.0.0.1:0"])
        .args(arguments)
        .current_dir(folder)
        .env("HOME", folder)
        .stdout(Stdio::piped())
        .stderr(fs::File::create(folder.join("serve.log")).unwrap())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{}", log(folder)));
    let text = |key: &str| ready[key].as_str().unwrap().to_owned();
    Miner { child, listening: text("listening"), hotkey: text("hotkey") }
}

/// A disk with room for some records: a limit on the size of files stands in for it.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_delays_no_answer() {
    use rlimit::Resource;

    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let miner = start_with_a_limit(folder, &["--allow-unregistered", &shipped()]);
    let limit = |bytes: u64| {
        let pid = miner.child.id() as i32;
        rlimit::prlimit(pid, Resource::FSIZE, Some((bytes, u64::MAX)), None).unwrap();
    };
    let journal = || stats(folder)["journal"].clone();
    ask(&miner, 20);
    wait_until("written", folder, || journal()["written"] == 20);
    // A little more than what is there: the next lines fit in part.
    let predictions = folder.join("data/predictions");
    let written: u64 = fs::read_dir(&predictions)
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    limit(written + 1500);
    ask(&miner, 100);
    wait_until("told", folder, || journal()["failing"].is_string());
    let stats = journal();
    assert_eq!((&stats["written"], &stats["dropped"]), (&20.into(), &0.into()));
    assert_eq!(count(&predictions), 20, "and nothing is torn");
    limit(u64::MAX);
    wait_until("retried", folder, || journal()["written"] == 120);
    assert_eq!(count(&predictions), 120);
}
