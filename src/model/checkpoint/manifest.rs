//! What a checkpoint says of itself.

use std::collections::BTreeMap;

use burn::module::Module as _;
use serde::{Deserialize, Serialize};

use super::{FORMAT_VERSION, LineageRecord};
use crate::features::engineer::{input_hash, input_names};
use crate::model::constant::Constant;
use crate::model::networks::NetworksConfig;
use crate::model::predictor::Predictor;
use crate::subnet::reward::{ClassWeights, RewardSpec};

/// What a checkpoint is and what it was made from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The format of the folder.
    pub format_version: u32,
    /// The version of convminer that made it.
    pub crate_version: String,
    /// When it was made, RFC 3339 in UTC.
    pub created: String,
    /// The inputs that its networks take.
    pub inputs: InputsRecord,
    /// The shapes of its networks; none where the rows had one class only.
    pub networks: Option<NetworksConfig>,
    /// How many numbers each network holds, the batch norm's running statistics among them.
    pub parameters: BTreeMap<String, usize>,
    /// The reward that its decision maximises: the name of one of
    /// [`RewardSpec::ALL`](crate::subnet::reward::RewardSpec::ALL).
    pub reward_spec: String,
    /// The class weights that its decision reckons with.
    pub class_weights: ClassWeightsRecord,
    /// The seed of everything random in its training.
    pub seed: u64,
    /// The device that it was trained on.
    pub device: String,
    /// The training configuration, as it was resolved.
    pub training: serde_json::Value,
    /// The data that it learned from.
    pub data: DataRecord,
    /// How it did on the rows that no network was trained on.
    pub metrics: serde_json::Value,
    /// What its models earned on such rows, by how much is known of them; checkpoints of before this
    /// was measured have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<CoverageRecord>,
    /// What it goes on from; a checkpoint that was trained from nothing has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lineage: Option<LineageRecord>,
    /// SHA-256 of the files that never change after training, by name.
    pub files: BTreeMap<String, String>,
}

/// The inputs of a checkpoint's networks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputsRecord {
    /// [`input_hash`] of the program that made it.
    pub hash: String,
    /// Their names, in order.
    pub names: Vec<String>,
}

/// Class weights as a manifest writes them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ClassWeightsRecord {
    /// Of a conversation that converts.
    pub positive: f64,
    /// Of one that does not.
    pub negative: f64,
}

/// The data that a checkpoint learned from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataRecord {
    /// The file's name, without its folder.
    pub file: String,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Rows that were used.
    pub rows: usize,
    /// How many of them converted.
    pub converted: usize,
    /// Rows that no network was trained on.
    pub validation_rows: usize,
}

/// Below this share of known features a conversation is nearly empty: where nobody answered, the
/// response times and the confidences of entities are missing, which is a quarter of the features.
pub const NEARLY_EMPTY_COVERAGE: f64 = 0.8;

/// What the models of a checkpoint earned on rows that they did not see.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CoverageRecord {
    /// Conversations of which a smaller share of the features is known are nearly empty.
    pub threshold: f64,
    /// On those.
    pub nearly_empty: CoverageScores,
    /// On all others.
    pub rest: CoverageScores,
}

/// The mean rewards of models on some rows; 0 without rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CoverageScores {
    /// Rows.
    pub rows: usize,
    /// The networks, with calibration and decision; absent if there are none.
    pub ensemble: Option<f64>,
    /// The baseline.
    pub baseline: f64,
    /// The one answer for all.
    pub constant: f64,
}

impl Manifest {
    /// The one answer that earns the most for rows like those that the checkpoint learned from, given
    /// the best time for them and the mean kernel that it earns, if they are known.
    pub fn constant(&self, best_time: Option<(f64, f64)>) -> Constant {
        let ClassWeightsRecord { positive, negative } = self.class_weights;
        let weights = ClassWeights { positive, negative };
        let spec = self.reward_spec.parse().unwrap_or(RewardSpec::MAIN);
        Constant::of((self.data.rows, self.data.converted), best_time, &spec, weights)
    }

    /// Records what a predictor is. The caller fills in how it came about.
    pub fn of(predictor: &Predictor) -> Manifest {
        let mut parameters = BTreeMap::new();
        if let Some(ensemble) = &predictor.ensemble {
            let (networks, config) = (ensemble.networks(), ensemble.config());
            for (stage, networks, members) in [
                ("classifier", &networks.classifiers, &config.classifiers),
                ("regressor", &networks.regressors, &config.regressors),
            ] {
                for (network, member) in networks.iter().zip(members) {
                    parameters.insert(format!("{stage} {}", member.name), network.num_params());
                }
            }
        }
        let ClassWeights { positive, negative } = predictor.class_weights;
        Manifest {
            format_version: FORMAT_VERSION,
            crate_version: env!("CARGO_PKG_VERSION").to_owned(),
            created: String::new(),
            inputs: InputsRecord { hash: input_hash().to_owned(), names: input_names().to_vec() },
            networks: predictor.ensemble.as_ref().map(|ensemble| ensemble.config().clone()),
            parameters,
            reward_spec: predictor.spec.name.to_owned(),
            class_weights: ClassWeightsRecord { positive, negative },
            seed: 0,
            device: String::new(),
            training: serde_json::Value::Null,
            data: DataRecord {
                file: String::new(),
                sha256: String::new(),
                rows: 0,
                converted: 0,
                validation_rows: 0,
            },
            metrics: serde_json::Value::Null,
            coverage: None,
            lineage: None,
            files: BTreeMap::new(),
        }
    }
}
