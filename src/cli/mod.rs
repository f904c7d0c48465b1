//! The command line: one file a sub-command, arguments in, exit code out.
//!
//! The files of the sub-commands have their arguments and a short `run`. Around them: `settings`
//! lays the environment and `convminer.toml` under the flags, `flag` and `config_file` know what
//! these may say, `printer` is the terminal, `logging` the log and `error` what a failure looks
//! like.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use tracing_subscriber::filter::LevelFilter;

mod api;
pub mod bench;
pub mod calibrate;
mod common;
pub mod completions;
mod computed;
pub mod config;
mod config_file;
mod cross_validation;
pub mod data;
mod device;
pub mod devices;
pub mod diagnose;
pub mod error;
pub mod evaluate;
mod flag;
pub mod generate;
pub mod inspect;
pub mod learn;
mod logged;
mod logging;
pub mod models;
pub mod outcomes;
pub mod predict;
pub mod printer;
mod progress;
pub mod query;
pub mod replay;
pub mod report;
mod scores;
pub mod search;
pub mod serve;
mod settings;
pub mod simulate;
pub mod state;
mod streamed;
pub mod train;
pub mod tune;
mod unfinished;

use printer::{ColorWhen, Printer};
use settings::{Environment, Failure, Layers, Parsed};

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// It did what was asked.
    Success,
    /// It did what was asked, and the answer is no.
    No,
    /// It failed, and said why on stderr.
    Error,
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        ExitCode::from(match status {
            ExitStatus::Success => 0,
            ExitStatus::No => 1,
            ExitStatus::Error => 2,
        })
    }
}

/// Train and run a miner of Bittensor's conversion-prediction subnet.
#[derive(Debug, clap::Parser)]
#[command(name = "convminer", version)]
struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

/// The arguments of every command.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
struct GlobalArgs {
    /// Hide notes and progress bars; results, warnings and errors stay
    #[arg(short, long, global = true, num_args = 0..=1, default_value = "false",
          default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set)]
    quiet: bool,
    /// Log more, and hide progress bars; more still when repeated
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Color what goes to stderr; auto looks at the terminal, NO_COLOR and CLICOLOR_FORCE
    #[arg(
        long,
        global = true,
        value_name = "auto|always|never",
        default_value = "auto",
        hide_possible_values = true
    )]
    color: ColorWhen,
    #[command(flatten)]
    log: logging::LogArgs,
    /// The file with settings, instead of convminer.toml in the current directory
    #[arg(long, global = true, value_name = "FILE")]
    config_file: Option<PathBuf>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make labelled conversations like a validator's challenges
    Generate(generate::GenerateArgs),
    /// Train a model and leave a checkpoint that is ready to serve
    Train(train::TrainArgs),
    /// Try many training configurations, and keep the one that earns the most
    Search(search::SearchArgs),
    /// Measure a checkpoint on labelled conversations
    Evaluate(evaluate::EvaluateArgs),
    /// Show how a checkpoint does on labelled conversations, as a page with charts
    Report(report::ReportArgs),
    /// Answer the conversations of a file
    Predict(predict::PredictArgs),
    /// Fit a checkpoint's probabilities to labelled conversations it was not trained on
    Calibrate(calibrate::CalibrateArgs),
    /// Show what is in a checkpoint
    Inspect(inspect::InspectArgs),
    /// Answer validators over the network, as an axon
    Serve(Box<serve::ServeArgs>),
    /// Ask an axon, as a validator's dendrite does
    Query(query::QueryArgs),
    /// Fetch the data API's training and test sets
    Data(Box<data::DataArgs>),
    /// Keep what really happened to conversations: from tables, and from the data API
    Outcomes(Box<outcomes::OutcomesArgs>),
    /// Score what was answered as the validators do, now that the truth is known
    Replay(replay::ReplayArgs),
    /// Say where the reward went, and whether the miner still fits what it is asked
    Diagnose(diagnose::DiagnoseArgs),
    /// Change how a running miner answers: within bounds, one thing at a time, and on record
    Tune(tune::TuneArgs),
    /// Learn on from what really happened, if it is due, and serve what proved better
    Learn(learn::LearnArgs),
    /// Show the checkpoints, and say which one is served
    Models(models::ModelsArgs),
    /// Let miners live through generated days by a clock in fast motion
    Simulate(simulate::SimulateArgs),
    /// Show or check what a miner keeps over a restart
    State(state::StateArgs),
    /// Measure how fast and how well an axon answers, or how fast networks are trained
    Bench(bench::BenchArgs),
    /// Show where this program can compute: the CPU, and GPUs with their drivers
    Devices(devices::DevicesArgs),
    /// Show every setting, its value and where that comes from
    Config(config::ConfigArgs),
    /// Write the completion script of a shell
    Completions(completions::CompletionsArgs),
}

impl Command {
    /// The log level without `--verbose`. A server's operator reads its log; who runs a command
    /// once reads its result.
    fn log_level(&self) -> LevelFilter {
        match self {
            Command::Serve(_) => LevelFilter::INFO,
            _ => LevelFilter::WARN,
        }
    }

    fn run(self, layers: &Layers, printer: &Printer) -> anyhow::Result<ExitStatus> {
        match self {
            Command::Generate(args) => generate::run(args, printer),
            Command::Train(args) => train::run(args, layers, printer),
            Command::Search(args) => search::run(args, printer),
            Command::Evaluate(args) => evaluate::run(args, printer),
            Command::Report(args) => report::run(args, printer),
            Command::Predict(args) => predict::run(args, printer),
            Command::Calibrate(args) => calibrate::run(args, printer),
            Command::Inspect(args) => inspect::run(args, printer),
            Command::Serve(args) => serve::run(*args, printer),
            Command::Replay(args) => replay::run(args, printer),
            Command::Tune(args) => tune::run(args, printer),
            Command::Diagnose(args) => diagnose::run(args, printer),
            Command::Learn(args) => learn::run(args, printer),
            Command::Simulate(args) => simulate::run(&args, printer),
            Command::Models(args) => models::run(args, printer),
            Command::Query(args) => query::run(args, printer),
            Command::Outcomes(args) => outcomes::run(*args, printer),
            Command::Data(args) => data::run(*args, printer),
            Command::Bench(args) => bench::run(args, printer),
            Command::State(args) => state::run(args, printer),
            Command::Devices(args) => devices::run(args, printer),
            Command::Config(args) => config::run(args, layers, printer),
            Command::Completions(args) => completions::run(args, printer),
        }
    }
}

/// Runs the command line, the program's name first.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitStatus {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    match settings::parse(&arguments, Environment::new(std::env::vars_os())) {
        Ok(parsed) => run_parsed(parsed),
        Err(Failure::Usage(error)) => {
            // Help into a closed pipe is no failure.
            let _ = error.print();
            if error.use_stderr() { ExitStatus::Error } else { ExitStatus::Success }
        }
        Err(Failure::Settings(error, color)) => {
            Printer::new(false, false, color.for_stderr()).error(&error);
            ExitStatus::Error
        }
    }
}

fn run_parsed(Parsed { cli: Cli { global, command }, layers, warnings }: Parsed) -> ExitStatus {
    let printer = Printer::new(global.quiet, global.verbose == 0, global.color.for_stderr())
        .into_log(global.log.is_for_programs());
    let base = if global.quiet { LevelFilter::WARN } else { command.log_level() };
    logging::start(global.log, logging::level(base, global.verbose), &printer);
    for warning in warnings {
        printer.warn(warning);
    }
    match command.run(&layers, &printer) {
        Ok(status) => status,
        Err(_) if printer.stdout_closed() => ExitStatus::Success,
        Err(error) => {
            printer.error(&error);
            ExitStatus::Error
        }
    }
}
