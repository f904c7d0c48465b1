//! The most that cryptography alone would allow.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use crate::chain::Keypair;
use crate::serve::verify::{request_text, response_text};
use crate::subnet::synapse::EMPTY_BODY_HASH;

/// How many requests a second could be answered if a request were nothing but one verification and
/// one signature, with our own keys.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Floor {
    /// On all cores together.
    pub per_second: f64,
    /// How many cores.
    pub cores: usize,
}

impl Floor {
    /// Measures for about `time`.
    pub fn measure(time: Duration) -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let start = Barrier::new(cores);
        let per_second = thread::scope(|scope| {
            let threads: Vec<_> =
                (0..cores).map(|_| scope.spawn(|| one_core(time, &start))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or(0.0)).sum()
        });
        Floor { per_second, cores }
    }

    /// The mean of two measurements on the same machine.
    pub fn mean(self, other: Floor) -> Floor {
        Floor { per_second: (self.per_second + other.per_second) / 2.0, ..self }
    }
}

fn one_core(time: Duration, start: &Barrier) -> f64 {
    let (caller, axon) = (Keypair::generate(), Keypair::generate());
    let nonce = 1_763_789_253_000_000_000;
    let uuid = "5ecbd69c-1cec-11ee-b0dc-e29ce36fec1a";
    let asked = request_text(nonce, caller.address(), axon.address(), uuid, EMPTY_BODY_HASH);
    let signature = caller.sign(&asked);
    let answered = response_text(nonce, caller.address(), axon.address(), uuid);
    start.wait();
    let (began, mut done) = (Instant::now(), 0u64);
    while began.elapsed() < time {
        let verified = caller.public().verify(&asked, &signature);
        done += u64::from(verified.is_ok());
        std::hint::black_box(axon.sign(&answered));
    }
    done as f64 / began.elapsed().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn something_is_done_on_each_core() {
        let floor = Floor::measure(Duration::from_millis(20));
        assert!(floor.cores >= 1 && floor.per_second > 0.0, "{floor:?}");
        let mean = Floor { per_second: 10.0, cores: 2 }.mean(Floor { per_second: 30.0, cores: 2 });
        assert_eq!(mean, Floor { per_second: 20.0, cores: 2 });
    }
}
