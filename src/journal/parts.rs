//! The files of a journal: `2026-11-22.jsonl`, or `2026-11-22.parquet` once it was compacted.
//!
//! A day has one file, unless that grew too large or was compacted before the day's last record came:
//! then it goes on in `2026-11-22.1.jsonl`, and so on. Each of these is a part.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The end of the name of a file of lines.
const LINES: &str = "jsonl";
/// The end of the name of a table.
const TABLE: &str = "parquet";

/// A part of the journal. Parts are ordered by time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Part {
    /// The day in UTC: `2026-11-22`.
    pub(super) day: String,
    /// Which part of the day, from 0.
    pub(super) number: u32,
}

impl Part {
    /// Its file of lines.
    pub(super) fn lines(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.{LINES}", self.stem()))
    }

    /// Its table.
    pub(super) fn table(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.{TABLE}", self.stem()))
    }

    fn stem(&self) -> String {
        match self.number {
            0 => self.day.clone(),
            number => format!("{}.{number}", self.day),
        }
    }

    /// The part of a file name, and whether it is that of the table.
    fn of(name: &str) -> Option<(Part, bool)> {
        let (stem, kind) = name.rsplit_once('.')?;
        let is_table = match kind {
            LINES => false,
            TABLE => true,
            _ => return None,
        };
        let (day, number) = match stem.split_once('.') {
            None => (stem, 0),
            Some((day, number)) => (day, number.parse().ok().filter(|number| *number > 0)?),
        };
        let part = Part { day: day.to_owned(), number };
        // Whatever else could be read as a part has another name than it would be given.
        let named = if is_table { part.table(Path::new("")) } else { part.lines(Path::new("")) };
        (is_day(day) && named == Path::new(name)).then_some((part, is_table))
    }
}

/// Whether it is written like a day.
fn is_day(text: &str) -> bool {
    let like = |(index, byte): (usize, u8)| match index {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    };
    text.len() == 10 && text.bytes().enumerate().all(like)
}

/// What there is of a part: the bytes of its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PartFiles {
    pub(super) part: Part,
    pub(super) lines: Option<u64>,
    pub(super) table: Option<u64>,
}

/// The parts in a folder, the oldest first. What is no part is none of ours.
///
/// # Errors
///
/// If the folder cannot be read, or is not there.
pub(super) fn list(folder: &Path) -> io::Result<Vec<PartFiles>> {
    let mut found: Vec<PartFiles> = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some((part, is_table)) = name.to_str().and_then(Part::of) else { continue };
        // It may have been removed meanwhile, or be a folder, which is none of ours.
        let Ok(metadata) = fs::metadata(entry.path()) else { continue };
        if !metadata.is_file() {
            continue;
        }
        let place = found.iter().position(|other| other.part == part).unwrap_or_else(|| {
            found.push(PartFiles { part, lines: None, table: None });
            found.len() - 1
        });
        let bytes = Some(metadata.len());
        *(if is_table { &mut found[place].table } else { &mut found[place].lines }) = bytes;
    }
    found.sort_by(|left, right| left.part.cmp(&right.part));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_in_order_of_time() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "2026-11-22.2.jsonl",
            "2026-11-22.10.jsonl",
            "2026-11-22.jsonl",
            "2026-11-22.parquet",
            "2026-11-21.jsonl",
            // None of ours.
            "2026-11-21.jsonl.torn-7",
            ".2026-11-21.parquet.1.partial",
            "2026-11-21.0.jsonl",
            "2026-11-21.01.jsonl",
            "2026-11-2.jsonl",
            "notes.jsonl",
            ".lock",
        ] {
            fs::write(folder.path().join(name), "12").unwrap();
        }
        for name in ["2026-11-20.parquet", "2026-11-23.jsonl"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let found = list(folder.path()).unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|files| {
                let Part { day, number } = &files.part;
                (day.as_str(), *number, files.lines, files.table)
            })
            .collect();
        assert_eq!(
            found,
            [
                ("2026-11-21", 0, Some(2), None),
                ("2026-11-22", 0, Some(2), Some(2)),
                ("2026-11-22", 2, Some(2), None),
                ("2026-11-22", 10, Some(2), None),
            ]
        );
        assert!(list(&folder.path().join("none")).is_err());
    }
}
