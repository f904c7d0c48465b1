//! `convminer calibrate`.

use std::path::PathBuf;

use serde::Serialize;

use super::ExitStatus;
use super::common::{LabelledData, hash_file, load};
use super::error::WithHint as _;
use super::printer::Printer;
use crate::model::Predictor;
use crate::model::calibration::Calibration;
use crate::model::checkpoint;
use crate::model::device::DeviceChoice;
use crate::train::evaluation::{ReliabilityBin, brier, expected_calibration_error, reliability};

/// Fewer rows say too little about ten bins.
const FEWEST_ROWS: usize = 100;

/// The arguments of `convminer calibrate`.
#[derive(Debug, clap::Args)]
pub struct CalibrateArgs {
    #[command(flatten)]
    labelled: LabelledData,
    /// The checkpoint's folder [default: the latest one]
    #[arg(long, value_name = "FOLDER")]
    checkpoint: Option<PathBuf>,
    /// How many bins of equal width, from 2 to 1000
    #[arg(long, value_name = "N", default_value_t = 10,
          value_parser = clap::value_parser!(u32).range(2..=1000))]
    bins: u32,
    /// Calibrate on fewer than 100 rows too
    #[arg(long, num_args = 0..=1, default_value = "false", default_missing_value = "true",
          require_equals = true, action = clap::ArgAction::Set)]
    force: bool,
    /// Print the results as JSON
    #[arg(long, num_args = 0..=1, default_value = "false", default_missing_value = "true",
          require_equals = true, action = clap::ArgAction::Set)]
    json: bool,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Report {
    checkpoint: PathBuf,
    rows: usize,
    before: Side,
    /// Each row measured with bins that were fitted without it.
    after: Side,
}

/// The probabilities before or after.
#[derive(Debug, Serialize)]
struct Side {
    ece: f64,
    brier: f64,
    reliability: Vec<ReliabilityBin>,
}

/// Fits a checkpoint's calibration to labelled rows and writes it into the checkpoint.
pub fn run(args: CalibrateArgs, printer: &Printer) -> anyhow::Result<ExitStatus> {
    let (path, predictor) = load(args.checkpoint, DeviceChoice::Cpu)?;
    let (table, truths) = args.labelled.read(printer)?;
    if truths.len() < FEWEST_ROWS && !args.force {
        return Err(anyhow::anyhow!(
            "expected at least {FEWEST_ROWS} labelled rows to calibrate on, but there are {}",
            truths.len()
        ))
        .with_hint(|| "--force calibrates on what there is");
    }
    if hash_file(&args.labelled.data)? == checkpoint::read_manifest(&path)?.data.sha256 {
        printer.warn(
            "these are the rows that the checkpoint was trained on, which it knows too well: \
             calibrate on others",
        );
    }
    let bins = args.bins as usize;
    let raw: Vec<f64> =
        predictor.estimate(&table.conversations).iter().map(|e| e.probability).collect();
    let converted: Vec<bool> = truths.iter().map(|truth| truth.converted).collect();
    let report = Report {
        rows: raw.len(),
        before: before(&predictor, &raw, &converted, bins),
        after: side(&Calibration::cross_fitted(bins, &raw, &converted), &converted, bins),
        checkpoint: path,
    };
    let rows = raw.iter().copied().zip(converted.iter().copied());
    checkpoint::replace_calibration(&report.checkpoint, &Calibration::fit(bins, rows))?;
    if args.json {
        printer.out(serde_json::to_string_pretty(&report)?)?;
    } else {
        print(&report, printer)?;
    }
    printer.note(format_args!("wrote the calibration into {}", report.checkpoint.display()));
    Ok(ExitStatus::Success)
}

fn before(predictor: &Predictor, raw: &[f64], converted: &[bool], bins: usize) -> Side {
    let current: Vec<f64> = raw.iter().map(|p| predictor.calibration.apply(*p)).collect();
    side(&current, converted, bins)
}

fn side(probabilities: &[f64], converted: &[bool], bins: usize) -> Side {
    Side {
        ece: expected_calibration_error(probabilities, converted, bins),
        brier: brier(probabilities, converted),
        reliability: reliability(probabilities, converted, bins),
    }
}

fn print(report: &Report, printer: &Printer) -> std::io::Result<()> {
    printer.out(format_args!("{:>11}   {:>28}   {:>28}", "", "before", "after (cross-fitted)"))?;
    printer.out(format_args!(
        "{:>11}   {:>8} {:>9} {:>9}   {:>8} {:>9} {:>9}",
        "probability", "rows", "says", "came true", "rows", "says", "came true"
    ))?;
    let bins = report.before.reliability.len() as f64;
    for (before, after) in report.before.reliability.iter().zip(&report.after.reliability) {
        printer.out(format_args!(
            "{:.3}..{:.3}  {}  {}",
            before.from,
            before.from + 1.0 / bins,
            cells(before),
            cells(after)
        ))?;
    }
    for (name, before, after) in [
        ("ECE", report.before.ece, report.after.ece),
        ("Brier", report.before.brier, report.after.brier),
    ] {
        printer.out(format_args!("{name:<11}   {before:>28.4}   {after:>28.4}"))?;
    }
    Ok(())
}

fn cells(bin: &ReliabilityBin) -> String {
    if bin.rows == 0 {
        return format!("{:>9} {:>9} {:>9}", 0, "-", "-");
    }
    format!("{:>9} {:>9.4} {:>9.4}", bin.rows, bin.said, bin.came_true)
}
