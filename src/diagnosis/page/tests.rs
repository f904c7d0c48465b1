use super::*;
use crate::diagnosis::tests::{First, no, options, resolved, yes};
use crate::diagnosis::{DiagnoseOptions, diagnose};
use crate::subnet::reward::{RewardSpec, Truth};

fn check(page: &str) {
    for word in ["http:", "https:", "<script", "<link", "<img", "@import", "url(", "NaN", "inf"] {
        let page = page.replace("infer", "");
        assert!(!page.contains(word), "{word}");
    }
    for tag in ["section", "figure", "table", "svg", "ul", "li", "p", "td", "div"] {
        let opened =
            page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
        assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
    }
}

#[test]
fn a_page_has_all_sections() {
    let first = First::new();
    let rows: Vec<_> = (0..200)
        .map(|number| match number % 3 {
            0 => {
                First::answer(number * 86_400_000_000, yes(60.0, 0.8), Truth::converted_after(62.0))
            }
            1 => First::answer(number * 86_400_000_000, no(0.2), Truth::not_converted()),
            _ => First::answer(number * 86_400_000_000, no(0.4), Truth::converted_after(f64::NAN)),
        })
        .collect();
    let page = page(&diagnose(&rows, &first.options()));
    check(&page);
    for words in [
        "id=\"verdict\"",
        "Reward along time",
        "Where it is lost",
        "Said and came true",
        "Calibration along time",
        "Coverage of the quantiles",
        "CRPS by horizon",
        "Threshold of the decision",
        "Quantile of the time",
        "oracle (the truth)",
        "By duration",
        "stability index",
        "nobody knows how long",
    ] {
        assert!(page.contains(words), "{words}");
    }
}

#[test]
fn little_and_nothing_have_a_page() {
    let one = [resolved(options(RewardSpec::GUIDE).from_ns, no(0.3), Truth::not_converted())];
    for options in [options(RewardSpec::GUIDE), First::new().options()] {
        let page = page(&diagnose(&one, &options));
        check(&page);
        assert!(page.contains("Too few answers of the checkpoint"));
    }
    let empty = page(&diagnose(&[], &options(RewardSpec::MAIN)));
    check(&empty);
    assert!(empty.contains("nothing to diagnose"));
}

#[test]
fn names_are_escaped() {
    let mut row = resolved(options(RewardSpec::MAIN).from_ns, no(0.3), Truth::not_converted());
    row.record.validator = "<b>&".to_owned();
    row.record.checkpoint = "\"<i>".to_owned();
    let options: DiagnoseOptions<'_> = options(RewardSpec::MAIN);
    let page = page(&diagnose(&[row], &options));
    assert!(!page.contains("<b>") && !page.contains("<i>"));
    assert!(page.contains("&lt;i&gt;"));
}
