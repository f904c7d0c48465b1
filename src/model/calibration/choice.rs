//! Which method suits the rows.

use super::{Method, cross_fits, rows, within_range};

/// What rounding makes of the same loss.
const NO_DIFFERENCE: f64 = 1e-12;

/// A method, and what it was chosen by.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// The simplest method (see [`Method::ALL`]) whose loss is within noise of the best: at most one
    /// standard error of the mean of the two methods' difference, row by row, above it. For rows that
    /// have had a say in the model already, as those that training holds out.
    pub method: Method,
    /// The method with the lowest loss, the simpler of equals. For rows that the model has never
    /// seen.
    pub lowest: Method,
    /// The cross-validated mean logarithmic loss of each method, in nats, the simplest first; NaN
    /// without rows.
    pub log_losses: Vec<(Method, f64)>,
}

/// Chooses the method for labelled rows by its cross-validated logarithmic loss.
///
/// Without rows that is no calibration. Rows whose probability is NaN are left out.
///
/// # Panics
///
/// If there are not as many labels as probabilities.
pub fn choose(bins: usize, probabilities: &[f64], converted: &[bool]) -> Choice {
    let known = rows(probabilities, converted).into_iter();
    let (probabilities, converted): (Vec<f64>, Vec<bool>) =
        known.filter(|(probability, _)| !probability.is_nan()).unzip();
    let losses = Method::ALL.map(|method| losses(method, bins, &probabilities, &converted));
    let means = losses.each_ref().map(|losses| mean(losses));
    let best = (0..means.len()).min_by(|left, right| means[*left].total_cmp(&means[*right]));
    let lowest = best.unwrap_or(0);
    let best = &losses[lowest];
    let within_noise = losses.iter().position(|losses| {
        let pairs = losses.iter().zip(best);
        let differences: Vec<f64> = pairs.map(|(loss, best)| loss - best).collect();
        mean(&differences) <= standard_error(&differences) + NO_DIFFERENCE
    });
    Choice {
        method: Method::ALL[within_noise.unwrap_or(0)],
        lowest: Method::ALL[lowest],
        log_losses: Method::ALL.into_iter().zip(means).collect(),
    }
}

/// Each row's loss, the mean over the divisions into folds.
fn losses(method: Method, bins: usize, probabilities: &[f64], converted: &[bool]) -> Vec<f64> {
    let fits = cross_fits(method, bins, probabilities, converted);
    let of_row = |(row, converted): (usize, &bool)| {
        fits.iter().map(|fit| log_loss(fit[row], *converted)).sum::<f64>() / fits.len() as f64
    };
    converted.iter().enumerate().map(of_row).collect()
}

fn log_loss(probability: f64, converted: bool) -> f64 {
    -within_range(if converted { probability } else { 1.0 - probability }).ln()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Of the mean; 0 where there are too few values to tell.
fn standard_error(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let (count, mean) = (values.len() as f64, mean(values));
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / (count - 1.0) / count).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::calibration::tests::reference;
    use crate::model::calibration::{logit, sigmoid};

    /// Rows of a model that says `said(p)` where `p` is true: for each of 50 values of `p`, as many
    /// of `each` rows convert as that says, spread evenly over them.
    fn synthetic(each: usize, said: impl Fn(f64) -> f64) -> (Vec<f64>, Vec<bool>) {
        let values = (0..50).map(|step| (f64::from(step) + 0.5) / 50.0);
        let rows = values.flat_map(|p| (0..each).map(move |row| (p, row)));
        rows.map(|(p, row)| {
            let before = (p * row as f64 + 0.5).floor();
            (said(p), (p * (row + 1) as f64 + 0.5).floor() > before)
        })
        .unzip()
    }

    fn chosen(each: usize, said: impl Fn(f64) -> f64) -> Method {
        let (probabilities, converted) = synthetic(each, said);
        choose(10, &probabilities, &converted).method
    }

    #[test]
    fn what_the_rows_need() {
        let shifted = |p: f64| sigmoid(logit(p) + 1.0);
        let overconfident = |p: f64| sigmoid(2.0 * logit(p));
        // The inverse of beta calibration by a = 0.4, b = 2, found by halving.
        let skewed = |p: f64| {
            let (mut low, mut high) = (0.0, 1.0);
            for _ in 0..60 {
                let middle: f64 = (low + high) / 2.0;
                let score = 0.4 * middle.ln() - 2.0 * (-middle).ln_1p();
                if score < logit(p) { low = middle } else { high = middle }
            }
            low
        };
        assert_eq!(chosen(100, |p| p), Method::Identity);
        assert_eq!(chosen(100, overconfident), Method::Temperature);
        assert_eq!(chosen(100, shifted), Method::Platt);
        assert_eq!(chosen(100, skewed), Method::Beta);
        // What no curve can say is left to the bins or to isotonic regression.
        let (raw, _) = synthetic(100, |p| p);
        let two_levels: Vec<bool> = (0..raw.len())
            .map(|row| if raw[row] < 0.52 { row % 10 == 0 } else { row % 10 != 0 })
            .collect();
        let choice = choose(10, &raw, &two_levels);
        assert!(matches!(choice.method, Method::Bins | Method::Isotonic), "{choice:?}");
    }

    /// Twenty rows ask for less certainty, but that may be luck.
    #[test]
    fn few_rows_are_no_reason() {
        let (raw, converted): (Vec<f64>, Vec<bool>) = reference().into_iter().unzip();
        assert_eq!(choose(10, &raw, &converted).method, Method::Identity);
    }

    #[test]
    fn losses_are_told_for_all() {
        let (probabilities, converted) = synthetic(20, |p| p);
        let choice = choose(10, &probabilities, &converted);
        assert_eq!(
            choice.log_losses.iter().map(|(method, _)| *method).collect::<Vec<_>>(),
            Method::ALL
        );
        let pairs = probabilities.iter().zip(&converted);
        let raw: f64 = pairs.map(|(p, c)| -(if *c { *p } else { 1.0 - p }).ln()).sum();
        assert!((choice.log_losses[0].1 - raw / 1000.0).abs() < 1e-12);
    }

    #[test]
    fn odd_rows() {
        let none = choose(10, &[], &[]);
        assert_eq!(none.method, Method::Identity);
        assert!(none.log_losses.iter().all(|(_, loss)| loss.is_nan()));
        assert_eq!(choose(10, &[0.4], &[true]).method, Method::Identity);
        let with_nan = choose(10, &[0.4, f64::NAN, 0.6], &[true, true, false]);
        assert_eq!(with_nan.log_losses, choose(10, &[0.4, 0.6], &[true, false]).log_losses);
    }

    #[test]
    fn error_of_a_mean_by_hand() {
        // The squared distances from 2 are 1, 0, 1: their mean by n - 1 is 1, by n again 1/3.
        assert!((standard_error(&[1.0, 2.0, 3.0]) - (1.0_f64 / 3.0).sqrt()).abs() < 1e-12);
        assert_eq!(standard_error(&[5.0]), 0.0);
    }
}
