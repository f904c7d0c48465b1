//! The score table: the miner beside its parts, others, and what anybody could answer.

use serde::Serialize;

use super::statistics::Mean;
use super::{Origin, Subject, truthful};
use crate::model::decision::Rule;
use crate::model::networks::Member;
use crate::model::predictor::Estimate;
use crate::subnet::reward::{Answer, NOT_CONVERTED};
use crate::train::evaluation::{Judged, Scores};

/// The ways to answer, the miner's own first.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScoreTable {
    /// One row a way to answer.
    pub rows: Vec<ScoreRow>,
    /// What the miner's decision earns above "converts from a probability of one half on".
    pub gain_over_half: Mean,
    /// Why the members are not among them, where they are not.
    pub members_absent: Option<MembersAbsent>,
}

/// Why the networks are not scored one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MembersAbsent {
    /// There are no networks.
    NoNetworks,
    /// There is one of each kind, so the ensemble is its member.
    OneOfEach,
    /// Each network was trained on most of the rows.
    RowsSeen,
}

/// What kind of way to answer it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// The miner itself.
    Miner,
    /// The other miner.
    Against,
    /// The miner with another rule.
    Rule,
    /// One network in place of all of its kind.
    Member,
    /// What needs no networks.
    Reference,
}

/// One way to answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScoreRow {
    /// Its name.
    pub name: String,
    /// What kind it is.
    pub way: Way,
    /// How good it is.
    pub scores: Scores,
    /// The mean reward with its error.
    pub reward: Mean,
    /// What it earns above the miner, row by row; absent for the miner.
    pub above_miner: Option<Mean>,
}

impl ScoreTable {
    pub(super) fn of(subject: Subject<'_>, against: Option<(&str, Subject<'_>)>) -> ScoreTable {
        let predictor = subject.predictor;
        let said = subject.said;
        let miner = subject.judge(&said.estimates, &said.confidences, predictor.decision.rule);
        let miner_rewards = subject.rewards(&answers(&miner));
        let row = |name: &str, way, judged: &[Judged]| {
            let rewards = subject.rewards(&answers(judged));
            let difference = Mean::of_difference(&rewards, &miner_rewards);
            ScoreRow {
                name: name.to_owned(),
                way,
                scores: Scores::of(judged, subject.rows.truths, subject.spec),
                reward: Mean::of(&rewards),
                above_miner: (way != Way::Miner).then_some(difference),
            }
        };
        let half = subject.judge(&said.estimates, &said.confidences, Rule::Threshold(0.5));
        let gain_over_half = Mean::of_difference(&miner_rewards, &subject.rewards(&answers(&half)));
        let mut rows = vec![row("this miner", Way::Miner, &miner)];
        if let Some((name, other)) = against {
            let said = other.said;
            let judged =
                other.judge(&said.estimates, &said.confidences, other.predictor.decision.rule);
            rows.push(row(&format!("the other: {name}"), Way::Against, &judged));
        }
        rows.push(row("same miner at threshold 0.5", Way::Rule, &half));
        let members = subject.members();
        for (name, estimates) in members.iter().flatten() {
            let confidences: Vec<f64> =
                estimates.iter().map(|estimate| predictor.calibrated(*estimate)).collect();
            let judged = subject.judge(estimates, &confidences, predictor.decision.rule);
            rows.push(row(name, Way::Member, &judged));
        }
        for (name, judged) in subject.references() {
            rows.push(row(name, Way::Reference, &judged));
        }
        ScoreTable { rows, gain_over_half, members_absent: members.err() }
    }
}

fn answers(judged: &[Judged]) -> Vec<Answer> {
    judged.iter().map(|judged| judged.answer).collect()
}

impl Subject<'_> {
    fn judge(&self, estimates: &[Estimate], confidences: &[f64], rule: Rule) -> Vec<Judged> {
        let rows = estimates.iter().zip(confidences);
        rows.map(|(estimate, confidence)| Judged {
            answer: self.predictor.decide_with(*confidence, rule, *estimate),
            time_seconds: Some(self.predictor.time_of(*estimate)),
        })
        .collect()
    }

    /// What needs no networks, as [`Evaluation`](crate::train::evaluation::Evaluation) has it.
    fn references(&self) -> Vec<(&'static str, Vec<Judged>)> {
        let predictor = self.predictor;
        let baseline = self.said.baseline.iter().map(|estimate| {
            let estimate = Estimate { fallback: predictor.ensemble.is_some(), ..*estimate };
            let time_seconds = Some(predictor.time_of(estimate));
            Judged { answer: predictor.decide(estimate), time_seconds }
        });
        let count = self.rows.truths.len();
        let no = Answer { converted: false, time_seconds: NOT_CONVERTED, confidence: 0.0 };
        let time_seconds = f64::from(predictor.baseline.time_seconds);
        let yes = Answer { converted: true, time_seconds, confidence: 1.0 };
        let oracle = self.rows.truths.iter().map(|truth| Judged {
            answer: truthful(truth),
            time_seconds: Some(truth.time_seconds),
        });
        let name =
            if predictor.baseline.fitted { "logistic baseline" } else { "constant baseline" };
        vec![
            (name, baseline.collect()),
            ("always no", vec![Judged { answer: no, time_seconds: None }; count]),
            ("always yes", vec![Judged { answer: yes, time_seconds: Some(time_seconds) }; count]),
            ("oracle (the truth)", oracle.collect()),
        ]
    }

    /// What the miner would say with one network in place of all of its kind.
    fn members(&self) -> Result<Vec<(String, Vec<Estimate>)>, MembersAbsent> {
        let ensemble = self.predictor.ensemble.as_ref().ok_or(MembersAbsent::NoNetworks)?;
        let config = ensemble.config();
        if config.classifiers.len() < 2 && config.regressors.len() < 2 {
            return Err(MembersAbsent::OneOfEach);
        }
        if self.rows.origin == Origin::OutOfFold {
            return Err(MembersAbsent::RowsSeen);
        }
        let inputs = self.predictor.scaler.rows(self.rows.conversations);
        let each = |stage: &str, members: &[Member], said: Vec<Vec<f64>>, replace: Replace| {
            if members.len() < 2 {
                return Vec::new();
            }
            let members = members.iter().zip(said).map(|(member, said)| {
                let rows = self.said.estimates.iter().zip(said);
                let estimates = rows.map(|(estimate, said)| replace(*estimate, said)).collect();
                (format!("{stage} {} alone", member.name), estimates)
            });
            members.collect()
        };
        let mut members = each(
            "classifier",
            &config.classifiers,
            ensemble.probabilities(&inputs),
            |estimate, probability| Estimate { probability, ..estimate },
        );
        members.extend(each(
            "regressor",
            &config.regressors,
            ensemble.times(&inputs),
            |estimate, time_seconds| Estimate { time_seconds, ..estimate },
        ));
        Ok(members)
    }
}

/// Puts what one network says into an estimate.
type Replace = fn(Estimate, f64) -> Estimate;
