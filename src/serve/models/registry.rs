//! The models in use.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::error::{ModelFailure, ModelsError};
use super::lineup::{Asking, Lineup};
use super::member::{Answered, Member};
use super::saved::{Earned, InUse, SavedModels};
use super::statistics::ModelStatistics;
use crate::features::Conversation;
use crate::model::Model;
use crate::serve::live::{Live, Refresh, Watch};

/// The models that may answer: those of a checkpoint, which it follows when the files are replaced, or
/// any others.
pub struct Registry {
    live: Arc<Live<Lineup>>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Registry").field(&self.current()).finish()
    }
}

impl Registry {
    /// One model and nobody to take its place.
    pub fn single(model: Arc<dyn Model>) -> Registry {
        Registry::of([("model", model)])
    }

    /// Models by name, the preferred one first.
    pub fn of<'a>(models: impl IntoIterator<Item = (&'a str, Arc<dyn Model>)>) -> Registry {
        let member = |(name, model)| Member::new(name, model, String::new());
        Registry::fixed(Lineup::new(models.into_iter().map(member).collect()))
    }

    pub(super) fn fixed(lineup: Lineup) -> Registry {
        Registry { live: Arc::new(Live::fixed(Arc::new(lineup))) }
    }

    pub(super) fn following(
        files: impl Fn() -> Vec<PathBuf> + Send + Sync + 'static,
        load: impl Fn(Option<&Arc<Lineup>>) -> Result<Arc<Lineup>, ModelsError> + Send + Sync + 'static,
    ) -> Result<Registry, ModelsError> {
        Ok(Registry { live: Arc::new(Live::load(files, load)?) })
    }

    /// Asks the models about conversations; one result each, in the same order. A failure means that
    /// no model could answer.
    pub fn predict(&self, conversations: &[Conversation]) -> Vec<Result<Answered, ModelFailure>> {
        self.current().predict(conversations, &Asking::default())
    }

    /// How the models do, the preferred one first.
    pub fn statistics(&self) -> Vec<ModelStatistics> {
        self.current().statistics()
    }

    /// Sets what is known of the rewards of the models' answers: this, and nothing else. Models are
    /// preferred by it once enough is known.
    pub fn set_rewards(&self, earned: &[Earned<'_>]) {
        self.current().set_rewards(earned);
    }

    /// What is to be kept of the models over a restart.
    pub fn save(&self) -> SavedModels {
        self.current().save()
    }

    /// Goes on with what an earlier process knew of the models that are the very same, and says how
    /// many these are. To be called before anything is asked.
    pub fn restore(&self, saved: &SavedModels) -> usize {
        self.current().restore(saved)
    }

    /// What answers now, and how its rewards and its confidence are counted.
    pub fn in_use(&self) -> InUse {
        let lineup = self.current();
        InUse {
            checkpoint: Arc::clone(&lineup.name),
            calibration: Arc::clone(&lineup.calibration),
            predictor: lineup.predictor.clone(),
        }
    }

    /// The folder of the checkpoint in use, for people to read.
    pub fn checkpoint(&self) -> String {
        let lineup = self.current();
        lineup.checkpoint().map_or_else(|| "no checkpoint".to_owned(), |p| p.display().to_string())
    }

    /// Which calibration of which checkpoint the ensemble in use has: what a
    /// [`Recalibration`](crate::model::adjustment::Recalibration) is of. Empty without one.
    pub fn calibration(&self) -> Arc<str> {
        Arc::clone(&self.current().calibration)
    }

    /// What could not be used when the models were loaded, each a line.
    pub fn warnings(&self) -> Vec<String> {
        self.current().warnings.clone()
    }

    /// Takes up a new checkpoint, if there is one and it can answer the sample conversations.
    pub fn refresh(&self) -> Refresh {
        self.live.refresh()
    }

    /// Refreshes on a thread of its own, every so often, as long as the result lives. `told` hears of
    /// each checkpoint that was taken up or refused.
    ///
    /// # Errors
    ///
    /// If the thread cannot be started.
    pub fn watch(
        &self,
        every: Duration,
        told: impl FnMut(&Refresh) + Send + 'static,
    ) -> io::Result<Watch> {
        self.live.watch(every, told)
    }

    pub(in crate::serve) fn current(&self) -> Arc<Lineup> {
        self.live.current()
    }
}

impl From<Arc<dyn Model>> for Registry {
    fn from(model: Arc<dyn Model>) -> Registry {
        Registry::single(model)
    }
}
