//! The diagnosis as a page: one HTML file with its style and pictures in it, and no script.

mod charts;
mod tables;

use super::{Check, Diagnosis};
use crate::report::page::cards::{Card, grid};
use crate::report::page::text::{count, escape, fixed, or_dash, percent};
use crate::report::page::{absent, document};

/// The page of a diagnosis.
pub fn page(diagnosis: &Diagnosis) -> String {
    let title = format!("{} to {}: convminer diagnosis", day(&diagnosis.from), day(&diagnosis.to));
    let mut opening = header(diagnosis);
    if diagnosis.points == 0 {
        let sentence =
            "No answer of this window has a known truth, so there is nothing to diagnose.";
        return document(&title, &(opening + &absent(sentence)), &[]);
    }
    opening.push_str(&grid(cards(diagnosis)));
    let sections = [
        ("verdict", "Has anything drifted?", verdict(diagnosis)),
        (
            "reward",
            "Where the reward goes",
            charts::rewards(diagnosis) + &tables::lost(diagnosis) + &tables::compared(diagnosis),
        ),
        ("calibration", "Whether the confidence comes true", charts::calibration(diagnosis)),
        ("times", "Time to conversion", charts::times(diagnosis) + &tables::horizons(diagnosis)),
        ("settings", "What other settings would have earned", charts::shifts(diagnosis)),
        ("validators", "Who asked", tables::validators(diagnosis)),
        ("segments", "Kinds of conversations", tables::segments(diagnosis)),
        ("features", "What is asked against what was trained on", tables::features(diagnosis)),
        ("days", "Day by day", tables::days(diagnosis)),
        ("details", "How to read this", details(diagnosis)),
    ];
    document(&title, &opening, &sections)
}

/// The day of a moment as RFC 3339 has it.
fn day(moment: &str) -> &str {
    moment.get(..10).unwrap_or(moment)
}

fn header(diagnosis: &Diagnosis) -> String {
    let against = diagnosis.checkpoint.as_ref().map_or_else(
        || "There is no checkpoint to compare with".to_owned(),
        |name| format!("Compared with checkpoint <strong>{}</strong>", escape(name)),
    );
    let share = diagnosis.converted as f64 / diagnosis.points.max(1) as f64;
    let converted = if diagnosis.points == 0 {
        String::new()
    } else {
        format!(", of which {} ({}) converted", count(diagnosis.converted), percent(share, 1))
    };
    format!(
        "<header>\n<p class=\"kind\">convminer diagnosis</p>\n<h1>{} to {}</h1>\n\
         <p>{} answers with a known truth{converted}. Reward spec {}. {against}.</p>\n</header>\n",
        day(&diagnosis.from),
        day(&diagnosis.to),
        count(diagnosis.points),
        escape(&diagnosis.reward_spec),
    )
}

fn cards(diagnosis: &Diagnosis) -> Vec<Card> {
    let lost = &diagnosis.lost;
    let error = diagnosis.mean_reward_error;
    let with = |error: Option<f64>, decimals| {
        error.map_or_else(String::new, |error| format!("\u{b1} {}; ", fixed(error, decimals)))
    };
    let most = lost.most.max(f64::MIN_POSITIVE);
    let part = |name, part: f64, remark: &str| Card {
        name,
        value: fixed(part, 4),
        remark: format!("{} of the most possible; {remark}", percent(part / most, 1)),
    };
    let rolling = diagnosis.days.last().and_then(|day| day.rolling);
    let mut cards = vec![
        Card {
            name: "mean reward",
            value: or_dash(diagnosis.mean_reward, 4),
            remark: format!(
                "{}the truth itself earns up to {}",
                with(error, 4),
                fixed(lost.most, 4)
            ),
        },
        Card {
            name: "last 7 days",
            value: or_dash(rolling.map(|mean| mean.mean), 4),
            remark: with(rolling.and_then(|mean| mean.standard_error), 4) + "rolling mean reward",
        },
        part("lost to class", lost.class, "wrong yes or no"),
        part(
            "lost to time",
            lost.time,
            &format!("{} of it by saying no", fixed(lost.time_unanswered, 4)),
        ),
        part("lost to latency", lost.latency, "how long answers took"),
    ];
    if lost.confidence > 0.0 {
        cards.push(part("lost to confidence", lost.confidence, "the spec pays for it"));
    }
    cards.extend(qualities(diagnosis));
    cards
}

fn qualities(diagnosis: &Diagnosis) -> Vec<Card> {
    let mut cards = Vec::new();
    if let Some(calibration) = &diagnosis.calibration {
        cards.push(Card {
            name: "calibration error",
            value: fixed(calibration.sent.ece, 4),
            remark: format!(
                "up to {} is chance; validation {}",
                fixed(calibration.by_chance.high, 4),
                or_dash(calibration.validation_ece, 4)
            ),
        });
    }
    let crps = diagnosis.times.all.crps_seconds;
    cards.push(Card {
        name: "CRPS of the time",
        value: crps.map_or_else(|| or_dash(None, 0), |crps| format!("{} s", fixed(crps.mean, 2))),
        remark: format!(
            "{}{} times; validation {} s",
            crps.map_or_else(String::new, |crps| with_seconds(crps.standard_error)),
            count(diagnosis.times.all.rows),
            or_dash(diagnosis.times.validation_crps_seconds, 2)
        ),
    });
    cards
}

fn with_seconds(error: Option<f64>) -> String {
    error.map_or_else(String::new, |error| format!("\u{b1} {}; ", fixed(error, 2)))
}

fn verdict(diagnosis: &Diagnosis) -> String {
    let answer = if diagnosis.drifted {
        "<p><strong>Yes.</strong> Learning should look at it.</p>\n"
    } else {
        "<p><strong>No</strong>, as far as it could be looked at.</p>\n"
    };
    let line = |check: &Check| {
        let sign = match (check.drifted, check.found) {
            (true, _) => "<strong>drifted</strong>",
            (false, Some(_)) => "fine",
            (false, None) => "not known",
        };
        // A narrow page may break long names at their underscores.
        let words = escape(&check.words).replace('_', "_<wbr/>");
        format!("<li>{sign} \u{2013} {words}</li>\n")
    };
    let lines: String = diagnosis.checks.iter().map(line).collect();
    format!("{answer}<ul>\n{lines}</ul>\n")
}

fn details(diagnosis: &Diagnosis) -> String {
    format!(
        "<p>The most possible is what the truth itself earns when it is answered in no time. What \
         was lost to class, to time, to latency and, where the spec pays for it, to confidence is \
         the rest of it, part by part. What the best possible model would have earned is between \
         the two, and cannot be known from a journal: only who made a conversation up knows its \
         chances.</p>\n\
         <p>Each validator\u{2019}s class weights are counted from the beginning of the window. The \
         CRPS is that of the logged quantiles as a sample. Bands and intervals are at 95 %. {} Made \
         {} by convminer {}; <code>convminer diagnose --json</code> prints all numbers.</p>\n{}",
        if diagnosis.time_unknown == 0 {
            String::new()
        } else {
            format!(
                "{} conversations converted after nobody knows how long; no time is judged by them.",
                count(diagnosis.time_unknown)
            )
        },
        escape(&diagnosis.made),
        escape(&diagnosis.convminer_version),
        diagnosis
            .notes
            .iter()
            .map(|note| format!("<p>{}.</p>\n", escape(note)))
            .collect::<String>()
    )
}

#[cfg(test)]
mod tests;
