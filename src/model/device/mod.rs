//! Where tensors live: the CPU or a GPU, chosen at run time.
//!
//! `choice` is what a user may name, and `adapter` what there is. A driver may crash and take its
//! process along, so [`probe`] can ask it in a process of its own before this one touches it;
//! `open` then makes the device, and `check` lets it multiply matrices. `work` says from how much
//! work on a GPU pays, and `memory` what to do when a device has no more of it.

use std::panic::{self, AssertUnwindSafe};

mod adapter;
mod capacity;
mod check;
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

/// Runs what may panic in a driver's depths; the panic's message is the error, and nothing is
/// printed of it.
pub(crate) fn quietly<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| ()));
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    panic::set_hook(hook);
    result.map_err(|payload| panic_message(payload.as_ref()))
}

/// What a panic said, in a line.
pub(crate) fn panic_message(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without a message").to_owned()
}
