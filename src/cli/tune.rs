//! `convminer tune`.

mod shown;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::anyhow;
use serde::Serialize;

use super::ExitStatus;
use super::common::checkpoint_path;
use super::error::WithHint as _;
use super::printer::Printer;
use crate::clock::{Clock as _, SystemClock};
use crate::tune::{
    Bar, Decision, Evidence, HEAD_FILE, LimitOf, Limits, Parameter, Rules, SetClock, TuneError,
    Tuning, Wish, history_path, inspect, suggest,
};

/// The arguments of `convminer tune`.
#[derive(Debug, clap::Args)]
pub struct TuneArgs {
    #[command(subcommand)]
    action: Action,
    /// The folder of what outlives the miner, with the history of tuning in it
    #[arg(long, global = true, value_name = "FOLDER", default_value = "data/state")]
    state_dir: PathBuf,
    /// Print JSON
    #[arg(long, global = true, num_args = 0..=1, default_value = "false",
          default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set)]
    json: bool,
    #[command(flatten)]
    rules: RuleArgs,
    #[command(flatten)]
    bar: BarArgs,
    /// The moment to take for now
    #[arg(long, global = true, value_name = "RFC3339", hide = true)]
    now: Option<SetClock>,
}

/// What every change is held to.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Rules")]
struct RuleArgs {
    /// Days since mining began in which nothing is tuned
    #[arg(long, global = true, value_name = "DAYS", default_value_t = Rules::default().first_days,
          value_parser = clap::value_parser!(u32).range(0..=3650))]
    first_days: u32,
    /// Days between two changes of one parameter
    #[arg(long, global = true, value_name = "DAYS", default_value_t = Rules::default().between_days,
          value_parser = clap::value_parser!(u32).range(0..=3650))]
    between_days: u32,
    /// Days after any change in which nothing else is changed
    #[arg(long, global = true, value_name = "DAYS",
          default_value_t = Rules::default().observation_days,
          value_parser = clap::value_parser!(u32).range(0..=3650))]
    observation_days: u32,
    /// Other bounds and another largest step for a parameter, several separated by commas
    #[arg(long, global = true, value_name = "NAME=LOWEST..HIGHEST/STEP", value_delimiter = ',')]
    limits: Vec<LimitOf>,
}

/// What makes performance bad enough for a suggestion.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Suggestions")]
struct BarArgs {
    /// Suggest nothing on fewer answers with a known truth
    #[arg(long, global = true, value_name = "N", default_value_t = Bar::default().least_points)]
    least_points: u64,
    /// Suggest nothing for less reward an answer
    #[arg(long, global = true, value_name = "REWARD", default_value_t = Bar::default().least_gain,
          value_parser = not_negative)]
    least_gain: f64,
    /// Suggest nothing where a gain is not more than N of its standard errors
    #[arg(long, global = true, value_name = "N", default_value_t = Bar::default().standard_errors,
          value_parser = not_negative)]
    standard_errors: f64,
    /// Suggest nothing where confidences are less off on average
    #[arg(long, global = true, value_name = "ECE", default_value_t = Bar::default().least_ece,
          value_parser = not_negative)]
    least_ece: f64,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Say whether a parameter may be changed now, and if not, why and from when on
    Check {
        /// What to change
        parameter: Parameter,
        /// Its value to be
        #[arg(allow_negative_numbers = true)]
        value: Option<f64>,
    },
    /// Write down a change that is allowed, to be applied later
    Propose {
        /// What to change
        parameter: Parameter,
        /// Its value to be
        #[arg(allow_negative_numbers = true)]
        value: f64,
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Make a change, or without PARAMETER the one that was proposed; a running miner takes it up
    Apply {
        /// What to change
        #[arg(requires = "value")]
        parameter: Option<Parameter>,
        /// Its value to be
        #[arg(allow_negative_numbers = true, requires = "reason")]
        value: Option<f64>,
        /// Why [default: as it was proposed]
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Go back to the value before the last change, at any time
    Revert {
        /// What was changed, to be sure that it is the one that is meant
        parameter: Option<Parameter>,
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Say what the last diagnosis speaks for changing, and why
    Suggest {
        /// What `convminer diagnose` wrote
        #[arg(long, value_name = "FILE", default_value = "data/diagnostics.json")]
        diagnostics: PathBuf,
        /// The checkpoint that is served, by its folder: a diagnosis of another one supports nothing
        /// [default: as for diagnose, the latest one]
        #[arg(long, value_name = "FOLDER")]
        checkpoint: Option<PathBuf>,
    },
    /// Show every parameter, its value and when it may be changed
    Current {
        /// The only one to show
        parameter: Option<Parameter>,
    },
    /// Show what was changed, when and why, and whether that record is as it was written
    History {
        /// Show only what was changed of this
        parameter: Option<Parameter>,
    },
}

fn not_negative(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if (0.0..=1e6).contains(&number) => Ok(number),
        _ => Err("expected a number of 0 or more".to_owned()),
    }
}

/// Asks for what may be tuned and how, or changes it.
///
/// # Errors
///
/// If the history cannot be read or written, or is not as it was written.
pub fn run(args: TuneArgs, printer: &Printer) -> anyhow::Result<ExitStatus> {
    let (tuning, bar) = (args.tuning(), args.bar());
    let path = history_path(&tuning.state_dir);
    let terminal = Terminal { printer, json: args.json };
    match act(args.action, &tuning, &bar, &terminal) {
        Ok(printed) => Ok(printed?),
        Err(error @ TuneError::Broken { .. }) => Err(error).with_hint(|| {
            format!(
                "`convminer tune history` shows it; put back a copy of it, or to begin a new one, give \
                 `{}` and `{HEAD_FILE}` beside it other names",
                path.display()
            )
        }),
        Err(error @ TuneError::Diagnosis { .. }) => {
            Err(error).with_hint(|| "`convminer diagnose` makes one")
        }
        Err(error) => Err(error.into()),
    }
}

/// Does what was asked for, and prints what came of it.
fn act(
    action: Action,
    tuning: &Tuning,
    bar: &Bar,
    terminal: &Terminal<'_>,
) -> Result<io::Result<ExitStatus>, TuneError> {
    Ok(match action {
        Action::Check { parameter, value } => {
            let verdict = tuning.check(parameter, value)?;
            terminal.print(verdict.is_allowed(), &verdict, || shown::verdict(&verdict))
        }
        Action::Propose { parameter, value, reason } => {
            let wish = Wish { parameter, to: value, reason };
            terminal.decided(&tuning.propose(&wish)?, "proposed")
        }
        Action::Apply { parameter: Some(parameter), value: Some(to), reason } => {
            let wish = Wish { parameter, to, reason: reason.unwrap_or_default() };
            terminal.decided(&tuning.apply(&wish)?, "applied")
        }
        Action::Apply { reason, .. } => {
            terminal.decided(&tuning.apply(&tuning.proposed(reason)?)?, "applied")
        }
        Action::Revert { parameter, reason } => {
            let entry = tuning.revert(parameter, &reason)?;
            if entry.time_ns > tuning.now_ns() {
                terminal.printer.warn("the clock is behind the history: set it right");
            }
            terminal.print(true, &entry, || shown::reverted(&entry))
        }
        Action::Suggest { diagnostics, checkpoint } => {
            let served = served(checkpoint);
            let found = suggest(tuning, &Evidence::read(&diagnostics)?, bar, served.as_deref())?;
            terminal.print(true, &found, || shown::suggestions(&found))
        }
        Action::Current { parameter } => {
            let mut standings = tuning.standings()?;
            standings.retain(|standing| parameter.is_none_or(|only| only == standing.parameter));
            terminal.print(true, &standings, || shown::standings(&standings))
        }
        Action::History { parameter } => {
            let (history, problem) = inspect(&tuning.state_dir)?;
            let is_intact = problem.is_none();
            let shown = shown::History::new(&history, problem, parameter);
            terminal.print(is_intact, &shown, || shown.to_string())
        }
    })
}

/// The name of the checkpoint that is served, as `diagnose` takes it and the journal has it; none
/// where there is no checkpoint.
fn served(named: Option<PathBuf>) -> Option<String> {
    let path = checkpoint_path(named).ok()?;
    Some(path.file_name()?.to_string_lossy().into_owned())
}

/// Where results go, and how.
struct Terminal<'a> {
    printer: &'a Printer,
    json: bool,
}

impl Terminal<'_> {
    /// Prints a result, which is the answer yes or no.
    fn print(
        &self,
        is_yes: bool,
        value: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> io::Result<ExitStatus> {
        if self.json {
            self.printer.out(serde_json::to_string_pretty(value)?)?;
        } else {
            self.printer.out(text())?;
        }
        Ok(if is_yes { ExitStatus::Success } else { ExitStatus::No })
    }

    /// Prints what became of a wish. A refusal is told like a failure: what was asked for was not done.
    fn decided(&self, decision: &Decision, what: &str) -> io::Result<ExitStatus> {
        let is_done = decision.entry.is_some();
        if is_done || self.json {
            return self.print(is_done, decision, || shown::decision(decision, what));
        }
        self.printer.error(&anyhow!(shown::decision(decision, what)));
        Ok(ExitStatus::No)
    }
}

impl TuneArgs {
    fn tuning(&self) -> Tuning {
        let RuleArgs { first_days, between_days, observation_days, ref limits } = self.rules;
        Tuning {
            state_dir: self.state_dir.clone(),
            rules: Rules { first_days, between_days, observation_days },
            limits: limits.iter().fold(Limits::default(), |all, limit| all.with(*limit)),
            clock: Arc::new(SystemClock),
            now_by_hand_ns: self.now.map(|clock| clock.now_ns()),
        }
    }

    fn bar(&self) -> Bar {
        let BarArgs { least_points, least_gain, standard_errors, least_ece } = self.bar;
        Bar { least_points, least_gain, standard_errors, least_ece }
    }
}
