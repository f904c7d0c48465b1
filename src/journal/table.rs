//! Records as a table: what becomes of a day's lines when room is needed.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use polars::prelude::{Column, DataFrame, ParquetReader, PolarsError, SerReader};

use super::error::{JournalError, reading};
use super::{Record, RecordedAnswer, Sampled, Shadow};
use crate::features::Conversation;
use crate::model::opinion::{TIME_LEVELS, TimeQuantiles};
use crate::subnet::schema::FEATURES;

/// So many records are one group of rows, and in memory at once.
pub(super) const GROUP_RECORDS: usize = 1 << 13;

/// The name of the column of a quantile of the time: `time_seconds_p05`.
fn quantile_name(level: f64) -> String {
    format!("time_seconds_p{:02.0}", level * 100.0)
}

/// Records as columns; the order is that of the fields of [`Record`].
pub(super) fn frame(records: &[Record]) -> Result<DataFrame, PolarsError> {
    macro_rules! column {
        ($name:expr, $of:expr) => {
            Column::new($name.into(), records.iter().map($of).collect::<Vec<_>>())
        };
    }
    let mut columns = vec![
        column!("time_ns", |record: &Record| record.time_ns),
        column!("validator", |record: &Record| record.validator.as_str()),
        column!("nonce", |record: &Record| record.nonce),
        column!("session_id", |record: &Record| record.session_id.as_deref()),
        column!("test_pk", |record: &Record| record.test_pk.as_deref()),
    ];
    for (index, feature) in FEATURES.iter().enumerate() {
        columns.push(column!(feature.name, |record: &Record| {
            Some(record.features.values[index]).filter(|value| value.is_finite())
        }));
    }
    columns.extend([
        column!("coverage", |record: &Record| record.coverage),
        column!("raw_probability", |record: &Record| record.raw_probability),
        column!("calibrated", |record: &Record| record.calibrated),
        column!("answer_converted", |record: &Record| record.answer.converted),
        column!("answer_time_seconds", |record: &Record| record.answer.time_seconds),
        column!("answer_confidence", |record: &Record| record.answer.confidence),
    ]);
    for (index, level) in TIME_LEVELS.into_iter().enumerate() {
        columns.push(column!(quantile_name(level), |record: &Record| {
            record.time_quantiles.map(|quantiles| quantiles[index])
        }));
    }
    let shadow = |record: &Record| record.shadow.as_ref().map(|shadow| shadow.answer);
    columns.extend([
        column!("model", |record: &Record| record.model.as_str()),
        column!("checkpoint", |record: &Record| record.checkpoint.as_str()),
        column!("response_time_seconds", |record: &Record| record.response_time_seconds),
        column!("sampled", |record: &Record| record.sampled.as_str()),
        column!("shadow_checkpoint", |record: &Record| {
            record.shadow.as_ref().map(|shadow| shadow.checkpoint.as_str())
        }),
        column!("shadow_converted", |record: &Record| shadow(record).map(|it| it.converted)),
        column!("shadow_time_seconds", |record: &Record| shadow(record).map(|it| it.time_seconds)),
        column!("shadow_confidence", |record: &Record| shadow(record).map(|it| it.confidence)),
    ]);
    DataFrame::new(records.len(), columns)
}

/// How many records a table says that it holds.
///
/// # Errors
///
/// If it cannot be opened, or is no table.
pub(super) fn count(path: &Path) -> Result<u64, JournalError> {
    let file = File::open(path).map_err(reading(path))?;
    let rows = guarded(|| ParquetReader::new(file).num_rows());
    rows.map(|rows| rows as u64).map_err(damaged(path))
}

/// Shows every record of a table, in its order.
///
/// # Errors
///
/// If it cannot be opened, is no table of records, or is damaged; what came before was shown.
pub(super) fn read(path: &Path, visit: &mut dyn FnMut(Record)) -> Result<(), JournalError> {
    let rows = usize::try_from(count(path)?).unwrap_or(usize::MAX);
    for start in (0..rows).step_by(GROUP_RECORDS) {
        let file = File::open(path).map_err(reading(path))?;
        let slice = Some((start, GROUP_RECORDS));
        let group = guarded(|| ParquetReader::new(file).with_slice(slice).finish());
        let group = group.map_err(damaged(path))?;
        let columns = Columns::of(&group).map_err(damaged(path))?;
        for index in 0..group.height() {
            let record = columns.record(index).map_err(|found| JournalError::Row {
                path: path.to_owned(),
                row: start + index + 1,
                found,
            })?;
            visit(record);
        }
    }
    Ok(())
}

/// Makes an error of what polars says of the table at `path`.
pub(super) fn damaged(path: &Path) -> impl Fn(PolarsError) -> JournalError {
    move |source| JournalError::Table { path: path.to_owned(), source }
}

/// Polars ends in a panic on some damage.
fn guarded<T>(read: impl FnOnce() -> Result<T, PolarsError>) -> Result<T, PolarsError> {
    catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err(PolarsError::ComputeError("to read it ended in a panic".into())))
}

type Text<'a> = &'a polars::prelude::StringChunked;
type Floats<'a> = &'a polars::prelude::Float64Chunked;

/// The columns of a table of records.
struct Columns<'a> {
    time_ns: &'a polars::prelude::UInt64Chunked,
    validator: Text<'a>,
    nonce: &'a polars::prelude::UInt64Chunked,
    session_id: Text<'a>,
    test_pk: Text<'a>,
    features: Vec<&'a polars::prelude::Float32Chunked>,
    coverage: Floats<'a>,
    raw_probability: Floats<'a>,
    calibrated: Floats<'a>,
    answer: AnswerColumns<'a>,
    time_quantiles: Vec<Floats<'a>>,
    model: Text<'a>,
    checkpoint: Text<'a>,
    response_time_seconds: Floats<'a>,
    sampled: Text<'a>,
    shadow_checkpoint: Text<'a>,
    shadow: AnswerColumns<'a>,
}

/// The columns of an answer, all of them null where there is none.
struct AnswerColumns<'a> {
    converted: &'a polars::prelude::BooleanChunked,
    time_seconds: Floats<'a>,
    confidence: Floats<'a>,
}

impl<'a> Columns<'a> {
    fn of(frame: &'a DataFrame) -> Result<Columns<'a>, PolarsError> {
        let text = |name: &str| frame.column(name)?.str();
        let float = |name: &str| frame.column(name)?.f64();
        let answer = |name: &str| {
            Ok::<_, PolarsError>(AnswerColumns {
                converted: frame.column(&format!("{name}_converted"))?.bool()?,
                time_seconds: float(&format!("{name}_time_seconds"))?,
                confidence: float(&format!("{name}_confidence"))?,
            })
        };
        let features = FEATURES.iter().map(|feature| frame.column(feature.name)?.f32());
        let quantiles = TIME_LEVELS.iter().map(|level| float(&quantile_name(*level)));
        Ok(Columns {
            time_ns: frame.column("time_ns")?.u64()?,
            validator: text("validator")?,
            nonce: frame.column("nonce")?.u64()?,
            session_id: text("session_id")?,
            test_pk: text("test_pk")?,
            features: features.collect::<Result<_, _>>()?,
            coverage: float("coverage")?,
            raw_probability: float("raw_probability")?,
            calibrated: float("calibrated")?,
            answer: answer("answer")?,
            time_quantiles: quantiles.collect::<Result<_, _>>()?,
            model: text("model")?,
            checkpoint: text("checkpoint")?,
            response_time_seconds: float("response_time_seconds")?,
            sampled: text("sampled")?,
            shadow_checkpoint: text("shadow_checkpoint")?,
            shadow: answer("shadow")?,
        })
    }

    /// The record of a row, or else what the row has instead.
    fn record(&self, row: usize) -> Result<Record, String> {
        let needed = |name: &str| format!("no {name}");
        let owned = |column: Text<'_>| column.get(row).map(str::to_owned);
        let name = |column: Text<'_>, what: &str| owned(column).ok_or_else(|| needed(what));
        let number = |column: Floats<'_>, what: &str| column.get(row).ok_or_else(|| needed(what));
        let mut features = Conversation::EMPTY;
        for (value, column) in features.values.iter_mut().zip(&self.features) {
            *value = column.get(row).unwrap_or(f32::NAN);
        }
        let sampled = name(self.sampled, "reason")?;
        let shadow = owned(self.shadow_checkpoint).zip(self.shadow.answer(row));
        Ok(Record {
            time_ns: self.time_ns.get(row).ok_or_else(|| needed("time"))?,
            validator: name(self.validator, "validator")?,
            nonce: self.nonce.get(row).ok_or_else(|| needed("nonce"))?,
            session_id: owned(self.session_id),
            test_pk: owned(self.test_pk),
            features,
            coverage: number(self.coverage, "coverage")?,
            raw_probability: self.raw_probability.get(row),
            calibrated: self.calibrated.get(row),
            answer: self.answer.answer(row).ok_or_else(|| needed("answer"))?,
            time_quantiles: self.quantiles(row),
            model: name(self.model, "model")?,
            checkpoint: name(self.checkpoint, "checkpoint")?,
            response_time_seconds: number(self.response_time_seconds, "response time")?,
            sampled: Sampled::parse(&sampled)
                .ok_or_else(|| format!("the reason `{sampled}`, which is none"))?,
            shadow: shadow.map(|(checkpoint, answer)| Shadow { checkpoint, answer }),
        })
    }

    fn quantiles(&self, row: usize) -> Option<TimeQuantiles> {
        let mut quantiles = TimeQuantiles::default();
        for (quantile, column) in quantiles.iter_mut().zip(&self.time_quantiles) {
            *quantile = column.get(row)?;
        }
        Some(quantiles)
    }
}

impl AnswerColumns<'_> {
    fn answer(&self, row: usize) -> Option<RecordedAnswer> {
        Some(RecordedAnswer {
            converted: self.converted.get(row)?,
            time_seconds: self.time_seconds.get(row)?,
            confidence: self.confidence.get(row)?,
        })
    }
}
