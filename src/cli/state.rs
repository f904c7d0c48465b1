//! `convminer state`.

use std::path::PathBuf;

use anyhow::Context as _;
use serde_json::json;

use super::ExitStatus;
use super::printer::Printer;
use crate::clock::{Clock as _, Moment, SystemClock};
use crate::serve::state::{Held, StateEntry, survey};

/// The arguments of `convminer state`.
#[derive(Debug, clap::Args)]
pub struct StateArgs {
    #[command(subcommand)]
    what: What,
    /// The folder of what outlives the process
    #[arg(long, global = true, value_name = "FOLDER", default_value = "data/state")]
    state_dir: PathBuf,
    /// Print the results as JSON
    #[arg(long, global = true, num_args = 0..=1, default_value = "false",
          default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set)]
    json: bool,
}

#[derive(Debug, Clone, Copy, clap::Subcommand)]
enum What {
    /// Show what each file of state holds
    Show,
    /// Check each file of state; the exit code is 1 if one is damaged
    Check,
}

/// Shows or checks what a miner keeps over a restart.
///
/// # Errors
///
/// If the folder or a file in it cannot be read.
pub fn run(args: StateArgs, printer: &Printer) -> anyhow::Result<ExitStatus> {
    let now_ns = SystemClock.now_ns();
    let entries = survey(&args.state_dir, now_ns)
        .with_context(|| format!("cannot read `{}`", args.state_dir.display()))?;
    if entries.is_empty() {
        printer.note(format_args!("there is no state in `{}`", args.state_dir.display()));
    }
    match args.what {
        What::Show => show(&entries, now_ns, args.json, printer),
        What::Check => check(&entries, args.json, printer),
    }
}

fn show(
    entries: &[StateEntry],
    now_ns: u64,
    json: bool,
    printer: &Printer,
) -> anyhow::Result<ExitStatus> {
    if json {
        printer.out(serde_json::to_string_pretty(entries)?)?;
        return Ok(ExitStatus::Success);
    }
    for entry in entries {
        let saved = entry.saved_ns.map_or(String::new(), |saved_ns| {
            let age = age(now_ns.saturating_sub(saved_ns) / 1_000_000_000);
            format!("  saved {} ({age} ago)", Moment::of_ns(saved_ns).rfc3339())
        });
        printer.out(format_args!("{}{saved}", entry.path.display()))?;
        let lines = match &entry.held {
            Held::Sound(summary) => summary.lines(),
            Held::Damaged { reason, .. } => vec![format!("DAMAGED: {reason}")],
            Held::SetAside => vec!["set aside by a miner, because it was damaged".to_owned()],
            Held::Unknown => vec!["not of convminer".to_owned()],
        };
        for line in lines {
            printer.out(format_args!("  {line}"))?;
        }
    }
    Ok(ExitStatus::Success)
}

fn check(entries: &[StateEntry], json: bool, printer: &Printer) -> anyhow::Result<ExitStatus> {
    let mut results = Vec::new();
    let mut is_sound = true;
    for entry in entries {
        let path = entry.path.display();
        let (result, reason) = match &entry.held {
            Held::Sound(_) => ("sound", None),
            Held::Damaged { reason, advice } => {
                is_sound = false;
                printer.warn(format_args!("`{path}` is damaged: {reason}. What to do: {advice}"));
                ("damaged", Some(reason))
            }
            Held::SetAside => {
                printer.note(format_args!(
                    "`{path}` was damaged and set aside; no miner reads it, so it can be removed"
                ));
                ("set aside", None)
            }
            Held::Unknown => ("unknown", None),
        };
        if json {
            results.push(json!({"path": entry.path, "result": result, "reason": reason}));
        } else {
            printer.out(format_args!("{result:<9}  {path}"))?;
        }
    }
    if json {
        printer.out(serde_json::to_string_pretty(&results)?)?;
    }
    Ok(if is_sound { ExitStatus::Success } else { ExitStatus::No })
}

/// A time in its largest whole unit.
fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_told_in_whole_units() {
        for (seconds, expected) in
            [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (172_800, "2 days")]
        {
            assert_eq!(age(seconds), expected);
        }
    }
}
