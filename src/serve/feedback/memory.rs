//! What was asked lately, in little room.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::clock::DAY_NS;
use crate::journal::Record;
use crate::subnet::reward::Answer;

/// How long an answer is remembered.
pub(super) const REMEMBERED_NS: u64 = 30 * DAY_NS;
/// How many answers are remembered at most, the latest ones: some 40 MB.
const MOST: usize = 200_000;
/// No conversation has a longer name. Who sends one only wants to fill the memory.
const LONGEST_ID: usize = 256;

/// What is remembered of an answer.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) id: Box<str>,
    /// Its other name, where it has two.
    pub(super) other: Option<Box<str>>,
    pub(super) model: Arc<str>,
    pub(super) checkpoint: Arc<str>,
    pub(super) coverage: f64,
    pub(super) raw_probability: Option<f64>,
    pub(super) answer: Answer,
    pub(super) response_time_seconds: f64,
}

/// When, by whom and with which nonce: in the order in which answers are scored.
type Key = (u64, Arc<str>, u64);

/// The latest answers whose truth may become known.
#[derive(Debug, Default)]
pub(super) struct Memory {
    asked: BTreeMap<Key, Asked>,
    /// Who asked with which nonce: a request counts once, as in `replay`, whenever it was answered.
    requests: HashSet<(Arc<str>, u64)>,
    /// Validators, models and checkpoints: a few names that stand in every answer.
    names: HashSet<Arc<str>>,
}

impl Memory {
    /// Remembers an answer, unless it is remembered already, or has no name under which its truth
    /// could become known. Whether it is new.
    pub(super) fn add(&mut self, record: &Record) -> bool {
        let Some(id) = record.id().filter(|id| id.len() <= LONGEST_ID) else { return false };
        let validator = self.name(&record.validator);
        if !self.requests.insert((Arc::clone(&validator), record.nonce)) {
            return false;
        }
        let asked = Asked {
            id: id.into(),
            other: record
                .names()
                .find(|name| *name != id && name.len() <= LONGEST_ID)
                .map(Box::from),
            model: self.name(&record.model),
            checkpoint: self.name(&record.checkpoint),
            coverage: record.coverage,
            raw_probability: record.raw_probability,
            answer: record.answer.into(),
            response_time_seconds: record.response_time_seconds,
        };
        self.asked.insert((record.time_ns, validator, record.nonce), asked);
        if self.asked.len() > MOST {
            self.forget_first();
        }
        true
    }

    /// Forgets what is older. Whether there was anything.
    pub(super) fn forget_before(&mut self, time_ns: u64) -> bool {
        let before = self.asked.len();
        while self.asked.first_key_value().is_some_and(|((time, ..), _)| *time < time_ns) {
            self.forget_first();
        }
        self.asked.len() < before
    }

    fn forget_first(&mut self) {
        if let Some(((_, validator, nonce), _)) = self.asked.pop_first() {
            self.requests.remove(&(validator, nonce));
        }
    }

    /// When, by whom and what, in the order in which it is scored.
    pub(super) fn in_order(&self) -> impl Iterator<Item = (u64, &str, &Asked)> {
        self.asked.iter().map(|((time_ns, validator, _), asked)| (*time_ns, &**validator, asked))
    }

    /// How many answers are remembered.
    pub(super) fn len(&self) -> usize {
        self.asked.len()
    }

    /// When the latest one was given.
    pub(super) fn latest_ns(&self) -> Option<u64> {
        self.asked.last_key_value().map(|((time_ns, ..), _)| *time_ns)
    }

    fn name(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.names.get(name) {
            return Arc::clone(known);
        }
        let name: Arc<str> = name.into();
        self.names.insert(Arc::clone(&name));
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_once_and_in_order() {
        let mut memory = Memory::default();
        for (id, time_ns) in [("c", 3), ("a", 1), ("b", 2), ("a", 1)] {
            let is_new = memory.add(&Record::sample(id, time_ns));
            assert_eq!(is_new, (id, memory.len()) != ("a", 3), "{id}");
        }
        let nameless = Record { session_id: None, ..Record::sample("d", 4) };
        assert!(!memory.add(&nameless) && !memory.add(&Record::sample(&"x".repeat(257), 5)));
        let ids: Vec<&str> = memory.in_order().map(|(_, _, asked)| &*asked.id).collect();
        assert_eq!((ids, memory.latest_ns()), (vec!["a", "b", "c"], Some(3)));
        let mut other = Record::sample("a", 1);
        other.nonce = 9;
        assert!(memory.add(&other), "asked again about the same conversation");
        let again = Record { time_ns: 8, ..other };
        assert!(!memory.add(&again), "the same request, answered twice");
        assert!(memory.forget_before(2) && !memory.forget_before(2));
        assert_eq!(memory.len(), 2);
        assert!(memory.add(&again), "what is forgotten is new");
        assert!(memory.forget_before(9) && memory.requests.is_empty());
    }
}
