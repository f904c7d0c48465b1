//! Calibrations measured on rows that they were not fitted to.

use super::{Method, Row, fit_rows, rows};

/// Parts that the rows are divided into; each is measured by what the others say.
const FOLDS: usize = 5;
/// How often fewer than [`FEW_ROWS`] rows are divided anew: then the luck of one division is more
/// than what methods differ by.
const REPEATS: usize = 5;
const FEW_ROWS: usize = 1000;

/// Each row's calibrated probability, by a calibration that was fitted without the fifth of the
/// rows that it is in: what calibration does to rows it has not seen.
///
/// Each fifth has its share of the converted rows. Which rows are in it is decided by their index
/// alone, so the same rows always give the same result. NaN stays NaN.
///
/// # Panics
///
/// If there are not as many labels as probabilities.
pub fn cross_fitted(
    method: Method,
    bins: usize,
    probabilities: &[f64],
    converted: &[bool],
) -> Vec<f64> {
    cross_fit(method, bins, &rows(probabilities, converted), 0)
}

/// As [`cross_fitted`], under as many divisions into fifths as the rows need: five if they are
/// fewer than 1000, else one.
///
/// # Panics
///
/// If there are not as many labels as probabilities.
pub fn cross_fits(
    method: Method,
    bins: usize,
    probabilities: &[f64],
    converted: &[bool],
) -> Vec<Vec<f64>> {
    let rows = rows(probabilities, converted);
    let repeats = if rows.len() < FEW_ROWS { REPEATS } else { 1 };
    (0..repeats).map(|repeat| cross_fit(method, bins, &rows, repeat)).collect()
}

fn cross_fit(method: Method, bins: usize, rows: &[Row], repeat: usize) -> Vec<f64> {
    let folds = folds(rows, repeat);
    let mut calibrated = vec![0.0; rows.len()];
    for fold in 0..FOLDS {
        let others = rows.iter().zip(&folds).filter(|(_, of)| **of != fold);
        let others: Vec<Row> = others.map(|(row, _)| *row).collect();
        let fitted = fit_rows(method, bins, &others);
        for (index, (probability, _)) in rows.iter().enumerate() {
            if folds[index] == fold {
                calibrated[index] = fitted.apply(*probability);
            }
        }
    }
    calibrated
}

/// Each row's fold. The rows of each class are shuffled by a fixed rule and dealt out in turn, the
/// second class going on where the first one ended.
fn folds(rows: &[Row], repeat: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|index| (rows[*index].1, scattered(*index, repeat)));
    let mut folds = vec![0; rows.len()];
    for (turn, index) in order.into_iter().enumerate() {
        folds[index] = turn % FOLDS;
    }
    folds
}

/// A number that looks random, different for each index and repeat: the finaliser of splitmix64.
/// Rows dealt out by their index would meet whatever period is in a file.
fn scattered(index: usize, repeat: usize) -> u64 {
    let mut bits = ((repeat as u64) << 48) ^ (index as u64);
    bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fold_has_its_share() {
        let rows: Vec<Row> = (0..103).map(|row| (0.5, row % 10 == 0)).collect();
        for repeat in 0..REPEATS {
            let folds = folds(&rows, repeat);
            for fold in 0..FOLDS {
                let of = |converted| {
                    let pairs = folds.iter().zip(&rows);
                    pairs.filter(|(of, row)| **of == fold && row.1 == converted).count()
                };
                // 11 converted and 92 not, by five.
                assert!((2..=3).contains(&of(true)) && (18..=19).contains(&of(false)));
                assert!((20..=21).contains(&(of(true) + of(false))));
            }
        }
        assert_ne!(folds(&rows, 0), folds(&rows, 1));
        assert_eq!(folds(&rows, 0), folds(&rows, 0));
    }

    #[test]
    fn no_row_is_measured_by_itself() {
        // One row alone converted: its own fifth is measured by bins that never saw it.
        let mut converted = [false; 10];
        converted[5] = true;
        let rows: Vec<Row> = converted.iter().map(|converted| (0.05, *converted)).collect();
        let folds = folds(&rows, 0);
        let fitted = cross_fitted(Method::Bins, 10, &[0.05; 10], &converted);
        for (index, calibrated) in fitted.into_iter().enumerate() {
            let seen = f64::from(u8::from(folds[index] != folds[5]));
            let expected = (seen + 10.0 * 0.05) / (8.0 + 10.0);
            assert!((calibrated - expected).abs() < 1e-12, "{index}: {calibrated}");
        }
    }

    #[test]
    fn few_rows_are_divided_more_than_once() {
        let fits = |rows: usize| {
            let probabilities: Vec<f64> = (0..rows).map(|row| (row % 7) as f64 / 7.0).collect();
            let converted: Vec<bool> = (0..rows).map(|row| row % 3 == 0).collect();
            cross_fits(Method::Platt, 10, &probabilities, &converted)
        };
        let few = fits(50);
        assert_eq!((few.len(), few[0].len()), (REPEATS, 50));
        assert_ne!(few[0], few[1]);
        assert_eq!(fits(1000).len(), 1);
        assert_eq!(fits(0), vec![Vec::<f64>::new(); REPEATS]);
        assert_eq!(fits(1)[0].len(), 1);
    }
}
