//! The one answer for all conversations, for when nothing else can be said of one.

use super::Model;
use super::decision::TIME_RANGE_SECONDS;
use crate::features::Conversation;
use crate::subnet::reward::{
    Answer, ClassWeights, NOT_CONVERTED, RewardSpec, converting_earns_more,
};

/// What is believed where nothing was learned: of the conversations that the network once published,
/// one in twenty converted.
pub const PRIOR_PROBABILITY: f64 = 0.05;

/// The same answer for every conversation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Constant {
    answer: Answer,
}

impl Constant {
    /// "Does not convert", with [`PRIOR_PROBABILITY`]: what is answered without any checkpoint.
    pub const PRIOR: Constant = Constant {
        answer: Answer {
            converted: false,
            time_seconds: NOT_CONVERTED,
            confidence: PRIOR_PROBABILITY,
        },
    };

    /// The answer that earns the most when `converted` of `rows` conversations converted, and the best
    /// time for them, if one is known, is given with the mean kernel that it earns.
    pub fn of(
        (rows, converted): (usize, usize),
        best_time: Option<(f64, f64)>,
        spec: &RewardSpec,
        weights: ClassWeights,
    ) -> Constant {
        if rows == 0 {
            return Constant::PRIOR;
        }
        // Jeffreys' prior keeps it off 0 and 1, as in the baseline.
        let converted = converted.min(rows) as f64;
        let confidence = (converted + 0.5) / (rows as f64 + 1.0);
        let (time_seconds, accuracy) = best_time.unwrap_or((UNKNOWN_TIME_SECONDS, 0.0));
        let time_seconds = time_seconds.max(TIME_RANGE_SECONDS.0).min(TIME_RANGE_SECONDS.1);
        let converted = converting_earns_more(spec, weights, confidence, accuracy);
        let time_seconds = if converted { time_seconds } else { NOT_CONVERTED };
        Constant { answer: Answer { converted, time_seconds, confidence } }
    }

    /// The answer.
    pub fn answer(&self) -> Answer {
        self.answer
    }
}

/// The time to say where none is known: the shortest that the rule challenges know, doubled.
const UNKNOWN_TIME_SECONDS: f64 = 60.0;

impl Model for Constant {
    fn predict(&self, conversations: &[Conversation]) -> Vec<Answer> {
        vec![self.answer; conversations.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The larger of p * (0.55 * 0.375 + 0.45 * accuracy) and (1 - p) * 0.55 * 0.625.
    #[test]
    fn the_answer_that_earns_the_most() {
        for (counts, best_time, confidence, time_seconds) in [
            // 0.05 of nothing but a belief.
            ((0, 0), Some((50.0, 1.0)), 0.05, NOT_CONVERTED),
            // p = 4.5 / 10: 0.093 against 0.189 without a time, 0.214 with one that earns 60 %.
            ((9, 4), None, 0.45, NOT_CONVERTED),
            ((9, 4), Some((50.0, 0.6)), 0.45, 50.0),
            // p = 9.5 / 10: 0.196 against 0.017.
            ((9, 9), None, 0.95, 60.0),
            // A manifest that says what cannot be.
            ((9, 90), Some((1e9, 0.0)), 0.95, 86_400.0),
            ((9, 0), Some((50.0, 1.0)), 0.05, NOT_CONVERTED),
        ] {
            let constant = Constant::of(counts, best_time, &RewardSpec::MAIN, ClassWeights::START);
            let answer = constant.answer();
            assert!((answer.confidence - confidence).abs() < 1e-12, "{counts:?}: {answer:?}");
            assert_eq!(answer.time_seconds, time_seconds, "{counts:?}");
            assert_eq!(answer.check(), Ok(()));
        }
        assert_eq!(Constant::PRIOR.predict(&[Conversation::EMPTY; 2]).len(), 2);
        assert_eq!(Constant::PRIOR.answer().check(), Ok(()));
    }
}
