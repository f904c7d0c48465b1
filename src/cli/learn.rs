//! `convminer learn`.

use std::path::PathBuf;

use super::ExitStatus;
use super::common::CHECKPOINTS;
use super::error::WithHint as _;
use super::logged::LoggedData;
use super::printer::Printer;
use crate::causes::with_causes;
use crate::learn::{self, Folders, LearnError, LearnRules, Outcome, Step};

/// The arguments of `convminer learn`.
#[derive(Debug, clap::Args)]
pub struct LearnArgs {
    #[command(flatten)]
    logged: LoggedData,
    /// The folder of what outlives the process
    #[arg(long, value_name = "FOLDER", default_value = "data/state")]
    state_dir: PathBuf,
    /// The numbers of a diagnosis: if they say that something has drifted, and nothing was learned
    /// or promoted since, it is time to learn
    #[arg(long, value_name = "FILE", default_value = "data/diagnostics.json")]
    diagnostics: PathBuf,
    /// New truths that are needed to learn
    #[arg(long, value_name = "N", default_value_t = 100,
          value_parser = clap::value_parser!(u64).range(20..))]
    min_truths: u64,
    /// Hours between two times that it is looked whether to learn, promote or demote; if something
    /// has drifted, it is seen in a quarter of that
    #[arg(long, value_name = "HOURS", default_value_t = 24.0, value_parser = hours)]
    every_hours: f64,
    /// Conversations with a known truth that a promotion needs
    #[arg(long, value_name = "N", default_value_t = 200,
          value_parser = clap::value_parser!(u64).range(20..))]
    promotion_truths: u64,
    /// Hours that these conversations must span
    #[arg(long, value_name = "HOURS", default_value_t = 48.0, value_parser = hours)]
    promotion_hours: f64,
    /// Seed of everything random
    #[arg(long, value_name = "N", default_value_t = 7)]
    seed: u64,
    /// Look at once, though it is not time to
    #[arg(long, num_args = 0..=1, default_value = "false", default_missing_value = "true",
          require_equals = true, action = clap::ArgAction::Set)]
    force: bool,
    /// Give way to all other processes
    #[arg(long, num_args = 0..=1, default_value = "false", default_missing_value = "true",
          require_equals = true, action = clap::ArgAction::Set)]
    low_priority: bool,
    /// Print what was done as JSON
    #[arg(long, num_args = 0..=1, default_value = "false", default_missing_value = "true",
          require_equals = true, action = clap::ArgAction::Set)]
    json: bool,
}

/// A number of hours, 0 or more.
pub(super) fn hours(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(hours) if (0.0..f64::INFINITY).contains(&hours) => Ok(hours),
        _ => Err("expected a number of hours, 0 or more".to_owned()),
    }
}

/// Does what is due: judges the checkpoint in shadow, and lets a copy of the served one learn on.
///
/// # Errors
///
/// If the served checkpoint, the answers or the truths cannot be read, something cannot be written, or
/// another process is learning.
pub fn run(args: LearnArgs, printer: &Printer) -> anyhow::Result<ExitStatus> {
    if args.low_priority {
        // To the least there is; whoever may not even do that goes on as it is.
        if let Err(error) = rustix::process::nice(19) {
            printer.warn(format_args!("the priority stays as it is: {error}"));
        }
    }
    let now_ns = args.logged.now_ns();
    let folders = Folders {
        checkpoints: PathBuf::from(CHECKPOINTS),
        journal: args.logged.journal,
        outcomes: args.logged.outcomes,
        state: args.state_dir,
    };
    let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let rules = LearnRules {
        seed: args.seed,
        every_hours: args.every_hours,
        drift_hours: args.every_hours / 4.0,
        least_truths: count(args.min_truths),
        window_days: args.logged.days,
        promotion_truths: count(args.promotion_truths),
        promotion_hours: args.promotion_hours,
        ..LearnRules::default()
    };
    // Without it, learning goes on as it would.
    let flagged_ns = learn::flagged_ns(&args.diagnostics).unwrap_or_else(|error| {
        printer.warn(with_causes(&error));
        None
    });
    let step = match learn::step_flagged(&folders, &rules, now_ns, args.force, flagged_ns) {
        Err(error @ LearnError::Busy { .. }) => {
            return Err(error).with_hint(|| "it will be done soon; one at a time is enough");
        }
        step => step?,
    };
    for warning in &step.warnings {
        printer.warn(warning);
    }
    if args.json {
        printer.out(serde_json::to_string_pretty(&step)?)?;
    } else {
        print(&step, printer)?;
    }
    Ok(ExitStatus::Success)
}

fn print(step: &Step, printer: &Printer) -> std::io::Result<()> {
    printer.out(match step.outcome {
        Outcome::NotDue => "nothing was due",
        Outcome::Nothing => "everything stays as it is",
        Outcome::Learned => "a new checkpoint has learned",
        Outcome::Dropped => "the checkpoint in shadow was dropped",
        Outcome::Promoted => "the checkpoint in shadow was promoted",
        Outcome::Restored => "the checkpoint that was served before is served again",
    })?;
    for reason in &step.reasons {
        printer.out(format_args!("  {reason}"))?;
    }
    printer.out(format_args!("served      {}", step.champion))?;
    let rival = step.rival.as_ref().map_or("-", |rival| rival.checkpoint.as_str());
    printer.out(format_args!("in shadow   {rival}"))
}
