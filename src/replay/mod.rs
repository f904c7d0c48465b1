//! Scores what was answered as a validator does, once the truth is known.
//!
//! [`join()`] puts the journal and the outcomes together, and [`score()`] counts what a validator gave.
//! [`replay`] does both for a window, with what another checkpoint would have answered, of which
//! [`Summary`] is the short form and [`write_results`] the long one. [`CalibrationRows`] are what a
//! checkpoint's calibration can be fitted on.

mod calibration;
mod error;
mod join;
pub mod paired;
mod results;
mod rows;
mod score;
mod scores;
pub mod summary;
mod whatif;

pub use calibration::{Calibrated, CalibrationRows, LeftOut};
pub use error::ReplayError;
pub use join::{JoinReport, Window, join, resolved};
pub use results::{results_path, summary_path, write_results, write_summary};
pub use rows::{Other, Replay, Row, replay};
pub use score::{Exchange, Ledger, Scored, Standing, rescore, score};
pub use scores::{Constants, Earned, Parts, Scores};
pub use summary::Summary;
pub use whatif::WhatIf;

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

/// What records are ordered by: their time, and where that is the same, something that does not depend
/// on the order in which they were written.
pub fn in_order(record: &Record) -> (u64, &str, u64) {
    (record.time_ns, &record.validator, record.nonce)
}
