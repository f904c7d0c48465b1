//! Asks until there is an answer, or no hope.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::breaker::Breaker;
use super::retry_after::retry_after;
use super::{Request, Response, Transport};

/// An API that asks to wait for longer is left alone.
const LONGEST_WAIT: Duration = Duration::from_secs(900);

/// How often, and after how long, the API is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Patience {
    /// So many requests are made in a second at most.
    pub rate_per_second: f64,
    /// So often one thing is asked for.
    pub attempts: u32,
    /// After the first failure it waits for up to this long, then up to twice as long, and so on:
    /// for a time drawn evenly, so that many clients do not come back at once.
    pub backoff: Duration,
    /// It never waits for longer after a failure, unless it is told to.
    pub most_backoff: Duration,
    /// After so many failures in a row nobody asks for a while.
    pub failures: u32,
    /// For how long; twice as long after each failure that follows.
    pub pause: Duration,
    /// After so many such pauses in a row it ends.
    pub pauses: u32,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            rate_per_second: 5.0,
            attempts: 4,
            backoff: Duration::from_millis(500),
            most_backoff: Duration::from_secs(30),
            failures: 8,
            pause: Duration::from_secs(30),
            pauses: 3,
        }
    }
}

/// Time as the caller sees it.
pub trait Pause {
    /// The time since some moment.
    fn now(&self) -> Duration;

    /// Waits, at most until somebody asks to stop.
    fn sleep(&mut self, time: Duration);

    /// Whether somebody did.
    fn is_stopped(&self) -> bool;
}

/// The system's time, and a switch that stops.
#[derive(Debug)]
pub struct SystemPause {
    start: Instant,
    stop: Arc<AtomicBool>,
}

impl SystemPause {
    /// From now on, until `stop` becomes true.
    pub fn new(stop: Arc<AtomicBool>) -> SystemPause {
        SystemPause { start: Instant::now(), stop }
    }
}

impl Pause for SystemPause {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep(&mut self, time: Duration) {
        const LOOK: Duration = Duration::from_millis(50);
        let end = Instant::now() + time;
        while !self.is_stopped() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            std::thread::sleep(left.min(LOOK));
        }
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Why nothing more is asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// The key is not good, or missing.
    #[error("the data API answers {status}: it does not accept the key, or none was given")]
    Refused {
        /// 401 or 403.
        status: u16,
    },
    /// It is somewhere else.
    #[error(
        "the data API answers {status}: it has moved to `{location}`; the key is not sent there"
    )]
    Moved {
        /// A status of the 300s.
        status: u16,
        /// Where it says that it is.
        location: String,
    },
    /// It failed too often.
    #[error("the data API failed {failures} times in a row, the last time so: {reason}")]
    Down {
        /// How often.
        failures: u32,
        /// What happened last.
        reason: String,
    },
    /// It wants to be left alone for long.
    #[error("the data API asks to wait for {seconds} s")]
    Later {
        /// How long.
        seconds: u64,
    },
    /// Somebody asked to stop.
    #[error("it was interrupted")]
    Interrupted,
}

/// What is wrong with an answer of status 200.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unusable {
    /// It is damaged: another one may not be.
    Damaged(String),
    /// It is meant, and makes no sense.
    Nonsense(String),
}

/// How asking for something ended without it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Missing {
    /// The API does not know it.
    Unknown,
    /// There is no usable answer.
    Failed(String),
    /// There was none, but there may be one later.
    NotNow(String),
    /// Nothing more is to be asked for.
    Stopped(Stop),
}

/// Told before it waits: why, and for how long.
pub(super) type Waiting<'a> = &'a mut dyn FnMut(&str, Duration);

/// Asks the API for one thing after the other.
pub struct Caller {
    transport: Box<dyn Transport>,
    pause: Box<dyn Pause>,
    patience: Patience,
    breaker: Breaker,
    random: ChaCha8Rng,
    /// Before this, the next request would be one too many.
    next: Duration,
}

/// What became of one request.
enum Attempt<T> {
    Done(T),
    Missing(Missing),
    Again(Again),
}

/// Why to ask again.
struct Again {
    reason: String,
    /// How long the API asks to wait.
    after: Option<Duration>,
    /// Whether the API is well, and only asked too often.
    is_well: bool,
}

impl Caller {
    /// Through `transport`; the waits are drawn from `seed`.
    pub fn new(
        transport: impl Transport + 'static,
        pause: impl Pause + 'static,
        patience: Patience,
        seed: u64,
    ) -> Caller {
        Caller {
            transport: Box::new(transport),
            pause: Box::new(pause),
            breaker: Breaker::new(patience.failures, patience.pause, patience.pauses),
            random: ChaCha8Rng::seed_from_u64(seed),
            next: Duration::ZERO,
            patience,
        }
    }

    /// The time since some moment.
    pub(super) fn now(&self) -> Duration {
        self.pause.now()
    }

    /// Whether the API failed so often that the next request has to wait.
    pub(super) fn is_paused(&self) -> bool {
        !self.breaker.wait(self.pause.now()).is_zero()
    }

    /// Asks until there is an answer that `judge` can use.
    pub(super) fn call<T>(
        &mut self,
        request: &Request,
        judge: &mut dyn FnMut(&[u8]) -> Result<T, Unusable>,
        waiting: Waiting<'_>,
    ) -> Result<T, Missing> {
        self.ask(request, false, judge, waiting)
    }

    /// As [`Caller::call`], but not any more once the API has failed too often: whether it is well
    /// again, something else may show, for which it may never have failed.
    pub(super) fn call_until_paused<T>(
        &mut self,
        request: &Request,
        judge: &mut dyn FnMut(&[u8]) -> Result<T, Unusable>,
        waiting: Waiting<'_>,
    ) -> Result<T, Missing> {
        self.ask(request, true, judge, waiting)
    }

    fn ask<T>(
        &mut self,
        request: &Request,
        leaves: bool,
        judge: &mut dyn FnMut(&[u8]) -> Result<T, Unusable>,
        waiting: Waiting<'_>,
    ) -> Result<T, Missing> {
        for attempt in 1.. {
            self.wait_for_turn(waiting)?;
            let again = match self.attempt(request, judge) {
                Attempt::Done(answer) => return Ok(answer),
                Attempt::Missing(missing) => return Err(missing),
                Attempt::Again(again) => again,
            };
            let reason = again.reason.clone();
            if !again.is_well && self.breaker.failed(self.pause.now()).is_err() {
                let failures = self.breaker.failures();
                return Err(Missing::Stopped(Stop::Down { failures, reason }));
            }
            let wait = self.backoff(attempt).max(again.after.unwrap_or_default());
            if wait > LONGEST_WAIT {
                return Err(Missing::Stopped(Stop::Later { seconds: wait.as_secs() }));
            }
            if attempt >= self.patience.attempts || (leaves && self.is_paused()) {
                // What the API asks for holds for whatever is asked next, too.
                self.next = self.next.max(self.pause.now() + again.after.unwrap_or_default());
                return Err(Missing::NotNow(reason));
            }
            waiting(&reason, wait);
            self.pause.sleep(wait);
        }
        Err(Missing::Failed("it was never asked for".to_owned()))
    }

    /// A time of up to the backoff of this attempt, from 1: full jitter.
    fn backoff(&mut self, attempt: u32) -> Duration {
        let doubled = self.patience.backoff.saturating_mul(1 << (attempt - 1).min(16));
        doubled.min(self.patience.most_backoff).mul_f64(self.random.random::<f64>())
    }

    fn wait_for_turn(&mut self, waiting: Waiting<'_>) -> Result<(), Missing> {
        let now = self.pause.now();
        let closed = self.breaker.wait(now);
        if !closed.is_zero() {
            waiting("it failed too often", closed);
        }
        self.pause.sleep(closed.max(self.next.saturating_sub(now)));
        if self.pause.is_stopped() {
            return Err(Missing::Stopped(Stop::Interrupted));
        }
        self.next = self.pause.now() + Duration::from_secs_f64(1.0 / self.patience.rate_per_second);
        Ok(())
    }

    fn attempt<T>(
        &mut self,
        request: &Request,
        judge: &mut dyn FnMut(&[u8]) -> Result<T, Unusable>,
    ) -> Attempt<T> {
        let again = |reason| Attempt::Again(Again { reason, after: None, is_well: false });
        let response = match self.transport.get(request) {
            Ok(response) => response,
            Err(error) => return again(format!("no whole answer: {error}")),
        };
        if let Some(attempt) = of_status(&response) {
            if !matches!(&attempt, Attempt::Again(again) if !again.is_well) {
                self.breaker.succeeded();
            }
            return attempt;
        }
        match judge(&response.body) {
            Ok(answer) => {
                self.breaker.succeeded();
                Attempt::Done(answer)
            }
            Err(Unusable::Damaged(reason)) => again(reason),
            Err(Unusable::Nonsense(reason)) => {
                self.breaker.succeeded();
                Attempt::Missing(Missing::Failed(reason))
            }
        }
    }
}

/// What a status says, if it is not that the body should be read.
fn of_status<T>(response: &Response) -> Option<Attempt<T>> {
    let status = response.status;
    Some(match status {
        204 | 404 | 410 => Attempt::Missing(Missing::Unknown),
        200..=299 => return None,
        300..=399 => {
            let location = response.location.clone().unwrap_or_default();
            Attempt::Missing(Missing::Stopped(Stop::Moved { status, location }))
        }
        401 | 403 => Attempt::Missing(Missing::Stopped(Stop::Refused { status })),
        408 | 425 | 429 | 500.. => Attempt::Again(Again {
            reason: format!("it answers {status}"),
            after: retry_after(response),
            is_well: status == 429,
        }),
        _ => Attempt::Missing(Missing::Failed(format!("it answers {status}"))),
    })
}
