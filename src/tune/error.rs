//! What can go wrong with tuning, other than that a change is refused.

use std::io;
use std::path::PathBuf;

use super::history::Break;
use super::parameter::Parameter;
use super::rules::shown;

/// Why nothing could be said or done about a parameter.
#[derive(Debug, thiserror::Error)]
pub enum TuneError {
    /// The history cannot be read, locked or written.
    #[error("cannot {action} `{path}`")]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It is no history.
    #[error("expected a tuning history in `{path}`, but it cannot be understood")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Where, and why.
        #[source]
        source: serde_json::Error,
    },
    /// It is a history that another version wrote.
    #[error(
        "expected a tuning history of format {expected} in `{path}`, but it has format {found}"
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// What this version reads.
        expected: u64,
        /// What the file says.
        found: u64,
    },
    /// It was changed by something else than this program.
    #[error("the tuning history in `{path}` is not as it was written: {problem}")]
    Broken {
        /// The file.
        path: PathBuf,
        /// Where, and how.
        problem: Break,
    },
    /// A change without a reason cannot be judged later.
    #[error("expected a reason with words in it, for the history to keep")]
    NoReason,
    /// `apply` was asked for the proposal, but there is none.
    #[error("there is no proposal to apply: name a parameter and a value")]
    NothingProposed,
    /// The last change is undone already, or there was none.
    #[error("there is no change to go back from")]
    NothingToRevert,
    /// A time by hand would be in the way of every later change.
    #[error(
        "expected a moment that is not later than now, {}, to go back at, but {} was given by hand; \
         without it the clock's time is taken", shown(*clock_ns), shown(*asked_ns)
    )]
    NotYet {
        /// What was given, in nanoseconds since 1970.
        asked_ns: u64,
        /// What the clock shows.
        clock_ns: u64,
    },
    /// Only the last change can be undone at any time.
    #[error("the last change was one of {last}, and only the last one can be gone back from")]
    NotTheLast {
        /// What was changed last.
        last: Parameter,
    },
    /// The results of `diagnose` cannot be read.
    #[error("cannot read the diagnosis in `{path}`")]
    Diagnosis {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// They are something else.
    #[error("expected a diagnosis in `{path}`, but it cannot be understood")]
    NoDiagnosis {
        /// The file.
        path: PathBuf,
        /// Where, and why.
        #[source]
        source: serde_json::Error,
    },
}
