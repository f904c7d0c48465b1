//! What the networks minimise.

use burn::tensor::{Tensor, activation};

use super::config::{RewardLossConfig, TimeLoss};

/// An error of this many seconds is where Huber's loss turns from square to line: a third of the
/// reward's window, beyond which a time is mostly lost.
pub(super) const HUBER_SECONDS: f64 = 5.0;

/// The mean binary cross-entropy, stable for any logit: `mean(softplus(z) - y z)`.
///
/// # Shapes
///
/// - `logits`, `converted` (0 or 1): `[batch]`
/// - output: `[1]`
pub fn binary_cross_entropy(logits: Tensor<1>, converted: Tensor<1>) -> Tensor<1> {
    // max(z, 0) - y z + ln(1 + e^-|z|) never overflows; softplus(z, 1) is exactly its y = 0 form.
    let softplus = logits.clone().clamp_min(0.0) + logits.clone().abs().neg().exp().log1p();
    (softplus - logits * converted).mean()
}

/// The guide's RewardOptimizedLoss: `class * bce + regression * mse over the converted rows +
/// diversity * mean(1 - |p - 0.5|)`, computed from the logit of p.
///
/// Its diversity term rewards confidences far from 0.5; the validator's formula does not (see
/// [`crate::subnet::reward`]), so what it trains wants calibration.
///
/// # Shapes
///
/// - `logits`, `converted` (0 or 1), `times`, `true_times`: `[batch]`; times in units of
///   [`RewardLossConfig::time_unit_seconds`], any value where not converted
/// - output: `[1]`
pub fn reward_optimized(
    config: &RewardLossConfig,
    logits: Tensor<1>,
    times: Tensor<1>,
    converted: Tensor<1>,
    true_times: Tensor<1>,
) -> Tensor<1> {
    let confidence = activation::sigmoid(logits.clone());
    let diversity = ((confidence - 0.5).abs().neg() + 1.0).mean();
    let squares = (times - true_times).powi_scalar(2) * converted.clone();
    // With no converted row the sum is 0, and so is the term.
    let regression = squares.sum() / (converted.clone().sum() + 1e-8);
    binary_cross_entropy(logits, converted) * config.class
        + regression * config.regression
        + diversity * config.diversity
}

/// The regressor's loss over times in units of `unit_seconds`.
///
/// # Shapes
///
/// - `times`, `true_times`: `[batch]`
/// - output: `[1]`
pub fn time_loss(
    kind: TimeLoss,
    times: Tensor<1>,
    true_times: Tensor<1>,
    unit_seconds: f64,
) -> Tensor<1> {
    let errors = times - true_times;
    match kind {
        TimeLoss::L1 => errors.abs().mean(),
        TimeLoss::Mse => errors.powi_scalar(2).mean(),
        TimeLoss::Huber => {
            let delta = HUBER_SECONDS / unit_seconds;
            let errors = errors.abs();
            let inner = errors.clone().clamp_max(delta);
            // inner²/2 + delta (|e| - inner): both branches in one expression.
            (inner.clone().powi_scalar(2) * 0.5 + (errors - inner) * delta).mean()
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    fn tensor<const N: usize>(values: [f32; N]) -> Tensor<1> {
        Tensor::from_floats(values, &Device::flex())
    }

    fn value(tensor: Tensor<1>) -> f64 {
        f64::from(tensor.into_scalar::<f32>())
    }

    fn assert_near(found: f64, expected: f64) {
        assert!((found - expected).abs() <= 1e-5 * expected.abs().max(1.0), "{found}, {expected}");
    }

    // The values come from PyTorch 2:
    //
    //   import torch, torch.nn.functional as F
    //   z = torch.tensor([2.0, -1.5, 0.3, -4.0], dtype=torch.float64)
    //   y = torch.tensor([1.0, 0.0, 0.0, 1.0], dtype=torch.float64)
    //   t = torch.tensor([4.0, 0.0, 1.0, 5.5], dtype=torch.float64)
    //   u = torch.tensor([4.5, -1.0, -1.0, 4.0], dtype=torch.float64)
    //   p = torch.sigmoid(z)
    //   bce = F.binary_cross_entropy(p, y)
    //   mask = (y == 1).double()
    //   reg = F.mse_loss(t * mask, u * mask, reduction='none').sum() / (mask.sum() + 1e-8)
    //   div = 1 - (p - 0.5).abs()
    //   print(bce, (0.55 * F.binary_cross_entropy(p, y, reduction='none')
    //               + 0.35 * reg + 0.1 * div).mean())
    const LOGITS: [f32; 4] = [2.0, -1.5, 0.3, -4.0];
    const CONVERTED: [f32; 4] = [1.0, 0.0, 0.0, 1.0];
    const TIMES: [f32; 4] = [4.0, 0.0, 1.0, 5.5];
    const TRUE_TIMES: [f32; 4] = [4.5, -1.0, -1.0, 4.0];
    const PYTORCH_BCE: f64 = 1.3002116153530154;
    const PYTORCH_REWARD: f64 = 1.2212456897311312;

    #[test]
    fn cross_entropy_is_pytorchs() {
        assert_near(value(binary_cross_entropy(tensor(LOGITS), tensor(CONVERTED))), PYTORCH_BCE);
    }

    #[test]
    fn reward_loss_is_pytorchs() {
        let loss = reward_optimized(
            &RewardLossConfig::default(),
            tensor(LOGITS),
            tensor(TIMES),
            tensor(CONVERTED),
            tensor(TRUE_TIMES),
        );
        assert_near(value(loss), PYTORCH_REWARD);
    }

    #[test]
    fn stable_where_probabilities_are_not() {
        // BCE from probabilities is infinite here in f32; from logits it is 200 and 0.
        let loss = binary_cross_entropy(tensor([200.0, -200.0]), tensor([0.0, 0.0]));
        assert_near(value(loss), 100.0);
    }

    #[test]
    fn no_converted_row_no_time_term() {
        let config = RewardLossConfig { class: 0.0, diversity: 0.0, ..RewardLossConfig::default() };
        let nothing = tensor([0.0, 0.0]);
        let loss = reward_optimized(
            &config,
            nothing.clone(),
            tensor([9.0, 9.0]),
            nothing.clone(),
            nothing,
        );
        assert_eq!(value(loss), 0.0);
    }

    #[test]
    fn time_losses_by_hand() {
        // Errors of 0.25 and -2 units of 20 s; Huber's delta is 5 s = 0.25 units.
        let loss = |kind| value(time_loss(kind, tensor([1.25, 1.0]), tensor([1.0, 3.0]), 20.0));
        assert_near(loss(TimeLoss::L1), 1.125); // (0.25 + 2) / 2
        assert_near(loss(TimeLoss::Mse), 2.03125); // (0.0625 + 4) / 2
        // (0.03125 + (0.03125 + 0.25 * 1.75)) / 2
        assert_near(loss(TimeLoss::Huber), 0.25);
    }
}
