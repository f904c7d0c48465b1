//! The losses of [`crate::train::loss`] and their gradients, row by row.

use crate::train::config::{ClassifierLoss, TimeLoss};
use crate::train::loss::HUBER_SECONDS;
use crate::train::objective::Objective;

/// What is minimised.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Loss {
    /// Binary cross-entropy of the first output.
    CrossEntropy { smoothing: f32 },
    /// The guide's RewardOptimizedLoss of two outputs.
    Reward { class: f32, regression: f32, diversity: f32 },
    /// Of times: the mean absolute error.
    Absolute,
    /// Of times: Huber's, with where the square turns into a line.
    Huber { delta: f32 },
    /// Of times: the mean squared error.
    Square,
}

/// What is known of a whole batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Whole {
    pub(super) rows: f32,
    /// How many of them converted.
    pub(super) converted: f32,
    /// Networks side by side.
    pub(super) packed: f32,
}

impl Loss {
    /// That of an objective.
    pub(super) fn of(objective: &Objective) -> Loss {
        match objective {
            Objective::Classifier { loss: ClassifierLoss::Bce, label_smoothing, .. } => {
                Loss::CrossEntropy { smoothing: *label_smoothing as f32 }
            }
            Objective::Classifier { loss: ClassifierLoss::Reward, reward, .. } => Loss::Reward {
                class: reward.class as f32,
                regression: reward.regression as f32,
                diversity: reward.diversity as f32,
            },
            Objective::Regressor { loss: TimeLoss::L1, .. } => Loss::Absolute,
            Objective::Regressor { loss: TimeLoss::Mse, .. } => Loss::Square,
            Objective::Regressor { loss: TimeLoss::Huber, unit_seconds } => {
                Loss::Huber { delta: (HUBER_SECONDS / unit_seconds) as f32 }
            }
        }
    }

    /// A row's part of the batch's loss, and of its gradient by the outputs.
    ///
    /// # Shapes
    ///
    /// - `outputs`, `gradient`: `[outputs]` of one packed network
    pub(super) fn of_row(
        &self,
        outputs: &[f32],
        (converted, time): (f32, f32),
        whole: Whole,
        gradient: &mut [f32],
    ) -> f32 {
        gradient.fill(0.0);
        let share = 1.0 / whole.rows;
        match self {
            Loss::CrossEntropy { smoothing } => {
                let label = converted * (1.0 - smoothing) + smoothing / 2.0;
                gradient[0] = (sigmoid(outputs[0]) - label) * share;
                cross_entropy(outputs[0], label) * share
            }
            Loss::Reward { class, regression, diversity } => {
                let p = sigmoid(outputs[0]);
                let away = p - 0.5;
                let slope = -away.signum() * p * (1.0 - p);
                gradient[0] = (class * (p - converted) + diversity * slope) * share;
                let mut loss =
                    class * cross_entropy(outputs[0], converted) + diversity * (1.0 - away.abs());
                loss *= share;
                if converted > 0.0 {
                    let share = regression * whole.packed / (whole.packed * whole.converted + 1e-8);
                    let (error, slope) = error_of(outputs[1], time);
                    gradient[1] = 2.0 * error * slope * share;
                    loss += error * error * share;
                }
                loss
            }
            Loss::Absolute | Loss::Huber { .. } | Loss::Square => {
                let (error, slope) = error_of(outputs[0], time);
                let (loss, by_error) = match self {
                    Loss::Huber { delta } => {
                        let inner = error.abs().min(*delta);
                        (
                            0.5 * inner * inner + (error.abs() - inner) * delta,
                            error.clamp(-delta, *delta),
                        )
                    }
                    Loss::Square => (error * error, 2.0 * error),
                    _ if error == 0.0 => (0.0, 0.0),
                    _ => (error.abs(), error.signum()),
                };
                gradient[0] = by_error * slope * share;
                loss * share
            }
        }
    }
}

/// How far the time of a raw output is from the truth, and the slope of that.
fn error_of(raw: f32, time: f32) -> (f32, f32) {
    (softplus(raw) - time, sigmoid(raw))
}

fn cross_entropy(logit: f32, label: f32) -> f32 {
    softplus(logit) - logit * label
}

fn softplus(value: f32) -> f32 {
    value.max(0.0) + (-value.abs()).exp().ln_1p()
}

/// Never overflows.
pub(super) fn sigmoid(value: f32) -> f32 {
    let small = (-value.abs()).exp();
    if value >= 0.0 { 1.0 / (1.0 + small) } else { small / (1.0 + small) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradients_are_slopes() {
        let whole = Whole { rows: 3.0, converted: 2.0, packed: 2.0 };
        let losses = [
            Loss::CrossEntropy { smoothing: 0.1 },
            Loss::Reward { class: 0.55, regression: 0.35, diversity: 0.1 },
            Loss::Absolute,
            Loss::Huber { delta: 0.4 },
            Loss::Square,
        ];
        for loss in losses {
            for (outputs, truth) in
                [([0.7, -0.4], (1.0, 2.0)), ([-1.2, 0.9], (0.0, 0.1)), ([0.3, 0.5], (1.0, 1.0))]
            {
                let mut gradient = [f32::NAN; 2];
                let at = loss.of_row(&outputs, truth, whole, &mut gradient);
                for (index, slope) in gradient.iter().enumerate() {
                    const STEP: f32 = 1e-2;
                    let mut moved = [outputs, outputs];
                    moved[0][index] -= STEP;
                    moved[1][index] += STEP;
                    let [low, high] = moved.map(|it| loss.of_row(&it, truth, whole, &mut [0.0; 2]));
                    let expected = (high - low) / (2.0 * STEP);
                    assert!((slope - expected).abs() < 2e-4, "{loss:?}: {slope}, {expected}, {at}");
                }
            }
        }
    }

    #[test]
    fn large_outputs_are_no_trap() {
        let whole = Whole { rows: 1.0, converted: 1.0, packed: 1.0 };
        let loss = Loss::CrossEntropy { smoothing: 0.0 };
        for (output, label, expected) in
            [(200.0, 0.0, 200.0), (-200.0, 0.0, 0.0), (-200.0, 1.0, 200.0)]
        {
            let mut gradient = [0.0];
            assert_eq!(loss.of_row(&[output], (label, 0.0), whole, &mut gradient), expected);
            assert!(gradient[0].is_finite());
        }
    }
}
