//! What all outcomes together say.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::{Outcome, OutcomesError, store};
use crate::journal::Record;

/// Times that differ by no more than this share are the same: some tables keep them as float32.
const SAME_TIME: f64 = 1e-6;

/// The truths that are known, one a conversation. Of outcomes that contradict each other, the one
/// that was written down later counts.
#[derive(Debug, Clone, Default)]
pub struct OutcomeSet {
    /// In the order in which they became known; nothing where one turned out to be another.
    outcomes: Vec<Option<Outcome>>,
    /// By either name.
    by_name: HashMap<String, usize>,
    /// When the last line about it was written, which may have said nothing new; as `outcomes`.
    last_ns: Vec<u64>,
    merged: usize,
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
    /// Another name of a conversation whose truth was known.
    Name,
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
        self.by_name.get(id).and_then(|index| self.outcomes[*index].as_ref())
    }

    /// What is known of the conversation that a request asked about, by its `test_pk`, or else by its
    /// `session_id`.
    pub fn of(&self, record: &Record) -> Option<&Outcome> {
        record.names().find_map(|name| self.get(name))
    }

    /// Of how many conversations the truth is known.
    pub fn len(&self) -> usize {
        self.outcomes.len() - self.merged
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is known, a conversation each, in the order in which they became known at first.
    pub fn iter(&self) -> impl Iterator<Item = &Outcome> {
        self.outcomes.iter().flatten()
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

    /// What is known of the conversation that `outcome` is about, by either of its names.
    pub(super) fn earlier(&self, outcome: &Outcome) -> Option<&Outcome> {
        self.get(&outcome.id).or_else(|| self.under_other(outcome))
    }

    /// When the last line was written that is about it, by either name.
    pub(super) fn last_ns(&self, outcome: &Outcome) -> Option<u64> {
        let other = self.under_other(outcome).map(|other| &other.id);
        let places = [Some(&outcome.id), other].into_iter().flatten();
        places.filter_map(|name| Some(self.last_ns[*self.by_name.get(name)?])).max()
    }

    /// What is known under its second name alone. Several conversations may be of one session, so one
    /// whose `test_pk` is known is another.
    fn under_other(&self, outcome: &Outcome) -> Option<&Outcome> {
        let also = outcome.also.as_ref()?;
        self.get(also).filter(|known| known.id == *also && known.also.is_none())
    }

    /// What `outcome` would add.
    pub(super) fn compare(&self, outcome: &Outcome) -> Added {
        let Some(known) = self.earlier(outcome) else { return Added::New };
        let nothing = if self.names_more(outcome) { Added::Name } else { Added::Nothing };
        if known.converted != outcome.converted {
            return Added::Contradiction;
        }
        match (known.time_seconds, outcome.time_seconds) {
            (_, None) => nothing,
            (None, Some(_)) => Added::Time,
            (Some(known), Some(time)) if (known - time).abs() <= SAME_TIME * known.max(time) => {
                nothing
            }
            (Some(_), Some(_)) => Added::Contradiction,
        }
    }

    /// Whether its second name would lead to it, and does not yet.
    fn names_more(&self, outcome: &Outcome) -> bool {
        let is_free = |also: &String| !self.by_name.contains_key(also);
        self.under_other(outcome).is_some() || outcome.also.as_ref().is_some_and(is_free)
    }

    /// Takes an outcome that was written down after all others.
    pub(super) fn add(&mut self, outcome: Outcome) -> Added {
        let added = self.compare(&outcome);
        let mut counts = outcome.clone();
        if let Some(earlier) = self.earlier(&outcome).cloned() {
            if matches!(added, Added::Name | Added::Nothing) {
                counts = Outcome { id: counts.id, also: counts.also, ..earlier.clone() };
            }
            // It keeps its second name, though it may be called by one of them now.
            if earlier.also.is_some() {
                (counts.id, counts.also) = (earlier.id.clone(), earlier.also.clone());
            }
            if added == Added::Contradiction {
                self.contradictions.push(Contradiction { earlier, later: outcome.clone() });
            }
        }
        let last_ns = self.last_ns(&outcome).unwrap_or(0).max(outcome.known_ns);
        let index = self.name(outcome);
        (self.outcomes[index], self.last_ns[index]) = (Some(counts), last_ns);
        added
    }

    /// Lets the names of `outcome` lead to one place, which is given back.
    fn name(&mut self, outcome: Outcome) -> usize {
        let other = self.under_other(&outcome).map(|other| self.by_name[&other.id]);
        let index = match (self.by_name.get(&outcome.id), other) {
            (Some(&index), Some(other)) => {
                self.outcomes[other] = None;
                self.merged += 1;
                index
            }
            (Some(&index), None) | (None, Some(index)) => index,
            (None, None) => {
                self.outcomes.push(None);
                self.last_ns.push(0);
                self.outcomes.len() - 1
            }
        };
        if let Some(also) = outcome.also {
            let place = self.by_name.entry(also).or_insert(index);
            if other == Some(*place) {
                *place = index;
            }
        }
        self.by_name.insert(outcome.id, index);
        index
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(converted: bool, time_seconds: Option<f64>) -> Outcome {
        let (id, source) = ("a".to_owned(), "test".to_owned());
        Outcome { id, also: None, converted, time_seconds, known_ns: 1, source }
    }

    fn named(id: &str, also: Option<&str>, converted: bool) -> Outcome {
        let (id, also) = (id.to_owned(), also.map(str::to_owned));
        Outcome { id, also, ..outcome(converted, None) }
    }

    fn of(set: &OutcomeSet, test_pk: Option<&str>, session_id: Option<&str>) -> Option<bool> {
        let (test_pk, session_id) = (test_pk.map(str::to_owned), session_id.map(str::to_owned));
        let record = Record { test_pk, session_id, ..Record::sample("", 1) };
        set.of(&record).map(|outcome| outcome.converted)
    }

    #[test]
    fn a_conversation_of_two_names_is_found_by_either() {
        for first_by_session in [false, true] {
            let mut set = OutcomeSet::default();
            if first_by_session {
                assert_eq!(set.add(named("s", None, true)), Added::New);
                assert_eq!(set.add(named("p", Some("s"), true)), Added::Name);
            } else {
                assert_eq!(set.add(named("p", Some("s"), true)), Added::New);
            }
            assert_eq!(set.add(named("p", Some("s"), true)), Added::Nothing);
            assert_eq!(set.len(), 1);
            for (test_pk, session_id, expected) in [
                (Some(" p\n"), None, Some(true)),
                (None, Some(" s "), Some(true)),
                (Some("  "), Some("s"), Some(true)),
                (Some("unknown"), Some("s"), Some(true)),
                (Some(""), Some(""), None),
                (Some("unknown"), None, None),
            ] {
                assert_eq!(of(&set, test_pk, session_id), expected, "{test_pk:?} {session_id:?}");
            }
            // Whichever name it is called by: what is said later counts.
            assert_eq!(set.add(named("s", None, false)), Added::Contradiction);
            assert_eq!(of(&set, Some("p"), None), Some(false));
            assert_eq!((set.len(), set.contradictions().len()), (1, 1));
        }
    }

    #[test]
    fn conversations_of_one_session_stay_apart() {
        let mut set = OutcomeSet::default();
        for added in [Added::New, Added::Nothing] {
            assert_eq!(set.add(named("p", Some("s"), true)), added);
            assert_eq!(set.add(named("q", Some("s"), false)), added);
        }
        assert_eq!(
            (of(&set, Some("p"), Some("s")), of(&set, Some("q"), Some("s"))),
            (Some(true), Some(false))
        );
        assert_eq!((set.len(), set.contradictions().len()), (2, 0));
    }

    #[test]
    fn two_names_that_were_known_apart_become_one_conversation() {
        let mut set = OutcomeSet::default();
        set.add(named("p", None, true));
        set.add(named("s", None, false));
        assert_eq!(set.add(named("p", Some("s"), true)), Added::Name);
        assert_eq!(of(&set, None, Some("s")), Some(true));
        assert_eq!((set.len(), set.iter().count()), (1, 1));
        assert_eq!(set.add(named("p", Some("s"), true)), Added::Nothing);
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
