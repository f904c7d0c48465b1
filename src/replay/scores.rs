//! What some answers earned, and what one answer for all would have.

use serde::Serialize;

use super::{Row, Scored};
use crate::model::decision::best_constant_time;
use crate::subnet::reward::{
    Answer, NOT_CONVERTED, PREDICTION_SHARE, RESPONSE_TIME_SHARE, Reward, RewardSpec, Truth, reward,
};

/// The time that "always yes" says where no true time is known, in seconds.
const UNKNOWN_TIME_SECONDS: f64 = 60.0;

/// What some answers earned.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Scores {
    /// Answers.
    pub answers: usize,
    /// How many of the conversations converted.
    pub converted: usize,
    /// How many were answered with "converts".
    pub said_converted: usize,
    /// The share of right classes.
    pub accuracy: f64,
    /// The mean reward.
    pub mean_reward: f64,
    /// The validator's parts, before they are weighed.
    pub parts: Parts,
    /// What the parts add to the mean reward. They sum up to it.
    pub earned: Earned,
}

/// Means of a reward's parts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Parts {
    /// The class weight where the class is right, else 0.
    pub class: f64,
    /// How near the time is, in 0..=1; 0 where either side says "does not convert".
    pub time_accuracy: f64,
    /// The term of the confidence.
    pub diversity: f64,
    /// The three above, weighed by the spec.
    pub prediction: f64,
    /// How quick the answer was, in 0..=1.
    pub response_time: f64,
}

/// A mean reward by where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Earned {
    /// From the class.
    pub class: f64,
    /// From the time.
    pub time: f64,
    /// From the confidence.
    pub diversity: f64,
    /// From how quick the answers were.
    pub response_time: f64,
}

/// The same answer to every request, in the same time as the real one, under the same class weights.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Constants {
    /// "Does not convert".
    pub always_no: f64,
    /// "Converts", after `best_time_seconds`.
    pub always_yes: f64,
    /// The one time that would have earned the most, which nobody knew before.
    pub best_time_seconds: f64,
}

impl Scores {
    /// The scores of answers, each with its truth and reward. `None` without any.
    pub(super) fn of(
        spec: &RewardSpec,
        answers: impl Iterator<Item = (Answer, Truth, Reward)>,
    ) -> Option<Scores> {
        let (mut answered, mut converted, mut said_converted, mut right) = (0, 0, 0, 0_usize);
        let mut total = 0.0;
        let mut sum = Parts::default();
        for (answer, truth, reward) in answers {
            answered += 1;
            converted += usize::from(truth.converted);
            said_converted += usize::from(answer.converted);
            right += usize::from(answer.converted == truth.converted);
            total += reward.total;
            sum.class += reward.class;
            sum.time_accuracy += reward.time_accuracy;
            sum.diversity += reward.diversity;
            sum.prediction += reward.prediction;
            sum.response_time += reward.response_time;
        }
        let count = answered as f64;
        let parts = Parts {
            class: sum.class / count,
            time_accuracy: sum.time_accuracy / count,
            diversity: sum.diversity / count,
            prediction: sum.prediction / count,
            response_time: sum.response_time / count,
        };
        (answered > 0).then(|| Scores {
            answers: answered,
            converted,
            said_converted,
            accuracy: right as f64 / count,
            mean_reward: total / count,
            parts,
            earned: Earned {
                class: PREDICTION_SHARE * spec.class_weight * parts.class,
                time: PREDICTION_SHARE * spec.time_weight * parts.time_accuracy,
                diversity: PREDICTION_SHARE * spec.diversity_weight * parts.diversity,
                response_time: RESPONSE_TIME_SHARE * parts.response_time,
            },
        })
    }
}

impl Constants {
    /// What the same answer to all of these would have earned. `None` without rows.
    pub(super) fn of(spec: &RewardSpec, rows: &[Row], scored: &[Scored]) -> Option<Constants> {
        if rows.is_empty() {
            return None;
        }
        let converted = rows.iter().map(|row| row.truth).filter(|truth| truth.converted);
        let times: Vec<f64> =
            converted.map(|truth| truth.time_seconds).filter(|time| time.is_finite()).collect();
        let best = best_constant_time(&times).map_or(UNKNOWN_TIME_SECONDS, |(time, _)| time);
        // Sure of themselves, as the constants of an evaluation are.
        let no = Answer { converted: false, time_seconds: NOT_CONVERTED, confidence: 0.0 };
        let yes = Answer { converted: true, time_seconds: best, confidence: 1.0 };
        let mean = |answer: Answer| {
            let one = |(row, scored): (&Row, &Scored)| {
                reward(spec, scored.weights, answer, row.truth, row.response_time_seconds).total
            };
            rows.iter().zip(scored).map(one).sum::<f64>() / rows.len() as f64
        };
        Some(Constants { always_no: mean(no), always_yes: mean(yes), best_time_seconds: best })
    }
}
