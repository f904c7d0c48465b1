//! How long a training takes that earns so much.

use std::time::Instant;

use burn::tensor::Device;
use serde::Serialize;

use crate::train::config::TrainConfig;
use crate::train::{TrainError, train};

/// A whole training, from rows in memory to a finished miner.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RewardTrial {
    /// Passes of each network at most; none where each had those of the configuration.
    pub epochs: Option<usize>,
    /// Seconds from its start to its end.
    pub seconds: f64,
    /// The mean total reward on the rows that were held out.
    pub mean_reward: f64,
}

/// Trains on conversations that follow the public rule: with one pass over the rows, then anew with
/// two, four and so on until the held-out rows earn what is wanted, and last with as many as are
/// configured. Each is a whole training with a schedule of its own length: what somebody would wait
/// for who wanted no more than that.
///
/// # Errors
///
/// If a training fails.
pub fn reward_trials(
    config: &TrainConfig,
    rows: usize,
    seed: u64,
    wanted: f64,
    device: &Device,
    mut tell: impl FnMut(&RewardTrial),
) -> Result<Vec<RewardTrial>, TrainError> {
    let (conversations, truths) = super::rule_rows(rows, seed);
    let most = config.classifier.iter().chain(&config.regressor).map(|member| member.epochs);
    let most = most.max().unwrap_or(1);
    let mut trials = Vec::new();
    let mut epochs = Some(1);
    loop {
        let mut config = config.clone();
        if let Some(epochs) = epochs {
            for member in config.classifier.iter_mut().chain(&mut config.regressor) {
                (member.epochs, member.least_steps) = (epochs.min(member.epochs), 0);
            }
        }
        let began = Instant::now();
        let trained = train(&conversations, &truths, &config, device, &mut ())?;
        let trial = RewardTrial {
            epochs,
            seconds: began.elapsed().as_secs_f64(),
            mean_reward: trained.evaluation.miner.mean_reward,
        };
        tell(&trial);
        trials.push(trial);
        epochs = match epochs {
            None => return Ok(trials),
            Some(epochs) if trial.mean_reward >= wanted || 2 * epochs >= most => None,
            Some(epochs) => Some(2 * epochs),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::member::{Architecture, MemberConfig};
    use crate::train::observer::Stage;

    #[test]
    fn passes_are_doubled_until_it_is_enough() {
        let of = |stage| {
            vec![MemberConfig {
                epochs: 5,
                least_steps: 0,
                ..MemberConfig::new(stage, Architecture::Mlp)
            }]
        };
        let config = TrainConfig {
            folds: 1,
            classifier: of(Stage::Classifier),
            regressor: of(Stage::Regressor),
            ..TrainConfig::default()
        };
        // Whatever is answered earns more than nothing, and nobody earns 2.
        for (wanted, epochs) in
            [(0.0, vec![Some(1), None]), (2.0, vec![Some(1), Some(2), Some(4), None])]
        {
            let mut told = Vec::new();
            let tell = |trial: &RewardTrial| told.push(*trial);
            let trials = reward_trials(&config, 200, 1, wanted, &Device::flex(), tell).unwrap();
            assert_eq!(trials.iter().map(|trial| trial.epochs).collect::<Vec<_>>(), epochs);
            assert_eq!(told, trials);
            assert!(trials.iter().all(|trial| trial.seconds > 0.0 && trial.mean_reward > 0.2));
        }
    }
}
