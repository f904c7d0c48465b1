//! From a probability and a time to the answer that earns the most.

use serde::{Deserialize, Serialize};

use crate::subnet::reward::{
    Answer, ClassWeights, NOT_CONVERTED, RewardSpec, TIME_WINDOW_SECONDS, converting_earns_more,
    time_kernel,
};

/// Times that are answered, in seconds. The lower bound is positive because the network refuses
/// other times; the upper one is a day.
pub const TIME_RANGE_SECONDS: (f64, f64) = (0.1, 86_400.0);

/// Fewer held-out conversions say nothing about a systematic error of the times.
const FEWEST_FOR_OFFSET: usize = 20;
/// How many conversions' worth of belief the accuracy of the best constant time counts for.
const PRIOR_TIMES: f64 = 10.0;

/// How the answer is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Class 1 exactly when its expected reward is larger.
    Reward,
    /// Class 1 when the probability is at least this.
    Threshold(f32),
}

/// The decision of a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// How the class is chosen.
    pub rule: Rule,
    /// Added to the predicted time, in seconds.
    pub time_offset_seconds: f32,
    /// What the time of a rightly predicted conversion earned on held-out rows, in 0..=1: the mean
    /// of the reward's triangular kernel.
    pub time_accuracy: f32,
}

impl Decision {
    /// Fits the time's part to held-out converted rows, given as (predicted, true) seconds: the
    /// offset under which the mean of the kernel is largest, and that mean.
    ///
    /// With few rows there is no offset, and the mean leans on `prior_accuracy`, what the best
    /// constant time earns on the training rows: one lucky row must not make a miner sure.
    pub fn fit(rule: Rule, times: &[(f64, f64)], prior_accuracy: f64) -> Decision {
        let earned = |offset: f64| -> f64 {
            times.iter().map(|(predicted, truth)| time_kernel(predicted + offset - truth)).sum()
        };
        let mut best = (0.0, earned(0.0));
        let tenths = if times.len() < FEWEST_FOR_OFFSET { 0 } else { 150 };
        // Tenths of a second, from small to large: of equals the smallest correction wins.
        for size in 1..=tenths {
            for offset in [f64::from(size) / 10.0, -f64::from(size) / 10.0] {
                let sum = earned(offset);
                if sum > best.1 + 1e-9 {
                    best = (offset, sum);
                }
            }
        }
        let (offset, sum) = best;
        let accuracy = (sum + PRIOR_TIMES * prior_accuracy) / (times.len() as f64 + PRIOR_TIMES);
        Decision { rule, time_offset_seconds: offset as f32, time_accuracy: accuracy as f32 }
    }

    /// The answer for a calibrated probability and a predicted time in seconds, under a reward
    /// spec and the class weights in force.
    pub fn answer(
        &self,
        probability: f64,
        time_seconds: f64,
        spec: &RewardSpec,
        weights: ClassWeights,
    ) -> Answer {
        let converted = match self.rule {
            Rule::Threshold(threshold) => probability >= f64::from(threshold),
            Rule::Reward => {
                let time_accuracy = f64::from(self.time_accuracy);
                converting_earns_more(spec, weights, probability, time_accuracy)
            }
        };
        let time = time_seconds + f64::from(self.time_offset_seconds);
        let time_seconds = if converted {
            // max and min, in this order, also turn a NaN into a time.
            time.max(TIME_RANGE_SECONDS.0).min(TIME_RANGE_SECONDS.1)
        } else {
            NOT_CONVERTED
        };
        Answer { converted, time_seconds, confidence: probability }
    }

    /// Whether the numbers can be computed with.
    pub fn is_valid(&self) -> bool {
        let threshold = match self.rule {
            Rule::Threshold(threshold) => threshold,
            Rule::Reward => 0.5,
        };
        (0.0..=1.0).contains(&threshold)
            && self.time_offset_seconds.is_finite()
            && (0.0..=1.0).contains(&self.time_accuracy)
    }
}

/// The one time that earns the most when it is answered for all of these: the best constant, in
/// seconds, and the mean kernel that it earns. `None` for no times.
pub fn best_constant_time(times: &[f64]) -> Option<(f64, f64)> {
    // The mean of triangular kernels is piecewise linear with its peaks at the times themselves,
    // so the best constant is one of them. A thousand evenly spaced quantiles are as good.
    const CANDIDATES: usize = 1000;
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    let step = sorted.len().div_ceil(CANDIDATES).max(1);
    let mut best = None;
    for candidate in sorted.iter().step_by(step) {
        // Only times within the kernel's half-width count, and they are neighbours here.
        let from = sorted.partition_point(|time| *time < candidate - TIME_WINDOW_SECONDS);
        let to = sorted.partition_point(|time| *time <= candidate + TIME_WINDOW_SECONDS);
        let earned: f64 = sorted[from..to].iter().map(|time| time_kernel(candidate - time)).sum();
        let mean = earned / sorted.len() as f64;
        if best.is_none_or(|(_, most)| mean > most) {
            best = Some((*candidate, mean));
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEIGHTS: ClassWeights = ClassWeights { positive: 0.375, negative: 0.625 };

    fn decision(rule: Rule, time_accuracy: f32) -> Decision {
        Decision { rule, time_offset_seconds: 0.0, time_accuracy }
    }

    #[test]
    fn answers_one_exactly_when_that_earns_more() {
        // With exact times class 1 earns 0.55 * 0.375 + 0.45 = 0.65625 when right, class 0
        // 0.55 * 0.625 = 0.34375: the two meet at p = 0.34375.
        for (rule, accuracy, probability, converted) in [
            (Rule::Reward, 1.0, 0.3437, false),
            (Rule::Reward, 1.0, 0.3438, true),
            // Without any luck in time: p * 0.20625 = (1 - p) * 0.34375 at p = 0.625.
            (Rule::Reward, 0.0, 0.6249, false),
            (Rule::Reward, 0.0, 0.6251, true),
            (Rule::Threshold(0.5), 1.0, 0.4999, false),
            (Rule::Threshold(0.5), 1.0, 0.5, true),
        ] {
            let answer =
                decision(rule, accuracy).answer(probability, 60.0, &RewardSpec::MAIN, WEIGHTS);
            assert_eq!(answer.converted, converted, "{rule:?} {accuracy} {probability}");
            assert_eq!(answer.time_seconds, if converted { 60.0 } else { -1.0 });
            assert_eq!(answer.confidence, probability);
        }
    }

    #[test]
    fn times_are_always_valid() {
        for time in [f64::NAN, -5.0, 0.0, f64::INFINITY, 1e300] {
            let answer = decision(Rule::Reward, 1.0).answer(0.9, time, &RewardSpec::MAIN, WEIGHTS);
            assert!(answer.time_seconds > 0.0 && answer.time_seconds.is_finite(), "{time}");
        }
    }

    #[test]
    fn the_offset_undoes_a_bias() {
        // Always 3 s too early.
        let times: Vec<_> =
            (0..50).map(|row| (40.0 + f64::from(row), 43.0 + f64::from(row))).collect();
        let fitted = Decision::fit(Rule::Reward, &times, 0.4);
        assert!((fitted.time_offset_seconds - 3.0).abs() < 1e-6);
        // (50 * 1 + 10 * 0.4) / (50 + 10)
        assert!((fitted.time_accuracy - 0.9).abs() < 1e-6);
    }

    #[test]
    fn few_rows_decide_little() {
        let fitted = Decision::fit(Rule::Reward, &[(40.0, 43.0)], 0.4);
        assert_eq!(fitted.time_offset_seconds, 0.0);
        // (1 * (1 - 3/15) + 10 * 0.4) / (1 + 10)
        assert!((fitted.time_accuracy - 4.8 / 11.0).abs() < 1e-6);
        let none = Decision::fit(Rule::Reward, &[], 0.4);
        assert_eq!((none.time_offset_seconds, none.time_accuracy), (0.0, 0.4));
    }

    #[test]
    fn best_constant() {
        assert_eq!(best_constant_time(&[]), None);
        // 60 earns (1 + 14/15 + 0) / 3; 61 the same plus nothing; 100 only its own third.
        let (time, earned) = best_constant_time(&[100.0, 60.0, 61.0]).unwrap();
        assert_eq!(time, 60.0);
        assert!((earned - (1.0 + 14.0 / 15.0) / 3.0).abs() < 1e-12);
    }
}
