//! The conversations that a model must be able to answer before it answers anybody else.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use super::error::ModelFailure;
use crate::features::Conversation;
use crate::model::opinion::Basis;
use crate::model::{Model, Opinion, Predictor};
use crate::subnet::challenge::{Challenge, NoisyRates};
use crate::subnet::synapse::Prediction;

/// Of each kind; together more than single rows are computed for one by one.
const EACH: usize = 16;
/// How far networks may say something else of a row alone than of the same row in a batch: of the
/// probability, and of the time in its own units.
const AGREEMENT: f64 = 1e-5;

/// The same conversations always: some of each generator, one of which nothing is known, and some of
/// which little is.
pub(super) fn conversations() -> &'static [Conversation] {
    static CONVERSATIONS: OnceLock<Vec<Conversation>> = OnceLock::new();
    CONVERSATIONS.get_or_init(|| {
        let spoilt = NoisyRates::new(0.0, 0.0, 0.7).expect("0.7 is a rate. This is a bug.");
        let kinds = [
            Challenge::Rule,
            Challenge::Template,
            Challenge::Noisy(NoisyRates::default()),
            Challenge::Noisy(spoilt),
        ];
        let examples = kinds.into_iter().flat_map(|kind| kind.examples(1).take(EACH));
        let conversations = examples.map(|example| Conversation::of(&example.features));
        std::iter::once(Conversation::EMPTY).chain(conversations).collect()
    })
}

/// A valid answer and what it rests on.
pub(super) type Explained = (Prediction, Option<Basis>);

/// One result a conversation, or a failure of the whole call.
pub(super) fn predict(
    model: &dyn Model,
    conversations: &[Conversation],
) -> Result<Vec<Result<Explained, ModelFailure>>, ModelFailure> {
    // A model has no state that an unwound call could leave half-written for the next one to see:
    // `predict` takes `&self`, and a poisoned lock in it panics again, which is caught again.
    let answers = catch_unwind(AssertUnwindSafe(|| model.explain(conversations)))
        .map_err(|panic| ModelFailure::Panicked(panic_message(panic.as_ref())))?;
    if answers.len() != conversations.len() {
        let (asked, given) = (conversations.len(), answers.len());
        return Err(ModelFailure::Count { asked, given });
    }
    let explained = |Opinion { answer, basis }| Ok((Prediction::new(answer)?, basis));
    Ok(answers.into_iter().map(explained).collect())
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").to_owned()
}

/// Whether the model gives a valid answer to each sample, all at once and one by one.
pub(super) fn check(model: &dyn Model) -> Result<(), ModelFailure> {
    let conversations = conversations();
    for answer in predict(model, conversations)? {
        answer?;
    }
    for one in conversations.chunks(1) {
        predict(model, one)?.remove(0)?;
    }
    Ok(())
}

/// Whether a predictor's networks say the same of single rows as of many, and not the same of all.
pub(super) fn check_networks(predictor: &Predictor) -> Result<(), String> {
    let conversations = conversations();
    let together = predictor.estimate(conversations);
    for (index, (one, batch)) in conversations.chunks(1).zip(&together).enumerate() {
        let alone = predictor.estimate(one)[0];
        let apart = [
            alone.probability - batch.probability,
            (alone.time_seconds - batch.time_seconds) / batch.time_seconds.abs().max(1.0),
        ];
        // Not "any is larger", which a NaN is not.
        if !apart.iter().all(|apart| apart.abs() <= AGREEMENT) {
            return Err(format!(
                "of sample {index} they say {} and {} s alone, but {} and {} s among others",
                alone.probability, alone.time_seconds, batch.probability, batch.time_seconds
            ));
        }
    }
    if together.iter().all(|estimate| *estimate == together[0]) {
        return Err("they say the same of all".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_of_many_kinds_and_always_the_same() {
        let samples = conversations();
        assert_eq!(samples.len(), 4 * EACH + 1);
        let little = samples.iter().filter(|sample| sample.coverage() < 0.5).count();
        assert!((10..=EACH + 1).contains(&little), "{little}");
        assert_eq!(samples[0].coverage(), 0.0);
        assert_eq!(samples[1].coverage(), 1.0);
        assert!(
            samples.iter().all(|sample| sample.values.iter().all(|value| !value.is_infinite()))
        );
        assert!(samples.len() > 32, "more than go the way of single rows");
    }
}
