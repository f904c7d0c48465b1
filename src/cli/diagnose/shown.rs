//! What `convminer diagnose` prints.

use std::fmt::{Display, Write as _};

use crate::diagnosis::{Diagnosis, Part, Shift, ShiftSize};
use crate::report::Mean;

/// Features that are shown; the page has more.
const SHOWN_FEATURES: usize = 5;
/// How wide a name may be.
const NAME_WIDTH: usize = 26;

/// For people, at most 80 columns wide.
pub(super) fn as_text(diagnosis: &Diagnosis) -> String {
    let mut text = Text(String::new());
    opening(&mut text, diagnosis);
    compared(&mut text, diagnosis);
    calibration(&mut text, diagnosis);
    times(&mut text, diagnosis);
    shifts(&mut text, diagnosis);
    parts(&mut text, diagnosis);
    days(&mut text, diagnosis);
    features(&mut text, diagnosis);
    verdict(&mut text, diagnosis);
    text.0.trim_end().to_owned()
}

struct Text(String);

impl Text {
    fn line(&mut self, line: impl Display) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "{line}");
    }

    fn heading(&mut self, heading: &str) {
        self.line("");
        self.line(heading);
    }
}

/// A number with four decimals; a dash for nothing.
fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"))
}

/// A mean with its standard error.
fn with_error(mean: Mean, decimals: usize) -> String {
    let error = mean.standard_error;
    let error = error.map_or_else(String::new, |error| format!(" +- {error:.decimals$}"));
    format!("{}{error}", rounded(mean.mean, decimals))
}

/// A number with so many decimals, and no minus where they are all 0.
fn rounded(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    let is_zero = text.bytes().all(|byte| matches!(byte, b'-' | b'0' | b'.'));
    if is_zero { text.trim_start_matches('-').to_owned() } else { text }
}

/// A name that fits, with its end where it does not.
fn name(name: &str) -> String {
    let length = name.chars().count();
    if length <= NAME_WIDTH {
        return name.to_owned();
    }
    let first: String = name.chars().take(NAME_WIDTH - 9).collect();
    let last: String = name.chars().skip(length - 6).collect();
    format!("{first}...{last}")
}

fn opening(text: &mut Text, diagnosis: &Diagnosis) {
    let (points, converted) = (diagnosis.points, diagnosis.converted);
    let (from, to) = (&diagnosis.from, &diagnosis.to);
    text.line(format_args!("{from} to {to}, reward spec {}", diagnosis.reward_spec));
    text.line(format_args!("{points} answers with a known truth, {converted} converted"));
    text.heading("reward                         mean   of the most");
    let lost = &diagnosis.lost;
    let mut lines = vec![
        ("the most possible", lost.most),
        ("lost to class", lost.class),
        ("lost to time", lost.time),
        ("  of it by saying no", lost.time_unanswered),
        ("lost to latency", lost.latency),
    ];
    if lost.confidence > 0.0 {
        lines.push(("lost to confidence", lost.confidence));
    }
    for (name, part) in lines {
        let share = 100.0 * part / lost.most.max(f64::MIN_POSITIVE);
        text.line(format_args!("{name:<NAME_WIDTH$} {part:>8.4}   {share:>9.1} %"));
    }
    let mean = diagnosis
        .mean_reward
        .map(|mean| with_error(Mean { mean, standard_error: diagnosis.mean_reward_error }, 4));
    text.line(format_args!("{:<NAME_WIDTH$}   {}", "mean reward", mean.unwrap_or_default()));
}

fn compared(text: &mut Text, diagnosis: &Diagnosis) {
    text.heading("other ways to answer           mean   answered above it");
    for one in diagnosis.compared.iter().skip(1) {
        let above = one.answered_above.map_or_else(String::new, |above| with_error(above, 4));
        let (name, mean) = (name(&one.name), one.reward.mean);
        text.line(format_args!("{name:<NAME_WIDTH$} {mean:>8.4}   {above}"));
    }
}

fn calibration(text: &mut Text, diagnosis: &Diagnosis) {
    let Some(found) = &diagnosis.calibration else { return };
    text.heading("confidence                      ECE    Brier  log loss");
    let lines = [
        ("as sent", Some(&found.sent)),
        ("checkpoint's own", found.checkpoint.as_ref()),
        ("before calibration", found.raw.as_ref()),
    ];
    for (name, scores) in lines {
        let Some(scores) = scores else { continue };
        let (ece, brier, log_loss) = (scores.ece, scores.brier, scores.log_loss);
        text.line(format_args!("{name:<NAME_WIDTH$} {ece:>8.4} {brier:>8.4}  {log_loss:>8.4}"));
    }
    let validation = [found.validation_ece, found.validation_brier, found.validation_log_loss];
    if validation.iter().any(Option::is_some) {
        let [ece, brier, log_loss] = validation.map(number);
        text.line(format_args!(
            "{:<NAME_WIDTH$} {ece:>8} {brier:>8}  {log_loss:>8}",
            "in validation"
        ));
    }
    let high = found.by_chance.high;
    text.line(format_args!("(an ECE of up to {high:.4} is chance, with so many answers)"));
}

fn times(text: &mut Text, diagnosis: &Diagnosis) {
    let times = &diagnosis.times;
    if times.all.rows == 0 {
        return;
    }
    text.heading("time              answers      CRPS, s   below 5 %  below 50 %  below 95 %");
    let horizons = times.horizons.iter().map(|horizon| (horizon.name.as_str(), &horizon.scores));
    for (name, scores) in [("all", &times.all)].into_iter().chain(horizons) {
        let below = |level: f64| {
            let covered = scores.coverage.iter().find(|covered| covered.level == level);
            covered
                .map_or_else(|| "-".to_owned(), |covered| format!("{:.1} %", 100.0 * covered.below))
        };
        let crps = scores.crps_seconds.map_or_else(|| "-".to_owned(), |crps| with_error(crps, 2));
        text.line(format_args!(
            "{name:<17} {:>7} {crps:>12}  {:>10} {:>11} {:>11}",
            scores.rows,
            below(0.05),
            below(0.5),
            below(0.95)
        ));
    }
    text.line("short is below 60 s, long above 300 s");
}

fn shifts(text: &mut Text, diagnosis: &Diagnosis) {
    let all = [
        ("threshold offset", &diagnosis.best_threshold_offset),
        ("time quantile shift", &diagnosis.best_time_quantile_shift),
    ];
    if all.iter().all(|(_, shift)| shift.is_none()) {
        return;
    }
    text.heading("setting                        best   it would have earned more");
    for (name, shift) in all {
        let Some(Shift { value, gain, judged_on, .. }) = shift else { continue };
        let gain = with_error(*gain, 4);
        text.line(format_args!(
            "{name:<NAME_WIDTH$} {value:>+8.3}   {gain}, on {judged_on} answers"
        ));
    }
}

fn parts(text: &mut Text, diagnosis: &Diagnosis) {
    let validators = diagnosis.validators.iter().map(|validator| &validator.part).collect();
    let segments = diagnosis.segments.iter().map(|partition| {
        (format!("by {}", partition.by), partition.parts.iter().collect::<Vec<&Part>>())
    });
    for (by, parts) in [("by validator".to_owned(), validators)].into_iter().chain(segments) {
        text.heading(&format!("{by:<NAME_WIDTH$} answers    mean reward    to class    to time"));
        for part in parts {
            text.line(format_args!(
                "{:<NAME_WIDTH$} {:>7} {:>14} {:>11.4} {:>10.4}",
                name(&part.name),
                part.rows,
                with_short_error(part.reward),
                part.lost.class,
                part.lost.time
            ));
        }
    }
}

fn with_short_error(mean: Mean) -> String {
    let error = mean.standard_error;
    let error = error.map_or_else(String::new, |error| format!(" +- {error:.3}"));
    format!("{:.3}{error}", mean.mean)
}

fn days(text: &mut Text, diagnosis: &Diagnosis) {
    text.heading("day (UTC)    answers     reward   of 7 days:  answers     reward");
    for day in &diagnosis.days {
        text.line(format_args!(
            "{}   {:>7} {:>10} {:>20} {:>10}",
            day.date,
            day.rows,
            number(day.reward.map(|mean| mean.mean)),
            day.rolling_rows,
            number(day.rolling.map(|mean| mean.mean))
        ));
    }
}

fn features(text: &mut Text, diagnosis: &Diagnosis) {
    let features = &diagnosis.features;
    if features.not_available.is_some() {
        return;
    }
    text.heading("feature                            index  by chance  size      missing     now");
    for shift in features.features.iter().take(SHOWN_FEATURES) {
        let size = match shift.size {
            ShiftSize::Stable => "stable",
            ShiftSize::Moderate => "moderate",
            ShiftSize::Large => "large",
        };
        text.line(format_args!(
            "{:<33} {:>6.3}    {:>7.3}  {size:<9} {:>5.1} %  {:>5.1} %",
            shift.feature,
            shift.psi,
            shift.psi_by_chance,
            100.0 * shift.missing_then,
            100.0 * shift.missing_now
        ));
    }
}

fn verdict(text: &mut Text, diagnosis: &Diagnosis) {
    text.heading(if diagnosis.drifted { "drifted: yes" } else { "drifted: no" });
    for check in &diagnosis.checks {
        text.line(wrapped(&check.words));
    }
}

/// Words in lines that fit, the first one begun with a dash.
fn wrapped(words: &str) -> String {
    const WIDTH: usize = 78;
    let mut lines = vec![String::new()];
    for word in words.split(' ') {
        let last = lines.last_mut().expect("there is a line. This is a bug.");
        if last.is_empty() {
            last.push_str(word);
        } else if last.chars().count() + 1 + word.chars().count() <= WIDTH {
            last.push(' ');
            last.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    format!("- {}", lines.join("\n  "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_has_no_sign() {
        for (value, expected) in [(-0.00001, "0.0000"), (-0.0001, "-0.0001"), (0.5, "0.5000")] {
            assert_eq!(rounded(value, 4), expected);
        }
        assert_eq!(with_error(Mean { mean: -0.0, standard_error: Some(0.1) }, 1), "0.0 +- 0.1");
    }

    #[test]
    fn names_and_words_fit() {
        assert_eq!(name("short"), "short");
        let long = name("5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY");
        assert_eq!(long, "5GrwvaEF5zXb26Fz9...GKutQY");
        let text = wrapped(&"word ".repeat(40));
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert_eq!(wrapped("a b"), "- a b");
    }
}
