//! Labels from parquet files.

use std::path::Path;

use polars::prelude::{Column, DataFrame, DataType, ParquetReader, PolarsError, SerReader};

use super::super::builder::Cell;
use super::super::{Format, TableError, frame, open};
use super::{BadRow, LabelRow, Part, pick};

/// So many rows are decoded at once.
const SLICE: usize = 1 << 18;

pub(super) fn read(
    path: &Path,
    visit: &mut dyn FnMut(Result<LabelRow, BadRow>),
) -> Result<(), TableError> {
    let unreadable = |source: PolarsError| TableError::Unreadable {
        path: path.to_owned(),
        format: Format::Parquet.as_str(),
        source,
    };
    let mut reader = ParquetReader::new(open(path)?);
    let schema = reader.schema().map_err(unreadable)?;
    let metadata = reader.get_metadata().map_err(unreadable)?.clone();
    let names: Vec<String> = schema.iter_names().map(|name| name.to_string()).collect();
    let parts = pick(&names, path)?;
    let mut needed = Vec::new();
    for (index, part) in parts {
        let name = names[index].clone();
        if let Some(field) = schema.get(name.as_str())
            && !frame::is_supported(field.dtype())
        {
            let found = format!("{:?}", field.dtype());
            return Err(TableError::ColumnType { path: path.to_owned(), column: name, found });
        }
        needed.push((name, part));
    }
    let columns: Vec<String> = needed.iter().map(|(name, _)| name.clone()).collect();
    for start in (0..metadata.num_rows).step_by(SLICE) {
        let mut reader = ParquetReader::new(open(path)?)
            .with_columns(Some(columns.clone()))
            .with_slice(Some((start, SLICE)));
        reader.set_metadata(metadata.clone());
        let rows = reader.finish().map_err(unreadable)?;
        for row in read_rows(&rows, start, &needed).map_err(unreadable)? {
            visit(row);
        }
    }
    Ok(())
}

fn read_rows(
    rows: &DataFrame,
    start: usize,
    needed: &[(String, Part)],
) -> Result<Vec<Result<LabelRow, BadRow>>, PolarsError> {
    let empty = |offset| Ok(LabelRow { row: start + offset + 1, ..LabelRow::default() });
    let mut read: Vec<Result<LabelRow, BadRow>> = (0..rows.height()).map(empty).collect();
    for (name, part) in needed {
        let column = rows.column(name)?;
        let is_text = part.is_name() || !is_number(column);
        let cast = column.cast(if is_text { &DataType::String } else { &DataType::Float64 })?;
        if part.is_name() {
            for (row, name) in read.iter_mut().zip(cast.str()?.iter()) {
                if let Ok(row) = row {
                    row.set_name(*part, name);
                }
            }
        } else if is_text {
            let cells = cast.str()?.iter().map(|text| text.map_or(Cell::Missing, Cell::Text));
            set_labels(&mut read, *part, cells);
        } else {
            let cells = cast.f64()?.iter().map(|cell| cell.map_or(Cell::Missing, Cell::Number));
            set_labels(&mut read, *part, cells);
        }
    }
    Ok(read)
}

fn is_number(column: &Column) -> bool {
    let dtype = column.dtype();
    dtype.is_primitive_numeric() || dtype.is_bool() || dtype.is_null()
}

fn set_labels<'a>(
    rows: &mut [Result<LabelRow, BadRow>],
    part: Part,
    cells: impl Iterator<Item = Cell<'a>>,
) {
    for (row, cell) in rows.iter_mut().zip(cells) {
        if let Ok(found) = row
            && let Err(bad) = found.set_label(part, cell)
        {
            *row = Err(bad);
        }
    }
}
