//! Where log lines go, and which of them.

use std::io::{self, Write};

use indicatif::MultiProgress;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::printer::Printer;

/// Sends log lines to stderr for the rest of the process. A second call changes nothing.
pub(super) fn start(level: LevelFilter, printer: &Printer) {
    let bars = printer.bars();
    let lines = fmt::layer()
        .with_ansi(printer.color())
        .with_writer(move || Lines { bars: bars.clone(), line: Vec::new() });
    // Only an earlier call can make it fail, and then the lines already have a way out.
    let _ = tracing_subscriber::registry().with(lines).with(targets(level)).try_init();
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
    use tracing::Level;

    use super::*;

    #[test]
    fn verbose_raises_the_level() {
        assert_eq!(level(LevelFilter::WARN, 0), LevelFilter::WARN);
        assert_eq!(level(LevelFilter::WARN, 1), LevelFilter::INFO);
        assert_eq!(level(LevelFilter::INFO, 2), LevelFilter::TRACE);
        assert_eq!(level(LevelFilter::INFO, 255), LevelFilter::TRACE);
    }

    #[test]
    fn libraries_stay_at_warnings() {
        let verbose = targets(LevelFilter::TRACE);
        assert!(verbose.would_enable("convminer::serve", &Level::TRACE));
        assert!(verbose.would_enable("wgpu_core", &Level::WARN));
        assert!(!verbose.would_enable("wgpu_core", &Level::INFO));
    }
}
