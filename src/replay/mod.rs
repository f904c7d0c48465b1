//! Scores what was answered as a validator does, once the truth is known.

use crate::journal::Record;
use crate::subnet::reward::Truth;

/// An answered request whose truth is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// What was answered.
    pub record: Record,
    /// What really happened; the time is NaN where it is not known.
    pub truth: Truth,
    /// When that was written down, in nanoseconds since 1970.
    pub known_ns: u64,
}
