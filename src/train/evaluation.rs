//! How good answers are, on rows whose truth is known.

use serde::{Deserialize, Serialize};

use super::data::has_time;
use crate::features::Conversation;
use crate::model::Predictor;
use crate::model::calibration::bin_of;
use crate::model::decision::Rule;
use crate::model::predictor::Estimate;
use crate::model::time::TimeDistribution;
use crate::subnet::reward::{Answer, ClassWeights, NOT_CONVERTED, RewardSpec, Truth, reward};

/// The time that an answer is taken to need where nobody measured it, in seconds.
pub const RESPONSE_TIME_SECONDS: f64 = 0.05;
/// Bins of the expected calibration error.
const ECE_BINS: usize = 10;

/// A miner on labelled rows, beside what anybody could answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// Rows.
    pub rows: usize,
    /// How many of them converted.
    pub converted: usize,
    /// The reward's spec.
    pub reward_spec: String,
    /// The response time that the reward reckons with, in seconds.
    pub response_time_seconds: f64,
    /// What the miner answers.
    pub miner: Scores,
    /// What the same miner would answer if it said "converts" from a probability of one half on.
    pub at_half: Scores,
    /// What its logistic baseline would answer.
    pub baseline: Scores,
    /// "Does not convert", always.
    pub always_no: Scores,
    /// "Converts", always after the one time that is best for the training rows.
    pub always_yes: Scores,
    /// The truth itself.
    pub oracle: Scores,
    /// The predictive distribution of the time; absent if none is predicted or none converted.
    pub time_distribution: Option<TimeScores>,
}

/// How well the spread of times is known, on the rows that converted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TimeScores {
    /// Rows that converted and have a distribution.
    pub rows: usize,
    /// The mean continuous ranked probability score, in seconds.
    pub crps_seconds: f64,
    /// For some levels, the share of true times below that quantile.
    pub coverage: Vec<Coverage>,
}

/// A quantile of the time and how often the truth lay below it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Coverage {
    /// The quantile's level, in 0..=1.
    pub level: f64,
    /// The share of true times at or below it.
    pub below: f64,
}

/// The scores of one way to answer. A score that the rows cannot give is absent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Scores {
    /// The share of right classes.
    pub accuracy: f64,
    /// The area under the ROC curve; absent if there is one class only.
    pub auc: Option<f64>,
    /// The mean logarithmic loss of the confidence, in nats.
    pub log_loss: f64,
    /// The mean squared error of the confidence.
    pub brier: f64,
    /// The expected calibration error over ten bins of equal width.
    pub ece: f64,
    /// The mean absolute error of the time over the rows that converted, whatever the class that
    /// was answered, in seconds; absent if none converted or no time is predicted.
    pub time_mae_seconds: Option<f64>,
    /// The mean total reward, with the class weights that a validator starts with.
    pub mean_reward: f64,
}

/// Rows with what is said of them by who did not see them.
pub(super) struct HeldOut<'a> {
    /// What the networks say.
    pub(super) estimates: &'a [Estimate],
    /// Their calibrated probabilities.
    pub(super) confidences: &'a [f64],
    /// What the baseline says.
    pub(super) baseline: &'a [Estimate],
    /// The truths.
    pub(super) truths: &'a [Truth],
    /// The distribution of times that the converted row of this number, counted among the converted
    /// rows, is measured with.
    pub(super) distribution: &'a dyn Fn(usize) -> Option<&'a TimeDistribution>,
}

/// Evaluates a predictor on rows that it never saw. Without rows, `None`.
///
/// # Panics
///
/// If there are not as many truths as conversations.
pub fn evaluate(
    predictor: &Predictor,
    conversations: &[Conversation],
    truths: &[Truth],
    spec: &RewardSpec,
) -> Option<Evaluation> {
    assert_eq!(conversations.len(), truths.len(), "one truth a conversation. This is a bug.");
    let estimates = predictor.estimate(conversations);
    let confidences: Vec<f64> =
        estimates.iter().map(|estimate| predictor.calibrated(*estimate)).collect();
    let held_out = HeldOut {
        estimates: &estimates,
        confidences: &confidences,
        baseline: &predictor.estimate_baseline(conversations),
        truths,
        distribution: &|_| predictor.decision.times.as_ref(),
    };
    measure(predictor, &held_out, spec)
}

/// Evaluates a predictor under its own reward spec by what was said of rows that were held out.
/// Without rows, `None`.
pub(super) fn of_held_out(predictor: &Predictor, held_out: &HeldOut<'_>) -> Option<Evaluation> {
    measure(predictor, held_out, &predictor.spec)
}

fn measure(predictor: &Predictor, held_out: &HeldOut<'_>, spec: &RewardSpec) -> Option<Evaluation> {
    let truths = held_out.truths;
    if truths.is_empty() {
        return None;
    }
    let scores = |judged: Vec<Judged>| Scores::of(&judged, truths, spec);
    let by = |rule: Rule| {
        let rows = held_out.estimates.iter().zip(held_out.confidences);
        let judged = rows.map(|(estimate, confidence)| Judged {
            answer: predictor.decide_with(*confidence, rule, *estimate),
            time_seconds: Some(predictor.time_of(*estimate)),
        });
        scores(judged.collect())
    };
    let baseline = held_out.baseline.iter().map(|estimate| {
        let estimate = Estimate { fallback: predictor.ensemble.is_some(), ..*estimate };
        let time_seconds = Some(predictor.time_of(estimate));
        Judged { answer: predictor.decide(estimate), time_seconds }
    });
    let constant =
        |answer: Answer, time_seconds| scores(vec![Judged { answer, time_seconds }; truths.len()]);
    let no = Answer { converted: false, time_seconds: NOT_CONVERTED, confidence: 0.0 };
    let time = f64::from(predictor.baseline.time_seconds);
    let yes = Answer { converted: true, time_seconds: time, confidence: 1.0 };
    let exact = truths.iter().map(|truth| Judged {
        answer: Answer {
            converted: truth.converted,
            // Where nobody knows the time, any will do, and earns nothing.
            time_seconds: if truth.time_seconds.is_nan() { time } else { truth.time_seconds },
            confidence: f64::from(u8::from(truth.converted)),
        },
        time_seconds: Some(truth.time_seconds),
    });
    Some(Evaluation {
        rows: truths.len(),
        converted: truths.iter().filter(|truth| truth.converted).count(),
        reward_spec: spec.name.to_owned(),
        response_time_seconds: RESPONSE_TIME_SECONDS,
        miner: by(predictor.decision.rule),
        at_half: by(Rule::Threshold(0.5)),
        baseline: scores(baseline.collect()),
        always_no: constant(no, None),
        always_yes: constant(yes, Some(time)),
        oracle: scores(exact.collect()),
        time_distribution: time_scores(held_out),
    })
}

fn time_scores(held_out: &HeldOut<'_>) -> Option<TimeScores> {
    const LEVELS: [f64; 7] = [0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95];
    let rows = held_out.estimates.iter().zip(held_out.truths);
    let rows: Vec<(&TimeDistribution, f64, f64)> = rows
        .filter(|(_, truth)| has_time(truth))
        .enumerate()
        .filter(|(_, (estimate, _))| !estimate.fallback)
        .filter_map(|(index, (estimate, truth))| {
            let distribution = (held_out.distribution)(index)?;
            Some((distribution, estimate.time_seconds, truth.time_seconds))
        })
        .collect();
    if rows.is_empty() {
        return None;
    }
    let count = rows.len() as f64;
    let crps = rows.iter().map(|(times, predicted, truth)| times.crps(*predicted, *truth));
    let coverage = LEVELS.map(|level| {
        let below =
            rows.iter().filter(|(times, said, truth)| *truth <= times.quantile(level, *said));
        Coverage { level, below: below.count() as f64 / count }
    });
    Some(TimeScores {
        rows: rows.len(),
        crps_seconds: crps.sum::<f64>() / count,
        coverage: coverage.to_vec(),
    })
}

/// An answer, with the time that would have gone with class 1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Judged {
    /// The answer.
    pub(crate) answer: Answer,
    /// The time, if one is predicted.
    pub(crate) time_seconds: Option<f64>,
}

impl Scores {
    pub(crate) fn of(judged: &[Judged], truths: &[Truth], spec: &RewardSpec) -> Scores {
        let rows = truths.len() as f64;
        let mean = |value: &dyn Fn(&Judged, &Truth) -> f64| {
            judged.iter().zip(truths).map(|(j, t)| value(j, t)).sum::<f64>() / rows
        };
        let confidences: Vec<f64> = judged.iter().map(|j| j.answer.confidence).collect();
        let converted: Vec<bool> = truths.iter().map(|truth| truth.converted).collect();
        Scores {
            accuracy: mean(&|j, t| f64::from(u8::from(j.answer.converted == t.converted))),
            auc: area_under_roc(&confidences, &converted),
            log_loss: mean(&|j, t| log_loss(j.answer.confidence, t.converted)),
            brier: brier(&confidences, &converted),
            ece: expected_calibration_error(&confidences, &converted, ECE_BINS),
            time_mae_seconds: time_mae(judged, truths),
            mean_reward: mean(&|j, t| {
                reward(spec, ClassWeights::START, j.answer, *t, RESPONSE_TIME_SECONDS).total
            }),
        }
    }
}

fn time_mae(judged: &[Judged], truths: &[Truth]) -> Option<f64> {
    let errors: Option<Vec<f64>> = judged
        .iter()
        .zip(truths)
        .filter(|(_, truth)| has_time(truth))
        .map(|(judged, truth)| Some((judged.time_seconds? - truth.time_seconds).abs()))
        .collect();
    let errors = errors.filter(|errors| !errors.is_empty())?;
    Some(errors.iter().sum::<f64>() / errors.len() as f64)
}

/// The logarithmic loss of one probability, in nats; a certain error costs what 1e-6 costs. NaN
/// for NaN.
pub fn log_loss(probability: f64, converted: bool) -> f64 {
    let of_truth = if converted { probability } else { 1.0 - probability };
    // clamp, unlike max, keeps a NaN; abs spares the reader a -0.
    of_truth.clamp(1e-6, 1.0).ln().abs()
}

/// The probability that a converted row's score is above another's, ties counting half; absent if
/// there is one class only.
pub fn area_under_roc(scores: &[f64], converted: &[bool]) -> Option<f64> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|left, right| scores[*left].total_cmp(&scores[*right]));
    let positives = converted.iter().filter(|converted| **converted).count() as f64;
    let negatives = converted.len() as f64 - positives;
    if positives == 0.0 || negatives == 0.0 {
        return None;
    }
    // The rank sum of Mann and Whitney, with the mean rank for ties.
    let mut rank_sum = 0.0;
    let mut before = 0;
    for tied in order.chunk_by(|left, right| scores[*left] == scores[*right]) {
        let mean_rank = before as f64 + (tied.len() as f64 + 1.0) / 2.0;
        rank_sum += mean_rank * tied.iter().filter(|row| converted[**row]).count() as f64;
        before += tied.len();
    }
    Some((rank_sum - positives * (positives + 1.0) / 2.0) / (positives * negatives))
}

/// The mean squared error of probabilities.
pub fn brier(probabilities: &[f64], converted: &[bool]) -> f64 {
    let squares = probabilities
        .iter()
        .zip(converted)
        .map(|(probability, converted)| (probability - f64::from(u8::from(*converted))).powi(2));
    squares.sum::<f64>() / probabilities.len() as f64
}

/// The mean distance between what a bin of probabilities says and what came true in it, weighted
/// by its rows.
pub fn expected_calibration_error(probabilities: &[f64], converted: &[bool], bins: usize) -> f64 {
    reliability(probabilities, converted, bins)
        .iter()
        .map(|bin| (bin.said - bin.came_true).abs() * bin.rows as f64)
        .sum::<f64>()
        / probabilities.len() as f64
}

/// A bin of the reliability table.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ReliabilityBin {
    /// Its lower bound; the upper one is a bin's width above.
    pub from: f64,
    /// Rows in it.
    pub rows: usize,
    /// The mean probability of its rows; 0 without rows.
    pub said: f64,
    /// The share of its rows that converted; 0 without rows.
    pub came_true: f64,
}

/// What bins of equal width said, and what came true.
pub fn reliability(probabilities: &[f64], converted: &[bool], bins: usize) -> Vec<ReliabilityBin> {
    let mut sums = vec![(0_usize, 0.0, 0_usize); bins];
    for (probability, converted) in probabilities.iter().zip(converted) {
        let (rows, said, came_true) = &mut sums[bin_of(*probability, bins)];
        *rows += 1;
        *said += probability;
        *came_true += usize::from(*converted);
    }
    sums.into_iter()
        .enumerate()
        .map(|(index, (rows, said, came_true))| ReliabilityBin {
            from: index as f64 / bins as f64,
            rows,
            said: said / rows.max(1) as f64,
            came_true: came_true as f64 / rows.max(1) as f64,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auc_by_hand() {
        // Pairs (converted, not): (0.8, 0.1) (0.8, 0.4) (0.4, 0.1) right, (0.4, 0.4) a tie.
        let auc = area_under_roc(&[0.1, 0.4, 0.4, 0.8], &[false, false, true, true]);
        assert_eq!(auc, Some(3.5 / 4.0));
        assert_eq!(area_under_roc(&[0.1, 0.4], &[true, true]), None);
        assert_eq!(area_under_roc(&[], &[]), None);
    }

    #[test]
    fn ece_by_hand() {
        // [0.1, 0.2): says 0.15, came true 0.5; [0.9, 1]: says 0.95, came true 1.
        let ece = expected_calibration_error(
            &[0.1, 0.2 - 1e-9, 0.9, 1.0],
            &[false, true, true, true],
            10,
        );
        assert!((ece - (0.35 * 2.0 + 0.05 * 2.0) / 4.0).abs() < 1e-6, "{ece}");
    }

    #[test]
    fn scores_by_hand() {
        let truths = [
            Truth { converted: true, time_seconds: 60.0 },
            Truth { converted: false, time_seconds: NOT_CONVERTED },
        ];
        let judged = [
            Judged {
                answer: Answer { converted: true, time_seconds: 66.0, confidence: 0.8 },
                time_seconds: Some(66.0),
            },
            Judged {
                answer: Answer { converted: true, time_seconds: 50.0, confidence: 0.6 },
                time_seconds: Some(50.0),
            },
        ];
        let scores = Scores::of(&judged, &truths, &RewardSpec::MAIN);
        assert_eq!(scores.accuracy, 0.5);
        assert_eq!(scores.auc, Some(1.0));
        assert!((scores.log_loss - -(0.8_f64.ln() + 0.4_f64.ln()) / 2.0).abs() < 1e-12);
        assert!((scores.brier - (0.04 + 0.36) / 2.0).abs() < 1e-12);
        assert_eq!(scores.time_mae_seconds, Some(6.0));
        // Right: 0.8 * (0.55 * 0.375 + 0.45 * 0.6); wrong: 0. Both: 0.2 * (1 - 0.05 / 60).
        let expected = 0.8 * 0.47625 / 2.0 + 0.2 * (1.0 - 0.05 / 60.0);
        assert!((scores.mean_reward - expected).abs() < 1e-12);
    }

    #[test]
    fn a_nan_is_never_a_good_loss() {
        assert!(log_loss(f64::NAN, true).is_nan());
        assert_eq!(log_loss(1.0, true), 0.0);
        assert!((log_loss(1.0, false) - 1e6_f64.ln()).abs() < 1e-9);
    }

    #[test]
    fn no_time_no_mae() {
        let truth = Truth { converted: true, time_seconds: 60.0 };
        let answer = Answer { converted: false, time_seconds: NOT_CONVERTED, confidence: 0.0 };
        assert_eq!(time_mae(&[Judged { answer, time_seconds: None }], &[truth]), None);
        let negative = Truth { converted: false, time_seconds: NOT_CONVERTED };
        assert_eq!(time_mae(&[Judged { answer, time_seconds: Some(3.0) }], &[negative]), None);
    }
}
