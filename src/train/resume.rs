//! What a training that is killed leaves behind, and how it goes on.
//!
//! After each epoch a file holds all that later epochs depend on. Orders and dropout follow from the
//! seed and the number of the pass, so no generator's state is among it. A training that goes on ends
//! with the weights of one that was never interrupted, bit for bit on the CPU.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::observer::{Ended, Epoch};
use crate::files;

/// What a file begins with; the number is the format's.
const MAGIC: &[u8; 8] = b"cmtrain1";

/// The states of a run's trainings, in a folder.
#[derive(Debug)]
pub struct Resumable {
    folder: PathBuf,
    /// What the states depend on besides the rows' order: SHA-256 of data, settings and device.
    key: [u8; 32],
    warnings: Vec<String>,
}

impl Resumable {
    /// States in this folder, of a run that `key` tells from all others: what is there of another
    /// one is not used.
    pub fn new(folder: &Path, key: [u8; 32]) -> Resumable {
        Resumable { folder: folder.to_owned(), key, warnings: Vec::new() }
    }

    /// What the user should know: states that could not be written or used.
    pub fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    fn warn(&mut self, warning: String) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }
}

/// Where one network's training is, in the states of its run.
pub(super) struct Bookmark<'a> {
    /// None where no state is kept.
    states: Option<(&'a mut Resumable, PathBuf)>,
}

/// How far a network's training is.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Progress {
    pub(super) epochs: Vec<Epoch>,
    pub(super) steps: usize,
    /// Number, metric and weights of the best epoch.
    pub(super) best: Option<(usize, f64, Vec<f32>)>,
    /// Why it ended, if it did.
    pub(super) ended: Option<Ended>,
    /// What the learner keeps.
    pub(super) learner: Vec<u8>,
}

impl<'a> Bookmark<'a> {
    /// The place of the training with this name; none keeps nothing.
    pub(super) fn new(states: Option<&'a mut Resumable>, name: &str) -> Bookmark<'a> {
        let states = states.map(|states| {
            let path = states.folder.join(format!("{name}.state"));
            (states, path)
        });
        Bookmark { states }
    }

    /// Where an earlier process was, if it left something that can be used.
    pub(super) fn open(&mut self) -> Option<Progress> {
        let (states, path) = self.states.as_mut()?;
        let bytes = match fs::read(&*path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                self.refuse(&error);
                return None;
            }
        };
        let progress = read(&bytes, &states.key);
        if progress.is_none() {
            self.refuse(&"it is damaged, or of other data, settings or another version");
        }
        progress
    }

    /// Says that a state cannot be used: this network is trained from its start.
    pub(super) fn refuse(&mut self, reason: &dyn std::fmt::Display) {
        if let Some((states, path)) = &mut self.states {
            let path = path.display();
            states.warn(format!("`{path}` is not used ({reason}): its network starts anew"));
        }
    }

    /// Keeps how far the training is. That it cannot is no reason to stop training.
    pub(super) fn keep(&mut self, progress: impl FnOnce() -> Progress) {
        let Some((states, path)) = &mut self.states else { return };
        let bytes = written(&progress(), &states.key);
        // No waiting for the disk: after a kill the kernel still has it, and what a power cut tears
        // is seen by its sum.
        let temporary = files::temporary_name(path);
        let kept = fs::write(&temporary, bytes).and_then(|()| fs::rename(&temporary, &*path));
        if let Err(error) = kept {
            let _ = fs::remove_file(&temporary);
            let path = path.display();
            states.warn(format!(
                "cannot write `{path}` ({error}): if it is killed, this training cannot go on from \
                 there"
            ));
        }
    }
}

fn written(progress: &Progress, key: &[u8; 32]) -> Vec<u8> {
    let mut bytes = [MAGIC.as_slice(), key].concat();
    let mut number = |value: u64| bytes.extend(value.to_le_bytes());
    number(progress.epochs.len() as u64);
    for epoch in &progress.epochs {
        number(epoch.loss.to_bits());
        number(epoch.validation.to_bits());
    }
    number(progress.steps as u64);
    number(match progress.ended {
        None => 0,
        Some(Ended::Completed) => 1,
        Some(Ended::NoProgress) => 2,
        Some(Ended::Interrupted) => 3,
    });
    number(u64::from(progress.best.is_some()));
    if let Some((best, metric, weights)) = &progress.best {
        number(*best as u64);
        number(metric.to_bits());
        number(weights.len() as u64);
        bytes.extend(weights.iter().flat_map(|weight| weight.to_le_bytes()));
    }
    bytes.extend(&progress.learner);
    let sum = Sha256::digest(&bytes);
    bytes.extend(sum);
    bytes
}

/// None for what is damaged, or of another key.
fn read(bytes: &[u8], key: &[u8; 32]) -> Option<Progress> {
    let (content, sum) = bytes.split_last_chunk::<32>()?;
    if Sha256::digest(content).as_slice() != sum {
        return None;
    }
    let mut rest = content.strip_prefix(MAGIC)?.strip_prefix(key)?;
    let mut number = || {
        let (value, after) = rest.split_first_chunk()?;
        rest = after;
        Some(u64::from_le_bytes(*value))
    };
    let count = usize::try_from(number()?).ok()?;
    let mut epochs = Vec::new();
    for index in 0..count {
        let (loss, validation) = (f64::from_bits(number()?), f64::from_bits(number()?));
        epochs.push(Epoch { number: index + 1, loss, validation });
    }
    let steps = usize::try_from(number()?).ok()?;
    let ended = match number()? {
        0 => None,
        1 => Some(Ended::Completed),
        2 => Some(Ended::NoProgress),
        3 => Some(Ended::Interrupted),
        _ => return None,
    };
    let mut best = None;
    if number()? == 1 {
        let (number, metric, len) = (number()?, f64::from_bits(number()?), number()?);
        let (weights, after) = rest.split_at_checked(usize::try_from(len).ok()?.checked_mul(4)?)?;
        rest = after;
        let weights = weights.as_chunks().0.iter().map(|weight| f32::from_le_bytes(*weight));
        best = Some((usize::try_from(number).ok()?, metric, weights.collect()));
    }
    Some(Progress { epochs, steps, best, ended, learner: rest.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress() -> Progress {
        Progress {
            epochs: vec![
                Epoch { number: 1, loss: 0.1 + 0.2, validation: 0.7 },
                Epoch { number: 2, loss: f64::NAN, validation: 0.6 },
            ],
            steps: 42,
            best: Some((2, 0.6, vec![1.5, -0.0, f32::MIN_POSITIVE])),
            ended: Some(Ended::NoProgress),
            learner: vec![1, 2, 3],
        }
    }

    #[test]
    fn what_is_kept_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let mut states = Resumable::new(folder.path(), [7; 32]);
        assert!(Bookmark::new(Some(&mut states), "0-classifier-1").open().is_none());
        Bookmark::new(Some(&mut states), "0-classifier-1").keep(progress);
        let found = Bookmark::new(Some(&mut states), "0-classifier-1").open().unwrap();
        // NaN is not equal to itself: compared as text.
        assert_eq!(format!("{found:?}"), format!("{:?}", progress()));
        assert!(Bookmark::new(Some(&mut states), "0-classifier-2").open().is_none());
        assert_eq!(states.take_warnings(), Vec::<String>::new());
    }

    #[test]
    fn a_damaged_or_foreign_state_is_refused() {
        let whole = written(&progress(), &[7; 32]);
        assert!(read(&whole, &[7; 32]).is_some());
        assert!(read(&whole, &[8; 32]).is_none());
        for length in 0..whole.len() {
            assert!(read(&whole[..length], &[7; 32]).is_none(), "{length}");
        }
        for place in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[place] ^= 1;
            assert!(read(&damaged, &[7; 32]).is_none(), "{place}");
        }
    }

    #[test]
    fn a_full_disk_is_a_warning() {
        let mut states = Resumable::new(Path::new("/nonexistent/folder"), [0; 32]);
        Bookmark::new(Some(&mut states), "a").keep(progress);
        Bookmark::new(Some(&mut states), "a").keep(progress);
        let warnings = states.take_warnings();
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].contains("cannot write `/nonexistent/folder/a.state`"), "{warnings:?}");
    }
}
