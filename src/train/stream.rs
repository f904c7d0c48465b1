//! Training on more rows than memory holds.
//!
//! A sample of the training rows and all held-out ones are in memory, as a table of their own. From
//! it come the baseline, the encodings, the unit of time and all that is measured. Only the passes of
//! the networks read the dataset: its blocks in an order of the pass, as many of them at once as a
//! chunk holds, whose rows the stage then shuffles. A thread reads and scales the next chunk
//! while one is trained on.

use std::ops::{ControlFlow, Range};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use burn::tensor::Device;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::config::TrainConfig;
use super::data::{Part, has_time, within_answers};
use super::fit::Streams;
use super::learner::{ChunkSource, StreamError};
use super::observer::Observer;
use super::resume::Resumable;
use super::split::{Split, Strata};
use super::{FEWEST_ROWS, Parted, TrainError, Trained};
use crate::dataset::{Dataset, DatasetError, MemoryPlan, Row, Survey, SurveyOptions};
use crate::features::Conversation;
use crate::features::engineer::INPUT_COUNT;
use crate::features::scaler::Scaler;
use crate::subnet::reward::Truth;

/// The generator's stream that orders blocks; those of the stage's passes have low numbers.
const BLOCK_STREAM: u64 = 1 << 63;

/// A dataset that is ready to be trained on.
#[derive(Debug, Clone, Copy)]
pub struct Streamed<'a> {
    /// All rows.
    pub dataset: &'a Dataset,
    /// What is known of them.
    pub survey: &'a Survey,
    /// Rows that are shuffled together, at most.
    pub chunk_rows: usize,
}

/// A miner that was trained on more rows than memory holds, and the rows that were in memory: the
/// sample and then the held-out ones, by whose places it names them.
#[derive(Debug)]
pub struct StreamTrained {
    /// The miner.
    pub trained: Trained,
    /// The conversations in memory.
    pub conversations: Vec<Conversation>,
    /// What became of each.
    pub truths: Vec<Truth>,
}

/// Rows that are held out, if there is room for them and nobody asked for fewer: copies stay together,
/// so the few of a small share might be copies of a handful of conversations.
const ENOUGH_HELD_OUT: f64 = 20_000.0;

/// How a dataset is parted for this configuration, and the share of rows that was asked for to be
/// held out, if the plan has no room for them.
pub fn survey_options(
    dataset: &Dataset,
    config: &TrainConfig,
    plan: &MemoryPlan,
) -> (SurveyOptions, Option<f64>) {
    let rarer = dataset.converted().min(dataset.rows() - dataset.converted());
    let rows = dataset.rows() as f64;
    let asked = config.held_out_share(rarer);
    // No more than of a small table, and no more than what was asked for.
    let enough = config.held_out_share(0).min(ENOUGH_HELD_OUT / rows);
    let most = plan.sample_rows as f64 / 2.0;
    let held_out_share = asked.max(enough).min(most / rows);
    let held_out = (held_out_share * rows).ceil() as usize;
    let sample_rows = plan.sample_rows - held_out.min(plan.sample_rows / 2);
    let options = SurveyOptions { seed: config.seed, held_out_share, sample_rows };
    (options, (held_out_share < asked).then_some(asked))
}

/// Trains a miner on a dataset, as [`train_resumably`](super::train_resumably) does on a table.
///
/// The same sources, configuration, seed and memory plan give the same weights on the CPU.
///
/// # Errors
///
/// Those of [`train`](super::train), if folds are asked for, and if rows cannot be read.
pub fn train_streamed(
    Streamed { dataset, survey, chunk_rows }: Streamed<'_>,
    config: &TrainConfig,
    device: &Device,
    observer: &mut dyn Observer,
    states: Option<&mut Resumable>,
) -> Result<StreamTrained, TrainError> {
    config.check()?;
    if config.folds > 1 {
        return Err(TrainError::FoldsInMemory(config.folds));
    }
    let sampled = survey.sample.len();
    if sampled < FEWEST_ROWS {
        return Err(TrainError::TooFewRows(sampled + survey.held_out.len()));
    }
    if survey.held_out.is_empty() {
        return Err(TrainError::NothingHeldOut(survey.training_rows));
    }
    let conversations =
        [survey.sample.conversations.as_slice(), &survey.held_out.conversations].concat();
    let truths = [survey.sample.truths.as_slice(), &survey.held_out.truths].concat();
    let split =
        Split { training: (0..sampled).collect(), validation: (sampled..truths.len()).collect() };
    let converted = truths.iter().map(|truth| truth.converted).collect();
    let strata = Strata::new(&conversations, converted);
    let passes = |selection: Selection, rows: usize| Passes {
        dataset,
        scaler: &survey.scaler,
        held_out: &survey.held_out.numbers,
        selection,
        chunks: chunks(rows, chunk_rows.min(overlapping(rows))).map(|rows| rows.len()).collect(),
    };
    let all = passes(Selection::All, survey.training_rows);
    let converted = passes(Selection::Converted, survey.training_converted);
    let parted = Parted {
        conversations: &conversations,
        truths: &truths,
        strata,
        scaler: survey.scaler.clone(),
        splits: vec![split],
        is_small: false,
        baseline_rows: sampled,
        streams: Some(Streams { all: &all, converted: &converted }),
    };
    let trained = parted.train(config, device, observer, states)?;
    Ok(StreamTrained { trained, conversations, truths })
}

/// The rows of a chunk with which a pass is mostly trained while it is read: before the first chunk
/// there is nothing to do but to wait for it.
fn overlapping(rows: usize) -> usize {
    /// Enough to be shuffled well.
    const FEWEST: usize = 1 << 16;
    rows.div_ceil(4).max(FEWEST)
}

/// So many rows in as few chunks of nearly the same size as have at most `most` each: a short rest
/// would weigh as much as others in what its batches teach.
fn chunks(rows: usize, most: usize) -> impl Iterator<Item = Range<usize>> {
    let count = rows.div_ceil(most.max(1)).max(1);
    (0..count).map(move |chunk| chunk * rows / count..(chunk + 1) * rows / count)
}

/// Which rows a pass is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Selection {
    All,
    /// Those that converted after a known time.
    Converted,
}

impl Selection {
    fn has(self, truth: &Truth) -> bool {
        self == Selection::All || has_time(truth)
    }
}

/// The training rows of a dataset, a pass after the other.
struct Passes<'a> {
    dataset: &'a Dataset,
    scaler: &'a Scaler,
    /// The numbers of the rows that are held out, ascending.
    held_out: &'a [usize],
    selection: Selection,
    /// The rows of each chunk.
    chunks: Vec<usize>,
}

impl ChunkSource for Passes<'_> {
    fn chunk_rows(&self) -> Vec<usize> {
        self.chunks.clone()
    }

    fn visit(
        &self,
        pass: usize,
        seed: u64,
        visit: &mut dyn FnMut(Part) -> ControlFlow<()>,
    ) -> Result<(), StreamError> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(BLOCK_STREAM | pass as u64);
        let mut order: Vec<usize> = (0..self.dataset.blocks()).collect();
        order.shuffle(&mut random);
        thread::scope(|scope| {
            // Without room between: the chunk that is trained on and the one that is made are two
            // already.
            let (sender, receiver) = sync_channel(0);
            scope.spawn(move || {
                if let Err(error) = self.read(&order, &sender) {
                    // Nobody listens any more if the pass was given up.
                    let _ = sender.send(Err(error));
                }
            });
            for part in receiver {
                if visit(part?).is_break() {
                    break;
                }
            }
            Ok(())
        })
    }
}

impl Passes<'_> {
    /// Sends the chunks of a pass, until nobody listens.
    fn read(
        &self,
        order: &[usize],
        sender: &SyncSender<Result<Part, DatasetError>>,
    ) -> Result<(), DatasetError> {
        let mut sizes = self.chunks.iter().copied();
        let Some(mut size) = sizes.next() else { return Ok(()) };
        let mut part = part_of(size);
        let mut buffer = Vec::new();
        for block in order {
            let mut rows = self.dataset.block(*block, &mut buffer)?.peekable();
            let first = rows.peek().map_or(0, |(number, _)| *number);
            let skipped = self.held_out.partition_point(|number| *number < first);
            let mut skipped = self.held_out[skipped..].iter().peekable();
            for (number, row) in rows {
                if skipped.next_if(|skipped| **skipped == number).is_some() {
                    continue;
                }
                if !self.takes(&row, &mut part) || part.len() < size {
                    continue;
                }
                let next = sizes.next();
                let full = std::mem::replace(&mut part, part_of(next.unwrap_or(0)));
                // Nobody listens any more if the pass was given up.
                let (Ok(()), Some(next)) = (sender.send(Ok(full)), next) else { return Ok(()) };
                size = next;
            }
        }
        Ok(())
    }

    /// Adds a row to a part, scaled, if it is one of the pass.
    fn takes(&self, row: &Row, part: &mut Part) -> bool {
        let truth = row.truth();
        if !self.selection.has(&truth) {
            return false;
        }
        let mut inputs = row.inputs();
        self.scaler.scale(&mut inputs);
        part.inputs.extend_from_slice(&inputs);
        part.truths.push(within_answers(truth));
        true
    }
}

/// An empty part with room for so many rows.
fn part_of(rows: usize) -> Part {
    Part { inputs: Vec::with_capacity(rows * INPUT_COUNT), truths: Vec::with_capacity(rows) }
}

#[cfg(test)]
mod tests;
