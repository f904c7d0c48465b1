//! Turns the model's probability into one that comes true as often as it says.

use serde::{Deserialize, Serialize};

/// How many rows' worth of belief the model's own probability counts for in each bin.
///
/// It shrinks thin bins towards what the model says, so that a bin with three conversions out of
/// three does not claim certainty; a bin with thousands of rows hardly feels it.
const PRIOR_ROWS: f64 = 10.0;

/// The probabilities that are ever answered: beyond these nothing was ever measured.
const RANGE: (f64, f64) = (1e-6, 1.0 - 1e-6);

/// Binned calibration: in each of equally wide bins of probability, the share that converted.
///
/// Without bins it answers what the model says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calibration {
    /// The bins from probability 0 to 1.
    pub bins: Vec<Bin>,
}

/// The rows whose probability fell into one bin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bin {
    /// How many there were.
    pub rows: u64,
    /// How many of them converted.
    pub converted: u64,
}

impl Calibration {
    /// Counts labelled rows into `bins` bins.
    ///
    /// # Panics
    ///
    /// If `bins` is 0.
    pub fn fit(bins: usize, rows: impl IntoIterator<Item = (f64, bool)>) -> Calibration {
        let mut counts = vec![Bin::default(); bins];
        for (probability, converted) in rows {
            let bin = &mut counts[bin_of(probability, bins)];
            bin.rows += 1;
            bin.converted += u64::from(converted);
        }
        Calibration { bins: counts }
    }

    /// Each row's calibrated probability, by bins that were fitted without the fifth of the rows
    /// that it is in: what calibration does to rows it has not seen.
    pub fn cross_fitted(bins: usize, probabilities: &[f64], converted: &[bool]) -> Vec<f64> {
        const FOLDS: usize = 5;
        let rows = || probabilities.iter().copied().zip(converted.iter().copied()).enumerate();
        let without: Vec<Calibration> = (0..FOLDS)
            .map(|fold| {
                let others = rows().filter(|(row, _)| row % FOLDS != fold);
                Calibration::fit(bins, others.map(|(_, row)| row))
            })
            .collect();
        rows().map(|(row, (probability, _))| without[row % FOLDS].apply(probability)).collect()
    }

    /// The calibrated probability, strictly between 0 and 1.
    pub fn apply(&self, probability: f64) -> f64 {
        let raw = probability.clamp(RANGE.0, RANGE.1);
        if self.bins.is_empty() {
            return raw;
        }
        let bin = self.bins[bin_of(raw, self.bins.len())];
        // An empty bin answers the raw value; this formula says the same.
        (bin.converted as f64 + PRIOR_ROWS * raw) / (bin.rows as f64 + PRIOR_ROWS)
    }

    /// Whether the counts can be true.
    pub fn is_valid(&self) -> bool {
        self.bins.iter().all(|bin| bin.converted <= bin.rows)
    }
}

/// The bin of a probability; 1 belongs to the last one, and NaN to the first.
pub fn bin_of(probability: f64, bins: usize) -> usize {
    ((probability * bins as f64) as usize).min(bins - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let rows = [(0.05, false), (0.08, true), (0.95, true), (0.999, true), (1.0, true)];
        let calibration = Calibration::fit(10, rows);
        assert_eq!(calibration.bins[0], Bin { rows: 2, converted: 1 });
        assert_eq!(calibration.bins[9], Bin { rows: 3, converted: 3 });
        // (1 + 10 * 0.05) / (2 + 10)
        assert!((calibration.apply(0.05) - 0.125).abs() < 1e-12);
        // (3 + 10 * 0.9) / (3 + 10)
        assert!((calibration.apply(0.9) - 12.0 / 13.0).abs() < 1e-12);
    }

    #[test]
    fn empty_bins_answer_the_raw_value() {
        let calibration = Calibration::fit(10, [(0.05, false)]);
        assert_eq!(calibration.apply(0.55), 0.55);
        assert_eq!(Calibration::default().apply(0.55), 0.55);
    }

    #[test]
    fn never_certain() {
        let all: Vec<_> = (0..100_000).map(|_| (1.0, true)).chain([(0.0, false)]).collect();
        let calibration = Calibration::fit(10, all);
        for probability in [0.0, 0.5, 1.0] {
            let calibrated = calibration.apply(probability);
            assert!(calibrated > 0.0 && calibrated < 1.0, "{calibrated}");
        }
    }

    #[test]
    fn no_row_is_measured_by_itself() {
        // Row 5 alone converted; its own fold (rows 0 and 5) is measured by bins without it.
        let converted = [false, false, false, false, false, true];
        let fitted = Calibration::cross_fitted(10, &[0.05; 6], &converted);
        assert!((fitted[0] - 10.0 * 0.05 / (4.0 + 10.0)).abs() < 1e-12);
        assert!((fitted[5] - fitted[0]).abs() < 1e-12);
        assert!((fitted[1] - (1.0 + 10.0 * 0.05) / (5.0 + 10.0)).abs() < 1e-12);
    }

    #[test]
    fn thick_bins_come_true() {
        // 10,000 rows of which 30 % convert, while the model says 0.15.
        let rows = (0..10_000).map(|row| (0.15, row % 10 < 3));
        assert!((Calibration::fit(10, rows).apply(0.15) - 0.3).abs() < 2e-4);
    }
}
