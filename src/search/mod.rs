//! The search for a better training configuration: random, with successive halving.
//!
//! [`Parts`] divides the rows once, by the seed: those that trials are trained on, those that they
//! are judged by, and those that nothing is decided by. `space` draws a trial's configuration from
//! the seed and its number alone, `halving` says from what was done which trial gets how many rows
//! next, and `folder` keeps a line a result. So a search that was ended, killed or given more trials
//! goes on as if it never had stopped, and a finished one says the same again.
//!
//! A trial is judged by the mean total reward of the validator's formula. The best of many looks
//! better than it is on the very rows that chose it, so at the end it is measured once more beside
//! the start, on the rows that no decision saw.

mod budget;
mod difference;
mod error;
mod folder;
mod found;
mod halving;
mod parts;
mod record;
mod space;
mod trial;

use std::path::Path;

use burn::tensor::Device;

pub use difference::difference;
pub use error::SearchError;
pub use found::{Ended, Found, Unseen, Verdict};
pub use halving::Job;
pub use parts::{FEWEST_ROWS, Parts};
pub use record::{Measured, Record, Taught};

use budget::{Budget, estimate};
use folder::{Folder, Header};
use record::rounded;
use space::Space;
use trial::{Miner, Outcome, Rows, Stop};

use crate::clock::Clock;
use crate::features::Conversation;
use crate::subnet::reward::{RewardSpec, Truth};
use crate::train::TrainConfig;
use crate::train::observer::Observer;

/// What is searched, and for how long.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchPlan {
    /// Trial 0, and what the others are drawn around.
    pub start: TrainConfig,
    /// Decides the parts of the rows and every trial.
    pub seed: u64,
    /// Trials in all, the start among them.
    pub trials: usize,
    /// No trial begins that would not end in so many minutes, and what runs then is ended; but the
    /// start is always measured.
    pub minutes: Option<f64>,
}

/// Where trials are trained.
#[derive(Debug)]
pub struct Place<'a> {
    /// The device.
    pub device: &'a Device,
    /// Its name, as the results have it.
    pub name: String,
}

/// Watches a search, and the trainings it consists of.
pub trait SearchObserver: Observer {
    /// The search begins, with so many results there already.
    fn search_started(&mut self, _done: usize, _rungs: &[usize]) {}
    /// A trial is about to be trained on so many rows.
    fn trial_started(&mut self, _job: Job, _rungs: usize, _rows: usize) {}
    /// It is done, and in the results.
    fn trial_ended(&mut self, _record: &Record, _rungs: usize) {}
    /// A trial is about to be trained once more, since its miner was that of an earlier run.
    fn training_again(&mut self, _trial: usize, _rows: usize) {}
}

/// Watches nothing.
impl SearchObserver for () {}

/// Searches for the training configuration that earns the most, in a new folder or in that of the
/// same search, which goes on.
///
/// # Errors
///
/// If the start cannot be used or was not measured, there are too few rows, or the folder is of
/// something else, in use, damaged, or cannot be written.
pub fn search(
    conversations: &[Conversation],
    truths: &[Truth],
    plan: &SearchPlan,
    folder: &Path,
    place: &Place<'_>,
    clock: &dyn Clock,
    observer: &mut dyn SearchObserver,
) -> Result<Found, SearchError> {
    plan.start.check()?;
    plan.start.reward_spec.parse::<RewardSpec>()?;
    let budget = Budget::new(clock, plan.minutes);
    let rows = Rows { conversations, truths };
    let parts = Parts::new(conversations, truths, &plan.start, plan.seed)?;
    let space = Space::new(plan.start.clone(), plan.seed, parts.is_small);
    let header = Header {
        format: Header::FORMAT,
        data: folder::sha256(rows),
        rows: truths.len(),
        seed: plan.seed,
        device: place.name.clone(),
        space: space.sha256(),
        rungs: parts.rungs.iter().map(Vec::len).collect(),
        judged: parts.judged.len(),
        unseen: parts.unseen.len(),
        start: plan.start.clone(),
    };
    let opened = Folder::open(folder, &header, budget.now_ns())?;
    observer.search_started(opened.records.len(), &header.rungs);
    let unseen = Kept::default();
    let mut search = Search { rows, parts, space, place, budget, folder: opened, unseen };
    let ended = search.run(plan.trials, observer)?;
    search.found(folder, header.rungs, ended, observer)
}

/// A search under way.
struct Search<'a> {
    rows: Rows<'a>,
    parts: Parts,
    space: Space,
    place: &'a Place<'a>,
    budget: Budget<'a>,
    folder: Folder,
    unseen: Kept,
}

/// What trials of this run earned on each row that no decision saw. It is looked at when all is
/// decided; the start's and that of the best are kept, so that neither is trained again for it.
#[derive(Default)]
struct Kept {
    start: Option<Vec<f64>>,
    best: Option<(usize, Vec<f64>)>,
}

impl Search<'_> {
    /// Does one job after the other.
    fn run(
        &mut self,
        trials: usize,
        observer: &mut dyn SearchObserver,
    ) -> Result<Ended, SearchError> {
        let rungs = self.parts.rungs.len();
        while let Some(job) = halving::next(&self.folder.records, trials, rungs) {
            let rows = self.parts.rungs[job.rung].len();
            // Without the start, which is what the rest is compared with, there is no result.
            let budget = if job.trial == 0 { self.budget.endless() } else { self.budget };
            if observer.stop_requested() {
                return Ok(Ended::Interrupted);
            }
            if !budget.allows(estimate(&self.folder.records, job, rows)) {
                return Ok(Ended::OutOfTime);
            }
            observer.trial_started(job, rungs, rows);
            match self.one(job, budget, observer)? {
                None => {}
                Some(Stop::Asked) => return Ok(Ended::Interrupted),
                Some(Stop::Time) => return Ok(Ended::OutOfTime),
            }
        }
        Ok(Ended::Completed)
    }

    /// Trains a trial on a rung, and adds what came of it to the results, unless it was ended.
    fn one(
        &mut self,
        job: Job,
        budget: Budget<'_>,
        observer: &mut dyn SearchObserver,
    ) -> Result<Option<Stop>, SearchError> {
        let began_ns = budget.now_ns();
        let config = self.space.trial(job.trial);
        let outcome = self.train(job, &config, budget, observer);
        let mut record = Record {
            trial: job.trial,
            rung: job.rung,
            rows: self.parts.rungs[job.rung].len(),
            reward: None,
            standard_error: None,
            own_reward: None,
            error: None,
            networks: Vec::new(),
            seconds: 0.0,
            device: self.place.name.clone(),
            config,
        };
        let miner = match outcome {
            Outcome::Stopped(stop) => return Ok(Some(stop)),
            Outcome::Failed(reason) => {
                record.error = Some(reason);
                None
            }
            Outcome::Trained(miner) => {
                self.judge(&miner, &mut record);
                Some(miner)
            }
        };
        record.seconds = (budget.seconds_since(began_ns) * 1000.0).round() / 1000.0;
        observer.trial_ended(&record, self.parts.rungs.len());
        self.folder.append(record)?;
        if let Some(miner) = miner.filter(|_| job.rung + 1 == self.parts.rungs.len()) {
            self.keep(job.trial, &miner)?;
        }
        Ok(None)
    }

    fn train(
        &self,
        job: Job,
        config: &TrainConfig,
        budget: Budget<'_>,
        observer: &mut dyn SearchObserver,
    ) -> Outcome {
        let mut config = config.clone();
        if config.folds == 0 && !self.parts.is_small {
            // All rows of the training bear one held-out part; those of a lower rung are treated as
            // these are, however few.
            config.folds = 1;
        }
        let rows = &self.parts.rungs[job.rung];
        self.rows.train(rows, &config, self.place.device, budget, observer)
    }

    fn judge(&self, miner: &Miner, record: &mut Record) {
        let measured = Measured::of(&self.rows.rewards(&miner.predictor, &self.parts.judged));
        record.networks.clone_from(&miner.networks);
        record.own_reward = Some(rounded(miner.own_reward)).filter(|reward| reward.is_finite());
        if measured.mean.is_finite() {
            record.reward = Some(measured.mean);
            record.standard_error = Some(measured.standard_error);
        } else {
            record.error = Some("its reward on the judged rows is no number".to_owned());
        }
    }

    /// After a trial on the highest rung: if it is the best so far, its configuration is written.
    fn keep(&mut self, trial: usize, miner: &Miner) -> Result<(), SearchError> {
        let best = halving::best(&self.folder.records, self.parts.rungs.len());
        let best = best.filter(|best| best.trial == trial);
        if let Some(best) = best {
            self.folder.write_best(best)?;
        }
        let is_best = best.is_some();
        if is_best || trial == 0 {
            let rewards = self.rows.rewards(&miner.predictor, &self.parts.unseen);
            if trial == 0 {
                self.unseen.start = Some(rewards.clone());
            }
            if is_best {
                self.unseen.best = Some((trial, rewards));
            }
        }
        Ok(())
    }

    /// The result.
    fn found(
        mut self,
        path: &Path,
        rungs: Vec<usize>,
        ended: Ended,
        observer: &mut dyn SearchObserver,
    ) -> Result<Found, SearchError> {
        let Some(best) = halving::best(&self.folder.records, rungs.len()) else {
            let of_start = self.folder.records.iter().filter(|it| it.trial == 0);
            return Err(match of_start.filter_map(|it| it.error.clone()).next_back() {
                Some(reason) => SearchError::NothingTrained(reason),
                None => SearchError::Interrupted,
            });
        };
        // A kill may have come between the result and this file.
        self.folder.write_best(best)?;
        let best = best.trial;
        let unseen = match self.folder.unseen().filter(|unseen| unseen.best == best) {
            Some(unseen) => Some(unseen),
            None => self.measure(best, observer)?,
        };
        Ok(Found {
            folder: path.to_owned(),
            config: self.folder.best_path(),
            best,
            ended,
            trials: self.folder.records.iter().map(|it| it.trial + 1).max().unwrap_or(0),
            rungs,
            judged_rows: self.parts.judged.len(),
            unseen,
            torn: self.folder.torn,
            records: self.folder.records,
        })
    }

    /// Measures the best and the start on the rows that no decision saw; nothing if there is no time
    /// left to train what was trained by an earlier run.
    fn measure(
        &mut self,
        best: usize,
        observer: &mut dyn SearchObserver,
    ) -> Result<Option<Unseen>, SearchError> {
        let rungs = self.parts.rungs.len();
        let start_was_trained = self
            .folder
            .records
            .iter()
            .any(|it| (it.trial, it.rung) == (0, rungs - 1) && it.reward.is_some());
        let mut of_start = None;
        if start_was_trained {
            of_start = self.unseen.start.take();
            if of_start.is_none() {
                of_start = self.again(0, observer);
            }
            if of_start.is_none() {
                return Ok(None);
            }
        }
        let of_best = match self.unseen.best.take() {
            _ if best == 0 => of_start.clone(),
            Some((trial, rewards)) if trial == best => Some(rewards),
            _ => self.again(best, observer),
        };
        let Some(of_best) = of_best else { return Ok(None) };
        let unseen = Unseen::of(best, &of_best, of_start.as_deref());
        self.folder.write_unseen(&unseen)?;
        Ok(Some(unseen))
    }

    /// What a trial earns on the unseen rows that an earlier run trained; the same training gives the
    /// same miner.
    fn again(&self, trial: usize, observer: &mut dyn SearchObserver) -> Option<Vec<f64>> {
        let rung = self.parts.rungs.len() - 1;
        let then = self.folder.records.iter().find(|it| (it.trial, it.rung) == (trial, rung))?;
        if observer.stop_requested() || !self.budget.allows(Some(then.seconds)) {
            return None;
        }
        observer.training_again(trial, then.rows);
        let job = Job { trial, rung };
        match self.train(job, &self.space.trial(trial), self.budget, observer) {
            Outcome::Trained(miner) => {
                Some(self.rows.rewards(&miner.predictor, &self.parts.unseen))
            }
            Outcome::Failed(_) | Outcome::Stopped(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
