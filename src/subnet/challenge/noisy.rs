//! Rule conversations, spoilt on purpose: flipped labels, noisy times, missing cells.

use super::draw::Dice;
use super::{Features, Oracle, OracleTime, rule};
use crate::subnet::reward::Truth;

/// Noisy times are at least this long.
const SHORTEST_TIME_SECONDS: f64 = 1.0;

/// How much [`Challenge::Noisy`](super::Challenge::Noisy) spoils.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NoisyRates {
    flip_rate: f64,
    time_noise_seconds: f64,
    missing_rate: f64,
}

/// A rate that makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum RateError {
    /// Not a probability.
    #[error("the {rate} must be in 0..=1, but is {value}")]
    Probability {
        /// Which rate.
        rate: &'static str,
        /// What it was set to.
        value: f64,
    },
    /// Not a standard deviation.
    #[error("the time noise must be a finite number of seconds, 0 or more, but is {value}")]
    TimeNoise {
        /// What it was set to.
        value: f64,
    },
}

impl NoisyRates {
    /// Flips a share `flip_rate` of the labels, adds normal noise with a standard deviation of
    /// `time_noise_seconds` to the times (which stay at least 1 s), and takes a share
    /// `missing_rate` of the features' cells away.
    pub fn new(
        flip_rate: f64,
        time_noise_seconds: f64,
        missing_rate: f64,
    ) -> Result<NoisyRates, RateError> {
        for (rate, value) in [("flip rate", flip_rate), ("missing rate", missing_rate)] {
            if !(0.0..=1.0).contains(&value) {
                return Err(RateError::Probability { rate, value });
            }
        }
        if !(time_noise_seconds.is_finite() && time_noise_seconds >= 0.0) {
            return Err(RateError::TimeNoise { value: time_noise_seconds });
        }
        Ok(NoisyRates { flip_rate, time_noise_seconds, missing_rate })
    }

    /// The share of the labels that are flipped.
    pub fn flip_rate(&self) -> f64 {
        self.flip_rate
    }

    /// The standard deviation of the noise on the times.
    pub fn time_noise_seconds(&self) -> f64 {
        self.time_noise_seconds
    }

    /// The share of the features' cells that are missing.
    pub fn missing_rate(&self) -> f64 {
        self.missing_rate
    }
}

impl Default for NoisyRates {
    /// 8 % flipped, 6 s of noise, 5 % missing.
    fn default() -> Self {
        NoisyRates { flip_rate: 0.08, time_noise_seconds: 6.0, missing_rate: 0.05 }
    }
}

/// A rule conversation with noise.
///
/// A label that is flipped to converted gets the time that the rule would have given. The oracle
/// knows the features as they were before any went missing, so its reward is a bound that no
/// model quite reaches: it sees cells that a model does not.
pub(super) fn example(dice: &mut Dice, rates: NoisyRates) -> (Features, Truth, Oracle) {
    let mut features = rule::features(dice);
    let by_rule = rule::converts(&features);
    let mean_seconds = rule::time_seconds(&features);

    let converted = by_rule != dice.chance(rates.flip_rate);
    // Drawn for every row, so that the rates change what they are about and nothing else.
    let noise_seconds = rates.time_noise_seconds * dice.standard_normal();
    let truth = if converted {
        Truth::converted_after((mean_seconds + noise_seconds).max(SHORTEST_TIME_SECONDS))
    } else {
        Truth::not_converted()
    };
    for value in &mut features {
        if dice.chance(rates.missing_rate) {
            *value = f64::NAN;
        }
    }

    let probability = if by_rule { 1.0 - rates.flip_rate } else { rates.flip_rate };
    let time = if rates.time_noise_seconds > 0.0 {
        OracleTime::Normal {
            mean: mean_seconds,
            sd: rates.time_noise_seconds,
            floor: SHORTEST_TIME_SECONDS,
        }
    } else {
        OracleTime::Exact(mean_seconds)
    };
    (features, truth, Oracle { probability, time })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subnet::challenge::Challenge;

    const ROWS: usize = 20_000;

    #[test]
    fn rates_are_met() {
        let rates = NoisyRates::new(0.2, 10.0, 0.1).unwrap();
        let (mut flipped, mut missing, mut squares, mut conversions) = (0.0, 0.0, 0.0, 0.0);
        for example in Challenge::Noisy(rates).examples(4).take(ROWS) {
            let by_rule = example.oracle.probability > 0.5;
            flipped += f64::from(u8::from(by_rule != example.truth.converted));
            missing += example.features.iter().filter(|value| value.is_nan()).count() as f64;
            let OracleTime::Normal { mean, sd, floor } = example.oracle.time else {
                panic!("noisy times are normal");
            };
            assert_eq!((sd, floor), (10.0, 1.0));
            if example.truth.converted {
                conversions += 1.0;
                squares += (example.truth.time_seconds - mean).powi(2);
                assert!(example.truth.time_seconds >= 1.0);
            } else {
                assert_eq!(example.truth.time_seconds, -1.0);
            }
        }
        // Standard errors: 0.003, 0.0003 and 0.05.
        assert!((flipped / ROWS as f64 - 0.2).abs() < 0.01);
        assert!((missing / (40 * ROWS) as f64 - 0.1).abs() < 0.0015);
        assert!(((squares / conversions).sqrt() - 10.0).abs() < 0.25);
    }

    #[test]
    fn no_noise_is_the_rule() {
        let none = NoisyRates::new(0.0, 0.0, 0.0).unwrap();
        for example in Challenge::Noisy(none).examples(4).take(500) {
            assert_eq!(example.truth.converted, rule::converts(&example.features));
            let time = rule::time_seconds(&example.features);
            assert_eq!(example.oracle.time, OracleTime::Exact(time));
            if example.truth.converted {
                assert_eq!(example.truth.time_seconds, time);
            }
        }
    }

    #[test]
    fn everything_can_be_missing_or_flipped() {
        let all = NoisyRates::new(1.0, 1e6, 1.0).unwrap();
        for example in Challenge::Noisy(all).examples(4).take(500) {
            assert!(example.features.iter().all(|value| value.is_nan()));
            assert_eq!(example.oracle.probability == 1.0, example.truth.converted);
            assert!(!example.truth.converted || example.truth.time_seconds >= 1.0);
        }
    }

    #[test]
    fn senseless_rates_are_refused() {
        for (flip, noise, missing, message) in [
            (-0.1, 6.0, 0.05, "the flip rate must be in 0..=1, but is -0.1"),
            (f64::NAN, 6.0, 0.05, "the flip rate must be in 0..=1, but is NaN"),
            (0.1, 6.0, 1.5, "the missing rate must be in 0..=1, but is 1.5"),
            (
                0.1,
                -1.0,
                0.05,
                "the time noise must be a finite number of seconds, 0 or more, but is -1",
            ),
            (
                0.1,
                f64::INFINITY,
                0.05,
                "the time noise must be a finite number of seconds, 0 or more, but is inf",
            ),
        ] {
            assert_eq!(NoisyRates::new(flip, noise, missing).unwrap_err().to_string(), message);
        }
    }
}
