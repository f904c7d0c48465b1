//! What a feedback knows, for who shows or saves it.

use std::sync::{Arc, Mutex, PoisonError};

use super::SavedFeedback;
use super::tuning::Tuning;
use crate::serve::monitor::{RecalibrationStats, Snapshot, TuningStats};

/// What a [`Feedback`](super::Feedback) knew at the end of its last step. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct FeedbackView(Arc<Mutex<Shown>>);

#[derive(Debug, Clone, Default)]
struct Shown {
    learned: Arc<SavedFeedback>,
    recalibration: RecalibrationStats,
    tuning: TuningStats,
}

impl FeedbackView {
    /// What is to be kept over a restart.
    pub fn saved(&self) -> Arc<SavedFeedback> {
        Arc::clone(&self.shown().learned)
    }

    /// Adds to a snapshot what is known.
    pub fn look(&self, snapshot: Snapshot) -> Snapshot {
        let Shown { learned, recalibration, tuning } = self.shown();
        let truths = (learned.truths.known > 0).then(|| learned.truths.clone());
        Snapshot { truths, recalibration: Some(recalibration), tuning: Some(tuning), ..snapshot }
    }

    pub(super) fn show(&self, learned: &SavedFeedback, is_in_force: bool, tuning: &Tuning) {
        let judgement = learned.judgement;
        let shown = Shown {
            recalibration: RecalibrationStats {
                in_force: is_in_force,
                truths: judgement.truths,
                compared: judgement.compared,
                gain: judgement.gain,
                standard_error: judgement.standard_error,
            },
            tuning: TuningStats {
                parameters: tuning.values().collect(),
                refused: tuning.refused().map(str::to_owned),
            },
            learned: Arc::new(learned.clone()),
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = shown;
    }

    fn shown(&self) -> Shown {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
