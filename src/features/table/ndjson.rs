//! Newline-delimited JSON, a line at a time.
//!
//! Each line is read as the features of a request are, so that the bare NaN and Infinity of Python's
//! `json` are understood here too. Polars' reader would refuse the whole file for one of them.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, Read as _};

use jiter::{Jiter, JiterError, JsonValue};

use super::builder::{Builder, Cell, Halt};
use super::columns::{Columns, Role};
use super::{LONGEST_ROW, TableError, open};
use crate::features::reader::{self, ReadError};

/// Names that are remembered though nobody needs them, for errors that tell what was found.
const MOST_NAMES: usize = 500;

pub(super) fn read(builder: &mut Builder<'_>) -> Result<(), Halt> {
    let mut input = BufReader::with_capacity(1 << 20, open(&builder.path)?);
    let mut columns = Columns::default();
    let mut seen = HashSet::new();
    let mut buffer = Vec::new();
    for line in 1.. {
        buffer.clear();
        let length = input
            .by_ref()
            .take(LONGEST_ROW + 1)
            .read_until(b'\n', &mut buffer)
            .map_err(|source| TableError::Read { path: builder.path.clone(), source })?;
        if length == 0 {
            break;
        }
        if length as u64 > LONGEST_ROW && !buffer.ends_with(b"\n") {
            let path = builder.path.clone();
            let message =
                "it has more than 16 MiB; put each object on a line of its own".to_owned();
            return Err(TableError::Line { path, line, message }.into());
        }
        // A byte-order mark, which some editors put before the first line.
        let content = buffer.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&buffer).trim_ascii();
        if !content.is_empty() {
            read_line(content, line, builder, &mut columns, &mut seen)?;
            builder.hand_over_full()?;
        }
    }
    builder.set_columns_unchecked(columns);
    Ok(())
}

fn read_line(
    content: &[u8],
    line: usize,
    builder: &mut Builder<'_>,
    columns: &mut Columns,
    seen: &mut HashSet<String>,
) -> Result<(), TableError> {
    let wrong = |builder: &Builder<'_>, message: String| TableError::Line {
        path: builder.path.clone(),
        line,
        message,
    };
    let reading = reader::read(content).map_err(|error| {
        let message = match error {
            ReadError::Syntax(error) => error.to_string(),
            ReadError::NotAnObject { found } => format!("it is {found}"),
        };
        wrong(builder, message)
    })?;

    let index = builder.rows();
    builder.add_rows(1);
    builder.set_session(index, reading.session_id);
    builder.set_conversation(index, reading.conversation);
    for oddity in reading.oddities {
        builder.report(index, oddity.feature, oddity.value);
    }

    let with_labels = builder.with_labels();
    let mut json = Jiter::new(content).with_allow_inf_nan();
    let mut key = json.next_object().map_err(|error| wrong(builder, error.to_string()))?;
    while let Some(name) = key {
        let role = Role::of(name, with_labels);
        let is_wanted = |role: Role| !columns.has(role);
        if !seen.contains(name) && (seen.len() < MOST_NAMES || role.is_some_and(is_wanted)) {
            // Rows may differ in spelling; within one, the last value counts, as in a request.
            columns.add(name, with_labels);
            seen.insert(name.to_owned());
        }
        key = match role {
            Some(label @ (Role::Class | Role::Time)) => {
                let value = json.next_value().map_err(|error| wrong(builder, error.to_string()))?;
                set_label(builder, index, label, &value)?;
                json.next_key()
            }
            _ => skip(&mut json),
        }
        .map_err(|error| wrong(builder, error.to_string()))?;
    }
    Ok(())
}

/// Passes over a value, to the next key.
fn skip<'j>(json: &'j mut Jiter<'_>) -> Result<Option<&'j str>, JiterError> {
    json.next_skip()?;
    json.next_key()
}

fn set_label(
    builder: &mut Builder<'_>,
    index: usize,
    label: Role,
    value: &JsonValue<'_>,
) -> Result<(), TableError> {
    let cell = match value {
        JsonValue::Null => Cell::Missing,
        JsonValue::Bool(value) => Cell::Number(f64::from(u8::from(*value))),
        JsonValue::Int(value) => Cell::Number(*value as f64),
        JsonValue::Float(value) => Cell::Number(*value),
        JsonValue::Str(text) => Cell::Text(text),
        JsonValue::Array(_) => Cell::Other("an array"),
        JsonValue::Object(_) => Cell::Other("an object"),
    };
    match label {
        Role::Class => builder.set_class(index, cell),
        _ => builder.set_time(index, cell),
    }
}
