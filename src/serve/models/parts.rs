//! The models of a checkpoint.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::features::Conversation;
use crate::model::adjustment::{Adjusting, Adjustment};
use crate::model::predictor::Estimate;
use crate::model::{Model, Opinion, Predictor};
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
pub(super) struct EnsembleModel {
    pub(super) predictor: Arc<Predictor>,
    /// Which calibration of which checkpoint it has.
    pub(super) calibration: Arc<str>,
    pub(super) adjusting: Arc<Adjusting>,
}

impl Model for EnsembleModel {
    fn predict(&self, conversations: &[Conversation]) -> Vec<Answer> {
        self.explain(conversations).into_iter().map(|opinion| opinion.answer).collect()
    }

    fn explain(&self, conversations: &[Conversation]) -> Vec<Opinion> {
        let adjustment = self.adjusting.current();
        let adjustment = adjustment.of(&self.calibration);
        let explain = |estimate: Estimate| {
            let mut opinion = self.predictor.decide_adjusted(estimate, &adjustment);
            // A predictor quietly answers with its baseline where networks say no number. Here that
            // is told, so that it counts and another model answers under its own name.
            if estimate.fallback {
                opinion.answer.confidence = f64::NAN;
            }
            opinion
        };
        self.predictor.estimate(conversations).into_iter().map(explain).collect()
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

    fn explain(&self, conversations: &[Conversation]) -> Vec<Opinion> {
        let none = Adjustment::default();
        let estimates = self.0.estimate_baseline(conversations).into_iter();
        estimates.map(|estimate| self.0.decide_adjusted(estimate, &none)).collect()
    }
}

/// A model that panics now and then.
pub(super) struct Faulty {
    pub(super) model: Arc<dyn Model>,
    pub(super) every: NonZeroU64,
    pub(super) asked: AtomicU64,
}

impl Faulty {
    fn fail_in_turn(&self, conversations: &[Conversation]) {
        let before = self.asked.fetch_add(conversations.len() as u64, Ordering::Relaxed);
        let after = before + conversations.len() as u64;
        assert!(before / self.every == after / self.every, "a panic that was asked for");
    }
}

impl Model for Faulty {
    fn predict(&self, conversations: &[Conversation]) -> Vec<Answer> {
        self.fail_in_turn(conversations);
        self.model.predict(conversations)
    }

    fn explain(&self, conversations: &[Conversation]) -> Vec<Opinion> {
        self.fail_in_turn(conversations);
        self.model.explain(conversations)
    }
}
