//! The history: what was changed, when and why, each entry sealed by the one after it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::entry::{Change, Entry, Event, GENESIS};
use super::file::HEAD_FILE;
use super::parameter::{Parameter, same};
use super::tunables::Tunables;

/// The format of the file that is written and read.
pub(super) const FORMAT: u64 = 1;

/// What was changed, when and why.
///
/// Each entry carries the SHA-256 of its content and of the entry before it, and the file names the
/// last one: no entry can be edited, removed or moved without a trace in the file. A witness beside
/// it, [`HEAD_FILE`], knows how many entries there were and the hash of the last
/// one: a history whose last entries were cut off, that was computed anew, that an older copy
/// replaced, or whose file is gone, shows too, and is refused.
///
/// This protects against mistakes, and against impatience with the rules: nothing that is done to
/// one file alone goes unnoticed. It does not protect against who means it: there is no secret in
/// the files, so who changes both in step, or removes both, leaves no trace in them. The head is
/// another one then, for whoever has noted it elsewhere: `convminer tune history` prints it. Nor
/// can it tell whether the clock was right.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    entries: Vec<Entry>,
}

/// The file's content.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    pub(super) format: u64,
    /// The hash of the last entry.
    pub(super) head: String,
    pub(super) entries: Vec<Entry>,
}

/// Where a history is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Break {
    /// There are no entries.
    #[error("it has no entry, not even that mining began")]
    Empty,
    /// An entry has another number than its place.
    #[error("entry {entry} says that it is entry {found}: some were removed, added or moved")]
    Number {
        /// Its place.
        entry: u64,
        /// What it says.
        found: u64,
    },
    /// An entry has another content than when it was made.
    #[error("entry {entry} was edited")]
    Hash {
        /// Its number.
        entry: u64,
    },
    /// An entry was made after another one than the one before it.
    #[error("entry {entry} was made after another entry than the one that is before it now")]
    Previous {
        /// Its number.
        entry: u64,
    },
    /// An entry is older than the one before it.
    #[error("entry {entry} is older than the one before it")]
    Time {
        /// Its number.
        entry: u64,
    },
    /// The first entry must say that mining began, and only that one can.
    #[error("entry {entry} is {}", if *entry == 1 { "not the start" } else { "a second start" })]
    Start {
        /// Its number.
        entry: u64,
    },
    /// An entry changes a value that was not so, or to what cannot be.
    #[error("entry {entry} makes a change that was not possible then")]
    Change {
        /// Its number.
        entry: u64,
    },
    /// The file is gone.
    #[error("the file is missing, and with it {had} entries that `{HEAD_FILE}` knows of")]
    Gone {
        /// How many entries it had.
        had: u64,
    },
    /// Its last entries are gone.
    #[error("it has {has} entries, but `{HEAD_FILE}` knows of {had}: the last ones are missing")]
    Cut {
        /// How many entries it has.
        has: u64,
        /// How many it had.
        had: u64,
    },
    /// It is another history.
    #[error("entry {entry} is not the one that `{HEAD_FILE}` knows of: it was replaced")]
    Replaced {
        /// The number of the entry that was the last one.
        entry: u64,
    },
    /// The witness is gone, or an older one.
    #[error(
        "it has {has} entries, but `{HEAD_FILE}` beside it {}: that file was removed or is an older \
         one", if *had == 0 { "is missing".to_owned() } else { format!("knows of {had} only") }
    )]
    Unwitnessed {
        /// How many entries it has.
        has: u64,
        /// How many the witness knows of.
        had: u64,
    },
    /// The witness cannot be understood.
    #[error(
        "`{HEAD_FILE}` beside it, which says how many entries there were, cannot be understood"
    )]
    Witness,
    /// The last entry is not the one that the file names.
    #[error(
        "entry {entry} is not the one that the file names as its last: later ones were removed, or \
         it was edited"
    )]
    Head {
        /// The last entry's number.
        entry: u64,
    },
}

/// A change that was proposed and not yet made.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Proposal {
    /// The number of its entry.
    pub number: u64,
    /// What is to change.
    pub parameter: Parameter,
    /// Its value to be.
    pub to: f64,
    /// Why.
    pub reason: String,
}

impl History {
    /// What a file says, and where it is not as it was written.
    pub(super) fn check(document: Document) -> (History, Option<Break>) {
        let history = History { entries: document.entries };
        let problem = history.problem(&document.head);
        (history, problem)
    }

    pub(super) fn document(&self) -> Document {
        Document { format: FORMAT, head: self.head().to_owned(), entries: self.entries.clone() }
    }

    /// All entries, the oldest first.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The hash of the last entry, which stands for all of them.
    pub fn head(&self) -> &str {
        self.entries.last().map_or(GENESIS, |entry| &entry.hash)
    }

    /// When mining began, in nanoseconds since 1970; none where that is not recorded.
    pub fn started_ns(&self) -> Option<u64> {
        self.entries.first().map(|entry| entry.time_ns)
    }

    /// The values in force.
    pub fn current(&self) -> Tunables {
        let mut tunables = Tunables::default();
        for change in self.changes() {
            tunables.set(change.parameter, change.to);
        }
        tunables
    }

    /// The proposal that waits to be applied: the last one, if nothing was changed since.
    pub fn pending(&self) -> Option<Proposal> {
        let later = self.entries.iter().rev().take_while(|entry| entry.change().is_none());
        later.into_iter().find_map(|entry| match &entry.event {
            Event::Proposed { parameter, to, reason, .. } => Some(Proposal {
                number: entry.number,
                parameter: *parameter,
                to: *to,
                reason: reason.clone(),
            }),
            _ => None,
        })
    }

    /// All changes, the oldest first.
    pub(super) fn changes(&self) -> impl DoubleEndedIterator<Item = Change> {
        self.entries.iter().filter_map(Entry::change)
    }

    /// The last change of any parameter.
    pub(super) fn last_change(&self) -> Option<Change> {
        self.changes().next_back()
    }

    /// The last change of one parameter.
    pub(super) fn last_change_of(&self, parameter: Parameter) -> Option<Change> {
        self.changes().rfind(|change| change.parameter == parameter)
    }

    /// Appends an entry.
    pub(super) fn push(&mut self, event: Event, moment: Moment) -> &Entry {
        let entry = Entry {
            number: self.entries.len() as u64 + 1,
            time_ns: moment.ns,
            is_time_by_hand: moment.is_by_hand,
            event,
            previous: self.head().to_owned(),
            hash: String::new(),
        };
        self.entries.push(entry.seal());
        self.entries.last().expect("an entry was pushed just now. This is a bug.")
    }

    fn problem(&self, head: &str) -> Option<Break> {
        let mut tunables = Tunables::default();
        let (mut previous, mut time_ns) = (GENESIS, 0);
        for (number, entry) in (1..).zip(&self.entries) {
            let problem = if entry.number != number {
                Some(Break::Number { entry: number, found: entry.number })
            } else if entry.hash != entry.computed_hash() {
                Some(Break::Hash { entry: number })
            } else if entry.previous != previous {
                Some(Break::Previous { entry: number })
            } else if entry.time_ns < time_ns {
                Some(Break::Time { entry: number })
            } else if matches!(entry.event, Event::Started { .. }) != (number == 1) {
                Some(Break::Start { entry: number })
            } else if entry.change().is_some_and(|change| !follows(&change, &mut tunables)) {
                Some(Break::Change { entry: number })
            } else {
                None
            };
            if problem.is_some() {
                return problem;
            }
            (previous, time_ns) = (&entry.hash, entry.time_ns);
        }
        match self.entries.len() as u64 {
            0 => Some(Break::Empty),
            entry if previous != head => Some(Break::Head { entry }),
            _ => None,
        }
    }
}

/// Whether a change begins where the values are, and leads to what can be. Makes it.
fn follows(change: &Change, tunables: &mut Tunables) -> bool {
    let Change { parameter, from, to, .. } = *change;
    let is_possible = same(tunables.get(parameter), from) && parameter.can_be(to);
    tunables.set(parameter, to);
    is_possible
}

/// When an entry is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    /// Nanoseconds since 1970.
    pub(super) ns: u64,
    /// Whether it was given by hand: no clock showed it.
    pub(super) is_by_hand: bool,
}

impl fmt::Display for Proposal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Proposal { number, parameter, to, reason } = self;
        write!(formatter, "{parameter} to {to} (entry {number}: {reason})")
    }
}
