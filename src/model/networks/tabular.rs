//! A network for tables: gates on the inputs, an encoding of them, and several small networks in
//! one, trained side by side.
//!
//! It joins what makes current tabular networks strong: the learned scales of RealMLP (see
//! [`GatedInputs`]), encodings for the jumps that networks otherwise blur (see [`Bins`]), packed
//! members that see the same batches and are averaged, in the way of TabM (Gorishniy, Kotelnikov
//! and Babenko, 2024), and parametric activations.

use burn::config::Config;
use burn::module::{Module, Param};
use burn::nn::{Dropout, DropoutConfig, Initializer};
use burn::tensor::{Device, Tensor, activation};

use super::gated::GatedInputs;
use super::piecewise::Bins;

/// The shape of a [`Tabular`].
#[derive(Config, Debug, PartialEq)]
pub struct TabularConfig {
    /// Inputs a row.
    pub inputs: usize,
    /// Bins of all inputs together; 0 encodes nothing.
    #[config(default = 0)]
    pub bins: usize,
    /// Packed networks.
    #[config(default = 4)]
    pub packed: usize,
    /// Units of a hidden layer of one packed network.
    #[config(default = 64)]
    pub units: usize,
    /// Hidden layers.
    #[config(default = 2)]
    pub layers: usize,
    /// The share of a hidden layer's units that is dropped while training, in 0..1.
    #[config(default = 0.1)]
    pub dropout: f64,
    /// Outputs of one packed network.
    #[config(default = 1)]
    pub outputs: usize,
}

/// Gates, encoding, packed layers.
#[derive(Module, Debug)]
pub struct Tabular {
    pub(super) inputs: GatedInputs,
    pub(super) hidden: Vec<PackedLayer>,
    pub(super) output: PackedLinear,
    pub(super) dropout: Dropout,
}

/// One linear layer a packed network, side by side.
#[derive(Module, Debug)]
pub struct PackedLinear {
    /// `[packed, inputs, outputs]`
    pub(super) weight: Param<Tensor<3>>,
    /// `[packed, 1, outputs]`
    pub(super) bias: Param<Tensor<3>>,
}

/// A packed linear layer and its activation: `a relu(x) + (1 - a) x` with a learned `a` a unit.
#[derive(Module, Debug)]
pub struct PackedLayer {
    pub(super) linear: PackedLinear,
    /// `[packed, 1, outputs]`
    pub(super) bend: Param<Tensor<3>>,
}

impl TabularConfig {
    /// A new network with random weights from the device's generator and these bins.
    ///
    /// # Panics
    ///
    /// If a layer has no units, the dropout is not in 0..1, or the bins are not as many as the
    /// configuration says.
    pub fn init(&self, bins: &Bins, device: &Device) -> Tabular {
        assert_eq!(bins.len(), self.bins, "as many bins as configured. This is a bug.");
        let hidden = (0..self.layers)
            .map(|layer| {
                let inputs = if layer == 0 { self.inputs + self.bins } else { self.units };
                // Large biases on the first layer spread the bends over the range of the inputs.
                let bias = if layer == 0 { 0.5 } else { 0.1 };
                let scale = (2.0 / inputs as f64).sqrt();
                PackedLayer {
                    linear: packed(self.packed, inputs, self.units, scale, bias, device),
                    bend: Initializer::Ones.init([self.packed, 1, self.units], device),
                }
            })
            .collect();
        // Small, so that training starts near "as often as not".
        let scale = 0.3 / (self.units as f64).sqrt();
        Tabular {
            inputs: GatedInputs::new(self.inputs, bins, device),
            hidden,
            output: packed(self.packed, self.units, self.outputs, scale, 0.0, device),
            dropout: DropoutConfig::new(self.dropout).init(),
        }
    }
}

fn packed(
    packed: usize,
    inputs: usize,
    outputs: usize,
    scale: f64,
    bias: f64,
    device: &Device,
) -> PackedLinear {
    let normal = |std: f64| Initializer::Normal { mean: 0.0, std };
    PackedLinear {
        weight: normal(scale).init([packed, inputs, outputs], device),
        bias: if bias > 0.0 { normal(bias) } else { Initializer::Zeros }
            .init([packed, 1, outputs], device),
    }
}

impl Tabular {
    /// The same without the bins behind closed gates, which say nothing, and how many remain.
    pub(super) fn pruned(mut self) -> (Tabular, usize) {
        let (inputs, rows) = self.inputs.pruned();
        let bins = inputs.bins();
        if let Some(first) = self.hidden.first_mut() {
            let weight = first.linear.weight.clone();
            first.linear.weight = weight.map(|weight| weight.select(1, rows));
        }
        (Tabular { inputs, ..self }, bins)
    }

    /// The raw outputs of a batch.
    ///
    /// # Shapes
    ///
    /// - `inputs`: `[batch, inputs]`
    /// - output: `[packed, batch, outputs]`
    pub fn forward(&self, inputs: Tensor<2>) -> Tensor<3> {
        let mut hidden = self.inputs.forward(inputs).unsqueeze::<3>();
        for layer in &self.hidden {
            hidden = self.dropout.forward(layer.forward(hidden));
        }
        self.output.forward(hidden)
    }
}

impl PackedLayer {
    fn forward(&self, inputs: Tensor<3>) -> Tensor<3> {
        let straight = self.linear.forward(inputs);
        let bent = activation::relu(straight.clone());
        straight.clone() + (bent - straight) * self.bend.val()
    }
}

impl PackedLinear {
    /// # Shapes
    ///
    /// - `inputs`: `[packed, batch, inputs]`, or `[1, batch, inputs]` for all the same
    /// - output: `[packed, batch, outputs]`
    fn forward(&self, inputs: Tensor<3>) -> Tensor<3> {
        let [packed, width, outputs] = self.weight.dims();
        let [_, batch, _] = inputs.dims();
        let product = if inputs.dims()[0] == 1 && packed > 1 {
            // The same inputs for all: one large product instead of several small ones.
            let weight = self.weight.val().swap_dims(0, 1).reshape([width, packed * outputs]);
            let product = inputs.squeeze_dim::<2>(0).matmul(weight);
            product.reshape([batch, packed, outputs]).swap_dims(0, 1)
        } else {
            inputs.matmul(self.weight.val())
        };
        product + self.bias.val()
    }
}
