//! What several sub-commands do alike: read a table, find a checkpoint, open a device.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use burn::tensor::Device;
use serde::Deserialize;
use serde::de::IntoDeserializer as _;
use serde::de::value::{Error as ValueError, StrDeserializer};
use sha2::{Digest as _, Sha256};

use super::error::WithHint as _;
use super::printer::Printer;
use crate::features::table::{self, LabelMode, Table, TableError};
use crate::model::Predictor;
use crate::model::checkpoint::{self, CheckpointError};
use crate::model::device::{DeviceChoice, DeviceError};
use crate::subnet::reward::Truth;

/// Where checkpoints are, unless one is named.
pub(super) const CHECKPOINTS: &str = "checkpoints";

/// Reads a table and prints what is odd about it.
pub(super) fn read_table(
    path: &Path,
    labels: LabelMode,
    printer: &Printer,
) -> anyhow::Result<Table> {
    let table = match table::read(path, labels) {
        Err(error @ TableError::NoSuchFile { .. }) => {
            return Err(error)
                .with_hint(|| "`convminer generate` makes labelled conversations to begin with");
        }
        table => table?,
    };
    for warning in &table.warnings {
        printer.warn(warning);
    }
    Ok(table)
}

/// A table with labels, as several commands take it.
#[derive(Debug, clap::Args)]
pub(super) struct LabelledData {
    /// Labelled conversations: .parquet, .csv or .ndjson
    #[arg(long, value_name = "FILE")]
    pub(super) data: PathBuf,
    /// Leave out rows that nothing can be learned from, instead of refusing the file
    #[arg(long, num_args = 0..=1, default_value = "false", default_missing_value = "true",
          require_equals = true, action = clap::ArgAction::Set)]
    pub(super) drop_invalid: bool,
}

impl LabelledData {
    /// Reads the table and prints what is odd about it.
    pub(super) fn read(&self, printer: &Printer) -> anyhow::Result<(Table, Vec<Truth>)> {
        let labels = LabelMode::Required { drop_invalid: self.drop_invalid };
        let mut table = read_table(&self.data, labels, printer)?;
        let truths = table
            .truths
            .take()
            .context("a table that was read with labels has none. This is a bug.")?;
        Ok((table, truths))
    }
}

/// The checkpoint that comes with the project, for who has trained none.
const SHIPPED: &str = "default";

/// The checkpoint that was named, or the latest one, or else the one that comes with the project.
pub(super) fn checkpoint_path(named: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    match named {
        Some(path) => Ok(path),
        None => match checkpoint::latest(Path::new(CHECKPOINTS)) {
            Err(CheckpointError::NoLatest { .. }) if shipped().is_dir() => Ok(shipped()),
            latest => {
                latest.with_hint(|| "`convminer train` makes one; `--checkpoint` names another")
            }
        },
    }
}

pub(super) fn shipped() -> PathBuf {
    Path::new(CHECKPOINTS).join(SHIPPED)
}

/// Opens the device that was asked for.
pub(super) fn open(choice: DeviceChoice) -> anyhow::Result<Device> {
    match choice.open() {
        Err(error @ (DeviceError::NoGpu | DeviceError::Wrong(_))) => {
            Err(error).with_hint(|| "--device cpu needs none")
        }
        device => Ok(device?),
    }
}

/// Loads the checkpoint that was named, or the latest one.
pub(super) fn load(
    named: Option<PathBuf>,
    device: DeviceChoice,
) -> anyhow::Result<(PathBuf, Predictor)> {
    let path = checkpoint_path(named)?;
    let device = open(device)?;
    let predictor = checkpoint::load(&path, &device)?;
    Ok((path, predictor))
}

/// Reads one of an enum's names as its configuration file would.
pub(super) fn parse_name<T: for<'a> Deserialize<'a>>(name: &str) -> Result<T, ValueError> {
    let name: StrDeserializer<'_, ValueError> = name.into_deserializer();
    T::deserialize(name)
}

/// SHA-256 of a file, as hexadecimal.
pub(super) fn hash_file(path: &Path) -> anyhow::Result<String> {
    let mut hasher = Sha256::new();
    std::fs::File::open(path)
        .and_then(|mut file| std::io::copy(&mut file, &mut hasher))
        .with_context(|| format!("cannot read `{}`", path.display()))?;
    Ok(hex::encode(hasher.finalize()))
}
