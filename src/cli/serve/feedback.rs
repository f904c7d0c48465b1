//! What truths and tuning change while serving, and what is kept over a restart.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum;
use serde::de::DeserializeOwned;

use super::ServeArgs;
use crate::causes::with_causes;
use crate::clock::Clock;
use crate::journal::Journal;
use crate::model::adjustment::Adjusting;
use crate::serve::feedback::{
    Feedback, FeedbackOptions, FeedbackView, FeedbackWatch, SavedFeedback,
};
use crate::serve::models::{Registry, SavedModels};
use crate::serve::monitor::{Snapshot, StateStats};
use crate::serve::state::{FEEDBACK, Keeper, Loaded, MODELS, StateFile, StateHealth};
use crate::tune;

/// How often it is looked whether a truth became known, or something was tuned.
const LOOK: Duration = Duration::from_secs(2);

/// What is learned while serving.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Truths")]
pub(super) struct FeedbackArgs {
    /// The folder with what really happened; it is followed while serving
    #[arg(long, value_name = "FOLDER", default_value = "data/outcomes")]
    outcomes: PathBuf,
    /// Correct the confidence by what became of earlier answers, while that is measured to help
    #[arg(long, value_name = "on|off", default_value = "on", hide_possible_values = true)]
    recalibrate: Switch,
}

impl FeedbackArgs {
    /// Where truths are.
    pub(super) fn outcomes(&self) -> &PathBuf {
        &self.outcomes
    }
}

/// On or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Switch {
    /// On.
    On,
    /// Off.
    Off,
}

/// What a running miner learns and keeps. Dropping it saves that for the last time.
pub(super) struct Learning {
    // First of all: what is learned while the last is saved would be lost.
    _watch: FeedbackWatch,
    _keeper: Option<Keeper>,
    view: LearningView,
}

/// What is learned and how it is kept, for who looks.
#[derive(Clone)]
pub(super) struct LearningView {
    feedback: FeedbackView,
    health: Arc<StateHealth>,
}

impl LearningView {
    /// Adds to a snapshot what is known.
    pub(super) fn look(&self, snapshot: Snapshot) -> Snapshot {
        let state = StateStats { failures: self.health.failures(), failing: self.health.failing() };
        self.feedback.look(Snapshot { state, ..snapshot })
    }
}

impl Learning {
    /// Goes on from what an earlier process kept for this hotkey, and begins to follow truths and
    /// tuning. Without a hotkey nothing is kept.
    pub(super) fn start(
        args: &ServeArgs,
        hotkey: Option<&str>,
        (models, adjusting): (&Arc<Registry>, &Arc<Adjusting>),
        journal: Option<&Arc<Journal>>,
        (clock, health): (&Arc<dyn Clock>, &Arc<StateHealth>),
    ) -> anyhow::Result<Learning> {
        if hotkey.is_some() {
            // The days in which nothing is tuned count from the first start.
            if let Err(error) = tune::record_start(&args.state_dir, clock.now_ns()) {
                tracing::warn!(reason = with_causes(&error), "the start of mining is not recorded");
            }
        }
        let mut feedback = Feedback::new(FeedbackOptions {
            journal: args.journal.folder().clone(),
            outcomes: args.feedback.outcomes.clone(),
            state_dir: args.state_dir.clone(),
            recalibrate: args.feedback.recalibrate == Switch::On,
            models: Arc::clone(models),
            adjusting: Arc::clone(adjusting),
            intervals: journal.map(|journal| Arc::clone(journal.intervals())).unwrap_or_default(),
        });
        let view = feedback.view();
        let keeper = hotkey.map(|hotkey| {
            let folder = &args.state_dir;
            let saved_models = StateFile::of(folder, MODELS, hotkey, Arc::clone(clock));
            let saved_feedback = StateFile::of(folder, FEEDBACK, hotkey, Arc::clone(clock));
            if let Some(saved) = load::<SavedModels>(&saved_models) {
                let restored = models.restore(&saved);
                tracing::info!(models = restored, "what is known of the models is restored");
            }
            if let Some(saved) = load::<SavedFeedback>(&saved_feedback) {
                feedback.restore(saved);
            }
            let (models, feedback) = (Arc::clone(models), view.clone());
            let every = Duration::from_secs_f64(args.state_interval);
            Keeper::start(
                every,
                Arc::clone(health),
                vec![
                    job(saved_models, move |file| file.save(&models.save())),
                    job(saved_feedback, move |file| file.save(&feedback.saved())),
                ],
            )
        });
        let keeper = keeper.transpose().context("there is no thread to save state")?;
        let watch = feedback.watch(Arc::clone(clock), LOOK);
        Ok(Learning {
            _watch: watch.context("there is no thread to follow what really happened")?,
            _keeper: keeper,
            view: LearningView { feedback: view, health: Arc::clone(health) },
        })
    }

    /// What is learned and how it is kept, for who looks.
    pub(super) fn view(&self) -> LearningView {
        self.view.clone()
    }
}

type Job = (String, Box<dyn FnMut() -> io::Result<()> + Send>);

fn job<T: 'static>(
    file: StateFile<T>,
    save: impl Fn(&StateFile<T>) -> io::Result<()> + Send + 'static,
) -> Job {
    (name(file.path()), Box::new(move || save(&file)))
}

fn name(path: &Path) -> String {
    path.display().to_string()
}

/// What a file holds. One that cannot be used is told, and the miner goes on without.
fn load<T: DeserializeOwned>(file: &StateFile<T>) -> Option<T> {
    match file.load() {
        Ok(Loaded::Loaded(saved)) => Some(saved.value),
        // Damaged: told already.
        Ok(Loaded::Absent | Loaded::Damaged { .. }) => None,
        Err(error) => {
            tracing::warn!(file = name(file.path()), %error, "the saved state cannot be read");
            None
        }
    }
}
