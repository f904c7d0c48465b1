//! The tables of the page.

use std::fmt::Write as _;

use super::absent;
use super::axis::Axis;
use super::chart::strip;
use super::text::{count, escape, fixed, or_dash, percent, signed};
use crate::report::{
    Interval, Mean, MembersAbsent, Origin, OutcomeKind, Permuted, Report, ScoreRow, Segment,
    TimeReport, Way,
};

/// Features that are shown; the others lose less than these.
const SHOWN_FEATURES: usize = 16;

/// The other miner's row, where there is one.
pub(super) fn against_row(report: &Report) -> Option<&ScoreRow> {
    report.scores.rows.iter().find(|row| row.way == Way::Against)
}

/// A table that can be moved sideways where the page is narrow.
pub(crate) fn table(head: &[&str], body: &str) -> String {
    let mut html = "<div class=\"wide\"><table>\n<thead><tr>".to_owned();
    for cell in head {
        let _ = write!(html, "<th scope=\"col\">{cell}</th>");
    }
    let _ = write!(html, "</tr></thead>\n<tbody>\n{body}</tbody>\n</table></div>\n");
    html
}

pub(crate) fn row(class: &str, name: &str, cells: &[String]) -> String {
    let mut html = format!("<tr class=\"{class}\"><th scope=\"row\">{name}</th>");
    for cell in cells {
        let _ = write!(html, "<td>{cell}</td>");
    }
    html + "</tr>\n"
}

/// A difference and its standard error.
pub(crate) fn difference(mean: f64, error: Option<f64>) -> String {
    with_error(signed(mean, 4), error)
}

pub(crate) fn with_error(mean: String, error: Option<f64>) -> String {
    let error = error.map_or_else(String::new, |error| format!(" \u{b1} {}", fixed(error, 4)));
    mean + &error
}

pub(super) fn scores(report: &Report) -> String {
    let rows = &report.scores.rows;
    let axis = Axis::around("", rows.iter().map(|row| row.reward.mean));
    let body: String = rows.iter().map(|score| score_row(score, &axis)).collect();
    let head = [
        "",
        "mean reward",
        "",
        "above this miner",
        "accuracy",
        "AUC",
        "log loss",
        "Brier",
        "ECE",
        "time MAE, s",
    ];
    let gain = report.scores.gain_over_half;
    format!(
        "<p>The reward-aware decision earns <strong>{}</strong> (standard error {}) above the same \
         confidences cut at 0.5. Differences are paired row by row, with their standard errors. \
         The dots show the mean reward with its 95 % interval.</p>\n{}<p>{}</p>\n",
        signed(gain.mean, 4),
        or_dash(gain.standard_error, 4),
        table(&head, &body),
        members(report.scores.members_absent)
    )
}

fn score_row(score: &ScoreRow, axis: &Axis) -> String {
    let class = match score.way {
        Way::Miner => "miner",
        Way::Against => "against",
        Way::Rule => "rule",
        Way::Member => "member",
        Way::Reference => "other",
    };
    let difference = |above: Mean| difference(above.mean, above.standard_error);
    let scores = &score.scores;
    let cells = [
        fixed(scores.mean_reward, 4),
        strip(axis, 110.0, score.reward.mean, score.reward.interval(), None),
        score.above_miner.map_or_else(|| or_dash(None, 0), difference),
        fixed(scores.accuracy, 4),
        or_dash(scores.auc, 4),
        fixed(scores.log_loss, 4),
        fixed(scores.brier, 4),
        fixed(scores.ece, 4),
        or_dash(scores.time_mae_seconds, 2),
    ];
    row(class, &escape(&score.name), &cells)
}

/// What is to be known of the members' scores, in HTML.
fn members(absent: Option<MembersAbsent>) -> &'static str {
    match absent {
        None => {
            "A member alone answers with the miner\u{2019}s own calibration and decision; only \
             the networks of its kind fall silent."
        }
        Some(MembersAbsent::NoNetworks) => {
            "This checkpoint has no networks: its baseline is what is calibrated and decides."
        }
        Some(MembersAbsent::OneOfEach) => {
            "The ensemble has one network of each kind, so there are no members to compare it with."
        }
        Some(MembersAbsent::RowsSeen) => {
            "Each network was trained on most of these rows, so its own score would flatter it and \
             is left out; <code>convminer report</code> on other rows has it."
        }
    }
}

pub(super) fn outcomes(report: &Report) -> String {
    let rewards = &report.rewards;
    let rows = report.data.rows.max(1) as f64;
    let mut body = String::new();
    for outcome in &rewards.outcomes {
        let name = match outcome.kind {
            OutcomeKind::TruePositive => "said yes, converted",
            OutcomeKind::FalsePositive => "said yes, did not convert",
            OutcomeKind::FalseNegative => "said no, converted",
            OutcomeKind::TrueNegative => "said no, did not convert",
        };
        let share = if rewards.lost > 0.0 { outcome.lost / rewards.lost } else { 0.0 };
        body.push_str(&row(
            "other",
            name,
            &[
                count(outcome.rows),
                percent(outcome.rows as f64 / rows, 1),
                or_dash(outcome.mean_reward, 4),
                fixed(outcome.lost, 4),
                percent(share, 1),
            ],
        ));
    }
    let head =
        ["answer and truth", "rows", "share", "mean reward", "lost to the truth", "of all losses"];
    format!(
        "<h3>What was answered, and what happened</h3>\n{}<p>Of a mean reward of {} that the truth \
         itself earns, {} is lost. Rows that were right to say yes lose by their times.</p>\n",
        table(&head, &body),
        fixed(report.evaluation.oracle.mean_reward, 4),
        fixed(rewards.lost, 4)
    )
}

pub(super) fn segments(report: &Report) -> String {
    let all = report.segments.iter().flat_map(|segmentation| &segmentation.segments);
    let axis = Axis::around(
        "",
        all.flat_map(|segment| {
            let few = segment.rows < 30;
            // Intervals of a handful of rows would press all others together.
            let low = if few { segment.reward.mean } else { segment.reward_interval.low };
            [low, segment.reward.mean, segment.oracle_reward]
        }),
    );
    let mut head = vec!["", "mean reward", "", "the truth earns", "rows", "converted", "said"];
    if report.against.is_some() {
        head.push("above the other");
    }
    let mut html = "<p>Dots are mean rewards with 95 % intervals, diamonds what the truth itself \
                    earns there: a low dot beside a low diamond is a hard part, not a bad miner. \
                    \u{201c}Said\u{201d} is the mean confidence, which of a calibrated miner is \
                    the share that converted.</p>\n"
        .to_owned();
    let mut body = String::new();
    for segmentation in &report.segments {
        let by = escape(&segmentation.by);
        let _ = writeln!(
            body,
            "<tr class=\"group\"><th scope=\"colgroup\" colspan=\"{}\">By {by}</th></tr>",
            head.len()
        );
        body.extend(segmentation.segments.iter().map(|segment| segment_row(segment, &axis)));
    }
    html.push_str(&table(&head, &body));
    html
}

fn segment_row(segment: &Segment, axis: &Axis) -> String {
    let mut cells = vec![
        fixed(segment.reward.mean, 4),
        strip(
            axis,
            220.0,
            segment.reward.mean,
            segment.reward_interval,
            Some(segment.oracle_reward),
        ),
        fixed(segment.oracle_reward, 4),
        count(segment.rows),
        percent(segment.converted as f64 / segment.rows as f64, 1),
        percent(segment.mean_confidence, 1),
    ];
    cells.extend(segment.above_against.map(|above| difference(above.mean, above.standard_error)));
    row("other", &escape(&segment.name), &cells)
}

/// The numbers of the coverage chart.
pub(super) fn coverage(times: &TimeReport) -> String {
    let rows = times.coverage.iter().map(|point| {
        let Interval { low, high } = point.interval;
        row(
            "other",
            &percent(point.level, 0),
            &[
                percent(point.below, 1),
                format!("{} to {}", percent(low, 1), percent(high, 1)),
                signed(100.0 * (point.below - point.level), 1),
            ],
        )
    });
    let head = ["quantile", "true times below", "95 % interval", "off, points"];
    format!(
        "<div>\n<h3>The same in numbers</h3>\n{}</div>\n",
        table(&head, &rows.collect::<String>())
    )
}

pub(super) fn importance(report: &Report) -> String {
    let importance = &report.importance;
    let varying: Vec<_> = importance.features.iter().filter(|feature| feature.varies).collect();
    if varying.is_empty() {
        return absent("No feature varies among these rows, so none can matter.");
    }
    if varying.iter().all(|feature| feature.drop.mean == 0.0) {
        return absent("No feature earns or loses anything when it is shuffled.");
    }
    let shown = &varying[..varying.len().min(SHOWN_FEATURES)];
    let intervals =
        shown.iter().flat_map(|feature| [feature.drop_interval.low, feature.drop_interval.high]);
    let axis = Axis::around("", intervals.chain([0.0]));
    let mut body = String::new();
    for feature in shown {
        body.push_str(&row(
            "other",
            // A narrow page may break the name at its underscores.
            &format!("<code>{}</code>", escape(&feature.feature).replace('_', "_<wbr/>")),
            &[
                with_error(fixed(feature.drop.mean, 4), feature.drop.standard_error),
                strip(&axis, 300.0, feature.drop.mean, feature.drop_interval, None),
            ],
        ));
    }
    format!(
        "<p>The mean reward that is lost when one feature\u{2019}s values are shuffled among {} \
         rows, and all that is derived from it with them; the miner earns {} on them. A feature \
         whose news another one has too loses little, even where both together matter.{}</p>\n{}",
        count(importance.rows),
        fixed(importance.reward, 4),
        remarks(report, &varying[shown.len()..], importance.features.len() - varying.len()),
        table(&["feature", "reward lost", ""], &body)
    )
}

/// What is to be known of the features that are not shown, in HTML.
fn remarks(report: &Report, others: &[&Permuted], constant: usize) -> String {
    let most = others.iter().map(|feature| feature.drop.mean).fold(0.0, f64::max);
    let mut remarks = String::new();
    if report.data.origin == Origin::OutOfFold {
        remarks.push_str(" Most of its networks were trained on these rows.");
    }
    if !others.is_empty() {
        let (others, most) = (others.len(), fixed(most, 4));
        let _ = write!(remarks, " Of the other {others}, none loses more than {most}.");
    }
    if constant > 0 {
        let _ = write!(remarks, " {constant} features have one value only here and lose nothing.");
    }
    remarks
}
