//! Whether a record makes sense.

use super::Record;
use crate::model::opinion::TIME_LEVELS;
use crate::subnet::reward::{Answer, AnswerFault};
use crate::subnet::schema::FEATURES;

/// Why a record can be none that was ever answered.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum RecordFault {
    /// A validator gives 0 for such an answer, so none was sent.
    #[error("its answer is none")]
    Answer(#[source] AnswerFault),
    /// As above, for the answer of another checkpoint.
    #[error("its shadow's answer is none")]
    Shadow(#[source] AnswerFault),
    /// A probability or a share is out of range.
    #[error("its {what} must be in 0..=1, but is {found}")]
    Share {
        /// Which one.
        what: &'static str,
        /// What it is.
        found: f64,
    },
    /// No answer took so long.
    #[error("its response time must be finite and not below 0, but is {0}")]
    ResponseTime(f64),
    /// A quantile of the time is not finite.
    #[error("its quantile {level} of the time must be finite, but is {found}")]
    Quantile {
        /// Which one.
        level: f64,
        /// What it is.
        found: f64,
    },
    /// A feature is too large for 32 bits.
    #[error("its feature `{0}` must be finite or missing, but is infinite")]
    Feature(&'static str),
}

impl Record {
    /// Whether it makes sense: whatever a file holds, later computations rely on that.
    ///
    /// # Errors
    ///
    /// The first part of it that does not.
    pub fn check(&self) -> Result<(), RecordFault> {
        Answer::from(self.answer).check().map_err(RecordFault::Answer)?;
        if let Some(shadow) = &self.shadow {
            Answer::from(shadow.answer).check().map_err(RecordFault::Shadow)?;
        }
        for (what, found) in [
            ("coverage", Some(self.coverage)),
            ("raw probability", self.raw_probability),
            ("calibrated probability", self.calibrated),
        ] {
            // A NaN is in no range.
            if let Some(found) = found.filter(|found| !(0.0..=1.0).contains(found)) {
                return Err(RecordFault::Share { what, found });
            }
        }
        let response_time = self.response_time_seconds;
        if !(response_time.is_finite() && response_time >= 0.0) {
            return Err(RecordFault::ResponseTime(response_time));
        }
        let mut quantiles = TIME_LEVELS.into_iter().zip(self.time_quantiles.into_iter().flatten());
        if let Some((level, found)) = quantiles.find(|(_, found)| !found.is_finite()) {
            return Err(RecordFault::Quantile { level, found });
        }
        // A NaN says that it is missing.
        let mut features = FEATURES.iter().zip(&self.features.values);
        match features.find(|(_, value)| value.is_infinite()) {
            Some((feature, _)) => Err(RecordFault::Feature(feature.name)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{RecordedAnswer, Shadow};
    use super::*;

    #[test]
    fn what_makes_no_sense() {
        let valid = Record::sample("a", 1);
        assert_eq!(valid.check(), Ok(()));
        let answer = |converted, time_seconds, confidence| RecordedAnswer {
            converted,
            time_seconds,
            confidence,
        };
        let shadow = |answer| Some(Shadow { checkpoint: "b".to_owned(), answer });
        type Change = Box<dyn Fn(&mut Record)>;
        let change = |change: fn(&mut Record)| -> Change { Box::new(change) };
        let answered = |answer| -> Change { Box::new(move |it| it.answer = answer) };
        for (change, expected) in [
            (answered(answer(true, 30.0, 1.0)), None),
            (answered(answer(false, 30.0, 0.1)), Some("its answer is none")),
            (answered(answer(true, f64::INFINITY, 0.9)), Some("its answer is none")),
            (answered(answer(false, -1.0, 7.0)), Some("its answer is none")),
            (Box::new(move |it| it.shadow = shadow(answer(true, -1.0, 0.9))), Some("its shadow")),
            (change(|it| it.coverage = 1.1), Some("its coverage must be in 0..=1, but is 1.1")),
            (change(|it| it.raw_probability = Some(-0.1)), Some("its raw probability")),
            (change(|it| it.raw_probability = None), None),
            (change(|it| it.calibrated = Some(f64::NAN)), Some("its calibrated probability")),
            (change(|it| it.response_time_seconds = -0.1), Some("its response time")),
            (change(|it| it.response_time_seconds = f64::INFINITY), Some("its response time")),
            (
                change(|it| it.time_quantiles.as_mut().unwrap()[1] = f64::NAN),
                Some("its quantile 0.1"),
            ),
            (change(|it| it.features.values[1] = f32::INFINITY), Some("its feature")),
        ] {
            let mut record = valid.clone();
            change(&mut record);
            let found = record.check().map_err(|fault| fault.to_string());
            match expected {
                None => assert_eq!(found, Ok(())),
                Some(expected) => assert!(found.unwrap_err().starts_with(expected), "{expected}"),
            }
        }
    }
}
