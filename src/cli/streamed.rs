//! Training from a cache on disk, where the rows do not fit into memory: what is shown of it, and
//! how fast each phase was.

use anyhow::Context as _;
use burn::tensor::Device;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::common::or_generate;
use super::error::WithHint as _;
use super::printer::Printer;
use crate::clock::{Clock, SECOND_NS, SystemClock};
use crate::dataset::{
    self, ByteCount, Dataset, DatasetError, MemoryPlan, PrepareOptions, PrepareTimings, Sources,
    Survey, memory,
};
use crate::train::observer::{Epoch, Observer, Stage, StageReport};
use crate::train::{
    Resumable, StreamTrained, Streamed, TrainConfig, TrainError, survey_options, train_streamed,
};

/// Rows that are ready to be trained on, and how they became so.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) dataset: Dataset,
    survey: Survey,
    plan: MemoryPlan,
    limit: ByteCount,
    /// Absent if the cache was there.
    prepared: Option<PrepareTimings>,
    phases: Vec<Phase>,
}

/// A part of the work, and how fast it was.
#[derive(Debug, Clone, Serialize)]
struct Phase {
    phase: String,
    rows: usize,
    seconds: f64,
    rows_per_second: f64,
}

/// What a checkpoint and `--json` say of it.
#[derive(Debug, Serialize)]
pub(super) struct Record {
    max_memory: ByteCount,
    plan: MemoryPlan,
    /// Rows that memory held from the beginning to the end.
    sample_rows: usize,
    /// Whether the cache was there already.
    cached: bool,
    /// What the threads did that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    prepared: Option<PrepareTimings>,
    phases: Vec<Phase>,
    /// The most memory that was resident so far; absent where the system does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    peak_memory: Option<ByteCount>,
}

impl Phase {
    fn new(phase: impl Into<String>, rows: usize, seconds: f64) -> Phase {
        let rows_per_second = rows as f64 / seconds.max(1e-9);
        Phase { phase: phase.into(), rows, seconds, rows_per_second }
    }

    fn tell(&self, printer: &Printer) {
        let Phase { phase, rows, seconds, rows_per_second } = self;
        let millions = rows_per_second / 1e6;
        printer.note(format_args!(
            "{phase}: {rows} rows in {seconds:.1} s, {millions:.3} million rows/s"
        ));
    }
}

/// Whether these rows are more than what memory holds below the limit.
pub(super) fn is_needed(sources: &Sources, limit: ByteCount) -> anyhow::Result<bool> {
    Ok(!limit.holds(or_generate(dataset::count(sources))?))
}

/// Makes the cache or finds it, and looks at all rows of it.
pub(super) fn ready(
    sources: &Sources,
    mut options: PrepareOptions,
    limit: ByteCount,
    config: &TrainConfig,
    printer: &Printer,
) -> anyhow::Result<Ready> {
    let members = config.classifier.iter().chain(&config.regressor);
    let batch_rows = members.map(|member| member.batch_size).max().unwrap_or(1);
    let plan = limit.plan(batch_rows).with_hint(|| "--max-memory allows more")?;
    options.scan_rows = plan.scan_rows;
    printer.note(format_args!(
        "the rows do not fit into {limit} of memory: they are read from a cache on disk"
    ));
    match once(sources, &options, plan, limit, config, printer) {
        Err(Stumble::Damaged(dataset)) => {
            let path = dataset.path().to_owned();
            printer.warn(format_args!("the cache `{}` is damaged: made anew", path.display()));
            dataset.remove().with_context(|| format!("cannot remove `{}`", path.display()))?;
            let again = once(sources, &options, plan, limit, config, printer);
            again.map_err(|stumble| match stumble {
                Stumble::Damaged(_) => DatasetError::Damaged { path }.into(),
                Stumble::Failed(error) => error,
            })
        }
        Err(Stumble::Failed(error)) => Err(error),
        Ok(ready) => Ok(ready),
    }
}

/// Why there is no dataset to train on.
enum Stumble {
    /// The cache is to be made anew.
    Damaged(Box<Dataset>),
    Failed(anyhow::Error),
}

impl From<anyhow::Error> for Stumble {
    fn from(error: anyhow::Error) -> Stumble {
        Stumble::Failed(error)
    }
}

fn once(
    sources: &Sources,
    options: &PrepareOptions,
    plan: MemoryPlan,
    limit: ByteCount,
    config: &TrainConfig,
    printer: &Printer,
) -> Result<Ready, Stumble> {
    let about = or_generate(dataset::count(sources))?;
    let bar = bar("reading", about, printer)?;
    let mut observe = |rows: usize| bar.set_position(rows as u64);
    let prepared = dataset::prepare(sources, options, &SystemClock, &mut observe);
    bar.finish_and_clear();
    let prepared = match or_generate(prepared) {
        Err(error) if is_of_cache(&error) => Err(error).with_hint(|| {
            let gigabytes = about as f64 * 256.0 / 1e9;
            format!("it takes {gigabytes:.1} GB; --cache names another folder for it")
        }),
        prepared => prepared,
    }?;
    let dataset = prepared.dataset;
    for warning in dataset.warnings() {
        printer.warn(warning);
    }
    let mut phases = Vec::new();
    match prepared.timings {
        Some(timings) => {
            let phase = Phase::new("reading, features and cache", dataset.rows(), timings.seconds);
            phase.tell(printer);
            phases.push(phase);
        }
        None => printer.note(format_args!("the cache `{}` is used", dataset.path().display())),
    }
    let survey = surveyed(&dataset, plan, config, &mut phases, printer);
    let survey = match survey {
        Err(DatasetError::Damaged { .. }) => return Err(Stumble::Damaged(Box::new(dataset))),
        survey => survey.map_err(anyhow::Error::from)?,
    };
    Ok(Ready { dataset, survey, plan, limit, prepared: prepared.timings, phases })
}

fn is_of_cache(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(DatasetError::Cache { .. }))
}

fn surveyed(
    dataset: &Dataset,
    plan: MemoryPlan,
    config: &TrainConfig,
    phases: &mut Vec<Phase>,
    printer: &Printer,
) -> Result<Survey, DatasetError> {
    let (options, asked) = survey_options(dataset, config, &plan);
    if let Some(asked) = asked {
        printer.warn(format_args!(
            "held out {:.2} % of the rows instead of {:.2} %: more do not fit into memory",
            options.held_out_share * 100.0,
            asked * 100.0
        ));
    }
    let start = SystemClock.now_ns();
    let bar = bar("statistics", dataset.rows(), printer).unwrap_or_else(|_| ProgressBar::hidden());
    let survey = Survey::of(dataset, options, &|rows| bar.set_position(rows as u64));
    bar.finish_and_clear();
    let phase = Phase::new("statistics", dataset.rows(), seconds_since(start));
    phase.tell(printer);
    phases.push(phase);
    survey
}

impl Ready {
    /// Trains on the rows.
    pub(super) fn train(
        &mut self,
        config: &TrainConfig,
        device: &Device,
        observer: &mut dyn Observer,
        states: Option<&mut Resumable>,
    ) -> Result<StreamTrained, TrainError> {
        let streamed = Streamed {
            dataset: &self.dataset,
            survey: &self.survey,
            chunk_rows: self.plan.chunk_rows,
        };
        let mut timed = Timed { observer, start: 0, phases: &mut self.phases };
        train_streamed(streamed, config, device, &mut timed, states)
    }

    /// What is to be kept of how it went.
    pub(super) fn record(&self) -> Record {
        Record {
            max_memory: self.limit,
            plan: self.plan,
            sample_rows: self.survey.sample.len(),
            cached: self.prepared.is_none(),
            prepared: self.prepared,
            phases: self.phases.clone(),
            peak_memory: memory::peak(),
        }
    }
}

fn seconds_since(start: u64) -> f64 {
    SystemClock.now_ns().saturating_sub(start) as f64 / SECOND_NS as f64
}

fn bar(what: &'static str, rows: usize, printer: &Printer) -> anyhow::Result<ProgressBar> {
    let style = ProgressStyle::with_template(
        "{prefix} [{bar:25}] {human_pos}/{human_len} rows, {per_sec} ({eta})",
    )
    .context("the progress bar's template. This is a bug.")?
    .progress_chars("=> ");
    let bar = printer.bars().add(ProgressBar::new(rows as u64)).with_style(style);
    bar.set_prefix(what);
    Ok(bar)
}

/// Measures how fast each network is trained, for another observer's eyes too.
struct Timed<'a> {
    observer: &'a mut dyn Observer,
    start: u64,
    phases: &'a mut Vec<Phase>,
}

impl Observer for Timed<'_> {
    fn baseline_started(&mut self, rows: usize) {
        self.observer.baseline_started(rows);
    }

    fn stage_started(&mut self, stage: Stage, member: &str, epochs: usize, rows: usize) {
        self.start = SystemClock.now_ns();
        self.observer.stage_started(stage, member, epochs, rows);
    }

    fn epoch_ended(&mut self, stage: Stage, epoch: &Epoch) {
        self.observer.epoch_ended(stage, epoch);
    }

    fn stage_ended(&mut self, report: &StageReport) {
        let name = format!("training, {} {}", report.stage, report.member);
        let rows = report.rows * report.epochs.len();
        self.phases.push(Phase::new(name, rows, seconds_since(self.start)));
        self.observer.stage_ended(report);
    }

    fn stop_requested(&mut self) -> bool {
        self.observer.stop_requested()
    }
}
