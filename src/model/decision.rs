//! From a probability and a time to the answer that earns the most.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::adjustment::Adjustment;
use super::time::TimeDistribution;
use crate::subnet::reward::{
    Answer, ClassWeights, NOT_CONVERTED, RewardSpec, TIME_WINDOW_SECONDS, converting_earns_more,
    time_kernel,
};

/// Times that are answered, in seconds. The lower bound is positive because the network refuses
/// other times; the upper one is a day.
pub const TIME_RANGE_SECONDS: (f64, f64) = (0.1, 86_400.0);

/// How many conversions' worth of belief the accuracy of the best constant time counts for.
const PRIOR_TIMES: f64 = 10.0;

/// How the answer is chosen. As text: `reward`, or `threshold=` and a probability.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Rule {
    /// Class 1 exactly when its expected reward is larger.
    Reward,
    /// Class 1 when the probability is at least this.
    Threshold(f32),
}

/// No rule is written like this.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a decision, `reward` or `threshold=` and a probability, but found `{0}`")]
pub struct UnknownRule(
    /// What was found.
    pub String,
);

impl FromStr for Rule {
    type Err = UnknownRule;

    fn from_str(text: &str) -> Result<Rule, UnknownRule> {
        let unknown = || UnknownRule(text.to_owned());
        match text {
            "reward" => Ok(Rule::Reward),
            "threshold" => Ok(Rule::Threshold(0.5)),
            _ => {
                let number = text.strip_prefix("threshold=").ok_or_else(unknown)?;
                let threshold: f32 = number.parse().map_err(|_| unknown())?;
                let possible = (0.0..=1.0).contains(&threshold);
                possible.then_some(Rule::Threshold(threshold)).ok_or_else(unknown)
            }
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rule::Reward => f.write_str("reward"),
            Rule::Threshold(threshold) => write!(f, "threshold={threshold}"),
        }
    }
}

impl TryFrom<String> for Rule {
    type Error = UnknownRule;

    fn try_from(text: String) -> Result<Rule, UnknownRule> {
        text.parse()
    }
}

impl From<Rule> for String {
    fn from(rule: Rule) -> String {
        rule.to_string()
    }
}

/// The decision of a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// How the class is chosen.
    pub rule: Rule,
    /// How true times lie around predicted ones; none if there were too few to know.
    pub times: Option<TimeDistribution>,
    /// What the best constant time earned on the training rows, in 0..=1: the mean of the reward's
    /// triangular kernel. All that is known where there is no distribution, and what a distribution
    /// of few rows leans on: one lucky row must not make a miner sure.
    pub time_accuracy: f32,
}

impl Decision {
    /// Fits the time's part to held-out converted rows, given as (predicted, true) seconds.
    pub fn fit(rule: Rule, times: &[(f64, f64)], prior_accuracy: f64) -> Decision {
        Decision { rule, times: TimeDistribution::fit(times), time_accuracy: prior_accuracy as f32 }
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
        let (time_seconds, time_accuracy) = self.best_time(time_seconds);
        let converted = match self.rule {
            Rule::Threshold(threshold) => probability >= f64::from(threshold),
            Rule::Reward => converting_earns_more(spec, weights, probability, time_accuracy),
        };
        let time_seconds = if converted { time_seconds } else { NOT_CONVERTED };
        Answer { converted, time_seconds, confidence: probability }
    }

    /// The answer for a confidence and a predicted time in seconds, changed as an adjustment asks.
    pub fn adjusted_answer(
        &self,
        confidence: f64,
        predicted_seconds: f64,
        (spec, weights): (&RewardSpec, ClassWeights),
        adjustment: &Adjustment,
    ) -> Answer {
        let asked = confidence - adjustment.threshold_offset;
        let answer = self.answer(asked, predicted_seconds, spec, weights);
        let time_seconds = if answer.converted {
            self.shifted_time(answer.time_seconds, predicted_seconds, adjustment)
        } else {
            NOT_CONVERTED
        };
        Answer { converted: answer.converted, time_seconds, confidence }
    }

    fn shifted_time(&self, best_seconds: f64, predicted: f64, adjustment: &Adjustment) -> f64 {
        let shift = adjustment.time_quantile_shift;
        let Some(times) = self.times.as_ref().filter(|_| shift != 0.0) else { return best_seconds };
        let predicted = predicted.max(TIME_RANGE_SECONDS.0).min(TIME_RANGE_SECONDS.1);
        let level = (times.level(best_seconds, predicted) + shift).clamp(0.0, 1.0);
        times.quantile(level, predicted).max(TIME_RANGE_SECONDS.0).min(TIME_RANGE_SECONDS.1)
    }

    /// The time to answer for a predicted one, in seconds, and what it is expected to earn if the
    /// conversation converts: the mean of the reward's kernel, in 0..=1.
    pub fn best_time(&self, predicted_seconds: f64) -> (f64, f64) {
        // max and min, in this order, also turn a NaN into a time.
        let within = |seconds: f64| seconds.max(TIME_RANGE_SECONDS.0).min(TIME_RANGE_SECONDS.1);
        let predicted = within(predicted_seconds);
        let prior = f64::from(self.time_accuracy);
        let Some(times) = &self.times else { return (predicted, prior) };
        let (time, accuracy) = times.best_time(predicted);
        let rows = times.rows as f64;
        (within(time), (rows * accuracy + PRIOR_TIMES * prior) / (rows + PRIOR_TIMES))
    }

    /// Whether the numbers can be computed with.
    pub fn is_valid(&self) -> bool {
        let threshold = match self.rule {
            Rule::Threshold(threshold) => threshold,
            Rule::Reward => 0.5,
        };
        (0.0..=1.0).contains(&threshold)
            && self.times.as_ref().is_none_or(TimeDistribution::is_valid)
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
        Decision { rule, times: None, time_accuracy }
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
    fn the_distribution_undoes_a_bias() {
        // Always 3 s too early.
        let times: Vec<_> =
            (0..50).map(|row| (40.0 + f64::from(row), 43.0 + f64::from(row))).collect();
        let fitted = Decision::fit(Rule::Reward, &times, 0.4);
        let (time, accuracy) = fitted.best_time(60.0);
        assert!((time - 63.0).abs() < 1e-6, "{time}");
        // (50 * 1 + 10 * 0.4) / (50 + 10)
        assert!((accuracy - 0.9).abs() < 1e-6, "{accuracy}");
    }

    #[test]
    fn few_rows_decide_nothing() {
        let fitted = Decision::fit(Rule::Reward, &[(40.0, 43.0)], 0.4);
        assert_eq!(fitted.best_time(60.0), (60.0, f64::from(0.4_f32)));
    }

    #[test]
    fn rules_as_text() {
        for (text, rule) in [
            ("reward", Rule::Reward),
            ("threshold=0.25", Rule::Threshold(0.25)),
            ("threshold", Rule::Threshold(0.5)),
        ] {
            assert_eq!(text.parse(), Ok(rule));
            assert_eq!(rule.to_string().parse(), Ok(rule));
        }
        for text in ["", "coin", "threshold=", "threshold=2", "threshold=nan"] {
            assert!(text.parse::<Rule>().is_err(), "{text}");
        }
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
