//! A deeper network of residual blocks.
//!
//! After the ResNet of Gorishniy, Rubachev, Khrulkov and Babenko, "Revisiting Deep Learning Models
//! for Tabular Data" (2021).

use burn::config::Config;
use burn::module::Module;
use burn::nn::{BatchNorm, BatchNormConfig, Dropout, DropoutConfig, Linear, LinearConfig};
use burn::tensor::{Device, Tensor, activation};

/// The shape of a [`Residual`].
#[derive(Config, Debug, PartialEq)]
pub struct ResidualConfig {
    /// Inputs a row.
    pub inputs: usize,
    /// Outputs a row.
    #[config(default = 1)]
    pub outputs: usize,
    /// Units between the blocks.
    #[config(default = 96)]
    pub units: usize,
    /// Units within a block.
    #[config(default = 96)]
    pub inner_units: usize,
    /// Blocks.
    #[config(default = 3)]
    pub blocks: usize,
    /// The share of a block's inner units that is dropped while training, in 0..1.
    #[config(default = 0.2)]
    pub dropout: f64,
}

/// A linear layer, blocks that each add something to what came in, batch norm, ReLU, linear.
#[derive(Module, Debug)]
pub struct Residual {
    pub(super) first: Linear,
    pub(super) blocks: Vec<Block>,
    pub(super) norm: BatchNorm,
    pub(super) output: Linear,
}

/// `x + linear(dropout(relu(linear(norm(x)))))`
#[derive(Module, Debug)]
pub struct Block {
    pub(super) norm: BatchNorm,
    pub(super) inner: Linear,
    pub(super) outer: Linear,
    dropout: Dropout,
}

impl ResidualConfig {
    /// A new network with random weights from the device's generator.
    ///
    /// # Panics
    ///
    /// If a layer has no units or the dropout is not in 0..1.
    pub fn init(&self, device: &Device) -> Residual {
        let block = |_| Block {
            norm: BatchNormConfig::new(self.units).init(device),
            inner: LinearConfig::new(self.units, self.inner_units).init(device),
            outer: LinearConfig::new(self.inner_units, self.units).init(device),
            dropout: DropoutConfig::new(self.dropout).init(),
        };
        Residual {
            first: LinearConfig::new(self.inputs, self.units).init(device),
            blocks: (0..self.blocks).map(block).collect(),
            norm: BatchNormConfig::new(self.units).init(device),
            output: LinearConfig::new(self.units, self.outputs).init(device),
        }
    }
}

impl Residual {
    /// The raw outputs of a batch.
    ///
    /// # Shapes
    ///
    /// - `inputs`: `[batch, inputs]`
    /// - output: `[batch, outputs]`
    pub fn forward(&self, inputs: Tensor<2>) -> Tensor<2> {
        let mut hidden = self.first.forward(inputs);
        for block in &self.blocks {
            hidden = block.forward(hidden);
        }
        self.output.forward(activation::relu(self.norm.forward(hidden)))
    }
}

impl Block {
    fn forward(&self, inputs: Tensor<2>) -> Tensor<2> {
        let inner = self.inner.forward(self.norm.forward(inputs.clone()));
        inputs + self.outer.forward(self.dropout.forward(activation::relu(inner)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers() {
        let config = ResidualConfig::new(40).with_units(8).with_inner_units(6).with_blocks(2);
        let network = config.init(&Device::flex());
        let block = 4 * 8 + (8 * 6 + 6) + (6 * 8 + 8);
        assert_eq!(network.num_params(), (40 * 8 + 8) + 2 * block + 4 * 8 + (8 + 1));
        let output = network.forward(Tensor::zeros([3, 40], &Device::flex()));
        assert_eq!(output.dims(), [3, 1]);
    }
}
