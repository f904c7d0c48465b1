//! Threads that take a step together.
//!
//! A step is some ten microseconds of work in a few phases, each of which needs what all threads
//! did in the one before. Between phases the threads spin, which takes less than a microsecond;
//! between steps they spin for a while and then sleep, for the processor may have other work.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Looks before a thread gives its turn away, and before it sleeps.
const SPINS: usize = 4_000;
const YIELDS: usize = 50;

/// Work of several threads.
pub(super) trait Work: Send + Sync + 'static {
    /// One thread's share.
    fn share(&self, team: Team<'_>);
}

/// A thread's place among those that work together.
#[derive(Clone, Copy)]
pub(super) struct Team<'a> {
    /// Which thread this is.
    pub(super) worker: usize,
    /// How many there are.
    pub(super) workers: usize,
    barrier: &'a Barrier,
}

impl Team<'_> {
    /// Waits until all threads are here.
    pub(super) fn meet(&self) {
        if self.workers > 1 {
            self.barrier.wait(self.workers);
        }
    }

    /// This thread's share of so many pieces.
    pub(super) fn mine(&self, pieces: usize) -> impl Iterator<Item = usize> + use<> {
        (self.worker..pieces).step_by(self.workers)
    }
}

/// Where threads wait for each other.
#[derive(Default)]
struct Barrier {
    arrived: AtomicUsize,
    round: AtomicUsize,
    /// A thread is gone, and the others would wait for ever.
    is_broken: AtomicBool,
}

impl Barrier {
    fn wait(&self, workers: usize) {
        let round = self.round.load(Ordering::Acquire);
        if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == workers {
            self.arrived.store(0, Ordering::Relaxed);
            self.round.fetch_add(1, Ordering::Release);
            return;
        }
        let mut looks = 0;
        while self.round.load(Ordering::Acquire) == round {
            assert!(!self.is_broken.load(Ordering::Relaxed), "a thread of training panicked");
            pause(&mut looks);
        }
    }
}

/// Waits a moment: shortly at first, and then for as long as others have work.
fn pause(looks: &mut usize) {
    *looks += 1;
    if *looks < SPINS { std::hint::spin_loop() } else { std::thread::yield_now() }
}

/// Breaks the barrier if its thread panics.
struct Guard<'a>(&'a Barrier);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.is_broken.store(true, Ordering::Relaxed);
        }
    }
}

/// What the threads share.
struct Shared<W> {
    work: W,
    barrier: Barrier,
    /// Counts the orders; the lowest bits say how many threads an order is for.
    order: AtomicUsize,
    ends: AtomicBool,
    asleep: Mutex<usize>,
    wake: Condvar,
}

/// Room in an order for the number of threads.
const MOST: usize = 1 << 8;

/// The threads, of which the caller's is the first.
pub(super) struct Pool<W: Work> {
    shared: Arc<Shared<W>>,
    threads: Vec<JoinHandle<()>>,
}

impl<W: Work> Pool<W> {
    /// So many threads for this work; fewer if the system has no more.
    pub(super) fn new(work: W, threads: usize) -> Pool<W> {
        let shared = Arc::new(Shared {
            work,
            barrier: Barrier::default(),
            order: AtomicUsize::new(0),
            ends: AtomicBool::new(false),
            asleep: Mutex::new(0),
            wake: Condvar::new(),
        });
        let spawn = |worker: usize| {
            let shared = Arc::clone(&shared);
            let thread = std::thread::Builder::new().name(format!("train-{worker}"));
            thread.spawn(move || serve(&shared, worker)).ok()
        };
        let threads = (1..threads.min(MOST)).map_while(spawn).collect();
        Pool { shared, threads }
    }

    /// What the threads work on.
    pub(super) fn work(&self) -> &W {
        &self.shared.work
    }

    /// How many threads there are, the caller's among them.
    pub(super) fn threads(&self) -> usize {
        self.threads.len() + 1
    }

    /// Works with at most so many threads, and returns when all are done.
    pub(super) fn run(&self, most: usize) {
        let workers = most.clamp(1, self.threads());
        let team = Team { worker: 0, workers, barrier: &self.shared.barrier };
        if workers > 1 {
            let count = self.shared.order.load(Ordering::Relaxed) / MOST;
            self.shared.order.store((count + 1) * MOST + workers - 1, Ordering::SeqCst);
            let asleep = self.shared.asleep.lock().unwrap_or_else(PoisonError::into_inner);
            if *asleep > 0 {
                self.shared.wake.notify_all();
            }
        }
        let _guard = Guard(&self.shared.barrier);
        self.shared.work.share(team);
        team.meet();
    }
}

impl<W: Work> Drop for Pool<W> {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::SeqCst);
        drop(self.shared.asleep.lock().unwrap_or_else(PoisonError::into_inner));
        self.shared.wake.notify_all();
        for thread in self.threads.drain(..) {
            // One that panicked has already broken the step that it was in.
            drop(thread.join());
        }
    }
}

/// A thread's life.
fn serve<W: Work>(shared: &Shared<W>, worker: usize) {
    let _guard = Guard(&shared.barrier);
    let mut seen = 0;
    while let Some(order) = shared.next_order(seen) {
        seen = order;
        let workers = order % MOST + 1;
        if worker < workers {
            let team = Team { worker, workers, barrier: &shared.barrier };
            shared.work.share(team);
            team.meet();
        }
    }
}

impl<W> Shared<W> {
    /// The next order after one, or none at the end.
    fn next_order(&self, seen: usize) -> Option<usize> {
        let mut looks = 0;
        loop {
            if self.ends.load(Ordering::Relaxed) {
                return None;
            }
            let order = self.order.load(Ordering::Acquire);
            if order != seen {
                return Some(order);
            }
            if looks < SPINS + YIELDS {
                pause(&mut looks);
                continue;
            }
            let mut asleep = self.asleep.lock().unwrap_or_else(PoisonError::into_inner);
            // Counted before looking again, so that no order comes unseen.
            *asleep += 1;
            while self.order.load(Ordering::SeqCst) == seen && !self.ends.load(Ordering::SeqCst) {
                asleep = self.wake.wait(asleep).unwrap_or_else(PoisonError::into_inner);
            }
            *asleep -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Counts shares in two halves, of which the second needs all of the first.
    #[derive(Default)]
    struct Halves {
        first: AtomicUsize,
        second: AtomicUsize,
        fails: AtomicBool,
    }

    impl Work for Halves {
        fn share(&self, team: Team<'_>) {
            assert!(team.worker == 0 || !self.fails.load(Ordering::Relaxed), "it was told to");
            let before = self.second.load(Ordering::Relaxed);
            self.first.fetch_add(team.mine(10).count(), Ordering::Relaxed);
            team.meet();
            assert_eq!(self.first.load(Ordering::Relaxed), before + 10);
            team.meet();
            self.second.fetch_add(team.mine(10).count(), Ordering::Relaxed);
        }
    }

    #[test]
    fn all_pieces_are_done_by_any_number_of_threads() {
        let pool = Pool::new(Halves::default(), 3);
        assert_eq!(pool.threads(), 3);
        for (run, most) in [1, 3, 2, 9, 3, 1, 2].into_iter().enumerate() {
            pool.run(most);
            assert_eq!(pool.work().second.load(Ordering::Relaxed), 10 * (run + 1), "by {most}");
        }
        // Asleep by now.
        std::thread::sleep(Duration::from_millis(50));
        pool.run(3);
        assert_eq!(pool.work().second.load(Ordering::Relaxed), 80);
    }

    #[test]
    #[should_panic(expected = "a thread of training panicked")]
    fn a_panic_of_one_ends_all() {
        let pool = Pool::new(Halves::default(), 2);
        pool.work().fails.store(true, Ordering::Relaxed);
        pool.run(2);
    }
}
