use crate::diagnosis::diagnose;
use crate::diagnosis::tests::{First, no, yes};
use crate::replay::Resolved;
use crate::subnet::reward::Truth;

fn near(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
}

#[test]
fn an_offset_by_hand() {
    // What is said with 0.555 never comes true, what is said with 0.755 always does.
    let rows: Vec<Resolved> = (0..40)
        .map(|number| match number / 2 % 2 {
            0 => First::answer(number, yes(50.0, 0.555), Truth::not_converted()),
            _ => First::answer(number, yes(50.0, 0.755), Truth::converted_after(50.0)),
        })
        .collect();
    let first = First::new();
    let found = diagnose(&rows, &first.options()).best_threshold_offset.unwrap();
    // The first step above 0.055; half of the answers earn 0.8 * 0.55 * 0.625 more then.
    near(found.value, 0.06);
    near(found.gain.mean, 0.5 * 0.275);
    assert_eq!((found.chosen_on, found.judged_on, found.curve.len()), (20, 20, 41));
    for (offset, gain) in [(0.0, 0.0), (-0.2, 0.0), (0.05, 0.0), (0.06, 0.1375), (0.2, 0.1375)] {
        let point = found.curve.iter().find(|point| (point.value - offset).abs() < 1e-9).unwrap();
        near(point.gain, gain);
    }
}

/// A no that becomes a yes is answered with the checkpoint's time.
#[test]
fn an_offset_below_nothing() {
    let rows: Vec<Resolved> = (0..40)
        .map(|number| First::answer(number, no(0.445), Truth::converted_after(50.0)))
        .collect();
    let first = First::new();
    let found = diagnose(&rows, &first.options()).best_threshold_offset.unwrap();
    near(found.value, -0.06);
    near(found.gain.mean, 0.8 * (0.55 * 0.375 + 0.45));
    assert_eq!(found.gain.standard_error.map(|error| error < 1e-12), Some(true));
}

#[test]
fn a_quantile_by_hand() {
    // The median is 50 s and the 75 % quantile 55 s, which is what always happens.
    let rows: Vec<Resolved> = (0..60)
        .map(|number| match number % 3 {
            0 => First::answer(number, no(0.1), Truth::not_converted()),
            _ => First::answer(number, yes(50.0, 0.9), Truth::converted_after(55.0)),
        })
        .collect();
    let first = First::new();
    let found = diagnose(&rows, &first.options()).best_time_quantile_shift.unwrap();
    near(found.value, 0.25);
    // 5 s less: 0.8 * 0.45 / 3 for 20 of the 30 that judge, and nothing for the others.
    near(found.gain.mean, 0.08);
    near(
        found.gain.standard_error.unwrap(),
        ((20.0 * 0.0016 + 10.0 * 0.0064) / 29.0 / 30.0_f64).sqrt(),
    );
    assert_eq!((found.chosen_on, found.judged_on), (30, 30));
    let point = found.curve.iter().find(|point| (point.value - 0.25).abs() < 1e-9).unwrap();
    near(point.gain, 0.08);
    // 19 times say nothing, among however many answers.
    let mut left = 19;
    let few: Vec<Resolved> = rows
        .into_iter()
        .filter(|row| {
            left -= i32::from(row.truth.converted);
            !row.truth.converted || left >= 0
        })
        .collect();
    assert_eq!(few.len(), 39);
    assert_eq!(diagnose(&few, &first.options()).best_time_quantile_shift, None);
}

/// What several validators ask about is one conversation, and never on both sides.
#[test]
fn copies_do_not_judge_each_other() {
    let first = First::new();
    let rows: Vec<Resolved> = (0..120)
        .map(|number| {
            // The first two of three are wrong, and the last one is right.
            let seconds = if number % 3 == 2 { 55.0 } else { 20.0 };
            let truth = Truth::converted_after(55.0);
            let mut row = First::answer(number, yes(seconds, 0.9), truth);
            row.record.session_id = Some((number / 3).to_string());
            row
        })
        .collect();
    let found = diagnose(&rows, &first.options());
    for shift in [found.best_threshold_offset.unwrap(), found.best_time_quantile_shift.unwrap()] {
        assert_eq!((shift.chosen_on, shift.judged_on), (20, 20));
        near(shift.gain.mean, 0.0);
    }
    // 19 conversations are too few, in however many answers.
    let few = diagnose(&rows[..57], &first.options());
    assert_eq!((few.best_threshold_offset, few.best_time_quantile_shift), (None, None));
}

#[test]
fn what_fits_is_left_alone() {
    let rows: Vec<Resolved> = (0..60)
        .map(|number| First::answer(number, yes(50.0, 0.9), Truth::converted_after(50.0)))
        .collect();
    let first = First::new();
    let found = diagnose(&rows, &first.options());
    for shift in [found.best_threshold_offset, found.best_time_quantile_shift] {
        let shift = shift.unwrap();
        assert_eq!((shift.value, shift.gain.mean), (0.0, 0.0));
    }
}

#[test]
fn only_its_own_answers_count() {
    let first = First::new();
    let answers = |edit: fn(&mut Resolved)| {
        let mut rows: Vec<Resolved> = (0..40)
            .map(|number| First::answer(number, yes(50.0, 0.9), Truth::converted_after(50.0)))
            .collect();
        rows.iter_mut().for_each(edit);
        diagnose(&rows, &first.options()).best_threshold_offset
    };
    assert!(answers(|_| ()).is_some());
    assert!(answers(|row| row.record.checkpoint = "second".to_owned()).is_none());
    assert!(answers(|row| row.record.raw_probability = None).is_none());
    assert!(answers(|row| row.record.raw_probability = Some(0.36)).is_none());
}
