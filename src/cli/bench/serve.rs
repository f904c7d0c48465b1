//! `convminer bench serve`.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};

use super::candidates::candidates;
use super::shown::{self, Bench, Run};
use crate::chain::{Keypair, PublicKey};
use crate::cli::ExitStatus;
use crate::cli::printer::Printer;
use crate::cli::serve::WalletArgs;
use crate::files;
use crate::load::{self, Floor, LoadConfig, LoadReport, Pace, ProcessUse, Question};

/// How long cryptography alone is measured, before the loads and again after them.
const FLOOR_TIME: Duration = Duration::from_secs(1);
/// How many signatures a second are made for the warm-up, when nothing is known of the server.
const FIRST_GUESS_PER_SECOND: f64 = 2000.0;
/// What is as good as no limit, in seconds.
const DAY: f64 = 86_400.0;

/// The arguments of `convminer bench serve`.
#[derive(Debug, clap::Args)]
pub(super) struct BenchServeArgs {
    /// Where the axon listens
    #[arg(long, value_name = "HOST:PORT", value_parser = address,
          required_unless_present = "write_metagraph")]
    axon: Option<SocketAddr>,
    /// The axon's hotkey: what is signed for another axon is refused
    #[arg(long, value_name = "SS58", value_parser = PublicKey::from_address, requires = "axon",
          required_unless_present = "write_metagraph")]
    hotkey: Option<PublicKey>,
    /// How many connections are kept open
    #[arg(long, value_name = "N", default_value_t = 16,
          value_parser = clap::value_parser!(u16).range(1..=10_000))]
    connections: u16,
    /// Open loop: so many requests are due a second, and each is timed from when it was due
    /// [default: closed loop, each connection asks again when it is answered]
    #[arg(long, value_name = "PER_SECOND", value_parser = positive)]
    rate: Option<f64>,
    /// Find the maximal rate by a closed loop, then measure an open loop at half of it
    #[arg(long, conflicts_with = "rate")]
    find_max: bool,
    /// How long to send requests, in seconds [default: 10, or as long as --requests takes]
    #[arg(long, value_name = "SECONDS", value_parser = positive)]
    duration: Option<f64>,
    /// Send at most N requests
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    requests: Option<u64>,
    /// How long to send requests before it counts, in seconds; 0 for not at all
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = not_negative)]
    warm_up: f64,
    /// How long to wait for an answer, in seconds; requests say so too
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0, value_parser = positive)]
    timeout: f64,
    /// The same seed gives the same conversations and the same throw-away keys
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Ask in the name of N hotkeys in turn; several, or without a wallet, are throw-away keys
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u16).range(1..=1024))]
    callers: u16,
    /// The stakes of the callers in the metagraph, in turn
    #[arg(long, value_name = "STAKE", value_delimiter = ',', default_value = "1000",
          value_parser = not_negative)]
    stake: Vec<f64>,
    /// Write a metagraph in which the callers are validators; without --axon, nothing else is done
    #[arg(long, value_name = "FILE")]
    write_metagraph: Option<PathBuf>,
    /// Check every answer: who signed it, and that it keeps the rules
    #[arg(long)]
    verify_answers: bool,
    /// Check that this checkpoint's networks or its baseline would answer the same; several may be
    /// given, one of which must
    #[arg(long, value_name = "FOLDER", requires = "verify_answers")]
    checkpoint: Vec<PathBuf>,
    /// Measure cryptography alone, before and after: one verification and one signature a request
    #[arg(long)]
    floor: bool,
    /// The server's process on this machine: show what it takes of memory and processors
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    #[command(flatten)]
    wallet: WalletArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let mut found = text.to_socket_addrs().map_err(|error| error.to_string())?;
    found.next().ok_or_else(|| "the host has no address".to_owned())
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if number > 0.0 && number <= 1e9 => Ok(number),
        _ => Err("expected a number above 0".to_owned()),
    }
}

fn not_negative(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if (0.0..=1e12).contains(&number) => Ok(number),
        _ => Err("expected a number of 0 or more".to_owned()),
    }
}

/// Measures an axon; the answer is "no" if it answered nothing, or anything wrong.
///
/// # Errors
///
/// If the load cannot be sent at all: a named wallet, checkpoint or process cannot be read.
pub(super) fn run(args: BenchServeArgs, printer: &Printer) -> anyhow::Result<ExitStatus> {
    let callers = callers(&args)?;
    if let Some(path) = &args.write_metagraph {
        write_metagraph(path, &callers, &args.stake)?;
        printer.note(format_args!("{} callers are in `{}`", callers.len(), path.display()));
    }
    let (Some(axon), Some(hotkey)) = (args.axon, args.hotkey) else {
        return Ok(ExitStatus::Success);
    };
    if let Some(pid) = args.pid {
        ProcessUse::of(pid).with_context(|| format!("process {pid} cannot be looked at"))?;
    }
    let questions: Arc<[Question]> = load::questions(args.seed).into();
    let checks =
        args.verify_answers.then(|| candidates(&args.checkpoint, &questions)).transpose()?;
    let seconds = args.duration.unwrap_or(if args.requests.is_some() { DAY } else { 10.0 });
    let config = LoadConfig {
        axon,
        hotkey,
        callers,
        connections: usize::from(args.connections),
        pace: args.rate.map_or(Pace::Closed, |per_second| Pace::Open { per_second }),
        duration: Duration::from_secs_f64(seconds.min(DAY)),
        requests: args.requests,
        timeout: Duration::from_secs_f64(args.timeout.min(DAY)),
        expected_per_second: FIRST_GUESS_PER_SECOND,
        questions,
        checks,
        server: args.pid,
    };
    let bench = measure(&args, config, printer)?;
    if args.json {
        printer.out(serde_json::to_string_pretty(&shown::as_json(&bench))?)?;
    } else {
        printer.out(shown::as_text(&bench).trim_end())?;
    }
    let is_good = bench.runs.iter().all(|run| {
        run.report.tally.answered() > 0
            && run.report.checks.as_ref().is_none_or(|checks| checks.wrong() == 0)
    });
    Ok(if is_good { ExitStatus::Success } else { ExitStatus::No })
}

fn measure(
    args: &BenchServeArgs,
    mut config: LoadConfig,
    printer: &Printer,
) -> anyhow::Result<Bench> {
    let mut floor = args.floor.then(|| Floor::measure(FLOOR_TIME));
    let mut runs = Vec::new();
    if args.warm_up > 0.0 {
        let duration = Duration::from_secs_f64(args.warm_up.min(DAY));
        let first =
            load::run(&LoadConfig { duration, requests: None, checks: None, ..config.clone() })?;
        if first.tally.answered() == 0 {
            runs.push(Run { pace: config.pace, report: first });
            return Ok(Bench { config, floor, runs });
        }
        config.expected_per_second = first.answered_per_second();
    }
    let mut one = |config: &LoadConfig| -> anyhow::Result<f64> {
        let report = load::run(config)?;
        warn(&report, printer);
        let per_second = report.answered_per_second();
        runs.push(Run { pace: config.pace, report });
        Ok(per_second)
    };
    let per_second = one(&config)?;
    if args.find_max && per_second > 0.0 {
        one(&LoadConfig { pace: Pace::Open { per_second: per_second / 2.0 }, ..config.clone() })?;
    }
    if let Some(floor) = &mut floor {
        // What else the machine does may change meanwhile.
        *floor = floor.mean(Floor::measure(FLOOR_TIME));
    }
    Ok(Bench { config, floor, runs })
}

/// What would make the figures those of the generator.
fn warn(report: &LoadReport, printer: &Printer) {
    if report.starved > 0 {
        printer.warn(format_args!(
            "{} times a request waited for its signature: the generator was too slow",
            report.starved
        ));
    }
    if let Some(checks) = &report.checks {
        for told in &checks.told {
            printer.warn(told);
        }
        if checks.waits > 0 {
            printer.warn(format_args!(
                "{} times sending waited for answers to be checked: the generator was too slow",
                checks.waits
            ));
        }
    }
}

/// Who asks: the key of the wallet, if there is one, or throw-away keys.
fn callers(args: &BenchServeArgs) -> anyhow::Result<Vec<Keypair>> {
    if args.callers == 1
        && let Some(keypair) = args.wallet.read()?
    {
        return Ok(vec![keypair]);
    }
    let key = |number: u16| {
        let seed = format!("convminer bench serve {} {number}", args.seed);
        Keypair::from_seed(&Sha256::digest(seed).into())
    };
    Ok((0..args.callers).map(key).collect())
}

fn write_metagraph(path: &Path, callers: &[Keypair], stakes: &[f64]) -> anyhow::Result<()> {
    let neurons = callers.iter().zip(stakes.iter().cycle()).enumerate();
    let neurons: Vec<_> = neurons
        .map(|(uid, (caller, stake))| {
            serde_json::json!({
                "uid": uid,
                "hotkey": caller.address(),
                "stake": stake,
                "validator_permit": true,
            })
        })
        .collect();
    files::write_atomically(path, &serde_json::to_vec_pretty(&neurons)?)
        .with_context(|| format!("cannot write `{}`", path.display()))
}
