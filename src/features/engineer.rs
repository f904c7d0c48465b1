//! From the 40 values of a conversation to the model's inputs.
//!
//! One function, [`engineer`], makes them for one row; training and serving both call it, so
//! there is nothing that could differ between the two.

use std::sync::LazyLock;

use sha2::{Digest, Sha256};

use super::Conversation;
use super::conversation::coverage_of;
use crate::subnet::schema::{FEATURE_COUNT, FEATURES, position};

/// How many inputs a model has.
pub const INPUT_COUNT: usize = 2 * FEATURE_COUNT + DERIVED.len();

/// The inputs of one conversation, in the order of [`input_names`]; NaN where unknown.
pub type Inputs = [f32; INPUT_COUNT];

/// An input computed from several values.
struct Derived {
    name: &'static str,
    compute: fn(&Row<'_>) -> f64,
}

/// The values of one conversation, by name.
struct Row<'a>(&'a [f32; FEATURE_COUNT]);

impl Row<'_> {
    fn get(&self, index: usize) -> f64 {
        f64::from(self.0[index])
    }
}

const DURATION: usize = position("conversation_duration_seconds");
const HOUR: usize = position("hour_of_day");
const DAY: usize = position("day_of_week");
const FIRST_RESPONSE: usize = position("time_to_first_response_seconds");
const AVG_RESPONSE: usize = position("avg_response_time_seconds");
const MAX_RESPONSE: usize = position("max_response_time_seconds");
const GAP_MAX: usize = position("response_gap_max");
const PER_MINUTE: usize = position("messages_per_minute");
const TOTAL: usize = position("total_messages");
const USER_MESSAGES: usize = position("user_messages_count");
const AGENT_MESSAGES: usize = position("agent_messages_count");
const RATIO: usize = position("message_ratio");
const LENGTH_USER: usize = position("avg_message_length_user");
const LENGTH_AGENT: usize = position("avg_message_length_agent");
const CHARS_USER: usize = position("total_chars_from_user");
const CHARS_AGENT: usize = position("total_chars_from_agent");
const QUESTIONS_USER: usize = position("question_count_user");
const QUESTIONS_AGENT: usize = position("question_count_agent");
const ENTITIES: usize = position("entities_collected_count");
const TARGET: usize = position("has_target_entity");

/// The guide's ratios and cyclical times first, then what else was found useful: heavy tails on a
/// log scale, the share of the duration spent waiting, and how the target entity came about.
const DERIVED: [Derived; 22] = [
    Derived {
        name: "agent_user_message_ratio",
        compute: |r| ratio(r, AGENT_MESSAGES, USER_MESSAGES),
    },
    Derived { name: "message_length_ratio", compute: |r| ratio(r, LENGTH_AGENT, LENGTH_USER) },
    Derived {
        name: "question_density_agent",
        compute: |r| ratio(r, QUESTIONS_AGENT, AGENT_MESSAGES),
    },
    Derived { name: "question_density_user", compute: |r| ratio(r, QUESTIONS_USER, USER_MESSAGES) },
    Derived { name: "hour_sin", compute: |r| turn(r, HOUR, 24.0).sin() },
    Derived { name: "hour_cos", compute: |r| turn(r, HOUR, 24.0).cos() },
    Derived { name: "day_sin", compute: |r| turn(r, DAY, 7.0).sin() },
    Derived { name: "day_cos", compute: |r| turn(r, DAY, 7.0).cos() },
    Derived { name: "log_conversation_duration_seconds", compute: |r| log(r.get(DURATION)) },
    Derived { name: "log_messages_per_minute", compute: |r| log(r.get(PER_MINUTE)) },
    Derived { name: "log_total_messages", compute: |r| log(r.get(TOTAL)) },
    Derived { name: "log_message_ratio", compute: |r| log(r.get(RATIO)) },
    Derived { name: "log_total_chars_from_user", compute: |r| log(r.get(CHARS_USER)) },
    Derived { name: "log_total_chars_from_agent", compute: |r| log(r.get(CHARS_AGENT)) },
    Derived { name: "log_time_to_first_response_seconds", compute: |r| log(r.get(FIRST_RESPONSE)) },
    Derived { name: "log_max_response_time_seconds", compute: |r| log(r.get(MAX_RESPONSE)) },
    Derived { name: "waiting_share_longest", compute: |r| share(r.get(GAP_MAX), r.get(DURATION)) },
    Derived {
        name: "waiting_share_total",
        compute: |r| share(r.get(AVG_RESPONSE) * (r.get(TOTAL) - 1.0), r.get(DURATION)),
    },
    Derived { name: "seconds_per_message", compute: |r| ratio(r, DURATION, TOTAL) },
    Derived { name: "entities_per_message", compute: |r| ratio(r, ENTITIES, TOTAL) },
    Derived { name: "entities_with_target", compute: |r| r.get(TARGET) * r.get(ENTITIES) },
    Derived { name: "coverage", compute: coverage },
];

/// One value over another, which counts as at least 1: the guide's form, finite on empty
/// conversations.
fn ratio(row: &Row<'_>, above: usize, below: usize) -> f64 {
    // Not f64::max, which would turn a missing count into 1.
    let below = row.get(below);
    row.get(above) / if below < 1.0 { 1.0 } else { below }
}

/// The angle of a cyclical value.
fn turn(row: &Row<'_>, index: usize, period: f64) -> f64 {
    row.get(index) / period * std::f64::consts::TAU
}

/// ln(1 + x), odd around 0 so that a nonsensical negative value stays finite.
fn log(value: f64) -> f64 {
    value.abs().ln_1p().copysign(value)
}

/// A part of a whole, in 0..=1; unknown when there is no whole.
fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { (part / whole).clamp(0.0, 1.0) } else { f64::NAN }
}

fn coverage(row: &Row<'_>) -> f64 {
    coverage_of(row.0)
}

/// The model's inputs of one conversation: the 40 values, for each whether it is missing, and the
/// derived ones.
///
/// # Shapes
///
/// - output: `[INPUT_COUNT]`, in the order of [`input_names`]; finite or NaN
pub fn engineer(conversation: &Conversation) -> Inputs {
    let mut inputs = [f32::NAN; INPUT_COUNT];
    let (values, rest) = inputs.split_at_mut(FEATURE_COUNT);
    let (missing, derived) = rest.split_at_mut(FEATURE_COUNT);
    values.copy_from_slice(&conversation.values);
    for (flag, value) in missing.iter_mut().zip(&conversation.values) {
        *flag = f32::from(u8::from(value.is_nan()));
    }
    let row = Row(&conversation.values);
    for (input, Derived { compute, .. }) in derived.iter_mut().zip(&DERIVED) {
        let value = compute(&row) as f32;
        // A quotient can overflow; such an input says nothing.
        *input = if value.is_finite() { value } else { f32::NAN };
    }
    inputs
}

/// The names of the inputs, in order: a feature's own name, `missing:` and its name, and the
/// derived ones.
pub fn input_names() -> &'static [String; INPUT_COUNT] {
    static NAMES: LazyLock<[String; INPUT_COUNT]> = LazyLock::new(|| {
        let values = FEATURES.iter().map(|feature| feature.name.to_owned());
        let missing = FEATURES.iter().map(|feature| format!("missing:{}", feature.name));
        let derived = DERIVED.iter().map(|derived| derived.name.to_owned());
        let mut names = values.chain(missing).chain(derived);
        std::array::from_fn(|_| names.next().expect("as many names as inputs. This is a bug."))
    });
    &NAMES
}

/// The hash of the input names that a checkpoint carries: SHA-256 of the names, each followed by a
/// line feed, as 64 hexadecimal digits.
pub fn input_hash() -> &'static str {
    static HASH: LazyLock<String> = LazyLock::new(|| {
        let mut hasher = Sha256::new();
        for name in input_names() {
            hasher.update(name);
            hasher.update("\n");
        }
        hex::encode(hasher.finalize())
    });
    &HASH
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subnet::schema::index_of;

    fn input(inputs: &Inputs, name: &str) -> f32 {
        inputs[input_names().iter().position(|n| n == name).unwrap()]
    }

    fn conversation(values: &[(&str, f64)]) -> Conversation {
        let mut conversation = Conversation::EMPTY;
        for (name, value) in values {
            conversation.set(index_of(name).unwrap(), *value);
        }
        conversation
    }

    #[test]
    fn by_hand() {
        let inputs = engineer(&conversation(&[
            ("conversation_duration_seconds", 92.0),
            ("hour_of_day", 6.0),
            ("day_of_week", 0.0),
            ("agent_messages_count", 4.0),
            ("user_messages_count", 5.0),
            ("avg_message_length_agent", 84.0),
            ("avg_message_length_user", 47.0),
            ("question_count_agent", 3.0),
            ("question_count_user", 0.0),
            ("total_messages", 9.0),
            ("avg_response_time_seconds", 11.5),
            ("response_gap_max", 15.0),
            ("entities_collected_count", 5.0),
            ("has_target_entity", 1.0),
        ]));
        for (name, expected) in [
            ("conversation_duration_seconds", 92.0),
            ("missing:conversation_duration_seconds", 0.0),
            ("missing:message_ratio", 1.0),
            ("agent_user_message_ratio", 0.8), // 4 / 5
            ("message_length_ratio", 84.0 / 47.0),
            ("question_density_agent", 0.75),
            ("question_density_user", 0.0),
            ("hour_sin", 1.0), // a quarter of the day
            ("hour_cos", 0.0),
            ("day_sin", 0.0),
            ("day_cos", 1.0),
            ("log_conversation_duration_seconds", 93_f32.ln()),
            ("waiting_share_longest", 15.0 / 92.0),
            ("waiting_share_total", 1.0), // 11.5 * 8 = 92
            ("seconds_per_message", 92.0 / 9.0),
            ("entities_with_target", 5.0),
            ("coverage", 14.0 / 40.0),
        ] {
            let value = input(&inputs, name);
            assert!((value - expected).abs() < 1e-6, "{name}: {value}, expected {expected}");
        }
        assert!(input(&inputs, "message_ratio").is_nan());
        assert!(input(&inputs, "log_messages_per_minute").is_nan());
    }

    #[test]
    fn empty_conversations_stay_finite_or_missing() {
        let inputs = engineer(&conversation(&[
            ("conversation_duration_seconds", 0.0),
            ("total_messages", 0.0),
            ("user_messages_count", 0.0),
            ("agent_messages_count", 0.0),
            ("avg_message_length_agent", f64::from(f32::MAX)),
        ]));
        assert_eq!(input(&inputs, "agent_user_message_ratio"), 0.0);
        assert_eq!(input(&inputs, "seconds_per_message"), 0.0);
        assert!(input(&inputs, "waiting_share_total").is_nan());
        assert!(inputs.iter().all(|value| value.is_finite() || value.is_nan()));
    }

    #[test]
    fn a_missing_count_makes_a_missing_ratio() {
        let inputs = engineer(&conversation(&[("agent_messages_count", 4.0)]));
        assert!(input(&inputs, "agent_user_message_ratio").is_nan());
    }

    #[test]
    fn names_are_unique_and_hashed() {
        let mut names: Vec<_> = input_names().iter().collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), INPUT_COUNT);
        assert_eq!(input_hash().len(), 64);
    }
}
