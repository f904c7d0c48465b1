//! Binned calibration: in each of equally wide bins of probability, the share that converted.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{PRIOR_ROWS, Row, within_range};

/// Bins of equal width that count rows, and can go on counting.
///
/// A bin answers `(converted + 10 * raw) / (rows + 10)`: with three conversions out of three it
/// does not claim certainty, and a bin with thousands of rows hardly feels the model any more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bins {
    /// After how many further rows of its bin a row counts half, when rows are observed; without,
    /// every row counts for ever.
    pub half_life_rows: Option<f64>,
    /// The bins from probability 0 to 1.
    pub bins: Vec<Bin>,
}

/// The rows whose probability fell into one bin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// How many there were, less what was forgotten.
    pub rows: f64,
    /// How many of them converted, less what was forgotten.
    pub converted: f64,
}

impl Bins {
    /// Bins without rows, at least one, that forget nothing.
    pub fn new(bins: usize) -> Bins {
        Bins { half_life_rows: None, bins: vec![Bin::default(); bins.max(1)] }
    }

    /// Counts labelled rows.
    pub(super) fn fit(bins: usize, rows: &[Row]) -> Bins {
        let mut fitted = Bins::new(bins);
        for (probability, converted) in rows {
            fitted.observe(*probability, *converted);
        }
        fitted
    }

    /// Counts one more row of the model's probability. What its bin held before is first
    /// multiplied by `0.5^(1 / half_life_rows)`; other bins are as they were, so that a rare
    /// probability is not forgotten because common ones came. A NaN is not counted.
    pub fn observe(&mut self, probability: f64, converted: bool) {
        if probability.is_nan() || self.bins.is_empty() {
            return;
        }
        let kept = self.half_life_rows.map_or(1.0, |half_life| 0.5_f64.powf(half_life.recip()));
        let index = bin_of(probability, self.bins.len());
        let bin = &mut self.bins[index];
        bin.rows = bin.rows * kept + 1.0;
        bin.converted = bin.converted * kept + f64::from(u8::from(converted));
    }

    /// Counts rows in their order, and says what each one's calibrated probability was just before
    /// it was counted: what learning while serving does to rows it has not seen.
    ///
    /// # Panics
    ///
    /// If there are not as many labels as probabilities.
    pub fn learn(&mut self, probabilities: &[f64], converted: &[bool]) -> Vec<f64> {
        let learned = super::rows(probabilities, converted).into_iter().map(|(raw, converted)| {
            let before = within_range(self.apply(within_range(raw)));
            self.observe(raw, converted);
            before
        });
        learned.collect()
    }

    /// How many rows its bins hold, less what was forgotten.
    pub fn rows(&self) -> f64 {
        self.bins.iter().map(|bin| bin.rows).sum()
    }

    pub(super) fn apply(&self, raw: f64) -> f64 {
        if self.bins.is_empty() {
            return raw;
        }
        let bin = self.bins[bin_of(raw, self.bins.len())];
        (bin.converted + PRIOR_ROWS * raw) / (bin.rows + PRIOR_ROWS)
    }

    /// Whether the numbers can be computed with.
    pub fn is_valid(&self) -> bool {
        let can_be =
            |bin: &Bin| bin.rows.is_finite() && bin.converted >= 0.0 && bin.converted <= bin.rows;
        !self.bins.is_empty()
            && self.bins.iter().all(can_be)
            && self.half_life_rows.is_none_or(|rows| rows > 0.0 && rows.is_finite())
    }
}

impl fmt::Display for Bins {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} bins from {:.0} rows", self.bins.len(), self.rows())?;
        match self.half_life_rows {
            Some(rows) => write!(formatter, ", a row counts half after {rows} more in its bin"),
            None => Ok(()),
        }
    }
}

/// The bin of a probability; 1 belongs to the last one, and NaN to the first.
///
/// # Panics
///
/// If there are no bins.
pub fn bin_of(probability: f64, bins: usize) -> usize {
    ((probability * bins as f64) as usize).min(bins - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bin(rows: f64, converted: f64) -> Bin {
        Bin { rows, converted }
    }

    #[test]
    fn by_hand() {
        let rows = [(0.05, false), (0.08, true), (0.95, true), (0.999, true), (1.0, true)];
        let bins = Bins::fit(10, &rows);
        assert_eq!((bins.bins[0], bins.bins[9]), (bin(2.0, 1.0), bin(3.0, 3.0)));
        assert_eq!(bins.rows(), 5.0);
        // (1 + 10 * 0.05) / (2 + 10)
        assert!((bins.apply(0.05) - 0.125).abs() < 1e-12);
        // (3 + 10 * 0.9) / (3 + 10)
        assert!((bins.apply(0.9) - 12.0 / 13.0).abs() < 1e-12);
        // No row was there.
        assert!((bins.apply(0.55) - 0.55).abs() < 1e-12);
    }

    #[test]
    fn without_forgetting_observing_is_counting() {
        let mut bins = Bins::fit(2, &[(0.1, true), (0.7, false)]);
        bins.observe(0.2, false);
        bins.observe(f64::NAN, true);
        assert_eq!(bins.bins, [bin(2.0, 1.0), bin(1.0, 0.0)]);
    }

    #[test]
    fn what_is_old_counts_less() {
        let mut bins = Bins { half_life_rows: Some(1.0), ..Bins::new(2) };
        // Each new row halves what was there: 1, 0.5 + 1, 0.75 + 1.
        for (converted, expected) in
            [(true, bin(1.0, 1.0)), (false, bin(1.5, 0.5)), (true, bin(1.75, 1.25))]
        {
            bins.observe(0.1, converted);
            assert_eq!(bins.bins[0], expected);
        }
        // The other bin is as it was.
        assert_eq!(bins.bins[1], bin(0.0, 0.0));
        // (1.25 + 10 * 0.1) / (1.75 + 10)
        assert!((bins.apply(0.1) - 2.25 / 11.75).abs() < 1e-12);
    }

    #[test]
    fn learning_tells_what_was_known_before() {
        let mut bins = Bins::new(1);
        let before = bins.learn(&[0.5, 0.25, f64::NAN, 0.25], &[true, false, true, true]);
        // 0.5; (1 + 2.5) / 11; NaN; (1 + 2.5) / 12
        assert!((before[0] - 0.5).abs() < 1e-12 && (before[1] - 3.5 / 11.0).abs() < 1e-12);
        assert!(before[2].is_nan() && (before[3] - 3.5 / 12.0).abs() < 1e-12);
        assert_eq!(bins.bins, [bin(3.0, 2.0)]);
    }

    #[test]
    fn after_its_half_life_a_row_counts_half() {
        let mut bins = Bins { half_life_rows: Some(4.0), ..Bins::new(1) };
        bins.observe(0.5, true);
        for _ in 0..4 {
            bins.observe(0.5, false);
        }
        assert!((bins.bins[0].converted - 0.5).abs() < 1e-12);
        // 1 + q + q^2 + q^3 + q^4 = (1 - q^5) / (1 - q) with q = 2^(-1/4)
        let q = 0.5_f64.powf(0.25);
        assert!((bins.bins[0].rows - (1.0 - q.powi(5)) / (1.0 - q)).abs() < 1e-12);
    }

    /// The counts stay below 1 / (1 - q) for ever, so new rows never stop to matter.
    #[test]
    fn what_changed_is_learned_again() {
        let mut bins = Bins { half_life_rows: Some(100.0), ..Bins::new(10) };
        for row in 0..200_000 {
            bins.observe(0.45, row % 10 < 8);
        }
        assert!((bins.apply(0.45) - 0.8).abs() < 0.03);
        for row in 0..1000 {
            bins.observe(0.45, row % 10 < 2);
        }
        assert!((bins.apply(0.45) - 0.2).abs() < 0.03, "{}", bins.apply(0.45));
    }

    #[test]
    fn counts_that_cannot_be() {
        assert!(Bins::new(0).is_valid(), "there is always one bin");
        for bad in [
            Bins { half_life_rows: None, bins: vec![] },
            Bins { half_life_rows: None, bins: vec![bin(1.0, 2.0)] },
            Bins { half_life_rows: None, bins: vec![bin(1.0, -1.0)] },
            Bins { half_life_rows: None, bins: vec![bin(f64::INFINITY, 1.0)] },
            Bins { half_life_rows: Some(0.0), bins: vec![bin(1.0, 1.0)] },
        ] {
            assert!(!bad.is_valid(), "{bad:?}");
        }
    }
}
