//! `convminer train`.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use serde_json::json;

use super::common::{CHECKPOINTS, LabelledData, parse_name};
use super::device::{self, Opened};
use super::error::WithHint as _;
use super::printer::Printer;
use super::progress::{Interrupts, Progress};
use super::settings::Layers;
use super::unfinished::{self, Asked, Unfinished, are_same};
use super::{ExitStatus, calibrate, cross_validation, report as page, scores, streamed};
use crate::clock::Moment;
use crate::dataset::memory::default_limit;
use crate::dataset::{ByteCount, PrepareOptions, Sources, hash_sources};
use crate::features::Conversation;
use crate::model::checkpoint::{self, CheckpointError, DataRecord, Manifest, TrainingSample};
use crate::model::decision::Rule;
use crate::model::device::DeviceChoice;
use crate::subnet::reward::Truth;
use crate::train::config::{ClassifierLoss, TimeLoss, TrainConfig};
use crate::train::member::{Architecture, MemberConfig};
use crate::train::observer::Stage;
use crate::train::{self, Resumable, StreamTrained, TrainError, Trained};

/// The arguments of `convminer train`.
#[derive(Debug, clap::Args)]
pub struct TrainArgs {
    /// Labelled conversations: files in .parquet, .csv or .ndjson, folders of such, or patterns such
    /// as 'data/*.parquet'
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    data: Vec<PathBuf>,
    /// Leave out rows that nothing can be learned from, instead of refusing the file
    #[arg(long, num_args = 0..=1, default_value = "false", default_missing_value = "true",
          require_equals = true, action = clap::ArgAction::Set)]
    drop_invalid: bool,
    /// Go on with a training that was killed, that of --out or else the latest one, on its data and
    /// with its settings; on the CPU the result is that of one that never was, bit for bit
    #[arg(long, num_args = 0..=1, default_value = "false", default_missing_value = "true",
          require_equals = true, action = clap::ArgAction::Set, conflicts_with = "cv")]
    resume: bool,
    /// The checkpoint's folder [default: checkpoints/ and the data's name with the time]
    #[arg(long, value_name = "FOLDER", conflicts_with = "cv")]
    out: Option<PathBuf>,
    /// Train without each of N parts of the rows, 2 or more, and print how the miners do on the
    /// parts that they did not see; no checkpoint is written
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(2..=1000))]
    cv: Option<u64>,
    /// Where to train: auto, cpu, ndarray, wgpu:N, vulkan:N or cuda:N; see `convminer devices`
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: DeviceChoice,
    /// How much memory the whole program may take, such as 2GiB; rows that do not fit are read from a
    /// cache on disk in each pass [default: 60 % of the machine's memory]
    #[arg(long, value_name = "SIZE")]
    max_memory: Option<ByteCount>,
    /// The folder of the cache for rows that do not fit into memory [default: .convminer-cache
    /// beside the data]
    #[arg(long, value_name = "FOLDER")]
    cache: Option<PathBuf>,
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
    let mut plan = plan(&args, layers)?;
    let config = &plan.config;
    let mut progress = Progress::new(printer, interrupts);
    let sources = plan.labelled.sources(printer)?;
    let limit = plan.limit;
    if let Some(folds) = args.cv {
        let device = device::ask(plan.device, printer)?;
        if streamed::is_needed(&sources, limit)? {
            return Err(anyhow!("a cross-validation needs all rows in memory: more than {limit}"))
                .with_hint(|| "--max-memory allows more");
        }
        let (table, truths) = plan.labelled.read_all(&sources, printer)?;
        let device = device.for_work(train::work(config, truths.len()), printer).device;
        let folds = usize::try_from(folds).unwrap_or(usize::MAX);
        let (conversations, truths) = (&table.conversations, &truths);
        let result =
            train::cross_validate(conversations, truths, config, folds, &device, &mut progress);
        return cross_validation::report(&or_hint(result)?, args.json, printer);
    }
    let now = Moment::now();
    let out = match &plan.unfinished {
        Some(unfinished) => unfinished.out.clone(),
        None => args.out.clone().unwrap_or_else(|| default_out(&sources, now)),
    };
    if plan.unfinished.is_none()
        && let Some(left) = unfinished::latest(Path::new(CHECKPOINTS))
    {
        let left = left.out.display();
        printer.note(format_args!("`convminer train --resume` would go on with `{left}`"));
    }
    free_or_hint(&out)?;
    let states = States { out: &out, unfinished: plan.unfinished.as_ref(), began: now.compact() };
    let device = device::ask(plan.device, printer)?;
    let mut learned = if streamed::is_needed(&sources, limit)? {
        of_stream(&plan, &sources, &states, device, &mut progress, printer)?
    } else {
        of_memory(&plan, &sources, &states, device, &mut progress, printer)?
    };
    let unfinished = learned.unfinished.take().or(plan.unfinished.take());
    let Learned { trained, conversations, truths, data, device, streaming, .. } = &learned;
    for warning in &trained.warnings {
        printer.warn(warning);
    }

    let mut training = json!({
        "config": config,
        "stages": trained.stages,
        "choice": trained.choice,
    });
    if let Some(streaming) = streaming {
        training["streaming"] = serde_json::to_value(streaming)?;
    }
    let manifest = Manifest {
        created: now.rfc3339(),
        seed: config.seed,
        device: device.to_string(),
        training,
        data: data.clone(),
        metrics: serde_json::to_value(&trained.evaluation)?,
        coverage: Some(trained.coverage),
        ..Manifest::of(&trained.predictor)
    };
    let rows = trained.held_out.others(truths.len());
    let most = checkpoint::MOST_SAMPLE_ROWS;
    let sample = TrainingSample::draw(conversations, truths, &rows, most, config.seed);
    checkpoint::save_with_sample(&out, &trained.predictor, manifest, &sample)?;
    if let Err(error) = unfinished.map_or(Ok(()), Unfinished::end) {
        printer.warn(format_args!("{error:#}"));
    }
    let status = report(&args, &out, &learned, printer)?;
    // Last of all: the miner is whole without it.
    let labelled = (conversations.as_slice(), truths.as_slice());
    if let Err(error) = page::write_for_training(&out, &data.file, labelled, trained) {
        printer.warn(format_args!("there is no report of the training: {error:#}"));
    }
    Ok(status)
}

/// What is trained on, and how: as the flags say, or as those of a run that is gone on with did.
struct Plan {
    labelled: LabelledData,
    config: TrainConfig,
    device: DeviceChoice,
    limit: ByteCount,
    cache: Option<PathBuf>,
    unfinished: Option<Unfinished>,
}

fn plan(args: &TrainArgs, layers: &Layers) -> anyhow::Result<Plan> {
    if !args.resume {
        return Ok(Plan {
            labelled: LabelledData { data: args.data.clone(), drop_invalid: args.drop_invalid },
            config: configuration(args, layers.training())?,
            device: args.device,
            limit: args.max_memory.unwrap_or_else(default_limit),
            cache: args.cache.clone(),
            unfinished: None,
        });
    }
    let unfinished = Unfinished::find(args.out.as_deref(), Path::new(CHECKPOINTS))?;
    let run = &unfinished.run;
    let plan = Plan {
        labelled: LabelledData { data: run.data.clone(), drop_invalid: run.drop_invalid },
        config: run.config()?,
        device: run.device()?,
        limit: run.limit(),
        cache: args.cache.clone().or_else(|| run.cache.clone()),
        unfinished: None,
    };
    if let Some(flag) = other_flag(args, layers, &plan)? {
        let out = unfinished.out.display();
        return Err(anyhow!("the training of `{out}` was begun with another {flag}"))
            .with_hint(|| "leave the flag out to go on with it, or --resume to begin anew");
    }
    Ok(Plan { unfinished: Some(unfinished), ..plan })
}

/// The flags that make the training configuration.
const SETTINGS: [&str; 14] = [
    "config",
    "classifiers",
    "regressors",
    "epochs",
    "batch_size",
    "lr",
    "folds",
    "seed",
    "valid_fraction",
    "loss",
    "time_loss",
    "reward_spec",
    "decision",
    "calibration",
];

/// What the command line asks otherwise than what a run was begun with. The environment and files
/// may say what they like: the run counts.
fn other_flag(
    args: &TrainArgs,
    layers: &Layers,
    plan: &Plan,
) -> anyhow::Result<Option<&'static str>> {
    let gives = |id| layers.command_line_gives(id);
    Ok(if gives("data") && !are_same(&args.data, &plan.labelled.data) {
        Some("--data")
    } else if gives("drop_invalid") && args.drop_invalid != plan.labelled.drop_invalid {
        Some("--drop-invalid")
    } else if gives("device") && ![DeviceChoice::Auto, plan.device].contains(&args.device) {
        Some("--device")
    } else if gives("max_memory") && args.max_memory != Some(plan.limit) {
        Some("--max-memory")
    } else if SETTINGS.into_iter().any(gives)
        && configuration(args, layers.training())? != plan.config
    {
        Some("configuration")
    } else {
        None
    })
}

/// Where the states of a training are kept.
struct States<'a> {
    out: &'a Path,
    /// The run that is gone on with.
    unfinished: Option<&'a Unfinished>,
    began: String,
}

impl States<'_> {
    /// The states of the run that is gone on with, or of a new one.
    fn open(
        &self,
        plan: &Plan,
        data_sha256: &str,
        device: DeviceChoice,
    ) -> anyhow::Result<(Option<Unfinished>, Resumable)> {
        let asked = Asked {
            data: &plan.labelled.data,
            data_sha256,
            drop_invalid: plan.labelled.drop_invalid,
            device,
            config: &plan.config,
            limit: plan.limit,
            cache: plan.cache.as_deref(),
        };
        if let Some(unfinished) = self.unfinished {
            unfinished.check(asked)?;
            return Ok((None, unfinished.states()));
        }
        let unfinished = Unfinished::begin(self.out, asked, self.began.clone())?;
        let states = unfinished.states();
        Ok((Some(unfinished), states))
    }
}

/// A training that cannot be leaves nothing to go on with.
fn or_end<T>(
    result: Result<T, TrainError>,
    unfinished: &mut Option<Unfinished>,
) -> anyhow::Result<T> {
    if !matches!(result, Ok(_) | Err(TrainError::Stream(_)))
        && let Some(unfinished) = unfinished.take()
    {
        // Best effort: what matters is the first error.
        let _ = unfinished.end();
    }
    or_hint(result)
}

/// A miner, and what it learned from.
struct Learned {
    trained: Trained,
    /// The rows in memory: all of them, or a sample and what was held out.
    conversations: Vec<Conversation>,
    truths: Vec<Truth>,
    data: DataRecord,
    device: DeviceChoice,
    /// How the rows were read, if memory does not hold them.
    streaming: Option<streamed::Record>,
    /// The states of a run that began anew.
    unfinished: Option<Unfinished>,
}

/// Trains on a table in memory.
fn of_memory(
    plan: &Plan,
    sources: &Sources,
    states: &States<'_>,
    device: device::Asked,
    progress: &mut Progress<'_>,
    printer: &Printer,
) -> anyhow::Result<Learned> {
    let (table, truths) = plan.labelled.read_all(sources, printer)?;
    let config = &plan.config;
    let Opened { device, choice } = device.for_work(train::work(config, truths.len()), printer);
    let sha256 = hash_sources(sources.files())?;
    let (mut unfinished, mut states) = states.open(plan, &sha256, choice)?;
    let states = Some(&mut states);
    let conversations = table.conversations;
    let trained =
        train::train_resumably(&conversations, &truths, config, &device, progress, states);
    let trained = or_end(trained, &mut unfinished)?;
    let data = DataRecord {
        file: sources.name(),
        sha256,
        rows: truths.len(),
        converted: truths.iter().filter(|truth| truth.converted).count(),
        validation_rows: trained.held_out.rows.len(),
    };
    let device = choice;
    Ok(Learned { trained, conversations, truths, data, device, streaming: None, unfinished })
}

/// Trains on more rows than memory holds.
fn of_stream(
    plan: &Plan,
    sources: &Sources,
    states: &States<'_>,
    device: device::Asked,
    progress: &mut Progress<'_>,
    printer: &Printer,
) -> anyhow::Result<Learned> {
    let Plan { config, limit, .. } = plan;
    let drop_invalid = plan.labelled.drop_invalid;
    let options = PrepareOptions { drop_invalid, folder: plan.cache.clone(), scan_rows: 0 };
    let mut ready = streamed::ready(sources, options, *limit, config, printer)?;
    let rows = ready.dataset.rows();
    let Opened { device, choice } = device.for_work(train::work(config, rows), printer);
    let (mut unfinished, mut states) = states.open(plan, &ready.dataset.sha256(), choice)?;
    let trained = ready.train(config, &device, progress, Some(&mut states));
    let StreamTrained { trained, conversations, truths } = or_end(trained, &mut unfinished)?;
    let data = DataRecord {
        file: sources.name(),
        sha256: ready.dataset.sha256(),
        rows,
        converted: ready.dataset.converted(),
        validation_rows: trained.held_out.rows.len(),
    };
    let streaming = Some(ready.record());
    let device = choice;
    Ok(Learned { trained, conversations, truths, data, device, streaming, unfinished })
}

/// Prints the results and makes the checkpoint the latest one.
fn report(
    args: &TrainArgs,
    out: &Path,
    Learned { trained, streaming, .. }: &Learned,
    printer: &Printer,
) -> anyhow::Result<ExitStatus> {
    if args.json {
        let mut report = json!({
            "checkpoint": out,
            "evaluation": trained.evaluation,
            "choice": trained.choice,
        });
        if let Some(streaming) = streaming {
            report["streaming"] = serde_json::to_value(streaming)?;
        }
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

fn default_out(sources: &Sources, now: Moment) -> PathBuf {
    let first = sources.files().first().map_or(Path::new(""), PathBuf::as_path);
    let stem = first.file_stem().unwrap_or_default().to_string_lossy();
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
