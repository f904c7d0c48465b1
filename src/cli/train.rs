//! `convminer train`.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::common::{CHECKPOINTS, LabelledData, hash_file, open, parse_name};
use super::error::WithHint as _;
use super::printer::Printer;
use super::progress::{Interrupts, Progress};
use super::settings::Layers;
use super::{ExitStatus, calibrate, cross_validation, report as page, scores};
use crate::clock::Moment;
use crate::model::checkpoint::{self, CheckpointError, DataRecord, Manifest, TrainingSample};
use crate::model::decision::Rule;
use crate::model::device::DeviceChoice;
use crate::train::config::{ClassifierLoss, TimeLoss, TrainConfig};
use crate::train::member::{Architecture, MemberConfig};
use crate::train::observer::Stage;
use crate::train::{self, TrainError, Trained};

/// The arguments of `convminer train`.
#[derive(Debug, clap::Args)]
pub struct TrainArgs {
    #[command(flatten)]
    labelled: LabelledData,
    /// The checkpoint's folder [default: checkpoints/ and the data's name with the time]
    #[arg(long, value_name = "FOLDER", conflicts_with = "cv")]
    out: Option<PathBuf>,
    /// Train without each of N parts of the rows, 2 or more, and print how the miners do on the
    /// parts that they did not see; no checkpoint is written
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(2..=1000))]
    cv: Option<u64>,
    /// Where to train: auto, cpu, ndarray or wgpu
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: DeviceChoice,
    /// A training configuration in TOML; flags and the environment win over it, and so does
    /// convminer.toml if it is what names the file
    // It is read with the settings, among which it has its rank.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The classifiers' architectures: tabular, mlp or residual, as many as wanted
    #[arg(long, value_name = "NAMES", value_delimiter = ',',
          value_parser = parse_name::<Architecture>)]
    classifiers: Vec<Architecture>,
    /// The regressors' architectures: tabular, mlp or residual, as many as wanted
    #[arg(long, value_name = "NAMES", value_delimiter = ',',
          value_parser = parse_name::<Architecture>)]
    regressors: Vec<Architecture>,
    /// Passes over the rows at most, of each network
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Rows a step, of each network
    #[arg(long, value_name = "N")]
    batch_size: Option<usize>,
    /// Adam's learning rate at its height, of each network
    #[arg(long, value_name = "RATE")]
    lr: Option<f64>,
    /// Train an ensemble without each of N folds, and join them; 1 holds out a share once, and 0
    /// lets the number of rows decide
    #[arg(long, value_name = "N")]
    folds: Option<usize>,
    /// Seed of everything random
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// The share of rows to hold out for validation; without it a fifth, or less of a large table
    #[arg(long, value_name = "SHARE")]
    valid_fraction: Option<f64>,
    /// What the classifier minimises: bce or reward
    #[arg(long, value_name = "LOSS", value_parser = parse_name::<ClassifierLoss>)]
    loss: Option<ClassifierLoss>,
    /// What the regressor minimises: l1, huber or mse
    #[arg(long, value_name = "LOSS", value_parser = parse_name::<TimeLoss>)]
    time_loss: Option<TimeLoss>,
    /// The reward to decide for: main, api or guide
    #[arg(long, value_name = "SPEC")]
    reward_spec: Option<String>,
    /// How to decide: reward, or threshold=0.5 with a probability
    #[arg(long, value_name = "RULE")]
    decision: Option<Rule>,
    /// How to calibrate [default: auto, by cross-validation on held-out rows]
    #[arg(long, value_name = "METHOD", value_parser = calibrate::method_parser())]
    calibration: Option<calibrate::Asked>,
    /// Print the results as JSON
    #[arg(long, num_args = 0..=1, default_value = "false", default_missing_value = "true",
          require_equals = true, action = clap::ArgAction::Set)]
    json: bool,
}

/// Trains on a table, writes a checkpoint, and prints how it does on the held-out rows.
pub(super) fn run(
    args: TrainArgs,
    layers: &Layers,
    printer: &Printer,
) -> anyhow::Result<ExitStatus> {
    // First of all, so that no Ctrl-C comes before somebody listens.
    let interrupts = Interrupts::listen()?;
    let config = configuration(&args, layers.training())?;
    let mut progress = Progress::new(printer, interrupts);
    if let Some(folds) = args.cv {
        let device = open(args.device)?;
        let (table, truths) = args.labelled.read(printer)?;
        let folds = usize::try_from(folds).unwrap_or(usize::MAX);
        let (conversations, truths) = (&table.conversations, &truths);
        let result =
            train::cross_validate(conversations, truths, &config, folds, &device, &mut progress);
        return cross_validation::report(&or_hint(result)?, args.json, printer);
    }
    let now = Moment::now();
    let out = args.out.clone().unwrap_or_else(|| default_out(&args.labelled.data, now));
    free_or_hint(&out)?;
    let device = open(args.device)?;
    let (table, truths) = args.labelled.read(printer)?;
    let data_hash = hash_file(&args.labelled.data)?;

    let trained = train::train(&table.conversations, &truths, &config, &device, &mut progress);
    let trained = or_hint(trained)?;
    for warning in &trained.warnings {
        printer.warn(warning);
    }

    let converted = truths.iter().filter(|truth| truth.converted).count();
    let manifest = Manifest {
        created: now.rfc3339(),
        seed: config.seed,
        device: args.device.resolved().to_string(),
        training: json!({
            "config": config,
            "stages": trained.stages,
            "choice": trained.choice,
        }),
        data: DataRecord {
            file: args.labelled.data.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            sha256: data_hash,
            rows: truths.len(),
            converted,
            validation_rows: trained.held_out.rows.len(),
        },
        metrics: serde_json::to_value(&trained.evaluation)?,
        coverage: Some(trained.coverage),
        ..Manifest::of(&trained.predictor)
    };
    let rows = trained.held_out.others(truths.len());
    let most = checkpoint::MOST_SAMPLE_ROWS;
    let sample = TrainingSample::draw(&table.conversations, &truths, &rows, most, config.seed);
    checkpoint::save_with_sample(&out, &trained.predictor, manifest, &sample)?;
    let status = report(&args, &out, &trained, printer)?;
    // Last of all: the miner is whole without it.
    let labelled = (table.conversations.as_slice(), truths.as_slice());
    if let Err(error) = page::write_for_training(&out, &args.labelled.data, labelled, &trained) {
        printer.warn(format_args!("there is no report of the training: {error:#}"));
    }
    Ok(status)
}

/// Prints the results and makes the checkpoint the latest one.
fn report(
    args: &TrainArgs,
    out: &Path,
    trained: &Trained,
    printer: &Printer,
) -> anyhow::Result<ExitStatus> {
    if args.json {
        let report = json!({
            "checkpoint": out,
            "evaluation": trained.evaluation,
            "choice": trained.choice,
        });
        printer.out(serde_json::to_string_pretty(&report)?)?;
    } else {
        printer.out("On the rows that no network was trained on:")?;
        printer.out(scores::table(&trained.evaluation))?;
    }
    // Other folders have no latest one: nobody would look there.
    let serve = if out.parent() == Some(Path::new(CHECKPOINTS)) {
        checkpoint::set_latest(out)?;
        "convminer serve".to_owned()
    } else {
        format!("convminer serve --checkpoint {}", out.display())
    };
    printer.note(format_args!("wrote {}; `{serve}` answers with it", out.display()));
    Ok(ExitStatus::Success)
}

/// The training configuration with the flags over it.
fn configuration(args: &TrainArgs, mut config: TrainConfig) -> anyhow::Result<TrainConfig> {
    for (stage, names, members) in [
        (Stage::Classifier, &args.classifiers, &mut config.classifier),
        (Stage::Regressor, &args.regressors, &mut config.regressor),
    ] {
        if !names.is_empty() {
            *members = names.iter().map(|name| MemberConfig::new(stage, *name)).collect();
        }
        for member in members {
            if let Some(epochs) = args.epochs {
                // Who names a number wants no more, however small the table.
                (member.epochs, member.least_steps) = (epochs, 0);
            }
            member.batch_size = args.batch_size.unwrap_or(member.batch_size);
            member.learning_rate = args.lr.unwrap_or(member.learning_rate);
        }
    }
    config.folds = args.folds.unwrap_or(config.folds);
    config.decision = args.decision.unwrap_or(config.decision);
    if let Some(calibrate::Asked(method)) = args.calibration {
        config.calibration = method;
    }
    config.seed = args.seed.unwrap_or(config.seed);
    config.valid_fraction = args.valid_fraction.or(config.valid_fraction);
    config.loss = args.loss.unwrap_or(config.loss);
    config.time_loss = args.time_loss.unwrap_or(config.time_loss);
    if let Some(spec) = &args.reward_spec {
        config.reward_spec.clone_from(spec);
    }
    // Before any reading: a bad number should not cost the time of a large table.
    config.check()?;
    config.reward_spec.parse::<crate::subnet::reward::RewardSpec>()?;
    Ok(config)
}

fn or_hint<T>(result: Result<T, TrainError>) -> anyhow::Result<T> {
    match result {
        Err(error @ TrainError::Diverged(_)) => {
            Err(error).with_hint(|| "a smaller learning rate (--lr) may help")
        }
        result => Ok(result?),
    }
}

fn default_out(data: &Path, now: Moment) -> PathBuf {
    let stem = data.file_stem().unwrap_or_default().to_string_lossy();
    Path::new(CHECKPOINTS).join(format!("{stem}-{}", now.compact()))
}

fn free_or_hint(out: &Path) -> anyhow::Result<()> {
    match checkpoint::ensure_free(out) {
        Err(error @ CheckpointError::Exists { .. }) => {
            Err(error).with_hint(|| "a checkpoint is never overwritten; name another with --out")
        }
        result => Ok(result?),
    }
}
