//! Whether a model works, and how well it did lately.
//!
//! A model that fails on [`FAILURES`] conversations within [`FAILURES_WITHIN`], or hangs once, is not
//! healthy and is left alone for a while: [`FIRST_COOL_DOWN`], twice as long each time, up to
//! [`LONGEST_COOL_DOWN`]. Then it must answer the sample conversations before it is asked again. Once
//! it has worked for [`FORGIVEN_AFTER`], the next pause is the first one again.
//!
//! One that fails more slowly than that, but on more than one conversation in twenty, goes behind those
//! that do not. What is counted for that loses half of its weight every five minutes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::choice::{FEWEST_TRUTHS, Known};
use super::saved::SavedRewards;

/// So many failed conversations are more than one strange one.
pub(super) const FAILURES: usize = 3;
/// ... within this time.
pub(super) const FAILURES_WITHIN: Duration = Duration::from_secs(60);
/// The first pause of a model that is not healthy.
pub(super) const FIRST_COOL_DOWN: Duration = Duration::from_secs(2);
/// The longest one.
pub(super) const LONGEST_COOL_DOWN: Duration = Duration::from_secs(300);
/// A model that has worked for so long begins with the first pause again.
pub(super) const FORGIVEN_AFTER: Duration = Duration::from_secs(600);

/// A model is reliable while fewer than this share of its conversations fail.
const UNRELIABLE_SHARE: f64 = 0.05;
/// Conversations that are counted as answered from the start: a few failures in a row are for
/// [`FAILURES`] to judge.
const PRIOR_CONVERSATIONS: f64 = 100.0;
/// After this time a conversation counts for half.
const HALF_LIFE_SECONDS: f64 = 300.0;

/// See the module.
#[derive(Debug)]
pub(super) struct Standing {
    /// What `state` says, for who only wants to know this.
    healthy: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// When it failed lately, the oldest first.
    failures: Vec<Instant>,
    trouble: Option<Trouble>,
    /// How long the next pause is.
    cool_down: Duration,
    /// When it last became healthy again.
    recovered: Option<Instant>,
    lately: Lately,
    /// What it earned here, by how much was known.
    rewards: [SavedRewards; Known::ALL.len()],
    /// The names of the checkpoints that this very model was served from.
    checkpoints: Vec<String>,
}

#[derive(Debug)]
struct Trouble {
    until: Instant,
    /// Whether somebody is asking it about the sample conversations.
    probing: bool,
    /// Whether it never came back from a question, and so must not be asked even if nobody else can.
    hangs: bool,
}

/// Conversations and failures, the older the less they count.
#[derive(Debug, Default)]
struct Lately {
    asked: f64,
    failed: f64,
    at: Option<Instant>,
}

impl Default for Standing {
    fn default() -> Standing {
        let state = State {
            failures: Vec::new(),
            trouble: None,
            cool_down: FIRST_COOL_DOWN,
            recovered: None,
            lately: Lately::default(),
            rewards: Default::default(),
            checkpoints: Vec::new(),
        };
        Standing { healthy: AtomicBool::new(true), state: Mutex::new(state) }
    }
}

impl Standing {
    /// Whether it is asked before others fail.
    pub(super) fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }

    /// Whether asking it can cost no more than a bad answer.
    pub(super) fn may_be_asked(&self) -> bool {
        self.is_healthy() || !self.lock().trouble.as_ref().is_some_and(|trouble| trouble.hangs)
    }

    /// Whether it rarely failed lately.
    pub(super) fn is_reliable(&self, now: Instant) -> bool {
        self.lock().lately.failing_share(now) < UNRELIABLE_SHARE
    }

    /// The mean reward that it earned here on conversations like this, if it is known of enough.
    pub(super) fn earned(&self, known: Known) -> Option<f64> {
        let SavedRewards { count, sum } = self.lock().rewards[known as usize];
        (count >= FEWEST_TRUTHS).then(|| sum / count as f64)
    }

    /// What it earned here, in the order of [`Known::ALL`].
    pub(super) fn rewards(&self) -> [SavedRewards; Known::ALL.len()] {
        self.lock().rewards
    }

    /// Sets what it earned here, in the order of [`Known::ALL`].
    pub(super) fn set_rewards(&self, rewards: [SavedRewards; Known::ALL.len()]) {
        self.lock().rewards = rewards;
    }

    /// The names of the checkpoints that this very model was served from.
    pub(super) fn checkpoints(&self) -> Vec<String> {
        self.lock().checkpoints.clone()
    }

    /// Notes that it is, or was, served from this checkpoint.
    pub(super) fn is_of(&self, checkpoint: &str) {
        let checkpoints = &mut self.lock().checkpoints;
        if !checkpoints.iter().any(|known| known == checkpoint) {
            checkpoints.push(checkpoint.to_owned());
        }
    }

    /// Counts conversations that it answered.
    pub(super) fn answered(&self, conversations: usize, now: Instant) {
        self.lock().lately.add(conversations as f64, 0.0, now);
    }

    /// Counts a conversation that it failed on. Whether it stopped being healthy by that.
    pub(super) fn failed(&self, now: Instant) -> bool {
        let mut state = self.lock();
        state.lately.add(1.0, 1.0, now);
        state.failures.retain(|at| now.saturating_duration_since(*at) < FAILURES_WITHIN);
        if state.failures.len() == FAILURES {
            state.failures.remove(0);
        }
        state.failures.push(now);
        let ends = state.failures.len() >= FAILURES && state.trouble.is_none();
        if ends {
            self.begin_trouble(&mut state, now, false);
        }
        ends
    }

    /// Notes that it did not come back from a question.
    pub(super) fn hangs(&self, now: Instant) {
        let mut state = self.lock();
        state.lately.add(1.0, 1.0, now);
        self.begin_trouble(&mut state, now, true);
    }

    /// Whether its pause is over; then the caller is the one who asks it about the samples and tells
    /// [`Standing::probed`].
    pub(super) fn take_probe(&self, now: Instant) -> bool {
        if self.is_healthy() {
            return false;
        }
        let mut state = self.lock();
        let due = state.trouble.as_mut().filter(|trouble| !trouble.probing && now >= trouble.until);
        due.map(|trouble| trouble.probing = true).is_some()
    }

    /// Notes how it did on the sample conversations.
    pub(super) fn probed(&self, works: bool, now: Instant) {
        let mut state = self.lock();
        if works {
            state.failures.clear();
            state.trouble = None;
            state.recovered = Some(now);
            self.healthy.store(true, Ordering::Relaxed);
        } else {
            // Who can fail at the samples can answer.
            self.begin_trouble(&mut state, now, false);
        }
    }

    fn begin_trouble(&self, state: &mut State, now: Instant, hangs: bool) {
        let worked = |since: Instant| now.saturating_duration_since(since) >= FORGIVEN_AFTER;
        if state.trouble.is_none() && state.recovered.is_some_and(worked) {
            state.cool_down = FIRST_COOL_DOWN;
        }
        state.trouble = Some(Trouble { until: now + state.cool_down, probing: false, hangs });
        state.cool_down = (state.cool_down * 2).min(LONGEST_COOL_DOWN);
        self.healthy.store(false, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lately {
    fn add(&mut self, asked: f64, failed: f64, now: Instant) {
        let kept = self.kept(now);
        self.asked = self.asked * kept + asked;
        self.failed = self.failed * kept + failed;
        self.at = Some(now);
    }

    fn failing_share(&self, now: Instant) -> f64 {
        let kept = self.kept(now);
        self.failed * kept / (self.asked * kept + PRIOR_CONVERSATIONS)
    }

    /// How much what was counted still counts.
    fn kept(&self, now: Instant) -> f64 {
        let age = self.at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        (-age.as_secs_f64() / HALF_LIFE_SECONDS).exp2()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn three_failures_within_a_minute_are_too_many() {
        let (standing, start) = (Standing::default(), Instant::now());
        for (seconds, ends) in [(0, false), (1, false), (60, false), (61, false), (62, true)] {
            // At 60 s the one at 0 s has gone; at 61 s the one at 1 s; at 62 s there are three.
            assert_eq!(standing.failed(start + SECOND * seconds), ends, "{seconds} s");
            assert_eq!(standing.is_healthy(), !ends, "{seconds} s");
        }
        assert!(!standing.failed(start + SECOND * 63), "it has ended already");
        assert!(standing.may_be_asked(), "if nobody else can answer");
    }

    #[test]
    fn pauses_double_up_to_five_minutes_and_are_forgiven() {
        let (standing, mut now) = (Standing::default(), Instant::now());
        standing.hangs(now);
        assert!(!standing.may_be_asked());
        for seconds in [2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            assert!(!standing.take_probe(now + SECOND * seconds - SECOND / 1000));
            now += SECOND * seconds;
            assert!(standing.take_probe(now), "{seconds} s");
            assert!(!standing.take_probe(now), "one at a time");
            standing.probed(false, now);
            assert!(!standing.is_healthy());
        }
        now += SECOND * 300;
        assert!(standing.take_probe(now));
        standing.probed(true, now);
        assert!(standing.is_healthy() && !standing.take_probe(now));
        // It fails again too soon, so it has to wait as long as before.
        now += FORGIVEN_AFTER - SECOND;
        standing.hangs(now);
        assert!(!standing.take_probe(now + SECOND * 299));
        now += SECOND * 300;
        assert!(standing.take_probe(now));
        standing.probed(true, now);
        now += FORGIVEN_AFTER;
        standing.hangs(now);
        assert!(standing.take_probe(now + SECOND * 2), "all is forgiven");
    }

    /// 5 of 100 + 5 is below 5 %, 6 of 100 + 6 is not; after 5 minutes, 3 of 100 + 3 are left.
    #[test]
    fn reliability_comes_back_with_time() {
        let (standing, start) = (Standing::default(), Instant::now());
        for failures in 1..=6 {
            standing.failed(start);
            assert_eq!(standing.is_reliable(start), failures < 6, "{failures}");
        }
        assert!(standing.is_reliable(start + SECOND * 300));
        standing.answered(1000, start + SECOND);
        assert!(standing.is_reliable(start + SECOND), "6 of a thousand");
    }

    #[test]
    fn rewards_count_from_a_hundred_on() {
        let standing = Standing::default();
        let little = |count, sum| [SavedRewards { count, sum }, SavedRewards::default()];
        standing.set_rewards(little(99, 49.5));
        assert_eq!(standing.earned(Known::Little), None);
        standing.set_rewards(little(100, 49.5));
        assert_eq!(standing.earned(Known::Little), Some(0.495));
        assert_eq!(standing.earned(Known::Most), None);
    }
}
