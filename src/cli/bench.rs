//! `convminer bench`: measures a miner from outside, as those see it who call it.

use super::ExitStatus;
use super::printer::Printer;

mod candidates;
mod serve;
mod shown;

/// The arguments of `convminer bench`.
#[derive(Debug, clap::Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Send signed requests to an axon, and show how fast and how well it answers
    Serve(Box<serve::BenchServeArgs>),
}

/// Measures what was named.
///
/// # Errors
///
/// If it cannot be measured at all.
pub fn run(args: BenchArgs, printer: &Printer) -> anyhow::Result<ExitStatus> {
    match args.what {
        What::Serve(args) => serve::run(*args, printer),
    }
}
