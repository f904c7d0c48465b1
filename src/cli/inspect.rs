//! `convminer inspect`.

use std::path::PathBuf;

use serde_json::Value;

use super::ExitStatus;
use super::common::{checkpoint_path, open};
use super::printer::Printer;
use crate::model::Predictor;
use crate::model::checkpoint::{self, Manifest};
use crate::model::decision::Rule;
use crate::model::device::DeviceChoice;

/// The arguments of `convminer inspect`.
#[derive(Debug, clap::Args)]
pub struct InspectArgs {
    /// The checkpoint's folder [default: the latest one]
    #[arg(value_name = "CHECKPOINT")]
    checkpoint: Option<PathBuf>,
    /// Print the manifest as JSON
    #[arg(long, num_args = 0..=1, default_value = "false", default_missing_value = "true",
          require_equals = true, action = clap::ArgAction::Set)]
    json: bool,
}

/// Loads a checkpoint, and prints what it is and what it was made from.
pub fn run(args: InspectArgs, printer: &Printer) -> anyhow::Result<ExitStatus> {
    let path = checkpoint_path(args.checkpoint)?;
    let manifest = checkpoint::read_manifest(&path)?;
    // Loaded too, so that what is printed is known to be usable.
    let predictor = checkpoint::load(&path, &open(DeviceChoice::Cpu)?)?;
    if args.json {
        printer.out(serde_json::to_string_pretty(&manifest)?)?;
        return Ok(ExitStatus::Success);
    }
    printer.out(path.display())?;
    for (name, value) in lines(&manifest, &predictor) {
        printer.out(format_args!("  {name:<12} {value}"))?;
    }
    Ok(ExitStatus::Success)
}

fn lines(manifest: &Manifest, predictor: &Predictor) -> Vec<(&'static str, String)> {
    let data = &manifest.data;
    let networks = manifest.parameters.iter().map(|(name, count)| format!("{name} {count}"));
    let networks: Vec<String> = networks.collect();
    let decision = &predictor.decision;
    let rule = match decision.rule {
        Rule::Reward => "by expected reward".to_owned(),
        Rule::Threshold(threshold) => format!("at probability {threshold}"),
    };
    let metric = |name: &str| match manifest.metrics.pointer(&format!("/miner/{name}")) {
        Some(Value::Number(value)) => format!("{:.4}", value.as_f64().unwrap_or(f64::NAN)),
        _ => "-".to_owned(),
    };
    vec![
        ("made", format!("{} by convminer {}", manifest.created, manifest.crate_version)),
        (
            "data",
            format!(
                "{}: {} rows, {} converted, {} held out",
                data.file, data.rows, data.converted, data.validation_rows
            ),
        ),
        ("data hash", data.sha256.clone()),
        ("inputs", format!("{}, hash {}", manifest.inputs.names.len(), manifest.inputs.hash)),
        (
            "networks",
            if networks.is_empty() {
                "none".to_owned()
            } else {
                networks.join(", ") + " parameters"
            },
        ),
        (
            "baseline",
            if predictor.baseline.fitted { "logistic regression" } else { "constant" }.to_owned(),
        ),
        ("calibration", predictor.calibration.to_string()),
        (
            "decision",
            format!(
                "{} (spec {}), {}",
                rule,
                manifest.reward_spec,
                decision.times.as_ref().map_or_else(
                    || "no distribution of times".to_owned(),
                    |times| format!("distribution of times from {} conversions", times.rows),
                )
            ),
        ),
        ("seed, device", format!("{}, {}", manifest.seed, manifest.device)),
        (
            "held out",
            format!(
                "accuracy {}, AUC {}, log loss {}, time MAE {} s, mean reward {}",
                metric("accuracy"),
                metric("auc"),
                metric("log_loss"),
                metric("time_mae_seconds"),
                metric("mean_reward")
            ),
        ),
    ]
}
