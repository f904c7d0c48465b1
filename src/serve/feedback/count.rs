//! What answers earned whose truth is known, and what is to be learned from it.

use std::collections::{BTreeMap, HashSet};

use super::learn::Lesson;
use super::memory::{Asked, Memory};
use crate::clock::SECOND_NS;
use crate::outcomes::OutcomeSet;
use crate::replay::{Exchange, Ledger};
use crate::serve::models::{ENSEMBLE, Earned, InUse};
use crate::serve::monitor::{ReliabilityPart, RewardPoint, Truths};

/// In how many parts confidences are laid beside what came true.
const PARTS: usize = 10;
/// How long a point of the reward over time may be, in seconds.
const STEPS_SECONDS: [u64; 8] = [60, 300, 900, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 86_400];
/// How many points there are at most, if a step is long enough for that.
const POINTS: u64 = 96;

/// What all known truths say together.
#[derive(Debug)]
pub(super) struct Counted<'a> {
    pub(super) truths: Truths,
    pub(super) earned: Vec<Earned<'a>>,
    /// About the calibration in use, in order of time. One a conversation, the first: several
    /// validators ask about the same one, and a truth that has counted already is no test of what it
    /// taught.
    pub(super) lessons: Vec<Lesson>,
}

/// Scores every remembered answer whose truth is known, as `replay` does.
///
/// All anew each time: truths come late and in any order, and class weights depend on the order of the
/// requests. For 200 000 answers it takes a tenth of a second.
pub(super) fn count<'a>(memory: &'a Memory, outcomes: &OutcomeSet, in_use: &InUse) -> Counted<'a> {
    let mut ledger = Ledger::new(in_use.spec());
    let mut counted =
        Counted { truths: Truths::default(), earned: Vec::new(), lessons: Vec::new() };
    let mut rewards = Vec::new();
    let mut parts = [Part::default(); PARTS];
    let mut taught = HashSet::new();
    for (time_ns, validator, asked) in memory.in_order() {
        let names = std::iter::once(&asked.id).chain(&asked.other);
        let Some(outcome) = names.into_iter().find_map(|name| outcomes.get(name)) else { continue };
        let Asked { answer, response_time_seconds, .. } = *asked;
        let truth = outcome.truth();
        let scored = ledger.score(Exchange { validator, answer, truth, response_time_seconds });
        let reward = scored.reward.total;
        let (model, checkpoint) = (&*asked.model, &*asked.checkpoint);
        counted.earned.push(Earned { model, checkpoint, coverage: asked.coverage, reward });
        rewards.push((time_ns / SECOND_NS, reward));
        let part = (answer.confidence * PARTS as f64) as usize;
        parts[part.min(PARTS - 1)].add(answer.confidence, truth.converted);
        if model == ENSEMBLE && *checkpoint == *in_use.checkpoint {
            // By the calibration of now, which may have been replaced since that was answered.
            let calibrated = asked.raw_probability.and_then(|raw| in_use.calibrated(raw));
            if let Some(said) = calibrated.filter(|_| taught.insert(&*outcome.id)) {
                counted.lessons.push((said, truth.converted));
            }
        }
    }
    let known = rewards.len();
    let sum: f64 = rewards.iter().map(|(_, reward)| reward).sum();
    counted.truths = Truths {
        known: known as u64,
        mean_reward: (known > 0).then(|| sum / known as f64),
        rewards: over_time(&rewards),
        reliability: parts.iter().filter_map(Part::shown).collect(),
    };
    counted
}

/// Answers of about the same confidence.
#[derive(Debug, Clone, Copy, Default)]
struct Part {
    count: u64,
    converted: u64,
    confidence: f64,
}

impl Part {
    fn add(&mut self, confidence: f64, converted: bool) {
        self.count += 1;
        self.converted += u64::from(converted);
        self.confidence += confidence;
    }

    fn shown(&self) -> Option<ReliabilityPart> {
        let Part { count, converted, confidence } = *self;
        (count > 0).then(|| ReliabilityPart {
            mean_confidence: confidence / count as f64,
            converted_rate: converted as f64 / count as f64,
            count,
        })
    }
}

/// Mean rewards by steps of time, of rewards with the second of their answers in order of time.
fn over_time(rewards: &[(u64, f64)]) -> Vec<RewardPoint> {
    let span = match (rewards.first(), rewards.last()) {
        (Some((first, _)), Some((last, _))) => last - first,
        _ => return Vec::new(),
    };
    let fits = |step: &u64| span / step < POINTS;
    let longest = STEPS_SECONDS[STEPS_SECONDS.len() - 1];
    let step = STEPS_SECONDS.into_iter().find(fits).unwrap_or(longest);
    let mut points: BTreeMap<u64, (u64, f64)> = BTreeMap::new();
    for (second, reward) in rewards {
        let (count, sum) = points.entry(second / step).or_default();
        *count += 1;
        *sum += reward;
    }
    let point = |(place, (count, sum)): (u64, (u64, f64))| RewardPoint {
        time: (place * step) as f64,
        mean_reward: sum / count as f64,
        count,
    };
    points.into_iter().map(point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{Record, RecordedAnswer};
    use crate::outcomes::{Outcome, append};

    /// A checkpoint of which nothing can be asked.
    fn in_use() -> InUse {
        InUse { checkpoint: "first".into(), calibration: "first/0".into(), predictor: None }
    }

    fn outcomes(truths: &[(&str, Option<f64>)]) -> OutcomeSet {
        let folder = tempfile::tempdir().unwrap();
        let outcome = |(id, time_seconds): &(&str, Option<f64>)| Outcome {
            id: (*id).to_owned(),
            converted: time_seconds.is_some(),
            time_seconds: *time_seconds,
            known_ns: 1,
            also: None,
            source: "test".to_owned(),
        };
        append(folder.path(), truths.iter().map(outcome).collect(), 1).unwrap();
        OutcomeSet::read(folder.path()).unwrap()
    }

    /// The sample answers in 0.05 of 60 s, so 0.2 * (1 - 0.05/60) = 0.199833.. for the response time.
    #[test]
    fn rewards_by_hand() {
        let hour = 3600 * SECOND_NS;
        let mut memory = Memory::default();
        memory.add(&Record::sample("right", hour));
        memory.add(&Record::sample("nobody knows", 2 * hour));
        let mut sure = Record::sample("near", 100 * hour);
        sure.answer = RecordedAnswer { converted: true, time_seconds: 60.0, confidence: 1.0 };
        sure.model = "baseline".to_owned();
        memory.add(&sure);
        memory.add(&Record::sample("wrong", 100 * hour + SECOND_NS));
        let known = outcomes(&[
            ("right", None),
            ("near", Some(66.0)),
            ("wrong", Some(9.0)),
            ("other", None),
        ]);
        let counted = count(&memory, &known, &in_use());
        let quick = 0.2 * (1.0 - 0.05 / 60.0);
        // 0.8*0.55*0.625; 0.8*(0.55*0.375 + 0.45*(1 - 6/15)); nothing.
        let expected = [0.275 + quick, 0.381 + quick, quick];
        for (found, expected) in counted.earned.iter().zip(expected) {
            assert!((found.reward - expected).abs() < 1e-12, "{found:?}");
        }
        let of = |place: usize| (counted.earned[place].model, counted.earned[place].checkpoint);
        assert_eq!(
            (of(0), of(1), counted.earned.len()),
            (("ensemble", "first"), ("baseline", "first"), 3)
        );
        let truths = counted.truths;
        assert_eq!(truths.known, 3);
        assert!((truths.mean_reward.unwrap() - 0.656 / 3.0 - quick).abs() < 1e-12);
        // 99 h in steps of 3 h: the first is a step of its own.
        let times: Vec<_> = truths.rewards.iter().map(|point| (point.time, point.count)).collect();
        assert_eq!(times, [(0.0, 1), (356_400.0, 2)]);
        assert!((truths.rewards[1].mean_reward - 0.1905 - quick).abs() < 1e-12);
        let [low, high] = &truths.reliability[..] else { panic!("{:?}", truths.reliability) };
        assert_eq!((low.mean_confidence, low.converted_rate, low.count), (0.25, 0.5, 2));
        assert_eq!((high.mean_confidence, high.converted_rate, high.count), (1.0, 1.0, 1));
        assert!(counted.lessons.is_empty(), "there is no calibration");
    }

    #[test]
    fn nothing_is_known_of_nothing() {
        let memory = Memory::default();
        let counted = count(&memory, &outcomes(&[]), &in_use());
        assert_eq!((counted.truths, counted.earned), (Truths::default(), vec![]));
    }

    #[test]
    fn there_are_never_too_many_points() {
        let month: Vec<(u64, f64)> = (0..30 * 24 * 6).map(|step| (step * 600, 0.5)).collect();
        for (rewards, points) in [(&month[..], 60), (&month[..1], 1), (&month[..144], 96)] {
            assert_eq!(over_time(rewards).len(), points);
        }
    }
}
