//! What goes on beside the answers: what is learned, tuned and saved.

use std::collections::BTreeMap;

use serde::Serialize;

/// How far the confidence is corrected by what became of answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct RecalibrationStats {
    /// Whether it is at the moment.
    pub in_force: bool,
    /// From how many truths it has learned.
    pub truths: u64,
    /// On how many of the last ones it was measured.
    pub compared: usize,
    /// By how much its mean log loss on them is lower than that of the checkpoint's own confidence.
    pub gain: f64,
    /// The standard error of that. It is in force while the gain is larger.
    pub standard_error: f64,
}

/// The tuned parameters.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct TuningStats {
    /// The values in force, by name.
    pub parameters: BTreeMap<&'static str, f64>,
    /// Why the tuning history cannot be used; `null` when it can.
    pub refused: Option<String>,
}

/// How state is saved.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct StateStats {
    /// How often something could not be saved.
    pub failures: u64,
    /// What cannot be saved at the moment, and why.
    pub failing: Vec<String>,
}
