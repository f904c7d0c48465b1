//! What a search shows on a terminal while it goes on: a bar for the trial under way, a line for
//! each that is done.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::{ProgressBar, ProgressStyle};

use super::super::printer::Printer;
use super::super::progress::Interrupts;
use crate::search::{Job, Record, SearchObserver};
use crate::train::observer::{Epoch, Observer, Stage, StageReport};

/// One bar, and a line a trial. Ctrl-C ends the search.
pub(super) struct Watching<'a> {
    printer: &'a Printer,
    interrupted: Arc<AtomicBool>,
    bar: ProgressBar,
    /// The stage under way, with its network.
    learner: String,
}

impl<'a> Watching<'a> {
    /// Nothing to be seen yet.
    pub(super) fn new(printer: &'a Printer, interrupts: Interrupts) -> Watching<'a> {
        let (bar, learner) = (ProgressBar::hidden(), String::new());
        Watching { printer, interrupted: interrupts.switch(), bar, learner }
    }

    /// Begins the bar of a training.
    fn show(&mut self, name: String) {
        let style = ProgressStyle::with_template("{prefix} [{bar:25}] {pos}/{len} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ");
        self.bar.finish_and_clear();
        self.bar = self.printer.bars().add(ProgressBar::new(0)).with_style(style);
        self.bar.set_prefix(name);
    }
}

impl Observer for Watching<'_> {
    fn stage_started(&mut self, stage: Stage, member: &str, epochs: usize, _rows: usize) {
        self.learner = format!("{stage} {member}");
        self.bar.set_length(epochs as u64);
        self.bar.set_position(0);
        self.bar.set_message(self.learner.clone());
    }

    fn epoch_ended(&mut self, stage: Stage, epoch: &Epoch) {
        let (learner, metric) = (&self.learner, stage.metric());
        self.bar.set_message(format!("{learner}, validation {metric} {:.4}", epoch.validation));
        self.bar.inc(1);
    }

    fn stage_ended(&mut self, _report: &StageReport) {}

    fn comparison_started(&mut self, rows: usize, fits: usize) {
        self.bar.set_length(fits as u64);
        self.bar.set_position(0);
        self.bar.set_message(format!("which model {rows} rows bear"));
    }

    fn comparison_advanced(&mut self, candidate: &str) {
        self.bar.set_message(candidate.to_owned());
        self.bar.inc(1);
    }

    fn stop_requested(&mut self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }
}

impl SearchObserver for Watching<'_> {
    fn search_started(&mut self, done: usize, rungs: &[usize]) {
        let rungs: Vec<String> = rungs.iter().map(usize::to_string).collect();
        let before = match done {
            0 => String::new(),
            1 => "; going on after 1 result".to_owned(),
            done => format!("; going on after {done} results"),
        };
        let rungs = rungs.join(", then ");
        self.printer.note(format_args!("rows that a trial is trained on: {rungs}{before}"));
    }

    fn trial_started(&mut self, job: Job, rungs: usize, rows: usize) {
        let Job { trial, rung } = job;
        self.show(format!("trial {trial}, rung {} of {rungs}, {rows} rows", rung + 1));
    }

    fn trial_ended(&mut self, record: &Record, rungs: usize) {
        self.bar.finish_and_clear();
        let Record { trial, rung, rows, seconds, .. } = record;
        let came = match (record.reward, record.standard_error, &record.error) {
            (Some(reward), Some(error), _) => format!("mean reward {reward:.4} ± {error:.4}"),
            (_, _, Some(reason)) => format!("failed: {reason}"),
            _ => "no result".to_owned(),
        };
        self.printer.note(format_args!(
            "trial {trial}, rung {} of {rungs}, {rows} rows: {came} ({seconds:.1} s)",
            rung + 1
        ));
    }

    fn training_again(&mut self, trial: usize, rows: usize) {
        self.show(format!("trial {trial} again, {rows} rows"));
        self.printer.note(format_args!(
            "training trial {trial} again, to measure it on rows that no decision saw"
        ));
    }
}

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
