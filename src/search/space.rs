//! What is searched, and how the configuration of a trial is drawn.
//!
//! Trial 0 is the start: the default configuration, or the one that was named. Of the others half
//! are near it: its own networks, of whose numbers about every fourth is drawn anew. The other half
//! are anywhere: one to three kinds of classifiers and one or two of regressors, of any
//! architecture, each with about half of its numbers drawn anew and the default of its kind for the
//! rest. The numbers and their ranges are the one table [`SPACE`]:
//!
//! | number | of | range |
//! | --- | --- | --- |
//! | `learning_rate` | all | 0.001 to 0.05, evenly in its logarithm |
//! | `weight_decay` | all | 0, or 0.05 to 3, evenly in its logarithm |
//! | `batch_size` | all | 128, 256, 512 or 1024 |
//! | `epochs` | all | 8, 12, 16, 24, 40 or 60; the patience keeps its share of them |
//! | `copies` | all | 1 to 3 |
//! | `gradient_clip` | all | 0 or 1 |
//! | `label_smoothing` | classifiers | 0, or 0.005 to 0.1, evenly in its logarithm |
//! | `units` | tabular, mlp, residual | 32, 48, 64, 96, 128, 192 or 256 |
//! | `units` | mixture | 8, 12, 16, 24, 32 or 48 |
//! | `layers` | tabular, residual | 1 to 4 |
//! | `dropout` | tabular, mlp, residual | 0 to 0.4 |
//! | `dropout` | mixture | 0 to 0.2 |
//! | `packed` | tabular, mixture | 1, 2, 4 or 8 |
//! | `bins` | tabular, mixture | 0, 4, 8 or 16 |
//! | `splits` | tabular classifiers | 0, 4, 8, 12, 16 or 24 |
//! | `splits` | mixture | 8, 12, 16 or 24 |
//! | `gate_penalty` | tabular, mixture | 0, or 0.003 to 0.3, evenly in its logarithm |
//!
//! Of the run as a whole the `combination` and the `time_loss` (`l1` or `huber`) are drawn anew as
//! often as the numbers. All else is the start's: what is measured, and on which rows, must be the
//! same for all trials. A mixture finds the borders between classes, so regressors are none.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

use crate::model::networks::Combination;
use crate::train::config::TimeLoss;
use crate::train::member::{Architecture, MemberConfig};
use crate::train::observer::Stage;
use crate::train::{TrainConfig, work};

/// The folds of a table that is too small for one held-out part: without a number of them, training
/// would compare models of its own in place of the trial's.
const FOLDS_OF_SMALL: usize = 5;
/// No trial costs more than so many times what the start does, by a rough count.
const MOST_COST: f64 = 4.0;
/// Draws until a trial is taken that costs more.
const DRAWS: usize = 50;
/// Rows of the training whose cost is reckoned: a large table and a small one have the same trials.
const COST_ROWS: usize = 10_000;
/// What a step costs whatever its size, in multiply-adds.
const COST_STEP: f64 = 2e6;
/// Trials that say which space it is.
const SAMPLES: usize = 32;
/// The chance of a number near the start to be drawn anew, and that of one anywhere.
const CHANCES: (f64, f64) = (0.25, 0.5);
/// Significant digits of a number that is drawn: more say nothing, and are no joy to read.
const DIGITS: i32 = 2;

/// How a number is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Range {
    /// One of these.
    OneOf(&'static [f64]),
    /// Between two bounds.
    Even(f64, f64),
    /// Between two bounds, evenly in the logarithm.
    Log(f64, f64),
    /// 0 in every fourth draw, or else between two bounds, evenly in the logarithm.
    ZeroOrLog(f64, f64),
}

/// One number of a network that is searched.
#[derive(Debug)]
struct Dimension {
    /// Its name in a configuration.
    name: &'static str,
    /// The stages whose networks have it.
    stages: &'static [Stage],
    /// The architectures that have it.
    architectures: &'static [Architecture],
    /// What it may be.
    range: Range,
    /// Puts it into a configuration.
    set: fn(&mut MemberConfig, f64),
}

const BOTH: &[Stage] = &[Stage::Classifier, Stage::Regressor];
const CLASSIFIER: &[Stage] = &[Stage::Classifier];
const ANY: &[Architecture] =
    &[Architecture::Tabular, Architecture::Mlp, Architecture::Residual, Architecture::Mixture];
const HIDDEN: &[Architecture] = &[Architecture::Tabular, Architecture::Mlp, Architecture::Residual];
const DEEP: &[Architecture] = &[Architecture::Tabular, Architecture::Residual];
const GATED: &[Architecture] = &[Architecture::Tabular, Architecture::Mixture];
const TABULAR: &[Architecture] = &[Architecture::Tabular];
const MIXTURE: &[Architecture] = &[Architecture::Mixture];

/// A row of the table.
const fn dimension(
    name: &'static str,
    stages: &'static [Stage],
    architectures: &'static [Architecture],
    range: Range,
    set: fn(&mut MemberConfig, f64),
) -> Dimension {
    Dimension { name, stages, architectures, range, set }
}

/// All that is searched of a network; see the documentation of the module.
static SPACE: [Dimension; 17] = {
    use Range::{Even, Log, OneOf, ZeroOrLog};
    const UNITS: Range = OneOf(&[32.0, 48.0, 64.0, 96.0, 128.0, 192.0, 256.0]);
    const COMPONENTS: Range = OneOf(&[8.0, 12.0, 16.0, 24.0, 32.0, 48.0]);
    [
        dimension("learning_rate", BOTH, ANY, Log(0.001, 0.05), |m, x| m.learning_rate = x),
        dimension("weight_decay", BOTH, ANY, ZeroOrLog(0.05, 3.0), |m, x| m.weight_decay = x),
        dimension("batch_size", BOTH, ANY, OneOf(&[128.0, 256.0, 512.0, 1024.0]), |m, x| {
            m.batch_size = x as usize;
        }),
        dimension("epochs", BOTH, ANY, OneOf(&[8.0, 12.0, 16.0, 24.0, 40.0, 60.0]), |m, x| {
            let epochs = x as usize;
            m.patience = (m.patience * epochs).div_ceil(m.epochs.max(1)).max(1);
            m.epochs = epochs;
        }),
        dimension("copies", BOTH, ANY, OneOf(&[1.0, 2.0, 3.0]), |m, x| m.copies = x as usize),
        dimension("gradient_clip", BOTH, ANY, OneOf(&[0.0, 1.0]), |m, x| {
            m.gradient_clip = x as f32;
        }),
        dimension("label_smoothing", CLASSIFIER, ANY, ZeroOrLog(0.005, 0.1), |m, x| {
            m.label_smoothing = x;
        }),
        dimension("units", BOTH, HIDDEN, UNITS, |m, x| m.units = x as usize),
        dimension("units", BOTH, MIXTURE, COMPONENTS, |m, x| m.units = x as usize),
        dimension("layers", BOTH, DEEP, OneOf(&[1.0, 2.0, 3.0, 4.0]), |m, x| {
            m.layers = x as usize;
        }),
        dimension("dropout", BOTH, HIDDEN, Even(0.0, 0.4), |m, x| m.dropout = x),
        dimension("dropout", BOTH, MIXTURE, Even(0.0, 0.2), |m, x| m.dropout = x),
        dimension("packed", BOTH, GATED, OneOf(&[1.0, 2.0, 4.0, 8.0]), |m, x| {
            m.packed = x as usize;
        }),
        dimension("bins", BOTH, GATED, OneOf(&[0.0, 4.0, 8.0, 16.0]), |m, x| m.bins = x as usize),
        dimension(
            "splits",
            CLASSIFIER,
            TABULAR,
            OneOf(&[0.0, 4.0, 8.0, 12.0, 16.0, 24.0]),
            |m, x| m.splits = x as usize,
        ),
        dimension("splits", CLASSIFIER, MIXTURE, OneOf(&[8.0, 12.0, 16.0, 24.0]), |m, x| {
            m.splits = x as usize;
        }),
        dimension("gate_penalty", BOTH, GATED, ZeroOrLog(0.003, 0.3), |m, x| m.gate_penalty = x),
    ]
};

/// Where trials are drawn from.
#[derive(Debug, Clone)]
pub(super) struct Space {
    start: TrainConfig,
    seed: u64,
    /// The folds of every trial but the start.
    folds: usize,
}

impl Space {
    /// The space around a start. In a small table its networks are trained on folds.
    pub(super) fn new(start: TrainConfig, seed: u64, is_small: bool) -> Space {
        let folds = if is_small && start.folds == 0 { FOLDS_OF_SMALL } else { start.folds };
        Space { start, seed, folds }
    }

    /// The configuration of a trial: of the seed, its number and the start, and of nothing else.
    pub(super) fn trial(&self, number: usize) -> TrainConfig {
        if number == 0 {
            return self.start.clone();
        }
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        random.set_stream(number as u64);
        let most = MOST_COST * cost(&self.start);
        // The start has its trial already.
        let cost = |config: &TrainConfig| match self.is_start(config) {
            true => f64::INFINITY,
            false => cost(config),
        };
        let mut cheapest = self.draw(&mut random);
        for _ in 1..DRAWS {
            if cost(&cheapest) <= most {
                break;
            }
            let other = self.draw(&mut random);
            if cost(&other) < cost(&cheapest) {
                cheapest = other;
            }
        }
        cheapest
    }

    /// Whether a configuration is that of the start, but for the folds.
    fn is_start(&self, config: &TrainConfig) -> bool {
        TrainConfig { folds: self.start.folds, ..config.clone() } == self.start
    }

    /// A name of the space: with another one, the same number may mean another trial. Some trials
    /// are part of it, for they rest on more than the table, such as the defaults of networks.
    pub(super) fn sha256(&self) -> String {
        let trials: Vec<TrainConfig> = (0..SAMPLES).map(|number| self.trial(number)).collect();
        let mut text = format!("{trials:?}");
        for Dimension { name, stages, architectures, range, .. } in &SPACE {
            text.push_str(&format!("; {name} {stages:?} {architectures:?} {range:?}"));
        }
        hex::encode(Sha256::digest(text))
    }

    fn draw(&self, random: &mut ChaCha8Rng) -> TrainConfig {
        let mut config = TrainConfig { folds: self.folds, ..self.start.clone() };
        let is_near = random.random_bool(0.5);
        let chance = if is_near { CHANCES.0 } else { CHANCES.1 };
        for stage in [Stage::Classifier, Stage::Regressor] {
            let members = match stage {
                Stage::Classifier => &mut config.classifier,
                Stage::Regressor => &mut config.regressor,
            };
            if !is_near {
                *members = kinds(stage, random);
            }
            for member in members {
                redraw(stage, member, chance, random);
            }
        }
        if random.random_bool(chance) {
            config.combination =
                [Combination::Probabilities, Combination::Logits][random.random_range(0..2)];
        }
        if random.random_bool(chance) {
            config.time_loss = [TimeLoss::L1, TimeLoss::Huber][random.random_range(0..2)];
        }
        config
    }
}

/// What training costs, roughly and before it was done, in multiply-adds.
fn cost(config: &TrainConfig) -> f64 {
    let work = work(config, COST_ROWS);
    work.rows * work.multiply_adds_per_row + COST_STEP * work.steps
}

/// The networks of a stage, as they are by default: each kind once.
fn kinds(stage: Stage, random: &mut ChaCha8Rng) -> Vec<MemberConfig> {
    let (mut left, most) = match stage {
        Stage::Classifier => (ANY.to_vec(), 3),
        Stage::Regressor => (HIDDEN.to_vec(), 2),
    };
    let count = random.random_range(1..=most);
    let one = |_| {
        let architecture = left.swap_remove(random.random_range(0..left.len()));
        MemberConfig::new(stage, architecture)
    };
    (0..count).map(one).collect()
}

/// Draws numbers of a network anew, each with this chance.
fn redraw(stage: Stage, member: &mut MemberConfig, chance: f64, random: &mut ChaCha8Rng) {
    let of_member = |it: &&Dimension| {
        it.stages.contains(&stage) && it.architectures.contains(&member.architecture)
    };
    let dimensions: Vec<&Dimension> = SPACE.iter().filter(of_member).collect();
    for dimension in dimensions {
        if random.random_bool(chance) {
            (dimension.set)(member, dimension.range.draw(random));
        }
    }
}

impl Range {
    fn draw(self, random: &mut ChaCha8Rng) -> f64 {
        let drawn = match self {
            Range::OneOf(values) => return values[random.random_range(0..values.len())],
            Range::Even(low, high) => random.random_range(low..=high),
            Range::ZeroOrLog(..) if random.random_bool(0.25) => 0.0,
            Range::Log(low, high) | Range::ZeroOrLog(low, high) => {
                libm::exp(random.random_range(libm::log(low)..=libm::log(high)))
            }
        };
        rounded(drawn)
    }
}

/// A number with few digits.
fn rounded(number: f64) -> f64 {
    // Through text: no power of ten has to be exact.
    format!("{number:.*e}", DIGITS.unsigned_abs() as usize - 1).parse().unwrap_or(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(seed: u64) -> Space {
        Space::new(TrainConfig::default(), seed, false)
    }

    #[test]
    fn the_start_is_trial_0() {
        assert_eq!(space(1).trial(0), TrainConfig::default());
        let small = Space::new(TrainConfig::default(), 1, true);
        assert_eq!(small.trial(0), TrainConfig::default());
        assert_eq!(small.trial(1).folds, FOLDS_OF_SMALL);
        assert_eq!(space(1).trial(1).folds, 0);
    }

    #[test]
    fn seed_and_number_decide() {
        let all = |seed| (0..50).map(|number| space(seed).trial(number)).collect::<Vec<_>>();
        assert_eq!(all(1), all(1));
        let (one, other) = (all(1), all(2));
        for number in 1..50 {
            assert_ne!(one[number], other[number], "{number}");
            assert!(!one[..number].contains(&one[number]), "{number} is there twice");
        }
    }

    #[test]
    fn every_trial_can_be_trained() {
        let most = MOST_COST * cost(&TrainConfig::default());
        for seed in 0..4 {
            for number in 1..250 {
                let config = space(seed).trial(number);
                assert_eq!(config.check(), Ok(()), "{config:?}");
                assert!(cost(&config) <= most, "{config:?}");
                let text = toml::to_string(&config).unwrap();
                assert_eq!(TrainConfig::from_toml(&text).unwrap(), config, "{text}");
            }
        }
    }

    #[test]
    fn a_cheap_start_still_has_trials() {
        let start = TrainConfig::from_toml(
            "[[classifier]]\nepochs = 1\nunits = 4\nlayers = 1\npacked = 1\n\
             [[regressor]]\nepochs = 1\nunits = 4\nlayers = 1",
        );
        let space = Space::new(start.unwrap(), 1, false);
        for number in 1..200 {
            let trial = space.trial(number);
            assert_eq!(trial.check(), Ok(()));
            assert_ne!(trial, space.start, "{number}");
        }
    }

    /// Every architecture, every number of the table and every kind of ensemble comes up.
    #[test]
    fn the_whole_space_is_reached() {
        let trials: Vec<TrainConfig> = (1..400).map(|number| space(3).trial(number)).collect();
        let members = |stage| trials.iter().flat_map(move |it| it.members(stage).iter());
        for stage in [Stage::Classifier, Stage::Regressor] {
            for architecture in if stage == Stage::Classifier { ANY } else { HIDDEN } {
                assert!(members(stage).any(|it| it.architecture == *architecture));
            }
            for copies in 1..=3 {
                assert!(members(stage).any(|it| it.copies == copies), "{copies}");
            }
            let rates: Vec<f64> = members(stage).map(|it| it.learning_rate).collect();
            assert!(rates.iter().any(|rate| *rate < 0.002));
            assert!(rates.iter().any(|rate| *rate > 0.03));
        }
        for count in 1..=3 {
            assert!(trials.iter().any(|it| it.classifier.len() == count), "{count}");
        }
        assert!(trials.iter().any(|it| it.combination == Combination::Logits));
        assert!(trials.iter().any(|it| it.time_loss == TimeLoss::Huber));
        // Each row of the table was used: some network differs from its default in that number.
        for dimension in &SPACE {
            let has_another = |stage: &Stage| {
                members(*stage).any(|it| {
                    let default = MemberConfig::new(*stage, it.architecture);
                    let (it, default) =
                        (value(it, dimension.name), value(&default, dimension.name));
                    it != default
                })
            };
            assert!(dimension.stages.iter().all(has_another), "{}", dimension.name);
        }
    }

    fn value(member: &MemberConfig, name: &str) -> serde_json::Value {
        serde_json::to_value(member).unwrap()[name].clone()
    }

    #[test]
    fn another_start_or_size_is_another_space() {
        let all = [
            space(1).sha256(),
            Space::new(TrainConfig::default(), 1, true).sha256(),
            Space::new(TrainConfig { seed: 8, ..TrainConfig::default() }, 1, false).sha256(),
        ];
        assert!(all[0] != all[1] && all[0] != all[2] && all[1] != all[2]);
    }

    #[test]
    fn two_digits_are_enough() {
        for (number, expected) in
            [(0.012_345, 0.012), (0.0, 0.0), (1.96, 2.0), (0.000_999_6, 0.001), (0.35, 0.35)]
        {
            assert_eq!(rounded(number), expected);
        }
    }
}
