//! Learning from what really happened, while a miner is at work.
//!
//! [`step()`] does what is due: it judges the checkpoint that answers in shadow, and lets a copy of the
//! one that is served learn on from new truths. It is called from a clock - cron, `serve --learn`, a
//! simulation - and has no thread and no clock of its own.
//!
//! - **Learning**: once a day, or when the served checkpoint earns clearly less than it did in
//!   validation or a diagnosis says that something has drifted, with at least 100 new truths. What it becomes is the *challenger*: a checkpoint that
//!   answers in shadow. There is one at a time, or evidence would never gather.
//! - **Promotion**: by conversations that were first answered after all that the challenger learned
//!   from, as far back as the journal is read. They must be 200 over two days or more, at least 50 in
//!   each half of the time, ten of each class, and ten on which the two earn differently. That the
//!   challenger earns more must be no chance: it is looked at once a day for a week, so that each of
//!   the seven looks at most has 2.5 % / 7 of being wrong (the paired bootstrap and the normal
//!   distribution must both say so), and all together 2.5 %. And it must earn more in the older and in
//!   the newer half of the time, and in the mean of the days, each counting alike: a busy day of wrong
//!   labels is not enough. With too few truths the week lasts longer, a month at most.
//! - **Demotion**: who was served before answers in shadow for a week more, and comes back by the same
//!   test, from 100 conversations over one day on.
//!
//! `state` is what is remembered, `evidence` compares two checkpoints, `verdict` has the rules,
//! `drift` sees that something changed and since when, `material` what there is to learn from,
//! `challenger` learns, `change` lets another checkpoint be served, `flag` reads what a diagnosis
//! says, and `hand` does what an operator asks for.

mod challenger;
mod change;
mod drift;
mod error;
mod evidence;
mod flag;
mod hand;
mod material;
mod state;
mod step;
mod verdict;

use std::path::PathBuf;

use serde::Serialize;

pub use drift::{Drift, Measure};
pub use error::LearnError;
pub use flag::flagged_ns;
pub use hand::{Earned, Listed, Standing, check_answers, list, promote, rollback};
pub use state::{Event, EventKind, LearningState, Rival, RivalKind, read as read_state};
pub use step::{Outcome, Step, step, step_flagged};

use crate::model::checkpoint::Evidence;

/// Where everything is.
#[derive(Debug, Clone)]
pub struct Folders {
    /// The checkpoints, with `latest` and `challenger`.
    pub checkpoints: PathBuf,
    /// What was answered.
    pub journal: PathBuf,
    /// What really happened.
    pub outcomes: PathBuf,
    /// What is remembered: `learning.json`.
    pub state: PathBuf,
}

/// When is learned, and what it takes to be promoted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LearnRules {
    /// Seed of everything random.
    pub seed: u64,
    /// Hours between two looks. 24.
    pub every_hours: f64,
    /// Hours between two looks at whether something has drifted. 6.
    pub drift_hours: f64,
    /// New truths that are needed to learn. 100.
    pub least_truths: usize,
    /// Most truths of one kind, new and old, that are learned from: the newest ones. 1500.
    pub most_truths: usize,
    /// How many days of answers are looked at. 30.
    pub window_days: u32,
    /// Conversations that a promotion needs. 200.
    pub promotion_truths: usize,
    /// Hours that they must span. 48.
    pub promotion_hours: f64,
    /// Conversations that a demotion needs. 100.
    pub demotion_truths: usize,
    /// Hours that they must span. 24.
    pub demotion_hours: f64,
    /// Days after which a checkpoint ceases to answer in shadow, once it has the conversations that it
    /// needs; without them, after `window_days`. 7.
    pub shadow_days: f64,
}

impl Default for LearnRules {
    fn default() -> Self {
        LearnRules {
            seed: 7,
            every_hours: 24.0,
            drift_hours: 6.0,
            least_truths: 100,
            most_truths: 1500,
            window_days: 30,
            promotion_truths: 200,
            promotion_hours: 48.0,
            demotion_truths: 100,
            demotion_hours: 24.0,
            shadow_days: 7.0,
        }
    }
}
