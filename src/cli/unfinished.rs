//! Trainings that were killed, and `convminer train --resume`, which goes on with them.
//!
//! While it trains, `train` keeps a hidden folder beside the checkpoint that it will write: in
//! `run.json` what the run is of, and beside it a file for each network (see
//! [`crate::train::Resumable`]). The folder goes when the checkpoint is there.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::error::WithHint as _;
use crate::dataset::ByteCount;
use crate::files;
use crate::model::device::DeviceChoice;
use crate::train::{Resumable, TrainConfig};

/// What the folder's name ends with; before it, a dot and the checkpoint's name.
const SUFFIX: &str = ".unfinished";
const RECORD: &str = "run.json";
/// Another version's states may be of other networks, or of another order of rows.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What a training is of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Run {
    /// The program's.
    version: String,
    /// What was named as data, absolute.
    pub(super) data: Vec<PathBuf>,
    /// SHA-256 of the data, as the checkpoint's manifest has it.
    data_sha256: String,
    pub(super) drop_invalid: bool,
    /// The device's name; never `auto`.
    device: String,
    /// The training configuration, in TOML: JSON would not give back every number to the bit.
    config: String,
    /// Where the cache is, if it was named; absolute.
    pub(super) cache: Option<PathBuf>,
    /// What memory may take decides whether and how rows are streamed.
    max_memory_bytes: u64,
    /// When it began, as in file names, so that the latest one can be found.
    began: String,
}

/// What a training is asked to learn from, and how.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) data: &'a [PathBuf],
    pub(super) data_sha256: &'a str,
    pub(super) drop_invalid: bool,
    pub(super) device: DeviceChoice,
    pub(super) config: &'a TrainConfig,
    pub(super) limit: ByteCount,
    pub(super) cache: Option<&'a Path>,
}

/// A training's folder; no other process goes on with it while this lives.
#[derive(Debug)]
pub(super) struct Unfinished {
    folder: PathBuf,
    /// The checkpoint that it will write.
    pub(super) out: PathBuf,
    pub(super) run: Run,
    /// Held as long as this lives.
    _lock: File,
}

impl Run {
    fn new(asked: Asked<'_>, began: String) -> anyhow::Result<Run> {
        let Asked { data, data_sha256, drop_invalid, device, config, limit, cache } = asked;
        Ok(Run {
            version: VERSION.to_owned(),
            data: absolute(data)?,
            data_sha256: data_sha256.to_owned(),
            drop_invalid,
            device: device.to_string(),
            config: toml::to_string(config).context("cannot write down the configuration")?,
            cache: absolute(&cache.map(Path::to_owned).into_iter().collect::<Vec<_>>())?.pop(),
            max_memory_bytes: limit.0,
            began,
        })
    }

    /// The training configuration.
    pub(super) fn config(&self) -> anyhow::Result<TrainConfig> {
        Ok(TrainConfig::from_toml(&self.config)?)
    }

    /// The device.
    pub(super) fn device(&self) -> anyhow::Result<DeviceChoice> {
        Ok(self.device.parse()?)
    }

    /// How much memory it may take.
    pub(super) fn limit(&self) -> ByteCount {
        ByteCount(self.max_memory_bytes)
    }

    /// What tells its states from those of all other runs.
    fn key(&self) -> [u8; 32] {
        let Run { version, data_sha256, drop_invalid, device, config, max_memory_bytes, .. } = self;
        let text = format!(
            "{version}\n{data_sha256}\n{drop_invalid}\n{device}\n{max_memory_bytes}\n{config}"
        );
        Sha256::digest(text).into()
    }
}

/// Whether these are the paths that stand in a record.
pub(super) fn are_same(named: &[PathBuf], recorded: &[PathBuf]) -> bool {
    absolute(named).is_ok_and(|named| named == recorded)
}

fn absolute(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let absolute = |path: &PathBuf| {
        std::path::absolute(path).with_context(|| format!("where is `{}`", path.display()))
    };
    paths.iter().map(absolute).collect()
}

impl Unfinished {
    /// Begins a run in a folder of its own; what an earlier one of the same name left is removed.
    pub(super) fn begin(out: &Path, asked: Asked<'_>, began: String) -> anyhow::Result<Unfinished> {
        let run = Run::new(asked, began)?;
        let folder = folder_of(out)?;
        let cannot = || format!("cannot keep the training's state in `{}`", folder.display());
        if let Some(parent) = folder.parent() {
            fs::create_dir_all(parent).with_context(cannot)?;
        }
        let lock = lock(&folder)?;
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(cannot)?;
        }
        fs::create_dir(&folder).with_context(cannot)?;
        let text = serde_json::to_vec_pretty(&run)?;
        files::write_atomically(&folder.join(RECORD), &text).with_context(cannot)?;
        Ok(Unfinished { folder, out: out.to_owned(), run, _lock: lock })
    }

    /// The unfinished run of the checkpoint that was named, or the latest one under `checkpoints`.
    pub(super) fn find(out: Option<&Path>, checkpoints: &Path) -> anyhow::Result<Unfinished> {
        let Some(out) = out else {
            return latest(checkpoints)
                .ok_or_else(|| {
                    let checkpoints = checkpoints.display();
                    anyhow!("there is no unfinished training under `{checkpoints}`")
                })
                .with_hint(|| "--out names the checkpoint of one that is elsewhere");
        };
        let folder = folder_of(out)?;
        if out.exists() || !folder.is_dir() {
            let out = out.display();
            bail!("there is no unfinished training of `{out}`: it has ended, or was never begun");
        }
        open(&folder, out)
    }

    /// Checks that what is trained on is what the run is of.
    pub(super) fn check(&self, asked: Asked<'_>) -> anyhow::Result<()> {
        if asked.data_sha256 != self.run.data_sha256 {
            let out = self.out.display();
            return Err(anyhow!("the data has changed since the training of `{out}` began"))
                .with_hint(|| "without --resume it begins anew");
        }
        Ok(())
    }

    /// The states of its networks' trainings.
    pub(super) fn states(&self) -> Resumable {
        Resumable::new(&self.folder, self.run.key())
    }

    /// Removes the folder: its states are of no more use.
    pub(super) fn end(self) -> anyhow::Result<()> {
        fs::remove_dir_all(&self.folder)
            .and_then(|()| fs::remove_file(lock_of(&self.folder)))
            .with_context(|| format!("cannot remove `{}`", self.folder.display()))
    }
}

/// The latest unfinished run under a folder of checkpoints that nobody is at, if there is one.
pub(super) fn latest(checkpoints: &Path) -> Option<Unfinished> {
    let entries = fs::read_dir(checkpoints).ok()?;
    let found = entries.filter_map(|entry| {
        let folder = entry.ok()?.path();
        let name = folder.file_name()?.to_str()?;
        let out = checkpoints.join(name.strip_prefix('.')?.strip_suffix(SUFFIX)?);
        // A kill right after the checkpoint was written leaves the folder behind.
        if out.exists() { None } else { open(&folder, &out).ok() }
    });
    found.max_by(|one, other| one.run.began.cmp(&other.run.began))
}

fn open(folder: &Path, out: &Path) -> anyhow::Result<Unfinished> {
    let lock = lock(folder)?;
    let path = folder.join(RECORD);
    let text = fs::read(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let run: Run = serde_json::from_slice(&text)
        .with_context(|| format!("`{}` is no record of a training", path.display()))
        .with_hint(|| "without --resume the training begins anew")?;
    if run.version != VERSION {
        let (out, version) = (out.display(), run.version);
        return Err(anyhow!(
            "the training of `{out}` was begun by convminer {version}, and this is {VERSION}, \
             which may train otherwise"
        ))
        .with_hint(|| "without --resume it begins anew");
    }
    Ok(Unfinished { folder: folder.to_owned(), out: out.to_owned(), run, _lock: lock })
}

/// Held by who trains. It goes with the process, however that ends.
fn lock(folder: &Path) -> anyhow::Result<File> {
    let path = lock_of(folder);
    let file = File::create(&path).with_context(|| format!("cannot write `{}`", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => {
            bail!("another process is at the training in `{}`", folder.display())
        }
        // No locks on this file system: then nobody is warned.
        Err(fs::TryLockError::Error(_)) => Ok(file),
    }
}

/// Beside the folder, so that it is there while the folder comes and goes.
fn lock_of(folder: &Path) -> PathBuf {
    folder.with_added_extension("lock")
}

fn folder_of(out: &Path) -> anyhow::Result<PathBuf> {
    let name = out.file_name().context("expected a checkpoint's folder with a name")?;
    Ok(out.with_file_name(format!(".{}{SUFFIX}", name.to_string_lossy())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(root: &Path, name: &str, began: &str) -> Unfinished {
        let config = TrainConfig { valid_fraction: Some(0.1 + 0.2), ..TrainConfig::default() };
        let asked = Asked {
            data: &[PathBuf::from("a.csv")],
            data_sha256: "00",
            drop_invalid: false,
            device: DeviceChoice::Cpu,
            config: &config,
            limit: ByteCount(1 << 30),
            cache: Some(Path::new("cache")),
        };
        Unfinished::begin(&root.join(name), asked, began.to_owned()).unwrap()
    }

    #[test]
    fn the_latest_one_that_nobody_is_at_is_found() {
        let root = tempfile::tempdir().unwrap();
        let none = Unfinished::find(None, root.path()).unwrap_err();
        assert!(none.to_string().contains("there is no unfinished training"), "{none}");
        for (name, began) in [("b", "20261122-2"), ("c", "20261122-3"), ("a", "20261122-1")] {
            drop(begin(root.path(), name, began));
        }
        let going_on = begin(root.path(), "e", "20261122-5");
        fs::create_dir(root.path().join(".d.unfinished")).unwrap();
        let found = Unfinished::find(None, root.path()).unwrap();
        assert_eq!((&found.out, found.run.began.as_str()), (&root.path().join("c"), "20261122-3"));
        assert_eq!(found.run.config().unwrap().valid_fraction, Some(0.1 + 0.2));
        assert_eq!(found.run.device().unwrap(), DeviceChoice::Cpu);

        let taken = Unfinished::find(Some(&going_on.out), root.path()).unwrap_err();
        assert!(taken.to_string().contains("another process is at"), "{taken}");
        going_on.end().unwrap();
        let ended = Unfinished::find(Some(&root.path().join("e")), root.path()).unwrap_err();
        assert!(ended.to_string().contains("it has ended, or was never begun"), "{ended}");
    }

    #[test]
    fn another_version_begins_anew() {
        let root = tempfile::tempdir().unwrap();
        let run = begin(root.path(), "a", "1");
        let record = run.folder.join(RECORD);
        let text = fs::read_to_string(&record).unwrap().replace(VERSION, "0.0.1");
        drop(run);
        fs::write(&record, text).unwrap();
        let error = Unfinished::find(Some(&root.path().join("a")), root.path()).unwrap_err();
        assert!(error.to_string().contains("begun by convminer 0.0.1"), "{error}");
    }

    #[test]
    fn every_part_of_a_run_is_in_its_key() {
        let root = tempfile::tempdir().unwrap();
        let run = begin(root.path(), "a", "1").run.clone();
        for other in [
            Run { data_sha256: "01".to_owned(), ..run.clone() },
            Run { drop_invalid: true, ..run.clone() },
            Run { device: "wgpu".to_owned(), ..run.clone() },
            Run { config: "seed = 8".to_owned(), ..run.clone() },
            Run { max_memory_bytes: 1, ..run.clone() },
        ] {
            assert_ne!(other.key(), run.key(), "{other:?}");
        }
        // Where its data and cache are and when it began do not matter.
        let elsewhere = Run { data: Vec::new(), cache: None, began: "2".to_owned(), ..run.clone() };
        assert_eq!(elsewhere.key(), run.key());
    }
}
