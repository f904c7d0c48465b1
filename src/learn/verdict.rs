//! The rules of promotion and demotion.

use super::evidence::Compared;
use super::state::{Rival, RivalKind};
use super::{Evidence, LearnRules};
use crate::clock::DAY_NS;

/// So much of the hours that are asked for must lie between the first answer and the last one: who looks
/// once a day sees two days of answers as a little less.
const SPAN: f64 = 0.95;
/// How likely a checkpoint that is no better may be promoted by chance, in all looks together.
const CHANCE: f64 = 0.025;
/// Each half of the time must have such a part of the conversations that are needed.
const HALF_PART: usize = 4;
/// Conversations on which the two must earn differently, and conversations of each class.
const LEAST_OF_EACH: usize = 10;

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

/// How many looks there are to be, at which a checkpoint can be promoted: each may be wrong by chance.
pub(super) fn planned_looks(rules: &LearnRules) -> u32 {
    // Nobody looks more than once an hour but by hand.
    (rules.shadow_days * 24.0 / rules.every_hours.max(1.0)).max(1.0) as u32
}

/// The conversations and hours that a checkpoint needs.
fn needed(rules: &LearnRules, kind: RivalKind) -> (usize, f64) {
    match kind {
        RivalKind::Challenger => (rules.promotion_truths, rules.promotion_hours),
        RivalKind::Former => (rules.demotion_truths, rules.demotion_hours),
    }
}

/// What there is too little of to test whether a checkpoint earns more, in words; none if it can be
/// tested, which counts as a look.
pub(super) fn shortage(rules: &LearnRules, kind: RivalKind, found: &Compared) -> Option<String> {
    let (truths, hours) = needed(rules, kind);
    let (half, each) = (truths / HALF_PART, LEAST_OF_EACH);
    let others = found.evidence.truths - found.converted;
    let what = if found.evidence.truths < truths {
        format!("{truths} truths are needed")
    } else if found.evidence.hours < hours * SPAN {
        format!("{hours} hours are needed")
    } else if found.halves.0.min(found.halves.1) < half {
        format!("{half} truths in each half of the time are needed")
    } else if found.differing < each {
        format!("{each} truths by which the two earn differently are needed")
    } else if found.converted.min(others) < each {
        format!("{each} truths of each class are needed")
    } else {
        return None;
    };
    Some(what)
}

/// Judges a checkpoint that has answered in shadow for so long, by what it would have earned more
/// than the one that is served. This look is counted in `rival` already.
pub(super) fn judge(
    rules: &LearnRules,
    rival: &Rival,
    found: Option<&Compared>,
    age_ns: u64,
) -> Verdict {
    let verdict = match found {
        None => Verdict::Waits("no later answer has a known truth yet".to_owned()),
        Some(found) => by_evidence(rules, rival, found),
    };
    let days = age_ns as f64 / DAY_NS as f64;
    let truths = found.map_or(0, |found| found.evidence.truths);
    // Few truths take their time, but not more than answers are looked at.
    let is_answered = truths >= needed(rules, rival.kind).0;
    let most = if is_answered { rules.shadow_days } else { f64::from(rules.window_days) };
    match verdict {
        Verdict::Waits(reason) if days >= most => {
            Verdict::Loses(format!("{most} days are over, and {reason}"))
        }
        verdict => verdict,
    }
}

fn by_evidence(rules: &LearnRules, rival: &Rival, found: &Compared) -> Verdict {
    let evidence = &found.evidence;
    let told = tell(evidence);
    if evidence.upper < 0.0 && evidence.truths >= rules.demotion_truths {
        return Verdict::Loses(format!("it would have earned less: {told}"));
    }
    let planned = planned_looks(rules);
    let allowed = CHANCE / f64::from(planned);
    let why = if let Some(shortage) = shortage(rules, rival.kind, found) {
        shortage
    } else if rival.looks > planned {
        format!("it was looked at {planned} times already, which is all that was planned")
    } else if found.chance.is_nan() || found.chance > allowed || evidence.lower.is_nan() {
        format!("that may be chance, of {:.4} where {allowed:.4} is allowed", found.chance)
    } else if evidence.lower <= 0.0 {
        "that may be chance".to_owned()
    } else if evidence.older <= 0.0 || evidence.newer <= 0.0 {
        "one half of the time says otherwise".to_owned()
    } else if found.by_day <= 0.0 {
        format!("the mean of the days says otherwise, {:+.4}", found.by_day)
    } else {
        return Verdict::Wins(format!("it would have earned more: {told}"));
    };
    Verdict::Waits(format!("{why}: {told}"))
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

    const GOOD: Compared = Compared {
        evidence: Evidence {
            truths: 200,
            mean: 0.02,
            lower: 0.001,
            upper: 0.04,
            older: 0.01,
            newer: 0.03,
            hours: 48.0,
        },
        // 2.5 % for seven looks: 0.00357 each.
        chance: 0.0035,
        halves: (50, 150),
        by_day: 0.01,
        differing: 10,
        converted: 10,
    };

    fn rival(kind: RivalKind, looks: u32) -> Rival {
        let name = String::new;
        Rival { checkpoint: name(), champion: name(), kind, since_ns: 0, after_ns: 0, looks }
    }

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
        let of = |change: fn(&mut Evidence)| {
            let mut found = GOOD;
            change(&mut found.evidence);
            Some(found)
        };
        let surely_less = |it: &mut Evidence| (it.lower, it.upper) = (-0.1, -0.001);
        let (new, former) = (RivalKind::Challenger, RivalKind::Former);
        for (kind, found, days, expected) in [
            (new, None, 1.0, "waits"),
            // Too few truths take their time, but not for ever.
            (new, None, 29.0, "waits"),
            (new, None, 30.0, "loses"),
            (new, of(|it| it.truths = 199), 29.0, "waits"),
            (new, of(|it| it.truths = 199), 30.0, "loses"),
            (new, Some(GOOD), 3.0, "wins"),
            // Though the time is over: it has shown it.
            (new, Some(GOOD), 9.0, "wins"),
            (new, of(|it| it.hours = 45.5), 3.0, "waits"),
            (new, of(|it| it.lower = 0.0), 3.0, "waits"),
            (new, of(|it| it.lower = f64::NAN), 3.0, "waits"),
            (new, of(|it| it.lower = 0.0), 7.1, "loses"),
            (new, of(|it| it.older = -0.001), 3.0, "waits"),
            (new, of(|it| it.newer = 0.0), 3.0, "waits"),
            (new, Some(Compared { chance: 0.0037, ..GOOD }), 3.0, "waits"),
            (new, Some(Compared { chance: f64::NAN, ..GOOD }), 3.0, "waits"),
            (new, Some(Compared { halves: (49, 151), ..GOOD }), 3.0, "waits"),
            (new, Some(Compared { halves: (151, 49), ..GOOD }), 3.0, "waits"),
            (new, Some(Compared { by_day: 0.0, ..GOOD }), 3.0, "waits"),
            (new, Some(Compared { differing: 9, ..GOOD }), 3.0, "waits"),
            (new, Some(Compared { converted: 9, ..GOOD }), 3.0, "waits"),
            (new, Some(Compared { converted: 191, ..GOOD }), 3.0, "waits"),
            (new, of(surely_less), 1.0, "loses"),
            (former, of(|it| (it.truths, it.hours) = (100, 24.0)), 1.0, "wins"),
            (former, of(|it| (it.truths, it.hours) = (99, 24.0)), 1.0, "waits"),
            (former, of(|it| (it.truths, it.hours) = (100, 22.7)), 1.0, "waits"),
        ] {
            let age_ns = (days * DAY_NS as f64) as u64;
            let verdict = judge(&rules, &rival(kind, 7), found.as_ref(), age_ns);
            assert_eq!(name(&verdict), expected, "{kind:?} {found:?} {days}: {verdict:?}");
        }
        let few = GOOD.evidence;
        let few = Compared { evidence: Evidence { truths: 99, upper: -0.001, ..few }, ..GOOD };
        assert_eq!(name(&judge(&rules, &rival(new, 7), Some(&few), 0)), "waits");
    }

    #[test]
    fn looks_are_limited_and_share_one_chance() {
        let mut rules = LearnRules::default();
        let judge_at = |rules: &LearnRules, looks: u32, chance: f64| {
            let found = Compared { chance, ..GOOD };
            name(&judge(rules, &rival(RivalKind::Challenger, looks), Some(&found), 0))
        };
        assert_eq!(planned_looks(&rules), 7);
        // More than were planned, as by force, are no test.
        assert_eq!((judge_at(&rules, 7, 0.001), judge_at(&rules, 8, 0.001)), ("wins", "waits"));
        // 0.025 / 28
        rules.every_hours = 6.0;
        assert_eq!(planned_looks(&rules), 28);
        assert_eq!((judge_at(&rules, 8, 0.0009), judge_at(&rules, 8, 0.0008)), ("waits", "wins"));
        rules.every_hours = 0.0;
        assert_eq!(planned_looks(&rules), 168);
        rules.every_hours = 1000.0;
        assert_eq!(planned_looks(&rules), 1);
    }

    #[test]
    fn the_reason_has_the_numbers() {
        let rival = rival(RivalKind::Challenger, 1);
        let verdict = judge(&LearnRules::default(), &rival, Some(&GOOD), 0);
        let Verdict::Wins(reason) = verdict else { panic!("{verdict:?}") };
        assert_eq!(
            reason,
            "it would have earned more: +0.0200 (+0.0010 to +0.0400) by 200 truths over 48 hours, \
             +0.0100 in the older half and +0.0300 in the newer"
        );
    }
}
