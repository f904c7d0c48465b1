//! What each of the models that will serve earns on held-out rows, by how much is known of them.

use super::HeldOutRows;
use super::evaluation::RESPONSE_TIME_SECONDS;
use crate::features::Conversation;
use crate::model::Predictor;
use crate::model::checkpoint::{CoverageRecord, CoverageScores, NEARLY_EMPTY_COVERAGE};
use crate::model::constant::Constant;
use crate::model::predictor::Estimate;
use crate::subnet::reward::{Answer, ClassWeights, Truth, reward};

/// Measures the models of a predictor on the rows that were held out from its training.
pub(super) fn of_held_out(
    predictor: &Predictor,
    held_out: &HeldOutRows,
    conversations: &[Conversation],
    truths: &[Truth],
) -> CoverageRecord {
    let converted = truths.iter().filter(|truth| truth.converted).count();
    let baseline = &predictor.baseline;
    let best_time = (f64::from(baseline.time_seconds), f64::from(baseline.time_accuracy));
    let constant = Constant::of(
        (truths.len(), converted),
        Some(best_time),
        &predictor.spec,
        predictor.class_weights,
    );
    let [mut nearly_empty, mut rest] = [Sums::default(); 2];
    for (index, row) in held_out.rows.iter().enumerate() {
        let (estimate, confidence) = (held_out.estimates[index], held_out.confidences[index]);
        let first = predictor.decide_with(confidence, predictor.decision.rule, estimate);
        let alone = Estimate { fallback: true, ..held_out.baseline[index] };
        // Without networks the baseline is what was calibrated.
        let alone = if predictor.ensemble.is_some() { predictor.decide(alone) } else { first };
        let nearly = conversations[*row].coverage() < NEARLY_EMPTY_COVERAGE;
        let sums = if nearly { &mut nearly_empty } else { &mut rest };
        sums.add(predictor, [first, alone, constant.answer()], truths[*row]);
    }
    let has_networks = predictor.ensemble.is_some();
    CoverageRecord {
        threshold: NEARLY_EMPTY_COVERAGE,
        nearly_empty: nearly_empty.means(has_networks),
        rest: rest.means(has_networks),
    }
}

/// Rewards of the ensemble, the baseline and the constant.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    rows: usize,
    rewards: [f64; 3],
}

impl Sums {
    fn add(&mut self, predictor: &Predictor, answers: [Answer; 3], truth: Truth) {
        self.rows += 1;
        for (sum, answer) in self.rewards.iter_mut().zip(answers) {
            let weights = ClassWeights::START;
            *sum += reward(&predictor.spec, weights, answer, truth, RESPONSE_TIME_SECONDS).total;
        }
    }

    fn means(self, has_networks: bool) -> CoverageScores {
        let [ensemble, baseline, constant] =
            self.rewards.map(|reward| reward / self.rows.max(1) as f64);
        let ensemble = has_networks.then_some(ensemble);
        CoverageScores { rows: self.rows, ensemble, baseline, constant }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::scaler::Scaler;
    use crate::model::baseline::Baseline;
    use crate::model::calibration::Calibration;
    use crate::model::decision::{Decision, Rule};
    use crate::model::ensemble::Ensemble;
    use crate::model::networks::Combination;
    use crate::subnet::reward::RewardSpec;

    /// With 200 of 400 the constant says 0.5, and "converts" earns more: its time, the best one of 60
    /// alike, earns everything. Each right answer gets, beside 0.2 * (1 - 0.05/60):
    ///
    /// ```python
    /// print(.8 * (.55*.375 + .45), .8 * .55 * .625)  # 0.525 0.275
    /// ```
    #[test]
    fn rewards_by_hand() {
        let predictor = |ensemble| Predictor {
            scaler: Scaler::fit(&[]),
            ensemble,
            baseline: Baseline::constant(400, &[60.0; 200]),
            calibration: Calibration::default(),
            decision: Decision::fit(Rule::Threshold(0.5), &[], 0.0),
            spec: RewardSpec::MAIN,
            class_weights: ClassWeights::START,
        };
        let full = Conversation { values: [1.0; crate::subnet::schema::FEATURE_COUNT] };
        let conversations = [Conversation::EMPTY, full.clone(), full.clone(), full];
        let (yes, no) = (Truth::converted_after(60.0), Truth::not_converted());
        let truths = [yes, no, yes, no];
        let said = |probability| Estimate { probability, time_seconds: 60.0, fallback: false };
        let held_out = HeldOutRows {
            rows: vec![0, 1, 2],
            estimates: vec![said(0.1), said(0.2), said(0.9)],
            confidences: vec![0.1, 0.2, 0.9],
            baseline: vec![said(0.9), said(0.9), said(0.9)],
        };
        let quick = 0.2 * (1.0 - 0.05 / 60.0);
        let near = |found: f64, expected: f64| (found - expected).abs() < 1e-9;
        let with = predictor(Some(Ensemble::sample(Combination::Probabilities)));
        let record = of_held_out(&with, &held_out, &conversations, &truths);
        assert_eq!(record.threshold, NEARLY_EMPTY_COVERAGE);
        assert_eq!((record.nearly_empty.rows, record.rest.rows), (1, 2));
        assert!(near(record.nearly_empty.ensemble.unwrap(), quick), "{record:?}");
        assert!(near(record.nearly_empty.baseline, 0.525 + quick), "{record:?}");
        assert!(near(record.nearly_empty.constant, 0.525 + quick), "{record:?}");
        assert!(near(record.rest.ensemble.unwrap(), (0.275 + 0.525) / 2.0 + quick), "{record:?}");
        assert!(near(record.rest.baseline, 0.525 / 2.0 + quick), "{record:?}");
        assert!(near(record.rest.constant, 0.525 / 2.0 + quick), "{record:?}");

        let record = of_held_out(&predictor(None), &held_out, &conversations, &truths);
        assert_eq!(record.rest.ensemble, None);
        assert!(near(record.rest.baseline, (0.275 + 0.525) / 2.0 + quick), "{record:?}");
        let none = of_held_out(&with, &HeldOutRows::default(), &[], &[]);
        assert_eq!((none.rest.rows, none.rest.baseline), (0, 0.0));
    }
}
