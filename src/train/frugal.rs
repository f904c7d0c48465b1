//! Training on a device that may run out of memory.
//!
//! A device computes later than it is asked, and tells of its failures where it is read from. So the
//! first step of each size is waited for, and what fails later comes to light at the end of its
//! pass. Either is gone back over in steps of the same rows by halves, whose gradients are added up.
//! What is of a whole batch is of its parts then: a batch norm's statistics, dropout's draws, and the
//! mean over converted rows in the reward loss.

use std::ops::Range;

use burn::tensor::Device;

use super::data::Part;
use super::learner::{Learner, UnfitState};
use crate::model::device::memory::{self, Refusal};
use crate::model::networks::Network;

/// A learner that can take the steps that it is asked for in parts.
pub(super) trait Divisible: Learner {
    /// Lets no more rows than these be computed at once from now on.
    fn divide(&mut self, most_rows: usize);
}

/// A learner whose device may run out of memory.
pub(super) struct Frugal<L> {
    learner: L,
    device: Device,
    /// No more rows than these are computed at once.
    most_rows: usize,
    /// So many at once were computed, to the end.
    shown_rows: usize,
    /// The loss of what was computed to the end.
    loss: f64,
    /// What came after; none outside of passes.
    pass: Option<Pass>,
}

/// A pass that may have to be gone back over.
struct Pass {
    order: Vec<u32>,
    seed: u64,
    /// The learner's state at its beginning.
    before: Vec<u8>,
    /// Batches and their learning rates.
    steps: Vec<(Range<usize>, f64)>,
}

impl<L: Divisible> Frugal<L> {
    pub(super) fn new(learner: L, device: &Device) -> Frugal<L> {
        Frugal {
            learner,
            device: device.clone(),
            most_rows: usize::MAX,
            shown_rows: 0,
            loss: 0.0,
            pass: None,
        }
    }

    /// Takes all steps of a pass again until one way of dividing them is borne.
    fn settle(&mut self) {
        loop {
            let learner = &mut self.learner;
            match memory::attempt(&self.device, || learner.take_loss()) {
                Ok(loss) => {
                    self.loss += loss;
                    return;
                }
                Err(refusal) => self.go_back(refusal),
            }
            self.repeat();
        }
    }

    /// Takes the steps of the pass that is going on, from its beginning; a step that is refused
    /// begins it anew.
    fn repeat(&mut self) {
        let steps = self.pass.as_ref().map_or(0, |pass| pass.steps.len());
        let mut step = 0;
        while step < steps {
            let pass = self.pass.as_ref().expect("it has steps. This is a bug.");
            let (batch, rate) = pass.steps[step].clone();
            step = if self.take(batch, rate) { step + 1 } else { 0 };
        }
    }

    /// Takes a step; says whether it was borne, and goes back to the beginning of the pass if not.
    fn take(&mut self, batch: Range<usize>, rate: f64) -> bool {
        let rows = batch.len().min(self.most_rows);
        if rows <= self.shown_rows {
            self.learner.step(batch, rate);
            return true;
        }
        let learner = &mut self.learner;
        let step = || {
            learner.step(batch, rate);
            // Reading all that the step changes waits for all that it computes.
            learner.state();
        };
        match memory::attempt(&self.device, step) {
            Ok(()) => {
                self.shown_rows = rows;
                true
            }
            Err(refusal) => {
                self.go_back(refusal);
                false
            }
        }
    }

    /// Goes back to the beginning of the pass, with less to be computed at once.
    fn go_back(&mut self, refusal: Refusal) {
        let Some(pass) = &self.pass else { refusal.resume() };
        let largest = pass.steps.iter().map(|(batch, _)| batch.len()).max().unwrap_or(0);
        let refused = largest.min(self.most_rows);
        if refused < 2 {
            refusal.resume();
        }
        self.most_rows = refused.div_ceil(2);
        self.shown_rows = 0;
        tracing::warn!(
            "the device has no memory to learn from {refused} rows at once: steps are made of \
             parts of {} rows from here on",
            self.most_rows
        );
        self.device.memory_cleanup();
        self.learner.divide(self.most_rows);
        self.learner.restore(&pass.before).expect("it is its own state. This is a bug.");
        self.learner.begin(pass.order.clone(), pass.seed);
    }
}

impl<L: Divisible> Learner for Frugal<L> {
    fn load(&mut self, rows: &Part) {
        self.settle();
        self.pass = None;
        self.learner.load(rows);
    }

    fn begin(&mut self, order: Vec<u32>, seed: u64) {
        self.settle();
        let before = self.learner.state();
        self.learner.begin(order.clone(), seed);
        self.pass = Some(Pass { order, seed, before, steps: Vec::new() });
    }

    fn step(&mut self, batch: Range<usize>, rate: f64) {
        if let Some(pass) = &mut self.pass {
            pass.steps.push((batch.clone(), rate));
        }
        if !self.take(batch, rate) {
            self.repeat();
        }
    }

    fn take_loss(&mut self) -> f64 {
        self.settle();
        // What comes now is no more of a pass that could be gone back over from its beginning.
        self.pass = None;
        std::mem::take(&mut self.loss)
    }

    fn network(&self) -> Network {
        self.learner.network()
    }

    fn state(&self) -> Vec<u8> {
        self.learner.state()
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), UnfitState> {
        self.pass = None;
        self.learner.restore(state)
    }
}

#[cfg(test)]
mod tests {
    use super::super::autodiff::Autodiff;
    use super::super::config::{ClassifierLoss, RewardLossConfig};
    use super::super::member::{Architecture, MemberConfig};
    use super::super::objective::Objective;
    use super::super::observer::Stage;
    use super::super::weights;
    use super::*;
    use crate::features::engineer::INPUT_COUNT;
    use crate::model::networks::piecewise::Bins;
    use crate::model::networks::tabular::TabularConfig;
    use crate::subnet::reward::Truth;

    const ROWS: usize = 40;

    /// A learner on a device that bears only so many rows at once, and says so as devices do: in the
    /// step, or where it is read from.
    struct Bounded {
        learner: Autodiff,
        bears_rows: usize,
        most_rows: usize,
        tells_late: bool,
        is_spoiled: bool,
        refusals: usize,
    }

    impl Bounded {
        fn tell(&self) {
            assert!(!self.is_spoiled, "out of device memory allocating 4096 bytes");
        }
    }

    impl Learner for Bounded {
        fn load(&mut self, rows: &Part) {
            self.learner.load(rows);
        }

        fn begin(&mut self, order: Vec<u32>, seed: u64) {
            self.learner.begin(order, seed);
        }

        fn step(&mut self, batch: Range<usize>, rate: f64) {
            if batch.len().min(self.most_rows) > self.bears_rows {
                self.is_spoiled = true;
                self.refusals += 1;
                assert!(self.tells_late, "wgpu error: Out of Memory");
            }
            self.learner.step(batch, rate);
        }

        fn take_loss(&mut self) -> f64 {
            self.tell();
            self.learner.take_loss()
        }

        fn network(&self) -> Network {
            self.learner.network()
        }

        fn state(&self) -> Vec<u8> {
            self.tell();
            self.learner.state()
        }

        fn restore(&mut self, state: &[u8]) -> Result<(), UnfitState> {
            self.is_spoiled = false;
            self.learner.restore(state)
        }
    }

    impl Divisible for Bounded {
        fn divide(&mut self, most_rows: usize) {
            self.most_rows = most_rows;
            self.learner.divide(most_rows);
        }
    }

    fn autodiff() -> Autodiff {
        let device = Device::flex();
        let bins = Bins::default();
        device.seed(11);
        // No dropout, whose masks depend on how many rows there are, and no batch norm.
        let network = TabularConfig::new(INPUT_COUNT).with_bins(0).with_dropout(0.0);
        let start = network.init(&bins, &device);
        let values = weights::of(&Network::Tabular(start.clone()));
        let values: Vec<f32> =
            (0..values.len()).map(|index| (index as f32 * 0.7).sin() * 0.05).collect();
        let start = weights::fill(Network::Tabular(start), &values);
        let objective = Objective::Classifier {
            loss: ClassifierLoss::Bce,
            reward: RewardLossConfig::default(),
            label_smoothing: 0.0,
        };
        let config = MemberConfig {
            gate_penalty: 0.0,
            ..MemberConfig::new(Stage::Classifier, Architecture::Tabular)
        };
        Autodiff::new(start, objective, &config, false, &device)
    }

    fn part() -> Part {
        let value = |index: usize| (index as f32 * 0.37).sin() * 2.0;
        let truth =
            |row: usize| Truth { converted: row.is_multiple_of(3), time_seconds: row as f64 };
        Part {
            inputs: (0..ROWS * INPUT_COUNT).map(value).collect(),
            truths: (0..ROWS).map(truth).collect(),
        }
    }

    /// A pass of a step of 16 rows and one of 24, and the loss and weights after it.
    fn pass(learner: &mut dyn Learner) -> (f64, Vec<f32>) {
        learner.load(&part());
        learner.begin((0..ROWS as u32).rev().collect(), 1);
        learner.step(0..16, 0.01);
        learner.step(16..ROWS, 0.01);
        (learner.take_loss(), weights::of(&learner.network()))
    }

    #[test]
    fn gradients_of_parts_add_up() {
        let (loss, whole) = pass(&mut autodiff());
        for most_rows in [16, 7, 1] {
            let mut divided = autodiff();
            divided.divide(most_rows);
            let (loss_of_parts, of_parts) = pass(&mut divided);
            assert!((loss - loss_of_parts).abs() < 1e-5, "{loss}, {loss_of_parts}");
            for (one, other) in whole.iter().zip(&of_parts) {
                // Adam's steps go by the sign where a gradient is next to nothing.
                assert!((one - other).abs() < 1e-4, "{one}, {other} in parts of {most_rows}");
            }
        }
    }

    #[test]
    fn a_shortage_halves_the_steps_and_they_stay_halved() {
        let (loss, whole) = pass(&mut autodiff());
        for (bears_rows, tells_late, most_rows) in
            [(24, false, usize::MAX), (12, false, 12), (12, true, 12), (5, true, 4), (5, false, 4)]
        {
            let bounded = Bounded {
                learner: autodiff(),
                bears_rows,
                most_rows: usize::MAX,
                tells_late,
                is_spoiled: false,
                refusals: 0,
            };
            let mut frugal = Frugal::new(bounded, &Device::flex());
            let (loss_of_parts, of_parts) = pass(&mut frugal);
            let case = format!("bears {bears_rows}, tells late: {tells_late}");
            assert!((loss - loss_of_parts).abs() < 1e-5, "{case}: {loss}, {loss_of_parts}");
            assert!(whole.iter().zip(&of_parts).all(|(a, b)| (a - b).abs() < 1e-4), "{case}");
            assert!(frugal.most_rows <= bears_rows || most_rows == usize::MAX, "{case}");
            let refusals = frugal.learner.refusals;
            assert_eq!(refusals == 0, most_rows == usize::MAX, "{case}");
            pass(&mut frugal);
            assert_eq!(frugal.learner.refusals, refusals, "{case}: it is not tried again");
        }
    }

    #[test]
    #[should_panic(expected = "Out of Memory")]
    fn a_row_that_is_too_much_is_the_end() {
        let bounded = Bounded {
            learner: autodiff(),
            bears_rows: 0,
            most_rows: usize::MAX,
            tells_late: false,
            is_spoiled: false,
            refusals: 0,
        };
        pass(&mut Frugal::new(bounded, &Device::flex()));
    }
}
