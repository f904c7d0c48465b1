//! Errors as a person sees them: what failed, why, and what to do about it.

use std::error::Error;
use std::fmt::{self, Write as _};

use clap::builder::styling::{AnsiColor, Style};

use super::printer::Lines;

/// Adds advice to an error.
pub trait WithHint<T> {
    /// Says what the user can do about the error, if there is one. The hint is printed on a line of
    /// its own, below the error and its causes.
    fn with_hint<H: fmt::Display>(self, hint: impl FnOnce() -> H) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> WithHint<T> for Result<T, E> {
    fn with_hint<H: fmt::Display>(self, hint: impl FnOnce() -> H) -> anyhow::Result<T> {
        self.map_err(|error| {
            Hinted { hint: hint().to_string(), error: error.into().into_boxed_dyn_error() }.into()
        })
    }
}

/// An error with advice. It takes the place of the error in the chain of causes, so that the hint
/// never shows up as a cause.
#[derive(Debug)]
struct Hinted {
    hint: String,
    error: Box<dyn Error + Send + Sync>,
}

impl fmt::Display for Hinted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(formatter)
    }
}

impl Error for Hinted {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

const ERROR: Style = AnsiColor::Red.on_default().bold();
const CAUSE: Style = AnsiColor::Red.on_default();
const HINT: Style = AnsiColor::Cyan.on_default().bold();

/// The error as text of several lines, without a line feed at the end.
pub(super) fn render(error: &anyhow::Error, color: bool) -> String {
    let mut text = String::new();
    let mut previous = String::new();
    for (depth, cause) in error.chain().enumerate() {
        let message = cause.to_string();
        // Some libraries repeat their source at the end of their own message.
        if depth > 0 && previous.ends_with(&message) {
            continue;
        }
        let (indent, label, style) =
            if depth == 0 { ("", "error:", ERROR) } else { ("\n  ", "caused by:", CAUSE) };
        push_labelled(&mut text, indent, label, color.then_some(style), &message);
        previous = message;
    }
    for hinted in error.chain().filter_map(|cause| cause.downcast_ref::<Hinted>()) {
        push_labelled(&mut text, "\n", "hint:", color.then_some(HINT), &hinted.hint);
    }
    text
}

/// Appends `label` and `message`; the message's further lines are indented below the first.
fn push_labelled(
    text: &mut String,
    indent: &str,
    label: &str,
    style: Option<Style>,
    message: &str,
) {
    let message = Lines(message.trim_end()).to_string().replace('\n', "\n    ");
    let style = style.unwrap_or_default();
    write!(text, "{indent}{style}{label}{style:#} {message}")
        .expect("a String takes any text. This is a bug.");
}

#[cfg(test)]
mod tests {
    use anyhow::{Context as _, anyhow};

    use super::*;

    #[test]
    fn causes_and_hints_have_lines_of_their_own() {
        let error = Err::<(), _>(anyhow!("disk is full"))
            .context("cannot write `a.json`")
            .with_hint(|| "free some space")
            .context("training stopped")
            .unwrap_err();
        insta::assert_snapshot!(render(&error, false), @"
        error: training stopped
          caused by: cannot write `a.json`
          caused by: disk is full
        hint: free some space
        ");
    }

    #[test]
    fn a_repeated_cause_is_said_once() {
        let error = anyhow!("no such file").context("cannot read `x`: no such file");
        assert_eq!(render(&error, false), "error: cannot read `x`: no such file");
    }

    #[test]
    fn further_lines_are_indented() {
        assert_eq!(render(&anyhow!("one\ntwo\n"), false), "error: one\n    two");
    }

    #[test]
    fn color_is_in_the_labels_alone() {
        assert_eq!(render(&anyhow!("no"), true), "\u{1b}[1m\u{1b}[31merror:\u{1b}[0m no");
    }
}
