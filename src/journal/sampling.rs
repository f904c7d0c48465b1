//! Which answers are written, where not all are.
//!
//! Of each validator at most one conversation in a while: rarer for those that tell little, which are
//! the nearly empty ones and those much like one shortly before. What was decided by little is written
//! besides, as long as that is not often. Time is that of the records.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Mutex, PoisonError};

use super::{Record, Sampled};
use crate::clock::SECOND_NS;
use crate::features::Conversation;
use crate::model::checkpoint::NEARLY_EMPTY_COVERAGE;
use crate::subnet::reward::{ClassWeights, RewardSpec, time_kernel};
use crate::subnet::schema::position;

/// So many validators are remembered; of more, those that asked last.
const VALIDATORS: usize = 1024;
/// So many conversations of a validator are remembered, to know their like.
const RECENT: usize = 16;
/// A confidence this near to where the decision changes makes a close decision.
const CLOSE: f64 = 0.05;
/// So many close decisions an hour are written, and as many at once.
const CLOSE_AN_HOUR: f64 = 60.0;
/// What is assumed of the time where a model says nothing of it: that it earns half.
const UNKNOWN_TIME_ACCURACY: f64 = 0.5;

/// Which answers are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sampling {
    /// All.
    #[default]
    All,
    /// Some of each validator, and close decisions.
    Sampled,
}

/// How long after one conversation of a validator the next one is written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SamplingIntervals {
    /// For conversations that tell little, in seconds. Default: 30 minutes.
    pub low_seconds: f64,
    /// For all others, in seconds. Default: 15 minutes.
    pub high_seconds: f64,
}

impl Default for SamplingIntervals {
    fn default() -> SamplingIntervals {
        SamplingIntervals { low_seconds: 1800.0, high_seconds: 900.0 }
    }
}

/// The intervals in force, shared by who samples and who changes them.
#[derive(Debug, Default)]
pub struct SharedIntervals(Mutex<SamplingIntervals>);

impl SharedIntervals {
    /// The intervals in force.
    pub fn current(&self) -> SamplingIntervals {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes them, from the next record on.
    pub fn set(&self, intervals: SamplingIntervals) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = intervals;
    }
}

/// Chooses among records. Its size has a bound, whoever asks.
#[derive(Debug, Default)]
pub(super) struct Sampler {
    validators: HashMap<String, Seen>,
    close: Bucket,
}

/// What was seen of one validator.
#[derive(Debug, Default)]
struct Seen {
    last_ns: u64,
    low_ns: Option<u64>,
    high_ns: Option<u64>,
    recent: VecDeque<u64>,
}

impl Sampler {
    /// Why a record is written, if it is.
    pub(super) fn choose(
        &mut self,
        record: &Record,
        intervals: SamplingIntervals,
    ) -> Option<Sampled> {
        let time_ns = record.time_ns;
        let seen = self.seen(&record.validator, time_ns);
        let is_known = seen.is_like_a_recent_one(&record.features);
        let (sampled, last_ns, seconds) = match is_known || is_nearly_empty(record) {
            true => (Sampled::Low, &mut seen.low_ns, intervals.low_seconds),
            false => (Sampled::High, &mut seen.high_ns, intervals.high_seconds),
        };
        if is_due(*last_ns, time_ns, seconds) {
            *last_ns = Some(time_ns);
            return Some(sampled);
        }
        (is_close(record) && self.close.take(time_ns)).then_some(Sampled::Margin)
    }

    fn seen(&mut self, validator: &str, time_ns: u64) -> &mut Seen {
        if !self.validators.contains_key(validator) && self.validators.len() >= VALIDATORS {
            let oldest = self.validators.iter().min_by_key(|(_, seen)| seen.last_ns);
            let oldest = oldest.map(|(hotkey, _)| hotkey.clone());
            oldest.map(|hotkey| self.validators.remove(&hotkey));
        }
        let seen = self.validators.entry(validator.to_owned()).or_default();
        seen.last_ns = time_ns;
        seen
    }
}

impl Seen {
    /// Whether a conversation much like this one came lately. It is remembered.
    fn is_like_a_recent_one(&mut self, features: &Conversation) -> bool {
        let hash = hash_of(features);
        let is_known = self.recent.contains(&hash);
        if !is_known {
            if self.recent.len() >= RECENT {
                self.recent.pop_front();
            }
            self.recent.push_back(hash);
        }
        is_known
    }
}

/// A clock that was set back by much does not end the writing: it begins anew.
fn is_due(last_ns: Option<u64>, time_ns: u64, interval_seconds: f64) -> bool {
    last_ns.is_none_or(|last| seconds_between(last, time_ns) >= interval_seconds)
}

fn seconds_between(one_ns: u64, other_ns: u64) -> f64 {
    one_ns.abs_diff(other_ns) as f64 / SECOND_NS as f64
}

fn is_nearly_empty(record: &Record) -> bool {
    const TOTAL_MESSAGES: usize = position("total_messages");
    record.coverage < NEARLY_EMPTY_COVERAGE || record.features.values[TOTAL_MESSAGES] == 0.0
}

/// The same for conversations whose features agree in two digits.
fn hash_of(features: &Conversation) -> u64 {
    let mut hasher = DefaultHasher::new();
    for value in features.values {
        rounded(value).hash(&mut hasher);
    }
    hasher.finish()
}

/// The first two digits of a number, and where they stand; none where it is missing.
fn rounded(value: f32) -> Option<(i32, i32)> {
    if !value.is_finite() {
        return None;
    }
    if value == 0.0 {
        return Some((0, 0));
    }
    let value = f64::from(value);
    let place = value.abs().log10().floor() as i32 - 1;
    let digits = (value / 10_f64.powi(place)).round() as i32;
    // 99.6 is 100, which is also 10 at the next place.
    Some(if digits.abs() == 100 { (digits / 10, place + 1) } else { (digits, place) })
}

/// Whether little decided: the confidence lies near the probability at which both answers are
/// expected to earn the same, under the `main` spec and the class weights that a validator starts
/// with. That need not be the rule that decided; it says which decisions matter to the reward.
fn is_close(record: &Record) -> bool {
    let (spec, weights) = (RewardSpec::MAIN, ClassWeights::START);
    let yes = spec.class_weight * weights.positive + spec.time_weight * time_accuracy(record);
    let no = spec.class_weight * weights.negative;
    (record.answer.confidence - no / (yes + no)).abs() < CLOSE
}

/// What the best time is expected to earn, in 0..=1, by the quantiles of the time.
fn time_accuracy(record: &Record) -> f64 {
    let Some(times) = &record.time_quantiles else { return UNKNOWN_TIME_ACCURACY };
    // The best time for a sample is one of the sample.
    let earned = times.map(|answered| {
        let kernels = times.iter().map(|time| time_kernel(answered - time));
        kernels.sum::<f64>() / times.len() as f64
    });
    earned.into_iter().fold(0.0, f64::max)
}

/// A share that fills up with time.
#[derive(Debug)]
struct Bucket {
    level: f64,
    filled_ns: Option<u64>,
}

impl Default for Bucket {
    fn default() -> Bucket {
        Bucket { level: CLOSE_AN_HOUR, filled_ns: None }
    }
}

impl Bucket {
    /// Takes one, if there is one.
    fn take(&mut self, time_ns: u64) -> bool {
        let since_ns = time_ns.saturating_sub(self.filled_ns.unwrap_or(time_ns));
        let filled = since_ns as f64 / SECOND_NS as f64 / 3600.0 * CLOSE_AN_HOUR;
        self.level = (self.level + filled).min(CLOSE_AN_HOUR);
        self.filled_ns = Some(time_ns);
        let is_one = self.level >= 1.0;
        if is_one {
            self.level -= 1.0;
        }
        is_one
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subnet::schema::FEATURE_COUNT;

    const MINUTE_NS: u64 = 60 * SECOND_NS;
    const START: u64 = 1_795_325_400 * SECOND_NS;

    /// A conversation of which all is known, unlike any with another number; not a close decision.
    fn full(number: u16, minute: u64) -> Record {
        let mut record = Record::sample("a", START + minute * MINUTE_NS);
        record.features = Conversation { values: [f32::from(number) + 1.0; FEATURE_COUNT] };
        record.coverage = 1.0;
        record.answer.confidence = 0.01;
        record
    }

    fn chosen(records: impl IntoIterator<Item = Record>) -> Vec<Option<Sampled>> {
        let mut sampler = Sampler::default();
        let intervals = SamplingIntervals::default();
        records.into_iter().map(|record| sampler.choose(&record, intervals)).collect()
    }

    #[test]
    fn one_in_a_quarter_of_an_hour_of_each_validator() {
        let other = Record { validator: "other".to_owned(), ..full(9, 3) };
        let records = [full(1, 0), full(2, 1), full(3, 14), other, full(4, 15), full(5, 29)];
        let high = Some(Sampled::High);
        assert_eq!(chosen(records), [high, None, None, high, high, None]);
    }

    #[test]
    fn what_tells_little_is_rarer() {
        let empty = |minute| Record { coverage: 0.7, ..full(1, minute) };
        let silent = |minute| {
            let mut record = full(2, minute);
            record.features.set(position("total_messages"), 0.0);
            record
        };
        let (low, high) = (Some(Sampled::Low), Some(Sampled::High));
        let records = [empty(0), silent(1), full(3, 2), silent(29), empty(30)];
        assert_eq!(chosen(records), [low, None, high, None, low]);
    }

    #[test]
    fn the_like_of_a_recent_one_tells_little() {
        // 51 and 51.3 agree in two digits, 52 does not.
        let mut alike = full(50, 20);
        alike.features.values[3] = 51.3;
        let mut unlike = full(50, 40);
        unlike.features.values[3] = 52.0;
        let (low, high) = (Some(Sampled::Low), Some(Sampled::High));
        assert_eq!(chosen([full(50, 0), alike, unlike]), [high, low, high]);
        // After sixteen others it is no recent one any more.
        let others = (1..=16).map(|number| full(number * 64, 20));
        let records: Vec<_> =
            [full(50, 0)].into_iter().chain(others).chain([full(50, 40)]).collect();
        assert_eq!(chosen(records).last(), Some(&high));
    }

    #[test]
    fn rounding_by_hand() {
        for (value, expected) in [
            (0.0, Some((0, 0))),
            (f32::NAN, None),
            (12.4, Some((12, 0))),
            (12.6, Some((13, 0))),
            (-1.0, Some((-10, -1))),
            (0.0125, Some((13, -3))),
            (99.6, Some((10, 1))),
            (101.0, Some((10, 1))),
            (1840.0, Some((18, 2))),
        ] {
            assert_eq!(rounded(value), expected, "{value}");
        }
    }

    /// Without knowing the time, both answers earn the same at
    /// 0.34375 / (0.34375 + 0.20625 + 0.45 * 0.5) = 0.443548...
    #[test]
    fn close_decisions() {
        let with = |confidence: f64| {
            let mut record = full(1, 0);
            record.time_quantiles = None;
            record.answer.confidence = confidence;
            record
        };
        for (confidence, close) in [(0.39, false), (0.40, true), (0.49, true), (0.50, false)] {
            assert_eq!(is_close(&with(confidence)), close, "{confidence}");
        }
        // Where the time is known exactly: at 0.34375 / (0.34375 + 0.20625 + 0.45) = 0.34375.
        let exact = Record { time_quantiles: Some([60.0; 19]), ..with(0.3) };
        assert!(is_close(&exact) && !is_close(&Record { time_quantiles: None, ..exact.clone() }));
        // Two of 19 times are near each other: (1 + 14/15) / 19 = 0.1017...
        let mut times: [f64; 19] = std::array::from_fn(|index| 100.0 * index as f64);
        times[1] = 1.0;
        let accuracy = time_accuracy(&Record { time_quantiles: Some(times), ..exact });
        assert!((accuracy - (1.0 + 14.0 / 15.0) / 19.0).abs() < 1e-12);
    }

    #[test]
    fn close_decisions_are_written_sixty_times_an_hour() {
        let close = |number: u16, minute: u64| {
            let mut record = full(number, minute);
            record.time_quantiles = None;
            record.answer.confidence = 0.44;
            record
        };
        let first = chosen((0..100).map(|number| close(number * 101, 0)));
        assert_eq!(first[0], Some(Sampled::High));
        let margins = first.iter().filter(|it| **it == Some(Sampled::Margin)).count();
        assert_eq!(margins, 60);
        // One more a minute.
        let records = (0..100).map(|number| close(number * 101, 0)).chain([
            close(7, 1),
            close(11, 1),
            close(13, 2),
        ]);
        let after = chosen(records);
        assert_eq!(after[100..], [Some(Sampled::Margin), None, Some(Sampled::Margin)]);
    }

    #[test]
    fn intervals_change_while_it_runs() {
        let (mut sampler, shared) = (Sampler::default(), SharedIntervals::default());
        assert!(sampler.choose(&full(1, 0), shared.current()).is_some());
        assert!(sampler.choose(&full(2, 5), shared.current()).is_none());
        shared.set(SamplingIntervals { high_seconds: 240.0, ..shared.current() });
        assert!(sampler.choose(&full(3, 6), shared.current()).is_some());
    }

    #[test]
    fn a_clock_that_goes_back_does_not_end_it() {
        let mut sampler = Sampler::default();
        let intervals = SamplingIntervals::default();
        for (number, minute, expected) in
            [(1, 10_000, true), (2, 9_999, false), (3, 0, true), (4, 1, false)]
        {
            let found = sampler.choose(&full(number, minute), intervals);
            assert_eq!(found.is_some(), expected, "{minute}");
        }
    }

    #[test]
    fn whoever_asks_its_size_is_bounded() {
        let mut sampler = Sampler::default();
        for number in 0..3 * VALIDATORS as u64 {
            let mut record = full(number as u16, number);
            record.validator = number.to_string();
            for _ in 0..RECENT {
                sampler.choose(&record, SamplingIntervals::default());
            }
        }
        assert_eq!(sampler.validators.len(), VALIDATORS);
        assert!(sampler.validators.values().all(|seen| seen.recent.len() <= RECENT));
        // The last ones are those that are known.
        assert!(sampler.validators.contains_key(&(3 * VALIDATORS - 1).to_string()));
    }
}
