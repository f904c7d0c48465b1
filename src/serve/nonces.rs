//! The nonces that were seen, so that no request is answered twice.
//!
//! A nonce is the caller's clock in nanoseconds. The reference axon keeps them for ever, until it is
//! started anew, and trusts any `timeout` header; here what is kept has a bound in time and in
//! number, and outlives the process.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

const SECOND_NS: u64 = 1_000_000_000;
/// How much older than the client's timeout a first nonce may be: the reference's allowance.
const ALLOWED_DELTA_NS: u64 = 4 * SECOND_NS;
/// How far a caller's clock may be ahead of ours. The reference has no such bound, and so
/// would have to keep a nonce of the far future for ever.
const ALLOWED_AHEAD_NS: u64 = 600 * SECOND_NS;
/// The version of what [`Nonces::save`] writes.
const FORMAT_VERSION: u32 = 1;
/// How often what is too old to matter is looked for.
const PRUNE_EVERY_NS: u64 = 10 * SECOND_NS;

/// How much is kept at most.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NonceLimits {
    /// The longest timeout that a client is granted.
    pub max_timeout_seconds: f64,
    /// How many hotkeys are kept; others are refused until one of them was silent for long enough.
    /// A subnet has 256; more come only when anybody may call.
    pub hotkeys: usize,
    /// How many instances of one hotkey are kept. A validator that makes a client a request uses a
    /// new UUID each time.
    pub uuids_per_hotkey: usize,
}

impl Default for NonceLimits {
    fn default() -> Self {
        NonceLimits { max_timeout_seconds: 120.0, hotkeys: 1024, uuids_per_hotkey: 1024 }
    }
}

/// Why a nonce is refused.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum NonceError {
    /// The first nonce of an instance is too old.
    #[error(
        "Nonce is too old: acceptable delta is {allowed_seconds:.2} seconds but request was {age_seconds:.2} seconds old"
    )]
    TooOld {
        /// How old it may be.
        allowed_seconds: f64,
        /// How old it is.
        age_seconds: f64,
    },
    /// The instance has already used this nonce or a later one.
    #[error("Nonce is too old, a newer one was last processed")]
    Replayed,
    /// The nonce is from before the miner was started, which has lost what it accepted then.
    #[error("Nonce is too old: it is from before this axon was started")]
    BeforeStart,
    /// So many instances of the hotkey called that this one may have been forgotten.
    #[error("Nonce may have been used: too many clients of this hotkey call at once")]
    Forgotten,
    /// So many hotkeys called that there is no room for another.
    #[error("too many hotkeys call at once; try again later")]
    Full,
    /// The caller's clock is far ahead.
    #[error("Nonce is {ahead_seconds:.0} seconds in the future; the clocks should agree")]
    Ahead {
        /// How far ahead it is.
        ahead_seconds: f64,
    },
}

/// Why a saved state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NonceStateError {
    /// It is no JSON of the right shape.
    #[error("expected the saved nonces as JSON")]
    Json(#[from] serde_json::Error),
    /// Another version of the program wrote it.
    #[error("expected format version {FORMAT_VERSION}, but it is {0}")]
    Version(u32),
    /// There is more in it than is ever kept.
    #[error("expected at most {most} {what}, but there are {found}")]
    TooMany {
        /// Hotkeys, or instances of one.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there may be.
        most: usize,
    },
}

/// Whose nonce it is, and how long its request may take.
#[derive(Debug, Clone, Copy)]
pub struct NonceClaim<'a> {
    /// The caller's hotkey.
    pub hotkey: &'a str,
    /// The caller's instance.
    pub uuid: &'a str,
    /// The caller's clock when it asked.
    pub nonce: u64,
    /// The caller's patience; capped.
    pub timeout_seconds: f64,
}

/// The last nonce of every instance that called lately.
#[derive(Debug)]
pub struct Nonces {
    limits: NonceLimits,
    store: Mutex<Store>,
}

#[derive(Debug, Default)]
struct Store {
    callers: HashMap<String, Caller>,
    pruned_at: u64,
    /// A first nonce of anybody must be newer: what was accepted before this is not known.
    floor: u64,
    /// The number of the last nonce that must be on the disk before the process may die: one of the
    /// future, for after a crash no floor at the present would cover it.
    urgent: Option<u64>,
    /// Counts what was accepted, so that nothing is saved twice.
    accepted: u64,
}

#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
struct Caller {
    /// By instance; ordered in the file, so that equal states are equal bytes.
    #[serde(serialize_with = "ordered")]
    last: HashMap<String, u64>,
    /// How far its nonces were ahead of our clock at most, in whole seconds, rounded up.
    #[serde(default)]
    ahead_seconds: u64,
    /// A first nonce must be newer than any that was forgotten for want of room: else what was
    /// forgotten could be replayed.
    floor: u64,
}

/// What is saved, less what is only ever written.
#[derive(serde::Deserialize)]
struct Saved {
    /// Whether nothing was accepted after it.
    is_last: bool,
    floor: u64,
    callers: HashMap<String, Caller>,
}

fn ordered<S: serde::Serializer>(map: &HashMap<String, u64>, out: S) -> Result<S::Ok, S::Error> {
    out.collect_map(map.iter().collect::<BTreeMap<_, _>>())
}

impl Nonces {
    /// An empty store, as if nothing had ever been accepted.
    pub fn new(limits: NonceLimits) -> Self {
        Nonces { limits, store: Mutex::default() }
    }

    /// An empty store that knows that it does not know what was accepted before `now_ns`: it takes
    /// no first nonce from before that.
    pub fn started(limits: NonceLimits, now_ns: u64) -> Self {
        let store = Store { floor: now_ns, ..Store::default() };
        Nonces { limits, store: Mutex::new(store) }
    }

    /// What [`save`](Nonces::save) gave. If more was accepted after that, no first nonce from before
    /// `now_ns` is taken.
    ///
    /// # Errors
    ///
    /// If the bytes are not what was saved.
    pub fn restore(
        limits: NonceLimits,
        bytes: &[u8],
        now_ns: u64,
    ) -> Result<Self, NonceStateError> {
        #[derive(serde::Deserialize)]
        struct Versioned {
            format_version: u32,
        }
        let Versioned { format_version } = serde_json::from_slice(bytes)?;
        if format_version != FORMAT_VERSION {
            return Err(NonceStateError::Version(format_version));
        }
        let Saved { is_last, mut floor, mut callers } = serde_json::from_slice(bytes)?;
        let at_most = |what, found, most| {
            if found > most {
                return Err(NonceStateError::TooMany { what, found, most });
            }
            Ok(())
        };
        at_most("hotkeys", callers.len(), limits.hotkeys)?;
        for caller in callers.values_mut() {
            at_most("instances of a hotkey", caller.last.len(), limits.uuids_per_hotkey)?;
            if !is_last && caller.ahead_seconds > 0 {
                let ahead = caller.ahead_seconds.saturating_mul(SECOND_NS).min(ALLOWED_AHEAD_NS);
                caller.floor = caller.floor.max(now_ns.saturating_add(ahead));
            }
        }
        if !is_last {
            floor = floor.max(now_ns);
        }
        // A clock that was wrong when the file was written, and was set since, locks nobody out for
        // longer than a nonce may be ahead.
        let latest = now_ns.saturating_add(ALLOWED_AHEAD_NS);
        floor = floor.min(latest);
        for caller in callers.values_mut() {
            caller.floor = caller.floor.min(latest);
        }
        let store = Store { callers, floor, ..Store::default() };
        Ok(Nonces { limits, store: Mutex::new(store) })
    }

    /// All that matters, to be restored by another process. `is_last` promises that nothing is
    /// accepted after this.
    pub fn save(&self, is_last: bool, now_ns: u64) -> Vec<u8> {
        let mut store = self.lock();
        store.pruned_at = 0;
        store.prune(now_ns, self.oldest_that_matters(now_ns));
        let state = serde_json::json!({
            "format_version": FORMAT_VERSION,
            "saved_at_ns": now_ns,
            "is_last": is_last,
            "floor": store.floor,
            "callers": store.callers.iter().collect::<BTreeMap<_, _>>(),
        });
        state.to_string().into_bytes()
    }

    /// Whether what was accepted should be saved without waiting for the usual moment.
    pub fn is_urgent(&self) -> bool {
        self.lock().urgent.is_some()
    }

    /// Notes that what was accepted is on the disk, up to this number of nonces.
    pub fn saved(&self, accepted: u64) {
        let mut store = self.lock();
        store.urgent = store.urgent.filter(|urgent| *urgent > accepted);
    }

    /// How many nonces were accepted by this process.
    pub fn accepted(&self) -> u64 {
        self.lock().accepted
    }

    /// Whether the nonce would be accepted now. Cheap, so it comes before the signature.
    pub fn check(&self, claim: NonceClaim<'_>, now_ns: u64) -> Result<(), NonceError> {
        self.judge(&self.lock(), claim, now_ns)
    }

    /// Accepts the nonce and remembers it. To be called when the signature is known to be good:
    /// otherwise anybody could use up the nonces of others.
    pub fn accept(&self, claim: NonceClaim<'_>, now_ns: u64) -> Result<(), NonceError> {
        let mut store = self.lock();
        // Again, for a copy of the same request may have been verified at the same time.
        self.judge(&store, claim, now_ns)?;
        store.prune(now_ns, self.oldest_that_matters(now_ns));
        store.remember(claim, now_ns, self.limits)
    }

    /// How many nonces are kept.
    pub fn len(&self) -> usize {
        self.lock().callers.values().map(|caller| caller.last.len()).sum()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn judge(&self, store: &Store, claim: NonceClaim<'_>, now: u64) -> Result<(), NonceError> {
        let NonceClaim { hotkey, uuid, nonce, timeout_seconds } = claim;
        if nonce > now.saturating_add(ALLOWED_AHEAD_NS) {
            return Err(NonceError::Ahead { ahead_seconds: seconds(nonce - now) });
        }
        let caller = store.callers.get(hotkey);
        let floor = caller.map_or(0, |caller| caller.floor);
        // What is remembered of an instance after a crash may not be its last.
        let is_above_floors = || match nonce {
            _ if nonce <= floor => Err(NonceError::Forgotten),
            _ if nonce <= store.floor => Err(NonceError::BeforeStart),
            _ => Ok(()),
        };
        if let Some(last) = caller.and_then(|caller| caller.last.get(uuid)) {
            return if nonce > *last { is_above_floors() } else { Err(NonceError::Replayed) };
        }
        let allowed_ns = self.allowed_ns(timeout_seconds);
        if nonce <= now.saturating_sub(allowed_ns) {
            return Err(NonceError::TooOld {
                allowed_seconds: seconds(allowed_ns),
                age_seconds: seconds(now - nonce),
            });
        }
        is_above_floors()
    }

    fn allowed_ns(&self, timeout_seconds: f64) -> u64 {
        let capped = timeout_seconds.clamp(0.0, self.limits.max_timeout_seconds);
        ALLOWED_DELTA_NS + (capped * SECOND_NS as f64) as u64
    }

    /// A first nonce as old as this is refused whatever the timeout, so it need not be remembered.
    fn oldest_that_matters(&self, now: u64) -> u64 {
        now.saturating_sub(self.allowed_ns(self.limits.max_timeout_seconds))
    }

    fn lock(&self) -> MutexGuard<'_, Store> {
        // No code that runs under the lock can leave the store half-written.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    fn prune(&mut self, now: u64, oldest: u64) {
        if now < self.pruned_at.saturating_add(PRUNE_EVERY_NS) {
            return;
        }
        self.pruned_at = now;
        // Should the clock go back, what is forgotten now must not be new again.
        self.floor = self.floor.max(oldest);
        self.callers.retain(|_, caller| {
            caller.last.retain(|_, nonce| *nonce > oldest);
            !caller.last.is_empty() || caller.floor > oldest
        });
    }

    fn remember(
        &mut self,
        claim: NonceClaim<'_>,
        now: u64,
        limits: NonceLimits,
    ) -> Result<(), NonceError> {
        // To forget a caller for a new one would need a floor for all, and then whoever may call
        // could raise it above everybody's nonces.
        if !self.callers.contains_key(claim.hotkey) && self.callers.len() >= limits.hotkeys {
            return Err(NonceError::Full);
        }
        if !self.callers.contains_key(claim.hotkey) {
            self.callers.insert(claim.hotkey.to_owned(), Caller::default());
        }
        let caller = self.callers.get_mut(claim.hotkey).expect("it was just made. This is a bug.");
        match caller.last.get_mut(claim.uuid) {
            Some(last) => *last = claim.nonce,
            None => {
                if caller.last.len() >= limits.uuids_per_hotkey {
                    caller.forget_the_oldest();
                }
                caller.last.insert(claim.uuid.to_owned(), claim.nonce);
            }
        }
        self.accepted += 1;
        let ahead_seconds = claim.nonce.saturating_sub(now).div_ceil(SECOND_NS);
        if ahead_seconds > caller.ahead_seconds {
            caller.ahead_seconds = ahead_seconds;
            self.urgent = Some(self.accepted);
        }
        Ok(())
    }
}

impl Caller {
    fn forget_the_oldest(&mut self) {
        let oldest = self.last.iter().min_by_key(|(_, nonce)| **nonce);
        if let Some((uuid, nonce)) = oldest.map(|(uuid, nonce)| (uuid.clone(), *nonce)) {
            self.last.remove(&uuid);
            self.floor = self.floor.max(nonce);
        }
    }
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / SECOND_NS as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_763_789_253 * SECOND_NS;

    fn claim<'a>(hotkey: &'a str, uuid: &'a str, nonce: u64) -> NonceClaim<'a> {
        NonceClaim { hotkey, uuid, nonce, timeout_seconds: 60.0 }
    }

    #[test]
    fn nonce_rules() {
        // (name, uuid, nonce relative to now in ns, timeout, accepted): one caller, in this order.
        let second = SECOND_NS as i64;
        let table = [
            ("64 s old is too old with a timeout of 60 s", "a", -64 * second, 60.0, false),
            ("a nanosecond less is not", "a", -64 * second + 1, 60.0, true),
            ("the same again", "a", -64 * second + 1, 60.0, false),
            ("an older one", "a", -64 * second, 60.0, false),
            ("a later one is newer than the last, however old", "a", -64 * second + 2, 0.0, true),
            ("another instance starts afresh", "b", -10 * second, 60.0, true),
            ("no timeout leaves 4 s", "c", -4 * second, 0.0, false),
            ("no timeout leaves 4 s", "c", -4 * second + 1, 0.0, true),
            ("the timeout is capped at 120 s", "d", -124 * second, 1e9, false),
            ("the timeout is capped at 120 s", "d", -124 * second, f64::INFINITY, false),
            ("the timeout is capped at 120 s", "d", -124 * second + 1, 1e9, true),
            ("a clock that is ahead", "e", 600 * second, 60.0, true),
            ("a clock that is too far ahead", "f", 600 * second + 1, 60.0, false),
            ("and never goes back", "e", 0, 60.0, false),
        ];
        let nonces = Nonces::new(NonceLimits::default());
        for (why, uuid, relative, timeout_seconds, accepted) in table {
            let nonce = NOW.checked_add_signed(relative).unwrap();
            let claim = NonceClaim { hotkey: "5H", uuid, nonce, timeout_seconds };
            assert_eq!(nonces.check(claim, NOW).is_ok(), accepted, "check: {why}");
            assert_eq!(nonces.accept(claim, NOW).is_ok(), accepted, "accept: {why}");
        }
    }

    #[test]
    fn checking_remembers_nothing() {
        let nonces = Nonces::new(NonceLimits::default());
        nonces.check(claim("5H", "a", NOW), NOW).unwrap();
        assert!(nonces.is_empty());
        nonces.accept(claim("5H", "a", NOW), NOW).unwrap();
        assert_eq!(nonces.check(claim("5H", "a", NOW), NOW), Err(NonceError::Replayed));
        assert_eq!(nonces.len(), 1);
    }

    #[test]
    fn what_is_too_old_to_be_replayed_is_forgotten() {
        let nonces = Nonces::new(NonceLimits::default());
        nonces.accept(claim("5H", "a", NOW), NOW).unwrap();
        nonces.accept(claim("5I", "a", NOW + 600 * SECOND_NS), NOW).unwrap();
        let later = NOW + 124 * SECOND_NS;
        nonces.accept(claim("5J", "a", later), later).unwrap();
        assert_eq!(nonces.len(), 2, "the first is gone, the one of the future is not");
        let longest = NonceClaim { timeout_seconds: 120.0, ..claim("5H", "a", NOW) };
        assert!(matches!(nonces.accept(longest, later), Err(NonceError::TooOld { .. })));
    }

    #[test]
    fn a_full_caller_stays_full_and_nothing_of_it_can_be_replayed() {
        let limits = NonceLimits { uuids_per_hotkey: 4, ..NonceLimits::default() };
        let nonces = Nonces::new(limits);
        let uuids: Vec<String> = (0..10).map(|uuid| uuid.to_string()).collect();
        for (age, uuid) in (0..).zip(&uuids) {
            nonces.accept(claim("5H", uuid, NOW + age), NOW).unwrap();
            assert!(nonces.len() <= 4);
        }
        for (age, uuid) in (0..).zip(&uuids) {
            let expected = if age < 6 { NonceError::Forgotten } else { NonceError::Replayed };
            assert_eq!(nonces.accept(claim("5H", uuid, NOW + age), NOW), Err(expected), "{uuid}");
        }
        nonces.accept(claim("5H", "0", NOW + 1000), NOW).unwrap();
        // Another caller is not touched by that.
        nonces.accept(claim("5I", "0", NOW), NOW).unwrap();
    }

    /// Saves, and restores a second later.
    fn restarted(nonces: &Nonces, is_last: bool) -> (Nonces, u64) {
        let later = NOW + SECOND_NS;
        let bytes = nonces.save(is_last, NOW);
        (Nonces::restore(NonceLimits::default(), &bytes, later).unwrap(), later)
    }

    #[test]
    fn a_restart_forgets_nothing() {
        let nonces = Nonces::new(NonceLimits::default());
        nonces.accept(claim("5H", "a", NOW), NOW).unwrap();
        let (nonces, later) = restarted(&nonces, true);
        assert_eq!(nonces.check(claim("5H", "a", NOW), later), Err(NonceError::Replayed));
        // Another instance's request, which was on its way meanwhile, is welcome.
        nonces.accept(claim("5H", "b", NOW - 1), later).unwrap();
        nonces.accept(claim("5H", "a", NOW + 1), later).unwrap();
        assert_eq!(nonces.accepted(), 2);
    }

    #[test]
    fn after_a_crash_nothing_from_before_it_is_taken() {
        let nonces = Nonces::new(NonceLimits::default());
        nonces.accept(claim("5H", "a", NOW - 10), NOW).unwrap();
        let (restored, later) = restarted(&nonces, false);
        // What was accepted after the save is not known to the restored store.
        for (hotkey, uuid, nonce) in
            [("5H", "a", NOW + 5), ("5H", "b", NOW + 5), ("5I", "a", NOW + 5), ("5I", "a", later)]
        {
            let refused = restored.accept(claim(hotkey, uuid, nonce), later);
            assert_eq!(refused, Err(NonceError::BeforeStart));
        }
        restored.accept(claim("5H", "a", later + 1), later).unwrap();
        restored.accept(claim("5I", "a", later + 1), later).unwrap();
        // A later stop in good order does not make the time before the crash any better known.
        let bytes = restored.save(true, later);
        let again = Nonces::restore(NonceLimits::default(), &bytes, later).unwrap();
        assert_eq!(again.check(claim("5I", "c", later), later), Err(NonceError::BeforeStart));
    }

    #[test]
    fn a_clock_that_is_ahead_is_remembered_across_a_crash() {
        let nonces = Nonces::new(NonceLimits::default());
        nonces.accept(claim("5I", "a", NOW), NOW).unwrap();
        assert!(!nonces.is_urgent());
        let ahead = NOW + 90 * SECOND_NS + 1;
        nonces.accept(claim("5H", "a", ahead), NOW).unwrap();
        assert!(nonces.is_urgent());
        let (restored, later) = restarted(&nonces, false);
        nonces.saved(1);
        assert!(nonces.is_urgent(), "it is the second");
        nonces.saved(2);
        assert!(!nonces.is_urgent());
        // Up to 91 s ahead of the restart could have been accepted before the crash.
        let covered = later + 91 * SECOND_NS;
        let refused = restored.accept(claim("5H", "b", covered), later);
        assert_eq!(refused, Err(NonceError::Forgotten));
        restored.accept(claim("5H", "b", covered + 1), later).unwrap();
        restored.accept(claim("5I", "b", later + 1), later).unwrap();
    }

    #[test]
    fn a_first_start_takes_nothing_older() {
        let nonces = Nonces::started(NonceLimits::default(), NOW);
        assert_eq!(nonces.check(claim("5H", "a", NOW), NOW), Err(NonceError::BeforeStart));
        assert_eq!(nonces.check(claim("5H", "a", NOW + 1), NOW), Ok(()));
    }

    #[test]
    fn a_clock_that_was_set_back_locks_nobody_out() {
        let day = 86_400 * SECOND_NS;
        let bytes = Nonces::started(NonceLimits::default(), NOW + day).save(true, NOW + day);
        let restored = Nonces::restore(NonceLimits::default(), &bytes, NOW).unwrap();
        let (early, late) = (NOW + 600 * SECOND_NS, NOW + 601 * SECOND_NS);
        assert_eq!(restored.check(claim("5H", "a", early), early), Err(NonceError::BeforeStart));
        assert_eq!(restored.check(claim("5H", "a", late), late), Ok(()));
    }

    #[test]
    fn a_damaged_state_is_told() {
        let limits = NonceLimits { hotkeys: 1, uuids_per_hotkey: 1, ..NonceLimits::default() };
        let two = r#"{"5H": {"last": {"a": 1, "b": 2}, "floor": 0}}"#;
        let many = r#"{"5H": {"last": {}, "floor": 0}, "5I": {"last": {}, "floor": 0}}"#;
        let state = |callers: &str| {
            format!(r#"{{"format_version": 1, "is_last": true, "floor": 0, "callers": {callers}}}"#)
        };
        for (text, part) in [
            ("{".to_owned(), "as JSON"),
            ("[]".to_owned(), "as JSON"),
            (r#"{"format_version": 9}"#.to_owned(), "version 1, but it is 9"),
            (r#"{"format_version": 1}"#.to_owned(), "as JSON"),
            (state(two), "at most 1 instances of a hotkey, but there are 2"),
            (state(many), "at most 1 hotkeys, but there are 2"),
        ] {
            let message = Nonces::restore(limits, text.as_bytes(), NOW).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
        assert!(Nonces::restore(limits, state("{}").as_bytes(), NOW).unwrap().is_empty());
    }

    #[test]
    fn what_was_forgotten_is_not_new_when_the_clock_goes_back() {
        let nonces = Nonces::new(NonceLimits::default());
        nonces.accept(claim("5H", "a", NOW), NOW).unwrap();
        let ahead = NOW + 180 * SECOND_NS;
        nonces.accept(claim("5I", "a", ahead), ahead).unwrap();
        assert_eq!(nonces.len(), 1, "the first is forgotten");
        let again = nonces.accept(claim("5H", "a", NOW), NOW);
        assert_eq!(again, Err(NonceError::BeforeStart));
    }

    #[test]
    fn a_flood_of_new_callers_does_not_lock_out_those_who_called() {
        let limits = NonceLimits { hotkeys: 3, ..NonceLimits::default() };
        let nonces = Nonces::new(limits);
        nonces.accept(claim("5H", "a", NOW), NOW).unwrap();
        for (hotkey, expected) in [("5X", Ok(())), ("5Y", Ok(())), ("5Z", Err(NonceError::Full))] {
            let ahead = NOW + 599 * SECOND_NS;
            assert_eq!(nonces.accept(claim(hotkey, "a", ahead), NOW), expected);
        }
        nonces.accept(claim("5H", "a", NOW + 1), NOW).unwrap();
        nonces.accept(claim("5H", "b", NOW), NOW).unwrap();
        // Room comes back with time: those who were silent are forgotten.
        let later = NOW + 800 * SECOND_NS;
        nonces.accept(claim("5Z", "a", later), later).unwrap();
    }
}
