//! When a device has no more memory.
//!
//! Burn computes later than it is asked, so nothing fails where memory is missing: CUDA's and
//! cubecl's refusals are kept with the tensors that were to be computed, and come to light, with
//! their text, where one of those is read. wgpu's is a panic in cubecl's own thread, of which the
//! reader learns only that there are no numbers; [`ran_out`] is how it is heard of nevertheless.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::{Device, Tensor};

use super::choice::DeviceChoice;

/// What tells a lack of memory from other failures, in burn 0.22, cubecl 0.11, wgpu 30 and CUDA.
const SIGNS: [&str; 9] = [
    // cubecl, where the driver has no more, or could give no piece that large.
    "out of device memory allocating",
    "can't allocate buffer of size",
    "every page size the memory tracks still holds live allocations",
    "couldn't map storage for a deferred allocation",
    "An out-of-memory error happened during launch",
    // wgpu, the interface and below it.
    "wgpu error: Out of Memory",
    "Not enough memory left",
    "is greater than the maximum buffer size",
    // CUDA, where cubecl does not see what it is.
    "CUDA_ERROR_OUT_OF_MEMORY",
];

/// Whether this is what a device says when it has no more memory.
///
/// A lost device is something else, whatever it was lost of: nothing can be computed on it again.
pub fn is_shortage(message: &str) -> bool {
    SIGNS.iter().any(|sign| message.contains(sign))
}

/// Whether a device has run out of memory since this was last asked.
pub(super) struct Shortage(Arc<AtomicBool>);

impl Shortage {
    /// Memory is missing.
    pub(super) fn note(&self) {
        self.0.store(true, Ordering::Release);
    }
}

static WATCHED: Mutex<Vec<(Device, Arc<AtomicBool>)>> = Mutex::new(Vec::new());

/// Where a device's shortage is noted.
pub(super) fn watch(device: &Device) -> Shortage {
    let noted = Arc::new(AtomicBool::new(false));
    let mut watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
    watched.push((device.clone(), noted.clone()));
    Shortage(noted)
}

/// Whether a device that tells nobody has run out of memory since this was last asked.
pub fn ran_out(device: &Device) -> bool {
    let watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
    let noted = watched.iter().find(|(one, _)| one == device);
    noted.is_some_and(|(_, noted)| noted.swap(false, Ordering::AcqRel))
}

/// Why an attempt failed, for lack of memory.
#[derive(Debug)]
pub struct Refusal {
    message: String,
}

impl Refusal {
    /// Panics as the attempt did: there is nothing left to try.
    pub fn resume(self) -> ! {
        panic!("{}", self.message)
    }
}

/// Runs work that ends with reading from the device, so that all of it was computed when it
/// returns.
///
/// # Errors
///
/// If the device has no memory for it. Any other panic goes on.
pub fn attempt<T>(device: &Device, work: impl FnOnce() -> T) -> Result<T, Refusal> {
    let result = super::quietly(work);
    let ran_out = ran_out(device);
    match result {
        // What was not computed for lack of memory may read as zeros.
        Ok(_) if ran_out => Err(Refusal { message: "wgpu error: Out of Memory".to_owned() }),
        Ok(value) => Ok(value),
        Err(message) if ran_out || is_shortage(&message) => Err(Refusal { message }),
        Err(message) => panic!("{message}"),
    }
}

/// Whether a device can run out of memory and go on. What the CPU has no memory for, nobody is told
/// of: the system ends the program.
pub fn may_run_short(device: &Device) -> bool {
    let of_cpu = [DeviceChoice::Cpu, DeviceChoice::Ndarray];
    !of_cpu.iter().any(|cpu| cpu.open().as_ref() == Ok(device))
}

/// Computes rows at once, or where the device has no memory for so many, in halves: one result for
/// each part, in order. The work ends with reading from the device.
///
/// # Shapes
///
/// - `rows`: `[rows, any]`
pub fn in_parts<T>(rows: Tensor<2>, work: &dyn Fn(Tensor<2>) -> T) -> Vec<T> {
    let device = rows.device();
    if !may_run_short(&device) {
        return vec![work(rows)];
    }
    divided(rows, &|rows| {
        let count = rows.dims()[0];
        let result = attempt(&device, || work(rows));
        result.inspect_err(|_| {
            tracing::warn!("the device has no memory to compute {count} rows at once: by halves");
            device.memory_cleanup();
        })
    })
}

fn divided<T>(rows: Tensor<2>, attempt: &dyn Fn(Tensor<2>) -> Result<T, Refusal>) -> Vec<T> {
    let count = rows.dims()[0];
    match attempt(rows.clone()) {
        Ok(value) => vec![value],
        Err(refusal) if count < 2 => refusal.resume(),
        Err(_) => {
            let half = count / 2;
            let mut values = divided(rows.clone().narrow(0, 0, half), attempt);
            values.extend(divided(rows.narrow(0, half, count - half), attempt));
            values
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::networks::floats;

    /// Each as the sources have it, with numbers where they have numbers.
    #[test]
    fn what_devices_say() {
        for (message, expected) in [
            // cubecl-runtime, server/base.rs, IoError.
            ("out of device memory allocating 4294967296 bytes\n<backtrace>", true),
            ("can't allocate buffer of size: 4294967296\n<backtrace>", true),
            (
                "Can't allocate 512 bytes: every page size the memory tracks still holds live \
                 allocations\n",
                true,
            ),
            ("couldn't map storage for a deferred allocation of 512 bytes\nCaused by:\n  x", true),
            // The same, as a read tells of it: burn-std, device_settings.rs, ExecutionError, around
            // cubecl-runtime's ServerError.
            (
                "An error happened during execution\nCaused by:\n  The bytes were never written \
                 (failure #3, still claiming 2 buffer(s))\n  matmul\nCaused by:\n  out of device \
                 memory allocating 1048576 bytes\n",
                true,
            ),
            ("An out-of-memory error happened during launch\nCaused by:\n  x", true),
            // wgpu, api/device.rs, as cubecl-wgpu, compute/device_poison.rs, panics with it.
            ("wgpu error: Out of Memory", true),
            // wgpu-core, device/mod.rs and resource.rs.
            ("Not enough memory left.", true),
            ("Buffer size 9 is greater than the maximum buffer size (8)", true),
            // cubecl-cuda, compute/storage/gpu.rs, with cudarc's DriverError.
            (
                "Unknown error happened during execution: CUDA allocation error: \
                 DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")",
                true,
            ),
            ("The device is poisoned\nCaused by:\n  Unknown: device lost", false),
            ("Parent device is lost", false),
            ("The work was skipped: an input carried a failure", false),
            ("Too much shared memory requested.\nRequested 65536 bytes, maximum 49152", false),
            ("couldn't find resource for that handle: never initialised", false),
            ("", false),
        ] {
            assert_eq!(is_shortage(message), expected, "{message}");
        }
    }

    fn bears(most: usize) -> impl Fn(Tensor<2>) -> Result<Vec<f32>, Refusal> {
        move |rows| match rows.dims()[0] {
            count if count > most => Err(Refusal { message: "wgpu error: Out of Memory".into() }),
            _ => Ok(floats(rows.flatten(0, 1))),
        }
    }

    #[test]
    fn rows_are_divided_until_they_fit() {
        let rows = || Tensor::<1>::from_floats([0.0, 1.0, 2.0, 3.0, 4.0], &Device::flex());
        let rows = || rows().reshape([5, 1]);
        assert_eq!(divided(rows(), &bears(5)), [[0.0, 1.0, 2.0, 3.0, 4.0]]);
        let parts = divided(rows(), &bears(2));
        assert_eq!(parts, [vec![0.0, 1.0], vec![2.0], vec![3.0, 4.0]]);
        assert_eq!(divided(rows(), &bears(1)).concat(), [0.0, 1.0, 2.0, 3.0, 4.0]);
    }

    #[test]
    fn only_a_lack_of_memory_is_a_refusal() {
        let device = Device::flex();
        assert_eq!(attempt(&device, || 3).ok(), Some(3));
        let refusal = attempt(&device, || -> usize { panic!("wgpu error: Out of Memory") });
        assert_eq!(refusal.unwrap_err().message, "wgpu error: Out of Memory");
        let other = std::panic::catch_unwind(|| {
            let _ = attempt(&Device::flex(), || panic!("something else"));
        });
        assert!(other.is_err());
        assert!(!may_run_short(&device));
        assert!(!may_run_short(&device.autodiff()));
    }

    #[test]
    fn a_shortage_is_told_once() {
        let device = Device::flex();
        let shortage = watch(&device);
        assert!(!ran_out(&device));
        shortage.note();
        assert!(ran_out(&device));
        assert!(!ran_out(&device));
    }
}
