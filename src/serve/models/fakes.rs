//! Models for tests.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::member::Now;
use crate::features::Conversation;
use crate::model::Model;
use crate::subnet::reward::{Answer, NOT_CONVERTED};

/// A model made of a function.
pub(in crate::serve) struct Fake<F>(pub(in crate::serve) F);

impl<F: Fn(&[Conversation]) -> Vec<Answer> + Send + Sync> Model for Fake<F> {
    fn predict(&self, conversations: &[Conversation]) -> Vec<Answer> {
        (self.0)(conversations)
    }
}

/// A model made of a function of one conversation.
pub(in crate::serve) fn each(
    answer: impl Fn(&Conversation) -> Answer + Send + Sync + 'static,
) -> Arc<dyn Model> {
    Arc::new(Fake(move |conversations: &[Conversation]| {
        conversations.iter().map(&answer).collect()
    }))
}

/// A model that always has the same confidence.
pub(in crate::serve) fn sure(confidence: f64) -> Arc<dyn Model> {
    each(move |_| says(confidence))
}

/// "Does not convert", with this confidence.
pub(in crate::serve) fn says(confidence: f64) -> Answer {
    Answer { converted: false, time_seconds: NOT_CONVERTED, confidence }
}

/// A full conversation whose first value is `value`.
pub(in crate::serve) fn conversation(value: f32) -> Conversation {
    let mut conversation = Conversation { values: [1.0; crate::subnet::schema::FEATURE_COUNT] };
    conversation.values[0] = value;
    conversation
}

/// A clock that is set by hand.
#[derive(Clone)]
pub(super) struct Hand(Arc<Mutex<Instant>>);

impl Hand {
    pub(super) fn new() -> Hand {
        Hand(Arc::new(Mutex::new(Instant::now())))
    }

    pub(super) fn advance(&self, time: Duration) {
        *self.0.lock().unwrap() += time;
    }

    pub(super) fn now(&self) -> Now {
        let hand = self.clone();
        Arc::new(move || *hand.0.lock().unwrap())
    }
}
