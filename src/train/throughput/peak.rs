//! What this machine's CPU does at best.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use burn::tensor::{Device, Tensor};

use super::cost::Peak;

/// Rows and columns of the matrices that are multiplied: they fit a core's own cache.
const SIDE: usize = 192;
/// Numbers that a thread copies: a batch and a network fit a core's own cache, and so do these.
const COPIED: usize = 1 << 15;
/// How often each is tried. The best counts: whatever else ran made it slower.
const TRIES: usize = 5;

/// Measures products of small matrices, and copies, on all cores at once and in their caches.
///
/// Rather what the library for products does than what the processor could: a device that is
/// measured like this may be beaten by code that does better.
pub fn cpu_peak(time: Duration) -> Peak {
    let best = |rate: fn(Duration, &Barrier) -> f64| {
        let tries = (0..TRIES).map(|_| on_all_cores(time / TRIES as u32, rate));
        tries.fold(0.0, f64::max)
    };
    Peak {
        operations_per_second: best(operations),
        bytes_per_second: best(bytes),
        launch_seconds: 0.0,
    }
}

fn on_all_cores(time: Duration, rate: fn(Duration, &Barrier) -> f64) -> f64 {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let start = Barrier::new(cores);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(|| rate(time, &start))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or(0.0)).sum()
    })
}

/// Floating-point operations a second of products of matrices.
fn operations(time: Duration, start: &Barrier) -> f64 {
    let ones = Tensor::<2>::ones([SIDE, SIDE], &Device::flex());
    let product = || std::hint::black_box(ones.clone().matmul(ones.clone()));
    product();
    start.wait();
    let (began, mut done) = (Instant::now(), 0_u64);
    while began.elapsed() < time {
        product();
        done += 1;
    }
    done as f64 * 2.0 * (SIDE as f64).powi(3) / began.elapsed().as_secs_f64()
}

/// Bytes a second of copies within a core's cache: read and written ones both count.
fn bytes(time: Duration, start: &Barrier) -> f64 {
    let from = vec![1.0_f32; COPIED];
    let mut to = vec![0.0_f32; COPIED];
    start.wait();
    let (began, mut done) = (Instant::now(), 0_u64);
    while began.elapsed() < time || done == 0 {
        to.copy_from_slice(&from);
        std::hint::black_box(&mut to);
        done += 1;
    }
    done as f64 * 2.0 * size_of_val(from.as_slice()) as f64 / began.elapsed().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn something_is_done() {
        let peak = cpu_peak(Duration::from_millis(20));
        assert!(peak.operations_per_second > 0.0 && peak.bytes_per_second > 0.0, "{peak:?}");
        assert_eq!(peak.launch_seconds, 0.0);
    }
}
