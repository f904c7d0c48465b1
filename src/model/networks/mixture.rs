//! A mixture of regions: products of conditions on single inputs, each with a probability.
//!
//! Each component scores a row by a sum of functions of single inputs (the encoding is what gives
//! them their shape), and a softmax turns the scores into shares. A sum of scores is a product of
//! likelihoods, so a component is a region: "this input beyond that border, and that one within
//! those". Trees describe regions too, but with a jump at each border and one after the other;
//! this is the classic mixture of experts (Jacobs, Jordan, Nowlan and Hinton, 1991) with additive
//! gating and constant experts. Where outcomes come from kinds of conversations, it is the form of
//! the Bayes rule itself.

use burn::config::Config;
use burn::module::{Initializer, Module, Param};
use burn::nn::{Dropout, DropoutConfig};
use burn::tensor::{Device, Tensor, activation};

use super::gated::GatedInputs;
use super::piecewise::Bins;

/// The shape of a [`Mixture`].
#[derive(Config, Debug, PartialEq)]
pub struct MixtureConfig {
    /// Inputs a row.
    pub inputs: usize,
    /// Bins of all inputs together; 0 encodes nothing.
    #[config(default = 0)]
    pub bins: usize,
    /// Packed mixtures.
    #[config(default = 2)]
    pub packed: usize,
    /// Components of a mixture.
    #[config(default = 16)]
    pub components: usize,
    /// The share of inputs that is dropped while training, in 0..1.
    #[config(default = 0.0)]
    pub dropout: f64,
    /// Outputs of one mixture.
    #[config(default = 1)]
    pub outputs: usize,
}

/// Gates, encoding, scores of components.
#[derive(Module, Debug)]
pub struct Mixture {
    pub(super) inputs: GatedInputs,
    /// `[inputs + bins, packed * components]`
    pub(super) weight: Param<Tensor<2>>,
    /// `[packed * components]`
    pub(super) bias: Param<Tensor<1>>,
    /// Each component's logit and its further outputs: `[packed, components, outputs]`
    pub(super) said: Param<Tensor<3>>,
    pub(super) dropout: Dropout,
}

impl MixtureConfig {
    /// A new mixture with random weights from the device's generator and these bins.
    ///
    /// # Panics
    ///
    /// If there are no components, the dropout is not in 0..1, or the bins are not as many as the
    /// configuration says.
    pub fn init(&self, bins: &Bins, device: &Device) -> Mixture {
        assert_eq!(bins.len(), self.bins, "as many bins as configured. This is a bug.");
        let normal = |std| Initializer::Normal { mean: 0.0, std };
        let (inputs, scores) = (self.inputs + self.bins, self.packed * self.components);
        Mixture {
            inputs: GatedInputs::new(self.inputs, bins, device),
            weight: normal(1.0 / (inputs as f64).sqrt()).init([inputs, scores], device),
            bias: Initializer::Zeros.init([scores], device),
            // Components that differ from the start.
            said: normal(2.0).init([self.packed, self.components, self.outputs], device),
            dropout: DropoutConfig::new(self.dropout).init(),
        }
    }
}

impl Mixture {
    /// The same without the bins behind closed gates, which say nothing, and how many remain.
    pub(super) fn pruned(self) -> (Mixture, usize) {
        let (inputs, rows) = self.inputs.pruned();
        let bins = inputs.bins();
        (Mixture { inputs, weight: self.weight.map(|weight| weight.select(0, rows)), ..self }, bins)
    }

    /// The logit of the mixed probability, and the mixed further outputs.
    ///
    /// # Shapes
    ///
    /// - `inputs`: `[batch, inputs]`
    /// - output: `[packed, batch, outputs]`
    pub fn forward(&self, inputs: Tensor<2>) -> Tensor<3> {
        let [batch, _] = inputs.dims();
        let [packed, components, outputs] = self.said.dims();
        let inputs = self.dropout.forward(self.inputs.forward(inputs));
        let scores = inputs.matmul(self.weight.val()) + self.bias.val().unsqueeze();
        let shares = activation::softmax(scores.reshape([batch, packed, components]), 2);
        let shares = shares.swap_dims(0, 1);
        let said = self.said.val();
        let logits = said.clone().narrow(2, 0, 1);
        let yes = shares.clone().matmul(activation::sigmoid(logits.clone()));
        let no = shares.clone().matmul(activation::sigmoid(logits.neg()));
        let logit = yes.log() - no.log();
        if outputs == 1 {
            return logit;
        }
        Tensor::cat(vec![logit, shares.matmul(said.narrow(2, 1, outputs - 1))], 2)
    }
}
