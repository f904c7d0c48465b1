//! Which rows are trained on and which are held out.

use std::collections::HashMap;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::features::Conversation;

/// Row numbers of the two parts, each ascending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Split {
    /// Rows that networks learn from.
    pub(crate) training: Vec<usize>,
    /// Rows that no network learns from.
    pub(crate) validation: Vec<usize>,
}

/// From so many rows on, one held-out part says enough.
const ROWS_FOR_ONE_PART: usize = 2000;
/// Rows of the rarer class that a held-out part should have to say enough.
const RARER_FOR_ONE_PART: f64 = 100.0;
/// Identical conversations that are more than this share of a table are a kind of conversation,
/// such as the empty one, and no copies of one.
const KIND: usize = 10;

/// The rows as they may be parted: whose conversations are the same stay together. Copies on both
/// sides of a split would let a model look up what it should predict.
#[derive(Debug, Clone)]
pub(crate) struct Strata {
    converted: Vec<bool>,
    /// The number of the first row of the same group, for each row.
    first: Vec<usize>,
    /// The rows of each group, in the order of their first rows.
    groups: Vec<Vec<usize>>,
}

impl Strata {
    /// Finds identical conversations. So many that they are a kind of their own, more than a tenth
    /// of the rows, are not kept together: new ones of the kind will come too.
    pub(crate) fn new(conversations: &[Conversation], converted: Vec<bool>) -> Strata {
        assert_eq!(conversations.len(), converted.len(), "one class a row. This is a bug.");
        let mut group_of = HashMap::new();
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for (row, conversation) in conversations.iter().enumerate() {
            // There is one NaN only, the one of a missing value.
            let bits = conversation.values.map(f32::to_bits);
            let group = *group_of.entry(bits).or_insert(groups.len());
            match groups.get_mut(group) {
                Some(rows) => rows.push(row),
                None => groups.push(vec![row]),
            }
        }
        let most = converted.len().div_ceil(KIND);
        let mut groups: Vec<Vec<usize>> = groups
            .into_iter()
            .flat_map(|rows| {
                let is_kind = rows.len() > most;
                let size = if is_kind { 1 } else { rows.len() };
                rows.chunks(size).map(<[usize]>::to_vec).collect::<Vec<_>>()
            })
            .collect();
        groups.sort_unstable_by_key(|rows| rows[0]);
        let mut first = vec![0; converted.len()];
        for rows in &groups {
            rows.iter().for_each(|row| first[*row] = rows[0]);
        }
        Strata { converted, first, groups }
    }

    /// These rows of them, numbered anew.
    pub(crate) fn select(&self, rows: &[usize]) -> Strata {
        let mut place_of = HashMap::new();
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for (place, row) in rows.iter().enumerate() {
            let group = *place_of.entry(self.first[*row]).or_insert(groups.len());
            match groups.get_mut(group) {
                Some(rows) => rows.push(place),
                None => groups.push(vec![place]),
            }
        }
        let mut first = vec![0; rows.len()];
        for group in &groups {
            group.iter().for_each(|place| first[*place] = group[0]);
        }
        Strata { converted: rows.iter().map(|row| self.converted[*row]).collect(), first, groups }
    }

    /// Whether the row is the first of its group.
    pub(crate) fn is_first(&self, row: usize) -> bool {
        self.first[row] == row
    }

    /// For each row, the number of the first row of its group.
    pub(crate) fn first(&self) -> &[usize] {
        &self.first
    }

    /// How many groups there are with a row of the class that fewer have.
    pub(crate) fn rarer(&self) -> usize {
        let having = |class: bool| {
            let has = |rows: &&Vec<usize>| rows.iter().any(|row| self.converted[*row] == class);
            self.groups.iter().filter(has).count()
        };
        having(true).min(having(false))
    }

    /// Whether one held-out part of this share says enough about the rows.
    pub(crate) fn bear_one_part(&self, valid_fraction: f64) -> bool {
        self.converted.len() >= ROWS_FOR_ONE_PART
            && self.rarer() as f64 * valid_fraction >= RARER_FOR_ONE_PART
    }

    /// Every row is held out in one of the folds, each of which has its share of each class.
    pub(crate) fn folds(&self, count: usize, seed: u64) -> Vec<Split> {
        let count = count.min(self.groups.len());
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut sizes = vec![(0, 0); count];
        let mut fold_of = vec![0; self.converted.len()];
        // The rare converted rows first; the others then make the folds of a size.
        for class in [true, false] {
            for rows in self.shuffled(class, &mut random) {
                let converted = rows.iter().filter(|row| self.converted[**row]).count();
                let smallest = if class {
                    (0..count).min_by_key(|fold| sizes[*fold])
                } else {
                    (0..count).min_by_key(|fold| sizes[*fold].1)
                };
                let fold = smallest.unwrap_or(0);
                sizes[fold] = (sizes[fold].0 + converted, sizes[fold].1 + rows.len());
                rows.iter().for_each(|row| fold_of[*row] = fold);
            }
        }
        (0..count)
            .map(|fold| {
                let (validation, training) =
                    (0..self.converted.len()).partition(|row| fold_of[*row] == fold);
                Split { training, validation }
            })
            .collect()
    }

    /// Holds out a share of each class, at random by the seed, but at least one group of a class of
    /// two and never all of one.
    pub(crate) fn hold_out(&self, valid_fraction: f64, seed: u64) -> Split {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut split = Split { training: Vec::new(), validation: Vec::new() };
        for class in [false, true] {
            let groups = self.shuffled(class, &mut random);
            let rows: usize = groups.iter().map(|rows| rows.len()).sum();
            let wanted = ((rows as f64 * valid_fraction).round() as usize).max(1);
            let mut held_out = 0;
            for (index, rows) in groups.iter().enumerate() {
                if held_out < wanted && index + 1 < groups.len() {
                    held_out += rows.len();
                    split.validation.extend(*rows);
                } else {
                    split.training.extend(*rows);
                }
            }
        }
        // In the order of the table: nothing that comes later should depend on the class order here.
        split.training.sort_unstable();
        split.validation.sort_unstable();
        split
    }

    /// The groups with a converted row, or those without, in a random order.
    fn shuffled(&self, class: bool, random: &mut ChaCha8Rng) -> Vec<&Vec<usize>> {
        let has = |rows: &Vec<usize>| rows.iter().any(|row| self.converted[*row]);
        let mut groups: Vec<&Vec<usize>> =
            self.groups.iter().filter(|rows| has(rows) == class).collect();
        groups.shuffle(random);
        groups
    }
}

#[cfg(test)]
impl Strata {
    /// Rows that are all different, the first ones converted.
    pub(crate) fn distinct(rows: usize, converted: usize) -> Strata {
        let conversations: Vec<Conversation> = (0..rows).map(conversation).collect();
        Strata::new(&conversations, (0..rows).map(|row| row < converted).collect())
    }
}

#[cfg(test)]
fn conversation(number: usize) -> Conversation {
    let mut conversation = Conversation::EMPTY;
    conversation.set(0, number as f64);
    conversation
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_each_class() {
        let split = Strata::distinct(1000, 50).hold_out(0.2, 1);
        assert_eq!(split.validation.len(), 200);
        assert_eq!(split.validation.iter().filter(|row| **row < 50).count(), 10);
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
            let split = Strata::distinct(rows, positive).hold_out(0.2, 1);
            assert_eq!(split.validation.len(), held_out, "{rows} {positive}");
            let found = split.validation.iter().filter(|row| **row < positive).count();
            assert_eq!(found, held_out_positive, "{rows} {positive}");
        }
    }

    #[test]
    fn the_seed_decides() {
        let strata = Strata::distinct(100, 50);
        assert_eq!(strata.hold_out(0.2, 1), strata.hold_out(0.2, 1));
        assert_ne!(strata.hold_out(0.2, 1), strata.hold_out(0.2, 2));
        assert_eq!(strata.folds(5, 1), strata.folds(5, 1));
        assert_ne!(strata.folds(5, 1), strata.folds(5, 2));
    }

    #[test]
    fn folds_are_of_a_size_and_hold_out_each_row_once() {
        let folds = Strata::distinct(103, 7).folds(5, 3);
        let mut held_out: Vec<usize> = Vec::new();
        for fold in &folds {
            assert!((20..=21).contains(&fold.validation.len()));
            let positives = fold.validation.iter().filter(|row| **row < 7).count();
            assert!((1..=2).contains(&positives));
            assert_eq!(fold.training.len() + fold.validation.len(), 103);
            held_out.extend(&fold.validation);
        }
        held_out.sort_unstable();
        assert_eq!(held_out, (0..103).collect::<Vec<_>>());
        assert_eq!(Strata::distinct(3, 1).folds(5, 3).len(), 3);
    }

    /// Ten conversations, ten times each, with labels that differ among the copies.
    #[test]
    fn copies_stay_together() {
        let conversations: Vec<Conversation> = (0..100).map(|row| conversation(row % 10)).collect();
        let converted = (0..100).map(|row| row % 10 < 3 && row > 20).collect();
        let strata = Strata::new(&conversations, converted);
        assert_eq!(strata.rarer(), 3);
        let mut splits = strata.folds(5, 1);
        for fold in &splits {
            assert_eq!(fold.validation.len(), 20);
        }
        splits.push(strata.hold_out(0.2, 1));
        for split in &splits {
            for row in &split.validation {
                assert!(split.training.iter().all(|other| other % 10 != row % 10), "{split:?}");
            }
        }
        // Among some of the rows too.
        let some: Vec<usize> = (0..100).step_by(3).collect();
        for split in strata.select(&some).folds(4, 1) {
            let number = |place: &usize| some[*place] % 10;
            for place in &split.validation {
                assert!(split.training.iter().all(|other| number(other) != number(place)));
            }
        }
    }

    /// Most real conversations are empty: these are no copies.
    #[test]
    fn a_kind_is_spread_over_the_folds() {
        let conversations: Vec<Conversation> = (0..100)
            .map(|row| if row < 80 { Conversation::EMPTY } else { conversation(row) })
            .collect();
        let strata = Strata::new(&conversations, (0..100).map(|row| row >= 96).collect());
        assert_eq!(strata.rarer(), 4);
        for fold in strata.folds(4, 1) {
            let empty = fold.validation.iter().filter(|row| **row < 80).count();
            assert!((14..=24).contains(&empty), "{empty}");
            assert_eq!(fold.validation.iter().filter(|row| **row >= 96).count(), 1);
        }
    }

    #[test]
    fn the_table_decides_how_it_is_split() {
        let one = |rows, positives| Strata::distinct(rows, positives).bear_one_part(0.2);
        assert!(one(2000, 500));
        assert!(!one(2000, 499), "a fifth of 499 converted rows is fewer than 100");
        assert!(!one(1999, 999));
        assert!(one(20_000, 19_000));
        assert!(!one(20_000, 19_900));
    }
}
