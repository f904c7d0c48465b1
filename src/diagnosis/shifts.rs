//! What another threshold of the decision, or another quantile of the time, would have earned.
//!
//! The answers of the checkpoint are decided again, from the confidence that was sent and the time
//! that the checkpoint predicts: exactly what the miner would have answered with this adjustment.
//! Answers of other checkpoints, and those that the checkpoint's baseline or constant gave, say
//! nothing about it and do not count; all others do, also where a value changes nothing, so that
//! gains of both kinds are means over the same answers. Of a conversation that several validators
//! asked about only the last answer counts: copies that choose and judge would flatter.

use serde::{Deserialize, Serialize};

use super::compared::earned;
use super::{DiagnoseOptions, Row, last_of_each, mean};
use crate::features::Conversation;
use crate::model::adjustment::Adjustment;
use crate::model::decision::Rule;
use crate::model::predictor::Estimate;
use crate::report::Mean;
use crate::subnet::reward::{Answer, NOT_CONVERTED, converting_earns_more};

/// Answers at most, the latest ones: each is decided anew for each value.
const MOST_ROWS: usize = 20_000;
/// Fewer answers that can change say nothing: half of them choose, and half judge.
const FEWEST_ROWS: usize = 20;
/// Offsets of the threshold: from -0.2 to 0.2.
const OFFSETS: (i32, f64) = (20, 0.01);
/// Shifts of the quantile: from -0.3 to 0.3.
const QUANTILE_SHIFTS: (i32, f64) = (12, 0.025);

/// The value of an adjustment that would have earned the most, and what it would have earned.
///
/// It is chosen on every other conversation, and judged on those between: what chance found does
/// not flatter the gain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shift {
    /// The best value on the answers that chose; of several, the one that is nearest to 0.
    pub value: f64,
    /// What it earns above what was answered, on the answers that judge, with its standard error.
    pub gain: Mean,
    /// Answers that chose.
    pub chosen_on: usize,
    /// Answers that judge.
    pub judged_on: usize,
    /// All values, over all of these answers: the best of them flatters.
    pub curve: Vec<ShiftPoint>,
}

/// A value, and what it would have earned.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ShiftPoint {
    /// The value.
    pub value: f64,
    /// The mean reward above what was answered.
    pub gain: f64,
}

/// An answer that can be decided again.
struct Decided<'a> {
    row: Row<'a>,
    estimate: Estimate,
}

/// The best offset of the threshold.
pub(super) fn threshold_offset(rows: &[Row<'_>], options: &DiagnoseOptions<'_>) -> Option<Shift> {
    let predictor = options.checkpoint?.predictor;
    let decided = decided(rows, options);
    // What does not depend on the offset is slow, and computed once an answer.
    let best: Vec<(f64, f64)> =
        decided.iter().map(|one| predictor.decision.best_time(one.estimate.time_seconds)).collect();
    let answers = |offset: f64| -> Vec<Answer> {
        let answer = |(one, (best_seconds, accuracy)): (&Decided<'_>, &(f64, f64))| {
            let answered = one.row.answer();
            let asked = answered.confidence - offset;
            let converted = match predictor.decision.rule {
                Rule::Threshold(threshold) => asked >= f64::from(threshold),
                Rule::Reward => {
                    let (spec, weights) = (&predictor.spec, predictor.class_weights);
                    converting_earns_more(spec, weights, asked, *accuracy)
                }
            };
            let time_seconds = match (converted, answered.converted) {
                (false, _) => NOT_CONVERTED,
                // With the shift of the quantile that was in force.
                (true, true) => answered.time_seconds,
                (true, false) => *best_seconds,
            };
            Answer { converted, time_seconds, confidence: answered.confidence }
        };
        decided.iter().zip(&best).map(answer).collect()
    };
    best_of(&decided, OFFSETS, options, &answers)
}

/// The best shift of the quantile of the time; absent where no distribution of times is predicted.
pub(super) fn time_quantile_shift(
    rows: &[Row<'_>],
    options: &DiagnoseOptions<'_>,
) -> Option<Shift> {
    let predictor = options.checkpoint?.predictor;
    predictor.decision.times.as_ref()?;
    let decided = decided(rows, options);
    // Only a time that was answered and that something converted after can earn more or less.
    let can_change = |one: &Decided<'_>| {
        let truth = one.row.truth();
        one.row.answer().converted && truth.converted && truth.time_seconds.is_finite()
    };
    if decided.iter().filter(|one| can_change(one)).count() < FEWEST_ROWS {
        return None;
    }
    let answers = |shift: f64| -> Vec<Answer> {
        let adjustment = Adjustment { time_quantile_shift: shift, ..Adjustment::default() };
        let answer = |one: &Decided<'_>| {
            let answered = one.row.answer();
            if !can_change(one) {
                return answered;
            }
            let reward = (&predictor.spec, predictor.class_weights);
            let predicted = one.estimate.time_seconds;
            // A conversion that is certain: "converts" is what is answered.
            let decided = predictor.decision.adjusted_answer(1.0, predicted, reward, &adjustment);
            Answer { time_seconds: decided.time_seconds, ..answered }
        };
        decided.iter().map(answer).collect()
    };
    best_of(&decided, QUANTILE_SHIFTS, options, &answers)
}

/// The latest answers that the checkpoint's networks gave, or its baseline where it has none; the
/// last one of each conversation.
fn decided<'a>(rows: &[Row<'a>], options: &DiagnoseOptions<'_>) -> Vec<Decided<'a>> {
    let Some(reference) = options.checkpoint else { return Vec::new() };
    let own: Vec<Row<'a>> = rows
        .iter()
        .filter(|row| {
            let record = &row.resolved.record;
            record.checkpoint == reference.name && record.raw_probability.is_some()
        })
        .copied()
        .collect();
    let own = &own[own.len().saturating_sub(MOST_ROWS)..];
    let conversations: Vec<Conversation> =
        own.iter().map(|row| row.resolved.record.features.clone()).collect();
    let estimates = reference.predictor.estimate(&conversations).into_iter();
    let all = own.iter().zip(estimates).map(|(row, estimate)| Decided { row: *row, estimate });
    let mut decided: Vec<Decided<'a>> =
        all.filter(|one| !one.estimate.fallback && agrees(one)).collect();
    let is_last = last_of_each(decided.iter().map(|one| one.row.resolved));
    let mut is_last = is_last.into_iter();
    decided.retain(|_| is_last.next().unwrap_or(true));
    decided
}

/// Whether the answer was given by the networks of this checkpoint, and not by its baseline in
/// their place or by another checkpoint that once had its name.
fn agrees(one: &Decided<'_>) -> bool {
    /// Networks say the same to about 1e-5, however they are computed.
    const TOLERANCE: f64 = 1e-3;
    let raw = one.row.resolved.record.raw_probability;
    raw.is_some_and(|raw| (raw - one.estimate.probability).abs() < TOLERANCE)
}

fn best_of(
    decided: &[Decided<'_>],
    (steps, step): (i32, f64),
    options: &DiagnoseOptions<'_>,
    answers: &dyn Fn(f64) -> Vec<Answer>,
) -> Option<Shift> {
    if decided.len() < FEWEST_ROWS {
        return None;
    }
    let rows: Vec<Row<'_>> = decided.iter().map(|one| one.row).collect();
    let answered: Vec<f64> = rows.iter().map(Row::reward).collect();
    let gains = |value: f64| -> Vec<f64> {
        let earned = earned(&rows, &answers(value), &options.spec);
        earned.iter().zip(&answered).map(|(new, old)| new - old).collect()
    };
    let half = |gains: &[f64], first: usize| -> Vec<f64> {
        gains.iter().copied().skip(first).step_by(2).collect()
    };
    let sum = |gains: &[f64]| gains.iter().sum::<f64>();
    let mut best: Option<(f64, f64, Vec<f64>)> = None;
    let mut curve = Vec::new();
    for value in (-steps..=steps).map(|number| f64::from(number) * step) {
        let gains = gains(value);
        curve.push(ShiftPoint { value, gain: sum(&gains) / gains.len() as f64 });
        let chosen = sum(&half(&gains, 0));
        let is_better = best.as_ref().is_none_or(|(other, most, _)| {
            // A hair, for sums of the same numbers that rounding tells apart.
            let slack = 1e-9;
            chosen > most + slack || (chosen > most - slack && value.abs() < other.abs())
        });
        if is_better {
            best = Some((value, chosen, gains));
        }
    }
    let (value, _, gains) = best?;
    let (chosen_on, judging) = (half(&gains, 0).len(), half(&gains, 1));
    Some(Shift { value, gain: mean(&judging)?, chosen_on, judged_on: judging.len(), curve })
}

#[cfg(test)]
mod tests;
