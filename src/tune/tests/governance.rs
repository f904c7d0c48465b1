//! When a parameter may be changed, and to what.

use proptest::prelude::*;

use super::*;
use crate::tune::Parameter::{HighIntervalSeconds, ThresholdOffset, TimeQuantileShift};

#[test]
fn nothing_is_tuned_in_the_first_days() {
    let folder = begun();
    let folder = folder.path();
    for too_early in [START, day(1), day(14) - 1, day(14) - SECOND_NS] {
        assert_eq!(refused(folder, too_early, ThresholdOffset, 0.05), ["first_days"]);
    }
    let verdict = at(folder, day(13)).check(ThresholdOffset, Some(0.05)).unwrap();
    assert_eq!(verdict.allowed_from_ns, Some(day(14)));
    assert_eq!(
        verdict.refusals[0].to_string(),
        "mining began on 2025-11-22T00:00:00Z, and nothing is tuned in its first 14 days: from \
         2025-12-06T00:00:00Z on"
    );
    apply(folder, day(14), ThresholdOffset, 0.05);
    assert_eq!(read_current(folder).unwrap().threshold_offset, 0.05);
}

#[test]
fn thirty_days_lie_between_two_changes_of_one_parameter() {
    let folder = begun();
    let folder = folder.path();
    apply(folder, day(20), ThresholdOffset, 0.05);
    let rules = ["between_days", "observation_days"];
    assert_eq!(refused(folder, day(34) - 1, ThresholdOffset, 0.1), rules);
    assert_eq!(refused(folder, day(34), ThresholdOffset, 0.1), ["between_days"]);
    assert_eq!(refused(folder, day(50) - SECOND_NS, ThresholdOffset, 0.1), ["between_days"]);
    let verdict = at(folder, day(21)).check(ThresholdOffset, Some(0.1)).unwrap();
    assert_eq!(verdict.allowed_from_ns, Some(day(50)));
    apply(folder, day(50), ThresholdOffset, 0.1);
    assert_eq!(read_current(folder).unwrap().threshold_offset, 0.1);
}

#[test]
fn a_change_is_observed_before_the_next_of_any_parameter() {
    let folder = begun();
    let folder = folder.path();
    apply(folder, day(20), ThresholdOffset, 0.05);
    assert_eq!(refused(folder, day(20), TimeQuantileShift, 0.05), ["observation_days"]);
    assert_eq!(refused(folder, day(34) - 1, TimeQuantileShift, 0.05), ["observation_days"]);
    apply(folder, day(34), TimeQuantileShift, 0.05);
    // Both were changed; each has days of its own.
    let standings = at(folder, day(35)).standings().unwrap();
    let from = |parameter: Parameter| standings[parameter as usize].allowed_from_ns;
    assert_eq!(from(ThresholdOffset), Some(day(50)));
    assert_eq!(from(TimeQuantileShift), Some(day(64)));
    assert_eq!(from(HighIntervalSeconds), Some(day(48)));
    assert_eq!(standings[0].changed_ns, Some(day(20)));
    assert!(standings.iter().all(|standing| !standing.is_allowed));
}

#[test]
fn bounds_and_largest_step() {
    let folder = begun();
    let folder = folder.path();
    for (parameter, to, expected) in [
        (ThresholdOffset, 0.25, &["bounds"][..]),
        (ThresholdOffset, -0.201, &["bounds"]),
        (ThresholdOffset, f64::NAN, &["bounds"]),
        (ThresholdOffset, f64::INFINITY, &["bounds"]),
        (ThresholdOffset, 0.06, &["largest_step"]),
        (ThresholdOffset, -0.050_001, &["largest_step"]),
        (ThresholdOffset, 0.0, &["unchanged"]),
        (ThresholdOffset, 1e-8, &["unchanged"]),
        (HighIntervalSeconds, 1350.01, &["largest_step"]),
        (HighIntervalSeconds, 59.0, &["bounds"]),
    ] {
        assert_eq!(refused(folder, day(14), parameter, to), expected, "{parameter} {to}");
    }
    let verdict = at(folder, day(1)).check(ThresholdOffset, Some(0.06)).unwrap();
    assert_eq!(verdict.allowed_from_ns, None, "waiting does not help");
    apply(folder, day(14), ThresholdOffset, -0.05);
    // 0.05 + 0.05 + ... reaches 0.2 in spite of binary fractions.
    for (step, to) in [(1, 0.0), (2, 0.05), (3, 0.1), (4, 0.15), (5, 0.2)] {
        apply(folder, day(14 + 30 * step), ThresholdOffset, to);
    }
    assert_eq!(refused(folder, day(1000), ThresholdOffset, 0.25), ["bounds"]);
}

#[test]
fn the_operator_may_set_other_numbers() {
    let folder = begun();
    let limit = "threshold_offset=-0.5..0.5/0.3".parse().unwrap();
    let tuning = |now_ns| Tuning {
        rules: Rules { first_days: 1, between_days: 2, observation_days: 0 },
        limits: Limits::default().with(limit),
        ..at(folder.path(), now_ns)
    };
    let entry = tuning(day(1)).apply(&wish(ThresholdOffset, 0.3)).unwrap().entry.unwrap();
    let Event::Applied { rules, limit, .. } = entry.event else { panic!("{entry:?}") };
    assert_eq!((rules.first_days, limit.largest_step), (1, 0.3), "the history keeps them");
    assert!(tuning(day(1)).apply(&wish(TimeQuantileShift, 0.05)).unwrap().entry.is_some());
    assert!(tuning(day(3) - 1).apply(&wish(ThresholdOffset, 0.0)).unwrap().entry.is_none());
    assert!(tuning(day(3)).apply(&wish(ThresholdOffset, 0.0)).unwrap().entry.is_some());
    let never = Rules { first_days: u32::MAX, ..Rules::default() };
    let never = Tuning { rules: never, ..at(folder.path(), day(1_000)) };
    assert!(!never.check(ThresholdOffset, None).unwrap().is_allowed());
}

#[test]
fn where_nothing_is_recorded_mining_begins_with_the_first_wish() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let verdict = at(folder, day(3)).check(ThresholdOffset, None).unwrap();
    assert_eq!(verdict.allowed_from_ns, Some(day(17)));
    assert!(!history_path(folder).exists(), "asking leaves no trace");
    let decision = at(folder, day(4)).propose(&wish(ThresholdOffset, 0.05)).unwrap();
    assert_eq!(decision.entry, None);
    assert_eq!(decision.verdict.allowed_from_ns, Some(day(18)));
    assert_eq!(read(folder).unwrap().entries()[0].event, Event::Started { by: Starter::Tune });
    record_start(folder, day(5)).unwrap();
    assert_eq!(read(folder).unwrap().started_ns(), Some(day(4)), "the first one counts");
    apply(folder, day(18), ThresholdOffset, 0.05);
}

#[test]
fn a_proposal_is_applied_with_its_reason() {
    let folder = begun();
    let folder = folder.path();
    assert_eq!(
        at(folder, day(13)).propose(&wish(ThresholdOffset, 0.05)).unwrap().entry,
        None,
        "what is not allowed is not proposed"
    );
    assert!(matches!(at(folder, day(13)).proposed(None), Err(TuneError::NothingProposed)));
    let mut first = wish(TimeQuantileShift, 0.02);
    assert!(at(folder, day(14)).propose(&first).unwrap().entry.is_some());
    assert_eq!(read_current(folder).unwrap(), Tunables::default(), "nothing changed yet");
    let second = wish(ThresholdOffset, -0.05);
    assert!(at(folder, day(15)).propose(&second).unwrap().entry.is_some());
    assert_eq!(at(folder, day(16)).proposed(None).unwrap(), second, "the last one counts");
    first.reason = "another".to_owned();
    let other = at(folder, day(16)).proposed(Some(first.reason.clone())).unwrap();
    assert_eq!(other, Wish { reason: first.reason, ..second.clone() });
    let entry = at(folder, day(16)).apply(&second).unwrap().entry.unwrap();
    assert!(matches!(entry.event, Event::Applied { proposal: Some(3), .. }), "{entry:?}");
    assert!(matches!(at(folder, day(16)).proposed(None), Err(TuneError::NothingProposed)));
    assert_eq!(read_current(folder).unwrap().threshold_offset, -0.05);
}

#[test]
fn going_back_is_allowed_at_any_time_but_counts_as_a_change() {
    let folder = begun();
    let folder = folder.path();
    let revert = |now_ns, named| at(folder, now_ns).revert(named, "worse");
    assert!(matches!(revert(day(20), None), Err(TuneError::NothingToRevert)));
    apply(folder, day(20), TimeQuantileShift, 0.05);
    apply(folder, day(34), ThresholdOffset, 0.05);
    assert!(matches!(
        revert(day(34), Some(TimeQuantileShift)),
        Err(TuneError::NotTheLast { last: ThresholdOffset })
    ));
    let entry = revert(day(34) + 1, Some(ThresholdOffset)).unwrap();
    assert!(matches!(entry.event, Event::Reverted { from: 0.05, to: 0.0, change: 3, .. }));
    let current = read_current(folder).unwrap();
    assert_eq!((current.threshold_offset, current.time_quantile_shift), (0.0, 0.05));
    assert!(matches!(revert(day(35), None), Err(TuneError::NothingToRevert)), "only once");
    assert_eq!(refused(folder, day(48), HighIntervalSeconds, 600.0), ["observation_days"]);
    assert_eq!(refused(folder, day(64), ThresholdOffset, 0.05), ["between_days"]);
    apply(folder, day(64) + 1, ThresholdOffset, 0.05);
}

#[test]
fn a_clock_that_went_back_is_noticed() {
    let folder = begun();
    let folder = folder.path();
    apply(folder, day(20), ThresholdOffset, 0.05);
    let rules = ["clock", "first_days", "between_days", "observation_days"];
    assert_eq!(refused(folder, day(10), ThresholdOffset, 0.1), rules);
    let verdict = at(folder, day(20) - 1).check(TimeQuantileShift, Some(0.01)).unwrap();
    assert_eq!(verdict.refusals[0].rule(), "clock");
    // Even where no time needs to pass.
    let rules = Rules { first_days: 0, between_days: 0, observation_days: 0 };
    let hasty = Tuning { rules, ..at(folder, day(20) - 1) };
    assert_eq!(hasty.apply(&wish(ThresholdOffset, 0.1)).unwrap().entry, None);
    // Safety does not wait for a clock.
    let entry = at(folder, day(10)).revert(None, "worse").unwrap();
    assert_eq!(entry.time_ns, day(20));
    assert_eq!(read_current(folder).unwrap(), Tunables::default());
}

#[test]
fn a_reason_is_a_line_with_words() {
    let folder = begun();
    let tuning = at(folder.path(), day(14));
    for reason in ["", "  \n\t", "\u{1b}\u{7}"] {
        let wish = Wish { reason: reason.to_owned(), ..wish(ThresholdOffset, 0.05) };
        assert!(matches!(tuning.apply(&wish), Err(TuneError::NoReason)), "{reason:?}");
        assert!(matches!(tuning.revert(None, reason), Err(TuneError::NoReason)), "{reason:?}");
    }
    let wish = Wish { reason: " a\u{1b}[2J\nb ".to_owned(), ..wish(ThresholdOffset, 0.05) };
    let entry = tuning.apply(&wish).unwrap().entry.unwrap();
    let Event::Applied { reason, .. } = entry.event else { panic!("{entry:?}") };
    assert_eq!(reason, "a [2J b");
}

#[test]
fn a_time_by_hand_is_marked() {
    let folder = begun();
    let tuning = Tuning { now_by_hand_ns: Some(day(14)), ..at(folder.path(), day(1)) };
    assert!(tuning.apply(&wish(ThresholdOffset, 0.05)).unwrap().entry.unwrap().is_time_by_hand);
    let text = std::fs::read_to_string(history_path(folder.path())).unwrap();
    assert_eq!(text.matches("is_time_by_hand").count(), 1, "{text}");
    assert_eq!(read_current(folder.path()).unwrap().threshold_offset, 0.05);
}

/// What was given by hand in 2020 would make day one day 2000.
#[test]
fn no_time_by_hand_says_when_mining_began() {
    let year_2020 = 1_577_836_800 * SECOND_NS;
    for by_hand in [year_2020, day(3), day(18)] {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let tuning = Tuning { now_by_hand_ns: Some(by_hand), ..at(folder, day(3)) };
        let checked = tuning.check(ThresholdOffset, Some(0.05)).unwrap().is_allowed();
        let decision = tuning.propose(&wish(ThresholdOffset, 0.05)).unwrap();
        // As where `serve` wrote the start down just before.
        assert_eq!((checked, decision.entry.is_some()), (by_hand == day(18), by_hand == day(18)));
        let first = read(folder).unwrap().entries()[0].clone();
        assert_eq!((first.time_ns, first.is_time_by_hand), (day(3), false));
        let verdict = at(folder, day(3)).check(ThresholdOffset, None).unwrap();
        assert_eq!(verdict.refusals.last().unwrap().rule(), "first_days");
    }
}

/// An entry of 2099 would refuse everything until then.
#[test]
fn no_going_back_later_than_now() {
    let folder = begun();
    let folder = folder.path();
    apply(folder, day(20), ThresholdOffset, 0.05);
    let by_hand = |ns| Tuning { now_by_hand_ns: Some(ns), ..at(folder, day(21)) };
    let error = by_hand(day(9_999)).revert(None, "worse").unwrap_err();
    assert!(matches!(error, TuneError::NotYet { .. }), "{error}");
    assert!(error.to_string().contains("later than now, 2025-12-13T00:00:00Z"), "{error}");
    assert_eq!(read_current(folder).unwrap().threshold_offset, 0.05);
    let entry = by_hand(day(21)).revert(None, "worse").unwrap();
    assert_eq!((entry.time_ns, entry.is_time_by_hand), (day(21), true));
    apply(folder, day(51), ThresholdOffset, 0.05);
}

/// Two writers at a time: one change only, and a sound history.
#[test]
fn writers_take_turns() {
    let folder = begun();
    let path = folder.path();
    let accepted: usize = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                scope.spawn(move || {
                    let parameter = PARAMETERS[writer % PARAMETER_COUNT].parameter;
                    let limit = parameter.spec().limit;
                    let to = limit.towards(parameter.spec().default, limit.lowest);
                    let tuning = at(path, day(14) + writer as u64);
                    (0..5)
                        .filter(|_| tuning.apply(&wish(parameter, to)).unwrap().entry.is_some())
                        .count()
                })
            })
            .collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).sum()
    });
    assert_eq!(accepted, 1);
    let history = read(path).unwrap();
    assert_eq!(history.entries().len(), 2);
}

#[test]
fn writers_lose_nothing() {
    let folder = begun();
    let path = folder.path();
    std::thread::scope(|scope| {
        for writer in 0..8_u32 {
            scope.spawn(move || {
                let tuning = at(path, day(14));
                for round in 0..10 {
                    let to = f64::from(writer * 10 + round + 1) * 1e-4;
                    assert!(tuning.propose(&wish(ThresholdOffset, to)).unwrap().entry.is_some());
                }
            });
        }
        // Who reads between the two files of an entry sees no break.
        scope.spawn(|| while read(path).unwrap().entries().len() < 81 {});
    });
    assert_eq!(read(path).unwrap().entries().len(), 81);
}

/// What an operator may try.
#[derive(Debug, Clone)]
enum Try {
    Apply(usize, f64),
    Propose(usize, f64),
    Revert,
}

fn tries() -> impl Strategy<Value = Vec<(u64, Try)>> {
    let pause = prop_oneof![
        Just(0),
        0..40 * DAY_NS,
        Just(14 * DAY_NS),
        Just(30 * DAY_NS),
        Just(14 * DAY_NS - 1),
        Just(30 * DAY_NS - 1),
    ];
    let step = prop_oneof![-1.2..1.2_f64, Just(1.0), Just(-1.0), Just(0.0)];
    let attempt = prop_oneof![
        6 => (0..PARAMETER_COUNT, step.clone()).prop_map(|(at, step)| Try::Apply(at, step)),
        2 => (0..PARAMETER_COUNT, step).prop_map(|(at, step)| Try::Propose(at, step)),
        1 => Just(Try::Revert),
    ];
    prop::collection::vec((pause, attempt), 1..40)
}

/// Every change of the history against the rules as the issue has them, without the code under test.
fn assert_governed(history: &History) {
    let changed = |entry: &Entry| match entry.event {
        Event::Applied { parameter, .. } | Event::Reverted { parameter, .. } => Some(parameter),
        _ => None,
    };
    let entries = history.entries();
    let start = entries[0].time_ns;
    for (index, entry) in entries.iter().enumerate() {
        let Event::Applied { parameter, from, to, .. } = entry.event else { continue };
        let spec = &PARAMETERS[parameter as usize];
        assert!(entry.time_ns >= start + 14 * DAY_NS);
        assert!(to >= spec.limit.lowest && to <= spec.limit.highest, "{to}");
        assert!((to - from).abs() <= spec.limit.largest_step + 1e-6, "{from} -> {to}");
        for earlier in &entries[..index] {
            let Some(other) = changed(earlier) else { continue };
            assert!(entry.time_ns >= earlier.time_ns + 14 * DAY_NS);
            assert!(other != parameter || entry.time_ns >= earlier.time_ns + 30 * DAY_NS);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn whatever_is_tried_the_rules_hold(tries in tries()) {
        let folder = begun();
        let mut now_ns = START;
        for (pause_ns, attempt) in tries {
            now_ns += pause_ns;
            let tuning = at(folder.path(), now_ns);
            let current = read_current(folder.path()).unwrap();
            let to = |at: usize, step: f64| {
                let spec = &PARAMETERS[at];
                let to = current.get(spec.parameter) + step * spec.limit.largest_step;
                wish(spec.parameter, to)
            };
            match attempt {
                Try::Apply(at, step) => drop(tuning.apply(&to(at, step)).unwrap()),
                Try::Propose(at, step) => drop(tuning.propose(&to(at, step)).unwrap()),
                Try::Revert => drop(tuning.revert(None, "back")),
            }
            // Every number is the same after it was written and read, or this would be a break.
            let history = read(folder.path()).unwrap();
            prop_assert!(history.current().is_valid());
            assert_governed(&history);
        }
    }
}
