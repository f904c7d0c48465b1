//! Clients that mean no good, over real sockets.

use std::collections::HashSet;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use convminer::chain::metagraph::Neuron;
use convminer::chain::{Keypair, Metagraph};
use convminer::features::Conversation;
use convminer::model::Model;
use convminer::serve::limits::{ConnectionLimits, Rate};
use convminer::serve::live::Live;
use convminer::serve::models::Registry;
use convminer::serve::nonces::{NonceLimits, Nonces};
use convminer::serve::verify::request_text;
use convminer::serve::{Axon, AxonView, ServeConfig, ServeError, serve};
use convminer::subnet::reward::{Answer, NOT_CONVERTED};
use convminer::subnet::schema::index_of;
use convminer::subnet::synapse::EMPTY_BODY_HASH;

/// Long enough for any machine; nothing waits for it unless it fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// Answers at once.
struct Quick;

impl Model for Quick {
    fn predict(&self, conversations: &[Conversation]) -> Vec<Answer> {
        let answer = Answer { converted: false, time_seconds: NOT_CONVERTED, confidence: 0.25 };
        vec![answer; conversations.len()]
    }
}

/// An axon on a port of its own, that ends with the test.
struct Server {
    address: SocketAddr,
    hotkey: String,
    view: AxonView,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<Result<(), ServeError>>>,
}

impl Server {
    fn start(change: impl FnOnce(&mut ServeConfig)) -> Server {
        Server::with(Quick, change)
    }

    fn with(model: impl Model + 'static, change: impl FnOnce(&mut ServeConfig)) -> Server {
        let mut config = ServeConfig::new(Keypair::generate());
        config.access.allow_unregistered = true;
        config.nonces = Some(Nonces::new(NonceLimits::default()));
        change(&mut config);
        let hotkey = config.keypair.address().to_owned();
        let axon = Axon::start(config, Arc::new(Registry::single(Arc::new(model)))).unwrap();
        let view = axon.view();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (told, tell) = mpsc::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                told.send(listener.local_addr().unwrap()).unwrap();
                serve(listener, axon, async { drop(stopped.await) }).await
            })
        });
        let address = tell.recv().unwrap();
        Server { address, hotkey, view, stop: Some(stop), thread: Some(thread) }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// A caller whose requests are good.
    fn caller(&self) -> Caller {
        Caller { keypair: Keypair::generate(), axon: self.hotkey.clone() }
    }

    fn stop(mut self) -> Result<(), ServeError> {
        self.stop.take();
        self.thread.take().unwrap().join().unwrap()
    }

    /// Waits until so many connections are open.
    fn wait_for_connections(&self, expected: usize) {
        while self.view.look(Default::default()).connections != expected {
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

pub(crate) struct Caller {
    pub(crate) keypair: Keypair,
    pub(crate) axon: String,
}

/// No two requests of this process have the same.
fn nonce() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    LAST.fetch_max(now, Ordering::Relaxed);
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}

const BODY: &str = r#"{"features": {"session_id": "a", "conversation_duration_seconds": 62}}"#;

impl Caller {
    fn head(&self, length: usize) -> String {
        let nonce = nonce();
        let us = self.keypair.address();
        let text = request_text(nonce, us, &self.axon, "u", EMPTY_BODY_HASH);
        format!(
            "POST /ConversionSynapse HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\
             timeout: 60\r\ncomputed_body_hash: {EMPTY_BODY_HASH}\r\n\
             bt_header_dendrite_nonce: {nonce}\r\nbt_header_dendrite_uuid: u\r\n\
             bt_header_dendrite_hotkey: {us}\r\n\
             bt_header_dendrite_signature: {}\r\n\r\n",
            self.keypair.sign(&text)
        )
    }

    pub(crate) fn request(&self) -> Vec<u8> {
        self.request_with(BODY)
    }

    fn request_with(&self, body: &str) -> Vec<u8> {
        [self.head(body.len()).as_bytes(), body.as_bytes()].concat()
    }

    fn ask(&self, server: &Server) -> u16 {
        let mut stream = server.connect();
        stream.write_all(&self.request()).unwrap();
        read_response(&mut stream).unwrap().0
    }
}

/// Status, head and body of the next response; nothing when the connection is over.
pub(crate) fn read_response(stream: &mut TcpStream) -> Option<(u16, String, String)> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            Ok(_) => return None,
            Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("no answer: {head:?}"),
            Err(_) => return None,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).ok()?;
    Some((status, head, String::from_utf8(body).unwrap()))
}

/// Waits until the server has closed the connection.
fn wait_for_the_end(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => (),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => (),
        Err(error) => panic!("the connection is still open: {error}"),
    }
}

#[test]
fn one_connection_carries_many_requests() {
    let server = Server::start(|_| ());
    let caller = server.caller();
    let mut stream = server.connect();
    for _ in 0..5 {
        stream.write_all(&caller.request()).unwrap();
        assert_eq!(read_response(&mut stream).unwrap().0, 200);
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = Server::start(|_| ());
    let caller = server.caller();
    let marked = |mark: usize| format!(r#"{{"features": {{"session_id": "s{mark}"}}}}"#);
    let mut requests = Vec::new();
    for mark in 0..20 {
        requests.extend(caller.request_with(&marked(mark)));
    }
    let mut stream = server.connect();
    stream.write_all(&requests).unwrap();
    for mark in 0..20 {
        let (status, _, body) = read_response(&mut stream).unwrap();
        assert_eq!(status, 200);
        assert!(body.contains(&format!("\"s{mark}\"")), "{body}");
    }
}

#[test]
fn headers_that_never_end_are_not_waited_for() {
    let server = Server::start(|config| config.times.headers = Duration::from_millis(300));
    let mut silent = server.connect();
    let mut slow = server.connect();
    let mut idle = server.connect();
    idle.write_all(&server.caller().request()).unwrap();
    assert_eq!(read_response(&mut idle).unwrap().0, 200);
    let head = server.caller().head(0);
    // Each byte comes in time, but not all of them.
    for byte in head.as_bytes() {
        if slow.write_all(&[*byte]).is_err() {
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    wait_for_the_end(&mut slow);
    wait_for_the_end(&mut silent);
    wait_for_the_end(&mut idle);
    server.wait_for_connections(0);
    assert_eq!(server.caller().ask(&server), 200);
}

/// With room for one request, a body that does not come keeps nobody waiting.
#[test]
fn a_body_that_never_ends_is_not_waited_for() {
    let server = Server::start(|config| {
        config.max_concurrent = 1;
        config.body_time = Duration::from_millis(500);
    });
    let mut slow = server.connect();
    slow.write_all(server.caller().head(1000).as_bytes()).unwrap();
    slow.write_all(b"{").unwrap();
    // It is verified, so it has had its turn.
    while server.view.nonces().is_empty() {
        thread::sleep(Duration::from_millis(2));
    }
    for _ in 0..5 {
        assert_eq!(server.caller().ask(&server), 200);
    }
    let (status, _, body) = read_response(&mut slow).unwrap();
    assert_eq!(status, 408, "{body}");
}

/// The body of somebody that is not verified is not even looked at.
#[test]
fn a_body_that_breaks_off_is_nothing() {
    let server = Server::start(|_| ());
    for _ in 0..20 {
        let mut stream = server.connect();
        stream.write_all(server.caller().head(1000).as_bytes()).unwrap();
        stream.write_all(b"{\"features\"").unwrap();
        drop(stream);
    }
    server.wait_for_connections(0);
    assert_eq!(server.caller().ask(&server), 200);
    assert_eq!(server.view.look(Default::default()).at_work, 0);
}

#[test]
fn huge_headers_are_refused() {
    let server = Server::start(|_| ());
    let mut stream = server.connect();
    let long =
        format!("POST /ConversionSynapse HTTP/1.1\r\nhost: a\r\nx: {}\r\n", "x".repeat(17_000));
    stream.write_all(long.as_bytes()).unwrap();
    assert_eq!(read_response(&mut stream).unwrap().0, 431);
    let mut stream = server.connect();
    let many: String = (0..200).map(|index| format!("x-{index}: 1\r\n")).collect();
    let request = format!("POST /ConversionSynapse HTTP/1.1\r\nhost: a\r\n{many}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    assert_eq!(read_response(&mut stream).unwrap().0, 431);
    assert_eq!(server.caller().ask(&server), 200);
}

/// Who asks and asks, and never takes an answer, is left.
#[test]
fn answers_that_nobody_takes_are_not_kept() {
    let server = Server::start(|config| config.times.write = Duration::from_millis(300));
    let caller = server.caller();
    let filler = "x".repeat(100_000);
    let body = format!(r#"{{"features": {{}}, "filler": "{filler}"}}"#);
    let mut stream = server.connect();
    // Answers hold what was asked, so some hundred of them fill every buffer on the way.
    let ended = (0..2000).any(|_| stream.write_all(&caller.request_with(&body)).is_err());
    assert!(ended, "it takes requests without end");
    server.wait_for_connections(0);
    assert_eq!(caller.ask(&server), 200);
}

#[test]
fn thousands_of_idle_connections_keep_nobody_out() {
    // Both ends are in this process.
    let files = rlimit::increase_nofile_limit(8000).unwrap() as usize;
    let idle = 2000.min(files / 3);
    let server = Server::start(|config| {
        config.connections = ConnectionLimits { total: 4 * idle, per_address: 4 * idle };
    });
    let connections: Vec<TcpStream> = (0..idle).map(|_| server.connect()).collect();
    server.wait_for_connections(idle);
    for _ in 0..10 {
        assert_eq!(server.caller().ask(&server), 200);
    }
    drop(connections);
    server.wait_for_connections(0);
    server.stop().unwrap();
}

#[test]
fn one_address_has_its_share_of_connections() {
    let server = Server::start(|config| {
        config.connections = ConnectionLimits { total: 100, per_address: 3 };
    });
    let held: Vec<TcpStream> = (0..3).map(|_| server.connect()).collect();
    server.wait_for_connections(3);
    wait_for_the_end(&mut server.connect());
    drop(held);
    server.wait_for_connections(0);
    assert_eq!(server.caller().ask(&server), 200);
}

/// An address that sends nonsense is not listened to, except to those that signed from there.
#[test]
fn a_stranger_that_sends_nonsense_is_not_heard() {
    let server = Server::start(|config| {
        config.address_rate = Rate { per_second: 0.001, burst: 10.0 };
    });
    let known = server.caller();
    assert_eq!(known.ask(&server), 200);
    let forged =
        Caller { keypair: Keypair::generate(), axon: Keypair::generate().address().into() };
    for _ in 0..10 {
        assert_eq!(forged.ask(&server), 401);
    }
    let mut stream = server.connect();
    stream.write_all(&forged.request()).unwrap();
    let (status, head, body) = read_response(&mut stream).unwrap();
    assert_eq!(status, 429, "{body}");
    assert!(body.contains("of this address"), "{body}");
    assert!(head.contains("retry-after: 1000"), "{head}");
    wait_for_the_end(&mut stream);
    assert_eq!(server.caller().ask(&server), 429, "nobody is known by a new name");
    assert_eq!(known.ask(&server), 200);
}

/// Whoever does not wait for its refusal pays for the request all the same.
#[test]
fn who_hangs_up_is_not_heard_either() {
    let server = Server::start(|config| {
        config.address_rate = Rate { per_second: 0.001, burst: 10.0 };
    });
    let forged =
        Caller { keypair: Keypair::generate(), axon: Keypair::generate().address().into() };
    // A connection that is over before its request is looked at costs nothing, so some may not count.
    for _ in 0..200 {
        let mut stream = server.connect();
        stream.write_all(&forged.request()).unwrap();
        drop(stream);
        server.wait_for_connections(0);
    }
    assert_eq!(forged.ask(&server), 429);
}

/// Who leaves no time for its signature to be checked takes nobody's place.
#[test]
fn a_request_without_time_is_no_way_in() {
    let server = Server::start(|config| {
        config.address_rate = Rate { per_second: 0.001, burst: 50.0 };
        config.max_concurrent = 1;
    });
    let known = server.caller();
    assert_eq!(known.ask(&server), 200);
    let forged = Caller { keypair: Keypair::generate(), axon: server.hotkey.clone() };
    let request = String::from_utf8(forged.request()).unwrap();
    let request = request.replace("timeout: 60", "timeout: 0").repeat(60);
    let mut stream = server.connect();
    stream.write_all(request.as_bytes()).unwrap();
    for _ in 0..50 {
        assert_eq!(read_response(&mut stream).unwrap().0, 408);
        assert_eq!(known.ask(&server), 200);
    }
    assert_eq!(read_response(&mut stream).unwrap().0, 429);
    assert_eq!(server.view.look(Default::default()).at_work, 0);
}

#[test]
fn a_hotkey_has_its_share() {
    let server = Server::start(|config| {
        config.hotkey_rate = Rate { per_second: 0.001, burst: 3.0 };
    });
    let (eager, other) = (server.caller(), server.caller());
    let answers: Vec<u16> = (0..5).map(|_| eager.ask(&server)).collect();
    assert_eq!(answers, [200, 200, 200, 429, 429]);
    assert_eq!(other.ask(&server), 200);
}

/// A model that answers one at a time, when it is told to, and remembers whom.
struct Told {
    go: Mutex<mpsc::Receiver<()>>,
    order: Arc<Mutex<Vec<f32>>>,
}

impl Model for Told {
    fn predict(&self, conversations: &[Conversation]) -> Vec<Answer> {
        let duration = index_of("conversation_duration_seconds").unwrap();
        // An error means that the test is over.
        self.go.lock().unwrap().recv().ok();
        let durations = conversations.iter().map(|conversation| conversation.values[duration]);
        self.order.lock().unwrap().extend(durations);
        Quick.predict(conversations)
    }
}

/// Ten times as many ask as there is room for: those of higher stake are served, each after no more
/// than were let in before it; the others are told at once.
#[test]
fn when_too_many_ask_stake_decides() {
    const ROOM: usize = 2;
    const QUEUE: usize = 8;
    let callers: Vec<Keypair> = (0..10 * (ROOM + QUEUE)).map(|_| Keypair::generate()).collect();
    let neurons = callers.iter().enumerate().map(|(stake, keypair)| Neuron {
        uid: stake as u16,
        hotkey: keypair.address().to_owned(),
        stake: stake as f64,
        validator_permit: true,
    });
    let metagraph: Metagraph = neurons.collect();
    let (go, wait) = mpsc::channel();
    let order = Arc::new(Mutex::new(Vec::new()));
    let model = Told { go: Mutex::new(wait), order: Arc::clone(&order) };
    let server = Server::with(model, |config| {
        config.access.metagraph = Some(Arc::new(Live::fixed(Arc::new(metagraph))));
        config.max_concurrent = ROOM;
        config.max_queue = QUEUE;
        config.max_batch = 1;
        config.threads = 1;
    });
    let ask = |stake: usize| {
        let caller = Caller { keypair: callers[stake].clone(), axon: server.hotkey.clone() };
        let body = format!(r#"{{"features": {{"conversation_duration_seconds": {stake}}}}}"#);
        let mut stream = server.connect();
        stream.write_all(&caller.request_with(&body)).unwrap();
        stream
    };
    let look = || server.view.look(Default::default());
    let mut streams = Vec::new();
    // In no order of stake: 37 has no divisor with 100. None may overtake another on its way in.
    for index in 0..callers.len() {
        let stake = index * 37 % callers.len();
        let before = look().queue_depth;
        streams.push((stake, ask(stake)));
        if index < ROOM {
            while look().at_work != index + 1 {
                thread::yield_now();
            }
        } else if index < ROOM + QUEUE {
            while look().queue_depth != before + 1 {
                thread::yield_now();
            }
        }
    }
    let mut answered = HashSet::new();
    let mut turned_away = Vec::new();
    // All but those that are in, or wait, are told without one answer being given.
    let told: Vec<_> = thread::scope(|scope| {
        let (told, tell) = mpsc::channel();
        for (stake, stream) in &mut streams {
            let told = told.clone();
            scope.spawn(move || {
                let (status, head, _) = read_response(stream).unwrap();
                told.send((*stake, status, head)).unwrap();
            });
        }
        let first: Vec<_> = tell.iter().take(callers.len() - ROOM - QUEUE).collect();
        assert_eq!(look().queue_depth, QUEUE, "the queue is full and stays so");
        for _ in 0..ROOM + QUEUE {
            go.send(()).unwrap();
        }
        let rest: Vec<_> = tell.iter().take(ROOM + QUEUE).collect();
        first.into_iter().chain(rest).collect()
    });
    for (stake, status, head) in told {
        match status {
            200 => drop(answered.insert(stake)),
            503 => {
                assert!(head.contains("retry-after: 1"), "{head}");
                turned_away.push(stake);
            }
            other => panic!("{other}: {head}"),
        }
    }
    // The first two found room; of all others those of the highest stake.
    let mut expected: HashSet<usize> = HashSet::from([0, 37]);
    expected.extend(callers.len() - QUEUE..callers.len());
    assert_eq!(answered, expected);
    assert_eq!(turned_away.len(), callers.len() - ROOM - QUEUE);
    let order = order.lock().unwrap();
    // The higher stake first; the few that are let in together may overtake each other.
    for (place, stake) in order[ROOM..].iter().enumerate() {
        let due = callers.len() - 1 - *stake as usize;
        assert!(place.abs_diff(due) < ROOM, "{stake} came at place {place}: {order:?}");
    }
}

/// Takes its time, and counts.
struct Paced(Arc<AtomicU64>);

impl Model for Paced {
    fn predict(&self, conversations: &[Conversation]) -> Vec<Answer> {
        thread::sleep(Duration::from_millis(1));
        self.0.fetch_add(conversations.len() as u64, Ordering::SeqCst);
        Quick.predict(conversations)
    }
}

/// However many more ask than can be served, who is let in waits for no more than those who were let
/// in before it, and no more than there is room for wait. Time is counted in answers: machines differ.
#[test]
fn under_many_times_the_load_those_let_in_wait_no_longer() {
    const ROOM: usize = 2;
    const QUEUE: usize = 8;
    const ANSWERS: u64 = 1500;
    let served = Arc::new(AtomicU64::new(0));
    let server = Server::with(Paced(Arc::clone(&served)), |config| {
        config.max_concurrent = ROOM;
        config.max_queue = QUEUE;
        config.max_batch = 1;
        config.threads = 1;
        config.address_rate = Rate::UNLIMITED;
        config.hotkey_rate = Rate::UNLIMITED;
    });
    let client = || {
        let (caller, mut stream) = (server.caller(), server.connect());
        let (mut took, mut refused) = (Vec::new(), 0);
        while served.load(Ordering::SeqCst) < ANSWERS {
            stream.write_all(&caller.request()).unwrap();
            let (status, head, _) = read_response(&mut stream).unwrap();
            match status {
                200 => took.push(process_seconds(&head)),
                503 => refused += 1,
                other => panic!("{other}: {head}"),
            }
            assert!(server.view.look(Default::default()).queue_depth <= QUEUE);
        }
        (took, refused)
    };
    let started = Instant::now();
    let results: Vec<(Vec<f64>, usize)> = thread::scope(|scope| {
        let clients: Vec<_> = (0..10 * (ROOM + QUEUE)).map(|_| scope.spawn(client)).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let seconds_an_answer = started.elapsed().as_secs_f64() / ANSWERS as f64;
    let refused: usize = results.iter().map(|(_, refused)| refused).sum();
    let mut took: Vec<f64> = results.into_iter().flat_map(|(took, _)| took).collect();
    assert!(took.len() as u64 >= ANSWERS && refused > took.len(), "{refused} of {}", took.len());
    took.sort_by(f64::total_cmp);
    let usual = took[took.len() * 95 / 100] / seconds_an_answer;
    assert!(usual < 3.0 * (ROOM + QUEUE) as f64, "it took as long as {usual} answers");
}

/// How long the server says that it took.
fn process_seconds(head: &str) -> f64 {
    let mut lines = head.lines();
    let value = lines.find_map(|line| line.strip_prefix("bt_header_axon_process_time: "));
    value.unwrap().parse().unwrap()
}
