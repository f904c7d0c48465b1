//! The trained miner: all that serving needs.

use std::borrow::Cow;

use super::Model;
use super::adjustment::Adjustment;
use super::baseline::Baseline;
use super::calibration::Calibration;
use super::decision::{Decision, Rule, TIME_RANGE_SECONDS};
use super::ensemble::{Ensemble, Output};
use super::opinion::{Basis, Opinion};
use crate::features::Conversation;
use crate::features::engineer::INPUT_COUNT;
use crate::features::scaler::Scaler;
use crate::subnet::reward::{Answer, ClassWeights, RewardSpec};

/// What the models say of one conversation, before calibration and decision.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// P(converts) as the model sees it, in 0..=1.
    pub probability: f64,
    /// The time to conversion in seconds, if it converts.
    pub time_seconds: f64,
    /// Whether the baseline said so in place of the networks. What calibration and decision know
    /// of the networks then does not hold.
    pub fallback: bool,
}

impl Estimate {
    /// What networks say, or in their place the baseline, if they say nothing or no number.
    pub fn of(output: Option<Output>, baseline: &Baseline, row: &[f32]) -> Estimate {
        let alone = Estimate::of_baseline(baseline, row);
        // Without networks the baseline is what is calibrated.
        let Some(Output { probability, time_seconds }) = output else { return alone };
        let probability = probability.unwrap_or(alone.probability);
        let time_seconds = time_seconds.unwrap_or(alone.time_seconds);
        if probability.is_nan() || !time_seconds.is_finite() {
            return Estimate { fallback: true, ..alone };
        }
        Estimate { probability, time_seconds, fallback: false }
    }

    /// What a baseline says of a scaled row.
    pub fn of_baseline(baseline: &Baseline, row: &[f32]) -> Estimate {
        Estimate {
            probability: sigmoid(f64::from(baseline.logit(row))),
            time_seconds: f64::from(baseline.time_seconds),
            fallback: false,
        }
    }
}

/// Scaler, networks, baseline, calibration and decision: from conversations to answers.
#[derive(Debug)]
pub struct Predictor {
    /// Makes the inputs.
    pub scaler: Scaler,
    /// The networks; none where the data bears none.
    pub ensemble: Option<Ensemble>,
    /// Answers where there are no networks, or where they say something that is no number.
    pub baseline: Baseline,
    /// Corrects the probability.
    pub calibration: Calibration,
    /// Chooses the answer.
    pub decision: Decision,
    /// The reward that the decision maximises.
    pub spec: RewardSpec,
    /// The class weights that the decision reckons with.
    pub class_weights: ClassWeights,
}

impl Predictor {
    /// What the models say of each conversation.
    pub fn estimate(&self, conversations: &[Conversation]) -> Vec<Estimate> {
        let rows = self.scaler.rows(conversations);
        let outputs = self.ensemble.as_ref().map(|ensemble| ensemble.outputs(&rows));
        rows.chunks_exact(INPUT_COUNT)
            .enumerate()
            .map(|(index, row)| {
                Estimate::of(outputs.as_ref().map(|all| all[index]), &self.baseline, row)
            })
            .collect()
    }

    /// What the baseline alone says of each conversation.
    pub fn estimate_baseline(&self, conversations: &[Conversation]) -> Vec<Estimate> {
        conversations
            .iter()
            .map(|conversation| {
                let fallback = self.ensemble.is_some();
                let row = self.scaler.row(conversation);
                Estimate { fallback, ..Estimate::of_baseline(&self.baseline, &row) }
            })
            .collect()
    }

    /// The answer that an estimate leads to.
    pub fn decide(&self, estimate: Estimate) -> Answer {
        self.answer(&self.decision_of(estimate), self.calibrated(estimate), estimate)
    }

    /// The answer that an estimate leads to with another calibration and another rule than the
    /// checkpoint's.
    pub fn decide_with(&self, probability: f64, rule: Rule, estimate: Estimate) -> Answer {
        let decision = Decision { rule, ..self.decision_of(estimate).into_owned() };
        self.answer(&decision, probability, estimate)
    }

    fn answer(&self, decision: &Decision, probability: f64, estimate: Estimate) -> Answer {
        decision.answer(probability, estimate.time_seconds, &self.spec, self.class_weights)
    }

    /// The answer that an estimate leads to with an adjustment, and what it rests on. What the
    /// baseline says in place of the networks is not adjusted: the adjustment is of the networks.
    pub fn decide_adjusted(&self, estimate: Estimate, adjustment: &Adjustment) -> Opinion {
        let calibrated = self.calibrated(estimate);
        let decision = self.decision_of(estimate);
        let answer = if estimate.fallback {
            self.answer(&decision, calibrated, estimate)
        } else {
            let confidence = adjustment.confidence(calibrated);
            let reward = (&self.spec, self.class_weights);
            decision.adjusted_answer(confidence, estimate.time_seconds, reward, adjustment)
        };
        let time_quantiles = decision.times.as_ref().map(|times| {
            let (shortest, longest) = TIME_RANGE_SECONDS;
            times.kept_quantiles(estimate.time_seconds.max(shortest).min(longest))
        });
        let raw_probability = estimate.probability;
        Opinion { answer, basis: Some(Basis { raw_probability, calibrated, time_quantiles }) }
    }

    /// The calibrated probability of an estimate.
    pub fn calibrated(&self, estimate: Estimate) -> f64 {
        if estimate.fallback {
            Calibration::default().apply(estimate.probability)
        } else {
            self.calibration.apply(estimate.probability)
        }
    }

    /// The time that the decision answers for an estimate, should it say "converts".
    pub fn time_of(&self, estimate: Estimate) -> f64 {
        self.decision_of(estimate).best_time(estimate.time_seconds).0
    }

    fn decision_of(&self, estimate: Estimate) -> Cow<'_, Decision> {
        if estimate.fallback {
            let rule = self.decision.rule;
            let time_accuracy = self.baseline.time_accuracy;
            Cow::Owned(Decision { rule, times: None, time_accuracy })
        } else {
            Cow::Borrowed(&self.decision)
        }
    }
}

impl Model for Predictor {
    fn predict(&self, conversations: &[Conversation]) -> Vec<Answer> {
        self.estimate(conversations).into_iter().map(|estimate| self.decide(estimate)).collect()
    }

    fn explain(&self, conversations: &[Conversation]) -> Vec<Opinion> {
        let none = Adjustment::default();
        let estimates = self.estimate(conversations).into_iter();
        estimates.map(|estimate| self.decide_adjusted(estimate, &none)).collect()
    }
}

/// 1 / (1 + e^-x), in f64 so that only logits beyond ±700 reach 0 or 1.
pub fn sigmoid(logit: f64) -> f64 {
    1.0 / (1.0 + (-logit).exp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::calibration::{self, Method};
    use crate::model::networks::Combination;

    fn predictor(ensemble: Option<Ensemble>) -> Predictor {
        Predictor {
            scaler: Scaler::fit(&[]),
            ensemble,
            baseline: Baseline::constant(9, &[50.0, 51.0, 90.0]),
            calibration: Calibration::default(),
            decision: Decision::fit(Rule::Reward, &[], 0.0),
            spec: RewardSpec::MAIN,
            class_weights: ClassWeights::START,
        }
    }

    #[test]
    fn the_baseline_answers_where_networks_cannot() {
        let alone = predictor(None).estimate(&[Conversation::EMPTY])[0];
        // (3 + 0.5) / (9 + 1)
        assert!((alone.probability - 0.35).abs() < 1e-6);
        assert_eq!(alone.time_seconds, 50.0);

        assert!(!alone.fallback);
    }

    /// What was fitted to the networks must not touch the baseline's answer.
    #[test]
    fn a_fallback_is_not_calibrated() {
        let mut predictor = predictor(Some(Ensemble::sample(Combination::Probabilities)));
        predictor.calibration = calibration::fit(Method::Platt, 10, &[0.35; 1000], &[true; 1000]);
        predictor.decision = Decision::fit(Rule::Reward, &[(50.0, 59.0); 30], 0.0);
        let nan = Output { probability: Some(f64::NAN), time_seconds: None };
        let estimate = Estimate::of(Some(nan), &predictor.baseline, &[0.0; INPUT_COUNT]);
        assert!(estimate.fallback);
        assert_eq!(predictor.time_of(estimate), 50.0);
        let answer = predictor.decide(estimate);
        assert!((answer.confidence - 0.35).abs() < 1e-6);
        // 50 s earns (1 + 14/15) / 3 of the time's reward: 0.35 * (0.20625 + 0.29) is less than
        // 0.65 * 0.34375.
        assert!(!answer.converted);
    }

    /// Without an adjustment, the same answer; with one, by hand.
    #[test]
    fn adjusted_answers_by_hand() {
        use crate::model::adjustment::Recalibration;

        let mut predictor = predictor(None);
        let times: Vec<(f64, f64)> =
            (0..41).map(|row| (100.0, 99.0 + f64::from(row) * 0.05)).collect();
        predictor.decision = Decision::fit(Rule::Threshold(0.5), &times, 0.5);
        let estimate = Estimate { probability: 0.55, time_seconds: 100.0, fallback: false };
        let opinion = predictor.decide_adjusted(estimate, &Adjustment::default());
        assert_eq!(opinion.answer, predictor.decide(estimate));
        assert!((opinion.answer.time_seconds - 100.0).abs() < 1e-9);
        let basis = opinion.basis.unwrap();
        assert_eq!((basis.raw_probability, basis.calibrated), (0.55, 0.55));
        // The errors lie evenly from -1 to 1 s: the 5th percentile is -0.9.
        let quantiles = basis.time_quantiles.unwrap();
        assert!((quantiles[0] - 99.1).abs() < 1e-9 && (quantiles[18] - 100.9).abs() < 1e-9);

        let later = Adjustment { time_quantile_shift: 0.25, ..Adjustment::default() };
        let answer = predictor.decide_adjusted(estimate, &later).answer;
        assert!((answer.time_seconds - 100.5).abs() < 1e-9, "{answer:?}");
        let stricter = Adjustment { threshold_offset: 0.06, ..Adjustment::default() };
        let answer = predictor.decide_adjusted(estimate, &stricter).answer;
        assert_eq!((answer.converted, answer.confidence), (false, 0.55));
        // Ten more rows of which none converted: 10 * 0.55 / 20.
        let mut learned = Recalibration::new("a", 10, 10.0);
        (0..10).for_each(|_| learned.observe(0.55, false));
        let learned = Adjustment { recalibration: Some(learned), ..Adjustment::default() };
        let answer = predictor.decide_adjusted(estimate, &learned).answer;
        assert!(!answer.converted && (answer.confidence - 0.275).abs() < 1e-12);
        let fallback = Estimate { fallback: true, ..estimate };
        let opinion = predictor.decide_adjusted(fallback, &learned);
        assert_eq!(opinion.answer, predictor.decide(fallback));
    }

    #[test]
    fn an_answer_for_each_conversation() {
        let predictor = predictor(Some(Ensemble::sample(Combination::Probabilities)));
        for count in [0, 1, 3] {
            let answers = predictor.predict(&vec![Conversation::EMPTY; count]);
            assert_eq!(answers.len(), count);
            assert!(answers.iter().all(|answer| answer.check().is_ok()));
        }
    }
}
