//! Where log lines go, what they look like, and which of them there are.

use std::io::{self, Write};

use indicatif::MultiProgress;
use tracing::Subscriber;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::printer::Printer;

/// The arguments about the log, of every command.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct LogArgs {
    /// Write the log for people, or as a JSON object a line
    #[arg(
        long = "log.format",
        global = true,
        value_name = "human|json",
        default_value = "human",
        hide_possible_values = true
    )]
    log_format: LogFormat,
}

impl LogArgs {
    /// Whether the log is read by programs, which then should find all in it.
    pub(super) fn is_for_programs(self) -> bool {
        self.log_format == LogFormat::Json
    }
}

/// What a line of the log looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum LogFormat {
    /// Time, level, place and words, in colors on a terminal
    Human,
    /// A JSON object with the keys timestamp, level, target, message and what else is known
    Json,
}

/// Sends log lines to stderr for the rest of the process. A second call changes nothing.
pub(super) fn start(args: LogArgs, level: LevelFilter, printer: &Printer) {
    let bars = printer.bars();
    let writer = move || Lines { bars: bars.clone(), line: Vec::new() };
    // Only an earlier call can make it fail, and then the lines already have a way out.
    let _ = subscriber(args.log_format, level, printer.color(), writer).try_init();
}

fn subscriber<W>(
    format: LogFormat,
    level: LevelFilter,
    color: bool,
    writer: W,
) -> impl Subscriber + Send + Sync
where
    W: for<'writer> MakeWriter<'writer> + Clone + Send + Sync + 'static,
{
    let human = (format == LogFormat::Human)
        .then(|| fmt::layer().with_ansi(color).with_writer(writer.clone()));
    let json = (format == LogFormat::Json).then(|| {
        // What an event knows stands beside its message, where collectors of logs look for it.
        let lines = fmt::layer().json().flatten_event(true);
        lines.with_current_span(false).with_span_list(false).with_ansi(false).with_writer(writer)
    });
    tracing_subscriber::registry().with(human).with(json).with(targets(level))
}

/// `steps` more than `base`, as `-v` and `-vv` ask for.
pub(super) fn level(base: LevelFilter, steps: u8) -> LevelFilter {
    const LEVELS: [LevelFilter; 6] = [
        LevelFilter::OFF,
        LevelFilter::ERROR,
        LevelFilter::WARN,
        LevelFilter::INFO,
        LevelFilter::DEBUG,
        LevelFilter::TRACE,
    ];
    let start = LEVELS.iter().position(|level| *level == base).unwrap_or(0);
    LEVELS[(start + usize::from(steps)).min(LEVELS.len() - 1)]
}

/// `level` for this crate; what the libraries below it say is worth reading from a warning on.
fn targets(level: LevelFilter) -> Targets {
    Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target(env!("CARGO_CRATE_NAME"), level)
}

/// One log event, written in one piece and without tearing a progress bar.
struct Lines {
    bars: MultiProgress,
    line: Vec<u8>,
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let line = std::mem::take(&mut self.line);
        self.bars.suspend(|| io::stderr().lock().write_all(&line))
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        // A closed stderr is nothing that could be reported anywhere.
        let _ = self.flush();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::Level;

    use super::*;

    #[test]
    fn verbose_raises_the_level() {
        assert_eq!(level(LevelFilter::WARN, 0), LevelFilter::WARN);
        assert_eq!(level(LevelFilter::WARN, 1), LevelFilter::INFO);
        assert_eq!(level(LevelFilter::INFO, 2), LevelFilter::TRACE);
        assert_eq!(level(LevelFilter::INFO, 255), LevelFilter::TRACE);
    }

    /// Keeps what is written.
    #[derive(Debug, Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, color: bool) -> String {
        let kept = Kept::default();
        let writer = kept.clone();
        let log = subscriber(format, LevelFilter::INFO, color, move || writer.clone());
        tracing::subscriber::with_default(log, || {
            let odd = "a \"b\"\n{\u{1b}[31m}";
            tracing::info!(hotkey = "5Grw", requests = 3, odd, "summary");
            tracing::debug!("nobody asked for this");
        });
        let text = kept.0.lock().unwrap().clone();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_line_is_a_json_object() {
        for color in [false, true] {
            let text = logged(LogFormat::Json, color);
            assert_eq!(text.lines().count(), 1, "{text}");
            let line: serde_json::Value = serde_json::from_str(&text).unwrap();
            for (key, expected) in [
                ("level", serde_json::json!("INFO")),
                ("message", "summary".into()),
                ("hotkey", "5Grw".into()),
                ("requests", 3.into()),
                ("odd", "a \"b\"\n{\u{1b}[31m}".into()),
            ] {
                assert_eq!(line[key], expected, "{key}");
            }
            assert!(line["timestamp"].is_string() && line["target"].is_string(), "{line}");
        }
    }

    #[test]
    fn a_line_for_people_has_colors_only_where_they_are_wanted() {
        let plain = logged(LogFormat::Human, false);
        assert!(plain.contains(" INFO ") && plain.contains("summary"), "{plain}");
        assert!(!plain.contains('\u{1b}'), "{plain:?}");
        assert!(logged(LogFormat::Human, true).contains('\u{1b}'));
    }

    #[test]
    fn libraries_stay_at_warnings() {
        let verbose = targets(LevelFilter::TRACE);
        assert!(verbose.would_enable("convminer::serve", &Level::TRACE));
        assert!(verbose.would_enable("wgpu_core", &Level::WARN));
        assert!(!verbose.would_enable("wgpu_core", &Level::INFO));
    }
}
