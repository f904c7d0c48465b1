//! What is asked: conversations from the challenges, as validators write them.

use std::fmt::Write as _;

use crate::features::{Conversation, reader};
use crate::serve::dendrite::wire_features;
use crate::subnet::challenge::{Challenge, Example, NoisyRates};
use crate::subnet::schema::{FEATURES, index_of};

/// How many different conversations there are; they come round and round.
const COUNT: usize = 1000;

/// One conversation to ask about.
#[derive(Debug)]
pub struct Question {
    /// The `features` of the body.
    pub features: String,
    /// A key of later validators, which they ask back: the id of the conversation.
    pub test_pk: Option<String>,
    /// What a miner should read from the features.
    pub conversation: Conversation,
}

/// The conversations of one run: the same seed gives the same.
///
/// They come in turns: rule, template and noisy ones with the names of the training table, nearly
/// empty ones, as most real ones are, and some with the 42 names of later validators.
pub fn questions(seed: u64) -> Vec<Question> {
    let mut rule = Challenge::Rule.examples(seed);
    let mut template = Challenge::Template.examples(seed);
    let mut noisy = Challenge::Noisy(NoisyRates::default()).examples(seed);
    (0..COUNT)
        .map(|number| {
            let next = match number % 5 {
                0 | 4 => rule.next(),
                1 | 3 => template.next(),
                _ => noisy.next(),
            };
            let example = next.expect("the examples have no end. This is a bug.");
            match number % 5 {
                3 => question(nearly_empty(&example), None),
                4 => question(later(&example), Some(example.session_id)),
                _ => question(usual(&example), None),
            }
        })
        .collect()
}

fn question(features: String, test_pk: Option<String>) -> Question {
    let reading = reader::read(features.as_bytes())
        .expect("the features of a question can be read. This is a bug.");
    Question { features, test_pk, conversation: reading.conversation }
}

fn usual(example: &Example) -> String {
    wire_features(&example.session_id, &Conversation::of(&example.features)).to_string()
}

/// Nothing was said: what counts is 0, what would be measured is -1, which means not available.
fn nearly_empty(example: &Example) -> String {
    let mut text = format!(r#"{{"session_id": "{}""#, example.session_id);
    let duration = index_of("conversation_duration_seconds");
    for (index, feature) in FEATURES.iter().enumerate() {
        let value = match feature.name {
            _ if Some(index) == duration => 0.05,
            "messages_per_minute" => 4000.0,
            name if name.contains("response") || name.contains("confidence") => -1.0,
            "hour_of_day" | "day_of_week" => -1.0,
            _ => 0.0,
        };
        push(&mut text, feature.name, value);
    }
    text.push('}');
    text
}

/// The columns of later validators, with the two that will be labels.
fn later(example: &Example) -> String {
    let id = &example.session_id;
    let mut text = format!(r#"{{"sessionId": "{id}", "testPk": "{id}""#);
    for (feature, value) in FEATURES.iter().zip(example.features) {
        push(&mut text, feature.camel, value);
    }
    push(&mut text, "timeToConversionSeconds", -1.0);
    push(&mut text, "timeToConversionMinutes", -1.0);
    text.push('}');
    text
}

fn push(text: &mut String, name: &str, value: f64) {
    let value = if value.is_nan() { "NaN".to_owned() } else { format!("{value:?}") };
    write!(text, r#", "{name}": {value}"#).expect("a String takes any text. This is a bug.");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_decides() {
        let text = |seed| {
            let questions = questions(seed).into_iter();
            questions.map(|question| question.features).collect::<Vec<_>>()
        };
        assert_eq!(text(1), text(1));
        assert_ne!(text(1), text(2));
        assert_eq!(text(1).len(), COUNT);
    }

    #[test]
    fn they_say_what_they_should() {
        let questions = questions(7);
        let duration = index_of("conversation_duration_seconds").unwrap();
        let response = index_of("avg_response_time_seconds").unwrap();
        for (number, question) in questions.iter().enumerate() {
            let conversation = &question.conversation;
            match number % 5 {
                0 => {
                    let names = FEATURES.iter().map(|feature| feature.name);
                    let missing = names.filter(|name| !question.features.contains(name));
                    assert_eq!(missing.count(), 0, "{}", question.features);
                    assert!(conversation.coverage() > 0.9, "{}", question.features);
                }
                // Where the user said nothing, nothing is known of how it was understood.
                1 => assert!(conversation.coverage() > 0.6, "{}", question.features),
                3 => {
                    assert_eq!(conversation.values[duration], 0.05);
                    assert!(conversation.values[response].is_nan(), "-1 is not available");
                }
                4 => {
                    assert!(conversation.values[duration] > 30.0, "{}", question.features);
                    assert!(question.test_pk.is_some());
                }
                _ => {}
            }
            assert_eq!(question.test_pk.is_some(), number % 5 == 4);
        }
        let missing = questions.iter().filter(|question| question.conversation.coverage() < 1.0);
        assert!(missing.count() > COUNT / 5, "nearly empty ones, and noisy ones");
    }
}
