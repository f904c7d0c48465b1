//! How well confidences separate: ROC and precision-recall, with bootstrap bands.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::statistics::{Interval, quantile};

/// Resamples of the rows behind each band.
pub(super) const RESAMPLES: usize = 200;
/// Steps of the horizontal axis.
const STEPS: usize = 100;

/// Both curves, and the areas below them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Discrimination {
    /// Resamples of the rows behind each interval.
    pub resamples: usize,
    /// The share of converted rows, which is the precision of a coin.
    pub converted_share: f64,
    /// The area under the ROC curve.
    pub auc: f64,
    /// Its 95 % interval.
    pub auc_interval: Interval,
    /// The mean precision over the converted rows, each at its own confidence.
    pub average_precision: f64,
    /// Its 95 % interval.
    pub average_precision_interval: Interval,
    /// The share of converted rows found (`y`) against the share of others taken for them (`x`).
    pub roc: Vec<CurvePoint>,
    /// The share of right ones among the rows that are taken for converted (`y`) against the
    /// share of converted rows found (`x`).
    pub precision_recall: Vec<CurvePoint>,
}

/// A point of a curve with a band.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CurvePoint {
    /// Where.
    pub x: f64,
    /// The value.
    pub y: f64,
    /// The lower bound of its 95 % interval.
    pub low: f64,
    /// The upper bound.
    pub high: f64,
}

/// One resample's curves and areas.
struct Curves {
    roc: Vec<f64>,
    precision_recall: Vec<f64>,
    auc: f64,
    average_precision: f64,
}

/// Converted rows and others that share a confidence.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Tied {
    converted: f64,
    others: f64,
}

impl Discrimination {
    /// The curves of confidences; absent if there is one class only.
    pub(super) fn of(confidences: &[f64], converted: &[bool], seed: u64) -> Option<Discrimination> {
        let ranked = Ranked::new(confidences, converted);
        let found = curves(&ranked.tied(&vec![1; converted.len()]))?;
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let resampled: Vec<Curves> = (0..RESAMPLES)
            .filter_map(|_| {
                let mut counts = vec![0_u32; converted.len()];
                for _ in 0..converted.len() {
                    counts[random.random_range(0..converted.len())] += 1;
                }
                // A resample of a handful of rows may have one class only.
                curves(&ranked.tied(&counts))
            })
            .collect();
        let interval = |of: &dyn Fn(&Curves) -> f64, found: f64| {
            let mut values: Vec<f64> = resampled.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            if values.is_empty() {
                return Interval { low: found, high: found };
            }
            Interval { low: quantile(&values, 0.025), high: quantile(&values, 0.975) }
        };
        let points = |first: usize, of: &dyn Fn(&Curves) -> &Vec<f64>| {
            let point = |(step, y): (usize, &f64)| {
                let Interval { low, high } = interval(&|curves| of(curves)[step], *y);
                CurvePoint { x: (step + first) as f64 / STEPS as f64, y: *y, low, high }
            };
            of(&found).iter().enumerate().map(point).collect()
        };
        let positives = converted.iter().filter(|converted| **converted).count();
        Some(Discrimination {
            resamples: resampled.len(),
            converted_share: positives as f64 / converted.len() as f64,
            auc: found.auc,
            auc_interval: interval(&|curves| curves.auc, found.auc),
            average_precision: found.average_precision,
            average_precision_interval: interval(
                &|curves| curves.average_precision,
                found.average_precision,
            ),
            roc: points(0, &|curves| &curves.roc),
            precision_recall: points(1, &|curves| &curves.precision_recall),
        })
    }
}

/// Rows in the order of falling confidence.
struct Ranked<'a> {
    order: Vec<usize>,
    /// Whether a rank begins another confidence than the one before.
    begins: Vec<bool>,
    converted: &'a [bool],
}

impl<'a> Ranked<'a> {
    fn new(confidences: &[f64], converted: &'a [bool]) -> Ranked<'a> {
        let mut order: Vec<usize> = (0..confidences.len()).collect();
        order.sort_by(|left, right| confidences[*right].total_cmp(&confidences[*left]));
        let mut before = None;
        let begins = order
            .iter()
            .map(|row| before.replace(confidences[*row]) != Some(confidences[*row]))
            .collect();
        Ranked { order, begins, converted }
    }

    /// The rows of each confidence, each row counted as often as it was drawn.
    fn tied(&self, counts: &[u32]) -> Vec<Tied> {
        let mut tied: Vec<Tied> = Vec::new();
        for (row, begins) in self.order.iter().zip(&self.begins) {
            if *begins {
                tied.push(Tied::default());
            }
            let last = tied.last_mut().expect("the first rank begins. This is a bug.");
            let count = f64::from(counts[*row]);
            if self.converted[*row] {
                last.converted += count;
            } else {
                last.others += count;
            }
        }
        tied
    }
}

/// The curves of rows in the order of falling confidence; absent if there is one class only.
fn curves(tied: &[Tied]) -> Option<Curves> {
    let converted: f64 = tied.iter().map(|tied| tied.converted).sum();
    let others: f64 = tied.iter().map(|tied| tied.others).sum();
    if converted == 0.0 || others == 0.0 {
        return None;
    }
    let mut roc = vec![(0.0, 0.0)];
    let mut precision_recall = Vec::with_capacity(tied.len());
    let (mut found, mut mistaken) = (0.0, 0.0);
    let (mut auc, mut average_precision) = (0.0, 0.0);
    for Tied { converted: right, others: wrong } in tied {
        auc += wrong * (found + right / 2.0);
        found += right;
        mistaken += wrong;
        if found + mistaken > 0.0 {
            let precision = found / (found + mistaken);
            average_precision += right * precision;
            precision_recall.push((found / converted, precision));
        }
        roc.push((mistaken / others, found / converted));
    }
    Some(Curves {
        roc: (0..=STEPS).map(|step| height(&roc, step as f64 / STEPS as f64)).collect(),
        precision_recall: (1..=STEPS)
            .map(|step| precision_at(&precision_recall, step as f64 / STEPS as f64))
            .collect(),
        auc: auc / (converted * others),
        average_precision: average_precision / converted,
    })
}

/// The height of a rising curve at `x`; where it rises straight up, its top.
fn height(points: &[(f64, f64)], x: f64) -> f64 {
    let above = points.partition_point(|(at, _)| *at <= x);
    let (left, low) = points[above.saturating_sub(1)];
    match points.get(above) {
        Some((right, high)) => low + (high - low) * (x - left) / (right - left),
        None => low,
    }
}

/// The precision at the highest confidence that finds this share of the converted rows.
fn precision_at(points: &[(f64, f64)], recall: f64) -> f64 {
    // A hair less, for shares that are sums of others.
    let enough = points.partition_point(|(found, _)| *found < recall - 1e-12);
    points.get(enough).or(points.last()).map_or(f64::NAN, |(_, precision)| *precision)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIDENCES: [f64; 5] = [0.9, 0.8, 0.8, 0.4, 0.1];
    const CONVERTED: [bool; 5] = [true, true, false, false, true];

    #[test]
    fn curves_by_hand() {
        let found = Discrimination::of(&CONFIDENCES, &CONVERTED, 1).unwrap();
        // Pairs (converted, other): 0.9 beats both, 0.8 ties one and beats one, 0.1 beats none.
        assert!((found.auc - 3.5 / 6.0).abs() < 1e-12, "{}", found.auc);
        // At 0.9: 1 of 1; at 0.8: 2 of 3; at 0.1: 3 of 5.
        let average = (1.0 + 2.0 / 3.0 + 3.0 / 5.0) / 3.0;
        assert!((found.average_precision - average).abs() < 1e-12);
        assert_eq!(found.converted_share, 0.6);
        // (0, 0) (0, 1/3) (1/2, 2/3) (1, 2/3) (1, 1)
        let roc = |x: usize| found.roc[x].y;
        for (x, y) in [(0, 1.0 / 3.0), (25, 0.5), (50, 2.0 / 3.0), (75, 2.0 / 3.0), (100, 1.0)] {
            assert!((roc(x) - y).abs() < 1e-12, "{x}: {}", roc(x));
        }
        assert_eq!((found.roc[25].x, found.precision_recall[32].x), (0.25, 0.33));
        for (index, precision) in [(32, 1.0), (33, 2.0 / 3.0), (65, 2.0 / 3.0), (66, 0.6)] {
            let point = found.precision_recall[index];
            assert!((point.y - precision).abs() < 1e-12, "{point:?}");
        }
    }

    #[test]
    fn the_seed_decides_the_bands() {
        let bands = |seed| Discrimination::of(&CONFIDENCES, &CONVERTED, seed).unwrap();
        assert_eq!(bands(1), bands(1));
        assert_ne!(bands(1), bands(2));
        let found = bands(1);
        // One class only has a chance of 0.6^5 + 0.4^5 = 9 %.
        assert!((160..RESAMPLES).contains(&found.resamples), "{}", found.resamples);
        for point in found.roc.iter().chain(&found.precision_recall) {
            assert!(point.low <= point.high && point.low >= 0.0 && point.high <= 1.0, "{point:?}");
        }
    }

    /// The standard error of the AUC by Hanley and McNeil, for 100 + 100 rows:
    ///
    /// ```python
    /// a, n = 0.75, 100; q1, q2 = a/(2-a), 2*a*a/(1+a)
    /// ((a*(1-a) + (n-1)*(q1-a*a) + (n-1)*(q2-a*a)) / n**2) ** 0.5   # 0.0345
    /// ```
    #[test]
    fn the_band_is_as_wide_as_it_should_be() {
        // 100 others spread over 0..1; 100 converted denser above, so that the AUC is near 0.75.
        let rows = |converted: bool| {
            (0..100).map(move |row| {
                let level = (f64::from(row) + 0.5) / 100.0;
                (
                    if converted { 1.0 - (1.0 - level) * (1.0 - level) * 0.75 } else { level },
                    converted,
                )
            })
        };
        let (confidences, converted): (Vec<f64>, Vec<bool>) = rows(false).chain(rows(true)).unzip();
        let found = Discrimination::of(&confidences, &converted, 1).unwrap();
        assert!((found.auc - 0.75).abs() < 0.01, "{}", found.auc);
        let Interval { low, high } = found.auc_interval;
        let error = (high - low) / 2.0 / 1.96;
        assert!((0.025..0.042).contains(&error), "{error}");
        assert!(low < found.auc && found.auc < high);
    }

    #[test]
    fn one_class_has_no_curve() {
        assert_eq!(Discrimination::of(&[0.1, 0.2], &[true, true], 1), None);
        assert_eq!(Discrimination::of(&[0.1, 0.2], &[false, false], 1), None);
        assert_eq!(Discrimination::of(&[], &[], 1), None);
        assert!(Discrimination::of(&[0.5, 0.5], &[true, false], 1).is_some());
    }
}
