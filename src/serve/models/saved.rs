//! What outlives the process of what is known about models, and what is told about them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::Predictor;
use crate::subnet::reward::RewardSpec;

/// What an answer of a model earned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Earned<'a> {
    /// The model's name.
    pub model: &'a str,
    /// The name of its checkpoint.
    pub checkpoint: &'a str,
    /// The share of the features that was known, in 0..=1.
    pub coverage: f64,
    /// The reward.
    pub reward: f64,
}

/// What answers, and how its rewards and its confidence are counted.
#[derive(Debug, Clone)]
pub struct InUse {
    /// The name of the checkpoint; empty without one.
    pub checkpoint: Arc<str>,
    /// Which calibration of it the ensemble has; empty without one.
    pub calibration: Arc<str>,
    /// The ensemble and the baseline, if there are any.
    pub predictor: Option<Arc<Predictor>>,
}

impl InUse {
    /// The reward that the checkpoint's decision maximises, or the network's default.
    pub fn spec(&self) -> RewardSpec {
        self.predictor.as_ref().map_or(RewardSpec::MAIN, |predictor| predictor.spec)
    }

    /// What the checkpoint's own calibration says of a probability as the ensemble sees it.
    pub fn calibrated(&self, raw_probability: f64) -> Option<f64> {
        let predictor = self.predictor.as_ref()?;
        Some(predictor.calibration.apply(raw_probability))
    }
}

/// What is kept of the models over a restart.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SavedModels {
    /// Each model.
    pub models: Vec<SavedModel>,
}

/// What is kept of one model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedModel {
    /// Its name.
    pub name: String,
    /// What is the same for the same model.
    pub fingerprint: String,
    /// The names of the checkpoints that it was served from.
    pub checkpoints: Vec<String>,
    /// What it did.
    pub statistics: SavedStatistics,
    /// What it earned on conversations of which little is known, and on all others.
    pub rewards: [SavedRewards; 2],
}

/// The sums behind a model's statistics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedStatistics {
    /// Conversations that it was asked about.
    pub requests: u64,
    /// Those that it gave no valid answer to.
    pub failures: u64,
    /// The sum of the confidences of its answers.
    pub confidence_sum: f64,
    /// Batches that it answered.
    pub batches: u64,
    /// How long these took together, in seconds.
    pub seconds: f64,
    /// How many took how long, in bins of which eight make a doubling, from 1 us on.
    pub time_bins: Vec<u32>,
    /// What its answers earned.
    pub rewards: SavedRewards,
}

/// Rewards, added up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct SavedRewards {
    /// How many.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
}

impl SavedRewards {
    pub(super) fn add(&mut self, reward: f64) {
        self.count += 1;
        self.sum += reward;
    }
}
