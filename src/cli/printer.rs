//! Everything that reaches the terminal goes through here: data to stdout, the rest to stderr.

use std::env;
use std::fmt::{self, Display, Write as _};
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::builder::styling::{AnsiColor, Style};
use indicatif::{MultiProgress, ProgressDrawTarget};

use super::error;

const WARNING: Style = AnsiColor::Yellow.on_default().bold();

/// When to use colors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum ColorWhen {
    /// On a terminal, unless NO_COLOR is set; anywhere if CLICOLOR_FORCE is
    #[default]
    Auto,
    /// Even into a file or a pipe
    Always,
    /// Not at all
    Never,
}

impl ColorWhen {
    /// Whether stderr gets colors.
    pub fn for_stderr(self) -> bool {
        self.decide(io::stderr().is_terminal(), |name| env::var(name).ok())
    }

    /// The conventions of no-color.org and bixense.com/clicolors, in the order in which clap, which
    /// prints the help, weighs them.
    fn decide(self, terminal: bool, variable: impl Fn(&str) -> Option<String>) -> bool {
        let is_on = |name: &str| variable(name).is_some_and(|value| value != "0");
        match self {
            ColorWhen::Always => true,
            ColorWhen::Never => false,
            ColorWhen::Auto if variable("NO_COLOR").is_some_and(|value| !value.is_empty()) => false,
            ColorWhen::Auto if is_on("CLICOLOR_FORCE") => true,
            ColorWhen::Auto if variable("CLICOLOR").is_some_and(|value| value == "0") => false,
            ColorWhen::Auto => terminal && variable("TERM").is_some_and(|term| term != "dumb"),
        }
    }
}

/// The terminal as a sub-command sees it. Clones share their state.
#[derive(Debug, Clone)]
pub struct Printer {
    quiet: bool,
    color: bool,
    bars: MultiProgress,
    /// Whether notes, warnings and errors are events of the log, for whoever reads that by program.
    to_log: bool,
    stdout_closed: Arc<AtomicBool>,
}

impl Printer {
    /// A printer without notes if `quiet`; bars are drawn if `bars` and stderr is a terminal.
    pub fn new(quiet: bool, bars: bool, color: bool) -> Self {
        let visible = bars && !quiet && io::stderr().is_terminal();
        let target =
            if visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Printer {
            quiet,
            color,
            bars: MultiProgress::with_draw_target(target),
            to_log: false,
            stdout_closed: Arc::default(),
        }
    }

    /// The same, but what went to stderr as text goes into the log.
    #[must_use]
    pub fn into_log(self, to_log: bool) -> Self {
        Printer { to_log, ..self }
    }

    /// Writes a line of data to stdout.
    ///
    /// # Errors
    /// When stdout cannot be written. If its reader has gone, return the error: it ends the program
    /// quietly.
    pub fn out(&self, text: impl Display) -> io::Result<()> {
        let written = self.bars.suspend(|| {
            let mut stdout = io::stdout().lock();
            writeln!(stdout, "{text}")?;
            stdout.flush()
        });
        self.watch(written)
    }

    /// A buffered writer to stdout for data of many lines. Flush it: what a drop writes, it writes
    /// without saying whether it could.
    pub fn stdout(&self) -> Stdout {
        Stdout { inner: BufWriter::with_capacity(1 << 16, io::stdout()), printer: self.clone() }
    }

    /// Whether stdout's reader has gone, as in `convminer ... | head`.
    pub fn stdout_closed(&self) -> bool {
        self.stdout_closed.load(Ordering::Relaxed)
    }

    /// Writes a line to stderr that the work goes on without.
    pub fn note(&self, text: impl Display) {
        let text = Lines(text);
        if self.to_log {
            tracing::info!("{text}");
        } else if !self.quiet {
            self.line(&text);
        }
    }

    /// Writes `warning: ...` to stderr.
    pub fn warn(&self, text: impl Display) {
        let text = Lines(text);
        if self.to_log {
            tracing::warn!("{text}");
            return;
        }
        let style = if self.color { WARNING } else { Style::new() };
        self.line(&format_args!("{style}warning:{style:#} {text}"));
    }

    /// Writes an error, its causes and its hints to stderr.
    pub fn error(&self, failure: &anyhow::Error) {
        if self.to_log {
            tracing::error!("{}", Lines(format_args!("{failure:#}")));
            return;
        }
        self.line(&error::render(failure, self.color));
    }

    /// Where progress bars are drawn: on stderr, and nowhere with `--quiet`, with `--verbose` or
    /// without a terminal. Use no color in a bar's template unless [`Printer::color`] says so.
    pub fn bars(&self) -> MultiProgress {
        self.bars.clone()
    }

    /// Whether stderr gets colors.
    pub fn color(&self) -> bool {
        self.color
    }

    /// A full or closed stderr is nothing that could be reported anywhere.
    fn line(&self, text: &dyn Display) {
        self.bars.suspend(|| {
            let _ = writeln!(io::stderr().lock(), "{text}");
        });
    }

    /// Remembers a broken pipe, and says what could not be written.
    fn watch<T>(&self, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| {
            if error.kind() == io::ErrorKind::BrokenPipe {
                self.stdout_closed.store(true, Ordering::Relaxed);
            }
            io::Error::new(error.kind(), format!("cannot write to stdout: {error}"))
        })
    }
}

/// Text of one line whatever is in it: control characters, which could do anything to a terminal, are
/// shown and not sent. For what strangers say.
pub(super) struct Line<T>(pub(super) T);

/// As [`Line`], but line feeds and tabs stay.
pub(super) struct Lines<T>(pub(super) T);

impl<T: Display> Display for Line<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping { to: formatter, stays: &[] }, "{}", self.0)
    }
}

impl<T: Display> Display for Lines<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping { to: formatter, stays: &['\n', '\t'] }, "{}", self.0)
    }
}

struct Escaping<'a, 'b> {
    to: &'a mut fmt::Formatter<'b>,
    stays: &'static [char],
}

impl fmt::Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.split_inclusive(char::is_control) {
            let plain = part.trim_end_matches(char::is_control);
            self.to.write_str(plain)?;
            for control in part[plain.len()..].chars() {
                match self.stays.contains(&control) {
                    true => self.to.write_char(control)?,
                    false => write!(self.to, "{}", control.escape_default())?,
                }
            }
        }
        Ok(())
    }
}

/// See [`Printer::stdout`].
#[derive(Debug)]
pub struct Stdout {
    inner: BufWriter<io::Stdout>,
    printer: Printer,
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes);
        self.printer.watch(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.inner.flush();
        self.printer.watch(flushed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn color_follows_the_conventions() {
        for (when, terminal, variables, expected) in [
            (ColorWhen::Auto, true, "TERM=xterm", true),
            (ColorWhen::Auto, false, "TERM=xterm", false),
            (ColorWhen::Auto, true, "TERM=dumb", false),
            (ColorWhen::Auto, true, "", false),
            (ColorWhen::Auto, true, "TERM=xterm NO_COLOR=1", false),
            (ColorWhen::Auto, true, "TERM=xterm NO_COLOR=", true),
            (ColorWhen::Auto, true, "TERM=xterm CLICOLOR=0", false),
            (ColorWhen::Auto, false, "CLICOLOR_FORCE=1", true),
            (ColorWhen::Auto, false, "CLICOLOR_FORCE=0", false),
            (ColorWhen::Auto, false, "CLICOLOR_FORCE=1 CLICOLOR=0", true),
            (ColorWhen::Auto, false, "CLICOLOR_FORCE=1 NO_COLOR=1", false),
            (ColorWhen::Always, false, "NO_COLOR=1", true),
            (ColorWhen::Never, true, "TERM=xterm CLICOLOR_FORCE=1", false),
        ] {
            let variable = |name: &str| {
                let mut pairs = variables.split(' ').filter_map(|pair| pair.split_once('='));
                pairs.find(|(found, _)| *found == name).map(|(_, value)| value.to_owned())
            };
            let decided = when.decide(terminal, variable);
            assert_eq!(decided, expected, "{when:?}, terminal: {terminal}, {variables}");
        }
    }

    #[test]
    fn only_a_broken_pipe_counts_as_closed() {
        let printer = Printer::new(true, true, false);
        assert!(printer.watch::<()>(Err(io::ErrorKind::StorageFull.into())).is_err());
        assert!(!printer.stdout_closed());
        assert!(printer.clone().watch::<()>(Err(io::ErrorKind::BrokenPipe.into())).is_err());
        assert!(printer.stdout_closed());
    }

    #[test]
    fn control_characters_are_shown_and_not_sent() {
        let text = "a\u{1b}[2J\n\u{9b}31m\u{7}\r\tä\u{85}\0";
        let shown = Lines(text).to_string();
        assert_eq!(shown, "a\\u{1b}[2J\n\\u{9b}31m\\u{7}\\r\tä\\u{85}\\u{0}");
        let shown = Line(text).to_string();
        assert_eq!(shown, "a\\u{1b}[2J\\n\\u{9b}31m\\u{7}\\r\\tä\\u{85}\\u{0}");
        assert_eq!(Line("").to_string(), "");
    }

    #[test]
    fn quiet_and_verbose_hide_the_bars() {
        assert!(Printer::new(true, true, false).bars().is_hidden());
        assert!(Printer::new(false, false, false).bars().is_hidden());
    }
}
