//! The models that may answer, and which of them does.
//!
//! A [`Registry`] holds the ensemble, the baseline and the constant of a checkpoint, or other models
//! in tests. For each conversation it orders them (`choice`): by what they earned in validation on
//! conversations of which as little is known, by what they earn and how often they fail here, and by
//! whether they work at all (`standing`). The first valid answer counts, so that whoever asks gets
//! one as long as any model can give it.
//!
//! A registry that was [loaded](Registry::load) follows the checkpoint on the disk.

mod choice;
mod error;
mod lineup;
mod loading;
mod member;
mod parts;
mod registry;
mod samples;
mod saved;
mod standing;
mod statistics;

pub use error::{ModelFailure, ModelsError};
pub(super) use lineup::{Asking, Lineup};
pub use loading::{LoadOptions, Source};
pub use member::Answered;
pub use parts::{BASELINE, CONSTANT, ENSEMBLE, NAMES};
pub use registry::Registry;
pub use saved::{Earned, InUse, SavedModel, SavedModels, SavedRewards, SavedStatistics};
pub use statistics::ModelStatistics;

#[cfg(test)]
pub(super) mod fakes;
