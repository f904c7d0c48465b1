//! Which of several candidates the rows speak for.

/// What rounding makes of the same loss.
const NO_DIFFERENCE: f64 = 1e-12;

/// How a candidate did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Compared {
    /// The mean loss of a row.
    pub(super) loss: f64,
    /// One standard error of its difference to the best candidate's, row by row.
    pub(super) error: f64,
}

/// The smallest candidate whose mean loss is at most one standard error of the difference above the
/// best one's, and how each did. The candidates come smallest first, each with its loss on every
/// row, or nothing. Rows of the same group are one observation.
///
/// # Panics
///
/// If the first candidate has no losses.
pub(super) fn smallest_within_error(
    losses: &[Option<Vec<f64>>],
    groups: &[usize],
) -> (usize, Vec<Option<Compared>>) {
    let means: Vec<f64> =
        losses.iter().map(|losses| losses.as_deref().map_or(f64::NAN, mean)).collect();
    let known = (0..losses.len()).filter(|candidate| means[*candidate].is_finite());
    let best = known.min_by(|left, right| means[*left].total_cmp(&means[*right]));
    let best = best.expect("the smallest candidate has losses. This is a bug.");
    let of_best = losses[best].as_deref().unwrap_or_default();
    let compared: Vec<Option<Compared>> = losses
        .iter()
        .zip(&means)
        .map(|(losses, mean)| {
            let losses = losses.as_deref().filter(|_| mean.is_finite())?;
            let differences: Vec<f64> =
                losses.iter().zip(of_best).map(|(loss, best)| loss - best).collect();
            Some(Compared { loss: *mean, error: standard_error(&differences, groups) })
        })
        .collect();
    let within = |compared: &Option<Compared>| {
        compared.is_some_and(|it| it.loss - means[best] <= it.error + NO_DIFFERENCE)
    };
    (compared.iter().position(within).unwrap_or(best), compared)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Of the mean, where the values of a group go together; 0 for fewer than two groups.
fn standard_error(values: &[f64], groups: &[usize]) -> f64 {
    let mean = mean(values);
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by_key(|row| groups[*row]);
    let sums: Vec<f64> = order
        .chunk_by(|left, right| groups[*left] == groups[*right])
        .map(|rows| rows.iter().map(|row| values[*row] - mean).sum())
        .collect();
    let count = sums.len() as f64;
    if count < 2.0 {
        return 0.0;
    }
    let squares: f64 = sums.iter().map(|sum: &f64| sum.powi(2)).sum();
    (squares * count / (count - 1.0)).sqrt() / values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALONE: [usize; 4] = [0, 1, 2, 3];

    #[test]
    fn errors_by_hand() {
        // Distances -1, 0, 0, 1 from the mean: 2 / 3, over 4 rows; its root is 0.408.
        let values = [1.0, 2.0, 2.0, 3.0];
        assert!((standard_error(&values, &ALONE) - (2.0_f64 / 3.0 / 4.0).sqrt()).abs() < 1e-12);
        // Two groups with the sums -1 and 1: (1 + 1) * 2 / 1, its root is 2, over 4 rows.
        assert!((standard_error(&values, &[7, 7, 9, 9]) - 0.5).abs() < 1e-12);
        assert_eq!(standard_error(&values, &[7; 4]), 0.0);
        // Copies of each row say no more than the rows.
        let copies = values.repeat(10);
        let groups = ALONE.repeat(10);
        let error = standard_error(&copies, &groups);
        assert!((error - standard_error(&values, &ALONE)).abs() < 1e-12, "{error}");
    }

    #[test]
    fn the_smallest_within_an_error_of_the_best() {
        let constant = Some(vec![1.0, 1.0, 1.0, 1.0]);
        // Better by 0.5 each time: no luck.
        let better = Some(vec![0.5, 0.5, 0.5, 0.4]);
        // Better by 0.1 on average, by luck: 1.3, -0.5, ...
        let lucky = Some(vec![-0.3, 1.5, 0.7, 1.7]);
        // (candidates, chosen)
        for (candidates, expected) in [
            (vec![constant.clone(), better.clone()], 1),
            (vec![constant.clone(), lucky.clone()], 0),
            // Above the best by 0.425 on average, (-0.8 + 1 + 0.2 + 1.3) / 4, with an error of 0.470.
            (vec![constant.clone(), lucky, better.clone()], 1),
            (vec![constant.clone(), better.clone(), better], 1),
            (vec![constant.clone(), None, constant.clone()], 0),
            (vec![constant, Some(vec![f64::NAN; 4])], 0),
        ] {
            let (chosen, compared) = smallest_within_error(&candidates, &ALONE);
            assert_eq!(chosen, expected, "{candidates:?}: {compared:?}");
        }
    }
}
