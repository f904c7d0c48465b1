//! Writes a set as a parquet file.

use std::path::Path;

use polars::prelude::{Column, DataFrame, ParquetWriter, PolarsError};

use super::{DatasetError, Row, Set};
use crate::files::write_atomically_with;
use crate::subnet::reward::NOT_CONVERTED;
use crate::subnet::schema::{FEATURES, LABEL_CONVERTED, LABEL_TIME_SECONDS, SESSION_ID};

/// Writes rows with the names of the public training CSV, and the labels in a training set. What is
/// missing is null; the features are those that a model sees. The file is whole or not there.
///
/// # Errors
///
/// If the file cannot be written.
pub fn write(path: &Path, set: Set, rows: &[Row]) -> Result<(), DatasetError> {
    let written = frame(set, rows).and_then(|mut frame| {
        write_atomically_with(path, |file| ParquetWriter::new(file).finish(&mut frame).map(drop))
    });
    written.map_err(|source| DatasetError::Write { path: path.to_owned(), source })
}

fn frame(set: Set, rows: &[Row]) -> Result<DataFrame, PolarsError> {
    let ids: Vec<Option<&str>> = rows.iter().map(|row| row.id.as_deref()).collect();
    let mut columns = vec![Column::new(SESSION_ID.name.into(), ids)];
    for (index, feature) in FEATURES.iter().enumerate() {
        let known = |row: &Row| Some(row.conversation.values[index]).filter(|it| !it.is_nan());
        let cells: Vec<Option<f32>> = rows.iter().map(known).collect();
        columns.push(Column::new(feature.name.into(), cells));
    }
    if set == Set::Training {
        let classes: Vec<Option<i64>> =
            rows.iter().map(|row| row.converted.map(i64::from)).collect();
        let time = |row: &Row| match row.converted {
            Some(false) => Some(NOT_CONVERTED),
            _ => row.time_seconds,
        };
        let times: Vec<Option<f64>> = rows.iter().map(time).collect();
        columns.push(Column::new(LABEL_CONVERTED.name.into(), classes));
        columns.push(Column::new(LABEL_TIME_SECONDS.name.into(), times));
    }
    DataFrame::new(rows.len(), columns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::Conversation;
    use crate::features::table::{self, LabelMode};
    use crate::subnet::reward::Truth;

    #[test]
    fn what_is_written_is_read_as_a_table() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.parquet");
        let row = |id: &str, converted, time_seconds| {
            let mut conversation = Conversation::EMPTY;
            conversation.set(18, 1.1);
            let id = Some(id.to_owned());
            Row { id, conversation, converted: Some(converted), time_seconds }
        };
        let rows = [row("a", true, Some(62.5)), row("b", false, None)];
        write(&path, Set::Training, &rows).unwrap();
        let table = table::read(&path, LabelMode::Required { drop_invalid: false }).unwrap();
        let converted_not = Truth { converted: false, time_seconds: NOT_CONVERTED };
        assert_eq!(table.truths.unwrap(), [Truth::converted_after(62.5), converted_not]);
        assert_eq!(table.session_ids, [Some("a".to_owned()), Some("b".to_owned())]);
        assert_eq!(table.conversations[0].values[18], 1.1);
        assert!(table.conversations[0].values[0].is_nan());
        write(&path, Set::Test, &rows).unwrap();
        assert!(table::read(&path, LabelMode::Required { drop_invalid: false }).is_err());
        assert_eq!(table::read(&path, LabelMode::Ignored).unwrap().len(), 2);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
