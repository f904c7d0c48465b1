//! Parquet files, a slice of rows at a time.

use polars::prelude::{ParquetReader, PolarsError, SerReader};

use super::builder::Builder;
use super::{Format, TableError, frame, open};

/// So many rows are decoded at once: bounds the memory beside the table itself.
const SLICE: usize = 1 << 18;

pub(super) fn read(builder: &mut Builder) -> Result<(), TableError> {
    let path = builder.path.clone();
    let unreadable = move |source: PolarsError| TableError::Unreadable {
        path: path.clone(),
        format: Format::Parquet.as_str(),
        source,
    };

    let mut reader = ParquetReader::new(open(&builder.path)?);
    let schema = reader.schema().map_err(&unreadable)?;
    let metadata = reader.get_metadata().map_err(&unreadable)?.clone();
    let needed = builder.set_columns(schema.iter_names().map(|name| name.to_string()))?;
    for (name, _) in &needed {
        if let Some(field) = schema.get(name.as_str())
            && !frame::is_supported(field.dtype())
        {
            return Err(frame::unsupported(builder, name, format!("{:?}", field.dtype())));
        }
    }

    let names: Vec<String> = needed.iter().map(|(name, _)| name.clone()).collect();
    for start in (0..metadata.num_rows).step_by(SLICE) {
        let mut reader = ParquetReader::new(open(&builder.path)?)
            .with_columns(Some(names.clone()))
            .with_slice(Some((start, SLICE)));
        reader.set_metadata(metadata.clone());
        let rows = reader.finish().map_err(&unreadable)?;
        frame::append(builder, &rows, &needed, &unreadable)?;
    }
    Ok(())
}
