//! The settings of one network of an ensemble.

use serde::{Deserialize, Serialize};

use super::config::{ConfigError, expect};
use super::observer::Stage;
use crate::features::engineer::INPUT_COUNT;
use crate::model::networks::NetworkConfig;
use crate::model::networks::mixture::MixtureConfig;
use crate::model::networks::mlp::MlpConfig;
use crate::model::networks::residual::ResidualConfig;
use crate::model::networks::tabular::TabularConfig;

/// What a network is made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// Gates on the inputs, a piecewise-linear encoding, and packed networks.
    #[default]
    Tabular,
    /// The guide's: two hidden layers, the first with batch norm and dropout.
    Mlp,
    /// Residual blocks.
    Residual,
    /// A mixture of regions, over the same gates and encoding as the tabular network's.
    Mixture,
}

impl Architecture {
    /// What a network of this shape is made of.
    pub fn of(network: &NetworkConfig) -> Architecture {
        match network {
            NetworkConfig::Tabular(_) => Architecture::Tabular,
            NetworkConfig::Mlp(_) => Architecture::Mlp,
            NetworkConfig::Residual(_) => Architecture::Residual,
            NetworkConfig::Mixture(_) => Architecture::Mixture,
        }
    }
}

/// How one network is made and trained. What a file leaves out is the default of its stage and
/// architecture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MemberConfig {
    /// What it is made of.
    pub architecture: Architecture,
    /// How many of it are trained, each from its own weights.
    pub copies: usize,
    /// Passes over the training rows at most.
    pub epochs: usize,
    /// Steps at least that the passes together come to; small tables are passed over more often.
    pub least_steps: usize,
    /// Passes without a better validation metric before training ends.
    pub patience: usize,
    /// Rows a step; less where the table is small.
    pub batch_size: usize,
    /// Adam's learning rate after a short rise; it falls along a half cosine to a hundredth of it.
    pub learning_rate: f64,
    /// The decay of the weights a step, as a share of the learning rate.
    pub weight_decay: f64,
    /// What closes the gates of inputs that say nothing, as a share of the learning rate (tabular
    /// and mixture only).
    pub gate_penalty: f64,
    /// How far labels are moved towards "as often as not" (classifiers only).
    pub label_smoothing: f64,
    /// The norm at which a parameter's gradient is cut; 0 cuts none.
    pub gradient_clip: f32,
    /// Units of a hidden layer; of the guide's network, whose second layer has half as many, of the
    /// first; components of a mixture.
    pub units: usize,
    /// Hidden layers (tabular) or blocks (residual); the guide's network has two layers.
    pub layers: usize,
    /// The share of hidden units that is dropped while training; of inputs, in a mixture.
    pub dropout: f64,
    /// Networks side by side that share the gates and the encoding (tabular and mixture only).
    pub packed: usize,
    /// Bins an input of the piecewise-linear encoding at most, between quantiles; 0 for none
    /// (tabular and mixture only).
    pub bins: usize,
    /// Steps an input of the encoding at most, where the outcome changes; 0 for none (tabular
    /// and mixture classifiers only).
    pub splits: usize,
}

impl Default for MemberConfig {
    fn default() -> Self {
        MemberConfig::new(Stage::Classifier, Architecture::Tabular)
    }
}

impl MemberConfig {
    /// The default of a stage and architecture.
    pub fn new(stage: Stage, architecture: Architecture) -> MemberConfig {
        let guide = MemberConfig {
            architecture,
            copies: 1,
            epochs: 60,
            least_steps: 600,
            patience: 20,
            batch_size: 256,
            learning_rate: 0.01,
            weight_decay: 0.0,
            gate_penalty: 0.0,
            label_smoothing: 0.0,
            gradient_clip: 1.0,
            units: 128,
            layers: 2,
            dropout: 0.3,
            packed: 1,
            bins: 0,
            splits: 0,
        };
        match (architecture, stage) {
            (Architecture::Mlp, Stage::Classifier) => guide,
            (Architecture::Mlp, Stage::Regressor) => MemberConfig { dropout: 0.2, ..guide },
            (Architecture::Residual, _) => MemberConfig {
                units: 96,
                layers: 3,
                dropout: 0.2,
                learning_rate: 0.003,
                weight_decay: 0.3,
                ..guide
            },
            (Architecture::Tabular, Stage::Classifier) => MemberConfig {
                epochs: 16,
                patience: 8,
                least_steps: 1000,
                learning_rate: 0.02,
                weight_decay: 0.5,
                gate_penalty: 0.1,
                gradient_clip: 0.0,
                units: 64,
                layers: 3,
                dropout: 0.1,
                packed: 2,
                bins: 4,
                splits: 12,
                ..guide
            },
            (Architecture::Mixture, _) => MemberConfig {
                epochs: 12,
                patience: 8,
                least_steps: 1000,
                learning_rate: 0.02,
                weight_decay: 0.5,
                gate_penalty: 0.1,
                gradient_clip: 0.0,
                units: 24,
                dropout: 0.0,
                packed: 4,
                bins: 0,
                splits: 16,
                ..guide
            },
            (Architecture::Tabular, Stage::Regressor) => MemberConfig {
                epochs: 20,
                patience: 20,
                least_steps: 1000,
                weight_decay: 2.0,
                gate_penalty: 0.01,
                gradient_clip: 0.0,
                layers: 3,
                dropout: 0.0,
                ..guide
            },
        }
    }

    /// Checks every number; `table` is where it stands.
    pub(super) fn check(&self, table: &str) -> Result<(), ConfigError> {
        /// More of anything is a slip of the keyboard.
        const MOST: usize = 1_000_000;
        let counts = [
            ("copies", self.copies),
            ("epochs", self.epochs),
            ("patience", self.patience),
            ("batch_size", self.batch_size),
            ("units", self.units),
            ("layers", self.layers),
            ("packed", self.packed),
            // No bins and no least number of steps are no mistake.
            ("bins", self.bins + 1),
            ("splits", self.splits + 1),
            ("least_steps", self.least_steps + 1),
        ];
        for (name, count) in counts {
            let name = format!("{table}.{name}");
            expect(&name, (1..=MOST).contains(&count), "in 1..=1000000", count)?;
        }
        let rate = self.learning_rate;
        let name = format!("{table}.learning_rate");
        expect(&name, rate > 0.0 && rate <= 1.0, "above 0 and at most 1", rate)?;
        let shares = [
            ("weight_decay", self.weight_decay * rate, self.weight_decay),
            ("gate_penalty", self.gate_penalty * rate, self.gate_penalty),
        ];
        for (name, a_step, share) in shares {
            let name = format!("{table}.{name}");
            let expected = "0 or more, and less than 1 / learning_rate";
            expect(&name, (0.0..1.0).contains(&a_step), expected, share)?;
        }
        let clip = self.gradient_clip;
        let name = format!("{table}.gradient_clip");
        expect(&name, clip.is_finite() && clip >= 0.0, "0 or more", clip)?;
        for (name, share) in [("dropout", self.dropout), ("label_smoothing", self.label_smoothing)]
        {
            expect(&format!("{table}.{name}"), (0.0..1.0).contains(&share), "in 0..1", share)?;
        }
        Ok(())
    }

    /// The network that is trained, with so many bins of all inputs together.
    pub fn network(&self, outputs: usize, bins: usize) -> NetworkConfig {
        match self.architecture {
            Architecture::Mlp => NetworkConfig::Mlp(
                MlpConfig::new(INPUT_COUNT)
                    .with_outputs(outputs)
                    .with_first_units(self.units)
                    .with_second_units(self.units.div_ceil(2))
                    .with_dropout(self.dropout),
            ),
            Architecture::Residual => NetworkConfig::Residual(
                ResidualConfig::new(INPUT_COUNT)
                    .with_outputs(outputs)
                    .with_units(self.units)
                    .with_inner_units(self.units)
                    .with_blocks(self.layers)
                    .with_dropout(self.dropout),
            ),
            Architecture::Mixture => NetworkConfig::Mixture(
                MixtureConfig::new(INPUT_COUNT)
                    .with_outputs(outputs)
                    .with_bins(bins)
                    .with_packed(self.packed)
                    .with_components(self.units)
                    .with_dropout(self.dropout),
            ),
            Architecture::Tabular => NetworkConfig::Tabular(
                TabularConfig::new(INPUT_COUNT)
                    .with_outputs(outputs)
                    .with_bins(bins)
                    .with_packed(self.packed)
                    .with_units(self.units)
                    .with_layers(self.layers)
                    .with_dropout(self.dropout),
            ),
        }
    }
}
