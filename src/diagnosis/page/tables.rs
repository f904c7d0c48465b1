//! The tables of the page.

use std::fmt::Write as _;

use crate::diagnosis::{Diagnosis, FeatureShift, Part, ShiftSize, Way};
use crate::report::page::absent;
use crate::report::page::axis::Axis;
use crate::report::page::chart::strip;
use crate::report::page::tables::{difference, row, table, with_error};
use crate::report::page::text::{count, escape, fixed, or_dash, percent};
use crate::report::{Interval, Mean};

/// Features that are shown; the others shifted less than these.
const SHOWN_FEATURES: usize = 20;
/// Intervals of fewer rows would press all others together.
const FEW: usize = 30;

pub(super) fn lost(diagnosis: &Diagnosis) -> String {
    let lost = &diagnosis.lost;
    let most = lost.most.max(f64::MIN_POSITIVE);
    let mut lines = vec![
        ("the most possible", lost.most),
        ("lost to class", -lost.class),
        ("lost to time, having said yes", lost.time_unanswered - lost.time),
        ("lost to time, having said no", -lost.time_unanswered),
        ("lost to latency", -lost.latency),
    ];
    if lost.confidence > 0.0 {
        lines.push(("lost to confidence", -lost.confidence));
    }
    lines.push(("mean reward", lost.reward));
    let body: String = lines
        .iter()
        .map(|(name, part)| {
            let class = if *name == "mean reward" { "miner" } else { "other" };
            row(class, name, &[fixed(*part, 4), percent(part / most, 1)])
        })
        .collect();
    format!(
        "<h3>From the most possible to what was earned</h3>\n{}",
        table(&["", "a mean answer", "of the most"], &body)
    )
}

pub(super) fn compared(diagnosis: &Diagnosis) -> String {
    let all = &diagnosis.compared;
    let axis = Axis::around(
        "",
        all.iter().flat_map(|one| {
            let Interval { low, high } = one.reward.interval();
            [low, high]
        }),
    );
    let body: String = all
        .iter()
        .map(|one| {
            let class = if one.way == Way::Answered { "miner" } else { "other" };
            let above = |above: Mean| difference(above.mean, above.standard_error);
            let cells = [
                fixed(one.reward.mean, 4),
                strip(&axis, 180.0, one.reward.mean, one.reward.interval(), None),
                one.answered_above.map_or_else(|| or_dash(None, 0), above),
            ];
            row(class, &escape(&one.name), &cells)
        })
        .collect();
    format!(
        "<h3>Beside other ways to answer</h3>\n<p>The same {} conversations, with the same class \
         weights and response times. The oracle knows the truth, which no miner can where there is \
         chance; what the best possible model would have earned cannot be known.</p>\n{}",
        count(diagnosis.points),
        table(&["", "mean reward", "", "answered above it"], &body)
    )
}

pub(super) fn horizons(diagnosis: &Diagnosis) -> String {
    let times = &diagnosis.times;
    if times.all.rows == 0 {
        return String::new();
    }
    let name = |name: &str| match name {
        "short" => "short (below 60 s)",
        "medium" => "medium (60 to 300 s)",
        _ => "long (above 300 s)",
    };
    let horizons =
        times.horizons.iter().map(|horizon| (name(&horizon.name), &horizon.scores, "other"));
    let lines = [("all", &times.all, "miner")].into_iter().chain(horizons);
    let body: String = lines
        .map(|(name, scores, class)| {
            let below = |level: f64| {
                let covered = scores.coverage.iter().find(|covered| covered.level == level);
                covered.map_or_else(|| or_dash(None, 0), |covered| percent(covered.below, 1))
            };
            let crps = |crps: Mean| {
                let error = crps.standard_error.map(|error| format!(" \u{b1} {}", fixed(error, 2)));
                fixed(crps.mean, 2) + &error.unwrap_or_default()
            };
            let cells = [
                count(scores.rows),
                scores.crps_seconds.map_or_else(|| or_dash(None, 0), crps),
                below(0.05),
                below(0.5),
                below(0.95),
            ];
            row(class, name, &cells)
        })
        .collect();
    let head =
        ["true time", "answers", "CRPS, s", "below the 5 % quantile", "below 50 %", "below 95 %"];
    format!(
        "{}<p>What is known to be short lies below more quantiles than it did before that was known: \
         the shares of a part are not meant to be 5, 50 and 95 %. A miner that tells times apart \
         comes near them; one that says the same of all has 100 % and 0 %.</p>\n",
        table(&head, &body)
    )
}

pub(super) fn validators(diagnosis: &Diagnosis) -> String {
    let parts: Vec<&Part> = diagnosis.validators.iter().map(|validator| &validator.part).collect();
    let axis = axis(&parts);
    let body: String = diagnosis
        .validators
        .iter()
        .map(|validator| {
            let mut cells = cells(&validator.part, &axis, 90.0);
            cells.push(fixed(validator.ema, 4));
            cells.push(format!(
                "{} / {}",
                fixed(validator.positive_weight, 3),
                fixed(validator.negative_weight, 3)
            ));
            // A hotkey may be broken in its middle.
            let (first, rest) = halves(&validator.part.name);
            row("other", &format!("<code>{}<wbr/>{}</code>", escape(first), escape(rest)), &cells)
        })
        .collect();
    let mut head = PART_HEAD.to_vec();
    head[0] = "validator";
    head.extend(["its EMA", "weights yes / no"]);
    table(&head, &body)
}

fn halves(text: &str) -> (&str, &str) {
    let middle = text.char_indices().nth(text.chars().count() / 2);
    text.split_at(middle.map_or(0, |(index, _)| index))
}

const PART_HEAD: [&str; 8] =
    ["", "mean reward", "", "most", "lost to class", "to time", "answers", "converted (said)"];

fn axis(parts: &[&Part]) -> Axis {
    let ends = parts.iter().flat_map(|part| {
        let low = if part.rows < FEW { part.reward.mean } else { part.reward_interval.low };
        [low, part.reward.mean, part.lost.most]
    });
    Axis::around("", ends)
}

fn cells(part: &Part, axis: &Axis, width: f64) -> Vec<String> {
    let converted = part.converted as f64 / part.rows.max(1) as f64;
    vec![
        fixed(part.reward.mean, 4),
        strip(axis, width, part.reward.mean, part.reward_interval, Some(part.lost.most)),
        fixed(part.lost.most, 4),
        fixed(part.lost.class, 4),
        fixed(part.lost.time, 4),
        count(part.rows),
        format!("{} ({})", percent(converted, 1), percent(part.mean_confidence, 1)),
    ]
}

pub(super) fn segments(diagnosis: &Diagnosis) -> String {
    let parts: Vec<&Part> =
        diagnosis.segments.iter().flat_map(|partition| &partition.parts).collect();
    let axis = axis(&parts);
    let mut body = String::new();
    for partition in &diagnosis.segments {
        let _ = writeln!(
            body,
            "<tr class=\"group\"><th scope=\"colgroup\" colspan=\"{}\">By {}</th></tr>",
            PART_HEAD.len(),
            escape(&partition.by)
        );
        for part in &partition.parts {
            body.push_str(&row("other", &escape(&part.name), &cells(part, &axis, 170.0)));
        }
    }
    let words = "<p>Dots are mean rewards with 95 % intervals, diamonds the most possible there: a low \
                 dot beside a low diamond is a hard part, not a bad miner. \u{201c}Said\u{201d} is \
                 the mean confidence, which of a calibrated miner is the share that converted.</p>\n";
    words.to_owned() + &table(&PART_HEAD, &body)
}

pub(super) fn features(diagnosis: &Diagnosis) -> String {
    let features = &diagnosis.features;
    if let Some(reason) = &features.not_available {
        return absent(&format!("Not available: {}.", escape(reason)));
    }
    let shown = &features.features[..features.features.len().min(SHOWN_FEATURES)];
    let most = shown.iter().map(|shift| shift.psi).fold(0.3, f64::max);
    let axis = Axis::around("", [0.0, most]);
    let body: String = shown.iter().map(|shift| feature_row(shift, &axis)).collect();
    let head = [
        "feature",
        "stability index",
        "",
        "by chance",
        "size",
        "missing then",
        "now",
        "median then",
        "now",
        "rests on it",
    ];
    format!(
        "<p>{} answers against {} rows that the checkpoint was trained on. An index above 0.1 is a \
         shift, above 0.25 a large one; the diamond marks 0.25. \u{201c}By chance\u{201d} is what it \
         stays below where nothing shifted. \u{201c}Rests on it\u{201d} is the mean reward that the \
         checkpoint loses without the feature.</p>\n{}",
        count(features.rows),
        count(features.training_rows),
        table(&head, &body)
    )
}

fn feature_row(shift: &FeatureShift, axis: &Axis) -> String {
    let size = match shift.size {
        ShiftSize::Stable => "stable",
        ShiftSize::Moderate => "moderate",
        ShiftSize::Large => "<strong>large</strong>",
    };
    let interval = Interval { low: 0.0, high: shift.psi };
    let importance = |drop: Mean| with_error(fixed(drop.mean, 4), drop.standard_error);
    let cells = [
        fixed(shift.psi, 3),
        strip(axis, 120.0, shift.psi, interval, Some(0.25)),
        fixed(shift.psi_by_chance, 3),
        size.to_owned(),
        percent(shift.missing_then, 1),
        percent(shift.missing_now, 1),
        or_dash(shift.median_then, 2),
        or_dash(shift.median_now, 2),
        shift.importance.map_or_else(|| or_dash(None, 0), importance),
    ];
    let name = escape(&shift.feature).replace('_', "_<wbr/>");
    row("other", &format!("<code>{name}</code>"), &cells)
}

pub(super) fn days(diagnosis: &Diagnosis) -> String {
    let body: String = diagnosis
        .days
        .iter()
        .map(|day| {
            let mean = |mean: Option<Mean>| {
                let shown = |mean: Mean| with_error(fixed(mean.mean, 4), mean.standard_error);
                mean.map_or_else(|| or_dash(None, 0), shown)
            };
            let lost = |part: f64| or_dash(day.reward.map(|_| part), 4);
            let cells = [
                count(day.rows),
                mean(day.reward),
                lost(day.lost.class),
                lost(day.lost.time),
                lost(day.lost.latency),
                count(day.rolling_rows),
                mean(day.rolling),
            ];
            row("other", &escape(&day.date), &cells)
        })
        .collect();
    let head = [
        "day (UTC)",
        "answers",
        "mean reward",
        "lost to class",
        "to time",
        "to latency",
        "answers of 7 days",
        "their mean reward",
    ];
    table(&head, &body)
}
