//! Labels from CSV files.

use std::path::Path;

use csv::{ErrorKind, ReaderBuilder, StringRecord};

use super::super::builder::Cell;
use super::super::{TableError, open};
use super::{BadRow, LabelRow, Part, pick};

pub(super) fn read(
    path: &Path,
    visit: &mut dyn FnMut(Result<LabelRow, BadRow>),
) -> Result<(), TableError> {
    // Unequal rows are told apart here, where they can be passed over.
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .buffer_capacity(1 << 20)
        .from_reader(open(path)?);
    let mut record = StringRecord::new();
    let mut columns: Option<(usize, Vec<(usize, Part)>)> = None;
    for row in 0.. {
        match reader.read_record(&mut record) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => match error.into_kind() {
                ErrorKind::Io(source) => {
                    return Err(TableError::Read { path: path.to_owned(), source });
                }
                _ => {
                    let reason = "expected UTF-8, but there are other bytes".to_owned();
                    visit(Err(BadRow { row, reason }));
                    continue;
                }
            },
        }
        match &columns {
            None => {
                let names: Vec<String> = record.iter().map(str::to_owned).collect();
                columns = Some((names.len(), pick(&names, path)?));
            }
            Some((count, parts)) => visit(read_row(row, *count, parts, &record)),
        }
    }
    Ok(())
}

fn read_row(
    row: usize,
    columns: usize,
    parts: &[(usize, Part)],
    record: &StringRecord,
) -> Result<LabelRow, BadRow> {
    if record.len() != columns {
        let found = record.len();
        let reason =
            format!("expected {columns} cells, as many as the header has, but there are {found}");
        return Err(BadRow { row, reason });
    }
    let mut read = LabelRow { row, ..LabelRow::default() };
    for (index, part) in parts {
        let text = record.get(*index).unwrap_or_default();
        if part.is_name() {
            read.set_name(*part, Some(text));
        } else {
            read.set_label(*part, Cell::Text(text))?;
        }
    }
    Ok(read)
}
