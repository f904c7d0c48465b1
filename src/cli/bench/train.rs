//! `convminer bench train`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use burn::tensor::Device;
use indicatif::{ProgressBar, ProgressStyle};

use super::training::{self, Cell, Rewards, TrainBench};
use crate::cli::ExitStatus;
use crate::cli::device::{self, Asked};
use crate::cli::printer::Printer;
use crate::model::device::{DeviceChoice, DeviceError};
use crate::train::TrainConfig;
use crate::train::member::Architecture;
use crate::train::throughput::cost::Peak;
use crate::train::throughput::{
    Effort, Engine, RewardTrial, Subject, Workload, cpu_peak, reward_trials,
};

/// Batch sizes, where none are named: for all devices, and those that are for GPUs only.
const BATCH_SIZES: [usize; 4] = [64, 256, 1024, 4096];
const GPU_BATCH_SIZES: [usize; 2] = [16_384, 65_536];
/// How long the CPU's best is measured.
const PEAK_TIME: Duration = Duration::from_millis(500);

/// The arguments of `convminer bench train`.
#[derive(Debug, clap::Args)]
pub(super) struct BenchTrainArgs {
    /// Where to train: cpu, wgpu:N and so on, as `convminer devices` names them; burn is the CPU by
    /// Burn's gradients, without the passes that are written for it
    #[arg(long, value_name = "DEVICES", value_delimiter = ',', default_value = "cpu")]
    devices: Vec<Target>,
    /// What to train: mlp, residual, mixture, tabular, regressor, and ensemble for all networks of
    /// the default
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        default_value = "mlp,mixture,tabular,regressor,ensemble"
    )]
    networks: Vec<Trained>,
    /// Rows a step [default: 64,256,1024,4096, and on a GPU 16384,65536 too]
    #[arg(long, value_name = "N", value_delimiter = ',',
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    batch_sizes: Vec<u32>,
    /// Conversations to train on, by the public rule; more where a batch has more
    #[arg(long, value_name = "N", default_value_t = 131_072,
          value_parser = clap::value_parser!(u32).range(100..=10_000_000))]
    rows: u32,
    /// How long a repetition is, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 0.5, value_parser = seconds)]
    seconds: f64,
    /// How long to train before it counts, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 0.3, value_parser = seconds)]
    warm_up: f64,
    /// How often each is measured
    #[arg(long, value_name = "N", default_value_t = 5,
          value_parser = clap::value_parser!(u16).range(1..=1000))]
    repetitions: u16,
    /// Also train miners until held-out rows earn these mean total rewards, and say how long it took
    #[arg(long, value_name = "REWARDS", value_delimiter = ',')]
    to_reward: Vec<f64>,
    /// Conversations to train these miners on, a part of which is held out
    #[arg(long, value_name = "N", default_value_t = 25_000,
          value_parser = clap::value_parser!(u32).range(100..=10_000_000))]
    reward_rows: u32,
    /// The same seed gives the same conversations
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// What the GPU computes at best, in f32: 67 for an H200
    #[arg(long, value_name = "TFLOPS", requires = "bandwidth_gbs", value_parser = positive)]
    peak_tflops: Option<f64>,
    /// What the GPU's memory moves at best: 4800 for an H200
    #[arg(long, value_name = "GB_PER_SECOND", requires = "peak_tflops", value_parser = positive)]
    bandwidth_gbs: Option<f64>,
    /// The time from one kernel of the GPU to the next that waits for it, at best
    #[arg(long, value_name = "MICROSECONDS", default_value_t = 1.0, value_parser = positive)]
    launch_us: f64,
    /// Print JSON
    #[arg(long, num_args = 0..=1, default_value = "false", default_missing_value = "true",
          require_equals = true, action = clap::ArgAction::Set)]
    json: bool,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if (0.0..=3600.0).contains(&number) => Ok(number),
        _ => Err("expected a number in 0..=3600".to_owned()),
    }
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if number > 0.0 && number <= 1e9 => Ok(number),
        _ => Err("expected a number above 0".to_owned()),
    }
}

/// A device, and what takes the steps on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Usual(DeviceChoice),
    Burn,
}

impl Target {
    fn engine(self) -> Engine {
        match self {
            Target::Usual(_) => Engine::Usual,
            Target::Burn => Engine::Autodiff,
        }
    }

    fn choice(self) -> DeviceChoice {
        match self {
            Target::Usual(choice) => choice,
            Target::Burn => DeviceChoice::Cpu,
        }
    }

    fn is_gpu(self) -> bool {
        !matches!(self.choice(), DeviceChoice::Cpu | DeviceChoice::Ndarray)
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        if name == "burn" {
            return Ok(Target::Burn);
        }
        match name.parse().map_err(|error: DeviceError| error.to_string())? {
            DeviceChoice::Auto => {
                Err("`auto` does not say what is measured: name the devices".to_owned())
            }
            choice => Ok(Target::Usual(choice)),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Usual(choice) => choice.fmt(f),
            Target::Burn => f.write_str("burn"),
        }
    }
}

/// What is trained, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Trained {
    /// The guide's classifier
    Mlp,
    /// The classifier of residual blocks
    Residual,
    /// The classifier that is a mixture of regions
    Mixture,
    /// The tabular classifier
    Tabular,
    /// The regressor of the default
    Regressor,
    /// All networks of the default, one after the other
    Ensemble,
}

impl Trained {
    fn subject(self) -> Subject {
        match self {
            Trained::Mlp => Subject::classifier(Architecture::Mlp),
            Trained::Residual => Subject::classifier(Architecture::Residual),
            Trained::Mixture => Subject::classifier(Architecture::Mixture),
            Trained::Tabular => Subject::classifier(Architecture::Tabular),
            Trained::Regressor => Subject::regressor(),
            Trained::Ensemble => Subject::ensemble(),
        }
    }
}

/// Measures training, and prints how fast it is.
///
/// # Errors
///
/// If a device cannot be opened, or a training fails.
pub(super) fn run(args: BenchTrainArgs, printer: &Printer) -> anyhow::Result<ExitStatus> {
    // All of them first: a name that is wrong should not cost what was measured before.
    let opened = args.devices.iter().map(|target| Ok((*target, open(*target, printer)?)));
    let devices: Vec<(Target, Device)> = opened.collect::<anyhow::Result<_>>()?;
    let bench = TrainBench {
        peaks: peaks(&args),
        cells: cells(&args, &devices, printer)?,
        rewards: rewards(&args, &devices, printer)?,
        rows: args.rows,
        reward_rows: args.reward_rows,
        seed: args.seed,
    };
    if args.json {
        printer.out(serde_json::to_string_pretty(&training::as_json(&bench))?)?;
    } else {
        printer.out(training::as_text(&bench).trim_end())?;
    }
    Ok(ExitStatus::Success)
}

fn open(target: Target, printer: &Printer) -> anyhow::Result<Device> {
    match device::ask(target.choice(), printer)? {
        Asked::Named(opened) => Ok(opened.device),
        Asked::Any => anyhow::bail!("`auto` is no device that is measured. This is a bug."),
    }
}

/// What the devices can do at best, as far as that is known.
fn peaks(args: &BenchTrainArgs) -> BTreeMap<String, Peak> {
    let cpu = args.devices.iter().any(|target| !target.is_gpu()).then(|| cpu_peak(PEAK_TIME));
    let gpu = args.peak_tflops.zip(args.bandwidth_gbs).map(|(tflops, gigabytes)| Peak {
        operations_per_second: tflops * 1e12,
        bytes_per_second: gigabytes * 1e9,
        launch_seconds: args.launch_us * 1e-6,
    });
    let peak = |target: &Target| if target.is_gpu() { gpu } else { cpu };
    args.devices.iter().filter_map(|target| Some((target.to_string(), peak(target)?))).collect()
}

/// Every network at every batch size on every device.
fn cells(
    args: &BenchTrainArgs,
    devices: &[(Target, Device)],
    printer: &Printer,
) -> anyhow::Result<Vec<Cell>> {
    let effort = Effort {
        warm_up: Duration::from_secs_f64(args.warm_up),
        time: Duration::from_secs_f64(args.seconds),
        repetitions: usize::from(args.repetitions),
    };
    let plan: Vec<_> = devices
        .iter()
        .flat_map(|device| args.networks.iter().map(move |network| (device, *network)))
        .flat_map(|((target, device), network)| {
            let sizes = batch_sizes(args, *target);
            sizes.into_iter().map(move |size| (*target, device, network, size))
        })
        .collect();
    let Some(largest) = plan.iter().map(|(.., size)| *size).max() else { return Ok(Vec::new()) };
    // A regressor's batch is of rows that converted, somewhat more than half of all.
    let rows = (args.rows as usize).max(2 * largest);
    let workload = Workload::rule(rows, args.seed);
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}")?;
    let bar = printer.bars().add(ProgressBar::new(plan.len() as u64)).with_style(style);
    let measured = plan.into_iter().map(|(target, device, network, batch_size)| {
        let subject = network.subject();
        bar.set_message(format!("{} on {target}, batches of {batch_size}", subject.name));
        let speed = workload.measure(&subject, target.engine(), device, batch_size, effort);
        bar.inc(1);
        Cell { network: subject.name, device: target.to_string(), batch_size, speed }
    });
    let cells = measured.collect();
    bar.finish_and_clear();
    Ok(cells)
}

fn batch_sizes(args: &BenchTrainArgs, target: Target) -> Vec<usize> {
    if !args.batch_sizes.is_empty() {
        return args.batch_sizes.iter().map(|size| *size as usize).collect();
    }
    let more = if target.is_gpu() { GPU_BATCH_SIZES.as_slice() } else { &[] };
    BATCH_SIZES.iter().chain(more).copied().collect()
}

/// Whole trainings until the rewards are reached, on each device but Burn's own way.
fn rewards(
    args: &BenchTrainArgs,
    devices: &[(Target, Device)],
    printer: &Printer,
) -> anyhow::Result<Vec<Rewards>> {
    let Some(wanted) = args.to_reward.iter().copied().reduce(f64::max) else {
        return Ok(Vec::new());
    };
    let usual = devices.iter().filter(|(target, _)| *target != Target::Burn);
    usual
        .map(|(target, device)| {
            let tell = |trial: &RewardTrial| {
                let passes = trial.epochs.map_or("all passes".to_owned(), |epochs| match epochs {
                    1 => "1 pass".to_owned(),
                    several => format!("{several} passes"),
                });
                printer.note(format_args!(
                    "{target}: {passes} in {:.2} s, mean reward {:.4}",
                    trial.seconds, trial.mean_reward
                ));
            };
            let config = TrainConfig::default();
            let rows = args.reward_rows as usize;
            let trials = reward_trials(&config, rows, args.seed, wanted, device, tell)?;
            Ok(Rewards { device: target.to_string(), wanted: args.to_reward.clone(), trials })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_named() {
        assert_eq!("burn".parse(), Ok(Target::Burn));
        assert_eq!("cpu".parse(), Ok(Target::Usual(DeviceChoice::Cpu)));
        assert_eq!("wgpu:1".parse::<Target>().unwrap().to_string(), "wgpu:1");
        assert!("auto".parse::<Target>().is_err() && "fpga".parse::<Target>().is_err());
        assert!("wgpu".parse::<Target>().unwrap().is_gpu() && !Target::Burn.is_gpu());
    }
}
