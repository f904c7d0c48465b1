//! Reads the features of a request.
//!
//! Validators write them with Python's `json`, from rows of a table: names in either spelling,
//! numbers as numbers or as text, and the bare tokens `NaN` and `Infinity`. Nothing of that is
//! an error. A value that cannot be read is missing, and said so. What is no JSON at all is refused,
//! and so is what jiter does not take for JSON: escapes that are no Unicode (lone surrogates),
//! numbers of thousands of digits, and nesting beyond 200 levels.

use std::fmt;

use jiter::{Jiter, JiterError, Peek};

use super::Conversation;
use crate::subnet::schema::{FEATURES, SESSION_ID, TEST_PK, index_of};

/// The features of one request, as read.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The 40 values.
    pub conversation: Conversation,
    /// The conversation's name, where one was sent.
    pub session_id: Option<String>,
    /// The name under which its truth is published later, where one was sent.
    pub test_pk: Option<String>,
    /// What was odd, in the order of the request.
    pub oddities: Vec<Oddity>,
}

/// A value that was there and could not be used, so that its feature is missing.
#[derive(Debug, Clone, PartialEq)]
pub struct Oddity {
    /// The feature's snake_case name.
    pub feature: &'static str,
    /// What came instead of a number, shortened.
    pub value: String,
}

impl fmt::Display for Oddity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected a number, but it is {}", self.feature, self.value)
    }
}

/// Why a request's features could not be read at all.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The text is not JSON.
    #[error("features: not JSON: {0}")]
    Syntax(
        /// What the parser says, with the byte it says it of.
        JiterError,
    ),
    /// The text is JSON, but not an object.
    #[error("features: expected a JSON object, but it is {found}")]
    NotAnObject {
        /// What it is.
        found: &'static str,
    },
}

impl From<JiterError> for ReadError {
    fn from(error: JiterError) -> ReadError {
        ReadError::Syntax(error)
    }
}

/// Reads a JSON object of features, in either spelling.
///
/// Keys that are no feature are skipped; so are the labels, which some validators send along.
/// Of a feature given twice, the last value counts.
///
/// # Errors
///
/// If the text is not JSON (bare NaN and Infinity are allowed), or not an object.
pub fn read(features: &[u8]) -> Result<Reading, ReadError> {
    let mut reading = Reading {
        conversation: Conversation::EMPTY,
        session_id: None,
        test_pk: None,
        oddities: Vec::new(),
    };
    let mut json = Jiter::new(features).with_allow_inf_nan();

    read_object(&mut json, &mut reading)?;
    Ok(reading)
}

fn read_object(json: &mut Jiter<'_>, reading: &mut Reading) -> Result<(), ReadError> {
    let start = json.peek()?;
    if start != Peek::Object {
        json.known_skip(start)?;
        return Err(ReadError::NotAnObject { found: kind_of(start) });
    }
    let mut key = json.known_object()?.map(Key::of);
    while let Some(current) = key {
        match current {
            Key::Feature(index) => match read_number(json)? {
                Ok(value) => reading.conversation.set(index, value.unwrap_or(f64::NAN)),
                Err(value) => {
                    reading.conversation.set(index, f64::NAN);
                    reading.oddities.push(Oddity { feature: FEATURES[index].name, value });
                }
            },
            Key::Session => reading.session_id = read_name(json)?,
            Key::TestPk => reading.test_pk = read_name(json)?,
            Key::Other => json.next_skip()?,
        }
        key = json.next_key()?.map(Key::of);
    }
    json.finish()?;
    Ok(())
}

/// What a key of the features stands for.
enum Key {
    Feature(usize),
    Session,
    TestPk,
    Other,
}

impl Key {
    fn of(key: &str) -> Key {
        match index_of(key) {
            Some(index) => Key::Feature(index),
            None if SESSION_ID.is(key) => Key::Session,
            None if TEST_PK.is(key) => Key::TestPk,
            // The labels end here too: they are in no table of features.
            None => Key::Other,
        }
    }
}

/// Takes one value: the number that it stands for, none where it says that there is none, or else
/// what it is.
fn read_number(json: &mut Jiter<'_>) -> Result<Result<Option<f64>, String>, JiterError> {
    let peek = json.peek()?;
    Ok(match peek {
        Peek::Null => json.known_null().map(|()| Ok(None))?,
        Peek::True | Peek::False => Ok(Some(f64::from(u8::from(json.known_bool(peek)?)))),
        Peek::String => {
            let text = json.known_str()?;
            parse_text(text).map_err(|_| shorten(&format!("{text:?}")))
        }
        Peek::Array | Peek::Object => json.known_skip(peek).map(|()| Err(kind_of(peek).into()))?,
        // Parsed here because jiter refuses integers beyond 64 bits, which Python writes.
        _ => {
            let digits = json.known_number_bytes(peek)?;
            let number = str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
            number.map(Some).ok_or_else(|| shorten(&String::from_utf8_lossy(digits)))
        }
    })
}

fn read_name(json: &mut Jiter<'_>) -> Result<Option<String>, JiterError> {
    let peek = json.peek()?;
    match peek {
        Peek::String => Ok(Some(json.known_str()?.to_owned())),
        _ if peek.is_num() => {
            Ok(Some(String::from_utf8_lossy(json.known_number_bytes(peek)?).into_owned()))
        }
        _ => json.known_skip(peek).map(|()| None),
    }
}

/// Text that is neither a number, nor a boolean, nor a word for "none".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a number, true, false or nothing")]
pub struct NotANumber;

/// The number that a text stands for: `3`, `-1.00`, `true`, `False`, `NaN`; none for an empty
/// text and for the words that Python and pandas write where there is no value.
///
/// # Errors
///
/// If it is any other text.
pub fn parse_text(text: &str) -> Result<Option<f64>, NotANumber> {
    let text = text.trim();
    // Rust's grammar for f64 has "inf", "infinity" and "nan" in any case; a missing value is
    // what `Conversation::set` makes of them.
    if let Ok(number) = text.parse::<f64>() {
        return Ok(Some(number));
    }
    match text.to_ascii_lowercase().as_str() {
        "true" => Ok(Some(1.0)),
        "false" => Ok(Some(0.0)),
        "" | "null" | "none" | "na" | "n/a" | "<na>" => Ok(None),
        _ => Err(NotANumber),
    }
}

fn kind_of(peek: Peek) -> &'static str {
    match peek {
        Peek::Null => "null",
        Peek::True | Peek::False => "a boolean",
        Peek::String => "a string",
        Peek::Array => "an array",
        Peek::Object => "an object",
        _ => "a number",
    }
}

/// Values are repeated in logs, so a hostile one must not be long.
fn shorten(text: &str) -> String {
    const LONGEST: usize = 40;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subnet::schema::position;

    const DURATION: usize = position("conversation_duration_seconds");
    const HOUR: usize = position("hour_of_day");

    fn value(json: &str, index: usize) -> f32 {
        read(json.as_bytes()).unwrap().conversation.values[index]
    }

    #[test]
    fn every_spelling_of_a_number() {
        for (json, expected) in [
            ("92", 92.0),
            ("92.5", 92.5),
            ("-1", -1.0), // not a feature where -1 means missing
            ("\"92\"", 92.0),
            ("\" -1.00 \"", -1.0),
            ("true", 1.0),
            ("false", 0.0),
            ("\"true\"", 1.0),
            ("\"False\"", 0.0),
            ("9.2e1", 92.0),
            ("123456789012345678901234567890", 1.234_567_9e29),
        ] {
            for key in ["conversation_duration_seconds", "conversationDurationSeconds"] {
                let reading = read(format!("{{\"{key}\": {json}}}").as_bytes()).unwrap();
                assert_eq!(reading.conversation.values[DURATION], expected, "{key}: {json}");
                assert_eq!(reading.oddities, []);
            }
        }
    }

    #[test]
    fn missing_without_a_word() {
        for json in ["null", "NaN", "Infinity", "-Infinity", "\"NaN\"", "\"\"", "\"null\"", "-1"] {
            let reading = read(format!("{{\"hourOfDay\": {json}}}").as_bytes()).unwrap();
            assert!(reading.conversation.values[HOUR].is_nan(), "{json}");
            assert_eq!(reading.oddities, [], "{json}");
        }
    }

    #[test]
    fn unreadable_is_missing_and_said() {
        for (json, found) in
            [("\"soon\"", "\"soon\""), ("[1]", "an array"), ("{\"a\": 1}", "an object")]
        {
            let text = format!("{{\"hour_of_day\": {json}, \"message_ratio\": 1.5}}");
            let reading = read(text.as_bytes()).unwrap();
            assert!(reading.conversation.values[HOUR].is_nan());
            assert_eq!(reading.conversation.values[position("message_ratio")], 1.5);
            assert_eq!(
                reading.oddities,
                [Oddity { feature: "hour_of_day", value: found.to_owned() }]
            );
        }
    }

    #[test]
    fn labels_and_strangers_are_not_features() {
        let json = r#"{"timeToConversionSeconds": 62, "time_to_conversion_minutes": 1,
            "conversion_happened": 1, "test_pk": "a", "extra": {"deep": [NaN]}}"#;
        let reading = read(json.as_bytes()).unwrap();
        assert_eq!(reading.conversation.coverage(), 0.0);
        assert_eq!(reading.oddities, []);
    }

    #[test]
    fn session_and_last_value() {
        let json = r#"{"session_id": "fe\u0030", "hour_of_day": 3, "hourOfDay": 4}"#;
        assert_eq!(read(json.as_bytes()).unwrap().session_id.as_deref(), Some("fe0"));
        assert_eq!(value(json, HOUR), 4.0);
        assert_eq!(value("{\"hour_of_day\": 3, \"hourOfDay\": \"x\"}", HOUR).to_bits(), {
            f32::NAN.to_bits()
        });
    }

    #[test]
    fn hostile_nesting_is_an_error() {
        let deep = format!("{{\"x\": {}}}", "[".repeat(100_000));
        assert!(matches!(read(deep.as_bytes()), Err(ReadError::Syntax(_))));
    }

    #[test]
    fn not_an_object() {
        for (json, expected) in [
            ("[]", "an array"),
            ("null", "null"),
            ("3", "a number"),
            ("\"x\"", "a string"),
            ("true", "a boolean"),
        ] {
            let error = read(json.as_bytes()).unwrap_err().to_string();
            assert_eq!(error, format!("features: expected a JSON object, but it is {expected}"));
        }
        for json in ["", "{", "{\"a\"}", "{} x", "{\"hour_of_day\": nope}", "{\"a\": 1,}"] {
            assert!(matches!(read(json.as_bytes()), Err(ReadError::Syntax(_))), "{json}");
        }
    }
}
