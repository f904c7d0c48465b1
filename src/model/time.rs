//! What is known of the time to conversion: not one number, but how it is spread.

use serde::{Deserialize, Serialize};

use super::opinion::{TIME_LEVELS, TimeQuantiles};
use crate::subnet::reward::TIME_WINDOW_SECONDS;

/// Fewer held-out conversions say too little about how times are spread.
pub const FEWEST_FOR_DISTRIBUTION: usize = 20;
/// Steps between the lowest and the highest quantile that is kept: 2.5 % each.
const STEPS: usize = 40;
/// The shortest time that is ever expected, in seconds.
const SHORTEST_SECONDS: f64 = 0.1;
/// How many standard errors count as more than chance.
const SIGNIFICANT: f64 = 3.0;
/// The smallest unit of a spread, in seconds: errors below it earn nothing more.
const SMALLEST_SPREAD_SECONDS: f64 = 1e-3;

/// The predictive distribution of the time around a predicted one: the quantiles of held-out errors,
/// measured in a spread that may grow with the predicted time.
///
/// Between the quantiles its density is constant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TimeDistribution {
    /// The spread at time 0, in seconds.
    pub spread_seconds: f64,
    /// What each predicted second adds to the spread.
    pub spread_slope: f64,
    /// Quantiles of (true - predicted) / spread at 0, 2.5, 5, ... 100 %, ascending.
    pub quantiles: Vec<f64>,
    /// The held-out conversions that it was fitted on.
    pub rows: usize,
}

impl TimeDistribution {
    /// Fits the spread and the quantiles to held-out conversions, given as (predicted, true)
    /// seconds. `None` for fewer than [`FEWEST_FOR_DISTRIBUTION`].
    ///
    /// The share of the spread that grows with the predicted time is the one under which the errors
    /// are most likely when they are spread like Laplace's distribution.
    pub fn fit(times: &[(f64, f64)]) -> Option<TimeDistribution> {
        const SHARES: usize = 20;
        if times.len() < FEWEST_FOR_DISTRIBUTION {
            return None;
        }
        let mean = times.iter().map(|(predicted, _)| predicted).sum::<f64>() / times.len() as f64;
        let mut best: Option<(f64, TimeDistribution)> = None;
        for share in 0..=SHARES {
            // A spread of 1 s at the mean predicted time.
            let share = share as f64 / SHARES as f64;
            let (spread, slope) = (1.0 - share, share / mean.max(SHORTEST_SECONDS));
            let errors = times.iter().map(|(predicted, truth)| {
                let unit = spread + slope * predicted.max(SHORTEST_SECONDS);
                ((truth - predicted) / unit, unit.ln())
            });
            let (errors, logs): (Vec<f64>, Vec<f64>) = errors.unzip();
            let size = errors.iter().map(|error| error.abs()).sum::<f64>() / times.len() as f64;
            let size = size.max(SMALLEST_SPREAD_SECONDS);
            let cost = size.ln() + logs.iter().sum::<f64>() / times.len() as f64;
            if best.as_ref().is_none_or(|(least, _)| cost < least - 1e-9) {
                best = Some((
                    cost,
                    TimeDistribution {
                        spread_seconds: spread * size,
                        spread_slope: slope * size,
                        quantiles: quantiles(errors.iter().map(|error| error / size).collect()),
                        rows: times.len(),
                    },
                ));
            }
        }
        best.map(|(_, distribution)| distribution)
    }

    /// The quantile of a level in 0..=1 around a predicted time, in seconds.
    pub fn quantile(&self, level: f64, predicted_seconds: f64) -> f64 {
        let place = level.clamp(0.0, 1.0) * STEPS as f64;
        let step = (place as usize).min(STEPS - 1);
        let (low, high) = (self.quantiles[step], self.quantiles[step + 1]);
        let error = low + (high - low) * (place - step as f64);
        (predicted_seconds + error * self.spread(predicted_seconds)).max(SHORTEST_SECONDS)
    }

    /// The level in 0..=1 at which a time lies around a predicted one: what [`Self::quantile`] leads
    /// back from. Where several levels have the same time, the middle of them.
    pub fn level(&self, time_seconds: f64, predicted_seconds: f64) -> f64 {
        let error = (time_seconds - predicted_seconds) / self.spread(predicted_seconds);
        let below = self.quantiles.partition_point(|quantile| *quantile < error);
        let upto = self.quantiles.partition_point(|quantile| *quantile <= error);
        if upto > below {
            return f64::midpoint(below as f64, (upto - 1) as f64) / STEPS as f64;
        }
        if below == 0 || below > STEPS {
            return if below == 0 { 0.0 } else { 1.0 };
        }
        let (low, high) = (self.quantiles[below - 1], self.quantiles[below]);
        (below as f64 - 1.0 + (error - low) / (high - low)) / STEPS as f64
    }

    /// The quantiles that are kept with an answer, in seconds.
    pub fn kept_quantiles(&self, predicted_seconds: f64) -> TimeQuantiles {
        TIME_LEVELS.map(|level| self.quantile(level, predicted_seconds))
    }

    /// The time that is expected to earn the most, in seconds, and the mean of the reward's kernel
    /// that it is expected to earn, in 0..=1.
    pub fn best_time(&self, predicted_seconds: f64) -> (f64, f64) {
        let spread = self.spread(predicted_seconds);
        let window = TIME_WINDOW_SECONDS / spread;
        let areas = self.areas();
        let area = |at| self.area_below(at, &areas);
        // The kernel is the second difference of the ramp that rises by 1 / window, so its mean is
        // that of the distribution function's integral.
        let earned =
            |error: f64| (area(error + window) - 2.0 * area(error) + area(error - window)) / window;
        let middle = STEPS / 2;
        let median = (self.quantiles[middle], earned(self.quantiles[middle]));
        // Where the density is flat, some quantile looks better by chance, and would be believed to
        // earn more than it does: only what chance does not explain takes the median's place.
        let chance = SIGNIFICANT * (median.1.max(0.0) / self.rows as f64).sqrt();
        let mut best = median;
        for error in &self.quantiles {
            let mean = earned(*error);
            if mean > best.1.max(median.1 + chance) {
                best = (*error, mean);
            }
        }
        let time = (predicted_seconds + best.0 * spread).max(SHORTEST_SECONDS);
        (time, best.1.clamp(0.0, 1.0))
    }

    /// The continuous ranked probability score of a true time, in seconds: the integral of the
    /// squared distance between the distribution function and the step at the truth.
    pub fn crps(&self, predicted_seconds: f64, true_seconds: f64) -> f64 {
        let spread = self.spread(predicted_seconds);
        let truth = (true_seconds - predicted_seconds) / spread;
        let (first, last) = (self.quantiles[0], self.quantiles[STEPS]);
        let outside = (first - truth).max(0.0) + (truth - last).max(0.0);
        let inside: f64 = self
            .quantiles
            .windows(2)
            .enumerate()
            .map(|(step, pair)| {
                let level = |at: f64| {
                    let width = pair[1] - pair[0];
                    let part = if width > 0.0 { (at - pair[0]) / width } else { 0.0 };
                    (step as f64 + part) / STEPS as f64
                };
                // Simpson's rule is exact for the square of a line.
                let square = |from: f64, to: f64, of: &dyn Fn(f64) -> f64| {
                    let middle = f64::midpoint(from, to);
                    (to - from) / 6.0
                        * (of(from).powi(2) + 4.0 * of(middle).powi(2) + of(to).powi(2))
                };
                let split = truth.clamp(pair[0], pair[1]);
                square(pair[0], split, &level) + square(split, pair[1], &|at| 1.0 - level(at))
            })
            .sum();
        (outside + inside) * spread
    }

    /// Whether the numbers can be computed with.
    pub fn is_valid(&self) -> bool {
        self.quantiles.len() == STEPS + 1
            && self.quantiles.iter().all(|quantile| quantile.is_finite())
            && self.quantiles.is_sorted()
            && self.spread_seconds.is_finite()
            && self.spread_slope.is_finite()
            && self.spread_seconds >= 0.0
            && self.spread_slope >= 0.0
            && self.spread_seconds + self.spread_slope > 0.0
    }

    fn spread(&self, predicted_seconds: f64) -> f64 {
        let predicted = predicted_seconds.max(SHORTEST_SECONDS);
        (self.spread_seconds + self.spread_slope * predicted).max(SMALLEST_SPREAD_SECONDS)
    }

    /// The distribution function's integral up to each quantile.
    fn areas(&self) -> [f64; STEPS + 1] {
        let mut areas = [0.0; STEPS + 1];
        for step in 0..STEPS {
            let width = self.quantiles[step + 1] - self.quantiles[step];
            areas[step + 1] = areas[step] + width * (step as f64 + 0.5) / STEPS as f64;
        }
        areas
    }

    /// The distribution function's integral up to an error.
    fn area_below(&self, error: f64, areas: &[f64; STEPS + 1]) -> f64 {
        let above = self.quantiles.partition_point(|quantile| *quantile <= error);
        if above == 0 {
            return 0.0;
        }
        let step = above - 1;
        let past = error - self.quantiles[step];
        if step == STEPS {
            return areas[STEPS] + past;
        }
        let width = self.quantiles[above] - self.quantiles[step];
        areas[step] + past * (step as f64 + past / width / 2.0) / STEPS as f64
    }
}

/// Quantiles at equal steps of the level, linear between the values, of at least one value.
fn quantiles(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let last = values.len() - 1;
    (0..=STEPS)
        .map(|step| {
            let place = last as f64 * step as f64 / STEPS as f64;
            let (below, part) = (place as usize, place.fract());
            let above = (below + 1).min(last);
            values[below] + (values[above] - values[below]) * part
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Errors uniform in -1..=1 around a time, in units of a constant spread.
    fn uniform(spread_seconds: f64, spread_slope: f64) -> TimeDistribution {
        let quantiles = (0..=STEPS).map(|step| step as f64 / 20.0 - 1.0).collect();
        TimeDistribution { spread_seconds, spread_slope, quantiles, rows: 100 }
    }

    #[test]
    fn spreads_that_grow_and_that_do_not() {
        // True times at 40 % to 160 % of the predicted ones, as template challenges have them.
        let growing: Vec<(f64, f64)> = (0..1000)
            .map(|row| {
                let predicted = 50.0 + f64::from(row % 37) * 20.0;
                (predicted, predicted * (0.4 + 1.2 * f64::from(row) / 999.0))
            })
            .collect();
        let fitted = TimeDistribution::fit(&growing).unwrap();
        assert!(fitted.spread_seconds < 1e-9, "{fitted:?}");
        for (level, expected) in [(0.05, 46.0), (0.5, 100.0), (0.95, 154.0)] {
            let found = fitted.quantile(level, 100.0);
            assert!((found - expected).abs() < 1.0, "{level}: {found}");
            assert!((fitted.quantile(level, 300.0) - 3.0 * found).abs() < 1e-6);
        }
        let constant: Vec<(f64, f64)> = growing
            .iter()
            .enumerate()
            .map(|(row, (p, _))| (*p, p + (row % 21) as f64 - 10.0))
            .collect();
        let fitted = TimeDistribution::fit(&constant).unwrap();
        assert_eq!(fitted.spread_slope, 0.0);
        assert!((fitted.quantile(1.0, 100.0) - 110.0).abs() < 1e-9);
        assert!((fitted.quantile(1.0, 700.0) - 710.0).abs() < 1e-9);
        assert!(fitted.is_valid());
    }

    #[test]
    fn the_best_time_by_hand() {
        // Within ±3 s the kernel's mean at the middle is 1 - 1.5/15.
        let (time, mean) = uniform(3.0, 0.0).best_time(60.0);
        assert!((time - 60.0).abs() < 1e-9, "{time}");
        assert!((mean - 0.9).abs() < 1e-9, "{mean}");
        // Within ±60 s it is the window's area, 15 s, over 120 s, wherever the window fits.
        let (time, mean) = uniform(0.0, 0.5).best_time(120.0);
        assert!((mean - 0.125).abs() < 1e-9, "{mean}");
        assert!((time - 120.0).abs() < 1e-9, "{time}");
    }

    #[test]
    fn a_mode_beside_the_median() {
        // A third of the times 1 s early, two thirds spread over a minute.
        let times: Vec<(f64, f64)> = (0..300)
            .map(|row| (100.0, if row % 3 == 0 { 99.0 } else { 99.0 + f64::from(row) / 5.0 }))
            .collect();
        let (time, _) = TimeDistribution::fit(&times).unwrap().best_time(100.0);
        // By brute force over the sample itself.
        let earned = |answer: f64| -> f64 {
            times.iter().map(|(_, truth)| (1.0 - (answer - truth).abs() / 15.0).max(0.0)).sum()
        };
        let best = (900..1600).map(|tenth| earned(f64::from(tenth) / 10.0)).fold(0.0, f64::max);
        assert!(earned(time) > 0.98 * best, "{time} earns {} of {best}", earned(time));
    }

    #[test]
    fn crps_by_hand() {
        // For the uniform distribution on 0..1: of 0.5 it is 2 * integral of x² over 0..0.5, which
        // is 1/12; of 0, 1/3; of 2, 1 + 1/3.
        let distribution = uniform(0.5, 0.0);
        for (truth, expected) in [(0.5, 1.0 / 12.0), (0.0, 1.0 / 3.0), (2.0, 4.0 / 3.0)] {
            // Centred at 50.5, so that no time is near 0.
            let crps = distribution.crps(50.5, truth + 50.0);
            assert!((crps - expected).abs() < 1e-9, "{truth}: {crps}");
        }
    }

    #[test]
    fn exact_times() {
        let exact: Vec<(f64, f64)> = (0..100).map(|row| (f64::from(row), f64::from(row))).collect();
        let fitted = TimeDistribution::fit(&exact).unwrap();
        assert!(fitted.is_valid());
        let (time, mean) = fitted.best_time(70.0);
        assert!((time - 70.0).abs() < 1e-6 && (mean - 1.0).abs() < 1e-3, "{time} {mean}");
        assert!(fitted.crps(70.0, 71.0) > 0.99);
    }

    #[test]
    fn few_rows_have_no_distribution() {
        assert_eq!(TimeDistribution::fit(&[(1.0, 2.0); FEWEST_FOR_DISTRIBUTION - 1]), None);
    }

    #[test]
    fn times_stay_positive() {
        let distribution = uniform(0.0, 5.0);
        assert!(distribution.quantile(0.0, 3.0) > 0.0);
        assert!(distribution.best_time(0.0).0 > 0.0);
    }
}
