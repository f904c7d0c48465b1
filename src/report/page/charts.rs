//! The charts of the page.

use super::absent;
use super::axis::Axis;
use super::chart::{Chart, SERIES, series, side_by_side};
use super::text::{count, escape, fixed, or_dash};
use crate::report::statistics::share_interval;
use crate::report::{
    CurvePoint, Discrimination, Interval, LearningCurve, LearningPoint, ReliabilityScores, Report,
};

pub(super) fn rewards(report: &Report) -> String {
    let rewards = &report.rewards;
    let points: Vec<(f64, f64)> =
        rewards.thresholds.iter().map(|point| (point.threshold, point.mean_reward)).collect();
    let values = points.iter().map(|(_, reward)| *reward);
    let y = Axis::around("mean reward", values.chain([rewards.decision]));
    let best = rewards.best_threshold;
    let half = points[points.len() / 2];
    let chart = Chart::new(
        "Reward against the threshold",
        &format!(
            "The mean reward rises to {} at a threshold of {} and is {} at 0.5; the decision by \
             expected reward earns {}.",
            fixed(best.mean_reward, 4),
            fixed(best.threshold, 2),
            fixed(half.1, 4),
            fixed(rewards.decision, 4)
        ),
        Axis::share("answer \u{201c}converts\u{201d} from this confidence on"),
        y,
    )
    .line("s2", &[(0.0, rewards.decision), (1.0, rewards.decision)])
    .line("s1", &points)
    .dots("s1", 4.5, &[half, (best.threshold, best.mean_reward)])
    .note(half, "0.5")
    .key("line s1", "with a threshold")
    .key("line s2", "with the miner\u{2019}s decision");
    let mut caption = format!(
        "The miner\u{2019}s decision weighs each row\u{2019}s chance and how well its time is known, and \
         earns {}. The best single threshold here, {}, earns {}, but it was picked on these very \
         rows.",
        fixed(rewards.decision, 4),
        fixed(best.threshold, 2),
        fixed(best.mean_reward, 4)
    );
    if report.miner.decision != "reward" {
        caption.push_str(" This miner decides by a threshold itself.");
    }
    side_by_side(&[chart.figure(&caption), losses(report)])
}

/// What each outcome loses, as bars.
fn losses(report: &Report) -> String {
    const NAMES: [&str; 4] = ["yes, right", "yes, wrong", "no, wrong", "no, right"];
    let outcomes = &report.rewards.outcomes;
    let lost: Vec<f64> = outcomes.iter().map(|outcome| outcome.lost).collect();
    let y = Axis::around("lost mean reward", lost.iter().copied().chain([0.0, 1e-4]));
    let bars: Vec<(f64, f64, f64)> = lost
        .iter()
        .enumerate()
        .map(|(index, lost)| (index as f64 + 0.2, index as f64 + 0.8, *lost))
        .collect();
    let described: Vec<String> =
        NAMES.iter().zip(&lost).map(|(name, lost)| format!("{name} {}", fixed(*lost, 4))).collect();
    Chart::new(
        "Where it is lost",
        &format!("The mean reward lost to the truth: {}.", described.join(", ")),
        Axis::new("answer", 0.0, 4.0).with_names(&NAMES),
        y,
    )
    .bars("s2", &bars)
    .figure("The mean reward that the truth itself would earn above the miner, by outcome.")
}

pub(super) fn discrimination(report: &Report) -> String {
    let Some(found) = &report.discrimination else {
        return absent("All rows have the same class, so there is nothing to tell apart.");
    };
    let other = report.against_discrimination.as_ref();
    let with_other = |chart: Chart, points: &dyn Fn(&Discrimination) -> Vec<(f64, f64)>| match other
    {
        Some(other) => chart
            .line("s2", &points(other))
            .key("line s1", "this miner")
            .key("line s2", "the other"),
        None => chart,
    };
    let interval =
        |Interval { low, high }: Interval| format!("{} to {}", fixed(low, 4), fixed(high, 4));
    let roc = |found: &Discrimination| {
        let points = found.roc.iter().map(|point| (point.x, point.y));
        [(0.0, 0.0)].into_iter().chain(points).collect::<Vec<_>>()
    };
    let area = fixed(found.auc, 4);
    let chart = Chart::new(
        "ROC",
        &format!("The ROC curve lies above the diagonal with an area of {area}."),
        Axis::share("share of the others that are taken for converted"),
        Axis::share("share of converted rows found"),
    )
    .reference((0.0, 0.0), (1.0, 1.0))
    .band("s1", &bounds(&found.roc));
    let chart = with_other(chart, &roc).line("s1", &roc(found));
    let roc_figure =
        chart.key("band s1", "95 % of resamples").key("reference", "a coin").figure(&format!(
            "The area is {area} ({}).{}",
            interval(found.auc_interval),
            other.map_or_else(String::new, |other| format!(
                " The other\u{2019}s is {}.",
                fixed(other.auc, 4)
            ),)
        ));
    let precision = |found: &Discrimination| {
        found.precision_recall.iter().map(|point| (point.x, point.y)).collect::<Vec<_>>()
    };
    let average = fixed(found.average_precision, 4);
    let chart = Chart::new(
        "Precision and recall",
        &format!("Precision falls as more converted rows are found; on average it is {average}."),
        Axis::share("share of converted rows found (recall)"),
        Axis::share("share that converted (precision)"),
    )
    .reference((0.0, found.converted_share), (1.0, found.converted_share))
    .band("s1", &bounds(&found.precision_recall));
    let chart = with_other(chart, &precision).line("s1", &precision(found));
    let caption = format!(
        "The average precision is {average} ({}); a coin has {}.{}",
        interval(found.average_precision_interval),
        fixed(found.converted_share, 4),
        other.map_or_else(String::new, |other| format!(
            " The other\u{2019}s is {}.",
            fixed(other.average_precision, 4)
        ))
    );
    let precision_figure =
        chart.key("band s1", "95 % of resamples").key("reference", "a coin").figure(&caption);
    side_by_side(&[roc_figure, precision_figure])
}

fn bounds(points: &[CurvePoint]) -> Vec<(f64, f64, f64)> {
    points.iter().map(|point| (point.x, point.low, point.high)).collect()
}

pub(super) fn reliability(report: &Report) -> String {
    let found = &report.reliability;
    let (before, after) = (fixed(found.before.ece, 4), fixed(found.after.ece, 4));
    let chart = Chart::new(
        "Said and came true",
        &format!(
            "What came true against what was said in ten bins; the mean distance from the \
             diagonal is {before} before calibration and {after} after it."
        ),
        Axis::share("said (mean of the bin)"),
        Axis::share("came true (share that converted)"),
    )
    .reference((0.0, 0.0), (1.0, 1.0));
    let is_calibrated = found.before != found.after;
    let chart = if is_calibrated { bins(chart, "s2", &found.before) } else { chart };
    let mut chart = bins(chart, "s1", &found.after);
    if is_calibrated {
        chart = chart.key("line s1", "after calibration").key("line s2", "before");
    }
    let chart = chart.key("reference", "said as it comes true");
    let scores = |scores: &ReliabilityScores| {
        format!(
            "ECE {}, log loss {}, Brier {}",
            fixed(scores.ece, 4),
            fixed(scores.log_loss, 4),
            fixed(scores.brier, 4)
        )
    };
    let compared = if is_calibrated {
        let (after, before) = (scores(&found.after), scores(&found.before));
        format!("After calibration: {after}. Before: {before}.")
    } else {
        format!("{}; calibration changes nothing.", scores(&found.after))
    };
    let diagram =
        chart.figure(&format!("{compared} Upright lines are 95 % intervals of the bins."));
    let histogram = &found.histogram;
    let width = 1.0 / histogram.len() as f64;
    let bars: Vec<(f64, f64, f64)> = histogram
        .iter()
        .enumerate()
        .map(|(index, rows)| (index as f64 * width, (index + 1) as f64 * width, *rows as f64))
        .collect();
    let most = histogram.iter().copied().max().unwrap_or(0);
    let chart = Chart::new(
        "How sure it is",
        &format!(
            "A histogram of the confidences; the fullest of its bins has {} rows.",
            count(most)
        ),
        Axis::share("confidence that is sent"),
        Axis::around("rows", [0.0, most as f64]).whole(),
    )
    .bars("s1", &bars);
    let method = escape(&report.miner.calibration);
    let histogram = chart.figure(&format!("Confidences after calibration. The method: {method}."));
    side_by_side(&[diagram, histogram])
}

/// The bins of a reliability diagram that have rows.
fn bins(chart: Chart, class: &str, scores: &ReliabilityScores) -> Chart {
    let bins: Vec<_> = scores.bins.iter().filter(|bin| bin.rows > 0).collect();
    let whiskers: Vec<(f64, f64, f64)> = bins
        .iter()
        .map(|bin| {
            let happened = (bin.came_true * bin.rows as f64).round() as usize;
            let Interval { low, high } = share_interval(happened, bin.rows);
            (bin.said, low, high)
        })
        .collect();
    let points: Vec<(f64, f64)> = bins.iter().map(|bin| (bin.said, bin.came_true)).collect();
    chart.whiskers(class, &whiskers).line(class, &points).dots(class, 4.0, &points)
}

pub(super) fn learning(report: &Report) -> String {
    if report.learning.iter().all(|curve| curve.epochs.is_empty()) {
        return absent(
            "No network was trained for this checkpoint, or its manifest does not say how.",
        );
    }
    let mut figures = Vec::new();
    for (stage, metric) in [
        ("classifier", "log loss on held-out rows"),
        ("regressor", "mean absolute error on held-out rows, s"),
    ] {
        let curves: Vec<&LearningCurve> =
            report.learning.iter().filter(|curve| curve.stage == stage).collect();
        if curves.iter().all(|curve| curve.epochs.is_empty()) {
            continue;
        }
        figures.push(learning_chart(
            &format!("Training loss of the {stage}s"),
            "mean training loss",
            &curves,
            |point| point.loss,
        ));
        figures.push(learning_chart(
            &format!("Validation of the {stage}s"),
            metric,
            &curves,
            |point| point.validation,
        ));
    }
    side_by_side(&figures)
}

fn learning_chart(
    title: &str,
    label: &str,
    curves: &[&LearningCurve],
    value: fn(&LearningPoint) -> Option<f64>,
) -> String {
    let points: Vec<Vec<(f64, f64)>> = curves
        .iter()
        .map(|curve| {
            let points = curve.epochs.iter();
            points.filter_map(|point| Some((point.number as f64, value(point)?))).collect()
        })
        .collect();
    let values: Vec<f64> = points.iter().flatten().map(|(_, value)| *value).collect();
    let epochs = curves.iter().map(|curve| curve.epochs.len()).max().unwrap_or(1).max(2);
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let mut chart = Chart::new(
        title,
        &format!("{label} by epoch of {} networks, down to {}.", curves.len(), fixed(least, 4)),
        Axis::new("epoch", 1.0, epochs as f64).whole(),
        Axis::around(label, values),
    );
    let few = curves.len() <= SERIES;
    for (number, (curve, points)) in curves.iter().zip(&points).enumerate() {
        let class = if few { series(number) } else { "s1 faint".to_owned() };
        let best: Vec<(f64, f64)> = points
            .iter()
            .copied()
            .filter(|(epoch, _)| curve.best_epoch == Some(*epoch as usize))
            .collect();
        chart = chart.line(&class, points).dots(&class, 4.5, &best);
        if few {
            let rows = count(curve.rows);
            chart = chart.key(&format!("line {class}"), &format!("{}, {rows} rows", curve.member));
        }
    }
    chart.key("dot s1", "the epoch that was kept").figure(&kept(curves, value))
}

/// Which epochs were kept, in words.
fn kept(curves: &[&LearningCurve], value: fn(&LearningPoint) -> Option<f64>) -> String {
    if curves.len() > SERIES {
        return format!("{} networks.", curves.len());
    }
    let each = curves.iter().map(|curve| {
        let name = escape(&curve.member);
        let is_best = |point: &&LearningPoint| Some(point.number) == curve.best_epoch;
        match curve.epochs.iter().find(is_best) {
            Some(best) => {
                format!("{name} after epoch {} with {}", best.number, or_dash(value(best), 4))
            }
            None => format!("{name}: nothing"),
        }
    });
    format!("Kept: {}.", each.collect::<Vec<_>>().join("; "))
}
