//! The guide's network: two hidden layers, the first one normalised and thinned out.

use burn::config::Config;
use burn::module::Module;
use burn::nn::{BatchNorm, BatchNormConfig, Dropout, DropoutConfig, Linear, LinearConfig, Relu};
use burn::tensor::{Device, Tensor};

/// The shape of an [`Mlp`].
#[derive(Config, Debug, PartialEq)]
pub struct MlpConfig {
    /// Inputs a row.
    pub inputs: usize,
    /// Outputs a row.
    #[config(default = 1)]
    pub outputs: usize,
    /// Units of the first, normalised layer. Default: 128
    #[config(default = 128)]
    pub first_units: usize,
    /// Units of the second layer. Default: 64
    #[config(default = 64)]
    pub second_units: usize,
    /// The share of the first layer's units that is dropped while training, in 0..1. Default: 0.3
    #[config(default = 0.3)]
    pub dropout: f64,
}

/// Linear, batch norm, ReLU, dropout, linear, ReLU, linear: the two networks of the miner guide.
/// The last layer is left without an activation, for losses that are stable from logits.
#[derive(Module, Debug)]
pub struct Mlp {
    pub(super) first: Linear,
    pub(super) norm: BatchNorm,
    pub(super) dropout: Dropout,
    pub(super) second: Linear,
    pub(super) output: Linear,
    relu: Relu,
}

impl MlpConfig {
    /// A new network with random weights from the device's generator.
    ///
    /// # Panics
    ///
    /// If a layer has no units or the dropout is not in 0..1.
    pub fn init(&self, device: &Device) -> Mlp {
        Mlp {
            first: LinearConfig::new(self.inputs, self.first_units).init(device),
            norm: BatchNormConfig::new(self.first_units).init(device),
            dropout: DropoutConfig::new(self.dropout).init(),
            second: LinearConfig::new(self.first_units, self.second_units).init(device),
            output: LinearConfig::new(self.second_units, self.outputs).init(device),
            relu: Relu::new(),
        }
    }
}

impl Mlp {
    /// The raw outputs of a batch.
    ///
    /// # Shapes
    ///
    /// - `inputs`: `[batch, inputs]`
    /// - output: `[batch, outputs]`
    pub fn forward(&self, inputs: Tensor<2>) -> Tensor<2> {
        let hidden = self.norm.forward(self.first.forward(inputs));
        let hidden = self.dropout.forward(self.relu.forward(hidden));
        let hidden = self.relu.forward(self.second.forward(hidden));
        self.output.forward(hidden)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_of_the_guide() {
        let network = MlpConfig::new(40).init(&Device::flex());
        let linears = (40 * 128 + 128) + (128 * 64 + 64) + (64 + 1);
        // The norm has a scale, an offset, and two running statistics a unit.
        assert_eq!(network.num_params(), linears + 4 * 128);
        let output = network.forward(Tensor::zeros([3, 40], &Device::flex()));
        assert_eq!(output.dims(), [3, 1]);
    }
}
