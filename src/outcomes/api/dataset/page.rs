//! One answer with rows of a set.

use jiter::{Jiter, JiterError, Peek};

use super::Set;
use crate::features::{Conversation, reader};
use crate::outcomes::api::caller::Unusable;
use crate::outcomes::api::truth::{number, text};
use crate::outcomes::import::{class_of, time_of};
use crate::subnet::schema::{Column, LABEL_CONVERTED, LABEL_TIME_SECONDS};
use crate::subnet::synapse::Document;

const IDS: Column = Column { name: "ids", camel: "ids" };
const NAMES: Column = Column { name: "features_list", camel: "featuresList" };
const TRAINING_ROWS: Column = Column { name: "train_features", camel: "trainFeatures" };
const TARGETS: Column = Column { name: "train_targets", camel: "trainTargets" };
const TEST_ROWS: Column = Column { name: "test_features", camel: "testFeatures" };
const ROUND: Column = Column { name: "round_number", camel: "roundNumber" };
const REFRESHED: Column = Column { name: "refresh_date", camel: "refreshDate" };
const DEADLINE: Column = Column { name: "submission_deadline", camel: "submissionDeadline" };

/// A conversation of a set.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Its name.
    pub id: Option<String>,
    /// Its features.
    pub conversation: Conversation,
    /// Whether it converted, in a training set.
    pub converted: Option<bool>,
    /// After how many seconds, where that is told.
    pub time_seconds: Option<f64>,
}

/// The rows of one answer.
#[derive(Debug, Clone, Default)]
pub(super) struct Page {
    pub(super) rows: Vec<Row>,
    pub(super) round: Option<String>,
    pub(super) date: Option<String>,
    pub(super) unreadable: usize,
}

impl Page {
    /// Whether its rows do not say which they are.
    pub(super) fn is_unclear(&self) -> bool {
        self.rows.iter().any(|row| row.id.is_none())
    }

    /// Whether it has rows, and these ones.
    pub(super) fn is(&self, rows: &[Row]) -> bool {
        // Missing values are NaN, which is not equal to itself.
        let bits = |row: &Row| row.conversation.values.map(f32::to_bits);
        let labels = |row: &Row| (row.converted, row.time_seconds);
        let same = |(left, right): (&Row, &Row)| {
            left.id == right.id && labels(left) == labels(right) && bits(left) == bits(right)
        };
        !rows.is_empty() && self.rows.len() == rows.len() && self.rows.iter().zip(rows).all(same)
    }
}

/// Reads an answer. Rows are lists in the order of the names, or objects; labels are booleans,
/// numbers, text, or objects of both labels.
pub(super) fn read(body: &[u8], set: Set) -> Result<Page, Unusable> {
    let document =
        Document::parse(body).map_err(|error| Unusable::Damaged(format!("the answer: {error}")))?;
    let find = |column: Column| document.get(column.name).or_else(|| document.get(column.camel));
    let list = |column: Column| find(column).map(|value| elements(value, column.name)).transpose();
    let (rows, date) = match set {
        Set::Training => (TRAINING_ROWS, REFRESHED),
        Set::Test => (TEST_ROWS, DEADLINE),
    };
    let Some(values) = list(rows)? else {
        return Err(nonsense(format!("there is no `{}` in it", rows.name)));
    };
    let names: Option<Vec<String>> = list(NAMES)?
        .map(|names| names.into_iter().map(|name| text(name).unwrap_or_default()).collect());
    let ids = same_length(list(IDS)?, values.len(), IDS.name)?;
    let targets = if set == Set::Training { list(TARGETS)? } else { None };
    let targets = same_length(targets, values.len(), TARGETS.name)?;
    let mut page = Page {
        rows: Vec::with_capacity(values.len()),
        round: find(ROUND).and_then(text),
        date: find(date).and_then(text),
        unreadable: 0,
    };
    for (index, value) in values.into_iter().enumerate() {
        let target = targets.as_ref().map(|targets| targets[index]);
        let id = ids.as_ref().and_then(|ids| text(ids[index]));
        let read = read_row(value, names.as_deref(), id, target, set, &mut page.unreadable);
        let row = read.map_err(|reason| nonsense(format!("row {}: {reason}", index + 1)))?;
        page.rows.push(row);
    }
    Ok(page)
}

fn nonsense(reason: String) -> Unusable {
    Unusable::Nonsense(format!("the answer: {reason}"))
}

fn same_length<'a>(
    list: Option<Vec<&'a [u8]>>,
    rows: usize,
    name: &str,
) -> Result<Option<Vec<&'a [u8]>>, Unusable> {
    match list {
        Some(list) if list.len() != rows => {
            let found = list.len();
            Err(nonsense(format!("expected {rows} `{name}`, one a row, but there are {found}")))
        }
        list => Ok(list),
    }
}

fn read_row(
    value: &[u8],
    names: Option<&[String]>,
    id: Option<String>,
    target: Option<&[u8]>,
    set: Set,
    unreadable: &mut usize,
) -> Result<Row, String> {
    let object = as_object(value, names)?;
    let reading = reader::read(&object).map_err(|error| error.to_string())?;
    *unreadable += reading.oddities.len();
    let id = id.or(reading.test_pk).or(reading.session_id).filter(|id| !id.trim().is_empty());
    let conversation = reading.conversation;
    let mut row = Row { id, conversation, converted: None, time_seconds: None };
    if set == Set::Training {
        (row.converted, row.time_seconds) = read_labels(&object, target)?;
    }
    Ok(row)
}

/// The labels of a row: of its target, or else of those among its features.
fn read_labels(row: &[u8], target: Option<&[u8]>) -> Result<(Option<bool>, Option<f64>), String> {
    let plain = |unusable| match unusable {
        Unusable::Damaged(reason) | Unusable::Nonsense(reason) => reason,
    };
    let row = Document::parse(row).map_err(|error| error.to_string())?;
    let object = target.and_then(|target| Document::parse(target).ok());
    let labels = object.as_ref().unwrap_or(&row);
    let find = |from: &Document<'_>, column: Column| {
        let value = from.get(column.name).or_else(|| from.get(column.camel));
        number(value, column.name).map_err(plain)
    };
    let class = match target.filter(|_| object.is_none()) {
        Some(scalar) => number(Some(scalar), TARGETS.name).map_err(plain)?,
        None => find(labels, LABEL_CONVERTED)?,
    };
    let Some(class) = class else { return Ok((None, None)) };
    let converted =
        class_of(class).ok_or_else(|| format!("expected a label of 0 or 1, but it is {class}"))?;
    let time = match find(labels, LABEL_TIME_SECONDS)? {
        None => find(&row, LABEL_TIME_SECONDS)?,
        time => time,
    };
    // A time that cannot be is not known.
    Ok((Some(converted), time_of(converted, time).unwrap_or(None)))
}

/// The row as a JSON object, so that a request's reader reads it.
fn as_object(value: &[u8], names: Option<&[String]>) -> Result<Vec<u8>, String> {
    if value.first() == Some(&b'{') {
        return Ok(value.to_vec());
    }
    let Ok(cells) = elements(value, "row") else {
        return Err("expected a list or an object".to_owned());
    };
    let Some(names) = names else {
        return Err(format!("it is a list, and there is no `{}`", NAMES.name));
    };
    if cells.len() != names.len() {
        let (expected, found) = (names.len(), cells.len());
        return Err(format!(
            "expected {expected} values, one a name of `{}`, but there are {found}",
            NAMES.name
        ));
    }
    let mut object = vec![b'{'];
    for (index, (name, cell)) in names.iter().zip(cells).enumerate() {
        if index > 0 {
            object.push(b',');
        }
        object.extend_from_slice(serde_json::Value::from(name.as_str()).to_string().as_bytes());
        object.push(b':');
        object.extend_from_slice(cell);
    }
    object.push(b'}');
    Ok(object)
}

/// The texts of the elements of a list.
fn elements<'a>(value: &'a [u8], name: &str) -> Result<Vec<&'a [u8]>, Unusable> {
    split(value).map_err(|error| nonsense(format!("expected `{name}` to be a list: {error}")))
}

fn split(value: &[u8]) -> Result<Vec<&[u8]>, JiterError> {
    let mut json = Jiter::new(value).with_allow_inf_nan();
    let mut found = Vec::new();
    let mut next: Option<Peek> = json.next_array()?;
    while let Some(peek) = next {
        let start = json.current_index();
        json.known_skip(peek)?;
        found.push(&value[start..json.current_index()]);
        next = json.array_step()?;
    }
    json.finish()?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subnet::schema::position;

    const RATIO: usize = position("message_ratio");

    #[test]
    fn lists_with_names_and_targets_of_every_type() {
        let body = br#"{"train_features": [["a", 1.5, -1, 62.5], ["b", "2.5", NaN, -1.0], ["c", null, 3, -1]],
            "train_targets": [true, "0", 1], "ids": ["x", 8, "z"], "round_number": 3,
            "features_list": ["sessionId", "messageRatio", "hourOfDay", "timeToConversionSeconds"],
            "refresh_date": "2026-01-01"}"#;
        let page = read(body, Set::Training).unwrap();
        let rows: Vec<_> = page
            .rows
            .iter()
            .map(|row| (row.id.as_deref().unwrap(), row.converted, row.time_seconds))
            .collect();
        let expected =
            [("x", Some(true), Some(62.5)), ("8", Some(false), None), ("z", Some(true), None)];
        assert_eq!(rows, expected);
        assert_eq!(page.rows[1].conversation.values[RATIO], 2.5);
        assert!(page.rows[0].conversation.values[2].is_nan(), "-1 is a missing hour");
        assert_eq!(page.rows[2].conversation.values[2], 3.0);
        assert_eq!((page.round.as_deref(), page.date.as_deref()), (Some("3"), Some("2026-01-01")));
    }

    #[test]
    fn objects_with_labels_beside_or_in_them() {
        let beside = br#"{"trainFeatures": [{"test_pk": "a", "message_ratio": 1}],
            "trainTargets": [{"conversionHappened": "true", "timeToConversionSeconds": 5}]}"#;
        let within = br#"{"train_features": [{"session_id": "a", "message_ratio": 1,
            "conversion_happened": 1, "time_to_conversion_seconds": 5}]}"#;
        for body in [&beside[..], within] {
            let page = read(body, Set::Training).unwrap();
            let row = &page.rows[0];
            let labels = (row.id.as_deref(), row.converted, row.time_seconds);
            assert_eq!(labels, (Some("a"), Some(true), Some(5.0)));
        }
        let test = br#"{"test_features": [{"session_id": "a", "conversion_happened": 1}]}"#;
        assert_eq!(read(test, Set::Test).unwrap().rows[0].converted, None, "not in a test set");
    }

    #[test]
    fn what_does_not_fit_is_said() {
        for (body, part) in [
            ("{", "the answer"),
            ("{}", "no `train_features`"),
            (r#"{"train_features": 5}"#, "`train_features` to be a list"),
            (r#"{"train_features": [5]}"#, "row 1: expected a list or an object"),
            (r#"{"train_features": [[5]]}"#, "no `features_list`"),
            (r#"{"train_features": [[5]], "features_list": []}"#, "expected 0 values"),
            (r#"{"train_features": [{}], "ids": []}"#, "expected 1 `ids`"),
            (r#"{"train_features": [{}], "train_targets": [7]}"#, "a label of 0 or 1, but it is 7"),
        ] {
            let (Unusable::Damaged(reason) | Unusable::Nonsense(reason)) =
                read(body.as_bytes(), Set::Training).unwrap_err();
            assert!(reason.contains(part), "{body}: {reason}");
        }
    }
}
