//! What other ways to answer would have earned for the same conversations.

use serde::{Deserialize, Serialize};

use super::{DiagnoseOptions, Reference, Row, rewards_of};
use crate::features::Conversation;
use crate::model::Model as _;
use crate::report::{Mean, truthful};
use crate::subnet::reward::{Answer, NOT_CONVERTED, RewardSpec, reward};

/// The time to say "converts" with where no checkpoint knows a better one, in seconds.
const UNKNOWN_TIME_SECONDS: f64 = 60.0;

/// A way to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// What was answered.
    Answered,
    /// What the checkpoint would answer now, without adjustments.
    Checkpoint,
    /// The checkpoint's baseline.
    Baseline,
    /// The checkpoint's one answer for all.
    Constant,
    /// "Does not convert", always.
    AlwaysNo,
    /// "Converts", always after the baseline's time.
    AlwaysYes,
    /// The truth itself, which no miner can know where there is chance.
    Truth,
}

/// What a way to answer earned, or would have earned: with the class weights that were in force, and
/// in the time that the answers took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// The way.
    pub way: Way,
    /// The same in words.
    pub name: String,
    /// The mean reward.
    pub reward: Mean,
    /// What was answered above that, row by row; absent for itself.
    pub answered_above: Option<Mean>,
}

/// All ways that are there to compare; none without rows.
pub(super) fn of(rows: &[Row<'_>], options: &DiagnoseOptions<'_>) -> Vec<Compared> {
    if rows.is_empty() {
        return Vec::new();
    }
    let answered = rewards_of(rows);
    let compared = |way, name: &str, rewards: Vec<f64>| Compared {
        way,
        name: name.to_owned(),
        reward: Mean::of(&rewards),
        answered_above: (way != Way::Answered).then(|| Mean::of_difference(&answered, &rewards)),
    };
    let of_answers = |way, name: &str, answers: Vec<Answer>| {
        compared(way, name, earned(rows, &answers, &options.spec))
    };
    let reference = options.checkpoint.as_ref();
    let mut all = vec![compared(Way::Answered, "as answered", answered.clone())];
    if let Some(reference) = reference {
        let conversations: Vec<Conversation> =
            rows.iter().map(|row| row.resolved.record.features.clone()).collect();
        let name = format!("{} now", reference.name);
        all.push(of_answers(Way::Checkpoint, &name, reference.predictor.predict(&conversations)));
        let (name, answers) = baseline(reference, &conversations);
        all.push(of_answers(Way::Baseline, name, answers));
        let constant = vec![constant(reference); rows.len()];
        all.push(of_answers(Way::Constant, "its constant", constant));
    }
    let no = Answer { converted: false, time_seconds: NOT_CONVERTED, confidence: 0.0 };
    let time_seconds =
        reference.map_or(UNKNOWN_TIME_SECONDS, |of| f64::from(of.predictor.baseline.time_seconds));
    let yes = Answer { converted: true, time_seconds, confidence: 1.0 };
    all.push(of_answers(Way::AlwaysNo, "always no", vec![no; rows.len()]));
    all.push(of_answers(Way::AlwaysYes, "always yes", vec![yes; rows.len()]));
    all.push(of_answers(Way::Truth, "oracle (the truth)", rows.iter().map(oracle).collect()));
    all
}

/// The truth as an answer. Where nobody knows the time, any will do: none earns anything.
fn oracle(row: &Row<'_>) -> Answer {
    let answer = truthful(&row.truth());
    let unknown = answer.converted && !answer.time_seconds.is_finite();
    let time_seconds = if unknown { UNKNOWN_TIME_SECONDS } else { answer.time_seconds };
    Answer { time_seconds, ..answer }
}

fn baseline(
    reference: &Reference<'_>,
    conversations: &[Conversation],
) -> (&'static str, Vec<Answer>) {
    let predictor = reference.predictor;
    let estimates = predictor.estimate_baseline(conversations).into_iter();
    let fitted = predictor.baseline.fitted;
    let name = if fitted { "its logistic baseline" } else { "its constant baseline" };
    (name, estimates.map(|estimate| predictor.decide(estimate)).collect())
}

fn constant(reference: &Reference<'_>) -> Answer {
    let baseline = &reference.predictor.baseline;
    let best_time = (f64::from(baseline.time_seconds), f64::from(baseline.time_accuracy));
    reference.manifest.constant(Some(best_time)).answer()
}

/// What answers would have earned in place of those that were given.
pub(super) fn earned(rows: &[Row<'_>], answers: &[Answer], spec: &RewardSpec) -> Vec<f64> {
    let earned = |(row, answer): (&Row<'_>, &Answer)| {
        let response = row.resolved.record.response_time_seconds;
        reward(spec, row.scored.weights, *answer, row.truth(), response).total
    };
    rows.iter().zip(answers).map(earned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::tests::{no, options, resolved, rows_of, yes};
    use crate::subnet::reward::Truth;

    #[test]
    fn ways_by_hand() {
        let all = [
            resolved(1, no(0.1), Truth::not_converted()),
            resolved(2, yes(66.0, 0.9), Truth::converted_after(60.0)),
            resolved(3, yes(60.0, 0.8), Truth::not_converted()),
            resolved(4, yes(60.0, 0.8), Truth::converted_after(f64::NAN)),
        ];
        let spec = RewardSpec::MAIN;
        let found = rows_of(&all, &spec, |rows| of(rows, &options(spec)));
        let mean = |way: Way| found.iter().find(|one| one.way == way).unwrap();
        // 0.19 for the response time in each; a right no 0.275, a right yes 0.165 and 0.36 at best.
        for (way, sum) in [
            (Way::Answered, 0.275 + (0.165 + 0.36 * 0.6) + 0.0 + 0.165),
            (Way::AlwaysNo, 2.0 * 0.275),
            (Way::AlwaysYes, 2.0 * 0.165 + 0.36),
            (Way::Truth, 2.0 * 0.275 + 2.0 * 0.165 + 0.36),
        ] {
            let found = mean(way).reward.mean;
            assert!((found - (0.19 + sum / 4.0)).abs() < 1e-12, "{way:?}: {found}");
        }
        let above = mean(Way::Truth).answered_above.unwrap();
        assert!((above.mean - -(0.144 + 0.275) / 4.0).abs() < 1e-12, "{above:?}");
        assert_eq!(mean(Way::Answered).answered_above, None);
        assert_eq!(found.len(), 4);
        assert!(of(&[], &options(spec)).is_empty());
    }
}
