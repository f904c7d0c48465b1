//! The report as a page: one HTML file with its style and pictures in it, and no script.
//!
//! Written as XML would be, so that every element that opens also closes.

pub(crate) mod axis;
pub(crate) mod cards;
pub(crate) mod chart;
mod charts;
mod details;
pub(crate) mod tables;
pub(crate) mod text;
mod times;

use std::fmt::Write as _;

use super::{Origin, Report};
use crate::subnet::reward::ClassWeights;
use text::{count, escape, percent};

const STYLE: &str = include_str!("style.css");

/// The page of a report.
pub fn page(report: &Report) -> String {
    let title = format!("{}: convminer report", escape(&report.miner.checkpoint));
    let opening = header(report) + &cards::cards(report);
    let sections = [
        ("scores", "Scores", tables::scores(report)),
        (
            "reward",
            "Where the reward comes from",
            charts::rewards(report) + &tables::outcomes(report),
        ),
        ("separation", "Telling who converts", charts::discrimination(report)),
        ("calibration", "Whether the confidence comes true", charts::reliability(report)),
        ("times", "Time to conversion", times::times(report)),
        ("segments", "Parts of the data", tables::segments(report)),
        ("features", "What the answers rest on", tables::importance(report)),
        ("training", "Training", charts::learning(report)),
        ("details", "Details", details::details(report)),
    ];
    document(&title, &opening, &sections)
}

/// A page with a title, what stands above its sections, and the sections: a name for links, a
/// heading and the content. All of it is HTML already.
pub(crate) fn document(title: &str, opening: &str, sections: &[(&str, &str, String)]) -> String {
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <meta name=\"color-scheme\" content=\"light dark\"/>\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{opening}"
    );
    page.push_str("<nav>\n");
    for (id, title, _) in sections {
        let _ = writeln!(page, "<a href=\"#{id}\">{title}</a>");
    }
    page.push_str("</nav>\n");
    for (id, title, content) in sections {
        let _ = writeln!(page, "<section id=\"{id}\">\n<h2>{title}</h2>\n{content}</section>");
    }
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

fn header(report: &Report) -> String {
    let data = &report.data;
    let rows = match data.origin {
        Origin::Table => "rows",
        Origin::HeldOut => "rows that were held out of training",
        Origin::OutOfFold => {
            "training rows, each judged by networks that were trained without its fold"
        }
    };
    let against = report.against.as_ref().map_or_else(String::new, |other| {
        format!(", against <strong>{}</strong>", escape(&other.checkpoint))
    });
    format!(
        "<header>\n<p class=\"kind\">convminer report</p>\n<h1>{}</h1>\n\
         <p>On {}: {} {rows}, of which {} ({}) converted{against}. Reward spec {}, an answer \
         taken to need {} s, class weights {} (converts) and {} (does not).</p>\n</header>\n",
        escape(&report.miner.checkpoint),
        escape(&data.file),
        count(data.rows),
        count(data.converted),
        percent(data.converted as f64 / data.rows.max(1) as f64, 1),
        escape(&report.evaluation.reward_spec),
        report.evaluation.response_time_seconds,
        ClassWeights::START.positive,
        ClassWeights::START.negative,
    )
}

/// A sentence in place of what does not exist.
pub(crate) fn absent(sentence: &str) -> String {
    format!("<p class=\"absent\">{sentence}</p>\n")
}
