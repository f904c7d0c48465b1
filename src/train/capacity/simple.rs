//! The candidates without networks: one probability for all, and logistic regressions.

use super::super::latch::Latch;
use super::super::observer::Observer as _;
use super::super::split::Split;
use super::{Capacity, Contender};
use crate::causes::with_causes;
use crate::features::engineer::INPUT_COUNT;
use crate::model::baseline::{Baseline, DEFAULT_PENALTY};
use crate::model::predictor::Estimate;

/// The smallest candidate of each kind.
pub(super) const CONSTANT: &str = "constant";
/// As [`CONSTANT`], of the time.
pub(super) const CONSTANT_TIME: &str = "best constant";

/// The penalties of the logistic regressions, the strongest first. Many inputs say the same of a
/// conversation, so that a hundred counts as little more than one would alone.
pub(super) const PENALTIES: [f64; 4] = [1000.0, 100.0, 10.0, DEFAULT_PENALTY];

/// How many simple candidates for the class there are; the last one is the logistic regression that
/// every report compares with.
pub(super) const COUNT: usize = 1 + PENALTIES.len();

/// So many held-out rows are wanted of all repeats together.
const HELD_OUT_ROWS: usize = 3000;
const MOST_REPEATS: usize = 20;

/// How often a table of so many rows is divided into folds.
pub(super) fn repeats(rows: usize) -> usize {
    (HELD_OUT_ROWS / rows).clamp(1, MOST_REPEATS)
}

/// The constant and the logistic regressions, smallest first, and the best constant time.
pub(super) fn contenders(
    capacity: &Capacity<'_>,
    folds: usize,
    latch: &mut Latch<'_>,
) -> (Vec<Contender>, Contender) {
    let rows = capacity.table.len();
    let repeats: Vec<Vec<Split>> =
        (0..repeats(rows)).map(|repeat| capacity.splits(folds, repeat)).collect();
    // Cheap, so that there is always one candidate, whatever is interrupted.
    let mut constant = Vec::new();
    let mut times = Vec::new();
    for splits in &repeats {
        let (mut probability, mut time) = (vec![0.0; rows], vec![0.0; rows]);
        for Split { training, validation } in splits {
            let seen = capacity.table.select(training);
            let baseline = Baseline::constant(seen.len(), &seen.converted_times());
            let said = Estimate::of_baseline(&baseline, &[0.0; INPUT_COUNT]);
            for row in validation {
                (probability[*row], time[*row]) = (said.probability, said.time_seconds);
            }
        }
        constant.push(probability);
        times.push(time);
    }
    let mut class = vec![Contender::simple(CONSTANT, Ok(constant))];
    for penalty in PENALTIES {
        let name = name(penalty);
        let said = logistic(capacity, &repeats, penalty, &name, latch);
        class.push(Contender::simple(name, said));
    }
    (class, Contender::simple(CONSTANT_TIME, Ok(times)))
}

/// The penalty of a candidate of this number; none of the constant.
pub(super) fn penalty(candidate: usize) -> Option<f64> {
    PENALTIES.get(candidate.checked_sub(1)?).copied()
}

fn name(penalty: f64) -> String {
    format!("logistic regression, penalty {penalty}")
}

/// What logistic regressions with a penalty say of the rows that they have not seen, in as many
/// repeats as were done before an interruption.
fn logistic(
    capacity: &Capacity<'_>,
    repeats: &[Vec<Split>],
    penalty: f64,
    name: &str,
    latch: &mut Latch<'_>,
) -> Result<Vec<Vec<f64>>, String> {
    let mut said = Vec::new();
    'repeats: for splits in repeats {
        let mut probability = vec![0.0; capacity.table.len()];
        for Split { training, validation } in splits {
            if latch.stop_requested() {
                break 'repeats;
            }
            let (seen, unseen) =
                (capacity.table.select(training), capacity.table.select(validation));
            let baseline = Baseline::fit(&seen.inputs, &seen.classes(), &[], penalty)
                .map_err(|error| with_causes(&error))?;
            let rows = unseen.inputs.chunks_exact(INPUT_COUNT);
            for (row, inputs) in validation.iter().zip(rows) {
                probability[*row] = Estimate::of_baseline(&baseline, inputs).probability;
            }
            latch.comparison_advanced(name);
        }
        said.push(probability);
    }
    if said.is_empty() { Err("interrupted".to_owned()) } else { Ok(said) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_out_rows_number_a_few_thousand() {
        for (rows, expected) in [(10, 20), (100, 20), (150, 20), (600, 5), (2000, 1), (90_000, 1)] {
            assert_eq!(repeats(rows), expected, "{rows}");
        }
    }
}
