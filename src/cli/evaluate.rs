//! `convminer evaluate`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;

use super::common::LabelledData;
use super::printer::Printer;
use super::{ExitStatus, device, scores};
use crate::model::device::DeviceChoice;
use crate::subnet::reward::RewardSpec;
use crate::train::evaluation::{Evaluation, evaluate};

/// The arguments of `convminer evaluate`.
#[derive(Debug, clap::Args)]
pub struct EvaluateArgs {
    #[command(flatten)]
    labelled: LabelledData,
    /// The checkpoint's folder [default: the latest one]
    #[arg(long, value_name = "FOLDER")]
    checkpoint: Option<PathBuf>,
    /// The reward to count: main, api or guide [default: the one that the checkpoint decides for]
    #[arg(long, value_name = "SPEC")]
    reward_spec: Option<RewardSpec>,
    /// Where to compute: auto, cpu, ndarray, wgpu:N, vulkan:N or cuda:N; see `convminer devices`
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: DeviceChoice,
    /// Print the results as JSON
    #[arg(long, num_args = 0..=1, default_value = "false", default_missing_value = "true",
          require_equals = true, action = clap::ArgAction::Set)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    checkpoint: &'a Path,
    data: &'a str,
    #[serde(flatten)]
    evaluation: &'a Evaluation,
}

/// Prints how a checkpoint does on labelled rows.
pub fn run(args: EvaluateArgs, printer: &Printer) -> anyhow::Result<ExitStatus> {
    let found = device::find(args.checkpoint, args.device, printer)?;
    let (table, truths) = args.labelled.read(printer)?;
    let (path, predictor) = found.load(table.conversations.len(), printer)?;
    let spec = args.reward_spec.unwrap_or(predictor.spec);
    let evaluation = evaluate(&predictor, &table.conversations, &truths, &spec)
        .context("a table always has rows. This is a bug.")?;
    if args.json {
        let report =
            Report { checkpoint: &path, data: &args.labelled.shown(), evaluation: &evaluation };
        printer.out(serde_json::to_string_pretty(&report)?)?;
    } else {
        printer.note(format_args!("{} on {}", path.display(), args.labelled.shown()));
        printer.out(scores::table(&evaluation))?;
    }
    Ok(ExitStatus::Success)
}
