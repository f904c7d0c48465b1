//! `convminer simulate`.

use std::path::PathBuf;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};

use super::ExitStatus;
use super::printer::Printer;
use crate::files;
use crate::simulate::page::page;
use crate::simulate::plan::{Plan, Scenario};
use crate::simulate::result::{Simulation, Way};
use crate::simulate::simulate;

/// The arguments of `convminer simulate`.
#[derive(Debug, clap::Args)]
pub struct SimulateArgs {
    /// What happens: drift, flip or outage
    #[arg(long, value_name = "SCENARIO")]
    scenario: Scenario,
    /// How many days
    #[arg(long, value_name = "N", default_value_t = 60,
          value_parser = clap::value_parser!(u16).range(2..=3650))]
    days: u16,
    /// The day on which it happens, the first one being 0
    #[arg(long, value_name = "DAY", default_value_t = 20)]
    event_day: u16,
    /// How many conversations the validator asks about each day
    #[arg(long, value_name = "N", default_value_t = 400,
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    per_day: u32,
    /// How many conversations the first model learns from
    #[arg(long, value_name = "N", default_value_t = 4000,
          value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    training_rows: u32,
    /// Seed of everything random
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// The page to write
    #[arg(long, value_name = "FILE", default_value = "simulation.html")]
    out: PathBuf,
    /// Where the miners' files are kept; they are removed at the end unless this is given
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
    /// Print all numbers as JSON
    #[arg(long, num_args = 0..=1, default_value = "false", default_missing_value = "true",
          require_equals = true, action = clap::ArgAction::Set)]
    json: bool,
}

/// Lets miners live through some days, and shows what each earned.
pub(super) fn run(args: &SimulateArgs, printer: &Printer) -> anyhow::Result<ExitStatus> {
    let plan = Plan {
        scenario: args.scenario,
        days: usize::from(args.days),
        event_day: usize::from(args.event_day),
        per_day: args.per_day as usize,
        training_rows: args.training_rows as usize,
        seed: args.seed,
    };
    anyhow::ensure!(
        plan.event_day < plan.days,
        "expected an --event-day below --days, which is {}, but it is {}",
        plan.days,
        plan.event_day
    );
    let temporary = std::env::temp_dir().join(format!("convminer-simulate-{}", std::process::id()));
    let folder = args.keep.clone().unwrap_or_else(|| temporary.clone());
    let bar = printer.bars().add(ProgressBar::new(plan.days as u64));
    bar.set_style(
        ProgressStyle::with_template("{prefix} day {pos}/{len} {wide_bar} {elapsed} {msg}")
            .context("the progress bar's template. This is a bug.")?,
    );
    bar.set_prefix(plan.scenario.name());
    let result = simulate(&plan, &folder, &mut |day| {
        bar.set_position(day.day as u64 + 1);
        bar.set_message(format!("frozen {:.3}, learning {:.3}", day.miners[0], day.miners[2]));
    });
    bar.finish_and_clear();
    if args.keep.is_none() {
        // What is left behind is only disk space.
        let _ = std::fs::remove_dir_all(&temporary);
    }
    let simulation = result?;
    files::write_atomically(&args.out, page(&simulation).as_bytes())
        .with_context(|| format!("`{}` cannot be written", args.out.display()))?;
    if args.json {
        printer.out(serde_json::to_string_pretty(&simulation)?)?;
    } else {
        printer.out(table(&simulation))?;
    }
    printer.note(format_args!("wrote {}", args.out.display()));
    Ok(ExitStatus::Success)
}

/// The weeks, and what they come to.
fn table(simulation: &Simulation) -> String {
    let [frozen, calibrated, learning] = Way::ALL.map(Way::name);
    let mut text =
        format!("{:>9} {:>13} {frozen:>9} {calibrated:>15} {learning:>9}\n", "days", "best");
    for week in simulation.days.chunks(7) {
        let mean = |of: &dyn Fn(&crate::simulate::result::Day) -> f64| {
            week.iter().map(of).sum::<f64>() / week.len() as f64
        };
        let (first, last) = (week[0].day, week[week.len() - 1].day);
        text += &format!(
            "{:>9} {:>13.4} {:>9.4} {:>15.4} {:>9.4}\n",
            format!("{first}-{last}"),
            mean(&|day| day.best),
            mean(&|day| day.miners[0]),
            mean(&|day| day.miners[1]),
            mean(&|day| day.miners[2]),
        );
    }
    for event in &simulation.events {
        text += &format!("day {}: {}\n", event.day, event.what);
    }
    let summary = &simulation.summary;
    text += &format!(
        "learning over frozen: {:+.2} % over all days, {:+.2} % in its worst week",
        100.0 * summary.learning_over_frozen,
        100.0 * summary.worst_week
    );
    if let Some([_, calibrated, learning]) = summary.recovered {
        text += &format!(
            "\nof what the drift cost, a week later: {:.0} % is back by learning, {:.0} % by \
             calibration only",
            100.0 * learning,
            100.0 * calibrated
        );
    }
    text
}
