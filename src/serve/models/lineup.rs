//! Models side by side: who is asked, who answers when that one cannot, and what is noted of it.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::choice::{self, Candidate, Known};
use super::error::ModelFailure;
use super::member::{Answers, Member, Now};
use super::parts::Faulty;
use super::samples;
use super::saved::{Earned, SavedModel, SavedModels, SavedRewards};
use super::statistics::ModelStatistics;
use crate::features::Conversation;
use crate::model::Predictor;
use crate::model::checkpoint::CoverageRecord;

/// Which model is being asked, for who watches whether it comes back.
#[derive(Debug)]
pub(in crate::serve) struct Asking(AtomicUsize);

impl Default for Asking {
    fn default() -> Asking {
        Asking(AtomicUsize::new(usize::MAX))
    }
}

/// The models of one checkpoint, in the order in which they are asked if nothing speaks against it.
pub(in crate::serve) struct Lineup {
    pub(super) members: Vec<Member>,
    /// What they earned in validation.
    pub(super) validation: Option<CoverageRecord>,
    /// The name of the one that goes first, whatever is known.
    pub(super) pin: Option<String>,
    /// The folder that they come from.
    pub(super) checkpoint: Option<PathBuf>,
    /// Its name.
    pub(super) name: Arc<str>,
    /// Which calibration of which checkpoint the ensemble has; empty without one.
    pub(super) calibration: Arc<str>,
    /// What the ensemble and the baseline answer with, if there are any.
    pub(super) predictor: Option<Arc<Predictor>>,
    /// What could not be used.
    pub(super) warnings: Vec<String>,
    pub(super) now: Now,
}

impl fmt::Debug for Lineup {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.members.iter().map(|member| &member.name).collect();
        let Lineup { checkpoint, pin, .. } = self;
        formatter
            .debug_struct("Lineup")
            .field("members", &names)
            .field("checkpoint", checkpoint)
            .field("pin", pin)
            .finish_non_exhaustive()
    }
}

impl Lineup {
    /// Models about which nothing is known yet.
    pub(super) fn new(members: Vec<Member>) -> Lineup {
        Lineup {
            members,
            validation: None,
            pin: None,
            checkpoint: None,
            name: "".into(),
            calibration: "".into(),
            predictor: None,
            warnings: Vec::new(),
            now: Arc::new(Instant::now),
        }
    }

    /// Goes on with what is known of the models that `previous` had already: the statistics of a
    /// name, and how it stands if it is the very same model.
    pub(super) fn inherit(&mut self, previous: &Lineup) {
        for member in &mut self.members {
            let Some(before) = previous.member(&member.name) else { continue };
            member.statistics = Arc::clone(&before.statistics);
            if member.fingerprint == before.fingerprint {
                member.standing = Arc::clone(&before.standing);
                member.standing.is_of(&self.name);
            }
        }
        self.now = Arc::clone(&previous.now);
    }

    /// The name of the checkpoint; empty without one.
    pub(in crate::serve) fn checkpoint_name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    pub(super) fn checkpoint(&self) -> Option<&Path> {
        self.checkpoint.as_deref()
    }

    /// Answers each conversation by the first model in its order that gives a valid answer.
    pub(in crate::serve) fn predict(
        &self,
        conversations: &[Conversation],
        asking: &Asking,
    ) -> Answers {
        let known = |conversation: &Conversation| {
            Known::of_conversation(conversation, self.validation.as_ref())
        };
        let Some(first) = conversations.first().map(known) else { return Vec::new() };
        let order = self.order(first);
        let differs = |conversation: &Conversation| known(conversation) != first;
        if !conversations.iter().any(differs) {
            return self.ask(&order, conversations, asking);
        }
        let [little, most] = Known::ALL.map(|known| self.order(known));
        if little == most {
            return self.ask(&order, conversations, asking);
        }
        let (rest, same): (Vec<_>, Vec<_>) = conversations.iter().cloned().partition(differs);
        let other = if first == Known::Little { most } else { little };
        let mut same = self.ask(&order, &same, asking).into_iter();
        let mut rest = self.ask(&other, &rest, asking).into_iter();
        let next = |conversation| if differs(conversation) { rest.next() } else { same.next() };
        conversations.iter().filter_map(next).collect()
    }

    /// The models in the order in which they are asked about such conversations.
    fn order(&self, known: Known) -> Vec<usize> {
        let now = (self.now)();
        let scores = known.scores(self.validation.as_ref());
        let candidate = |member: &Member| Candidate {
            validated: scores.and_then(|scores| match &*member.name {
                super::ENSEMBLE => scores.ensemble,
                super::BASELINE => Some(scores.baseline),
                super::CONSTANT => Some(scores.constant),
                _ => None,
            }),
            earned: member.standing.earned(known),
            reliable: member.standing.is_reliable(now),
            healthy: member.standing.is_healthy(),
            pinned: self.pin.as_deref() == Some(&member.name),
        };
        choice::order(&self.members.iter().map(candidate).collect::<Vec<_>>())
    }

    /// Asks the models in this order, each about what those before it could not answer.
    fn ask(&self, order: &[usize], conversations: &[Conversation], asking: &Asking) -> Answers {
        let mut answers: Answers = vec![Err(ModelFailure::NoModel); conversations.len()];
        let mut left: Vec<usize> = (0..conversations.len()).collect();
        for (place, index) in order.iter().enumerate() {
            let member = &self.members[*index];
            if left.is_empty() || !member.standing.may_be_asked() {
                continue;
            }
            let may_be_asked = |index: &usize| self.members[*index].standing.may_be_asked();
            let is_last = !order[place + 1..].iter().any(may_be_asked);
            let questions = if left.len() == conversations.len() {
                Cow::Borrowed(conversations)
            } else {
                left.iter().map(|row| conversations[*row].clone()).collect()
            };
            asking.0.store(*index, Ordering::Relaxed);
            let given = member.answer(&questions, is_last, &self.now);
            for (row, answer) in left.iter().zip(given) {
                answers[*row] = answer;
            }
            left.retain(|row| answers[*row].is_err());
        }
        asking.0.store(usize::MAX, Ordering::Relaxed);
        answers
    }

    /// Notes that the model which is being asked has not come back after this time.
    pub(in crate::serve) fn hangs(&self, asking: &Asking, conversations: usize, after: Duration) {
        let Some(member) = self.members.get(asking.0.load(Ordering::Relaxed)) else { return };
        member.statistics.failed(conversations);
        member.standing.hangs((self.now)());
        let (model, seconds) = (&member.name, after.as_secs_f64());
        tracing::warn!(%model, seconds, "the model hangs, so it is asked no more until it answers");
    }

    /// Lets models whose pause is over answer the sample conversations, each on a thread of its own.
    pub(in crate::serve) fn probe(&self) {
        for member in &self.members {
            if !member.standing.take_probe((self.now)()) {
                continue;
            }
            let (ours, now) = (member.clone(), Arc::clone(&self.now));
            let probing = move || {
                let Member { name: model, standing, .. } = &ours;
                let result = samples::check(ours.model.as_ref());
                standing.probed(result.is_ok(), now());
                match result {
                    Ok(()) => tracing::info!(%model, "the model works again"),
                    Err(failure) => tracing::warn!(%model, %failure, "the model still fails"),
                }
            };
            if thread::Builder::new().name("probe".to_owned()).spawn(probing).is_err() {
                member.standing.probed(false, (self.now)());
            }
        }
    }

    /// How the models do, in the order in which they are asked about most conversations.
    pub(super) fn statistics(&self) -> Vec<ModelStatistics> {
        let of = |index: usize| self.members[index].statistics();
        self.order(Known::Most).into_iter().map(of).collect()
    }

    /// Sets what is known of the models' rewards: this, and nothing else.
    pub(super) fn set_rewards(&self, earned: &[Earned<'_>]) {
        for member in &self.members {
            let (mut all, mut own) = (SavedRewards::default(), [SavedRewards::default(); 2]);
            let checkpoints = member.standing.checkpoints();
            for one in earned.iter().filter(|one| *one.model == *member.name) {
                all.add(one.reward);
                // What another model of this name earned says nothing about this one.
                if checkpoints.iter().any(|of| of == one.checkpoint) {
                    own[Known::of(one.coverage, self.validation.as_ref()) as usize].add(one.reward);
                }
            }
            member.statistics.set_rewards(all.count, all.sum);
            member.standing.set_rewards(own);
        }
    }

    /// What is kept of the models over a restart.
    pub(super) fn save(&self) -> SavedModels {
        let save = |member: &Member| SavedModel {
            name: member.name.to_string(),
            fingerprint: member.fingerprint.clone(),
            checkpoints: member.standing.checkpoints(),
            statistics: member.statistics.save(),
            rewards: member.standing.rewards(),
        };
        SavedModels { models: self.members.iter().map(save).collect() }
    }

    /// Goes on with what an earlier process knew of the models that are the very same; how many.
    pub(super) fn restore(&self, saved: &SavedModels) -> usize {
        let mut restored = 0;
        for member in &self.members {
            let same = |one: &&SavedModel| {
                one.name == *member.name && one.fingerprint == member.fingerprint
            };
            let Some(saved) = saved.models.iter().find(same) else { continue };
            member.statistics.restore(&saved.statistics);
            member.standing.set_rewards(saved.rewards);
            saved.checkpoints.iter().for_each(|of| member.standing.is_of(of));
            restored += 1;
        }
        restored
    }

    /// Makes a model panic now and then.
    pub(super) fn spoil(&mut self, name: &str, every: NonZeroU64) {
        for member in self.members.iter_mut().filter(|member| *member.name == *name) {
            let model = Arc::clone(&member.model);
            member.model = Arc::new(Faulty { model, every, asked: AtomicU64::new(0) });
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.member(name).is_some()
    }

    fn member(&self, name: &str) -> Option<&Member> {
        self.members.iter().find(|member| &*member.name == name)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::super::fakes::{Hand, conversation, each, says, sure};
    use super::super::{BASELINE, CONSTANT, ENSEMBLE};
    use super::*;
    use crate::model::Model;
    use crate::model::checkpoint::CoverageScores;

    const SECOND: Duration = Duration::from_secs(1);

    fn lineup(models: [Arc<dyn Model>; 3], hand: &Hand) -> Lineup {
        let names = [ENSEMBLE, BASELINE, CONSTANT].into_iter().zip(models);
        let member = |(name, model)| Member::new(name, model, String::new());
        Lineup { now: hand.now(), ..Lineup::new(names.map(member).collect()) }
    }

    fn sure_ones(hand: &Hand) -> Lineup {
        lineup([sure(0.1), sure(0.2), sure(0.3)], hand)
    }

    /// Who answers each.
    fn who(lineup: &Lineup, conversations: &[Conversation]) -> Vec<String> {
        let answers = lineup.predict(conversations, &Asking::default());
        let name = |answer: Result<_, ModelFailure>| {
            answer.map_or_else(
                |failure| failure.to_string(),
                |a: super::super::Answered| a.model.to_string(),
            )
        };
        answers.into_iter().map(name).collect()
    }

    #[test]
    fn what_was_validated_decides_by_what_is_known() {
        let mut lineup = sure_ones(&Hand::new());
        let mixed =
            [conversation(0.0), Conversation::EMPTY, conversation(1.0), Conversation::EMPTY];
        assert_eq!(who(&lineup, &mixed), [ENSEMBLE; 4]);
        let scores = |rows, ensemble, baseline, constant| CoverageScores {
            rows,
            ensemble: Some(ensemble),
            baseline,
            constant,
        };
        let record = CoverageRecord {
            threshold: 0.8,
            nearly_empty: scores(50, 0.2, 0.3, 0.4),
            rest: scores(50, 0.6, 0.5, 0.4),
        };
        lineup.validation = Some(record);
        assert_eq!(who(&lineup, &mixed), [ENSEMBLE, CONSTANT, ENSEMBLE, CONSTANT]);
        assert_eq!(who(&lineup, &mixed[1..]), [CONSTANT, ENSEMBLE, CONSTANT]);
        assert_eq!(who(&lineup, &[]), [""; 0]);
        let few = scores(49, 0.2, 0.3, 0.4);
        lineup.validation = Some(CoverageRecord { nearly_empty: few, ..record });
        assert_eq!(who(&lineup, &mixed), [ENSEMBLE; 4], "too few rows to say anything");
        lineup.validation = Some(record);
        lineup.pin = Some(BASELINE.to_owned());
        assert_eq!(who(&lineup, &mixed), [BASELINE; 4]);
    }

    #[test]
    fn what_is_earned_here_decides_once_enough_is_known() {
        let lineup = sure_ones(&Hand::new());
        lineup.members.iter().for_each(|member| member.standing.is_of("a"));
        let whole = [conversation(0.0)];
        let one = |model, coverage, reward| Earned { model, checkpoint: "a", coverage, reward };
        let mut earned = vec![one(BASELINE, 1.0, 0.5); 100];
        earned.extend([one(ENSEMBLE, 0.1, 0.5); 100]); // another kind of conversation
        earned.extend([one("nobody", 1.0, 0.5); 100]);
        earned.extend([Earned { checkpoint: "b", ..one(ENSEMBLE, 1.0, 0.4) }; 100]); // another one
        earned.extend([one(ENSEMBLE, 1.0, 0.4); 99]);
        lineup.set_rewards(&earned);
        assert_eq!(who(&lineup, &whole), [ENSEMBLE]);
        earned.push(one(ENSEMBLE, 1.0, 0.4));
        lineup.set_rewards(&earned);
        assert_eq!(who(&lineup, &whole), [BASELINE]);
        assert_eq!(who(&lineup, &[Conversation::EMPTY]), [ENSEMBLE]);
        let names: Vec<_> = lineup.statistics().into_iter().map(|one| one.name).collect();
        assert_eq!(names, [BASELINE, ENSEMBLE, CONSTANT], "the preferred one first");
        // 100 * 0.5 and twice 100 * 0.4 of all that have the name.
        let mean = lineup.statistics()[1].mean_reward.unwrap();
        assert!((mean - 130.0 / 300.0).abs() < 1e-12);
        lineup.set_rewards(&[]);
        assert_eq!(who(&lineup, &whole), [ENSEMBLE], "all that is known is what was said last");
    }

    #[test]
    fn a_restart_changes_nothing_about_the_same_models() {
        let asked = [conversation(0.0)];
        let before = sure_ones(&Hand::new());
        ["a", "b"].iter().for_each(|of| before.members[1].standing.is_of(of));
        who(&before, &asked);
        let one = |model, reward| Earned { model, checkpoint: "a", coverage: 1.0, reward };
        let mut earned = vec![one(BASELINE, 0.5); 100];
        earned.extend([one(ENSEMBLE, 0.4); 100]);
        before.members[0].standing.is_of("a");
        before.set_rewards(&earned);
        let saved = before.save();
        let text = serde_json::to_string(&saved).unwrap();
        let after = sure_ones(&Hand::new());
        assert_eq!(after.restore(&serde_json::from_str(&text).unwrap()), 3);
        assert_eq!(after.statistics(), before.statistics());
        assert_eq!(after.save(), saved);
        assert_eq!(who(&after, &asked), [BASELINE]);
        let mut other = sure_ones(&Hand::new());
        other.members[1].fingerprint = "another".to_owned();
        assert_eq!(other.restore(&saved), 2);
        assert_eq!(other.save().models[1].statistics.rewards.count, 0);
        assert_eq!(who(&other, &asked), [ENSEMBLE]);
    }

    #[test]
    fn the_next_one_answers_in_the_same_batch() {
        let panics = || each(|_| panic!("always"));
        let seven = each(|conversation| match conversation.values[0] {
            7.0 => says(f64::NAN),
            _ => says(0.1),
        });
        let asked = [conversation(0.0), conversation(7.0), conversation(1.0)];
        let one = lineup([seven, sure(0.2), sure(0.3)], &Hand::new());
        assert_eq!(who(&one, &asked), [ENSEMBLE, BASELINE, ENSEMBLE]);
        let two = lineup([panics(), panics(), sure(0.3)], &Hand::new());
        assert_eq!(who(&two, &asked), [CONSTANT; 3]);
        assert_eq!(two.statistics()[0].name, CONSTANT, "the others are ill");
        let all = lineup([panics(), panics(), panics()], &Hand::new());
        assert_eq!(who(&all, &asked), ["the model panicked: always"; 3]);
    }

    #[test]
    fn who_is_ill_is_asked_again_once_it_answers_the_samples() {
        let works = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (ours, (seen, sizes)) = (Arc::clone(&works), mpsc::channel());
        let model = super::super::fakes::Fake(move |conversations: &[Conversation]| {
            seen.send(conversations.len()).unwrap();
            assert!(ours.load(Ordering::Relaxed), "ill");
            vec![says(0.1); conversations.len()]
        });
        let hand = Hand::new();
        let lineup = lineup([Arc::new(model), sure(0.2), sure(0.3)], &hand);
        let asked = [conversation(0.0)];
        for _ in 0..5 {
            assert_eq!(who(&lineup, &asked), [BASELINE]);
        }
        assert_eq!(sizes.try_iter().count(), 3, "then it is left alone");
        hand.advance(SECOND);
        lineup.probe();
        hand.advance(SECOND);
        assert_eq!(sizes.try_iter().count(), 0, "its pause is not over");
        lineup.probe();
        assert_eq!(sizes.recv(), Ok(samples::conversations().len()), "all samples at once");
        // Its thread notes at some time that it failed; then the next pause begins.
        works.store(true, Ordering::Relaxed);
        let started = Instant::now();
        while !lineup.members[0].standing.is_healthy() {
            assert!(started.elapsed() < 30 * SECOND);
            hand.advance(SECOND);
            lineup.probe();
            thread::yield_now();
        }
        assert_eq!(who(&lineup, &asked), [ENSEMBLE]);
    }

    #[test]
    fn a_successor_inherits() {
        let hand = Hand::new();
        let before = sure_ones(&hand);
        let asked = [conversation(0.0)];
        who(&before, &asked);
        before.members[0].standing.hangs((before.now)());
        before.members[1].standing.hangs((before.now)());
        let mut after = sure_ones(&Hand::new());
        after.members[0].fingerprint = "another".to_owned();
        after.members.remove(2);
        after.members.push(Member::new("new", sure(0.4), String::new()));
        after.inherit(&before);
        let statistics = |index: usize| after.members[index].statistics();
        assert_eq!(statistics(0).requests, 1);
        assert!(statistics(0).healthy, "it is another model under the same name");
        assert!(!statistics(1).healthy, "it is the same model");
        assert_eq!(statistics(2).requests, 0);
    }
}
