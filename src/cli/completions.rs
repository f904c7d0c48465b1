//! `convminer completions`: the script that lets a shell complete the command line.

use std::io::Write as _;

use clap_complete::Shell;

use super::printer::Printer;
use super::{ExitStatus, settings};

/// The arguments of `convminer completions`.
#[derive(Debug, clap::Args)]
pub struct CompletionsArgs {
    /// The shell that the script is for
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

/// Writes the script to stdout.
///
/// # Errors
/// When stdout cannot be written.
pub fn run(args: CompletionsArgs, printer: &Printer) -> anyhow::Result<ExitStatus> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut settings::tree(), "convminer", &mut script);
    let mut stdout = printer.stdout();
    stdout.write_all(&script)?;
    stdout.flush()?;
    Ok(ExitStatus::Success)
}
