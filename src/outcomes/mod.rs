//! What really happened: the truth of conversations, as far as it is known, by their names.
//!
//! The store is a folder of `*.jsonl` files, a line an [`Outcome`], to which is only ever added:
//! [`append`] writes what is not known yet, and [`OutcomeSet`] is what all lines together say.

pub mod api;
mod error;
mod import;
mod set;
mod store;

use serde::{Deserialize, Serialize};

use crate::subnet::reward::{NOT_CONVERTED, Truth};

pub use error::OutcomesError;
pub use import::{Imported, Refused, import};
pub use set::{Contradiction, OutcomeSet, Unreadable};
pub use store::{Appended, Store, append};

/// What really happened to one conversation: a line of the outcomes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The conversation's name: its `test_pk`, or else its `session_id`.
    pub id: String,
    /// Its `session_id`, where the name is a `test_pk` and both are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub also: Option<String>,
    /// Whether it converted.
    pub converted: bool,
    /// After how many seconds; absent where that is not known, and for those that did not convert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_seconds: Option<f64>,
    /// When it was written down, in nanoseconds since 1970.
    pub known_ns: u64,
    /// Where it comes from: the name of a file, or `api`.
    pub source: String,
}

impl Outcome {
    /// The truth that a reward is computed with. Where it converted after nobody knows how long, the
    /// time is NaN: no answer earns anything for its time then, and no model learns it.
    pub fn truth(&self) -> Truth {
        let unknown = if self.converted { f64::NAN } else { NOT_CONVERTED };
        let time_seconds = self.time_seconds.filter(|_| self.converted).unwrap_or(unknown);
        Truth { converted: self.converted, time_seconds }
    }

    /// The same without a time that means nothing: of a conversation that did not convert, or one
    /// that is no length of time. Names are without the spaces around them, and each other one once.
    fn cleaned(mut self) -> Outcome {
        self.id = self.id.trim().to_owned();
        self.also = self.also.map(|also| also.trim().to_owned());
        self.also = self.also.filter(|also| !also.is_empty() && *also != self.id);
        let means = |time: &f64| self.converted && time.is_finite() && *time > 0.0;
        self.time_seconds = self.time_seconds.filter(means);
        self
    }
}
