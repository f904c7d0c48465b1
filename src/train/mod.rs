//! Trains a miner in two stages, and measures it.
//!
//! Stage one trains the classifier on all training rows, stage two the regressor on those that
//! converted. Each keeps the weights of the epoch that did best on the held-out rows. The decision
//! is fitted on the held-out rows too, and the [`Predictor`] that results is what is evaluated and
//! saved: what is reported is what is served.

pub mod config;
pub mod evaluation;
pub mod loss;
pub mod observer;
mod split;
mod stage;

use std::sync::{Mutex, PoisonError};

use burn::tensor::Device;

pub use config::TrainConfig;
use config::{ClassifierLoss, ConfigError, TimeLoss};
use evaluation::{Evaluation, evaluate, log_loss};
use observer::{Observer, Stage, StageReport};
use split::Split;
use stage::{Rows, StagePlan};

use crate::causes::with_causes;
use crate::features::Conversation;
use crate::features::scaler::Scaler;
use crate::model::baseline::Baseline;
use crate::model::calibration::Calibration;
use crate::model::decision::{Decision, Rule, TIME_RANGE_SECONDS};
use crate::model::mlp::Mlp;
use crate::model::networks::{Networks, NetworksConfig, RegressorConfig, floats, time_units};
use crate::model::predictor::{Predictor, sigmoid};
use crate::subnet::reward::{ClassWeights, RewardSpec, Truth};

/// The fewest rows that are trained on.
pub const FEWEST_ROWS: usize = 10;
/// The fewest converted training rows that a regressor is trained on.
pub const FEWEST_CONVERTED: usize = 20;

/// A trained miner and how it came about.
#[derive(Debug)]
pub struct Trained {
    /// The miner.
    pub predictor: Predictor,
    /// The shapes of its networks; none if the rows had one class only.
    pub networks: Option<NetworksConfig>,
    /// How each stage went.
    pub stages: Vec<StageReport>,
    /// How it does on the held-out rows.
    pub evaluation: Evaluation,
    /// What was left out or replaced, and why.
    pub warnings: Vec<String>,
}

/// Why nothing was trained.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A setting cannot be.
    #[error("the training configuration cannot be used")]
    Config(#[from] ConfigError),
    /// The reward spec has no such name.
    #[error("the training configuration cannot be used")]
    Spec(#[from] crate::subnet::reward::UnknownSpec),
    /// There is too little to learn from.
    #[error("expected at least {FEWEST_ROWS} labelled rows to train on, but there are {0}")]
    TooFewRows(usize),
    /// More rows than a tensor's index can name.
    #[error("expected at most {most} rows, but there are {0}", most = i32::MAX)]
    TooManyRows(usize),
    /// The loss ran away.
    #[error("the {0}'s validation metric was never a number")]
    Diverged(Stage),
}

/// Burn's flex device has one random generator a process, so two runs at once would not be
/// reproducible.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Trains a miner on labelled conversations.
///
/// The same rows, configuration and seed give the same weights on the CPU, bit for bit, as long as
/// nothing else in the process draws random numbers from Burn meanwhile. A second run waits.
///
/// # Errors
///
/// If a setting cannot be, there are too few or too many rows, or training diverges.
pub fn train(
    conversations: &[Conversation],
    truths: &[Truth],
    config: &TrainConfig,
    device: &Device,
    observer: &mut dyn Observer,
) -> Result<Trained, TrainError> {
    config.check()?;
    let spec: RewardSpec = config.reward_spec.parse()?;
    if truths.len() < FEWEST_ROWS {
        return Err(TrainError::TooFewRows(truths.len()));
    }
    if i32::try_from(truths.len()).is_err() {
        return Err(TrainError::TooManyRows(truths.len()));
    }
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    device.seed(config.seed);

    let data = Data::new(conversations, truths, config);
    let mut warnings = Vec::new();
    observer.baseline_started(data.training.truths.len());
    let baseline = fit_baseline(&data, &mut warnings);
    let mut stages = Vec::new();
    let networks = if data.has_both_classes() {
        fit_networks(&data, config, device, observer, &mut stages, &mut warnings)?
    } else {
        warnings.push("all rows have the same class: no network was trained".to_owned());
        None
    };
    let (networks, shape) = networks.unzip();
    let unit_seconds = |shape: &NetworksConfig| {
        shape.regressor.as_ref().map_or(1.0, |regressor| regressor.unit_seconds)
    };
    let mut predictor = Predictor {
        networks: networks.zip(shape.as_ref().map(unit_seconds)),
        scaler: data.scaler,
        baseline,
        calibration: Calibration::default(),
        decision: Decision::fit(Rule::Reward, &[], 0.0),
        spec,
        class_weights: ClassWeights::START,
        device: device.clone(),
    };
    let held_out: Vec<Conversation> = pick(conversations, &data.split.validation);
    let held_out_truths: Vec<Truth> = pick(truths, &data.split.validation);
    predictor.decision = fit_decision(&predictor, &held_out, &held_out_truths);
    let evaluation = evaluate(&predictor, &held_out, &held_out_truths, &spec)
        .ok_or(TrainError::TooFewRows(truths.len()))?;
    Ok(Trained { predictor, networks: shape, stages, evaluation, warnings })
}

/// The rows of a run: split, scaled, and what there is to learn of them.
struct Data {
    split: Split,
    scaler: Scaler,
    training: Part,
    validation: Part,
}

/// One part of the split, row by row.
struct Part {
    /// `[rows, INPUT_COUNT]`, row-major
    inputs: Vec<f32>,
    truths: Vec<Truth>,
}

impl Data {
    fn new(conversations: &[Conversation], truths: &[Truth], config: &TrainConfig) -> Data {
        let converted: Vec<bool> = truths.iter().map(|truth| truth.converted).collect();
        let split = split::stratified(&converted, config.valid_fraction, config.seed);
        let of = |rows: &[usize]| -> Vec<&Conversation> {
            rows.iter().map(|row| &conversations[*row]).collect()
        };
        let scaler = Scaler::fit(&of(&split.training));
        let part = |rows: &[usize]| Part {
            inputs: scaler.rows(of(rows)),
            truths: pick(truths, rows).into_iter().map(within_answers).collect(),
        };
        let (training, validation) = (part(&split.training), part(&split.validation));
        Data { split, scaler, training, validation }
    }

    fn has_both_classes(&self) -> bool {
        let converted = self.training.converted_times().len();
        converted > 0 && converted < self.training.truths.len()
    }
}

impl Part {
    fn converted_times(&self) -> Vec<f64> {
        let converted = self.truths.iter().filter(|truth| truth.converted);
        converted.map(|truth| truth.time_seconds).collect()
    }

    /// All rows on a device, times in the given unit.
    fn rows(&self, unit_seconds: f64, device: &Device) -> Rows {
        let converted = self.truths.iter().map(|truth| f32::from(u8::from(truth.converted)));
        let times = self.truths.iter().map(|truth| (truth.time_seconds / unit_seconds) as f32);
        Rows::new(self.inputs.clone(), converted.collect(), times.collect(), device)
    }

    /// The rows that converted.
    fn converted(&self) -> Part {
        let width = crate::features::engineer::INPUT_COUNT;
        let rows = self.inputs.chunks_exact(width).zip(&self.truths);
        let mut part = Part { inputs: Vec::new(), truths: Vec::new() };
        for (inputs, truth) in rows.filter(|(_, truth)| truth.converted) {
            part.inputs.extend(inputs);
            part.truths.push(*truth);
        }
        part
    }
}

/// No time beyond what can be answered is learned from: a single one would be most of the loss.
fn within_answers(truth: Truth) -> Truth {
    Truth { time_seconds: truth.time_seconds.min(TIME_RANGE_SECONDS.1), ..truth }
}

fn pick<T: Clone>(values: &[T], rows: &[usize]) -> Vec<T> {
    rows.iter().map(|row| values[*row].clone()).collect()
}

fn fit_baseline(data: &Data, warnings: &mut Vec<String>) -> Baseline {
    let times = data.training.converted_times();
    let constant = || Baseline::constant(data.training.truths.len(), &times);
    if !data.has_both_classes() {
        return constant();
    }
    let converted: Vec<bool> = data.training.truths.iter().map(|truth| truth.converted).collect();
    Baseline::fit(&data.training.inputs, &converted, &times).unwrap_or_else(|error| {
        warnings.push(format!("the baseline is a constant: {}", with_causes(&error)));
        constant()
    })
}

fn fit_networks(
    data: &Data,
    config: &TrainConfig,
    device: &Device,
    observer: &mut dyn Observer,
    stages: &mut Vec<StageReport>,
    warnings: &mut Vec<String>,
) -> Result<Option<(Networks, NetworksConfig)>, TrainError> {
    let (classifier, report) = fit_classifier(data, config, device, observer)
        .map_err(|_| TrainError::Diverged(Stage::Classifier))?;
    stages.push(report);
    let Some(classifier) = classifier else {
        warnings.push(
            "the classifier was interrupted before its first epoch ended: the baseline answers"
                .to_owned(),
        );
        return Ok(None);
    };

    let converted = data.training.converted_times().len();
    let regressor = if converted >= FEWEST_CONVERTED {
        let (regressor, unit_seconds, report) = fit_regressor(data, config, device, observer)
            .map_err(|_| TrainError::Diverged(Stage::Regressor))?;
        stages.push(report);
        if regressor.is_none() {
            warnings.push(
                "the regressor was interrupted before its first epoch ended: the time is the best \
                 constant"
                    .to_owned(),
            );
        }
        let network = config.regressor.network(1);
        regressor.map(|regressor| (regressor, RegressorConfig { network, unit_seconds }))
    } else {
        warnings.push(format!(
            "only {converted} training rows converted, fewer than {FEWEST_CONVERTED}: no \
             regressor was trained, and the time is the best constant"
        ));
        None
    };
    let (regressor, regressor_config) = regressor.unzip();
    let classifier_config = config.classifier.network(classifier_outputs(config));
    Ok(Some((
        Networks::new(classifier, regressor),
        NetworksConfig { classifier: classifier_config, regressor: regressor_config },
    )))
}

/// The reward loss has a term of the time, so its network says that too.
fn classifier_outputs(config: &TrainConfig) -> usize {
    match config.loss {
        ClassifierLoss::Bce => 1,
        ClassifierLoss::Reward => 2,
    }
}

fn fit_classifier(
    data: &Data,
    config: &TrainConfig,
    device: &Device,
    observer: &mut dyn Observer,
) -> Result<(Option<Mlp>, StageReport), stage::Diverged> {
    let unit = config.reward_loss.time_unit_seconds;
    let with_gradients = device.clone().autodiff();
    let network = config.classifier.network(classifier_outputs(config)).init(&with_gradients);
    let validation = data.validation.rows(unit, device);
    let truths = &data.validation.truths;
    StagePlan {
        stage: Stage::Classifier,
        config: &config.classifier,
        training: data.training.rows(unit, &with_gradients),
        loss: &|network, rows| {
            let outputs = network.forward(rows.inputs);
            let logits = outputs.clone().narrow(1, 0, 1).flatten(0, 1);
            match config.loss {
                ClassifierLoss::Bce => loss::binary_cross_entropy(logits, rows.converted),
                ClassifierLoss::Reward => loss::reward_optimized(
                    &config.reward_loss,
                    logits,
                    time_units(outputs.narrow(1, 1, 1).flatten(0, 1)),
                    rows.converted,
                    rows.times,
                ),
            }
        },
        metric: &|network| {
            let logits = network.forward(validation.inputs.clone()).narrow(1, 0, 1);
            let losses = floats(logits.flatten(0, 1))
                .into_iter()
                .zip(truths)
                .map(|(z, truth)| log_loss(sigmoid(z), truth.converted));
            losses.sum::<f64>() / truths.len() as f64
        },
        seed: config.seed,
    }
    .run(network, observer)
}

fn fit_regressor(
    data: &Data,
    config: &TrainConfig,
    device: &Device,
    observer: &mut dyn Observer,
) -> Result<(Option<Mlp>, f32, StageReport), stage::Diverged> {
    let training = data.training.converted();
    let validation = data.validation.converted();
    let times = training.converted_times();
    let unit = median(times);
    let with_gradients = device.clone().autodiff();
    let network = config.regressor.network(1).init(&with_gradients);
    let held_out = validation.rows(unit, device);
    let kind: TimeLoss = config.time_loss;
    let (network, report) = StagePlan {
        stage: Stage::Regressor,
        config: &config.regressor,
        training: training.rows(unit, &with_gradients),
        loss: &|network, rows| {
            let times = time_units(network.forward(rows.inputs).flatten(0, 1));
            loss::time_loss(kind, times, rows.times, unit)
        },
        metric: &|network| {
            let times = time_units(network.forward(held_out.inputs.clone()).flatten(0, 1));
            let errors = floats((times - held_out.times.clone()).abs());
            errors.iter().map(|error| f64::from(*error) * unit).sum::<f64>() / errors.len() as f64
        },
        // Another order of rows than in stage one.
        seed: config.seed.wrapping_add(1),
    }
    .run(network, observer)?;
    Ok((network, unit as f32, report))
}

/// The median, as the f32 that a checkpoint keeps. Unlike the mean it does not mind an absurd time.
fn median(mut times: Vec<f64>) -> f64 {
    let middle = times.len() / 2;
    let (_, median, _) = times.select_nth_unstable_by(middle, f64::total_cmp);
    f64::from(*median as f32)
}

fn fit_decision(
    predictor: &Predictor,
    conversations: &[Conversation],
    truths: &[Truth],
) -> Decision {
    let estimates = predictor.estimate(conversations).into_iter().zip(truths);
    let times: Vec<(f64, f64)> = estimates
        .filter(|(_, truth)| truth.converted)
        .map(|(estimate, truth)| (estimate.time_seconds, truth.time_seconds))
        .collect();
    Decision::fit(Rule::Reward, &times, f64::from(predictor.baseline.time_accuracy))
}
