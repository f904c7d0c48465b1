//! Another checkpoint is served from now on: first it is on record, then it is done.
//!
//! A crash may come between any two writes. What is on record in `learning.json` with `changing` is
//! done, or done again, by whoever comes next, so that who was served before is always known.

use std::path::Path;

use super::challenger::name_of;
use super::hand::served;
use super::state::{Event, EventKind, LearningState};
use super::{Folders, LearnError};
use crate::model::checkpoint::{self, Change, LineageChange};

/// Writes the last event of a state, and who answers in shadow from now on, and then does it. That it
/// is done is for the caller to write.
pub(super) fn record_and_carry_out(
    folders: &Folders,
    state: &mut LearningState,
) -> Result<(), LearnError> {
    state.changing = true;
    state.write(&folders.state)?;
    carry_out(&folders.checkpoints, state)
}

/// Does what is on record, if it is not done yet.
pub(super) fn carry_out(root: &Path, state: &mut LearningState) -> Result<(), LearnError> {
    if !state.changing {
        return Ok(());
    }
    let last = state.events.iter().rev().find(|event| event.event.changes_latest());
    if let Some(event) = last.filter(|event| is_to_do(root, event)) {
        put_in_lineage(root, event)?;
        checkpoint::set_latest(&root.join(&event.checkpoint))?;
        match &state.rival {
            Some(rival) => checkpoint::set_challenger(&root.join(&rival.checkpoint))?,
            None => checkpoint::clear_challenger(root)?,
        }
    }
    state.changing = false;
    Ok(())
}

/// Whether nobody else has changed since which checkpoint is served.
fn is_to_do(root: &Path, event: &Event) -> bool {
    let now = served(root).map(|path| name_of(&path)).unwrap_or_default();
    (now == event.checkpoint || now == event.other) && root.join(&event.checkpoint).is_dir()
}

/// Puts a promotion or demotion on record in a checkpoint that learned, once; one that was trained
/// from nothing has no lineage, and one that cannot be read is left as it is.
fn put_in_lineage(root: &Path, event: &Event) -> Result<(), LearnError> {
    let (change, name, other) = match event.event {
        EventKind::Promoted | EventKind::Chosen => {
            (Change::Promoted, &event.checkpoint, &event.other)
        }
        EventKind::Restored | EventKind::RolledBack => {
            (Change::Demoted, &event.other, &event.checkpoint)
        }
        EventKind::Learned | EventKind::Dropped => return Ok(()),
    };
    let path = root.join(name);
    let lineage = checkpoint::read_manifest(&path).ok().and_then(|manifest| manifest.lineage);
    let Some(mut lineage) = lineage else { return Ok(()) };
    let (at, other, evidence) = (event.at.clone(), other.clone(), event.evidence);
    let change = LineageChange { at, change, other, evidence };
    if lineage.changes.last() != Some(&change) {
        lineage.changes.push(change);
        checkpoint::replace_lineage(&path, lineage)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::challenger::tests::constant;
    use crate::learn::state::{self, Rival, RivalKind};
    use crate::learn::{promote, rollback};
    use crate::model::checkpoint::{LineageRecord, Manifest};

    fn folders(root: &Path) -> Folders {
        let folders = Folders {
            checkpoints: root.join("checkpoints"),
            journal: root.join("journal"),
            outcomes: root.join("outcomes"),
            state: root.join("state"),
        };
        for name in ["first", "second"] {
            let predictor = constant(0.3);
            let lineage = LineageRecord {
                parent: "none".to_owned(),
                truths: 1,
                converted: 0,
                from_ns: 1,
                until_ns: 2,
                sha256: String::new(),
                changes: Vec::new(),
            };
            let manifest = Manifest { lineage: Some(lineage), ..Manifest::of(&predictor) };
            checkpoint::save(&folders.checkpoints.join(name), &predictor, manifest).unwrap();
        }
        checkpoint::set_latest(&folders.checkpoints.join("first")).unwrap();
        folders
    }

    fn changes(folders: &Folders, name: &str) -> Vec<(Change, String)> {
        let manifest = checkpoint::read_manifest(&folders.checkpoints.join(name)).unwrap();
        let changes = manifest.lineage.unwrap().changes;
        changes.into_iter().map(|one| (one.change, one.other)).collect()
    }

    /// "second" was promoted, and the process ended after so many writes more.
    fn crashed(folders: &Folders, writes: usize) {
        let rival = Rival {
            checkpoint: "first".to_owned(),
            champion: "second".to_owned(),
            kind: RivalKind::Former,
            since_ns: 5,
            after_ns: 5,
            looks: 0,
        };
        let mut state = LearningState::default();
        (state.rival, state.changing) = (Some(rival), true);
        state.tell(5, EventKind::Promoted, ("second", "first"), "better".to_owned(), None);
        state.write(&folders.state).unwrap();
        if writes > 0 {
            put_in_lineage(&folders.checkpoints, &state.events[0]).unwrap();
        }
        if writes > 1 {
            checkpoint::set_latest(&folders.checkpoints.join("second")).unwrap();
        }
    }

    #[test]
    fn what_a_crash_interrupted_is_finished() {
        for writes in 0..3 {
            let root = tempfile::tempdir().unwrap();
            let folders = folders(root.path());
            crashed(&folders, writes);
            let (mut state, _) = state::read(&folders.state, 6).unwrap();
            carry_out(&folders.checkpoints, &mut state).unwrap();
            assert!(!state.changing);
            assert_eq!(name_of(&served(&folders.checkpoints).unwrap()), "second");
            let shadow = checkpoint::challenger(&folders.checkpoints).unwrap().unwrap();
            assert_eq!(name_of(&shadow), "first");
            assert_eq!(changes(&folders, "second"), [(Change::Promoted, "first".to_owned())]);
        }
    }

    #[test]
    fn after_a_crash_there_is_a_way_back() {
        for writes in 0..3 {
            let root = tempfile::tempdir().unwrap();
            let folders = folders(root.path());
            crashed(&folders, writes);
            let (name, before) = rollback(&folders, "worse", 6).unwrap();
            assert_eq!((name.as_str(), before.as_str()), ("first", "second"));
            assert_eq!(name_of(&served(&folders.checkpoints).unwrap()), "first");
            assert_eq!(checkpoint::challenger(&folders.checkpoints).unwrap(), None);
        }
    }

    #[test]
    fn what_others_changed_since_stays() {
        let root = tempfile::tempdir().unwrap();
        let folders = folders(root.path());
        crashed(&folders, 1);
        let third = folders.checkpoints.join("third");
        checkpoint::save(&third, &constant(0.3), Manifest::of(&constant(0.3))).unwrap();
        checkpoint::set_latest(&third).unwrap();
        let (mut state, _) = state::read(&folders.state, 6).unwrap();
        carry_out(&folders.checkpoints, &mut state).unwrap();
        assert_eq!(served(&folders.checkpoints).unwrap(), third);
        assert!(!state.changing);
    }

    #[test]
    fn what_is_done_by_hand_is_in_the_lineage() {
        let root = tempfile::tempdir().unwrap();
        let folders = folders(root.path());
        promote(&folders, "second", "", 5).unwrap();
        assert_eq!(changes(&folders, "second"), [(Change::Promoted, "first".to_owned())]);
        rollback(&folders, "", 6).unwrap();
        let expected = [(Change::Promoted, "first"), (Change::Demoted, "first")];
        assert_eq!(changes(&folders, "second"), expected.map(|(it, name)| (it, name.to_owned())));
        assert_eq!(changes(&folders, "first"), []);
    }
}
