//! Opens the device that was asked for, or the one that suits the work.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use burn::tensor::Device;

use super::common::checkpoint_path;
use super::error::WithHint as _;
use super::printer::Printer;
use crate::model::Predictor;
use crate::model::checkpoint::{self, Manifest};
use crate::model::device::probe::{InChild, Probe as _};
use crate::model::device::{self as devices, DeviceChoice, DeviceError, Inventory, Work};
use crate::model::ensemble;

/// How long a driver may take for an answer. Starting it and compiling a few kernels is a matter
/// of seconds; this is for machines that do much else.
const PATIENCE: Duration = Duration::from_secs(60);

/// A device, ready to compute.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) device: Device,
    /// What it goes by; never `auto`.
    pub(super) choice: DeviceChoice,
}

/// What was asked for, while it is not known yet how much work there is.
#[derive(Debug)]
pub(super) enum Asked {
    /// It was asked for by name, and is there.
    Named(Opened),
    /// `auto`.
    Any,
}

/// Opens a device that is asked for by name, before long readings; `auto` waits for the work.
pub(super) fn ask(choice: DeviceChoice, printer: &Printer) -> anyhow::Result<Asked> {
    match choice {
        DeviceChoice::Auto => Ok(Asked::Any),
        named => Ok(Asked::Named(Opened { device: open_or_hint(named, printer)?, choice: named })),
    }
}

impl Asked {
    /// The device for this work.
    pub(super) fn for_work(self, work: Work, printer: &Printer) -> Opened {
        match self {
            Asked::Named(opened) => opened,
            Asked::Any => automatic(work, printer),
        }
    }
}

/// A checkpoint that is there, to be loaded when it is known how much it is to answer.
#[derive(Debug)]
pub(super) struct Found {
    path: PathBuf,
    pub(super) manifest: Manifest,
    asked: Asked,
}

/// Finds the checkpoint that was named, or the latest one, and the device if that was named.
pub(super) fn find(
    named: Option<PathBuf>,
    device: DeviceChoice,
    printer: &Printer,
) -> anyhow::Result<Found> {
    let path = checkpoint_path(named)?;
    let manifest = checkpoint::read_manifest(&path)?;
    Ok(Found { path, manifest, asked: ask(device, printer)? })
}

impl Found {
    /// Loads it where it is to answer so many rows.
    pub(super) fn load(
        self,
        rows: usize,
        printer: &Printer,
    ) -> anyhow::Result<(PathBuf, Predictor)> {
        let weights = self.manifest.parameters.values().sum();
        let networks = self.manifest.parameters.len();
        let work = Work::answering(rows, weights, networks, ensemble::BATCH);
        let device = self.asked.for_work(work, printer).device;
        let predictor = checkpoint::load(&self.path, &device)?;
        Ok((self.path, predictor))
    }
}

/// How to ask drivers: by this program's own `devices --probe`.
pub(super) fn probe() -> anyhow::Result<InChild> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    Ok(InChild { program, arguments: vec!["devices".into(), "--probe".into()], limit: PATIENCE })
}

fn open_or_hint(choice: DeviceChoice, printer: &Printer) -> anyhow::Result<Device> {
    match open(choice, printer) {
        Err(error) if error.downcast_ref().is_some_and(is_of_adapters) => Err(error)
            .with_hint(|| "`convminer devices` shows what there is; --device cpu needs none"),
        result => result,
    }
}

fn is_of_adapters(error: &DeviceError) -> bool {
    !matches!(error, DeviceError::Unknown(_) | DeviceError::NotBuilt(_))
}

fn open(choice: DeviceChoice, printer: &Printer) -> anyhow::Result<Device> {
    let apis = choice.apis()?;
    if apis.is_empty() {
        return Ok(choice.open()?);
    }
    let probe = probe()?;
    let inventory = Inventory::take(&probe, apis);
    let adapter = choice.find(&inventory)?;
    let name = adapter.name.clone();
    probe.check(adapter).map_err(|fault| DeviceError::Failed { choice, name, fault })?;
    if adapter.is_software() {
        let name = &adapter.name;
        printer.warn(format_args!("{choice} is no GPU but a software rasteriser, {name}"));
    }
    Ok(choice.open_adapter(adapter)?)
}

/// A GPU if it pays and there is one, and the CPU else.
fn automatic(work: Work, printer: &Printer) -> Opened {
    match gpu(work) {
        Ok(Some((opened, name))) => {
            printer.note(format_args!("computing on {} ({name})", opened.choice));
            return opened;
        }
        Ok(None) => {}
        Err(reason) => printer.note(format_args!("computing on the CPU: {reason:#}")),
    }
    Opened { device: Device::flex(), choice: DeviceChoice::Cpu }
}

fn gpu(work: Work) -> anyhow::Result<Option<(Opened, String)>> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let found = devices::automatic(work, cores, &probe()?);
    let Some((choice, adapter)) = found.map_err(|missing| anyhow::anyhow!("{missing}"))? else {
        return Ok(None);
    };
    let device = choice.open_adapter(&adapter)?;
    Ok(Some((Opened { device, choice }, adapter.name)))
}
