//! What a validator gave for what was answered.
//!
//! A validator scores an answer with the class weights that it has by then, and only then counts the
//! truth: with every hundredth one the weights are set anew. Nobody tells a miner when a validator
//! learned which truth, so the order of the requests is taken for the order of the truths.

use std::collections::BTreeMap;

use super::{Resolved, in_order};
use crate::subnet::reward::{
    Answer, ClassWeightTracker, ClassWeights, Ema, Reward, RewardSpec, Truth, reward,
};

/// What scoring needs of an answer whose truth is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exchange<'a> {
    /// The hotkey of who asked.
    pub validator: &'a str,
    /// What was answered.
    pub answer: Answer,
    /// What really happened; a time that is NaN earns nothing.
    pub truth: Truth,
    /// How long the answer took, in seconds.
    pub response_time_seconds: f64,
}

/// An answer as its validator scored it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored {
    /// What it earned.
    pub reward: Reward,
    /// The class weights of its validator at that time.
    pub weights: ClassWeights,
    /// The validator's moving average with this answer.
    pub ema: f64,
}

/// What validators carry from one answer to the next.
#[derive(Debug, Clone)]
pub struct Ledger {
    spec: RewardSpec,
    validators: BTreeMap<String, Standing>,
    overall: Ema,
}

/// How a miner stands with one validator.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    tracker: ClassWeightTracker,
    ema: Ema,
}

impl Standing {
    /// The class weights in force: the next answer is scored with them.
    pub fn weights(&self) -> ClassWeights {
        self.tracker.weights()
    }

    /// The moving average of the rewards.
    pub fn ema(&self) -> f64 {
        self.ema.value()
    }
}

impl Ledger {
    /// Validators that have seen nothing yet, and reward by this spec.
    pub fn new(spec: RewardSpec) -> Ledger {
        Ledger { spec, validators: BTreeMap::new(), overall: Ema::default() }
    }

    /// Scores the next answer in order of time.
    pub fn score(&mut self, exchange: Exchange<'_>) -> Scored {
        let Exchange { validator, answer, truth, response_time_seconds } = exchange;
        if !self.validators.contains_key(validator) {
            self.validators.insert(validator.to_owned(), Standing::default());
        }
        let standing = self.validators.get_mut(validator).expect("it was added. This is a bug.");
        let weights = standing.weights();
        let reward = reward(&self.spec, weights, answer, truth, response_time_seconds);
        standing.tracker.record(truth.converted);
        self.overall.record(reward.total);
        Scored { reward, weights, ema: standing.ema.record(reward.total) }
    }

    /// How the miner stands with each validator, by its hotkey.
    pub fn validators(&self) -> impl Iterator<Item = (&str, &Standing)> {
        self.validators.iter().map(|(validator, standing)| (validator.as_str(), standing))
    }

    /// The moving average of all rewards in order of time, whoever gave them.
    pub fn ema(&self) -> f64 {
        self.overall.value()
    }
}

/// Scores what was answered as the validators did: each with its own class weights and moving
/// average, in order of time (see [`in_order`]). One score an answer, in the order of the answers; each
/// request must be there once, as [`resolved`](super::resolved()) gives them.
pub fn score(resolved: &[Resolved], spec: &RewardSpec) -> Vec<Scored> {
    score_with(resolved, &|row| resolved[row].record.answer.into(), spec)
}

/// As [`score`], had these been the answers, given in the same time.
///
/// # Panics
///
/// If there are not as many answers as records.
pub fn rescore(resolved: &[Resolved], answers: &[Answer], spec: &RewardSpec) -> Vec<Scored> {
    assert_eq!(resolved.len(), answers.len(), "one answer a record. This is a bug.");
    score_with(resolved, &|row| answers[row], spec)
}

fn score_with(
    resolved: &[Resolved],
    answer: &dyn Fn(usize) -> Answer,
    spec: &RewardSpec,
) -> Vec<Scored> {
    let mut order: Vec<usize> = (0..resolved.len()).collect();
    order.sort_by_key(|row| in_order(&resolved[*row].record));
    let mut ledger = Ledger::new(*spec);
    let mut scored = vec![None; resolved.len()];
    for row in order {
        let Resolved { record, truth, .. } = &resolved[row];
        scored[row] = Some(ledger.score(Exchange {
            validator: &record.validator,
            answer: answer(row),
            truth: *truth,
            response_time_seconds: record.response_time_seconds,
        }));
    }
    scored.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Record;

    fn resolved(validator: &str, time_ns: u64, answer: Answer, truth: Truth) -> Resolved {
        let mut record = Record::sample("a", time_ns);
        record.validator = validator.to_owned();
        record.answer = answer.into();
        record.response_time_seconds = 3.0;
        Resolved { record, truth, known_ns: time_ns }
    }

    fn yes(time_seconds: f64) -> Answer {
        Answer { converted: true, time_seconds, confidence: 0.9 }
    }

    const NO: Answer = Answer { converted: false, time_seconds: -1.0, confidence: 0.2 };

    fn assert_near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-12, "expected {expected}, found {found}");
    }

    /// Two validators in turn. 3 of 60 s leave 0.95 of the response time's 0.2: 0.19 each.
    #[test]
    fn every_validator_has_its_own_weights_and_average() {
        let all = [
            // 0.8*0.55*0.375 + 0.8*0.45*(1 - 6/15) + 0.19 = 0.165 + 0.216 + 0.19
            resolved("a", 1, yes(60.0), Truth::converted_after(66.0)),
            // 0.8*0.55*0.625 + 0.19 = 0.275 + 0.19
            resolved("b", 2, NO, Truth::not_converted()),
            // Wrong: 0.19
            resolved("a", 3, NO, Truth::converted_after(66.0)),
            // Right, after nobody knows how long: 0.165 + 0.19
            resolved("b", 4, yes(60.0), Truth::converted_after(f64::NAN)),
        ];
        let scored = score(&all, &RewardSpec::MAIN);
        let expected = [
            (0.571, 0.0571),
            (0.465, 0.0465),
            (0.19, 0.1 * 0.19 + 0.9 * 0.0571),
            (0.355, 0.1 * 0.355 + 0.9 * 0.0465),
        ];
        for (found, (total, ema)) in scored.iter().zip(expected) {
            assert_near(found.reward.total, total);
            assert_near(found.ema, ema);
            assert_eq!(found.weights, ClassWeights::START);
        }
        // What comes in another order is scored in order of time, and told in the order it came.
        let turned: Vec<Resolved> = all.iter().rev().cloned().collect();
        let mut again = score(&turned, &RewardSpec::MAIN);
        again.reverse();
        assert_eq!(again, scored);
    }

    /// ```python
    /// def run(rows, weights=(0.375, 0.625), ema=0.0):    # (said, happened), 50 ms, time 7.5 s off
    ///     seen, total = [], 0.0
    ///     for said, happened in rows:
    ///         right = weights[0 if happened else 1] * (said == happened)
    ///         near = 0.5 * (said and happened)
    ///         one = 0.8 * (0.55 * right + 0.45 * near) + 0.2 * (1 - 0.05 / 60)
    ///         total, ema = total + one, 0.1 * one + 0.9 * ema
    ///         seen.append(happened)
    ///         if len(seen) == 100:
    ///             share = sum(seen) / 100
    ///             weights, seen = (1 - share, share), []
    ///     return total / len(rows), ema, weights
    /// # every third converts, every other is said to
    /// run([(row % 2 == 0, row % 3 == 0) for row in range(250)])
    /// # (0.3364125333333323, 0.31914116188071573, (0.67, 0.33))
    /// run([(row % 2 == 0, row % 3 == 0) for row in range(99)])
    /// # (0.35074242424242436, 0.35507054210016364, (0.375, 0.625))
    /// ```
    #[test]
    fn weights_follow_every_hundredth_truth() {
        let mut all = Vec::new();
        for row in 0..250_u64 {
            let happened = row % 3 == 0;
            let truth =
                if happened { Truth::converted_after(67.5) } else { Truth::not_converted() };
            let answer = if row % 2 == 0 { yes(60.0) } else { NO };
            let mut one = resolved("a", row, answer, truth);
            one.record.response_time_seconds = 0.05;
            all.push(one.clone());
            // Another validator sees fewer, and keeps the weights it began with.
            one.record.validator = "b".to_owned();
            all.extend((row < 99).then_some(one));
        }
        let scored = score(&all, &RewardSpec::MAIN);
        let of = |validator: &str| -> Vec<Scored> {
            let rows = all.iter().zip(&scored);
            let own = rows.filter(|(one, _)| one.record.validator == validator);
            own.map(|(_, scored)| *scored).collect()
        };
        let mean =
            |of: &[Scored]| of.iter().map(|one| one.reward.total).sum::<f64>() / of.len() as f64;
        let (a, b) = (of("a"), of("b"));
        assert_near(mean(&a), 0.336_412_533_333_332_3);
        assert_near(a[249].ema, 0.319_141_161_880_715_73);
        assert_near(mean(&b), 0.350_742_424_242_424_36);
        assert_near(b[98].ema, 0.355_070_542_100_163_64);
        assert_eq!(a[99].weights, ClassWeights::START, "the hundredth is scored before it counts");
        // Of rows 0 to 99, 34 converted; of rows 100 to 199, 33.
        assert_eq!(a[100].weights, ClassWeights { positive: 0.66, negative: 0.34 });
        assert_eq!(a[200].weights, ClassWeights { positive: 0.67, negative: 0.33 });
        assert_eq!(b[98].weights, ClassWeights::START);
    }

    #[test]
    fn another_answer_is_scored_alike() {
        let all = [
            resolved("a", 1, NO, Truth::converted_after(60.0)),
            resolved("a", 2, NO, Truth::not_converted()),
        ];
        let own: Vec<Answer> = all.iter().map(|one| one.record.answer.into()).collect();
        let spec = RewardSpec::API;
        assert_eq!(rescore(&all, &own, &spec), score(&all, &spec));
        let scored = rescore(&all, &[yes(60.0), yes(60.0)], &spec);
        // 0.8*0.55*0.375 + 0.8*0.45 + 0.2*(1 - 3/120), and the response time alone.
        assert_near(scored[0].reward.total, 0.165 + 0.36 + 0.195);
        assert_near(scored[1].reward.total, 0.195);
        assert!(score(&[], &spec).is_empty());
    }

    #[test]
    fn a_ledger_knows_how_a_miner_stands() {
        let mut ledger = Ledger::new(RewardSpec::MAIN);
        for (validator, answer) in [("b", NO), ("a", yes(9.0)), ("b", NO)] {
            let truth = Truth::not_converted();
            ledger.score(Exchange { validator, answer, truth, response_time_seconds: 60.0 });
        }
        // 0.275, 0 and 0.275 in all.
        assert_near(ledger.ema(), 0.1 * 0.275 + 0.9 * (0.9 * 0.0275));
        let of: Vec<_> = ledger.validators().map(|(name, one)| (name, one.ema())).collect();
        assert_eq!(of[0], ("a", 0.0));
        assert_near(of[1].1, 0.1 * 0.275 + 0.9 * 0.0275);
    }
}
