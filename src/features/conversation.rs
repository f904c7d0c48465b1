//! The 40 values of one conversation.

use crate::subnet::schema::{FEATURE_COUNT, FEATURES};

/// The features of one conversation in the order of [`FEATURES`]; NaN where one is missing.
#[derive(Debug, Clone, PartialEq)]
pub struct Conversation {
    /// One value a feature, finite or NaN.
    pub values: [f32; FEATURE_COUNT],
}

impl Conversation {
    /// A conversation of which nothing is known.
    pub const EMPTY: Conversation = Conversation { values: [f32::NAN; FEATURE_COUNT] };

    /// The conversation with these measured values, each as by [`Conversation::set`].
    pub fn of(values: &[f64; FEATURE_COUNT]) -> Conversation {
        let mut conversation = Conversation::EMPTY;
        for (index, value) in values.iter().enumerate() {
            conversation.set(index, *value);
        }
        conversation
    }

    /// Takes a measured value as feature `index`. A value that is not finite, or that stands for
    /// "not available" in this feature, becomes missing.
    pub fn set(&mut self, index: usize, value: f64) {
        self.values[index] = kept(value, FEATURES[index].minus_one_is_missing);
    }

    /// The share of the features that are known, in 0..=1.
    pub fn coverage(&self) -> f64 {
        coverage_of(&self.values)
    }
}

/// A measured value as a conversation keeps it; see [`Conversation::set`].
pub(super) fn kept(value: f64, minus_one_is_missing: bool) -> f32 {
    let missing = !value.is_finite() || (minus_one_is_missing && value == -1.0);
    // A finite f64 can still overflow f32; such a value tells a model nothing either.
    let value = if missing { f32::NAN } else { value as f32 };
    if value.is_finite() { value } else { f32::NAN }
}

/// See [`Conversation::coverage`].
pub(super) fn coverage_of(values: &[f32; FEATURE_COUNT]) -> f64 {
    let known = values.iter().filter(|value| !value.is_nan()).count();
    known as f64 / FEATURE_COUNT as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subnet::schema::position;

    #[test]
    fn missing_is_nan() {
        let mut conversation = Conversation::EMPTY;
        assert_eq!(conversation.coverage(), 0.0);
        for (name, value, known) in [
            ("message_ratio", 1.25, true),
            ("message_ratio", -1.0, true),
            ("hour_of_day", -1.0, false),
            ("hour_of_day", 0.0, true),
            ("total_messages", f64::NAN, false),
            ("total_messages", f64::INFINITY, false),
            ("total_messages", 1e300, false),
        ] {
            let index = crate::subnet::schema::index_of(name).unwrap();
            conversation.set(index, value);
            assert_eq!(!conversation.values[index].is_nan(), known, "{name} = {value}");
        }
        assert_eq!(conversation.values[position("message_ratio")], -1.0);
        assert_eq!(conversation.coverage(), 2.0 / 40.0);
    }
}
