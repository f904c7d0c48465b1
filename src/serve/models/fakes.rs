//! Models for tests.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::lineup::Lineup;
use super::member::{Member, Now};
use super::parts::ENSEMBLE;
use super::registry::Registry;
use crate::features::Conversation;
use crate::features::scaler::Scaler;
use crate::model::baseline::Baseline;
use crate::model::calibration::{Calibration, Temperature};
use crate::model::decision::{Decision, Rule};
use crate::model::{Model, Predictor};
use crate::subnet::reward::{Answer, ClassWeights, NOT_CONVERTED, RewardSpec};

/// A model made of a function.
pub(in crate::serve) struct Fake<F>(pub(in crate::serve) F);

impl<F: Fn(&[Conversation]) -> Vec<Answer> + Send + Sync> Model for Fake<F> {
    fn predict(&self, conversations: &[Conversation]) -> Vec<Answer> {
        (self.0)(conversations)
    }
}

/// A model made of a function of one conversation.
pub(in crate::serve) fn each(
    answer: impl Fn(&Conversation) -> Answer + Send + Sync + 'static,
) -> Arc<dyn Model> {
    Arc::new(Fake(move |conversations: &[Conversation]| {
        conversations.iter().map(&answer).collect()
    }))
}

/// A model that always has the same confidence.
pub(in crate::serve) fn sure(confidence: f64) -> Arc<dyn Model> {
    each(move |_| says(confidence))
}

/// "Does not convert", with this confidence.
pub(in crate::serve) fn says(confidence: f64) -> Answer {
    Answer { converted: false, time_seconds: NOT_CONVERTED, confidence }
}

/// A full conversation whose first value is `value`.
pub(in crate::serve) fn conversation(value: f32) -> Conversation {
    let mut conversation = Conversation { values: [1.0; crate::subnet::schema::FEATURE_COUNT] };
    conversation.values[0] = value;
    conversation
}

/// A clock that is set by hand.
#[derive(Clone)]
pub(super) struct Hand(Arc<Mutex<Instant>>);

impl Hand {
    pub(super) fn new() -> Hand {
        Hand(Arc::new(Mutex::new(Instant::now())))
    }

    pub(super) fn advance(&self, time: Duration) {
        *self.0.lock().unwrap() += time;
    }

    pub(super) fn now(&self) -> Now {
        let hand = self.clone();
        Arc::new(move || *hand.0.lock().unwrap())
    }
}

/// What answers as the ensemble of the checkpoint that a file names: `<name> <temperature>`, of which
/// the second is its calibration. Followed by `Registry::refresh`.
pub(in crate::serve) fn checkpoint(file: &Path) -> Registry {
    let (watched, read) = (file.to_owned(), file.to_owned());
    let load = move |previous: Option<&Arc<Lineup>>| {
        let text = std::fs::read_to_string(&read).unwrap();
        let (name, temperature) = text.split_once(' ').unwrap();
        let temperature = Temperature { temperature: temperature.parse().unwrap() };
        let predictor = Predictor {
            scaler: Scaler::fit(&[]),
            ensemble: None,
            baseline: Baseline::constant(9, &[50.0, 51.0, 90.0]),
            calibration: Calibration::Temperature(temperature),
            decision: Decision::fit(Rule::Reward, &[], 0.0),
            spec: RewardSpec::MAIN,
            class_weights: ClassWeights::START,
        };
        let mut lineup = Lineup::new(vec![Member::new(ENSEMBLE, sure(0.1), name.to_owned())]);
        lineup.members[0].standing.is_of(name);
        lineup.name = name.into();
        lineup.calibration = text.as_str().into();
        lineup.predictor = Some(Arc::new(predictor));
        if let Some(previous) = previous {
            lineup.inherit(previous);
        }
        Ok(Arc::new(lineup))
    };
    Registry::following(move || vec![watched.clone()], load).unwrap()
}
