//! Logistic regression with very few parameters, for the methods that are one.

use super::{PRIOR_ROWS, Row, logit};

/// Keeps parameters that the rows say nothing about where they start.
const RIDGE: f64 = 1e-9;
const MOST_STEPS: usize = 50;
/// A smaller step changes no probability that anybody could see.
const SMALL_STEP: f64 = 1e-10;

/// What a row should become: between its label and the model's probability, which counts for ten
/// rows in all.
///
/// Platt's own targets pull towards one half of the labels instead; these pull towards the model,
/// so few rows, or rows of one class, leave it nearly as it is.
pub(super) fn targets(rows: &[Row]) -> Vec<f64> {
    let weight = PRIOR_ROWS / rows.len() as f64;
    rows.iter()
        .map(|(raw, converted)| (f64::from(u8::from(*converted)) + weight * raw) / (1.0 + weight))
        .collect()
}

/// The logit of each row's probability.
pub(super) fn logits(rows: &[Row]) -> impl Iterator<Item = f64> {
    rows.iter().map(|(raw, _)| logit(*raw))
}

/// A minimum: where it is, and how low.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Fit<const K: usize> {
    pub(super) parameters: [f64; K],
    /// The mean logarithmic loss.
    pub(super) loss: f64,
}

/// The parameters that minimise the mean logarithmic loss of `sigmoid(features . parameters)`
/// against the targets, by Newton's method with halved steps. The loss is convex.
pub(super) fn fit<const K: usize>(
    features: &[[f64; K]],
    targets: &[f64],
    start: [f64; K],
) -> Fit<K> {
    let mut at = Point::new(features, targets, start, start);
    for _ in 0..MOST_STEPS {
        let Some(full) = solve(at.curvature, at.slope) else { break };
        let mut scale = 1.0;
        let next = loop {
            let step = full.map(|step| step * scale);
            if step.iter().all(|step| step.abs() < SMALL_STEP) {
                break None;
            }
            let there = std::array::from_fn(|k| at.parameters[k] - step[k]);
            let point = Point::new(features, targets, start, there);
            if point.loss <= at.loss {
                break Some(point);
            }
            scale /= 2.0;
        };
        match next {
            Some(point) => at = point,
            None => break,
        }
    }
    Fit { parameters: at.parameters, loss: at.loss }
}

/// The loss at some parameters, with its derivatives.
struct Point<const K: usize> {
    parameters: [f64; K],
    loss: f64,
    slope: [f64; K],
    curvature: [[f64; K]; K],
}

impl<const K: usize> Point<K> {
    fn new(features: &[[f64; K]], targets: &[f64], start: [f64; K], parameters: [f64; K]) -> Self {
        let mut point = Point { parameters, loss: 0.0, slope: [0.0; K], curvature: [[0.0; K]; K] };
        for (feature, target) in features.iter().zip(targets) {
            let score: f64 = feature.iter().zip(&parameters).map(|(f, p)| f * p).sum();
            // ln(1 + e^score) and its derivative, from an exponential that cannot overflow.
            let small = (-score.abs()).exp();
            let share = 1.0 / (1.0 + small);
            let probability = if score >= 0.0 { share } else { small * share };
            point.loss += score.max(0.0) + small.ln_1p() - target * score;
            let weight = share * small * share;
            for k in 0..K {
                point.slope[k] += (probability - target) * feature[k];
                for l in 0..=k {
                    point.curvature[k][l] += weight * feature[k] * feature[l];
                }
            }
        }
        point.finish(start, features.len().max(1) as f64);
        point
    }

    /// Sums become means, and the ridge is added.
    fn finish(&mut self, start: [f64; K], rows: f64) {
        self.loss /= rows;
        for (k, start) in start.iter().enumerate() {
            let away = self.parameters[k] - start;
            self.loss += 0.5 * RIDGE * away * away;
            self.slope[k] = self.slope[k] / rows + RIDGE * away;
            for l in 0..=k {
                self.curvature[k][l] /= rows;
            }
            self.curvature[k][k] += RIDGE;
        }
    }
}

/// Solves a positive definite system, of which the lower triangle is given, by Cholesky's
/// decomposition. `None` if it is not positive definite as far as numbers can tell.
fn solve<const K: usize>(mut matrix: [[f64; K]; K], mut vector: [f64; K]) -> Option<[f64; K]> {
    for k in 0..K {
        for l in 0..=k {
            let known: f64 = (0..l).map(|m| matrix[k][m] * matrix[l][m]).sum();
            let rest = matrix[k][l] - known;
            matrix[k][l] = match k == l {
                true if rest > 0.0 => rest.sqrt(),
                true => return None,
                false => rest / matrix[l][l],
            };
        }
    }
    for k in 0..K {
        let known: f64 = (0..k).map(|m| matrix[k][m] * vector[m]).sum();
        vector[k] = (vector[k] - known) / matrix[k][k];
    }
    for k in (0..K).rev() {
        let known: f64 = (k + 1..K).map(|m| matrix[m][k] * vector[m]).sum();
        vector[k] = (vector[k] - known) / matrix[k][k];
    }
    Some(vector)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_by_hand() {
        // 4x + 2y = 2, 2x + 3y = 5: x = -0.5, y = 2.
        let [x, y] = solve([[4.0, f64::NAN], [2.0, 3.0]], [2.0, 5.0]).unwrap();
        assert!((x + 0.5).abs() < 1e-12 && (y - 2.0).abs() < 1e-12, "{x} {y}");
        assert_eq!(solve([[1.0, 0.0], [2.0, 1.0]], [1.0, 1.0]), None);
    }

    #[test]
    fn a_constant_is_the_mean() {
        let fitted = fit(&[[1.0]; 4], &[0.0, 0.5, 0.5, 0.2], [0.0]);
        assert!((fitted.parameters[0] - logit(0.3)).abs() < 1e-8, "{fitted:?}");
        // The entropy of 0.3
        let expected = -(0.3 * 0.3_f64.ln() + 0.7 * 0.7_f64.ln());
        assert!((fitted.loss - expected).abs() < 1e-8, "but for the ridge");
    }

    #[test]
    fn what_the_rows_do_not_say_stays() {
        // The second feature is always 0.
        let fitted = fit(&[[1.0, 0.0]; 3], &[0.4; 3], [0.0, 7.0]);
        assert!((fitted.parameters[1] - 7.0).abs() < 1e-6, "{fitted:?}");
        let none = fit::<2>(&[], &[], [1.0, 2.0]);
        assert_eq!((none.parameters, none.loss), ([1.0, 2.0], 0.0));
    }
}
