//! Temperature scaling.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Row, logistic, logit, sigmoid};

/// The temperatures that are fitted: outside, the model says nothing or is taken for certain.
const BOUNDS: (f64, f64) = (0.05, 20.0);

/// `sigmoid(logit(p) / temperature)`.
///
/// Guo et al. (2017), "On Calibration of Modern Neural Networks", <https://arxiv.org/abs/1706.04599>.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Temperature {
    /// Above 1 the model was too sure; from 0.05 to 20.
    pub temperature: f64,
}

impl Temperature {
    pub(super) fn fit(rows: &[Row]) -> Temperature {
        let features: Vec<_> = logistic::logits(rows).map(|logit| [logit]).collect();
        let [slope] = logistic::fit(&features, &logistic::targets(rows), [1.0]).parameters;
        // The loss is convex in the slope, so beyond a bound the bound is best.
        Temperature { temperature: 1.0 / slope.clamp(BOUNDS.1.recip(), BOUNDS.0.recip()) }
    }

    pub(super) fn apply(&self, raw: f64) -> f64 {
        sigmoid(logit(raw) / self.temperature)
    }

    pub(super) fn is_valid(&self) -> bool {
        (BOUNDS.0..=BOUNDS.1).contains(&self.temperature)
    }
}

impl fmt::Display for Temperature {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "temperature {:.3}", self.temperature)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{labelled, near, reference};
    use super::*;

    // 1 / fit(logit(p)[:, None], y, intercept=False).coef_, with the fit of Platt's tests
    #[test]
    fn as_scikit_learn() {
        let fitted = Temperature::fit(&reference());
        assert!(near(fitted.temperature, 1.36212384), "{fitted:?}");
    }

    #[test]
    fn by_hand() {
        // The logit of 0.8 is ln 4; half of it is ln 2, which is 2 to 1.
        assert!((Temperature { temperature: 2.0 }.apply(0.8) - 2.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn within_its_bounds() {
        let wrong: Vec<u8> = (0..20).map(|row| u8::from(row < 10)).collect();
        let fitted = Temperature::fit(&labelled(&wrong).repeat(20));
        assert!((fitted.temperature - 20.0).abs() < 1e-9 && fitted.is_valid(), "{fitted:?}");
        // The model hardly dares to say what always comes true.
        let timid = |row| (0.49 + 0.02 * f64::from(row % 2), row % 2 == 1);
        let timid: Vec<Row> = (0..100_000).map(timid).collect();
        let fitted = Temperature::fit(&timid);
        assert!((fitted.temperature - 0.05).abs() < 1e-9 && fitted.is_valid(), "{fitted:?}");
    }
}
