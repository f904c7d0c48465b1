//! `convminer models`.

use std::path::PathBuf;

use serde_json::json;

use super::ExitStatus;
use super::common::CHECKPOINTS;
use super::error::WithHint as _;
use super::logged::LoggedData;
use super::printer::Printer;
use crate::clock::{Clock as _, SystemClock};
use crate::learn::{self, Folders, LearnError, Listed, Standing};
use crate::tune::SetClock;

/// The arguments of `convminer models`.
#[derive(Debug, clap::Args)]
pub struct ModelsArgs {
    #[command(subcommand)]
    action: Action,
    /// The folder of what outlives the miner, with what is remembered of learning in it
    #[arg(long, global = true, value_name = "FOLDER", default_value = "data/state")]
    state_dir: PathBuf,
    /// Print the result as JSON
    #[arg(long, global = true, num_args = 0..=1, default_value = "false",
          default_missing_value = "true", require_equals = true,
          action = clap::ArgAction::Set)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Show the checkpoints: where they come from, what they earn, and which one is served
    List {
        #[command(flatten)]
        logged: LoggedData,
    },
    /// Let a checkpoint be served; a running miner takes it up
    Promote {
        /// The name of its folder in checkpoints/
        name: String,
        /// Why, for the record
        #[arg(long, value_name = "TEXT", default_value = "by hand")]
        reason: String,
        /// The moment to take for now
        #[arg(long, value_name = "RFC3339", hide = true)]
        now: Option<SetClock>,
    },
    /// Go back to the checkpoint that was served before
    Rollback {
        /// Why, for the record
        #[arg(long, value_name = "TEXT", default_value = "by hand")]
        reason: String,
        /// The moment to take for now
        #[arg(long, value_name = "RFC3339", hide = true)]
        now: Option<SetClock>,
    },
}

/// Shows the checkpoints, or changes which one is served.
///
/// # Errors
///
/// If a folder cannot be read, a checkpoint cannot be served, or another process is learning.
pub fn run(args: ModelsArgs, printer: &Printer) -> anyhow::Result<ExitStatus> {
    let mut folders = Folders {
        checkpoints: PathBuf::from(CHECKPOINTS),
        journal: PathBuf::new(),
        outcomes: PathBuf::new(),
        state: args.state_dir,
    };
    let (served, before) = match args.action {
        Action::List { logged } => {
            let window = logged.window();
            (folders.journal, folders.outcomes) = (logged.journal, logged.outcomes);
            let listed = learn::list(&folders, window)?;
            if args.json {
                printer.out(serde_json::to_string_pretty(&listed)?)?;
            } else {
                print(&listed, printer)?;
            }
            return Ok(ExitStatus::Success);
        }
        Action::Promote { name, reason, now } => {
            let before = or_hint(learn::promote(&folders, &name, &reason, now_ns(now)))?;
            (name, before)
        }
        Action::Rollback { reason, now } => {
            or_hint(learn::rollback(&folders, &reason, now_ns(now)))?
        }
    };
    if args.json {
        printer
            .out(serde_json::to_string_pretty(&json!({ "served": served, "before": before }))?)?;
    } else {
        printer.out(format_args!("{served} is served from now on, and not {before} any more"))?;
    }
    Ok(ExitStatus::Success)
}

fn now_ns(now: Option<SetClock>) -> u64 {
    now.map_or_else(|| SystemClock.now_ns(), |clock| clock.now_ns())
}

fn or_hint<T>(result: Result<T, LearnError>) -> anyhow::Result<T> {
    match result {
        Err(error @ (LearnError::Checkpoint(_) | LearnError::NoHistory)) => {
            Err(error).with_hint(|| "`convminer models list` shows what there is")
        }
        result => Ok(result?),
    }
}

fn print(listed: &[Listed], printer: &Printer) -> std::io::Result<()> {
    let width = listed.iter().map(|one| one.name.len()).max().unwrap_or(0).max(10);
    printer.out(format_args!(
        "{:<width$}  {:<10}  {:<20}  {:>7}  {:>9}  {:>16}  from",
        "checkpoint", "", "made", "truths", "validated", "earned"
    ))?;
    for one in listed {
        let standing = match one.standing {
            Some(Standing::Latest) => "latest",
            Some(Standing::Challenger) => "challenger",
            None => "",
        };
        let number = |number: Option<f64>| number.map_or("-".to_owned(), |it| format!("{it:.4}"));
        let earned = one.earned.map_or("-".to_owned(), |earned| {
            format!("{:.4} of {}", earned.mean_reward, earned.answers)
        });
        let from = match (&one.fault, &one.lineage) {
            (Some(fault), _) => fault.as_str(),
            (None, Some(lineage)) => lineage.parent.as_str(),
            (None, None) => "-",
        };
        printer.out(format_args!(
            "{:<width$}  {standing:<10}  {:<20}  {:>7}  {:>9}  {earned:>16}  {from}",
            one.name,
            one.created.as_deref().unwrap_or("-"),
            one.rows,
            number(one.validated),
        ))?;
    }
    Ok(())
}
