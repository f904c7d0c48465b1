//! `convminer generate`: made-up conversations with known truths.

use std::path::PathBuf;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::ExitStatus;
use super::printer::Printer;
use crate::features::table::ExampleWriter;
use crate::subnet::challenge::{Challenge, Example, NoisyRates, bayes_answer};
use crate::subnet::reward::{ClassWeights, RewardSpec, reward};
use crate::train::evaluation::RESPONSE_TIME_SECONDS;

/// So many rows are made and written at once: bounds the memory whatever the number of rows.
const CHUNK: usize = 1 << 17;

/// The arguments of `convminer generate`.
#[derive(Debug, clap::Args)]
pub struct GenerateArgs {
    /// What the conversations and their outcomes follow
    #[arg(long, value_name = "CHALLENGE", default_value = "rule")]
    pub challenge: ChallengeName,
    /// How many conversations
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub rows: u64,
    /// The same seed gives the same conversations; with more rows it only adds to them
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Where to write them: a name ending in .parquet, .pq, .csv, .ndjson or .jsonl
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// With `--challenge noisy`: the share of labels that are flipped [default: 0.08]
    #[arg(long, value_name = "SHARE")]
    pub flip_rate: Option<f64>,
    /// With `--challenge noisy`: the standard deviation of the noise on times [default: 6]
    #[arg(long, value_name = "SECONDS")]
    pub time_noise_seconds: Option<f64>,
    /// With `--challenge noisy`: the share of feature cells that are missing [default: 0.05]
    #[arg(long, value_name = "SHARE")]
    pub missing_rate: Option<f64>,
    /// Print a summary as JSON
    #[arg(long, num_args = 0..=1, default_value = "false", default_missing_value = "true",
          require_equals = true, action = clap::ArgAction::Set)]
    pub json: bool,
}

/// The challenges by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ChallengeName {
    /// What the public validator sends; the outcome follows exactly from the features
    Rule,
    /// What a later branch sends; the outcome keeps chance in it
    Template,
    /// Rule conversations with flipped labels, noisy times and missing cells
    Noisy,
}

/// Makes the conversations and writes them.
///
/// # Errors
/// When a rate makes no sense or the file cannot be written.
pub fn run(args: GenerateArgs, printer: &Printer) -> anyhow::Result<ExitStatus> {
    let challenge = challenge(&args, printer)?;
    let summary = write(&args, challenge, printer)?;
    let best = summary.best_reward / args.rows as f64;
    printer.note(format_args!(
        "wrote {} {} conversations to `{}`, {} of them converted",
        args.rows,
        challenge.name(),
        args.out.display(),
        summary.converted
    ));
    printer.note(format_args!(
        "the best possible mean reward on them is {best:.4} (spec {}, response time {RESPONSE_TIME_SECONDS} s)",
        RewardSpec::MAIN
    ));
    if args.json {
        printer.out(json!({
            "out": args.out,
            "challenge": challenge.name(),
            "rows": args.rows,
            "seed": args.seed,
            "converted": summary.converted,
            "best_possible": {
                "mean_reward": best,
                "reward_spec": RewardSpec::MAIN.name,
                "response_time_seconds": RESPONSE_TIME_SECONDS,
            },
        }))?;
    }
    Ok(ExitStatus::Success)
}

fn challenge(args: &GenerateArgs, printer: &Printer) -> anyhow::Result<Challenge> {
    if args.challenge != ChallengeName::Noisy {
        // A warning and not an error: a settings file may hold the rates for other runs.
        for (flag, value) in [
            ("--flip-rate", args.flip_rate),
            ("--time-noise-seconds", args.time_noise_seconds),
            ("--missing-rate", args.missing_rate),
        ] {
            if value.is_some() {
                printer.warn(format_args!("{flag} is ignored: only `--challenge noisy` has noise"));
            }
        }
    }
    Ok(match args.challenge {
        ChallengeName::Rule => Challenge::Rule,
        ChallengeName::Template => Challenge::Template,
        ChallengeName::Noisy => {
            let rates = NoisyRates::default();
            Challenge::Noisy(NoisyRates::new(
                args.flip_rate.unwrap_or(rates.flip_rate()),
                args.time_noise_seconds.unwrap_or(rates.time_noise_seconds()),
                args.missing_rate.unwrap_or(rates.missing_rate()),
            )?)
        }
    })
}

#[derive(Default)]
struct Summary {
    converted: u64,
    /// The sum over all rows.
    best_reward: f64,
}

impl Summary {
    fn add(&mut self, example: &Example) {
        let (spec, weights) = (&RewardSpec::MAIN, ClassWeights::START);
        let best = bayes_answer(&example.oracle, spec, weights);
        self.best_reward += reward(spec, weights, best, example.truth, RESPONSE_TIME_SECONDS).total;
        self.converted += u64::from(example.truth.converted);
    }
}

fn write(args: &GenerateArgs, challenge: Challenge, printer: &Printer) -> anyhow::Result<Summary> {
    let mut writer = ExampleWriter::create(&args.out)?;
    let mut examples = challenge.examples(args.seed);
    let mut summary = Summary::default();
    let bar = progress_bar(args.rows, printer)?;
    let mut left = args.rows;
    while left > 0 {
        let count = usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK));
        let chunk: Vec<Example> = examples.by_ref().take(count).collect();
        chunk.iter().for_each(|example| summary.add(example));
        writer.write(&chunk)?;
        left -= count as u64;
        bar.inc(count as u64);
    }
    writer.finish()?;
    bar.finish_and_clear();
    Ok(summary)
}

fn progress_bar(rows: u64, printer: &Printer) -> anyhow::Result<ProgressBar> {
    let style = ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} rows, {eta} left")
        .context("the progress bar's template. This is a bug.")?;
    Ok(printer.bars().add(ProgressBar::new(rows)).with_style(style))
}
