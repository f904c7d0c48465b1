//! Counts of requests, and how their response times are spread.

use super::{Finished, Outcome};

/// How many parts the confidence is cut into.
pub(super) const CONFIDENCE_PARTS: usize = 10;

/// The relative error of a quantile of response times between 10 us and 120 s. A cell ends at
/// 1.1 times where it begins and stands for the geometric middle, which is off by
/// `sqrt(1.1) - 1`, or 4.9 %, at most.
pub const QUANTILE_RELATIVE_ERROR: f64 = 0.05;

/// By how much the cells of the response times grow.
const RATIO: f64 = 1.1;
/// Where the second cell begins. The first holds what is shorter: no answer is, with a signature to
/// check and one to make.
const SHORTEST_NS: f64 = 10_000.0;
/// Up to 120 s, the longest that a caller is worked for: `10 us * 1.1^172` is 131 s. The last cell
/// holds what is longer.
const CELLS: usize = 174;

/// A request as it is counted, worked out once for all the places that count it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    outcome: Outcome,
    /// The response time in nanoseconds and its cell, of an answered request.
    time: Option<(u64, usize)>,
    answer: Option<SampleAnswer>,
}

#[derive(Debug, Clone, Copy)]
struct SampleAnswer {
    converted: bool,
    confidence: f64,
    part: usize,
}

impl Sample {
    pub(super) fn new(request: &Finished<'_>) -> Self {
        let time = (request.outcome == Outcome::Answered).then(|| {
            let ns = u64::try_from(request.total.as_nanos()).unwrap_or(u64::MAX);
            (ns, cell(ns))
        });
        // A confidence that is no number would make every mean from here on one.
        let answer = request.answer.filter(|given| given.confidence.is_finite()).map(|given| {
            let confidence = given.confidence.clamp(0.0, 1.0);
            let part = (confidence * CONFIDENCE_PARTS as f64) as usize;
            SampleAnswer {
                converted: given.converted,
                confidence,
                part: part.min(CONFIDENCE_PARTS - 1),
            }
        });
        Sample { outcome: request.outcome, time, answer }
    }
}

/// Counts of requests. Of a fixed size: 800 bytes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tally {
    pub(super) outcomes: [u32; Outcome::ALL.len()],
    pub(super) converted: u32,
    pub(super) confidence: [u32; CONFIDENCE_PARTS],
    confidence_sum: f64,
    time_sum_ns: u64,
    time_min_ns: u64,
    time_max_ns: u64,
    cells: [u32; CELLS],
}

impl Default for Tally {
    fn default() -> Self {
        Tally {
            outcomes: [0; Outcome::ALL.len()],
            converted: 0,
            confidence: [0; CONFIDENCE_PARTS],
            confidence_sum: 0.0,
            time_sum_ns: 0,
            time_min_ns: u64::MAX,
            time_max_ns: 0,
            cells: [0; CELLS],
        }
    }
}

impl Tally {
    pub(super) fn add(&mut self, sample: &Sample) {
        self.outcomes[sample.outcome as usize] += 1;
        if let Some((ns, cell)) = sample.time {
            self.time_sum_ns = self.time_sum_ns.saturating_add(ns);
            self.time_min_ns = self.time_min_ns.min(ns);
            self.time_max_ns = self.time_max_ns.max(ns);
            self.cells[cell] += 1;
        }
        if let Some(answer) = sample.answer {
            self.converted += u32::from(answer.converted);
            self.confidence[answer.part] += 1;
            self.confidence_sum += answer.confidence;
        }
    }

    pub(super) fn merge(&mut self, other: &Tally) {
        fn add<const N: usize>(left: &mut [u32; N], right: &[u32; N]) {
            for (left, right) in left.iter_mut().zip(right) {
                *left += right;
            }
        }
        add(&mut self.outcomes, &other.outcomes);
        add(&mut self.confidence, &other.confidence);
        add(&mut self.cells, &other.cells);
        self.converted += other.converted;
        self.confidence_sum += other.confidence_sum;
        self.time_sum_ns = self.time_sum_ns.saturating_add(other.time_sum_ns);
        self.time_min_ns = self.time_min_ns.min(other.time_min_ns);
        self.time_max_ns = self.time_max_ns.max(other.time_max_ns);
    }

    /// How many requests there were.
    pub(super) fn requests(&self) -> u64 {
        self.outcomes.iter().copied().map(u64::from).sum()
    }

    pub(super) fn answered(&self) -> u64 {
        u64::from(self.outcomes[Outcome::Answered as usize])
    }

    /// How many answers there were of which the confidence is known.
    fn given(&self) -> u64 {
        self.confidence.iter().copied().map(u64::from).sum()
    }

    pub(super) fn mean_confidence(&self) -> Option<f64> {
        let given = self.given();
        (given > 0).then(|| self.confidence_sum / given as f64)
    }

    /// The share of the answers that say "converts".
    pub(super) fn positive_rate(&self) -> Option<f64> {
        let given = self.given();
        (given > 0).then(|| f64::from(self.converted) / given as f64)
    }

    /// Mean, least and largest response time in seconds.
    pub(super) fn times(&self) -> Option<(f64, f64, f64)> {
        let answered = self.answered();
        (answered > 0).then(|| {
            let mean = self.time_sum_ns as f64 / answered as f64 / 1e9;
            (mean, seconds(self.time_min_ns), seconds(self.time_max_ns))
        })
    }

    /// The response time in seconds that `share` of the answered requests did not exceed, to within
    /// [`QUANTILE_RELATIVE_ERROR`]: the smallest one with at least that share at or below it.
    pub(super) fn quantile(&self, share: f64) -> Option<f64> {
        let answered = self.answered();
        if answered == 0 {
            return None;
        }
        let rank = ((share * answered as f64).ceil() as u64).clamp(1, answered);
        let mut below = 0;
        let cell = self.cells.iter().position(|count| {
            below += u64::from(*count);
            below >= rank
        });
        let middle = middle_ns(cell.unwrap_or(CELLS - 1));
        Some(middle.clamp(self.time_min_ns as f64, self.time_max_ns as f64) / 1e9)
    }
}

pub(super) fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

fn cell(ns: u64) -> usize {
    let above = (ns as f64 / SHORTEST_NS).ln() / RATIO.ln();
    // Negative ones, and the infinity of 0, become 0.
    ((above + 1.0).max(0.0) as usize).min(CELLS - 1)
}

/// What stands for the response times of a cell.
fn middle_ns(cell: usize) -> f64 {
    match cell {
        0 => SHORTEST_NS,
        // Open at its end: the caller holds it to the largest that came.
        _ if cell == CELLS - 1 => f64::INFINITY,
        _ => SHORTEST_NS * RATIO.powf(cell as f64 - 0.5),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Given, Phases};
    use super::*;

    fn sample(outcome: Outcome, micros: u64, answer: Option<(bool, f64)>) -> Sample {
        let given = |(converted, confidence)| Given { converted, confidence, model: "m" };
        Sample::new(&Finished {
            hotkey: None,
            outcome,
            total: Duration::from_micros(micros),
            phases: Phases::default(),
            answer: answer.map(given),
            reason: None,
        })
    }

    fn tally(samples: &[Sample]) -> Tally {
        let mut tally = Tally::default();
        samples.iter().for_each(|sample| tally.add(sample));
        tally
    }

    #[test]
    fn nothing_is_known_of_nothing() {
        let empty = Tally::default();
        assert_eq!((empty.requests(), empty.quantile(0.5), empty.times()), (0, None, None));
        assert_eq!((empty.mean_confidence(), empty.positive_rate()), (None, None));
        let refused = tally(&[sample(Outcome::Limited, 5, None)]);
        assert_eq!((refused.requests(), refused.answered(), refused.quantile(0.5)), (1, 0, None));
    }

    #[test]
    fn means_by_hand() {
        let tally = tally(&[
            sample(Outcome::Answered, 100, Some((true, 0.9))),
            sample(Outcome::Answered, 300, Some((false, 0.2))),
            sample(Outcome::Answered, 800, Some((false, 0.1))),
            sample(Outcome::Late, 5_000_000, None),
        ]);
        // 1200 us / 3; the late one is not among them.
        assert_eq!(tally.times(), Some((0.0004, 0.0001, 0.0008)));
        assert!((tally.mean_confidence().unwrap() - 0.4).abs() < 1e-12);
        assert_eq!(tally.positive_rate(), Some(1.0 / 3.0));
        assert_eq!(tally.confidence, [0, 1, 1, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!((tally.requests(), tally.answered()), (4, 3));
    }

    #[test]
    fn quantiles_are_within_their_error_of_the_nearest_rank() {
        // numpy.quantile(times, q, method="inverted_cdf") of 1..=1000 times 50 us is q * 1000 of
        // them, exactly.
        let samples: Vec<Sample> =
            (1..=1000).map(|step| sample(Outcome::Answered, step * 50, None)).collect();
        let tally = tally(&samples);
        for (share, expected) in [(0.5, 0.025), (0.9, 0.045), (0.99, 0.0495), (0.001, 50e-6)] {
            let found = tally.quantile(share).unwrap();
            let error = (found - expected).abs() / expected;
            assert!(error < QUANTILE_RELATIVE_ERROR, "{share}: {found} for {expected}");
        }
        assert_eq!(tally.quantile(1.0), Some(0.05), "no more than the largest that came");
    }

    #[test]
    fn cells_by_hand() {
        // Cell 49 is [10 us * 1.1^48, 10 us * 1.1^49) = [970.17, 1067.19) us; its geometric middle
        // is 1017.52 us: python3 -c "print(10 * 1.1**48.5)".
        assert_eq!(
            (cell(970_100), cell(970_200), cell(1_067_100), cell(1_067_300)),
            (48, 49, 49, 50)
        );
        let mut two = tally(&[sample(Outcome::Answered, 1000, None)]);
        assert_eq!(two.quantile(0.5), Some(0.001), "a single one is exact");
        two.add(&sample(Outcome::Answered, 5000, None));
        assert!((two.quantile(0.5).unwrap() - 0.001_017_525).abs() < 1e-9);
        assert_eq!((cell(0), cell(9_999), cell(10_001), cell(u64::MAX)), (0, 0, 1, CELLS - 1));
        // 120 s is not yet in the cell without an end.
        assert!(cell(120_000_000_000) < CELLS - 1);
    }

    #[test]
    fn every_time_is_within_the_error_of_its_cell() {
        for exponent in 0..7000 {
            let ns = 10_001.0 * 1.002_f64.powi(exponent);
            let error = (middle_ns(cell(ns as u64)) - ns).abs() / ns;
            assert!(ns > 1.2e11 || error < QUANTILE_RELATIVE_ERROR, "{ns}: {error}");
        }
    }

    #[test]
    fn odd_confidences_do_no_harm() {
        let answered = |confidence| sample(Outcome::Answered, 10, Some((true, confidence)));
        let tally = tally(&[answered(f64::NAN), answered(1.0), answered(7.0), answered(-1.0)]);
        assert_eq!(tally.mean_confidence(), Some(2.0 / 3.0));
        assert_eq!((tally.confidence[0], tally.confidence[9], tally.answered()), (1, 2, 4));
    }

    #[test]
    fn a_merge_is_the_same_as_one_tally() {
        let samples: Vec<Sample> = (1..60)
            .map(|step| sample(Outcome::Answered, step * step, Some((step % 3 == 0, 0.5))))
            .collect();
        let (left, right) = samples.split_at(20);
        let mut merged = tally(left);
        merged.merge(&tally(right));
        assert_eq!(merged, tally(&samples));
        assert!(size_of::<Tally>() <= 832, "{}", size_of::<Tally>());
    }
}
