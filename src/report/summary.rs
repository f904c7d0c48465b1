//! What a report is about.

use serde::Serialize;

use super::{Miner, Origin, Rows};
use crate::model::checkpoint::{ClassWeightsRecord, DataRecord};
use crate::subnet::reward::Truth;

/// The rows of a report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DataSummary {
    /// The name of their file.
    pub file: String,
    /// Where they come from.
    pub origin: Origin,
    /// How many.
    pub rows: usize,
    /// How many of them converted.
    pub converted: usize,
}

/// A miner of a report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MinerSummary {
    /// The checkpoint's folder.
    pub checkpoint: String,
    /// When it was made, RFC 3339 in UTC.
    pub created: String,
    /// The version of convminer that made it.
    pub crate_version: String,
    /// The data that it learned from.
    pub data: DataRecord,
    /// The seed of its training.
    pub seed: u64,
    /// The device that it was trained on.
    pub device: String,
    /// The reward that its decision maximises.
    pub reward_spec: String,
    /// The class weights that its decision reckons with.
    pub class_weights: ClassWeightsRecord,
    /// How it decides.
    pub decision: String,
    /// How its probabilities are calibrated.
    pub calibration: String,
    /// Its networks, and how many numbers each of them holds.
    pub networks: Vec<(String, usize)>,
    /// Whether its baseline is a logistic regression; a constant otherwise.
    pub baseline_fitted: bool,
}

impl DataSummary {
    pub(super) fn of(rows: &Rows<'_>) -> DataSummary {
        let is_converted = |truth: &&Truth| truth.converted;
        DataSummary {
            file: rows.file.to_owned(),
            origin: rows.origin,
            rows: rows.truths.len(),
            converted: rows.truths.iter().filter(is_converted).count(),
        }
    }
}

impl MinerSummary {
    pub(super) fn of(miner: Miner<'_>) -> MinerSummary {
        let Miner { name, manifest, predictor } = miner;
        MinerSummary {
            checkpoint: name.to_owned(),
            created: manifest.created.clone(),
            crate_version: manifest.crate_version.clone(),
            data: manifest.data.clone(),
            seed: manifest.seed,
            device: manifest.device.clone(),
            reward_spec: predictor.spec.name.to_owned(),
            class_weights: manifest.class_weights,
            decision: predictor.decision.rule.to_string(),
            calibration: predictor.calibration.to_string(),
            networks: manifest.parameters.clone().into_iter().collect(),
            baseline_fitted: predictor.baseline.fitted,
        }
    }
}
