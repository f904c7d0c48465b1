//! A sample of the rows that a checkpoint was trained on: what inputs then looked like, and what must
//! not be forgotten by who learns on.

use std::io::Cursor;
use std::path::Path;

use polars::prelude::{
    Column, DataFrame, DataType, ParquetReader, ParquetWriter, PolarsError, SerReader as _,
};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::{CheckpointError, Result, SAMPLE, read_lasting, read_manifest};
use crate::features::Conversation;
use crate::subnet::reward::{NOT_CONVERTED, Truth};
use crate::subnet::schema::{FEATURES, LABEL_CONVERTED, LABEL_TIME_SECONDS};

/// Rows of a sample at most: enough to know how inputs lie, few enough to lie beside the weights.
pub const MOST_SAMPLE_ROWS: usize = 1500;

/// Some of the rows that a checkpoint was trained on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TrainingSample {
    /// The conversations.
    pub conversations: Vec<Conversation>,
    /// What became of each; the time is NaN where it is not known.
    pub truths: Vec<Truth>,
}

impl TrainingSample {
    /// Draws so many of the rows with these numbers, with each class in its share, or takes all of
    /// them if there are not more. They stay in order.
    pub fn draw(
        conversations: &[Conversation],
        truths: &[Truth],
        rows: &[usize],
        most: usize,
        seed: u64,
    ) -> TrainingSample {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let most = rows.len().min(most);
        let mut drawn = Vec::with_capacity(most);
        for class in [true, false] {
            let mut of: Vec<usize> =
                rows.iter().copied().filter(|row| truths[*row].converted == class).collect();
            let share = of.len() as f64 / rows.len().max(1) as f64 * most as f64;
            // However rare a class is, it is there.
            let within = 1..=most.saturating_sub(1).max(1);
            let share = (share.round() as usize).clamp(*within.start(), *within.end());
            let wanted = if class { share } else { most - drawn.len() };
            of.shuffle(&mut random);
            drawn.extend(of.into_iter().take(wanted.min(most - drawn.len())));
        }
        drawn.sort_unstable();
        TrainingSample {
            conversations: drawn.iter().map(|row| conversations[*row].clone()).collect(),
            truths: drawn.iter().map(|row| truths[*row]).collect(),
        }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.truths.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.truths.is_empty()
    }

    /// As a parquet file with the columns of a training table.
    pub(super) fn encode(&self) -> std::result::Result<Vec<u8>, PolarsError> {
        let mut columns = Vec::with_capacity(FEATURES.len() + 2);
        for (index, feature) in FEATURES.iter().enumerate() {
            let cell = |row: &Conversation| Some(row.values[index]).filter(|it| it.is_finite());
            let cells: Vec<Option<f32>> = self.conversations.iter().map(cell).collect();
            columns.push(Column::new(feature.name.into(), cells));
        }
        let classes: Vec<i32> =
            self.truths.iter().map(|truth| i32::from(truth.converted)).collect();
        columns.push(Column::new(LABEL_CONVERTED.name.into(), classes));
        let time = |truth: &Truth| Some(truth.time_seconds).filter(|it| it.is_finite());
        let times: Vec<Option<f64>> = self.truths.iter().map(time).collect();
        columns.push(Column::new(LABEL_TIME_SECONDS.name.into(), times));
        let mut bytes = Vec::new();
        let mut frame = DataFrame::new(self.len(), columns)?;
        ParquetWriter::new(&mut bytes).finish(&mut frame)?;
        Ok(bytes)
    }

    fn decode(bytes: Vec<u8>) -> std::result::Result<TrainingSample, PolarsError> {
        let frame = ParquetReader::new(Cursor::new(bytes)).finish()?;
        let mut conversations = vec![Conversation::EMPTY; frame.height()];
        for (index, feature) in FEATURES.iter().enumerate() {
            let column = frame.column(feature.name)?.cast(&DataType::Float32)?;
            for (row, value) in conversations.iter_mut().zip(column.f32()?.iter()) {
                row.values[index] = value.unwrap_or(f32::NAN);
            }
        }
        let classes = frame.column(LABEL_CONVERTED.name)?.cast(&DataType::Int32)?;
        let times = frame.column(LABEL_TIME_SECONDS.name)?.cast(&DataType::Float64)?;
        let truths = classes.i32()?.iter().zip(times.f64()?.iter()).map(|(class, time)| {
            let converted = class == Some(1);
            let unknown = if converted { f64::NAN } else { NOT_CONVERTED };
            Truth { converted, time_seconds: time.unwrap_or(unknown) }
        });
        let truths = truths.collect();
        Ok(TrainingSample { conversations, truths })
    }
}

/// The sample of the rows that a checkpoint was trained on; none in a checkpoint of before there were
/// samples.
///
/// # Errors
///
/// If it is no checkpoint of this program, or the sample is not the one that training left.
pub fn read_sample(path: &Path) -> Result<Option<TrainingSample>> {
    let manifest = read_manifest(path)?;
    if !manifest.files.contains_key(SAMPLE) {
        return Ok(None);
    }
    let bytes = read_lasting(path, SAMPLE, &manifest)?;
    let damaged = |error: PolarsError| CheckpointError::Damaged {
        path: path.join(SAMPLE),
        reason: error.to_string(),
    };
    TrainingSample::decode(bytes).map(Some).map_err(damaged)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(count: usize, converted: impl Fn(usize) -> bool) -> (Vec<Conversation>, Vec<Truth>) {
        let row = |index: usize| {
            let mut conversation = Conversation::EMPTY;
            conversation.set(0, index as f64 + 0.25);
            let yes = Truth::converted_after(30.0 + index as f64 / 3.0);
            (conversation, if converted(index) { yes } else { Truth::not_converted() })
        };
        (0..count).map(row).unzip()
    }

    #[test]
    fn classes_keep_their_shares_and_rows_their_order() {
        let (conversations, truths) = rows(6000, |row| row % 4 == 0);
        let all: Vec<usize> = (0..6000).collect();
        let drawn = TrainingSample::draw(&conversations, &truths, &all, MOST_SAMPLE_ROWS, 3);
        assert_eq!(drawn.len(), MOST_SAMPLE_ROWS);
        assert_eq!(drawn.truths.iter().filter(|truth| truth.converted).count(), 375);
        let numbers: Vec<f32> = drawn.conversations.iter().map(|row| row.values[0]).collect();
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]));
        let bytes = |seed| {
            TrainingSample::draw(&conversations, &truths, &all, MOST_SAMPLE_ROWS, seed)
                .encode()
                .unwrap()
        };
        assert_eq!(bytes(3), bytes(3));
        assert_ne!(bytes(3), bytes(4));
        // One of six thousand is there, and of few rows all are.
        let (conversations, truths) = rows(6000, |row| row == 77);
        let drawn = TrainingSample::draw(&conversations, &truths, &all, MOST_SAMPLE_ROWS, 3);
        assert_eq!(drawn.truths.iter().filter(|truth| truth.converted).count(), 1);
        assert_eq!(TrainingSample::draw(&conversations, &truths, &all[70..80], 500, 3).len(), 10);
        assert!(TrainingSample::draw(&[], &[], &[], 9, 3).is_empty());
    }

    #[test]
    fn a_file_and_back() {
        let (conversations, mut truths) = rows(50, |row| row % 2 == 0);
        truths[4] = Truth::converted_after(f64::NAN);
        let sample = TrainingSample { conversations, truths };
        let read = TrainingSample::decode(sample.encode().unwrap()).unwrap();
        // NaN is not equal to itself.
        assert_eq!(format!("{read:?}"), format!("{sample:?}"));
        assert!(TrainingSample::decode(b"PAR1".to_vec()).is_err());
    }
}
