//! The two trained networks of a checkpoint, and their file.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData, activation};
use burn_store::{ModuleSnapshot, SafetensorsStore};
use serde::{Deserialize, Serialize};

use super::mlp::{Mlp, MlpConfig};
use crate::features::engineer::INPUT_COUNT;

/// Rows that go through the networks at once: enough to fill a device, little enough to stay in
/// its caches.
const BATCH: usize = 4096;

/// What the networks of a checkpoint look like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NetworksConfig {
    /// The classifier. Its first output is the logit of P(converts); a second one, where there is
    /// one, helped in training and is not used.
    pub classifier: MlpConfig,
    /// The regressor, unless too few rows converted to train one.
    pub regressor: Option<RegressorConfig>,
}

/// What a regressor looks like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RegressorConfig {
    /// Its network.
    pub network: MlpConfig,
    /// The unit of its output in seconds: the median time of the rows that it learned from.
    pub unit_seconds: f32,
}

/// The trained networks.
#[derive(Module, Debug)]
pub struct Networks {
    classifier: Mlp,
    regressor: Option<Mlp>,
}

/// What the networks say of one conversation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Output {
    /// The logit of P(converts).
    pub logit: f32,
    /// The time to conversion in seconds, if there is a regressor.
    pub time_seconds: Option<f32>,
}

/// Why a file of weights cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The file is damaged, or of other networks.
    #[error("weights do not fit the networks of the manifest: {0}")]
    Unfit(String),
    /// The networks do not take the inputs that this program makes.
    #[error("expected networks with {INPUT_COUNT} inputs, but the {stage} has {found}")]
    Inputs {
        /// Which network.
        stage: &'static str,
        /// How many it has.
        found: usize,
    },
    /// A number in the manifest cannot be a network's.
    #[error("the {stage}'s {what} cannot be {value}")]
    Shape {
        /// Which network.
        stage: &'static str,
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
/// - `raw`, output: `[batch]`
pub fn time_units(raw: Tensor<1>) -> Tensor<1> {
    activation::softplus(raw, 1.0)
}

impl NetworksConfig {
    /// Checks what was read from a manifest, so that building the networks cannot panic.
    ///
    /// # Errors
    ///
    /// If a network does not have this program's inputs, or a size that cannot be.
    pub fn check(&self) -> Result<(), WeightsError> {
        check_network("classifier", &self.classifier)?;
        if let Some(regressor) = &self.regressor {
            check_network("regressor", &regressor.network)?;
            let unit = regressor.unit_seconds;
            if !(unit.is_finite() && unit > 0.0) {
                let (stage, value) = ("regressor", unit.to_string());
                return Err(WeightsError::Shape { stage, what: "unit in seconds", value });
            }
        }
        Ok(())
    }

    /// Networks of this shape with random weights.
    fn init(&self, device: &Device) -> Networks {
        Networks {
            classifier: self.classifier.init(device),
            regressor: self.regressor.as_ref().map(|regressor| regressor.network.init(device)),
        }
    }
}

fn check_network(stage: &'static str, network: &MlpConfig) -> Result<(), WeightsError> {
    /// Far beyond any network for 40 features, far below what memory holds.
    const MOST_UNITS: usize = 1_000_000;
    if network.inputs != INPUT_COUNT {
        return Err(WeightsError::Inputs { stage, found: network.inputs });
    }
    let units = [
        ("outputs", network.outputs),
        ("first layer", network.first_units),
        ("second layer", network.second_units),
    ];
    for (what, units) in units {
        if units == 0 || units > MOST_UNITS {
            return Err(WeightsError::Shape { stage, what, value: format!("{units} units") });
        }
    }
    if !(0.0..1.0).contains(&network.dropout) {
        let value = network.dropout.to_string();
        return Err(WeightsError::Shape { stage, what: "dropout", value });
    }
    Ok(())
}

impl Networks {
    /// Joins what the two stages trained.
    pub fn new(classifier: Mlp, regressor: Option<Mlp>) -> Networks {
        Networks { classifier, regressor }
    }

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

    /// Networks of the given shape with the weights of a safetensors file.
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
        let mut networks = config.init(device);
        let mut store = SafetensorsStore::from_bytes(Some(bytes)).validate(true);
        // The message is a dump of everything; the first line has the first tensor.
        networks.load_from(&mut store).map_err(|error| {
            let text: String = error.to_string().chars().take(200).collect();
            WeightsError::Unfit(text.lines().next().unwrap_or_default().to_owned())
        })?;
        Ok(networks.valid())
    }

    /// What the networks say of scaled rows.
    ///
    /// # Shapes
    ///
    /// - `rows`: `[conversations, INPUT_COUNT]`, row-major
    /// - output: one a conversation
    pub fn outputs(&self, rows: &[f32], unit_seconds: f32, device: &Device) -> Vec<Output> {
        rows.chunks(BATCH * INPUT_COUNT)
            .flat_map(|chunk| self.outputs_of_batch(chunk, unit_seconds, device))
            .collect()
    }

    fn outputs_of_batch(&self, rows: &[f32], unit_seconds: f32, device: &Device) -> Vec<Output> {
        let shape = [rows.len() / INPUT_COUNT, INPUT_COUNT];
        let inputs = Tensor::<2>::from_data(TensorData::new(rows.to_vec(), shape), device);
        let logits = floats(self.classifier.forward(inputs.clone()).narrow(1, 0, 1).flatten(0, 1));
        let times = self.regressor.as_ref().map(|regressor| {
            floats(time_units(regressor.forward(inputs).flatten(0, 1)) * unit_seconds)
        });
        let time = |row: usize| times.as_ref().map(|times| times[row]);
        logits
            .into_iter()
            .enumerate()
            .map(|(row, logit)| Output { logit, time_seconds: time(row) })
            .collect()
    }

    /// How many numbers the classifier and the regressor hold, running statistics among them.
    pub fn parameters(&self) -> (usize, Option<usize>) {
        (self.classifier.num_params(), self.regressor.as_ref().map(Module::num_params))
    }
}

/// The values of a tensor, read from its device.
pub fn floats(tensor: Tensor<1>) -> Vec<f32> {
    tensor.into_data().try_into_vec::<f32>().expect("networks compute in f32. This is a bug.")
}
