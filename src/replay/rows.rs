//! All of what was answered in a window, scored.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use super::whatif::{Asked, WhatIf};
use super::{Exchange, JoinReport, Ledger, ReplayError, Resolved, Scored, Window, join};
use crate::subnet::reward::{Answer, RewardSpec, Truth};

/// What is kept of an answer whose truth is known: about 250 bytes, without the features.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// When it was answered, in nanoseconds since 1970.
    pub time_ns: u64,
    /// The request's nonce.
    pub nonce: u64,
    /// The conversation's name.
    pub id: Box<str>,
    /// The hotkey of who asked.
    pub validator: Arc<str>,
    /// The model that answered.
    pub model: Arc<str>,
    /// Its checkpoint.
    pub checkpoint: Arc<str>,
    /// What was answered.
    pub answer: Answer,
    /// What really happened.
    pub truth: Truth,
    /// How long the answer took, in seconds.
    pub response_time_seconds: f64,
    /// What another checkpoint would have answered, if one was asked.
    pub other: Option<Answer>,
}

/// Answers in order of time, with what each earned.
#[derive(Debug)]
pub struct Replay {
    /// How rewards were counted.
    pub spec: RewardSpec,
    /// The answers.
    pub rows: Vec<Row>,
    /// What each earned.
    pub scored: Vec<Scored>,
    /// How the miner stands with each validator at the end.
    pub ledger: Ledger,
    /// What became of the records.
    pub joined: JoinReport,
    /// What another checkpoint would have earned.
    pub other: Option<Other>,
}

/// What another checkpoint would have earned with its answers to the same requests.
#[derive(Debug)]
pub struct Other {
    /// Its name.
    pub checkpoint: String,
    /// What each answer would have earned.
    pub scored: Vec<Scored>,
    /// How the miner would stand with each validator.
    pub ledger: Ledger,
}

/// Scores what was answered in a window and whose truth is known; and with `what_if`, what that
/// checkpoint would have answered, in the same time.
///
/// # Errors
///
/// If the journal's or the outcomes' folder cannot be read.
pub fn replay(
    journal: &Path,
    outcomes: &Path,
    window: Window,
    spec: RewardSpec,
    what_if: Option<WhatIf<'_>>,
) -> Result<Replay, ReplayError> {
    let mut names = Names::default();
    let mut rows: Vec<Row> = Vec::new();
    let mut asked = what_if.as_ref().map(Asked::new);
    let joined = join(journal, outcomes, window, &mut |resolved| {
        if let Some(asked) = &mut asked {
            asked.take(&resolved.record.features);
        }
        rows.push(names.row(resolved));
    })?;
    for (row, answer) in rows.iter_mut().zip(asked.map(Asked::finish).unwrap_or_default()) {
        row.other = Some(answer);
    }
    rows.sort_by(|left, right| left.order().cmp(&right.order()));
    let (scored, ledger) = score_rows(&rows, spec, &|row| Some(row.answer));
    let other = what_if.map(|what_if| {
        let (scored, ledger) = score_rows(&rows, spec, &|row| row.other);
        Other { checkpoint: what_if.checkpoint.to_owned(), scored, ledger }
    });
    Ok(Replay { spec, rows, scored, ledger, joined, other })
}

fn score_rows(
    rows: &[Row],
    spec: RewardSpec,
    answer: &dyn Fn(&Row) -> Option<Answer>,
) -> (Vec<Scored>, Ledger) {
    let mut ledger = Ledger::new(spec);
    let score = |row: &Row| {
        Some(ledger.score(Exchange {
            validator: &row.validator,
            answer: answer(row)?,
            truth: row.truth,
            response_time_seconds: row.response_time_seconds,
        }))
    };
    let scored = rows.iter().filter_map(score).collect();
    (scored, ledger)
}

impl Row {
    /// As [`in_order`](super::in_order).
    fn order(&self) -> (u64, &str, u64) {
        (self.time_ns, &self.validator, self.nonce)
    }
}

/// Each name once: there are few validators, models and checkpoints, and many rows.
#[derive(Default)]
struct Names(HashSet<Arc<str>>);

impl Names {
    fn shared(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.0.get(name) {
            return Arc::clone(known);
        }
        let name: Arc<str> = name.into();
        self.0.insert(Arc::clone(&name));
        name
    }

    fn row(&mut self, Resolved { record, truth, .. }: Resolved) -> Row {
        Row {
            time_ns: record.time_ns,
            nonce: record.nonce,
            id: record.id().unwrap_or_default().into(),
            validator: self.shared(&record.validator),
            model: self.shared(&record.model),
            checkpoint: self.shared(&record.checkpoint),
            answer: record.answer.into(),
            truth,
            response_time_seconds: record.response_time_seconds,
            other: None,
        }
    }
}
