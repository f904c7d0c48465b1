//! `convminer outcomes` and `convminer data`, against a data API with faults.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use convminer::clock::{Clock as _, Moment, SystemClock};
use convminer::features::table::{self, LabelMode};
use convminer::outcomes::OutcomeSet;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{convminer, signal, succeed, transcript};

const KEY: &str = "s3cret-k3y";

/// A data API. What it does wrong, the name of a conversation says.
#[derive(Clone, Default)]
struct Api {
    /// How often was asked for each conversation, or page.
    asked: Arc<Mutex<BTreeMap<String, usize>>>,
    /// How long it thinks.
    delay: Duration,
}

/// What to send.
struct Answer {
    status: u16,
    headers: String,
    body: String,
    /// So much of the body is sent.
    sent: usize,
}

impl Answer {
    fn new(status: u16, body: String) -> Answer {
        let sent = body.len();
        Answer { status, headers: String::new(), body, sent }
    }
}

impl Api {
    /// Answers from now on, at the address given back.
    fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let api = self.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let api = api.clone();
                thread::spawn(move || api.serve(stream));
            }
        });
        format!("http://{address}")
    }

    fn times_asked(&self, id: &str) -> usize {
        self.asked.lock().unwrap().get(id).copied().unwrap_or(0)
    }

    fn times_asked_at_all(&self) -> usize {
        self.asked.lock().unwrap().values().sum()
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let Some(Ok(first)) = lines.next() else { return };
        let headers: Vec<String> =
            lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
        let has_key =
            headers.iter().any(|line| line.eq_ignore_ascii_case(&format!("x-api-key: {KEY}")));
        let target = first.split(' ').nth(1).unwrap();
        let answer = match has_key {
            true => self.answer(target),
            false => Some(Answer::new(401, json!({"message": "who are you?"}).to_string())),
        };
        if let Some(Answer { status, headers, body, sent }) = answer {
            let length = body.len();
            let _ = write!(
                stream,
                "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n{}",
                &body[..sent]
            );
        }
        let _ = stream.shutdown(Shutdown::Both);
    }

    fn answer(&self, target: &str) -> Option<Answer> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let parameters: BTreeMap<&str, &str> =
            query.split('&').filter_map(|pair| pair.split_once('=')).collect();
        match path {
            "/v1/bittensor/analytics/validation-data" => self.truth(parameters["test_pk"]),
            "/v1/bittensor/analytics/training-data" => Some(self.page("train", &parameters)),
            "/v1/bittensor/analytics/test-data" => Some(self.page("test", &parameters)),
            _ => Some(Answer::new(404, String::new())),
        }
    }

    fn count(&self, id: &str) -> usize {
        let mut asked = self.asked.lock().unwrap();
        let count = asked.entry(id.to_owned()).or_default();
        *count += 1;
        *count
    }

    fn truth(&self, id: &str) -> Option<Answer> {
        let is_first = self.count(id) == 1;
        thread::sleep(self.delay);
        let body = |id: &str| {
            let labels = label(id);
            let deadline = "2026-01-01T00:00:00Z";
            json!({"test_pk": id, "labels": labels, "submissionDeadline": deadline}).to_string()
        };
        let good = Answer::new(200, body(id));
        let (kind, _) = id.split_once('.').unwrap();
        Some(match kind {
            "unknown" => Answer::new(404, json!({"message": "no such test_pk"}).to_string()),
            _ if kind.starts_with("broken") => Answer::new(500, String::new()),
            "error" if is_first => Answer::new(500, "<html>oops</html>".to_owned()),
            "slow" if is_first => {
                thread::sleep(Duration::from_millis(900));
                good
            }
            "half" if is_first => Answer { sent: good.body.len() / 2, ..good },
            "silent" if is_first => return None,
            "swapped" if is_first => Answer::new(200, body("other.1")),
            "busy" if is_first => Answer {
                headers: "retry-after: 1\r\n".to_owned(),
                ..Answer::new(429, String::new())
            },
            "stranger" => Answer::new(200, body("other.2")),
            _ => good,
        })
    }

    /// 250 rows, at most 100 at once; pages fail the first time.
    fn page(&self, set: &str, parameters: &BTreeMap<&str, &str>) -> Answer {
        let number = |name: &str| parameters[name].parse::<usize>().unwrap();
        let (limit, offset) = (number("limit").min(100), number("offset"));
        if self.count(&format!("{set} {offset}")) == 1 {
            return Answer::new(502, String::new());
        }
        let rows = offset.min(250)..(offset + limit).min(250);
        let ids: Vec<String> = rows.clone().map(|row| format!("{set}-{row}")).collect();
        let features: Vec<Value> = rows
            .clone()
            .map(|row| {
                let time = if row % 3 == 0 { 40.0 + row as f64 } else { -1.0 };
                json!([row, "1.25", -1, row % 2 == 0, time])
            })
            .collect();
        let targets: Vec<Value> = rows
            .map(|row| {
                let converted = row % 3 == 0;
                [json!(converted), json!(u8::from(converted)), json!(converted.to_string())]
                    [row % 7 % 3]
                    .clone()
            })
            .collect();
        let names = [
            "conversationDurationSeconds",
            "messageRatio",
            "hourOfDay",
            "hasTargetEntity",
            "timeToConversionSeconds",
        ];
        let mut page = json!({"ids": ids, "features_list": names, "round_number": 12});
        page[format!("{set}_features")] = features.into();
        if set == "train" {
            page["train_targets"] = targets.into();
        }
        // As Python writes what is missing.
        Answer::new(200, page.to_string().replace("[7,\"1.25\",-1,", "[NaN,\"1.25\",-1,"))
    }
}

/// The label that the API has for a conversation, in one of the forms that are seen.
fn label(id: &str) -> Value {
    let (kind, number) = id.split_once('.').unwrap();
    let number: usize = number.parse().unwrap();
    let converted = converted(id);
    match (kind, number % 4) {
        ("pending", _) => Value::Null,
        ("nonsense", _) => json!("perhaps"),
        (_, 0) => json!(converted),
        (_, 1) => json!(u8::from(converted)),
        (_, 2) => json!(if converted { "True" } else { "False" }),
        (_, _) => json!(u8::from(converted).to_string()),
    }
}

fn converted(id: &str) -> bool {
    let (_, number) = id.split_once('.').unwrap();
    number.parse::<usize>().unwrap() % 3 == 0
}

/// A folder in whose journal these conversations were answered.
fn answered<'a>(ids: impl IntoIterator<Item = &'a str>) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let now_ns = SystemClock.now_ns();
    let journal = folder.path().join("data/predictions");
    fs::create_dir_all(&journal).unwrap();
    let lines: String = (0..)
        .zip(ids)
        .map(|(nonce, id)| {
            let record = json!({
                "time_ns": now_ns + nonce, "validator": "5V", "nonce": nonce, "test_pk": id,
                "session_id": id, "features": vec![Value::Null; 40], "coverage": 0.0,
                "answer": {"converted": false, "time_seconds": -1.0, "confidence": 0.2},
                "model": "ensemble", "checkpoint": "first", "response_time_seconds": 0.01,
                "sampled": "all",
            });
            format!("{record}\n")
        })
        .collect();
    let day = Moment::of_ns(now_ns).date();
    fs::write(journal.join(format!("{day}.jsonl")), lines).unwrap();
    folder
}

/// The program as it asks an API at `base`, without patience.
fn asking(folder: &Path, arguments: &str, base: &str) -> Command {
    let mut command = convminer(folder);
    command
        .args(arguments.split(' '))
        .args(["--api.url", &format!("{base}/v1/"), "--rate", "2000", "--api.timeout", "0.4"])
        .args(["--api.backoff", "0.01", "--api.pause", "0.02"])
        .env("NO_PROXY", "127.0.0.1")
        .env("CONVMINER_API_KEY", KEY);
    command
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(!transcript(&output).contains(KEY), "{}", transcript(&output));
    output
}

fn known(folder: &Path) -> BTreeMap<String, bool> {
    let set = OutcomeSet::read(&folder.join("data/outcomes")).unwrap();
    assert_eq!((set.torn(), set.unreadable().len()), (0, 0));
    set.iter().map(|outcome| (outcome.id.clone(), outcome.converted)).collect()
}

fn lines(folder: &Path) -> usize {
    let files =
        fs::read_dir(folder.join("data/outcomes")).unwrap().map(|file| file.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|it| it == "jsonl"));
    files.map(|path| fs::read_to_string(path).unwrap().lines().count()).sum()
}

#[test]
fn fetch_stores_what_the_api_knows_through_its_faults() {
    let kinds = ["good", "error", "slow", "half", "silent", "swapped", "busy"];
    let mut good: Vec<String> = kinds.iter().map(|kind| format!("{kind}.1")).collect();
    good.extend((2..40).map(|number| format!("good.{number}")));
    let not_yet = ["unknown.1", "pending.2"];
    let failing = ["nonsense.1", "stranger.2"];
    let ids = good.iter().map(String::as_str).chain(not_yet).chain(failing);
    let folder = answered(ids);
    let api = Api::default();
    let base = api.start();

    let output = run(&mut asking(folder.path(), "-vv outcomes fetch --json", &base));
    assert_eq!(output.status.code(), Some(1), "{}", transcript(&output));
    let expected: BTreeMap<String, bool> =
        good.iter().map(|id| (id.clone(), converted(id))).collect();
    assert_eq!(known(folder.path()), expected);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["known"], &report["not_yet"]), (&json!(45), &json!(2)));
    let mut failed: Vec<&str> =
        report["failed"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap()).collect();
    failed.sort_unstable();
    assert_eq!(failed, failing);
    for kind in &kinds[1..] {
        assert_eq!(api.times_asked(&format!("{kind}.1")), 2, "{kind}");
    }

    let output = run(&mut asking(folder.path(), "outcomes fetch", &base));
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let expected =
        "4 conversations to ask for: 0 known now, 2 not yet, 2 without a usable answer\n";
    assert_eq!(stdout, expected, "{}", transcript(&output));
    assert_eq!(lines(folder.path()), 45);
}

#[test]
fn a_few_that_always_fail_starve_no_other() {
    let broken = ["broken.1", "broken.2", "broken\u{1b}[2J\nerror: x.3"];
    let good: Vec<String> = (0..9).map(|number| format!("good.{number}")).collect();
    let folder = answered(broken.into_iter().chain(good.iter().map(String::as_str)));
    let base = Api::default().start();
    let output = run(&mut asking(folder.path(), "outcomes fetch", &base));
    let text = transcript(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("9 known now, 0 not yet, 3 without"), "{text}");
    assert!(text.contains("`broken\\u{1b}[2J\\nerror: x.3`: no usable answer"), "{text}");

    // Of those that are left, not the same one each time.
    let folder = answered(["pending.1", "good.1"]);
    let base = Api::default().start();
    for _ in 0..40 {
        run(&mut asking(folder.path(), "outcomes fetch --limit 1", &base));
        if !known(folder.path()).is_empty() {
            return;
        }
    }
    panic!("the oldest one is asked for each time");
}

#[test]
fn a_killed_fetch_goes_on() {
    let ids: Vec<String> = (0..150).map(|number| format!("good.{number}")).collect();
    let folder = answered(ids.iter().map(String::as_str));
    let api = Api { delay: Duration::from_millis(4), ..Api::default() };
    let base = api.start();
    let mut child = asking(folder.path(), "-q outcomes fetch", &base).spawn().unwrap();
    let begin = Instant::now();
    while api.times_asked_at_all() < 91 {
        assert!(begin.elapsed() < Duration::from_secs(60), "it does not get that far");
        thread::sleep(Duration::from_millis(2));
    }
    signal(&child, "KILL");
    child.wait().unwrap();
    let stored = known(folder.path()).len();
    assert!((70..150).contains(&stored), "{stored}");

    let output = run(&mut asking(folder.path(), "outcomes fetch", &base));
    assert!(output.status.success(), "{}", transcript(&output));
    let expected: BTreeMap<String, bool> =
        ids.iter().map(|id| (id.clone(), converted(id))).collect();
    assert_eq!(known(folder.path()), expected);
    assert_eq!(lines(folder.path()), 150);
    let again = ids.iter().filter(|id| api.times_asked(id) == 2).count();
    assert!(again <= 21, "no more than a batch was asked for twice, but {again}");
    let output = run(&mut asking(folder.path(), "outcomes fetch", &base));
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(stdout.starts_with("nothing to ask for: of the 150"), "{stdout}");
}

#[test]
fn an_interrupted_fetch_keeps_what_it_has() {
    let ids: Vec<String> = (0..150).map(|number| format!("good.{number}")).collect();
    let folder = answered(ids.iter().map(String::as_str));
    let api = Api { delay: Duration::from_millis(4), ..Api::default() };
    let base = api.start();
    let child = asking(folder.path(), "outcomes fetch --json", &base)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let begin = Instant::now();
    while api.times_asked_at_all() < 31 {
        assert!(begin.elapsed() < Duration::from_secs(60), "it does not get that far");
        thread::sleep(Duration::from_millis(2));
    }
    signal(&child, "INT");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", transcript(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["stopped"], "it was interrupted");
    assert_eq!(report["known"], known(folder.path()).len());
}

#[test]
fn the_key_is_needed_and_never_shown() {
    let folder = answered(["good.1"]);
    let base = Api::default().start();
    for wrong in ["wr0ng-s3cret", "wr0ng s3cret", "wr0ng\ns3cret"] {
        let mut command = asking(folder.path(), "-vv outcomes fetch", &base);
        let output = run(command.env("CONVMINER_API_KEY", wrong));
        let text = transcript(&output);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(!text.contains("s3cret") && text.contains("key"), "{text}");
    }
    fs::write(folder.path().join("key"), format!("{KEY}\n")).unwrap();
    let mut command = asking(folder.path(), "outcomes fetch --api.key-file key", &base);
    let output = run(command.env_remove("CONVMINER_API_KEY"));
    assert!(output.status.success(), "{}", transcript(&output));
    let settings = format!("[outcomes]\napi.key = \"{KEY}\"\napi.url = \"{base}\"\n");
    fs::write(folder.path().join("convminer.toml"), settings).unwrap();
    for arguments in
        ["config", "config outcomes --json", "outcomes fetch --help", "outcomes fetch --x"]
    {
        let text = transcript(&run(convminer(folder.path()).args(arguments.split(' '))));
        assert!(!arguments.starts_with("config") || text.contains("***"), "{text}");
    }
}

#[test]
fn an_api_that_is_gone_is_given_up_and_one_that_knows_nobody_is_told() {
    let folder = answered(["good.1", "good.2", "good.3"]);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = run(&mut asking(folder.path(), "outcomes fetch", &format!("http://{closed}")));
    let text = transcript(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(
        text.contains("failed 11 times in a row") && text.contains("hint: run it again"),
        "{text}"
    );

    let base = Api::default().start();
    let output = run(&mut asking(folder.path(), "outcomes fetch", &format!("{base}/elsewhere")));
    let text = transcript(&output);
    assert!(text.contains("knows none of the conversations"), "{text}");

    let output = run(convminer(folder.path()).args(["outcomes", "fetch"]));
    let text = transcript(&output);
    assert!(text.contains("hint: --api.url or CONVMINER_API_URL"), "{text}");
}

#[test]
fn sets_become_tables() {
    let folder = tempfile::tempdir().unwrap();
    let api = Api::default();
    let base = api.start();
    let arguments = "data fetch --set training --out a.parquet --page-rows 100 --json";
    let output = run(&mut asking(folder.path(), arguments, &base));
    assert!(output.status.success(), "{}", transcript(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["rows"], &report["round"]), (&json!(250), &json!("12")));
    let labels = LabelMode::Required { drop_invalid: false };
    let table = table::read(&folder.path().join("a.parquet"), labels).unwrap();
    assert_eq!(table.len(), 250);
    for (row, truth) in table.truths.unwrap().into_iter().enumerate() {
        assert_eq!(table.session_ids[row].as_deref(), Some(format!("train-{row}").as_str()));
        let values = &table.conversations[row].values;
        assert!(if row == 7 { values[0].is_nan() } else { values[0] == row as f32 });
        assert_eq!((values[18], values[34]), (1.25, f32::from(u8::from(row % 2 == 0))));
        assert!(values[2].is_nan());
        let time = if row % 3 == 0 { 40.0 + row as f64 } else { -1.0 };
        assert_eq!((truth.converted, truth.time_seconds), (row % 3 == 0, time));
    }

    let arguments = "data fetch --set test --out b.parquet --page-rows 40 --limit 90";
    let output = run(&mut asking(folder.path(), arguments, &base));
    assert!(output.status.success(), "{}", transcript(&output));
    let table = table::read(&folder.path().join("b.parquet"), LabelMode::Ignored).unwrap();
    assert_eq!((table.len(), table.session_ids[89].as_deref()), (90, Some("test-89")));

    for (arguments, part) in [
        ("data fetch --out b.parquet", "--set training or --set test"),
        ("data fetch --set test --out b.csv", ".parquet or .pq"),
        ("data fetch --set test --out c.parquet --api.path /nowhere", "knows no `/nowhere`"),
    ] {
        let output = run(&mut asking(folder.path(), arguments, &base));
        let text = transcript(&output);
        assert!(output.status.code() == Some(2) && text.contains(part), "{text}");
    }
    assert!(!folder.path().join("c.parquet").exists());
}

#[test]
fn import_takes_what_makes_sense() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::write(
        path.join("a.csv"),
        "session_id,total_messages,conversion_happened,time_to_conversion_seconds\n\
         a,5,1,62.0000\nb,5,0,-1\nc,5,1,-1\nd,5,7,5\ne,5,,\n,5,1,5\nf,5,0,31\n",
    )
    .unwrap();
    fs::write(
        path.join("b.ndjson"),
        "{\"testPk\": \"b\", \"labels\": true, \"timeToConversionSeconds\": NaN}\n\
         {\"testPk\": \"c\", \"conversionHappened\": \"true\", \"timeToConversionSeconds\": \"9.5\"}\n",
    )
    .unwrap();
    let import = |arguments: &str| {
        run(convminer(path).args(["outcomes", "import"]).args(arguments.split(' ')))
    };
    let strict = import("a.csv --strict");
    assert_eq!(strict.status.code(), Some(2), "{}", transcript(&strict));
    assert!(!path.join("data/outcomes").exists());

    insta::assert_snapshot!(transcript(&import("a.csv")), @"
    exit code: 1
    --- stdout
    7 rows: 3 new, 0 known already, 0 contradicting, 1 without a label, 3 refused
    --- stderr
    warning: `a.csv`: row 4 is refused: expected its label to be 0, 1, true or false, but it is 7
    warning: `a.csv`: row 6 is refused: it has neither a test_pk nor a session_id
    warning: `a.csv`: row 7 is refused: it did not convert, but has a time of 31 s; expected -1
    ");
    let output = import("b.ndjson --json");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["new"], &report["timed"]), (&json!(0), &json!(1)));
    assert_eq!(report["contradicting"][0]["earlier"]["source"], "a.csv");
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "warning: `b` did not convert (a.csv), but now converted (b.ndjson): the later counts\n"
    );
    assert_eq!(import("b.ndjson").status.code(), Some(0));
    assert_eq!(lines(path), 5, "nothing is written twice");
    let set = OutcomeSet::read(&path.join("data/outcomes")).unwrap();
    assert_eq!(set.get("c").unwrap().time_seconds, Some(9.5));
    assert!(set.get("b").unwrap().converted);
    let shown: Value =
        serde_json::from_str(&succeed(convminer(path).args(["outcomes", "show", "--json"])))
            .unwrap();
    assert_eq!(shown["summary"]["conversations"], 3);
    assert_eq!(shown["summary"]["timed"], 2);
    assert_eq!(shown["contradictions"][0]["id"], "b");
    assert_eq!(shown["contradictions"][0]["later"]["source"], "b.ndjson");

    let generated = "generate --challenge rule --rows 50 --out g.parquet";
    succeed(convminer(path).args(generated.split(' ')));
    let output = import("g.parquet");
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("50 rows: 50 new"));
    assert_eq!(import("none.csv").status.code(), Some(2));
}
