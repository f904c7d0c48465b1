//! One trial on one rung: a training, and what its miner earns.

use burn::tensor::Device;

use super::SearchObserver;
use super::budget::Budget;
use super::record::Taught;
use crate::causes::with_causes;
use crate::features::Conversation;
use crate::model::Predictor;
use crate::subnet::reward::{ClassWeights, RewardSpec, Truth, reward};
use crate::train::capacity::Choice;
use crate::train::evaluation::RESPONSE_TIME_SECONDS;
use crate::train::observer::{Epoch, Observer, Stage, StageReport};
use crate::train::{TrainConfig, train};

/// Rows that are answered at once.
const CHUNK: usize = 1 << 14;

/// Labelled rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows<'a> {
    /// The conversations.
    pub(super) conversations: &'a [Conversation],
    /// What became of each.
    pub(super) truths: &'a [Truth],
}

/// What came of a training.
#[derive(Debug)]
pub(super) enum Outcome {
    /// A miner.
    Trained(Box<Miner>),
    /// Nothing, for this reason.
    Failed(String),
    /// It was ended before it was done.
    Stopped(Stop),
}

/// Who ended something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// The time was over.
    Time,
    /// The observer asked for it.
    Asked,
}

/// A trained miner.
#[derive(Debug)]
pub(super) struct Miner {
    pub(super) predictor: Predictor,
    pub(super) own_reward: f64,
    pub(super) networks: Vec<Taught>,
}

impl Rows<'_> {
    /// Copies of these rows.
    pub(super) fn select(&self, rows: &[usize]) -> (Vec<Conversation>, Vec<Truth>) {
        rows.iter().map(|row| (self.conversations[*row].clone(), self.truths[*row])).unzip()
    }

    /// Trains on these rows.
    pub(super) fn train(
        &self,
        rows: &[usize],
        config: &TrainConfig,
        device: &Device,
        budget: Budget<'_>,
        observer: &mut dyn SearchObserver,
    ) -> Outcome {
        let (conversations, truths) = self.select(rows);
        let mut watch = Watch { observer, budget, stop: None };
        let trained = train(&conversations, &truths, config, device, &mut watch);
        if let Some(stop) = watch.stop {
            // Cut short, it says nothing of the configuration.
            return Outcome::Stopped(stop);
        }
        match trained {
            Ok(trained) => Outcome::Trained(Box::new(Miner {
                own_reward: trained.evaluation.miner.mean_reward,
                networks: trained.stages.iter().map(Taught::of).collect(),
                predictor: trained.predictor,
            })),
            Err(error) => Outcome::Failed(with_causes(&error)),
        }
    }

    /// What a miner earns on each of these rows, as `evaluate` reckons it.
    pub(super) fn rewards(&self, predictor: &Predictor, rows: &[usize]) -> Vec<f64> {
        let spec: &RewardSpec = &predictor.spec;
        let mut rewards = Vec::with_capacity(rows.len());
        for chunk in rows.chunks(CHUNK) {
            let (conversations, truths) = self.select(chunk);
            let estimates = predictor.estimate(&conversations);
            rewards.extend(estimates.into_iter().zip(truths).map(|(estimate, truth)| {
                let answer = predictor.decide(estimate);
                reward(spec, ClassWeights::START, answer, truth, RESPONSE_TIME_SECONDS).total
            }));
        }
        rewards
    }
}

/// Passes on what it sees, and ends the training when time is over or somebody asked for it.
struct Watch<'a> {
    observer: &'a mut dyn SearchObserver,
    budget: Budget<'a>,
    stop: Option<Stop>,
}

impl Observer for Watch<'_> {
    fn baseline_started(&mut self, rows: usize) {
        self.observer.baseline_started(rows);
    }

    fn stage_started(&mut self, stage: Stage, member: &str, epochs: usize, rows: usize) {
        self.observer.stage_started(stage, member, epochs, rows);
    }

    fn epoch_ended(&mut self, stage: Stage, epoch: &Epoch) {
        self.observer.epoch_ended(stage, epoch);
    }

    fn stage_ended(&mut self, report: &StageReport) {
        self.observer.stage_ended(report);
    }

    fn comparison_started(&mut self, rows: usize, fits: usize) {
        self.observer.comparison_started(rows, fits);
    }

    fn comparison_advanced(&mut self, candidate: &str) {
        self.observer.comparison_advanced(candidate);
    }

    fn comparison_ended(&mut self, choice: &Choice) {
        self.observer.comparison_ended(choice);
    }

    fn stop_requested(&mut self) -> bool {
        if self.stop.is_none() {
            if self.observer.stop_requested() {
                self.stop = Some(Stop::Asked);
            } else if self.budget.is_over() {
                self.stop = Some(Stop::Time);
            }
        }
        self.stop.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::device::DeviceChoice;
    use crate::subnet::challenge::Challenge;
    use crate::train::evaluation::evaluate;

    /// The mean of the rows' rewards is what `evaluate` says of the same miner.
    #[test]
    fn rewards_are_those_of_an_evaluation() {
        let (conversations, truths): (Vec<_>, Vec<_>) = Challenge::Rule
            .examples(1)
            .take(300)
            .map(|example| (Conversation::of(&example.features), example.truth))
            .unzip();
        let rows = Rows { conversations: &conversations, truths: &truths };
        let (training, judged): (Vec<_>, Vec<_>) = (0..300).partition(|row| row % 3 > 0);
        let config = TrainConfig::from_toml(
            "folds = 1\n[[classifier]]\narchitecture = 'mlp'\nepochs = 2\nleast_steps = 0\n\
             [[regressor]]\narchitecture = 'mlp'\nepochs = 2\nleast_steps = 0\n",
        )
        .unwrap();
        let device = DeviceChoice::Cpu.open().unwrap();
        let clock = crate::clock::SystemClock;
        let budget = Budget::new(&clock, None);
        let outcome = rows.train(&training, &config, &device, budget, &mut ());
        let Outcome::Trained(miner) = outcome else { panic!("{outcome:?}") };
        assert_eq!(miner.networks.len(), 2);
        assert!(miner.networks.iter().all(|it| it.epochs == 2));
        let rewards = rows.rewards(&miner.predictor, &judged);
        let mean = rewards.iter().sum::<f64>() / 100.0;
        let (conversations, truths) = rows.select(&judged);
        let spec = &miner.predictor.spec;
        let evaluation = evaluate(&miner.predictor, &conversations, &truths, spec).unwrap();
        assert!((mean - evaluation.miner.mean_reward).abs() < 1e-12);
        // A time that is over ends it, and so does a setting that cannot be.
        let over = Budget::new(&clock, Some(0.0));
        let outcome = rows.train(&training, &config, &device, over, &mut ());
        assert!(matches!(outcome, Outcome::Stopped(Stop::Time)), "{outcome:?}");
        let bad = TrainConfig { folds: 1000, ..config };
        let outcome = rows.train(&training, &bad, &device, budget, &mut ());
        let Outcome::Failed(reason) = outcome else { panic!("{outcome:?}") };
        assert!(reason.contains("folds should be in 0..=100"), "{reason}");
    }
}
