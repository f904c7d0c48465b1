//! One network of an ensemble, whatever its architecture.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::WeightsError;
use super::mixture::{Mixture, MixtureConfig};
use super::mlp::{Mlp, MlpConfig};
use super::piecewise::Bins;
use super::residual::{Residual, ResidualConfig};
use super::tabular::{Tabular, TabularConfig};
use crate::features::engineer::INPUT_COUNT;

/// The shape of a [`Network`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "architecture", rename_all = "lowercase")]
pub enum NetworkConfig {
    /// The guide's.
    Mlp(MlpConfig),
    /// Gates, encodings and packed members.
    Tabular(TabularConfig),
    /// Deeper, of residual blocks.
    Residual(ResidualConfig),
    /// A mixture of regions.
    Mixture(MixtureConfig),
}

/// A network of one of the architectures.
// A network is made once and lives long: its place in memory does not matter.
#[allow(clippy::large_enum_variant)]
#[derive(Module, Debug)]
pub enum Network {
    /// The guide's.
    Mlp(Mlp),
    /// Gates, encodings and packed members.
    Tabular(Tabular),
    /// Deeper, of residual blocks.
    Residual(Residual),
    /// A mixture of regions.
    Mixture(Mixture),
}

impl NetworkConfig {
    /// A new network with random weights. The bins are for those that encode their inputs.
    pub fn init(&self, bins: &Bins, device: &Device) -> Network {
        match self {
            NetworkConfig::Mlp(config) => Network::Mlp(config.init(device)),
            NetworkConfig::Tabular(config) => Network::Tabular(config.init(bins, device)),
            NetworkConfig::Residual(config) => Network::Residual(config.init(device)),
            NetworkConfig::Mixture(config) => Network::Mixture(config.init(bins, device)),
        }
    }

    /// A network that waits for weights.
    pub(super) fn blank(&self, device: &Device) -> Network {
        let bins = match self {
            NetworkConfig::Tabular(config) => config.bins,
            NetworkConfig::Mixture(config) => config.bins,
            NetworkConfig::Mlp(_) | NetworkConfig::Residual(_) => 0,
        };
        let bins =
            Bins { columns: vec![0; bins], lower: vec![0.0; bins], inverse_width: vec![0.0; bins] };
        self.init(&bins, device)
    }

    /// Checks what was read from a manifest, so that building the network cannot panic.
    pub(super) fn check(&self, name: &str) -> Result<(), WeightsError> {
        /// Far beyond any network for 40 features, far below what memory holds.
        const MOST_UNITS: usize = 1_000_000;
        let (inputs, dropout, sizes) = match self {
            NetworkConfig::Mlp(config) => (
                config.inputs,
                config.dropout,
                vec![
                    ("outputs", config.outputs),
                    ("first layer", config.first_units),
                    ("second layer", config.second_units),
                ],
            ),
            NetworkConfig::Tabular(config) => (
                config.inputs,
                config.dropout,
                vec![
                    ("outputs", config.outputs),
                    ("packed networks", config.packed),
                    ("hidden layer", config.units),
                    ("layers", config.layers),
                    // No bins are no mistake.
                    ("bins", config.bins + 1),
                ],
            ),
            NetworkConfig::Residual(config) => (
                config.inputs,
                config.dropout,
                vec![
                    ("outputs", config.outputs),
                    ("block's outside", config.units),
                    ("block's inside", config.inner_units),
                    // No blocks are no mistake.
                    ("blocks", config.blocks + 1),
                ],
            ),
            NetworkConfig::Mixture(config) => (
                config.inputs,
                config.dropout,
                vec![
                    ("outputs", config.outputs),
                    ("packed mixtures", config.packed),
                    ("components", config.components),
                    ("bins", config.bins + 1),
                ],
            ),
        };
        if inputs != INPUT_COUNT {
            return Err(WeightsError::Inputs { network: name.to_owned(), found: inputs });
        }
        let shape = |what: &'static str, value: String| WeightsError::Shape {
            network: name.to_owned(),
            what,
            value,
        };
        for (what, size) in sizes {
            if size == 0 || size > MOST_UNITS {
                return Err(shape(what, size.to_string()));
            }
        }
        if !(0.0..1.0).contains(&dropout) {
            return Err(shape("dropout", dropout.to_string()));
        }
        Ok(())
    }

    /// Outputs a row of one packed network.
    pub fn outputs(&self) -> usize {
        match self {
            NetworkConfig::Mlp(config) => config.outputs,
            NetworkConfig::Tabular(config) => config.outputs,
            NetworkConfig::Residual(config) => config.outputs,
            NetworkConfig::Mixture(config) => config.outputs,
        }
    }

    /// The architecture's name.
    pub fn architecture(&self) -> &'static str {
        match self {
            NetworkConfig::Mlp(_) => "mlp",
            NetworkConfig::Tabular(_) => "tabular",
            NetworkConfig::Residual(_) => "residual",
            NetworkConfig::Mixture(_) => "mixture",
        }
    }
}

impl Network {
    /// The same network, in effect and in shape, without what closed gates keep it from seeing.
    pub fn pruned(self, config: NetworkConfig) -> (Network, NetworkConfig) {
        match (self, config) {
            (Network::Tabular(network), NetworkConfig::Tabular(config)) => {
                let (network, bins) = network.pruned();
                (Network::Tabular(network), NetworkConfig::Tabular(config.with_bins(bins)))
            }
            (Network::Mixture(network), NetworkConfig::Mixture(config)) => {
                let (network, bins) = network.pruned();
                (Network::Mixture(network), NetworkConfig::Mixture(config.with_bins(bins)))
            }
            whole => whole,
        }
    }

    /// The share of units, or of a mixture's inputs, that training drops; none for a residual network,
    /// whose blocks drop by themselves.
    pub(crate) fn dropout(&self) -> Option<f64> {
        match self {
            Network::Mlp(network) => Some(network.dropout.prob),
            Network::Tabular(network) => Some(network.dropout.prob),
            Network::Mixture(network) => Some(network.dropout.prob),
            Network::Residual(_) => None,
        }
    }

    /// Whether what was read from a file can be computed with.
    pub(super) fn is_sound(&self) -> bool {
        match self {
            Network::Tabular(network) => network.inputs.is_sound(),
            Network::Mixture(network) => network.inputs.is_sound(),
            Network::Mlp(_) | Network::Residual(_) => true,
        }
    }

    /// The raw outputs of a batch.
    ///
    /// # Shapes
    ///
    /// - `inputs`: `[batch, inputs]`
    /// - output: `[packed, batch, outputs]`; one packed network where the architecture packs none
    pub fn forward(&self, inputs: Tensor<2>) -> Tensor<3> {
        match self {
            Network::Mlp(network) => network.forward(inputs).unsqueeze(),
            Network::Tabular(network) => network.forward(inputs),
            Network::Residual(network) => network.forward(inputs).unsqueeze(),
            Network::Mixture(network) => network.forward(inputs),
        }
    }
}

#[cfg(test)]
impl Network {
    /// The same with one gate closed, where there are gates.
    pub(crate) fn with_gate_closed(self, input: i32) -> Network {
        match self {
            Network::Tabular(network) => {
                let inputs = network.inputs.with_gate_closed(input);
                Network::Tabular(Tabular { inputs, ..network })
            }
            Network::Mixture(network) => {
                let inputs = network.inputs.with_gate_closed(input);
                Network::Mixture(Mixture { inputs, ..network })
            }
            whole => whole,
        }
    }
}
