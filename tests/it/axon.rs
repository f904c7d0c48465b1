//! The axon over its wire.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt as _;

use convminer::chain::metagraph::Neuron;
use convminer::chain::{Keypair, Metagraph};
use convminer::clock::Clock;
use convminer::features::Conversation;
use convminer::model::Model;
use convminer::serve::access::Access;
use convminer::serve::dendrite::{AskError, Dendrite, Target};
use convminer::serve::live::Live;
use convminer::serve::models::Registry;
use convminer::serve::monitor::Snapshot;
use convminer::serve::nonces::{NonceLimits, Nonces};
use convminer::serve::verify::{request_text, response_text};
use convminer::serve::{Axon, ServeConfig, serve};
use convminer::subnet::reward::{Answer, NOT_CONVERTED};
use convminer::subnet::schema::index_of;
use convminer::subnet::synapse::EMPTY_BODY_HASH;

const NOW: u64 = 1_763_789_253_000_000_000;
const SECOND: u64 = 1_000_000_000;
const PATH: &str = "/ConversionSynapse";

/// A clock that stands still.
#[derive(Debug)]
struct StoppedClock;

impl Clock for StoppedClock {
    fn now_ns(&self) -> u64 {
        NOW
    }
}

/// Converts after as many seconds as the conversation lasted; what is special about the other
/// durations stands below.
struct FakeModel;

const PANICS: f64 = 666.0;
const NO_NUMBER: f64 = 667.0;
const SLEEPS: f64 = 668.0;

impl Model for FakeModel {
    fn predict(&self, conversations: &[Conversation]) -> Vec<Answer> {
        let duration = index_of("conversation_duration_seconds").unwrap();
        let answer = |conversation: &Conversation| {
            let seconds = f64::from(conversation.values[duration]);
            let converted = Answer { converted: true, time_seconds: seconds, confidence: 0.75 };
            match seconds {
                PANICS => panic!("no such conversation"),
                NO_NUMBER => Answer { confidence: f64::NAN, ..converted },
                SLEEPS => {
                    std::thread::sleep(Duration::from_millis(300));
                    converted
                }
                _ if seconds > 0.0 => converted,
                _ => Answer { converted: false, time_seconds: NOT_CONVERTED, confidence: 0.25 },
            }
        };
        conversations.iter().map(answer).collect()
    }
}

/// An axon and those who know it.
struct Scene {
    axon: Axon,
    hotkey: String,
    validator: Keypair,
    poor: Keypair,
    nonce: AtomicU64,
}

fn neuron(keypair: &Keypair, stake: f64, validator_permit: bool) -> Neuron {
    Neuron { uid: 0, hotkey: keypair.address().to_owned(), stake, validator_permit }
}

fn start(config: ServeConfig, model: impl Model + 'static) -> Axon {
    Axon::start(config, Arc::new(Registry::single(Arc::new(model)))).unwrap()
}

fn scene(change: impl FnOnce(&mut ServeConfig)) -> Scene {
    let (ours, validator, poor) = (Keypair::generate(), Keypair::generate(), Keypair::generate());
    let hotkey = ours.address().to_owned();
    let known: Metagraph =
        [neuron(&validator, 5000.0, true), neuron(&poor, 1.0, false)].into_iter().collect();
    let mut config = ServeConfig::new(ours);
    config.access =
        Access { metagraph: Some(Arc::new(Live::fixed(Arc::new(known)))), ..Access::default() };
    config.clock = Arc::new(StoppedClock);
    config.nonces = Some(Nonces::new(NonceLimits::default()));
    change(&mut config);
    let axon = start(config, FakeModel);
    Scene { axon, hotkey, validator, poor, nonce: AtomicU64::new(NOW) }
}

/// A request that is good until a test spoils it.
struct Call {
    path: &'static str,
    method: &'static str,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Call {
    fn set(&mut self, name: &str, value: impl Into<String>) {
        self.headers.retain(|(other, _)| other != name);
        self.headers.push((name.to_owned(), value.into()));
    }

    fn unset(&mut self, name: &str) {
        self.headers.retain(|(other, _)| other != name);
    }

    fn request(&self) -> Request<Body> {
        let mut request = Request::builder().method(self.method).uri(self.path);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.body(Body::from(self.body.clone())).unwrap()
    }
}

fn features(duration: f64) -> Value {
    json!({
        "session_id": "a",
        "conversation_duration_seconds": duration,
        "has_target_entity": 1,
        "entities_collected_count": 4,
        "message_ratio": 1.25,
    })
}

fn body(duration: f64) -> Vec<u8> {
    json!({"name": "ConversionSynapse", "features": features(duration)}).to_string().into_bytes()
}

impl Scene {
    fn call(&self, caller: &Keypair) -> Call {
        let nonce = self.nonce.fetch_add(1, Ordering::Relaxed);
        self.call_at(caller, nonce)
    }

    fn call_at(&self, caller: &Keypair, nonce: u64) -> Call {
        let uuid = "5ecbd69c-1cec-11ee-b0dc-e29ce36fec1a";
        let text = request_text(nonce, caller.address(), &self.hotkey, uuid, EMPTY_BODY_HASH);
        let headers = [
            ("name", "ConversionSynapse".to_owned()),
            ("timeout", "60.0".to_owned()),
            ("header_size", "640".to_owned()),
            ("total_size", "5000".to_owned()),
            ("computed_body_hash", EMPTY_BODY_HASH.to_owned()),
            ("bt_header_input_obj_features", "e30=".to_owned()),
            ("bt_header_dendrite_version", "10005000".to_owned()),
            ("bt_header_dendrite_ip", "5.6.7.8".to_owned()),
            ("bt_header_dendrite_nonce", nonce.to_string()),
            ("bt_header_dendrite_uuid", uuid.to_owned()),
            ("bt_header_dendrite_hotkey", caller.address().to_owned()),
            ("bt_header_dendrite_signature", caller.sign(&text)),
            ("bt_header_axon_ip", "1.2.3.4".to_owned()),
            ("bt_header_axon_port", "8091".to_owned()),
            ("bt_header_axon_hotkey", self.hotkey.clone()),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value)).into();
        Call { path: PATH, method: "POST", headers, body: body(62.0) }
    }

    async fn send(&self, call: &Call) -> (StatusCode, HeaderMap, Vec<u8>) {
        send(self.axon.router(), call.request()).await
    }

    /// Sends, and checks what every refusal has in common.
    async fn refused(&self, call: &Call, status: u16, why: &str) -> String {
        let (code, headers, body) = self.send(call).await;
        let text = String::from_utf8_lossy(&body).into_owned();
        assert_eq!(code, status, "{why}: {text}");
        assert_eq!(headers["content-type"], "application/json", "{why}");
        assert_eq!(headers["bt_header_axon_status_code"], status.to_string(), "{why}");
        assert_eq!(headers["bt_header_axon_hotkey"], self.hotkey, "{why}");
        assert!(!headers.contains_key("bt_header_axon_signature"), "{why}");
        let answer: Value = serde_json::from_slice(&body).unwrap();
        let message = answer["message"].as_str().unwrap().to_owned();
        let header = headers["bt_header_axon_status_message"].to_str().unwrap();
        assert_eq!(header, message.replace('\u{e9}', "?"), "{why}");
        message
    }
}

async fn send(router: Router, request: Request<Body>) -> (StatusCode, HeaderMap, Vec<u8>) {
    let (parts, body) = router.oneshot(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes().to_vec();
    (parts.status, parts.headers, body)
}

#[tokio::test]
async fn a_good_request_gets_a_signed_answer() {
    let scene = scene(|_| ());
    let call = scene.call(&scene.validator);
    let (status, headers, body) = scene.send(&call).await;
    assert_eq!(status, 200);
    let header = |name: &str| headers[name].to_str().unwrap();
    for (name, expected) in [
        ("content-type", "application/json"),
        ("name", "ConversionSynapse"),
        ("timeout", "60.0"),
        ("bt_header_axon_status_code", "200"),
        ("bt_header_axon_status_message", "Success"),
        ("bt_header_axon_hotkey", &scene.hotkey),
        ("bt_header_axon_ip", "1.2.3.4"),
        ("bt_header_axon_port", "8091"),
        ("bt_header_axon_version", "10005000"),
        ("bt_header_axon_nonce", "1763789253000000000"),
        ("bt_header_dendrite_ip", "5.6.7.8"),
        ("bt_header_dendrite_hotkey", scene.validator.address()),
    ] {
        assert_eq!(header(name), expected, "{name}");
    }
    assert!(header("bt_header_axon_process_time").parse::<f64>().unwrap() >= 0.0);
    let (uuid, caller) = (header("bt_header_axon_uuid"), scene.validator.address());
    let text = response_text(NOW, caller, &scene.hotkey, uuid);
    let key = convminer::chain::PublicKey::from_address(&scene.hotkey).unwrap();
    assert_eq!(key.verify(&text, header("bt_header_axon_signature")), Ok(()));

    let answer: Value = serde_json::from_slice(&body).unwrap();
    let prediction = json!({"conversion_happened": 1, "time_to_conversion_seconds": 62.0});
    assert_eq!(answer["prediction"], prediction);
    assert_eq!(answer["confidence"], 0.75);
    assert!(answer["response_time"].as_f64().unwrap() >= 0.0);
    assert_eq!(answer["axon"]["status_code"], 200);
}

#[tokio::test]
async fn the_operators_address_comes_before_the_callers() {
    let scene = scene(|config| {
        config.external_ip = Some("9.9.9.9".parse().unwrap());
        config.external_port = Some(80);
    });
    let (_, headers, _) = scene.send(&scene.call(&scene.validator)).await;
    assert_eq!(headers["bt_header_axon_ip"], "9.9.9.9");
    assert_eq!(headers["bt_header_axon_port"], "80");
}

#[tokio::test]
async fn camel_case_nan_and_unknown_keys_come_back_as_they_came() {
    let scene = scene(|_| ());
    let mut call = scene.call(&scene.validator);
    let before = r#"{ "features": {"sessionId": "pk", "conversationDurationSeconds": "0",
        "timeToConversionSeconds": -1, "hourOfDay": NaN, "responseGapMax": -Infinity, "x": [null]},
        "test_pk": "pk\u00e9", "prediction": null, "big": 123456789012345678901234567890,
        "axon": {"status_code": null}, "#;
    call.body = format!("{before}\"tail\" : 1.10 }}\n").into_bytes();
    let (status, _, body) = scene.send(&call).await;
    let body = String::from_utf8(body).unwrap();
    assert_eq!(status, 200, "{body}");
    let (features, rest) = body.split_once(", \"prediction\": ").unwrap();
    assert_eq!(features, before.split_once(", \"prediction\": ").unwrap().0);
    let prediction = r#"{"conversion_happened": 0, "time_to_conversion_seconds": -1.0}"#;
    let expected = format!("{prediction}, \"big\": 123456789012345678901234567890,");
    assert!(rest.starts_with(&expected), "{rest}");
    assert!(rest.contains("\"tail\" : 1.10 , \"confidence\": 0.25, \"response_time\": "), "{rest}");
    assert!(rest.ends_with("}\n"), "{rest}");
}

#[tokio::test]
async fn refusals() {
    type Spoil = fn(&mut Call);
    let table: [(u16, &str, &str, Spoil); 19] = [
        (404, "Synapse name 'Other' not found", "synapse", |call| call.path = "/Other"),
        (404, "Synapse name '' not found", "no synapse", |call| call.path = "/"),
        (405, "POST", "method", |call| call.method = "GET"),
        (400, "`timeout`", "timeout", |call| call.set("timeout", "None")),
        (400, "`bt_header_dendrite_nonce`", "nonce", |call| {
            call.set("bt_header_dendrite_nonce", "now");
        }),
        (400, "`bt_header_axon_port`", "port", |call| call.set("bt_header_axon_port", "-1")),
        (403, "not registered", "hotkey", |call| {
            call.set("bt_header_dendrite_hotkey", Keypair::generate().address());
        }),
        (403, "missing hotkey", "no hotkey", |call| call.unset("bt_header_dendrite_hotkey")),
        (401, "Missing Nonce", "no nonce", |call| call.unset("bt_header_dendrite_nonce")),
        (401, "Missing UUID", "no UUID", |call| call.unset("bt_header_dendrite_uuid")),
        (401, "Missing Signature", "no signature", |call| {
            call.unset("bt_header_dendrite_signature");
        }),
        (401, "0x and 128", "malformed signature", |call| {
            call.set("bt_header_dendrite_signature", "0x12");
        }),
        (401, "does not match", "forged signature", |call| {
            call.set("bt_header_dendrite_signature", Keypair::generate().sign("x"));
        }),
        (401, "does not match", "another body hash", |call| call.set("computed_body_hash", "")),
        (401, "does not match", "another UUID", |call| {
            call.set("bt_header_dendrite_uuid", "5ecbd69c");
        }),
        (400, "cannot be read", "no JSON", |call| call.body = b"{\"features\": {".to_vec()),
        (400, "cannot be read", "an empty body", |call| call.body = Vec::new()),
        (400, "`features`", "no features", |call| call.body = b"{\"feature\": {}}".to_vec()),
        (413, "262144 bytes", "a body without its length", |call| {
            call.body = [&b"{\"features\": {}, \"x\": \""[..], &[b'x'; 262_144], b"\"}"].concat();
        }),
    ];
    let scene = scene(|_| ());
    for (status, part, why, spoil) in table {
        let mut call = scene.call(&scene.validator);
        spoil(&mut call);
        let message = scene.refused(&call, status, why).await;
        assert!(message.contains(part), "{why}: {message}");
    }
    let (status, _, _) = scene.send(&scene.call(&scene.validator)).await;
    assert_eq!(status, 200, "nothing of that keeps the validator from calling");
}

#[tokio::test]
async fn the_first_thing_that_is_wrong_is_told() {
    let scene = scene(|_| ());
    let stranger = Keypair::generate();
    let mut call = scene.call(&stranger);
    call.body = b"no JSON".to_vec();
    call.set("bt_header_dendrite_signature", "0x12");
    call.set("timeout", "soon");
    call.path = "/Other";
    scene.refused(&call, 404, "the route comes first").await;
    call.path = PATH;
    scene.refused(&call, 400, "then the headers").await;
    call.set("timeout", "60");
    scene.refused(&call, 403, "then the caller").await;
    call.set("bt_header_dendrite_hotkey", scene.validator.address());
    scene.refused(&call, 401, "then the signature").await;
    let mut call = scene.call(&scene.validator);
    call.body = b"no JSON".to_vec();
    call.set("content-length", "300000");
    scene.refused(&call, 413, "then the size").await;
}

#[tokio::test]
async fn nonces() {
    let scene = scene(|_| ());
    // (nonce, timeout, status, why): one instance of one caller, in this order.
    for (nonce, timeout, status, why) in [
        (NOW - 64 * SECOND, "60.0", 401, "too old"),
        (NOW - 124 * SECOND, "100000", 401, "a long timeout is cut"),
        (NOW - 64 * SECOND + 1, "60.0", 200, "just young enough"),
        (NOW - 64 * SECOND + 1, "60.0", 401, "replayed"),
        (NOW - 64 * SECOND, "120.0", 401, "older than the last"),
        (NOW, "60.0", 200, "newer"),
        (NOW + 601 * SECOND, "60.0", 401, "far in the future"),
        (NOW + 600 * SECOND, "60.0", 200, "a clock that is ahead"),
        (NOW + 1, "60.0", 401, "and back"),
    ] {
        let mut call = scene.call_at(&scene.validator, nonce);
        call.set("timeout", timeout);
        let (code, _, body) = scene.send(&call).await;
        assert_eq!(code, status, "{why}: {}", String::from_utf8_lossy(&body));
    }
}

#[tokio::test]
async fn a_refused_body_does_not_use_up_the_caller() {
    // The nonce is spent by a verified request, whatever became of it.
    let scene = scene(|_| ());
    let mut call = scene.call(&scene.validator);
    call.body = b"[]".to_vec();
    scene.refused(&call, 400, "no object").await;
    scene.refused(&call, 401, "and its nonce is spent").await;
}

#[tokio::test]
async fn callers_need_what_the_operator_asks_for() {
    type Change = fn(&mut Access);
    let table: [(&str, Change, [u16; 3]); 6] = [
        ("registered", |_| (), [200, 200, 403]),
        ("permit", |access| access.require_permit = true, [200, 403, 403]),
        ("stake", |access| access.min_stake = 1000.0, [200, 403, 403]),
        ("open", |access| access.allow_unregistered = true, [200, 200, 200]),
        ("no metagraph", |access| access.metagraph = None, [403, 403, 403]),
        (
            "nothing",
            |access| *access = Access { allow_unregistered: true, ..Access::default() },
            [200, 200, 200],
        ),
    ];
    for (why, change, expected) in table {
        let scene = scene(|config| change(&mut config.access));
        let stranger = Keypair::generate();
        let callers = [&scene.validator, &scene.poor, &stranger];
        for (caller, status) in callers.into_iter().zip(expected) {
            let (code, _, _) = scene.send(&scene.call(caller)).await;
            assert_eq!(code, status, "{why}");
        }
    }
}

#[tokio::test]
async fn a_model_that_fails_is_not_the_end() {
    let scene = scene(|_| ());
    for duration in [PANICS, NO_NUMBER] {
        let mut call = scene.call(&scene.validator);
        call.body = body(duration);
        let message = scene.refused(&call, 500, "the model failed").await;
        assert_eq!(message, "the model failed on this conversation");
    }
    let mut call = scene.call(&scene.validator);
    call.body = body(SLEEPS);
    call.set("timeout", "0.05");
    let message = scene.refused(&call, 408, "the model was slow").await;
    assert_eq!(message, "Response timeout after: 0.05s");
    let (status, _, _) = scene.send(&scene.call(&scene.validator)).await;
    assert_eq!(status, 200);
    assert!(scene.axon.stop(Duration::from_secs(30)).await);
}

/// A model that waits for a word, and says that it does.
struct Gate {
    entered: Mutex<mpsc::Sender<()>>,
    open: Mutex<mpsc::Receiver<()>>,
}

impl Model for Gate {
    fn predict(&self, conversations: &[Conversation]) -> Vec<Answer> {
        self.entered.lock().unwrap().send(()).unwrap();
        self.open.lock().unwrap().recv().unwrap();
        FakeModel.predict(conversations)
    }
}

fn gate() -> (Gate, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (entered, has_entered) = mpsc::channel();
    let (release, open) = mpsc::channel();
    (Gate { entered: Mutex::new(entered), open: Mutex::new(open) }, has_entered, release)
}

async fn wait(word: mpsc::Receiver<()>) -> mpsc::Receiver<()> {
    let wait = move || word.recv_timeout(Duration::from_secs(30)).map(|()| word);
    tokio::task::spawn_blocking(wait).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_full_queue_is_told_at_once() {
    let (model, entered, release) = gate();
    let caller = Keypair::generate();
    let mut config = ServeConfig::new(Keypair::generate());
    let hotkey = config.keypair.address().to_owned();
    config.access.allow_unregistered = true;
    config.clock = Arc::new(StoppedClock);
    config.nonces = Some(Nonces::new(NonceLimits::default()));
    config.max_concurrent = 1;
    config.max_queue = 1;
    let axon = start(config, model);
    let nonce = AtomicU64::new(NOW);
    let scene = Scene { axon, hotkey, poor: caller.clone(), validator: caller, nonce };
    let spawn = || tokio::spawn(send(scene.axon.router(), scene.call(&scene.validator).request()));

    let busy = spawn();
    let _entered = wait(entered).await;
    let mut waits = scene.call(&scene.validator);
    waits.set("timeout", "0.01");
    scene.refused(&waits, 408, "its turn did not come").await;
    let queued = spawn();
    let depth = || scene.axon.view().look(Snapshot::default()).queue_depth;
    while depth() == 0 {
        tokio::task::yield_now().await;
    }
    let message = scene.refused(&scene.call(&scene.validator), 503, "full").await;
    assert_eq!(message, "too many requests wait; try again later");
    release.send(()).unwrap();
    release.send(()).unwrap();
    assert_eq!(busy.await.unwrap().0, 200);
    assert_eq!(queued.await.unwrap().0, 200);
}

#[tokio::test]
async fn a_stop_answers_what_is_in_flight() {
    let (model, entered, release) = gate();
    let mut config = ServeConfig::new(Keypair::generate());
    config.access.allow_unregistered = true;
    config.stop_limit = Duration::from_secs(30);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let target = Target { address, hotkey: config.keypair.public() };
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let axon = start(config, model);
    let server = tokio::spawn(serve(listener, axon, async { drop(stopped.await) }));

    // A connection without a request must not hold up the stop.
    let _idle = TcpStream::connect(address).await.unwrap();
    let asking = tokio::spawn(async move {
        let dendrite = Dendrite::new(Keypair::generate());
        dendrite.ask(&target, &features(62.0), Duration::from_secs(30)).await
    });
    wait(entered).await;
    stop.send(()).unwrap();
    let closed = async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), closed).await.expect("nobody new is let in");
    assert!(!server.is_finished(), "it waits for the answer");
    release.send(()).unwrap();
    let reply = asking.await.unwrap().unwrap();
    assert_eq!(reply.answer.time_seconds, 62.0);
    assert!(reply.signed);
    server.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_stop_does_not_wait_for_ever() {
    let (model, entered, release) = gate();
    let mut config = ServeConfig::new(Keypair::generate());
    config.access.allow_unregistered = true;
    config.stop_limit = Duration::from_millis(50);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target =
        Target { address: listener.local_addr().unwrap(), hotkey: config.keypair.public() };
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let axon = start(config, model);
    let server = tokio::spawn(serve(listener, axon, async { drop(stopped.await) }));
    let asking = tokio::spawn(async move {
        let dendrite = Dendrite::new(Keypair::generate());
        dendrite.ask(&target, &features(62.0), Duration::from_secs(30)).await
    });
    wait(entered).await;
    stop.send(()).unwrap();
    let error = server.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("requests in flight were given up"), "{error}");
    release.send(()).unwrap();
    asking.await.unwrap().ok();
}

#[tokio::test]
async fn a_refusal_reaches_a_client_that_is_still_sending() {
    let config = ServeConfig::new(Keypair::generate());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target =
        Target { address: listener.local_addr().unwrap(), hotkey: config.keypair.public() };
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let axon = start(config, FakeModel);
    let server = tokio::spawn(serve(listener, axon, async { drop(stopped.await) }));
    let dendrite = Dendrite::new(Keypair::generate());
    let large = json!({"x": "x".repeat(3 << 20)});
    for _ in 0..5 {
        let error = dendrite.ask(&target, &large, Duration::from_secs(30)).await.unwrap_err();
        assert!(matches!(error, AskError::Refused { status: 403, .. }), "{error}");
    }
    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
}
