//! What a running miner learns from what really happened, and what it is told to do otherwise.
//!
//! [`Feedback`] follows three places while the miner serves: the journal, the outcomes and the tuning
//! history. Whenever an answer's truth becomes known, all that is known is counted anew, as `replay`
//! does it: what the models earned, by which they are preferred; how confidences came true, for the
//! operator; and the recalibration, if it may be trusted (see `learn`). Since nothing is added to an
//! older sum, a truth counts once however often it is read, an outcome that contradicts an earlier one
//! takes its place, and what was missed is made up for.
//!
//! It remembers the answers of the last 30 days, at most 200 000. Where the journal is gone, what an
//! earlier process had learned stays in force.
//!
//! A step takes the time as an argument and uses no thread; [`Feedback::watch`] puts a thread around it.

mod count;
mod folder;
mod learn;
mod memory;
mod tuning;
mod view;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::models::{InUse, Registry};
use super::monitor::Truths;
use crate::causes::with_causes;
use crate::clock::SECOND_NS;
use crate::journal::{self, SharedIntervals};
use crate::model::adjustment::{Adjusting, Recalibration};
use crate::outcomes::OutcomeSet;
use folder::Folder;
use memory::{Memory, REMEMBERED_NS};
use tuning::Tuning;

pub use learn::Judgement;
pub use view::FeedbackView;
pub use watch::FeedbackWatch;

/// The journal is read from so long before the latest record on: threads write beside each other, and
/// a disk may have been full for a while.
const OVERLAP_NS: u64 = 3600 * SECOND_NS;

/// What a [`Feedback`] follows and changes.
#[derive(Debug, Clone)]
pub struct FeedbackOptions {
    /// The folder of the journal.
    pub journal: PathBuf,
    /// The folder of the outcomes.
    pub outcomes: PathBuf,
    /// The folder of the tuning history.
    pub state_dir: PathBuf,
    /// Whether what truths teach about the confidence may change it.
    pub recalibrate: bool,
    /// Who answers.
    pub models: Arc<Registry>,
    /// What is changed in their answers.
    pub adjusting: Arc<Adjusting>,
    /// How often answers are written into the journal.
    pub intervals: Arc<SharedIntervals>,
}

/// What truths have taught: what is kept over a restart.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SavedFeedback {
    /// How many answers were looked at.
    pub answers: u64,
    /// When the latest of them was given, in nanoseconds since 1970.
    pub latest_ns: Option<u64>,
    /// Of how many conversations the truth is known, answered or not.
    pub outcomes: u64,
    /// How the answers fared whose truth is known.
    pub truths: Truths,
    /// What was counted to correct the confidence.
    pub recalibration: Option<Recalibration>,
    /// How that did.
    pub judgement: Judgement,
}

impl SavedFeedback {
    /// The correction of this calibration's confidence, if it may be trusted.
    fn trusted(&self, calibration: &str) -> Option<&Recalibration> {
        let learned = self.recalibration.as_ref().filter(|learned| learned.of == calibration);
        learned.filter(|learned| self.judgement.is_good() && learned.is_valid())
    }
}

/// Follows truths and tuning. See the module.
#[derive(Debug)]
pub struct Feedback {
    options: FeedbackOptions,
    journal: Folder,
    outcomes: Folder,
    memory: Memory,
    known: OutcomeSet,
    tuning: Tuning,
    learned: SavedFeedback,
    /// What of the models it was counted for: the checkpoint and its calibration.
    counted_for: Option<(Arc<str>, Arc<str>)>,
    is_in_force: bool,
    /// What could not be read, and was told.
    told: Option<String>,
    view: FeedbackView,
}

impl Feedback {
    /// One that has seen nothing yet. The tuning history is followed from now on, so that already the
    /// first answer is as it should be.
    pub fn new(options: FeedbackOptions) -> Feedback {
        let mut feedback = Feedback {
            journal: Folder::new(options.journal.clone()),
            outcomes: Folder::new(options.outcomes.clone()),
            memory: Memory::default(),
            known: OutcomeSet::default(),
            tuning: Tuning::new(&options.state_dir),
            learned: SavedFeedback::default(),
            counted_for: None,
            is_in_force: false,
            told: None,
            view: FeedbackView::default(),
            options,
        };
        feedback.follow_tuning();
        feedback.publish();
        feedback
    }

    /// Goes on with what an earlier process had learned, until more is known.
    pub fn restore(&mut self, saved: SavedFeedback) {
        self.learned = saved;
        self.publish();
    }

    /// What it knows, for who shows or saves it.
    pub fn view(&self) -> FeedbackView {
        self.view.clone()
    }

    /// Looks at what has changed, learns from it and lets it take effect. Cheap where nothing has.
    pub fn step(&mut self, now_ns: u64) {
        let is_tuned = self.follow_tuning();
        let has_truths = self.read_outcomes(now_ns);
        let has_answers = self.read_journal(now_ns);
        let in_use = self.options.models.in_use();
        let counted_for = Some((Arc::clone(&in_use.checkpoint), Arc::clone(&in_use.calibration)));
        if is_tuned || has_truths || has_answers || counted_for != self.counted_for {
            self.counted_for = counted_for;
            self.count(&in_use);
            self.publish();
        }
    }

    /// Takes up a new tuning history. Whether that changed anything.
    fn follow_tuning(&mut self) -> bool {
        if !self.tuning.refresh() {
            return false;
        }
        let tunables = *self.tuning.current();
        self.options.intervals.set(journal::SamplingIntervals {
            low_seconds: tunables.low_interval_seconds,
            high_seconds: tunables.high_interval_seconds,
        });
        self.options.adjusting.update(|adjustment| tunables.adjust(adjustment));
        true
    }

    /// Whether other truths are known than before.
    fn read_outcomes(&mut self, now_ns: u64) -> bool {
        if !self.outcomes.take_change(now_ns) {
            return false;
        }
        match OutcomeSet::read(self.outcomes.path()) {
            Ok(known) => {
                self.known = known;
                true
            }
            Err(error) => {
                self.outcomes.failed();
                self.tell(with_causes(&error));
                false
            }
        }
    }

    /// Whether there are other answers with a known truth than before. While no truth is known, the
    /// journal tells nothing and is left alone.
    fn read_journal(&mut self, now_ns: u64) -> bool {
        if self.known.is_empty() || !self.journal.take_change(now_ns) {
            return false;
        }
        let oldest_ns = now_ns.saturating_sub(REMEMBERED_NS);
        let latest_ns = self.memory.latest_ns().map_or(0, |ns| ns.saturating_sub(OVERLAP_NS));
        let (memory, known) = (&mut self.memory, &self.known);
        let mut is_new = memory.forget_before(oldest_ns);
        let read =
            journal::read(self.journal.path(), Some(oldest_ns.max(latest_ns)), &mut |record| {
                // One of the future would make all others look old.
                if record.time_ns <= now_ns.saturating_add(OVERLAP_NS) {
                    let is_known = known.of(&record).is_some();
                    is_new |= memory.add(&record) && is_known;
                }
            });
        if let Err(error) = read {
            self.journal.failed();
            self.tell(with_causes(&error));
        }
        is_new
    }

    fn tell(&mut self, reason: String) {
        if self.told.as_ref() != Some(&reason) {
            tracing::warn!(
                reason,
                "the miner cannot learn from what really happened; trying again"
            );
            self.told = Some(reason);
        }
    }

    /// Counts all that is known, unless nothing is: then what was restored stays.
    fn count(&mut self, in_use: &InUse) {
        let counted = count::count(&self.memory, &self.known, in_use);
        if counted.truths.known == 0 {
            return;
        }
        self.options.models.set_rewards(&counted.earned);
        let (recalibration, judgement) =
            learn::learn(&in_use.calibration, &counted.lessons, self.tuning.current());
        self.learned = SavedFeedback {
            answers: self.memory.len() as u64,
            latest_ns: self.memory.latest_ns(),
            outcomes: self.known.len() as u64,
            truths: counted.truths,
            recalibration: Some(recalibration),
            judgement,
        };
        self.told = None;
    }

    /// Lets what was learned take effect, and shows it.
    fn publish(&mut self) {
        let calibration = self.options.models.calibration();
        let trusted = self.learned.trusted(&calibration).filter(|_| self.options.recalibrate);
        let is_in_force = trusted.is_some();
        let (trusted, tunables) = (trusted.cloned(), *self.tuning.current());
        self.options.adjusting.update(|adjustment| {
            adjustment.recalibration = trusted;
            tunables.adjust(adjustment);
        });
        if is_in_force != self.is_in_force {
            self.is_in_force = is_in_force;
            self.tell_force();
        }
        self.view.show(&self.learned, is_in_force, &self.tuning);
    }

    fn tell_force(&self) {
        let Judgement { truths, compared, gain, standard_error } = self.learned.judgement;
        if self.is_in_force {
            tracing::info!(
                truths,
                compared,
                gain,
                standard_error,
                "what became of answers corrects the confidence from now on"
            );
        } else {
            tracing::info!(
                truths,
                compared,
                gain,
                standard_error,
                "the confidence is not corrected any more: the checkpoint's own is as good"
            );
        }
    }
}

#[cfg(test)]
mod tests;
