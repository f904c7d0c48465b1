//! Beta calibration.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{LARGEST_PARAMETER, Row, logistic, sigmoid};

/// `sigmoid(a * ln(p) - b * ln(1 - p) + c)`, with `a` and `b` not below 0.
///
/// Kull et al. (2017), "Beta calibration: a well-founded and easily implemented improvement on
/// logistic calibration for binary classifiers", <https://proceedings.mlr.press/v54/kull17a.html>.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Beta {
    /// How much the small probabilities are spread.
    pub a: f64,
    /// How much the large ones are.
    pub b: f64,
    /// Above 0 the model said too little.
    pub c: f64,
}

impl Beta {
    pub(super) fn fit(rows: &[Row]) -> Beta {
        let targets = logistic::targets(rows);
        let logarithms: Vec<_> = rows.iter().map(|(raw, _)| (raw.ln(), -(-raw).ln_1p())).collect();
        let both: Vec<_> = logarithms.iter().map(|(a, b)| [*a, *b, 1.0]).collect();
        let [a, b, c] = logistic::fit(&both, &targets, [1.0, 1.0, 0.0]).parameters;
        if a >= 0.0 && b >= 0.0 {
            return Beta { a, b, c };
        }
        // The loss is convex, so under the bounds its minimum has a = 0 or b = 0 or both.
        let a_only: Vec<_> = logarithms.iter().map(|(a, _)| [*a, 1.0]).collect();
        let b_only: Vec<_> = logarithms.iter().map(|(_, b)| [*b, 1.0]).collect();
        let a_only = logistic::fit(&a_only, &targets, [1.0, 0.0]);
        let b_only = logistic::fit(&b_only, &targets, [1.0, 0.0]);
        let constant = logistic::fit(&vec![[1.0]; rows.len()], &targets, [0.0]);
        let ([a, a_c], [b, b_c], [c]) = (a_only.parameters, b_only.parameters, constant.parameters);
        let mut best = (constant.loss, Beta { a: 0.0, b: 0.0, c });
        for (loss, beta) in
            [(a_only.loss, Beta { a, b: 0.0, c: a_c }), (b_only.loss, Beta { a: 0.0, b, c: b_c })]
        {
            if beta.is_valid() && loss < best.0 {
                best = (loss, beta);
            }
        }
        best.1
    }

    pub(super) fn apply(&self, raw: f64) -> f64 {
        sigmoid(self.a * raw.ln() - self.b * (-raw).ln_1p() + self.c)
    }

    pub(super) fn is_valid(&self) -> bool {
        let slopes = [self.a, self.b];
        slopes.iter().all(|slope| (0.0..=LARGEST_PARAMETER).contains(slope))
            && self.c.abs() <= LARGEST_PARAMETER
    }
}

impl fmt::Display for Beta {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "beta, a {:.3}, b {:.3}, c {:+.3}", self.a, self.b, self.c)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{labelled, near, reference};
    use super::*;

    fn assert_near(found: Beta, [a, b, c]: [f64; 3]) {
        assert!(near(found.a, a) && near(found.b, b) && near(found.c, c), "{found:?}");
        assert!(found.is_valid());
    }

    // fit(np.c_[np.log(p), -np.log1p(-p)], y), with the fit of Platt's tests; then with 0 * y
    #[test]
    fn as_scikit_learn() {
        assert_near(Beta::fit(&reference()), [1.11710555, 0.37919631, 0.51937423]);
        assert_near(Beta::fit(&labelled(&[0; 20])), [1.09902975, 0.05529742, -0.87398462]);
    }

    // p = np.tile(p, 10); y = np.tile([1] * 6 + [0] * 7 + [1] * 7, 10)
    // fit(np.c_[np.log(p), -np.log1p(-p)], y): a -11.7, b 15.6
    // fit(np.c_[-np.log1p(-p)], y): b 0.83009861, c -0.0889417
    // fit(np.c_[np.log(p)], y): a -0.31155387
    #[test]
    fn on_the_bound_where_rows_ask_for_less() {
        let labels = [[1; 6].as_slice(), &[0; 7], &[1; 7]].concat();
        let found = Beta::fit(&labelled(&labels).repeat(10));
        assert_near(found, [0.0, 0.83009861, -0.0889417]);
        // The wrong way round both are.
        let labels: Vec<u8> = (0..20).map(|row| u8::from(row < 10)).collect();
        let found = Beta::fit(&labelled(&labels).repeat(20));
        assert_eq!((found.a, found.b), (0.0, 0.0));
        assert!(found.c.abs() < 0.01, "{found:?}");
    }

    #[test]
    fn by_hand() {
        // 2 ln 0.5 - ln 0.5 + ln 2 = 0
        let beta = Beta { a: 2.0, b: 1.0, c: 2.0_f64.ln() };
        assert!((beta.apply(0.5) - 0.5).abs() < 1e-12);
        // With a = b it is Platt's: 0.8 has the odds 4, and 4^2 to 1 is 16/17.
        assert!((Beta { a: 2.0, b: 2.0, c: 0.0 }.apply(0.8) - 16.0 / 17.0).abs() < 1e-12);
    }
}
