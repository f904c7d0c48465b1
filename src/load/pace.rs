//! When requests are sent.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

/// A sleep is never shorter: below this, waking up costs more than it helps.
const SHORTEST_SLEEP: Duration = Duration::from_micros(50);
/// And never longer, so that a run can be given up.
const LONGEST_SLEEP: Duration = Duration::from_millis(100);

/// What decides when a request is sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// Each connection sends as soon as it has its answer: shows the most that a server can do.
    Closed,
    /// Requests are due at fixed times, whatever the server does: shows how long callers wait.
    Open {
        /// How many requests are due a second.
        per_second: f64,
    },
}

/// The times at which the requests of an open loop are due.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    start: Instant,
    per_second: f64,
}

impl Schedule {
    /// The first is due at `start`.
    pub(super) fn new(start: Instant, per_second: f64) -> Self {
        Schedule { start, per_second }
    }

    /// When the request with this number, counted from 0, is due.
    pub(super) fn due(&self, number: u64) -> Instant {
        self.start + Duration::from_secs_f64(number as f64 / self.per_second)
    }

    /// How many requests are due at `now` or before.
    fn due_by(&self, now: Instant) -> u64 {
        let Some(passed) = now.checked_duration_since(self.start) else { return 0 };
        let near = (passed.as_secs_f64() * self.per_second) as u64;
        // The two roundings may differ by one: never is a request sent before it is due.
        (near.saturating_sub(1)..near + 2).take_while(|number| self.due(*number) <= now).count()
            as u64
            + near.saturating_sub(1)
    }
}

/// A request to send.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Slot {
    /// Counted from 0.
    pub(super) number: u64,
    /// When it should have been sent, in an open loop.
    pub(super) due: Option<Instant>,
}

impl Slot {
    /// From when on the caller waits. In an open loop that is when the request was due: a server
    /// that stalls keeps later requests from being sent, and these wait as well.
    pub(super) fn waits_since(&self, sent: Instant) -> Instant {
        self.due.map_or(sent, |due| due.min(sent))
    }
}

/// Hands out the requests of a run to its connections.
#[derive(Debug)]
pub(super) struct Slots {
    next: Cell<u64>,
    total: u64,
    until: Option<Instant>,
    open: Option<(Schedule, Arc<Semaphore>)>,
}

impl Slots {
    /// As many as there is time for, and not more than `total`.
    pub(super) fn closed(total: u64, until: Option<Instant>) -> Self {
        Slots { next: Cell::new(0), total, until, open: None }
    }

    /// `total` requests, each of which a [`Pacer`] releases when it is due.
    pub(super) fn open(total: u64, schedule: Schedule, released: Arc<Semaphore>) -> Self {
        Slots { next: Cell::new(0), total, until: None, open: Some((schedule, released)) }
    }

    /// The next request, as soon as it is due; `None` when there is none any more.
    pub(super) async fn take(&self) -> Option<Slot> {
        if let Some((_, released)) = &self.open {
            released.acquire().await.ok()?.forget();
        }
        let number = self.next.get();
        if number >= self.total || self.until.is_some_and(|until| Instant::now() >= until) {
            return None;
        }
        self.next.set(number + 1);
        let due = self.open.as_ref().map(|(schedule, _)| schedule.due(number));
        Some(Slot { number, due })
    }

    /// How many were handed out.
    pub(super) fn taken(&self) -> u64 {
        self.next.get()
    }
}

/// Releases requests when they are due, from a thread of its own: the runtime's timers are exact to
/// a millisecond only.
#[derive(Debug)]
pub(super) struct Pacer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Pacer {
    /// Releases `total` requests, then tells each of `connections` that there are no more.
    pub(super) fn start(
        schedule: Schedule,
        total: u64,
        connections: usize,
        released: Arc<Semaphore>,
    ) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new().name("pace".to_owned()).spawn(move || {
            let mut number = 0;
            while number < total && !stopped.load(Ordering::Relaxed) {
                let now = Instant::now();
                let due = schedule.due_by(now).min(total);
                if due > number {
                    released.add_permits((due - number) as usize);
                    number = due;
                }
                let wait = schedule.due(number).saturating_duration_since(now);
                thread::sleep(wait.clamp(SHORTEST_SLEEP, LONGEST_SLEEP));
            }
            released.add_permits(connections);
        })?;
        Ok(Pacer { stop, thread: Some(thread) })
    }
}

impl Drop for Pacer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It has nothing to say.
            thread.join().ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn requests_are_due_at_fixed_times() {
        let start = Instant::now();
        let schedule = Schedule::new(start, 1000.0);
        assert_eq!(schedule.due(0), start);
        assert_eq!(schedule.due(250), start + 250 * MS);
        for (after, due) in [(Duration::ZERO, 1), (MS / 2, 1), (MS, 2), (250 * MS, 251)] {
            assert_eq!(schedule.due_by(start + after), due, "{after:?}");
        }
        assert_eq!(schedule.due_by(start - MS), 0);
        for per_second in [0.3, 7.0, 333.3, 123_456.7] {
            let schedule = Schedule::new(start, per_second);
            for number in 0..2000 {
                let due = schedule.due(number);
                assert_eq!(schedule.due_by(due), number + 1, "{number} at {per_second}");
                let before = due - Duration::from_nanos(1);
                assert_eq!(schedule.due_by(before), number, "{number} at {per_second}");
            }
        }
    }

    /// In virtual time: one connection, and a server that takes 1 ms but once stalls for 100 ms.
    #[test]
    fn a_stall_is_charged_to_all_who_waited() {
        let start = Instant::now();
        let schedule = Schedule::new(start, 100.0);
        let (mut free, mut waited) = (start, Vec::new());
        for number in 0..20 {
            let slot = Slot { number, due: Some(schedule.due(number)) };
            let sent = free.max(schedule.due(number));
            free = sent + if number == 5 { 100 * MS } else { MS };
            waited.push((free - slot.waits_since(sent)).as_millis());
        }
        // By hand: due every 10 ms; the sixth takes 100 ms, so the next is 90 ms late, and each
        // catches up by 9 ms, for it is due 10 ms later and the answers take 1 ms.
        let expected = [1, 1, 1, 1, 1, 100, 91, 82, 73, 64, 55, 46, 37, 28, 19, 10, 1, 1, 1, 1];
        assert_eq!(waited, expected);
        // A closed loop would have seen one slow answer.
        let closed = Slot { number: 6, due: None };
        assert_eq!(closed.waits_since(start + 150 * MS), start + 150 * MS);
    }

    #[tokio::test]
    async fn a_closed_loop_ends_by_number_or_time() {
        let slots = Slots::closed(2, None);
        assert_eq!(slots.take().await, Some(Slot { number: 0, due: None }));
        assert_eq!(slots.take().await, Some(Slot { number: 1, due: None }));
        assert_eq!(slots.take().await, None);
        assert_eq!(slots.taken(), 2);
        let over = Slots::closed(2, Some(Instant::now()));
        assert_eq!(over.take().await, None);
    }

    #[tokio::test]
    async fn an_open_loop_releases_all_of_its_requests() {
        let start = Instant::now();
        let schedule = Schedule::new(start, 10_000.0);
        let released = Arc::new(Semaphore::new(0));
        let slots = Slots::open(50, schedule, Arc::clone(&released));
        let pacer = Pacer::start(schedule, 50, 2, released).unwrap();
        for number in 0..50 {
            let slot = slots.take().await.unwrap();
            assert_eq!(slot, Slot { number, due: Some(schedule.due(number)) });
            assert!(Instant::now() >= schedule.due(number), "never early");
        }
        assert_eq!((slots.take().await, slots.take().await), (None, None));
        drop(pacer);
    }
}
