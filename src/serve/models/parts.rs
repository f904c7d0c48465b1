//! The models of a checkpoint.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::features::Conversation;
use crate::model::{Model, Predictor};
use crate::subnet::reward::Answer;

/// The name of the networks, with calibration and decision.
pub const ENSEMBLE: &str = "ensemble";
/// The name of linfa's logistic regression.
pub const BASELINE: &str = "baseline";
/// The name of the one answer for all.
pub const CONSTANT: &str = "constant";
/// The names of all models that a checkpoint may have.
pub const NAMES: [&str; 3] = [ENSEMBLE, BASELINE, CONSTANT];

/// The networks of a predictor.
#[derive(Debug)]
pub(super) struct EnsembleModel(pub(super) Arc<Predictor>);

impl Model for EnsembleModel {
    fn predict(&self, conversations: &[Conversation]) -> Vec<Answer> {
        let answer = |estimate| {
            let answer = self.0.decide(estimate);
            // A predictor quietly answers with its baseline where networks say no number. Here that
            // is told, so that it counts and another model answers under its own name.
            if estimate.fallback { Answer { confidence: f64::NAN, ..answer } } else { answer }
        };
        self.0.estimate(conversations).into_iter().map(answer).collect()
    }
}

/// The baseline of a predictor.
#[derive(Debug)]
pub(super) struct BaselineModel(pub(super) Arc<Predictor>);

impl Model for BaselineModel {
    fn predict(&self, conversations: &[Conversation]) -> Vec<Answer> {
        let estimates = self.0.estimate_baseline(conversations);
        estimates.into_iter().map(|estimate| self.0.decide(estimate)).collect()
    }
}

/// A model that panics now and then.
pub(super) struct Faulty {
    pub(super) model: Arc<dyn Model>,
    pub(super) every: NonZeroU64,
    pub(super) asked: AtomicU64,
}

impl Model for Faulty {
    fn predict(&self, conversations: &[Conversation]) -> Vec<Answer> {
        let before = self.asked.fetch_add(conversations.len() as u64, Ordering::Relaxed);
        let after = before + conversations.len() as u64;
        assert!(before / self.every == after / self.every, "a panic that was asked for");
        self.model.predict(conversations)
    }
}
