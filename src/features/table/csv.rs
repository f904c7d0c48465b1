//! CSV files.

use std::fs::File;
use std::sync::Arc;

use polars::prelude::{
    CsvReadOptions, DataFrame, DataType, Field, PlSmallStr, PolarsError, Schema, SchemaRef,
    SerReader,
};

use super::builder::Builder;
use super::columns::Role;
use super::{Format, TableError, frame, open};

/// Types are not guessed: features are numbers, the rest is text. Where a feature has a value that
/// is no number, everything is read as text, which takes longer but can say where.
pub(super) fn read(builder: &mut Builder) -> Result<(), TableError> {
    let path = builder.path.clone();
    let unreadable = move |source: PolarsError| match source {
        // A file of blank lines.
        PolarsError::NoData(_) => TableError::NoRows { path: path.clone() },
        source => {
            TableError::Unreadable { path: path.clone(), format: Format::Csv.as_str(), source }
        }
    };

    let header = parse(open(&builder.path)?, text().with_n_rows(Some(0))).map_err(&unreadable)?;
    let names = header.get_column_names_owned();
    let needed = builder.set_columns(names.iter().map(|name| name.to_string()))?;
    let columns: Arc<[PlSmallStr]> =
        needed.iter().map(|(name, _)| PlSmallStr::from_str(name)).collect();
    let options = text().with_columns(Some(columns));

    let numbers = options.clone().with_schema_overwrite(Some(numeric_features(&needed)));
    let rows = match parse(open(&builder.path)?, numbers) {
        Ok(rows) => rows,
        Err(_) => parse(open(&builder.path)?, options).map_err(&unreadable)?,
    };
    let rows = without_blank_lines(rows).map_err(&unreadable)?;
    frame::append(builder, &rows, &needed, &unreadable)
}

/// Leaves out the rows with nothing in them, which polars makes of blank lines.
fn without_blank_lines(rows: DataFrame) -> Result<DataFrame, PolarsError> {
    let columns = rows.columns().iter().map(|column| column.is_not_null());
    match columns.reduce(|left, right| left | right) {
        Some(known) if !known.all() => rows.filter(&known),
        _ => Ok(rows),
    }
}

fn parse(file: File, options: CsvReadOptions) -> Result<DataFrame, PolarsError> {
    options.into_reader_with_file_handle(file).finish()
}

/// Everything as text.
fn text() -> CsvReadOptions {
    CsvReadOptions::default().with_has_header(true).with_infer_schema_length(Some(0))
}

fn numeric_features(needed: &[(String, Role)]) -> SchemaRef {
    let features = needed.iter().filter(|(_, role)| matches!(role, Role::Feature(_)));
    Arc::new(Schema::from_iter(
        features.map(|(name, _)| Field::new(PlSmallStr::from_str(name), DataType::Float64)),
    ))
}
