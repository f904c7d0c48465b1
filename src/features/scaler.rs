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
        let borders = Borders::of(conversations);
        let mut statistics = Statistics::default();
        for conversation in conversations {
            statistics.add(&engineer(conversation), &borders);
        }
        statistics.scaler()
    }

    /// The model's inputs of one conversation, engineered and scaled.
    ///
    /// # Shapes
    ///
    /// - output: `[INPUT_COUNT]`, each finite and within ±8
    pub fn row(&self, conversation: &Conversation) -> Inputs {
        let mut inputs = engineer(conversation);
        self.scale(&mut inputs);
        inputs
    }

    /// Scales inputs as [`engineer`] makes them.
    pub fn scale(&self, inputs: &mut Inputs) {
        let statistics = self.means.iter().zip(&self.inverse_deviations);
        for (value, (mean, inverse)) in inputs.iter_mut().zip(statistics) {
            let scaled = (*value - mean) * inverse;
            *value = if scaled.is_nan() { 0.0 } else { scaled.clamp(-LIMIT, LIMIT) };
        }
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

/// Between which values those of each input count as they are.
#[derive(Debug, Clone, PartialEq)]
pub struct Borders(Vec<(f32, f32)>);

impl Borders {
    /// For each input, the values that a thousandth of the rows lies below and above.
    pub fn of(conversations: &[&Conversation]) -> Borders {
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
        Borders(columns.into_iter().map(border).collect())
    }
}

fn border(mut column: Vec<f32>) -> (f32, f32) {
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
}

/// What a scaler is made from: for each input, how often it is known, its mean, and the sum of its
/// squared deviations. Those of parts of a table make those of the table.
#[derive(Debug, Clone, PartialEq)]
pub struct Statistics {
    counts: [f64; INPUT_COUNT],
    means: [f64; INPUT_COUNT],
    squares: [f64; INPUT_COUNT],
}

impl Default for Statistics {
    fn default() -> Statistics {
        let zeros = [0.0; INPUT_COUNT];
        Statistics { counts: zeros, means: zeros, squares: zeros }
    }
}

impl Statistics {
    /// Counts a row by Welford's algorithm: exact enough in one pass, whatever the magnitude.
    pub fn add(&mut self, inputs: &Inputs, borders: &Borders) {
        for (index, (value, (low, high))) in inputs.iter().zip(&borders.0).enumerate() {
            if value.is_nan() {
                continue;
            }
            let value = f64::from(value.clamp(*low, *high));
            self.counts[index] += 1.0;
            let delta = value - self.means[index];
            self.means[index] += delta / self.counts[index];
            self.squares[index] += delta * (value - self.means[index]);
        }
    }

    /// Counts the rows of another part, by the formula of Chan, Golub and LeVeque. The order of parts
    /// decides the last bits.
    pub fn merge(&mut self, other: &Statistics) {
        for index in 0..INPUT_COUNT {
            if other.counts[index] == 0.0 {
                continue;
            }
            let count = self.counts[index] + other.counts[index];
            let delta = other.means[index] - self.means[index];
            let share = other.counts[index] / count;
            self.means[index] += delta * share;
            self.squares[index] +=
                other.squares[index] + delta * delta * self.counts[index] * share;
            self.counts[index] = count;
        }
    }

    /// The scaler that they make.
    pub fn scaler(&self) -> Scaler {
        let inverse = |index: usize| {
            let deviation = (self.squares[index] / self.counts[index]).sqrt();
            // Below this a column is one value written with rounding noise.
            let varies = deviation > 1e-6 * self.means[index].abs().max(1e-6);
            if varies { (1.0 / deviation) as f32 } else { 0.0 }
        };
        Scaler {
            means: self.means.iter().map(|mean| *mean as f32).collect(),
            inverse_deviations: (0..INPUT_COUNT).map(inverse).collect(),
        }
    }
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

    /// Cut anywhere, the parts make what the whole does.
    #[test]
    fn parts_make_the_whole() {
        let rows: Vec<Conversation> = (0..3000)
            .map(|row| {
                let mut conversation = Conversation::EMPTY;
                conversation.set(RATIO, 1.0 + f64::from(row * row % 977) / 7.0);
                if row % 3 > 0 {
                    conversation.set(HOUR, f64::from(row % 24));
                }
                conversation
            })
            .collect();
        let rows: Vec<&Conversation> = rows.iter().collect();
        let whole = Scaler::fit(&rows);
        let borders = Borders::of(&rows);
        let mut merged = Statistics::default();
        for part in [&rows[..1], &rows[1..1700], &rows[1700..1700], &rows[1700..]] {
            let mut statistics = Statistics::default();
            part.iter().for_each(|row| statistics.add(&engineer(row), &borders));
            merged.merge(&statistics);
        }
        let merged = merged.scaler();
        let near = |one: &[f32], other: &[f32]| {
            one.iter()
                .zip(other)
                .all(|(one, other)| (one - other).abs() <= 1e-6 * other.abs().max(1.0))
        };
        assert!(near(&merged.means, &whole.means));
        assert!(near(&merged.inverse_deviations, &whole.inverse_deviations));
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
