//! A process that may hang, and what it says.

use std::io::{self, Read as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How often a process is looked after.
const PAUSE: Duration = Duration::from_millis(10);
/// How long it may take until one that was killed is gone, and its output read.
const AFTERMATH: Duration = Duration::from_secs(1);

/// A process that is over.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    pub(super) stdout: String,
}

/// Why there is no answer of a process.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChildError {
    /// It was killed for it.
    #[error("it did not end in time")]
    TimedOut,
    /// It could not be started or waited for.
    #[error(transparent)]
    System(#[from] io::Error),
}

/// Runs a command, and kills it when it takes longer than that.
pub(super) fn run(command: &mut Command, limit: Duration) -> Result<Ended, ChildError> {
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    // Drivers print what they like there.
    let mut child = command.stderr(Stdio::null()).spawn()?;
    let (sender, receiver) = mpsc::channel();
    if let Some(mut stdout) = child.stdout.take() {
        // Read beside waiting: a child that fills the pipe would wait for its reader.
        thread::spawn(move || {
            let mut bytes = Vec::new();
            // What came before an error may still be an answer.
            let _ = stdout.read_to_end(&mut bytes);
            sender.send(bytes)
        });
    }
    let Some(status) = wait(&mut child, limit)? else {
        end(&mut child);
        return Err(ChildError::TimedOut);
    };
    // A child's child may hold the pipe open for good.
    let bytes = receiver.recv_timeout(AFTERMATH).map_err(|_| ChildError::TimedOut)?;
    Ok(Ended { status, stdout: String::from_utf8_lossy(&bytes).into_owned() })
}

/// Waits until it is over, but no longer than that.
fn wait(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let mut waited = Duration::ZERO;
    loop {
        let status = child.try_wait()?;
        if status.is_some() || waited >= limit {
            return Ok(status);
        }
        thread::sleep(PAUSE);
        waited += PAUSE;
    }
}

/// Kills it, and waits a little for its end: unasked for, it would stay as a zombie. One that hangs
/// in a driver may not even die; then the system has it.
fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = wait(child, AFTERMATH);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn what_it_says_and_how_it_ends() {
        let ended = run(&mut shell("echo one; echo two >&2; exit 3"), LONG).unwrap();
        assert_eq!((ended.stdout.as_str(), ended.status.code()), ("one\n", Some(3)));
        // More than a pipe holds.
        let ended = run(&mut shell("head -c 1000000 /dev/zero"), LONG).unwrap();
        assert_eq!(ended.stdout.len(), 1_000_000);
        let absent = run(&mut Command::new("/nonexistent/program"), LONG);
        assert!(matches!(absent, Err(ChildError::System(_))), "{absent:?}");
    }

    #[test]
    fn who_hangs_is_killed() {
        let limit = Duration::from_millis(50);
        let hanging = run(&mut shell("exec sleep 20"), limit);
        assert!(matches!(hanging, Err(ChildError::TimedOut)), "{hanging:?}");
        let left_open = run(&mut shell("sleep 20 & echo one"), LONG);
        assert!(matches!(left_open, Err(ChildError::TimedOut)), "{left_open:?}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn no_zombie_stays() {
        let mut child = shell("exec sleep 20").spawn().unwrap();
        end(&mut child);
        let process = std::path::Path::new("/proc").join(child.id().to_string());
        assert!(!process.exists());
    }
}
