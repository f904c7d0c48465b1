//! `convminer report`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::common::LabelledData;
use super::printer::Printer;
use super::{ExitStatus, device};
use crate::features::Conversation;
use crate::files;
use crate::model::Predictor;
use crate::model::checkpoint::{self, Manifest};
use crate::model::device::DeviceChoice;
use crate::report::page::page;
use crate::report::{Miner, Origin, Rows, Said, report};
use crate::subnet::reward::{RewardSpec, Truth};
use crate::train::{HeldOutRows, Trained};

/// The page of a checkpoint's own training.
const PAGE: &str = "report.html";

/// The arguments of `convminer report`.
#[derive(Debug, clap::Args)]
pub struct ReportArgs {
    #[command(flatten)]
    labelled: LabelledData,
    /// The checkpoint's folder [default: the latest one]
    #[arg(long, value_name = "FOLDER")]
    checkpoint: Option<PathBuf>,
    /// Another checkpoint to compare it with, row by row
    #[arg(long, value_name = "FOLDER")]
    against: Option<PathBuf>,
    /// The page to write [default: report.html, and none with --json]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The reward to count: main, api or guide [default: the one that the checkpoint decides for]
    #[arg(long, value_name = "SPEC")]
    reward_spec: Option<RewardSpec>,
    /// Where to compute: auto, cpu, ndarray, wgpu:N, vulkan:N or cuda:N; see `convminer devices`
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: DeviceChoice,
    /// Print all numbers of the report as JSON
    #[arg(long, num_args = 0..=1, default_value = "false", default_missing_value = "true",
          require_equals = true, action = clap::ArgAction::Set)]
    json: bool,
}

/// A checkpoint that was loaded.
struct Loaded {
    name: String,
    manifest: Manifest,
    predictor: Predictor,
}

impl Loaded {
    fn new(found: device::Found, rows: usize, printer: &Printer) -> anyhow::Result<Loaded> {
        let manifest = found.manifest.clone();
        let (path, predictor) = found.load(rows, printer)?;
        Ok(Loaded { name: path.display().to_string(), manifest, predictor })
    }

    fn miner(&self) -> Miner<'_> {
        Miner { name: &self.name, manifest: &self.manifest, predictor: &self.predictor }
    }
}

/// Measures a checkpoint on labelled rows, and writes what it finds as a page or as JSON.
pub fn run(args: ReportArgs, printer: &Printer) -> anyhow::Result<ExitStatus> {
    let found = device::find(args.checkpoint, args.device, printer)?;
    let against = args.against.map(|path| device::find(Some(path), args.device, printer));
    let against = against.transpose()?;
    let sources = args.labelled.sources(printer)?;
    let (table, truths) = args.labelled.read_all(&sources, printer)?;
    let count = table.conversations.len();
    let loaded = Loaded::new(found, count, printer)?;
    let against = against.map(|found| Loaded::new(found, count, printer)).transpose()?;
    let file = sources.name();
    let rows = Rows {
        file: &file,
        origin: Origin::Table,
        conversations: &table.conversations,
        truths: &truths,
    };
    let spec = args.reward_spec.unwrap_or(loaded.predictor.spec);
    let said = |loaded: &Loaded| {
        Said::of(&loaded.predictor, &rows, &spec).context("a table always has rows. This is a bug.")
    };
    let own = said(&loaded)?;
    let other = against.as_ref().map(said).transpose()?;
    let other = against.as_ref().zip(other.as_ref()).map(|(loaded, said)| (loaded.miner(), said));
    let report = report(loaded.miner(), &own, other, &rows, &spec);
    if args.json {
        printer.out(serde_json::to_string_pretty(&report)?)?;
    }
    let out = args.out.or_else(|| (!args.json).then(|| PathBuf::from(PAGE)));
    if let Some(out) = out {
        files::write_atomically(&out, page(&report).as_bytes())
            .with_context(|| format!("cannot write `{}`", out.display()))?;
        printer.note(format_args!("wrote {}", out.display()));
    }
    Ok(ExitStatus::Success)
}

/// Writes the page of the rows that training held out into the checkpoint's folder.
///
/// # Errors
///
/// If the file cannot be written.
pub(super) fn write_for_training(
    folder: &Path,
    file: &str,
    (conversations, truths): (&[Conversation], &[Truth]),
    trained: &Trained,
) -> anyhow::Result<()> {
    let manifest = checkpoint::read_manifest(folder)?;
    let HeldOutRows { rows: held_out, estimates, confidences, baseline } = trained.held_out.clone();
    // With folds, every row is held out once.
    let origin = if held_out.len() < truths.len() { Origin::HeldOut } else { Origin::OutOfFold };
    let conversations: Vec<Conversation> =
        held_out.iter().map(|row| conversations[*row].clone()).collect();
    let truths: Vec<Truth> = held_out.iter().map(|row| truths[*row]).collect();
    let rows = Rows { file, origin, conversations: &conversations, truths: &truths };
    let said = Said { estimates, confidences, baseline, evaluation: trained.evaluation.clone() };
    let name = folder.display().to_string();
    let miner = Miner { name: &name, manifest: &manifest, predictor: &trained.predictor };
    let report = report(miner, &said, None, &rows, &trained.predictor.spec);
    let path = folder.join(PAGE);
    files::write_atomically(&path, page(&report).as_bytes())
        .with_context(|| format!("cannot write `{}`", path.display()))
}
