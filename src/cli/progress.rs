//! What training shows on a terminal, and how it is interrupted there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};

use super::printer::Printer;
use crate::train::capacity::Choice;
use crate::train::observer::{Epoch, Observer, Stage, StageReport};

/// Ctrl-C, seen from a thread of its own: it ends the stage, comparison or cross-validation that is
/// under way. Another one, before that was noticed, ends the program.
pub(super) struct Interrupts(Arc<AtomicBool>);

impl Interrupts {
    /// Listens from now on.
    pub(super) fn listen() -> anyhow::Result<Interrupts> {
        let seen = Arc::new(AtomicBool::new(false));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .context("cannot listen for Ctrl-C")?;
        let setter = Arc::clone(&seen);
        std::thread::spawn(move || {
            runtime.block_on(async {
                while tokio::signal::ctrl_c().await.is_ok() {
                    if setter.swap(true, Ordering::Relaxed) {
                        // What a shell expects of a program that SIGINT ended.
                        std::process::exit(130);
                    }
                }
            });
        });
        Ok(Interrupts(seen))
    }

    /// What becomes true when it was pressed.
    pub(super) fn switch(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }
}

/// A bar a stage or comparison; without a terminal, a line.
pub(super) struct Progress<'a> {
    printer: &'a Printer,
    interrupts: Interrupts,
    bar: ProgressBar,
    best: f64,
}

impl<'a> Progress<'a> {
    /// Nothing to be seen yet.
    pub(super) fn new(printer: &'a Printer, interrupts: Interrupts) -> Progress<'a> {
        Progress { printer, interrupts, bar: ProgressBar::hidden(), best: f64::INFINITY }
    }

    /// Begins a bar.
    fn show(&mut self, steps: usize, name: String) {
        let style = ProgressStyle::with_template("{prefix} [{bar:25}] {pos}/{len} {msg} ({eta})")
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ");
        self.bar = self.printer.bars().add(ProgressBar::new(steps as u64)).with_style(style);
        self.bar.set_prefix(name);
    }
}

impl Observer for Progress<'_> {
    fn baseline_started(&mut self, rows: usize) {
        self.printer.note(format_args!("baseline: {rows} rows"));
    }

    fn stage_started(&mut self, stage: Stage, member: &str, epochs: usize, rows: usize) {
        self.show(epochs, format!("{stage} {member}, {rows} rows"));
        self.best = f64::INFINITY;
        if self.bar.is_hidden() {
            let what = format_args!("{stage} {member}: {rows} rows, at most {epochs} epochs");
            self.printer.note(what);
        }
    }

    fn epoch_ended(&mut self, stage: Stage, epoch: &Epoch) {
        self.best = self.best.min(epoch.validation);
        self.bar.set_message(format!(
            "loss {:.4}, validation {} {:.4} (best {:.4})",
            epoch.loss,
            stage.metric(),
            epoch.validation,
            self.best
        ));
        self.bar.inc(1);
    }

    fn stage_ended(&mut self, report: &StageReport) {
        self.interrupts.0.store(false, Ordering::Relaxed);
        self.bar.finish_and_clear();
        let is_best = |epoch: &&Epoch| Some(epoch.number) == report.best_epoch;
        let best = report.epochs.iter().find(is_best);
        let kept = best.map_or_else(
            || "kept nothing".to_owned(),
            |best| {
                let metric = report.stage.metric();
                format!(
                    "kept epoch {} with validation {metric} {:.4}",
                    best.number, best.validation
                )
            },
        );
        self.printer.note(format_args!(
            "{} {}: {} epochs ({}), {kept}",
            report.stage,
            report.member,
            report.epochs.len(),
            report.ended
        ));
    }

    fn comparison_started(&mut self, rows: usize, fits: usize) {
        self.show(fits, format!("which model {rows} rows bear"));
        if self.bar.is_hidden() {
            self.printer.note(format_args!("comparing what {rows} rows bear: {fits} trainings"));
        }
    }

    fn comparison_advanced(&mut self, candidate: &str) {
        self.bar.set_message(candidate.to_owned());
        self.bar.inc(1);
    }

    fn comparison_ended(&mut self, choice: &Choice) {
        self.interrupts.0.store(false, Ordering::Relaxed);
        self.bar.finish_and_clear();
        for (comparison, what) in [
            (&choice.class, "who says whether, by the log loss of a row"),
            (&choice.time, "who says when, by the share of the time's reward that is missed"),
        ] {
            self.printer.note(format_args!("{what}: {}", comparison.chosen));
            for candidate in &comparison.candidates {
                self.printer.note(format_args!("  {candidate}"));
            }
        }
    }

    fn fold_started(&mut self, fold: usize, folds: usize) {
        self.printer.note(format_args!("fold {fold} of {folds}"));
    }

    fn stop_requested(&mut self) -> bool {
        self.interrupts.0.load(Ordering::Relaxed)
    }
}
