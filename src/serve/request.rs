//! What is done for a request on a model's thread.

use std::sync::Arc;

use axum::body::Bytes;
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Response};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::axon::{AxonState, origin};
use super::gate::Pass;
use super::headers::RequestHeaders;
use super::monitor::Phases;
use super::refusal::Refusal;
use super::respond::SUCCESS;
use super::worker::{PredictError, Reply, Task};
use crate::features::Conversation;
use crate::features::reader::{self, Reading};
use crate::journal::{Record, Sampled};
use crate::subnet::reward::Answer;
use crate::subnet::synapse::{AxonStatus, ConversionSynapse};

/// A request whose headers can be read.
#[derive(Clone)]
pub(super) struct Work {
    pub(super) axon: Arc<AxonState>,
    pub(super) parts: Arc<Parts>,
    pub(super) headers: Arc<RequestHeaders>,
    pub(super) started: Instant,
}

/// What is known of a request so far, for who counts.
#[derive(Debug, Clone, Default)]
pub(super) struct Trail {
    pub(super) phases: Phases,
    pub(super) is_verified: bool,
    /// Whether its address has paid for it, and gets it back once it is verified.
    pub(super) is_charged: bool,
    pub(super) answer: Option<(Answer, Arc<str>)>,
}

/// What came of it.
pub(super) struct Done {
    pub(super) trail: Trail,
    /// The response; none if the caller is verified and its body remains to be read.
    pub(super) result: Result<Option<Response>, Refusal>,
}

/// A conversation that was asked about.
struct Asked {
    session_id: Option<String>,
    test_pk: Option<String>,
    /// For the journal; none without one.
    features: Option<Conversation>,
}

/// Verifies a request, if that was not done before, and answers it, if its body is there.
pub(super) struct RequestTask {
    work: Work,
    body: Option<Result<Bytes, Refusal>>,
    patience_seconds: f64,
    trail: Trail,
    /// Until the task is over.
    _pass: Pass,
    /// What was read of the body.
    asked: Option<Asked>,
    /// Until it was told.
    reply: Option<oneshot::Sender<Done>>,
}

impl RequestTask {
    /// A task of which `reply` hears. Without a body it only verifies.
    pub(super) fn new(
        work: Work,
        body: Option<Result<Bytes, Refusal>>,
        pass: Pass,
        patience_seconds: f64,
        trail: Trail,
        reply: oneshot::Sender<Done>,
    ) -> Self {
        let reply = Some(reply);
        RequestTask { work, body, patience_seconds, trail, _pass: pass, asked: None, reply }
    }

    /// The conversation to ask about; none if the body is still to come.
    fn begin(&mut self) -> Result<Option<Conversation>, Refusal> {
        if !self.trail.is_verified {
            self.verify()?;
        }
        // Whatever was wrong with the body matters to nobody but a verified caller.
        let body = match self.body.take() {
            None => return Ok(None),
            Some(body) => self.body.insert(Ok(body?)).as_ref().map_err(|_| Refusal::Broken)?,
        };
        let synapse = ConversionSynapse::parse(body)?;
        let reading = reader::read(synapse.features())?;
        for oddity in &reading.oddities {
            tracing::debug!(session_id = reading.session_id, %oddity, "odd feature");
        }
        let Reading { conversation, session_id, test_pk, .. } = reading;
        let features = self.work.axon.journal.as_ref().map(|_| conversation.clone());
        self.asked = Some(Asked { session_id, test_pk, features });
        Ok(Some(conversation))
    }

    fn verify(&mut self) -> Result<(), Refusal> {
        let Work { axon, parts, headers, .. } = &self.work;
        let verifying = Instant::now();
        let now_ns = axon.clock.now_ns();
        let candidate = axon.verifier.check(headers, now_ns)?;
        axon.verifier.verify(&candidate, now_ns)?;
        let verified = Instant::now();
        self.trail.phases.verify = Some(verified - verifying);
        self.trail.is_verified = true;
        axon.peers.remember(origin(parts), candidate.hotkey(), verified);
        if std::mem::take(&mut self.trail.is_charged) {
            axon.strangers.give_back(&origin(parts));
        }
        let limited = |wait| Refusal::Limited { of: "hotkey", wait };
        axon.hotkeys.take(candidate.hotkey(), verified).map_err(limited)
    }

    /// The response, and what of it goes into the journal.
    fn respond(&mut self, reply: Reply) -> Result<(Response, Option<Record>), Refusal> {
        let Work { axon, parts, headers, started } = &self.work;
        let phases = &mut self.trail.phases;
        phases.queue = Some(phases.queue.unwrap_or_default() + reply.waited);
        phases.model = Some(reply.computed);
        self.trail.answer = Some((reply.prediction.answer(), Arc::clone(&reply.model)));
        axon.monitor.batch(reply.batch);
        let Some(Ok(body)) = &self.body else { return Err(Refusal::Broken) };
        let mut synapse = ConversionSynapse::parse(body)?;
        let process_time_seconds = started.elapsed().as_secs_f64();
        synapse.fill(&reply.prediction, process_time_seconds);
        synapse.set_axon_status(AxonStatus { code: 200, message: SUCCESS, process_time_seconds });
        let now_ns = axon.clock.now_ns();
        let identity = &axon.identity;
        let response = identity.success(&parts.headers, headers, now_ns, process_time_seconds);
        let session_id = self.asked.as_ref().and_then(|asked| asked.session_id.as_deref());
        let hotkey = &headers.dendrite.hotkey;
        tracing::debug!(hotkey, session_id, process_time_seconds, "answered");
        let record = self.asked.take().and_then(|asked| {
            let features = asked.features?;
            Some(Record {
                time_ns: now_ns,
                validator: hotkey.clone().unwrap_or_default(),
                nonce: headers.dendrite.nonce.unwrap_or_default(),
                session_id: asked.session_id,
                test_pk: asked.test_pk,
                coverage: features.coverage(),
                features,
                raw_probability: reply.basis.map(|basis| basis.raw_probability),
                calibrated: reply.basis.map(|basis| basis.calibrated),
                answer: reply.prediction.answer().into(),
                time_quantiles: reply.basis.and_then(|basis| basis.time_quantiles),
                model: reply.model.as_ref().to_owned(),
                checkpoint: reply.checkpoint.as_ref().to_owned(),
                response_time_seconds: process_time_seconds,
                sampled: Sampled::All,
                shadow: None,
            })
        });
        Ok(((response, synapse.write()).into_response(), record))
    }

    /// Whether somebody heard of it.
    fn tell(&mut self, result: Result<Option<Response>, Refusal>) -> bool {
        let Some(reply) = self.reply.take() else { return false };
        let trail = std::mem::take(&mut self.trail);
        // An error means that the client has gone meanwhile.
        reply.send(Done { trail, result }).is_ok()
    }
}

impl Task for RequestTask {
    fn prepare(&mut self) -> Option<Conversation> {
        match self.begin() {
            Ok(Some(conversation)) => Some(conversation),
            Ok(None) => {
                self.tell(Ok(None));
                None
            }
            Err(refusal) => {
                self.tell(Err(refusal));
                None
            }
        }
    }

    fn finish(mut self: Box<Self>, result: Result<Reply, PredictError>) {
        let failed = |error| Refusal::from_predict(error, self.patience_seconds);
        match result.map_err(failed).and_then(|reply| self.respond(reply)) {
            Err(refusal) => drop(self.tell(Err(refusal))),
            Ok((response, record)) => {
                // The answer goes first; what nobody hears of was not answered.
                let is_answered = self.tell(Ok(Some(response)));
                let journal = self.work.axon.journal.as_ref().filter(|_| is_answered);
                if let Some((journal, record)) = journal.zip(record) {
                    journal.submit(record);
                }
            }
        }
    }

    fn is_wanted(&self) -> bool {
        self.reply.as_ref().is_some_and(|reply| !reply.is_closed())
    }
}
