//! Platt scaling of the logit.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{LARGEST_PARAMETER, Row, logistic, logit, sigmoid};

/// `sigmoid(slope * logit(p) + intercept)`.
///
/// Platt (1999), "Probabilistic Outputs for Support Vector Machines", on a model that has a logit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Platt {
    /// Below 1 the model was too sure; never below 0.
    pub slope: f64,
    /// Above 0 the model said too little.
    pub intercept: f64,
}

impl Platt {
    pub(super) fn fit(rows: &[Row]) -> Platt {
        let targets = logistic::targets(rows);
        let features: Vec<_> = logistic::logits(rows).map(|logit| [logit, 1.0]).collect();
        let [slope, intercept] = logistic::fit(&features, &targets, [1.0, 0.0]).parameters;
        if slope >= 0.0 {
            return Platt { slope, intercept };
        }
        // A model that is right the wrong way round says nothing: the loss is convex, so its
        // minimum under the bound lies on the bound.
        let [intercept] = logistic::fit(&vec![[1.0]; rows.len()], &targets, [0.0]).parameters;
        Platt { slope: 0.0, intercept }
    }

    pub(super) fn apply(&self, raw: f64) -> f64 {
        sigmoid(self.slope * logit(raw) + self.intercept)
    }

    pub(super) fn is_valid(&self) -> bool {
        (0.0..=LARGEST_PARAMETER).contains(&self.slope) && self.intercept.abs() <= LARGEST_PARAMETER
    }
}

impl fmt::Display for Platt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Platt, slope {:.3}, intercept {:+.3}", self.slope, self.intercept)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{labelled, near, reference};
    use super::*;

    // scikit-learn 1.9:
    // p = [.03, .08, .12, .15, .2, .25, .3, .35, .4, .45,
    //      .5, .55, .6, .65, .7, .75, .8, .85, .92, .97]
    // y = [0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 1, 0, 1, 1, 0, 1, 1, 1, 0, 1]
    // def fit(X, y, intercept=True):
    //     prior = 10 / len(p)   # each row twice, as converted and as not
    //     return LogisticRegression(C=np.inf, tol=1e-12, solver="newton-cholesky",
    //         fit_intercept=intercept).fit(np.vstack([X, X]), [1] * len(p) + [0] * len(p),
    //         sample_weight=np.r_[y + prior * p, 1 - y + prior * (1 - p)])
    // fit(logit(p)[:, None], y); fit(logit(p)[:, None], 0 * y)
    #[test]
    fn as_scikit_learn() {
        let fitted = Platt::fit(&reference());
        assert!(
            near(fitted.slope, 0.73073052) && near(fitted.intercept, -0.12516807),
            "{fitted:?}"
        );
        let none = Platt::fit(&labelled(&[0; 20]));
        assert!(near(none.slope, 0.44109535) && near(none.intercept, -1.78310145), "{none:?}");
    }

    #[test]
    fn by_hand() {
        // logit(0.2) = -ln 4, so sigmoid(-ln(4) / 2 + ln 2) = sigmoid(0).
        let platt = Platt { slope: 0.5, intercept: 2.0_f64.ln() };
        assert!((platt.apply(0.2) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn never_turned_round() {
        let labels: Vec<u8> = (0..20).map(|row| u8::from(row < 10)).collect();
        let rows = labelled(&labels).repeat(20);
        let fitted = Platt::fit(&rows);
        // Half of the labels are true, and the model's mean is 0.481.
        assert_eq!(fitted.slope, 0.0);
        assert!(fitted.intercept.abs() < 0.01, "{fitted:?}");
        assert!(!Platt { slope: -1.0, intercept: 0.0 }.is_valid());
        assert!(!Platt { slope: f64::NAN, intercept: 0.0 }.is_valid());
    }
}
