//! One answered request.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::features::Conversation;
use crate::model::opinion::{Opinion, TimeQuantiles};
use crate::subnet::reward::Answer;
use crate::subnet::schema::FEATURE_COUNT;

/// One answered request: a line of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// When it was answered, in nanoseconds since 1970.
    pub time_ns: u64,
    /// The hotkey of who asked, which is verified.
    pub validator: String,
    /// The nonce of the request: of one validator, no two answered requests share it.
    pub nonce: u64,
    /// The conversation's name, where one was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// The name under which its truth is published, where one was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_pk: Option<String>,
    /// The 40 features as they were read, in the order of
    /// [`FEATURES`](crate::subnet::schema::FEATURES); null where missing.
    #[serde(serialize_with = "write_features", deserialize_with = "read_features")]
    pub features: Conversation,
    /// The share of the features that was known, in 0..=1.
    pub coverage: f64,
    /// P(converts) as the model saw it, before any calibration; absent for a model that has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw_probability: Option<f64>,
    /// The probability after the checkpoint's calibration, before what was learned while serving.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibrated: Option<f64>,
    /// What was answered.
    pub answer: RecordedAnswer,
    /// When it was expected to convert, if it does, at
    /// [`TIME_LEVELS`](crate::model::opinion::TIME_LEVELS), in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_quantiles: Option<TimeQuantiles>,
    /// The name of the model that answered.
    pub model: String,
    /// The name of its checkpoint; empty without one.
    pub checkpoint: String,
    /// The response time that the answer stated, in seconds: what a validator counts with.
    pub response_time_seconds: f64,
    /// Why it was written.
    pub sampled: Sampled,
    /// What a challenger would have answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<Shadow>,
}

/// Why a request was written into the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampled {
    /// All are.
    All,
    /// The first of its validator in a while, though nearly empty or much like one before.
    Low,
    /// The first of its validator in a while.
    High,
    /// The decision was a close one.
    Margin,
}

impl Sampled {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Sampled::All => "all",
            Sampled::Low => "low",
            Sampled::High => "high",
            Sampled::Margin => "margin",
        }
    }

    /// The reason that is written so.
    pub(super) fn parse(text: &str) -> Option<Sampled> {
        let all = [Sampled::All, Sampled::Low, Sampled::High, Sampled::Margin];
        all.into_iter().find(|sampled| sampled.as_str() == text)
    }
}

/// An answer as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RecordedAnswer {
    /// Whether it said "converts".
    pub converted: bool,
    /// After how many seconds; -1 for "does not convert".
    pub time_seconds: f64,
    /// The confidence that was sent.
    pub confidence: f64,
}

/// What another checkpoint would have answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shadow {
    /// The checkpoint.
    pub checkpoint: String,
    /// What it would have answered.
    pub answer: RecordedAnswer,
}

impl Record {
    /// The name under which its truth is looked for first: `test_pk`, else `session_id`.
    pub fn id(&self) -> Option<&str> {
        self.names().next()
    }

    /// The names under which its truth may be known: `test_pk`, then `session_id`, without blanks
    /// around them. An empty one is none.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let sent = [&self.test_pk, &self.session_id].into_iter().flatten();
        sent.map(|name| name.trim()).filter(|name| !name.is_empty())
    }

    /// Takes what the answer rests on from the opinion that led to it.
    pub fn set_opinion(&mut self, opinion: &Opinion) {
        self.answer = opinion.answer.into();
        self.raw_probability = opinion.basis.map(|basis| basis.raw_probability);
        self.calibrated = opinion.basis.map(|basis| basis.calibrated);
        self.time_quantiles = opinion.basis.and_then(|basis| basis.time_quantiles);
    }
}

impl From<Answer> for RecordedAnswer {
    fn from(answer: Answer) -> RecordedAnswer {
        let Answer { converted, time_seconds, confidence } = answer;
        RecordedAnswer { converted, time_seconds, confidence }
    }
}

impl From<RecordedAnswer> for Answer {
    fn from(answer: RecordedAnswer) -> Answer {
        let RecordedAnswer { converted, time_seconds, confidence } = answer;
        Answer { converted, time_seconds, confidence }
    }
}

fn write_features<S: Serializer>(features: &Conversation, to: S) -> Result<S::Ok, S::Error> {
    let known = |value: &f32| value.is_finite().then_some(*value);
    to.collect_seq(features.values.iter().map(known))
}

fn read_features<'de, D: Deserializer<'de>>(from: D) -> Result<Conversation, D::Error> {
    let values = Vec::<Option<f32>>::deserialize(from)?;
    let found = values.len();
    let values: [Option<f32>; FEATURE_COUNT] = values.try_into().map_err(|_| {
        let expected = format!("{FEATURE_COUNT} features");
        serde::de::Error::invalid_length(found, &expected.as_str())
    })?;
    Ok(Conversation { values: values.map(|value| value.unwrap_or(f32::NAN)) })
}

#[cfg(test)]
impl Record {
    /// A record of a conversation called `id`, answered at `time_ns` by saying "does not convert".
    pub(crate) fn sample(id: &str, time_ns: u64) -> Record {
        let mut features = Conversation::EMPTY;
        features.set(0, 92.5);
        Record {
            time_ns,
            validator: "5V".to_owned(),
            nonce: time_ns,
            session_id: Some(id.to_owned()),
            test_pk: None,
            coverage: features.coverage(),
            features,
            raw_probability: Some(0.2),
            calibrated: Some(0.25),
            answer: RecordedAnswer { converted: false, time_seconds: -1.0, confidence: 0.25 },
            time_quantiles: Some(std::array::from_fn(|level| 50.0 + level as f64)),
            model: "ensemble".to_owned(),
            checkpoint: "first".to_owned(),
            response_time_seconds: 0.05,
            sampled: Sampled::All,
            shadow: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_and_back() {
        let mut record = Record::sample("a", 1_795_325_400_000_000_001);
        record.test_pk = Some("b".to_owned());
        record.features.set(1, 0.1);
        let answer = RecordedAnswer { converted: true, time_seconds: 0.1, confidence: 1.0 / 3.0 };
        record.shadow = Some(Shadow { checkpoint: "second".to_owned(), answer });
        let line = serde_json::to_string(&record).unwrap();
        assert!(line.contains("\"features\":[92.5,0.1,null,"), "{line}");
        let read: Record = serde_json::from_str(&line).unwrap();
        // NaN is not equal to itself.
        assert_eq!(serde_json::to_string(&read).unwrap(), line);
        assert_eq!((read.time_ns, read.answer), (record.time_ns, record.answer));
        assert_eq!(read.shadow, record.shadow);
        assert!(read.features.values[39].is_nan());
        assert_eq!(read.id(), Some("b"));
    }

    #[test]
    fn a_blank_name_is_none() {
        for (test_pk, session_id, expected) in [
            (Some("b"), Some("a"), &["b", "a"][..]),
            (Some(""), Some("a"), &["a"]),
            (Some(" \n"), Some(" a\t"), &["a"]),
            (Some(" b "), None, &["b"]),
            (None, Some("  "), &[]),
            (None, None, &[]),
        ] {
            let mut record = Record::sample("a", 1);
            record.test_pk = test_pk.map(str::to_owned);
            record.session_id = session_id.map(str::to_owned);
            assert_eq!(record.names().collect::<Vec<_>>(), expected);
            assert_eq!(record.id(), expected.first().copied());
        }
    }

    #[test]
    fn reasons_have_one_spelling() {
        for sampled in [Sampled::All, Sampled::Low, Sampled::High, Sampled::Margin] {
            let json = serde_json::to_value(sampled).unwrap();
            assert_eq!(json, sampled.as_str());
            assert_eq!(Sampled::parse(sampled.as_str()), Some(sampled));
        }
        assert_eq!(Sampled::parse("none"), None);
    }

    #[test]
    fn a_line_with_other_features_is_refused() {
        let line = serde_json::to_string(&Record::sample("a", 1)).unwrap();
        let error = serde_json::from_str::<Record>(&line.replace("[92.5,", "[")).unwrap_err();
        assert!(error.to_string().contains("expected 40 features"), "{error}");
    }
}
