//! Parquet files, a slice of a row group at a time.
//!
//! Polars has a lazy engine that streams, whose compilation costs minutes; what it would do here is
//! this: read the needed columns of one row group after the other. A group of moderate size is
//! decoded at once. Of a larger one only the pages of a slice are decoded, for polars passes over
//! the others by their headers. The file's metadata is cut down to the group in question: polars
//! would otherwise look into each column of every group before it, for every slice.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;

use polars::prelude::{DataFrame, ParquetReader, PolarsError, SerReader};

use super::builder::{Builder, Halt};
use super::{Format, TableError, frame, open};

/// So many rows are decoded at once, at most: bounds the memory beside the chunks.
const SLICE: usize = 1 << 17;

pub(super) fn read(builder: &mut Builder<'_>) -> Result<(), Halt> {
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
            return Err(frame::unsupported(builder, name, format!("{:?}", field.dtype())).into());
        }
    }

    let names: Vec<String> = needed.iter().map(|(name, _)| name.clone()).collect();
    let most = builder.chunk_rows().min(SLICE);
    let path = builder.path.clone();
    let mut rest = metadata.as_ref().clone();
    let groups = std::mem::take(&mut rest.row_groups);
    let decode = |group: usize, slice: Range<usize>| -> Result<DataFrame, TableError> {
        let mut only = rest.clone();
        only.num_rows = groups[group].num_rows();
        only.row_groups = vec![groups[group].clone()];
        let mut reader = ParquetReader::new(open(&path)?)
            .with_columns(Some(names.clone()))
            .with_slice(Some((slice.start, slice.len())));
        reader.set_metadata(Arc::new(only));
        reader.finish().map_err(&unreadable)
    };
    // One slice is decoded ahead, while the one before becomes conversations.
    thread::scope(|scope| {
        let (sender, receiver) = sync_channel(0);
        let (decode, groups) = (&decode, &groups);
        scope.spawn(move || {
            for (group, metadata) in groups.iter().enumerate() {
                for slice in slices(metadata.num_rows(), most) {
                    // Nobody listens any more after an error.
                    if sender.send(decode(group, slice)).is_err() {
                        return;
                    }
                }
            }
        });
        for rows in receiver {
            frame::append(builder, &rows?, &needed, &unreadable)?;
            builder.hand_over()?;
        }
        Ok(())
    })
}

/// So many rows in as few parts of nearly the same size as have at most `most` each.
fn slices(rows: usize, most: usize) -> impl Iterator<Item = Range<usize>> {
    let parts = rows.div_ceil(most);
    (0..parts).map(move |part| part * rows / parts..(part + 1) * rows / parts)
}

/// How many rows the file says it has.
pub(super) fn count(path: &Path) -> Result<usize, TableError> {
    ParquetReader::new(open(path)?).num_rows().map_err(|source| TableError::Unreadable {
        path: path.to_owned(),
        format: Format::Parquet.as_str(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_of_a_size_and_whole() {
        let of = |rows, most| slices(rows, most).collect::<Vec<_>>();
        assert!(of(0, 4).is_empty());
        assert_eq!(of(4, 4), vec![0..4; 1]);
        assert_eq!(of(10, 4), [0..3, 3..6, 6..10]);
    }
}
