//! What one checkpoint would have earned more than another.

use std::collections::HashMap;

use super::Evidence;
use crate::clock::SECOND_NS;
use crate::model::{Model as _, Predictor};
use crate::replay::{Resolved, paired, rescore};
use crate::subnet::reward::{Answer, RewardSpec};

/// Seconds of an hour.
const HOUR_SECONDS: f64 = 3600.0;

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

/// Compares two checkpoints by the records that were answered after a moment; none if there are none.
///
/// `all` has the records before too, in order of time: they make the class weights that a validator
/// has by then. Several records of one conversation, by several validators, count as one: their truth
/// is the same, so that they say the same.
pub(super) fn compare(
    all: &[Resolved],
    after_ns: u64,
    (rival, rival_predictor): (&str, &Predictor),
    (champion, champion_predictor): (&str, &Predictor),
    spec: &RewardSpec,
    seed: u64,
) -> Option<Evidence> {
    let start = all.partition_point(|resolved| resolved.record.time_ns <= after_ns);
    let later: Vec<&Resolved> = all[start..].iter().collect();
    let rewards = |name: &str, predictor: &Predictor| -> Vec<f64> {
        // What came before only counts by its truths.
        let mut said: Vec<Answer> =
            all[..start].iter().map(|resolved| resolved.record.answer.into()).collect();
        said.extend(answers(name, predictor, &later));
        rescore(all, &said, spec)[start..].iter().map(|scored| scored.reward.total).collect()
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
    /// When, records, and the sums of both rewards.
    sums: Vec<(u64, f64, f64, f64)>,
}

impl<'a> Conversations<'a> {
    fn add(&mut self, resolved: &'a Resolved, one: f64, other: f64) {
        let Some(id) = resolved.record.id() else { return };
        let next = self.sums.len();
        let place = *self.places.entry(id).or_insert(next);
        if place == next {
            self.sums.push((resolved.record.time_ns, 0.0, 0.0, 0.0));
        }
        let (_, records, ones, others) = &mut self.sums[place];
        (*records, *ones, *others) = (*records + 1.0, *ones + one, *others + other);
    }

    /// When, and the mean rewards.
    fn pairs(&self) -> Vec<(u64, f64, f64)> {
        let mean = |&(at, records, one, other): &(u64, f64, f64, f64)| {
            (at, one / records, other / records)
        };
        self.sums.iter().map(mean).collect()
    }
}

/// The evidence of pairs of rewards in order of time: when, of the one, of the other.
fn of_pairs(pairs: &[(u64, f64, f64)], seed: u64) -> Option<Evidence> {
    let (one, other): (Vec<f64>, Vec<f64>) =
        pairs.iter().map(|(_, one, other)| (*one, *other)).unzip();
    let found = paired::difference(&one, &other, seed)?;
    let mean = |pairs: &[(u64, f64, f64)]| {
        pairs.iter().map(|(_, one, other)| one - other).sum::<f64>() / pairs.len().max(1) as f64
    };
    let (older, newer) = pairs.split_at(pairs.len() / 2);
    let (first, last) = (pairs.first()?.0, pairs.last()?.0);
    Some(Evidence {
        truths: found.rows,
        mean: found.mean,
        lower: found.low,
        upper: found.high,
        older: mean(older),
        newer: mean(newer),
        hours: (last - first) as f64 / SECOND_NS as f64 / HOUR_SECONDS,
    })
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
        let pairs: Vec<(u64, f64, f64)> = (0..100)
            .map(|row| (row * HOUR_NS, 0.5 + if row < 50 { 0.1 } else { 0.3 }, 0.5))
            .collect();
        let found = of_pairs(&pairs, 1).unwrap();
        assert_eq!((found.truths, found.hours), (100, 99.0));
        assert!((found.mean - 0.2).abs() < 1e-12);
        assert!((found.older - 0.1).abs() < 1e-12 && (found.newer - 0.3).abs() < 1e-12);
        // 1.96 * 0.1 / sqrt(100)
        assert!((found.lower - 0.18).abs() < 0.005 && (found.upper - 0.22).abs() < 0.005);
        assert_eq!(of_pairs(&pairs, 1), Some(found));
        assert_eq!(of_pairs(&[], 1), None);
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
        assert_eq!(found.truths, 2);
        assert!((found.older - 0.525).abs() < 1e-9, "{found:?}");
        assert!((found.newer + 0.275).abs() < 1e-9, "{found:?}");
        assert!((found.mean - 0.125).abs() < 1e-9, "{found:?}");
        assert_eq!(compare(&all, 4, ("rival", &yes), ("champion", &no), &spec, 1), None);
    }
}
