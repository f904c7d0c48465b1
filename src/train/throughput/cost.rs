//! What training must cost, reckoned from a network's layers.
//!
//! Three things bound a step: arithmetic, the bytes that move between a device's memory and its
//! cores, and, on a GPU, launches, for a kernel that waits for another one's results cannot begin
//! before it ends. All three are counted for the best that could be written without waiting for
//! anything but sums over the whole batch:
//!
//! - a matrix product is a launch, with all that is done to each of its results alone: bias,
//!   activation, dropout, gates and encoding. There is one forward, one for the gradient of its
//!   weights, and one for that of its inputs where something before it learns;
//! - a batch norm is a launch forward and one back: its sums over the batch are waited for;
//! - so is the mixing of a mixture;
//! - the rows of a batch are gathered by one launch, the loss and its gradient are one, the norms of
//!   the gradients are one where they are cut, and the optimiser of all parameters is one.
//!
//! Each launch reads what it needs and writes what it makes, once. Real kernels are more and move
//! more; how much is what the distance to this floor says.

use serde::Serialize;

use crate::model::networks::NetworkConfig;

/// Bytes of a number.
const BYTES: f64 = 4.0;
/// AdamW: two moments, their corrections, a root, a quotient, the decay.
const OPTIMIZER_OPERATIONS: f64 = 14.0;
/// AdamW reads weight, gradient and two moments, and writes all but the gradient.
const OPTIMIZER_NUMBERS: f64 = 7.0;
/// Cross-entropy or absolute error, and its gradient.
const LOSS_OPERATIONS: f64 = 10.0;
/// Batch norm: mean and variance, then scaled and shifted; back, two sums and the gradient. With the
/// activation behind it.
const NORM_OPERATIONS: (f64, f64) = (8.0, 12.0);
/// A bias and an activation, and back; with dropout a product and a random number more.
const ACTIVATION_OPERATIONS: (f64, f64) = (3.0, 3.0);
/// A bin of the encoding: distance, width, both borders, centre, gate; back, the gate alone.
const BIN_OPERATIONS: (f64, f64) = (6.0, 3.0);
/// Softmax, and the mixing of what the components say.
const MIXING_OPERATIONS: (f64, f64) = (8.0, 10.0);

/// What a step of one network costs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Cost {
    /// Numbers that are learned.
    pub parameters: usize,
    /// Floating-point operations a row, forward and back.
    pub operations_per_row: f64,
    /// Floating-point operations a step besides, for the optimiser.
    pub operations_per_step: f64,
    /// Bytes that move a row.
    pub bytes_per_row: f64,
    /// Bytes that move a step besides, for weights, gradients and moments.
    pub bytes_per_step: f64,
    /// Launches a step on a GPU.
    pub launches_per_step: usize,
}

/// What a device can do at best.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Peak {
    /// Floating-point operations a second, in f32.
    pub operations_per_second: f64,
    /// Bytes a second between memory and cores.
    pub bytes_per_second: f64,
    /// The time from one launch to the next that waits for it, in seconds; 0 where nothing is
    /// launched.
    pub launch_seconds: f64,
}

/// What bounds a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Bound {
    /// Floating-point operations.
    Arithmetic,
    /// Bytes.
    Memory,
    /// Kernels that wait for each other.
    Launches,
}

impl Cost {
    /// The cost of a network of this shape, whose gradients are cut at a norm or not.
    pub fn of(network: &NetworkConfig, cuts_gradients: bool) -> Cost {
        let mut tally = Tally::default();
        match network {
            NetworkConfig::Mlp(mlp) => {
                tally.product(1, mlp.inputs, mlp.first_units, false);
                tally.norm(mlp.first_units);
                tally.product(1, mlp.first_units, mlp.second_units, true);
                tally.activation(mlp.second_units);
                tally.product(1, mlp.second_units, mlp.outputs, true);
            }
            NetworkConfig::Residual(residual) => {
                tally.product(1, residual.inputs, residual.units, false);
                for _ in 0..residual.blocks {
                    tally.norm(residual.units);
                    tally.product(1, residual.units, residual.inner_units, true);
                    tally.activation(residual.inner_units);
                    tally.product(1, residual.inner_units, residual.units, true);
                }
                tally.norm(residual.units);
                tally.product(1, residual.units, residual.outputs, true);
            }
            NetworkConfig::Tabular(tabular) => {
                tally.gates(tabular.inputs, tabular.bins);
                let mut inputs = tabular.inputs + tabular.bins;
                for layer in 0..tabular.layers {
                    match layer {
                        0 => tally.product(1, inputs, tabular.packed * tabular.units, true),
                        _ => tally.product(tabular.packed, inputs, tabular.units, true),
                    }
                    tally.bends(tabular.packed * tabular.units);
                    inputs = tabular.units;
                }
                tally.product(tabular.packed, inputs, tabular.outputs, true);
            }
            NetworkConfig::Mixture(mixture) => {
                tally.gates(mixture.inputs, mixture.bins);
                let scores = mixture.packed * mixture.components;
                tally.product(1, mixture.inputs + mixture.bins, scores, true);
                tally.mixing(scores, mixture.outputs);
            }
        }
        tally.finish(inputs_of(network), cuts_gradients)
    }

    /// The least seconds that a step on so many rows takes, and why not less.
    pub fn step_seconds(&self, rows: usize, peak: Peak) -> (f64, Bound) {
        let rows = rows as f64;
        let operations = self.operations_per_step + rows * self.operations_per_row;
        let bytes = self.bytes_per_step + rows * self.bytes_per_row;
        [
            (operations / peak.operations_per_second, Bound::Arithmetic),
            (bytes / peak.bytes_per_second, Bound::Memory),
            (self.launches_per_step as f64 * peak.launch_seconds, Bound::Launches),
        ]
        .into_iter()
        .fold((0.0, Bound::Arithmetic), |most, next| if next.0 > most.0 { next } else { most })
    }
}

fn inputs_of(network: &NetworkConfig) -> usize {
    match network {
        NetworkConfig::Mlp(config) => config.inputs,
        NetworkConfig::Residual(config) => config.inputs,
        NetworkConfig::Tabular(config) => config.inputs,
        NetworkConfig::Mixture(config) => config.inputs,
    }
}

/// Layers, counted one after the other.
#[derive(Default)]
struct Tally {
    cost: Cost,
}

impl Tally {
    /// A linear layer: so many of them side by side, each with inputs of its own.
    fn product(&mut self, packed: usize, inputs: usize, outputs: usize, needs_gradient: bool) {
        let (weights, numbers) = (packed * inputs * outputs, packed * (inputs + outputs));
        // Forward and the gradient of the weights, and that of the inputs.
        let products = if needs_gradient { 3 } else { 2 };
        self.cost.parameters += weights + packed * outputs;
        self.cost.operations_per_row += (2 * products * weights) as f64;
        self.cost.bytes_per_row += BYTES * (products * numbers) as f64;
        self.cost.bytes_per_step += BYTES * (products * weights) as f64;
        self.cost.launches_per_step += products;
    }

    fn elementwise(&mut self, numbers: usize, (forward, back): (f64, f64)) {
        self.cost.operations_per_row += numbers as f64 * (forward + back);
    }

    /// Bias, activation, dropout: with the product before them.
    fn activation(&mut self, units: usize) {
        self.elementwise(units, ACTIVATION_OPERATIONS);
    }

    /// The tabular network's activation, with a learned bend a unit.
    fn bends(&mut self, units: usize) {
        self.cost.parameters += units;
        self.elementwise(units, ACTIVATION_OPERATIONS);
        // The gradient of the bend: a product and a sum.
        self.elementwise(units, (1.0, 2.0));
    }

    /// Batch norm, and the activation behind it.
    fn norm(&mut self, units: usize) {
        self.cost.parameters += 2 * units;
        self.elementwise(units, NORM_OPERATIONS);
        // What is normalised is read and written once more, forward and back.
        self.cost.bytes_per_row += BYTES * (4 * units) as f64;
        self.cost.launches_per_step += 2;
    }

    /// Gates on the inputs and on the bins of their encoding: with the product behind them.
    fn gates(&mut self, inputs: usize, bins: usize) {
        self.cost.parameters += inputs;
        self.elementwise(inputs, (1.0, 2.0));
        self.elementwise(bins, BIN_OPERATIONS);
    }

    /// The shares of a mixture's components, and what they say together.
    fn mixing(&mut self, scores: usize, outputs: usize) {
        self.cost.parameters += scores * outputs;
        let (forward, back) = MIXING_OPERATIONS;
        self.elementwise(scores * outputs, (forward, back));
        self.cost.bytes_per_row += BYTES * (4 * scores) as f64;
        self.cost.launches_per_step += 2;
    }

    fn finish(mut self, inputs: usize, cuts_gradients: bool) -> Cost {
        let parameters = self.cost.parameters as f64;
        // Gathered from the table and written as a batch; a label, a time and a place in the order.
        self.cost.bytes_per_row += BYTES * (2 * inputs + 3) as f64;
        self.cost.operations_per_row += LOSS_OPERATIONS;
        self.cost.operations_per_step += parameters * OPTIMIZER_OPERATIONS;
        self.cost.bytes_per_step += BYTES * parameters * OPTIMIZER_NUMBERS;
        self.cost.launches_per_step += 3;
        if cuts_gradients {
            self.cost.operations_per_step += 3.0 * parameters;
            self.cost.bytes_per_step += BYTES * parameters;
            self.cost.launches_per_step += 1;
        }
        self.cost
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::networks::mixture::MixtureConfig;
    use crate::model::networks::mlp::MlpConfig;
    use crate::model::networks::piecewise::Bins;
    use crate::model::networks::residual::ResidualConfig;
    use crate::model::networks::tabular::TabularConfig;
    use burn::module::Module as _;
    use burn::tensor::Device;

    /// 3 inputs, 4 units, 2 units, 1 output.
    fn small() -> NetworkConfig {
        NetworkConfig::Mlp(MlpConfig::new(3).with_first_units(4).with_second_units(2))
    }

    #[test]
    fn the_guides_network_by_hand() {
        let cost = Cost::of(&small(), false);
        assert_eq!(cost.parameters, (3 * 4 + 4) + 2 * 4 + (4 * 2 + 2) + (2 + 1));
        // Products: 12 weights twice, 8 and 2 three times; the norm's 4 units, the second layer's 2,
        // and the loss.
        let products = 2 * (2 * 12 + 3 * 8 + 3 * 2);
        assert_eq!(cost.operations_per_row, f64::from(products + 4 * 20 + 2 * 6 + 10));
        assert_eq!(cost.operations_per_step, 37.0 * 14.0);
        // Numbers in and out: 7 twice, 6 and 3 three times; the norm's; the gathered row.
        assert_eq!(cost.bytes_per_row, f64::from(4 * (2 * 7 + 3 * 6 + 3 * 3 + 4 * 4 + 2 * 3 + 3)));
        assert_eq!(cost.bytes_per_step, f64::from(4 * (2 * 12 + 3 * 8 + 3 * 2 + 37 * 7)));
        // 2 + 3 + 3 products, 2 of the norm; gathering, loss, optimiser.
        assert_eq!(cost.launches_per_step, 8 + 2 + 3);
        assert_eq!(Cost::of(&small(), true).launches_per_step, 14);
    }

    /// The networks themselves know how many numbers they learn; running statistics and bins are
    /// not among them.
    #[test]
    fn parameters_are_those_of_the_networks() {
        let bins =
            Bins { columns: vec![0, 1, 1], lower: vec![0.0; 3], inverse_width: vec![1.0; 3] };
        let device = Device::flex();
        for (config, others) in [
            (small(), 2 * 4),
            (
                NetworkConfig::Residual(
                    ResidualConfig::new(5).with_units(4).with_inner_units(3).with_blocks(2),
                ),
                3 * 2 * 4,
            ),
            (
                NetworkConfig::Tabular(
                    TabularConfig::new(5).with_bins(3).with_units(4).with_layers(3).with_packed(2),
                ),
                2 * 3,
            ),
            (
                NetworkConfig::Mixture(
                    MixtureConfig::new(5).with_bins(3).with_packed(2).with_components(4),
                ),
                2 * 3,
            ),
        ] {
            let network = config.init(&bins, &device);
            let expected = network.num_params() - others;
            assert_eq!(Cost::of(&config, false).parameters, expected, "{config:?}");
        }
    }

    #[test]
    fn the_floor_is_what_takes_longest() {
        let cost = Cost {
            parameters: 1,
            operations_per_row: 100.0,
            operations_per_step: 1000.0,
            bytes_per_row: 10.0,
            bytes_per_step: 500.0,
            launches_per_step: 10,
        };
        let peak = |operations, bytes, launch_seconds| Peak {
            operations_per_second: operations,
            bytes_per_second: bytes,
            launch_seconds,
        };
        for (peak, seconds, bound) in [
            (peak(1000.0, 1e9, 0.0), 2.0, Bound::Arithmetic), // 1000 + 10 * 100
            (peak(1e9, 100.0, 0.0), 6.0, Bound::Memory),      // 500 + 10 * 10
            (peak(1000.0, 100.0, 1.0), 10.0, Bound::Launches),
        ] {
            assert_eq!(cost.step_seconds(10, peak), (seconds, bound));
        }
    }
}
