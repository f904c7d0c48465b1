//! What was earned, in all and by whom it was asked and answered.

use std::collections::BTreeMap;

use serde::Serialize;

use super::paired::{self, Difference};
use super::rows::Other;
use super::scores::{Constants, Scores};
use super::{JoinReport, Replay, Row, Scored, Standing};
use crate::subnet::reward::{Answer, ClassWeights, RewardSpec};

/// The seed of the intervals: the same answers give the same numbers.
const SEED: u64 = 0;

/// What was earned.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// How rewards were counted.
    pub reward_spec: String,
    /// What became of the records.
    pub joined: JoinReport,
    /// All answers.
    #[serde(flatten)]
    pub overall: Scores,
    /// The moving average over all answers in order of time, whoever asked.
    pub ema: f64,
    /// By whom was asked.
    pub validators: Vec<OfValidator>,
    /// By what answered.
    pub models: Vec<OfModel>,
    /// What anybody could have earned.
    pub constants: Constants,
    /// What another checkpoint would have earned, if one was asked.
    pub what_if: Option<OfOther>,
}

/// The answers to one validator.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OfValidator {
    /// Its hotkey.
    pub validator: String,
    /// What the answers earned.
    #[serde(flatten)]
    pub scores: Scores,
    /// The validator's moving average at the end.
    pub ema: f64,
    /// Its class weights at the end: the next answer is scored with them.
    pub class_weights: Weights,
}

/// Class weights as they are written.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Weights {
    /// Of a conversation that converts.
    pub positive: f64,
    /// Of one that does not.
    pub negative: f64,
}

/// The answers of one model of one checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OfModel {
    /// The model.
    pub model: String,
    /// The checkpoint; empty without one.
    pub checkpoint: String,
    /// What the answers earned.
    #[serde(flatten)]
    pub scores: Scores,
}

/// What another checkpoint would have earned.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OfOther {
    /// The checkpoint.
    pub checkpoint: String,
    /// What its answers would have earned.
    #[serde(flatten)]
    pub scores: Scores,
    /// The moving average over all answers in order of time.
    pub ema: f64,
    /// What it would have earned above what was earned.
    pub difference: Difference,
    /// The requests that it would have answered with the other class.
    pub other_class: usize,
    /// The same by whom was asked.
    pub validators: Vec<OtherOfValidator>,
    /// The same by what answered.
    pub models: Vec<OtherOfModel>,
}

/// What another checkpoint would have earned with one validator.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OtherOfValidator {
    /// The validator's hotkey.
    pub validator: String,
    /// What its answers would have earned.
    #[serde(flatten)]
    pub scores: Scores,
    /// The validator's moving average at the end.
    pub ema: f64,
    /// What it would have earned above what was earned.
    pub difference: Difference,
}

/// What another checkpoint would have earned where one model of one checkpoint answered.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OtherOfModel {
    /// The model that answered.
    pub model: String,
    /// Its checkpoint.
    pub checkpoint: String,
    /// What the other checkpoint's answers would have earned.
    #[serde(flatten)]
    pub scores: Scores,
    /// What that is above what was earned.
    pub difference: Difference,
}

impl Summary {
    /// Sums up a replay; `None` if there is no answer whose truth is known.
    pub fn of(replay: &Replay) -> Option<Summary> {
        let Replay { spec, rows, scored, ledger, joined, other } = replay;
        let actual = Account { spec, rows, scored, answer: &|row| Some(row.answer) };
        let all: Vec<usize> = (0..rows.len()).collect();
        let validators = groups(rows, |row| &*row.validator);
        let models = groups(rows, |row| (&*row.model, &*row.checkpoint));
        let of_validator = |(validator, standing): (&str, &Standing)| {
            Some(OfValidator {
                validator: validator.to_owned(),
                scores: actual.scores(validators.get(validator)?)?,
                ema: standing.ema(),
                class_weights: standing.weights().into(),
            })
        };
        let of_model = |((model, checkpoint), rows): (&(&str, &str), &Vec<usize>)| {
            let scores = actual.scores(rows)?;
            let (model, checkpoint) = ((*model).to_owned(), (*checkpoint).to_owned());
            Some(OfModel { model, checkpoint, scores })
        };
        Some(Summary {
            reward_spec: spec.name.to_owned(),
            joined: joined.clone(),
            overall: actual.scores(&all)?,
            ema: ledger.ema(),
            validators: ledger.validators().filter_map(of_validator).collect(),
            models: models.iter().filter_map(of_model).collect(),
            constants: Constants::of(spec, rows, scored)?,
            what_if: other
                .as_ref()
                .and_then(|other| of_other(other, &actual, &validators, &models)),
        })
    }
}

/// What was or would have been earned with the rows.
struct Account<'a> {
    spec: &'a RewardSpec,
    rows: &'a [Row],
    scored: &'a [Scored],
    answer: &'a dyn Fn(&Row) -> Option<Answer>,
}

impl Account<'_> {
    /// The scores of some rows; none without any.
    fn scores(&self, of: &[usize]) -> Option<Scores> {
        let scored = |row: &usize| {
            let (row, scored) = (&self.rows[*row], &self.scored[*row]);
            Some(((self.answer)(row)?, row.truth, scored.reward))
        };
        Scores::of(self.spec, of.iter().filter_map(scored))
    }

    fn totals(&self, of: &[usize]) -> Vec<f64> {
        of.iter().map(|row| self.scored[*row].reward.total).collect()
    }

    /// What is earned above what `other` earns with some rows.
    fn above(&self, other: &Account<'_>, of: &[usize]) -> Option<Difference> {
        paired::difference(&self.totals(of), &other.totals(of), SEED)
    }
}

/// The rows by what they have in common, in order of time.
fn groups<'a, K: Ord>(rows: &'a [Row], key: impl Fn(&'a Row) -> K) -> BTreeMap<K, Vec<usize>> {
    let mut groups: BTreeMap<K, Vec<usize>> = BTreeMap::new();
    for (index, row) in rows.iter().enumerate() {
        groups.entry(key(row)).or_default().push(index);
    }
    groups
}

fn of_other(
    other: &Other,
    actual: &Account<'_>,
    validators: &BTreeMap<&str, Vec<usize>>,
    models: &BTreeMap<(&str, &str), Vec<usize>>,
) -> Option<OfOther> {
    let rows = actual.rows;
    let would = Account { scored: &other.scored, answer: &|row| row.other, ..*actual };
    let all: Vec<usize> = (0..rows.len()).collect();
    let of_validator = |(validator, standing): (&str, &Standing)| {
        let rows = validators.get(validator)?;
        Some(OtherOfValidator {
            validator: validator.to_owned(),
            scores: would.scores(rows)?,
            ema: standing.ema(),
            difference: would.above(actual, rows)?,
        })
    };
    let of_model = |((model, checkpoint), rows): (&(&str, &str), &Vec<usize>)| {
        Some(OtherOfModel {
            model: (*model).to_owned(),
            checkpoint: (*checkpoint).to_owned(),
            scores: would.scores(rows)?,
            difference: would.above(actual, rows)?,
        })
    };
    let differs =
        |row: &&Row| row.other.is_some_and(|other| other.converted != row.answer.converted);
    Some(OfOther {
        checkpoint: other.checkpoint.clone(),
        scores: would.scores(&all)?,
        ema: other.ledger.ema(),
        difference: would.above(actual, &all)?,
        other_class: rows.iter().filter(differs).count(),
        validators: other.ledger.validators().filter_map(of_validator).collect(),
        models: models.iter().filter_map(of_model).collect(),
    })
}

impl From<ClassWeights> for Weights {
    fn from(ClassWeights { positive, negative }: ClassWeights) -> Weights {
        Weights { positive, negative }
    }
}

#[cfg(test)]
mod tests;
