//! What is to be known of a dataset before training: which rows are held out, how to scale inputs,
//! and a sample that fits into memory.
//!
//! First a sample is drawn, by reading single rows. It says which conversations are so frequent that
//! they are a kind and no copies, and where the borders lie beyond which values are cut. Then one
//! pass over all blocks, on all cores, collects the statistics of the training rows and the rows that
//! are held out, and checks every block's sum. The parts are of a fixed size and are merged in
//! order, so the result does not depend on the number of threads.

use std::collections::{HashMap, HashSet};
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::DatasetError;
use super::cache::Dataset;
use super::row::Row;
use crate::features::Conversation;
use crate::features::scaler::{Borders, Scaler, Statistics};
use crate::subnet::reward::Truth;

/// Blocks whose statistics are collected by one thread at once: 65,536 rows.
const PART_BLOCKS: usize = 64;
/// Identical conversations that are more than this share of a table are a kind of conversation,
/// such as the empty one, and no copies of one.
const KIND_SHARE: f64 = 0.1;
/// A conversation that is drawn as often as this, or more rarely, is no kind.
const RARE: usize = 10;

/// How a dataset is parted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SurveyOptions {
    /// Chooses the held-out rows and the sample.
    pub seed: u64,
    /// The share of conversations that is held out.
    pub held_out_share: f64,
    /// Training rows that are held in memory, about.
    pub sample_rows: usize,
}

/// Rows in memory, in the order of the dataset.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rows {
    /// Their numbers, ascending.
    pub numbers: Vec<usize>,
    /// The conversations.
    pub conversations: Vec<Conversation>,
    /// What became of each.
    pub truths: Vec<Truth>,
}

impl Rows {
    fn push(&mut self, number: usize, row: &Row) {
        self.numbers.push(number);
        self.conversations.push(row.conversation());
        self.truths.push(row.truth());
    }

    fn append(&mut self, mut other: Rows) {
        self.numbers.append(&mut other.numbers);
        self.conversations.append(&mut other.conversations);
        self.truths.append(&mut other.truths);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }
}

/// What is known of a dataset.
#[derive(Debug, Clone)]
pub struct Survey {
    /// Scales inputs, by the training rows; as [`Scaler::fit`] of them all, but for the borders,
    /// which come from the sample.
    pub scaler: Scaler,
    /// Some of the training rows.
    pub sample: Rows,
    /// All rows that are held out. Equal conversations are all held out or all not, unless they are
    /// a kind.
    pub held_out: Rows,
    /// How many rows are not held out.
    pub training_rows: usize,
    /// How many of them converted.
    pub training_converted: usize,
}

impl Survey {
    /// Looks at all rows of a dataset. `observe` is told how many rows were done so far.
    ///
    /// # Errors
    ///
    /// If the cache cannot be read or is damaged.
    pub fn of(
        dataset: &Dataset,
        options: SurveyOptions,
        observe: &(dyn Fn(usize) + Sync),
    ) -> Result<Survey, DatasetError> {
        let drawn = draw(dataset, options)?;
        let parting = Parting::new(&drawn, options);
        let mut sample = Rows::default();
        for (number, row) in drawn.iter().filter(|(number, row)| !parting.holds_out(*number, row)) {
            sample.push(*number, row);
        }
        drop(drawn);
        let borders = Borders::of(&sample.conversations.iter().collect::<Vec<_>>());
        let parts = parts(dataset, &parting, &borders, observe)?;
        let mut survey = Survey {
            scaler: Scaler::fit(&[]),
            sample,
            held_out: Rows::default(),
            training_rows: 0,
            training_converted: 0,
        };
        let mut parts = parts.into_iter();
        // Not into an empty one: the first part's own bits are what a small table's should be.
        let mut statistics = Statistics::default();
        if let Some(first) = parts.next() {
            statistics = survey.take(first);
        }
        for part in parts {
            let of_part = survey.take(part);
            statistics.merge(&of_part);
        }
        survey.scaler = statistics.scaler();
        Ok(survey)
    }

    fn take(&mut self, part: Part) -> Statistics {
        self.held_out.append(part.held_out);
        self.training_rows += part.training_rows;
        self.training_converted += part.training_converted;
        part.statistics
    }
}

/// Rows at random, by their numbers: about as many as the sample has.
fn draw(dataset: &Dataset, options: SurveyOptions) -> Result<Vec<(usize, Row)>, DatasetError> {
    let share = options.sample_rows as f64 / dataset.rows() as f64;
    let seed = mixed(options.seed ^ 0x5a3e_9d11_c0ff_ee00);
    let numbers = (0..dataset.rows()).filter(|row| is_below(mixed(seed ^ *row as u64), share));
    numbers.map(|number| dataset.row(number).map(|row| (number, row))).collect()
}

/// Which rows are held out.
struct Parting {
    seed: u64,
    share: f64,
    /// The hashes of the conversations that are a kind.
    kinds: HashSet<u64>,
}

impl Parting {
    fn new(drawn: &[(usize, Row)], options: SurveyOptions) -> Parting {
        let seed = mixed(options.seed);
        let mut counts: HashMap<u64, usize> = HashMap::new();
        for (_, row) in drawn {
            *counts.entry(hash(seed, row)).or_default() += 1;
        }
        // What is more than all that should be held out cannot be held out as one.
        let share = options.held_out_share.min(KIND_SHARE);
        let most = ((drawn.len() as f64 * share).ceil() as usize).max(RARE);
        let kinds = counts.into_iter().filter(|(_, count)| *count > most);
        let kinds = kinds.map(|(hash, _)| hash).collect();
        Parting { seed, share: options.held_out_share, kinds }
    }

    /// By the conversation alone, so that no copy of one is trained on; those of a kind, which new
    /// ones will be of too, by their numbers.
    fn holds_out(&self, number: usize, row: &Row) -> bool {
        let hash = hash(self.seed, row);
        let hash = if self.kinds.contains(&hash) { mixed(hash ^ number as u64) } else { hash };
        is_below(hash, self.share)
    }
}

/// Whether a random number is in the first share of all.
fn is_below(random: u64, share: f64) -> bool {
    // The upper 53 bits, which an f64 holds exactly.
    (random >> 11) as f64 / (1_u64 << 53) as f64 <= share && share > 0.0
}

/// A hash of the conversation's bits; there is one NaN only.
fn hash(seed: u64, row: &Row) -> u64 {
    let mut hash = seed;
    for value in row.values() {
        hash = (hash ^ u64::from(value.to_bits())).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^= hash >> 32;
    }
    mixed(hash)
}

/// The output function of splitmix64 (Steele, Lea and Flood): each bit depends on all.
fn mixed(mut bits: u64) -> u64 {
    bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// What is known of some blocks.
#[derive(Default)]
struct Part {
    statistics: Statistics,
    held_out: Rows,
    training_rows: usize,
    training_converted: usize,
}

/// All parts in order, looked at on all cores.
fn parts(
    dataset: &Dataset,
    parting: &Parting,
    borders: &Borders,
    observe: &(dyn Fn(usize) + Sync),
) -> Result<Vec<Part>, DatasetError> {
    let count = dataset.blocks().div_ceil(PART_BLOCKS);
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(count);
    let (next, rows_done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || -> Result<Vec<(usize, Part)>, DatasetError> {
        let mut done = Vec::new();
        let mut buffer = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return Ok(done);
            }
            let part = part(dataset, index, parting, borders, &mut buffer)?;
            let rows = part.training_rows + part.held_out.len();
            observe(rows_done.fetch_add(rows, Ordering::Relaxed) + rows);
            done.push((index, part));
        }
    };
    let results: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let joined = threads
            .into_iter()
            .map(|thread| thread.join().expect("statistics do not panic. This is a bug."));
        joined.collect()
    });
    let mut parts = Vec::with_capacity(count);
    for result in results {
        parts.append(&mut result?);
    }
    parts.sort_by_key(|(index, _)| *index);
    Ok(parts.into_iter().map(|(_, part)| part).collect())
}

fn part(
    dataset: &Dataset,
    index: usize,
    parting: &Parting,
    borders: &Borders,
    buffer: &mut Vec<u8>,
) -> Result<Part, DatasetError> {
    let mut part = Part::default();
    let first = index * PART_BLOCKS;
    for block in first..(first + PART_BLOCKS).min(dataset.blocks()) {
        for (number, row) in dataset.block(block, buffer)? {
            if parting.holds_out(number, &row) {
                part.held_out.push(number, &row);
            } else {
                part.training_rows += 1;
                part.training_converted += usize::from(row.truth().converted);
                part.statistics.add(&row.inputs(), borders);
            }
        }
    }
    Ok(part)
}
