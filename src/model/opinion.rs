//! An answer with what it rests on, for who looks back at it later.

/// The levels of the quantiles of the time that are kept with an answer: 5, 10, ... 95 %.
pub const TIME_LEVELS: [f64; 19] = [
    0.05, 0.10, 0.15, 0.20, 0.25, 0.30, 0.35, 0.40, 0.45, 0.50, //
    0.55, 0.60, 0.65, 0.70, 0.75, 0.80, 0.85, 0.90, 0.95,
];

/// What a time is expected to be, in seconds: one quantile a level of [`TIME_LEVELS`], ascending.
pub type TimeQuantiles = [f64; TIME_LEVELS.len()];

use crate::subnet::reward::Answer;

/// An answer and what it rests on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Opinion {
    /// The answer.
    pub answer: Answer,
    /// What it rests on; none for a model that has nothing to say of that.
    pub basis: Option<Basis>,
}

/// What an answer rests on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Basis {
    /// P(converts) as the model sees it, before any calibration.
    pub raw_probability: f64,
    /// The probability after the checkpoint's calibration, before what was learned while serving.
    pub calibrated: f64,
    /// When it converts, if it does; none where nothing is known of how times are spread.
    pub time_quantiles: Option<TimeQuantiles>,
}

impl From<Answer> for Opinion {
    fn from(answer: Answer) -> Opinion {
        Opinion { answer, basis: None }
    }
}
