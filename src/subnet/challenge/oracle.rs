//! What a generator knows of an outcome, and the best answer that can be given from it.

use crate::subnet::reward::{
    Answer, ClassWeights, NOT_CONVERTED, RewardSpec, TIME_WINDOW_SECONDS, converting_earns_more,
    time_kernel,
};

/// What a generator knew of a conversation's outcome before it drew it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Oracle {
    /// The probability that the conversation converts.
    pub probability: f64,
    /// The time after which it does, if it does.
    pub time: OracleTime,
}

/// The distribution of the time of a conversation that converts, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum OracleTime {
    /// Always this.
    Exact(f64),
    /// Anything between two times.
    Uniform {
        /// The earliest time.
        low: f64,
        /// The latest time.
        high: f64,
    },
    /// `max(floor, N(mean, sd))`.
    Normal {
        /// The mean of the normal distribution.
        mean: f64,
        /// Its standard deviation, more than 0.
        sd: f64,
        /// The earliest time.
        floor: f64,
    },
}

/// The answer with the largest expected reward under `spec` and `weights`, given what the
/// generator knew. Its confidence is the probability itself.
///
/// See [`converting_earns_more`].
pub fn bayes_answer(oracle: &Oracle, spec: &RewardSpec, weights: ClassWeights) -> Answer {
    let confidence = oracle.probability;
    let (time_seconds, time_accuracy) = oracle.time.best();
    if converting_earns_more(spec, weights, confidence, time_accuracy) {
        Answer { converted: true, time_seconds, confidence }
    } else {
        Answer { converted: false, time_seconds: NOT_CONVERTED, confidence }
    }
}

impl OracleTime {
    /// The time with the largest expected accuracy, and that accuracy.
    pub fn best(&self) -> (f64, f64) {
        let time = match *self {
            OracleTime::Exact(time) => time,
            // Any time that keeps the window inside is as good; the middle always is.
            OracleTime::Uniform { low, high } => (low + high) / 2.0,
            OracleTime::Normal { mean, sd, floor } => best_of_floored_normal(mean, sd, floor),
        };
        (time, self.expected_accuracy(time))
    }

    /// The expected accuracy `E[max(0, 1 - |t - T| / 15)]` of answering `t`.
    pub fn expected_accuracy(&self, time_seconds: f64) -> f64 {
        match *self {
            OracleTime::Exact(exact) => time_kernel(time_seconds - exact),
            OracleTime::Uniform { low, high } => uniform_accuracy(low, high, time_seconds),
            OracleTime::Normal { mean, sd, floor } => {
                let law = Normal { mean, sd };
                let at_floor = law.below(floor) * time_kernel(time_seconds - floor);
                at_floor + law.accuracy_above(floor, time_seconds)
            }
        }
    }
}

/// The integral of the kernel around `time` over `low..high`, divided by its length.
fn uniform_accuracy(low: f64, high: f64, time: f64) -> f64 {
    if high <= low {
        return time_kernel(time - low);
    }
    // The kernel's integral from its centre to a signed distance from it.
    let integral = |distance: f64| {
        let near = distance.clamp(-TIME_WINDOW_SECONDS, TIME_WINDOW_SECONDS);
        near - near * near.abs() / (2.0 * TIME_WINDOW_SECONDS)
    };
    (integral(high - time) - integral(low - time)) / (high - low)
}

struct Normal {
    mean: f64,
    sd: f64,
}

impl Normal {
    /// The probability of less than `x`.
    fn below(&self, x: f64) -> f64 {
        0.5 * libm::erfc((self.mean - x) / (self.sd * std::f64::consts::SQRT_2))
    }

    fn density(&self, x: f64) -> f64 {
        let z = (x - self.mean) / self.sd;
        (-0.5 * z * z).exp() / (self.sd * (2.0 * std::f64::consts::PI).sqrt())
    }

    /// The integrals of the density, and of x times the density, over `low..high`.
    fn moments(&self, low: f64, high: f64) -> (f64, f64) {
        if high <= low {
            return (0.0, 0.0);
        }
        let mass = self.below(high) - self.below(low);
        // From d(density)/dx = -(x - mean)/sd^2 * density.
        let first = self.mean * mass - self.sd * self.sd * (self.density(high) - self.density(low));
        (mass, first)
    }

    /// The integral of the kernel around `time` times the density, above `floor`.
    fn accuracy_above(&self, floor: f64, time: f64) -> f64 {
        let window = TIME_WINDOW_SECONDS;
        // Rising side: 1 - (time - x)/15; falling side: 1 - (x - time)/15.
        let (mass, first) = self.moments(floor.max(time - window), time);
        let rising = (1.0 - time / window) * mass + first / window;
        let (mass, first) = self.moments(floor.max(time), time + window);
        let falling = (1.0 + time / window) * mass - first / window;
        rising + falling
    }
}

/// The best time for `max(floor, N(mean, sd))`.
///
/// Far from the floor that is the mean, since kernel and density are both symmetric and fall from
/// their centre. Near it, what is piled up on the floor draws the best time down, maybe to the
/// floor itself: there may be two local maxima, so it is searched on a grid and then refined.
fn best_of_floored_normal(mean: f64, sd: f64, floor: f64) -> f64 {
    const GRID: u32 = 512;
    const REFINEMENTS: u32 = 60;

    let distance = mean - floor;
    // Beyond four deviations less than 1 in 30,000 is piled up, out of the window's reach.
    if distance > TIME_WINDOW_SECONDS && distance > 4.0 * sd {
        return mean;
    }
    let law = OracleTime::Normal { mean, sd, floor };
    let end = floor.max(mean) + TIME_WINDOW_SECONDS;
    let step = (end - floor) / f64::from(GRID);
    let (mut best, mut best_accuracy) = (floor, law.expected_accuracy(floor));
    for index in 1..=GRID {
        let time = floor + step * f64::from(index);
        let accuracy = law.expected_accuracy(time);
        if accuracy > best_accuracy {
            (best, best_accuracy) = (time, accuracy);
        }
    }
    // Between its neighbours on the grid there is one maximum: keep two thirds each time.
    let (mut low, mut high) = ((best - step).max(floor), best + step);
    for _ in 0..REFINEMENTS {
        let third = (high - low) / 3.0;
        if law.expected_accuracy(low + third) < law.expected_accuracy(high - third) {
            low += third;
        } else {
            high -= third;
        }
    }
    (low + high) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIN: &RewardSpec = &RewardSpec::MAIN;

    fn answer(probability: f64, time: OracleTime) -> Answer {
        bayes_answer(&Oracle { probability, time }, MAIN, ClassWeights::START)
    }

    /// The expectation of the kernel by brute force, over equally likely times.
    fn by_sum(time: f64, times: impl ExactSizeIterator<Item = f64>) -> f64 {
        let count = times.len() as f64;
        times.map(|truth| time_kernel(time - truth)).sum::<f64>() / count
    }

    #[test]
    fn uniform_by_hand() {
        // Wider than the window: the kernel's area of 15 over the width of 600.
        let wide = OracleTime::Uniform { low: 200.0, high: 800.0 };
        assert_eq!(wide.best(), (500.0, 15.0 / 600.0));
        // Narrower: 1 - E|t - 50|/15 = 1 - (20/4)/15 = 2/3.
        let narrow = OracleTime::Uniform { low: 40.0, high: 60.0 };
        let (time, accuracy) = narrow.best();
        assert_eq!(time, 50.0);
        assert!((accuracy - 2.0 / 3.0).abs() < 1e-15);
        // Off the middle, at the end: 1 - E|t - 40|/15 over 40..55, then nothing:
        // (15 - 15/2)/20 = 0.375.
        assert!((narrow.expected_accuracy(40.0) - 0.375).abs() < 1e-15);
        assert_eq!(narrow.expected_accuracy(75.0), 0.0);
        // No width at all.
        let point = OracleTime::Uniform { low: 40.0, high: 40.0 };
        assert_eq!(point.best(), (40.0, 1.0));
        for time in [35.0, 47.0, 58.5, 66.0] {
            let sum =
                by_sum(time, (0..200_000).map(|i| 40.0 + 20.0 * (i as f64 + 0.5) / 200_000.0));
            assert!((narrow.expected_accuracy(time) - sum).abs() < 1e-8, "{time}");
        }
    }

    /// ```python
    /// from math import *
    /// sd = 6; a = 15/sd; Phi = lambda x: .5*erfc(-x/sqrt(2))
    /// print(2*Phi(a) - 1 - 2*sd/15/sqrt(2*pi)*(1 - exp(-a*a/2)))  # 0.6824494854221563
    /// ```
    #[test]
    fn normal_far_from_the_floor() {
        let law = OracleTime::Normal { mean: 76.0, sd: 6.0, floor: 1.0 };
        let (time, accuracy) = law.best();
        assert_eq!(time, 76.0);
        assert!((accuracy - 0.6824494854221563).abs() < 1e-12, "{accuracy}");
    }

    #[test]
    fn normal_near_the_floor() {
        for (mean, sd) in [(5.0, 6.0), (20.0, 30.0), (10.0, 4.0), (-20.0, 5.0), (16.5, 5.0)] {
            let law = OracleTime::Normal { mean, sd, floor: 1.0 };
            // Brute force: the density on a fine grid, with everything below the floor on it.
            let cells = 40_000;
            let width = 16.0 * sd / f64::from(cells);
            let expected = |time: f64| -> f64 {
                (0..cells)
                    .map(|cell| {
                        let x = mean - 8.0 * sd + width * (f64::from(cell) + 0.5);
                        let z = (x - mean) / sd;
                        let density = (-0.5 * z * z).exp() / (sd * 2.506_628_274_631_000_5);
                        density * width * time_kernel(time - x.max(1.0))
                    })
                    .sum()
            };
            let (best, accuracy) = law.best();
            assert!((expected(best) - accuracy).abs() < 1e-6, "mean {mean}, sd {sd}");
            for index in 0..60 {
                let time = 1.0 + f64::from(index);
                assert!((law.expected_accuracy(time) - expected(time)).abs() < 1e-6);
                assert!(expected(time) <= accuracy + 1e-6, "{time} beats {best}");
            }
        }
        // Nearly everything lies on the floor, so it is the best answer.
        let (best, accuracy) = OracleTime::Normal { mean: -20.0, sd: 5.0, floor: 1.0 }.best();
        assert!((best - 1.0).abs() < 1e-6 && accuracy > 0.9999);
    }

    #[test]
    fn classes_by_hand() {
        // Exact time: yes earns p*(0.55*0.375 + 0.45) = 0.65625*p, no (1-p)*0.55*0.625 =
        // 0.34375*(1-p); equal at p = 0.34375/(0.65625 + 0.34375) = 0.34375.
        let exact = OracleTime::Exact(62.0);
        assert!(!answer(0.3437, exact).converted);
        let yes = answer(0.3438, exact);
        assert_eq!(yes, Answer { converted: true, time_seconds: 62.0, confidence: 0.3438 });
        // No idea of the time (15/1e6 is nothing): 0.20625*p against 0.34375*(1-p), equal at 0.625.
        let any = OracleTime::Uniform { low: 0.0, high: 1e6 };
        let no = answer(0.624, any);
        assert_eq!(no, Answer { converted: false, time_seconds: -1.0, confidence: 0.624 });
        assert!(answer(0.626, any).converted);
        // The guide pays 0.35 for the time: 0.55625*p against 0.34375*(1-p), equal at 0.38194.
        let guide = |probability| {
            let oracle = Oracle { probability, time: exact };
            bayes_answer(&oracle, &RewardSpec::GUIDE, ClassWeights::START)
        };
        assert!(!guide(0.3819).converted);
        assert!(guide(0.3820).converted);
        // Answers are ones that a validator takes.
        for probability in [0.0, 0.2, 0.8, 1.0] {
            assert!(answer(probability, exact).check().is_ok());
        }
    }
}
