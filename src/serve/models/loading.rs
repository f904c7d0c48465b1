//! From a checkpoint on the disk to models that may answer.

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::Device;
use sha2::{Digest, Sha256};

use super::error::ModelsError;
use super::lineup::Lineup;
use super::member::Member;
use super::parts::{BASELINE, BaselineModel, CONSTANT, ENSEMBLE, EnsembleModel, NAMES};
use super::registry::Registry;
use super::samples;
use crate::causes::with_causes;
use crate::model::Predictor;
use crate::model::adjustment::Adjusting;
use crate::model::calibration::Calibration;
use crate::model::checkpoint::{self, CheckpointError, LATEST, Salvage};
use crate::model::constant::Constant;

/// Where the checkpoint is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// In this folder.
    Folder(PathBuf),
    /// Where the file `latest` in this folder says, or in the other folder until there is one.
    Latest {
        /// The folder of checkpoints.
        root: PathBuf,
        /// The checkpoint for who has trained none.
        otherwise: PathBuf,
    },
}

/// How models are loaded. The default prefers none, breaks none and adjusts nothing.
#[derive(Debug, Default)]
pub struct LoadOptions {
    /// The model that is preferred whatever is known of it.
    pub pin: Option<String>,
    /// The ensemble panics at every so many conversations: to see what happens then.
    pub panic_every: Option<NonZeroU64>,
    /// What is changed in the ensemble's answers while it runs.
    pub adjusting: Arc<Adjusting>,
}

impl Registry {
    /// Loads the models of a checkpoint, to be followed by [`Registry::watch`].
    ///
    /// What is damaged is told by [`Registry::warnings`], and the models that do not need it answer:
    /// at the worst the constant. Later, a new checkpoint is taken up only if all of it can be used.
    ///
    /// # Errors
    ///
    /// If a folder that was named is no checkpoint, or no model has the pinned name.
    pub fn load(
        source: Source,
        device: Device,
        LoadOptions { pin, panic_every, adjusting }: LoadOptions,
    ) -> Result<Registry, ModelsError> {
        if let Some(name) = pin.as_ref().filter(|name| !NAMES.contains(&name.as_str())) {
            let known = NAMES.map(str::to_owned).into();
            return Err(ModelsError::UnknownModel { name: name.clone(), known });
        }
        let watched = source.clone();
        Registry::following(
            move || watched.files(),
            move |previous| {
                let mut lineup = match previous {
                    None => start(&source, &device, &adjusting)?,
                    Some(previous) => renew(&source, &device, previous, &adjusting)?,
                };
                if let Some(every) = panic_every {
                    lineup.spoil(ENSEMBLE, every);
                }
                lineup.pin.clone_from(&pin);
                if let Some(name) = pin.as_deref().filter(|name| !lineup.has(name)) {
                    lineup.warnings.push(format!("there is no {name} to prefer"));
                }
                Ok(Arc::new(lineup))
            },
        )
    }
}

impl Source {
    /// All that a change of may mean another model.
    fn files(&self) -> Vec<PathBuf> {
        match self {
            Source::Folder(path) => checkpoint::files_of(path),
            Source::Latest { root, otherwise } => {
                let path = checkpoint::latest(root).unwrap_or_else(|_| otherwise.clone());
                let mut files = checkpoint::files_of(&path);
                files.insert(0, root.join(LATEST));
                files
            }
        }
    }
}

/// What can be used to begin with.
fn start(
    source: &Source,
    device: &Device,
    adjusting: &Arc<Adjusting>,
) -> Result<Lineup, ModelsError> {
    let (root, otherwise) = match source {
        Source::Folder(path) => return Ok(usable(path, device, adjusting)?),
        Source::Latest { root, otherwise } => (root, otherwise),
    };
    let found = checkpoint::latest(root).and_then(|path| usable(&path, device, adjusting));
    let error = match found {
        Ok(lineup) => return Ok(lineup),
        Err(CheckpointError::NoLatest { .. }) if otherwise.is_dir() => None,
        Err(error) => Some(error),
    };
    let (mut lineup, none) = match usable(otherwise, device, adjusting) {
        Ok(lineup) => (lineup, None),
        Err(CheckpointError::NotACheckpoint { .. }) if error.is_some() => (prior(), None),
        Err(error) => (prior(), Some(error)),
    };
    for error in error.into_iter().chain(none) {
        lineup.warnings.push(with_causes(&error));
    }
    Ok(lineup)
}

/// A checkpoint of which all can be used, and whose models answer the sample conversations.
fn renew(
    source: &Source,
    device: &Device,
    previous: &Lineup,
    adjusting: &Arc<Adjusting>,
) -> Result<Lineup, ModelsError> {
    let path = match source {
        Source::Folder(path) => path.clone(),
        Source::Latest { root, otherwise } => match checkpoint::latest(root) {
            // Who removes `latest` does not ask for the checkpoint that comes with the project.
            Err(CheckpointError::NoLatest { .. })
                if previous.checkpoint().is_none_or(|current| current == otherwise) =>
            {
                otherwise.clone()
            }
            latest => latest?,
        },
    };
    let mut salvage = checkpoint::salvage(&path, device)?;
    if !salvage.damage.is_empty() {
        return Err(salvage.damage.swap_remove(0).into());
    }
    let (mut lineup, predictor) = lineup(&path, salvage, adjusting);
    let fails = |model: &str, reason| {
        let (checkpoint, model) = (path.clone(), model.to_owned());
        ModelsError::Samples { checkpoint, model, reason }
    };
    for Member { name, model, .. } in &lineup.members {
        samples::check(model.as_ref()).map_err(|failure| fails(name, failure.to_string()))?;
    }
    if let Some(predictor) = predictor.filter(|predictor| predictor.ensemble.is_some()) {
        samples::check_networks(&predictor).map_err(|reason| fails(ENSEMBLE, reason))?;
    }
    lineup.inherit(previous);
    Ok(lineup)
}

/// The models of a checkpoint, as far as they can be used, and why the others cannot.
fn usable(
    path: &Path,
    device: &Device,
    adjusting: &Arc<Adjusting>,
) -> Result<Lineup, CheckpointError> {
    let (mut lineup, _) = lineup(path, checkpoint::salvage(path, device)?, adjusting);
    // This is also the first forward pass, which sets things up: no validator should wait for that.
    let Lineup { members, warnings, .. } = &mut lineup;
    members.retain(|Member { name, model, .. }| {
        let result = samples::check(model.as_ref());
        warnings.extend(result.as_ref().err().map(|failure| format!("the {name}: {failure}")));
        result.is_ok()
    });
    let missing: Vec<&str> = NAMES.into_iter().filter(|name| !lineup.has(name)).collect();
    if !lineup.warnings.is_empty() && !missing.is_empty() {
        let answering = lineup.members.first().map_or(CONSTANT, |member| &member.name).to_owned();
        let missing = missing.join(" and no ");
        let path = path.display();
        lineup.warnings.push(format!("`{path}` has no {missing}, so the {answering} answers"));
    }
    Ok(lineup)
}

/// The models of what can be used of a checkpoint, and what they share.
fn lineup(
    path: &Path,
    salvage: Salvage,
    adjusting: &Arc<Adjusting>,
) -> (Lineup, Option<Arc<Predictor>>) {
    let Salvage { manifest, predictor, has_baseline, damage } = salvage;
    let predictor = predictor.map(Arc::new);
    let file = |name: &str| {
        let hash = manifest.as_ref().and_then(|manifest| manifest.files.get(name));
        hash.cloned().unwrap_or_default()
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let calibration: Arc<str> = predictor
        .as_ref()
        .map_or_else(String::new, |predictor| calibration_name(&name, &predictor.calibration))
        .into();
    let mut members = Vec::new();
    if let Some(predictor) = &predictor {
        if predictor.ensemble.is_some() {
            let model = Arc::new(EnsembleModel {
                predictor: Arc::clone(predictor),
                calibration: Arc::clone(&calibration),
                adjusting: Arc::clone(adjusting),
            });
            let fingerprint = file(checkpoint::WEIGHTS) + &file(checkpoint::SCALER);
            members.push(Member::new(ENSEMBLE, model, fingerprint));
        }
        if has_baseline {
            let model = Arc::new(BaselineModel(Arc::clone(predictor)));
            let fingerprint = file(checkpoint::BASELINE) + &file(checkpoint::SCALER);
            members.push(Member::new(BASELINE, model, fingerprint));
        }
    }
    let constant = manifest.as_ref().map_or(Constant::PRIOR, |manifest| {
        let baseline = predictor.as_ref().filter(|_| has_baseline).map(|predictor| {
            let baseline = &predictor.baseline;
            (f64::from(baseline.time_seconds), f64::from(baseline.time_accuracy))
        });
        manifest.constant(baseline)
    });
    members.push(Member::new(CONSTANT, Arc::new(constant), format!("{:?}", constant.answer())));
    let mut lineup = Lineup::new(members);
    let name: Arc<str> = name.into();
    lineup.members.iter().for_each(|member| member.standing.is_of(&name));
    lineup.predictor.clone_from(&predictor);
    lineup.validation = manifest.and_then(|manifest| manifest.coverage);
    lineup.checkpoint = Some(path.to_owned());
    lineup.name = name;
    lineup.calibration = calibration;
    lineup.warnings = damage.iter().map(|error| with_causes(error)).collect();
    (lineup, predictor)
}

/// Names a calibration of a checkpoint, so that what was learned about it is not taken to be about
/// another one.
fn calibration_name(checkpoint: &str, calibration: &Calibration) -> String {
    let text = serde_json::to_vec(calibration).unwrap_or_default();
    format!("{checkpoint}/{}", &hex::encode(Sha256::digest(text))[..16])
}

/// What answers where there is no checkpoint.
fn prior() -> Lineup {
    let model = Arc::new(Constant::PRIOR);
    let mut lineup = Lineup::new(vec![Member::new(CONSTANT, model, String::new())]);
    lineup.warnings.push("there is no checkpoint, so the constant answers".to_owned());
    lineup
}

#[cfg(test)]
mod tests;
