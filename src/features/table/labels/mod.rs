//! Tables of what became of conversations: names and labels, whatever else they hold.
//!
//! A row that cannot be read stops nothing here: it is handed on as what is wrong with it, since
//! the rows around it say as much without it.

mod csv;
mod ndjson;
mod parquet;

use std::path::Path;

use super::builder::Cell;
use super::{Format, TableError};
use crate::subnet::schema::{Column, LABEL_CONVERTED, LABEL_TIME_SECONDS, SESSION_ID, TEST_PK};

/// What the data API calls the label of the class.
const LABELS: Column = Column { name: "labels", camel: "label" };

/// A row of a table of labels, before it is judged.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LabelRow {
    /// Where it stands, counted from 1; in newline-delimited JSON, its line.
    pub row: usize,
    /// The name under which the truth was published.
    pub test_pk: Option<String>,
    /// The conversation's other name.
    pub session_id: Option<String>,
    /// The class: 1 where it converted, 0 where not; none where nothing is said.
    pub class: Option<f64>,
    /// After how many seconds it converted; none where nothing is said.
    pub time_seconds: Option<f64>,
}

/// A row that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRow {
    /// Where it stands, counted as [`LabelRow::row`].
    pub row: usize,
    /// What is wrong with it.
    pub reason: String,
}

/// Reads the table in `path`, whose extension says its format, a row after the other.
///
/// Columns that are none of the names and labels, in either spelling, are not looked at.
///
/// # Errors
///
/// If the file cannot be read or its columns name no conversation or no class.
pub fn read_labels(
    path: &Path,
    visit: &mut dyn FnMut(Result<LabelRow, BadRow>),
) -> Result<(), TableError> {
    match Format::of(path)? {
        Format::Parquet => parquet::read(path, visit),
        Format::Csv => csv::read(path, visit),
        Format::NdJson => ndjson::read(path, visit),
    }
}

/// What a column of such a table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    TestPk,
    Session,
    Class,
    Time,
}

impl Part {
    fn of(name: &str) -> Option<Part> {
        let name = name.trim();
        let is = |column: Column, part: Part| column.is(name).then_some(part);
        is(TEST_PK, Part::TestPk)
            .or_else(|| is(SESSION_ID, Part::Session))
            .or_else(|| is(LABEL_CONVERTED, Part::Class))
            .or_else(|| is(LABELS, Part::Class))
            .or_else(|| is(LABEL_TIME_SECONDS, Part::Time))
    }

    fn is_name(self) -> bool {
        matches!(self, Part::TestPk | Part::Session)
    }

    /// What it is called in an error.
    fn name(self) -> &'static str {
        match self {
            Part::TestPk => TEST_PK.name,
            Part::Session => SESSION_ID.name,
            Part::Class => LABEL_CONVERTED.name,
            Part::Time => LABEL_TIME_SECONDS.name,
        }
    }
}

/// Picks the parts from the columns of a table, each with its name there, and checks that the
/// necessary ones are there once.
fn pick(names: &[String], path: &Path) -> Result<Vec<(usize, Part)>, TableError> {
    let mut parts: Vec<(usize, Part)> = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let Some(part) = Part::of(name) else { continue };
        if let Some((first, _)) = parts.iter().find(|(_, taken)| *taken == part) {
            let (first, second) = (names[*first].clone(), name.clone());
            return Err(TableError::SameColumn { path: path.to_owned(), first, second });
        }
        parts.push((index, part));
    }
    let missing = |column: &Column| TableError::MissingLabel {
        path: path.to_owned(),
        column: column.name,
        nearest: None,
        found: names.to_vec(),
    };
    if !parts.iter().any(|(_, part)| part.is_name()) {
        return Err(missing(&TEST_PK));
    }
    if !parts.iter().any(|(_, part)| *part == Part::Class) {
        return Err(missing(&LABEL_CONVERTED));
    }
    Ok(parts)
}

impl LabelRow {
    /// Takes the value of a label.
    fn set_label(&mut self, part: Part, cell: Cell<'_>) -> Result<(), BadRow> {
        let number = cell.number().map_err(|found| BadRow {
            row: self.row,
            reason: format!("expected `{}` to be a number, but it is {found}", part.name()),
        })?;
        let number = number.filter(|number| !number.is_nan());
        match part {
            Part::Class => self.class = number,
            _ => self.time_seconds = number,
        }
        Ok(())
    }

    /// Takes the conversation's name.
    fn set_name(&mut self, part: Part, name: Option<&str>) {
        let name = name.map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned);
        match part {
            Part::TestPk => self.test_pk = name,
            _ => self.session_id = name,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use polars::prelude::{Column, DataFrame, ParquetWriter};

    use super::*;

    fn rows(path: &Path) -> Vec<Result<LabelRow, BadRow>> {
        let mut rows = Vec::new();
        read_labels(path, &mut |row| rows.push(row)).unwrap();
        rows
    }

    fn file(name: &str, content: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        (folder, path)
    }

    fn row(row: usize, name: &str, class: f64, time_seconds: Option<f64>) -> LabelRow {
        let test_pk = Some(name.to_owned());
        LabelRow { row, test_pk, session_id: None, class: Some(class), time_seconds }
    }

    #[test]
    fn csv_goes_on_after_a_bad_row() {
        let text = "test_pk,other,labels,timeToConversionSeconds\n\
                    a,x,True,62.5\nb,x,perhaps,\nc,x\n\n007,x,0,-1\n";
        let (_folder, path) = file("a.csv", text);
        let rows = rows(&path);
        assert_eq!(rows[0], Ok(row(1, "a", 1.0, Some(62.5))));
        let reason = "expected `conversion_happened` to be a number, but it is \"perhaps\"";
        assert_eq!(rows[1], Err(BadRow { row: 2, reason: reason.to_owned() }));
        assert_eq!(rows[2].as_ref().unwrap_err().row, 3);
        assert_eq!(rows[3], Ok(row(4, "007", 0.0, Some(-1.0))));
        assert_eq!(rows.len(), 4);
    }

    #[test]
    fn json_as_python_writes_it() {
        let text = "{\"testPk\": \"a\", \"x\": [NaN], \"labels\": \"1\", \
                    \"time_to_conversion_seconds\": NaN}\n\nnonsense\n\
                    {\"test_pk\": 12, \"conversionHappened\": false}\n{\"test_pk\": [1]}\n";
        let (_folder, path) = file("a.jsonl", text);
        let rows = rows(&path);
        assert_eq!(rows[0], Ok(row(1, "a", 1.0, None)));
        assert_eq!(rows[1].as_ref().unwrap_err().row, 3);
        assert_eq!(rows[2], Ok(row(4, "12", 0.0, None)));
        assert_eq!(rows[3], Ok(LabelRow { row: 5, ..LabelRow::default() }));
    }

    #[test]
    fn parquet_of_many_types() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        let columns = vec![
            Column::new("session_id".into(), [7i64, 8]),
            Column::new("conversion_happened".into(), [true, false]),
            Column::new("time_to_conversion_seconds".into(), [62.5f32, f32::NAN]),
            Column::new("note".into(), ["x", "y"]),
        ];
        let mut frame = DataFrame::new(2, columns).unwrap();
        ParquetWriter::new(fs::File::create(&path).unwrap()).finish(&mut frame).unwrap();
        let expected = |row: usize, name: &str, class, time_seconds| LabelRow {
            row,
            test_pk: None,
            session_id: Some(name.to_owned()),
            class: Some(class),
            time_seconds,
        };
        assert_eq!(
            rows(&path),
            [Ok(expected(1, "7", 1.0, Some(62.5))), Ok(expected(2, "8", 0.0, None))]
        );
    }

    #[test]
    fn columns_that_are_missing_or_there_twice() {
        for (text, part) in [
            ("a,labels\n1,1\n", "no column `test_pk`"),
            ("test_pk,b\n1,1\n", "no column `conversion_happened`"),
            ("test_pk,labels,conversionHappened\n1,1,1\n", "are the same"),
            ("", "no rows"),
        ] {
            let (_folder, path) = file("a.csv", text);
            let error = read_labels(&path, &mut |_| ()).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
