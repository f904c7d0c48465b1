//! `convminer diagnose`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};

use super::ExitStatus;
use super::common::{CHECKPOINTS, checkpoint_path, open, shipped};
use super::error::WithHint as _;
use super::printer::Printer;
use crate::clock::{Clock as _, DAY_NS, SECOND_NS, SystemClock};
use crate::diagnosis::page::page;
use crate::diagnosis::{DiagnoseOptions, Diagnosis, LEAD_DAYS, Reference, Sample, diagnose};
use crate::files;
use crate::model::Predictor;
use crate::model::checkpoint::{self, CheckpointError, Manifest, TrainingSample};
use crate::model::device::DeviceChoice;
use crate::replay::{JoinReport, Window, resolved};
use crate::subnet::reward::RewardSpec;
use crate::tune::SetClock;

mod shown;

/// The arguments of `convminer diagnose`.
#[derive(Debug, clap::Args)]
pub struct DiagnoseArgs {
    /// How far back answers count: 7d, 24h
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = window)]
    window: u64,
    /// The folder with what was answered: in settings it goes by the name that it has for serve,
    /// whose --journal says how much is written there
    #[arg(
        long = "journal.dir",
        visible_alias = "journal",
        value_name = "FOLDER",
        default_value = "data/predictions"
    )]
    journal: PathBuf,
    /// The folder with what really happened
    #[arg(long, value_name = "FOLDER", default_value = "data/outcomes")]
    outcomes: PathBuf,
    /// The checkpoint to compare with, by its folder [default: the latest one, if there is one]
    #[arg(long, value_name = "FOLDER")]
    checkpoint: Option<PathBuf>,
    /// The reward to count: main, api or guide
    #[arg(long, value_name = "SPEC", default_value_t = RewardSpec::MAIN)]
    reward_spec: RewardSpec,
    /// Where to write all numbers
    #[arg(long, value_name = "FILE", default_value = "data/diagnostics.json")]
    out: PathBuf,
    /// Draw a page with charts as well
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Print all numbers as JSON
    #[arg(long, num_args = 0..=1, default_value = "false", default_missing_value = "true",
          require_equals = true, action = clap::ArgAction::Set)]
    json: bool,
    /// The moment to take for now
    #[arg(long, value_name = "RFC3339", hide = true)]
    now: Option<SetClock>,
}

/// A time such as `7d` or `24h`, in nanoseconds.
fn window(text: &str) -> Result<u64, String> {
    let expected = || "expected a number of days or hours above 0, such as 7d or 24h".to_owned();
    let text = text.trim();
    let days = text.strip_suffix('d').map(|number| (number, DAY_NS));
    let hours = || text.strip_suffix('h').map(|number| (number, 3600 * SECOND_NS));
    let (number, unit_ns) = days.or_else(hours).ok_or_else(expected)?;
    let number: u64 = number.parse().map_err(|_| expected())?;
    let window = number.checked_mul(unit_ns).filter(|window| *window > 0);
    window.ok_or_else(expected)
}

/// A checkpoint to compare with.
struct Loaded {
    name: String,
    manifest: Manifest,
    predictor: Predictor,
    /// Why there is none is told in the diagnosis.
    sample: Result<TrainingSample, String>,
}

impl Loaded {
    fn new(path: &Path) -> anyhow::Result<Loaded> {
        let sample = match checkpoint::read_sample(path) {
            Ok(Some(sample)) => Ok(sample),
            Ok(None) => Err("the checkpoint has no sample of the rows that it was trained on; \
                             one that is trained now has it"
                .to_owned()),
            Err(error) => Err(error.to_string()),
        };
        Ok(Loaded {
            // As `serve` writes it into the journal.
            name: path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned(),
            manifest: checkpoint::read_manifest(path)?,
            predictor: checkpoint::load(path, &open(DeviceChoice::Cpu)?)?,
            sample,
        })
    }

    fn reference(&self) -> Reference<'_> {
        Reference {
            name: &self.name,
            manifest: &self.manifest,
            predictor: &self.predictor,
            sample: self.sample.as_ref().map_err(String::as_str).map(|sample| Sample {
                conversations: &sample.conversations,
                truths: &sample.truths,
            }),
        }
    }
}

/// Says where the reward of the last days went, and whether anything has drifted.
///
/// # Errors
///
/// If the answers, the truths or the checkpoint cannot be read, no answer has a known truth, or the
/// results cannot be written.
pub fn run(args: DiagnoseArgs, printer: &Printer) -> anyhow::Result<ExitStatus> {
    let now_ns = args.now.map_or_else(|| SystemClock.now_ns(), |clock| clock.now_ns());
    let from_ns = now_ns.saturating_sub(args.window);
    let loaded = load(args.checkpoint.clone(), printer)?;
    let lead_ns = from_ns.saturating_sub(LEAD_DAYS * DAY_NS);
    // Up to the same moment as replay.
    let read = Window { from_ns: Some(lead_ns), ..Window::last_days(0, now_ns) };
    let (rows, joined) = resolved(&args.journal, &args.outcomes, read)?;
    for fault in &joined.faults {
        printer.warn(fault);
    }
    let checkpoint = loaded.as_ref().map(Loaded::reference);
    let options = DiagnoseOptions { spec: args.reward_spec, from_ns, now_ns, checkpoint };
    let diagnosis = diagnose(&rows, &options);
    if diagnosis.points == 0 {
        return Err(nothing(&args, &joined)).with_hint(
            || "`convminer outcomes import` brings truths; --window looks further back",
        );
    }
    for note in &diagnosis.notes {
        printer.warn(note);
    }
    write(&args, &diagnosis, printer)?;
    if args.json {
        printer.out(serde_json::to_string_pretty(&diagnosis)?)?;
    } else {
        printer.out(shown::as_text(&diagnosis))?;
    }
    Ok(ExitStatus::Success)
}

/// The checkpoint that was named, or the latest one; none if none was ever made.
fn load(named: Option<PathBuf>, printer: &Printer) -> anyhow::Result<Option<Loaded>> {
    let none =
        matches!(checkpoint::latest(Path::new(CHECKPOINTS)), Err(CheckpointError::NoLatest { .. }));
    if named.is_none() && none && !shipped().is_dir() {
        printer.note("there is no checkpoint to compare with");
        return Ok(None);
    }
    Loaded::new(&checkpoint_path(named)?).map(Some)
}

/// Why there is nothing to diagnose.
fn nothing(args: &DiagnoseArgs, joined: &JoinReport) -> anyhow::Error {
    let (journal, outcomes) = (args.journal.display(), args.outcomes.display());
    let hours = args.window / (3600 * SECOND_NS);
    let window = if hours.is_multiple_of(24) {
        format!("{} days", hours / 24)
    } else {
        format!("{hours} hours")
    };
    if joined.records == 0 {
        let found = if args.journal.is_dir() { "there are none" } else { "it is no folder" };
        return anyhow!("expected answers of the last {window} in `{journal}`, but {found}");
    }
    anyhow!(
        "expected some answers of the last {window} in `{journal}` to have a known truth, but none \
         has; `{outcomes}` has that of {} conversations",
        joined.outcomes
    )
}

fn write(args: &DiagnoseArgs, diagnosis: &Diagnosis, printer: &Printer) -> anyhow::Result<()> {
    let mut json = serde_json::to_vec_pretty(diagnosis)?;
    json.push(b'\n');
    let page = args.html.as_ref().map(|path| (path, page(diagnosis).into_bytes()));
    for (path, content) in [(&args.out, json)].into_iter().chain(page) {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        folder
            .map_or(Ok(()), std::fs::create_dir_all)
            .and_then(|()| files::write_atomically(path, &content))
            .with_context(|| format!("cannot write `{}`", path.display()))?;
        printer.note(format_args!("wrote {}", path.display()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_as_people_write_them() {
        for (text, expected) in [
            ("7d", Some(7 * DAY_NS)),
            ("24h", Some(DAY_NS)),
            (" 30d ", Some(30 * DAY_NS)),
            ("0d", None),
            ("7", None),
            ("d", None),
            ("7dd", None),
            ("-1d", None),
            ("1.5d", None),
            ("", None),
            ("999999999999999d", None),
        ] {
            assert_eq!(window(text).ok(), expected, "{text}");
        }
    }
}
