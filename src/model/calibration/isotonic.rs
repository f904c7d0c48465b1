//! Isotonic regression.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{PRIOR_ROWS, RANGE, Row};

/// The nondecreasing step function nearest to the labels, with the model's own slope within its
/// steps: each answers `(converted + 0.5 + 10 * raw) / (rows + 11)`.
///
/// The ten rows are the prior of every method. The one that converted by half is for the first and
/// the last step, which end where the labels change: being pure is how they came about, and says
/// little. These two go on to 0 and to 1; between the steps it is a straight line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Isotonic {
    /// By raising probability: the ends of each step.
    pub knots: Vec<Knot>,
}

/// Rows in every step that nobody saw, of which half converted.
const UNSEEN_ROWS: f64 = 1.0;

/// A point that the function goes through.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Knot {
    /// The model's probability.
    pub raw: f64,
    /// The calibrated one.
    pub calibrated: f64,
}

/// Neighbours that get one value.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Block {
    /// The smallest and the largest place.
    from: f64,
    to: f64,
    weight: f64,
    /// The sum of the weighted values.
    sum: f64,
}

impl Block {
    fn mean(&self) -> f64 {
        self.sum / self.weight
    }

    /// This block and the next one, as one.
    fn joined(self, next: Block) -> Block {
        Block {
            from: self.from,
            to: next.to,
            weight: self.weight + next.weight,
            sum: self.sum + next.sum,
        }
    }
}

impl Isotonic {
    pub(super) fn fit(mut rows: Vec<Row>) -> Isotonic {
        rows.sort_by(|left, right| left.0.total_cmp(&right.0));
        let places = rows.chunk_by(|left, right| left.0 == right.0).map(|tied| {
            let converted = tied.iter().filter(|(_, converted)| *converted).count();
            Block {
                from: tied[0].0,
                to: tied[0].0,
                weight: tied.len() as f64,
                sum: converted as f64,
            }
        });
        let mut steps = pool(places);
        if let Some(first) = steps.first_mut() {
            first.from = RANGE.0;
        }
        if let Some(last) = steps.last_mut() {
            last.to = RANGE.1;
        }
        let knots = steps.into_iter().flat_map(|step| {
            let towards_model = move |raw: f64| Block {
                from: raw,
                to: raw,
                weight: step.weight + UNSEEN_ROWS + PRIOR_ROWS,
                sum: step.sum + UNSEEN_ROWS / 2.0 + PRIOR_ROWS * raw,
            };
            let last = (step.to > step.from).then(|| towards_model(step.to));
            std::iter::once(towards_model(step.from)).chain(last)
        });
        // A thin step moves further towards the model than the next one, maybe past it.
        let knots = pool(knots).into_iter().flat_map(|block| {
            let calibrated = block.mean();
            let last = (block.to > block.from).then_some(Knot { raw: block.to, calibrated });
            std::iter::once(Knot { raw: block.from, calibrated }).chain(last)
        });
        Isotonic { knots: knots.collect() }
    }

    pub(super) fn apply(&self, raw: f64) -> f64 {
        let above = self.knots.partition_point(|knot| knot.raw <= raw);
        let left = match above {
            0 => Knot { raw: 0.0, calibrated: 0.0 },
            above => self.knots[above - 1],
        };
        let right = self.knots.get(above).copied().unwrap_or(Knot { raw: 1.0, calibrated: 1.0 });
        let share = (raw - left.raw) / (right.raw - left.raw);
        left.calibrated + share * (right.calibrated - left.calibrated)
    }

    pub(super) fn is_valid(&self) -> bool {
        let inside = |value: f64| value > 0.0 && value < 1.0;
        self.knots.iter().all(|knot| inside(knot.raw) && inside(knot.calibrated))
            && self
                .knots
                .windows(2)
                .all(|pair| pair[0].raw < pair[1].raw && pair[0].calibrated <= pair[1].calibrated)
    }
}

impl fmt::Display for Isotonic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "isotonic, {} knots", self.knots.len())
    }
}

/// Pool adjacent violators: joins neighbours, given by raising place, until their means rise.
fn pool(points: impl Iterator<Item = Block>) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for mut point in points {
        while let Some(before) = blocks.pop_if(|before| before.mean() >= point.mean()) {
            point = before.joined(point);
        }
        blocks.push(point);
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::super::tests::reference;
    use super::*;

    fn blocks(rows: &[(f64, f64, f64)]) -> Vec<(f64, f64, f64)> {
        let points = rows.iter().map(|(at, weight, value)| Block {
            from: *at,
            to: *at,
            weight: *weight,
            sum: weight * value,
        });
        pool(points).into_iter().map(|block| (block.from, block.to, block.mean())).collect()
    }

    // scikit-learn 1.9, with p and y of Platt's tests:
    // iso = IsotonicRegression().fit(p, y); iso.X_thresholds_, iso.y_thresholds_
    // [.03 .12 .15 .45 .5 .55 .6 .7 .75 .92 .97], [0 0 2/7 2/7 .5 .5 2/3 2/3 .75 .75 1]
    // IsotonicRegression().fit([.1, .2, .2, .3, .4, .4, .5], [0, 1, 0, 0, 1, 1, 1])
    //     .predict([.1, .2, .3, .4, .5]): [0 1/3 1/3 1 1]
    #[test]
    fn pooled_as_scikit_learn_does() {
        let rows: Vec<_> =
            reference().iter().map(|(raw, y)| (*raw, 1.0, f64::from(u8::from(*y)))).collect();
        assert_eq!(
            blocks(&rows),
            [
                (0.03, 0.12, 0.0),
                (0.15, 0.45, 2.0 / 7.0),
                (0.5, 0.55, 0.5),
                (0.6, 0.7, 2.0 / 3.0),
                (0.75, 0.92, 0.75),
                (0.97, 0.97, 1.0)
            ]
        );
        let tied = [(0.1, 1.0, 0.0), (0.2, 2.0, 0.5), (0.3, 1.0, 0.0), (0.4, 2.0, 1.0)];
        let expected = [(0.1, 0.1, 0.0), (0.2, 0.3, 1.0 / 3.0), (0.4, 0.4, 1.0)];
        assert_eq!(blocks(&tied), expected);
    }

    #[test]
    fn by_hand() {
        let fitted = Isotonic::fit(reference());
        let expected = [
            (1e-6, 0.50001 / 14.0),
            (0.12, 1.7 / 14.0),
            (0.15, 4.0 / 18.0),
            (0.45, 7.0 / 18.0),
            (0.5, 6.5 / 13.0),
            (0.55, 7.0 / 13.0),
            (0.6, 8.5 / 14.0),
            (0.7, 9.5 / 14.0),
            (0.75, 11.0 / 15.0),
            (0.92, 12.7 / 15.0),
            (0.97, 11.2 / 12.0),
            (1.0 - 1e-6, 11.49999 / 12.0),
        ];
        assert_eq!(fitted.knots.len(), expected.len());
        for (knot, (raw, calibrated)) in fitted.knots.iter().zip(expected) {
            assert!(knot.raw == raw && (knot.calibrated - calibrated).abs() < 1e-12, "{knot:?}");
            assert!((fitted.apply(raw) - calibrated).abs() < 1e-12);
        }
        // Half way between two knots, and on the outermost steps.
        assert!((fitted.apply(0.525) - 6.75 / 13.0).abs() < 1e-12);
        assert!((fitted.apply(0.985) - 11.35 / 12.0).abs() < 1e-12);
        assert!((fitted.apply(0.03) - 0.8 / 14.0).abs() < 1e-12);
    }

    /// Of 50 rows at 0.5 30 converted, and so did one at 0.51; with the prior these are 35.5/61 and
    /// 6.6/12, the wrong way round.
    #[test]
    fn the_prior_does_not_turn_steps_round() {
        let mut rows: Vec<Row> = (0..50).map(|row| (0.5, row % 5 < 3)).collect();
        rows.push((0.51, true));
        let fitted = Isotonic::fit(rows);
        let together = (35.5 + 6.6) / 73.0;
        let (knots, same) =
            (&fitted.knots, |knot: &Knot| (knot.calibrated - together).abs() < 1e-12);
        assert_eq!(knots.len(), 4);
        assert!((knots[1].raw, knots[2].raw) == (0.5, 0.51) && knots[1..3].iter().all(same));
        assert!(fitted.is_valid());
    }

    #[test]
    fn knots_that_cannot_be() {
        let knot = |raw, calibrated| Knot { raw, calibrated };
        for bad in [
            vec![knot(0.2, 0.3), knot(0.2, 0.4)],
            vec![knot(0.2, 0.3), knot(0.3, 0.2)],
            vec![knot(0.2, 1.0)],
            vec![knot(f64::NAN, 0.5)],
        ] {
            assert!(!Isotonic { knots: bad }.is_valid());
        }
        assert!(Isotonic { knots: vec![] }.is_valid());
    }
}
