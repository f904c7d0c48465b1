//! What is due, done once.

use serde::Serialize;

use super::challenger::{self, Loaded, NotMade, name_of};
use super::change::{carry_out, record_and_carry_out};
use super::drift::{Drift, Plain, alike};
use super::evidence::{answers, compare};
use super::hand::served;
use super::material::Material;
use super::state::{self, Event, EventKind, LearningState, Rival, RivalKind};
use super::verdict::{Verdict, judge, shortage};
use super::{Evidence, Folders, LearnError, LearnRules};
use crate::causes::with_causes;
use crate::clock::SECOND_NS;
use crate::model::checkpoint;
use crate::replay::{self, Resolved, Window};
use crate::subnet::reward::{ClassWeights, RewardSpec, reward};
use crate::train::evaluation::RESPONSE_TIME_SECONDS;

/// What a step did.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// The most important of it.
    pub outcome: Outcome,
    /// The checkpoint that is served now.
    pub champion: String,
    /// The one that answers in shadow now.
    pub rival: Option<Rival>,
    /// Truths that are new since it was last learned, and how many of them converted.
    pub new_truths: (usize, usize),
    /// How the one in shadow compared with the one that was served.
    pub evidence: Option<Evidence>,
    /// Whether the one that was served has drifted.
    pub drift: Option<Drift>,
    /// Whether a diagnosis that still holds says that something has drifted.
    pub flagged: bool,
    /// What was done, and why the rest was not.
    pub reasons: Vec<String>,
    /// What is now on record.
    pub events: Vec<Event>,
    /// What went otherwise than it should.
    pub warnings: Vec<String>,
}

/// The most important thing that a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was not time to look.
    NotDue,
    /// Everything stays as it is, for the reasons that are told.
    Nothing,
    /// A new checkpoint answers in shadow.
    Learned,
    /// The one in shadow proved no better, and is dropped.
    Dropped,
    /// The one in shadow is served from now on.
    Promoted,
    /// The one that was served before is served again.
    Restored,
}

/// Does what is due at `now_ns`, at once if `force`. Whoever calls more often than it is due loses
/// nothing but a look into a file.
///
/// # Errors
///
/// If the served checkpoint, the answers or the truths cannot be read, something cannot be written, or
/// another process is learning. A training that comes to nothing is no error: it changes nothing.
pub fn step(
    folders: &Folders,
    rules: &LearnRules,
    now_ns: u64,
    force: bool,
) -> Result<Step, LearnError> {
    step_flagged(folders, rules, now_ns, force, None)
}

/// As [`step`], where a diagnosis of this moment, in nanoseconds since 1970, says that something has
/// drifted (see [`flagged_ns`](super::flagged_ns)). It counts if it is not older than a week, and
/// nothing was learned or promoted since.
///
/// # Errors
///
/// As [`step`].
pub fn step_flagged(
    folders: &Folders,
    rules: &LearnRules,
    now_ns: u64,
    force: bool,
    flagged_ns: Option<u64>,
) -> Result<Step, LearnError> {
    let _lock = state::lock(&folders.state)?;
    let (mut state, aside) = state::read(&folders.state, now_ns)?;
    state.not_after(now_ns);
    carry_out(&folders.checkpoints, &mut state)?;
    let champion = Loaded::read(&served(&folders.checkpoints)?)?;
    let mut run = Run {
        folders,
        rules,
        now_ns,
        told: state.events.len(),
        step: Step {
            outcome: Outcome::Nothing,
            champion: champion.name.clone(),
            rival: None,
            new_truths: (0, 0),
            evidence: None,
            drift: None,
            flagged: flagged_ns.is_some_and(|flagged| state.is_flagged(flagged, now_ns)),
            reasons: Vec::new(),
            events: Vec::new(),
            warnings: Vec::new(),
        },
        state,
        champion,
    };
    if let Some(aside) = aside {
        let warning = "what was remembered of learning is damaged; set aside as";
        run.step.warnings.push(format!("{warning} `{}`", aside.display()));
    }
    run.reconcile()?;
    run.run(force)?;
    run.finish()
}

/// A step under way.
struct Run<'a> {
    folders: &'a Folders,
    rules: &'a LearnRules,
    now_ns: u64,
    state: LearningState,
    champion: Loaded,
    /// How many events there were before.
    told: usize,
    step: Step,
}

impl Run<'_> {
    fn run(&mut self, force: bool) -> Result<(), LearnError> {
        let is_due = force || self.is_over(self.state.looked_ns, self.rules.every_hours);
        if !is_due && !self.is_over(self.state.glanced_ns, self.rules.drift_hours) {
            self.step.outcome = Outcome::NotDue;
            self.step.reasons.push("it is not time to look again".to_owned());
            return Ok(());
        }
        self.state.glanced_ns = Some(self.now_ns);
        let window = Window {
            // What the clock has not reached is no evidence.
            to_ns: Some(self.now_ns.saturating_add(1)),
            ..Window::last_days(self.rules.window_days, self.now_ns)
        };
        let (mut all, report) =
            replay::resolved(&self.folders.journal, &self.folders.outcomes, window)?;
        self.step.warnings.extend(report.faults);
        for resolved in all.iter_mut().filter(|resolved| resolved.known_ns > self.now_ns) {
            // Written down by a clock that was ahead: it would be new for ever.
            resolved.known_ns = resolved.record.time_ns;
        }
        let spec = self.champion.predictor.spec;

        // By what the served checkpoint has not learned.
        let material = Material::after(&all, self.champion.until_ns().min(self.now_ns));
        let rewards = plain_rewards(&self.champion, material.rows(), &spec);
        self.step.drift = Drift::of(&rewards, &self.champion.manifest);
        self.step.new_truths = material.known_after(self.state.learned_known_ns);
        let earns_less = self.step.drift.is_some_and(|drift| drift.drifted);
        let drifted = earns_less || self.step.flagged;
        if !is_due && !drifted {
            self.step.outcome = Outcome::NotDue;
            self.step.reasons.push("it is not time to look again, and nothing drifted".to_owned());
            return Ok(());
        }
        if is_due {
            self.state.looked_ns = Some(self.now_ns);
            if self.judge(&all, &spec)? {
                // Another one is served now: what there is to learn is another question.
                return Ok(());
            }
        }
        if drifted {
            let reason = if earns_less {
                "the served checkpoint earns less than it did"
            } else {
                "the diagnosis says that something has drifted"
            };
            self.step.reasons.push(reason.to_owned());
            self.drop_overtaken(&all, &spec)?;
        }
        match &self.state.rival {
            Some(rival) => {
                let reason = format!("{} still answers in shadow", rival.checkpoint);
                self.step.reasons.push(format!("{reason}, so nothing new is learned"));
                Ok(())
            }
            None => self.learn(&material, &alike(&rewards)),
        }
    }

    /// Whether so many hours have passed; an hour's tolerance at most, so that who calls once a day
    /// is not a second too early.
    fn is_over(&self, since_ns: Option<u64>, hours: f64) -> bool {
        let Some(since_ns) = since_ns else { return true };
        let passed = self.now_ns.saturating_sub(since_ns) as f64 / SECOND_NS as f64 / 3600.0;
        passed >= hours - (hours / 24.0).min(1.0)
    }

    /// Brings what is remembered in line with the files: a crash may have come between them, or an
    /// operator may have changed them.
    fn reconcile(&mut self) -> Result<(), LearnError> {
        let root = &self.folders.checkpoints;
        let shadow = checkpoint::challenger(root)?;
        let Some(rival) = self.state.rival.clone() else {
            if shadow.is_some() {
                checkpoint::clear_challenger(root)?;
            }
            return Ok(());
        };
        let path = root.join(&rival.checkpoint);
        if rival.champion != self.champion.name || !path.is_dir() {
            return self.drop_rival("the served checkpoint was changed by other hands".to_owned());
        }
        if shadow.as_ref() != Some(&path) {
            checkpoint::set_challenger(&path)?;
        }
        Ok(())
    }

    /// Judges who answers in shadow; true if another checkpoint is served from now on.
    fn judge(&mut self, all: &[Resolved], spec: &RewardSpec) -> Result<bool, LearnError> {
        let Some(mut rival) = self.state.rival.clone() else { return Ok(false) };
        let loaded = match Loaded::read(&self.folders.checkpoints.join(&rival.checkpoint)) {
            Ok(loaded) => loaded,
            Err(error) => {
                self.drop_rival(format!("it cannot be loaded: {}", with_causes(&error)))?;
                return Ok(false);
            }
        };
        let found = compare(
            all,
            rival.after_ns,
            (&loaded.name, &loaded.predictor),
            (&self.champion.name, &self.champion.predictor),
            spec,
            self.rules.seed,
        );
        self.step.evidence = found.map(|found| found.evidence);
        let is_test = found.is_some_and(|it| shortage(self.rules, rival.kind, &it).is_none());
        rival.looks = rival.looks.saturating_add(u32::from(is_test));
        self.state.rival = Some(rival.clone());
        let age_ns = self.now_ns.saturating_sub(rival.since_ns);
        match judge(self.rules, &rival, found.as_ref(), age_ns) {
            Verdict::Wins(reason) => self.exchange(rival.kind, loaded, reason),
            Verdict::Loses(reason) => {
                self.drop_rival(reason)?;
                Ok(false)
            }
            Verdict::Waits(reason) => {
                self.step.reasons.push(format!("{} stays in shadow: {reason}", rival.checkpoint));
                Ok(false)
            }
        }
    }

    /// Serves who answered in shadow; true if it can be served.
    fn exchange(
        &mut self,
        kind: RivalKind,
        loaded: Loaded,
        reason: String,
    ) -> Result<bool, LearnError> {
        // Whoever cannot answer must not be served, whatever it would have earned.
        if let Err(fault) = super::check_answers(&loaded.predictor) {
            self.drop_rival(fault)?;
            return Ok(false);
        }
        let (name, before) = (loaded.name.clone(), self.champion.name.clone());
        let event;
        (event, self.step.outcome) = match kind {
            RivalKind::Challenger => (EventKind::Promoted, Outcome::Promoted),
            RivalKind::Former => (EventKind::Restored, Outcome::Restored),
        };
        // What was answered until now is what a promotion rests on.
        self.state.rival = (kind == RivalKind::Challenger)
            .then(|| self.rival(before.clone(), RivalKind::Former, name.clone(), self.now_ns));
        let evidence = self.step.evidence;
        self.state.tell(self.now_ns, event, (&name, &before), reason.clone(), evidence);
        record_and_carry_out(self.folders, &mut self.state)?;
        self.step.reasons.push(format!("{name} is served from now on: {reason}"));
        self.champion = loaded;
        Ok(true)
    }

    fn rival(&self, checkpoint: String, kind: RivalKind, champion: String, after_ns: u64) -> Rival {
        Rival { checkpoint, champion, kind, since_ns: self.now_ns, after_ns, looks: 0 }
    }

    fn drop_rival(&mut self, reason: String) -> Result<(), LearnError> {
        let Some(rival) = self.state.rival.take() else { return Ok(()) };
        checkpoint::clear_challenger(&self.folders.checkpoints)?;
        let names = (rival.checkpoint.as_str(), self.champion.name.as_str());
        let told = format!("{} answers in shadow no more: {reason}", rival.checkpoint);
        let evidence = self.step.evidence;
        self.state.tell(self.now_ns, EventKind::Dropped, names, reason, evidence);
        self.step.reasons.push(told);
        self.step.outcome = Outcome::Dropped;
        Ok(())
    }

    /// Drops a challenger that what drifted has overtaken too: what it learned is over.
    fn drop_overtaken(&mut self, all: &[Resolved], spec: &RewardSpec) -> Result<(), LearnError> {
        let Some(rival) = self.state.rival.clone() else { return Ok(()) };
        let Ok(loaded) = Loaded::read(&self.folders.checkpoints.join(&rival.checkpoint)) else {
            return self.drop_rival("it cannot be loaded".to_owned());
        };
        let later = Material::after(all, rival.after_ns);
        let rewards = plain_rewards(&loaded, later.rows(), spec);
        match Drift::of(&rewards, &loaded.manifest) {
            Some(drift) if drift.drifted => {
                self.drop_rival("it earns less than it did, too".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// Lets a copy of the served checkpoint learn on, if there is enough that is new.
    fn learn(&mut self, material: &Material<'_>, rewards: &[f64]) -> Result<(), LearnError> {
        let (truths, converted) = self.step.new_truths;
        let needed = self.rules.least_truths;
        if truths < needed {
            let reason =
                format!("{truths} new truths are too few to learn from: {needed} are needed");
            self.step.reasons.push(reason);
            return Ok(());
        }
        if converted == 0 || converted == truths {
            self.step.reasons.push("all new truths are of one class".to_owned());
            return Ok(());
        }
        let (newest, before) = material.parted(rewards, self.rules.most_truths);
        let parts = (&newest, &before);
        let made = challenger::make(self.folders, self.rules, &self.champion, parts, self.now_ns);
        let made = match made {
            Ok(made) => made,
            Err(NotMade::Error(error)) => return Err(error),
            Err(NotMade::Training(error)) => {
                self.step.warnings.push(format!("learning failed: {}", with_causes(&error)));
                return Ok(());
            }
            Err(NotMade::Unsound(reason)) => {
                self.step.warnings.push(format!("what was learned cannot be served: {reason}"));
                return Ok(());
            }
        };
        let (name, champion) = (name_of(&made.path), self.champion.name.clone());
        self.state.learned_known_ns = material.last_known_ns();
        checkpoint::set_challenger(&made.path)?;
        let (kind, until_ns) = (RivalKind::Challenger, made.until_ns);
        self.state.rival = Some(self.rival(name.clone(), kind, champion.clone(), until_ns));
        let names = (name.as_str(), champion.as_str());
        self.state.tell(self.now_ns, EventKind::Learned, names, made.told.clone(), None);
        self.step.reasons.push(format!("{name} answers in shadow: {}", made.told));
        self.step.outcome = Outcome::Learned;
        Ok(())
    }

    fn finish(mut self) -> Result<Step, LearnError> {
        self.state.write(&self.folders.state)?;
        self.step.champion = self.champion.name;
        let told = self.told.min(self.state.events.len());
        self.step.events = self.state.events.split_off(told);
        self.step.rival = self.state.rival;
        Ok(self.step)
    }
}

/// What a checkpoint earned or would have earned, counted as validation counts it: with the class
/// weights that a validator begins with, and the same response time for all.
fn plain_rewards(loaded: &Loaded, rows: &[&Resolved], spec: &RewardSpec) -> Vec<Plain> {
    let said = answers(&loaded.name, &loaded.predictor, rows);
    let rewards = said.into_iter().zip(rows).map(|(answer, resolved)| {
        let (weights, truth) = (ClassWeights::START, resolved.truth);
        let found = reward(spec, weights, answer, truth, RESPONSE_TIME_SECONDS);
        let is_timed = !truth.converted || !truth.time_seconds.is_nan();
        Plain { total: is_timed.then_some(found.total), class: found.class }
    });
    rewards.collect()
}

#[cfg(test)]
mod tests;
