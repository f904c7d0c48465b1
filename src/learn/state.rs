//! What is remembered from one step to the next: `learning.json`.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Evidence, LearnError};
use crate::clock::{DAY_NS, Moment, SECOND_NS};
use crate::files;

/// The version of the file.
const VERSION: u32 = 1;
const FILE: &str = "learning.json";
const LOCK: &str = "learning.lock";
/// Events that are kept; the oldest are forgotten first.
const MOST_EVENTS: usize = 1000;
/// Days for which a diagnosis holds.
const FLAG_DAYS: u64 = 7;
/// A diagnosis may be from so far ahead: the clocks of two machines differ.
const HOUR_NS: u64 = 3600 * SECOND_NS;

/// What is remembered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LearningState {
    version: u32,
    /// When it was last looked at everything, in nanoseconds since 1970.
    #[serde(default)]
    pub looked_ns: Option<u64>,
    /// When it was last looked at whether something has drifted.
    #[serde(default)]
    pub glanced_ns: Option<u64>,
    /// Truths that were known by then have been learned from.
    #[serde(default)]
    pub learned_known_ns: u64,
    /// When it last learned, or another checkpoint came to be served: a diagnosis from before that
    /// is over.
    #[serde(default)]
    pub changed_ns: Option<u64>,
    /// Whether the last change of the served checkpoint is on record here, but perhaps not made yet.
    #[serde(default)]
    pub changing: bool,
    /// The checkpoint that answers in shadow.
    #[serde(default)]
    pub rival: Option<Rival>,
    /// What happened, the oldest first.
    #[serde(default)]
    pub events: Vec<Event>,
}

/// A checkpoint that answers in shadow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rival {
    /// Its name.
    pub checkpoint: String,
    /// The served checkpoint that it is compared with.
    pub champion: String,
    /// Why it is there.
    pub kind: RivalKind,
    /// Since when, in nanoseconds since 1970.
    pub since_ns: u64,
    /// Only what was answered later is evidence.
    pub after_ns: u64,
    /// How often it was tested whether it earns more.
    #[serde(default)]
    pub looks: u32,
}

/// Why a checkpoint answers in shadow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RivalKind {
    /// It has learned, and may be promoted.
    Challenger,
    /// It was served until lately, and may come back.
    Former,
}

/// Something that happened to a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When, RFC 3339 in UTC.
    pub at: String,
    /// What.
    pub event: EventKind,
    /// The checkpoint.
    pub checkpoint: String,
    /// The other one: who was served before, or, where that did not change, who is.
    pub other: String,
    /// Why.
    pub reason: String,
    /// What it rests on, where it rests on answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
}

/// What can happen to a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// It was made, and answers in shadow.
    Learned,
    /// It is served from now on, for what it showed in shadow.
    Promoted,
    /// It is served again, for what it showed in shadow.
    Restored,
    /// It answers in shadow no more.
    Dropped,
    /// An operator let it be served.
    Chosen,
    /// An operator went back to it.
    RolledBack,
}

impl EventKind {
    /// Whether another checkpoint is served from then on.
    pub fn changes_latest(self) -> bool {
        !matches!(self, EventKind::Learned | EventKind::Dropped)
    }

    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            EventKind::Learned => "learned",
            EventKind::Promoted => "promoted",
            EventKind::Restored => "restored",
            EventKind::Dropped => "dropped",
            EventKind::Chosen => "chosen",
            EventKind::RolledBack => "rolled back",
        }
    }
}

impl Default for LearningState {
    fn default() -> Self {
        LearningState {
            version: VERSION,
            looked_ns: None,
            glanced_ns: None,
            learned_known_ns: 0,
            changed_ns: None,
            changing: false,
            rival: None,
            events: Vec::new(),
        }
    }
}

impl LearningState {
    /// Takes what lies in the future, as a clock that was ahead has left it, for over: else nothing
    /// would be due until then.
    pub(super) fn not_after(&mut self, now_ns: u64) {
        self.looked_ns = self.looked_ns.filter(|at| *at <= now_ns);
        self.glanced_ns = self.glanced_ns.filter(|at| *at <= now_ns);
        self.changed_ns = self.changed_ns.map(|at| at.min(now_ns));
        self.learned_known_ns = self.learned_known_ns.min(now_ns);
        if let Some(rival) = &mut self.rival {
            rival.since_ns = rival.since_ns.min(now_ns);
            rival.after_ns = rival.after_ns.min(now_ns);
        }
    }

    /// Whether a diagnosis of this moment, which said that something drifted, still holds.
    pub(super) fn is_flagged(&self, flagged_ns: u64, now_ns: u64) -> bool {
        let is_fresh = flagged_ns >= now_ns.saturating_sub(FLAG_DAYS * DAY_NS)
            && flagged_ns <= now_ns.saturating_add(HOUR_NS);
        is_fresh && self.changed_ns.is_none_or(|changed| flagged_ns > changed)
    }

    /// Adds an event.
    pub(super) fn tell(
        &mut self,
        now_ns: u64,
        event: EventKind,
        (checkpoint, other): (&str, &str),
        reason: String,
        evidence: Option<Evidence>,
    ) {
        if event != EventKind::Dropped {
            self.changed_ns = Some(now_ns);
        }
        self.events.push(Event {
            at: Moment::of_ns(now_ns).rfc3339(),
            event,
            checkpoint: checkpoint.to_owned(),
            other: other.to_owned(),
            reason,
            evidence,
        });
        let surplus = self.events.len().saturating_sub(MOST_EVENTS);
        self.events.drain(..surplus);
    }

    /// Writes it into a folder, which is made if it is not there.
    pub(super) fn write(&self, folder: &Path) -> Result<(), LearnError> {
        let path = folder.join(FILE);
        let failed = |source| LearnError::State { doing: "write", path: path.clone(), source };
        fs::create_dir_all(folder).map_err(failed)?;
        let mut text = serde_json::to_vec_pretty(self)
            .expect("our own types with string keys are always JSON. This is a bug.");
        text.push(b'\n');
        files::write_atomically(&path, &text).map_err(failed)
    }
}

/// What is remembered in a folder. A file that is damaged is set aside under another name, whose path
/// is the second result, and nothing is remembered then.
///
/// # Errors
///
/// If the file cannot be read, or set aside.
pub fn read(folder: &Path, now_ns: u64) -> Result<(LearningState, Option<PathBuf>), LearnError> {
    let path = folder.join(FILE);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok((LearningState::default(), None));
        }
        Err(source) => return Err(LearnError::State { doing: "read", path, source }),
    };
    match serde_json::from_slice::<LearningState>(&bytes) {
        Ok(state) if state.version == VERSION => Ok((state, None)),
        _ => {
            let aside = path.with_extension(format!("damaged-{now_ns}"));
            fs::rename(&path, &aside).map_err(|source| LearnError::State {
                doing: "set aside",
                path: path.clone(),
                source,
            })?;
            Ok((LearningState::default(), Some(aside)))
        }
    }
}

/// Held by who learns or changes which checkpoint is served; until it is dropped.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "it is held, not read")] File);

/// Locks a state folder, which is made if it is not there.
pub(super) fn lock(folder: &Path) -> Result<Lock, LearnError> {
    let path = folder.join(LOCK);
    let failed = |source| LearnError::State { doing: "lock", path: path.clone(), source };
    fs::create_dir_all(folder).map_err(failed)?;
    let file = File::create(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => Err(LearnError::Busy { path }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_damage_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("state");
        assert_eq!(read(&folder, 5).unwrap(), (LearningState::default(), None));
        let mut state = LearningState { looked_ns: Some(7), ..LearningState::default() };
        for number in 0..1002 {
            let reason = number.to_string();
            state.tell(0, EventKind::Dropped, ("a", "b"), reason, None);
        }
        assert_eq!((state.events.len(), state.events[0].reason.as_str()), (1000, "2"));
        state.write(&folder).unwrap();
        assert_eq!(read(&folder, 5).unwrap(), (state.clone(), None));
        for damage in ["{", "{\"version\": 2}"] {
            fs::write(folder.join(FILE), damage).unwrap();
            let (found, aside) = read(&folder, 5).unwrap();
            assert_eq!(found, LearningState::default());
            assert_eq!(fs::read(aside.unwrap()).unwrap(), damage.as_bytes());
        }
    }

    #[test]
    fn the_future_is_over() {
        let rival = Rival {
            checkpoint: "a".to_owned(),
            champion: "b".to_owned(),
            kind: RivalKind::Challenger,
            since_ns: 20,
            after_ns: 9,
            looks: 0,
        };
        let mut state = LearningState {
            looked_ns: Some(11),
            glanced_ns: Some(10),
            learned_known_ns: 11,
            rival: Some(rival),
            ..LearningState::default()
        };
        state.not_after(10);
        assert_eq!(
            (state.looked_ns, state.glanced_ns, state.learned_known_ns),
            (None, Some(10), 10)
        );
        let rival = state.rival.unwrap();
        assert_eq!((rival.since_ns, rival.after_ns), (10, 9));
    }

    #[test]
    fn a_diagnosis_holds_until_something_changed() {
        let mut state = LearningState::default();
        let now_ns = 100 * DAY_NS;
        let held = |state: &LearningState| {
            [93 * DAY_NS - 1, 93 * DAY_NS, now_ns + HOUR_NS, now_ns + HOUR_NS + 1]
                .map(|at_ns| state.is_flagged(at_ns, now_ns))
        };
        assert_eq!(held(&state), [false, true, true, false]);
        state.tell(94 * DAY_NS, EventKind::Dropped, ("a", "b"), String::new(), None);
        assert_eq!(held(&state), [false, true, true, false]);
        state.tell(94 * DAY_NS, EventKind::Learned, ("a", "b"), String::new(), None);
        assert_eq!(held(&state), [false, false, true, false]);
    }

    #[test]
    fn one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let held = lock(folder.path()).unwrap();
        assert!(matches!(lock(folder.path()), Err(LearnError::Busy { .. })));
        drop(held);
        lock(folder.path()).unwrap();
    }
}
