//! The trained miner: all that serving needs.

use burn::tensor::Device;

use super::Model;
use super::baseline::Baseline;
use super::calibration::Calibration;
use super::decision::Decision;
use super::networks::{Networks, Output};
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

/// Scaler, networks, baseline, calibration and decision: from conversations to answers.
#[derive(Debug)]
pub struct Predictor {
    /// Makes the inputs.
    pub scaler: Scaler,
    /// The networks, and the unit of the regressor's output in seconds; none where the training
    /// rows had one class only.
    pub networks: Option<(Networks, f32)>,
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
    /// Where the networks are.
    pub device: Device,
}

impl Predictor {
    /// What the models say of each conversation.
    pub fn estimate(&self, conversations: &[Conversation]) -> Vec<Estimate> {
        let rows = self.scaler.rows(conversations);
        let outputs = self
            .networks
            .as_ref()
            .map(|(networks, unit_seconds)| networks.outputs(&rows, *unit_seconds, &self.device));
        rows.chunks_exact(INPUT_COUNT)
            .enumerate()
            .map(|(index, row)| self.estimate_row(row, outputs.as_ref().map(|all| all[index])))
            .collect()
    }

    /// What the baseline alone says of each conversation.
    pub fn estimate_baseline(&self, conversations: &[Conversation]) -> Vec<Estimate> {
        conversations
            .iter()
            .map(|conversation| self.estimate_row(&self.scaler.row(conversation), None))
            .collect()
    }

    fn estimate_row(&self, row: &[f32], output: Option<Output>) -> Estimate {
        let sound = |output: &Output| {
            !output.logit.is_nan() && output.time_seconds.is_none_or(f32::is_finite)
        };
        match output.filter(sound) {
            Some(output) => Estimate {
                probability: sigmoid(output.logit),
                time_seconds: f64::from(output.time_seconds.unwrap_or(self.baseline.time_seconds)),
                fallback: false,
            },
            None => Estimate {
                probability: sigmoid(self.baseline.logit(row)),
                time_seconds: f64::from(self.baseline.time_seconds),
                // Without networks the baseline is what was calibrated.
                fallback: self.networks.is_some(),
            },
        }
    }

    /// The answer that an estimate leads to.
    pub fn decide(&self, estimate: Estimate) -> Answer {
        let Estimate { probability, time_seconds, fallback } = estimate;
        let (probability, decision) = if fallback {
            (Calibration::default().apply(probability), &self.fallback_decision())
        } else {
            (self.calibration.apply(probability), &self.decision)
        };
        decision.answer(probability, time_seconds, &self.spec, self.class_weights)
    }

    /// The time that the decision answers for an estimate, should it say "converts".
    pub fn time_of(&self, estimate: Estimate) -> f64 {
        let offset = if estimate.fallback { 0.0 } else { self.decision.time_offset_seconds };
        estimate.time_seconds + f64::from(offset)
    }

    fn fallback_decision(&self) -> Decision {
        Decision {
            rule: self.decision.rule,
            time_offset_seconds: 0.0,
            time_accuracy: self.baseline.time_accuracy,
        }
    }
}

impl Model for Predictor {
    fn predict(&self, conversations: &[Conversation]) -> Vec<Answer> {
        self.estimate(conversations).into_iter().map(|estimate| self.decide(estimate)).collect()
    }
}

/// 1 / (1 + e^-x), in f64 so that only logits beyond ±700 reach 0 or 1.
pub fn sigmoid(logit: f32) -> f64 {
    1.0 / (1.0 + (-f64::from(logit)).exp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::decision::Rule;
    use crate::model::mlp::MlpConfig;

    fn predictor(networks: Option<(Networks, f32)>) -> Predictor {
        Predictor {
            scaler: Scaler::fit(&[]),
            networks,
            baseline: Baseline::constant(9, &[50.0, 51.0, 90.0]),
            calibration: Calibration::default(),
            decision: Decision::fit(Rule::Reward, &[], 0.0),
            spec: RewardSpec::MAIN,
            class_weights: ClassWeights::START,
            device: Device::flex(),
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
        let config = MlpConfig::new(INPUT_COUNT);
        let networks = Networks::new(config.init(&Device::flex()), None);
        let mut predictor = predictor(Some((networks, 60.0)));
        predictor.calibration = Calibration::fit(10, (0..1000).map(|_| (0.35, true)));
        predictor.decision.time_offset_seconds = 9.0;
        let nan = Output { logit: f32::NAN, time_seconds: None };
        let estimate = predictor.estimate_row(&[0.0; INPUT_COUNT], Some(nan));
        assert!(estimate.fallback);
        assert_eq!(predictor.time_of(estimate), 50.0);
        let answer = predictor.decide(estimate);
        assert!((answer.confidence - 0.35).abs() < 1e-6);
        // 50 s earns (1 + 14/15) / 3 of the time's reward: 0.35 * (0.20625 + 0.29) is less than
        // 0.65 * 0.34375.
        assert!(!answer.converted);
    }

    #[test]
    fn an_answer_for_each_conversation() {
        let config = MlpConfig::new(INPUT_COUNT);
        let device = Device::flex();
        let networks = Networks::new(config.init(&device), Some(config.init(&device)));
        let predictor = predictor(Some((networks, 60.0)));
        for count in [0, 1, 3] {
            let answers = predictor.predict(&vec![Conversation::EMPTY; count]);
            assert_eq!(answers.len(), count);
            assert!(answers.iter().all(|answer| answer.check().is_ok()));
        }
    }
}
