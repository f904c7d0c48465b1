//! What an operator asks for: which checkpoints there are, and which one is served.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::challenger::{Loaded, name_of};
use super::change::{carry_out, record_and_carry_out};
use super::state::{self, EventKind, LearningState};
use super::{Folders, LearnError};
use crate::features::Conversation;
use crate::model::checkpoint::{self, CheckpointError, LineageRecord};
use crate::model::{Model as _, Predictor};
use crate::replay::{self, Window};
use crate::subnet::challenge::{Challenge, NoisyRates};
use crate::subnet::reward::RewardSpec;

/// Of each kind of conversation that a checkpoint must be able to answer.
const EACH: usize = 16;

/// The checkpoint that is served where none was ever named the latest.
const SHIPPED: &str = "default";

/// A checkpoint in a list.
#[derive(Debug, Clone, Serialize)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// What it is at present; absent for most.
    pub standing: Option<Standing>,
    /// When it was made; absent where it cannot be read.
    pub created: Option<String>,
    /// Labelled rows that it learned from.
    pub rows: usize,
    /// The mean reward in validation.
    pub validated: Option<f64>,
    /// What it earned when it was served, where the truth is known.
    pub earned: Option<Earned>,
    /// Where it comes from; absent for what was trained from nothing.
    pub lineage: Option<LineageRecord>,
    /// Why it cannot be read.
    pub fault: Option<String>,
}

/// What a checkpoint earned with answers that were sent, as the validators count it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Earned {
    /// Answers.
    pub answers: usize,
    /// The mean reward.
    pub mean_reward: f64,
}

/// What a checkpoint is at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It is served.
    Latest,
    /// It answers in shadow.
    Challenger,
}

/// The checkpoints, the oldest first, with what they earned in a window.
///
/// # Errors
///
/// If the folder, what names the served checkpoint, the answers or the truths cannot be read.
pub fn list(folders: &Folders, window: Window) -> Result<Vec<Listed>, LearnError> {
    let mut listed = checkpoints(&folders.checkpoints)?;
    let earned = earned(folders, window)?;
    for one in &mut listed {
        one.earned = earned.get(&one.name).copied();
    }
    Ok(listed)
}

/// What each checkpoint earned; nothing where nothing was written down.
fn earned(folders: &Folders, window: Window) -> Result<HashMap<String, Earned>, LearnError> {
    let mut earned = HashMap::new();
    if !folders.journal.is_dir() {
        return Ok(earned);
    }
    let (all, _) = replay::resolved(&folders.journal, &folders.outcomes, window)?;
    // The champion's own spec is that of all it learned.
    let spec = served(&folders.checkpoints)
        .and_then(|path| checkpoint::read_manifest(&path))
        .ok()
        .and_then(|manifest| manifest.reward_spec.parse().ok())
        .unwrap_or(RewardSpec::MAIN);
    for (resolved, scored) in all.iter().zip(replay::score(&all, &spec)) {
        let of = earned
            .entry(resolved.record.checkpoint.clone())
            .or_insert(Earned { answers: 0, mean_reward: 0.0 });
        of.answers += 1;
        of.mean_reward += (scored.reward.total - of.mean_reward) / of.answers as f64;
    }
    Ok(earned)
}

fn checkpoints(root: &Path) -> Result<Vec<Listed>, LearnError> {
    let failed = |source| LearnError::State { doing: "read", path: root.to_owned(), source };
    let latest = served(root).ok();
    let challenger = checkpoint::challenger(root)?;
    let mut listed = Vec::new();
    for entry in fs::read_dir(root).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = name_of(&path);
        // What begins with a dot is not finished.
        if !path.is_dir() || name.starts_with('.') {
            continue;
        }
        let standing = if latest.as_ref() == Some(&path) {
            Some(Standing::Latest)
        } else {
            (challenger.as_ref() == Some(&path)).then_some(Standing::Challenger)
        };
        match checkpoint::read_manifest(&path) {
            Err(CheckpointError::NotACheckpoint { .. }) => (),
            Err(error) => listed.push(Listed {
                name,
                standing,
                created: None,
                rows: 0,
                validated: None,
                earned: None,
                lineage: None,
                fault: Some(error.to_string()),
            }),
            Ok(manifest) => listed.push(Listed {
                name,
                standing,
                validated: manifest
                    .metrics
                    .pointer("/miner/mean_reward")
                    .and_then(|it| it.as_f64()),
                created: Some(manifest.created),
                rows: manifest.data.rows,
                earned: None,
                lineage: manifest.lineage,
                fault: None,
            }),
        }
    }
    listed.sort_by(|one, other| (&one.created, &one.name).cmp(&(&other.created, &other.name)));
    Ok(listed)
}

/// The checkpoint that is served: the latest one, or the one that comes with the project.
pub(super) fn served(root: &Path) -> Result<PathBuf, CheckpointError> {
    match checkpoint::latest(root) {
        Err(CheckpointError::NoLatest { .. }) if root.join(SHIPPED).is_dir() => {
            Ok(root.join(SHIPPED))
        }
        latest => latest,
    }
}

/// Lets a checkpoint be served, if it can be; returns the name of the one that was served before.
///
/// # Errors
///
/// If there is none of this name, it cannot be loaded or does not answer as it must, or is served
/// already; or if another process is learning.
pub fn promote(
    folders: &Folders,
    name: &str,
    reason: &str,
    now_ns: u64,
) -> Result<String, LearnError> {
    let _lock = state::lock(&folders.state)?;
    let state = finished(folders, now_ns)?;
    change(folders, state, (name, EventKind::Chosen), reason, now_ns)
}

/// Goes back to the checkpoint that was served before the last change on record; returns its name,
/// and the name of the one that was served until now.
///
/// # Errors
///
/// As [`promote`], and if no change is on record.
pub fn rollback(
    folders: &Folders,
    reason: &str,
    now_ns: u64,
) -> Result<(String, String), LearnError> {
    let _lock = state::lock(&folders.state)?;
    let state = finished(folders, now_ns)?;
    let last = state.events.iter().rev().find(|event| event.event.changes_latest());
    let name = last.ok_or(LearnError::NoHistory)?.other.clone();
    let before = change(folders, state, (&name, EventKind::RolledBack), reason, now_ns)?;
    Ok((name, before))
}

/// What is remembered, with a change that a crash interrupted made now.
fn finished(folders: &Folders, now_ns: u64) -> Result<LearningState, LearnError> {
    let (mut state, _) = state::read(&folders.state, now_ns)?;
    carry_out(&folders.checkpoints, &mut state)?;
    Ok(state)
}

fn change(
    folders: &Folders,
    mut state: LearningState,
    (name, kind): (&str, EventKind),
    reason: &str,
    now_ns: u64,
) -> Result<String, LearnError> {
    let root = &folders.checkpoints;
    if Path::new(name).file_name() != Some(name.as_ref()) {
        return Err(CheckpointError::NoName { path: name.into() }.into());
    }
    let before = served(root).map(|path| name_of(&path)).unwrap_or_default();
    if before == name {
        return Err(LearnError::Served { name: before });
    }
    let loaded = Loaded::read(&root.join(name))?;
    check_answers(&loaded.predictor)
        .map_err(|reason| LearnError::Unsound { name: name.to_owned(), reason })?;
    // Whoever answers in shadow was compared with another one.
    state.rival = None;
    state.tell(now_ns, kind, (name, &before), reason.to_owned(), None);
    record_and_carry_out(folders, &mut state)?;
    state.write(&folders.state)?;
    Ok(before)
}

/// Whether a miner gives a valid answer, resting on finite numbers, to conversations of every kind,
/// all at once and one by one.
///
/// # Errors
///
/// What it does instead, in words.
pub fn check_answers(predictor: &Predictor) -> Result<(), String> {
    let conversations = samples();
    let together = predictor.estimate(&conversations);
    let alone = conversations.chunks(1).flat_map(|one| predictor.estimate(one));
    for (index, estimate) in together.iter().copied().chain(alone).enumerate() {
        let sample = index % conversations.len();
        if !estimate.probability.is_finite() || !estimate.time_seconds.is_finite() {
            return Err(format!("of sample {sample} it says what is no number: {estimate:?}"));
        }
        if estimate.fallback {
            return Err(format!("of sample {sample} its networks say what is no number"));
        }
    }
    for (sample, answer) in predictor.predict(&conversations).iter().enumerate() {
        answer.check().map_err(|fault| format!("of sample {sample} it says: {fault}"))?;
    }
    Ok(())
}

/// Some conversations of each generator, some of which little is known, and the empty one.
fn samples() -> Vec<Conversation> {
    let spoilt = NoisyRates::new(0.0, 0.0, 0.7).expect("0.7 is a rate. This is a bug.");
    let kinds = [Challenge::Rule, Challenge::Template, Challenge::Noisy(spoilt)];
    let examples = kinds.into_iter().flat_map(|kind| kind.examples(1).take(EACH));
    let conversations = examples.map(|example| {
        let mut conversation = Conversation::EMPTY;
        for (index, value) in example.features.iter().enumerate() {
            conversation.set(index, *value);
        }
        conversation
    });
    std::iter::once(Conversation::EMPTY).chain(conversations).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::challenger::tests::constant;
    use crate::model::checkpoint::Manifest;

    fn folders(root: &Path) -> Folders {
        Folders {
            checkpoints: root.join("checkpoints"),
            journal: root.join("journal"),
            outcomes: root.join("outcomes"),
            state: root.join("state"),
        }
    }

    #[test]
    fn by_hand_there_and_back() {
        let root = tempfile::tempdir().unwrap();
        let folders = folders(root.path());
        for (name, created) in [("default", "2026-01-01"), ("second", "2026-01-02")] {
            let predictor = constant(0.3);
            let manifest = Manifest { created: created.to_owned(), ..Manifest::of(&predictor) };
            checkpoint::save(&folders.checkpoints.join(name), &predictor, manifest).unwrap();
        }
        let standings = || -> Vec<(String, Option<Standing>)> {
            let listed = list(&folders, Window::default()).unwrap();
            listed.into_iter().map(|it| (it.name, it.standing)).collect()
        };
        let (first, second) = ("default".to_owned(), "second".to_owned());
        assert_eq!(standings(), [(first.clone(), Some(Standing::Latest)), (second.clone(), None)]);
        assert!(matches!(rollback(&folders, "", 1), Err(LearnError::NoHistory)));

        checkpoint::set_challenger(&folders.checkpoints.join("second")).unwrap();
        assert_eq!(promote(&folders, "second", "why not", 1).unwrap(), first);
        assert_eq!(standings(), [(first.clone(), None), (second.clone(), Some(Standing::Latest))]);
        assert!(matches!(
            promote(&folders, "second", "", 1),
            Err(LearnError::Served { name }) if name == second
        ));
        assert_eq!(rollback(&folders, "worse", 2).unwrap(), (first.clone(), second.clone()));
        // Back from going back.
        assert_eq!(rollback(&folders, "", 3).unwrap(), (second, first));
        let (state, _) = state::read(&folders.state, 4).unwrap();
        let kinds: Vec<EventKind> = state.events.iter().map(|event| event.event).collect();
        assert_eq!(kinds, [EventKind::Chosen, EventKind::RolledBack, EventKind::RolledBack]);
        assert_eq!(state.events[0].reason, "why not");
        for name in ["third", "../second", ""] {
            assert!(promote(&folders, name, "", 5).is_err(), "{name}");
        }
    }

    #[test]
    fn what_says_no_number_is_not_served() {
        assert_eq!(check_answers(&constant(0.3)), Ok(()));
        let mut broken = constant(0.3);
        broken.baseline.time_seconds = f32::NAN;
        assert!(check_answers(&broken).unwrap_err().contains("of sample 0"));
    }
}
