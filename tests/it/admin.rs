//! The operator's listener over its wire.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use convminer::clock::SystemClock;
use convminer::journal::JournalStats;
use convminer::serve::admin::{Admin, AdminHandle, spawn};
use convminer::serve::models::ModelStatistics;
use convminer::serve::monitor::{
    Finished, Given, Monitor, Outcome, Phases, RecalibrationStats, Snapshot, TuningStats,
};
use serde_json::{Value, json};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

struct Scene {
    handle: AdminHandle,
    monitor: Arc<Monitor>,
    ready: Arc<AtomicBool>,
}

fn scene() -> Scene {
    scene_at("127.0.0.1:0")
}

fn scene_at(address: &str) -> Scene {
    let monitor = Arc::new(Monitor::new(Arc::new(SystemClock)));
    let ready = Arc::new(AtomicBool::new(true));
    let is_ready = Arc::clone(&ready);
    let snapshot = move || Snapshot {
        not_ready: (!is_ready.load(Ordering::Relaxed)).then(|| "no model answers".to_owned()),
        checkpoint: "one".to_owned(),
        registered: Some(256),
        models: vec![ModelStatistics {
            name: "ensemble".to_owned(),
            healthy: true,
            requests: 1,
            failures: 0,
            mean_seconds: 0.001,
            p99_seconds: 0.001,
            mean_confidence: 0.75,
            mean_reward: None,
        }],
        recalibration: Some(RecalibrationStats::default()),
        tuning: Some(TuningStats { parameters: [("a", 0.5)].into(), refused: None }),
        journal: Some(JournalStats::default()),
        ..Snapshot::default()
    };
    let admin = Admin::new(Arc::clone(&monitor), Arc::new(snapshot));
    let handle = spawn(TcpListener::bind(address).unwrap(), admin).unwrap();
    Scene { handle, monitor, ready }
}

/// An answer, its head as text in lower case.
struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

impl Scene {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.handle.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn get(&self, path: &str) -> Reply {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"))
    }

    fn send(&self, request: &str) -> Reply {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Reply { status, head: head.to_lowercase(), body: body.to_owned() }
    }

    /// A connection to the events whose head and first event have come.
    fn listen(&self) -> TcpStream {
        let mut stream = self.connect();
        stream.write_all(b"GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        read_until(&mut stream, "\n\n");
        stream
    }
}

fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    let mut piece = [0; 4096];
    while !text.contains(end) {
        let length = stream.read(&mut piece).unwrap();
        assert!(length > 0, "the connection ended after {text}");
        text.push_str(std::str::from_utf8(&piece[..length]).unwrap());
    }
    text
}

fn answered(hotkey: &str) -> Finished<'_> {
    Finished {
        hotkey: Some(hotkey),
        outcome: Outcome::Answered,
        total: Duration::from_micros(500),
        phases: Phases::default(),
        answer: Some(Given { converted: true, confidence: 0.75, model: "ensemble" }),
        reason: None,
    }
}

#[test]
fn health_and_readiness() {
    let scene = scene();
    let health = scene.get("/healthz");
    assert_eq!((health.status, health.json()), (200, json!({"status": "ok"})));
    let ready = scene.get("/readyz");
    assert_eq!((ready.status, ready.json()), (200, json!({"ready": true})));
    scene.ready.store(false, Ordering::Relaxed);
    let ready = scene.get("/readyz");
    let expected = json!({"ready": false, "reason": "no model answers"});
    assert_eq!((ready.status, ready.json()), (503, expected));
    assert_eq!(scene.get("/healthz").status, 200, "the process lives all the same");
}

#[test]
fn metrics_and_stats_are_of_this_moment() {
    let scene = scene();
    scene.monitor.finished(&answered("a"));
    let metrics = scene.get("/metrics");
    assert_eq!(metrics.status, 200);
    let kind = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert!(metrics.head.contains(kind), "{}", metrics.head);
    assert!(metrics.body.contains("\nconvminer_requests_total{outcome=\"answered\"} 1\n"));
    assert!(metrics.body.ends_with("# EOF\n"));
    let stats = scene.get("/stats.json").json();
    assert_eq!(stats["windows"]["1m"]["outcomes"]["answered"], 1);
    assert_eq!(stats["validators"][0]["hotkey"], "a");
    assert_eq!(stats["checkpoint"], "one");
}

/// What dashboards and alerts elsewhere rely on.
const FAMILIES: [&str; 27] = [
    "convminer_answers",
    "convminer_at_work",
    "convminer_batch_size",
    "convminer_checkpoint_info",
    "convminer_confidence",
    "convminer_connections",
    "convminer_journal_dropped",
    "convminer_journal_failing",
    "convminer_journal_written",
    "convminer_model_failures",
    "convminer_model_healthy",
    "convminer_model_requests",
    "convminer_nonces",
    "convminer_phase_seconds",
    "convminer_queue_depth",
    "convminer_recalibration_gain",
    "convminer_recalibration_in_force",
    "convminer_registered_hotkeys",
    "convminer_reloads",
    "convminer_requests",
    "convminer_state_save_failures",
    "convminer_truths_known",
    "convminer_truths_mean_reward",
    "convminer_tuning",
    "convminer_tuning_refused",
    "convminer_uptime_seconds",
    "process_start_time_seconds",
];

/// Every line is a comment of a known kind or a sample of a family that was declared right before,
/// and a histogram's buckets rise to its count.
#[test]
fn metrics_are_well_formed() {
    let scene = scene();
    scene.monitor.finished(&answered("a"));
    scene.monitor.batch(2);
    scene.monitor.reloaded("metagraph", None);
    let text = scene.get("/metrics").body;
    let mut declared = Vec::new();
    let mut family: Option<(String, String)> = None;
    let mut bucket = 0.0;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(!declared.contains(&name), "{name} twice");
            declared.push(name);
            family = Some((name.to_owned(), kind.to_owned()));
            continue;
        }
        if line.starts_with("# HELP ") || line == "# EOF" {
            continue;
        }
        let (sample, value) = line.rsplit_once(' ').unwrap();
        let value: f64 = value.parse().unwrap();
        let name = sample.split('{').next().unwrap();
        let (family, kind) = family.as_ref().unwrap();
        let suffix = name.strip_prefix(family.as_str()).unwrap_or_else(|| panic!("{line}"));
        let allowed: &[&str] = match kind.as_str() {
            "counter" => &["_total"],
            "histogram" => &["_sum", "_count", "_bucket"],
            "gauge" => &[""],
            other => panic!("{other}"),
        };
        assert!(allowed.contains(&suffix), "{line}");
        if suffix == "_bucket" {
            assert!(value >= bucket, "{line}");
            bucket = if sample.contains("+Inf") { 0.0 } else { value };
        }
    }
    assert!(text.ends_with("\n# EOF\n"));
    declared.retain(|name| *name != "process_resident_memory_bytes"); // Linux has it.
    declared.sort_unstable();
    assert_eq!(declared, FAMILIES);
}

#[test]
fn only_what_is_there_is_served() {
    let scene = scene();
    let missing = scene.get("/other");
    assert_eq!((missing.status, missing.json()["message"].is_string()), (404, true));
    let head = "POST /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n";
    let post = scene.send(&format!("{head}content-length: 2\r\n\r\n{{}}"));
    assert_eq!((post.status, post.json()), (405, json!({"message": "GET and HEAD only"})));
    assert!(post.head.contains("allow: get, head"), "{}", post.head);
    for path in ["/", "/healthz", "/readyz", "/metrics", "/stats.json", "/events"] {
        let head = format!("HEAD {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        let reply = scene.send(&head);
        assert_eq!((reply.status, reply.body.as_str()), (200, ""), "{path}");
    }
}

#[test]
fn the_page_loads_nothing_from_elsewhere() {
    let scene = scene();
    let page = scene.get("/");
    assert_eq!(page.status, 200);
    for header in [
        "content-type: text/html; charset=utf-8",
        "x-content-type-options: nosniff",
        "x-frame-options: deny",
        "cache-control: no-store",
        "default-src 'none'",
        "connect-src 'self'",
        "frame-ancestors 'none'",
    ] {
        assert!(page.head.contains(header), "{header} is not in {}", page.head);
    }
    // The browser runs the page's own script and style, which know the word of this answer.
    let nonce = page.head.split_once("script-src 'nonce-").unwrap().1.split_once('\'').unwrap().0;
    assert_eq!(page.body.matches(&format!("nonce=\"{nonce}\"")).count(), 2);
    assert!(!scene.get("/").head.contains(nonce), "a word is used once");
    assert!(!page.body.contains("{{"));
    assert!(!page.body.contains("https://"));
    // The names of the namespaces of SVG, which nobody asks for.
    let addresses = page.body.matches("http://").count();
    assert_eq!(addresses, page.body.matches("http://www.w3.org/2000/svg").count());
    assert!(!page.body.contains("innerHTML"));
}

#[test]
fn other_sites_cannot_read_through_the_operators_browser() {
    let scene = scene();
    let ask = |host: &str| {
        let request = format!("GET /stats.json HTTP/1.1\r\n{host}connection: close\r\n\r\n");
        scene.send(&request).status
    };
    let port = scene.handle.address().port();
    for (host, expected) in [
        (format!("host: localhost:{port}\r\n"), 200),
        ("host: 127.0.0.1\r\n".to_owned(), 200),
        ("host: [::1]:80\r\n".to_owned(), 200),
        ("host: evil.example\r\n".to_owned(), 403),
        (format!("host: evil.example:{port}\r\n"), 403),
        (format!("host: localhost.evil.example:{port}\r\n"), 403),
        (String::new(), 403),
    ] {
        assert_eq!(ask(&host), expected, "{host}");
    }
}

#[test]
fn who_listens_everywhere_goes_by_any_name() {
    let scene = scene_at("0.0.0.0:0");
    let address = SocketAddr::from(([127, 0, 0, 1], scene.handle.address().port()));
    let mut stream = TcpStream::connect(address).unwrap();
    let request = b"GET /healthz HTTP/1.1\r\nhost: miner.example\r\nconnection: close\r\n\r\n";
    stream.write_all(request).unwrap();
    assert!(read_until(&mut stream, "\r\n").starts_with("HTTP/1.1 200"));
}

#[test]
fn events_come_while_somebody_listens_and_end_at_the_stop() {
    let scene = scene();
    let mut stream = scene.connect();
    stream.write_all(b"GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let first = read_until(&mut stream, "\n\n");
    assert!(first.to_lowercase().contains("content-type: text/event-stream"), "{first}");
    assert!(first.contains("\"answered\":0"), "{first}");
    scene.monitor.finished(&answered("a"));
    let second = read_until(&mut stream, "\n\n");
    let json = second.split_once("data: ").unwrap().1.split_once("\n\n").unwrap().0;
    let stats: Value = serde_json::from_str(json).unwrap();
    assert_eq!(stats["total"]["requests"], 1);

    drop(scene);
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(rest.ends_with(b"0\r\n\r\n"), "the stream ends as it should");
}

#[test]
fn too_many_listeners_are_told_so_and_places_come_back() {
    let scene = scene();
    let mut listeners: Vec<TcpStream> = (0..16).map(|_| scene.listen()).collect();
    let refused = scene.get("/events");
    assert_eq!((refused.status, refused.json()["message"].is_string()), (503, true));
    assert_eq!(scene.get("/healthz").status, 200);
    listeners.clear();
    // That a listener is gone shows when the next event is sent.
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        let mut stream = scene.connect();
        stream.write_all(b"GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        if read_until(&mut stream, "\r\n").starts_with("HTTP/1.1 200") {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("no place came back");
}

#[test]
fn connections_are_bounded_and_those_that_wait_get_their_turn() {
    let scene = scene();
    let mut idle: Vec<TcpStream> = (0..64).map(|_| scene.connect()).collect();
    // All places are taken once each of them has had an answer.
    for stream in &mut idle {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        read_until(stream, "{\"status\":\"ok\"}");
    }
    let mut waiting = scene.connect();
    waiting.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    waiting.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(waiting.read(&mut [0]).is_err(), "there is no place for it yet");
    idle.pop();
    waiting.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(read_until(&mut waiting, "\r\n").starts_with("HTTP/1.1 200"));
}

#[test]
fn a_stop_does_not_wait_for_idle_connections() {
    let scene = scene();
    let _idle = scene.connect();
    let mut half = scene.connect();
    half.write_all(b"GET /healthz HT").unwrap();
    let address = scene.handle.address();
    drop(scene);
    assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
}
