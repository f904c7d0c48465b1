//! Which rows are trained on and which are held out.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// Row numbers of the two parts, each ascending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Split {
    /// Rows that networks learn from.
    pub(super) training: Vec<usize>,
    /// Rows that no network learns from.
    pub(super) validation: Vec<usize>,
}

/// Holds out a share of each class, at random by the seed, but at least one row of a class of two
/// and never all of one.
pub(super) fn stratified(converted: &[bool], valid_fraction: f64, seed: u64) -> Split {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut split = Split { training: Vec::new(), validation: Vec::new() };
    for class in [false, true] {
        let mut rows: Vec<usize> =
            (0..converted.len()).filter(|row| converted[*row] == class).collect();
        rows.shuffle(&mut random);
        let wanted = (rows.len() as f64 * valid_fraction).round() as usize;
        let held_out = wanted.max(1).min(rows.len().saturating_sub(1));
        split.validation.extend(&rows[..held_out]);
        split.training.extend(&rows[held_out..]);
    }
    // In the order of the table: nothing that comes later should depend on the class order here.
    split.training.sort_unstable();
    split.validation.sort_unstable();
    split
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(rows: usize, of_them: usize) -> Vec<bool> {
        (0..rows).map(|row| row < of_them).collect()
    }

    #[test]
    fn shares_of_each_class() {
        let converted = converted(1000, 50);
        let split = stratified(&converted, 0.2, 1);
        assert_eq!(split.validation.len(), 200);
        assert_eq!(split.validation.iter().filter(|row| converted[**row]).count(), 10);
        let mut all: Vec<_> = split.training.iter().chain(&split.validation).copied().collect();
        all.sort_unstable();
        assert_eq!(all, (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn small_classes() {
        // (rows, converted, held out of which converted)
        for (rows, positive, held_out, held_out_positive) in
            [(10, 3, 2, 1), (10, 2, 3, 1), (10, 1, 2, 0), (10, 0, 2, 0), (1, 1, 0, 0), (0, 0, 0, 0)]
        {
            let converted = converted(rows, positive);
            let split = stratified(&converted, 0.2, 1);
            assert_eq!(split.validation.len(), held_out, "{rows} {positive}");
            let found = split.validation.iter().filter(|row| converted[**row]).count();
            assert_eq!(found, held_out_positive, "{rows} {positive}");
        }
    }

    #[test]
    fn the_seed_decides() {
        let converted = converted(100, 50);
        assert_eq!(stratified(&converted, 0.2, 1), stratified(&converted, 0.2, 1));
        assert_ne!(stratified(&converted, 0.2, 1), stratified(&converted, 0.2, 2));
    }
}
