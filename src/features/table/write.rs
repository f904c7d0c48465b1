//! Writes made-up conversations as a table, in the column order of the public training CSV.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use polars::io::parquet::write::BatchedWriter;
use polars::prelude::{
    Column, CsvWriter, DataFrame, ParquetWriter, PolarsError, Schema, SerWriter,
};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{Format, TableError};
use crate::files::{sync_parent, temporary_name};
use crate::subnet::challenge::Example;
use crate::subnet::reward::NOT_CONVERTED;
use crate::subnet::schema::{
    FEATURES, Kind, LABEL_CONVERTED, LABEL_TIME_MINUTES, LABEL_TIME_SECONDS, SESSION_ID,
};

/// Writes a table of [`Example`]s, piece by piece.
///
/// The file gets its name in [`ExampleWriter::finish`]; if that is never reached, nothing is left
/// behind. Counts and flags are written as integers, the rest as floats; a missing cell is null.
pub struct ExampleWriter {
    path: PathBuf,
    temporary: PathBuf,
    /// None once finished.
    sink: Option<Sink>,
}

enum Sink {
    Parquet(Box<BatchedWriter<File>>),
    Csv { file: File, header: bool },
    NdJson(BufWriter<File>),
}

impl ExampleWriter {
    /// Begins a table that will be `path`, whose extension says its format.
    pub fn create(path: &Path) -> Result<ExampleWriter, TableError> {
        let format = Format::of(path)?;
        let temporary = temporary_name(path);
        let file = File::create(&temporary)
            .map_err(|source| TableError::Write { path: path.to_owned(), source })?;
        // From here on the temporary file is removed on every way out.
        let mut writer = ExampleWriter { path: path.to_owned(), temporary, sink: None };
        writer.sink = Some(match format {
            Format::Parquet => {
                let schema = schema().map_err(|source| writer.encode(format, source))?;
                let batched = ParquetWriter::new(file).batched(&schema);
                Sink::Parquet(Box::new(batched.map_err(|source| writer.encode(format, source))?))
            }
            Format::Csv => Sink::Csv { file, header: true },
            Format::NdJson => Sink::NdJson(BufWriter::with_capacity(1 << 20, file)),
        });
        Ok(writer)
    }

    /// Adds rows. In a parquet file, those of one call are one row group.
    pub fn write(&mut self, examples: &[Example]) -> Result<(), TableError> {
        let written = match self.sink.as_mut() {
            Some(Sink::Parquet(writer)) => {
                frame(examples).and_then(|rows| writer.write_batch(&rows)).map_err(Ok)
            }
            Some(Sink::Csv { file, header }) => {
                let with_header = std::mem::take(header);
                frame(examples)
                    .and_then(|mut rows| {
                        CsvWriter::new(file).include_header(with_header).finish(&mut rows)
                    })
                    .map_err(Ok)
            }
            Some(Sink::NdJson(output)) => write_lines(output, examples).map_err(Err),
            None => Ok(()),
        };
        written.map_err(|error| self.failure(error))
    }

    /// Completes the table and gives it its name.
    pub fn finish(mut self) -> Result<(), TableError> {
        let Some(sink) = self.sink.take() else { return Ok(()) };
        let flushed = match sink {
            Sink::Parquet(writer) => writer.finish().map(drop).map_err(Ok),
            Sink::Csv { .. } => Ok(()),
            Sink::NdJson(mut output) => output.flush().map_err(Err),
        };
        flushed.map_err(|error| self.failure(error))?;
        let named = File::open(&self.temporary)
            .and_then(|file| file.sync_all())
            .and_then(|()| fs::rename(&self.temporary, &self.path))
            .and_then(|()| sync_parent(&self.path));
        named.map_err(|error| self.failure(Err(error)))
    }

    fn failure(&self, error: Result<PolarsError, io::Error>) -> TableError {
        match error {
            Ok(source) => TableError::Encode {
                path: self.path.clone(),
                format: Format::of(&self.path).map_or("a table", Format::as_str),
                source,
            },
            Err(source) => TableError::Write { path: self.path.clone(), source },
        }
    }

    fn encode(&self, format: Format, source: PolarsError) -> TableError {
        TableError::Encode { path: self.path.clone(), format: format.as_str(), source }
    }
}

impl Drop for ExampleWriter {
    fn drop(&mut self) {
        // After a rename there is nothing of this name; before it, it is of no use to anybody.
        let _ = fs::remove_file(&self.temporary);
    }
}

/// The label's minutes, rounded as a validator rounds the duration's.
fn time_minutes(example: &Example) -> f64 {
    if example.truth.converted {
        (example.truth.time_seconds / 60.0 * 1e4).round() / 1e4
    } else {
        NOT_CONVERTED
    }
}

fn schema() -> Result<Schema, PolarsError> {
    frame(&[]).map(|rows| rows.schema().as_ref().clone())
}

fn frame(examples: &[Example]) -> Result<DataFrame, PolarsError> {
    let ids: Vec<&str> = examples.iter().map(|example| example.session_id.as_str()).collect();
    let mut columns = vec![Column::new(SESSION_ID.name.into(), ids)];
    for (index, feature) in FEATURES.iter().enumerate() {
        let cells = examples
            .iter()
            .map(|example| Some(example.features[index]).filter(|value| !value.is_nan()));
        columns.push(match feature.kind {
            Kind::Float => Column::new(feature.name.into(), cells.collect::<Vec<Option<f64>>>()),
            Kind::Int | Kind::Flag => {
                let cells = cells.map(|cell| cell.map(|value| value as i64));
                Column::new(feature.name.into(), cells.collect::<Vec<Option<i64>>>())
            }
        });
    }
    let classes: Vec<i64> = examples.iter().map(|e| i64::from(e.truth.converted)).collect();
    let seconds: Vec<f64> = examples.iter().map(|e| e.truth.time_seconds).collect();
    let minutes: Vec<f64> = examples.iter().map(time_minutes).collect();
    columns.push(Column::new(LABEL_CONVERTED.name.into(), classes));
    columns.push(Column::new(LABEL_TIME_SECONDS.name.into(), seconds));
    columns.push(Column::new(LABEL_TIME_MINUTES.name.into(), minutes));
    DataFrame::new(examples.len(), columns)
}

fn write_lines(output: &mut impl Write, examples: &[Example]) -> io::Result<()> {
    for example in examples {
        serde_json::to_writer(&mut *output, &Row(example))?;
        output.write_all(b"\n")?;
    }
    Ok(())
}

/// An example as a JSON object.
struct Row<'a>(&'a Example);

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let example = self.0;
        let mut map = serializer.serialize_map(Some(FEATURES.len() + 4))?;
        map.serialize_entry(SESSION_ID.name, &example.session_id)?;
        for (feature, value) in FEATURES.iter().zip(example.features) {
            match feature.kind {
                _ if value.is_nan() => map.serialize_entry(feature.name, &())?,
                Kind::Float => map.serialize_entry(feature.name, &value)?,
                Kind::Int | Kind::Flag => map.serialize_entry(feature.name, &(value as i64))?,
            }
        }
        map.serialize_entry(LABEL_CONVERTED.name, &u8::from(example.truth.converted))?;
        map.serialize_entry(LABEL_TIME_SECONDS.name, &example.truth.time_seconds)?;
        map.serialize_entry(LABEL_TIME_MINUTES.name, &time_minutes(example))?;
        map.end()
    }
}
