//! What can be used of a checkpoint that is not whole.

use std::path::Path;

use burn::tensor::Device;

use super::{
    BASELINE, CALIBRATION, CheckpointError, ClassWeightsRecord, DECISION, MANIFEST, Manifest,
    Result, SCALER, WEIGHTS, checked, read, read_lasting, read_manifest,
};
use crate::features::scaler::Scaler;
use crate::model::baseline::Baseline;
use crate::model::calibration::Calibration;
use crate::model::decision::{Decision, Rule};
use crate::model::ensemble::Ensemble;
use crate::model::networks::NetworksConfig;
use crate::model::predictor::Predictor;
use crate::subnet::reward::{ClassWeights, RewardSpec};

/// What can be used of a checkpoint, and why the rest cannot.
#[derive(Debug)]
pub struct Salvage {
    /// What it is, if that can be read and is of this program.
    pub manifest: Option<Manifest>,
    /// What answers: with networks, if they can be used; none if neither they nor the baseline can.
    pub predictor: Option<Predictor>,
    /// Whether the predictor's baseline is the checkpoint's, and not one that knows nothing.
    pub has_baseline: bool,
    /// What is wrong with the rest; empty if all can be used.
    pub damage: Vec<CheckpointError>,
}

/// Loads what can be loaded of a checkpoint onto a device.
///
/// What was fitted to the networks is not used without them, and networks are used without a
/// calibration or a decision of their own if need be.
///
/// # Errors
///
/// If it is no checkpoint at all.
pub fn salvage(path: &Path, device: &Device) -> Result<Salvage> {
    let read = read_manifest(path).and_then(|manifest| Ok((reward_of(path, &manifest)?, manifest)));
    let ((spec, class_weights), manifest) = match read {
        Ok(read) => read,
        Err(error @ CheckpointError::NotACheckpoint { .. }) => return Err(error),
        Err(error) => {
            let damage = vec![error];
            return Ok(Salvage { manifest: None, predictor: None, has_baseline: false, damage });
        }
    };
    let mut damage = Vec::new();
    let parts = Parts::read(path, &manifest, device, &mut damage);
    let has_baseline = parts.baseline.is_some();
    let predictor = parts.join(manifest.networks.is_some(), spec, class_weights);
    Ok(Salvage { manifest: Some(manifest), predictor, has_baseline, damage })
}

fn reward_of(path: &Path, manifest: &Manifest) -> Result<(RewardSpec, ClassWeights)> {
    let damaged = |reason| CheckpointError::Damaged { path: path.join(MANIFEST), reason };
    let spec = manifest.reward_spec.parse::<RewardSpec>();
    let spec = spec.map_err(|error| damaged(error.to_string()))?;
    let ClassWeightsRecord { positive, negative } = manifest.class_weights;
    if ![positive, negative].iter().all(|weight| (0.0..=1.0).contains(weight)) {
        let reason = format!("class weights should be in 0..=1, but are {positive} and {negative}");
        return Err(damaged(reason));
    }
    Ok((spec, ClassWeights { positive, negative }))
}

/// The files, as far as they can be used.
struct Parts {
    scaler: Option<Scaler>,
    ensemble: Option<Ensemble>,
    baseline: Option<Baseline>,
    calibration: Option<Calibration>,
    decision: Option<Decision>,
}

impl Parts {
    fn read(
        path: &Path,
        manifest: &Manifest,
        device: &Device,
        damage: &mut Vec<CheckpointError>,
    ) -> Parts {
        let networks = manifest.networks.as_ref();
        let ensemble = networks.map(|config| read_networks(path, manifest, config, device));
        let scaler = read_lasting(path, SCALER, manifest)
            .and_then(|bytes| checked(path, SCALER, bytes, Scaler::is_valid));
        let baseline = read_lasting(path, BASELINE, manifest)
            .and_then(|bytes| checked(path, BASELINE, bytes, Baseline::is_valid));
        let calibration = read(path, CALIBRATION)
            .and_then(|bytes| checked(path, CALIBRATION, bytes, Calibration::is_valid));
        let decision = read(path, DECISION)
            .and_then(|bytes| checked(path, DECISION, bytes, Decision::is_valid));
        Parts {
            ensemble: ensemble.and_then(|ensemble| keep(ensemble, damage)),
            scaler: keep(scaler, damage),
            baseline: keep(baseline, damage),
            calibration: keep(calibration, damage),
            decision: keep(decision, damage),
        }
    }

    fn join(
        self,
        had_networks: bool,
        spec: RewardSpec,
        class_weights: ClassWeights,
    ) -> Option<Predictor> {
        let has_baseline = self.baseline.is_some();
        // A stage without networks is the baseline's.
        let stands_alone = |ensemble: &Ensemble| {
            let NetworksConfig { classifiers, regressors, .. } = ensemble.config();
            has_baseline || !(classifiers.is_empty() || regressors.is_empty())
        };
        let ensemble = self.ensemble.filter(stands_alone);
        if ensemble.is_none() && !has_baseline {
            return None;
        }
        let baseline = self.baseline.unwrap_or_else(|| Baseline::constant(0, &[]));
        let rule = self.decision.as_ref().map_or(Rule::Reward, |decision| decision.rule);
        let plain = Decision { rule, times: None, time_accuracy: baseline.time_accuracy };
        // What was fitted to networks says nothing of a baseline.
        let fits = ensemble.is_some() || !had_networks;
        Some(Predictor {
            scaler: self.scaler?,
            ensemble,
            baseline,
            calibration: self.calibration.filter(|_| fits).unwrap_or_default(),
            decision: self.decision.filter(|_| fits).unwrap_or(plain),
            spec,
            class_weights,
        })
    }
}

fn read_networks(
    path: &Path,
    manifest: &Manifest,
    config: &NetworksConfig,
    device: &Device,
) -> Result<Ensemble> {
    let bytes = read_lasting(path, WEIGHTS, manifest)?;
    Ensemble::from_safetensors(bytes, config.clone(), device)
        .map_err(|source| CheckpointError::Weights { path: path.to_owned(), source })
}

fn keep<T>(result: Result<T>, damage: &mut Vec<CheckpointError>) -> Option<T> {
    result.map_err(|error| damage.push(error)).ok()
}
