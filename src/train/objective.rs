//! What a stage's networks minimise, as data: Burn's path and the CPU's own read the same.

use burn::tensor::Tensor;

use super::config::{ClassifierLoss, RewardLossConfig, TimeLoss};
use super::loss;
use crate::model::networks::{Network, time_units};

/// What a network minimises.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Objective {
    /// Of a classifier.
    Classifier {
        /// Which loss.
        loss: ClassifierLoss,
        /// The weights of the reward loss, and its unit of time.
        reward: RewardLossConfig,
        /// How far labels are moved towards "as often as not"; for cross-entropy only.
        label_smoothing: f64,
    },
    /// Of a regressor.
    Regressor {
        /// Which loss.
        loss: TimeLoss,
        /// The unit of its outputs.
        unit_seconds: f64,
    },
}

impl Objective {
    /// The unit in which a row's time is compared with the network's.
    pub(super) fn unit_seconds(&self) -> f64 {
        match self {
            Objective::Classifier { reward, .. } => reward.time_unit_seconds,
            Objective::Regressor { unit_seconds, .. } => *unit_seconds,
        }
    }

    /// The loss of a batch.
    ///
    /// # Shapes
    ///
    /// - `inputs`: `[batch, INPUT_COUNT]`
    /// - `converted` (0 or 1), `times` (in [`Objective::unit_seconds`]): `[batch]`
    /// - output: `[1]`
    pub(super) fn of(
        &self,
        network: &Network,
        inputs: Tensor<2>,
        converted: Tensor<1>,
        times: Tensor<1>,
    ) -> Tensor<1> {
        let outputs = network.forward(inputs);
        let [packed, _, _] = outputs.dims();
        let first = first_outputs(outputs.clone());
        let loss = match self {
            Objective::Classifier { loss: ClassifierLoss::Bce, label_smoothing, .. } => {
                let labels =
                    repeated(converted, packed) * (1.0 - label_smoothing) + label_smoothing / 2.0;
                loss::binary_cross_entropy(first, labels)
            }
            Objective::Classifier { loss: ClassifierLoss::Reward, reward, .. } => {
                loss::reward_optimized(
                    reward,
                    first,
                    time_units(outputs.narrow(2, 1, 1).flatten(0, 2)),
                    repeated(converted, packed),
                    repeated(times, packed),
                )
            }
            Objective::Regressor { loss, unit_seconds } => {
                loss::time_loss(*loss, time_units(first), repeated(times, packed), *unit_seconds)
            }
        };
        // As if each packed network were alone: their gradients do not depend on their number.
        loss * packed as f64
    }
}

/// The first output of each packed network, one network after the other.
///
/// # Shapes
///
/// - `outputs`: `[packed, batch, outputs]`
/// - output: `[packed * batch]`
pub(super) fn first_outputs(outputs: Tensor<3>) -> Tensor<1> {
    outputs.narrow(2, 0, 1).flatten(0, 2)
}

/// The same values for each packed network: `[packed * batch]`.
fn repeated(values: Tensor<1>, packed: usize) -> Tensor<1> {
    if packed == 1 { values } else { values.repeat_dim(0, packed) }
}
