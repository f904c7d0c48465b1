//! Where tensors live: the CPU or a GPU, chosen at run time.
//!
//! `choice` is what a user may name, and `adapter` what there is. A driver may crash and take its
//! process along, so [`probe`] can ask it in a process of its own before this one touches it;
//! `open` then makes the device, and `check` lets it multiply matrices. `work` says from how much
//! work on a GPU pays, and `memory` what to do when a device has no more of it.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

mod adapter;
mod capacity;
mod check;
mod child;
mod choice;
mod inventory;
mod listing;
pub mod memory;
mod open;
pub mod probe;
mod work;

pub use adapter::{Adapter, AdapterKind, Api};
pub use capacity::Memory;
pub use choice::{DeviceChoice, DeviceError};
pub use inventory::{Inventory, Missing, automatic};
pub use listing::{Listed, list};
pub use work::Work;

/// How much work is under way of which no panic is to be heard.
static QUIET: AtomicUsize = AtomicUsize::new(0);

/// Runs what may panic in a driver's depths; the panic's message is the error, and nothing is
/// printed of it. Nor of panics in other threads meanwhile, since cubecl computes in its own.
pub(crate) fn quietly<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    // Once for all: of hooks that each thread sets and puts back, the silent one could stay.
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if QUIET.load(Ordering::SeqCst) == 0 {
                usual(panic);
            }
        }));
    });
    QUIET.fetch_add(1, Ordering::SeqCst);
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    QUIET.fetch_sub(1, Ordering::SeqCst);
    result.map_err(|payload| panic_message(payload.as_ref()))
}

/// What a panic said, in a line.
pub(crate) fn panic_message(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without a message").to_owned()
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::{env, thread};

    use super::*;

    const LOUD: &str = "CONVMINER_TEST_PANICS_LOUDLY";

    /// In a process of its own: other tests work quietly in this one.
    #[test]
    fn panics_are_heard_again_after_quiet_work() {
        if env::var_os(LOUD).is_some() {
            return many_quiet_panics_and_a_loud_one();
        }
        let name = concat!(module_path!(), "::panics_are_heard_again_after_quiet_work");
        let name = name.split_once("::").unwrap().1;
        let mut tests = Command::new(env::current_exe().unwrap());
        let output = tests.args(["--exact", name, "--nocapture"]).env(LOUD, "1").output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
        assert!(stderr.contains("this is heard"), "{stderr}");
        assert!(!stderr.contains("nobody hears"), "{stderr}");
    }

    fn many_quiet_panics_and_a_loud_one() {
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        // As cubecl does it.
                        let elsewhere = || thread::spawn(|| panic!("nobody hears this")).join();
                        assert!(quietly(elsewhere).unwrap().is_err());
                        let here: Result<(), String> = quietly(|| panic!("nobody hears {}", 1));
                        assert_eq!(here, Err("nobody hears 1".to_owned()));
                    }
                });
            }
        });
        assert!(thread::spawn(|| panic!("this is heard")).join().is_err());
    }
}
