//! What was compared and chosen, as it is told and written down.

use std::fmt;

use serde::Serialize;

/// Candidates that were compared on a small table, and what was chosen.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Choice {
    /// Parts that the rows were divided into, anew for each repeat; 0 if nothing was compared.
    pub folds: usize,
    /// What says whether a conversation converts, by the mean log loss of a row.
    pub class: Comparison,
    /// What says when, by the mean share of the time's reward that a converted row misses.
    pub time: Comparison,
}

/// Candidates that were compared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The name of the smallest candidate that is within one standard error of the best.
    pub chosen: String,
    /// All of them, smallest first.
    pub candidates: Vec<Candidate>,
}

/// A model that might answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Candidate {
    /// What it is.
    pub name: String,
    /// How often it said something of each row that it had not seen.
    pub repeats: usize,
    /// The mean loss of a row; absent if it was not compared.
    pub loss: Option<f64>,
    /// One standard error of the difference between its loss and the best candidate's.
    pub error: Option<f64>,
    /// Why it was not compared.
    pub left_out: Option<String>,
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Candidate { name, loss, error, left_out, .. } = self;
        match (loss, error, left_out) {
            (Some(loss), Some(error), _) => write!(f, "{name:<36} {loss:.4} ± {error:.4}"),
            (_, _, Some(reason)) => write!(f, "{name:<36} left out: {reason}"),
            _ => f.write_str(name),
        }
    }
}
