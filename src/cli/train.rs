//! `convminer train`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::clock::Moment;
use super::common::{CHECKPOINTS, LabelledData, hash_file, open, parse_name};
use super::error::WithHint as _;
use super::printer::Printer;
use super::settings::Layers;
use super::{ExitStatus, scores};
use crate::model::checkpoint::{self, CheckpointError, DataRecord, Manifest};
use crate::model::device::DeviceChoice;
use crate::train::config::{ClassifierLoss, TimeLoss, TrainConfig};
use crate::train::observer::{Epoch, Observer, Stage, StageReport};
use crate::train::{self, TrainError, Trained};

/// The arguments of `convminer train`.
#[derive(Debug, clap::Args)]
pub struct TrainArgs {
    #[command(flatten)]
    labelled: LabelledData,
    /// The checkpoint's folder [default: checkpoints/ and the data's name with the time]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Where to train: auto, cpu, ndarray or wgpu
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: DeviceChoice,
    /// A training configuration in TOML; flags and the environment win over it, and so does
    /// convminer.toml if it is what names the file
    // It is read with the settings, among which it has its rank.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Passes over the rows at most, in each stage
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Rows a step, in each stage
    #[arg(long, value_name = "N")]
    batch_size: Option<usize>,
    /// Adam's learning rate at the start, in each stage
    #[arg(long, value_name = "RATE")]
    lr: Option<f64>,
    /// Seed of everything random
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// The share of rows to hold out for validation
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
    let now = Moment::now();
    let out = args.out.clone().unwrap_or_else(|| default_out(&args.labelled.data, now));
    free_or_hint(&out)?;
    let device = open(args.device)?;
    let (table, truths) = args.labelled.read(printer)?;
    let data_hash = hash_file(&args.labelled.data)?;

    let mut progress = Progress::new(printer, interrupts);
    let trained = train::train(&table.conversations, &truths, &config, &device, &mut progress);
    let trained = match trained {
        Err(error @ TrainError::Diverged(_)) => {
            return Err(error).with_hint(|| "a smaller learning rate (--lr) may help");
        }
        trained => trained?,
    };
    for warning in &trained.warnings {
        printer.warn(warning);
    }

    let converted = truths.iter().filter(|truth| truth.converted).count();
    let manifest = Manifest {
        created: now.rfc3339(),
        seed: config.seed,
        device: args.device.resolved().to_string(),
        training: json!({ "config": config, "stages": trained.stages }),
        data: DataRecord {
            file: args.labelled.data.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            sha256: data_hash,
            rows: truths.len(),
            converted,
            validation_rows: trained.evaluation.rows,
        },
        metrics: serde_json::to_value(&trained.evaluation)?,
        ..Manifest::of(&trained.predictor, trained.networks.clone())
    };
    checkpoint::save(&out, &trained.predictor, manifest)?;
    report(&args, &out, &trained, printer)
}

/// Prints the results and makes the checkpoint the latest one.
fn report(
    args: &TrainArgs,
    out: &Path,
    trained: &Trained,
    printer: &Printer,
) -> anyhow::Result<ExitStatus> {
    if args.json {
        let report = json!({ "checkpoint": out, "evaluation": trained.evaluation });
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
    for stage in [&mut config.classifier, &mut config.regressor] {
        stage.epochs = args.epochs.unwrap_or(stage.epochs);
        stage.batch_size = args.batch_size.unwrap_or(stage.batch_size);
        stage.learning_rate = args.lr.unwrap_or(stage.learning_rate);
    }
    config.seed = args.seed.unwrap_or(config.seed);
    config.valid_fraction = args.valid_fraction.unwrap_or(config.valid_fraction);
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

/// Ctrl-C, seen from a thread of its own: it ends the stage that is under way. Another one, before
/// that was noticed, ends the program.
struct Interrupts(Arc<AtomicBool>);

impl Interrupts {
    fn listen() -> anyhow::Result<Interrupts> {
        let seen = Arc::new(AtomicBool::new(false));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .context("cannot listen for Ctrl-C")?;
        let setter = Arc::clone(&seen);
        std::thread::spawn(move || {
            runtime.block_on(async {
                while tokio::signal::ctrl_c().await.is_ok() {
                    if setter.swap(true, Ordering::Relaxed) {
                        // What a shell expects of a program that SIGINT ended.
                        std::process::exit(130);
                    }
                }
            });
        });
        Ok(Interrupts(seen))
    }
}

/// A bar a stage; without a terminal, a line a stage.
struct Progress<'a> {
    printer: &'a Printer,
    interrupts: Interrupts,
    bar: ProgressBar,
    best: f64,
}

impl<'a> Progress<'a> {
    fn new(printer: &'a Printer, interrupts: Interrupts) -> Progress<'a> {
        Progress { printer, interrupts, bar: ProgressBar::hidden(), best: f64::INFINITY }
    }
}

impl Observer for Progress<'_> {
    fn baseline_started(&mut self, rows: usize) {
        self.printer.note(format_args!("baseline: {rows} rows"));
    }

    fn stage_started(&mut self, stage: Stage, epochs: usize, rows: usize) {
        let style = ProgressStyle::with_template("{prefix} [{bar:25}] {pos}/{len} {msg} ({eta})")
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ");
        self.bar = self.printer.bars().add(ProgressBar::new(epochs as u64)).with_style(style);
        self.bar.set_prefix(format!("{stage}, {rows} rows"));
        self.best = f64::INFINITY;
        if self.bar.is_hidden() {
            self.printer.note(format_args!("{stage}: {rows} rows, at most {epochs} epochs"));
        }
    }

    fn epoch_ended(&mut self, stage: Stage, epoch: &Epoch) {
        self.best = self.best.min(epoch.validation);
        self.bar.set_message(format!(
            "loss {:.4}, validation {} {:.4} (best {:.4})",
            epoch.loss,
            stage.metric(),
            epoch.validation,
            self.best
        ));
        self.bar.inc(1);
    }

    fn stage_ended(&mut self, report: &StageReport) {
        self.interrupts.0.store(false, Ordering::Relaxed);
        self.bar.finish_and_clear();
        let is_best = |epoch: &&Epoch| Some(epoch.number) == report.best_epoch;
        let best = report.epochs.iter().find(is_best);
        let kept = best.map_or_else(
            || "kept nothing".to_owned(),
            |best| {
                let metric = report.stage.metric();
                format!(
                    "kept epoch {} with validation {metric} {:.4}",
                    best.number, best.validation
                )
            },
        );
        self.printer.note(format_args!(
            "{}: {} epochs ({}), {kept}",
            report.stage,
            report.epochs.len(),
            report.ended
        ));
    }

    fn stop_requested(&mut self) -> bool {
        self.interrupts.0.load(Ordering::Relaxed)
    }
}
