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
        let outputs = self.networks.as_ref().map(|(networks, unit_seconds)| {
            networks.outputs(&rows, *unit_seconds, &self.device)
        });
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
        let logit = output.map(|output| output.logit).filter(|logit| !logit.is_nan());
        let time = output.and_then(|output| output.time_seconds).filter(|time| time.is_finite());
        Estimate {
            probability: sigmoid(logit.unwrap_or_else(|| self.baseline.logit(row))),
            time_seconds: f64::from(time.unwrap_or(self.baseline.time_seconds)),
        }
    }

    /// The answer that an estimate leads to.
    pub fn decide(&self, estimate: Estimate) -> Answer {
        let probability = self.calibration.apply(estimate.probability);
        self.decision.answer(probability, estimate.time_seconds, &self.spec, self.class_weights)
    }
}

impl Model for Predictor {
    fn predict(&self, conversations: &[Conversation]) -> Vec<Answer> {
        self.estimate(conversations).into_iter().map(|estimate| self.decide(estimate)).collect()
    }
}

/// 1 / (1 + e^-x), in f64 so that only logits beyond ±700 reach 0 or 1.
fn sigmoid(logit: f32) -> f64 {
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
            decision: Decision::fit(Rule::Reward, &[]),
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

        let with_nan = predictor(None)
            .estimate_row(&[0.0; INPUT_COUNT], Some(Output { logit: f32::NAN, time_seconds: None }));
        assert_eq!(with_nan, alone);
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
