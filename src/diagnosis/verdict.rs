//! Whether anything has drifted so far that learning should look at it.
//!
//! The rule, in one place. With at least 100 truths of answers that the checkpoint
//! itself gave:
//!
//! - **calibration**: the calibration error is more than 0.03 above the one of validation,
//!   and more than chance alone explains (95 %) for so many answers whose confidences are true;
//! - **reward**: over the last seven days of the window, the mean reward, counted as validation
//!   counts it (the class weights that a validator begins with, the same response time), is lower
//!   than validation's by more than two standard errors, those of validation's own
//!   rows among them.
//!
//! And with a training sample:
//!
//! - **features**: a feature that the checkpoint's answers rest on has a population stability index
//!   above 0.25, and more than chance explains.

use serde::{Deserialize, Serialize};

use super::calibration::{CalibrationScores, Chance};
use super::days::ROLLING_DAYS;
use super::{
    CalibrationDiagnosis, DiagnoseOptions, FeatureDiagnosis, FeatureShift, Reference, Row,
    ShiftSize, mean, validation,
};
use crate::clock::DAY_NS;
use crate::subnet::reward::{ClassWeights, reward};
use crate::train::evaluation::RESPONSE_TIME_SECONDS;

/// Fewer truths decide nothing.
const FEWEST_TRUTHS: usize = 100;
/// How much larger than in validation a calibration error may be.
const ECE_MARGIN: f64 = 0.03;
/// How many standard errors a reward may be below the one of validation.
const STANDARD_ERRORS: f64 = 2.0;

/// Something that was looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// `calibration`, `reward` or `features`.
    pub of: String,
    /// What was found; absent where it could not be looked at.
    pub found: Option<f64>,
    /// What it may be, at most or, of the reward, at least.
    pub limit: Option<f64>,
    /// Data points.
    pub rows: usize,
    /// Whether it is beyond.
    pub drifted: bool,
    /// The same in words.
    pub words: String,
}

/// All checks.
pub(super) fn checks(
    rows: &[Row<'_>],
    calibration: Option<&CalibrationDiagnosis>,
    features: &FeatureDiagnosis,
    options: &DiagnoseOptions<'_>,
) -> Vec<Check> {
    let Some(reference) = options.checkpoint else {
        let words = "nothing can have drifted: there is no checkpoint to compare with".to_owned();
        return vec![Check::skipped("checkpoint", rows.len(), words)];
    };
    let own: Vec<Row<'_>> = rows
        .iter()
        .filter(|row| row.resolved.record.checkpoint == reference.name)
        .copied()
        .collect();
    let scores = calibration.and_then(|calibration| calibration.compared.as_ref());
    vec![
        calibration_check(&own, scores, &reference),
        reward_check(&own, &reference, options),
        features_check(features),
    ]
}

impl Check {
    fn skipped(of: &str, rows: usize, words: String) -> Check {
        Check { of: of.to_owned(), found: None, limit: None, rows, drifted: false, words }
    }
}

fn too_few(of: &str, rows: usize, reference: &Reference<'_>) -> Check {
    let name = reference.name;
    let words = format!("{of}: {rows} known answers of {name}, and it takes {FEWEST_TRUTHS}");
    Check::skipped(of, rows, words)
}

fn calibration_check(
    own: &[Row<'_>],
    scores: Option<&CalibrationScores>,
    reference: &Reference<'_>,
) -> Check {
    let of = "calibration";
    let Some(scores) = scores.filter(|scores| scores.rows >= FEWEST_TRUTHS) else {
        return too_few(of, own.len(), reference);
    };
    let Some(trained) = validation(reference, "/miner/ece") else {
        let words = "calibration: the checkpoint does not say what it was in validation";
        return Check::skipped(of, scores.rows, words.to_owned());
    };
    let said: Vec<f64> = own.iter().map(|row| row.answer().confidence).collect();
    let said: Vec<f64> = said.into_iter().filter(|said| said.is_finite()).collect();
    let chance = Chance::of(&said).map_or(0.0, |chance| chance.high);
    let limit = (trained + ECE_MARGIN).max(chance);
    let drifted = scores.ece > limit;
    let than = if drifted { "more than" } else { "within" };
    let words = format!(
        "calibration: an error of {:.4} over {} answers, {than} {limit:.4} (validation {trained:.4})",
        scores.ece, scores.rows
    );
    let (found, limit) = (Some(scores.ece), Some(limit));
    Check { of: of.to_owned(), found, limit, rows: scores.rows, drifted, words }
}

fn reward_check(
    own: &[Row<'_>],
    reference: &Reference<'_>,
    options: &DiagnoseOptions<'_>,
) -> Check {
    let of = "reward";
    let last = own.last().map_or(0, |row| row.resolved.record.time_ns);
    let from = last.saturating_sub(ROLLING_DAYS * DAY_NS);
    let rewards: Vec<f64> = own
        .iter()
        .filter(|row| row.resolved.record.time_ns > from && !row.truth().time_seconds.is_nan())
        .map(|row| {
            let (spec, weights) = (&options.spec, ClassWeights::START);
            reward(spec, weights, row.answer(), row.truth(), RESPONSE_TIME_SECONDS).total
        })
        .collect();
    if rewards.len() < FEWEST_TRUTHS {
        return too_few(of, rewards.len(), reference);
    }
    let same_spec = reference.manifest.reward_spec == options.spec.name;
    let trained = validation(reference, "/miner/mean_reward").filter(|_| same_spec);
    let (Some(trained), Some(found)) = (trained, mean(&rewards)) else {
        let words = format!(
            "reward: the checkpoint was not validated under the reward spec {}",
            options.spec
        );
        return Check::skipped(of, rewards.len(), words);
    };
    // Rewards spread in validation as they do now, as far as anybody knows.
    let validated = reference.manifest.data.validation_rows.max(1) as f64;
    let count = rewards.len() as f64;
    let error = found.standard_error.unwrap_or(0.0) * (1.0 + count / validated).sqrt();
    let limit = trained - STANDARD_ERRORS * error;
    let drifted = found.mean < limit;
    let than = if drifted { "less than" } else { "at least" };
    let words = format!(
        "reward: {:.4} over {} answers of the last {ROLLING_DAYS} days, counted as in validation, \
         {than} {limit:.4} (validation {trained:.4})",
        found.mean,
        rewards.len()
    );
    let (found, limit) = (Some(found.mean), Some(limit));
    Check { of: of.to_owned(), found, limit, rows: rewards.len(), drifted, words }
}

fn features_check(features: &FeatureDiagnosis) -> Check {
    let of = "features";
    if let Some(reason) = &features.not_available {
        return Check::skipped(of, features.rows, format!("features: {reason}"));
    }
    let drifted: Vec<&FeatureShift> = features
        .features
        .iter()
        .filter(|shift| shift.size == ShiftSize::Large && shift.is_important())
        .collect();
    let limit = super::features::LARGE;
    let words = if let Some(most) = drifted.first() {
        let names: Vec<&str> = drifted.iter().map(|shift| shift.feature.as_str()).collect();
        format!(
            "features: {} that answers rest on lie elsewhere than in training: {} (stability index up to {:.2})",
            names.len(),
            names.join(", "),
            most.psi
        )
    } else {
        let large = features.features.iter().filter(|shift| shift.size == ShiftSize::Large).count();
        let others = if large == 0 { String::new() } else { format!("; {large} others have") };
        format!("features: none that answers rest on has a stability index above {limit}{others}")
    };
    Check {
        of: of.to_owned(),
        found: drifted.first().copied().or(features.features.first()).map(|shift| shift.psi),
        limit: Some(limit),
        rows: features.rows,
        drifted: !drifted.is_empty(),
        words,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::tests::{First, no, yes};
    use crate::diagnosis::{Diagnosis, diagnose};
    use crate::replay::Resolved;
    use crate::subnet::reward::Truth;
    use crate::subnet::schema::position;

    /// Answers that all are sure to 0.2, of which the first of each five convert if `tells` says so.
    fn diagnosed(count: u64, edit: &dyn Fn(u64, &mut Resolved)) -> Diagnosis {
        let first = First::new();
        let rows: Vec<Resolved> = (0..count)
            .map(|number| {
                let converts = number.is_multiple_of(5);
                let truth =
                    if converts { Truth::converted_after(50.0) } else { Truth::not_converted() };
                let mut row = First::answer(number, no(0.2), truth);
                edit(number, &mut row);
                row
            })
            .collect();
        diagnose(&rows, &first.options())
    }

    fn check<'a>(found: &'a Diagnosis, of: &str) -> &'a Check {
        found.checks.iter().find(|check| check.of == of).unwrap()
    }

    #[test]
    fn calibration_by_hand() {
        let found = diagnosed(200, &|_, _| ());
        let fine = check(&found, "calibration");
        assert!(!fine.drifted && fine.found.unwrap() < 1e-12, "{fine:?}");
        // Says 0.5 where a fifth comes true: 0.3 off, and more than chance.
        let found = diagnosed(200, &|_, row| row.record.answer.confidence = 0.5);
        let off = check(&found, "calibration");
        assert!(off.drifted && (off.found.unwrap() - 0.3).abs() < 1e-12, "{off:?}");
        assert!(found.drifted && found.reasons.contains(&off.words));
        // Says 0.26: 0.06 off, which is above 0.02 + 0.03 but may well be chance with 150 answers.
        let found = diagnosed(150, &|_, row| row.record.answer.confidence = 0.26);
        let chance = check(&found, "calibration");
        assert!((chance.found.unwrap() - 0.06).abs() < 1e-12);
        assert!(!chance.drifted && chance.limit.unwrap() > 0.05, "{chance:?}");
        // Too few, and of another checkpoint.
        let found = diagnosed(99, &|_, row| row.record.answer.confidence = 0.5);
        assert_eq!((check(&found, "calibration").found, found.drifted), (None, false));
        let other: &dyn Fn(u64, &mut Resolved) = &|_, row| {
            row.record.answer.confidence = 0.5;
            row.record.checkpoint = "second".to_owned();
        };
        assert!(!diagnosed(200, other).drifted);
    }

    #[test]
    fn rewards_by_hand() {
        // Four fifths of right noes earn 0.275 and the response time, 0.2 * (1 - 0.05 / 60), as in
        // validation; the journal's own 3 s and weights do not count.
        let reward = |found: &Diagnosis| check(found, "reward").clone();
        let found = reward(&diagnosed(200, &|_, _| ()));
        let expected = 0.8 * 0.275 + 0.2 * (1.0 - 0.05 / 60.0);
        assert!((found.found.unwrap() - expected).abs() < 1e-12, "{found:?}");
        // The deviation of an answer is 0.275 * 0.4; validation had 1,000 rows.
        let deviation = 0.275 * (0.16_f64 * 200.0 / 199.0).sqrt();
        let error = deviation * (1.0 / 200.0 + 1.0 / 1000.0_f64).sqrt();
        assert!((found.limit.unwrap() - (0.45 - 2.0 * error)).abs() < 1e-12, "{found:?}");
        assert!(found.drifted, "0.42 is less than 0.45 by more than two errors");
        // All right: 0.475.
        let better = diagnosed(200, &|_, row| row.truth = Truth::not_converted());
        assert!(!reward(&better).drifted);
        // Only the last seven days count: a hundred wrong ones before them do not.
        let found = reward(&diagnosed(250, &|number, row| {
            row.record.time_ns += if number < 100 { 0 } else { 9 * DAY_NS };
            row.truth = Truth::not_converted();
            if number < 100 {
                row.record.answer = yes(50.0, 0.9);
            }
        }));
        assert!(!found.drifted && found.rows == 150, "{found:?}");
    }

    #[test]
    fn features_by_hand() {
        let duration = position("conversation_duration_seconds");
        // All have the one duration that was trained on.
        let found = diagnosed(120, &|_, _| ());
        assert!(!check(&found, "features").drifted);
        assert_eq!(found.features.features[0].size, ShiftSize::Stable);
        // Another one, on which this checkpoint's answers do not rest.
        let found = diagnosed(120, &|_, row| row.record.features.set(duration, 300.0));
        let most = &found.features.features[0];
        assert_eq!(
            (most.feature.as_str(), most.size),
            ("conversation_duration_seconds", ShiftSize::Large)
        );
        assert!(most.importance.is_some() && !most.is_important());
        let features = check(&found, "features");
        assert!(!features.drifted && features.words.contains("1 others have"), "{features:?}");
        // On a feature that answers rest on, it counts.
        let mut important = found.features.clone();
        let importance = crate::report::Mean { mean: 0.1, standard_error: Some(0.01) };
        important.features[0].importance = Some(importance);
        let features = features_check(&important);
        assert!(features.drifted && features.words.contains("conversation_duration_seconds"));
    }
}
