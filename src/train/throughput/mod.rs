//! How fast networks are trained: rows a second, beside what a device could do at best.
//!
//! What is measured is what training does: the same learners, a new order of rows each pass, batch
//! after batch, and the loss read when the steps are over, which waits for a device to be done.

pub mod cost;
mod peak;
mod reward;

use std::time::{Duration, Instant};

use burn::tensor::Device;
use rand::seq::SliceRandom;
use rand::{Rng as _, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::autodiff::Autodiff;
use super::config::TrainConfig;
use super::data::Part;
use super::fit::Fit;
use super::learner::{self, Learner};
use super::member::{Architecture, MemberConfig};
use super::observer::Stage;
use crate::features::Conversation;
use crate::features::scaler::Scaler;
use crate::model::networks::NetworkConfig;
use crate::subnet::challenge::{Challenge, Example};
use crate::subnet::reward::Truth;
use cost::Cost;
pub use peak::cpu_peak;
pub use reward::{RewardTrial, reward_trials};

/// Rows to train on, as training sees them.
pub struct Workload {
    table: Part,
    converted: Part,
    unit_seconds: f64,
    config: TrainConfig,
}

/// What is trained: one network, or several that are trained one after the other.
#[derive(Debug, Clone, PartialEq)]
pub struct Subject {
    /// Its name in reports.
    pub name: String,
    /// Its networks.
    pub networks: Vec<(Stage, MemberConfig)>,
}

/// What takes the steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// What training takes for this network on this device.
    Usual,
    /// Burn's gradients, whatever else there is.
    Autodiff,
}

/// How long to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effort {
    /// Steps that do not count: kernels are compiled and tuned, and caches filled.
    pub warm_up: Duration,
    /// Of one repetition and one network, about.
    pub time: Duration,
    /// How often.
    pub repetitions: usize,
}

/// One network of a subject, as it was trained.
#[derive(Debug, Clone, PartialEq)]
pub struct Trainee {
    /// Its stage.
    pub stage: Stage,
    /// Its shape.
    pub network: NetworkConfig,
    /// How it is trained.
    pub settings: MemberConfig,
    /// The part of a table's rows that it learns from: all, or those that converted.
    pub share: f64,
    /// What a step of it must cost.
    pub cost: Cost,
    /// Steps that were measured.
    pub steps: usize,
}

/// How fast a subject was trained.
#[derive(Debug, Clone, PartialEq)]
pub struct Speed {
    /// Rows of the table a second, one number a repetition. Of several networks, a row has been
    /// learned when each of them that learns from it has taken it: what a pass of the whole
    /// ensemble takes.
    pub rows_per_second: Vec<f64>,
    /// The networks.
    pub trainees: Vec<Trainee>,
}

impl Subject {
    /// A classifier of this architecture.
    pub fn classifier(architecture: Architecture) -> Subject {
        let name = MemberConfig::new(Stage::Classifier, architecture);
        Subject {
            name: name.network(1, 0).architecture().to_owned(),
            networks: vec![(Stage::Classifier, name)],
        }
    }

    /// The default regressor.
    pub fn regressor() -> Subject {
        let regressor = TrainConfig::default().regressor.swap_remove(0);
        Subject { name: "regressor".to_owned(), networks: vec![(Stage::Regressor, regressor)] }
    }

    /// All networks that are trained by default, copies too.
    pub fn ensemble() -> Subject {
        let config = TrainConfig::default();
        let of = |stage| {
            config
                .members(stage)
                .iter()
                .flat_map(move |member| std::iter::repeat_n((stage, member.clone()), member.copies))
        };
        let networks = of(Stage::Classifier).chain(of(Stage::Regressor)).collect();
        Subject { name: "ensemble".to_owned(), networks }
    }
}

impl Workload {
    /// So many conversations that follow the public rule.
    pub fn rule(rows: usize, seed: u64) -> Workload {
        let (conversations, truths) = rule_rows(rows, seed);
        let scaler = Scaler::fit(&conversations.iter().collect::<Vec<_>>());
        let table = Part::new(&scaler, &conversations, &truths);
        let unit_seconds = super::median(table.converted_times());
        let converted = table.converted();
        Workload { table, converted, unit_seconds, config: TrainConfig::default() }
    }

    /// Rows of the table.
    pub fn rows(&self) -> usize {
        self.table.len()
    }

    /// Rows that a stage learns from.
    pub fn rows_of(&self, stage: Stage) -> usize {
        self.part(stage).len()
    }

    /// Trains for a while and says how fast that was.
    pub fn measure(
        &self,
        subject: &Subject,
        engine: Engine,
        device: &Device,
        batch_size: usize,
        effort: Effort,
    ) -> Speed {
        // One after the other, as training does: who waits would keep memory and threads.
        let mut seconds_a_row = vec![0.0; effort.repetitions];
        let trainees = subject.networks.iter().map(|(stage, config)| {
            let mut turn = self.turn(*stage, config, engine, device);
            turn.warm_up(batch_size, effort);
            for seconds in &mut seconds_a_row {
                *seconds += turn.trainee.share / turn.rows_per_second(batch_size);
            }
            turn.trainee
        });
        let trainees = trainees.collect();
        let rows_per_second = seconds_a_row.into_iter().map(|seconds| 1.0 / seconds).collect();
        Speed { rows_per_second, trainees }
    }

    fn part(&self, stage: Stage) -> &Part {
        match stage {
            Stage::Classifier => &self.table,
            Stage::Regressor => &self.converted,
        }
    }

    fn turn(&self, stage: Stage, config: &MemberConfig, engine: Engine, device: &Device) -> Turn {
        let fit = Fit {
            training: &self.table,
            streams: None,
            validation: &Part::default(),
            config: &self.config,
            unit_seconds: self.unit_seconds,
            fold: 0,
            device,
        };
        let bins = fit.bins(stage, config);
        let network = config.network(1, bins.len());
        device.seed(self.config.seed);
        let start = network.init(&bins, device);
        let objective = fit.objective(stage, config);
        let mut learner: Box<dyn Learner> = match engine {
            Engine::Usual => learner::learner(start, objective, config, false, device),
            Engine::Autodiff => Box::new(Autodiff::new(start, objective, config, false, device)),
        };
        let part = self.part(stage);
        learner.load(part);
        let share = part.len() as f64 / self.table.len() as f64;
        let cost = Cost::of(&network, config.gradient_clip > 0.0);
        Turn {
            learner,
            rows: part.len(),
            // Without an end in sight there is no schedule.
            rate: config.learning_rate / 2.0,
            random: ChaCha8Rng::seed_from_u64(self.config.seed),
            next: part.len(),
            steps_a_repetition: 1,
            trainee: Trainee { stage, network, settings: config.clone(), share, cost, steps: 0 },
        }
    }
}

/// Conversations that follow the public rule, and what became of them.
fn rule_rows(rows: usize, seed: u64) -> (Vec<Conversation>, Vec<Truth>) {
    let examples = Challenge::Rule.examples(seed).take(rows);
    let row = |example: Example| (Conversation::of(&example.features), example.truth);
    examples.map(row).unzip()
}

/// One network whose steps are timed.
struct Turn {
    learner: Box<dyn Learner>,
    rows: usize,
    rate: f64,
    random: ChaCha8Rng,
    /// Where in the order of the pass the next batch begins.
    next: usize,
    steps_a_repetition: usize,
    trainee: Trainee,
}

impl Turn {
    /// Learns until it is warm, and how many steps a repetition has.
    fn warm_up(&mut self, batch_size: usize, effort: Effort) {
        let began = Instant::now();
        // The first step may take minutes where kernels are compiled for it.
        self.run(1, batch_size);
        let (mut steps, mut taken) = (1, self.run(1, batch_size));
        while began.elapsed() < effort.warm_up || taken < effort.time / 4 {
            steps *= 2;
            taken = self.run(steps, batch_size);
        }
        let wanted = effort.time.as_secs_f64() / (taken.as_secs_f64() / steps as f64).max(1e-9);
        self.steps_a_repetition = (wanted.round() as usize).max(1);
    }

    /// One repetition; rows of its part a second.
    fn rows_per_second(&mut self, batch_size: usize) -> f64 {
        let steps = self.steps_a_repetition;
        let taken = self.run(steps, batch_size);
        self.trainee.steps += steps;
        (steps * batch_size.min(self.rows)) as f64 / taken.as_secs_f64()
    }

    /// Takes so many steps and waits until they are done.
    fn run(&mut self, steps: usize, batch_size: usize) -> Duration {
        let batch_size = batch_size.min(self.rows);
        let began = Instant::now();
        for _ in 0..steps {
            if self.next + batch_size > self.rows {
                let mut order: Vec<u32> = (0..self.rows as u32).collect();
                order.shuffle(&mut self.random);
                self.learner.begin(order, self.random.next_u64());
                self.next = 0;
            }
            self.learner.step(self.next..self.next + batch_size, self.rate);
            self.next += batch_size;
        }
        std::hint::black_box(self.learner.take_loss());
        began.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Effort =
        Effort { warm_up: Duration::ZERO, time: Duration::from_millis(2), repetitions: 3 };

    #[test]
    fn both_engines_are_measured() {
        let workload = Workload::rule(600, 1);
        let subject = Subject::classifier(Architecture::Mlp);
        for engine in [Engine::Usual, Engine::Autodiff] {
            let speed = workload.measure(&subject, engine, &Device::flex(), 64, QUICK);
            assert_eq!(speed.rows_per_second.len(), 3);
            assert!(speed.rows_per_second.iter().all(|rate| *rate > 0.0 && rate.is_finite()));
            assert!(speed.trainees[0].steps >= 3 && speed.trainees[0].share == 1.0);
        }
    }

    #[test]
    fn regressors_learn_from_what_converted() {
        let workload = Workload::rule(400, 1);
        let converted = workload.rows_of(Stage::Regressor);
        assert!(converted > 100 && converted < 300, "{converted}");
        // A batch of more rows than there are is one of all of them.
        let speed =
            workload.measure(&Subject::regressor(), Engine::Usual, &Device::flex(), 4096, QUICK);
        assert_eq!(speed.trainees[0].share, converted as f64 / 400.0);
    }

    #[test]
    fn the_ensemble_is_what_is_trained_by_default() {
        let stages: Vec<(Stage, Architecture)> = Subject::ensemble()
            .networks
            .iter()
            .map(|(stage, member)| (*stage, member.architecture))
            .collect();
        let expected = [
            (Stage::Classifier, Architecture::Mixture),
            (Stage::Classifier, Architecture::Mixture),
            (Stage::Classifier, Architecture::Tabular),
            (Stage::Regressor, Architecture::Tabular),
            (Stage::Regressor, Architecture::Tabular),
        ];
        assert_eq!(stages, expected);
    }
}
