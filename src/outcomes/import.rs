//! Outcomes from tables.

use std::path::{Path, PathBuf};

use super::Outcome;
use crate::features::table::{BadRow, LabelRow, TableError, read_labels};
use crate::subnet::reward::NOT_CONVERTED;

/// So many refused rows are told one by one.
const EXAMPLES: usize = 20;

/// What tables say of conversations.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Imported {
    /// The outcomes, in the order of the files and their rows.
    pub outcomes: Vec<Outcome>,
    /// How many rows there were.
    pub rows: usize,
    /// How many of them have no label: nothing is known of them yet.
    pub unlabelled: usize,
    /// How many make no sense.
    pub refused: usize,
    /// The first few of those.
    pub refused_first: Vec<Refused>,
}

/// A row that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The file.
    pub path: PathBuf,
    /// The row, counted from 1; the line in newline-delimited JSON.
    pub row: usize,
    /// What is wrong with it.
    pub reason: String,
}

/// Reads what a parquet, CSV or newline-delimited JSON file says, and adds it to `imported`.
///
/// A row needs a `test_pk` or `session_id` and a class, `conversion_happened` or `labels`; a time is
/// good to have, and -1, NaN or nothing where it is not known. `now_ns` is when this becomes known,
/// and `source` the name under which it is remembered.
///
/// # Errors
///
/// If the file cannot be read as a table of labels at all.
pub fn import(
    path: &Path,
    source: &str,
    now_ns: u64,
    imported: &mut Imported,
) -> Result<(), TableError> {
    read_labels(path, &mut |row| {
        imported.rows += 1;
        let judged = row.and_then(|row| {
            judge(&row, source, now_ns).map_err(|reason| BadRow { row: row.row, reason })
        });
        match judged {
            Ok(Some(outcome)) => imported.outcomes.push(outcome),
            Ok(None) => imported.unlabelled += 1,
            Err(BadRow { row, reason }) => {
                imported.refused += 1;
                if imported.refused_first.len() < EXAMPLES {
                    let path = path.to_owned();
                    imported.refused_first.push(Refused { path, row, reason });
                }
            }
        }
    })
}

/// The outcome that a row tells, none if it has no label; or else what is wrong with it.
fn judge(row: &LabelRow, source: &str, known_ns: u64) -> Result<Option<Outcome>, String> {
    let (id, also) = match (&row.test_pk, &row.session_id) {
        (Some(id), also) => (id.clone(), also.clone()),
        (None, Some(id)) => (id.clone(), None),
        (None, None) => return Err("it has neither a test_pk nor a session_id".to_owned()),
    };
    let Some(class) = row.class else { return Ok(None) };
    let converted = class_of(class).ok_or_else(|| {
        format!("expected its label to be 0, 1, true or false, but it is {class}")
    })?;
    let time_seconds = time_of(converted, row.time_seconds)?;
    let source = source.to_owned();
    Ok(Some(Outcome { id, also, converted, time_seconds, known_ns, source }))
}

/// Whether it converted, if the number is a class.
pub(super) fn class_of(number: f64) -> Option<bool> {
    match number {
        0.0 => Some(false),
        1.0 => Some(true),
        _ => None,
    }
}

/// The time of a conversation as it is known, if it can be true.
pub(super) fn time_of(converted: bool, time_seconds: Option<f64>) -> Result<Option<f64>, String> {
    match (converted, time_seconds) {
        (_, None) => Ok(None),
        (_, Some(time)) if time == NOT_CONVERTED || time.is_nan() => Ok(None),
        // Some tables have 0 in the place of what is missing.
        (false, Some(0.0)) => Ok(None),
        (true, Some(time)) if time > 0.0 && time.is_finite() => Ok(Some(time)),
        (true, Some(time)) => {
            Err(format!("it converted, but after {time} s; expected a time above 0, or -1"))
        }
        (false, Some(time)) => {
            Err(format!("it did not convert, but has a time of {time} s; expected -1"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(class: Option<f64>, time_seconds: Option<f64>) -> LabelRow {
        let (test_pk, session_id) = (Some("pk".to_owned()), Some("session".to_owned()));
        LabelRow { row: 3, test_pk, session_id, class, time_seconds }
    }

    #[test]
    fn what_rows_mean() {
        let known = |class, time_seconds| {
            judge(&row(class, time_seconds), "x.csv", 5)
                .map(|outcome| outcome.map(|outcome| (outcome.converted, outcome.time_seconds)))
        };
        for (class, time_seconds, expected) in [
            (Some(1.0), Some(62.5), Some((true, Some(62.5)))),
            (Some(1.0), Some(-1.0), Some((true, None))),
            (Some(1.0), None, Some((true, None))),
            (Some(0.0), Some(-1.0), Some((false, None))),
            (Some(0.0), Some(0.0), Some((false, None))),
            (None, Some(62.5), None),
        ] {
            assert_eq!(known(class, time_seconds), Ok(expected), "{class:?} {time_seconds:?}");
        }
        for (class, time_seconds, part) in [
            (Some(2.0), None, "to be 0, 1, true or false, but it is 2"),
            (Some(1.0), Some(0.0), "it converted, but after 0 s"),
            (Some(1.0), Some(-5.0), "it converted, but after -5 s"),
            (Some(1.0), Some(f64::INFINITY), "it converted, but after inf s"),
            (Some(0.0), Some(62.5), "it did not convert, but has a time of 62.5 s"),
        ] {
            let reason = known(class, time_seconds).unwrap_err();
            assert!(reason.contains(part), "{reason}");
        }
    }

    #[test]
    fn the_published_name_comes_first() {
        let names = |row: &LabelRow| {
            judge(row, "x", 5).map(|outcome| outcome.map(|outcome| (outcome.id, outcome.also)))
        };
        let mut row = row(Some(1.0), None);
        assert_eq!(names(&row), Ok(Some(("pk".to_owned(), Some("session".to_owned())))));
        row.test_pk = None;
        assert_eq!(names(&row), Ok(Some(("session".to_owned(), None))));
        row.session_id = None;
        assert!(names(&row).is_err());
    }
}
