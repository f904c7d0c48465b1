//! Turns the model's probability into one that comes true as often as it says.
//!
//! Every method shares one prior: the model's own probability counts as much as ten rows. So a
//! calibration that saw no rows changes nothing, and neither separable rows nor rows of one class
//! lead to certainty. Every method but the bins keeps the order of the probabilities.

mod beta;
mod bins;
mod choice;
mod cross;
mod isotonic;
mod logistic;
mod method;
mod platt;
mod temperature;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use beta::Beta;
pub use bins::{Bin, Bins, bin_of};
pub use choice::{Choice, choose};
pub use cross::{cross_fits, cross_fitted};
pub use isotonic::{Isotonic, Knot};
pub use method::{Method, UnknownMethod};
pub use platt::Platt;
pub use temperature::Temperature;

/// How many rows' worth of belief the model's own probability counts for.
const PRIOR_ROWS: f64 = 10.0;

/// The probabilities that are ever answered: beyond these nothing was ever measured.
const RANGE: (f64, f64) = (1e-6, 1.0 - 1e-6);

/// A fitted parameter beyond this was not fitted; within, no probability overflows.
const LARGEST_PARAMETER: f64 = 1e6;

/// A labelled row: the model's probability, and whether it converted.
type Row = (f64, bool);

/// A fitted calibration.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "lowercase")]
pub enum Calibration {
    /// What the model says.
    #[default]
    #[serde(rename = "none")]
    Identity,
    /// The share that converted in each of equally wide bins.
    Bins(Bins),
    /// A straight line in the logit.
    Platt(Platt),
    /// The logit, divided.
    Temperature(Temperature),
    /// The nondecreasing function nearest to the rows.
    Isotonic(Isotonic),
    /// A straight line in the two logarithms.
    Beta(Beta),
}

impl Calibration {
    /// The calibrated probability, strictly between 0 and 1. NaN stays NaN.
    pub fn apply(&self, probability: f64) -> f64 {
        if probability.is_nan() {
            return probability;
        }
        let raw = within_range(probability);
        within_range(match self {
            Calibration::Identity => raw,
            Calibration::Bins(bins) => bins.apply(raw),
            Calibration::Platt(platt) => platt.apply(raw),
            Calibration::Temperature(temperature) => temperature.apply(raw),
            Calibration::Isotonic(isotonic) => isotonic.apply(raw),
            Calibration::Beta(beta) => beta.apply(raw),
        })
    }

    /// Whether its numbers can be the result of a fit.
    pub fn is_valid(&self) -> bool {
        match self {
            Calibration::Identity => true,
            Calibration::Bins(bins) => bins.is_valid(),
            Calibration::Platt(platt) => platt.is_valid(),
            Calibration::Temperature(temperature) => temperature.is_valid(),
            Calibration::Isotonic(isotonic) => isotonic.is_valid(),
            Calibration::Beta(beta) => beta.is_valid(),
        }
    }

    /// How it was fitted.
    pub fn method(&self) -> Method {
        match self {
            Calibration::Identity => Method::Identity,
            Calibration::Bins(_) => Method::Bins,
            Calibration::Platt(_) => Method::Platt,
            Calibration::Temperature(_) => Method::Temperature,
            Calibration::Isotonic(_) => Method::Isotonic,
            Calibration::Beta(_) => Method::Beta,
        }
    }
}

impl fmt::Display for Calibration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Calibration::Identity => formatter.write_str("none"),
            Calibration::Bins(bins) => bins.fmt(formatter),
            Calibration::Platt(platt) => platt.fmt(formatter),
            Calibration::Temperature(temperature) => temperature.fmt(formatter),
            Calibration::Isotonic(isotonic) => isotonic.fmt(formatter),
            Calibration::Beta(beta) => beta.fmt(formatter),
        }
    }
}

/// Fits a calibration to labelled rows. `bins` is how many bins to make, at least 1; the other
/// methods need none. Rows whose probability is NaN are left out.
///
/// # Panics
///
/// If there are not as many labels as probabilities.
pub fn fit(method: Method, bins: usize, probabilities: &[f64], converted: &[bool]) -> Calibration {
    fit_rows(method, bins, &rows(probabilities, converted))
}

fn fit_rows(method: Method, bins: usize, rows: &[Row]) -> Calibration {
    let known: Vec<Row> = rows
        .iter()
        .filter(|(probability, _)| !probability.is_nan())
        .map(|(probability, converted)| (within_range(*probability), *converted))
        .collect();
    match method {
        Method::Identity => Calibration::Identity,
        Method::Bins => Calibration::Bins(Bins::fit(bins, &known)),
        Method::Platt => Calibration::Platt(Platt::fit(&known)),
        Method::Temperature => Calibration::Temperature(Temperature::fit(&known)),
        Method::Isotonic => Calibration::Isotonic(Isotonic::fit(known)),
        Method::Beta => Calibration::Beta(Beta::fit(&known)),
    }
}

fn rows(probabilities: &[f64], converted: &[bool]) -> Vec<Row> {
    assert_eq!(probabilities.len(), converted.len(), "one label a probability. This is a bug.");
    probabilities.iter().copied().zip(converted.iter().copied()).collect()
}

fn within_range(probability: f64) -> f64 {
    probability.clamp(RANGE.0, RANGE.1)
}

/// `ln(p / (1 - p))`
fn logit(probability: f64) -> f64 {
    probability.ln() - (-probability).ln_1p()
}

/// `1 / (1 + e^-x)`
fn sigmoid(logit: f64) -> f64 {
    1.0 / (1.0 + (-logit).exp())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The rows that the reference values of the methods' tests are of.
    pub(super) const PROBABILITIES: [f64; 20] = [
        0.03, 0.08, 0.12, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, //
        0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.92, 0.97,
    ];
    const LABELS: [u8; 20] = [0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 1, 0, 1, 1, 0, 1, 1, 1, 0, 1];

    /// The reference probabilities with these labels.
    pub(super) fn labelled(labels: &[u8]) -> Vec<Row> {
        PROBABILITIES.into_iter().zip(labels.iter().map(|label| *label == 1)).collect()
    }

    /// The reference rows.
    pub(super) fn reference() -> Vec<Row> {
        labelled(&LABELS)
    }

    /// Whether both are the same to within `1e-6`.
    pub(super) fn near(found: f64, expected: f64) -> bool {
        (found - expected).abs() < 1e-6
    }

    #[test]
    fn each_method_survives_what_can_come() {
        let cases: [(&str, Vec<Row>); 8] = [
            ("no row", vec![]),
            ("one row", vec![(0.9, false)]),
            ("one class", PROBABILITIES.into_iter().map(|p| (p, false)).collect()),
            ("the other class", PROBABILITIES.into_iter().map(|p| (p, true)).collect()),
            ("separable", PROBABILITIES.into_iter().map(|p| (p, p > 0.5)).collect()),
            ("the wrong way round", PROBABILITIES.into_iter().map(|p| (p, p < 0.5)).collect()),
            ("all alike", (0..40).map(|row| (0.5, row % 4 == 0)).collect()),
            ("certain", (0..40).map(|row| (f64::from(row % 2), row % 2 == 1)).collect()),
        ];
        for (name, rows) in cases {
            for method in Method::ALL {
                let fitted = fit_rows(method, 10, &rows);
                assert!(fitted.is_valid(), "{method} on {name}: {fitted:?}");
                assert_eq!(fitted.method(), method);
                for raw in [-1.0, 0.0, 1e-9, 0.3, 0.5, 0.9, 1.0, f64::INFINITY] {
                    let calibrated = fitted.apply(raw);
                    assert!(calibrated > 0.0 && calibrated < 1.0, "{method} on {name}: {raw}");
                }
                assert!(fitted.apply(f64::NAN).is_nan());
            }
        }
    }

    #[test]
    fn no_rows_change_nothing() {
        let default = Calibration::default();
        assert_eq!(default, Calibration::Identity);
        for method in Method::ALL {
            let fitted = fit(method, 10, &[f64::NAN], &[true]);
            for raw in [0.0, 0.001, 0.42, 0.97, 1.0] {
                assert!((fitted.apply(raw) - default.apply(raw)).abs() < 1e-12, "{method}: {raw}");
            }
        }
    }

    /// One row out of three bends, but does not break: the prior is worth ten.
    #[test]
    fn few_rows_stay_near_the_model() {
        for method in Method::ALL {
            let fitted = fit(method, 10, &[0.2, 0.2, 0.2], &[true, true, true]);
            let calibrated = fitted.apply(0.2);
            assert!((0.2..0.45).contains(&calibrated), "{method}: {calibrated}");
        }
    }

    /// Where 30 % convert while the model says 15 %, every method but the temperature, which cannot
    /// move all one way, learns it from many rows.
    #[test]
    fn many_rows_win_over_the_model() {
        let rows: Vec<Row> = (0..10_000).map(|row| (0.15, row % 10 < 3)).collect();
        for method in [Method::Bins, Method::Platt, Method::Isotonic, Method::Beta] {
            let calibrated = fit_rows(method, 10, &rows).apply(0.15);
            assert!((calibrated - 0.3).abs() < 2e-4, "{method}: {calibrated}");
        }
    }

    #[test]
    fn json_and_back() {
        for method in Method::ALL {
            let fitted = fit_rows(method, 4, &reference());
            let text = serde_json::to_string(&fitted).unwrap();
            assert!(text.starts_with(&format!("{{\"method\":\"{method}\"")), "{text}");
            let read: Calibration = serde_json::from_str(&text).unwrap();
            assert!(read.is_valid());
            for raw in PROBABILITIES {
                assert!((read.apply(raw) - fitted.apply(raw)).abs() < 1e-12, "{text}");
            }
        }
        assert!(serde_json::from_str::<Calibration>(r#"{"method":"magic"}"#).is_err());
        assert!(serde_json::from_str::<Calibration>(r#"{"method":"platt"}"#).is_err());
    }

    proptest! {
        #[test]
        fn order_is_kept_and_nothing_is_certain(
            rows in prop::collection::vec((0.0..=1.0, any::<bool>()), 0..60),
            mut asked in prop::collection::vec(0.0..=1.0, 2..20),
        ) {
            asked.sort_by(f64::total_cmp);
            for method in Method::ALL {
                let fitted = fit_rows(method, 10, &rows);
                prop_assert!(fitted.is_valid(), "{fitted:?}");
                let answers: Vec<f64> = asked.iter().map(|raw| fitted.apply(*raw)).collect();
                prop_assert!(answers.iter().all(|answer| *answer > 0.0 && *answer < 1.0));
                // Ten bins have ten steps, and rows decide whether these go up.
                if method != Method::Bins {
                    let ordered = answers.windows(2).all(|pair| pair[0] <= pair[1] + 1e-12);
                    prop_assert!(ordered, "{fitted:?}: {answers:?}");
                }
            }
        }
    }
}
