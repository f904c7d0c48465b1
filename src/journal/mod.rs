//! What was answered: a record a request, in files by the day.
//!
//! ```text
//! 2026-11-22.jsonl               one record a line, appended only
//! 2026-11-22.1.jsonl             the same day's next part, when the first grew too large
//! 2026-11-19.parquet             an older day, compacted
//! 2026-11-22.jsonl.torn-<ns>     what a process left unfinished when it died
//! 2026-11-19.parquet.aside-<ns>  a table that is not one of the lines beside it
//! .lock                          locked by the process that writes
//! ```
//!
//! [`Journal`] writes on a thread of its own, behind a bounded queue: to answer never waits for the
//! disk. What is flushed survives the death of the process, and is there once. [`read()`] shows all of
//! it again.

mod budget;
mod check;
mod compact;
mod disk;
mod error;
mod handle;
mod held;
mod keeper;
mod lines;
mod lock;
mod parts;
mod queue;
mod read;
mod record;
mod sampling;
mod table;
mod thread;
mod writer;

pub use check::RecordFault;
pub use error::JournalError;
pub use handle::{Annotate, Journal, JournalOptions, JournalStats};
pub use read::{ReadReport, Unreadable, read};
pub use record::{Record, RecordedAnswer, Sampled, Shadow};
pub use sampling::{Sampling, SamplingIntervals, SharedIntervals};
