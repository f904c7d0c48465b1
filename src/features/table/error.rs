//! What can be wrong with a table, and what may be.

use std::fmt;
use std::io;
use std::path::PathBuf;

use polars::error::PolarsError;

/// Why a table could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// There is nothing of this name.
    #[error("`{}`: no such file", path.display())]
    NoSuchFile {
        /// The file.
        path: PathBuf,
    },
    /// It is there, and cannot be opened.
    #[error("`{}`: cannot be opened", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is a folder.
    #[error("`{}`: expected a file, but it is a folder", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
    },
    /// The extension says nothing.
    #[error(
        "`{}`: expected a name that ends in .parquet, .pq, .csv, .ndjson or .jsonl",
        path.display()
    )]
    UnknownExtension {
        /// The file.
        path: PathBuf,
    },
    /// The content is not what the extension says.
    #[error("`{}`: cannot be read as {format}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What it should be.
        format: &'static str,
        /// Why it is not.
        #[source]
        source: PolarsError,
    },
    /// A line is not a JSON object.
    #[error("`{}`: line {line} is not a JSON object: {message}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1 with blank ones.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// A row of a CSV file cannot be told apart into cells.
    #[error("`{}`: {}: {message}", path.display(), place(*row, *line))]
    Row {
        /// The file.
        path: PathBuf,
        /// The row, counted from 1; 0 is the header.
        row: usize,
        /// The line that it starts in, or blank ones before it, counted from 1.
        line: u64,
        /// What is wrong.
        message: String,
    },
    /// A CSV file that is separated by something else than commas.
    #[error("`{}`: expected commas between the cells, but found {found} in the header", path.display())]
    Separator {
        /// The file.
        path: PathBuf,
        /// What is there instead.
        found: &'static str,
    },
    /// Reading stopped on the way.
    #[error("`{}`: reading failed", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The table is empty.
    #[error("`{}`: no rows", path.display())]
    NoRows {
        /// The file.
        path: PathBuf,
    },
    /// Everything was left out.
    #[error("`{}`: no rows are left: all {dropped} were invalid and left out", path.display())]
    NoRowsLeft {
        /// The file.
        path: PathBuf,
        /// How many were left out.
        dropped: usize,
    },
    /// None of the 40 is there.
    #[error("`{}`: no column is a feature; found {}", path.display(), list(found))]
    NoFeatures {
        /// The file.
        path: PathBuf,
        /// The columns that are there.
        found: Vec<String>,
    },
    /// A label is not there.
    #[error("`{}`: no column `{column}`{}; found {}", path.display(), did_you_mean(nearest), list(found))]
    MissingLabel {
        /// The file.
        path: PathBuf,
        /// The label's name.
        column: &'static str,
        /// The column whose name is most like it, if one is.
        nearest: Option<String>,
        /// The columns that are there.
        found: Vec<String>,
    },
    /// One thing is there twice.
    #[error("`{}`: the columns `{first}` and `{second}` are the same; leave one out", path.display())]
    SameColumn {
        /// The file.
        path: PathBuf,
        /// The column that comes first.
        first: String,
        /// The one that comes later.
        second: String,
    },
    /// No value of such a column could be a number.
    #[error(
        "`{}`: column `{column}` has the type {found}; expected int32, int64, float32, float64, \
         boolean or string",
        path.display()
    )]
    ColumnType {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// Its type.
        found: String,
    },
    /// A class that is neither 0 nor 1.
    #[error("`{}`: row {row}: expected `{column}` to be 0, 1, true or false, but it is {value}", path.display())]
    Class {
        /// The file.
        path: PathBuf,
        /// The label's name.
        column: &'static str,
        /// The row, counted from 1.
        row: usize,
        /// What is there.
        value: String,
    },
    /// A time that is not a number.
    #[error("`{}`: row {row}: expected `{column}` to be a number, but it is {value}", path.display())]
    Time {
        /// The file.
        path: PathBuf,
        /// The label's name.
        column: &'static str,
        /// The row, counted from 1.
        row: usize,
        /// What is there.
        value: String,
    },
    /// Rows without a class.
    #[error(
        "`{}`: {count} rows have no `{column}`, the first is row {first_row}; to leave them out, \
         use `--drop-invalid`",
        path.display()
    )]
    Unlabelled {
        /// The file.
        path: PathBuf,
        /// The label's name.
        column: &'static str,
        /// How many rows.
        count: usize,
        /// The first of them, counted from 1.
        first_row: usize,
    },
    /// Rows that converted, nobody knows when.
    #[error(
        "`{}`: {count} rows converted without a positive, finite `{column}`, the first is row \
         {first_row}; to leave them out, use `--drop-invalid`",
        path.display()
    )]
    Untimed {
        /// The file.
        path: PathBuf,
        /// The label's name.
        column: &'static str,
        /// How many rows.
        count: usize,
        /// The first of them, counted from 1.
        first_row: usize,
    },
    /// A table could not be written.
    #[error("`{}`: cannot be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A table could not be encoded.
    #[error("`{}`: cannot be written as {format}", path.display())]
    Encode {
        /// The file.
        path: PathBuf,
        /// What it should become.
        format: &'static str,
        /// Why not.
        #[source]
        source: PolarsError,
    },
}

/// Something about a table that the user should know, and that stops nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum Warning {
    /// Values that are no numbers count as missing.
    Unreadable {
        /// How many.
        count: usize,
        /// The first few.
        first: Vec<Unreadable>,
    },
    /// Features that the network promises to send have no column.
    MissingRequired {
        /// Their names.
        columns: Vec<&'static str>,
    },
    /// Every row is of the same class.
    OneClass {
        /// Which one.
        converted: bool,
    },
    /// Rows were left out, as asked for.
    Dropped {
        /// Rows without a class.
        unlabelled: usize,
        /// Rows that converted without a positive, finite time.
        untimed: usize,
    },
    /// A conversation occurs more than once.
    DuplicateSessions {
        /// How many rows repeat an earlier one's session id.
        count: usize,
        /// The first that does.
        example: String,
    },
}

/// A value that is no number.
#[derive(Debug, Clone, PartialEq)]
pub struct Unreadable {
    /// The row, counted from 1.
    pub row: usize,
    /// The feature.
    pub feature: &'static str,
    /// What is there.
    pub value: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::Unreadable { count, first } => {
                write!(f, "{count} values are not numbers and count as missing: ")?;
                for (index, Unreadable { row, feature, value }) in first.iter().enumerate() {
                    let separator = if index == 0 { "" } else { ", " };
                    write!(f, "{separator}`{feature}` in row {row} is {value}")?;
                }
                if *count > first.len() {
                    write!(f, ", and {} more", count - first.len())?;
                }
                Ok(())
            }
            Warning::MissingRequired { columns } => write!(
                f,
                "no column for {}, which the network always sends: treated as missing",
                list(columns)
            ),
            Warning::OneClass { converted: true } => {
                f.write_str("every row converted: there is nothing to tell the classes apart by")
            }
            Warning::OneClass { converted: false } => {
                f.write_str("no row converted: there is nothing to tell the classes apart by")
            }
            Warning::Dropped { unlabelled, untimed } => write!(
                f,
                "left out {} rows: {unlabelled} without a label, {untimed} that converted without \
                 a positive, finite time",
                unlabelled + untimed
            ),
            Warning::DuplicateSessions { count, example } => {
                write!(
                    f,
                    "{count} rows repeat the session_id of an earlier row, such as `{example}`"
                )
            }
        }
    }
}

/// Names in backticks; a long list is cut.
fn list(names: &[impl AsRef<str>]) -> String {
    const LONGEST: usize = 12;
    if names.is_empty() {
        return "no columns at all".to_owned();
    }
    let shown: Vec<_> =
        names.iter().take(LONGEST).map(|name| format!("`{}`", name.as_ref())).collect();
    let more = names.len().saturating_sub(LONGEST);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    shown.join(", ") + &rest
}

/// Where a row is. Its line differs from its number by the header, blank lines and quoted line feeds.
fn place(row: usize, line: u64) -> String {
    match row {
        0 => "the header".to_owned(),
        row => format!("row {row} (from line {line} on)"),
    }
}

fn did_you_mean(nearest: &Option<String>) -> String {
    nearest.as_ref().map_or_else(String::new, |name| format!(" (is `{name}` meant?)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_cut() {
        let names: Vec<String> = (0..14).map(|index| format!("c{index}")).collect();
        assert_eq!(list(&names[..2]), "`c0`, `c1`");
        assert!(list(&names).ends_with("`c10`, `c11` and 2 more"));
        assert_eq!(list(&names[..0]), "no columns at all");
    }

    #[test]
    fn warnings_read_well() {
        let first = vec![
            Unreadable { row: 3, feature: "hour_of_day", value: "\"noon\"".to_owned() },
            Unreadable { row: 4, feature: "message_ratio", value: "\"x\"".to_owned() },
        ];
        for (warning, expected) in [
            (
                Warning::Unreadable { count: 7, first },
                "7 values are not numbers and count as missing: `hour_of_day` in row 3 is \
                 \"noon\", `message_ratio` in row 4 is \"x\", and 5 more",
            ),
            (
                Warning::Dropped { unlabelled: 2, untimed: 3 },
                "left out 5 rows: 2 without a label, 3 that converted without a positive, finite \
                 time",
            ),
            (
                Warning::DuplicateSessions { count: 1, example: "a".to_owned() },
                "1 rows repeat the session_id of an earlier row, such as `a`",
            ),
            (
                Warning::MissingRequired { columns: vec!["message_ratio"] },
                "no column for `message_ratio`, which the network always sends: treated as missing",
            ),
        ] {
            assert_eq!(warning.to_string(), expected);
        }
    }
}
