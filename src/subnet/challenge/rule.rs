//! What the public validator sends: clipped normals, and a truth that is a rule of them.

use super::consistency::make_consistent;
use super::draw::{Dice, clipped};
use super::{Features, Oracle, OracleTime, at};
use crate::subnet::reward::Truth;

/// A conversation whose outcome its features decide.
pub(super) fn example(dice: &mut Dice) -> (Features, Truth, Oracle) {
    let features = features(dice);
    let time = time_seconds(&features);
    let converted = converts(&features);
    let truth = if converted { Truth::converted_after(time) } else { Truth::not_converted() };
    let probability = f64::from(u8::from(converted));
    (features, truth, Oracle { probability, time: OracleTime::Exact(time) })
}

/// The features of a rule conversation.
pub(super) fn features(dice: &mut Dice) -> Features {
    let mut features = [0.0; 40];
    features[at::DURATION_SECONDS] = dice.float(clipped(100.0, 20.0, 60.0, 150.0), 2);
    features[at::HOUR] = dice.any_int(8, 19);
    features[at::DAY] = dice.any_int(0, 6);
    features[at::TOTAL_MESSAGES] = dice.int(clipped(8.0, 2.0, 4.0, 20.0));
    features[at::RATIO] = dice.float(clipped(1.3, 0.3, 1.0, 2.0), 2);
    features[at::QUESTIONS_AGENT] = dice.int(clipped(3.0, 1.0, 1.0, 5.0));
    features[at::QUESTIONS_USER] = dice.int(clipped(1.0, 0.5, 0.0, 3.0));
    features[at::SEQUENTIAL_USER] = dice.int(clipped(2.0, 1.0, 1.0, 4.0));
    features[at::SEQUENTIAL_AGENT] = 1.0;
    features[at::ENTITIES] = dice.int(clipped(4.0, 1.5, 1.0, 6.0));
    features[at::TARGET_ENTITY] = dice.coin();
    features[at::COLLECTION_RATE] = 0.0;
    features[at::REPEATED_QUESTIONS] = dice.coin();
    features[at::ALTERNATION_RATE] = dice.float(clipped(0.9, 0.1, 0.7, 1.0), 3);
    response_times(&mut features, dice);
    message_lengths(&mut features, dice);
    entity_confidences(&mut features, dice);
    make_consistent(&mut features);
    features
}

pub(super) fn response_times(features: &mut Features, dice: &mut Dice) {
    features[at::FIRST_RESPONSE] = dice.float(clipped(10.0, 3.0, 5.0, 20.0), 2);
    features[at::AVG_RESPONSE] = dice.float(clipped(15.0, 2.0, 10.0, 20.0), 2);
    features[at::MAX_RESPONSE] = dice.float(clipped(18.0, 2.5, 15.0, 25.0), 2);
    features[at::MIN_RESPONSE] = dice.float(clipped(10.0, 2.0, 5.0, 15.0), 2);
    features[at::AGENT_RESPONSE] = dice.float(clipped(15.0, 2.0, 10.0, 20.0), 2);
    features[at::USER_RESPONSE] = dice.float(clipped(15.0, 2.0, 10.0, 20.0), 2);
    features[at::RESPONSE_STDDEV] = dice.float(clipped(3.0, 1.0, 0.0, 5.0), 2);
    features[at::RESPONSE_GAP] = dice.float(clipped(18.0, 2.5, 15.0, 25.0), 2);
}

/// Shortest and longest are whole numbers, as the schema has them; the public code leaves them
/// with two decimals.
pub(super) fn message_lengths(features: &mut Features, dice: &mut Dice) {
    features[at::AVG_LENGTH_USER] = dice.float(clipped(40.0, 5.0, 20.0, 60.0), 2);
    features[at::MAX_LENGTH_USER] = dice.int(clipped(50.0, 5.0, 30.0, 70.0));
    features[at::MIN_LENGTH_USER] = dice.int(clipped(30.0, 5.0, 15.0, 45.0));
    features[at::AVG_LENGTH_AGENT] = dice.float(clipped(75.0, 10.0, 50.0, 100.0), 2);
    features[at::MAX_LENGTH_AGENT] = dice.int(clipped(100.0, 15.0, 70.0, 130.0));
    features[at::MIN_LENGTH_AGENT] = dice.int(clipped(50.0, 10.0, 30.0, 80.0));
}

pub(super) fn entity_confidences(features: &mut Features, dice: &mut Dice) {
    features[at::AVG_CONFIDENCE] = dice.float(clipped(0.9, 0.02, 0.8, 0.95), 3);
    features[at::MIN_CONFIDENCE] = dice.float(clipped(0.85, 0.03, 0.8, 0.9), 3);
}

/// Whether a conversation with these features converts.
pub(super) fn converts(features: &Features) -> bool {
    let target = features[at::TARGET_ENTITY] == 1.0;
    (target && features[at::ENTITIES] >= 4.0)
        || (features[at::RATIO] > 1.2 && features[at::DURATION_SECONDS] > 90.0)
}

/// After how many seconds it does, or would.
pub(super) fn time_seconds(features: &Features) -> f64 {
    let target = 10.0 * features[at::TARGET_ENTITY];
    let entities = 5.0 * (features[at::ENTITIES] - 3.0).max(0.0);
    let ratio = 5.0 * (1.0 - (features[at::RATIO] / 2.0).min(1.0));
    (0.7 * features[at::DURATION_SECONDS] + target - entities + ratio).max(30.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subnet::challenge::Challenge;
    use crate::subnet::schema::{FEATURES, Kind, index_of};

    fn features(duration: f64, ratio: f64, entities: f64, target: f64) -> Features {
        let mut features = [0.0; 40];
        features[at::DURATION_SECONDS] = duration;
        features[at::RATIO] = ratio;
        features[at::ENTITIES] = entities;
        features[at::TARGET_ENTITY] = target;
        features
    }

    #[test]
    fn truths_by_hand() {
        for (duration, ratio, entities, target, converted, time) in [
            // 0.7*100 + 10 - 5*1 + 5*(1 - 0.5) = 70 + 10 - 5 + 2.5
            (100.0, 1.0, 4.0, 1.0, true, 77.5),
            // Three entities are too few, and a ratio of 1.2 is not above 1.2: 70 + 10 + 5*0.4
            (100.0, 1.2, 3.0, 1.0, false, 82.0),
            // Ratio and duration together: 0.7*100 + 5*(1 - 0.605) = 70 + 1.975
            (100.0, 1.21, 1.0, 0.0, true, 71.975),
            // A duration of 90 is not above 90: 63 - 5*3 + 5*(1 - 1)
            (90.0, 2.0, 6.0, 0.0, false, 48.0),
            // The floor: 0.7*60 - 15 + 5*(1 - 1) = 27
            (60.0, 2.0, 6.0, 0.0, false, 30.0),
            // A ratio above 2 counts as 2: 63 + 10 - 15 + 0
            (90.0, 3.0, 6.0, 1.0, true, 58.0),
        ] {
            let features = features(duration, ratio, entities, target);
            assert_eq!(converts(&features), converted, "{duration} {ratio} {entities} {target}");
            assert!((time_seconds(&features) - time).abs() < 1e-12, "{}", time_seconds(&features));
        }
    }

    #[test]
    fn every_feature_is_in_its_range() {
        for example in Challenge::Rule.examples(5).take(2_000) {
            for (feature, value) in FEATURES.iter().zip(example.features) {
                let (low, high) = feature.range;
                assert!((low..=high).contains(&value), "{} = {value}", feature.name);
                if feature.kind != Kind::Float {
                    assert_eq!(value.fract(), 0.0, "{} = {value}", feature.name);
                }
            }
            assert_eq!(example.truth.converted, example.oracle.probability == 1.0);
            if example.truth.converted {
                assert_eq!(example.oracle.time, OracleTime::Exact(example.truth.time_seconds));
            }
        }
    }

    /// Means over 40,000 rows, against an independent program's over a million:
    ///
    /// ```python
    /// import random
    /// random.seed(0); n = 1_000_000; D = R = E = M = Q = Y = T = 0
    /// def f(m, s, a, b): return min(max(random.gauss(m, s), a), b)
    /// def i(*law): return int(f(*law))
    /// for _ in range(n):
    ///     d, ratio, e, t = f(100,20,60,150), round(f(1.3,.3,1,2), 2), i(4,1.5,1,6), random.random() < .5
    ///     yes = (t and e >= 4) or (ratio > 1.2 and d > 90)
    ///     D += d; R += ratio; E += e; M += i(8,2,4,20); Q += i(1,.5,0,3)
    ///     if yes:
    ///         Y += 1
    ///         T += max(30, .7*d + 10*t - 5*max(0, e-3) + 5*(1 - min(1, ratio/2)))
    /// print(D/n, R/n, E/n, M/n, Q/n, Y/n, T/Y)
    /// # 100.109 1.32408 3.4983 7.5288 0.52299 0.57297 76.4929
    /// ```
    #[test]
    fn means_are_those_of_another_program() {
        const ROWS: usize = 40_000;
        let (mut sums, mut conversions, mut times) = ([0.0; 40], 0.0, 0.0);
        for example in Challenge::Rule.examples(9).take(ROWS) {
            for (sum, value) in sums.iter_mut().zip(example.features) {
                *sum += value;
            }
            if example.truth.converted {
                conversions += 1.0;
                times += example.truth.time_seconds;
            }
        }
        for (name, expected, tolerance) in [
            // Four standard errors of a mean of 40,000.
            ("conversation_duration_seconds", 100.109, 0.4),
            ("message_ratio", 1.32408, 0.006),
            ("entities_collected_count", 3.4983, 0.03),
            ("total_messages", 7.5288, 0.04),
            ("question_count_user", 0.52299, 0.011),
        ] {
            let mean = sums[index_of(name).unwrap()] / ROWS as f64;
            assert!((mean - expected).abs() < tolerance, "{name}: {mean}");
        }
        let share = conversions / ROWS as f64;
        assert!((share - 0.57297).abs() < 0.01, "{share}");
        let time = times / conversions;
        assert!((time - 76.4929).abs() < 0.4, "{time}");
    }
}
