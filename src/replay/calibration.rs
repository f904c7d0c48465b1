//! What a model said and what came true, for calibrating it on what it was asked.

use std::collections::HashMap;
use std::fmt;

use serde::Serialize;

use super::{Resolved, in_order};
use crate::features::Conversation;
use crate::model::Predictor;

/// By how much the probability of a record may differ from what the model says today: the same
/// networks add up in another order on another machine.
const SAME_PROBABILITY: f64 = 1e-3;
/// Conversations that the model is asked about at once.
const BATCH: usize = 1024;

/// Raw probabilities with their truths, one a conversation, and what was left out.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CalibrationRows {
    /// P(converts) as the model saw it.
    pub raw: Vec<f64>,
    /// Whether it converted.
    pub converted: Vec<bool>,
    /// What was left out.
    pub left_out: LeftOut,
}

/// Records that say nothing of a model's calibration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Another checkpoint answered.
    pub other_checkpoint: usize,
    /// Another model of the checkpoint answered.
    pub other_model: usize,
    /// The checkpoint of this name says something else today: it is not the one that answered.
    pub not_reproduced: usize,
    /// The conversation is in a later record too.
    pub repeated: usize,
}

impl fmt::Display for LeftOut {
    /// What goes behind a number of rows: nothing if nothing was left out.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            (self.other_checkpoint, "of other checkpoints"),
            (self.other_model, "of other models"),
            (self.not_reproduced, "of another checkpoint of the same name"),
            (self.repeated, "of the same conversations"),
        ];
        let told: Vec<String> = parts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        if told.is_empty() {
            return Ok(());
        }
        write!(formatter, " (left out: {})", told.join(", "))
    }
}

/// The model whose calibration is fitted.
#[derive(Debug, Clone, Copy)]
pub struct Calibrated<'a> {
    /// The name of its checkpoint.
    pub checkpoint: &'a str,
    /// The name under which it answers.
    pub model: &'a str,
    /// What it says today.
    pub predictor: &'a Predictor,
}

impl CalibrationRows {
    /// The rows on which a checkpoint's calibration can be fitted, in order of time: of each
    /// conversation the last record. A conversation that many validators ask about is one row, for
    /// copies on both sides of a cross-validation would flatter.
    pub fn of(resolved: &[Resolved], calibrated: Calibrated<'_>) -> CalibrationRows {
        let mut rows = CalibrationRows::default();
        let own = rows.own(resolved, calibrated);
        let mut last: HashMap<&str, (&Resolved, f64)> = HashMap::new();
        for (one, raw) in own {
            // `own` has only records with a name, for others have no truth.
            let replaced = last.insert(one.record.id().unwrap_or_default(), (one, raw));
            rows.left_out.repeated += usize::from(replaced.is_some());
        }
        let mut kept: Vec<(&Resolved, f64)> = last.into_values().collect();
        kept.sort_by_key(|(one, _)| in_order(&one.record));
        rows.raw = kept.iter().map(|(_, raw)| *raw).collect();
        rows.converted = kept.iter().map(|(one, _)| one.truth.converted).collect();
        rows
    }

    /// The records that the model answered, with its probability, in order of time.
    fn own<'a>(
        &mut self,
        resolved: &'a [Resolved],
        Calibrated { checkpoint, model, predictor }: Calibrated<'_>,
    ) -> Vec<(&'a Resolved, f64)> {
        let mut own = Vec::new();
        for one in resolved {
            match one.record.raw_probability {
                _ if one.record.checkpoint != checkpoint => self.left_out.other_checkpoint += 1,
                Some(raw) if one.record.model == model => own.push((one, raw)),
                _ => self.left_out.other_model += 1,
            }
        }
        own.sort_by_key(|(one, _)| in_order(&one.record));
        let mut same = Vec::with_capacity(own.len());
        for batch in own.chunks(BATCH) {
            let conversations: Vec<Conversation> =
                batch.iter().map(|(one, _)| one.record.features.clone()).collect();
            let estimates = predictor.estimate(&conversations);
            same.extend(batch.iter().zip(estimates).map(|((_, raw), estimate)| {
                !estimate.fallback && (estimate.probability - raw).abs() <= SAME_PROBABILITY
            }));
        }
        let all = own.len();
        let own: Vec<_> =
            own.into_iter().zip(same).filter(|(_, same)| *same).map(|(one, _)| one).collect();
        self.left_out.not_reproduced = all - own.len();
        own
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::scaler::Scaler;
    use crate::journal::Record;
    use crate::model::baseline::Baseline;
    use crate::model::calibration::Calibration;
    use crate::model::decision::{Decision, Rule};
    use crate::subnet::reward::{ClassWeights, RewardSpec, Truth};

    #[test]
    fn only_what_this_very_model_said_counts() {
        let predictor = Predictor {
            scaler: Scaler::fit(&[]),
            ensemble: None,
            baseline: Baseline::constant(9, &[50.0, 51.0, 90.0]),
            calibration: Calibration::default(),
            decision: Decision::fit(Rule::Reward, &[], 0.0),
            spec: RewardSpec::MAIN,
            class_weights: ClassWeights::START,
        };
        // (3 + 0.5) / (9 + 1)
        let says = 0.35;
        let one = |id: &str, time_ns: u64, change: &dyn Fn(&mut Record)| {
            let mut record = Record::sample(id, time_ns);
            record.model = "baseline".to_owned();
            record.raw_probability = Some(says);
            change(&mut record);
            let truth = if id < "c" { Truth::converted_after(9.0) } else { Truth::not_converted() };
            Resolved { record, truth, known_ns: 9 }
        };
        let resolved = [
            one("c", 4, &|_| ()),
            one("a", 2, &|record| record.raw_probability = Some(says + 1e-5)),
            one("a", 1, &|_| ()),
            one("b", 3, &|record| record.checkpoint = "second".to_owned()),
            one("b", 5, &|record| record.model = "constant".to_owned()),
            one("b", 6, &|record| record.raw_probability = None),
            one("b", 7, &|record| record.raw_probability = Some(0.4)),
        ];
        let calibrated =
            Calibrated { checkpoint: "first", model: "baseline", predictor: &predictor };
        let rows = CalibrationRows::of(&resolved, calibrated);
        assert_eq!((rows.raw, rows.converted), (vec![says + 1e-5, says], vec![true, false]));
        let expected =
            LeftOut { other_checkpoint: 1, other_model: 2, not_reproduced: 1, repeated: 1 };
        assert_eq!(rows.left_out, expected);
        assert_eq!(
            rows.left_out.to_string(),
            " (left out: 1 of other checkpoints, 2 of other models, 1 of another checkpoint of the \
             same name, 1 of the same conversations)"
        );
        assert_eq!(LeftOut::default().to_string(), "");
    }
}
