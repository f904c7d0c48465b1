//! What a validator carries from one conversation to the next.

/// What being right about each class is worth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClassWeights {
    /// Of a conversation that converted.
    pub positive: f64,
    /// Of one that did not.
    pub negative: f64,
}

impl ClassWeights {
    /// The weights a validator begins with.
    pub const START: ClassWeights = ClassWeights { positive: 0.375, negative: 0.625 };

    /// The weight of the class `converted`.
    pub fn of(self, converted: bool) -> f64 {
        if converted { self.positive } else { self.negative }
    }
}

impl Default for ClassWeights {
    fn default() -> Self {
        ClassWeights::START
    }
}

/// The class weights of a validator that runs for long.
///
/// With every 100th truth the weights are set from these 100: the positive weight to the share of
/// negatives, and the negative one to the share of positives. In between, however many truths
/// came, they stay as they are; so 100 truths of one class make that class worth nothing until
/// the next 100 are full.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ClassWeightTracker {
    weights: ClassWeights,
    seen: u32,
    seen_converted: u32,
}

impl ClassWeightTracker {
    /// After how many truths the weights are set anew.
    pub const PERIOD: u32 = 100;

    /// The weights in force.
    pub fn weights(&self) -> ClassWeights {
        self.weights
    }

    /// Takes the truth of one more conversation; true if this has set the weights anew.
    pub fn record(&mut self, converted: bool) -> bool {
        self.seen += 1;
        self.seen_converted += u32::from(converted);
        if self.seen < Self::PERIOD {
            return false;
        }
        let share_converted = f64::from(self.seen_converted) / f64::from(self.seen);
        let share_not = f64::from(self.seen - self.seen_converted) / f64::from(self.seen);
        let weights = ClassWeights { positive: share_not, negative: share_converted };
        *self = ClassWeightTracker { weights, seen: 0, seen_converted: 0 };
        true
    }
}

/// The moving average of a miner's rewards that a validator keeps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ema {
    value: f64,
}

impl Ema {
    /// The share of the newest reward.
    pub const BETA: f64 = 0.1;

    /// An average that so far is `start`. A validator starts a new miner at 0.
    pub const fn starting_at(start: f64) -> Ema {
        Ema { value: start }
    }

    /// The average so far.
    pub fn value(self) -> f64 {
        self.value
    }

    /// Takes the reward of one more conversation, and gives the new average.
    pub fn record(&mut self, reward: f64) -> f64 {
        self.value = Self::BETA * reward + (1.0 - Self::BETA) * self.value;
        self.value
    }
}

impl Default for Ema {
    fn default() -> Self {
        Ema::starting_at(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `count` truths, of which the first `converted` converted.
    fn feed(tracker: &mut ClassWeightTracker, count: u32, converted: u32) -> u32 {
        (0..count).map(|index| u32::from(tracker.record(index < converted))).sum()
    }

    #[test]
    fn weights_change_with_every_hundredth_truth() {
        let mut tracker = ClassWeightTracker::default();
        assert_eq!(tracker.weights(), ClassWeights { positive: 0.375, negative: 0.625 });

        // 99 truths change nothing.
        assert_eq!(feed(&mut tracker, 99, 4), 0);
        assert_eq!(tracker.weights(), ClassWeights::START);
        // The 100th does: 4 of 100 converted, so 96/100 and 4/100.
        assert!(tracker.record(false));
        assert_eq!(tracker.weights(), ClassWeights { positive: 0.96, negative: 0.04 });

        // 150 more, 60 converted first: the weights are of the 100 alone (40/100 and 60/100), and
        // the 50 that follow wait.
        assert_eq!(feed(&mut tracker, 150, 60), 1);
        assert_eq!(tracker.weights(), ClassWeights { positive: 0.4, negative: 0.6 });
        // 50 that converted complete those 50 that did not.
        assert_eq!(feed(&mut tracker, 50, 50), 1);
        assert_eq!(tracker.weights(), ClassWeights { positive: 0.5, negative: 0.5 });
    }

    #[test]
    fn one_class_alone_becomes_worthless() {
        let mut tracker = ClassWeightTracker::default();
        feed(&mut tracker, 100, 100);
        assert_eq!(tracker.weights(), ClassWeights { positive: 0.0, negative: 1.0 });
        feed(&mut tracker, 100, 0);
        assert_eq!(tracker.weights(), ClassWeights { positive: 1.0, negative: 0.0 });
        assert_eq!(tracker.weights().of(true), 1.0);
        assert_eq!(tracker.weights().of(false), 0.0);
    }

    #[test]
    fn average_by_hand() {
        let mut average = Ema::default();
        // 0.1*0.5 = 0.05; 0.1*1 + 0.9*0.05 = 0.145; 0.1*0 + 0.9*0.145 = 0.1305
        for (reward, expected) in [(0.5, 0.05), (1.0, 0.145), (0.0, 0.1305)] {
            let found = average.record(reward);
            assert!((found - expected).abs() < 1e-15, "{found}");
            assert_eq!(average.value(), found);
        }
    }
}
