//! How a miner does on labelled rows, as numbers and as a page that shows them.
//!
//! [`Report`] has all numbers; [`page`] draws nothing that is not in it. Each file computes one
//! part: `scores` the table, `curves` ROC and precision-recall, `reliability`, `times`, `rewards`
//! the reward against the threshold and by outcome, `segments`, `importance` and `learning`;
//! `statistics` has what they share.

mod curves;
pub(crate) mod importance;
mod learning;
pub mod page;
mod reliability;
mod rewards;
mod scores;
pub(crate) mod segments;
pub(crate) mod statistics;
mod summary;
mod times;

use serde::Serialize;

use crate::features::Conversation;
use crate::model::Predictor;
use crate::model::checkpoint::Manifest;
use crate::model::predictor::Estimate;
use crate::subnet::reward::{Answer, ClassWeights, RewardSpec, Truth, reward};
use crate::train::evaluation::{Evaluation, RESPONSE_TIME_SECONDS, evaluate};

pub use curves::{CurvePoint, Discrimination};
pub use importance::{Importance, Permuted};
pub use learning::{LearningCurve, LearningPoint};
pub use reliability::{ReliabilityPair, ReliabilityScores};
pub use rewards::{Outcome, OutcomeKind, Rewards, ThresholdPoint};
pub use scores::{MembersAbsent, ScoreRow, ScoreTable, Way};
pub use segments::{Segment, Segmentation};
pub use statistics::{Interval, Mean};
pub use summary::{DataSummary, MinerSummary};
pub use times::{CoveragePoint, ErrorBin, PredictedTime, TimeReport, TimeSpread};

/// Everything random in a report comes from this, so that the same rows give the same report.
const SEED: u64 = 7;

/// Where the rows of a report come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A table that was named.
    Table,
    /// Rows that no network was trained on.
    HeldOut,
    /// All rows of the training table, each as seen by networks that were trained without it.
    OutOfFold,
}

/// A miner and what is known of it.
#[derive(Debug, Clone, Copy)]
pub struct Miner<'a> {
    /// Its name: the checkpoint's folder.
    pub name: &'a str,
    /// What its checkpoint says of itself.
    pub manifest: &'a Manifest,
    /// The miner.
    pub predictor: &'a Predictor,
}

/// Labelled rows.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// The name of their file.
    pub file: &'a str,
    /// Where they come from.
    pub origin: Origin,
    /// The conversations.
    pub conversations: &'a [Conversation],
    /// What happened, one a conversation.
    pub truths: &'a [Truth],
}

/// What a miner says of rows.
#[derive(Debug, Clone)]
pub struct Said {
    /// What its networks say, one a row.
    pub estimates: Vec<Estimate>,
    /// Their calibrated probabilities.
    pub confidences: Vec<f64>,
    /// What its baseline says.
    pub baseline: Vec<Estimate>,
    /// How good that is.
    pub evaluation: Evaluation,
}

/// All numbers of a report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The version of convminer that made the report.
    pub convminer_version: String,
    /// The rows.
    pub data: DataSummary,
    /// The miner.
    pub miner: MinerSummary,
    /// Another miner that it is compared with.
    pub against: Option<MinerSummary>,
    /// How the miner does, as `convminer evaluate` says it.
    pub evaluation: Evaluation,
    /// How the other one does.
    pub against_evaluation: Option<Evaluation>,
    /// The miner beside its members, its baseline and what anybody could answer.
    pub scores: ScoreTable,
    /// How the training of each network went.
    pub learning: Vec<LearningCurve>,
    /// ROC and precision-recall; absent if the rows have one class only.
    pub discrimination: Option<Discrimination>,
    /// The other miner's.
    pub against_discrimination: Option<Discrimination>,
    /// Whether what it says comes true, before calibration and after.
    pub reliability: ReliabilityPair,
    /// The times of the rows that converted; absent if none did.
    pub times: Option<TimeReport>,
    /// The reward against the threshold, and by outcome.
    pub rewards: Rewards,
    /// The reward of parts of the rows.
    pub segments: Vec<Segmentation>,
    /// What the reward loses without each feature.
    pub importance: Importance,
}

impl Said {
    /// What a miner says of rows that it never saw. `None` without rows.
    ///
    /// # Panics
    ///
    /// If there are not as many truths as conversations.
    pub fn of(predictor: &Predictor, rows: &Rows<'_>, spec: &RewardSpec) -> Option<Said> {
        let evaluation = evaluate(predictor, rows.conversations, rows.truths, spec)?;
        let estimates = predictor.estimate(rows.conversations);
        let confidences =
            estimates.iter().map(|estimate| predictor.calibrated(*estimate)).collect();
        let baseline = predictor.estimate_baseline(rows.conversations);
        Some(Said { estimates, confidences, baseline, evaluation })
    }
}

/// A miner on rows, as each part of the report sees it.
#[derive(Clone, Copy)]
struct Subject<'a> {
    predictor: &'a Predictor,
    rows: Rows<'a>,
    said: &'a Said,
    spec: &'a RewardSpec,
}

impl Subject<'_> {
    /// What the miner answers, one a row.
    fn answers(&self) -> Vec<Answer> {
        let rows = self.said.estimates.iter().zip(&self.said.confidences);
        let rule = self.predictor.decision.rule;
        rows.map(|(estimate, confidence)| self.predictor.decide_with(*confidence, rule, *estimate))
            .collect()
    }

    /// What answers earn, one a row.
    fn rewards(&self, answers: &[Answer]) -> Vec<f64> {
        let rows = answers.iter().zip(self.rows.truths);
        rows.map(|(answer, truth)| earned(self.spec, *answer, *truth)).collect()
    }

    /// What the truth itself earns, one a row.
    fn oracle_rewards(&self) -> Vec<f64> {
        self.rewards(&self.rows.truths.iter().map(truthful).collect::<Vec<_>>())
    }

    fn converted(&self) -> Vec<bool> {
        self.rows.truths.iter().map(|truth| truth.converted).collect()
    }
}

/// The total reward as evaluations count it.
fn earned(spec: &RewardSpec, answer: Answer, truth: Truth) -> f64 {
    reward(spec, ClassWeights::START, answer, truth, RESPONSE_TIME_SECONDS).total
}

/// The answer of who knows the truth.
pub(crate) fn truthful(truth: &Truth) -> Answer {
    Answer {
        converted: truth.converted,
        time_seconds: truth.time_seconds,
        confidence: f64::from(u8::from(truth.converted)),
    }
}

/// Computes all numbers of a report on a miner, and where there is one, on another miner beside it.
///
/// # Panics
///
/// If there are no rows, or what is said is of other rows.
pub fn report(
    miner: Miner<'_>,
    said: &Said,
    against: Option<(Miner<'_>, &Said)>,
    rows: &Rows<'_>,
    spec: &RewardSpec,
) -> Report {
    let subject = Subject { predictor: miner.predictor, rows: *rows, said, spec };
    let other = against.map(|(miner, said)| Subject {
        predictor: miner.predictor,
        rows: *rows,
        said,
        spec,
    });
    let converted = subject.converted();
    let discrimination = |said: &Said| Discrimination::of(&said.confidences, &converted, SEED);
    Report {
        convminer_version: env!("CARGO_PKG_VERSION").to_owned(),
        data: DataSummary::of(rows),
        miner: MinerSummary::of(miner),
        against: against.map(|(miner, _)| MinerSummary::of(miner)),
        evaluation: said.evaluation.clone(),
        against_evaluation: against.map(|(_, said)| said.evaluation.clone()),
        scores: ScoreTable::of(
            subject,
            against.zip(other).map(|((miner, _), other)| (miner.name, other)),
        ),
        learning: learning::of(miner.manifest),
        discrimination: discrimination(said),
        against_discrimination: against.and_then(|(_, said)| discrimination(said)),
        reliability: ReliabilityPair::of(subject),
        times: TimeReport::of(subject),
        rewards: Rewards::of(subject),
        segments: segments::of(subject, other),
        importance: Importance::of(subject),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::scaler::Scaler;
    use crate::model::baseline::Baseline;
    use crate::model::calibration::{self, Calibration, Method};
    use crate::model::decision::{Decision, Rule};
    use crate::model::ensemble::Ensemble;
    use crate::model::networks::Combination;
    use crate::subnet::schema::position;

    fn predictor(ensemble: bool, times: &[(f64, f64)]) -> Predictor {
        Predictor {
            scaler: Scaler::fit(&conversations(60).iter().collect::<Vec<_>>()),
            ensemble: ensemble.then(|| Ensemble::sample(Combination::Probabilities)),
            baseline: Baseline::constant(9, &[50.0, 51.0, 90.0]),
            calibration: Calibration::default(),
            decision: Decision::fit(Rule::Reward, times, 0.4),
            spec: RewardSpec::MAIN,
            class_weights: ClassWeights::START,
        }
    }

    fn conversations(count: usize) -> Vec<Conversation> {
        (0..count)
            .map(|row| {
                let mut conversation = Conversation::EMPTY;
                conversation.set(position("conversation_duration_seconds"), 60.0 + row as f64);
                conversation.set(position("message_ratio"), (row * 7 % 10) as f64 / 5.0);
                conversation.set(position("hour_of_day"), (row % 24) as f64);
                conversation.set(position("has_target_entity"), (row % 2) as f64);
                conversation
            })
            .collect()
    }

    fn truths(count: usize) -> Vec<Truth> {
        let converts = |row: usize| row % 2 == 1 || row.is_multiple_of(7);
        let truth = |row: usize| {
            let after = Truth::converted_after(45.0 + (row % 11) as f64);
            if converts(row) { after } else { Truth::not_converted() }
        };
        (0..count).map(truth).collect()
    }

    fn made(predictor: &Predictor, truths: &[Truth], other: Option<&Predictor>) -> Report {
        let conversations = conversations(truths.len());
        let rows =
            Rows { file: "rows.csv", origin: Origin::Table, conversations: &conversations, truths };
        let spec = RewardSpec::MAIN;
        let manifest = Manifest::of(predictor);
        let miner = |predictor| Miner { name: "a", manifest: &manifest, predictor };
        let said = Said::of(predictor, &rows, &spec).unwrap();
        let theirs = other.map(|other| (miner(other), Said::of(other, &rows, &spec).unwrap()));
        let theirs = theirs.as_ref().map(|(miner, said)| (*miner, said));
        report(miner(predictor), &said, theirs, &rows, &spec)
    }

    fn times() -> Vec<(f64, f64)> {
        (0..40).map(|row| (50.0 + f64::from(row), 48.0 + f64::from(row * 3 % 40))).collect()
    }

    #[test]
    fn the_parts_agree_with_the_evaluation() {
        let mut predictor = predictor(true, &times());
        predictor.calibration = calibration::fit(Method::Platt, 10, &[0.4; 50], &[true; 50]);
        let found = made(&predictor, &truths(60), None);
        let evaluation = &found.evaluation;
        let of = |name: &str| {
            let row = found.scores.rows.iter().find(|row| row.name == name);
            row.unwrap_or_else(|| panic!("no {name} among {:?}", found.scores.rows))
        };
        for (name, scores) in [
            ("this miner", &evaluation.miner),
            ("same miner at threshold 0.5", &evaluation.at_half),
            ("constant baseline", &evaluation.baseline),
            ("always no", &evaluation.always_no),
            ("always yes", &evaluation.always_yes),
            ("oracle (the truth)", &evaluation.oracle),
        ] {
            assert_eq!(&of(name).scores, scores, "{name}");
            assert!((of(name).reward.mean - scores.mean_reward).abs() < 1e-12, "{name}");
        }
        let miner = evaluation.miner.mean_reward;
        let near = |left: f64, right: f64| (left - right).abs() < 1e-12;
        assert!(near(found.rewards.decision, miner));
        assert!(near(found.rewards.thresholds[50].mean_reward, evaluation.at_half.mean_reward));
        assert!(near(found.rewards.thresholds[100].mean_reward, evaluation.always_no.mean_reward));
        assert!(near(found.rewards.lost, evaluation.oracle.mean_reward - miner));
        assert!(near(found.scores.gain_over_half.mean, miner - evaluation.at_half.mean_reward));
        assert!(near(found.discrimination.as_ref().unwrap().auc, evaluation.miner.auc.unwrap()));
        assert!(near(found.reliability.after.ece, evaluation.miner.ece));
        let times = found.times.as_ref().unwrap();
        assert!(near(times.mae_seconds, evaluation.miner.time_mae_seconds.unwrap()));
        assert_eq!(times.coverage.len(), 7);
        for segmentation in &found.segments {
            let rows: usize = segmentation.segments.iter().map(|segment| segment.rows).sum();
            assert_eq!(rows, 60, "{}", segmentation.by);
            let sum = segmentation.segments.iter().map(|part| part.reward.mean * part.rows as f64);
            assert!((sum.sum::<f64>() / 60.0 - miner).abs() < 1e-9, "{}", segmentation.by);
        }
        // All rows are few enough to be picked, and most features never vary.
        assert!(near(found.importance.reward, miner));
        assert_eq!(found.importance.features.iter().filter(|feature| feature.varies).count(), 4);
    }

    #[test]
    fn members_answer_alone() {
        let found = made(&predictor(true, &times()), &truths(60), None);
        let members: Vec<&str> = found
            .scores
            .rows
            .iter()
            .filter(|row| row.way == Way::Member)
            .map(|row| row.name.as_str())
            .collect();
        // The sample has one regressor, which is all of its kind.
        assert_eq!(members, ["classifier mlp alone", "classifier residual alone"]);
        assert_eq!(found.scores.members_absent, None);
        let found = made(&predictor(false, &[]), &truths(60), None);
        assert_eq!(found.scores.members_absent, Some(MembersAbsent::NoNetworks));
    }

    #[test]
    fn another_miner_is_compared_row_by_row() {
        let (one, other) = (predictor(true, &times()), predictor(false, &[]));
        let found = made(&one, &truths(60), Some(&other));
        let row = found.scores.rows.iter().find(|row| row.way == Way::Against).unwrap();
        let theirs = found.against_evaluation.as_ref().unwrap().miner;
        assert_eq!(row.scores, theirs);
        let difference = theirs.mean_reward - found.evaluation.miner.mean_reward;
        assert!((row.above_miner.unwrap().mean - difference).abs() < 1e-12);
        // With itself, nothing is different.
        let found = made(&one, &truths(60), Some(&one));
        for segment in found.segments.iter().flat_map(|segmentation| &segmentation.segments) {
            assert_eq!(segment.above_against.unwrap().mean, 0.0);
        }
    }

    #[test]
    fn the_same_rows_give_the_same_report() {
        let predictor = predictor(true, &times());
        let (one, two) = (made(&predictor, &truths(40), None), made(&predictor, &truths(40), None));
        assert_eq!(one, two);
        assert_eq!(page::page(&one), page::page(&two));
    }

    #[test]
    fn what_does_not_exist_is_said() {
        let of_class =
            |converted| truths(200).into_iter().filter(move |truth| truth.converted == converted);
        let yes: Vec<Truth> = of_class(true).take(12).collect();
        let no: Vec<Truth> = of_class(false).take(12).collect();
        let one = &yes[..1];
        let bare = predictor(false, &[]);
        for (why, truths, predictor, sentences) in [
            ("all converted", &yes[..], &bare, vec!["nothing to tell apart", "no distribution"]),
            ("none converted", &no[..], &bare, vec!["No row converted", "nothing to tell apart"]),
            ("one row", one, &bare, vec!["No feature varies", "has no networks"]),
            ("no training", &truths(60), &predictor(true, &[]), vec!["No network was trained"]),
        ] {
            let page = page::page(&made(predictor, truths, None));
            for sentence in sentences {
                assert!(page.contains(sentence), "{why}: {sentence:?} is not in {page}");
            }
            assert!(!page.contains("NaN") && !page.contains("inf<"), "{why}: {page}");
        }
    }
}
