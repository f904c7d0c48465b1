//! A copy of the served checkpoint learns on, and becomes a checkpoint that answers in shadow.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use serde_json::json;

use super::hand::check_answers;
use super::material::Material;
use super::{Folders, LearnError, LearnRules};
use crate::clock::Moment;
use crate::features::Conversation;
use crate::model::Predictor;
use crate::model::checkpoint::{
    self, DataRecord, LineageRecord, MOST_SAMPLE_ROWS, Manifest, TrainingSample,
};
use crate::subnet::reward::Truth;
use crate::train::fine_tune::Way;
use crate::train::{FineTuneConfig, FineTuned, Labelled, TrainError, fine_tune};

/// A checkpoint that is loaded.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) manifest: Manifest,
    pub(super) predictor: Predictor,
}

impl Loaded {
    pub(super) fn read(path: &Path) -> Result<Loaded, LearnError> {
        Ok(Loaded {
            name: name_of(path),
            path: path.to_owned(),
            manifest: checkpoint::read_manifest(path)?,
            predictor: checkpoint::load(path, &Device::flex())?,
        })
    }

    /// When the last of what it learned from was answered; 0 if it never learned on.
    pub(super) fn until_ns(&self) -> u64 {
        self.manifest.lineage.as_ref().map_or(0, |lineage| lineage.until_ns)
    }
}

/// A checkpoint's name: that of its folder.
pub(super) fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What was made.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) path: PathBuf,
    /// When the last of what it learned from was answered.
    pub(super) until_ns: u64,
    /// How it was made, in words.
    pub(super) told: String,
}

/// Why nothing was made.
#[derive(Debug)]
pub(super) enum NotMade {
    /// The training came to nothing: perhaps with other rows.
    Training(TrainError),
    /// What it came to cannot be served.
    Unsound(String),
    /// It cannot go on.
    Error(LearnError),
}

/// Lets a copy of the champion learn on from the newest conversations, with those before and the
/// champion's own sample against forgetting, and writes the checkpoint that results.
pub(super) fn make(
    folders: &Folders,
    rules: &LearnRules,
    champion: &Loaded,
    (newest, before): (&Material<'_>, &Material<'_>),
    now_ns: u64,
) -> Result<Made, NotMade> {
    let failed = |error| NotMade::Error(LearnError::Checkpoint(error));
    let sample = checkpoint::read_sample(&champion.path).map_err(failed)?.unwrap_or_default();
    let (mut old, mut old_truths) = before.labelled();
    old.extend(sample.conversations);
    old_truths.extend(sample.truths);
    let (new, new_truths) = newest.labelled();
    let tuning = FineTuneConfig { seed: rules.seed, ..FineTuneConfig::default() };
    let tuned = fine_tune(
        &champion.predictor,
        Labelled { conversations: &old, truths: &old_truths },
        Labelled { conversations: &new, truths: &new_truths },
        &tuning,
        &Device::flex(),
        &mut (),
    )
    .map_err(NotMade::Training)?;
    check_answers(&tuned.predictor).map_err(NotMade::Unsound)?;

    let sample = sample_of(&tuned, (&old, &old_truths), (&new, &new_truths), rules.seed);
    let (_, until_ns) = newest.span_ns();
    let manifest = manifest(rules, champion, (newest, before), &tuning, &tuned, now_ns);
    let path = free_path(&folders.checkpoints, now_ns);
    checkpoint::save_with_sample(&path, &tuned.predictor, manifest, &sample).map_err(failed)?;
    let told = format!(
        "from {} truths; classes {}, times {}; {:.4} reward on {} that were held out",
        new.len(),
        told(tuned.class),
        told(tuned.time),
        tuned.evaluation.miner.mean_reward,
        tuned.evaluation.rows,
    );
    Ok(Made { path, until_ns, told })
}

fn told(way: Way) -> &'static str {
    match way {
        Way::Unchanged => "as they were",
        Way::Mixed => "trained on",
        Way::NewOnly => "trained on, by new rows alone",
        Way::Fresh => "trained anew",
        Way::Baseline => "by the baseline",
    }
}

/// What it was trained on: with networks that go on from old weights, the old rows too.
fn sample_of(
    tuned: &FineTuned,
    (old, old_truths): (&[Conversation], &[Truth]),
    (new, new_truths): (&[Conversation], &[Truth]),
    seed: u64,
) -> TrainingSample {
    let learned = tuned.held_out.others(new.len());
    let mut conversations: Vec<Conversation> =
        learned.iter().map(|row| new[*row].clone()).collect();
    let mut truths: Vec<Truth> = learned.iter().map(|row| new_truths[*row]).collect();
    if matches!(tuned.class, Way::Unchanged | Way::Mixed) {
        // New rows first, as far as there is room for as many old ones.
        let room = MOST_SAMPLE_ROWS.saturating_sub(truths.len()).max(MOST_SAMPLE_ROWS / 2);
        let rows: Vec<usize> = (0..old.len()).collect();
        let kept = TrainingSample::draw(old, old_truths, &rows, room, seed);
        conversations.extend(kept.conversations);
        truths.extend(kept.truths);
    }
    let rows: Vec<usize> = (0..truths.len()).collect();
    TrainingSample::draw(&conversations, &truths, &rows, MOST_SAMPLE_ROWS, seed)
}

fn manifest(
    rules: &LearnRules,
    champion: &Loaded,
    (newest, before): (&Material<'_>, &Material<'_>),
    tuning: &FineTuneConfig,
    tuned: &FineTuned,
    now_ns: u64,
) -> Manifest {
    let sha256 = newest.sha256();
    let (from_ns, until_ns) = newest.span_ns();
    Manifest {
        created: Moment::of_ns(now_ns).rfc3339(),
        seed: rules.seed,
        device: "cpu".to_owned(),
        training: json!({
            "config": tuning,
            "class": tuned.class,
            "time": tuned.time,
            "trials": tuned.trials,
            "stages": tuned.stages,
            "older_truths": before.rows().len(),
            "warnings": tuned.warnings,
        }),
        data: DataRecord {
            file: "journal".to_owned(),
            sha256: sha256.clone(),
            rows: newest.rows().len(),
            converted: newest.converted(),
            validation_rows: tuned.held_out.rows.len(),
        },
        metrics: json!(tuned.evaluation),
        coverage: Some(tuned.coverage),
        lineage: Some(LineageRecord {
            parent: champion.name.clone(),
            truths: newest.rows().len(),
            converted: newest.converted(),
            from_ns,
            until_ns,
            sha256,
            changes: Vec::new(),
        }),
        ..Manifest::of(&tuned.predictor)
    }
}

/// A name that is not taken: of the time, and a number if need be.
fn free_path(root: &Path, now_ns: u64) -> PathBuf {
    let name = format!("learned-{}", Moment::of_ns(now_ns).compact());
    let numbered = (2..).map(|number: u32| root.join(format!("{name}-{number}")));
    let mut candidates = std::iter::once(root.join(&name)).chain(numbered);
    candidates.find(|path| !path.exists()).expect("numbers do not end. This is a bug.")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::features::scaler::Scaler;
    use crate::model::baseline::Baseline;
    use crate::model::calibration::Calibration;
    use crate::model::decision::{Decision, Rule};
    use crate::subnet::reward::{ClassWeights, RewardSpec};

    /// A miner that says the same of all: this probability, and 60 s.
    pub(in crate::learn) fn constant(probability: f64) -> Predictor {
        let converted = (probability * 1000.0).round() as usize;
        Predictor {
            scaler: Scaler::fit(&[]),
            ensemble: None,
            baseline: Baseline::constant(1000, &vec![60.0; converted]),
            calibration: Calibration::default(),
            decision: Decision::fit(Rule::Threshold(0.5), &[], 0.0),
            spec: RewardSpec::MAIN,
            class_weights: ClassWeights::START,
        }
    }

    #[test]
    fn names_are_of_the_time_and_free() {
        let folder = tempfile::tempdir().unwrap();
        let now_ns = 1_795_325_400_000_000_000;
        for expected in ["learned-20261122-053000", "learned-20261122-053000-2"] {
            let path = free_path(folder.path(), now_ns);
            assert_eq!(name_of(&path), expected);
            std::fs::create_dir(&path).unwrap();
        }
    }
}
