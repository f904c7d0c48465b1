//! Who is worked for first when there is more to do than can be done.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::time::Instant;

/// How much a request counts; the larger one is served first, and of two equal ones the earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Priority {
    /// Whether the caller has signed a request from the same address lately. The stake is that of
    /// the hotkey that a request names, which anybody can write: a stranger who names a rich
    /// validator must not push it aside.
    known: bool,
    /// The bits of the stake. Those of numbers from 0 up are ordered as the numbers are.
    stake: u64,
}

impl Priority {
    /// Of a caller with this stake; what is no number of 0 or more counts as 0.
    pub fn new(known: bool, stake: f64) -> Self {
        let stake = if stake > 0.0 { stake.to_bits() } else { 0 };
        Priority { known, stake }
    }
}

/// Why a request was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turned {
    /// As many wait as may, and all of them count at least as much.
    Full,
    /// Its time was up before its turn came.
    Late,
}

/// Lets so many requests be worked on at a time, and so many wait.
#[derive(Debug)]
pub struct Gate {
    inner: Mutex<Inner>,
    most_waiting: usize,
}

#[derive(Debug)]
struct Inner {
    free: usize,
    at_work: usize,
    arrived: u64,
    /// The first is served next.
    waiting: BTreeMap<Place, oneshot::Sender<Pass>>,
}

type Place = (Reverse<Priority>, u64);

/// The right to be worked on, until it is dropped.
#[derive(Debug)]
pub struct Pass {
    /// `None` once it was handed on.
    gate: Option<Arc<Gate>>,
}

impl Gate {
    /// A gate for `concurrent` requests at work and `queue` that wait; at least one of the former.
    pub fn new(concurrent: usize, queue: usize) -> Arc<Self> {
        let free = concurrent.max(1);
        let inner = Inner { free, at_work: 0, arrived: 0, waiting: BTreeMap::new() };
        Arc::new(Gate { inner: Mutex::new(inner), most_waiting: queue })
    }

    /// Waits for a turn, until `deadline`.
    ///
    /// # Errors
    ///
    /// At once if too many wait that count as much; and later if one comes that counts more, or if
    /// the time is up.
    pub async fn enter(
        self: &Arc<Self>,
        priority: Priority,
        deadline: Instant,
    ) -> Result<Pass, Turned> {
        let (place, turn) = {
            let mut inner = self.lock();
            if deadline <= Instant::now() {
                return Err(Turned::Late);
            }
            if inner.free > 0 {
                inner.free -= 1;
                inner.at_work += 1;
                return Ok(Pass { gate: Some(Arc::clone(self)) });
            }
            let place = (Reverse(priority), inner.arrived);
            inner.arrived += 1;
            if inner.waiting.len() >= self.most_waiting {
                match inner.waiting.last_entry() {
                    // To drop its sender tells it that it was turned away.
                    Some(last) if *last.key() > place => drop(last.remove()),
                    _ => return Err(Turned::Full),
                }
            }
            let (sender, turn) = oneshot::channel();
            inner.waiting.insert(place, sender);
            (place, turn)
        };
        // Whoever stops waiting, and be it because its connection broke, leaves the queue.
        let _waiting = Waiting { gate: self, place };
        match tokio::time::timeout_at(deadline, turn).await {
            Ok(Ok(pass)) => Ok(pass),
            Ok(Err(_)) => Err(Turned::Full),
            Err(_) => Err(Turned::Late),
        }
    }

    /// How many wait for their turn.
    pub fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    /// How many are worked on.
    pub fn at_work(&self) -> usize {
        self.lock().at_work
    }

    /// The next in the queue gets the turn; what is returned is to be dropped without the lock.
    fn hand_on(self: &Arc<Self>) {
        loop {
            let next = {
                let mut inner = self.lock();
                match inner.waiting.pop_first() {
                    Some((_, next)) => next,
                    None => {
                        inner.free += 1;
                        inner.at_work -= 1;
                        return;
                    }
                }
            };
            match next.send(Pass { gate: Some(Arc::clone(self)) }) {
                Ok(()) => return,
                // It waits no longer. Its pass must not come back here by being dropped.
                Err(mut pass) => drop(pass.gate.take()),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No code that runs under the lock can leave it half-written.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(gate) = self.gate.take() {
            gate.hand_on();
        }
    }
}

struct Waiting<'a> {
    gate: &'a Gate,
    place: Place,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.gate.lock().waiting.remove(&self.place);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(30)
    }

    fn stake(stake: f64) -> Priority {
        Priority::new(true, stake)
    }

    /// Starts waiting, and returns when it is in the queue.
    async fn queue(
        gate: &Arc<Gate>,
        priority: Priority,
    ) -> tokio::task::JoinHandle<Result<Pass, Turned>> {
        let before = gate.lock().arrived;
        let waiting = Arc::clone(gate);
        let task = tokio::spawn(async move { waiting.enter(priority, soon()).await });
        while gate.lock().arrived == before {
            tokio::task::yield_now().await;
        }
        task
    }

    #[test]
    fn priorities_are_ordered() {
        let ordered = [
            Priority::new(false, f64::NAN),
            Priority::new(false, 0.5),
            Priority::new(false, 1e9),
            Priority::new(true, -1.0),
            Priority::new(true, 1.0),
            Priority::new(true, 1000.0),
        ];
        assert!(ordered.is_sorted());
        assert_eq!(Priority::new(true, -0.0), Priority::new(true, 0.0));
    }

    #[tokio::test]
    async fn higher_stake_first_and_then_who_came_first() {
        let gate = Gate::new(1, 8);
        let first = gate.enter(stake(0.0), soon()).await.unwrap();
        let mut tasks = Vec::new();
        for (name, priority) in [
            ("poor", stake(1.0)),
            ("rich", stake(100.0)),
            ("a stranger", Priority::new(false, 1e6)),
            ("as rich, later", stake(100.0)),
        ] {
            tasks.push((name, queue(&gate, priority).await));
        }
        assert_eq!((gate.waiting(), gate.at_work()), (4, 1));
        let mut order = Vec::new();
        let mut pass = Some(first);
        while !tasks.is_empty() {
            drop(pass.take());
            while tasks.iter().all(|(_, task)| !task.is_finished()) {
                tokio::task::yield_now().await;
            }
            let next = tasks.iter().position(|(_, task)| task.is_finished()).unwrap();
            let (name, task) = tasks.remove(next);
            order.push(name);
            pass = Some(task.await.unwrap().unwrap());
        }
        assert_eq!(order, ["rich", "as rich, later", "poor", "a stranger"]);
        drop(pass);
        assert_eq!((gate.waiting(), gate.at_work(), gate.lock().free), (0, 0, 1));
    }

    #[tokio::test]
    async fn a_full_queue_turns_away_who_counts_least() {
        let gate = Gate::new(1, 2);
        let pass = gate.enter(stake(5.0), soon()).await.unwrap();
        let one = queue(&gate, stake(1.0)).await;
        let two = queue(&gate, stake(2.0)).await;
        assert_eq!(gate.enter(stake(1.0), soon()).await.unwrap_err(), Turned::Full, "no more than");
        let three = queue(&gate, stake(3.0)).await;
        assert_eq!(one.await.unwrap().unwrap_err(), Turned::Full, "pushed out by 3");
        drop(pass);
        let three = three.await.unwrap().unwrap();
        drop(three);
        two.await.unwrap().unwrap();
        assert_eq!((gate.waiting(), gate.lock().free), (0, 1));
    }

    #[tokio::test]
    async fn who_stops_waiting_leaves_no_trace() {
        let gate = Gate::new(1, 1);
        let pass = gate.enter(stake(5.0), soon()).await.unwrap();
        assert_eq!(gate.enter(stake(1.0), Instant::now()).await.unwrap_err(), Turned::Late);
        let shortly = Instant::now() + Duration::from_millis(20);
        assert_eq!(gate.enter(stake(1.0), shortly).await.unwrap_err(), Turned::Late);
        let gone = queue(&gate, stake(1.0)).await;
        gone.abort();
        assert!(gone.await.unwrap_err().is_cancelled());
        assert_eq!(gate.waiting(), 0);
        let next = queue(&gate, stake(1.0)).await;
        drop(pass);
        drop(next.await.unwrap().unwrap());
        assert_eq!((gate.at_work(), gate.lock().free), (0, 1));
    }

    /// A turn that is given in the moment in which its owner gives up must not be lost.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_pass_is_lost() {
        let gate = Gate::new(2, 16);
        let tasks: Vec<_> = (0..2000)
            .map(|index| {
                let gate = Arc::clone(&gate);
                tokio::spawn(async move {
                    let deadline = Instant::now() + Duration::from_micros(index % 97);
                    let entered = gate.enter(stake((index % 7) as f64), deadline).await;
                    tokio::task::yield_now().await;
                    drop(entered);
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!((gate.waiting(), gate.at_work(), gate.lock().free), (0, 0, 2));
    }
}
