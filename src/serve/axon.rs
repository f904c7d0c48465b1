//! The way of a request: headers, caller, signature, body, model, answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http_body_util::BodyExt;
use tokio::time::Instant;
use uuid::Uuid;

use crate::features::reader;
use crate::model::Model;
use crate::subnet::synapse::{AxonStatus, ConversionSynapse, SYNAPSE_NAME};

use super::access::Access;
use super::clock::Clock;
use super::config::ServeConfig;
use super::headers::RequestHeaders;
use super::nonces::NonceLimits;
use super::refusal::Refusal;
use super::respond::{Identity, SUCCESS};
use super::verify::Verifier;
use super::worker::{ModelHandle, ModelThread};

/// How much of the body of a refused request is read and thrown away, and for how long. A
/// connection that is closed with unread bytes is reset, and the client may never see why.
const DRAIN_BYTES: usize = 4 << 20;
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// A miner's side of the protocol.
#[derive(Debug)]
pub struct Axon {
    state: Arc<AxonState>,
    model: ModelThread,
}

struct AxonState {
    identity: Identity,
    access: Access,
    verifier: Verifier,
    model: ModelHandle,
    clock: Arc<dyn Clock>,
    body_limit_bytes: usize,
    max_timeout_seconds: f64,
    /// Requests that have come whole and have no answer yet.
    in_flight: AtomicUsize,
}

impl std::fmt::Debug for AxonState {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("AxonState")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

impl Axon {
    /// Starts the model's thread.
    ///
    /// # Errors
    ///
    /// If the system gives no thread.
    pub fn start(config: ServeConfig, model: Arc<dyn Model>) -> std::io::Result<Self> {
        let model = ModelThread::start(model, config.queue, config.max_batch)?;
        let max_timeout_seconds = config.max_timeout_seconds;
        let limits = NonceLimits { max_timeout_seconds, ..NonceLimits::default() };
        let state = AxonState {
            verifier: Verifier::new(&config.keypair, limits),
            identity: Identity {
                keypair: config.keypair,
                uuid: Uuid::new_v4().to_string(),
                external_ip: config.external_ip.map(|ip| ip.to_string()),
                external_port: config.external_port,
            },
            access: config.access,
            model: model.handle(),
            clock: config.clock,
            body_limit_bytes: config.body_limit_bytes,
            max_timeout_seconds,
            in_flight: AtomicUsize::new(0),
        };
        Ok(Axon { state: Arc::new(state), model })
    }

    /// The routes. Needs no socket.
    pub fn router(&self) -> Router {
        Router::new()
            .route(&format!("/{SYNAPSE_NAME}"), post(handle).fallback(wrong_method))
            .fallback(unknown_synapse)
            .with_state(Arc::clone(&self.state))
    }

    /// How many requests have come whole and have no answer yet.
    pub fn in_flight(&self) -> usize {
        self.state.in_flight.load(Ordering::Relaxed)
    }

    /// Answers what waits for the model and ends its thread. Whether that was done within `limit`.
    pub async fn stop(self, limit: Duration) -> bool {
        self.model.stop(limit).await
    }
}

async fn handle(State(axon): State<Arc<AxonState>>, request: Request) -> Response {
    let started = Instant::now();
    let (parts, mut body) = request.into_parts();
    match axon.answer(&parts, &mut body, started).await {
        Ok(response) => response,
        Err(refusal) => axon.refuse(&parts, body, refusal, started).await,
    }
}

async fn unknown_synapse(State(axon): State<Arc<AxonState>>, request: Request) -> Response {
    let started = Instant::now();
    let (parts, body) = request.into_parts();
    let name = parts.uri.path().split('/').nth(1).unwrap_or_default();
    let refusal = Refusal::UnknownSynapse { name: name.chars().take(40).collect() };
    axon.refuse(&parts, body, refusal, started).await
}

async fn wrong_method(State(axon): State<Arc<AxonState>>, request: Request) -> Response {
    let started = Instant::now();
    let (parts, body) = request.into_parts();
    axon.refuse(&parts, body, Refusal::Method, started).await
}

impl AxonState {
    async fn answer(
        &self,
        parts: &Parts,
        body: &mut Body,
        started: Instant,
    ) -> Result<Response, Refusal> {
        let headers = RequestHeaders::parse(&parts.headers)?;
        self.access.check(headers.dendrite.hotkey.as_deref())?;
        self.verifier.verify(&headers, self.clock.now_ns())?;

        let seconds =
            headers.timeout_seconds.unwrap_or(f64::INFINITY).min(self.max_timeout_seconds);
        let deadline = started + Duration::from_secs_f64(seconds);
        let body = tokio::time::timeout_at(deadline, self.read(&parts.headers, body))
            .await
            .map_err(|_| Refusal::Timeout { seconds })??;
        let _in_flight = Counted::new(&self.in_flight);

        let mut synapse = ConversionSynapse::parse(&body)?;
        let reading = reader::read(synapse.features())?;
        for oddity in &reading.oddities {
            tracing::debug!(session_id = reading.session_id, %oddity, "odd feature");
        }
        let prediction = self
            .model
            .predict(reading.conversation, deadline)
            .await
            .map_err(|error| Refusal::from_predict(error, seconds))?;

        let process_time_seconds = started.elapsed().as_secs_f64();
        synapse.fill(&prediction, process_time_seconds);
        synapse.set_axon_status(AxonStatus { code: 200, message: SUCCESS, process_time_seconds });
        let nonce = self.clock.now_ns();
        let response_headers =
            self.identity.success(&parts.headers, &headers, nonce, process_time_seconds);
        let hotkey = headers.dendrite.hotkey;
        tracing::debug!(hotkey, session_id = reading.session_id, process_time_seconds, "answered");
        Ok((response_headers, synapse.write()).into_response())
    }

    /// The body, if it is not too large.
    async fn read(&self, headers: &HeaderMap, body: &mut Body) -> Result<Bytes, Refusal> {
        let limit = self.body_limit_bytes;
        if announced_bytes(headers).is_some_and(|bytes| bytes > limit as u64) {
            return Err(Refusal::BodyTooLarge { limit });
        }
        match http_body_util::Limited::new(&mut *body, limit).collect().await {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                Err(Refusal::BodyTooLarge { limit })
            }
            Err(_) => Err(Refusal::BodyLost),
        }
    }

    async fn refuse(
        &self,
        parts: &Parts,
        body: Body,
        refusal: Refusal,
        started: Instant,
    ) -> Response {
        let hotkey = parts.headers.get("bt_header_dendrite_hotkey");
        refusal.log(hotkey.and_then(|hotkey| hotkey.to_str().ok()));
        // What is announced to be huge is not worth reading.
        if announced_bytes(&parts.headers).is_none_or(|bytes| bytes <= DRAIN_BYTES as u64) {
            tokio::time::timeout(DRAIN_TIME, drain(body)).await.ok();
        }
        // Headers that could not be read are not sent back: a client could not read them either.
        let empty = HeaderMap::new();
        let echoed = if matches!(refusal, Refusal::Headers(_)) { &empty } else { &parts.headers };
        let headers = self.identity.common(echoed, started.elapsed().as_secs_f64());
        (headers, refusal).into_response()
    }
}

/// Counts while it lives, however the request ends.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Counted(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn announced_bytes(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn drain(mut body: Body) {
    let mut bytes = 0;
    while let Some(Ok(frame)) = body.frame().await {
        bytes += frame.data_ref().map_or(0, Bytes::len);
        if bytes > DRAIN_BYTES {
            break;
        }
    }
}
