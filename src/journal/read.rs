//! Reads what was answered.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::error::{JournalError, reading};
use super::lines::{self, LONGEST_LINE, Line};
use super::parts::{self, PartFiles};
use super::{Record, table};
use crate::causes::with_causes;
use crate::clock::Moment;

/// So many unreadable lines are named; more are only counted.
const NAMED: usize = 100;

/// What was found while a journal was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadReport {
    /// How many records were shown.
    pub records: u64,
    /// How many files end in the middle of a line: a process died there, or is writing.
    pub torn: u64,
    /// How many lines, rows and tables could not be read or make no sense, whether named or not.
    pub unreadable_count: u64,
    /// The first hundred of what is torn or unreadable.
    pub unreadable: Vec<Unreadable>,
}

/// Something that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The file.
    pub file: PathBuf,
    /// The line, or the row of a table, from 1; 0 for the file as a whole.
    pub line: u64,
    /// Why.
    pub reason: String,
}

impl std::fmt::Display for Unreadable {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Unreadable { file, line, reason } = self;
        write!(formatter, "`{}`, line {line}: {reason}", file.display())
    }
}

impl ReadReport {
    fn unreadable(&mut self, file: &Path, line: u64, reason: String) {
        self.unreadable_count += 1;
        self.name(file, line, reason);
    }

    fn torn(&mut self, file: &Path, line: u64) {
        self.torn += 1;
        self.name(file, line, "it was not finished".to_owned());
    }

    fn name(&mut self, file: &Path, line: u64, reason: String) {
        if self.unreadable.len() < NAMED {
            self.unreadable.push(Unreadable { file: file.to_owned(), line, reason });
        }
    }
}

/// Shows every record of a journal that was answered at `from_ns` or later, the oldest day first and
/// those of a day in the order in which they were written.
///
/// One record is in memory at a time, or one batch of a table. What cannot be read is told in the
/// report. A folder that is not there has no records.
///
/// # Errors
///
/// If the folder is there and cannot be read.
pub fn read(
    folder: &Path,
    from_ns: Option<u64>,
    visit: &mut dyn FnMut(Record),
) -> Result<ReadReport, JournalError> {
    let parts = match parts::list(folder) {
        Ok(parts) => parts,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(source) => return Err(JournalError::Folder { path: folder.to_owned(), source }),
    };
    let first_ns = from_ns.unwrap_or(0);
    let first_day = Moment::of_ns(first_ns).date();
    let mut report = ReadReport::default();
    for files in parts.into_iter().filter(|files| files.part.day >= first_day) {
        let mut shown = 0;
        let mut visit = |record: Record| {
            if record.time_ns >= first_ns {
                shown += 1;
                visit(record);
            }
        };
        read_part(folder, &files, &mut report, &mut visit);
        report.records += shown;
    }
    Ok(report)
}

fn read_part(
    folder: &Path,
    files: &PartFiles,
    report: &mut ReadReport,
    visit: &mut dyn FnMut(Record),
) {
    let (lines, table) = (files.part.lines(folder), files.part.table(folder));
    if files.lines.is_some() {
        match read_lines(&lines, report, visit) {
            // Whatever a table's name says, it stands in for lines only when they are gone.
            Ok(records) if files.table.is_some() => return compare(&table, records, report),
            Ok(_) => return,
            // Compacted since the folder was listed.
            Err(error) if is_gone(&error) => {}
            Err(error) => return report.unreadable(&lines, 0, with_causes(&error)),
        }
    }
    match read_table(&table, report, visit) {
        Err(error) if !is_gone(&error) => report.unreadable(&table, 0, with_causes(&error)),
        _ => {}
    }
}

fn is_gone(error: &JournalError) -> bool {
    matches!(error, JournalError::Read { source, .. } if source.kind() == io::ErrorKind::NotFound)
}

/// Tells of a table that is not one of the lines beside it, which hold so many records.
fn compare(table: &Path, records: u64, report: &mut ReadReport) {
    match table::count(table) {
        Ok(found) if found == records => {}
        Ok(found) => {
            let reason = format!(
                "it holds {found} records, but the lines beside it {records}; the lines are read"
            );
            report.unreadable(table, 0, reason);
        }
        Err(error) if is_gone(&error) => {}
        Err(error) => report.unreadable(table, 0, with_causes(&error)),
    }
}

fn read_table(
    path: &Path,
    report: &mut ReadReport,
    visit: &mut dyn FnMut(Record),
) -> Result<(), JournalError> {
    let mut row = 0;
    table::read(path, &mut |record| {
        row += 1;
        match record.check() {
            Ok(()) => visit(record),
            Err(fault) => report.unreadable(path, row, with_causes(&fault)),
        }
    })
}

/// How many records were shown.
fn read_lines(
    path: &Path,
    report: &mut ReadReport,
    visit: &mut dyn FnMut(Record),
) -> Result<u64, JournalError> {
    let file = File::open(path).map_err(reading(path))?;
    let mut records = 0;
    let all = lines::each(file, |number, line| {
        match line {
            Line::Whole(line) => match lines::record(line) {
                Ok(record) => {
                    records += 1;
                    visit(record);
                }
                Err(reason) => report.unreadable(path, number, reason),
            },
            Line::Torn(_) => report.torn(path, number),
            Line::TooLong(_) => {
                let reason = format!("it is longer than {LONGEST_LINE} bytes");
                report.unreadable(path, number, reason);
            }
        }
        true
    });
    all.map_err(reading(path))?;
    Ok(records)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::clock::DAY_NS;

    const DAY: u64 = 20_414 * DAY_NS; // 2025-11-22

    fn line(id: &str, time_ns: u64) -> String {
        serde_json::to_string(&Record::sample(id, time_ns)).unwrap() + "\n"
    }

    fn ids(folder: &Path, from_ns: Option<u64>) -> (Vec<String>, ReadReport) {
        let mut ids = Vec::new();
        let report =
            read(folder, from_ns, &mut |record| ids.push(record.id().unwrap().to_owned())).unwrap();
        (ids, report)
    }

    #[test]
    fn what_is_not_there_has_no_records() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(ids(&folder.path().join("none"), None), (vec![], ReadReport::default()));
        assert_eq!(ids(folder.path(), None), (vec![], ReadReport::default()));
        fs::write(folder.path().join("file"), "").unwrap();
        assert!(read(&folder.path().join("file"), None, &mut |_| ()).is_err());
    }

    #[test]
    fn days_in_order_and_only_those_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, content: String| {
            fs::write(folder.path().join(name), content).unwrap();
        };
        write("2025-11-23.jsonl", line("d", DAY + DAY_NS));
        write("2025-11-22.1.jsonl", line("c", DAY + 3));
        write("2025-11-22.jsonl", line("a", DAY + 1) + &line("b", DAY + 2));
        assert_eq!(ids(folder.path(), None).0, ["a", "b", "c", "d"]);
        assert_eq!(ids(folder.path(), Some(DAY + 2)).0, ["b", "c", "d"]);
        let (found, report) = ids(folder.path(), Some(DAY + DAY_NS));
        assert_eq!((found, report.records), (vec!["d".to_owned()], 1));
    }

    #[test]
    fn damage_is_named_and_stops_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let first = folder.path().join("2025-11-22.jsonl");
        let content = line("a", DAY) + "{\"time_ns\": 1}\n" + &line("b", DAY) + "{\"time";
        fs::write(&first, content).unwrap();
        fs::write(folder.path().join("2025-11-23.parquet"), "no table").unwrap();
        fs::write(folder.path().join("2025-11-24.jsonl"), line("c", DAY + 2 * DAY_NS)).unwrap();
        let (found, report) = ids(folder.path(), None);
        assert_eq!(found, ["a", "b", "c"]);
        assert_eq!((report.records, report.torn, report.unreadable_count), (3, 1, 2));
        let named: Vec<_> =
            report.unreadable.iter().map(|it| (it.file.as_path(), it.line)).collect();
        let table = folder.path().join("2025-11-23.parquet");
        assert_eq!(named, [(first.as_path(), 2), (first.as_path(), 4), (table.as_path(), 0)]);
        assert!(report.unreadable[0].reason.contains("missing field"), "{report:?}");
    }

    /// An aborted copy beside the lines of the same day.
    #[test]
    fn a_table_that_is_none_hides_no_lines() {
        let folder = tempfile::tempdir().unwrap();
        let table = folder.path().join("2025-11-22.parquet");
        fs::write(folder.path().join("2025-11-22.jsonl"), line("a", DAY)).unwrap();
        for content in ["", "PAR1", "no table"] {
            fs::write(&table, content).unwrap();
            let (found, report) = ids(folder.path(), None);
            assert_eq!((found, report.unreadable_count), (vec!["a".to_owned()], 1));
            assert_eq!(report.unreadable[0].file, table);
        }
    }

    #[test]
    fn what_makes_no_sense_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let lines = folder.path().join("2025-11-22.jsonl");
        let valid = line("a", DAY);
        let content = valid.clone()
            + &valid.replace("\"confidence\":0.25", "\"confidence\":7.0")
            + &valid.replace("[92.5,", "[1e300,");
        fs::write(&lines, content).unwrap();
        let table = folder.path().join("2025-11-23.parquet");
        let mut endless = Record::sample("c", DAY + DAY_NS);
        endless.response_time_seconds = f64::INFINITY;
        let mut frame = table::frame(&[endless, Record::sample("d", DAY + DAY_NS)]).unwrap();
        polars::prelude::ParquetWriter::new(File::create(&table).unwrap())
            .finish(&mut frame)
            .unwrap();
        let (found, report) = ids(folder.path(), None);
        assert_eq!(found, ["a", "d"]);
        assert_eq!((report.records, report.unreadable_count), (2, 3));
        let named: Vec<_> =
            report.unreadable.iter().map(|it| (it.file.as_path(), it.line)).collect();
        let (lines, table) = (lines.as_path(), table.as_path());
        assert_eq!(named, [(lines, 2), (lines, 3), (table, 1)]);
    }

    #[test]
    fn only_so_many_are_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("2025-11-22.jsonl"), "{}\n".repeat(1000)).unwrap();
        let (_, report) = ids(folder.path(), None);
        assert_eq!((report.unreadable_count, report.unreadable.len()), (1000, NAMED));
    }
}
