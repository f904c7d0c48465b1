//! `convminer calibrate`.

use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde::Serialize;

use super::ExitStatus;
use super::common::{LabelledData, load};
use super::error::WithHint as _;
use super::logged::LoggedData;
use super::printer::Printer;
use crate::dataset::hash_sources;
use crate::model::Predictor;
use crate::model::calibration::{self, Calibration, Method};
use crate::model::checkpoint;
use crate::model::device::DeviceChoice;
use crate::replay::{self, Calibrated, CalibrationRows, LeftOut};
use crate::serve::models::{BASELINE, ENSEMBLE};
use crate::train::evaluation::{
    ReliabilityBin, brier, expected_calibration_error, log_loss, reliability,
};

/// Fewer rows say too little to calibrate on.
const FEWEST_ROWS: usize = 100;
/// Bins where nobody says how many.
const BINS: usize = 10;

/// The arguments of `convminer calibrate`.
#[derive(Debug, clap::Args)]
pub struct CalibrateArgs {
    /// Labelled conversations: files in .parquet, .csv or .ndjson, folders of such, or patterns such
    /// as 'data/*.parquet'
    #[arg(long, value_name = "FILE", num_args = 1..)]
    data: Vec<PathBuf>,
    /// Leave out rows that nothing can be learned from, instead of refusing the file
    #[arg(long, num_args = 0..=1, default_value = "false", default_missing_value = "true",
          require_equals = true, action = clap::ArgAction::Set)]
    drop_invalid: bool,
    /// Calibrate on what the checkpoint's networks answered while serving and whose truth is known,
    /// in place of --data
    #[arg(long, num_args = 0..=1, default_value = "false", default_missing_value = "true",
          require_equals = true, action = clap::ArgAction::Set)]
    from_journal: bool,
    #[command(flatten)]
    logged: LoggedData,
    /// The checkpoint's folder [default: the latest one]
    #[arg(long, value_name = "FOLDER")]
    checkpoint: Option<PathBuf>,
    /// How to calibrate; auto takes the method with the lowest cross-validated log loss
    #[arg(long, value_name = "METHOD", default_value = AUTO, value_parser = method_parser())]
    method: Asked,
    /// How many bins of equal width, from 2 to 1000, in the method of that name and in the table of
    /// results [default: 10]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=1000))]
    bins: Option<u32>,
    /// Count the rows into the bins of a checkpoint that is calibrated with bins, on top of what
    /// they hold, instead of calibrating anew
    #[arg(long, num_args = 0..=1, default_value = "false", default_missing_value = "true",
          require_equals = true, action = clap::ArgAction::Set)]
    update: bool,
    /// Let a row in the bins count half after N more rows of its bin were counted by --update
    /// [default: what the checkpoint says; at first, that it counts for ever]
    #[arg(long, value_name = "N", value_parser = half_life)]
    half_life_rows: Option<f64>,
    /// Calibrate on fewer than 100 rows too
    #[arg(long, num_args = 0..=1, default_value = "false", default_missing_value = "true",
          require_equals = true, action = clap::ArgAction::Set)]
    force: bool,
    /// Print the results and write nothing
    #[arg(long, num_args = 0..=1, default_value = "false", default_missing_value = "true",
          require_equals = true, action = clap::ArgAction::Set)]
    dry_run: bool,
    /// Print the results as JSON
    #[arg(long, num_args = 0..=1, default_value = "false", default_missing_value = "true",
          require_equals = true, action = clap::ArgAction::Set)]
    json: bool,
}

const AUTO: &str = "auto";

/// A method, or none in particular: the best by cross-validation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked(pub(super) Option<Method>);

pub(super) fn method_parser() -> impl TypedValueParser<Value = Asked> {
    let names = std::iter::once(AUTO).chain(Method::ALL.map(Method::as_str));
    PossibleValuesParser::new(names).map(|name| Asked(name.parse().ok()))
}

fn half_life(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rows) if rows > 0.0 && rows.is_finite() => Ok(rows),
        _ => Err("expected a number of rows above 0".to_owned()),
    }
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Report {
    checkpoint: PathBuf,
    rows: usize,
    /// What of the journal says nothing of the calibration; absent with `--data`.
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<LeftOut>,
    /// What each method would do to rows it has not seen; empty with `--update`.
    candidates: Vec<Candidate>,
    /// The one that was taken.
    method: Method,
    calibration: Calibration,
    written: bool,
    before: Side,
    /// Each row measured with what was fitted without it.
    after: Side,
}

/// A method's cross-validated scores.
#[derive(Debug, Serialize)]
struct Candidate {
    method: Method,
    log_loss: f64,
    ece: f64,
    brier: f64,
}

/// The probabilities before or after.
#[derive(Debug, Serialize)]
struct Side {
    log_loss: f64,
    ece: f64,
    brier: f64,
    reliability: Vec<ReliabilityBin>,
}

/// What the model said, and what came true.
struct Rows {
    raw: Vec<f64>,
    converted: Vec<bool>,
    left_out: Option<LeftOut>,
}

/// A new calibration, and how it does on rows it has not seen.
struct Fitted {
    calibration: Calibration,
    candidates: Vec<Candidate>,
    bins: usize,
    unseen: Vec<f64>,
}

/// Fits a checkpoint's calibration to labelled rows, or to what came of its answers, and writes it into the checkpoint.
///
/// # Errors
///
/// If the rows or the checkpoint cannot be read, there are too few rows, or the checkpoint's
/// calibration cannot go on learning but should.
pub fn run(args: CalibrateArgs, printer: &Printer) -> anyhow::Result<ExitStatus> {
    let (path, predictor) = load(args.checkpoint.clone(), DeviceChoice::Cpu)?;
    let rows = if args.from_journal {
        of_journal(&args, &path, &predictor, printer)?
    } else {
        of_table(&args, &path, &predictor, printer)?
    };
    enough(&rows, &args)?;
    let old = predictor.calibration;
    let current: Vec<f64> = rows.raw.iter().map(|raw| old.apply(*raw)).collect();
    let fitted = if args.update { update(&args, old, &rows, &path)? } else { fit(&args, &rows) };
    if args.half_life_rows.is_some() && fitted.calibration.method() != Method::Bins {
        printer.warn("--half-life-rows changes nothing: only bins go on learning");
    }
    if !args.dry_run {
        checkpoint::replace_calibration(&path, &fitted.calibration)?;
    }
    let report = Report {
        rows: rows.raw.len(),
        left_out: rows.left_out,
        before: side(&current, &rows.converted, fitted.bins),
        after: side(&fitted.unseen, &rows.converted, fitted.bins),
        candidates: fitted.candidates,
        method: fitted.calibration.method(),
        calibration: fitted.calibration,
        written: !args.dry_run,
        checkpoint: path,
    };
    if args.json {
        printer.out(serde_json::to_string_pretty(&report)?)?;
    } else {
        print(&report, printer)?;
    }
    if report.written {
        printer.note(format_args!("wrote the calibration into {}", report.checkpoint.display()));
    } else {
        printer.note("wrote nothing: this was a dry run");
    }
    Ok(ExitStatus::Success)
}

/// What the model says of labelled conversations.
fn of_table(
    args: &CalibrateArgs,
    path: &Path,
    predictor: &Predictor,
    printer: &Printer,
) -> anyhow::Result<Rows> {
    if args.data.is_empty() {
        return Err(anyhow!("expected rows to calibrate on, but there is no --data"))
            .with_hint(|| "--from-journal takes what was answered while serving");
    }
    let labelled = LabelledData { data: args.data.clone(), drop_invalid: args.drop_invalid };
    let sources = labelled.sources(printer)?;
    let (table, truths) = labelled.read_all(&sources, printer)?;
    if hash_sources(sources.files())? == checkpoint::read_manifest(path)?.data.sha256 {
        printer.warn(
            "these are the rows that the checkpoint was trained on, which it knows too well: \
             calibrate on others",
        );
    }
    let estimates = predictor.estimate(&table.conversations);
    Ok(Rows {
        raw: estimates.iter().map(|estimate| estimate.probability).collect(),
        converted: truths.iter().map(|truth| truth.converted).collect(),
        left_out: None,
    })
}

/// What the model said while serving, as far as the truth is known.
fn of_journal(
    args: &CalibrateArgs,
    path: &Path,
    predictor: &Predictor,
    printer: &Printer,
) -> anyhow::Result<Rows> {
    if !args.data.is_empty() {
        printer.warn("--data is not read, for --from-journal stands in for it");
    }
    let LoggedData { journal, outcomes, .. } = &args.logged;
    let window = args.logged.window();
    let (resolved, joined) = replay::resolved(journal, outcomes, window)?;
    args.logged.check(&joined, printer)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // A checkpoint without networks is answered for by its baseline, and that is calibrated.
    let model = if predictor.ensemble.is_some() { ENSEMBLE } else { BASELINE };
    let calibrated = Calibrated { checkpoint: &name, model, predictor };
    let CalibrationRows { raw, converted, left_out } = CalibrationRows::of(&resolved, calibrated);
    printer.note(format_args!(
        "{} conversations with a known truth that the {model} of {name} was asked about{left_out}",
        raw.len()
    ));
    Ok(Rows { raw, converted, left_out: Some(left_out) })
}

/// Whether there are rows enough; those that are only counted need not be many.
fn enough(Rows { raw, left_out, .. }: &Rows, args: &CalibrateArgs) -> anyhow::Result<()> {
    let rows = raw.len();
    let why = left_out.map(|left_out| left_out.to_string()).unwrap_or_default();
    if rows == 0 {
        bail!("expected labelled rows to calibrate on, but there are none{why}");
    }
    if rows < FEWEST_ROWS && !args.force && !args.update {
        return Err(anyhow!(
            "expected at least {FEWEST_ROWS} labelled rows to calibrate on, but there are \
             {rows}{why}"
        ))
        .with_hint(|| "--force calibrates on what there is");
    }
    Ok(())
}

/// Calibrates anew, by the method that was asked for or that suits the rows.
fn fit(args: &CalibrateArgs, Rows { raw, converted, .. }: &Rows) -> Fitted {
    let bins = args.bins.map_or(BINS, |bins| bins as usize);
    let choice = calibration::choose(bins, raw, converted);
    let method = args.method.0.unwrap_or(choice.lowest);
    let candidates = choice.log_losses.into_iter().map(|(method, log_loss)| {
        let fits = calibration::cross_fits(method, bins, raw, converted);
        let mean = |score: &dyn Fn(&[f64]) -> f64| {
            fits.iter().map(|fit| score(fit)).sum::<f64>() / fits.len() as f64
        };
        Candidate {
            method,
            log_loss,
            ece: mean(&|fit| expected_calibration_error(fit, converted, bins)),
            brier: mean(&|fit| brier(fit, converted)),
        }
    });
    let mut fitted = calibration::fit(method, bins, raw, converted);
    if let Calibration::Bins(bins) = &mut fitted {
        bins.half_life_rows = args.half_life_rows;
    }
    Fitted {
        calibration: fitted,
        candidates: candidates.collect(),
        bins,
        unseen: calibration::cross_fitted(method, bins, raw, converted),
    }
}

/// Counts the rows into the bins that are there.
fn update(
    args: &CalibrateArgs,
    old: Calibration,
    Rows { raw, converted, .. }: &Rows,
    path: &Path,
) -> anyhow::Result<Fitted> {
    let path = path.display();
    let mut bins = match (old, args.method.0) {
        (Calibration::Bins(bins), None | Some(Method::Bins)) => bins,
        (_, Some(method)) if method != Method::Bins => {
            return Err(anyhow!("expected bins to update, but --method says {method}"))
                .with_hint(|| "without --update, it is calibrated anew");
        }
        (other, _) => {
            return Err(anyhow!(
                "expected `{path}` to be calibrated with bins, which alone go on learning, but its \
                 calibration is: {other}"
            ))
            .with_hint(|| "`convminer calibrate --method bins` calibrates it so");
        }
    };
    let count = bins.bins.len();
    if args.bins.is_some_and(|asked| asked as usize != count) {
        return Err(anyhow!("expected --bins {count}, for `{path}` has as many"))
            .with_hint(|| "without --update, it is calibrated anew");
    }
    bins.half_life_rows = args.half_life_rows.or(bins.half_life_rows);
    let unseen = bins.learn(raw, converted);
    let calibration = Calibration::Bins(bins);
    Ok(Fitted { calibration, candidates: Vec::new(), bins: count, unseen })
}

fn side(probabilities: &[f64], converted: &[bool], bins: usize) -> Side {
    let pairs = probabilities.iter().zip(converted);
    let losses = pairs.map(|(probability, converted)| log_loss(*probability, *converted));
    Side {
        log_loss: losses.sum::<f64>() / probabilities.len() as f64,
        ece: expected_calibration_error(probabilities, converted, bins),
        brier: brier(probabilities, converted),
        reliability: reliability(probabilities, converted, bins),
    }
}

fn print(report: &Report, printer: &Printer) -> std::io::Result<()> {
    if !report.candidates.is_empty() {
        print_candidates(report, printer)?;
    }
    let unseen = if report.candidates.is_empty() { "while learning" } else { "cross-fitted" };
    let after = format!("after ({unseen})");
    printer.out(format_args!("{:>11}   {:>28}   {after:>28}", "", "before"))?;
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
        ("log loss", report.before.log_loss, report.after.log_loss),
        ("ECE", report.before.ece, report.after.ece),
        ("Brier", report.before.brier, report.after.brier),
    ] {
        printer.out(format_args!("{name:<11}   {before:>28.4}   {after:>28.4}"))?;
    }
    printer.out(format_args!("calibration   {}", report.calibration))
}

fn print_candidates(report: &Report, printer: &Printer) -> std::io::Result<()> {
    printer.out(format_args!(
        "{:<11}   {:>8} {:>9} {:>9}   (cross-validated)",
        "method", "log loss", "ECE", "Brier"
    ))?;
    for Candidate { method, log_loss, ece, brier } in &report.candidates {
        let taken = if *method == report.method { "   taken" } else { "" };
        printer
            .out(format_args!("{method:<11}   {log_loss:>8.4} {ece:>9.4} {brier:>9.4}{taken}"))?;
    }
    printer.out("")
}

fn cells(bin: &ReliabilityBin) -> String {
    if bin.rows == 0 {
        return format!("{:>9} {:>9} {:>9}", 0, "-", "-");
    }
    format!("{:>9} {:>9.4} {:>9.4}", bin.rows, bin.said, bin.came_true)
}
