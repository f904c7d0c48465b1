//! One network's training: passes, steps, validation, and the best weights kept.

use std::ops::ControlFlow;

use rand::seq::SliceRandom;
use rand::{Rng as _, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::data::Part;
use super::learner::{Learner, StreamError, Training};
use super::member::MemberConfig;
use super::observer::{Ended, Epoch, Observer, Stage, StageReport};
use super::resume::{Bookmark, Progress};
use super::weights;
use crate::model::networks::Network;

/// Where the learning rate ends, as a share of where it starts.
const FINAL_RATE: f64 = 0.01;
/// The share of all steps over which the learning rate rises.
const RISE: f64 = 0.03;
/// Rows a step where the table is too small for the batches that were asked for: so many batches a
/// pass, but no smaller ones than this.
const SMALL_TABLE: (usize, usize) = (16, 32);

/// What makes a training: its data, and what decides which weights are kept.
pub(super) struct StagePlan<'a> {
    pub(super) stage: Stage,
    pub(super) name: &'a str,
    pub(super) config: &'a MemberConfig,
    pub(super) training: Training<'a>,
    /// [`Stage::metric`] of a network on the held-out rows.
    pub(super) metric: &'a dyn Fn(&Network) -> f64,
    pub(super) seed: u64,
    /// Whether the network as it is given is a result too, should no epoch make it better.
    pub(super) keeps_start: bool,
}

/// Why a training gave nothing.
#[derive(Debug)]
pub(super) enum StageError {
    /// The loss or metric was never a number.
    Diverged,
    /// The rows could not be read.
    Stream(StreamError),
}

impl StagePlan<'_> {
    /// Trains a network and returns it as it was after its best epoch, without gradients; none if
    /// it was interrupted before an epoch ended. Goes on from where `bookmark` is, and moves it
    /// along.
    pub(super) fn run(
        &self,
        learner: Box<dyn Learner>,
        bookmark: &mut Bookmark<'_>,
        observer: &mut dyn Observer,
    ) -> Result<(Option<Network>, StageReport), StageError> {
        let mut run = Run::new(self, learner);
        observer.stage_started(self.stage, self.name, run.pace.epochs, run.rows);
        let mut ended = run.go_on(bookmark);
        // What was done before is told again, so that a report of the whole may be made.
        run.epochs.iter().for_each(|epoch| observer.epoch_ended(self.stage, epoch));
        let ended = loop {
            if let Some(ended) = ended {
                break ended;
            }
            ended = if run.epochs.len() == run.pace.epochs {
                Some(Ended::Completed)
            } else if run.epochs_without_progress() >= run.pace.patience {
                Some(Ended::NoProgress)
            } else if let Some(epoch) = run.epoch(self, observer).map_err(StageError::Stream)? {
                observer.epoch_ended(self.stage, &epoch);
                bookmark.keep(|| run.progress(None));
                None
            } else {
                Some(Ended::Interrupted)
            };
        };
        bookmark.keep(|| run.progress(Some(ended)));
        let best = run.best.take();
        if best.is_none() && ended != Ended::Interrupted {
            return Err(StageError::Diverged);
        }
        let (best_epoch, network) = best.map(|(number, _, network)| (number, network)).unzip();
        let report = StageReport {
            stage: self.stage,
            member: self.name.to_owned(),
            rows: run.rows,
            epochs: run.epochs,
            best_epoch,
            ended,
        };
        observer.stage_ended(&report);
        Ok((network, report))
    }
}

/// How a table is passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pace {
    /// Rows a step, nearly.
    batch_size: usize,
    /// Batches of a pass.
    batches: usize,
    /// Passes at most.
    epochs: usize,
    /// Passes without progress.
    patience: usize,
}

impl Pace {
    /// A small table gets smaller batches and more passes, so that there are steps enough to learn
    /// from; the patience grows with the passes.
    fn new(config: &MemberConfig, chunk_rows: &[usize]) -> Pace {
        let (parts, smallest) = SMALL_TABLE;
        let rows: usize = chunk_rows.iter().sum();
        let batch_size = config.batch_size.min((rows / parts).max(smallest));
        let batches = chunk_rows.iter().map(|rows| batches(*rows, batch_size)).sum();
        let epochs = config.epochs.max(config.least_steps.div_ceil(batches));
        let patience = (config.patience * epochs).div_ceil(config.epochs);
        Pace { batch_size, batches, epochs, patience }
    }
}

/// A training under way.
struct Run {
    learner: Box<dyn Learner>,
    /// Rows of a pass.
    rows: usize,
    pace: Pace,
    steps: usize,
    epochs: Vec<Epoch>,
    /// Number, metric and weights of the best epoch so far; 0 is the start.
    best: Option<(usize, f64, Network)>,
}

impl Run {
    fn new(plan: &StagePlan<'_>, mut learner: Box<dyn Learner>) -> Run {
        let chunk_rows = plan.training.chunk_rows();
        let start = plan.keeps_start.then(|| learner.network());
        if let Training::Whole(part) = plan.training {
            learner.load(part);
        }
        Run {
            best: start.map(|start| (0, (plan.metric)(&start), start)),
            learner,
            rows: chunk_rows.iter().sum(),
            pace: Pace::new(plan.config, &chunk_rows),
            steps: 0,
            epochs: Vec::new(),
        }
    }

    /// Goes on from where an earlier process was. Says how the training ended, if it had.
    fn go_on(&mut self, bookmark: &mut Bookmark<'_>) -> Option<Ended> {
        let Progress { epochs, steps, best, ended, learner } = bookmark.open()?;
        if let Err(error) = self.learner.restore(&learner) {
            bookmark.refuse(&error);
            return None;
        }
        self.best = best.map(|(number, metric, network)| {
            (number, metric, weights::fill(self.learner.network(), &network))
        });
        (self.epochs, self.steps) = (epochs, steps);
        ended
    }

    fn progress(&self, ended: Option<Ended>) -> Progress {
        let best = self.best.as_ref();
        Progress {
            epochs: self.epochs.clone(),
            steps: self.steps,
            best: best.map(|(number, metric, network)| (*number, *metric, weights::of(network))),
            ended,
            learner: self.learner.state(),
        }
    }

    /// One pass over the rows, or `None` if the observer asked to stop.
    fn epoch(
        &mut self,
        plan: &StagePlan<'_>,
        observer: &mut dyn Observer,
    ) -> Result<Option<Epoch>, StreamError> {
        let pass = self.epochs.len();
        let mut flow = ControlFlow::Continue(());
        match plan.training {
            Training::Whole(part) => flow = self.chunk(plan, part.len(), 0, observer),
            Training::Stream(source) => {
                let mut chunk = 0;
                source.visit(pass, plan.seed, &mut |part: Part| {
                    self.learner.load(&part);
                    flow = self.chunk(plan, part.len(), chunk, observer);
                    chunk += 1;
                    flow
                })?;
            }
        }
        let loss = self.learner.take_loss() / self.pace.batches as f64;
        if flow.is_break() {
            return Ok(None);
        }
        let network = self.learner.network();
        let epoch = Epoch { number: pass + 1, loss, validation: (plan.metric)(&network) };
        let best = self.best.as_ref().map_or(f64::INFINITY, |(_, metric, _)| *metric);
        if epoch.validation < best {
            self.best = Some((epoch.number, epoch.validation, network));
        }
        self.epochs.push(epoch);
        Ok(Some(epoch))
    }

    /// The steps over the rows that are loaded.
    fn chunk(
        &mut self,
        plan: &StagePlan<'_>,
        rows: usize,
        chunk: usize,
        observer: &mut dyn Observer,
    ) -> ControlFlow<()> {
        // From the pass alone, so that who goes on after a kill needs to know no more.
        let mut random = ChaCha8Rng::seed_from_u64(plan.seed);
        random.set_stream(((self.epochs.len() as u64) << 32) | chunk as u64);
        let mut order: Vec<u32> = (0..u32::try_from(rows).unwrap_or(u32::MAX)).collect();
        order.shuffle(&mut random);
        self.learner.begin(order, random.next_u64());
        let batches = batches(rows, self.pace.batch_size);
        let border = |batch: usize| batch * rows / batches;
        for batch in 0..batches {
            if observer.stop_requested() {
                return ControlFlow::Break(());
            }
            let done = self.steps as f64 / (self.pace.batches * self.pace.epochs) as f64;
            let rate = plan.config.learning_rate * rate_share(done);
            self.learner.step(border(batch)..border(batch + 1), rate);
            self.steps += 1;
        }
        ControlFlow::Continue(())
    }

    fn epochs_without_progress(&self) -> usize {
        self.epochs.len() - self.best.as_ref().map_or(0, |(number, ..)| *number)
    }
}

/// The learning rate after a share of all steps, as a share of the largest: a short rise, then half
/// a cosine down.
fn rate_share(done: f64) -> f64 {
    let cosine = 0.5 * (1.0 + (std::f64::consts::PI * done).cos());
    let rise = ((done + 0.1 * RISE) / RISE).min(1.0);
    rise * (FINAL_RATE + (1.0 - FINAL_RATE) * cosine)
}

/// How many batches there are of so many rows: all of nearly the same size, for a short rest would
/// give the batch norm poor statistics.
fn batches(rows: usize, batch_size: usize) -> usize {
    ((rows + batch_size / 2) / batch_size).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_nearly_as_asked() {
        for (rows, batch_size, expected) in [
            (10, 256, 1),
            (375, 256, 1),
            (384, 256, 2),
            (600, 256, 2),
            (20_000, 256, 78),
            (5, 1, 5),
        ] {
            assert_eq!(batches(rows, batch_size), expected, "{rows} by {batch_size}");
        }
    }

    #[test]
    fn small_tables_get_more_passes() {
        let config = MemberConfig {
            epochs: 10,
            patience: 5,
            least_steps: 1000,
            batch_size: 256,
            ..MemberConfig::default()
        };
        // 78 batches a pass, 780 steps: 13 passes make a thousand.
        let large = Pace { batch_size: 256, batches: 78, epochs: 13, patience: 7 };
        assert_eq!(Pace::new(&config, &[20_000]), large);
        // Batches of 32 rows, 3 a pass.
        let small = Pace { batch_size: 32, batches: 3, epochs: 334, patience: 167 };
        assert_eq!(Pace::new(&config, &[100]), small);
        // 39 batches of each chunk but the last, which has 1.
        let chunks = Pace { batch_size: 256, batches: 79, epochs: 13, patience: 7 };
        assert_eq!(Pace::new(&config, &[10_000, 10_000, 100]), chunks);
    }

    #[test]
    fn the_rate_rises_and_falls() {
        assert!((rate_share(0.0) - 0.1).abs() < 1e-9);
        assert!(rate_share(0.03) > 0.99);
        assert!((rate_share(0.5) - 0.505).abs() < 1e-9);
        assert!((rate_share(1.0) - FINAL_RATE).abs() < 1e-9);
    }
}
