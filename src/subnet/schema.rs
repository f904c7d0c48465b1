//! The 40 features of a conversation, in one table that everything else reads.

use std::collections::HashMap;
use std::sync::LazyLock;

/// How many features a conversation has.
pub const FEATURE_COUNT: usize = 40;

/// The column that names a conversation.
pub const SESSION_ID: Column = Column { name: "session_id", camel: "sessionId" };
/// The column of the name under which the data API publishes the truth later.
pub const TEST_PK: Column = Column { name: "test_pk", camel: "testPk" };
/// The label of the class: 0 or 1.
pub const LABEL_CONVERTED: Column =
    Column { name: "conversion_happened", camel: "conversionHappened" };
/// The label of the time in seconds; -1 where the conversation did not convert.
pub const LABEL_TIME_SECONDS: Column =
    Column { name: "time_to_conversion_seconds", camel: "timeToConversionSeconds" };
/// The label of the time in minutes. Derived from the seconds, and never read.
pub const LABEL_TIME_MINUTES: Column =
    Column { name: "time_to_conversion_minutes", camel: "timeToConversionMinutes" };

/// The columns that must never become features: later validators send them among the features.
pub const LABELS: [Column; 3] = [LABEL_CONVERTED, LABEL_TIME_SECONDS, LABEL_TIME_MINUTES];

/// A column's two spellings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// snake_case, as in the public training CSV.
    pub name: &'static str,
    /// camelCase, as the data API and later validators write it.
    pub camel: &'static str,
}

impl Column {
    /// Whether `key` is this column in either spelling.
    pub fn is(&self, key: &str) -> bool {
        key == self.name || key == self.camel
    }
}

/// What a feature's values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A real number.
    Float,
    /// A count or a calendar number.
    Int,
    /// 0 or 1.
    Flag,
}

impl Kind {
    /// The kind in one lower-case word.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Float => "float",
            Kind::Int => "int",
            Kind::Flag => "flag",
        }
    }
}

/// One feature of a conversation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Feature {
    /// snake_case, as on the wire of the main branch and in the training CSV.
    pub name: &'static str,
    /// camelCase, as on the wire of later branches and in the data API.
    pub camel: &'static str,
    /// What its values are.
    pub kind: Kind,
    /// The smallest value that can be meant, and the largest.
    pub range: (f64, f64),
    /// Whether -1 stands for "not available" rather than for a measurement.
    pub minus_one_is_missing: bool,
    /// Whether the network promises to send it.
    pub required: bool,
}

const ANY: (f64, f64) = (0.0, f64::INFINITY);
const UNIT: (f64, f64) = (0.0, 1.0);

const fn feature(
    name: &'static str,
    camel: &'static str,
    kind: Kind,
    range: (f64, f64),
) -> Feature {
    Feature { name, camel, kind, range, minus_one_is_missing: false, required: false }
}

const fn or_minus_one(feature: Feature) -> Feature {
    Feature { minus_one_is_missing: true, ..feature }
}

const fn required(feature: Feature) -> Feature {
    Feature { required: true, ..feature }
}

/// The features in the order of the public training CSV: the order of every vector of 40 values.
#[rustfmt::skip]
pub const FEATURES: [Feature; FEATURE_COUNT] = {
    use Kind::{Flag, Float, Int};
    [
        required(feature("conversation_duration_seconds", "conversationDurationSeconds", Float, ANY)),
        feature("conversation_duration_minutes", "conversationDurationMinutes", Float, ANY),
        or_minus_one(feature("hour_of_day", "hourOfDay", Int, (0.0, 23.0))),
        or_minus_one(feature("day_of_week", "dayOfWeek", Int, (0.0, 6.0))),
        feature("is_business_hours", "isBusinessHours", Flag, UNIT),
        feature("is_weekend", "isWeekend", Flag, UNIT),
        or_minus_one(feature("time_to_first_response_seconds", "timeToFirstResponseSeconds", Float, ANY)),
        or_minus_one(feature("avg_response_time_seconds", "avgResponseTimeSeconds", Float, ANY)),
        or_minus_one(feature("max_response_time_seconds", "maxResponseTimeSeconds", Float, ANY)),
        or_minus_one(feature("min_response_time_seconds", "minResponseTimeSeconds", Float, ANY)),
        or_minus_one(feature("avg_agent_response_time_seconds", "avgAgentResponseTimeSeconds", Float, ANY)),
        or_minus_one(feature("avg_user_response_time_seconds", "avgUserResponseTimeSeconds", Float, ANY)),
        or_minus_one(feature("response_time_stddev", "responseTimeStddev", Float, ANY)),
        or_minus_one(feature("response_gap_max", "responseGapMax", Float, ANY)),
        feature("messages_per_minute", "messagesPerMinute", Float, ANY),
        feature("total_messages", "totalMessages", Int, ANY),
        feature("user_messages_count", "userMessagesCount", Int, ANY),
        feature("agent_messages_count", "agentMessagesCount", Int, ANY),
        required(feature("message_ratio", "messageRatio", Float, ANY)),
        feature("avg_message_length_user", "avgMessageLengthUser", Float, ANY),
        feature("max_message_length_user", "maxMessageLengthUser", Int, ANY),
        feature("min_message_length_user", "minMessageLengthUser", Int, ANY),
        feature("total_chars_from_user", "totalCharsFromUser", Int, ANY),
        feature("avg_message_length_agent", "avgMessageLengthAgent", Float, ANY),
        feature("max_message_length_agent", "maxMessageLengthAgent", Int, ANY),
        feature("min_message_length_agent", "minMessageLengthAgent", Int, ANY),
        feature("total_chars_from_agent", "totalCharsFromAgent", Int, ANY),
        feature("question_count_agent", "questionCountAgent", Int, ANY),
        feature("questions_per_agent_message", "questionsPerAgentMessage", Float, ANY),
        feature("question_count_user", "questionCountUser", Int, ANY),
        feature("questions_per_user_message", "questionsPerUserMessage", Float, ANY),
        feature("sequential_user_messages", "sequentialUserMessages", Int, ANY),
        feature("sequential_agent_messages", "sequentialAgentMessages", Int, ANY),
        required(feature("entities_collected_count", "entitiesCollectedCount", Int, ANY)),
        required(feature("has_target_entity", "hasTargetEntity", Flag, UNIT)),
        or_minus_one(feature("avg_entity_confidence", "avgEntityConfidence", Float, UNIT)),
        or_minus_one(feature("min_entity_confidence", "minEntityConfidence", Float, UNIT)),
        feature("entity_collection_rate", "entityCollectionRate", Float, ANY),
        feature("repeated_questions", "repeatedQuestions", Int, ANY),
        feature("message_alternation_rate", "messageAlternationRate", Float, UNIT),
    ]
};

static BY_NAME: LazyLock<HashMap<&'static str, usize>> = LazyLock::new(|| {
    FEATURES
        .iter()
        .enumerate()
        .flat_map(|(index, feature)| [(feature.name, index), (feature.camel, index)])
        .collect()
});

/// The position in [`FEATURES`] of the feature spelled `key` in either way.
pub fn index_of(key: &str) -> Option<usize> {
    BY_NAME.get(key).copied()
}

/// The position in [`FEATURES`] of the feature with this snake_case name, for use in constants.
///
/// # Panics
///
/// At compile time, if there is no such feature.
pub const fn position(name: &str) -> usize {
    let mut index = 0;
    while index < FEATURE_COUNT {
        if const_eq(FEATURES[index].name.as_bytes(), name.as_bytes()) {
            return index;
        }
        index += 1;
    }
    panic!("no feature has this name")
}

const fn const_eq(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    let mut index = 0;
    while index < left.len() {
        if left[index] != right[index] {
            return false;
        }
        index += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The mechanical spelling: drop each underscore and raise the letter behind it.
    fn camel_case(name: &str) -> String {
        let mut out = String::new();
        let mut raise = false;
        for letter in name.chars() {
            match letter {
                '_' => raise = true,
                _ if raise => {
                    out.extend(letter.to_uppercase());
                    raise = false;
                }
                _ => out.push(letter),
            }
        }
        out
    }

    #[test]
    fn spellings_agree_and_are_unique() {
        for column in LABELS.iter().chain([&SESSION_ID, &TEST_PK]) {
            assert_eq!(column.camel, camel_case(column.name));
        }
        for (index, feature) in FEATURES.iter().enumerate() {
            assert_eq!(feature.camel, camel_case(feature.name));
            assert_eq!(index_of(feature.name), Some(index));
            assert_eq!(index_of(feature.camel), Some(index));
        }
        assert_eq!(BY_NAME.len(), 2 * FEATURE_COUNT);
    }

    #[test]
    fn labels_are_not_features() {
        for column in LABELS {
            assert_eq!(index_of(column.name), None);
            assert_eq!(index_of(column.camel), None);
        }
    }

    #[test]
    fn required_features_are_the_networks() {
        let required: Vec<_> = FEATURES.iter().filter(|f| f.required).map(|f| f.name).collect();
        assert_eq!(
            required,
            [
                "conversation_duration_seconds",
                "message_ratio",
                "entities_collected_count",
                "has_target_entity"
            ]
        );
    }

    #[test]
    fn position_is_index_of() {
        const RATIO: usize = position("message_ratio");
        assert_eq!(Some(RATIO), index_of("message_ratio"));
    }
}
