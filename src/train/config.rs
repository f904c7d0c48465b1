//! The training configuration: every number that a training run depends on.

use serde::{Deserialize, Serialize};

use super::member::{Architecture, MemberConfig};
use super::observer::Stage;
use crate::model::calibration::Method;
use crate::model::decision::Rule;
use crate::model::networks::Combination;

/// The share of rows that is held out unless it is given or the table is large.
const HELD_OUT: f64 = 0.2;
/// Held-out rows of the rarer class that say enough: the calibration and the distribution of times
/// are known well by then, and what a network would learn from more rows is worth more.
const ENOUGH_HELD_OUT: f64 = 1000.0;

/// A training run's settings. A TOML file may hold any part of them; the rest is the default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Seed of the split, the weights, the order of rows and the dropout.
    pub seed: u64,
    /// The share of rows that no network is trained on, in 0.05..=0.5; with folds it is not used.
    /// Absent: a fifth, or less of a large table; see [`TrainConfig::held_out_share`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_fraction: Option<f64>,
    /// With 2 or more, an ensemble is trained without each fold of the rows, all of them answer
    /// together, and what each says of its own fold fits what comes after. 1 holds out
    /// `valid_fraction` once, and 0 lets the number of rows decide.
    pub folds: usize,
    /// The reward that the decision maximises: `main`, `api` or `guide`.
    pub reward_spec: String,
    /// How the class is chosen: `reward`, or `threshold=` and a probability.
    pub decision: Rule,
    /// How the probabilities are calibrated; `none` for not at all. Absent: what cross-validation
    /// on the held-out rows finds best.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Method>,
    /// How the classifiers' opinions become one.
    pub combination: Combination,
    /// What the classifiers minimise.
    pub loss: ClassifierLoss,
    /// The weights of the reward loss.
    pub reward_loss: RewardLossConfig,
    /// What the regressors minimise.
    pub time_loss: TimeLoss,
    /// The networks of stage one.
    pub classifier: Vec<MemberConfig>,
    /// The networks of stage two. Of several, the one with the smallest error on held-out rows
    /// answers, or the mean of all, if that is nearer.
    pub regressor: Vec<MemberConfig>,
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
        let mixture = MemberConfig::new(Stage::Classifier, Architecture::Mixture);
        TrainConfig {
            seed: 7,
            valid_fraction: None,
            folds: 0,
            reward_spec: "main".to_owned(),
            decision: Rule::Reward,
            calibration: None,
            combination: Combination::default(),
            loss: ClassifierLoss::default(),
            reward_loss: RewardLossConfig::default(),
            time_loss: TimeLoss::default(),
            // Measured in benches/peers: the mixtures find the borders, the tabular network what
            // is smooth, and together they are better than either.
            classifier: vec![
                MemberConfig { copies: 2, ..mixture },
                MemberConfig::new(Stage::Classifier, Architecture::Tabular),
            ],
            // One for noisy times and one for exact ones; validation says which of them answers.
            regressor: vec![
                MemberConfig::new(Stage::Regressor, Architecture::Tabular),
                MemberConfig {
                    epochs: 60,
                    patience: 60,
                    weight_decay: 0.5,
                    ..MemberConfig::new(Stage::Regressor, Architecture::Tabular)
                },
            ],
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
        let mut config = toml::from_str::<TrainConfig>(text)?;
        // Then each network once more, laid over the defaults of its own kind.
        let table: toml::Table = toml::from_str(text)?;
        for (stage, members) in
            [(Stage::Classifier, &mut config.classifier), (Stage::Regressor, &mut config.regressor)]
        {
            let stated = table.get(&stage.to_string()).and_then(toml::Value::as_array);
            for (member, stated) in members.iter_mut().zip(stated.into_iter().flatten()) {
                let default = MemberConfig::new(stage, member.architecture);
                let mut settings = toml::Table::try_from(default)
                    .map_err(<toml::de::Error as serde::de::Error>::custom)?;
                settings.extend(stated.as_table().cloned().unwrap_or_default());
                *member = settings.try_into()?;
            }
        }
        Ok(config)
    }

    /// The networks of a stage.
    pub fn members(&self, stage: Stage) -> &[MemberConfig] {
        match stage {
            Stage::Classifier => &self.classifier,
            Stage::Regressor => &self.regressor,
        }
    }

    /// The share of rows to hold out of a table with so many different ones of the rarer class.
    pub fn held_out_share(&self, rarer: usize) -> f64 {
        self.valid_fraction.unwrap_or_else(|| HELD_OUT.min(ENOUGH_HELD_OUT / rarer.max(1) as f64))
    }

    /// Checks every number.
    ///
    /// # Errors
    ///
    /// The first setting that cannot be.
    pub fn check(&self) -> Result<(), ConfigError> {
        if let Some(share) = self.valid_fraction {
            expect("valid_fraction", (0.05..=0.5).contains(&share), "in 0.05..=0.5", share)?;
        }
        // TOML has no larger numbers.
        expect("seed", i64::try_from(self.seed).is_ok(), "at most 2^63 - 1", self.seed)?;
        expect("folds", self.folds <= 100, "in 0..=100", self.folds)?;
        if let Rule::Threshold(threshold) = self.decision {
            expect("decision", (0.0..=1.0).contains(&threshold), "in 0..=1", threshold)?;
        }
        for stage in [Stage::Classifier, Stage::Regressor] {
            let members = self.members(stage);
            let copies: usize = members.iter().map(|member| member.copies.min(1000)).sum();
            expect(&stage.to_string(), (1..=100).contains(&copies), "1 to 100 networks", copies)?;
            for member in members {
                member.check(&stage.to_string())?;
            }
        }
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

pub(super) fn expect(
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
        let text =
            "seed = 3\nloss = \"reward\"\n[[regressor]]\narchitecture = \"mlp\"\nepochs = 5\n";
        let config = TrainConfig::from_toml(text).unwrap();
        let default = TrainConfig::default();
        assert_eq!(config.seed, 3);
        assert_eq!(config.loss, ClassifierLoss::Reward);
        assert_eq!(config.classifier, default.classifier);
        // The defaults of the stage's own guide network, not those of another.
        let mlp = MemberConfig::new(Stage::Regressor, Architecture::Mlp);
        assert_eq!(config.regressor, [MemberConfig { epochs: 5, ..mlp }]);
        assert_eq!(TrainConfig::from_toml("").unwrap(), TrainConfig::default());
    }

    #[test]
    fn large_tables_hold_out_less() {
        let default = TrainConfig::default();
        for (rarer, expected) in [(0, 0.2), (5000, 0.2), (10_000, 0.1), (1_000_000, 0.001)] {
            assert_eq!(default.held_out_share(rarer), expected, "{rarer}");
        }
        let asked = TrainConfig { valid_fraction: Some(0.3), ..default };
        assert_eq!(asked.held_out_share(1_000_000), 0.3);
    }

    #[test]
    fn what_is_written_is_read() {
        let config = TrainConfig {
            decision: Rule::Threshold(0.25),
            calibration: Some(Method::Platt),
            ..TrainConfig::default()
        };
        let text = toml::to_string(&config).unwrap();
        assert_eq!(TrainConfig::from_toml(&text).unwrap(), config, "{text}");
    }

    #[test]
    fn a_mistake_in_a_file_is_shown() {
        for (text, expected) in [
            ("sed = 3", "unknown field `sed`"),
            ("[[classifier]]\nepoch = 3", "unknown field `epoch`"),
            ("[classifier]\nepochs = 3", "expected a sequence"),
            ("[[classifier]]\narchitecture = \"forest\"", "unknown variant `forest`"),
            ("seed = \"x\"", "expected u64"),
            ("loss = \"hinge\"", "unknown variant `hinge`"),
            ("decision = \"coin\"", "`reward` or `threshold=`"),
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
            ("folds = 1000", "folds should be in 0..=100, but is 1000"),
            ("classifier = []", "classifier should be 1 to 100 networks, but is 0"),
            (
                "[[classifier]]\nbatch_size = 0",
                "classifier.batch_size should be in 1..=1000000, but is 0",
            ),
            ("[[regressor]]\ndropout = 1.0", "regressor.dropout should be in 0..1, but is 1"),
            (
                "[[classifier]]\nlearning_rate = nan",
                "classifier.learning_rate should be above 0 and at most 1, but is NaN",
            ),
            ("[reward_loss]\nclass = -1.0", "reward_loss.class should be 0 or more, but is -1"),
        ] {
            let config = TrainConfig::from_toml(text).unwrap();
            assert_eq!(config.check().unwrap_err().to_string(), expected);
        }
    }
}
