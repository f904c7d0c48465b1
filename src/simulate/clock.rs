//! A clock that a simulation moves.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::Clock;

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct VirtualClock(AtomicU64);

impl VirtualClock {
    /// One that shows so many nanoseconds since 1970.
    pub fn at(now_ns: u64) -> VirtualClock {
        VirtualClock(AtomicU64::new(now_ns))
    }

    /// Moves it forward to this time; never back.
    pub fn advance_to(&self, now_ns: u64) {
        self.0.fetch_max(now_ns, Ordering::Relaxed);
    }
}

impl Clock for VirtualClock {
    fn now_ns(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
