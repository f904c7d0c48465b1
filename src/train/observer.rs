//! Who watches a training run: a terminal, a test, nobody.

use std::fmt;

use serde::Serialize;

use super::capacity::Choice;

/// One of the two stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Whether a conversation converts, from all rows.
    Classifier,
    /// After how long, from the converted rows.
    Regressor,
}

impl Stage {
    /// The quantity on the held-out rows that decides which epoch's weights are kept; less is
    /// better.
    pub fn metric(self) -> &'static str {
        match self {
            Stage::Classifier => "log loss",
            Stage::Regressor => "MAE in s",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Classifier => "classifier",
            Stage::Regressor => "regressor",
        })
    }
}

/// One pass over the training rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Epoch {
    /// Its number, from 1.
    pub number: usize,
    /// The mean loss of its steps.
    pub loss: f64,
    /// [`Stage::metric`] on the held-out rows after it.
    pub validation: f64,
}

/// How the training of one network went.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StageReport {
    /// Which stage.
    pub stage: Stage,
    /// Which of its networks.
    pub member: String,
    /// Rows that it learned from.
    pub rows: usize,
    /// Every epoch, in order.
    pub epochs: Vec<Epoch>,
    /// The number of the epoch whose weights were kept; none if no epoch ended.
    pub best_epoch: Option<usize>,
    /// Why it ended.
    pub ended: Ended,
}

/// Why a stage ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// All epochs were done.
    Completed,
    /// The validation metric had not become better for too long.
    NoProgress,
    /// The observer asked for it.
    Interrupted,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ended::Completed => "all epochs done",
            Ended::NoProgress => "no more progress",
            Ended::Interrupted => "interrupted",
        })
    }
}

/// Watches a training run and may end a stage early.
pub trait Observer {
    /// The logistic baseline is about to be fitted.
    fn baseline_started(&mut self, _rows: usize) {}
    /// The training of a stage's network begins.
    fn stage_started(&mut self, _stage: Stage, _member: &str, _epochs: usize, _rows: usize) {}
    /// An epoch ended.
    fn epoch_ended(&mut self, _stage: Stage, _epoch: &Epoch) {}
    /// The training of a network ended. A stop that was asked for is thereby done.
    fn stage_ended(&mut self, _report: &StageReport) {}
    /// A small table's candidates are about to be compared, by so many trainings.
    fn comparison_started(&mut self, _rows: usize, _fits: usize) {}
    /// One of them is done.
    fn comparison_advanced(&mut self, _candidate: &str) {}
    /// The comparison ended. A stop that was asked for is thereby done.
    fn comparison_ended(&mut self, _choice: &Choice) {}
    /// The rows of a cross-validation's next fold are about to be trained without; from 1.
    fn fold_started(&mut self, _fold: usize, _folds: usize) {}
    /// Whether the network's training should end now; asked before every step.
    fn stop_requested(&mut self) -> bool {
        false
    }
}

/// Watches nothing.
impl Observer for () {}
