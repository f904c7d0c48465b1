//! The load generator, against an axon and against servers that misbehave.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use convminer::chain::Keypair;
use convminer::features::Conversation;
use convminer::load::{
    Candidate, Failure, Fault, LoadConfig, LoadReport, Pace, Question, questions, run,
};
use convminer::model::Model;
use convminer::serve::access::Access;
use convminer::serve::limits::Rate;
use convminer::serve::live::Live;
use convminer::serve::models::Registry;
use convminer::serve::verify::response_text;
use convminer::serve::{Axon, ServeConfig, serve};
use convminer::subnet::reward::Answer;
use serde_json::Value;

use crate::support::{convminer, fail, succeed, transcript};

/// Says that all conversations convert after 62.5 s.
struct Always;

const ANSWER: Answer = Answer { converted: true, time_seconds: 62.5, confidence: 0.75 };

impl Model for Always {
    fn predict(&self, conversations: &[Conversation]) -> Vec<Answer> {
        vec![ANSWER; conversations.len()]
    }
}

/// A real axon in this process, which ends with the test.
struct Server {
    address: SocketAddr,
    keypair: Keypair,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Server {
    fn start(access: Access) -> Server {
        let keypair = Keypair::generate();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (told, address) = std::sync::mpsc::channel();
        let mut config = ServeConfig::new(keypair.clone());
        config.access = access;
        config.hotkey_rate = Rate::UNLIMITED;
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                told.send(listener.local_addr().unwrap()).unwrap();
                let models = Registry::single(Arc::new(Always));
                let axon = Axon::start(config, Arc::new(models)).unwrap();
                serve(listener, axon, async { drop(stopped.await) }).await.unwrap();
            });
        });
        let address = address.recv().unwrap();
        Server { address, keypair, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn everybody() -> Access {
    Access { allow_unregistered: true, ..Access::default() }
}

/// Some requests of two callers over three connections.
fn config(address: SocketAddr, axon: &Keypair, requests: u64) -> LoadConfig {
    LoadConfig {
        axon: address,
        hotkey: axon.public(),
        callers: vec![Keypair::generate(), Keypair::generate()],
        connections: 3,
        pace: Pace::Closed,
        duration: Duration::from_secs(600),
        requests: Some(requests),
        timeout: Duration::from_secs(60),
        expected_per_second: 100.0,
        questions: questions(1).into(),
        checks: None,
        server: None,
    }
}

fn of(name: &str, questions: &[Question], answer: Answer) -> Candidate {
    Candidate::new(name.to_owned(), questions, |_| answer)
}

#[test]
fn a_closed_loop_gets_an_answer_to_each_request() {
    let server = Server::start(everybody());
    let mut config = config(server.address, &server.keypair, 300);
    let other = Answer { confidence: 0.5, ..ANSWER };
    config.checks =
        Some(vec![of("other", &config.questions, other), of("always", &config.questions, ANSWER)]);
    config.server = Some(std::process::id());
    let report = run(&config).unwrap();
    assert_eq!((report.sent, report.tally.answered()), (300, 300), "{:?}", report.tally.failures);
    assert!(report.answered_per_second() > 0.0);
    let latency = &report.tally.latency;
    assert!(latency.quantile(0.5) > Duration::ZERO && latency.quantile(0.5) <= latency.longest());
    assert_eq!(report.tally.lateness.count(), 0, "nothing is due in a closed loop");
    let callers: Vec<_> = report.tally.callers.iter().map(|each| each.latency.count()).collect();
    assert_eq!(callers.iter().sum::<u64>(), 300);
    assert!(callers.iter().all(|count| *count > 0), "{callers:?}");
    let checks = report.checks.unwrap();
    assert_eq!((checks.checked, checks.wrong()), (300, 0), "{:?}", checks.told);
    assert_eq!(checks.given_by, [("other".to_owned(), 0), ("always".to_owned(), 300)]);
    if cfg!(target_os = "linux") {
        assert!(report.server.unwrap().1.resident_bytes > 0);
    }
}

#[test]
fn an_answer_that_no_model_gives_is_wrong() {
    let server = Server::start(everybody());
    let mut config = config(server.address, &server.keypair, 20);
    let other = Answer { confidence: 0.5, ..ANSWER };
    config.checks = Some(vec![of("other", &config.questions, other)]);
    let checks = run(&config).unwrap().checks.unwrap();
    assert_eq!((checks.checked, checks.faults[&Fault::Answer]), (20, 20));
    assert!(checks.told[0].contains("0.75"), "{:?}", checks.told);
}

#[test]
fn an_open_loop_sends_what_is_due() {
    let server = Server::start(everybody());
    let config = LoadConfig {
        pace: Pace::Open { per_second: 500.0 },
        duration: Duration::from_millis(400),
        requests: None,
        ..config(server.address, &server.keypair, 0)
    };
    let report = run(&config).unwrap();
    assert_eq!((report.sent, report.tally.answered()), (200, 200), "{:?}", report.tally.failures);
    assert_eq!(report.tally.lateness.count(), 200);
    assert!(report.elapsed >= Duration::from_millis(398), "the last is due after 398 ms");
}

#[test]
fn who_may_not_call_is_counted_as_refused() {
    let server = Server::start(Access::default());
    let report = run(&config(server.address, &server.keypair, 10)).unwrap();
    assert_eq!(report.tally.answered(), 0);
    assert_eq!(report.tally.failures[&Failure::Refused(403)], 10);
    // A request to another axon.
    let server = Server::start(everybody());
    let report = run(&config(server.address, &Keypair::generate(), 10)).unwrap();
    assert_eq!(report.tally.failures[&Failure::Refused(401)], 10);
}

/// A server that takes one connection at a time and gives each request what `answer` says, which
/// gets the request's number and text. It hangs up where that says so.
fn scripted<F>(answer: F) -> SocketAddr
where
    F: Fn(usize, &str) -> (Vec<u8>, bool) + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let mut number = 0;
        for mut stream in listener.incoming().flatten() {
            while let Some(request) = request(&mut stream) {
                let (response, hangs_up) = answer(number, &request);
                number += 1;
                if stream.write_all(&response).is_err() || hangs_up {
                    break;
                }
            }
        }
    });
    address
}

/// The next request, if there is one.
fn request(stream: &mut TcpStream) -> Option<String> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.split_once("Content-Length: ").unwrap().1;
            let length: usize = length.split_once("\r\n").unwrap().0.parse().unwrap();
            if body.len() == length {
                return Some(text);
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\nbt_header_axon_status_code: 200\r\n";

fn one_connection(address: SocketAddr, axon: &Keypair, requests: u64) -> LoadConfig {
    let mut config = config(address, axon, requests);
    config.connections = 1;
    config.callers.truncate(1);
    config
}

#[test]
fn each_way_to_fail_is_counted_as_what_it_is() {
    let cases: [(&str, bool, Result<(), Failure>); 9] = [
        ("content-length: 2\r\n\r\n{}", false, Ok(())),
        ("transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", false, Ok(())),
        ("\r\nuntil it is closed", true, Ok(())),
        ("content-length: 2\r\nconnection: close\r\n\r\n{}", true, Ok(())),
        ("content-length: 9\r\n\r\n{}", true, Err(Failure::BrokenOff)),
        ("transfer-encoding: chunked\r\n\r\n2\r\n{", true, Err(Failure::BrokenOff)),
        ("transfer-encoding: chunked\r\n\r\nzz\r\n{", true, Err(Failure::Malformed)),
        ("content-length: 1\r\n\r\n{}", true, Err(Failure::Malformed)),
        ("content-length: -1\r\n\r\n", true, Err(Failure::Malformed)),
    ];
    let count = cases.len();
    let address = scripted(move |number, _| {
        let (rest, hangs_up, _) = cases[number % count];
        (format!("{OK}{rest}").into_bytes(), hangs_up)
    });
    let report = run(&one_connection(address, &Keypair::generate(), 2 * count as u64)).unwrap();
    assert_eq!(report.tally.answered(), 8, "{:?}", report.tally.failures);
    let failures: Vec<_> = report.tally.failures.into_iter().collect();
    assert_eq!(failures, [(Failure::BrokenOff, 4), (Failure::Malformed, 6)]);
}

#[test]
fn a_refusal_is_counted_by_its_status() {
    let address = scripted(|number, _| {
        let head = match number % 3 {
            0 => "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n",
            1 => "HTTP/1.1 200 OK\r\nbt_header_axon_status_code: 500\r\n",
            _ => OK,
        };
        (format!("{head}content-length: 2\r\n\r\n{{}}").into_bytes(), false)
    });
    let report = run(&one_connection(address, &Keypair::generate(), 30)).unwrap();
    assert_eq!(report.tally.answered(), 10);
    assert_eq!(report.tally.failures[&Failure::Refused(503)], 10);
    assert_eq!(report.tally.failures[&Failure::NoSuccess], 10);
}

#[test]
fn nobody_there_and_no_answer_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let silent = LoadConfig {
        timeout: Duration::from_millis(50),
        ..one_connection(address, &Keypair::generate(), 3)
    };
    assert_eq!(run(&silent).unwrap().tally.failures[&Failure::TimedOut], 3);
    drop(listener);
    let report = run(&one_connection(address, &Keypair::generate(), 2)).unwrap();
    assert_eq!(report.tally.failures[&Failure::NotConnected], 2);
}

/// The server sleeps once while a request is due every 5 ms; no machine makes these waits shorter.
#[test]
fn a_stall_is_charged_to_all_who_waited() {
    const STALL: Duration = Duration::from_millis(400);
    let address = scripted(|number, _| {
        if number == 10 {
            thread::sleep(STALL);
        }
        (format!("{OK}content-length: 2\r\n\r\n{{}}").into_bytes(), false)
    });
    let config = LoadConfig {
        pace: Pace::Open { per_second: 200.0 },
        ..one_connection(address, &Keypair::generate(), 120)
    };
    let report = run(&config).unwrap();
    assert_eq!(report.tally.answered(), 120);
    assert!(report.tally.latency.longest() >= STALL);
    // By hand: of 400 ms of stall the requests that are due in its first 200 ms, which are 40, wait
    // for at least 200 ms: a third of all 120. A closed loop would count one slow answer.
    assert!(report.tally.latency.quantile(0.7) >= STALL / 2 - Duration::from_millis(5));
}

/// Answers as an axon would, but with another's signature at every second request.
#[test]
fn a_wrong_signature_is_found() {
    let (axon, thief) = (Keypair::generate(), Keypair::generate());
    let signer = axon.clone();
    let address = scripted(move |number, request| {
        let header = |name: &str| {
            let rest = request.split_once(&format!("\r\n{name}: ")).unwrap().1;
            rest.split_once("\r\n").unwrap().0.to_owned()
        };
        let features = request.split_once("\"features\": ").unwrap().1;
        let features = &features[..=features.find('}').unwrap()];
        let body = format!(
            "{{\"features\": {features}, \"confidence\": 0.75, \"prediction\": \
             {{\"conversion_happened\": 1, \"time_to_conversion_seconds\": 62.5}}}}"
        );
        let text = response_text(7, &header("bt_header_dendrite_hotkey"), signer.address(), "u");
        let signature = if number % 2 == 0 { signer.sign(&text) } else { thief.sign(&text) };
        let response = format!(
            "{OK}bt_header_axon_hotkey: {}\r\nbt_header_axon_nonce: 7\r\n\
             bt_header_axon_uuid: u\r\nbt_header_axon_signature: {signature}\r\n\
             content-length: {}\r\n\r\n{body}",
            signer.address(),
            body.len()
        );
        (response.into_bytes(), false)
    });
    let mut config = one_connection(address, &axon, 20);
    config.checks = Some(Vec::new());
    let report: LoadReport = run(&config).unwrap();
    assert_eq!(report.tally.answered(), 20);
    let checks = report.checks.unwrap();
    assert_eq!(checks.faults.into_iter().collect::<Vec<_>>(), [(Fault::Signature, 10)]);
}

#[test]
fn the_command_measures_and_prints_json() {
    let server = Server::start(everybody());
    let folder = tempfile::tempdir().unwrap();
    let (axon, hotkey) = (server.address.to_string(), server.keypair.address().to_owned());
    let bench = |arguments: &str| {
        let mut command = convminer(folder.path());
        command.env("HOME", folder.path()).args(["bench", "serve", "--axon", &axon]);
        command.args(["--hotkey", &hotkey]).args(arguments.split(' '));
        command
    };
    let json = "--requests 50 --warm-up 0.05 --callers 2 --verify-answers --json";
    let found: Value = serde_json::from_str(&succeed(&mut bench(json))).unwrap();
    let load = &found["runs"][0];
    assert_eq!((&load["loop"], &load["answered"]), (&"closed".into(), &50.into()), "{found:#}");
    assert_eq!((&load["checks"]["checked"], &load["checks"]["wrong"]), (&50.into(), &0.into()));
    assert_eq!(load["callers"].as_array().unwrap().len(), 2);
    for quantile in ["mean", "p50", "p90", "p99", "p99.9", "max"] {
        assert!(load["latency_ms"][quantile].as_f64().unwrap() > 0.0, "{quantile}");
    }
    let text = succeed(&mut bench("--duration 0.2 --warm-up 0.05 --find-max --connections 2"));
    assert!(text.contains("closed loop, 2 connections\n"), "{text}");
    assert!(text.contains("\nopen loop, "), "{text}");
    assert_eq!(text.matches("p99.9").count(), 3, "{text}");

    // Another axon's key: every request is refused, and so the answer is no.
    let stranger = Keypair::generate();
    let mut refused = convminer(folder.path());
    refused.env("HOME", folder.path()).args(["bench", "serve", "--axon", &axon, "--hotkey"]);
    refused.args([stranger.address(), "--requests", "5", "--warm-up", "0"]);
    let output = refused.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", transcript(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("5 refused with 401"), "{text}");
}

#[test]
fn the_callers_can_be_made_known() {
    let folder = tempfile::tempdir().unwrap();
    let bench = |arguments: &str| {
        let mut command = convminer(folder.path());
        command.env("HOME", folder.path()).args(["bench", "serve"]).args(arguments.split(' '));
        command
    };
    succeed(&mut bench("--callers 3 --seed 5 --stake 100,0.5 --write-metagraph m.json"));
    let path = folder.path().join("m.json");
    let metagraph = convminer::chain::Metagraph::read(&path).unwrap();
    assert_eq!(metagraph.len(), 3);
    let neurons: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let stakes: Vec<_> = (0..3).map(|uid| neurons[uid]["stake"].as_f64().unwrap()).collect();
    assert_eq!(stakes, [100.0, 0.5, 100.0]);

    let server = Server::start(Access {
        metagraph: Some(Arc::new(Live::fixed(Arc::new(metagraph)))),
        ..Access::default()
    });
    let asked = format!(
        "--axon {} --hotkey {} --callers 3 --seed 5 --connections 3 --requests 9 --warm-up 0",
        server.address,
        server.keypair.address()
    );
    assert!(succeed(&mut bench(&asked)).contains("9 answered and 0 not"));

    for (arguments, part) in [
        ("--requests 5", "--axon"),
        ("--axon 127.0.0.1:1 --requests 5", "--hotkey"),
        ("--write-metagraph m.json --connections 0", "--connections"),
        ("--write-metagraph m.json --rate 0", "above 0"),
        ("--write-metagraph m.json --rate 5 --find-max", "--find-max"),
    ] {
        let text = fail(&mut bench(arguments));
        assert!(text.contains(part), "{arguments}: {text}");
    }
}

#[test]
fn training_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    let bench = |arguments: &str| {
        let mut command = convminer(folder.path());
        command.args(["bench", "train"]).args(arguments.split(' '));
        command
    };
    let quick = "--rows 400 --batch-sizes 64 --seconds 0.01 --warm-up 0 --repetitions 3";
    let json = format!("{quick} --devices cpu,burn --networks mlp,ensemble --json");
    let found: Value = serde_json::from_str(&succeed(&mut bench(&json))).unwrap();
    let speeds = found["speeds"].as_array().unwrap();
    let of = |speed: &Value| {
        let text = |name: &str| speed[name].as_str().unwrap().to_owned();
        (text("device"), text("network"), speed["networks"].as_array().unwrap().len())
    };
    let expected = [("cpu", "mlp", 1), ("cpu", "ensemble", 5), ("burn", "mlp", 1)]
        .map(|(device, network, count)| (device.to_owned(), network.to_owned(), count));
    assert_eq!(speeds.iter().map(of).take(3).collect::<Vec<_>>(), expected);
    for speed in speeds {
        let rates = &speed["rows_per_second"];
        let [slowest, median, fastest] =
            ["slowest", "median", "fastest"].map(|name| rates[name].as_f64().unwrap());
        assert!(0.0 < slowest && slowest <= median && median <= fastest, "{rates}");
        assert_eq!(rates["all"].as_array().unwrap().len(), 3);
        let floor = &speed["floor"];
        let reached = median / floor["rows_per_second"].as_f64().unwrap();
        assert!((floor["share_reached"].as_f64().unwrap() - reached).abs() < 1e-9, "{floor}");
    }
    // The guide's classifier: 102 inputs, 128 and 64 units.
    let guide = &speeds[0]["networks"][0];
    let parameters = (102 * 128 + 128) + 2 * 128 + (128 * 64 + 64) + (64 + 1);
    assert_eq!(guide["cost"]["parameters"], parameters);
    assert_eq!((&guide["stage"], &guide["share_of_rows"]), (&"classifier".into(), &1.0.into()));

    let text = succeed(&mut bench(&format!("{quick} --networks regressor")));
    assert!(text.contains("\nregressor  cpu "), "{text}");
    for (arguments, part) in [
        ("--devices auto", "name the devices"),
        ("--devices cpu,fpga", "fpga"),
        ("--networks forest", "forest"),
        ("--batch-sizes 0", "--batch-sizes"),
        ("--seconds 5000", "in 0..=3600"),
        ("--peak-tflops 67", "--bandwidth-gbs"),
    ] {
        let text = fail(&mut bench(arguments));
        assert!(text.contains(part), "{arguments}: {text}");
    }
}
