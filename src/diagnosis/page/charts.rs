//! The charts of the page.

use crate::diagnosis::{CalibrationDiagnosis, Covered, Day, Diagnosis, Period, Shift};
use crate::report::Interval;
use crate::report::page::absent;
use crate::report::page::axis::Axis;
use crate::report::page::chart::{Chart, side_by_side};
use crate::report::page::text::{count, fixed, or_dash, percent, signed};
use crate::report::statistics::share_interval;

/// Dates on an axis, roughly.
const DATES: usize = 6;

/// An axis of days, with some of their dates below it.
fn dates(label: &str, dates: &[(f64, String)], days: f64) -> Axis {
    let step = dates.len().div_ceil(DATES).max(1);
    // Without the year, which is in the page's title.
    let short = |date: &String| date.get(5..).unwrap_or(date).to_owned();
    let ticks = dates.iter().step_by(step).map(|(day, date)| (*day, short(date)));
    Axis::new(label, -0.5, days - 0.5).with_ticks(ticks.collect::<Vec<_>>())
}

pub(super) fn rewards(diagnosis: &Diagnosis) -> String {
    side_by_side(&[rolling(&diagnosis.days), losses(diagnosis)])
}

fn rolling(days: &[Day]) -> String {
    let numbered: Vec<(f64, &Day)> =
        days.iter().enumerate().map(|(number, day)| (number as f64, day)).collect();
    let names: Vec<(f64, String)> =
        numbered.iter().map(|(number, day)| (*number, day.date.clone())).collect();
    let daily: Vec<(f64, f64)> =
        numbered.iter().filter_map(|(number, day)| Some((*number, day.reward?.mean))).collect();
    let rolling: Vec<(f64, f64)> =
        numbered.iter().filter_map(|(number, day)| Some((*number, day.rolling?.mean))).collect();
    let band: Vec<(f64, f64, f64)> = numbered
        .iter()
        .filter_map(|(number, day)| {
            let Interval { low, high } = day.rolling?.interval();
            Some((*number, low, high))
        })
        .collect();
    let ends = band.iter().flat_map(|(_, low, high)| [*low, *high]);
    let y = Axis::around("mean reward", daily.iter().map(|(_, mean)| *mean).chain(ends));
    let last = rolling.last().map(|(_, mean)| *mean);
    Chart::new(
        "Reward along time",
        &format!("Rolling seven-day mean rewards, at last {}.", or_dash(last, 4)),
        dates("day (UTC)", &names, days.len() as f64),
        y,
    )
    .band("s1", &band)
    .line("s1", &rolling)
    .dots("s2", 3.0, &daily)
    .key("line s1", "of the last 7 days, with 95 % band")
    .key("dot s2", "of the day alone")
    .figure(&format!("Of the last seven days at last {}.", or_dash(last, 4)))
}

/// What was lost to what, as bars.
fn losses(diagnosis: &Diagnosis) -> String {
    let lost = &diagnosis.lost;
    let mut parts = vec![
        ("class", lost.class),
        ("time, said yes", lost.time - lost.time_unanswered),
        ("time, said no", lost.time_unanswered),
        ("latency", lost.latency),
    ];
    if lost.confidence > 0.0 {
        parts.push(("confidence", lost.confidence));
    }
    let names: Vec<&str> = parts.iter().map(|(name, _)| *name).collect();
    let bars: Vec<(f64, f64, f64)> = parts
        .iter()
        .enumerate()
        .map(|(index, (_, lost))| (index as f64 + 0.2, index as f64 + 0.8, *lost))
        .collect();
    let described: Vec<String> =
        parts.iter().map(|(name, lost)| format!("{name} {}", fixed(*lost, 4))).collect();
    let y = Axis::around("lost mean reward", bars.iter().map(|bar| bar.2).chain([0.0, 1e-4]));
    Chart::new(
        "Where it is lost",
        &format!("The mean reward lost to {}.", described.join(", ")),
        Axis::new("lost to", 0.0, parts.len() as f64).with_names(&names),
        y,
    )
    .bars("s2", &bars)
    .figure(&format!(
        "{} of the {} that the truth earns in no time is lost.",
        fixed(lost.total(), 4),
        fixed(lost.most, 4)
    ))
}

pub(super) fn calibration(diagnosis: &Diagnosis) -> String {
    let Some(found) = &diagnosis.calibration else {
        return absent("No confidence can be judged.");
    };
    side_by_side(&[reliability(found), along_time(found)])
}

fn reliability(found: &CalibrationDiagnosis) -> String {
    let bins = &found.sent.bins;
    let points: Vec<(f64, f64)> = bins.iter().map(|bin| (bin.said, bin.came_true)).collect();
    let whiskers: Vec<(f64, f64, f64)> = bins
        .iter()
        .map(|bin| {
            let happened = (bin.came_true * bin.rows as f64).round() as usize;
            let Interval { low, high } = share_interval(happened, bin.rows);
            (bin.said, low, high)
        })
        .collect();
    let chart = Chart::new(
        "Said and came true",
        &format!(
            "What came true against what was sent in ten bins; the mean distance from the diagonal \
             is {}.",
            fixed(found.sent.ece, 4)
        ),
        Axis::share("sent (mean of the bin)"),
        Axis::share("came true (share that converted)"),
    )
    .reference((0.0, 0.0), (1.0, 1.0));
    let before = found.checkpoint.as_ref().filter(|before| before.bins != *bins);
    let mut chart = match before {
        Some(before) => {
            let points: Vec<(f64, f64)> =
                before.bins.iter().map(|bin| (bin.said, bin.came_true)).collect();
            chart.line("s2", &points).dots("s2", 3.0, &points)
        }
        None => chart,
    };
    chart = chart
        .whiskers("s1", &whiskers)
        .line("s1", &points)
        .dots("s1", 4.0, &points)
        .key("line s1", "as sent, with 95 % intervals");
    if before.is_some() {
        chart = chart.key("line s2", "the checkpoint\u{2019}s own, before what was learned since");
    }
    chart.key("reference", "said as it comes true").figure(&format!(
        "ECE {}, of which chance alone makes up to {} with {} answers. Log loss {} (validation {}), \
         Brier {} (validation {}).",
        fixed(found.sent.ece, 4),
        fixed(found.by_chance.high, 4),
        count(found.sent.rows),
        fixed(found.sent.log_loss, 4),
        or_dash(found.validation_log_loss, 4),
        fixed(found.sent.brier, 4),
        or_dash(found.validation_brier, 4)
    ))
}

fn along_time(found: &CalibrationDiagnosis) -> String {
    let days = found.period_days as f64;
    let at = |period: &Period| period.day as f64 / days;
    let points = |value: fn(&Period) -> f64| -> Vec<(f64, f64)> {
        found.periods.iter().map(|period| (at(period), value(period))).collect()
    };
    let errors = points(|period| period.ece);
    let chance: Vec<(f64, f64, f64)> =
        found.periods.iter().map(|period| (at(period), 0.0, period.chance_high)).collect();
    let names: Vec<(f64, String)> =
        found.periods.iter().map(|period| (at(period), period.from.clone())).collect();
    let periods = names.last().map_or(1.0, |(last, _)| last + 1.0);
    let highest =
        chance.iter().map(|(.., high)| *high).chain(errors.iter().map(|(_, error)| *error));
    let y = Axis::around(
        "expected calibration error",
        highest.chain(found.validation_ece).chain([0.0]),
    );
    let unit = if found.period_days == 1 { "day (UTC)" } else { "week from (UTC)" };
    let mut chart = Chart::new(
        "Calibration along time",
        "The expected calibration error by period, beside what chance alone makes of it.",
        dates(unit, &names, periods),
        y,
    )
    .band("tolerance", &chance);
    if let Some(validation) = found.validation_ece {
        chart = chart
            .reference((-0.5, validation), (periods - 0.5, validation))
            .key("reference", "validation");
    }
    chart
        .line("s1", &errors)
        .dots("s1", 4.0, &errors)
        .key("line s1", "as sent")
        .key("band tolerance", "what chance alone makes of it (95 %)")
        .figure("Points above the shaded part are more than chance.")
}

pub(super) fn times(diagnosis: &Diagnosis) -> String {
    let times = &diagnosis.times;
    if times.all.rows == 0 {
        return absent(
            "No conversation converted after a known time that had a predicted distribution.",
        );
    }
    side_by_side(&[coverage(&times.all.coverage), horizons(diagnosis)])
}

/// How far the shares below each quantile are from where they should be.
fn coverage(covered: &[Covered]) -> String {
    let off = |covered: &Covered, share: f64| 100.0 * (share - covered.level);
    let points: Vec<(f64, f64)> =
        covered.iter().map(|covered| (covered.level, off(covered, covered.below))).collect();
    let whiskers: Vec<(f64, f64, f64)> = covered
        .iter()
        .map(|covered| {
            let Interval { low, high } = covered.interval;
            (covered.level, off(covered, low), off(covered, high))
        })
        .collect();
    let watched = |level: f64| {
        let covered = covered.iter().find(|covered| covered.level == level);
        covered.map_or_else(|| or_dash(None, 0), |covered| percent(covered.below, 1))
    };
    let ends = whiskers.iter().flat_map(|(_, low, high)| [*low, *high]);
    let rows = covered.first().map_or(0, |covered| covered.rows);
    Chart::new(
        "Coverage of the quantiles",
        "How much more true times than nominal lie below each quantile of the prediction.",
        Axis::share("level of the quantile"),
        Axis::around("measured minus nominal, points", ends.chain([-4.0, 4.0])),
    )
    .reference((0.0, 0.0), (1.0, 0.0))
    .whiskers("s3", &whiskers)
    .dots("s3", 4.0, &points)
    .key("dot s3", "measured, with 95 % intervals")
    .key("reference", "as predicted")
    .figure(&format!(
        "Of {} true times, {} lie below the 5 % quantile, {} below the median and {} below the 95 % \
         one.",
        count(rows),
        watched(0.05),
        watched(0.5),
        watched(0.95)
    ))
}

fn horizons(diagnosis: &Diagnosis) -> String {
    let horizons = &diagnosis.times.horizons;
    let names: Vec<&str> = horizons.iter().map(|horizon| horizon.name.as_str()).collect();
    let scored: Vec<(f64, crate::report::Mean)> = horizons
        .iter()
        .enumerate()
        .filter_map(|(index, horizon)| Some((index as f64, horizon.scores.crps_seconds?)))
        .collect();
    let bars: Vec<(f64, f64, f64)> =
        scored.iter().map(|(index, crps)| (index + 0.25, index + 0.75, crps.mean)).collect();
    let whiskers: Vec<(f64, f64, f64)> = scored
        .iter()
        .map(|(index, crps)| {
            let Interval { low, high } = crps.interval();
            (index + 0.5, low.max(0.0), high)
        })
        .collect();
    let ends = whiskers.iter().map(|(.., high)| *high);
    let all = diagnosis.times.all.crps_seconds.map(|crps| crps.mean);
    Chart::new(
        "CRPS by horizon",
        &format!("The mean CRPS by how long it took; over all {} s.", or_dash(all, 2)),
        Axis::new("true time", 0.0, horizons.len() as f64).with_names(&names),
        Axis::around("mean CRPS, s", ends.chain([0.0])),
    )
    .bars("s3", &bars)
    .whiskers("s1", &whiskers)
    .figure(&format!(
        "Short is below 60 s, long above 300 s. Over all {} s; an error of a single answer is its \
         CRPS where no spread is predicted.",
        or_dash(all, 2)
    ))
}

pub(super) fn shifts(diagnosis: &Diagnosis) -> String {
    let figures: Vec<String> = [
        (
            &diagnosis.best_threshold_offset,
            "Threshold of the decision",
            "how much surer it must be to say \u{201c}converts\u{201d} (offset)",
            "s1",
        ),
        (
            &diagnosis.best_time_quantile_shift,
            "Quantile of the time",
            "how much later a quantile is answered (shift)",
            "s3",
        ),
    ]
    .into_iter()
    .filter_map(|(shift, title, label, class)| {
        Some(shift_chart(shift.as_ref()?, title, label, class))
    })
    .collect();
    if figures.is_empty() {
        return absent(
            "Too few answers of the checkpoint are known to decide them again with other settings.",
        );
    }
    let words = "<p>The same answers, decided again. The best value is chosen on half of the answers, \
                 and its gain is what it earns on the other half.</p>\n";
    words.to_owned() + &side_by_side(&figures)
}

fn shift_chart(shift: &Shift, title: &str, label: &str, class: &str) -> String {
    // In thousandths, whose ticks are short.
    let points: Vec<(f64, f64)> =
        shift.curve.iter().map(|point| (point.value, 1000.0 * point.gain)).collect();
    let (first, last) = (points.first(), points.last());
    let x = Axis::new(label, first.map_or(0.0, |point| point.0), last.map_or(1.0, |point| point.0));
    let best: Vec<(f64, f64)> =
        points.iter().copied().filter(|(value, _)| *value == shift.value).collect();
    let y = Axis::around(
        "reward above what was answered, thousandths",
        points.iter().map(|(_, gain)| *gain).chain([0.0]),
    );
    let error = shift
        .gain
        .standard_error
        .map_or_else(String::new, |error| format!(" \u{b1} {}", fixed(error, 4)));
    Chart::new(
        title,
        &format!("The reward by value; the best is {}.", signed(shift.value, 3)),
        x,
        y,
    )
    .reference((-1.0, 0.0), (1.0, 0.0))
    .line(class, &points)
    .dots(class, 4.5, &best)
    .key(&format!("dot {class}"), "chosen on half of the answers")
    .figure(&format!(
        "{}, chosen on {} answers, would have earned {}{error} more on {} others.",
        signed(shift.value, 3),
        count(shift.chosen_on),
        signed(shift.gain.mean, 4),
        count(shift.judged_on)
    ))
}
