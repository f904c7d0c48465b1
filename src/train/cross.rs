//! Cross-validation: the whole training, on all rows but a part of them, for each part.

use burn::tensor::Device;
use serde::Serialize;

use super::config::TrainConfig;
use super::evaluation::{Evaluation, Scores, evaluate};
use super::latch::Latch;
use super::observer::Observer;
use super::split::Strata;
use super::{Choice, FEWEST_ROWS, TrainError, train};
use crate::features::Conversation;
use crate::subnet::reward::{RewardSpec, Truth};

/// How the same training does on rows that it knows nothing of, again and again.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CrossValidation {
    /// The folds that were asked for.
    pub folds: usize,
    /// Labelled rows.
    pub rows: usize,
    /// How many of them converted.
    pub converted: usize,
    /// What the miners answer, by their decisions.
    pub miner: SpreadScores,
    /// What they would answer if they said "converts" from a probability of one half on.
    pub at_half: SpreadScores,
    /// What their logistic baselines would answer.
    pub baseline: SpreadScores,
    /// "Does not convert", always.
    pub always_no: SpreadScores,
    /// The folds that were done, in order.
    pub evaluations: Vec<Evaluation>,
    /// How large a model each fold's training found its rows to bear; none for a large table.
    pub choices: Vec<Option<Choice>>,
    /// What was left out or replaced in some fold, and why.
    pub warnings: Vec<String>,
}

/// The mean of a score over folds, and how far it lies apart among them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// The standard deviation, by one less than the folds; absent for one fold.
    pub deviation: Option<f64>,
    /// The folds that have the score.
    pub folds: usize,
}

/// The spread of each of [`Scores`]; absent if no fold has the score.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[allow(missing_docs, reason = "they are those of `Scores`")]
pub struct SpreadScores {
    pub accuracy: Option<Spread>,
    pub auc: Option<Spread>,
    pub log_loss: Option<Spread>,
    pub brier: Option<Spread>,
    pub ece: Option<Spread>,
    pub time_mae_seconds: Option<Spread>,
    pub mean_reward: Option<Spread>,
}

/// Trains without each of so many stratified folds, and evaluates on it what comes out. An
/// interruption ends it; what two folds or more gave by then is the result.
///
/// # Errors
///
/// As [`train`], and if a fold leaves too few rows to train on, or it was interrupted before two
/// folds were done.
pub fn cross_validate(
    conversations: &[Conversation],
    truths: &[Truth],
    config: &TrainConfig,
    folds: usize,
    device: &Device,
    observer: &mut dyn Observer,
) -> Result<CrossValidation, TrainError> {
    let spec: RewardSpec = config.reward_spec.parse()?;
    let converted: Vec<bool> = truths.iter().map(|truth| truth.converted).collect();
    let splits = Strata::new(conversations, converted).folds(folds, config.seed);
    let left = splits.iter().map(|split| split.training.len()).min().unwrap_or(0);
    if splits.len() < folds || left < FEWEST_ROWS {
        return Err(TrainError::TooManyFolds { folds, rows: truths.len() });
    }
    let mut latch = Latch::new(observer);
    let mut evaluations = Vec::new();
    let mut choices = Vec::new();
    let mut warnings = Vec::new();
    for (fold, split) in splits.iter().enumerate() {
        latch.fold_started(fold + 1, folds);
        let part = |rows: &[usize]| -> (Vec<Conversation>, Vec<Truth>) {
            rows.iter().map(|row| (conversations[*row].clone(), truths[*row])).unzip()
        };
        let (conversations, truths) = part(&split.training);
        let trained = train(&conversations, &truths, config, device, &mut latch);
        if latch.is_stopped() {
            // Its training was cut short, so it says nothing about the others.
            break;
        }
        let trained = trained?;
        let (conversations, truths) = part(&split.validation);
        evaluations.extend(evaluate(&trained.predictor, &conversations, &truths, &spec));
        choices.push(trained.choice);
        warnings.extend(trained.warnings);
    }
    if evaluations.len() < 2 {
        return Err(TrainError::Interrupted);
    }
    warnings.sort_unstable();
    warnings.dedup();
    let of = |scores: fn(&Evaluation) -> &Scores| {
        SpreadScores::of(&evaluations.iter().map(|it| *scores(it)).collect::<Vec<_>>())
    };
    Ok(CrossValidation {
        folds,
        rows: truths.len(),
        converted: truths.iter().filter(|truth| truth.converted).count(),
        miner: of(|it| &it.miner),
        at_half: of(|it| &it.at_half),
        baseline: of(|it| &it.baseline),
        always_no: of(|it| &it.always_no),
        evaluations,
        choices,
        warnings,
    })
}

impl SpreadScores {
    fn of(folds: &[Scores]) -> SpreadScores {
        let spread = |score: fn(&Scores) -> Option<f64>| {
            Spread::of(&folds.iter().filter_map(score).collect::<Vec<_>>())
        };
        SpreadScores {
            accuracy: spread(|it| Some(it.accuracy)),
            auc: spread(|it| it.auc),
            log_loss: spread(|it| Some(it.log_loss)),
            brier: spread(|it| Some(it.brier)),
            ece: spread(|it| Some(it.ece)),
            time_mae_seconds: spread(|it| it.time_mae_seconds),
            mean_reward: spread(|it| Some(it.mean_reward)),
        }
    }
}

impl Spread {
    fn of(values: &[f64]) -> Option<Spread> {
        let folds = values.len();
        let mean = (folds > 0).then(|| values.iter().sum::<f64>() / folds as f64)?;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = (folds > 1).then(|| (squares / (folds as f64 - 1.0)).sqrt());
        Some(Spread { mean, deviation, folds })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_by_hand() {
        let spread = Spread::of(&[1.0, 2.0, 4.0, 5.0]).unwrap();
        assert_eq!(spread.mean, 3.0);
        // (4 + 1 + 1 + 4) / 3
        assert!((spread.deviation.unwrap() - (10.0_f64 / 3.0).sqrt()).abs() < 1e-12);
        assert_eq!(Spread::of(&[7.0]), Some(Spread { mean: 7.0, deviation: None, folds: 1 }));
        assert_eq!(Spread::of(&[]), None);
    }
}
