//! What the miner does, counted: for `/metrics`, `/stats.json`, the dashboard and the log.
//!
//! `metrics` is what Prometheus reads. Beside it, a `tally` holds counts and the spread of response
//! times, `window` keeps one for each slot of the last minute, hour and day, for all callers and for
//! each of the `validators`, and `errors` remembers why requests were refused. `stats` gathers it.
//! All of it has a size that no caller can change: 0.2 MB, and 29 KB for each of up to 256 validators.

mod errors;
mod lasting;
mod metrics;
mod process;
mod request;
mod stats;
mod tally;
mod truths;
mod validators;
mod window;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::models::ModelStatistics;
use crate::clock::Clock;
use crate::journal::JournalStats;
use errors::RecentErrors;
use metrics::Metrics;
use tally::{Sample, Tally, seconds};
use validators::Validators;
use window::{FINE, Moment, Timeline, Windows};

pub use lasting::{RecalibrationStats, StateStats, TuningStats};
pub use metrics::METRICS_CONTENT_TYPE;
pub use request::{Finished, Given, Outcome, Phases};
pub use stats::{
    ByOutcome, ErrorStats, History, ReloadStats, ResponseTimes, Spans, Stats, Total,
    ValidatorStats, WindowStats,
};
pub use tally::QUANTILE_RELATIVE_ERROR;
pub use truths::{ReliabilityPart, RewardPoint, Truths};

/// What is so at this moment, asked for whenever somebody looks.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Why the miner cannot answer; `None` when it can.
    pub not_ready: Option<String>,
    /// The name of the checkpoint in use.
    pub checkpoint: String,
    /// How many requests wait for their turn.
    pub queue_depth: usize,
    /// How many requests are worked on.
    pub at_work: usize,
    /// How many connections are open.
    pub connections: usize,
    /// How many nonces are remembered.
    pub nonces: usize,
    /// How many hotkeys the metagraph knows; `None` without a metagraph.
    pub registered: Option<usize>,
    /// The models, the preferred one first.
    pub models: Vec<ModelStatistics>,
    /// How the answers fared whose truth is known; `None` while none is.
    pub truths: Option<Truths>,
    /// How far the confidence is corrected by that; `None` where nobody looks.
    pub recalibration: Option<RecalibrationStats>,
    /// The tuned parameters; `None` where nobody follows them.
    pub tuning: Option<TuningStats>,
    /// How the journal is written; `None` without one.
    pub journal: Option<JournalStats>,
    /// How state is saved.
    pub state: StateStats,
}

/// Counts what becomes of requests. Shared by all that serve.
pub struct Monitor {
    clock: Arc<dyn Clock>,
    started: Instant,
    started_wall_ns: u64,
    metrics: Metrics,
    state: Mutex<State>,
}

struct State {
    timeline: Timeline,
    all: Windows,
    /// What the next summary is about, and since when.
    unsummed: Tally,
    summed: Instant,
    validators: Validators,
    errors: RecentErrors,
    reloads: Vec<ReloadStats>,
}

impl std::fmt::Debug for Monitor {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Monitor").finish_non_exhaustive()
    }
}

impl Monitor {
    /// Nothing has happened yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let started = Instant::now();
        let state = State {
            timeline: Timeline::new(&*clock),
            all: Windows::new(FINE),
            unsummed: Tally::default(),
            summed: started,
            validators: Validators::default(),
            errors: RecentErrors::default(),
            reloads: Vec::new(),
        };
        let started_wall_ns = clock.now_ns();
        let (metrics, state) = (Metrics::new(), Mutex::new(state));
        Monitor { clock, started, started_wall_ns, metrics, state }
    }

    /// Counts a request that is over. On the way of every request, so it takes a microsecond at most.
    pub fn finished(&self, request: &Finished<'_>) {
        self.metrics.finished(request);
        let sample = Sample::new(request);
        let (mut state, moment) = self.state();
        state.all.add(moment, &sample);
        state.unsummed.add(&sample);
        if let Some(hotkey) = request.hotkey {
            state.validators.add(hotkey, moment, &sample);
        }
        if request.outcome != Outcome::Answered {
            state.errors.note(request.outcome, request.reason.unwrap_or_default(), moment);
        }
    }

    /// Counts a batch that a model answered.
    pub fn batch(&self, size: usize) {
        self.metrics.batch(size);
    }

    /// Counts a file that was taken up anew (`checkpoint`, `metagraph`), or refused.
    pub fn reloaded(&self, what: &'static str, refused: Option<&str>) {
        self.metrics.reloaded(what, refused.is_some());
        let (mut state, moment) = self.state();
        let place = state.reloads.iter().position(|reload| reload.what == what);
        let place = place.unwrap_or_else(|| {
            let reload = ReloadStats { what, ok: 0, refused: 0, last: 0.0, refusal: None };
            state.reloads.push(reload);
            state.reloads.len() - 1
        });
        let reload = &mut state.reloads[place];
        *(if refused.is_some() { &mut reload.refused } else { &mut reload.ok }) += 1;
        reload.last = seconds(moment.wall_ns);
        reload.refusal = refused.map(|reason| errors::shortened(reason).to_owned());
    }

    /// All metrics, as text of the type [`METRICS_CONTENT_TYPE`].
    pub fn metrics(&self, snapshot: &Snapshot) -> String {
        self.metrics.encode(snapshot, self.uptime_seconds(), seconds(self.started_wall_ns))
    }

    /// A line for the log: what happened since the last summary, and how things are.
    pub fn summary(&self, snapshot: &Snapshot) -> String {
        let (tally, since) = {
            let (mut state, _) = self.state();
            let since = std::mem::replace(&mut state.summed, Instant::now());
            (std::mem::take(&mut state.unsummed), since)
        };
        summary(&tally, since.elapsed(), snapshot, process::resident_bytes())
    }

    fn uptime_seconds(&self) -> f64 {
        // Not by the clock, which may be set right long after the start.
        self.started.elapsed().as_secs_f64()
    }

    /// The counts, and what time it is. The clock is read under the lock: two requests that read it
    /// in one order and count in the other would look like a clock that goes back.
    fn state(&self) -> (MutexGuard<'_, State>, Moment) {
        // Counts that a panic left half done are still better than none.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let moment = state.timeline.now(&*self.clock);
        (state, moment)
    }
}

fn summary(tally: &Tally, since: Duration, snapshot: &Snapshot, memory: Option<u64>) -> String {
    let (requests, answered) = (tally.requests(), tally.answered());
    let mut text =
        format!("{requests} requests in {:.0} s, {answered} answered", since.as_secs_f64());
    if let (Some(p50), Some(p99)) = (tally.quantile(0.5), tally.quantile(0.99)) {
        text += &format!(", p50 {:.2} ms, p99 {:.2} ms", p50 * 1e3, p99 * 1e3);
    }
    text += &format!("; {} wait, {} at work", snapshot.queue_depth, snapshot.at_work);
    if !snapshot.models.is_empty() {
        let state = |model: &ModelStatistics| match model.healthy {
            true => model.name.clone(),
            false => format!("{} (unhealthy)", model.name),
        };
        let models: Vec<String> = snapshot.models.iter().map(state).collect();
        text += &format!("; models: {}", models.join(", "));
    }
    if let Some(bytes) = memory {
        text += &format!("; {:.0} MB", bytes as f64 / 1e6);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use serde_json::json;

    use super::*;

    /// A clock that a test moves.
    #[derive(Debug)]
    pub(super) struct HandClock(AtomicU64);

    impl HandClock {
        pub(super) fn at_seconds(seconds: u64) -> Self {
            HandClock(AtomicU64::new(seconds * 1_000_000_000))
        }

        pub(super) fn set_seconds(&self, seconds: u64) {
            self.set(seconds * 1_000_000_000);
        }

        pub(super) fn set(&self, ns: u64) {
            self.0.store(ns, Ordering::Relaxed);
        }
    }

    impl Clock for HandClock {
        fn now_ns(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }
    }

    fn answered(hotkey: &str, micros: u64, converted: bool, confidence: f64) -> Finished<'_> {
        let micros_of = Duration::from_micros;
        Finished {
            hotkey: Some(hotkey),
            outcome: Outcome::Answered,
            total: micros_of(micros),
            phases: Phases {
                verify: Some(micros_of(40)),
                queue: Some(micros_of(5)),
                model: Some(micros_of(100)),
            },
            answer: Some(Given { converted, confidence, model: "ensemble" }),
            reason: None,
        }
    }

    fn refused<'a>(outcome: Outcome, reason: &'a str) -> Finished<'a> {
        Finished {
            hotkey: None,
            outcome,
            total: Duration::from_micros(3),
            phases: Phases::default(),
            answer: None,
            reason: Some(reason),
        }
    }

    fn snapshot() -> Snapshot {
        let model = |name: &str, healthy| ModelStatistics {
            name: name.to_owned(),
            healthy,
            requests: 7,
            failures: 2,
            mean_seconds: 0.001,
            p99_seconds: 0.002,
            mean_confidence: 0.5,
            mean_reward: None,
        };
        Snapshot {
            checkpoint: "20261122-053000".to_owned(),
            queue_depth: 3,
            at_work: 2,
            connections: 11,
            nonces: 99,
            registered: Some(256),
            models: vec![model("ensemble", true), model("a \"b\"\\\nc", false)],
            truths: Some(Truths { known: 4, mean_reward: Some(0.25), ..Truths::default() }),
            recalibration: Some(RecalibrationStats {
                in_force: true,
                truths: 4,
                compared: 4,
                gain: 0.5,
                standard_error: 0.1,
            }),
            tuning: Some(TuningStats {
                parameters: [("threshold_offset", 0.1)].into(),
                refused: None,
            }),
            journal: Some(JournalStats {
                written: 9,
                dropped: 1,
                failing: Some("the disk is full".to_owned()),
                ..JournalStats::default()
            }),
            state: StateStats { failures: 3, failing: Vec::new() },
            ..Snapshot::default()
        }
    }

    fn scene() -> (Arc<HandClock>, Monitor) {
        let clock = Arc::new(HandClock::at_seconds(1_000_000));
        let monitor = Monitor::new(Arc::clone(&clock) as Arc<dyn Clock>);
        (clock, monitor)
    }

    #[test]
    fn outcomes_are_numbered_as_they_are_listed() {
        for (number, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, number);
        }
    }

    #[test]
    fn stats_by_hand() {
        let (clock, monitor) = scene();
        monitor.finished(&answered("a", 1000, true, 0.75));
        monitor.finished(&answered("b", 3000, false, 0.25));
        monitor.finished(&refused(Outcome::Unverified, "old nonce"));
        clock.set_seconds(1_000_100);
        monitor.finished(&answered("a", 2000, false, 0.5));
        monitor.reloaded("metagraph", None);
        monitor.reloaded("metagraph", Some("no list"));
        let stats = serde_json::to_value(monitor.stats(&snapshot())).unwrap();

        assert_eq!((&stats["now"], &stats["ready"]), (&json!(1_000_100.0), &json!(true)));
        assert_eq!(stats["total"]["requests"], 4);
        assert_eq!(stats["total"]["outcomes"]["unverified"], 1);
        assert_eq!(
            (&stats["total"]["converted"], &stats["total"]["not_converted"]),
            (&json!(1), &json!(2))
        );
        let minute = json!({"avg": 0.002, "min": 0.002, "max": 0.002, "p50": 0.002, "p90": 0.002, "p99": 0.002});
        assert_eq!(stats["windows"]["1m"]["response_seconds"], minute);
        let hour = &stats["windows"]["1h"];
        assert_eq!((&hour["requests"], &hour["seconds"]), (&json!(4), &json!(3600)));
        assert_eq!(
            (&hour["mean_confidence"], &hour["positive_rate"]),
            (&json!(0.5), &json!(1.0 / 3.0))
        );
        assert_eq!(hour["confidence"], json!([0, 0, 1, 0, 0, 1, 0, 1, 0, 0]));
        let times = &hour["response_seconds"];
        assert_eq!(
            (&times["avg"], &times["min"], &times["max"]),
            (&json!(0.002), &json!(0.001), &json!(0.003))
        );
        // Cell 56 is [1890.6, 2079.7) us: python3 -c "print(10 * 1.1**55.5)" is 1982.87.
        assert!((times["p50"].as_f64().unwrap() - 0.001_982_87).abs() < 1e-8, "{times}");

        let validators = stats["validators"].as_array().unwrap();
        assert_eq!(
            (&validators[0]["hotkey"], &validators[0]["windows"]["24h"]["requests"]),
            (&json!("a"), &json!(2))
        );
        assert_eq!(
            (&validators[1]["hotkey"], &validators[1]["silent_seconds"]),
            (&json!("b"), &json!(100.0))
        );
        assert_eq!(validators[0]["windows"]["1m"]["requests"], 1);
        let error = json!([{"outcome": "unverified", "reason": "old nonce", "count": 1, "first": 1_000_000.0, "last": 1_000_000.0}]);
        assert_eq!(stats["errors"], error);
        let reload = json!([{"what": "metagraph", "ok": 1, "refused": 1, "last": 1_000_100.0, "refusal": "no list"}]);
        assert_eq!(stats["reloads"], reload);
        assert_eq!(stats["truths"]["known"], 4);
        assert_eq!(stats["journal"]["failing"], "the disk is full");
        assert_eq!(stats["tuning"]["parameters"], json!({"threshold_offset": 0.1}));
    }

    #[test]
    fn the_history_has_a_step_for_each_slot() {
        let (clock, monitor) = scene();
        monitor.finished(&answered("a", 1000, true, 0.75));
        clock.set_seconds(1_000_060);
        monitor.finished(&refused(Outcome::Limited, "too often"));
        let stats = monitor.stats(&Snapshot::default());
        let lengths = stats.history.0.each_ref().map(|it| (it.answered.len(), it.step_seconds));
        assert_eq!(lengths, [(60, 1), (60, 60), (96, 900)]);
        let hour = &stats.history.0[1];
        assert_eq!((&hour.answered[58..], &hour.refused[58..]), (&[1, 0][..], &[0, 1][..]));
        assert_eq!((hour.p50[58], hour.p99[59]), (Some(0.001), None));
        // The first minute has just dropped out.
        assert_eq!(stats.windows.0[0].requests, 1);
    }

    #[test]
    fn a_clock_that_goes_back_corrupts_nothing() {
        let (clock, monitor) = scene();
        monitor.finished(&answered("a", 1000, true, 0.75));
        clock.set_seconds(5);
        monitor.finished(&answered("a", 1000, true, 0.75));
        clock.set_seconds(64);
        monitor.finished(&answered("a", 1000, true, 0.75));
        let stats = monitor.stats(&Snapshot::default());
        // 59 s have passed since the first two.
        assert_eq!(stats.windows.0[0].requests, 3);
        clock.set_seconds(65);
        assert_eq!(monitor.stats(&Snapshot::default()).windows.0[0].requests, 1);
    }

    #[test]
    fn memory_is_bounded_whatever_comes() {
        let (_, monitor) = scene();
        for number in 0..2000 {
            let name = format!("{number}");
            monitor.finished(&answered(&name, 100, true, 0.5));
            monitor.finished(&refused(Outcome::ALL[1 + number % 9], &name));
        }
        let stats = monitor.stats(&Snapshot::default());
        assert_eq!((stats.validators.len(), stats.errors.len()), (256, 50));
        assert_eq!(stats.total.requests, 4000);
        assert_eq!(stats.total.outcomes.of(Outcome::Answered), 2000);
    }

    #[test]
    fn metrics_by_hand() {
        let (_, monitor) = scene();
        monitor.finished(&answered("a", 1000, true, 0.75));
        monitor.finished(&refused(Outcome::Late, "too late"));
        monitor.batch(3);
        monitor.reloaded("checkpoint", Some("broken"));
        let text = monitor.metrics(&snapshot());
        for line in [
            "# TYPE convminer_requests counter",
            "convminer_requests_total{outcome=\"answered\"} 1",
            "convminer_requests_total{outcome=\"late\"} 1",
            "convminer_requests_total{outcome=\"overloaded\"} 0",
            "convminer_answers_total{converted=\"true\"} 1",
            "convminer_answers_total{converted=\"false\"} 0",
            "convminer_phase_seconds_bucket{le=\"0.0005\",phase=\"total\"} 1",
            "convminer_phase_seconds_bucket{le=\"0.001\",phase=\"total\"} 2",
            "convminer_phase_seconds_bucket{le=\"+Inf\",phase=\"verify\"} 1",
            "convminer_phase_seconds_count{phase=\"model\"} 1",
            "convminer_batch_size_bucket{le=\"2.0\"} 0",
            "convminer_batch_size_bucket{le=\"4.0\"} 1",
            "convminer_confidence_bucket{le=\"0.7\"} 0",
            "convminer_confidence_bucket{le=\"0.8\"} 1",
            "convminer_queue_depth 3",
            "convminer_at_work 2",
            "convminer_connections 11",
            "convminer_nonces 99",
            "convminer_registered_hotkeys 256",
            "convminer_checkpoint_info{checkpoint=\"20261122-053000\"} 1",
            "convminer_model_requests_total{model=\"ensemble\"} 7",
            "convminer_model_failures_total{model=\"ensemble\"} 2",
            "convminer_model_healthy{model=\"ensemble\"} 1",
            "convminer_model_healthy{model=\"a \\\"b\\\"\\\\\\nc\"} 0",
            "convminer_reloads_total{what=\"checkpoint\",result=\"refused\"} 1",
            "process_start_time_seconds 1000000.0",
            "convminer_truths_known 4",
            "convminer_truths_mean_reward 0.25",
            "convminer_recalibration_in_force 1",
            "convminer_recalibration_gain 0.5",
            "convminer_tuning{parameter=\"threshold_offset\"} 0.1",
            "convminer_tuning_refused 0",
            "convminer_journal_written_total 9",
            "convminer_journal_dropped_total 1",
            "convminer_journal_failing 1",
            "convminer_state_save_failures_total 3",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("\n# EOF\n"));
        assert!(!monitor.metrics(&Snapshot::default()).contains("registered_hotkeys"));
    }

    #[test]
    fn a_summary_tells_of_the_time_since_the_last() {
        let (_, monitor) = scene();
        monitor.finished(&answered("a", 1000, true, 0.75));
        monitor.finished(&refused(Outcome::Late, "too late"));
        let line = monitor.summary(&snapshot());
        let expected = "2 requests in 0 s, 1 answered, p50 1.00 ms, p99 1.00 ms; 3 wait, 2 at work; \
                        models: ensemble, ";
        assert!(line.starts_with(expected), "{line}");
        let line = monitor.summary(&Snapshot::default());
        assert!(line.starts_with("0 requests in 0 s, 0 answered; 0 wait, 0 at work"), "{line}");
    }
}
