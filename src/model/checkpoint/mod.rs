//! A trained miner on disk: a folder, complete or not there.
//!
//! ```text
//! <name>/manifest.json        what it is and what it was made from; written last
//!        weights.safetensors  the networks
//!        scaler.json  baseline.json  calibration.json  decision.json
//!        sample.parquet       some of the rows that it was trained on; checkpoints of before there
//!                             were samples have none
//!        report.html          how it does; added afterwards, and nothing reads it
//! latest                      the name of the checkpoint that is served by default
//! challenger                  the name of the one that answers in shadow, if one does
//! ```

mod error;
mod lineage;
mod manifest;
mod pointer;
mod salvage;
mod sample;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use polars::prelude::PolarsError;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::calibration::Calibration;
use super::predictor::Predictor;
use crate::features::engineer::{input_hash, input_names};
use crate::files;

pub use error::CheckpointError;
pub use lineage::{Change, Evidence, LineageChange, LineageRecord};
pub use manifest::{
    ClassWeightsRecord, CoverageRecord, CoverageScores, DataRecord, InputsRecord, Manifest,
    NEARLY_EMPTY_COVERAGE,
};
pub use pointer::{challenger, clear_challenger, latest, set_challenger, set_latest};
pub use salvage::{Salvage, salvage};
pub use sample::{MOST_SAMPLE_ROWS, TrainingSample, read_sample};

/// The version of the folder's format that this program writes and reads.
pub const FORMAT_VERSION: u32 = 2;
/// The file beside the checkpoints that names the one to serve.
pub const LATEST: &str = "latest";
/// The file beside the checkpoints that names the one that answers in shadow.
pub const CHALLENGER: &str = "challenger";

const MANIFEST: &str = "manifest.json";
pub(crate) const WEIGHTS: &str = "weights.safetensors";
pub(crate) const SCALER: &str = "scaler.json";
pub(crate) const BASELINE: &str = "baseline.json";
pub(crate) const SAMPLE: &str = "sample.parquet";
const CALIBRATION: &str = "calibration.json";
const DECISION: &str = "decision.json";

type Result<T> = std::result::Result<T, CheckpointError>;

/// Writes a checkpoint under a hidden name, and gives it its own when all of it is on the disk.
///
/// # Errors
///
/// If `path` exists, or anything cannot be written.
pub fn save(path: &Path, predictor: &Predictor, manifest: Manifest) -> Result<()> {
    save_with_sample(path, predictor, manifest, &TrainingSample::default())
}

/// As [`save`], with some of the rows that it was trained on; none leave no file.
///
/// # Errors
///
/// As [`save`].
pub fn save_with_sample(
    path: &Path,
    predictor: &Predictor,
    mut manifest: Manifest,
    sample: &TrainingSample,
) -> Result<()> {
    ensure_free(path)?;
    let partial = files::temporary_name(path);
    fs::create_dir_all(&partial).map_err(io_error("create", &partial))?;
    let written = write_files(&partial, predictor, sample, &mut manifest, path)
        // What cannot be loaded again must not get the name.
        .and_then(|()| load(&partial, &Device::flex()).map(drop))
        .and_then(|()| fs::rename(&partial, path).map_err(io_error("create", path)));
    if written.is_err() {
        // Best effort: what matters is the first error.
        let _ = fs::remove_dir_all(&partial);
    }
    written?;
    files::sync_parent(path).map_err(io_error("write", path))
}

/// Checks that a checkpoint of this name can be written, before the work of making one.
///
/// # Errors
///
/// If `path` exists, is no name for one, or its folder cannot be written to.
pub fn ensure_free(path: &Path) -> Result<()> {
    if path.file_name().is_none_or(|name| name == LATEST || name == CHALLENGER) {
        return Err(CheckpointError::NoName { path: path.to_owned() });
    }
    if path.exists() {
        return Err(CheckpointError::Exists { path: path.to_owned() });
    }
    // Whether a folder can be made there is best known by making one.
    let partial = files::temporary_name(path);
    fs::create_dir_all(&partial)
        .and_then(|()| fs::remove_dir(&partial))
        .map_err(io_error("create", path))
}

fn write_files(
    folder: &Path,
    predictor: &Predictor,
    sample: &TrainingSample,
    manifest: &mut Manifest,
    path: &Path,
) -> Result<()> {
    let mut lasting =
        vec![(SCALER, json(&predictor.scaler)), (BASELINE, json(&predictor.baseline))];
    if let Some(ensemble) = &predictor.ensemble {
        let weights = ensemble
            .networks()
            .to_safetensors()
            .map_err(|source| CheckpointError::Weights { path: path.to_owned(), source })?;
        lasting.push((WEIGHTS, weights));
    }
    if !sample.is_empty() {
        let damaged = |error: PolarsError| CheckpointError::Sample {
            path: path.to_owned(),
            reason: error.to_string(),
        };
        lasting.push((SAMPLE, sample.encode().map_err(damaged)?));
    }
    for (name, content) in &lasting {
        write_new(&folder.join(name), content)?;
        manifest.files.insert((*name).to_owned(), hex::encode(Sha256::digest(content)));
    }
    write_new(&folder.join(CALIBRATION), &json(&predictor.calibration))?;
    write_new(&folder.join(DECISION), &json(&predictor.decision))?;
    write_new(&folder.join(MANIFEST), &json(manifest))
}

fn write_new(path: &Path, content: &[u8]) -> Result<()> {
    files::write_through(path, content).map_err(io_error("write", path))
}

fn json(value: &impl Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value)
        .expect("our own types with string keys are always JSON. This is a bug.");
    text.push(b'\n');
    text
}

/// Replaces what a checkpoint's manifest says of where it comes from.
///
/// # Errors
///
/// If the manifest cannot be read or written; the old one stays then.
pub fn replace_lineage(path: &Path, lineage: LineageRecord) -> Result<()> {
    let manifest = Manifest { lineage: Some(lineage), ..read_manifest(path)? };
    let file = path.join(MANIFEST);
    files::write_atomically(&file, &json(&manifest)).map_err(io_error("write", &file))
}

/// Reads a checkpoint's manifest, and checks that this program can use it.
///
/// # Errors
///
/// If it is no checkpoint, damaged, or made for another program.
pub fn read_manifest(path: &Path) -> Result<Manifest> {
    let file = path.join(MANIFEST);
    if !file.exists() {
        return Err(CheckpointError::NotACheckpoint { path: path.to_owned() });
    }
    let bytes = fs::read(&file).map_err(io_error("read", &file))?;
    // The version first: the rest of another format may look quite different.
    #[derive(Deserialize)]
    struct Versioned {
        format_version: u32,
    }
    let version: Versioned = parse(&file, &bytes)?;
    if version.format_version != FORMAT_VERSION {
        let found = version.format_version;
        return Err(CheckpointError::Format { path: path.to_owned(), found });
    }
    let manifest: Manifest = parse(&file, &bytes)?;
    if manifest.inputs.hash != input_hash() {
        let difference = first_difference(&manifest.inputs.names);
        return Err(CheckpointError::Inputs { path: path.to_owned(), difference });
    }
    Ok(manifest)
}

fn first_difference(theirs: &[String]) -> String {
    let ours = input_names();
    match ours.iter().zip(theirs).position(|(our, their)| our != their) {
        Some(index) => {
            format!("input {index} is `{}` here and `{}` there", ours[index], theirs[index])
        }
        None if ours.len() == theirs.len() => "their hash is another".to_owned(),
        None => format!("there are {} here and {} there", ours.len(), theirs.len()),
    }
}

/// Loads a checkpoint onto a device.
///
/// # Errors
///
/// If it is no checkpoint, damaged, or made for another program.
pub fn load(path: &Path, device: &Device) -> Result<Predictor> {
    let Salvage { predictor, damage, .. } = salvage(path, device)?;
    match (damage.into_iter().next(), predictor) {
        (Some(first), _) => Err(first),
        (None, Some(predictor)) => Ok(predictor),
        (None, None) => {
            unreachable!("what is not damaged can be put together. This is a bug.")
        }
    }
}

/// The files that a checkpoint is loaded from.
pub fn files_of(path: &Path) -> Vec<PathBuf> {
    [MANIFEST, WEIGHTS, SCALER, BASELINE, CALIBRATION, DECISION].map(|name| path.join(name)).into()
}

/// Replaces a checkpoint's calibration.
///
/// # Errors
///
/// If the file cannot be written; the old calibration stays then.
pub fn replace_calibration(path: &Path, calibration: &Calibration) -> Result<()> {
    let file = path.join(CALIBRATION);
    files::write_atomically(&file, &json(calibration)).map_err(io_error("write", &file))
}

fn read(folder: &Path, name: &str) -> Result<Vec<u8>> {
    let file = folder.join(name);
    fs::read(&file).map_err(io_error("read", &file))
}

/// Reads a file that must still be the one that training wrote.
fn read_lasting(folder: &Path, name: &str, manifest: &Manifest) -> Result<Vec<u8>> {
    let bytes = read(folder, name)?;
    let found = hex::encode(Sha256::digest(&bytes));
    if manifest.files.get(name) != Some(&found) {
        let reason = format!("its SHA-256 is {found}, which is not what {MANIFEST} says");
        return Err(CheckpointError::Damaged { path: folder.join(name), reason });
    }
    Ok(bytes)
}

fn checked<T: DeserializeOwned>(
    folder: &Path,
    name: &str,
    bytes: Vec<u8>,
    is_valid: impl Fn(&T) -> bool,
) -> Result<T> {
    let path = folder.join(name);
    let value = parse(&path, &bytes)?;
    if is_valid(&value) {
        return Ok(value);
    }
    let reason = "it has numbers that cannot be, or not as many as there are inputs".to_owned();
    Err(CheckpointError::Damaged { path, reason })
}

fn parse<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| CheckpointError::Damaged {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CheckpointError {
    let path = path.to_owned();
    move |source| CheckpointError::Io { doing, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::Conversation;
    use crate::features::scaler::Scaler;
    use crate::model::Model;
    use crate::model::baseline::Baseline;
    use crate::model::calibration::{self, Method};
    use crate::model::decision::{Decision, Rule};
    use crate::model::ensemble::Ensemble;
    use crate::model::networks::Combination;
    use crate::subnet::reward::{ClassWeights, RewardSpec};

    fn sample() -> (Predictor, Manifest) {
        let predictor = Predictor {
            scaler: Scaler::fit(&[&Conversation::EMPTY]),
            ensemble: Some(Ensemble::sample(Combination::Logits)),
            baseline: Baseline::constant(3, &[60.0]),
            calibration: calibration::fit(Method::Bins, 10, &[0.3], &[true]),
            decision: Decision::fit(Rule::Reward, &[(60.0, 61.0)], 0.5),
            spec: RewardSpec::GUIDE,
            class_weights: ClassWeights::START,
        };
        let manifest = Manifest::of(&predictor);
        (predictor, manifest)
    }

    fn saved(root: &Path) -> (Predictor, PathBuf) {
        let (predictor, manifest) = sample();
        let path = root.join("first");
        save(&path, &predictor, manifest).unwrap();
        (predictor, path)
    }

    #[test]
    fn what_is_loaded_answers_as_what_was_saved() {
        let root = tempfile::tempdir().unwrap();
        let (predictor, path) = saved(root.path());
        let loaded = load(&path, &Device::flex()).unwrap();
        let mut conversation = Conversation::EMPTY;
        conversation.set(0, 92.0);
        assert_eq!(loaded.predict(&[conversation.clone()]), predictor.predict(&[conversation]));
        assert_eq!(loaded.spec, RewardSpec::GUIDE);
        // Nothing half-done lies about.
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_same_networks_make_the_same_bytes() {
        let (predictor, _) = sample();
        let networks = predictor.ensemble.as_ref().unwrap().networks();
        assert_eq!(networks.to_safetensors().unwrap(), networks.to_safetensors().unwrap());
    }

    #[test]
    fn a_name_is_taken_once() {
        let root = tempfile::tempdir().unwrap();
        let (_, path) = saved(root.path());
        let (predictor, manifest) = sample();
        let error = save(&path, &predictor, manifest).unwrap_err();
        assert!(matches!(error, CheckpointError::Exists { .. }), "{error}");
    }

    #[test]
    fn a_name_that_cannot_be_is_known_before_the_work() {
        let root = tempfile::tempdir().unwrap();
        for name in ["latest", "challenger", "a/.."] {
            let error = ensure_free(&root.path().join(name)).unwrap_err();
            assert!(matches!(error, CheckpointError::NoName { .. }), "{error}");
        }
        let file = root.path().join("file");
        fs::write(&file, "").unwrap();
        let error = ensure_free(&file.join("a")).unwrap_err();
        assert!(matches!(error, CheckpointError::Io { .. }), "{error}");
        ensure_free(&root.path().join("new/a")).unwrap();
        assert!(!root.path().join("new/a").exists());
    }

    /// A time that f32 cannot hold once made a checkpoint that could never be read.
    #[test]
    fn what_cannot_be_loaded_is_not_saved() {
        let root = tempfile::tempdir().unwrap();
        let (mut predictor, manifest) = sample();
        predictor.baseline.time_seconds = f32::INFINITY;
        assert!(save(&root.path().join("a"), &predictor, manifest).is_err());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn refused_by_name() {
        let root = tempfile::tempdir().unwrap();
        let (_, path) = saved(root.path());
        let manifest = fs::read_to_string(path.join(MANIFEST)).unwrap();
        let with = |from: &str, to: &str| {
            assert!(manifest.contains(from));
            fs::write(path.join(MANIFEST), manifest.replace(from, to)).unwrap();
            let error = load(&path, &Device::flex()).unwrap_err();
            let mut text = error.to_string();
            if let Some(source) = std::error::Error::source(&error) {
                text = format!("{text}: {source}");
            }
            text
        };
        assert!(with("\"format_version\": 2", "\"format_version\": 3").contains("has format 3"));
        let (ours, theirs) = (input_hash(), "0".repeat(64));
        fs::write(
            path.join(MANIFEST),
            manifest.replace(ours, &theirs).replace("\"hour_sin\"", "\"hour_tan\""),
        )
        .unwrap();
        let error = load(&path, &Device::flex()).unwrap_err().to_string();
        assert!(error.contains("`hour_sin` here and `hour_tan` there"), "{error}");
        assert!(with("\"reward_spec\": \"guide\"", "\"reward_spec\": \"gide\"").contains("gide"));
        assert!(with("\"first_units\": 128", "\"first_units\": 127").contains("do not fit"));
        assert!(with("\"first_units\": 128", "\"first_units\": 0").contains("first layer"));
        assert!(with("\"unit_seconds\": 60.0", "\"unit_seconds\": -1.0").contains("unit"));
        assert!(with("\"positive\": 0.375", "\"positive\": -1.0").contains("class weights"));
        assert!(with("{", "").contains("damaged"));
        fs::remove_file(path.join(MANIFEST)).unwrap();
        let error = load(&path, &Device::flex()).unwrap_err().to_string();
        assert!(error.contains("not a checkpoint"), "{error}");
    }

    /// Checkpoints of before it was measured have no such key.
    #[test]
    fn what_was_validated_by_coverage_is_kept_and_may_be_absent() {
        let root = tempfile::tempdir().unwrap();
        let (predictor, mut manifest) = sample();
        let scores = CoverageScores { rows: 60, ensemble: None, baseline: 0.25, constant: 0.5 };
        let record = CoverageRecord { threshold: 0.8, nearly_empty: scores, rest: scores };
        manifest.coverage = Some(record);
        let path = root.path().join("first");
        save(&path, &predictor, manifest).unwrap();
        assert_eq!(read_manifest(&path).unwrap().coverage, Some(record));
        let text = fs::read(path.join(MANIFEST)).unwrap();
        let mut manifest: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert!(manifest.as_object_mut().unwrap().remove("coverage").is_some());
        fs::write(path.join(MANIFEST), manifest.to_string()).unwrap();
        assert_eq!(read_manifest(&path).unwrap().coverage, None);
    }

    #[test]
    fn damage_is_found() {
        for name in [WEIGHTS, SCALER, BASELINE, CALIBRATION, DECISION] {
            let root = tempfile::tempdir().unwrap();
            let (_, path) = saved(root.path());
            let mut bytes = fs::read(path.join(name)).unwrap();
            bytes.truncate(bytes.len() / 2);
            fs::write(path.join(name), bytes).unwrap();
            let error = load(&path, &Device::flex()).unwrap_err();
            assert!(matches!(error, CheckpointError::Damaged { .. }), "{name}: {error}");
            fs::remove_file(path.join(name)).unwrap();
            let error = load(&path, &Device::flex()).unwrap_err();
            assert!(matches!(error, CheckpointError::Io { .. }), "{name}: {error}");
        }
    }
}
