//! The rules of promotion and demotion.

use super::state::RivalKind;
use super::{Evidence, LearnRules};
use crate::clock::DAY_NS;

/// So much of the hours that are asked for must lie between the first answer and the last one: who looks
/// once a day sees two days of answers as a little less.
const SPAN: f64 = 0.95;

/// What becomes of a checkpoint that answers in shadow.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    /// It is served from now on.
    Wins(String),
    /// It answers in shadow no more.
    Loses(String),
    /// It goes on answering in shadow.
    Waits(String),
}

/// Judges a checkpoint that has answered in shadow for so long, by what it would have earned more
/// than the one that is served.
pub(super) fn judge(
    rules: &LearnRules,
    kind: RivalKind,
    evidence: Option<&Evidence>,
    age_ns: u64,
) -> Verdict {
    let (least_truths, least_hours) = match kind {
        RivalKind::Challenger => (rules.promotion_truths, rules.promotion_hours),
        RivalKind::Former => (rules.demotion_truths, rules.demotion_hours),
    };
    let verdict = match evidence {
        None => Verdict::Waits("no later answer has a known truth yet".to_owned()),
        Some(evidence) => {
            let told = tell(evidence);
            if evidence.upper < 0.0 && evidence.truths >= rules.demotion_truths {
                return Verdict::Loses(format!("it would have earned less: {told}"));
            }
            if evidence.truths < least_truths {
                Verdict::Waits(format!("{least_truths} truths are needed: {told}"))
            } else if evidence.hours < least_hours * SPAN {
                Verdict::Waits(format!("{least_hours} hours are needed: {told}"))
            } else if evidence.lower <= 0.0 || evidence.lower.is_nan() {
                Verdict::Waits(format!("that may be chance: {told}"))
            } else if evidence.older <= 0.0 || evidence.newer <= 0.0 {
                Verdict::Waits(format!("one half of the time says otherwise: {told}"))
            } else {
                return Verdict::Wins(format!("it would have earned more: {told}"));
            }
        }
    };
    match verdict {
        Verdict::Waits(reason) if age_ns as f64 >= rules.shadow_days * DAY_NS as f64 => {
            Verdict::Loses(format!("{} days are over, and {reason}", rules.shadow_days))
        }
        verdict => verdict,
    }
}

fn tell(evidence: &Evidence) -> String {
    let Evidence { truths, mean, lower, upper, older, newer, hours } = evidence;
    format!(
        "{mean:+.4} ({lower:+.4} to {upper:+.4}) by {truths} truths over {hours:.0} hours, \
         {older:+.4} in the older half and {newer:+.4} in the newer"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Evidence = Evidence {
        truths: 200,
        mean: 0.02,
        lower: 0.001,
        upper: 0.04,
        older: 0.01,
        newer: 0.03,
        hours: 48.0,
    };

    fn name(verdict: &Verdict) -> &'static str {
        match verdict {
            Verdict::Wins(_) => "wins",
            Verdict::Loses(_) => "loses",
            Verdict::Waits(_) => "waits",
        }
    }

    #[test]
    fn each_gate() {
        let rules = LearnRules::default();
        for (kind, evidence, days, expected) in [
            (RivalKind::Challenger, None, 1.0, "waits"),
            (RivalKind::Challenger, None, 7.0, "loses"),
            (RivalKind::Challenger, Some(GOOD), 3.0, "wins"),
            // Though the time is over: it has shown it.
            (RivalKind::Challenger, Some(GOOD), 9.0, "wins"),
            (RivalKind::Challenger, Some(Evidence { truths: 199, ..GOOD }), 3.0, "waits"),
            (RivalKind::Challenger, Some(Evidence { hours: 45.5, ..GOOD }), 3.0, "waits"),
            (RivalKind::Challenger, Some(Evidence { lower: 0.0, ..GOOD }), 3.0, "waits"),
            (RivalKind::Challenger, Some(Evidence { lower: f64::NAN, ..GOOD }), 3.0, "waits"),
            (RivalKind::Challenger, Some(Evidence { lower: 0.0, ..GOOD }), 7.1, "loses"),
            (RivalKind::Challenger, Some(Evidence { older: -0.001, ..GOOD }), 3.0, "waits"),
            (RivalKind::Challenger, Some(Evidence { newer: 0.0, ..GOOD }), 3.0, "waits"),
            (RivalKind::Challenger, Some(Evidence { upper: -0.001, ..GOOD }), 1.0, "loses"),
            (
                RivalKind::Challenger,
                Some(Evidence { truths: 99, upper: -0.001, lower: -0.1, ..GOOD }),
                1.0,
                "waits",
            ),
            (RivalKind::Former, Some(Evidence { truths: 100, hours: 24.0, ..GOOD }), 1.0, "wins"),
            (RivalKind::Former, Some(Evidence { truths: 99, hours: 24.0, ..GOOD }), 1.0, "waits"),
            (RivalKind::Former, Some(Evidence { truths: 100, hours: 22.7, ..GOOD }), 1.0, "waits"),
        ] {
            let age_ns = (days * DAY_NS as f64) as u64;
            let verdict = judge(&rules, kind, evidence.as_ref(), age_ns);
            assert_eq!(name(&verdict), expected, "{kind:?} {evidence:?} {days}: {verdict:?}");
        }
    }

    #[test]
    fn the_reason_has_the_numbers() {
        let verdict = judge(&LearnRules::default(), RivalKind::Challenger, Some(&GOOD), 0);
        let Verdict::Wins(reason) = verdict else { panic!("{verdict:?}") };
        assert_eq!(
            reason,
            "it would have earned more: +0.0200 (+0.0010 to +0.0400) by 200 truths over 48 hours, \
             +0.0100 in the older half and +0.0300 in the newer"
        );
    }
}
