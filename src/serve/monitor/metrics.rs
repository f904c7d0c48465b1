//! What Prometheus reads.

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::{Finished, Outcome, Snapshot, process};

/// The type of the text of [`Monitor::metrics`](super::Monitor::metrics).
pub const METRICS_CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The upper ends of the buckets of the phases in seconds: from 10 us to 10 s.
const PHASE_BUCKETS: [f64; 19] = [
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025,
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// Written out: added up, three tenths would be 0.30000000000000004.
const CONFIDENCE_BUCKETS: [f64; 10] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0];

type Label = [(&'static str, &'static str); 1];
type Reload = [(&'static str, &'static str); 2];
/// Gauges and counters of things whose names are known at run time only.
type Named<M> = Family<[(&'static str, String); 1], M>;
type Real = Gauge<f64, std::sync::atomic::AtomicU64>;
type Whole = Gauge<u64, std::sync::atomic::AtomicU64>;

/// What is counted as it happens. The handles are kept, so that counting looks nothing up.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    requests: [Counter; Outcome::ALL.len()],
    /// Of answers that say "converts", and of the others.
    answers: [Counter; 2],
    verify: Histogram,
    queue: Histogram,
    model: Histogram,
    total: Histogram,
    batch_size: Histogram,
    confidence: Histogram,
    reloads: Family<Reload, Counter>,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut registry = Registry::default();
        let requests = Family::<Label, Counter>::default();
        registry.register(
            "convminer_requests",
            "Requests that are over, by what became of them",
            requests.clone(),
        );
        let answers = Family::<Label, Counter>::default();
        registry.register("convminer_answers", "Answers given, by their class", answers.clone());
        let phases =
            Family::<Label, Histogram>::new_with_constructor(|| Histogram::new(PHASE_BUCKETS));
        registry.register(
            "convminer_phase_seconds",
            "Time that the phases of requests took",
            phases.clone(),
        );
        let batch_size = Histogram::new(exponential_buckets(1.0, 2.0, 9));
        registry.register(
            "convminer_batch_size",
            "Conversations that a model answered at a time",
            batch_size.clone(),
        );
        let confidence = Histogram::new(CONFIDENCE_BUCKETS);
        registry.register(
            "convminer_confidence",
            "Confidence of the answers given",
            confidence.clone(),
        );
        let reloads = Family::default();
        registry.register(
            "convminer_reloads",
            "Files that were taken up anew or refused",
            reloads.clone(),
        );
        let phase = |name| phases.get_or_create_owned(&[("phase", name)]);
        Metrics {
            registry,
            requests: Outcome::ALL
                .map(|outcome| requests.get_or_create_owned(&[("outcome", outcome.name())])),
            answers: ["true", "false"]
                .map(|converted| answers.get_or_create_owned(&[("converted", converted)])),
            verify: phase("verify"),
            queue: phase("queue"),
            model: phase("model"),
            total: phase("total"),
            batch_size,
            confidence,
            reloads,
        }
    }

    pub(super) fn finished(&self, request: &Finished<'_>) {
        self.requests[request.outcome as usize].inc();
        let phases = [
            (&self.verify, request.phases.verify),
            (&self.queue, request.phases.queue),
            (&self.model, request.phases.model),
            (&self.total, Some(request.total)),
        ];
        for (histogram, time) in phases {
            if let Some(time) = time {
                histogram.observe(time.as_secs_f64());
            }
        }
        if let Some(given) = request.answer {
            self.answers[usize::from(!given.converted)].inc();
            // One that is no number would make the sum one, for good.
            if given.confidence.is_finite() {
                self.confidence.observe(given.confidence);
            }
        }
    }

    pub(super) fn batch(&self, size: usize) {
        self.batch_size.observe(size as f64);
    }

    pub(super) fn reloaded(&self, what: &'static str, refused: bool) {
        let result = if refused { "refused" } else { "ok" };
        self.reloads.get_or_create(&[("what", what), ("result", result)]).inc();
    }

    /// Requests since the start, by outcome.
    pub(super) fn requests(&self) -> [u64; Outcome::ALL.len()] {
        self.requests.each_ref().map(|counter| counter.get())
    }

    /// Answers since the start: how many say "converts", and how many do not.
    pub(super) fn answers(&self) -> [u64; 2] {
        self.answers.each_ref().map(|counter| counter.get())
    }

    /// All metrics as OpenMetrics text.
    pub(super) fn encode(
        &self,
        snapshot: &Snapshot,
        uptime_seconds: f64,
        started_seconds: f64,
    ) -> String {
        let mut text = String::with_capacity(16 << 10);
        let mut now = Registry::default();
        register_state(&mut now, snapshot);
        register_models(&mut now, snapshot);
        register_learned(&mut now, snapshot);
        register_kept(&mut now, snapshot);
        register_process(&mut now, uptime_seconds, started_seconds);
        encode_registry(&mut text, &self.registry)
            .and_then(|()| encode_registry(&mut text, &now))
            .and_then(|()| encode_eof(&mut text))
            .expect("a String takes any text. This is a bug.");
        text
    }
}

fn whole(registry: &mut Registry, name: &str, help: &str, value: usize) {
    let gauge = Whole::default();
    gauge.set(value as u64);
    registry.register(name, help, gauge);
}

fn counted(registry: &mut Registry, name: &str, help: &str, value: u64) {
    let counter = Counter::<u64>::default();
    counter.inc_by(value);
    registry.register(name, help, counter);
}

fn real(registry: &mut Registry, name: &str, help: &str, value: f64) {
    let gauge = Real::default();
    gauge.set(value);
    registry.register(name, help, gauge);
}

fn register_state(registry: &mut Registry, snapshot: &Snapshot) {
    for (name, help, value) in [
        ("convminer_queue_depth", "Requests that wait for their turn", snapshot.queue_depth),
        ("convminer_at_work", "Requests that are worked on", snapshot.at_work),
        ("convminer_connections", "Open connections of the axon", snapshot.connections),
        ("convminer_nonces", "Nonces that are remembered", snapshot.nonces),
    ] {
        whole(registry, name, help, value);
    }
    if let Some(registered) = snapshot.registered {
        let help = "Hotkeys that the metagraph knows; absent without a metagraph";
        whole(registry, "convminer_registered_hotkeys", help, registered);
    }
    // A gauge and not an info: readers of the older text format know no infos.
    let checkpoint = Named::<Whole>::default();
    checkpoint.get_or_create(&[("checkpoint", snapshot.checkpoint.clone())]).set(1);
    registry.register("convminer_checkpoint_info", "The checkpoint in use, always 1", checkpoint);
}

fn register_models(registry: &mut Registry, snapshot: &Snapshot) {
    let requests = Named::<Counter>::default();
    let failures = Named::<Counter>::default();
    let healthy = Named::<Whole>::default();
    for model in &snapshot.models {
        let label = [("model", model.name.clone())];
        requests.get_or_create(&label).inc_by(model.requests);
        failures.get_or_create(&label).inc_by(model.failures);
        healthy.get_or_create(&label).set(u64::from(model.healthy));
    }
    registry.register(
        "convminer_model_requests",
        "Conversations that a model was asked about",
        requests,
    );
    registry.register(
        "convminer_model_failures",
        "Conversations that a model gave no valid answer to",
        failures,
    );
    registry.register("convminer_model_healthy", "Whether a model is asked at all", healthy);
}

fn register_learned(registry: &mut Registry, snapshot: &Snapshot) {
    let truths = snapshot.truths.as_ref();
    let known = truths.map_or(0, |truths| truths.known);
    let help = "Answers of the last 30 days whose truth is known";
    whole(registry, "convminer_truths_known", help, known as usize);
    let mean = truths.and_then(|truths| truths.mean_reward).unwrap_or(f64::NAN);
    real(registry, "convminer_truths_mean_reward", "Their mean reward; NaN without any", mean);
    if let Some(recalibration) = snapshot.recalibration {
        let help = "Whether the confidence is corrected by what became of answers";
        let in_force = usize::from(recalibration.in_force);
        whole(registry, "convminer_recalibration_in_force", help, in_force);
        let help = "By how much that lowers the mean log loss of the last truths";
        real(registry, "convminer_recalibration_gain", help, recalibration.gain);
    }
    let Some(tuning) = &snapshot.tuning else { return };
    let parameters = Named::<Real>::default();
    for (name, value) in &tuning.parameters {
        parameters.get_or_create(&[("parameter", (*name).to_owned())]).set(*value);
    }
    registry.register("convminer_tuning", "Tuned parameters in force", parameters);
    let help = "Whether the tuning history cannot be used";
    whole(registry, "convminer_tuning_refused", help, usize::from(tuning.refused.is_some()));
}

fn register_kept(registry: &mut Registry, snapshot: &Snapshot) {
    if let Some(journal) = &snapshot.journal {
        let help = "Answers that were written into the journal";
        counted(registry, "convminer_journal_written", help, journal.written);
        let help = "Answers that should have been and were not, for want of room";
        counted(registry, "convminer_journal_dropped", help, journal.dropped);
        let failing = usize::from(journal.failing.is_some());
        let help = "Whether the journal cannot be written at the moment";
        whole(registry, "convminer_journal_failing", help, failing);
    }
    let help = "How often state could not be saved";
    counted(registry, "convminer_state_save_failures", help, snapshot.state.failures);
}

fn register_process(registry: &mut Registry, uptime_seconds: f64, started_seconds: f64) {
    real(
        registry,
        "convminer_uptime_seconds",
        "Time since the miner began to count",
        uptime_seconds,
    );
    real(
        registry,
        "process_start_time_seconds",
        "When the miner began to count, in seconds since 1970",
        started_seconds,
    );
    if let Some(bytes) = process::resident_bytes() {
        let help = "Memory that the process holds";
        real(registry, "process_resident_memory_bytes", help, bytes as f64);
    }
}
