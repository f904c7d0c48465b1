//! What was answered: a record a request, in files by the day.

mod record;

pub use record::{Record, RecordedAnswer, Sampled, Shadow};
