//! Puts the inputs on one scale, with statistics that a checkpoint keeps.

use serde::{Deserialize, Serialize};

use super::Conversation;
use super::engineer::{INPUT_COUNT, Inputs, engineer};

/// How far from the mean an input may lie, in standard deviations. Beyond that it says "extreme"
/// and no more: one absurd value must not drown the other inputs.
const LIMIT: f32 = 8.0;

/// Standardises inputs: zero mean, unit deviation, a missing input at the mean.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scaler {
    /// The mean of each input over the training rows where it is known.
    means: Vec<f32>,
    /// One over the standard deviation; 0 for an input that never varies, which thereby falls out.
    inverse_deviations: Vec<f32>,
}

impl Scaler {
    /// Learns the statistics of each input. Inputs that are never known get mean 0.
    ///
    /// From a thousand rows on, the lowest and the highest thousandth of an input's values count as
    /// the value at that border: one absurd cell would otherwise press all others into a point.
    pub fn fit(conversations: &[&Conversation]) -> Scaler {
        let borders = borders(conversations);
        // Welford's algorithm: exact enough in one pass, whatever the magnitude.
        let mut counts = [0.0_f64; INPUT_COUNT];
        let mut means = [0.0_f64; INPUT_COUNT];
        let mut squares = [0.0_f64; INPUT_COUNT];
        for conversation in conversations {
            for (index, value) in engineer(conversation).into_iter().enumerate() {
                if value.is_nan() {
                    continue;
                }
                let (low, high) = borders[index];
                let value = f64::from(value.clamp(low, high));
                counts[index] += 1.0;
                let delta = value - means[index];
                means[index] += delta / counts[index];
                squares[index] += delta * (value - means[index]);
            }
        }
        let inverse = |index: usize| {
            let deviation = (squares[index] / counts[index]).sqrt();
            // Below this a column is one value written with rounding noise.
            let varies = deviation > 1e-6 * means[index].abs().max(1e-6);
            if varies { (1.0 / deviation) as f32 } else { 0.0 }
        };
        Scaler {
            means: means.iter().map(|mean| *mean as f32).collect(),
            inverse_deviations: (0..INPUT_COUNT).map(inverse).collect(),
        }
    }

    /// The model's inputs of one conversation, engineered and scaled.
    ///
    /// # Shapes
    ///
    /// - output: `[INPUT_COUNT]`, each finite and within ±8
    pub fn row(&self, conversation: &Conversation) -> Inputs {
        let mut inputs = engineer(conversation);
        for (index, value) in inputs.iter_mut().enumerate() {
            let scaled = (*value - self.means[index]) * self.inverse_deviations[index];
            *value = if scaled.is_nan() { 0.0 } else { scaled.clamp(-LIMIT, LIMIT) };
        }
        inputs
    }

    /// The rows of many conversations, one after the other: the bulk path of [`Scaler::row`].
    ///
    /// # Shapes
    ///
    /// - output: `[conversations, INPUT_COUNT]`, row-major
    pub fn rows<'a>(&self, conversations: impl IntoIterator<Item = &'a Conversation>) -> Vec<f32> {
        conversations.into_iter().flat_map(|conversation| self.row(conversation)).collect()
    }

    /// Whether the statistics fit the inputs of this program and can be computed with.
    pub fn is_valid(&self) -> bool {
        let sound = |values: &[f32]| {
            values.len() == INPUT_COUNT && values.iter().all(|value| value.is_finite())
        };
        sound(&self.means) && sound(&self.inverse_deviations)
    }
}

/// For each input, the values that a thousandth of the rows lies below and above.
fn borders(conversations: &[&Conversation]) -> Vec<(f32, f32)> {
    /// More rows move a border by nothing that matters.
    const MOST_ROWS: usize = 100_000;
    let step = conversations.len().div_ceil(MOST_ROWS).max(1);
    let mut columns = vec![Vec::new(); INPUT_COUNT];
    for conversation in conversations.iter().step_by(step) {
        for (column, value) in columns.iter_mut().zip(engineer(conversation)) {
            if !value.is_nan() {
                column.push(value);
            }
        }
    }
    let border = |mut column: Vec<f32>| {
        let rank = column.len() / 1000;
        if rank == 0 {
            return (f32::NEG_INFINITY, f32::INFINITY);
        }
        let (_, low, above) = column.select_nth_unstable_by(rank, f32::total_cmp);
        let low = *low;
        // Counted from `low` on: as many lie above the upper border as below the lower one.
        let last = above.len() - 1;
        let (_, high, _) = above.select_nth_unstable_by(last - rank, f32::total_cmp);
        (low, *high)
    };
    columns.into_iter().map(border).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subnet::schema::position;

    const RATIO: usize = position("message_ratio");
    const HOUR: usize = position("hour_of_day");

    fn sample() -> Vec<Conversation> {
        [1.0, 2.0, 3.0, f64::NAN]
            .into_iter()
            .map(|ratio| {
                let mut conversation = Conversation::EMPTY;
                conversation.set(RATIO, ratio);
                conversation.set(HOUR, 9.0);
                conversation
            })
            .collect()
    }

    #[test]
    fn by_hand() {
        let sample = sample();
        let scaler = Scaler::fit(&sample.iter().collect::<Vec<_>>());
        // Of 1, 2, 3: mean 2, population deviation sqrt(2/3).
        let expected = 1.0 / (2.0_f32 / 3.0).sqrt();
        let ratios: Vec<f32> = sample.iter().map(|c| scaler.row(c)[RATIO]).collect();
        for (ratio, expected) in ratios.iter().zip([-expected, 0.0, expected, 0.0]) {
            assert!((ratio - expected).abs() < 1e-6, "{ratio}, expected {expected}");
        }
        // Never varies: no information, whatever comes later.
        let mut late = sample[0].clone();
        late.set(HOUR, 20.0);
        assert_eq!(scaler.row(&late)[HOUR], 0.0);
        // Extreme: held at the limit.
        late.set(RATIO, 1e30);
        assert_eq!(scaler.row(&late)[RATIO], LIMIT);
    }

    #[test]
    fn bulk_is_row_by_row() {
        let sample = sample();
        let scaler = Scaler::fit(&sample.iter().collect::<Vec<_>>());
        let rows: Vec<f32> = sample.iter().flat_map(|c| scaler.row(c)).collect();
        assert_eq!(scaler.rows(&sample), rows);
    }

    #[test]
    fn one_absurd_cell_does_not_drown_the_others() {
        let mut rows: Vec<Conversation> = (0..2000)
            .map(|row| {
                let mut conversation = Conversation::EMPTY;
                conversation.set(RATIO, 1.0 + f64::from(row % 100) / 100.0);
                conversation
            })
            .collect();
        let clean = Scaler::fit(&rows.iter().collect::<Vec<_>>());
        rows[7].set(RATIO, 1e9);
        let scaler = Scaler::fit(&rows.iter().collect::<Vec<_>>());
        let (with, without) = (scaler.row(&rows[99])[RATIO], clean.row(&rows[99])[RATIO]);
        assert!((with - without).abs() < 0.01, "{with}, without the cell {without}");
        assert_eq!(scaler.row(&rows[7])[RATIO], LIMIT);
    }

    #[test]
    fn survives_json() {
        let sample = sample();
        let scaler = Scaler::fit(&sample.iter().collect::<Vec<_>>());
        let text = serde_json::to_string(&scaler).unwrap();
        assert_eq!(serde_json::from_str::<Scaler>(&text).unwrap(), scaler);
        assert!(scaler.is_valid());
    }

    #[test]
    fn nothing_to_learn_from() {
        let scaler = Scaler::fit(&[]);
        assert!(scaler.is_valid());
        assert!(scaler.row(&sample()[0]).iter().all(|value| *value == 0.0));
    }
}
