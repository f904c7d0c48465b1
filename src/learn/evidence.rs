//! What one checkpoint would have earned more than another.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::Evidence;
use crate::clock::{DAY_NS, SECOND_NS};
use crate::model::{Model as _, Predictor};
use crate::replay::{Resolved, paired, rescore};
use crate::subnet::reward::{Answer, RewardSpec};

/// Seconds of an hour.
const HOUR_SECONDS: f64 = 3600.0;
/// Two rewards that differ by less are the same.
const SAME: f64 = 1e-9;

/// How two checkpoints compare, and what a verdict needs to know beyond what is put on record.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Compared {
    /// What is put on record.
    pub(super) evidence: Evidence,
    /// How likely at most so much more reward would be by chance: the share of resamples without
    /// more, or the normal distribution's tail where that is larger.
    pub(super) chance: f64,
    /// Conversations in the older and in the newer half of the time.
    pub(super) halves: (usize, usize),
    /// The mean of the mean differences of each day (UTC), whatever the number of conversations.
    pub(super) by_day: f64,
    /// Conversations on which the two earn differently.
    pub(super) differing: usize,
    /// Conversations that converted.
    pub(super) converted: usize,
}

/// What a checkpoint answered: what was sent or logged in its name, else what it would say now.
///
/// What was sent has in it what was adjusted while serving. That is right: it is what a promotion
/// would replace.
pub(super) fn answers(name: &str, predictor: &Predictor, records: &[&Resolved]) -> Vec<Answer> {
    let logged = |resolved: &Resolved| -> Option<Answer> {
        let record = &resolved.record;
        if record.checkpoint == name {
            return Some(record.answer.into());
        }
        let shadow = record.shadow.as_ref().filter(|shadow| shadow.checkpoint == name)?;
        Some(shadow.answer.into())
    };
    let mut answers: Vec<Option<Answer>> =
        records.iter().map(|resolved| logged(resolved)).collect();
    let missing: Vec<usize> = (0..answers.len()).filter(|row| answers[*row].is_none()).collect();
    let conversations: Vec<_> =
        missing.iter().map(|row| records[*row].record.features.clone()).collect();
    for (row, answer) in missing.into_iter().zip(predictor.predict(&conversations)) {
        answers[row] = Some(answer);
    }
    answers.into_iter().flatten().collect()
}

/// The names of the conversations that were answered up to a moment, whose truths may have been
/// learned. Only those among the records are known: who asks again what was asked before them is not
/// found out.
pub(super) fn answered_before(all: &[Resolved], after_ns: u64) -> HashSet<&str> {
    let before = all.iter().filter(|resolved| resolved.record.time_ns <= after_ns);
    before.filter_map(|resolved| resolved.record.id()).collect()
}

/// Compares two checkpoints by the conversations that were answered after a moment and not before;
/// none if there are none.
///
/// `all` has the records before too, in order of time: they make the class weights that a validator
/// has by then. Several records of one conversation, by several validators, count as one: their truth
/// is the same, so that they say the same. Validators ask the same again, even days later: what was
/// answered up to that moment is no evidence (see [`answered_before`] for what is not known).
pub(super) fn compare(
    all: &[Resolved],
    after_ns: u64,
    (rival, rival_predictor): (&str, &Predictor),
    (champion, champion_predictor): (&str, &Predictor),
    spec: &RewardSpec,
    seed: u64,
) -> Option<Compared> {
    let before = answered_before(all, after_ns);
    let is_new = |resolved: &Resolved| {
        resolved.record.time_ns > after_ns
            && resolved.record.id().is_some_and(|id| !before.contains(id))
    };
    let rows: Vec<usize> = (0..all.len()).filter(|row| is_new(&all[*row])).collect();
    let later: Vec<&Resolved> = rows.iter().map(|row| &all[*row]).collect();
    let rewards = |name: &str, predictor: &Predictor| -> Vec<f64> {
        // The others only count by their truths.
        let mut said: Vec<Answer> =
            all.iter().map(|resolved| resolved.record.answer.into()).collect();
        for (row, answer) in rows.iter().zip(answers(name, predictor, &later)) {
            said[*row] = answer;
        }
        let scored = rescore(all, &said, spec);
        rows.iter().map(|row| scored[*row].reward.total).collect()
    };
    let (of_rival, of_champion) =
        (rewards(rival, rival_predictor), rewards(champion, champion_predictor));
    let mut conversations = Conversations::default();
    for ((resolved, one), other) in later.iter().zip(of_rival).zip(of_champion) {
        conversations.add(resolved, one, other);
    }
    of_pairs(&conversations.pairs(), seed)
}

/// The rewards of conversations, in the order in which these were first answered.
#[derive(Default)]
struct Conversations<'a> {
    places: HashMap<&'a str, usize>,
    /// The sums of both rewards, and how many there are.
    sums: Vec<(Pair, f64)>,
}

/// A conversation with both rewards.
#[derive(Debug, Clone, Copy)]
struct Pair {
    /// When it was first answered.
    at_ns: u64,
    one: f64,
    other: f64,
    converted: bool,
}

impl Pair {
    fn difference(&self) -> f64 {
        self.one - self.other
    }
}

impl<'a> Conversations<'a> {
    fn add(&mut self, resolved: &'a Resolved, one: f64, other: f64) {
        let Some(id) = resolved.record.id() else { return };
        let next = self.sums.len();
        let place = *self.places.entry(id).or_insert(next);
        if place == next {
            let (at_ns, converted) = (resolved.record.time_ns, resolved.truth.converted);
            self.sums.push((Pair { at_ns, one: 0.0, other: 0.0, converted }, 0.0));
        }
        let (pair, records) = &mut self.sums[place];
        (pair.one, pair.other, *records) = (pair.one + one, pair.other + other, *records + 1.0);
    }

    /// With the mean rewards.
    fn pairs(&self) -> Vec<Pair> {
        let mean = |(pair, records): &(Pair, f64)| Pair {
            one: pair.one / records,
            other: pair.other / records,
            ..*pair
        };
        self.sums.iter().map(mean).collect()
    }
}

/// Compares pairs of rewards, which are in order of time.
fn of_pairs(pairs: &[Pair], seed: u64) -> Option<Compared> {
    let (one, other): (Vec<f64>, Vec<f64>) =
        pairs.iter().map(|pair| (pair.one, pair.other)).unzip();
    let found = paired::difference(&one, &other, seed)?;
    let (first_ns, last_ns) = (pairs.first()?.at_ns, pairs.last()?.at_ns);
    let span_ns = last_ns.saturating_sub(first_ns);
    // Half of the time, not of the conversations: one busy day must not be both halves.
    let middle_ns = first_ns + span_ns / 2;
    let (older, newer) = pairs.split_at(pairs.partition_point(|pair| pair.at_ns <= middle_ns));
    let mut days: BTreeMap<u64, Vec<Pair>> = BTreeMap::new();
    for pair in pairs {
        days.entry(pair.at_ns / DAY_NS).or_default().push(*pair);
    }
    let evidence = Evidence {
        truths: found.rows,
        mean: found.mean,
        lower: found.low,
        upper: found.high,
        older: mean(older),
        newer: mean(newer),
        hours: span_ns as f64 / SECOND_NS as f64 / HOUR_SECONDS,
    };
    Some(Compared {
        evidence,
        chance: (1.0 - found.more_share).max(normal_tail(pairs)),
        halves: (older.len(), newer.len()),
        by_day: days.values().map(|day| mean(day)).sum::<f64>() / days.len() as f64,
        differing: pairs.iter().filter(|pair| pair.difference().abs() > SAME).count(),
        converted: pairs.iter().filter(|pair| pair.converted).count(),
    })
}

/// The mean difference; 0 without pairs.
fn mean(pairs: &[Pair]) -> f64 {
    pairs.iter().map(Pair::difference).sum::<f64>() / pairs.len().max(1) as f64
}

/// How likely the mean difference would be so large if it were 0 in truth, by the normal distribution:
/// resamples are too few to tell chances below a thousandth. 1 where that cannot be said.
fn normal_tail(pairs: &[Pair]) -> f64 {
    let (count, mean) = (pairs.len() as f64, mean(pairs));
    let squares: f64 = pairs.iter().map(|pair| (pair.difference() - mean).powi(2)).sum();
    let error = (squares / (count - 1.0) / count).sqrt();
    let tail = 0.5 * libm::erfc(mean / error / std::f64::consts::SQRT_2);
    if tail.is_nan() { 1.0 } else { tail }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{Record, RecordedAnswer, Shadow};
    use crate::learn::challenger::tests::constant;
    use crate::subnet::reward::Truth;

    const HOUR_NS: u64 = 3600 * SECOND_NS;

    #[test]
    fn pairs_by_hand() {
        let pairs: Vec<Pair> =
            (0..100).map(|row| pair(row * HOUR_NS, if row < 50 { 0.1 } else { 0.3 })).collect();
        let compared = of_pairs(&pairs, 1).unwrap();
        let found = compared.evidence;
        assert_eq!((found.truths, found.hours), (100, 99.0));
        // Every tenth converted.
        assert_eq!((compared.halves, compared.differing, compared.converted), ((50, 50), 100, 10));
        // Four days and 4 hours: 0.1, 0.1, (2*0.1 + 22*0.3)/24, 0.3, 0.3.
        assert!((compared.by_day - (0.8 + 6.8 / 24.0) / 5.0).abs() < 1e-12, "{compared:?}");
        assert!((found.mean - 0.2).abs() < 1e-12);
        assert!((found.older - 0.1).abs() < 1e-12 && (found.newer - 0.3).abs() < 1e-12);
        // 1.96 * 0.1 / sqrt(100)
        assert!((found.lower - 0.18).abs() < 0.005 && (found.upper - 0.22).abs() < 0.005);
        assert_eq!(of_pairs(&pairs, 1), Some(compared));
        assert_eq!(of_pairs(&[], 1), None);
    }

    fn pair(at_ns: u64, difference: f64) -> Pair {
        let converted = (at_ns / HOUR_NS).is_multiple_of(10);
        Pair { at_ns, one: 0.5 + difference, other: 0.5, converted }
    }

    /// ```python
    /// from math import erfc, sqrt
    /// d = [0.1 + (1 if row % 2 else -1) * 0.5 for row in range(100)]
    /// error = sqrt(sum((one - 0.1)**2 for one in d) / 99 / 100)
    /// erfc(0.1 / error / sqrt(2)) / 2      # 0.023296851685565986
    /// ```
    #[test]
    fn chance_by_reference() {
        let pairs: Vec<Pair> =
            (0..100).map(|row| pair(row, if row % 2 == 0 { -0.4 } else { 0.6 })).collect();
        assert!((normal_tail(&pairs) - 0.023_296_851_685_566).abs() < 1e-12);
        assert!((of_pairs(&pairs, 1).unwrap().chance - 0.0233).abs() < 0.01);
        assert_eq!(normal_tail(&pairs[..1]), 1.0);
        assert_eq!(of_pairs(&[pair(1, 0.0), pair(2, 0.0)], 1).unwrap().chance, 1.0);
    }

    /// A busy day on which the labels are wrong, and two quiet ones.
    #[test]
    fn a_busy_day_is_not_both_halves() {
        let busy = (0..600).map(|row| pair(row * DAY_NS / 600, 0.3));
        let quiet = (0..40).map(|row| pair(DAY_NS + row * DAY_NS / 20, -0.3));
        let pairs: Vec<Pair> = busy.chain(quiet).collect();
        let found = of_pairs(&pairs, 1).unwrap();
        // The middle is at half of 0 to 2 days and 19/20.
        assert_eq!(found.halves, (610, 30));
        assert!(found.chance < 1e-6 && found.evidence.older > 0.0);
        assert!((found.evidence.newer + 0.3).abs() < 1e-12, "{found:?}");
        assert!((found.by_day + 0.1).abs() < 1e-12, "{found:?}");
    }

    #[test]
    fn what_was_answered_before_is_no_evidence() {
        let (yes, no) = (constant(0.99), constant(0.01));
        let all = [
            resolved("learned", 1, true),
            resolved("new", 2, true),
            // The same again, and by another validator.
            resolved("learned", 3, true),
            resolved("learned", 4, true),
        ];
        let compare = |after_ns| {
            let spec = RewardSpec::MAIN;
            compare(&all, after_ns, ("rival", &yes), ("champion", &no), &spec, 1)
        };
        assert_eq!(compare(0).unwrap().evidence.truths, 2);
        assert_eq!(compare(1).unwrap().evidence.truths, 1);
        assert_eq!(compare(2), None);
    }

    fn said(converted: bool) -> RecordedAnswer {
        let time_seconds = if converted { 60.0 } else { -1.0 };
        RecordedAnswer { converted, time_seconds, confidence: 0.5 }
    }

    fn resolved(id: &str, time_ns: u64, converted: bool) -> Resolved {
        let truth = if converted { Truth::converted_after(60.0) } else { Truth::not_converted() };
        Resolved { record: Record::sample(id, time_ns), truth, known_ns: time_ns }
    }

    #[test]
    fn what_was_logged_counts_and_the_rest_is_asked() {
        let (yes, no) = (constant(0.99), constant(0.01));
        // Sent by the champion: "yes", though it would say "no" now; in shadow the rival's "yes".
        let mut sent = resolved("a", 1, false);
        sent.record.checkpoint = "champion".to_owned();
        sent.record.answer = said(true);
        let mut logged = resolved("b", 2, true);
        logged.record.shadow = Some(Shadow { checkpoint: "rival".to_owned(), answer: said(true) });
        let both = [&sent, &logged];
        let classes = |answers: Vec<Answer>| -> Vec<bool> {
            answers.iter().map(|answer| answer.converted).collect()
        };
        assert_eq!(classes(answers("champion", &no, &both)), [true, false]);
        assert_eq!(classes(answers("rival", &no, &both)), [false, true]);
        assert_eq!(classes(answers("rival", &yes, &both)), [true, true]);
    }

    /// With START's weights a right "yes" at the right time earns 0.8*(0.55*0.375 + 0.45) = 0.525 more
    /// than a wrong "no", and a right "no" 0.8*0.55*0.625 = 0.275 more than a wrong "yes".
    #[test]
    fn later_conversations_count_once() {
        let (yes, no) = (constant(0.99), constant(0.01));
        let mut all = vec![
            resolved("before", 1, true),
            resolved("a", 2, true),
            resolved("a", 3, true),
            resolved("b", 4, false),
        ];
        all[2].record.validator = "another".to_owned();
        let spec = RewardSpec::MAIN;
        let found = compare(&all, 1, ("rival", &yes), ("champion", &no), &spec, 1).unwrap();
        let found = found.evidence;
        assert_eq!(found.truths, 2);
        assert!((found.older - 0.525).abs() < 1e-9, "{found:?}");
        assert!((found.newer + 0.275).abs() < 1e-9, "{found:?}");
        assert!((found.mean - 0.125).abs() < 1e-9, "{found:?}");
        assert_eq!(compare(&all, 4, ("rival", &yes), ("champion", &no), &spec, 1), None);
    }
}
