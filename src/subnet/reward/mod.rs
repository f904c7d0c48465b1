//! What a validator computes from an answer and the truth.
//!
//! ```text
//! class      = weight of the true class if the class is right, else 0
//! time       = max(0, 1 - |t_answer - t_true| / 15) if both say converted, else 0
//! prediction = w_class * class + w_time * time + w_diversity * diversity
//! response   = max(0, 1 - response_time / timeout)
//! total      = 0.8 * prediction + 0.2 * response
//! ```
//!
//! The weights and the timeout are those of a [`RewardSpec`]; the weight of the true class is one
//! of the [`ClassWeights`] in force.

mod running;
mod spec;

pub use running::{ClassWeightTracker, ClassWeights, Ema};
pub use spec::{Diversity, RewardSpec, UnknownSpec};

/// What really happened to a conversation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Truth {
    /// Whether the person converted.
    pub converted: bool,
    /// After how many seconds; [`NOT_CONVERTED`] when the person did not.
    pub time_seconds: f64,
}

/// What a miner says of a conversation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Answer {
    /// Whether the person will convert.
    pub converted: bool,
    /// After how many seconds; exactly [`NOT_CONVERTED`] when the person will not.
    pub time_seconds: f64,
    /// The probability that the person converts, in 0..=1.
    pub confidence: f64,
}

/// The time of a conversation that does not convert.
pub const NOT_CONVERTED: f64 = -1.0;

/// An answer's time earns something while it is less than this far from the true one.
pub const TIME_WINDOW_SECONDS: f64 = 15.0;
/// The share of the prediction in the total reward.
pub const PREDICTION_SHARE: f64 = 0.8;
/// The share of the response time in the total reward.
pub const RESPONSE_TIME_SHARE: f64 = 0.2;

impl Truth {
    /// The conversation converted after `time_seconds`.
    pub const fn converted_after(time_seconds: f64) -> Truth {
        Truth { converted: true, time_seconds }
    }

    /// The conversation did not convert.
    pub const fn not_converted() -> Truth {
        Truth { converted: false, time_seconds: NOT_CONVERTED }
    }
}

/// Why a validator gives 0 for an answer whatever the truth is.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum AnswerFault {
    /// The class is 1, so the time must be a positive number.
    #[error("the time of a conversation that converts must be positive and finite, but is {0}")]
    TimeOfConverted(f64),
    /// The class is 0, so the time must be exactly -1.
    #[error("the time of a conversation that does not convert must be -1, but is {0}")]
    TimeOfNotConverted(f64),
    /// The confidence is a probability.
    #[error("the confidence must be in 0..=1, but is {0}")]
    Confidence(f64),
}

impl Answer {
    /// Checks the answer as a validator does before it computes anything.
    pub fn check(&self) -> Result<(), AnswerFault> {
        let time = self.time_seconds;
        if self.converted && !(time.is_finite() && time > 0.0) {
            return Err(AnswerFault::TimeOfConverted(time));
        }
        if !self.converted && time != NOT_CONVERTED {
            return Err(AnswerFault::TimeOfNotConverted(time));
        }
        // A NaN is in no range.
        if !(0.0..=1.0).contains(&self.confidence) {
            return Err(AnswerFault::Confidence(self.confidence));
        }
        Ok(())
    }
}

/// What a validator gives for one answer, part by part.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reward {
    /// The weight of the true class if the class is right, else 0.
    pub class: f64,
    /// How near the time is, in 0..=1.
    pub time_accuracy: f64,
    /// The term of the confidence, in 0..=0.5.
    pub diversity: f64,
    /// The three parts above, weighted as the spec says.
    pub prediction: f64,
    /// How quick the answer was: 1 for no time at all, 0 at the timeout and beyond.
    pub response_time: f64,
    /// What counts.
    pub total: f64,
}

impl Reward {
    /// The reward of an answer that breaks the rules.
    pub const NOTHING: Reward = Reward {
        class: 0.0,
        time_accuracy: 0.0,
        diversity: 0.0,
        prediction: 0.0,
        response_time: 0.0,
        total: 0.0,
    };
}

/// The reward of `answer` under `spec`, given `response_time_seconds` after the question.
///
/// An answer that does not pass [`Answer::check`] earns [`Reward::NOTHING`].
pub fn reward(
    spec: &RewardSpec,
    weights: ClassWeights,
    answer: Answer,
    truth: Truth,
    response_time_seconds: f64,
) -> Reward {
    if answer.check().is_err() {
        return Reward::NOTHING;
    }
    let class = if answer.converted == truth.converted { weights.of(truth.converted) } else { 0.0 };
    let time_accuracy = if answer.converted && truth.converted {
        time_kernel(answer.time_seconds - truth.time_seconds)
    } else {
        0.0
    };
    let diversity = spec.diversity.of(answer.confidence);
    let prediction = spec.class_weight * class
        + spec.time_weight * time_accuracy
        + spec.diversity_weight * diversity;
    // `max` also turns a NaN into 0: a time that nobody measured earns nothing.
    let response_time = (1.0 - response_time_seconds / spec.timeout_seconds).max(0.0);
    let total = PREDICTION_SHARE * prediction + RESPONSE_TIME_SHARE * response_time;
    Reward { class, time_accuracy, diversity, prediction, response_time, total }
}

/// Whether "converts" has the larger expected reward, for a conversation that converts with
/// `probability`, and whose time, if it does, would be answered with the expected
/// `time_accuracy` (the mean of [`time_kernel`]).
///
/// The response time and the confidence earn the same either way, so they are left out:
///
/// ```text
/// yes: p * (w_class * positive + w_time * time_accuracy)
/// no:  (1 - p) * w_class * negative
/// ```
pub fn converting_earns_more(
    spec: &RewardSpec,
    weights: ClassWeights,
    probability: f64,
    time_accuracy: f64,
) -> bool {
    let yes = spec.class_weight * weights.positive + spec.time_weight * time_accuracy;
    let no = spec.class_weight * weights.negative;
    probability * yes > (1.0 - probability) * no
}

/// What a time that is `error_seconds` from the true one earns: 1 at 0, falling in a straight
/// line to 0 at [`TIME_WINDOW_SECONDS`] on either side. 0 if the error is NaN.
pub fn time_kernel(error_seconds: f64) -> f64 {
    (1.0 - error_seconds.abs() / TIME_WINDOW_SECONDS).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const YES_60: Answer = Answer { converted: true, time_seconds: 60.0, confidence: 0.9 };
    const NO: Answer = Answer { converted: false, time_seconds: NOT_CONVERTED, confidence: 0.2 };

    fn total(spec: &RewardSpec, answer: Answer, truth: Truth, response_time_seconds: f64) -> f64 {
        reward(spec, ClassWeights::START, answer, truth, response_time_seconds).total
    }

    fn assert_near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-12, "expected {expected}, found {found}");
    }

    #[test]
    fn every_part_by_hand() {
        // 6 s from the truth: time = 1 - 6/15 = 0.6; class = 0.375.
        // prediction = 0.55*0.375 + 0.45*0.6 = 0.20625 + 0.27 = 0.47625
        // response   = 1 - 3/60 = 0.95
        // total      = 0.8*0.47625 + 0.2*0.95 = 0.381 + 0.19 = 0.571
        let found = reward(
            &RewardSpec::MAIN,
            ClassWeights::START,
            YES_60,
            Truth::converted_after(66.0),
            3.0,
        );
        assert_near(found.class, 0.375);
        assert_near(found.time_accuracy, 0.6);
        assert_eq!(found.diversity, 0.0);
        assert_near(found.prediction, 0.47625);
        assert_near(found.response_time, 0.95);
        assert_near(found.total, 0.571);
    }

    #[test]
    fn four_outcomes_under_three_specs() {
        let (main, api, guide) = (&RewardSpec::MAIN, &RewardSpec::API, &RewardSpec::GUIDE);
        let yes = Truth::converted_after(50.0);
        let no = Truth::not_converted();
        for (spec, answer, truth, response, expected) in [
            // Right yes, 10 s off: 0.8*(0.55*0.375 + 0.45*(1/3)) + 0.2 = 0.8*0.35625 + 0.2
            (main, YES_60, yes, 0.0, 0.485),
            // The same, after 60 of 120 s: 0.285 + 0.2*0.5
            (api, YES_60, yes, 60.0, 0.385),
            // ... while main's 60 s are over: 0.285 + 0
            (main, YES_60, yes, 60.0, 0.285),
            (main, YES_60, yes, 600.0, 0.285),
            // guide: 0.8*(0.20625 + 0.35/3 + 0.1*(0.5 - 0.4)) + 0.2 = 0.8*0.33291666... + 0.2
            (guide, YES_60, yes, 0.0, 0.8 * (0.20625 + 0.35 / 3.0 + 0.01) + 0.2),
            // Right no: 0.8*(0.55*0.625) + 0.2 = 0.275 + 0.2
            (main, NO, no, 0.0, 0.475),
            // guide: 0.8*(0.34375 + 0.1*(0.5 - 0.3)) + 0.2 = 0.8*0.36375 + 0.2
            (guide, NO, no, 0.0, 0.491),
            // Wrong either way: the response time is all that is left.
            (main, NO, yes, 0.0, 0.2),
            (main, YES_60, no, 30.0, 0.1),
            // guide pays the diversity of a wrong answer too: 0.8*0.02 + 0.2
            (guide, NO, yes, 0.0, 0.216),
        ] {
            assert_near(total(spec, answer, truth, response), expected);
        }
    }

    #[test]
    fn time_falls_to_nothing_at_fifteen_seconds() {
        for (error, expected) in [
            (0.0, 1.0),
            (3.0, 0.8),
            (-3.0, 0.8),
            (14.25, 0.05),
            (15.0, 0.0),
            (-15.1, 0.0),
            (1e9, 0.0),
            (f64::NAN, 0.0),
        ] {
            assert_near(time_kernel(error), expected);
        }
    }

    #[test]
    fn broken_answers_earn_nothing() {
        let answer =
            |converted, time_seconds, confidence| Answer { converted, time_seconds, confidence };
        for (answer, why) in [
            (answer(true, 0.0, 0.5), "a time of 0"),
            (answer(true, -1.0, 0.5), "converted, with the other class's time"),
            (answer(true, f64::NAN, 0.5), "NaN time"),
            (answer(true, f64::INFINITY, 0.5), "infinite time"),
            (answer(false, 0.0, 0.5), "not converted, at 0"),
            (answer(false, 30.0, 0.5), "not converted, with a time"),
            (answer(false, -2.0, 0.5), "not converted, at -2"),
            (answer(false, f64::NAN, 0.5), "not converted, NaN time"),
            (answer(false, -1.0, f64::NAN), "NaN confidence"),
            (answer(false, -1.0, f64::INFINITY), "infinite confidence"),
            (answer(false, -1.0, -0.01), "confidence below 0"),
            (answer(false, -1.0, 1.01), "confidence above 1"),
        ] {
            assert!(answer.check().is_err(), "{why}");
            for truth in [Truth::converted_after(30.0), Truth::not_converted()] {
                let found = reward(&RewardSpec::GUIDE, ClassWeights::START, answer, truth, 0.0);
                assert_eq!(found, Reward::NOTHING, "{why}");
            }
        }
        assert!(answer(true, f64::MIN_POSITIVE, 0.0).check().is_ok());
        assert!(answer(false, -1.0, 1.0).check().is_ok());
    }

    #[test]
    fn unknown_times_earn_only_the_class() {
        // A truth without a time: 0.8*0.55*0.375 + 0.2
        assert_near(total(&RewardSpec::MAIN, YES_60, Truth::converted_after(f64::NAN), 0.0), 0.365);
        // A response time that nobody measured: 0.8*0.34375
        assert_near(total(&RewardSpec::MAIN, NO, Truth::not_converted(), f64::NAN), 0.275);
    }

    #[test]
    fn weights_in_force_count() {
        // After 100 truths with 30 conversions: positive 0.7, negative 0.3.
        let weights = ClassWeights { positive: 0.7, negative: 0.3 };
        // 0.8*(0.55*0.7 + 0.45*1) + 0.2 = 0.8*0.835 + 0.2
        let yes = reward(&RewardSpec::MAIN, weights, YES_60, Truth::converted_after(60.0), 0.0);
        assert_near(yes.total, 0.868);
        // 0.8*(0.55*0.3) + 0.2
        let no = reward(&RewardSpec::MAIN, weights, NO, Truth::not_converted(), 0.0);
        assert_near(no.total, 0.332);
    }
}
