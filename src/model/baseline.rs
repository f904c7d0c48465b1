//! linfa's logistic regression: the baseline, and what answers when the networks cannot.

use linfa::DatasetBase;
use linfa::traits::Fit;
use linfa_logistic::LogisticRegression;
use ndarray::{Array1, Array2};
use serde::{Deserialize, Serialize};

use super::decision::best_constant_time;
use crate::features::engineer::INPUT_COUNT;
use crate::subnet::reward::time_kernel;

/// Rows that a fit looks at. More change the fifth decimal and cost memory for nothing.
const MOST_ROWS: usize = 200_000;
/// The penalty that every report's logistic baseline has: linfa's and scikit-learn's default.
pub const DEFAULT_PENALTY: f64 = 1.0;
/// From so many times on, the best constant's own luck is too small to matter.
const MANY_TIMES: usize = 300;
/// The time that is answered when no row ever converted: the shortest that the rule challenges
/// know, doubled.
const UNKNOWN_TIME_SECONDS: f64 = 60.0;

/// A logistic regression on the scaled inputs, and one time for all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// The logit where all inputs are at their means.
    intercept: f32,
    /// What each scaled input adds to the logit.
    weights: Vec<f32>,
    /// The one time that earns the most, in seconds.
    pub time_seconds: f32,
    /// What such a time earns, in 0..=1: the mean of the reward's kernel over the converted rows,
    /// where each is answered with the best time of the others.
    pub time_accuracy: f32,
    /// Whether the weights were learned; without both classes, or if the fit failed, the
    /// probability is the same for all.
    pub fitted: bool,
}

/// Why there is only a constant.
#[derive(Debug, thiserror::Error)]
pub enum BaselineError {
    /// The fit did not work out.
    #[error("the logistic regression could not be fitted")]
    Fit(#[from] linfa_logistic::error::Error),
    /// The fit gave a number that is none.
    #[error("the logistic regression did not converge to finite weights")]
    NotFinite,
}

impl Baseline {
    /// The same probability for all: the share that converted, kept off 0 and 1 (Jeffreys' prior).
    ///
    /// `times` are the seconds of the converted rows.
    pub fn constant(rows: usize, times: &[f64]) -> Baseline {
        let probability = (times.len() as f64 + 0.5) / (rows as f64 + 1.0);
        let (time, earned) = best_constant_time(times).unwrap_or((UNKNOWN_TIME_SECONDS, 0.0));
        let accuracy = if times.len() < MANY_TIMES { earned_by_others(times) } else { earned };
        Baseline {
            intercept: (probability / (1.0 - probability)).ln() as f32,
            weights: vec![0.0; INPUT_COUNT],
            time_seconds: time as f32,
            time_accuracy: accuracy as f32,
            fitted: false,
        }
    }

    /// Fits the regression to scaled rows with both classes. The loss is the sum of the rows' log
    /// losses and half of the penalty times the sum of the squared weights; the intercept is free.
    ///
    /// # Shapes
    ///
    /// - `rows`: `[converted.len(), INPUT_COUNT]`, row-major
    ///
    /// # Errors
    ///
    /// If the optimiser fails; [`Baseline::constant`] is what remains then.
    pub fn fit(
        rows: &[f32],
        converted: &[bool],
        times: &[f64],
        penalty: f64,
    ) -> Result<Baseline, BaselineError> {
        let sample = sample(converted);
        let records = Array2::from_shape_fn((sample.len(), INPUT_COUNT), |(row, input)| {
            f64::from(rows[sample[row] * INPUT_COUNT + input])
        });
        let targets = Array1::from_shape_fn(sample.len(), |row| converted[sample[row]]);
        let model = LogisticRegression::default()
            .alpha(penalty)
            .max_iterations(200)
            .fit(&DatasetBase::new(records, targets))?;
        // linfa-logistic 0.8.1 calls the class with more rows positive, so its logit may be that
        // of "does not convert".
        let sign = if model.labels().pos.class { 1.0 } else { -1.0 };
        let baseline = Baseline {
            intercept: (sign * model.intercept()) as f32,
            weights: model.params().iter().map(|weight| (sign * weight) as f32).collect(),
            fitted: true,
            ..Baseline::constant(converted.len(), times)
        };
        if baseline.is_valid() { Ok(baseline) } else { Err(BaselineError::NotFinite) }
    }

    /// The logit of P(converts) of one scaled row.
    ///
    /// # Shapes
    ///
    /// - `row`: `[INPUT_COUNT]`
    pub fn logit(&self, row: &[f32]) -> f32 {
        let sum: f64 =
            self.weights.iter().zip(row).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum();
        (sum + f64::from(self.intercept)) as f32
    }

    /// Whether the numbers fit this program's inputs and can be computed with.
    pub fn is_valid(&self) -> bool {
        self.weights.len() == INPUT_COUNT
            && self.weights.iter().all(|weight| weight.is_finite())
            && self.intercept.is_finite()
            && self.time_seconds.is_finite()
            && self.time_seconds > 0.0
            && (0.0..=1.0).contains(&self.time_accuracy)
    }
}

/// The mean kernel that the times earn, each answered with the best constant of the others: one
/// time alone earns nothing. What the best constant earns on the times it was found by is more, and
/// much more for a few.
fn earned_by_others(times: &[f64]) -> f64 {
    let earned = (0..times.len()).filter_map(|index| {
        let others = [&times[..index], &times[index + 1..]].concat();
        best_constant_time(&others).map(|(time, _)| time_kernel(time - times[index]))
    });
    earned.sum::<f64>() / times.len().max(1) as f64
}

/// The rows that a fit looks at: all, or every so many of each class, so that a rare class stays.
fn sample(converted: &[bool]) -> Vec<usize> {
    let step = converted.len().div_ceil(MOST_ROWS).max(1);
    let of = |class: bool| (0..converted.len()).filter(move |row| converted[*row] == class);
    of(false).step_by(step).chain(of(true).step_by(step)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows whose first input alone says, noisily, what happens.
    fn noisy(converted_share: f64) -> (Vec<f32>, Vec<bool>) {
        let mut rows = Vec::new();
        let mut converted = Vec::new();
        for index in 0..400 {
            let x = f64::from(index) / 400.0;
            let mut row = [0.0_f32; INPUT_COUNT];
            row[0] = x as f32;
            rows.extend(row);
            // A tenth of the labels is against the rule.
            converted.push((x >= 1.0 - converted_share) != (index % 10 == 0));
        }
        (rows, converted)
    }

    /// linfa's positive class is the one with more rows: both cases must come out the same way.
    #[test]
    fn more_input_means_more_likely() {
        for share in [0.2, 0.5, 0.8] {
            let (rows, converted) = noisy(share);
            let baseline = Baseline::fit(&rows, &converted, &[60.0], DEFAULT_PENALTY).unwrap();
            let low = baseline.logit(&rows[..INPUT_COUNT]);
            let high = baseline.logit(&rows[rows.len() - INPUT_COUNT..]);
            assert!(low < 0.0 && high > 0.0, "{share}: {low} {high}");
        }
    }

    // Newton's method on the same loss:
    // xs = [i / 400 for i in range(400)]; ys = [(x >= .5) != (i % 10 == 0) for i, x in enumerate(xs)]
    // for penalty in (1, 100):
    //     w = b = 0
    //     for _ in range(100):
    //         g, h = [penalty * w, 0], [penalty, 0, 0]
    //         for x, y in zip(xs, ys):
    //             p = 1 / (1 + exp(-w * x - b)); d, q = p - y, p * (1 - p)
    //             g[0] += d * x; g[1] += d; h[0] += q * x * x; h[1] += q * x; h[2] += q
    //         det = h[0] * h[2] - h[1]**2
    //         w, b = w - (h[2] * g[0] - h[1] * g[1]) / det, b - (h[0] * g[1] - h[1] * g[0]) / det
    #[test]
    fn a_penalty_holds_the_weights_down() {
        let (rows, converted) = noisy(0.5);
        let weight = |penalty| {
            let baseline = Baseline::fit(&rows, &converted, &[], penalty).unwrap();
            f64::from(baseline.weights[0])
        };
        let (weak, strong) = (weight(1.0), weight(100.0));
        assert!((weak - 5.517_933).abs() < 1e-2, "{weak}");
        assert!((strong - 0.369_279).abs() < 1e-3, "{strong}");
    }

    #[test]
    fn one_lucky_time_earns_nothing() {
        let accuracy = |times: &[f64]| f64::from(Baseline::constant(100, times).time_accuracy);
        assert_eq!(accuracy(&[]), 0.0);
        assert_eq!(accuracy(&[62.0]), 0.0);
        // 50 and 51 each earn 14/15 by the other, 90 nothing.
        assert!((accuracy(&[50.0, 51.0, 90.0]) - 28.0 / 45.0).abs() < 1e-6);
        // Spread over an hour, each far from all others.
        let spread: Vec<f64> = (1..=10).map(|index| f64::from(index) * 360.0).collect();
        assert_eq!(accuracy(&spread), 0.0);
        assert!((accuracy(&[60.0; 400]) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn a_rare_class_stays_in_the_sample() {
        let converted: Vec<bool> = (0..3 * MOST_ROWS).map(|row| row == 100_001).collect();
        let taken = super::sample(&converted);
        assert_eq!(taken.len(), MOST_ROWS + 1);
        assert!(taken.contains(&100_001));
        assert_eq!(super::sample(&[true, false, true]), [1, 0, 2]);
    }

    #[test]
    fn constants() {
        let baseline = Baseline::constant(3, &[]);
        // 0.5 / 4 = 0.125, ln(0.125 / 0.875)
        assert!((baseline.logit(&[0.0; INPUT_COUNT]) - (1.0_f32 / 7.0).ln()).abs() < 1e-6);
        assert_eq!(baseline.time_seconds, UNKNOWN_TIME_SECONDS as f32);
        assert!(Baseline::constant(0, &[]).is_valid());
        assert_eq!(Baseline::constant(9, &[50.0, 51.0, 90.0]).time_seconds, 50.0);
    }
}
