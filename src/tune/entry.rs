//! One entry of the history, sealed by a hash.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::parameter::{Limit, Parameter};
use super::rules::Rules;

/// What the first entry names as the one before it.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// One entry of the history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its number, from 1.
    pub number: u64,
    /// When it was made, in nanoseconds since 1970.
    pub time_ns: u64,
    /// Whether that time was given by hand: no clock showed it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_time_by_hand: bool,
    /// What happened.
    pub event: Event,
    /// The hash of the entry before it, or [`GENESIS`].
    pub previous: String,
    /// SHA-256 of all of the above, as hexadecimal.
    pub hash: String,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// Mining began; the first entry, and only that.
    Started {
        /// Who wrote it down.
        by: Starter,
    },
    /// A change was found to be allowed, and not yet made.
    Proposed {
        /// What is to change.
        parameter: Parameter,
        /// Its value at the time.
        from: f64,
        /// Its value to be.
        to: f64,
        /// Why.
        reason: String,
    },
    /// A value was changed.
    Applied {
        /// What changed.
        parameter: Parameter,
        /// Its value before.
        from: f64,
        /// Its value since.
        to: f64,
        /// Why.
        reason: String,
        /// The number of the entry that proposed it, if one did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        proposal: Option<u64>,
        /// The rules that it was held to.
        rules: Rules,
        /// The limits that it was held to.
        limit: Limit,
    },
    /// A change was undone.
    Reverted {
        /// What changed.
        parameter: Parameter,
        /// Its value before.
        from: f64,
        /// Its value since, which it had before the change.
        to: f64,
        /// Why.
        reason: String,
        /// The number of the entry that is undone.
        change: u64,
    },
}

impl Event {
    /// The parameter that it is about, if it is about one.
    pub fn parameter(&self) -> Option<Parameter> {
        match self {
            Event::Started { .. } => None,
            Event::Proposed { parameter, .. }
            | Event::Applied { parameter, .. }
            | Event::Reverted { parameter, .. } => Some(*parameter),
        }
    }
}

/// Who wrote down that mining began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Starter {
    /// The miner, when it first ran.
    Serve,
    /// The first command that would have changed something.
    Tune,
}

/// A value that was changed, by `Applied` or by `Reverted`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Change {
    pub(super) number: u64,
    pub(super) time_ns: u64,
    pub(super) parameter: Parameter,
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) is_revert: bool,
}

/// What is sealed: an entry but for its hash.
#[derive(Serialize)]
struct Sealed<'a> {
    number: u64,
    time_ns: u64,
    is_time_by_hand: bool,
    event: &'a Event,
    previous: &'a str,
}

impl Entry {
    /// The entry with its hash.
    pub(super) fn seal(mut self) -> Entry {
        self.hash = self.computed_hash();
        self
    }

    /// The hash that it must have.
    pub(super) fn computed_hash(&self) -> String {
        let Entry { number, time_ns, is_time_by_hand, event, previous, hash: _ } = self;
        let sealed = Sealed {
            number: *number,
            time_ns: *time_ns,
            is_time_by_hand: *is_time_by_hand,
            event,
            previous,
        };
        let bytes = serde_json::to_vec(&sealed)
            .expect("numbers, texts and lists of them can be written as JSON. This is a bug.");
        hex::encode(Sha256::digest(bytes))
    }

    /// The change that it made, if it made one.
    pub(super) fn change(&self) -> Option<Change> {
        let (parameter, from, to, is_revert) = match &self.event {
            Event::Applied { parameter, from, to, .. } => (*parameter, *from, *to, false),
            Event::Reverted { parameter, from, to, .. } => (*parameter, *from, *to, true),
            Event::Started { .. } | Event::Proposed { .. } => return None,
        };
        let (number, time_ns) = (self.number, self.time_ns);
        Some(Change { number, time_ns, parameter, from, to, is_revert })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ```python
    /// import hashlib
    /// content = ('{"number":1,"time_ns":1000,"is_time_by_hand":false,'
    ///            '"event":{"kind":"started","by":"serve"},"previous":"' + "0" * 64 + '"}')
    /// print(hashlib.sha256(content.encode()).hexdigest())
    /// ```
    #[test]
    fn the_hash_is_that_of_the_content() {
        let entry = Entry {
            number: 1,
            time_ns: 1000,
            is_time_by_hand: false,
            event: Event::Started { by: Starter::Serve },
            previous: GENESIS.to_owned(),
            hash: String::new(),
        };
        let expected = "c8aa31baa89855e9320c515621c60f79326380bdfc0c73e44a8e7cdfaf4be1d9";
        assert_eq!(entry.clone().seal().hash, expected);
        let other = Entry { is_time_by_hand: true, ..entry };
        assert_ne!(other.computed_hash(), expected);
    }
}
