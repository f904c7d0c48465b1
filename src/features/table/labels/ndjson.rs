//! Labels from newline-delimited JSON.

use std::io::{BufRead, BufReader};
use std::path::Path;

use jiter::{Jiter, JiterError, Peek};

use super::super::builder::Cell;
use super::super::{TableError, open};
use super::{BadRow, LabelRow, Part};

pub(super) fn read(
    path: &Path,
    visit: &mut dyn FnMut(Result<LabelRow, BadRow>),
) -> Result<(), TableError> {
    let mut input = BufReader::with_capacity(1 << 20, open(path)?);
    let mut buffer = Vec::new();
    for row in 1.. {
        buffer.clear();
        let length = input
            .read_until(b'\n', &mut buffer)
            .map_err(|source| TableError::Read { path: path.to_owned(), source })?;
        if length == 0 {
            break;
        }
        // A byte-order mark, which some editors put before the first line.
        let content = buffer.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&buffer).trim_ascii();
        if content.is_empty() {
            continue;
        }
        let mut read = LabelRow { row, ..LabelRow::default() };
        let result = read_line(content, &mut read).unwrap_or_else(|error| {
            Err(BadRow { row, reason: format!("expected a JSON object: {error}") })
        });
        visit(result.map(|()| read));
    }
    Ok(())
}

/// The outer error is of the JSON, the inner of a value. Of a key that comes twice, the last counts.
fn read_line(content: &[u8], read: &mut LabelRow) -> Result<Result<(), BadRow>, JiterError> {
    let mut json = Jiter::new(content).with_allow_inf_nan();
    let mut part = json.next_object()?.map(Part::of);
    let mut judged = Ok(());
    while let Some(current) = part {
        let peek = json.peek()?;
        let (text, cell);
        let value = match peek {
            Peek::String => {
                text = json.known_str()?.to_owned();
                Cell::Text(&text)
            }
            Peek::True | Peek::False => Cell::Number(f64::from(u8::from(json.known_bool(peek)?))),
            Peek::Null => json.known_null().map(|()| Cell::Missing)?,
            Peek::Array => json.known_skip(peek).map(|()| Cell::Other("an array"))?,
            Peek::Object => json.known_skip(peek).map(|()| Cell::Other("an object"))?,
            // As text, for a name may be a number that no f64 is.
            _ => {
                cell = String::from_utf8_lossy(json.known_number_bytes(peek)?).into_owned();
                Cell::Text(&cell)
            }
        };
        match current {
            Some(name) if name.is_name() => {
                read.set_name(name, if let Cell::Text(text) = value { Some(text) } else { None });
            }
            Some(label) => judged = judged.and(read.set_label(label, value)),
            None => {}
        }
        part = json.next_key()?.map(Part::of);
    }
    json.finish()?;
    Ok(judged)
}
