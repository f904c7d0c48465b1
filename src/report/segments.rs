//! The reward of parts of the rows.

use std::borrow::Borrow;

use serde::Serialize;

use super::Subject;
use super::statistics::{Interval, Mean, quantile};
use crate::features::Conversation;
use crate::subnet::schema::position;

const HOUR: usize = position("hour_of_day");
const DURATION: usize = position("conversation_duration_seconds");
const MESSAGES: usize = position("total_messages");

/// Hours of a segment.
const HOURS: usize = 3;
/// Segments of equally many rows by duration.
const DURATIONS: usize = 5;

/// The rows, each in one of several segments.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Segmentation {
    /// What they are told apart by.
    pub by: String,
    /// The segments that have rows.
    pub segments: Vec<Segment>,
}

/// Some of the rows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Segment {
    /// Which.
    pub name: String,
    /// How many.
    pub rows: usize,
    /// How many of them converted.
    pub converted: usize,
    /// The mean confidence: of a calibrated miner, the share that converted.
    pub mean_confidence: f64,
    /// The mean reward.
    pub reward: Mean,
    /// Its 95 % interval.
    pub reward_interval: Interval,
    /// What the truth itself would earn.
    pub oracle_reward: f64,
    /// What the miner earns above the other one; absent without one.
    pub above_against: Option<Mean>,
}

/// For each row, the number of its segment; and the segments' names.
pub(crate) type Assignment = (Vec<usize>, Vec<String>);

/// All segmentations of a miner's rows.
pub(super) fn of(subject: Subject<'_>, against: Option<Subject<'_>>) -> Vec<Segmentation> {
    let conversations = subject.rows.conversations;
    let rewards = subject.rewards(&subject.answers());
    let oracle = subject.oracle_rewards();
    let theirs = against.map(|other| other.rewards(&other.answers()));
    let segmentation = |by: &str, (segment_of, names): Assignment| {
        let segment = |(number, name): (usize, String)| {
            let rows: Vec<usize> =
                (0..segment_of.len()).filter(|row| segment_of[*row] == number).collect();
            if rows.is_empty() {
                return None;
            }
            let pick = |of: &[f64]| rows.iter().map(|row| of[*row]).collect::<Vec<f64>>();
            let reward = Mean::of(&pick(&rewards));
            Some(Segment {
                name,
                rows: rows.len(),
                converted: rows.iter().filter(|row| subject.rows.truths[**row].converted).count(),
                mean_confidence: Mean::of(&pick(&subject.said.confidences)).mean,
                reward,
                reward_interval: reward.interval(),
                oracle_reward: Mean::of(&pick(&oracle)).mean,
                above_against: theirs
                    .as_ref()
                    .map(|theirs| Mean::of_difference(&pick(&rewards), &pick(theirs))),
            })
        };
        let segments = names.into_iter().enumerate().filter_map(segment).collect();
        Segmentation { by: by.to_owned(), segments }
    };
    vec![
        segmentation("hour of day", by_hour(conversations)),
        segmentation("duration", by_duration(conversations)),
        segmentation("messages", by_emptiness(conversations)),
        segmentation("known features", by_coverage(conversations)),
    ]
}

pub(crate) fn by_hour<C: Borrow<Conversation>>(conversations: &[C]) -> Assignment {
    let blocks = 24 / HOURS;
    let mut names: Vec<String> = (0..blocks)
        .map(|block| format!("{:02}:00 to {:02}:59", block * HOURS, block * HOURS + HOURS - 1))
        .collect();
    names.push("unknown".to_owned());
    let block = |conversation: &C| {
        let hour = conversation.borrow().values[HOUR];
        // A NaN is in no range.
        if (0.0..24.0).contains(&hour) { hour as usize / HOURS } else { blocks }
    };
    (conversations.iter().map(block).collect(), names)
}

pub(crate) fn by_duration<C: Borrow<Conversation>>(conversations: &[C]) -> Assignment {
    let duration = |conversation: &C| f64::from(conversation.borrow().values[DURATION]);
    let mut known: Vec<f64> =
        conversations.iter().map(duration).filter(|seconds| !seconds.is_nan()).collect();
    known.sort_by(f64::total_cmp);
    let level = |index: usize| index as f64 / DURATIONS as f64;
    let mut borders: Vec<f64> =
        (1..DURATIONS).map(|index| quantile(&known, level(index))).collect();
    borders.retain(|border| !border.is_nan());
    borders.dedup();
    let mut names: Vec<String> = (0..=borders.len())
        .map(|index| match (index.checked_sub(1).map(|below| borders[below]), borders.get(index)) {
            (None, Some(high)) => format!("up to {high:.0} s"),
            (Some(low), Some(high)) => format!("{low:.0} to {high:.0} s"),
            (Some(low), None) => format!("above {low:.0} s"),
            (None, None) => "known".to_owned(),
        })
        .collect();
    names.push("unknown".to_owned());
    let segment = |conversation: &C| {
        let seconds = duration(conversation);
        if seconds.is_nan() {
            borders.len() + 1
        } else {
            borders.partition_point(|border| *border < seconds)
        }
    };
    (conversations.iter().map(segment).collect(), names)
}

pub(crate) fn by_emptiness<C: Borrow<Conversation>>(conversations: &[C]) -> Assignment {
    let names = ["none", "unknown", "some"].map(str::to_owned).to_vec();
    let segment = |conversation: &C| match conversation.borrow().values[MESSAGES] {
        count if count.is_nan() => 1,
        count if count <= 0.0 => 0,
        _ => 2,
    };
    (conversations.iter().map(segment).collect(), names)
}

pub(crate) fn by_coverage<C: Borrow<Conversation>>(conversations: &[C]) -> Assignment {
    let names = ["all", "90 % to all", "75 % to 90 %", "50 % to 75 %", "less than 50 %"];
    let segment = |conversation: &C| match conversation.borrow().coverage() {
        share if share >= 1.0 => 0,
        share if share >= 0.9 => 1,
        share if share >= 0.75 => 2,
        share if share >= 0.5 => 3,
        _ => 4,
    };
    (conversations.iter().map(segment).collect(), names.map(str::to_owned).to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(index: usize, values: &[f64]) -> Vec<Conversation> {
        let conversation = |value: &f64| {
            let mut conversation = Conversation::EMPTY;
            conversation.set(index, *value);
            conversation
        };
        values.iter().map(conversation).collect()
    }

    #[test]
    fn hours_by_hand() {
        let (segments, names) = by_hour(&with(HOUR, &[0.0, 2.0, 3.0, 23.0, -1.0, 24.0]));
        let names: Vec<&str> = segments.iter().map(|segment| names[*segment].as_str()).collect();
        let night = "00:00 to 02:59";
        assert_eq!(names, [night, night, "03:00 to 05:59", "21:00 to 23:59", "unknown", "unknown"]);
    }

    #[test]
    fn durations_by_hand() {
        let seconds: Vec<f64> = (0..=10).map(|index| f64::from(index) * 10.0).collect();
        let mut conversations = with(DURATION, &seconds);
        conversations.push(Conversation::EMPTY);
        let (segments, names) = by_duration(&conversations);
        assert_eq!(segments, [0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5]);
        assert_eq!(
            names,
            ["up to 20 s", "20 to 40 s", "40 to 60 s", "60 to 80 s", "above 80 s", "unknown"]
        );
        // All alike, and none known.
        assert_eq!(by_duration(&with(DURATION, &[7.0; 5])).0, [0; 5]);
        let (segments, names) = by_duration(&vec![Conversation::EMPTY; 3]);
        assert_eq!(names[segments[0]], "unknown");
    }

    #[test]
    fn emptiness_and_coverage_by_hand() {
        let (segments, _) = by_emptiness(&with(MESSAGES, &[0.0, 3.0, f64::NAN]));
        assert_eq!(segments, [0, 2, 1]);
        let full = Conversation { values: [1.0; 40] };
        let mut half = full.clone();
        half.values[..20].fill(f32::NAN);
        let mut most = full.clone();
        most.values[..4].fill(f32::NAN);
        assert_eq!(by_coverage(&[full, half, most, Conversation::EMPTY]).0, [0, 3, 1, 4]);
    }
}
