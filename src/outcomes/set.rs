//! What all outcomes together say.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::{Outcome, OutcomesError, store};

/// Times that differ by no more than this share are the same: some tables keep them as float32.
const SAME_TIME: f64 = 1e-6;

/// The truths that are known, one a conversation. Of outcomes that contradict each other, the one
/// that was written down later counts.
#[derive(Debug, Clone, Default)]
pub struct OutcomeSet {
    outcomes: Vec<Outcome>,
    by_id: HashMap<String, usize>,
    contradictions: Vec<Contradiction>,
    pub(super) torn: usize,
    pub(super) unreadable: Vec<Unreadable>,
}

/// Two outcomes of one conversation, of which one at most can be right.
#[derive(Debug, Clone, PartialEq)]
pub struct Contradiction {
    /// What was said first.
    pub earlier: Outcome,
    /// What was said later, and counts.
    pub later: Outcome,
}

/// A line of the store that is no outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The file.
    pub path: PathBuf,
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

/// What an outcome adds to what is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Added {
    /// A conversation of which nothing was known.
    New,
    /// The time of one that was known to have converted.
    Time,
    /// Nothing.
    Nothing,
    /// Another truth than was known.
    Contradiction,
}

impl OutcomeSet {
    /// Reads all `*.jsonl` files of a folder. A folder that is not there holds no outcomes, and
    /// lines that are none are passed over and told by [`OutcomeSet::unreadable`].
    ///
    /// # Errors
    ///
    /// If the folder or a file is there and cannot be read.
    pub fn read(folder: &Path) -> Result<OutcomeSet, OutcomesError> {
        store::read(folder)
    }

    /// What is known of a conversation, by its `test_pk` or `session_id`.
    pub fn get(&self, id: &str) -> Option<&Outcome> {
        self.by_id.get(id).map(|index| &self.outcomes[*index])
    }

    /// Of how many conversations the truth is known.
    pub fn len(&self) -> usize {
        self.outcomes.len()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.outcomes.is_empty()
    }

    /// What is known, a conversation each, in the order in which they became known at first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Outcome> {
        self.outcomes.iter()
    }

    /// What was said differently at some time, in the order in which that was noticed.
    pub fn contradictions(&self) -> &[Contradiction] {
        &self.contradictions
    }

    /// How many files end in the beginning of a line, which a crash leaves behind, or which somebody
    /// is just writing.
    pub fn torn(&self) -> usize {
        self.torn
    }

    /// The lines that are no outcomes.
    pub fn unreadable(&self) -> &[Unreadable] {
        &self.unreadable
    }

    /// What `outcome` would add.
    pub(super) fn compare(&self, outcome: &Outcome) -> Added {
        let Some(known) = self.get(&outcome.id) else { return Added::New };
        if known.converted != outcome.converted {
            return Added::Contradiction;
        }
        match (known.time_seconds, outcome.time_seconds) {
            (_, None) => Added::Nothing,
            (None, Some(_)) => Added::Time,
            (Some(known), Some(time)) if (known - time).abs() <= SAME_TIME * known.max(time) => {
                Added::Nothing
            }
            (Some(_), Some(_)) => Added::Contradiction,
        }
    }

    /// Takes an outcome that was written down after all others.
    pub(super) fn add(&mut self, outcome: Outcome) -> Added {
        let added = self.compare(&outcome);
        match (added, self.by_id.get(&outcome.id)) {
            (Added::Contradiction, Some(&index)) => {
                let earlier = std::mem::replace(&mut self.outcomes[index], outcome.clone());
                self.contradictions.push(Contradiction { earlier, later: outcome });
            }
            (Added::Time, Some(&index)) => self.outcomes[index] = outcome,
            (Added::New, _) => {
                self.by_id.insert(outcome.id.clone(), self.outcomes.len());
                self.outcomes.push(outcome);
            }
            _ => (),
        }
        added
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(converted: bool, time_seconds: Option<f64>) -> Outcome {
        let (id, source) = ("a".to_owned(), "test".to_owned());
        Outcome { id, converted, time_seconds, known_ns: 1, source }
    }

    #[test]
    fn what_says_more_wins_and_what_says_otherwise_contradicts() {
        for (first, second, added, time) in [
            ((true, None), (true, Some(62.0)), Added::Time, Some(62.0)),
            ((true, Some(62.0)), (true, None), Added::Nothing, Some(62.0)),
            ((true, Some(62.3)), (true, Some(f64::from(62.3f32))), Added::Nothing, Some(62.3)),
            ((true, Some(62.0)), (true, Some(62.1)), Added::Contradiction, Some(62.1)),
            ((true, Some(62.0)), (false, None), Added::Contradiction, None),
            ((false, None), (true, Some(5.0)), Added::Contradiction, Some(5.0)),
            ((false, None), (false, None), Added::Nothing, None),
        ] {
            let mut set = OutcomeSet::default();
            assert_eq!(set.add(outcome(first.0, first.1)), Added::New);
            assert_eq!(set.add(outcome(second.0, second.1)), added, "{first:?} {second:?}");
            assert_eq!(set.get("a").unwrap().time_seconds, time, "{first:?} {second:?}");
            assert_eq!(set.get("a").unwrap().converted, second.0);
            assert_eq!(set.len(), 1);
            let contradicts = usize::from(added == Added::Contradiction);
            assert_eq!(set.contradictions().len(), contradicts);
        }
    }
}
