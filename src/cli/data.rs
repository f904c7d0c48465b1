//! `convminer data`: the data API's training and test sets.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use serde_json::json;

use super::ExitStatus;
use super::api::{ApiArgs, Progress, stopped};
use super::error::WithHint as _;
use super::printer::Printer;
use crate::features::table::Format;
use crate::outcomes::api::dataset::{self, Dataset, DatasetError, Set, Wanted};

/// The arguments of `convminer data`.
#[derive(Debug, clap::Args)]
pub struct DataArgs {
    #[command(subcommand)]
    action: Action,
    /// Which set: training or test
    #[arg(long, global = true, value_name = "SET")]
    set: Option<SetName>,
    /// Where to write it: a name ending in .parquet or .pq
    #[arg(long, global = true, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The round [default: the current one]
    #[arg(long, global = true, value_name = "N")]
    round: Option<u64>,
    /// Fetch N rows at most
    #[arg(long, global = true, value_name = "N")]
    limit: Option<usize>,
    /// Ask for N rows at once
    #[arg(long, global = true, value_name = "N", default_value_t = 1000,
          value_parser = clap::value_parser!(u32).range(1..))]
    page_rows: u32,
    /// The set's path below the base address [default: the network's]
    #[arg(long = "api.path", global = true, value_name = "PATH")]
    api_path: Option<String>,
    /// Print a summary as JSON
    #[arg(long, global = true, num_args = 0..=1, default_value = "false",
          default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set)]
    json: bool,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Fetch a set into a file that `train`, `evaluate` and `predict` read
    Fetch,
}

/// The sets by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum SetName {
    /// Conversations whose outcome is known
    Training,
    /// Conversations whose outcome validators ask for
    Test,
}

/// Does what was named.
///
/// # Errors
///
/// If the data API cannot be asked or has no usable answer, or the file cannot be written.
pub fn run(args: DataArgs, printer: &Printer) -> anyhow::Result<ExitStatus> {
    match args.action {
        Action::Fetch => fetch(&args, printer),
    }
}

fn fetch(args: &DataArgs, printer: &Printer) -> anyhow::Result<ExitStatus> {
    let set = match args.set.context("expected --set training or --set test")? {
        SetName::Training => Set::Training,
        SetName::Test => Set::Test,
    };
    let out = args.out.as_deref().context("expected --out with the file to write")?;
    if Format::of(out).ok() != Some(Format::Parquet) {
        return Err(anyhow!("`{}`: expected a name that ends in .parquet or .pq", out.display()));
    }
    let mut caller = args.api.caller(printer)?;
    let wanted = Wanted {
        set,
        path: args.api_path.clone().unwrap_or_else(|| set.path().to_owned()),
        round: args.round,
        page_rows: args.page_rows as usize,
        most_rows: args.limit.unwrap_or(usize::MAX),
    };
    let mut progress = Progress::new(None, "rows", printer)?;
    let fetched = dataset::fetch(&mut caller, &wanted, &mut progress);
    progress.finish();
    let dataset = match fetched {
        Err(DatasetError::Stopped(stop)) => return Err(stopped(stop)),
        Err(error @ DatasetError::Unknown { .. }) => {
            return Err(error).with_hint(|| "--api.url is its address, --api.path the set's path");
        }
        fetched => fetched?,
    };
    dataset::write(out, set, &dataset.rows)?;
    tell(set, &dataset, out, args.json, printer)?;
    Ok(ExitStatus::Success)
}

fn tell(
    set: Set,
    dataset: &Dataset,
    out: &Path,
    as_json: bool,
    printer: &Printer,
) -> anyhow::Result<()> {
    let Dataset { rows, round, date, unreadable, repeated } = dataset;
    if *unreadable > 0 {
        printer.warn(format_args!("{unreadable} values are not numbers and count as missing"));
    }
    if *repeated > 0 {
        printer.warn(format_args!("{repeated} rows came more than once: kept the first of each"));
    }
    let count = |is_such: fn(&dataset::Row) -> bool| rows.iter().filter(|row| is_such(row)).count();
    let converted = count(|row| row.converted == Some(true));
    let untimed = count(|row| row.converted == Some(true) && row.time_seconds.is_none());
    let unlabelled = count(|row| row.converted.is_none());
    if set == Set::Training && untimed + unlabelled > 0 {
        printer.warn(format_args!(
            "{untimed} rows converted without a time and {unlabelled} have no label: \
             `convminer train` wants --drop-invalid"
        ));
    }
    let (total, name) = (rows.len(), out.display());
    let round_text = round.as_ref().map_or(String::new(), |round| format!(" of round {round}"));
    printer.note(format_args!("wrote {total} conversations{round_text} to `{name}`"));
    if as_json {
        let labels = (set == Set::Training).then(
            || json!({ "converted": converted, "untimed": untimed, "unlabelled": unlabelled }),
        );
        printer.out(json!({
            "out": out, "rows": total, "round": round, "date": date, "labels": labels,
            "unreadable": unreadable, "repeated": repeated,
        }))?;
    }
    Ok(())
}
