//! A flood of requests of every malformed kind, while good ones go on.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use convminer::chain::Keypair;
use convminer::serve::verify::request_text;
use convminer::subnet::synapse::EMPTY_BODY_HASH;

use crate::serve::Miner;

/// How many malformed requests are sent in all.
const FLOOD: usize = 100_000;
/// How many before the memory is looked at for the first time.
const WARM_UP: usize = 20_000;
const FLOODERS: usize = 4;
/// One good request in so much time.
const GOOD_EVERY: Duration = Duration::from_millis(10);

/// Whoever writes to an axon.
struct Client {
    keypair: Keypair,
    axon: String,
    uuid: String,
    nonce: u64,
}

impl Client {
    fn new(axon: &str, uuid: usize) -> Client {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        let (axon, uuid) = (axon.to_owned(), format!("u{uuid}"));
        Client { keypair: Keypair::generate(), axon, uuid, nonce: now }
    }

    /// A request that is good but for what `change` does to its headers.
    fn head(&mut self, length: usize, change: impl FnOnce(&mut Vec<(&str, String)>)) -> Vec<u8> {
        self.nonce += 1;
        let us = self.keypair.address().to_owned();
        let text = request_text(self.nonce, &us, &self.axon, &self.uuid, EMPTY_BODY_HASH);
        let mut headers = vec![
            ("host", "a".to_owned()),
            ("content-length", length.to_string()),
            ("timeout", "60".to_owned()),
            ("computed_body_hash", EMPTY_BODY_HASH.to_owned()),
            ("bt_header_dendrite_nonce", self.nonce.to_string()),
            ("bt_header_dendrite_uuid", self.uuid.clone()),
            ("bt_header_dendrite_hotkey", us),
            ("bt_header_dendrite_signature", self.keypair.sign(&text)),
        ];
        change(&mut headers);
        let mut head = b"POST /ConversionSynapse HTTP/1.1\r\n".to_vec();
        for (name, value) in headers {
            head.extend(format!("{name}: {value}\r\n").into_bytes());
        }
        head.extend(b"\r\n");
        head
    }

    fn changed(&mut self, name: &'static str, value: impl Into<String>) -> Vec<u8> {
        let value = value.into();
        let mut request = self.head(GOOD.len(), |headers| {
            headers.iter_mut().find(|(other, _)| *other == name).unwrap().1 = value;
        });
        request.extend(GOOD.as_bytes());
        request
    }

    fn added(&mut self, name: &'static str, value: impl Into<String>) -> Vec<u8> {
        let mut request = self.head(GOOD.len(), |headers| headers.push((name, value.into())));
        request.extend(GOOD.as_bytes());
        request
    }

    fn with_body(&mut self, body: &[u8]) -> Vec<u8> {
        let mut request = self.head(body.len(), |_| ());
        request.extend(body);
        request
    }
}

const GOOD: &str = r#"{"name": "ConversionSynapse", "features": {"session_id": "good",
    "conversation_duration_seconds": 118.5, "has_target_entity": 1, "entities_collected_count": 4,
    "message_ratio": 1.25, "user_messages_count": 8, "agent_messages_count": 10}}"#;

/// The status that each kind gets; 0 for those that may be cut off without a word.
type Kind = (&'static str, u16, fn(&mut Client) -> Vec<u8>);

const KINDS: [Kind; 44] = [
    ("nothing", 0, |_| Vec::new()),
    ("noise", 400, |_| vec![0, 255, 17, 13, 10, 13, 10, 13, 10]),
    ("TLS", 400, |_| b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec()),
    ("HTTP/2", 0, |_| b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
    ("HTTP/0.9", 400, |_| b"GET /\r\n\r\n".to_vec()),
    ("HTTP/3.0", 400, |_| b"POST / HTTP/3.0\r\n\r\n".to_vec()),
    ("half a head", 0, |_| b"POST /ConversionSynapse HTTP/1.1\r\nhost".to_vec()),
    ("a name with a space", 400, |client| client.added("a b", "c")),
    ("no colon", 400, |_| b"POST / HTTP/1.1\r\nhost\r\n\r\n".to_vec()),
    ("a folded header", 400, |_| b"POST / HTTP/1.1\r\na: b\r\n c\r\n\r\n".to_vec()),
    ("NUL in a header", 400, |client| client.changed("timeout", "6\0")),
    ("a negative length", 400, |client| client.changed("content-length", "-1")),
    ("two lengths", 400, |client| client.added("content-length", "1")),
    ("an endless length", 400, |client| {
        client.changed("content-length", "99999999999999999999999")
    }),
    ("length and chunks", 0, |client| client.added("transfer-encoding", "chunked")),
    ("a bad chunk", 0, |client| {
        let mut request = client.head(0, |headers| {
            headers[1] = ("transfer-encoding", "chunked".to_owned());
        });
        request.extend(b"zz\r\n{}\r\n0\r\n\r\n");
        request
    }),
    ("200 headers", 431, |client| {
        client.head(0, |headers| headers.extend((0..200).map(|_| ("x", "y".to_owned()))))
    }),
    ("a long header", 431, |client| client.added("x", "y".repeat(20_000))),
    ("a long path", 0, |_| {
        [b"POST /".as_slice(), &[b'a'; 70_000], b" HTTP/1.1\r\nhost: a\r\n\r\n"].concat()
    }),
    ("an unknown route", 404, |_| b"POST /Other HTTP/1.1\r\nhost: a\r\n\r\n".to_vec()),
    ("GET", 405, |_| b"GET /ConversionSynapse HTTP/1.1\r\nhost: a\r\n\r\n".to_vec()),
    ("no hotkey", 403, |_| b"POST /ConversionSynapse HTTP/1.1\r\nhost: a\r\n\r\n".to_vec()),
    ("a nonce of letters", 400, |client| client.changed("bt_header_dendrite_nonce", "now")),
    ("an old nonce", 401, |client| client.changed("bt_header_dendrite_nonce", "1")),
    ("a nonce of the future", 401, |client| {
        client.changed("bt_header_dendrite_nonce", (u64::MAX - 1).to_string())
    }),
    ("another nonce than was signed", 401, |client| {
        let nonce = client.nonce + 2;
        client.changed("bt_header_dendrite_nonce", nonce.to_string())
    }),
    ("the signature of another", 401, |client| {
        client.changed("bt_header_dendrite_signature", Keypair::generate().sign("x"))
    }),
    ("no signature", 401, |client| client.changed("bt_header_dendrite_signature", "")),
    ("a signature of letters", 401, |client| {
        client.changed("bt_header_dendrite_signature", "0xzz")
    }),
    ("a hotkey of letters", 401, |client| client.changed("bt_header_dendrite_hotkey", "5G")),
    ("a long UUID", 400, |client| client.changed("bt_header_dendrite_uuid", "u".repeat(99))),
    ("two hotkeys", 400, |client| client.added("bt_header_dendrite_hotkey", "5G")),
    ("a timeout of letters", 400, |client| client.changed("timeout", "NaN")),
    ("for another axon", 401, |client| {
        let ours = std::mem::replace(&mut client.axon, Keypair::generate().address().to_owned());
        let request = client.with_body(GOOD.as_bytes());
        client.axon = ours;
        request
    }),
    ("no JSON", 400, |client| client.with_body(b"features")),
    ("half JSON", 400, |client| client.with_body(b"{\"features\": {")),
    ("a list", 400, |client| client.with_body(b"[]")),
    ("features that are none", 400, |client| client.with_body(b"{\"features\": 5}")),
    ("no UTF-8", 400, |client| client.with_body(b"{\"features\": {\"a\": \"\xff\"}}")),
    ("a lone surrogate", 400, |client| {
        client.with_body(br#"{"features": {"session_id": "\ud800"}}"#)
    }),
    ("deep", 400, |client| {
        client.with_body(&[br#"{"features": "#.as_slice(), &[b'['; 5000]].concat())
    }),
    ("an endless number", 400, |client| {
        let body = [br#"{"features": {"hour_of_day": "#.as_slice(), &[b'9'; 6000], b"}}"];
        client.with_body(&body.concat())
    }),
    ("a large body", 413, |client| client.with_body(&[b'x'; 300_000])),
    ("a body that breaks off", 0, |client| {
        let mut request = client.head(GOOD.len(), |_| ());
        request.extend(&GOOD.as_bytes()[..20]);
        request
    }),
];

/// Sends one request on a connection of its own, and returns the status; 0 for none. A request that
/// is not `whole` is followed by the end of what is sent.
fn send(address: &str, request: &[u8], whole: bool) -> u16 {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    // The server may have had enough before all is written.
    if stream.write_all(request).is_ok() && !whole {
        stream.shutdown(Shutdown::Write).ok();
    }
    let (mut response, mut part) = (Vec::new(), [0; 1024]);
    while response.len() < 12 {
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(count) => response.extend(&part[..count]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("no answer: {error}"),
        }
    }
    let status = response.get(9..12).and_then(|status| std::str::from_utf8(status).ok());
    status.map_or(0, |status| status.parse().unwrap())
}

/// Sends good requests in even steps over one connection; how many were answered, and all alike.
fn good_ones(address: &str, axon: &str, done: &AtomicBool) -> usize {
    let mut client = Client::new(axon, 1000);
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let (started, mut answered, mut expected) = (Instant::now(), 0, None);
    while !done.load(Ordering::Relaxed) {
        stream.write_all(&client.with_body(GOOD.as_bytes())).unwrap();
        let answer = read_answer(&mut stream);
        assert_eq!(*expected.get_or_insert_with(|| answer.clone()), answer);
        answered += 1;
        let due = started + GOOD_EVERY * answered as u32;
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    answered
}

/// What the next response, which must be good, predicts.
fn read_answer(stream: &mut TcpStream) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    let body = String::from_utf8(body).unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}{body}");
    let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
    format!("{} {}", answer["prediction"], answer["confidence"])
}

/// What a process holds in memory; only Linux tells.
fn resident_bytes(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(1024 * line.trim().strip_suffix(" kB")?.parse::<u64>().unwrap())
}

#[test]
fn malformed_requests_cost_nobody_else_an_answer() {
    let folder = tempfile::tempdir().unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("checkpoints/default");
    let miner = Miner::start(
        folder.path(),
        &[
            "--allow-unregistered",
            "--checkpoint",
            shipped.to_str().unwrap(),
            // So that each goes as far as it can.
            "--rate-limit.ip=0",
            "--rate-limit.hotkey=0",
        ],
    );
    let (address, axon) = (miner.listening.clone(), miner.hotkey.clone());
    let done = AtomicBool::new(false);
    let sent = AtomicUsize::new(0);
    let flood = |until: usize, flooder: usize| {
        let mut client = Client::new(&axon, flooder);
        let mut wrong = BTreeMap::new();
        loop {
            let index = sent.fetch_add(1, Ordering::Relaxed);
            if index >= until {
                return wrong;
            }
            let (name, expected, make) = KINDS[index % KINDS.len()];
            let status = send(&address, &make(&mut client), expected != 0);
            let is_right = if expected == 0 { status != 200 } else { status == expected };
            if !is_right {
                *wrong.entry((name, status)).or_insert(0) += 1;
            }
        }
    };
    let flood_all = |until: usize| {
        sent.store(if until == WARM_UP { 0 } else { WARM_UP }, Ordering::Relaxed);
        thread::scope(|scope| {
            let flood = &flood;
            let flooders: Vec<_> =
                (0..FLOODERS).map(|flooder| scope.spawn(move || flood(until, flooder))).collect();
            let mut wrong: Vec<_> =
                flooders.into_iter().flat_map(|flooder| flooder.join().unwrap()).collect();
            wrong.sort();
            wrong
        })
    };
    let (answered, seconds, before, after, wrong) = thread::scope(|scope| {
        let good = scope.spawn(|| good_ones(&address, &axon, &done));
        let started = Instant::now();
        let mut wrong = flood_all(WARM_UP);
        let before = resident_bytes(miner.child.id());
        wrong.extend(flood_all(FLOOD));
        let after = resident_bytes(miner.child.id());
        let seconds = started.elapsed().as_secs_f64();
        done.store(true, Ordering::Relaxed);
        (good.join().unwrap(), seconds, before, after, wrong)
    });
    assert_eq!(wrong, [], "kind, status and how often");
    // Those that were due, less one that was under way; a machine that stalls sends fewer.
    assert!(answered as f64 >= 50.0 * seconds, "{answered} good requests in {seconds} s");
    if let (Some(before), Some(after)) = (before, after) {
        let grown = after.saturating_sub(before);
        assert!(grown < 16 << 20, "from {before} to {after} bytes");
    }
    let log = fs::read_to_string(folder.path().join("serve.log")).unwrap();
    assert!(!log.contains("panicked") && !log.contains("ERROR"), "{log}");
}
