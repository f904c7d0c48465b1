//! `convminer replay`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;

use super::ExitStatus;
use super::common::load;
use super::logged::LoggedData;
use super::printer::Printer;
use crate::model::device::DeviceChoice;
use crate::replay::{
    Summary, WhatIf, Window, replay, results_path, summary_path, write_results, write_summary,
};
use crate::subnet::reward::RewardSpec;

mod shown;

/// Where results are, unless a file is named.
const RESULTS: &str = "data/replay";

/// The arguments of `convminer replay`.
#[derive(Debug, clap::Args)]
pub struct ReplayArgs {
    #[command(flatten)]
    logged: LoggedData,
    /// Ask what this checkpoint's folder would have answered, and earned
    #[arg(long, value_name = "FOLDER")]
    checkpoint: Option<PathBuf>,
    /// The reward to count: main, api or guide
    #[arg(long, value_name = "SPEC", default_value_t = RewardSpec::MAIN)]
    reward_spec: RewardSpec,
    /// The file for a line an answer, with the summary in `.summary.json` beside it [default: a file
    /// in data/replay named by the time]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print the summary as JSON
    #[arg(long, num_args = 0..=1, default_value = "false", default_missing_value = "true",
          require_equals = true, action = clap::ArgAction::Set)]
    json: bool,
}

/// What `--json` prints, and what the file of the summary holds.
#[derive(Debug, Serialize)]
struct Report<'a> {
    journal: &'a Path,
    outcomes: &'a Path,
    window: Window,
    results: &'a Path,
    #[serde(flatten)]
    summary: &'a Summary,
}

/// Scores what was answered as the validators do, now that the truth is known.
///
/// # Errors
///
/// If the answers, the truths or the checkpoint cannot be read, no answer has a known truth, or the
/// results cannot be written.
pub fn run(args: ReplayArgs, printer: &Printer) -> anyhow::Result<ExitStatus> {
    let LoggedData { journal, outcomes, .. } = &args.logged;
    let named = args.checkpoint.map(|path| load(Some(path), DeviceChoice::Cpu)).transpose()?;
    let name = named.as_ref().and_then(|(path, _)| path.file_name()).unwrap_or_default();
    let name = name.to_string_lossy();
    let what_if =
        named.as_ref().map(|(_, predictor)| WhatIf { checkpoint: &name, model: predictor });
    let window = args.logged.window();
    let replayed = replay(journal, outcomes, window, args.reward_spec, what_if)?;
    args.logged.check(&replayed.joined, printer)?;
    let results =
        args.out.unwrap_or_else(|| results_path(Path::new(RESULTS), args.logged.now_ns()));
    write_results(&results, &replayed)?;
    let summary =
        Summary::of(&replayed).context("some answer has a known truth. This is a bug.")?;
    let report = Report { journal, outcomes, window, results: &results, summary: &summary };
    let summarised = summary_path(&results);
    write_summary(&summarised, &report)?;
    let joined = &replayed.joined;
    if joined.sampled > 0 {
        printer.warn(format_args!(
            "{} of {} requests were written by a journal that takes a sample: what is missing \
             counted for class weights and EMA too, so that a validator's cannot be known exactly",
            joined.sampled, joined.records
        ));
    }
    if args.json {
        printer.out(serde_json::to_string_pretty(&report)?)?;
    } else {
        printer.out(shown::table(&summary))?;
    }
    printer.note(format_args!("wrote {} and {}", results.display(), summarised.display()));
    Ok(ExitStatus::Success)
}
