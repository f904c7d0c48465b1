//! The way of a request: headers, caller, signature, body, model, answer.

use std::future::{Future, poll_fn};
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http_body_util::BodyExt;
use tokio::sync::oneshot;
use tokio::time::Instant;
use uuid::Uuid;

use crate::subnet::synapse::SYNAPSE_NAME;

use super::access::Access;
use super::config::ServeConfig;
use super::gate::{Gate, Pass, Priority, Turned};
use super::headers::RequestHeaders;
use super::limits::{Buckets, Peers};
use super::listener::{ConnectionTimes, Origin};
use super::models::Registry;
use super::monitor::{Finished, Given, Monitor, Outcome, Phases, Snapshot};
use super::nonces::{NonceLimits, Nonces};
use super::refusal::Refusal;
use super::request::{RequestTask, Trail, Work};
use super::respond::Identity;
use super::verify::Verifier;
use super::worker::{ModelHandle, ModelLimits, ModelThread};
use crate::clock::Clock;
use crate::journal::Journal;

/// How much of the body of a refused request is read and thrown away, and for how long. A
/// connection that is closed with unread bytes is reset, and the client may never see why.
const DRAIN_BYTES: usize = 4 << 20;
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// A miner's side of the protocol.
#[derive(Debug)]
pub struct Axon {
    state: Arc<AxonState>,
    model: ModelThread,
    times: ConnectionTimes,
    stop_limit: Duration,
}

pub(super) struct AxonState {
    pub(super) identity: Identity,
    access: Access,
    pub(super) verifier: Verifier,
    gate: Arc<Gate>,
    pub(super) peers: Arc<Peers>,
    /// What verified hotkeys may ask.
    pub(super) hotkeys: Buckets<String>,
    /// What addresses may do wrong.
    pub(super) strangers: Buckets<IpAddr>,
    model: ModelHandle,
    pub(super) monitor: Arc<Monitor>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) journal: Option<Arc<Journal>>,
    body_limit_bytes: usize,
    body_time: Duration,
    max_timeout_seconds: f64,
    /// Requests that have come whole and have no answer yet.
    in_flight: AtomicUsize,
    is_listening: AtomicBool,
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
    pub fn start(config: ServeConfig, models: Arc<Registry>) -> std::io::Result<Self> {
        let max_timeout_seconds = config.max_timeout_seconds;
        let (now, now_ns) = (Instant::now(), config.clock.now_ns());
        let nonces = config.nonces.unwrap_or_else(|| {
            let limits = NonceLimits { max_timeout_seconds, ..NonceLimits::default() };
            Nonces::started(limits, now_ns)
        });
        // All that are worked on may wait for the model at once.
        let limits = ModelLimits {
            queue: config.max_concurrent,
            max_batch: config.max_batch,
            threads: config.threads,
            ..ModelLimits::default()
        };
        let model = ModelThread::start(models, limits)?;
        let state = AxonState {
            verifier: Verifier::new(&config.keypair, nonces),
            identity: Identity {
                keypair: config.keypair,
                uuid: Uuid::new_v4().to_string(),
                external_ip: config.external_ip.map(|ip| ip.to_string()),
                external_port: config.external_port,
            },
            access: config.access,
            gate: Gate::new(config.max_concurrent, config.max_queue),
            peers: Peers::new(config.connections),
            hotkeys: Buckets::new(config.hotkey_rate, now),
            strangers: Buckets::new(config.address_rate, now),
            model: model.handle(),
            monitor: config.monitor,
            clock: config.clock,
            journal: config.journal,
            body_limit_bytes: config.body_limit_bytes,
            body_time: config.body_time,
            max_timeout_seconds,
            in_flight: AtomicUsize::new(0),
            is_listening: AtomicBool::new(false),
        };
        let (times, stop_limit) = (config.times, config.stop_limit);
        Ok(Axon { state: Arc::new(state), model, times, stop_limit })
    }

    /// The routes. Needs no socket.
    pub fn router(&self) -> Router {
        Router::new()
            .route(&format!("/{SYNAPSE_NAME}"), post(handle).fallback(wrong_method))
            .fallback(unknown_synapse)
            .with_state(Arc::clone(&self.state))
    }

    /// A way to look at it while it serves.
    pub fn view(&self) -> AxonView {
        AxonView { state: Arc::clone(&self.state) }
    }

    pub(super) fn peers(&self) -> &Arc<Peers> {
        &self.state.peers
    }

    pub(super) fn times(&self) -> ConnectionTimes {
        self.times
    }

    pub(super) fn stop_limit(&self) -> Duration {
        self.stop_limit
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

/// A way to look at an [`Axon`] while it serves.
#[derive(Debug, Clone)]
pub struct AxonView {
    state: Arc<AxonState>,
}

impl AxonView {
    /// The nonces that were accepted.
    pub fn nonces(&self) -> &Nonces {
        self.state.verifier.nonces()
    }

    /// Says whether requests can come, which is what makes a miner ready.
    pub fn set_listening(&self, is_listening: bool) {
        self.state.is_listening.store(is_listening, Ordering::Relaxed);
    }

    /// Adds to a snapshot what the axon knows.
    pub fn look(&self, snapshot: Snapshot) -> Snapshot {
        let state = &self.state;
        let can_answer = snapshot.models.iter().any(|model| model.healthy);
        let not_ready = match state.is_listening.load(Ordering::Relaxed) {
            false => Some("it is not listening"),
            true if !can_answer => Some("no model can answer"),
            true => None,
        };
        Snapshot {
            not_ready: not_ready.map(str::to_owned),
            queue_depth: state.gate.waiting(),
            at_work: state.gate.at_work(),
            connections: state.peers.connections(),
            nonces: self.nonces().len(),
            registered: state.access.metagraph.as_ref().map(|live| live.current().len()),
            ..snapshot
        }
    }
}

/// A request of which nobody has counted yet what became of it: its client may leave at any moment.
struct Uncounted<'a> {
    monitor: &'a Monitor,
    started: Instant,
    is_over: bool,
}

impl Drop for Uncounted<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.monitor.finished(&Finished {
                hotkey: None,
                outcome: Outcome::Late,
                total: self.started.elapsed(),
                phases: Phases::default(),
                answer: None,
                reason: Some("the client has gone"),
            });
        }
    }
}

async fn handle(State(axon): State<Arc<AxonState>>, request: Request) -> Response {
    let started = Instant::now();
    let (parts, mut body) = request.into_parts();
    let parts = Arc::new(parts);
    let mut trail = Trail::default();
    let mut uncounted = Uncounted { monitor: &axon.monitor, started, is_over: false };
    let result = axon.answer(&parts, &mut body, started, &mut trail).await;
    uncounted.is_over = true;
    match result {
        Ok(response) => {
            let answer = trail.answer.as_ref().map(|(answer, model)| Given {
                converted: answer.converted,
                confidence: answer.confidence,
                model,
            });
            axon.monitor.finished(&Finished {
                hotkey: hotkey(&parts),
                outcome: Outcome::Answered,
                total: started.elapsed(),
                phases: trail.phases,
                answer,
                reason: None,
            });
            response
        }
        Err(refusal) => axon.refuse(&parts, body, refusal, started, &trail).await,
    }
}

async fn unknown_synapse(State(axon): State<Arc<AxonState>>, request: Request) -> Response {
    let started = Instant::now();
    let (parts, body) = request.into_parts();
    let name = parts.uri.path().split('/').nth(1).unwrap_or_default();
    let refusal = Refusal::UnknownSynapse { name: name.chars().take(40).collect() };
    axon.refuse(&parts, body, refusal, started, &Trail::default()).await
}

async fn wrong_method(State(axon): State<Arc<AxonState>>, request: Request) -> Response {
    let started = Instant::now();
    let (parts, body) = request.into_parts();
    axon.refuse(&parts, body, Refusal::Method, started, &Trail::default()).await
}

impl AxonState {
    async fn answer(
        self: &Arc<Self>,
        parts: &Arc<Parts>,
        body: &mut Body,
        started: Instant,
        trail: &mut Trail,
    ) -> Result<Response, Refusal> {
        // What costs little comes first. Whoever is not known pays until it is verified, so that it
        // makes no difference whether it waits for the refusal.
        let origin = origin(parts);
        let is_known = self.is_known(origin, hotkey(parts), started);
        if !is_known {
            self.charge(origin, started)?;
            trail.is_charged = true;
        }
        let headers = Arc::new(RequestHeaders::parse(&parts.headers)?);
        let stake = self.access.check(headers.dendrite.hotkey.as_deref())?;
        let candidate = self.verifier.check(&headers, self.clock.now_ns())?;
        if is_known {
            // Its share is looked at again, and taken, once it is verified.
            let limited = |wait| Refusal::Limited { of: "hotkey", wait };
            self.hotkeys.check(candidate.hotkey(), started).map_err(limited)?;
        }
        let patience = headers.timeout_seconds.unwrap_or(f64::INFINITY);
        let patience = patience.min(self.max_timeout_seconds);
        let deadline = started + Duration::from_secs_f64(patience);
        let turn = async |priority| {
            let pass = self.gate.enter(priority, deadline).await;
            pass.map_err(|turned| turned_away(turned, patience))
        };

        // A body that came with the headers goes along, to be looked at when these are verified.
        let body = at_once(self.read(&parts.headers, body)).await;
        let mut in_flight = body.is_ok().then(|| Counted::new(&self.in_flight));
        let mut pass = turn(Priority::new(is_known, stake)).await?;
        trail.phases.queue = Some(started.elapsed());
        let work = Work { axon: Arc::clone(self), parts: Arc::clone(parts), headers, started };
        let work = (work, deadline, patience);
        let body = match body {
            Ok(body) => body,
            Err(reading) => {
                // Its turn is over with that: nobody waits for somebody else's slow body.
                self.work(work.clone(), None, pass, trail).await?;
                let until = deadline.min(Instant::now() + self.body_time);
                let seconds = (until - started).as_secs_f64();
                let body = tokio::time::timeout_at(until, reading).await;
                let body = body.map_err(|_| Refusal::Timeout { seconds })?;
                in_flight = Some(Counted::new(&self.in_flight));
                pass = turn(Priority::new(true, stake)).await?;
                body
            }
        };
        let response = self.work(work, Some(body), pass, trail).await;
        drop(in_flight);
        response?.ok_or(Refusal::Broken)
    }

    /// Has it done on a model's thread. The pass goes along, so that no more wait for these threads
    /// than were let in, whoever of the clients is still there.
    async fn work(
        &self,
        (work, deadline, patience): (Work, Instant, f64),
        body: Option<Result<Bytes, Refusal>>,
        pass: Pass,
        trail: &mut Trail,
    ) -> Result<Option<Response>, Refusal> {
        let (reply, done) = oneshot::channel();
        let task = RequestTask::new(work, body, pass, patience, trail.clone(), reply);
        let failed = |error| Refusal::from_predict(error, patience);
        self.model.run(Box::new(task), deadline).map_err(failed)?;
        match tokio::time::timeout_at(deadline, done).await {
            Ok(Ok(done)) => {
                *trail = done.trail;
                done.result
            }
            Ok(Err(_)) => Err(Refusal::Broken),
            Err(_) => Err(Refusal::Timeout { seconds: patience }),
        }
    }

    /// Whether this hotkey signed a request from there lately, which only it can.
    fn is_known(&self, origin: IpAddr, hotkey: Option<&str>, now: Instant) -> bool {
        hotkey.is_some_and(|hotkey| self.peers.knows(origin, hotkey, now))
    }

    /// Takes from what an address may send without being verified.
    fn charge(&self, origin: IpAddr, now: Instant) -> Result<(), Refusal> {
        self.strangers.take(&origin, now).map_err(|wait| Refusal::Limited { of: "address", wait })
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
        mut refusal: Refusal,
        started: Instant,
        trail: &Trail,
    ) -> Response {
        let (origin, hotkey) = (origin(parts), hotkey(parts));
        if trail.is_charged && matches!(refusal.outcome(), Outcome::Overloaded) {
            self.strangers.give_back(&origin);
        }
        // Where the route is unknown, this is the first that is seen of the caller.
        let is_strange = matches!(refusal.outcome(), Outcome::Unknown);
        if is_strange && let Err(limited) = self.charge(origin, started) {
            refusal = limited;
        }
        refusal.log(hotkey);
        // What is announced to be huge is not worth reading, and who floods is not listened to.
        let is_limited = matches!(refusal, Refusal::Limited { .. });
        let announced = announced_bytes(&parts.headers);
        if !is_limited && announced.is_none_or(|bytes| bytes <= DRAIN_BYTES as u64) {
            tokio::time::timeout(DRAIN_TIME, drain(body)).await.ok();
        }
        // Headers that could not be read are not sent back: a client could not read them either.
        let empty = HeaderMap::new();
        let echoed = if matches!(refusal, Refusal::Headers(_)) { &empty } else { &parts.headers };
        let headers = self.identity.common(echoed, started.elapsed().as_secs_f64());
        self.monitor.finished(&Finished {
            hotkey: hotkey.filter(|_| trail.is_verified),
            outcome: refusal.outcome(),
            total: started.elapsed(),
            phases: trail.phases,
            answer: None,
            reason: Some(&refusal.to_string()),
        });
        (headers, refusal).into_response()
    }
}

fn turned_away(turned: Turned, seconds: f64) -> Refusal {
    match turned {
        Turned::Full => Refusal::Overloaded,
        Turned::Late => Refusal::Timeout { seconds },
    }
}

/// Where the request comes from; one that came over no connection comes from nowhere.
pub(super) fn origin(parts: &Parts) -> IpAddr {
    parts.extensions.get::<Origin>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |origin| origin.0)
}

/// Who the caller claims to be.
fn hotkey(parts: &Parts) -> Option<&str> {
    parts.headers.get("bt_header_dendrite_hotkey")?.to_str().ok()
}

/// The result of what need not wait for anything, or else the future to be waited for.
async fn at_once<F: Future>(future: F) -> Result<F::Output, Pin<Box<F>>> {
    let mut future = Box::pin(future);
    let polled = poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await;
    match polled {
        Poll::Ready(output) => Ok(output),
        Poll::Pending => Err(future),
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
