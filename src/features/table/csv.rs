//! CSV files, a row at a time.
//!
//! Not through polars, which makes the same nothing of a blank line and of a row without values,
//! renames the second of two equal columns, and names no row in its errors. What a cell's text
//! means is what it would mean in a request.

use std::fs::File;
use std::io::{self, Read};

use csv::{ErrorKind, Reader, ReaderBuilder, StringRecord};

use super::builder::{Builder, Cell, Halt};
use super::columns::Role;
use super::{LONGEST_ROW, TableError, open};

pub(super) fn read(builder: &mut Builder<'_>) -> Result<(), Halt> {
    let mut records = Records {
        // Unequal rows are told apart here, where the header is known.
        reader: ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .buffer_capacity(1 << 20)
            .from_reader(Bounded { file: open(&builder.path)?, bytes: 0 }),
        record: StringRecord::new(),
        count: 0,
    };
    if !records.next(builder)? {
        return Ok(());
    }
    let names: Vec<String> = records.record.iter().map(str::to_owned).collect();
    if let Some(found) = other_separator(&names) {
        return Err(TableError::Separator { path: builder.path.clone(), found }.into());
    }
    let roles: Vec<Option<Role>> =
        names.iter().map(|name| Role::of(name, builder.with_labels())).collect();
    builder.set_columns(names)?;

    while records.next(builder)? {
        let (expected, found) = (roles.len(), records.record.len());
        if records.is_blank(expected) {
            continue;
        }
        if found != expected {
            let message = format!(
                "expected {expected} cells, as many as the header has, but there are {found}; is a \
                 quote open, or a comma in a cell without quotes?"
            );
            return Err(records.wrong(builder, message).into());
        }
        add_row(builder, &roles, &records.record)?;
        builder.hand_over_full()?;
    }
    Ok(())
}

fn add_row(
    builder: &mut Builder<'_>,
    roles: &[Option<Role>],
    record: &StringRecord,
) -> Result<(), TableError> {
    let index = builder.rows();
    builder.add_rows(1);
    for (role, text) in roles.iter().zip(record) {
        let cell = if text.is_empty() { Cell::Missing } else { Cell::Text(text) };
        match role {
            Some(Role::Session) if builder.with_session_ids() => {
                builder.set_session(index, Some(text.to_owned()));
            }
            Some(Role::Feature(feature)) => builder.set_feature(index, *feature, cell),
            Some(Role::Class) => builder.set_class(index, cell)?,
            Some(Role::Time) => builder.set_time(index, cell)?,
            Some(Role::Session) | None => {}
        }
    }
    Ok(())
}

/// What the cells seem to be separated by, if it is not commas.
fn other_separator(names: &[String]) -> Option<&'static str> {
    match names {
        [only] if only.contains(';') => Some("semicolons"),
        [only] if only.contains('\t') => Some("tabs"),
        _ => None,
    }
}

/// A file of which only so much is read for one record.
struct Bounded {
    file: File,
    /// Read since the record began, but for what was read ahead before.
    bytes: u64,
}

impl Bounded {
    fn is_exhausted(&self) -> bool {
        self.bytes >= LONGEST_ROW
    }
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.is_exhausted() {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let count = self.file.read(buffer)?;
        self.bytes += count as u64;
        Ok(count)
    }
}

/// The records of a file, of which the first is the header.
struct Records {
    reader: Reader<Bounded>,
    record: StringRecord,
    /// How many records there are up to the current one.
    count: usize,
}

impl Records {
    /// Reads the next record; false at the end of the file.
    fn next(&mut self, builder: &Builder<'_>) -> Result<bool, TableError> {
        self.count += 1;
        let start = self.reader.position().line();
        self.reader.get_mut().bytes = 0;
        match self.reader.read_record(&mut self.record) {
            Ok(more) => Ok(more),
            Err(error) => {
                let line = error.position().map_or(0, csv::Position::line);
                Err(match error.into_kind() {
                    ErrorKind::Io(_) if self.reader.get_ref().is_exhausted() => {
                        let message = "it has more than 16 MiB; close the quote that is open, or \
                                       end the row with a line feed";
                        self.wrong_at(builder, start, message.to_owned())
                    }
                    ErrorKind::Io(source) => {
                        TableError::Read { path: builder.path.clone(), source }
                    }
                    _ => {
                        let message = "expected UTF-8, but there are other bytes";
                        self.wrong_at(builder, line, message.to_owned())
                    }
                })
            }
        }
    }

    /// Whether the record is a line of spaces in a table of several columns: no row. Empty lines are
    /// skipped by the reader.
    fn is_blank(&self, columns: usize) -> bool {
        columns > 1 && self.record.len() == 1 && self.record[0].trim().is_empty()
    }

    /// The error of the current record.
    fn wrong(&self, builder: &Builder<'_>, message: String) -> TableError {
        let line = self.record.position().map_or(0, csv::Position::line);
        self.wrong_at(builder, line, message)
    }

    fn wrong_at(&self, builder: &Builder<'_>, line: u64, message: String) -> TableError {
        TableError::Row { path: builder.path.clone(), row: self.count - 1, line, message }
    }
}
