//! The reward against the threshold of the class, and by what was answered and what happened.

use serde::Serialize;

use super::Subject;
use crate::model::decision::Rule;

/// Steps of the threshold.
const STEPS: usize = 100;

/// Where the reward comes from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rewards {
    /// The mean reward of the miner with its own rule.
    pub decision: f64,
    /// What it would earn with a threshold in place of its rule.
    pub thresholds: Vec<ThresholdPoint>,
    /// The best of them. It was chosen on these very rows, so it flatters.
    pub best_threshold: ThresholdPoint,
    /// The four outcomes.
    pub outcomes: Vec<Outcome>,
    /// What is lost to the truth itself, in mean reward.
    pub lost: f64,
}

/// A threshold and what it earns.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ThresholdPoint {
    /// Class 1 from this confidence on.
    pub threshold: f64,
    /// The mean reward.
    pub mean_reward: f64,
}

/// What was answered and what happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeKind {
    /// Said yes, and it converted.
    TruePositive,
    /// Said yes, and it did not convert.
    FalsePositive,
    /// Said no, and it converted.
    FalseNegative,
    /// Said no, and it did not convert.
    TrueNegative,
}

/// The rows of one outcome.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Outcome {
    /// Which.
    pub kind: OutcomeKind,
    /// Rows.
    pub rows: usize,
    /// Their mean reward; absent without rows.
    pub mean_reward: Option<f64>,
    /// What they lose to the truth itself, as a part of the mean over all rows.
    pub lost: f64,
}

impl Rewards {
    pub(super) fn of(subject: Subject<'_>) -> Rewards {
        let answers = subject.answers();
        let rewards = subject.rewards(&answers);
        let oracle = subject.oracle_rewards();
        let rows = rewards.len() as f64;
        let all = answers.iter().zip(subject.rows.truths).zip(rewards.iter().zip(&oracle));
        let outcomes = [
            (OutcomeKind::TruePositive, true, true),
            (OutcomeKind::FalsePositive, true, false),
            (OutcomeKind::FalseNegative, false, true),
            (OutcomeKind::TrueNegative, false, false),
        ]
        .map(|(kind, said, happened)| {
            let of_kind = all.clone().filter(|((answer, truth), _)| {
                answer.converted == said && truth.converted == happened
            });
            let count = of_kind.clone().count();
            let earned: f64 = of_kind.clone().map(|(_, (reward, _))| reward).sum();
            let lost: f64 = of_kind.map(|(_, (reward, oracle))| oracle - reward).sum();
            Outcome {
                kind,
                rows: count,
                mean_reward: (count > 0).then(|| earned / count as f64),
                lost: lost / rows,
            }
        });
        let thresholds = thresholds(subject);
        let best_threshold = thresholds
            .iter()
            .copied()
            .max_by(|left, right| left.mean_reward.total_cmp(&right.mean_reward))
            .expect("there are thresholds. This is a bug.");
        Rewards {
            decision: rewards.iter().sum::<f64>() / rows,
            thresholds,
            best_threshold,
            lost: outcomes.iter().map(|outcome| outcome.lost).sum(),
            outcomes: outcomes.to_vec(),
        }
    }
}

fn thresholds(subject: Subject<'_>) -> Vec<ThresholdPoint> {
    let rewards = |threshold| {
        let rows = subject.said.estimates.iter().zip(&subject.said.confidences);
        let answers: Vec<_> = rows
            .map(|(estimate, confidence)| {
                subject.predictor.decide_with(*confidence, Rule::Threshold(threshold), *estimate)
            })
            .collect();
        subject.rewards(&answers)
    };
    // No confidence is certain, so these say yes to all and no to all.
    let (yes, no) = (rewards(0.0), rewards(1.0));
    mean_rewards(&subject.said.confidences, &yes, &no)
}

/// The mean reward of each threshold, from what both classes earn in each row.
fn mean_rewards(confidences: &[f64], yes: &[f64], no: &[f64]) -> Vec<ThresholdPoint> {
    // What saying yes earns above saying no, where the confidence reaches each threshold.
    let mut gains = [0.0; STEPS + 2];
    for ((confidence, yes), no) in confidences.iter().zip(yes).zip(no) {
        let reached = (0..=STEPS).take_while(|step| *confidence >= threshold(*step)).count();
        gains[reached] += yes - no;
    }
    let all_no: f64 = no.iter().sum();
    let mut above = 0.0;
    let mut points: Vec<ThresholdPoint> = (0..=STEPS)
        .rev()
        .map(|step| {
            above += gains[step + 1];
            let mean_reward = (all_no + above) / confidences.len() as f64;
            ThresholdPoint { threshold: threshold(step), mean_reward }
        })
        .collect();
    points.reverse();
    points
}

fn threshold(step: usize) -> f64 {
    step as f64 / STEPS as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_by_hand() {
        let points = mean_rewards(&[0.2, 0.5, 0.9], &[1.0, 2.0, 4.0], &[3.0, 3.0, 3.0]);
        assert_eq!(points.len(), 101);
        for (step, expected) in [
            (0, 7.0 / 3.0),  // yes to all
            (20, 7.0 / 3.0), // 0.2 >= 0.2
            (21, 9.0 / 3.0), // no to the first
            (50, 9.0 / 3.0),
            (51, 10.0 / 3.0), // no to the second
            (90, 10.0 / 3.0),
            (91, 9.0 / 3.0), // no to all
            (100, 9.0 / 3.0),
        ] {
            assert!((points[step].mean_reward - expected).abs() < 1e-12, "{:?}", points[step]);
        }
        assert_eq!(points[37].threshold, 0.37);
    }
}
