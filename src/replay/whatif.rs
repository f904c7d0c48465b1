//! What another model would have answered.

use crate::features::Conversation;
use crate::model::Model;
use crate::subnet::reward::Answer;

/// Conversations that are asked about at once.
const BATCH: usize = 1024;

/// Another model for the same conversations.
#[derive(Clone, Copy)]
pub struct WhatIf<'a> {
    /// The name of its checkpoint.
    pub checkpoint: &'a str,
    /// The model, which answers without what was adjusted while serving.
    pub model: &'a dyn Model,
}

/// Collects conversations, and asks about them in batches.
pub(super) struct Asked<'a> {
    model: &'a dyn Model,
    waiting: Vec<Conversation>,
    answers: Vec<Answer>,
}

impl<'a> Asked<'a> {
    pub(super) fn new(what_if: &WhatIf<'a>) -> Asked<'a> {
        Asked { model: what_if.model, waiting: Vec::with_capacity(BATCH), answers: Vec::new() }
    }

    pub(super) fn take(&mut self, conversation: &Conversation) {
        self.waiting.push(conversation.clone());
        if self.waiting.len() == BATCH {
            self.ask();
        }
    }

    /// The answers, in the order of the conversations.
    pub(super) fn finish(mut self) -> Vec<Answer> {
        self.ask();
        self.answers
    }

    fn ask(&mut self) {
        self.answers.extend(self.model.predict(&self.waiting));
        self.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says as time what the first feature is.
    struct Echo;

    impl Model for Echo {
        fn predict(&self, conversations: &[Conversation]) -> Vec<Answer> {
            assert!(conversations.len() <= BATCH);
            let answer = |conversation: &Conversation| {
                let time_seconds = f64::from(conversation.values[0]);
                Answer { converted: true, time_seconds, confidence: 1.0 }
            };
            conversations.iter().map(answer).collect()
        }
    }

    #[test]
    fn batches_keep_the_order() {
        let what_if = WhatIf { checkpoint: "a", model: &Echo };
        for count in [0, 1, BATCH, BATCH + 1, 3 * BATCH - 1] {
            let mut asked = Asked::new(&what_if);
            for row in 0..count {
                let mut conversation = Conversation::EMPTY;
                conversation.set(0, row as f64);
                asked.take(&conversation);
            }
            let times: Vec<f64> = asked.finish().iter().map(|one| one.time_seconds).collect();
            assert!(times.iter().copied().eq((0..count).map(|row| row as f64)), "{count}");
        }
    }
}
