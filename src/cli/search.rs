//! `convminer search`.

mod shown;
mod watching;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use serde::Serialize;

use super::common::LabelledData;
use super::computed::Training;
use super::device::{self, Opened};
use super::error::WithHint as _;
use super::printer::Printer;
use super::progress::Interrupts;
use super::{ExitStatus, streamed};
use crate::clock::{Clock as _, Moment, SystemClock};
use crate::dataset::Sources;
use crate::dataset::memory::{ByteCount, default_limit};
use crate::model::device::DeviceChoice;
use crate::search::{self, Ended, Found, Place, SearchError, SearchPlan, Verdict};
use crate::train::{self, TrainConfig};
use watching::Watching;

/// Where searches are, unless a folder is named.
const SEARCHES: &str = "searches";

/// The arguments of `convminer search`.
#[derive(Debug, clap::Args)]
pub struct SearchArgs {
    #[command(flatten)]
    labelled: LabelledData,
    /// Configurations to try in all, the first one being the start; of every three on some of the
    /// rows one goes on to more of them
    #[arg(long, value_name = "N", default_value_t = 27,
          value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    trials: u64,
    /// Begin no training that would not end in M minutes, and end what runs then [default: no limit]
    #[arg(long, value_name = "M", value_parser = minutes)]
    minutes: Option<f64>,
    /// The search's folder; one that is there goes on, with the same data, seed and start, where it
    /// stopped [default: searches/ and the data's name with the time]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// The training configuration in TOML to start from, which is tried first [default: what
    /// `convminer train` uses]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Seed of what is tried, and of which rows are held out
    #[arg(long, value_name = "N", default_value_t = 7)]
    seed: u64,
    /// Where to train: auto, cpu, ndarray, wgpu:N, vulkan:N or cuda:N; see `convminer devices`
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: DeviceChoice,
    /// How much memory the whole program may take, such as 2GiB; a search needs all rows in it
    /// [default: 60 % of the machine's memory]
    #[arg(long, value_name = "SIZE")]
    max_memory: Option<ByteCount>,
    /// Print the results as JSON
    #[arg(long, num_args = 0..=1, default_value = "false", default_missing_value = "true",
          require_equals = true, action = clap::ArgAction::Set)]
    json: bool,
}

/// A number of minutes above 0.
fn minutes(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(minutes) if minutes > 0.0 && minutes.is_finite() => Ok(minutes),
        _ => Err("expected a number of minutes above 0".to_owned()),
    }
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    found: &'a Found,
    /// What the unseen rows say of the best.
    verdict: Option<Verdict>,
}

/// Searches for the training configuration that earns the most, and leaves it as a train.toml.
///
/// # Errors
///
/// If the data, the start or the folder cannot be used, or the start could not be measured.
pub(super) fn run(args: SearchArgs, printer: &Printer) -> anyhow::Result<ExitStatus> {
    // First of all, so that no Ctrl-C comes before somebody listens.
    let interrupts = Interrupts::listen()?;
    let start = match &args.config {
        Some(path) => Training::read(path)?.config,
        None => TrainConfig::default(),
    };
    // Before any reading: a bad number should not cost the time of a large table.
    start.check()?;
    let sources = args.labelled.sources(printer)?;
    let limit = args.max_memory.unwrap_or_else(default_limit);
    if streamed::is_needed(&sources, limit)? {
        return Err(anyhow!("a search needs all rows in memory: more than {limit}"))
            .with_hint(|| "search with some of the rows, or allow more by --max-memory");
    }
    let clock = SystemClock;
    let folder =
        args.out.clone().unwrap_or_else(|| default_out(&sources, Moment::of_ns(clock.now_ns())));
    let device = device::ask(args.device, printer)?;
    let (table, truths) = args.labelled.read_all(&sources, printer)?;
    let plan = SearchPlan {
        start: start.clone(),
        seed: args.seed,
        trials: usize::try_from(args.trials).context("expected fewer --trials")?,
        minutes: args.minutes,
    };
    let Opened { device, choice } = device.for_work(train::work(&start, truths.len()), printer);
    let place = Place { device: &device, name: choice.to_string() };
    let mut watching = Watching::new(printer, interrupts);
    let conversations = &table.conversations;
    let found =
        search::search(conversations, &truths, &plan, &folder, &place, &clock, &mut watching);
    let found = or_hint(found, &folder)?;
    if let Some(torn) = &found.torn {
        printer.warn(format_args!(
            "the last line of the results was not whole: it was moved to `{}`, and is done again",
            torn.display()
        ));
    }
    if args.json {
        let verdict = found.unseen.map(|unseen| unseen.verdict());
        printer.out(serde_json::to_string_pretty(&Report { found: &found, verdict })?)?;
    } else {
        printer.out(shown::table(&found, &start))?;
    }
    tell_end(&found, printer);
    Ok(ExitStatus::Success)
}

/// Says why it ended, and how one goes on.
fn tell_end(found: &Found, printer: &Printer) {
    let folder = found.folder.display();
    match found.ended {
        Ended::Completed => {}
        Ended::OutOfTime => printer.note(format_args!(
            "no time is left for another training; the same command with --out {folder} goes on"
        )),
        Ended::Interrupted => {
            printer.note(format_args!("interrupted; the same command with --out {folder} goes on"))
        }
    }
    let config = found.config.display();
    printer
        .note(format_args!("wrote {config}; `convminer train --config {config}` trains with it"));
}

fn or_hint<T>(result: Result<T, SearchError>, folder: &Path) -> anyhow::Result<T> {
    let folder = folder.display();
    match result {
        Err(error @ (SearchError::OtherSearch { .. } | SearchError::OtherFolder { .. })) => {
            Err(error).with_hint(|| "name a new folder with --out")
        }
        Err(error @ SearchError::Interrupted) => {
            Err(error).with_hint(|| format!("the same command with --out {folder} goes on"))
        }
        Err(error @ SearchError::NothingTrained(_)) => {
            Err(error).with_hint(|| "begin with another configuration (--config)")
        }
        result => Ok(result?),
    }
}

fn default_out(sources: &Sources, now: Moment) -> PathBuf {
    let first = sources.files().first().map_or(Path::new(""), PathBuf::as_path);
    let stem = first.file_stem().unwrap_or_default().to_string_lossy();
    Path::new(SEARCHES).join(format!("{stem}-{}", now.compact()))
}
