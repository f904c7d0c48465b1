//! A JSON object that keeps its text: values are replaced in place, and all else stays as it came.

use std::borrow::Cow;
use std::ops::Range;

use jiter::{Jiter, JiterError, Peek};

/// Why a text is not a JSON object.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// The text has bytes that are not UTF-8, which JSON must be.
    #[error("expected JSON in UTF-8")]
    Encoding(#[from] std::str::Utf8Error),
    /// The text is not JSON, or not an object.
    #[error("expected a JSON object: {0}")]
    Json(#[from] JiterError),
}

/// One JSON object as it came, and what to say instead.
///
/// Python's tokens `NaN`, `Infinity` and `-Infinity` count as numbers. Of a key that comes twice the
/// last value is the one that counts, as in Python.
#[derive(Debug)]
pub struct Document<'a> {
    text: &'a [u8],
    members: Vec<Member<'a>>,
    added: Vec<(&'static str, Vec<u8>)>,
    /// The offset of the closing brace.
    end: usize,
}

#[derive(Debug)]
struct Member<'a> {
    key: Cow<'a, str>,
    value: Range<usize>,
    replacement: Option<Vec<u8>>,
}

impl<'a> Document<'a> {
    /// Finds the keys and values of the object `text`.
    pub fn parse(text: &'a [u8]) -> Result<Self, DocumentError> {
        // jiter skips strings without looking at their bytes.
        std::str::from_utf8(text)?;
        let mut parser = Jiter::new(text).with_allow_inf_nan();
        let mut members = Vec::with_capacity(16);
        let mut key = parser.next_object()?.map(str::to_owned);
        while let Some(name) = key {
            parser.peek()?;
            let start = parser.current_index();
            parser.next_skip()?;
            let value = start..parser.current_index();
            members.push(Member { key: Cow::Owned(name), value, replacement: None });
            key = parser.next_key()?.map(str::to_owned);
        }
        // The brace is the byte that the parser has just passed.
        let end = parser.current_index() - 1;
        parser.finish()?;
        Ok(Document { text, members, added: Vec::new(), end })
    }

    /// The text of the value of `key` as it came.
    pub fn get(&self, key: &str) -> Option<&'a [u8]> {
        let member = self.members.iter().rev().find(|member| member.key == key)?;
        Some(&self.text[member.value.clone()])
    }

    /// Whether the value of `key` is there and is a JSON object.
    pub fn is_object(&self, key: &str) -> bool {
        self.get(key).is_some_and(
            |value| matches!(Jiter::new(value).peek(), Ok(peek) if peek == Peek::Object),
        )
    }

    /// Puts `value`, which must be JSON, in the place of what `key` had, or at the end.
    pub fn set(&mut self, key: &'static str, value: impl Into<Vec<u8>>) {
        let value = value.into();
        if let Some(member) = self.members.iter_mut().rev().find(|member| member.key == key) {
            member.replacement = Some(value);
        } else if let Some((_, added)) = self.added.iter_mut().find(|(added, _)| *added == key) {
            *added = value;
        } else {
            self.added.push((key, value));
        }
    }

    /// The object with what was set.
    pub fn write(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.text.len() + 256);
        let mut written = 0;
        for member in &self.members {
            let Some(replacement) = &member.replacement else { continue };
            out.extend_from_slice(&self.text[written..member.value.start]);
            out.extend_from_slice(replacement);
            written = member.value.end;
        }
        out.extend_from_slice(&self.text[written..self.end]);
        for (position, (key, value)) in self.added.iter().enumerate() {
            let separator = if position == 0 && self.members.is_empty() { "\"" } else { ", \"" };
            out.extend_from_slice(separator.as_bytes());
            out.extend_from_slice(key.as_bytes());
            out.extend_from_slice(b"\": ");
            out.extend_from_slice(value);
        }
        out.extend_from_slice(&self.text[self.end..]);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str, edits: &[(&'static str, &str)]) -> String {
        let mut document = Document::parse(text.as_bytes()).unwrap();
        for (key, value) in edits {
            document.set(key, *value);
        }
        String::from_utf8(document.write()).unwrap()
    }

    #[test]
    fn untouched_text_comes_back_byte_for_byte() {
        for text in [
            "{}",
            " { } \n",
            r#"{"a":1}"#,
            "{\t\"a\" :\r\n[1, {\"b\": NaN}, -Infinity], \"c\":1e5 , \"a\": \"\u{e9}\\u00e9\\n\"}\n",
            r#"{"big": 123456789012345678901234567890, "tail": 1.10}"#,
        ] {
            assert_eq!(written(text, &[]), text);
        }
    }

    #[test]
    fn values_are_replaced_where_they_stand() {
        for (text, expected, why) in [
            (r#"{"p": null, "z":[1]}"#, r#"{"p": {"x":1}, "z":[1]}"#, "in place"),
            (r#"{"z" : [1] }"#, r#"{"z" : [1] , "p": {"x":1}}"#, "appended"),
            ("{}", r#"{"p": {"x":1}}"#, "no comma before the first"),
            (r#"{"p":1,"p": 2}"#, r#"{"p":1,"p": {"x":1}}"#, "the last of two counts"),
            (r#"{"\u0070": 1}"#, r#"{"\u0070": {"x":1}}"#, "an escaped key is the same key"),
        ] {
            assert_eq!(written(text, &[("p", r#"{"x":1}"#)]), expected, "{why}");
        }
        assert_eq!(written("{}", &[("a", "1"), ("b", "2"), ("a", "3")]), r#"{"a": 3, "b": 2}"#);
    }

    #[test]
    fn the_last_value_of_a_key_is_read() {
        let document = Document::parse(br#"{"a": 1, "a": {"b": NaN}}"#).unwrap();
        assert_eq!(document.get("a"), Some(&br#"{"b": NaN}"#[..]));
        assert!(document.is_object("a"));
        assert_eq!(document.get("b"), None);
    }

    #[test]
    fn what_is_not_an_object_is_refused() {
        let deep = format!(r#"{{"a": {}{}}}"#, "[".repeat(5000), "]".repeat(5000));
        for text in [
            "",
            "[1]",
            "null",
            "{",
            r#"{"a"}"#,
            r#"{"a": }"#,
            r#"{"a": 1,}"#,
            "{} x",
            "{a: 1}",
            &deep,
        ] {
            assert!(Document::parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(matches!(Document::parse(b"{\"a\": \"\xff\"}"), Err(DocumentError::Encoding(_))));
    }
}
