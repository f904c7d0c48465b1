//! A row as the cache holds it: what a network learns from, before it is scaled.

use crate::features::Conversation;
use crate::features::engineer::{INPUT_COUNT, Inputs, engineer};
use crate::subnet::reward::Truth;
use crate::subnet::schema::FEATURE_COUNT;

/// Inputs that are computed from several values.
const DERIVED: usize = INPUT_COUNT - 2 * FEATURE_COUNT;
/// Numbers of a row: the 40 values, the derived inputs, the class and the time. Whether a value is
/// missing needs no number, for a missing one is NaN.
const NUMBERS: usize = FEATURE_COUNT + DERIVED + 2;
/// Bytes of a row: its numbers as little-endian f32.
pub(super) const ROW_BYTES: usize = 4 * NUMBERS;

const CONVERTED: usize = NUMBERS - 2;
const TIME: usize = NUMBERS - 1;

/// One row.
#[derive(Debug, Clone, Copy)]
pub struct Row([f32; NUMBERS]);

/// By bits: a missing value is as missing as another.
impl PartialEq for Row {
    fn eq(&self, other: &Row) -> bool {
        self.0.map(f32::to_bits) == other.0.map(f32::to_bits)
    }
}

impl Row {
    /// Computes the row of a conversation.
    pub(super) fn new(conversation: &Conversation, truth: Truth) -> Row {
        let inputs = engineer(conversation);
        let mut numbers = [0.0; NUMBERS];
        numbers[..FEATURE_COUNT].copy_from_slice(&inputs[..FEATURE_COUNT]);
        numbers[FEATURE_COUNT..CONVERTED].copy_from_slice(&inputs[2 * FEATURE_COUNT..]);
        numbers[CONVERTED] = f32::from(u8::from(truth.converted));
        numbers[TIME] = truth.time_seconds as f32;
        Row(numbers)
    }

    /// Appends the row's bytes.
    pub(super) fn append_to(&self, bytes: &mut Vec<u8>) {
        // As an array first, so that there is one copy and no loop over numbers.
        let mut row = [0; ROW_BYTES];
        for (bytes, number) in row.chunks_exact_mut(4).zip(self.0) {
            bytes.copy_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&row);
    }

    /// The row with these bytes, which are [`ROW_BYTES`].
    pub(super) fn of_bytes(bytes: &[u8]) -> Row {
        let mut numbers = [0.0; NUMBERS];
        for (number, bytes) in numbers.iter_mut().zip(bytes.chunks_exact(4)) {
            *number = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        Row(numbers)
    }

    /// The inputs, as [`engineer`] makes them.
    pub fn inputs(&self) -> Inputs {
        let mut inputs = [0.0; INPUT_COUNT];
        inputs[..FEATURE_COUNT].copy_from_slice(&self.0[..FEATURE_COUNT]);
        for (flag, value) in inputs[FEATURE_COUNT..].iter_mut().zip(self.values()) {
            *flag = f32::from(u8::from(value.is_nan()));
        }
        inputs[2 * FEATURE_COUNT..].copy_from_slice(&self.0[FEATURE_COUNT..CONVERTED]);
        inputs
    }

    /// The 40 values.
    pub(super) fn values(&self) -> &[f32] {
        &self.0[..FEATURE_COUNT]
    }

    /// The conversation that it is of.
    pub fn conversation(&self) -> Conversation {
        let mut conversation = Conversation::EMPTY;
        conversation.values.copy_from_slice(self.values());
        conversation
    }

    /// What became of it, the time as an f32.
    pub fn truth(&self) -> Truth {
        let time_seconds = f64::from(self.0[TIME]);
        Truth { converted: self.0[CONVERTED] != 0.0, time_seconds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_a_quarter_of_a_kilobyte() {
        assert_eq!(ROW_BYTES, 256);
    }

    #[test]
    fn there_and_back() {
        let mut conversation = Conversation::EMPTY;
        for (index, value) in [(0, 92.0), (2, 13.0), (18, 1.25), (39, 0.875)] {
            conversation.set(index, value);
        }
        for truth in [Truth::converted_after(62.5), Truth::not_converted()] {
            let mut bytes = Vec::new();
            Row::new(&conversation, truth).append_to(&mut bytes);
            assert_eq!(bytes.len(), ROW_BYTES);
            let row = Row::of_bytes(&bytes);
            let bits = |inputs: &[f32]| inputs.iter().map(|it| it.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&row.inputs()), bits(&engineer(&conversation)));
            assert_eq!(bits(&row.conversation().values), bits(&conversation.values));
            assert_eq!(row.truth(), truth);
        }
    }
}
