//! The charts of the times.

use super::absent;
use super::axis::Axis;
use super::chart::{Chart, side_by_side};
use super::tables;
use super::text::{count, fixed, or_dash, percent, signed};
use crate::report::statistics::quantile;
use crate::report::{CoveragePoint, PredictedTime, Report, TimeReport};
use crate::subnet::reward::TIME_WINDOW_SECONDS;

pub(super) fn times(report: &Report) -> String {
    let Some(times) = &report.times else {
        return absent("No row converted, so no time can be judged.");
    };
    let mut figures = vec![scatter(times), errors(times)];
    if times.coverage.is_empty() {
        let sentence = absent(
            "There is no distribution of times: too few converted rows were held out to fit one.",
        );
        return side_by_side(&figures) + &sentence;
    }
    figures.extend([coverage(times), tables::coverage(times)]);
    side_by_side(&figures)
}

fn scatter(times: &TimeReport) -> String {
    let at = |of: &dyn Fn(&PredictedTime) -> f64, level: f64| {
        let mut values: Vec<f64> = times.points.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        quantile(&values, level)
    };
    // Of many, without the outermost hundredth, which may be anywhere.
    let trimmed = if times.points.len() < 200 { 0.0 } else { 0.005 };
    let ends = [trimmed, 1.0 - trimmed].map(|level| {
        [at(&|point| point.predicted_seconds, level), at(&|point| point.true_seconds, level)]
    });
    let x = Axis::around("predicted time, s", ends.map(|end| end[0]));
    let y = Axis::around("true time, s", ends.map(|end| end[1]));
    let points: Vec<(f64, f64)> =
        times.points.iter().map(|point| (point.predicted_seconds, point.true_seconds)).collect();
    let outside = points.iter().filter(|(at, truth)| !(x.holds(*at) && y.holds(*truth))).count();
    let inside = |seconds: f64| x.holds(seconds);
    let spread = times.spread.iter().filter(|spread| inside(spread.predicted_seconds));
    let band: Vec<(f64, f64, f64)> = spread
        .map(|spread| (spread.predicted_seconds, spread.low_seconds, spread.high_seconds))
        .collect();
    let (low, high) = (x.low.max(y.low), x.high.min(y.high));
    let shown = times.points.len();
    let mut chart = Chart::new(
        "Predicted and true times",
        &format!("{shown} converted rows, their true time against the predicted one."),
        x,
        y,
    );
    if !band.is_empty() {
        chart = chart.band("s3", &band);
    }
    if low < high {
        chart = chart.reference((low, low), (high, high));
    }
    chart = chart.dots("s1 faint", 2.0, &points).key("dot s1", "a converted row");
    if !band.is_empty() {
        chart = chart.key("band s3", "5 % to 95 % of the predictive distribution");
    }
    let mut caption = format!("{} of {} converted rows", count(shown), count(times.rows));
    if outside > 0 {
        caption.push_str(&format!(", {outside} of them outside of the picture"));
    }
    chart.key("reference", "as predicted").figure(&(caption + "."))
}

fn errors(times: &TimeReport) -> String {
    let bars: Vec<(f64, f64, f64)> = times
        .errors
        .iter()
        .map(|bin| (bin.from_seconds, bin.to_seconds, bin.rows as f64))
        .collect();
    let (low, high) = (bars[0].0, bars[bars.len() - 1].1);
    let most = bars.iter().map(|(.., rows)| *rows).fold(0.0, f64::max);
    let within = percent(times.within_window, 1);
    let outside = if times.errors_outside > 0 {
        format!(" {} errors lie further out.", count(times.errors_outside))
    } else {
        String::new()
    };
    Chart::new(
        "Errors of the answered times",
        &format!("A histogram of the errors; {within} are less than 15 s and earn something."),
        Axis::new("answered minus true time, s", low, high),
        Axis::around("converted rows", [0.0, most]).whole(),
    )
    .zone(low.max(-TIME_WINDOW_SECONDS), high.min(TIME_WINDOW_SECONDS))
    .bars("s1", &bars)
    .borders([-TIME_WINDOW_SECONDS, TIME_WINDOW_SECONDS])
    .key("zone", "earns something")
    .figure(&format!(
        "{within} of the errors are below 15 s and earn something. The mean absolute error is {} \
         s, the median error {} s.{outside}",
        fixed(times.mae_seconds, 2),
        signed(times.median_error_seconds, 2)
    ))
}

/// How far the shares below each quantile are from where they should be.
fn coverage(times: &TimeReport) -> String {
    /// How far they may be.
    const TOLERANCE: f64 = 3.0;
    let off = |point: &CoveragePoint, share: f64| 100.0 * (share - point.level);
    let points: Vec<(f64, f64)> =
        times.coverage.iter().map(|point| (point.level, off(point, point.below))).collect();
    let whiskers: Vec<(f64, f64, f64)> = times
        .coverage
        .iter()
        .map(|point| (point.level, off(point, point.interval.low), off(point, point.interval.high)))
        .collect();
    let furthest = points.iter().map(|(_, off)| off.abs()).fold(0.0, f64::max);
    let ends = whiskers.iter().flat_map(|(_, low, high)| [*low, *high]);
    Chart::new(
        "Coverage of the quantiles",
        &format!(
            "How much more true times than nominal lie below each quantile, at most {} points \
             off.",
            fixed(furthest, 1)
        ),
        Axis::share("level of the quantile"),
        Axis::around("measured minus nominal, points", ends.chain([-4.0, 4.0])),
    )
    .band("tolerance", &[(0.0, -TOLERANCE, TOLERANCE), (1.0, -TOLERANCE, TOLERANCE)])
    .reference((0.0, 0.0), (1.0, 0.0))
    .whiskers("s3", &whiskers)
    .dots("s3", 4.0, &points)
    .key("dot s3", "measured, with 95 % intervals")
    .key("band tolerance", "within 3 points")
    .figure(&format!(
        "The furthest is {} points off. CRPS {} s.",
        fixed(furthest, 1),
        or_dash(times.crps_seconds, 2)
    ))
}
