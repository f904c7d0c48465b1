//! Which rows trials are trained on, judged by, and measured with at the very end.

use crate::features::Conversation;
use crate::subnet::reward::Truth;
use crate::train::TrainConfig;
use crate::train::split::Strata;

use super::SearchError;

/// The fewest rows that are searched with.
pub const FEWEST_ROWS: usize = 100;
/// The share of rows that trials are judged by, and that of rows that are kept for the end.
const HELD_OUT: (f64, f64) = (0.15, 0.15);
/// What a rung has of the rows of the one above it.
const SHARE: f64 = 1.0 / super::halving::REDUCTION as f64;
/// Rungs at most.
const MOST_RUNGS: usize = 3;
/// Rows, and different ones of the rarer class, without which a rung says nothing of those above.
const FEWEST_OF_RUNG: (usize, usize) = (1000, 100);
/// Added to the seed of each further division, so that none repeats another.
const NEXT_SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// Row numbers of the parts, each ascending. Equal conversations are in one part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// Rows that trials are trained on: those of each rung, the fewest first. Each rung has all rows
    /// of the one below.
    pub rungs: Vec<Vec<usize>>,
    /// Rows that trials are judged by. None is trained on them.
    pub judged: Vec<usize>,
    /// Rows that the best and the start are measured with when all is decided.
    pub unseen: Vec<usize>,
    /// Whether training by this start would compare models of its own in place of the networks of a
    /// configuration, since the rows are few.
    pub is_small: bool,
}

impl Parts {
    /// Divides rows by a seed, with each class's share in every part.
    ///
    /// # Errors
    ///
    /// If there are too few rows.
    pub fn new(
        conversations: &[Conversation],
        truths: &[Truth],
        start: &TrainConfig,
        seed: u64,
    ) -> Result<Parts, SearchError> {
        if truths.len() < FEWEST_ROWS {
            return Err(SearchError::TooFewRows(truths.len()));
        }
        let converted = truths.iter().map(|truth| truth.converted).collect();
        let strata = Strata::new(conversations, converted);
        let (judged_share, unseen_share) = HELD_OUT;
        let held_out = judged_share + unseen_share;
        let split = strata.hold_out(held_out, seed);
        let halves = hold_out(&strata, &split.validation, judged_share / held_out, seed, 1);
        let training = strata.select(&split.training);
        let is_small =
            start.folds == 0 && !training.bear_one_part(start.held_out_share(training.rarer()));

        let mut rungs = vec![split.training];
        while rungs.len() < MOST_RUNGS && !is_small {
            let (_, fewer) = hold_out(&strata, &rungs[0], SHARE, seed, 1 + rungs.len() as u64);
            let (rows, rarer) = FEWEST_OF_RUNG;
            if fewer.len() < rows || strata.select(&fewer).rarer() < rarer {
                break;
            }
            rungs.insert(0, fewer);
        }
        Ok(Parts { rungs, judged: halves.1, unseen: halves.0, is_small })
    }

    /// The rows of the highest rung: all that are trained on.
    pub fn training(&self) -> &[usize] {
        self.rungs.last().map_or(&[], Vec::as_slice)
    }
}

/// Divides some of the rows: the others, and those that are held out.
fn hold_out(
    strata: &Strata,
    rows: &[usize],
    share: f64,
    seed: u64,
    number: u64,
) -> (Vec<usize>, Vec<usize>) {
    let seed = seed.wrapping_add(NEXT_SEED.wrapping_mul(number));
    let split = strata.select(rows).hold_out(share, seed);
    let named = |places: &[usize]| places.iter().map(|place| rows[*place]).collect();
    (named(&split.training), named(&split.validation))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of which every two following ones are the same, and a third of the pairs converted.
    fn pairs(rows: usize) -> (Vec<Conversation>, Vec<Truth>) {
        let row = |row: usize| {
            let mut conversation = Conversation::EMPTY;
            conversation.set(0, (row / 2) as f64);
            let truth = match (row / 2) % 3 {
                0 => Truth::converted_after(60.0),
                _ => Truth::not_converted(),
            };
            (conversation, truth)
        };
        (0..rows).map(row).unzip()
    }

    fn parts(rows: usize, seed: u64) -> Parts {
        let (conversations, truths) = pairs(rows);
        Parts::new(&conversations, &truths, &TrainConfig::default(), seed).unwrap()
    }

    #[test]
    fn every_row_is_in_one_part_and_no_copy_in_another() {
        let parts = parts(20_000, 1);
        let mut part_of = vec![0; 20_000];
        for (part, rows) in [parts.training(), &parts.judged, &parts.unseen].iter().enumerate() {
            assert!(rows.is_sorted());
            rows.iter().for_each(|row| part_of[*row] += part + 1);
            let converted = rows.iter().filter(|row| (**row / 2) % 3 == 0).count();
            let share = converted as f64 / rows.len() as f64;
            assert!((share - 1.0 / 3.0).abs() < 0.01, "{share}");
        }
        assert!(part_of.iter().all(|part| (1..=3).contains(part)));
        assert!(part_of.chunks(2).all(|pair| pair[0] == pair[1]));
        assert!(parts.judged.len().abs_diff(3000) < 10 && parts.unseen.len().abs_diff(3000) < 10);
    }

    #[test]
    fn rungs_hold_those_below() {
        let parts = parts(20_000, 1);
        let rows: Vec<usize> = parts.rungs.iter().map(Vec::len).collect();
        assert_eq!(rows.len(), 3);
        let is_third = |below: usize, above: usize| (above / 3).abs_diff(below) < 10;
        assert!(is_third(rows[1], rows[2]) && is_third(rows[0], rows[1]), "{rows:?}");
        for rungs in parts.rungs.windows(2) {
            assert!(rungs[0].iter().all(|row| rungs[1].binary_search(row).is_ok()));
        }
    }

    #[test]
    fn the_seed_decides() {
        assert_eq!(parts(3000, 1), parts(3000, 1));
        assert_ne!(parts(3000, 1).judged, parts(3000, 2).judged);
    }

    #[test]
    fn few_rows_have_few_rungs() {
        assert_eq!(parts(6000, 1).rungs.len(), 2, "a ninth of 4200 rows is too few");
        let (conversations, truths) = pairs(3200);
        let one_part = TrainConfig { folds: 1, ..TrainConfig::default() };
        let few = Parts::new(&conversations, &truths, &one_part, 1).unwrap();
        assert_eq!(few.rungs.len(), 1, "so is a third of 2240");
        assert!(!few.is_small, "who names a number of folds wants the networks");
        let small = parts(1000, 1);
        assert!(small.is_small && small.rungs.len() == 1);
        let (conversations, truths) = pairs(99);
        let error = Parts::new(&conversations, &truths, &TrainConfig::default(), 1).unwrap_err();
        assert!(error.to_string().contains("at least 100 labelled rows"), "{error}");
    }
}
