//! A model, asked so that nothing it does can hurt, and what is noted of it.

use std::sync::Arc;
use std::time::Instant;

use super::error::ModelFailure;
use super::samples;
use super::standing::Standing;
use super::statistics::{ModelStatistics, Statistics};
use crate::features::Conversation;
use crate::model::Model;
use crate::model::opinion::Basis;
use crate::subnet::synapse::Prediction;

/// Tells a time that never goes back.
pub(super) type Now = Arc<dyn Fn() -> Instant + Send + Sync>;

/// A valid answer and who gave it.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered {
    /// The answer.
    pub prediction: Prediction,
    /// What it rests on, where the model can say so.
    pub basis: Option<Basis>,
    /// The name of the model that gave it.
    pub model: Arc<str>,
}

/// One result a conversation.
pub(super) type Answers = Vec<Result<Answered, ModelFailure>>;

/// A model and what is known of it.
#[derive(Clone)]
pub(super) struct Member {
    pub(super) name: Arc<str>,
    pub(super) model: Arc<dyn Model>,
    /// What is the same for the same model.
    pub(super) fingerprint: String,
    pub(super) statistics: Arc<Statistics>,
    pub(super) standing: Arc<Standing>,
}

impl Member {
    pub(super) fn new(name: &str, model: Arc<dyn Model>, fingerprint: String) -> Member {
        Member {
            name: name.into(),
            model,
            fingerprint,
            statistics: Arc::default(),
            standing: Arc::default(),
        }
    }

    pub(super) fn statistics(&self) -> ModelStatistics {
        self.statistics.of(&self.name, self.standing.is_healthy())
    }

    /// One result a conversation. What fails as a whole is asked one by one, since one conversation
    /// must not cost the others their answer; once the model is known to be ill, the rest is left to
    /// the next one, if there is one.
    pub(super) fn answer(
        &self,
        conversations: &[Conversation],
        is_last: bool,
        now: &Now,
    ) -> Answers {
        let failure = match self.ask(conversations) {
            Ok(answers) => return self.note(answers, now),
            Err(failure) => failure,
        };
        let size = conversations.len();
        if size == 1 {
            return self.note(vec![Err(failure)], now);
        }
        tracing::warn!(model = %self.name, %failure, size, "a batch failed; asking one by one");
        let mut answers = Vec::with_capacity(size);
        for one in conversations.chunks(1) {
            if !is_last && !self.standing.is_healthy() {
                answers.push(Err(failure.clone()));
                continue;
            }
            let answer = self.ask(one).unwrap_or_else(|failure| vec![Err(failure)]);
            answers.extend(self.note(answer, now));
        }
        answers
    }

    fn ask(&self, conversations: &[Conversation]) -> Result<Answers, ModelFailure> {
        let started = Instant::now();
        let answers = samples::predict(self.model.as_ref(), conversations)?;
        let took = started.elapsed();
        let valid = answers.iter().flatten().map(|(answer, _)| answer.answer().confidence);
        self.statistics.answered(valid, took);
        let named = |(prediction, basis)| {
            let model = Arc::clone(&self.name);
            Answered { prediction, basis, model }
        };
        Ok(answers.into_iter().map(|answer| answer.map(named)).collect())
    }

    /// Notes which of its answers can be used.
    fn note(&self, answers: Answers, now: &Now) -> Answers {
        let now = now();
        let mut failed = 0;
        for failure in answers.iter().filter_map(|answer| answer.as_ref().err()) {
            failed += 1;
            let model = &self.name;
            if self.standing.failed(now) {
                tracing::warn!(%model, %failure, "the model fails too often and has to pause");
            } else if self.standing.is_healthy() {
                tracing::warn!(%model, %failure, "the model failed on a conversation");
            }
        }
        if failed > 0 {
            self.statistics.failed(failed);
        }
        if failed < answers.len() {
            self.standing.answered(answers.len() - failed, now);
        }
        answers
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::fakes::{Fake, Hand, conversation, each, says, sure};
    use super::*;
    use crate::subnet::reward::AnswerFault;

    fn member(model: Arc<dyn Model>) -> Member {
        Member::new("a", model, String::new())
    }

    /// The confidence of each answer, or what the model did instead.
    fn ask(member: &Member, values: &[f32], is_last: bool) -> Vec<Result<f64, ModelFailure>> {
        let conversations: Vec<_> = values.iter().map(|value| conversation(*value)).collect();
        let answers = member.answer(&conversations, is_last, &Hand::new().now());
        let confidence = |answer: Answered| answer.prediction.answer().confidence;
        answers.into_iter().map(|answer| answer.map(confidence)).collect()
    }

    fn panicked() -> Result<f64, ModelFailure> {
        Err(ModelFailure::Panicked("seven".to_owned()))
    }

    #[test]
    fn one_strange_conversation_costs_one_answer() {
        let member = member(each(|conversation| match conversation.values[0] {
            7.0 => panic!("seven"),
            value => says(f64::from(value)),
        }));
        let invalid = Err(AnswerFault::Confidence(2.0).into());
        let answers = ask(&member, &[0.25, 7.0, 0.5, 2.0], false);
        assert_eq!(answers, [Ok(0.25), panicked(), Ok(0.5), invalid]);
        assert!(member.standing.is_healthy(), "two failures are not three");
        let statistics = member.statistics();
        assert_eq!((statistics.requests, statistics.failures), (4, 2));
        assert_eq!(statistics.mean_confidence, 0.375);
    }

    #[test]
    fn who_fails_on_all_is_left_after_three() {
        let asked = Arc::new(AtomicUsize::new(0));
        let ours = Arc::clone(&asked);
        let panics = move |_: &Conversation| -> crate::subnet::reward::Answer {
            ours.fetch_add(1, Ordering::Relaxed);
            panic!("seven")
        };
        let ill = member(each(panics.clone()));
        assert_eq!(ask(&ill, &[0.5; 9], false), vec![panicked(); 9]);
        assert_eq!(asked.load(Ordering::Relaxed), 4, "once together, three times alone");
        assert!(!ill.standing.is_healthy());
        assert_eq!(ill.statistics().failures, 3);
        let last = member(each(panics));
        assert_eq!(ask(&last, &[0.5; 9], true), vec![panicked(); 9]);
        assert_eq!(asked.load(Ordering::Relaxed), 4 + 10, "nobody else could answer any of them");
    }

    #[test]
    fn each_way_to_break_the_word_is_a_failure() {
        for (model, expected) in [
            (sure(f64::NAN), "the confidence must be in 0..=1, but is NaN"),
            (sure(1.5), "the confidence must be in 0..=1, but is 1.5"),
            (
                Arc::new(Fake(|_: &[Conversation]| Vec::new())) as Arc<dyn Model>,
                "the model should give 1 answers, but gave 0",
            ),
            (
                Arc::new(Fake(|_: &[Conversation]| vec![says(0.5); 2])),
                "the model should give 1 answers, but gave 2",
            ),
            (
                each(|_| crate::subnet::reward::Answer { converted: true, ..says(0.5) }),
                "the time of a conversation that converts must be positive and finite, but is -1",
            ),
            (each(|_| panic!("{}", 7)), "the model panicked: 7"),
        ] {
            let member = member(model);
            for count in [1, 2, 3] {
                let failure = ask(&member, &[0.5], false).remove(0).unwrap_err();
                assert_eq!(failure.to_string(), expected);
                assert_eq!(member.standing.is_healthy(), count < 3, "{expected}");
            }
        }
    }
}
