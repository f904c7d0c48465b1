//! `convminer devices`.

use serde_json::json;

use super::ExitStatus;
use super::device;
use super::printer::{Line, Printer};
use crate::model::device::{self as devices, Listed, probe};

/// The arguments of `convminer devices`.
#[derive(Debug, clap::Args)]
pub struct DevicesArgs {
    /// Ask one driver in this process, and print its answer: what a crash would end
    #[arg(long, value_name = "QUESTION", hide = true)]
    probe: Option<String>,
    /// Print the devices as JSON
    #[arg(long, num_args = 0..=1, default_value = "false", default_missing_value = "true",
          require_equals = true, action = clap::ArgAction::Set)]
    json: bool,
}

/// Prints where this program can compute, and whether it computes rightly there.
///
/// # Errors
///
/// If stdout cannot be written.
pub fn run(args: DevicesArgs, printer: &Printer) -> anyhow::Result<ExitStatus> {
    if let Some(question) = args.probe {
        printer.out(probe::answer(&question)?)?;
        return Ok(ExitStatus::Success);
    }
    let (listed, inventory) = devices::list(&device::probe()?);
    let faults = inventory.faults().iter();
    if args.json {
        let faults: Vec<_> =
            faults.map(|(api, it)| json!({ "backend": api, "fault": it.to_string() })).collect();
        let all = json!({ "devices": listed, "faults": faults });
        printer.out(serde_json::to_string_pretty(&all)?)?;
        return Ok(ExitStatus::Success);
    }
    print(&listed, printer)?;
    for (api, fault) in faults {
        printer.warn(format_args!("looking for adapters by {api} failed: {fault}"));
    }
    if inventory.gpus().next().is_none() && inventory.faults().is_empty() {
        printer.note(format_args!("no GPU: {}", inventory.missing()));
    }
    Ok(ExitStatus::Success)
}

const HEADINGS: [&str; 7] = ["device", "name", "type", "backend", "driver", "memory", "works"];

fn print(listed: &[Listed], printer: &Printer) -> std::io::Result<()> {
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    rows.extend(listed.iter().map(cells));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; 7] = std::array::from_fn(|column| width(column).unwrap_or(0));
    for row in &rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        let cells: Vec<String> = cells.collect();
        // Names are the drivers'.
        printer.out(Line(cells.join("  ").trim_end()))?;
    }
    Ok(())
}

fn cells(listed: &Listed) -> [String; 7] {
    let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    [
        listed.device.join(", "),
        listed.name.clone(),
        listed.kind.clone(),
        listed.backend.clone(),
        or_dash(&listed.driver),
        listed.memory.to_string(),
        listed.fault.as_ref().map_or("yes".to_owned(), |fault| format!("no: {fault}")),
    ]
}
