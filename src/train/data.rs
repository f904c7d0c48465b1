//! The rows of a run: scaled, and what there is to learn of them.

use crate::features::Conversation;
use crate::features::engineer::INPUT_COUNT;
use crate::features::scaler::Scaler;
use crate::model::decision::TIME_RANGE_SECONDS;
use crate::subnet::reward::Truth;

/// Some rows of a table, scaled.
#[derive(Debug, Clone, Default)]
pub(super) struct Part {
    /// `[rows, INPUT_COUNT]`, row-major
    pub(super) inputs: Vec<f32>,
    pub(super) truths: Vec<Truth>,
}

impl Part {
    /// Scales conversations.
    pub(super) fn new(scaler: &Scaler, conversations: &[Conversation], truths: &[Truth]) -> Part {
        Part {
            inputs: scaler.rows(conversations),
            truths: truths.iter().map(|truth| within_answers(*truth)).collect(),
        }
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.truths.len()
    }

    /// These rows and then those of another.
    pub(super) fn joined(&self, other: &Part) -> Part {
        Part {
            inputs: [self.inputs.as_slice(), &other.inputs].concat(),
            truths: [self.truths.as_slice(), &other.truths].concat(),
        }
    }

    /// The rows with these numbers.
    pub(super) fn select(&self, rows: &[usize]) -> Part {
        Part {
            inputs: rows.iter().flat_map(|row| self.row(*row)).copied().collect(),
            truths: rows.iter().map(|row| self.truths[*row]).collect(),
        }
    }

    fn row(&self, row: usize) -> &[f32] {
        &self.inputs[row * INPUT_COUNT..(row + 1) * INPUT_COUNT]
    }

    /// The rows that converted after a known time.
    pub(super) fn converted(&self) -> Part {
        let rows: Vec<usize> =
            (0..self.truths.len()).filter(|row| has_time(&self.truths[*row])).collect();
        self.select(&rows)
    }

    /// The seconds of the rows that converted after a known time.
    pub(super) fn converted_times(&self) -> Vec<f64> {
        let converted = self.truths.iter().filter(|truth| has_time(truth));
        converted.map(|truth| truth.time_seconds).collect()
    }

    /// Whether each row converted.
    pub(super) fn classes(&self) -> Vec<bool> {
        self.truths.iter().map(|truth| truth.converted).collect()
    }

    /// Whether some rows converted and some did not.
    pub(super) fn has_both_classes(&self) -> bool {
        let converted = self.truths.iter().filter(|truth| truth.converted).count();
        converted > 0 && converted < self.truths.len()
    }

    /// What there is to learn of each row: 1 where it converted and 0 where not, and its time in the
    /// given unit.
    pub(super) fn targets(&self, unit_seconds: f64) -> (Vec<f32>, Vec<f32>) {
        let converted = self.truths.iter().map(|truth| f32::from(u8::from(truth.converted)));
        let times = self.truths.iter().map(|truth| (truth.time_seconds / unit_seconds) as f32);
        (converted.collect(), times.collect())
    }
}

/// Whether it converted after a time that is known.
pub(super) fn has_time(truth: &Truth) -> bool {
    truth.converted && !truth.time_seconds.is_nan()
}

/// No time beyond what can be answered is learned from: a single one would be most of the loss.
pub(super) fn within_answers(truth: Truth) -> Truth {
    let (_, longest) = TIME_RANGE_SECONDS;
    // An unknown time stays unknown, which `min` would not let it.
    let is_longer = truth.time_seconds > longest;
    Truth { time_seconds: if is_longer { longest } else { truth.time_seconds }, ..truth }
}
