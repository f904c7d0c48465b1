//! What several sub-commands do alike: read a table, find a checkpoint, open a device.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use burn::tensor::Device;
use serde::Deserialize;
use serde::de::IntoDeserializer as _;
use serde::de::value::{Error as ValueError, StrDeserializer};

use super::error::WithHint as _;
use super::printer::Printer;
use crate::dataset::{self, DatasetError, Sources};
use crate::features::table::{self, LabelMode, Table, TableError};
use crate::model::Predictor;
use crate::model::checkpoint::{self, CheckpointError};
use crate::model::device::DeviceChoice;
use crate::subnet::reward::Truth;

/// Where checkpoints are, unless one is named.
pub(super) const CHECKPOINTS: &str = "checkpoints";

const GENERATE: &str = "`convminer generate` makes labelled conversations to begin with";

/// Reads a table and prints what is odd about it.
pub(super) fn read_table(
    path: &Path,
    labels: LabelMode,
    printer: &Printer,
) -> anyhow::Result<Table> {
    let table = match table::read(path, labels) {
        Err(error @ TableError::NoSuchFile { .. }) => {
            return Err(error).with_hint(|| GENERATE);
        }
        table => table?,
    };
    for warning in &table.warnings {
        printer.warn(warning);
    }
    Ok(table)
}

/// Tables with labels, as several commands take them.
#[derive(Debug, clap::Args)]
pub(super) struct LabelledData {
    /// Labelled conversations: files in .parquet, .csv or .ndjson, folders of such, or patterns such
    /// as 'data/*.parquet'
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    pub(super) data: Vec<PathBuf>,
    /// Leave out rows that nothing can be learned from, instead of refusing the file
    #[arg(long, num_args = 0..=1, default_value = "false", default_missing_value = "true",
          require_equals = true, action = clap::ArgAction::Set)]
    pub(super) drop_invalid: bool,
}

impl LabelledData {
    /// Finds the tables that were named.
    pub(super) fn sources(&self, printer: &Printer) -> anyhow::Result<Sources> {
        let sources = Sources::find(&self.data)?;
        if sources.skipped() > 0 {
            let skipped = sources.skipped();
            printer.warn(format_args!("passed over {skipped} files that are no tables"));
        }
        Ok(sources)
    }

    /// Finds and reads the tables, and prints what is odd about them.
    pub(super) fn read(&self, printer: &Printer) -> anyhow::Result<(Table, Vec<Truth>)> {
        self.read_all(&self.sources(printer)?, printer)
    }

    /// Reads tables that were found, and prints what is odd about them.
    pub(super) fn read_all(
        &self,
        sources: &Sources,
        printer: &Printer,
    ) -> anyhow::Result<(Table, Vec<Truth>)> {
        let labels = LabelMode::Required { drop_invalid: self.drop_invalid };
        let (mut table, warnings) = or_generate(dataset::read(sources, labels))?;
        for warning in warnings {
            printer.warn(warning);
        }
        let truths = table
            .truths
            .take()
            .context("a table that was read with labels has none. This is a bug.")?;
        Ok((table, truths))
    }

    /// All that was named, in a line.
    pub(super) fn shown(&self) -> String {
        let shown: Vec<String> = self.data.iter().map(|path| path.display().to_string()).collect();
        shown.join(", ")
    }
}

/// Advises who names a file that is not there.
pub(super) fn or_generate<T>(result: Result<T, DatasetError>) -> anyhow::Result<T> {
    match result {
        Err(error @ DatasetError::Table(TableError::NoSuchFile { .. })) => {
            Err(error).with_hint(|| GENERATE)
        }
        result => Ok(result?),
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

/// Opens a device in this process; see [`super::device`] for one that a user asks for.
pub(super) fn open(choice: DeviceChoice) -> anyhow::Result<Device> {
    Ok(choice.open()?)
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
