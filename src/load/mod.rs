//! A load generator: real, signed requests for an axon, and what becomes of them.
//!
//! It shares the machine with the server that it measures, so it does little while it measures:
//! signatures are made before (`sign`), responses are read by hand (`response`) and all connections
//! (`lane`) live on one thread. In an open loop a request waits from when it was due (`pace`), so a
//! server that stalls is not flattered by the requests that it kept from being sent.

mod check;
mod floor;
mod histogram;
mod lane;
mod pace;
mod process;
mod question;
mod request;
mod response;
mod sign;
mod tally;

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::LocalSet;
use uuid::Uuid;

use crate::chain::{Keypair, PublicKey};

pub use check::{Candidate, CheckReport, Fault};
pub use floor::Floor;
pub use histogram::Histogram;
pub use pace::Pace;
pub use process::ProcessUse;
pub use question::{Question, questions};
pub use tally::{CallerTally, Failure, Tally};

use check::{Checker, Judge};
use lane::{Lane, Shared};
use pace::{Pacer, Schedule, Slots};
use request::RequestText;
use sign::{Signer, Stock};

/// What is sent to whom, and how long.
#[derive(Debug, Clone)]
pub struct LoadConfig {
    /// Where the axon listens.
    pub axon: SocketAddr,
    /// The axon's key.
    pub hotkey: PublicKey,
    /// Who asks. Connections belong to them in turn.
    pub callers: Vec<Keypair>,
    /// How many connections there are.
    pub connections: usize,
    /// When requests are sent.
    pub pace: Pace,
    /// The load ends after this time.
    pub duration: Duration,
    /// And after so many requests, if that is earlier.
    pub requests: Option<u64>,
    /// How long an answer is waited for; also what requests say.
    pub timeout: Duration,
    /// How many answers a second are expected of a closed loop: so many signatures are made before.
    pub expected_per_second: f64,
    /// What is asked, round and round.
    pub questions: Arc<[Question]>,
    /// Whether answers are checked: signature, body, and that one of these models gave it, if there
    /// is any.
    pub checks: Option<Vec<Candidate>>,
    /// The server's process, if it is on this machine and of interest.
    pub server: Option<u32>,
}

/// Why there is no load.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A setting makes no sense.
    #[error("{name} should be above 0")]
    Setting {
        /// The setting.
        name: &'static str,
    },
    /// The system gives no thread or runtime.
    #[error("the load generator cannot be started")]
    Start(#[source] io::Error),
    /// The thread that checks has panicked.
    #[error("the thread that checks answers panicked. This is a bug.")]
    Checks,
}

/// What a load did.
#[derive(Debug)]
pub struct LoadReport {
    /// The counts.
    pub tally: Tally,
    /// How many requests were sent.
    pub sent: u64,
    /// From the first request to the last answer.
    pub elapsed: Duration,
    /// How many requests were signed before the load, and in what time.
    pub signed_before: (u64, Duration),
    /// How many were signed while it ran.
    pub signed_meanwhile: u64,
    /// How often a connection waited for a signature: above 0, the generator was too slow.
    pub starved: u64,
    /// What the checks found, if answers were checked.
    pub checks: Option<CheckReport>,
    /// What the server had taken when the load began and when it ended, if its process can be
    /// looked at.
    pub server: Option<(ProcessUse, ProcessUse)>,
    /// What the load generator took, without the signatures that were made before.
    pub own_cpu: Option<Duration>,
}

impl LoadReport {
    /// How many requests were answered a second.
    pub fn answered_per_second(&self) -> f64 {
        self.tally.answered() as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

impl LoadConfig {
    fn check(&self) -> Result<(), LoadError> {
        let per_second = match self.pace {
            Pace::Closed => self.expected_per_second,
            Pace::Open { per_second } => per_second,
        };
        for (name, value) in [
            ("the number of callers", self.callers.len() as f64),
            ("the number of connections", self.connections as f64),
            ("the number of questions", self.questions.len() as f64),
            ("the rate", per_second),
            ("the timeout", self.timeout.as_secs_f64()),
            ("the duration", self.duration.as_secs_f64()),
        ] {
            if !(value > 0.0 && value.is_finite()) {
                return Err(LoadError::Setting { name });
            }
        }
        Ok(())
    }

    /// How many requests are sent at most.
    fn total(&self) -> u64 {
        let total = self.requests.unwrap_or(u64::MAX);
        match self.pace {
            Pace::Closed => total,
            Pace::Open { per_second } => {
                total.min((per_second * self.duration.as_secs_f64()).ceil() as u64)
            }
        }
    }

    fn stock(&self) -> Stock {
        let per_second = match self.pace {
            Pace::Closed => self.expected_per_second,
            Pace::Open { per_second } => per_second,
        };
        let requests = (per_second * self.duration.as_secs_f64()).ceil() as u64;
        let timeout_seconds = self.timeout.as_secs_f64();
        Stock::new(requests.min(self.total()), per_second, timeout_seconds, self.connections)
    }

    /// The connections, and who signs for them.
    fn lanes(&self, stock: Stock) -> (Vec<Lane>, Signer) {
        let mut signer = Signer::default();
        let hotkey = self.hotkey.address();
        let timeout_seconds = self.timeout.as_secs_f64();
        let lanes = (0..self.connections)
            .map(|number| {
                let index = number % self.callers.len();
                let caller = &self.callers[index];
                let uuid = Uuid::new_v4().to_string();
                let text =
                    RequestText::new(self.axon, &hotkey, caller.address(), &uuid, timeout_seconds);
                let questions = Arc::clone(&self.questions);
                let signatures = signer.add(caller, &hotkey, &uuid, stock);
                Lane::new(self.axon, self.timeout, questions, index, text, signatures)
            })
            .collect();
        (lanes, signer)
    }

    fn checker(&self) -> Result<Option<Checker>, LoadError> {
        let Some(candidates) = &self.checks else { return Ok(None) };
        let judge = Judge {
            axon: self.hotkey,
            callers: self.callers.iter().map(|caller| caller.address().to_owned()).collect(),
            questions: Arc::clone(&self.questions),
            candidates: candidates.clone(),
        };
        Checker::start(judge).map(Some).map_err(LoadError::Start)
    }
}

/// Sends the load from this thread, and waits for its end.
///
/// # Errors
///
/// If a setting makes no sense, or the system gives no thread. What the server does is no error; it
/// is counted.
pub fn run(config: &LoadConfig) -> Result<LoadReport, LoadError> {
    config.check()?;
    let stock = config.stock();
    let (lanes, mut signer) = config.lanes(stock);
    let signed_before = signer.prepare();
    let signing = signer.start(stock.least).map_err(LoadError::Start)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(LoadError::Start)?;
    let checker = config.checker()?;
    let server = || config.server.and_then(|pid| ProcessUse::of(pid).ok());
    let before = (server(), ProcessUse::own().ok());
    let (shared, began) = runtime.block_on(drive(config, lanes, checker))?;
    let after = (server(), ProcessUse::own().ok());
    let tally = shared.tally.into_inner();
    let checks = match shared.checker.into_inner() {
        Some(checker) => Some(checker.finish().ok_or(LoadError::Checks)?),
        None => None,
    };
    Ok(LoadReport {
        sent: shared.slots.taken(),
        elapsed: tally.last.map_or(Duration::ZERO, |last| last - began),
        tally,
        signed_before,
        signed_meanwhile: signing.made(),
        starved: shared.starved.into_inner(),
        checks,
        server: before.0.zip(after.0),
        own_cpu: before.1.zip(after.1).map(|(before, after)| after.cpu - before.cpu),
    })
}

/// Lets all connections run to the end of the load. What they counted, and when they began.
async fn drive(
    config: &LoadConfig,
    mut lanes: Vec<Lane>,
    checker: Option<Checker>,
) -> Result<(Shared, Instant), LoadError> {
    for lane in &mut lanes {
        lane.connect().await;
    }
    let total = config.total();
    let began = Instant::now();
    let (slots, pacer) = match config.pace {
        Pace::Closed => (Slots::closed(total, Some(began + config.duration)), None),
        Pace::Open { per_second } => {
            let schedule = Schedule::new(began, per_second);
            let released = Arc::new(Semaphore::new(0));
            let pacer = Pacer::start(schedule, total, lanes.len(), Arc::clone(&released))
                .map_err(LoadError::Start)?;
            (Slots::open(total, schedule, released), Some(pacer))
        }
    };
    let shared = Rc::new(Shared {
        slots,
        tally: RefCell::new(Tally::new(config.callers.len())),
        checker: RefCell::new(checker),
        starved: RefCell::new(0),
    });
    let local = LocalSet::new();
    for lane in lanes {
        local.spawn_local(lane.run(Rc::clone(&shared)));
    }
    local.await;
    drop(pacer);
    let shared = Rc::into_inner(shared).expect("no connection is left. This is a bug.");
    Ok((shared, began))
}
