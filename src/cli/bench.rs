//! `convminer bench`: measures a miner from outside, as those see it who call it, and how fast
//! networks are trained.

use super::ExitStatus;
use super::printer::Printer;

mod candidates;
mod serve;
mod shown;
mod train;
mod training;

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
    /// Train networks, and show how many rows a second they learn and how many they could at best
    Train(Box<train::BenchTrainArgs>),
}

/// Measures what was named.
///
/// # Errors
///
/// If it cannot be measured at all.
pub fn run(args: BenchArgs, printer: &Printer) -> anyhow::Result<ExitStatus> {
    match args.what {
        What::Serve(args) => serve::run(*args, printer),
        What::Train(args) => train::run(*args, printer),
    }
}
