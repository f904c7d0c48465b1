//! Tuning while the miner runs: one thing at a time, within bounds, and with time to see what it did.
//!
//! `parameter` is the one table of what can be tuned and `tunables` the values of all of it. `rules` say
//! when a parameter may be changed, and to what; `tuning` holds every wish against them and writes
//! those that are allowed into the `history`, whose entries are sealed by hashes and whose `file` a
//! running miner follows; a `witness` beside it shows when it was cut off or replaced. `suggest` reads
//! a diagnosis and says what to change, if anything.

mod clock;
mod entry;
mod error;
mod file;
mod history;
mod parameter;
mod rules;
mod suggest;
mod tunables;
mod tuning;
mod witness;

use std::path::Path;

pub use clock::{NoMoment, SetClock};
pub use entry::{Entry, Event, GENESIS, Starter};
pub use error::TuneError;
pub use file::{HEAD_FILE, HISTORY_FILE, history_path, inspect, read};
pub use history::{Break, History, Proposal};
pub use parameter::{
    Limit, LimitError, LimitOf, Limits, PARAMETER_COUNT, PARAMETERS, Parameter, ParameterSpec,
    UnknownParameter,
};
pub use rules::{Refusal, Rules};
pub use suggest::{
    Bar, Better, Calibrated, Chance, Coverage, Evidence, Gain, Learned, LostTo, Suggestion,
    Suggestions, suggest,
};
pub use tunables::Tunables;
pub use tuning::{Decision, Standing, Tuning, Verdict, Wish};

/// The values in force: those of the history, or the defaults where there is none.
///
/// # Errors
///
/// If the history cannot be read or is not as it was written.
pub fn read_current(state_dir: &Path) -> Result<Tunables, TuneError> {
    read(state_dir).map(|history| history.current())
}

/// Writes down that mining begins, unless that is known. The days in which nothing is tuned count from
/// there.
///
/// # Errors
///
/// If the history cannot be read, written, or is not as it was written.
pub fn record_start(state_dir: &Path, now_ns: u64) -> Result<(), TuneError> {
    // What is there needs no lock.
    if !read(state_dir)?.entries().is_empty() {
        return Ok(());
    }
    file::Writing::begin(state_dir)?.start(Starter::Serve, now_ns)
}

#[cfg(test)]
mod tests;
