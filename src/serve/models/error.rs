//! What goes wrong with models.

use std::path::PathBuf;

use crate::model::checkpoint::CheckpointError;
use crate::subnet::reward::AnswerFault;

/// What a model did that it must not.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ModelFailure {
    /// It panicked.
    #[error("the model panicked: {0}")]
    Panicked(String),
    /// It did not answer each conversation once.
    #[error("the model should give {asked} answers, but gave {given}")]
    Count {
        /// How many conversations there were.
        asked: usize,
        /// How many answers came.
        given: usize,
    },
    /// It gave an answer for which there is no reward.
    #[error(transparent)]
    Answer(#[from] AnswerFault),
    /// It had not answered after so long.
    #[error("the model did not answer within {seconds} s")]
    Hangs {
        /// How long it was waited for.
        seconds: f64,
    },
    /// There is no model that may be asked at the moment.
    #[error("no model can be asked at the moment")]
    NoModel,
}

/// Why there are no models to answer with, or why new ones are refused.
#[derive(Debug, thiserror::Error)]
pub enum ModelsError {
    /// The checkpoint cannot be used.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// No model has this name.
    #[error("expected the name of a model, one of {}, but found `{name}`", known.join(", "))]
    UnknownModel {
        /// What was given.
        name: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// A model of a new checkpoint does not answer as it should.
    #[error("the {model} of `{}` fails on the sample conversations: {reason}", checkpoint.display())]
    Samples {
        /// The checkpoint.
        checkpoint: PathBuf,
        /// The model.
        model: String,
        /// What it did.
        reason: String,
    },
}
