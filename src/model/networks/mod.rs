//! The trained networks of a checkpoint, and their file.

pub mod gated;
pub mod lean;
pub mod mixture;
pub mod mlp;
pub mod network;
pub mod piecewise;
pub mod residual;
pub mod tabular;

use burn::module::Module;
use burn::tensor::{Device, Tensor, activation};
use burn_store::{ModuleSnapshot, SafetensorsStore};
use serde::{Deserialize, Serialize};

pub use network::{Network, NetworkConfig};

/// What the networks of a checkpoint look like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NetworksConfig {
    /// How the classifiers' opinions become one.
    pub combination: Combination,
    /// The classifiers; none where a small table does not bear them, and the baseline says whether
    /// a conversation converts. The first output of each is the logit of P(converts); a second one, where
    /// there is one, helped in training and is not used.
    pub classifiers: Vec<Member>,
    /// The regressors; none if too few rows converted to train them.
    pub regressors: Vec<Member>,
    /// The unit of the regressors' outputs in seconds: the median time of the rows that they
    /// learned from.
    pub unit_seconds: f32,
}

/// One network's place in an ensemble.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// Its name in reports.
    pub name: String,
    /// Its share of the ensemble's opinion; the shares of a stage sum to 1.
    pub weight: f32,
    /// Its shape.
    pub network: NetworkConfig,
}

/// How classifiers' opinions become one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Combination {
    /// The mean of their probabilities.
    #[default]
    Probabilities,
    /// The probability of the mean of their logits.
    Logits,
}

/// The trained networks.
#[derive(Module, Debug)]
pub struct Networks {
    /// As many as [`NetworksConfig::classifiers`].
    pub classifiers: Vec<Network>,
    /// As many as [`NetworksConfig::regressors`].
    pub regressors: Vec<Network>,
}

/// Why a file of weights cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The file is damaged, or of other networks.
    #[error("weights do not fit the networks of the manifest: {0}")]
    Unfit(String),
    /// The networks do not take the inputs that this program makes.
    #[error(
        "expected networks with {inputs} inputs, but {network} has {found}",
        inputs = crate::features::engineer::INPUT_COUNT
    )]
    Inputs {
        /// Which network.
        network: String,
        /// How many it has.
        found: usize,
    },
    /// A number in the manifest cannot be a network's.
    #[error("the {what} of {network} cannot be {value}")]
    Shape {
        /// Which network.
        network: String,
        /// Which number.
        what: &'static str,
        /// What it is.
        value: String,
    },
}

/// The time in units from a regressor's raw output: positive, and nearly linear from 1 on.
///
/// # Shapes
///
/// - `raw`, output: any
pub fn time_units<const D: usize>(raw: Tensor<D>) -> Tensor<D> {
    activation::softplus(raw, 1.0)
}

impl NetworksConfig {
    /// Checks what was read from a manifest, so that building the networks cannot panic.
    ///
    /// # Errors
    ///
    /// If there is no network, one does not have this program's inputs, or a number
    /// cannot be.
    pub fn check(&self) -> Result<(), WeightsError> {
        let shape = |network: &str, what, value: String| WeightsError::Shape {
            network: network.to_owned(),
            what,
            value,
        };
        if self.classifiers.is_empty() && self.regressors.is_empty() {
            return Err(shape("the ensemble", "number of networks", "0".to_owned()));
        }
        for Member { name, weight, network } in self.classifiers.iter().chain(&self.regressors) {
            network.check(name)?;
            if !(0.0..=1.0).contains(weight) {
                return Err(shape(name, "weight", weight.to_string()));
            }
        }
        if !(self.unit_seconds.is_finite() && self.unit_seconds > 0.0) {
            let value = self.unit_seconds.to_string();
            return Err(shape("the regressors", "unit in seconds", value));
        }
        Ok(())
    }

    /// Networks of these shapes that wait for weights.
    fn blank(&self, device: &Device) -> Networks {
        let blank = |members: &[Member]| {
            members.iter().map(|member| member.network.blank(device)).collect()
        };
        Networks { classifiers: blank(&self.classifiers), regressors: blank(&self.regressors) }
    }
}

impl Networks {
    /// The weights as a safetensors file. The same weights give the same bytes.
    ///
    /// # Errors
    ///
    /// If a tensor cannot be read from its device.
    pub fn to_safetensors(&self) -> Result<Vec<u8>, WeightsError> {
        // Without metadata: its entries would come in a random order.
        let mut store = SafetensorsStore::from_bytes(None).clear_metadata();
        self.save_into(&mut store).map_err(|error| WeightsError::Unfit(error.to_string()))?;
        store.get_bytes().map_err(|error| WeightsError::Unfit(error.to_string()))
    }

    /// Networks of the given shapes with the weights of a safetensors file.
    ///
    /// # Errors
    ///
    /// If the file is damaged or a tensor is missing or has another shape.
    pub fn from_safetensors(
        bytes: Vec<u8>,
        config: &NetworksConfig,
        device: &Device,
    ) -> Result<Networks, WeightsError> {
        config.check()?;
        let mut networks = config.blank(device);
        let mut store = SafetensorsStore::from_bytes(Some(bytes)).validate(true);
        // The message is a dump of everything; the first line has the first tensor.
        networks.load_from(&mut store).map_err(|error| {
            let text: String = error.to_string().chars().take(200).collect();
            WeightsError::Unfit(text.lines().next().unwrap_or_default().to_owned())
        })?;
        if !networks.classifiers.iter().chain(&networks.regressors).all(Network::is_sound) {
            let reason = "an encoding has a bin of an input that there is not";
            return Err(WeightsError::Unfit(reason.to_owned()));
        }
        Ok(networks.valid())
    }
}

/// The values of a tensor, read from its device.
pub fn floats(tensor: Tensor<1>) -> Vec<f32> {
    tensor.into_data().try_into_vec::<f32>().expect("networks compute in f32. This is a bug.")
}
