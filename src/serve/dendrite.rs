//! The other side: asks an axon as a validator does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::http::{HeaderMap, Method, Request, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use uuid::Uuid;

use crate::chain::keys::BadSignature;
use crate::chain::{Keypair, PublicKey};
use crate::features::Conversation;
use crate::subnet::reward::Answer;
use crate::subnet::schema::{FEATURES, Kind, SESSION_ID};
use crate::subnet::synapse::{
    ConversionSynapse, EMPTY_BODY_HASH, SYNAPSE_NAME, SynapseError, Terminal, request_body,
};

use super::headers::{AXON_PREFIX, DENDRITE_PREFIX};
use super::respond::PROTOCOL_VERSION;
use super::verify::{request_text, response_text};
use crate::clock::{Clock, SystemClock};

/// The base64 of `{}`, which stands for each required object in the headers.
const EMPTY_OBJECT: &str = "e30=";
/// The largest response that is read.
const RESPONSE_LIMIT_BYTES: usize = 4 << 20;

/// An answer of an axon.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// What it answered, by the rules of the network.
    pub answer: Answer,
    /// Whether the axon signed it, as convminer does. The SDK's own axon signs refusals only.
    pub signed: bool,
    /// From the first byte sent to the last received.
    pub elapsed: Duration,
}

/// Why an axon gave no answer that counts.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The axon was not reached, or hung up.
    #[error("the axon at {address} cannot be reached")]
    Connection {
        /// Its address.
        address: SocketAddr,
        /// What happened.
        source: hyper_util::client::legacy::Error,
    },
    /// The response broke off or is far too large.
    #[error("the response could not be received")]
    Lost(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The axon took too long.
    #[error("no answer within {seconds} s")]
    Timeout {
        /// How long it was waited.
        seconds: f64,
    },
    /// The axon refused.
    #[error("the axon refused with {status}: {message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What it said.
        message: String,
    },
    /// A response header is missing or cannot be read.
    #[error("the response should have the header `{name}`")]
    Header {
        /// The header.
        name: String,
    },
    /// Another axon answered.
    #[error("the answer should come from {expected}, but came from {found}")]
    OtherAxon {
        /// Whom we asked.
        expected: String,
        /// Who answered.
        found: String,
    },
    /// The answer is not signed by the axon that we asked.
    #[error("the axon's signature does not count: {0}")]
    Signature(#[from] BadSignature),
    /// The answer breaks the rules.
    #[error(transparent)]
    Body(#[from] SynapseError),
}

/// An axon to ask.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its hotkey.
    pub hotkey: PublicKey,
}

/// Asks axons in the name of one key, over connections that stay open.
#[derive(Debug)]
pub struct Dendrite {
    keypair: Keypair,
    uuid: String,
    last_nonce: AtomicU64,
    clock: Arc<dyn Clock>,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Dendrite {
    /// A dendrite with its own UUID, by the system's clock.
    pub fn new(keypair: Keypair) -> Self {
        Dendrite::with_clock(keypair, Arc::new(SystemClock))
    }

    /// A dendrite with its own UUID, whose nonces are the time of this clock.
    pub fn with_clock(keypair: Keypair, clock: Arc<dyn Clock>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Dendrite {
            keypair,
            uuid: Uuid::new_v4().to_string(),
            last_nonce: AtomicU64::new(0),
            clock,
            client: Client::builder(TokioExecutor::new()).build(connector),
        }
    }

    /// Sends one signed question and checks the answer, who gave it and its signature, if any.
    pub async fn ask(
        &self,
        target: &Target,
        features: &serde_json::Value,
        timeout: Duration,
    ) -> Result<Reply, AskError> {
        let seconds = timeout.as_secs_f64();
        let request = self.request(target, features, seconds);
        let asked = Instant::now();
        let exchange = tokio::time::timeout(timeout, self.exchange(target, request));
        let (status, headers, body) =
            exchange.await.map_err(|_| AskError::Timeout { seconds })??;
        let elapsed = asked.elapsed();
        if status != 200 {
            return Err(AskError::Refused { status, message: message_of(&body) });
        }
        // The reference client takes the status from here, and counts all else as failed.
        let name = format!("{AXON_PREFIX}status_code");
        if headers.get(&name).is_none_or(|code| code != "200") {
            return Err(AskError::Header { name });
        }
        let signed = self.is_signed(target, &headers)?;
        let answer = ConversionSynapse::parse(&body)?.prediction()?.answer();
        Ok(Reply { answer, signed, elapsed })
    }

    /// The signed request.
    fn request(
        &self,
        target: &Target,
        features: &serde_json::Value,
        timeout_seconds: f64,
    ) -> Request<Full<Bytes>> {
        let axon = Terminal {
            ip: Some(target.address.ip().to_string()),
            port: Some(target.address.port()),
            hotkey: Some(target.hotkey.address()),
            ..Terminal::default()
        };
        let nonce = self.next_nonce();
        let hotkey = self.keypair.address();
        let message =
            request_text(nonce, hotkey, &target.hotkey.address(), &self.uuid, EMPTY_BODY_HASH);
        let dendrite = Terminal {
            version: Some(PROTOCOL_VERSION),
            nonce: Some(nonce),
            uuid: Some(self.uuid.clone()),
            hotkey: Some(hotkey.to_owned()),
            signature: Some(self.keypair.sign(&message)),
            ..Terminal::default()
        };
        let body = request_body(features, timeout_seconds, &dendrite, &axon);
        let uri = format!("http://{}/{SYNAPSE_NAME}", target.address);
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(uri.parse::<Uri>().expect("a socket address makes a URI. This is a bug."))
            .header(header::CONTENT_TYPE, "application/json")
            .header("name", SYNAPSE_NAME)
            .header("timeout", format!("{timeout_seconds:?}"))
            .header("bt_header_input_obj_features", EMPTY_OBJECT)
            .header("header_size", "0")
            .header("total_size", body.len())
            .header("computed_body_hash", EMPTY_BODY_HASH);
        for (prefix, terminal) in [(DENDRITE_PREFIX, &dendrite), (AXON_PREFIX, &axon)] {
            for (field, value) in terminal.fields() {
                request = request.header(format!("{prefix}{field}"), value);
            }
        }
        request.body(Full::new(body.into())).expect("every header is plain text. This is a bug.")
    }

    async fn exchange(
        &self,
        target: &Target,
        request: Request<Full<Bytes>>,
    ) -> Result<(u16, HeaderMap, Bytes), AskError> {
        let address = target.address;
        let response = self
            .client
            .request(request)
            .await
            .map_err(|source| AskError::Connection { address, source })?;
        let (parts, body) = response.into_parts();
        let body =
            Limited::new(body, RESPONSE_LIMIT_BYTES).collect().await.map_err(AskError::Lost)?;
        Ok((parts.status.as_u16(), parts.headers, body.to_bytes()))
    }

    /// Whether there is a signature; one that is there must be good.
    fn is_signed(&self, target: &Target, headers: &HeaderMap) -> Result<bool, AskError> {
        let field = |field: &str| {
            let name = format!("{AXON_PREFIX}{field}");
            match headers.get(&name).and_then(|value| value.to_str().ok()) {
                Some(value) => Ok(value),
                None => Err(AskError::Header { name }),
            }
        };
        let (expected, found) = (target.hotkey.address(), field("hotkey")?);
        if found != expected {
            return Err(AskError::OtherAxon { expected, found: found.to_owned() });
        }
        if !headers.contains_key(format!("{AXON_PREFIX}signature")) {
            return Ok(false);
        }
        let nonce = field("nonce")?
            .parse()
            .map_err(|_| AskError::Header { name: format!("{AXON_PREFIX}nonce") })?;
        let message = response_text(nonce, self.keypair.address(), found, field("uuid")?);
        target.hotkey.verify(&message, field("signature")?)?;
        Ok(true)
    }

    /// The time, but never the same twice: axons refuse a nonce that is not newer than the last.
    fn next_nonce(&self) -> u64 {
        let now = self.clock.now_ns();
        let next = |last: u64| now.max(last + 1);
        let replaced = self
            .last_nonce
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last)));
        match replaced {
            Ok(last) | Err(last) => next(last),
        }
    }
}

/// The features of a conversation as they go over the wire: snake_case names, whole numbers where
/// the network has them, and nothing for what is missing.
pub fn wire_features(session_id: &str, conversation: &Conversation) -> serde_json::Value {
    let mut features = serde_json::Map::new();
    features.insert(SESSION_ID.name.to_owned(), session_id.into());
    for (feature, value) in FEATURES.iter().zip(conversation.values) {
        if value.is_nan() {
            continue;
        }
        let whole = feature.kind != Kind::Float && value.fract() == 0.0 && value.abs() < 1e15;
        // The shortest text of the f32 is what stood in the file; its f64 has digits of no meaning.
        let short = || value.to_string().parse().unwrap_or(f64::from(value));
        let number = if whole { serde_json::Value::from(value as i64) } else { short().into() };
        features.insert(feature.name.to_owned(), number);
    }
    features.into()
}

/// What a refusal says, as far as it can be read.
fn message_of(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Wire {
        message: String,
    }
    let message = match serde_json::from_slice::<Wire>(body) {
        Ok(wire) => wire.message,
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    // It is printed: a stranger's text must neither be long nor steer the terminal.
    message.chars().take(200).map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subnet::schema::index_of;

    fn target() -> Target {
        Target { address: "127.0.0.1:8091".parse().unwrap(), hotkey: Keypair::generate().public() }
    }

    #[test]
    fn nonces_grow() {
        let dendrite = Dendrite::new(Keypair::generate());
        let nonces: Vec<_> = (0..1000).map(|_| dendrite.next_nonce()).collect();
        assert!(nonces.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn a_request_is_signed_for_its_axon() {
        let dendrite = Dendrite::new(Keypair::generate());
        let target = target();
        let request = dendrite.request(&target, &serde_json::json!({}), 60.0);
        assert_eq!(request.uri(), "http://127.0.0.1:8091/ConversionSynapse");
        let header = |name: &str| request.headers()[name].to_str().unwrap();
        let message = request_text(
            header("bt_header_dendrite_nonce").parse().unwrap(),
            dendrite.keypair.address(),
            &target.hotkey.address(),
            header("bt_header_dendrite_uuid"),
            header("computed_body_hash"),
        );
        let signature = header("bt_header_dendrite_signature");
        assert_eq!(dendrite.keypair.public().verify(&message, signature), Ok(()));
        assert_eq!(header("timeout"), "60.0");
    }

    #[test]
    fn a_signature_may_be_missing_but_not_wrong() {
        let (dendrite, axon) = (Dendrite::new(Keypair::generate()), Keypair::generate());
        let target = Target { hotkey: axon.public(), ..target() };
        let text = response_text(7, dendrite.keypair.address(), axon.address(), "u");
        let good = axon.sign(&text);
        let other = Keypair::generate();
        for (hotkey, nonce, signature, expected, why) in [
            (axon.address(), "7", Some(&good), Ok(true), "good"),
            (axon.address(), "7", None, Ok(false), "none"),
            (axon.address(), "8", Some(&good), Err("does not match"), "another nonce"),
            (axon.address(), "x", Some(&good), Err("`bt_header_axon_nonce`"), "no nonce"),
            (axon.address(), "7", Some(&other.sign(&text)), Err("does not match"), "forged"),
            (other.address(), "7", Some(&other.sign(&text)), Err("should come from"), "another"),
            (other.address(), "7", None, Err("should come from"), "another, not signed"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("bt_header_axon_hotkey", hotkey.parse().unwrap());
            headers.insert("bt_header_axon_nonce", nonce.parse().unwrap());
            headers.insert("bt_header_axon_uuid", "u".parse().unwrap());
            if let Some(signature) = signature {
                headers.insert("bt_header_axon_signature", signature.parse().unwrap());
            }
            match (dendrite.is_signed(&target, &headers), expected) {
                (Ok(signed), Ok(expected)) => assert_eq!(signed, expected, "{why}"),
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
                (result, _) => panic!("{why}: {result:?}"),
            }
        }
    }

    #[test]
    fn features_go_out_as_they_stood_in_the_file() {
        let mut conversation = Conversation::EMPTY;
        for (name, value) in [
            ("conversation_duration_minutes", 1.5333),
            ("total_messages", 9.0),
            ("has_target_entity", 1.0),
            ("entities_collected_count", 2.5),
            ("message_ratio", 2.0),
            ("hour_of_day", -1.0),
        ] {
            conversation.set(index_of(name).unwrap(), value);
        }
        assert_eq!(
            wire_features("a \"b\"", &conversation).to_string(),
            r#"{"conversation_duration_minutes":1.5333,"entities_collected_count":2.5,"has_target_entity":1,"message_ratio":2.0,"session_id":"a \"b\"","total_messages":9}"#
        );
    }

    #[test]
    fn a_refusal_is_read_as_far_as_it_can_be() {
        assert_eq!(message_of(br#"{"message": "no"}"#), "no");
        assert_eq!(message_of(b"<html>"), "<html>");
    }

    #[tokio::test]
    async fn nobody_there_is_an_error_with_a_cause() {
        // A port that was free a moment ago.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let dendrite = Dendrite::new(Keypair::generate());
        let target = Target { address, ..target() };
        let features = serde_json::json!({});
        let ask = dendrite.ask(&target, &features, Duration::from_secs(20));
        let error = ask.await.unwrap_err();
        assert!(matches!(error, AskError::Connection { .. }), "{error}");
        let text = format!("{:#}", anyhow::Error::from(error));
        assert!(text.contains("refused"), "{text}");
    }
}
