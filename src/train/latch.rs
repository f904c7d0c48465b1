//! An observer between a run and who watches it.

use super::capacity::Choice;
use super::observer::{Epoch, Observer, Stage, StageReport};

/// Asks another observer, and goes on asking to stop once that one did: what consists of many
/// trainings ends as a whole.
pub(super) struct Latch<'a> {
    observer: &'a mut dyn Observer,
    /// Whether the trainings themselves are passed on.
    tells_stages: bool,
    stopped: bool,
}

impl<'a> Latch<'a> {
    /// Passes everything on.
    pub(super) fn new(observer: &'a mut dyn Observer) -> Latch<'a> {
        Latch { observer, tells_stages: true, stopped: false }
    }

    /// Passes on how a comparison goes, and not the many trainings that it consists of.
    pub(super) fn of_comparison(observer: &'a mut dyn Observer) -> Latch<'a> {
        Latch { tells_stages: false, ..Latch::new(observer) }
    }

    /// Whether there ever was a request to stop.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped
    }
}

impl Observer for Latch<'_> {
    fn baseline_started(&mut self, rows: usize) {
        if self.tells_stages {
            self.observer.baseline_started(rows);
        }
    }

    fn stage_started(&mut self, stage: Stage, member: &str, epochs: usize, rows: usize) {
        if self.tells_stages {
            self.observer.stage_started(stage, member, epochs, rows);
        }
    }

    fn epoch_ended(&mut self, stage: Stage, epoch: &Epoch) {
        if self.tells_stages {
            self.observer.epoch_ended(stage, epoch);
        }
    }

    fn stage_ended(&mut self, report: &StageReport) {
        if self.tells_stages {
            self.observer.stage_ended(report);
        }
    }

    fn comparison_started(&mut self, rows: usize, fits: usize) {
        self.observer.comparison_started(rows, fits);
    }

    fn comparison_advanced(&mut self, candidate: &str) {
        self.observer.comparison_advanced(candidate);
    }

    fn comparison_ended(&mut self, choice: &Choice) {
        self.observer.comparison_ended(choice);
    }

    fn fold_started(&mut self, fold: usize, folds: usize) {
        self.observer.fold_started(fold, folds);
    }

    fn stop_requested(&mut self) -> bool {
        self.stopped |= self.observer.stop_requested();
        self.stopped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks once.
    struct Once(bool);

    impl Observer for Once {
        fn stop_requested(&mut self) -> bool {
            std::mem::take(&mut self.0)
        }
    }

    #[test]
    fn one_request_is_enough() {
        let mut once = Once(true);
        let mut latch = Latch::new(&mut once);
        assert!(!latch.is_stopped());
        assert!(latch.stop_requested() && latch.stop_requested() && latch.is_stopped());
    }
}
