//! The training configuration: every number that a training run depends on.

use serde::{Deserialize, Serialize};

use crate::features::engineer::INPUT_COUNT;
use crate::model::mlp::MlpConfig;

/// A training run's settings. A TOML file may hold any part of them; the rest is the default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Seed of the split, the weights, the order of rows and the dropout.
    pub seed: u64,
    /// The share of rows that no network is trained on, in 0.05..=0.5.
    pub valid_fraction: f64,
    /// The reward that the decision maximises: `main`, `api` or `guide`.
    pub reward_spec: String,
    /// Stage one.
    pub classifier: StageConfig,
    /// What stage one minimises.
    pub loss: ClassifierLoss,
    /// The weights of the reward loss.
    pub reward_loss: RewardLossConfig,
    /// Stage two.
    pub regressor: StageConfig,
    /// What stage two minimises.
    pub time_loss: TimeLoss,
}

/// How one network is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StageConfig {
    /// Passes over the training rows at most.
    pub epochs: usize,
    /// Passes without a better validation metric before the stage ends.
    pub patience: usize,
    /// Rows a step.
    pub batch_size: usize,
    /// Adam's learning rate at the start; it falls along a half cosine to a hundredth of it.
    pub learning_rate: f64,
    /// The norm at which a parameter's gradient is cut.
    pub gradient_clip: f32,
    /// Units of the first, normalised layer.
    pub first_units: usize,
    /// Units of the second layer.
    pub second_units: usize,
    /// The share of the first layer's units that is dropped while training.
    pub dropout: f64,
}

/// What the classifier minimises.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClassifierLoss {
    /// Binary cross-entropy.
    #[default]
    Bce,
    /// The guide's RewardOptimizedLoss.
    Reward,
}

/// What the regressor minimises, over times in units of their median.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TimeLoss {
    /// The mean absolute error: its minimum is the median.
    #[default]
    L1,
    /// Quadratic up to an error of 5 s, linear beyond.
    Huber,
    /// The mean squared error.
    Mse,
}

/// The weights of the guide's RewardOptimizedLoss.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RewardLossConfig {
    /// Of the class: binary cross-entropy.
    pub class: f64,
    /// Of the time: mean squared error over the converted rows.
    pub regression: f64,
    /// Of the diversity: 1 - |confidence - 0.5|.
    pub diversity: f64,
    /// The unit in which the time's error is squared, in seconds: the reward's window.
    pub time_unit_seconds: f64,
}

/// A setting that cannot be.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{name} should be {expected}, but is {found}")]
pub struct ConfigError {
    /// The setting, with the table it is in.
    pub name: String,
    /// What it may be.
    pub expected: &'static str,
    /// What it is.
    pub found: String,
}

impl Default for TrainConfig {
    fn default() -> Self {
        TrainConfig {
            seed: 7,
            valid_fraction: 0.2,
            reward_spec: "main".to_owned(),
            classifier: StageConfig::default(),
            loss: ClassifierLoss::default(),
            reward_loss: RewardLossConfig::default(),
            regressor: StageConfig { dropout: 0.2, ..StageConfig::default() },
            time_loss: TimeLoss::default(),
        }
    }
}

impl Default for StageConfig {
    fn default() -> Self {
        StageConfig {
            epochs: 60,
            patience: 20,
            batch_size: 256,
            learning_rate: 0.01,
            gradient_clip: 1.0,
            first_units: 128,
            second_units: 64,
            dropout: 0.3,
        }
    }
}

impl Default for RewardLossConfig {
    fn default() -> Self {
        RewardLossConfig {
            class: 0.55,
            regression: 0.35,
            diversity: 0.10,
            time_unit_seconds: crate::subnet::reward::TIME_WINDOW_SECONDS,
        }
    }
}

impl TrainConfig {
    /// Reads a configuration in TOML; what it does not say keeps its default.
    ///
    /// # Errors
    ///
    /// If it is no TOML, or a setting is unknown or of a wrong type; the line is in the message.
    pub fn from_toml(text: &str) -> Result<TrainConfig, toml::de::Error> {
        // Read as it is first, for errors with a line.
        toml::from_str::<TrainConfig>(text)?;
        // Then laid over the defaults: the two stages differ in theirs, which serde's defaults of
        // one struct cannot say.
        let mut settings = toml::Table::try_from(TrainConfig::default())
            .map_err(<toml::de::Error as serde::de::Error>::custom)?;
        lay_over(&mut settings, toml::from_str(text)?);
        settings.try_into()
    }

    /// Checks every number.
    ///
    /// # Errors
    ///
    /// The first setting that cannot be.
    pub fn check(&self) -> Result<(), ConfigError> {
        expect(
            "valid_fraction",
            (0.05..=0.5).contains(&self.valid_fraction),
            "in 0.05..=0.5",
            self.valid_fraction,
        )?;
        self.classifier.check("classifier")?;
        self.regressor.check("regressor")?;
        let weights = [
            ("class", self.reward_loss.class),
            ("regression", self.reward_loss.regression),
            ("diversity", self.reward_loss.diversity),
        ];
        for (name, weight) in weights {
            let name = format!("reward_loss.{name}");
            expect(&name, weight.is_finite() && weight >= 0.0, "0 or more", weight)?;
        }
        let unit = self.reward_loss.time_unit_seconds;
        expect("reward_loss.time_unit_seconds", unit.is_finite() && unit > 0.0, "positive", unit)
    }
}

impl StageConfig {
    fn check(&self, table: &str) -> Result<(), ConfigError> {
        /// More of anything is a slip of the keyboard.
        const MOST: usize = 1_000_000;
        let counts = [
            ("epochs", self.epochs),
            ("patience", self.patience),
            ("batch_size", self.batch_size),
            ("first_units", self.first_units),
            ("second_units", self.second_units),
        ];
        for (name, count) in counts {
            let name = format!("{table}.{name}");
            expect(&name, (1..=MOST).contains(&count), "in 1..=1000000", count)?;
        }
        let rate = self.learning_rate;
        expect(
            &format!("{table}.learning_rate"),
            rate > 0.0 && rate <= 1.0,
            "above 0 and at most 1",
            rate,
        )?;
        let clip = self.gradient_clip;
        let sound = clip.is_finite() && clip > 0.0;
        expect(&format!("{table}.gradient_clip"), sound, "positive", clip)?;
        let dropout = self.dropout;
        expect(&format!("{table}.dropout"), (0.0..1.0).contains(&dropout), "in 0..1", dropout)
    }

    /// The network that this stage trains.
    pub fn network(&self, outputs: usize) -> MlpConfig {
        MlpConfig::new(INPUT_COUNT)
            .with_outputs(outputs)
            .with_first_units(self.first_units)
            .with_second_units(self.second_units)
            .with_dropout(self.dropout)
    }
}

/// Replaces what `above` says, table by table.
fn lay_over(below: &mut toml::Table, above: toml::Table) {
    for (key, value) in above {
        match (below.get_mut(&key), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(above)) => lay_over(below, above),
            (_, value) => {
                below.insert(key, value);
            }
        }
    }
}

fn expect(
    name: &str,
    holds: bool,
    expected: &'static str,
    found: impl ToString,
) -> Result<(), ConfigError> {
    if holds {
        return Ok(());
    }
    Err(ConfigError { name: name.to_owned(), expected, found: found.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_sound() {
        assert_eq!(TrainConfig::default().check(), Ok(()));
    }

    #[test]
    fn a_file_may_hold_a_part() {
        let text = "seed = 3\nloss = \"reward\"\n[regressor]\nepochs = 5\n";
        let config = TrainConfig::from_toml(text).unwrap();
        let default = TrainConfig::default();
        assert_eq!(config.seed, 3);
        assert_eq!(config.loss, ClassifierLoss::Reward);
        assert_eq!(config.classifier, default.classifier);
        // The stage's own default, not the other one's.
        assert_eq!(config.regressor, StageConfig { epochs: 5, ..default.regressor });
        assert_eq!(TrainConfig::from_toml("").unwrap(), TrainConfig::default());
    }

    #[test]
    fn a_mistake_in_a_file_is_shown() {
        for (text, expected) in [
            ("sed = 3", "unknown field `sed`"),
            ("[classifier]\nepoch = 3", "unknown field `epoch`"),
            ("seed = \"x\"", "expected u64"),
            ("loss = \"hinge\"", "unknown variant `hinge`"),
            ("seed = ", "line 1"),
        ] {
            let error = TrainConfig::from_toml(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn each_bad_number_is_named() {
        for (text, expected) in [
            ("valid_fraction = 0.9", "valid_fraction should be in 0.05..=0.5, but is 0.9"),
            ("valid_fraction = nan", "valid_fraction should be in 0.05..=0.5, but is NaN"),
            (
                "[classifier]\nbatch_size = 0",
                "classifier.batch_size should be in 1..=1000000, but is 0",
            ),
            ("[regressor]\ndropout = 1.0", "regressor.dropout should be in 0..1, but is 1"),
            (
                "[classifier]\nlearning_rate = nan",
                "classifier.learning_rate should be above 0 and at most 1, but is NaN",
            ),
            ("[reward_loss]\nclass = -1.0", "reward_loss.class should be 0 or more, but is -1"),
        ] {
            let config = TrainConfig::from_toml(text).unwrap();
            assert_eq!(config.check().unwrap_err().to_string(), expected);
        }
    }
}
