//! Learning while serving: a process of its own that gives way to this one.

use std::ffi::OsString;
use std::io::{self, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cli::learn::hours;

/// How often it is looked whether learning is due.
const LOOK: Duration = Duration::from_secs(3600);
/// How long after the start it is looked first: a miner that is just starting has other things to do.
const FIRST: Duration = Duration::from_secs(60);
/// How often it is looked whether the process has ended, or must.
const TICK: Duration = Duration::from_millis(250);
/// A process that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(3600);

/// What is learned on.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Learning")]
pub(super) struct LearningArgs {
    /// Learn on from what really happened, every so many hours or when something has drifted, and
    /// serve what proves better [default without a number: 24]
    #[arg(long, value_name = "HOURS", num_args = 0..=1, default_missing_value = "24",
          require_equals = true, value_parser = hours)]
    learn: Option<f64>,
}

impl LearningArgs {
    /// The hours between two times, if it is to be learned at all.
    pub(super) fn every_hours(&self) -> Option<f64> {
        self.learn
    }
}

/// What the process is told.
#[derive(Debug, Clone)]
pub(super) struct Lessons {
    /// Hours between two times.
    pub(super) every_hours: f64,
    /// The folder of what was answered.
    pub(super) journal: PathBuf,
    /// The folder of what really happened.
    pub(super) outcomes: PathBuf,
    /// The folder of what is remembered.
    pub(super) state: PathBuf,
}

/// Lets a process learn whenever it is due, until it is dropped: then the process is ended.
#[derive(Debug)]
pub(super) struct Learner {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Learner {
    /// Begins.
    ///
    /// # Errors
    ///
    /// If there is no thread to be had.
    pub(super) fn start(lessons: Lessons) -> io::Result<Learner> {
        let (stop, stopped) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("learner".to_owned())
            .spawn(move || follow(&lessons, &stopped, FIRST.min(LOOK)))?;
        Ok(Learner { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Learner {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It ends its process first.
            let _ = thread.join();
        }
    }
}

fn follow(lessons: &Lessons, stopped: &Receiver<()>, first: Duration) {
    let mut wait = first;
    while matches!(stopped.recv_timeout(wait), Err(RecvTimeoutError::Timeout)) {
        match lesson(lessons.command(), stopped) {
            Ok(Some(ended)) => ended.tell(),
            Ok(None) => return,
            Err(error) => tracing::warn!(%error, "no process to learn could be started"),
        }
        wait = LOOK;
    }
}

impl Lessons {
    /// The same program, told to learn if it is due.
    fn command(&self) -> io::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["learn", "--low-priority", "--json", "--color=never"]);
        command.arg(format!("--every-hours={}", self.every_hours));
        for (flag, folder) in [
            ("--journal.dir=", &self.journal),
            ("--outcomes=", &self.outcomes),
            ("--state-dir=", &self.state),
        ] {
            // As one argument: a folder may begin with a dash.
            let mut argument = OsString::from(flag);
            argument.push(folder);
            command.arg(argument);
        }
        Ok(command)
    }
}

/// What a process left.
struct Ended {
    status: ExitStatus,
    stdout: String,
    stderr: String,
}

/// Waits for a process; none if it was ended because the miner stops.
fn lesson(command: io::Result<Command>, stopped: &Receiver<()>) -> io::Result<Option<Ended>> {
    let mut child =
        command?.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (stdout, stderr) = (reading(child.stdout.take()), reading(child.stderr.take()));
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        let is_stopped = !matches!(stopped.recv_timeout(TICK), Err(RecvTimeoutError::Timeout));
        if is_stopped || started.elapsed() > LIMIT {
            let status = end(&mut child)?;
            if is_stopped {
                return Ok(None);
            }
            break status;
        }
    };
    let read = |thread: JoinHandle<String>| thread.join().unwrap_or_default();
    Ok(Some(Ended { status, stdout: read(stdout), stderr: read(stderr) }))
}

/// What it writes is whole or not there, so it may end at any time.
fn end(child: &mut Child) -> io::Result<ExitStatus> {
    // An error means that it has ended by itself.
    let _ = child.kill();
    child.wait()
}

/// Reads on a thread of its own: a full pipe would stop the process.
fn reading(from: Option<impl Read + Send + 'static>) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut text = Vec::new();
        if let Some(mut from) = from {
            // What was read until an error is told.
            let _ = from.read_to_end(&mut text);
        }
        String::from_utf8_lossy(&text).into_owned()
    })
}

impl Ended {
    fn tell(&self) {
        for line in self.stderr.lines().filter(|line| !line.trim().is_empty()) {
            tracing::warn!("learning: {line}");
        }
        if !self.status.success() {
            tracing::warn!(status = %self.status, "learning failed; the miner goes on as it is");
            return;
        }
        let step: Value = serde_json::from_str(&self.stdout).unwrap_or_default();
        let text = |name: &str| step[name].as_str().unwrap_or_default().to_owned();
        let outcome = text("outcome");
        if outcome == "not_due" {
            tracing::debug!("learning was not due");
            return;
        }
        let reasons = step["reasons"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let reasons = reasons.collect::<Vec<_>>().join("; ");
        tracing::info!(outcome, served = text("champion"), reasons, "learning");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> io::Result<Command> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Ok(command)
    }

    #[test]
    fn what_a_process_says_is_heard() {
        let (_stop, stopped) = mpsc::channel();
        // More than a pipe holds.
        let script = "head -c 300000 /dev/zero | tr '\\0' x; echo oh >&2; exit 3";
        let ended = lesson(shell(script), &stopped).unwrap().unwrap();
        assert_eq!(ended.stdout.len(), 300_000);
        assert_eq!((ended.stderr.as_str(), ended.status.code()), ("oh\n", Some(3)));
    }

    #[test]
    fn a_stop_ends_the_process() {
        let (stop, stopped) = mpsc::channel::<()>();
        drop(stop);
        assert!(lesson(shell("exec sleep 1000"), &stopped).unwrap().is_none());
    }

    #[test]
    fn what_the_process_is_told_is_understood() {
        use clap::Parser as _;

        let lessons = Lessons {
            every_hours: 6.5,
            journal: "a b".into(),
            outcomes: "c".into(),
            state: "-d".into(),
        };
        let command = lessons.command().unwrap();
        let arguments = std::iter::once(command.get_program()).chain(command.get_args());
        let parsed = crate::cli::Cli::try_parse_from(arguments);
        assert!(parsed.is_ok(), "{parsed:?}");
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        let (_stop, stopped) = mpsc::channel();
        assert!(lesson(Ok(Command::new("/there/is/none")), &stopped).is_err());
    }
}
