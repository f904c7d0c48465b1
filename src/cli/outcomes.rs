//! `convminer outcomes`: what really happened to conversations.

mod fetch;
mod import;
mod shown;

use std::path::PathBuf;

use serde_json::json;

use super::ExitStatus;
use super::api::ApiArgs;
use super::printer::Printer;
use crate::outcomes::OutcomeSet;

/// The arguments of `convminer outcomes`.
#[derive(Debug, clap::Args)]
pub struct OutcomesArgs {
    #[command(subcommand)]
    action: Action,
    /// The folder with what really happened
    #[arg(long, global = true, value_name = "FOLDER", default_value = "data/outcomes")]
    outcomes: PathBuf,
    /// With import: import nothing if a row makes no sense
    #[arg(long, global = true, num_args = 0..=1, default_value = "false",
          default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set)]
    strict: bool,
    /// Print JSON
    #[arg(long, global = true, num_args = 0..=1, default_value = "false",
          default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set)]
    json: bool,
    #[command(flatten)]
    asked: fetch::Asked,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Take outcomes from tables with a test_pk or session_id and labels: .parquet, .csv or .ndjson
    Import {
        /// The tables
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
    },
    /// Ask the data API what became of the conversations in the journal
    Fetch,
    /// Show how much is known, and what contradicts itself
    Show,
}

/// Does what was named.
///
/// # Errors
///
/// If outcomes cannot be read or stored, or the data API cannot be asked.
pub fn run(args: OutcomesArgs, printer: &Printer) -> anyhow::Result<ExitStatus> {
    match &args.action {
        Action::Import { files } => import::run(files, &args, printer),
        Action::Fetch => fetch::run(&args, printer),
        Action::Show => show(&args, printer),
    }
}

fn show(args: &OutcomesArgs, printer: &Printer) -> anyhow::Result<ExitStatus> {
    let set = OutcomeSet::read(&args.outcomes)?;
    warn_of_unreadable(&set, printer);
    let summary = shown::Summary::of(&set);
    if args.json {
        printer.out(serde_json::to_string_pretty(&json!({
            "outcomes": args.outcomes,
            "summary": summary,
            "contradictions": shown::contradictions(set.contradictions()),
        }))?)?;
    } else {
        printer.out(format_args!("{}: {summary}", args.outcomes.display()))?;
        shown::warn_of(set.contradictions(), printer);
    }
    Ok(ExitStatus::Success)
}

/// A warning of each line that cannot be read, or of the first few.
fn warn_of_unreadable(set: &OutcomeSet, printer: &Printer) {
    for unreadable in set.unreadable().iter().take(shown::EXAMPLES) {
        let (path, line, reason) = (unreadable.path.display(), unreadable.line, &unreadable.reason);
        printer.warn(format_args!("`{path}`: line {line} is no outcome: {reason}"));
    }
    if set.unreadable().len() > shown::EXAMPLES {
        let more = set.unreadable().len() - shown::EXAMPLES;
        printer.warn(format_args!("{more} more lines are no outcomes"));
    }
}
