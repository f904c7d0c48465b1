//! What of the reward was lost, and to what.

use serde::{Deserialize, Serialize};

use super::Row;
use crate::subnet::reward::{PREDICTION_SHARE, RESPONSE_TIME_SHARE, RewardSpec};

/// The most that an answer's confidence can earn by itself: sure, or just beside one half.
const MOST_DIVERSITY: f64 = 0.5;

/// What could be had, what was had, and what the difference was lost to; means over answers.
///
/// The most possible is what the truth itself earns when it is answered in no time: the weight of
/// the true class in force, a full time accuracy where it converted after a known time, and all of
/// the response time. Each part of the reward is compared with its own most, so that
///
/// ```text
/// reward + class + time + latency + confidence = most
/// ```
///
/// An answer that breaks the rules loses all parts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Lost {
    /// The most that could be had.
    pub most: f64,
    /// What was had.
    pub reward: f64,
    /// Lost to wrong classes: the weight of the true class.
    pub class: f64,
    /// Lost to times: of those that converted, what a full time accuracy would have earned more.
    pub time: f64,
    /// The part of `time` that was lost because the answer said "does not convert".
    pub time_unanswered: f64,
    /// Lost to how long answers took.
    pub latency: f64,
    /// Lost to confidences, under a spec that rewards them; 0 under the others.
    pub confidence: f64,
}

impl Lost {
    /// The split of one answer.
    pub(super) fn of(row: &Row<'_>, spec: &RewardSpec) -> Lost {
        let (truth, reward) = (row.truth(), row.scored.reward);
        let earns_time = truth.converted && truth.time_seconds.is_finite();
        let most_time = if earns_time { 1.0 } else { 0.0 };
        let class = spec.class_weight * (row.scored.weights.of(truth.converted) - reward.class);
        let time = spec.time_weight * (most_time - reward.time_accuracy);
        let confidence = spec.diversity_weight * (MOST_DIVERSITY - reward.diversity);
        let latency = RESPONSE_TIME_SHARE * (1.0 - reward.response_time);
        let [class, time, confidence] =
            [class, time, confidence].map(|part| PREDICTION_SHARE * part);
        let unanswered = !row.resolved.record.answer.converted;
        Lost {
            most: reward.total + class + time + confidence + latency,
            reward: reward.total,
            class,
            time,
            time_unanswered: if unanswered { time } else { 0.0 },
            latency,
            confidence,
        }
    }

    /// The mean of several; all 0 without any.
    pub(super) fn mean<'a>(all: impl IntoIterator<Item = &'a Lost>) -> Lost {
        let mut sum = Lost::default();
        let mut count = 0_usize;
        for lost in all {
            count += 1;
            for (to, from) in sum.parts().into_iter().zip(lost.clone().parts()) {
                *to += *from;
            }
        }
        let count = count.max(1) as f64;
        sum.parts().into_iter().for_each(|part| *part /= count);
        sum
    }

    fn parts(&mut self) -> [&mut f64; 7] {
        let Lost { most, reward, class, time, time_unanswered, latency, confidence } = self;
        [most, reward, class, time, time_unanswered, latency, confidence]
    }

    /// All that was lost.
    pub fn total(&self) -> f64 {
        self.class + self.time + self.latency + self.confidence
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::tests::{no, resolved, rows_of, yes};
    use crate::subnet::reward::Truth;

    fn lost(answers: &[(crate::journal::RecordedAnswer, Truth)], spec: &RewardSpec) -> Vec<Lost> {
        let resolved: Vec<_> = answers
            .iter()
            .enumerate()
            .map(|(index, (answer, truth))| resolved(index as u64, *answer, *truth))
            .collect();
        rows_of(&resolved, spec, |rows| rows.iter().map(|row| row.lost).collect())
    }

    /// With the weights that a validator starts with, 0.375 and 0.625, and 3 of 60 s.
    #[test]
    fn every_part_by_hand() {
        let after = Truth::converted_after;
        let latency = 0.2 * 3.0 / 60.0;
        for (answer, truth, class, time, unanswered, why) in [
            // 6 s off: 0.8 * 0.45 * 0.4
            (yes(60.0, 0.9), after(66.0), 0.0, 0.144, 0.0, "a time that is off"),
            (no(0.1), Truth::not_converted(), 0.0, 0.0, 0.0, "nothing"),
            // 0.8 * 0.55 * 0.375, and 0.8 * 0.45
            (no(0.4), after(66.0), 0.165, 0.36, 0.36, "no where it converted"),
            // 0.8 * 0.55 * 0.625
            (yes(60.0, 0.9), Truth::not_converted(), 0.275, 0.0, 0.0, "yes where it did not"),
            (yes(60.0, 0.9), after(f64::NAN), 0.0, 0.0, 0.0, "nobody knows the time"),
        ] {
            let found = lost(&[(answer, truth)], &RewardSpec::MAIN)[0];
            let near = |found: f64, expected: f64| (found - expected).abs() < 1e-12;
            assert!(near(found.class, class) && near(found.time, time), "{why}: {found:?}");
            assert!(near(found.time_unanswered, unanswered), "{why}: {found:?}");
            assert!(near(found.latency, latency) && found.confidence == 0.0, "{why}: {found:?}");
            assert!(near(found.reward + found.total(), found.most), "{why}: {found:?}");
        }
        // The most of one that converts: 0.8 * (0.55 * 0.375 + 0.45) + 0.2
        let found = lost(&[(yes(60.0, 0.9), after(66.0))], &RewardSpec::MAIN)[0];
        assert!((found.most - 0.725).abs() < 1e-12);
    }

    #[test]
    fn confidences_and_broken_answers() {
        // The guide: 0.8 * 0.1 * (0.5 - 0.1) is lost to a confidence of 0.9.
        let found = lost(&[(yes(60.0, 0.9), Truth::converted_after(60.0))], &RewardSpec::GUIDE)[0];
        assert!((found.confidence - 0.032).abs() < 1e-12, "{found:?}");
        assert!((found.reward + found.total() - found.most).abs() < 1e-12);
        // 0.8 * (0.55 * 0.375 + 0.35 + 0.1 * 0.5) + 0.2
        assert!((found.most - 0.685).abs() < 1e-12, "{found:?}");
        // A time of 0 earns nothing at all.
        let found = lost(&[(yes(0.0, 0.9), Truth::converted_after(60.0))], &RewardSpec::MAIN)[0];
        assert_eq!((found.reward, found.latency), (0.0, 0.2));
        assert!((found.total() - 0.725).abs() < 1e-12);
    }

    #[test]
    fn means_add_up() {
        let after = Truth::converted_after;
        let all = lost(
            &[
                (yes(60.0, 0.9), after(66.0)),
                (no(0.4), after(66.0)),
                (no(0.1), Truth::not_converted()),
            ],
            &RewardSpec::MAIN,
        );
        let mean = Lost::mean(&all);
        assert!((mean.time - (0.144 + 0.36) / 3.0).abs() < 1e-12);
        assert!((mean.class - 0.165 / 3.0).abs() < 1e-12);
        assert!((mean.reward + mean.total() - mean.most).abs() < 1e-12);
        assert_eq!(Lost::mean(&[]), Lost::default());
    }
}
