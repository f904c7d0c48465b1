//! What the models of checkpoints answer, so that a server's answers can be compared with it.

use std::path::PathBuf;

use anyhow::Context as _;

use crate::cli::common;
use crate::load::{Candidate, Question};
use crate::model::device::DeviceChoice;
use crate::serve::models::{LoadOptions, NAMES, Registry, Source};

/// What each model of each checkpoint answers, in the order in which a server prefers them. Which
/// of them answers is the server's choice: one may be ill, or know little of such conversations.
pub(super) fn candidates(
    checkpoints: &[PathBuf],
    questions: &[Question],
) -> anyhow::Result<Vec<Candidate>> {
    let device = common::open(DeviceChoice::Cpu)?;
    let mut candidates = Vec::new();
    for path in checkpoints {
        for name in NAMES {
            let models = Registry::load(
                Source::Folder(path.clone()),
                device.clone(),
                LoadOptions { pin: Some(name.to_owned()), ..LoadOptions::default() },
            )?;
            let title = format!("{} {name}", path.display());
            let candidate = candidate(title.clone(), &models, name, questions)
                .with_context(|| format!("`{title}` does not answer"))?;
            candidates.extend(candidate);
        }
    }
    Ok(candidates)
}

/// `None` if the checkpoint has no such model, and another answers.
fn candidate(
    title: String,
    models: &Registry,
    name: &str,
    questions: &[Question],
) -> anyhow::Result<Option<Candidate>> {
    let mut answers = Vec::with_capacity(questions.len());
    for question in questions {
        // One by one, as a server asks that is not busy.
        let answered = models
            .predict(std::slice::from_ref(&question.conversation))
            .pop()
            .context("there is no answer to a conversation. This is a bug.")??;
        if *answered.model != *name {
            return Ok(None);
        }
        answers.push(answered.prediction.answer());
    }
    Ok(Some(Candidate { name: title, answers }))
}
