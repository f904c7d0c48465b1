//! What a folder of state holds, for who wants to look.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{FEEDBACK, MODELS, NONCES, StateFile};
use crate::causes::with_causes;
use crate::serve::feedback::SavedFeedback;
use crate::serve::models::SavedModels;
use crate::serve::nonces::{NonceLimits, Nonces};
use crate::tune::{self, HEAD_FILE, HISTORY_FILE, PARAMETERS, Tunables};

/// One file of a folder of state.
#[derive(Debug, Clone, Serialize)]
pub struct StateEntry {
    /// Where it is.
    pub path: PathBuf,
    /// Whose it is, if it belongs to one axon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hotkey: Option<String>,
    /// When it was saved, in nanoseconds since 1970, if it says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saved_ns: Option<u64>,
    /// What it holds.
    #[serde(flatten)]
    pub held: Held,
}

/// What a file of state holds.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Held {
    /// It is as it should be.
    Sound(Summary),
    /// It cannot be used.
    Damaged {
        /// Why.
        reason: String,
        /// What to do.
        advice: &'static str,
    },
    /// It was damaged, and set aside by a miner.
    SetAside,
    /// Nothing that this program writes.
    Unknown,
}

/// What a sound file says.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "holds", rename_all = "snake_case")]
pub enum Summary {
    /// The nonces that an axon accepted.
    Nonces {
        /// How many matter still.
        nonces: usize,
        /// Whether the axon ended as it should.
        is_last: bool,
    },
    /// What is known of an axon's models.
    Models(SavedModels),
    /// What truths have taught an axon.
    Feedback(Box<SavedFeedback>),
    /// What was tuned.
    Tuning {
        /// How many entries the history has.
        entries: usize,
        /// When mining began, in nanoseconds since 1970, if that is recorded.
        started_ns: Option<u64>,
        /// The values in force.
        current: Tunables,
    },
    /// Another part of the program keeps it.
    Other(serde_json::Value),
}

const REMOVE: &str = "move it away, or leave it: `convminer serve` sets it aside when it starts, and \
                      goes on without what it held";
const RESTORE: &str = "put back the file as it was, from a copy; without one, move it and \
                       `tuning_head.json` away, and all parameters are at their defaults, with none \
                       tuned for 14 days. A running miner goes on with the values that it has";

/// What the files in a folder of state hold, in the order of their names. Hidden files and locks are
/// left out. A folder that is not there holds nothing.
///
/// # Errors
///
/// If the folder or a file cannot be read.
pub fn survey(folder: &Path, now_ns: u64) -> io::Result<Vec<StateEntry>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        // A name that is no text is none of ours.
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_file() && !name.starts_with('.') && !name.ends_with(".lock") {
            names.push(name);
        }
    }
    // What lies beside the history is a part of it, and speaks for it where it is gone.
    if names.iter().any(|name| name == HISTORY_FILE) {
        names.retain(|name| name != HEAD_FILE);
    }
    names.sort();
    names.iter().map(|name| look(folder, name, now_ns)).collect()
}

fn look(folder: &Path, name: &str, now_ns: u64) -> io::Result<StateEntry> {
    let path = folder.join(name);
    let mut parts = name.splitn(3, '.');
    let (kind, hotkey, end) = (parts.next(), parts.next(), parts.next());
    let hotkey = hotkey.filter(|_| end.is_some());
    let entry = |saved_ns, held| StateEntry {
        path: path.clone(),
        hotkey: hotkey.map(str::to_owned),
        saved_ns,
        held,
    };
    if name.contains(".damaged-") {
        return Ok(entry(None, Held::SetAside));
    }
    if name == HISTORY_FILE || name == HEAD_FILE {
        return Ok(entry(None, tuning(folder)));
    }
    if !name.ends_with(".json") {
        return Ok(entry(None, Held::Unknown));
    }
    let bytes = fs::read(&path)?;
    let (saved_ns, held) = match (kind, hotkey) {
        (Some(NONCES), Some(_)) => nonces(&bytes, now_ns),
        (Some(MODELS), Some(_)) => content(&bytes, Summary::Models),
        (Some(FEEDBACK), Some(_)) => {
            content(&bytes, |feedback: SavedFeedback| Summary::Feedback(Box::new(feedback)))
        }
        _ => (None, other(&bytes)),
    };
    Ok(entry(saved_ns, held))
}

fn content<T: serde::de::DeserializeOwned>(
    bytes: &[u8],
    summary: impl Fn(T) -> Summary,
) -> (Option<u64>, Held) {
    match StateFile::<T>::parse(bytes) {
        Ok(saved) => (Some(saved.saved_ns), Held::Sound(summary(saved.value))),
        Err(error) => (None, Held::Damaged { reason: with_causes(&error), advice: REMOVE }),
    }
}

fn nonces(bytes: &[u8], now_ns: u64) -> (Option<u64>, Held) {
    #[derive(Deserialize)]
    struct Saved {
        saved_at_ns: Option<u64>,
        is_last: bool,
    }
    let restored = Nonces::restore(NonceLimits::default(), bytes, now_ns);
    let Saved { saved_at_ns, is_last } =
        serde_json::from_slice(bytes).unwrap_or(Saved { saved_at_ns: None, is_last: false });
    let held = match restored {
        Ok(nonces) => Held::Sound(Summary::Nonces { nonces: nonces.len(), is_last }),
        Err(error) => Held::Damaged { reason: with_causes(&error), advice: REMOVE },
    };
    (saved_at_ns, held)
}

fn tuning(folder: &Path) -> Held {
    match tune::read(folder) {
        Ok(history) => Held::Sound(Summary::Tuning {
            entries: history.entries().len(),
            started_ns: history.started_ns(),
            current: history.current(),
        }),
        Err(error) => Held::Damaged { reason: with_causes(&error), advice: RESTORE },
    }
}

fn other(bytes: &[u8]) -> Held {
    match serde_json::from_slice(bytes) {
        Ok(value) => Held::Sound(Summary::Other(value)),
        Err(error) => {
            let reason = format!("expected JSON: {error}");
            Held::Damaged { reason, advice: "put back a copy, or move it away" }
        }
    }
}

impl Summary {
    /// What it says, in a few lines.
    pub fn lines(&self) -> Vec<String> {
        match self {
            Summary::Nonces { nonces, is_last } => {
                let end = if *is_last { "" } else { "; the miner runs, or was killed" };
                vec![format!("{nonces} nonces{end}")]
            }
            Summary::Models(models) => models.models.iter().map(model).collect(),
            Summary::Feedback(feedback) => lessons(feedback),
            Summary::Tuning { entries, current, .. } => {
                let values = PARAMETERS.iter();
                let values = values.map(|spec| (spec.name, current.get(spec.parameter)));
                let values: Vec<String> =
                    values.map(|(name, value)| format!("{name} {value}")).collect();
                vec![format!("{entries} entries: {}", values.join(", "))]
            }
            Summary::Other(value) => {
                let keys =
                    value.as_object().map(|object| object.keys().cloned().collect::<Vec<_>>());
                vec![keys.unwrap_or_default().join(", ")]
            }
        }
    }
}

fn model(model: &crate::serve::models::SavedModel) -> String {
    let statistics = &model.statistics;
    let rewards = statistics.rewards;
    let mut text = format!(
        "{}: {} conversations, {} failures, of {}",
        model.name,
        statistics.requests,
        statistics.failures,
        model.checkpoints.join(" and "),
    );
    if rewards.count > 0 {
        let mean = rewards.sum / rewards.count as f64;
        text += &format!(", mean reward {mean:.4} of {} answers", rewards.count);
    }
    text
}

fn lessons(feedback: &SavedFeedback) -> Vec<String> {
    let SavedFeedback { truths, judgement, recalibration, .. } = feedback;
    let mean = truths.mean_reward.map_or(String::new(), |mean| format!(", mean reward {mean:.4}"));
    let mut lines = vec![format!("the truth of {} answers is known{mean}", truths.known)];
    if let Some(learned) = recalibration {
        let force = if judgement.is_good() { "better" } else { "no better" };
        lines.push(format!(
            "a recalibration of {} from {} truths, {force} than none (log loss {:+.4} +- {:.4})",
            learned.of, judgement.truths, -judgement.gain, judgement.standard_error
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::{Clock as _, SystemClock};

    #[test]
    fn every_file_is_judged() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        assert!(survey(&folder.join("none"), 0).unwrap().is_empty());
        let now_ns = SystemClock.now_ns();
        let clock = || Arc::new(SystemClock);
        let models = StateFile::of(folder, MODELS, "5M", clock());
        models.save(&SavedModels::default()).unwrap();
        let feedback = StateFile::of(folder, FEEDBACK, "5M", clock());
        feedback.save(&SavedFeedback::default()).unwrap();
        let text = fs::read_to_string(feedback.path()).unwrap();
        fs::write(feedback.path(), text.replace("\"answers\":0", "\"answers\":1")).unwrap();
        let nonces = Nonces::new(NonceLimits::default()).save(true, now_ns);
        fs::write(folder.join("nonces.5M.json"), nonces).unwrap();
        tune::record_start(folder, now_ns).unwrap();
        for (name, text) in [
            ("nonces.5N.json", "{"),
            ("models.5M.damaged-7", "{"),
            ("learning.json", "{\"runs\": 3}"),
            ("broken.json", "{\"runs\": "),
            ("notes.txt", ""),
            (".models.5M.json.7.partial", ""),
        ] {
            fs::write(folder.join(name), text).unwrap();
        }
        let found = survey(folder, now_ns).unwrap();
        let name =
            |entry: &StateEntry| entry.path.file_name().unwrap().to_string_lossy().into_owned();
        let judged: Vec<(String, &str)> = found
            .iter()
            .map(|entry| {
                let held = match &entry.held {
                    Held::Sound(_) => "sound",
                    Held::Damaged { .. } => "damaged",
                    Held::SetAside => "aside",
                    Held::Unknown => "unknown",
                };
                (name(entry), held)
            })
            .collect();
        let expected = [
            ("broken.json", "damaged"),
            ("feedback.5M.json", "damaged"),
            ("learning.json", "sound"),
            ("models.5M.damaged-7", "aside"),
            ("models.5M.json", "sound"),
            ("nonces.5M.json", "sound"),
            ("nonces.5N.json", "damaged"),
            ("notes.txt", "unknown"),
            ("tuning_history.json", "sound"),
        ];
        assert_eq!(judged, expected.map(|(name, held)| (name.to_owned(), held)));
        assert_eq!(found[4].hotkey.as_deref(), Some("5M"));
        assert!(found[4].saved_ns >= Some(now_ns) && found[5].saved_ns == Some(now_ns));
        let json = serde_json::to_value(&found).unwrap();
        assert_eq!((&json[5]["kind"], &json[5]["holds"]), (&"sound".into(), &"nonces".into()));

        let history = folder.join(HISTORY_FILE);
        let text = fs::read_to_string(&history).unwrap();
        fs::write(&history, text.replace("\"time_ns\": 1", "\"time_ns\": 2")).unwrap();
        let found = survey(folder, now_ns).unwrap();
        let Held::Damaged { reason, .. } = &found[8].held else { panic!("{:?}", found[8]) };
        assert!(reason.contains("not as it was written"), "{reason}");
        fs::remove_file(&history).unwrap();
        let found = survey(folder, now_ns).unwrap();
        let Held::Damaged { reason, .. } = &found[8].held else { panic!("{:?}", found[8]) };
        assert!(reason.contains("the file is missing"), "{reason}");
    }
}
