//! Records on their way from who answers to who writes.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Record;

/// How long records gather before they are taken, so that a stream of them wakes the writer a few
/// times a second, not once a record.
const GATHER: Duration = Duration::from_millis(50);

/// A bounded queue into which nobody waits to put anything: the lock is held for as long as it takes
/// to push a record, or to swap the whole list.
#[derive(Debug)]
pub(super) struct Queue {
    capacity: usize,
    state: Mutex<State>,
    /// For the writer.
    wake: Condvar,
    /// For who waits for the end of threads.
    end: Condvar,
}

#[derive(Debug, Default)]
struct State {
    records: Vec<Record>,
    /// The writer waits for a first record.
    sleeps: bool,
    stopping: bool,
    /// How many threads have ended.
    ended: usize,
}

impl Queue {
    pub(super) fn new(capacity: usize) -> Queue {
        let capacity = capacity.max(1);
        // At once, so that nobody waits while a list grows. What is not used takes no memory.
        let state = State { records: Vec::with_capacity(capacity), ..State::default() };
        let (wake, end) = Default::default();
        Queue { capacity, state: Mutex::new(state), wake, end }
    }

    /// How many records it holds at most.
    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs while it is locked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a record, if there is room.
    pub(super) fn push(&self, record: Record) -> bool {
        let mut state = self.lock();
        if state.stopping || state.records.len() >= self.capacity {
            return false;
        }
        state.records.push(record);
        let is_filling = state.records.len() == self.capacity.div_ceil(2);
        let wakes = std::mem::take(&mut state.sleeps) || is_filling;
        drop(state);
        if wakes {
            self.wake.notify_one();
        }
        true
    }

    pub(super) fn len(&self) -> usize {
        self.lock().records.len()
    }

    /// Waits until there are records, for so long at most, and takes them into `records`, which is
    /// empty. Whether there may be more later.
    pub(super) fn take(&self, records: &mut Vec<Record>, patience: Duration) -> bool {
        let (mut state, start) = (self.lock(), Instant::now());
        while state.records.is_empty() && !state.stopping {
            let rest = patience.saturating_sub(start.elapsed());
            if rest.is_zero() {
                state.sleeps = false;
                return true;
            }
            state.sleeps = true;
            state = self.wait(state, rest);
        }
        state.sleeps = false;
        let start = Instant::now();
        while !state.stopping && state.records.len() < self.capacity.div_ceil(2) {
            let rest = GATHER.saturating_sub(start.elapsed());
            if rest.is_zero() {
                break;
            }
            state = self.wait(state, rest);
        }
        std::mem::swap(&mut state.records, records);
        !state.stopping
    }

    /// Waits for so long, or until the end is asked for. Whether it is not.
    pub(super) fn pause(&self, duration: Duration) -> bool {
        let (mut state, start) = (self.lock(), Instant::now());
        while !state.stopping {
            let rest = duration.saturating_sub(start.elapsed());
            if rest.is_zero() {
                return true;
            }
            state = self.wait(state, rest);
        }
        false
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, time: Duration) -> MutexGuard<'a, State> {
        self.wake.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Takes no more records, and asks the writer to end.
    pub(super) fn stop(&self) {
        self.lock().stopping = true;
        self.wake.notify_all();
    }

    /// Whether the end was asked for.
    pub(super) fn is_stopping(&self) -> bool {
        self.lock().stopping
    }

    /// One of the threads has ended.
    pub(super) fn add_ended(&self) {
        self.lock().ended += 1;
        self.end.notify_all();
    }

    /// Waits until so many threads have ended, for so long at most. Whether they have.
    pub(super) fn wait_for_end(&self, threads: usize, limit: Duration) -> bool {
        let state = self.lock();
        let waited = self.end.wait_timeout_while(state, limit, |state| state.ended < threads);
        waited.unwrap_or_else(PoisonError::into_inner).0.ended >= threads
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn what_has_no_room_is_refused() {
        let queue = Queue::new(2);
        let pushed: Vec<bool> = (0..3).map(|n| queue.push(Record::sample("a", n))).collect();
        assert_eq!(pushed, [true, true, false]);
        let mut records = Vec::new();
        assert!(queue.take(&mut records, LONG));
        assert_eq!((records.len(), queue.len()), (2, 0));
        assert!(queue.push(Record::sample("a", 3)));
        queue.stop();
        assert!(!queue.push(Record::sample("a", 4)), "it is stopping");
        records.clear();
        assert!(!queue.take(&mut records, LONG));
        assert_eq!(records.len(), 1, "what was in it before");
    }

    #[test]
    fn who_waits_is_woken() {
        let queue = Queue::new(1000);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in 0..100 {
                    assert!(queue.push(Record::sample("a", n)));
                }
                // Never taken if a wake-up were lost: the patience is a minute.
                while queue.len() > 0 {
                    std::thread::yield_now();
                }
                queue.stop();
            });
            let (mut all, mut records) = (Vec::new(), Vec::new());
            let started = Instant::now();
            while queue.take(&mut records, LONG) {
                all.append(&mut records);
            }
            all.append(&mut records);
            let times: Vec<u64> = all.iter().map(|record| record.time_ns).collect();
            assert_eq!(times, (0..100).collect::<Vec<u64>>());
            assert!(started.elapsed() < LONG);
            queue.add_ended();
        });
        assert!(queue.wait_for_end(1, Duration::ZERO));
        assert!(!queue.wait_for_end(2, Duration::ZERO));
    }

    #[test]
    fn patience_ends() {
        let queue = Queue::new(1);
        assert!(queue.take(&mut Vec::new(), Duration::from_millis(1)));
        assert!(queue.pause(Duration::from_millis(1)));
        assert!(!queue.wait_for_end(1, Duration::from_millis(1)));
        queue.stop();
        assert!(!queue.pause(LONG));
    }
}
