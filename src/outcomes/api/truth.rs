//! What the API answers when it is asked what became of a conversation.

use jiter::{Jiter, JsonValue};

use super::caller::Unusable;
use crate::features::reader::parse_text;
use crate::outcomes::import::{class_of, time_of};
use crate::subnet::schema::{Column, LABEL_TIME_SECONDS, TEST_PK};
use crate::subnet::synapse::Document;

/// What became of one conversation: whether it converted, and after how many seconds if that is
/// known.
pub(super) type Known = (bool, Option<f64>);

const LABELS: &str = "labels";

/// Reads `{"test_pk", "labels", "submissionDeadline"}` as the answer for `id`; none if there is no
/// label yet. The label may be a boolean, a number or text.
pub(super) fn read(body: &[u8], id: &str) -> Result<Option<Known>, Unusable> {
    let document =
        Document::parse(body).map_err(|error| Unusable::Damaged(format!("the answer: {error}")))?;
    let name = either(&document, TEST_PK).and_then(text);
    if name.as_deref() != Some(id) {
        let found = name.map_or("nobody".to_owned(), |name| format!("`{}`", cut(&name)));
        return Err(Unusable::Damaged(format!("the answer is about {found} instead")));
    }
    let Some(class) = number(document.get(LABELS), LABELS)? else { return Ok(None) };
    let nonsense = |reason| Unusable::Nonsense(format!("the answer: {reason}"));
    let converted = class_of(class)
        .ok_or_else(|| nonsense(format!("expected `{LABELS}` to be 0 or 1, but it is {class}")))?;
    let time = number(either(&document, LABEL_TIME_SECONDS), LABEL_TIME_SECONDS.name)?;
    let time_seconds = time_of(converted, time).map_err(nonsense)?;
    Ok(Some((converted, time_seconds)))
}

fn either<'a>(document: &Document<'a>, column: Column) -> Option<&'a [u8]> {
    document.get(column.name).or_else(|| document.get(column.camel))
}

/// A name, which may be written as a number.
pub(super) fn text(value: &[u8]) -> Option<String> {
    match Jiter::new(value).with_allow_inf_nan().next_value().ok()? {
        JsonValue::Str(text) => Some(text.into_owned()),
        JsonValue::Int(_) | JsonValue::Float(_) => String::from_utf8(value.to_vec()).ok(),
        _ => None,
    }
}

/// The number that a value stands for, none where it stands for none.
pub(super) fn number(value: Option<&[u8]>, name: &str) -> Result<Option<f64>, Unusable> {
    let Some(value) = value else { return Ok(None) };
    let wrong = || {
        let found = cut(&String::from_utf8_lossy(value));
        Unusable::Nonsense(format!("the answer: expected `{name}` to be 0 or 1, but it is {found}"))
    };
    let number = match Jiter::new(value).with_allow_inf_nan().next_value().map_err(|_| wrong())? {
        JsonValue::Null => None,
        JsonValue::Bool(value) => Some(f64::from(u8::from(value))),
        JsonValue::Int(value) => Some(value as f64),
        JsonValue::Float(value) => Some(value),
        JsonValue::Str(text) => parse_text(&text).map_err(|_| wrong())?,
        JsonValue::Array(_) | JsonValue::Object(_) => return Err(wrong()),
    };
    Ok(number.filter(|number| !number.is_nan()))
}

/// The beginning of what may be long.
fn cut(text: &str) -> String {
    const LONGEST: usize = 60;
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    text.chars().take(LONGEST).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_in_every_form() {
        for (label, expected) in [
            ("true", Some((true, None))),
            ("false", Some((false, None))),
            ("1", Some((true, None))),
            ("0.0", Some((false, None))),
            ("\"true\"", Some((true, None))),
            ("\"False\"", Some((false, None))),
            ("\"1\"", Some((true, None))),
            ("null", None),
            ("NaN", None),
            ("\"\"", None),
        ] {
            let body =
                format!(r#"{{"test_pk": "a", "labels": {label}, "submissionDeadline": "x"}}"#);
            assert_eq!(read(body.as_bytes(), "a"), Ok(expected), "{label}");
        }
        assert_eq!(read(br#"{"testPk": 7}"#, "7"), Ok(None), "no label yet");
        let timed = br#"{"test_pk": "a", "labels": 1, "timeToConversionSeconds": "62.5"}"#;
        assert_eq!(read(timed, "a"), Ok(Some((true, Some(62.5)))));
    }

    #[test]
    fn damaged_may_come_again_and_nonsense_stays() {
        for body in [
            "",
            "{\"test_pk\": \"a\", \"lab",
            "<html>",
            "[]",
            "{\"labels\": 1}",
            r#"{"test_pk": "b", "labels": 1}"#,
        ] {
            assert!(matches!(read(body.as_bytes(), "a"), Err(Unusable::Damaged(_))), "{body}");
        }
        for labels in ["2", "\"perhaps\"", "[1]", "{}"] {
            let body = format!(r#"{{"test_pk": "a", "labels": {labels}}}"#);
            let result = read(body.as_bytes(), "a");
            assert!(matches!(result, Err(Unusable::Nonsense(_))), "{body}: {result:?}");
        }
    }
}
