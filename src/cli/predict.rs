//! `convminer predict`.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use polars::prelude::{Column, CsvWriter, DataFrame, ParquetWriter, SerWriter as _};

use super::ExitStatus;
use super::common::read_table;
use super::device;
use super::printer::Printer;
use crate::features::table::{Format, LabelMode};
use crate::files::write_atomically_with;
use crate::model::Model as _;
use crate::model::device::DeviceChoice;
use crate::subnet::reward::Answer;
use crate::subnet::schema::{LABEL_CONVERTED, LABEL_TIME_SECONDS, SESSION_ID};

/// The arguments of `convminer predict`.
#[derive(Debug, clap::Args)]
pub struct PredictArgs {
    /// Conversations, labelled or not: .parquet, .csv or .ndjson
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Where the answers go: .csv, .parquet, or - for CSV on stdout
    #[arg(long, value_name = "FILE", default_value = "-")]
    out: PathBuf,
    /// The checkpoint's folder [default: the latest one]
    #[arg(long, value_name = "FOLDER")]
    checkpoint: Option<PathBuf>,
    /// Where to compute: auto, cpu, ndarray, wgpu:N, vulkan:N or cuda:N; see `convminer devices`
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: DeviceChoice,
}

/// Where answers go.
enum Target {
    Stdout,
    Csv(PathBuf),
    Parquet(PathBuf),
}

/// Answers the conversations of a table.
pub fn run(args: PredictArgs, printer: &Printer) -> anyhow::Result<ExitStatus> {
    let target = target(args.out, &args.data)?;
    let found = device::find(args.checkpoint, args.device, printer)?;
    let table = read_table(&args.data, LabelMode::Ignored, printer)?;
    let (_, predictor) = found.load(table.conversations.len(), printer)?;
    let answers = predictor.predict(&table.conversations);
    let mut frame = frame(&table.session_ids, &answers)?;
    match &target {
        Target::Stdout => {
            let mut stdout = printer.stdout();
            CsvWriter::new(&mut stdout).finish(&mut frame)?;
            std::io::Write::flush(&mut stdout)?;
        }
        Target::Csv(path) => {
            write(path, |file| Ok(CsvWriter::new(file).finish(&mut frame)?))?;
        }
        Target::Parquet(path) => {
            write(path, |file| Ok(ParquetWriter::new(file).finish(&mut frame).map(drop)?))?;
        }
    }
    if let Target::Csv(path) | Target::Parquet(path) = target {
        printer.note(format_args!("wrote {} answers to {}", answers.len(), path.display()));
    }
    Ok(ExitStatus::Success)
}

fn target(out: PathBuf, data: &Path) -> anyhow::Result<Target> {
    if out == Path::new("-") {
        return Ok(Target::Stdout);
    }
    if out.canonicalize().is_ok_and(|out| data.canonicalize().is_ok_and(|data| data == out)) {
        bail!("--out and --data are the same file, `{}`", out.display());
    }
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
        bail!(
            "`{}` is to be written into `{}`, which is no folder",
            out.display(),
            folder.display()
        );
    }
    match Format::of(&out) {
        Ok(Format::Csv) => Ok(Target::Csv(out)),
        Ok(Format::Parquet) => Ok(Target::Parquet(out)),
        _ => bail!(
            "expected --out to end in .csv or .parquet, or to be -, but it is `{}`",
            out.display()
        ),
    }
}

fn frame(session_ids: &[Option<String>], answers: &[Answer]) -> anyhow::Result<DataFrame> {
    let classes: Vec<i64> = answers.iter().map(|answer| i64::from(answer.converted)).collect();
    let times: Vec<f64> = answers.iter().map(|answer| answer.time_seconds).collect();
    let confidences: Vec<f64> = answers.iter().map(|answer| answer.confidence).collect();
    let ids: Vec<Option<&str>> = session_ids.iter().map(Option::as_deref).collect();
    Ok(DataFrame::new(
        answers.len(),
        vec![
            Column::new(SESSION_ID.name.into(), ids),
            Column::new(LABEL_CONVERTED.name.into(), classes),
            Column::new(LABEL_TIME_SECONDS.name.into(), times),
            Column::new("confidence".into(), confidences),
        ],
    )?)
}

/// Writes a file that is whole or not there.
fn write(path: &Path, content: impl FnOnce(&mut File) -> anyhow::Result<()>) -> anyhow::Result<()> {
    write_atomically_with(path, content)
        .with_context(|| format!("cannot write `{}`", path.display()))
}
