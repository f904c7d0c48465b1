//! Asks drivers, in this process or in one that may crash.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::adapter::{self, Adapter, Api};
use super::child::{self, ChildError};
use super::{open, quietly};

/// Asks a driver.
pub trait Probe {
    /// The adapters that an API has, in the driver's order.
    ///
    /// # Errors
    ///
    /// If asking failed; an API without adapters is no failure.
    fn list(&self, api: Api) -> Result<Vec<Adapter>, Fault>;

    /// Whether an adapter computes what it should.
    ///
    /// # Errors
    ///
    /// If it does not.
    fn check(&self, adapter: &Adapter) -> Result<(), Fault>;
}

/// What is wrong with a driver or an adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It ended its process by this signal.
    Crashed(i32),
    /// It ended its process.
    Ended,
    /// It did not answer within so many seconds.
    TimedOut(u64),
    /// It could not be asked.
    NotAsked(String),
    /// It said so itself.
    Says(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Crashed(signal) => write!(f, "its driver crashed (signal {signal})"),
            Fault::Ended => f.write_str("its driver ended the process that asked it"),
            Fault::TimedOut(seconds) => write!(f, "its driver did not answer within {seconds} s"),
            Fault::NotAsked(reason) => write!(f, "its driver could not be asked: {reason}"),
            Fault::Says(reason) => f.write_str(reason),
        }
    }
}

/// Asks in this process, which a crash of the driver ends.
#[derive(Debug, Clone, Copy)]
pub struct Direct;

impl Probe for Direct {
    fn list(&self, api: Api) -> Result<Vec<Adapter>, Fault> {
        quietly(|| adapter::list(api)).map_err(Fault::Says)
    }

    fn check(&self, adapter: &Adapter) -> Result<(), Fault> {
        open::checked(adapter).map(drop)
    }
}

/// Asks in processes of their own: a crash ends no more than the question.
#[derive(Debug, Clone)]
pub struct InChild {
    /// The program, which hands what follows its arguments to [`answer`] and prints what that says.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// How long an answer may take.
    pub limit: Duration,
}

impl InChild {
    fn ask<T: DeserializeOwned>(&self, question: &str) -> Result<T, Fault> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).arg(question);
        let ended = child::run(&mut command, self.limit).map_err(|error| match error {
            ChildError::TimedOut => Fault::TimedOut(self.limit.as_secs()),
            ChildError::System(error) => Fault::NotAsked(error.to_string()),
        })?;
        match serde_json::from_str::<Reply<T>>(&ended.stdout) {
            Ok(Reply::Ok(found)) => Ok(found),
            Ok(Reply::Err(reason)) => Err(Fault::Says(reason)),
            Err(_) => Err(signal(ended.status).map_or(Fault::Ended, Fault::Crashed)),
        }
    }
}

impl Probe for InChild {
    fn list(&self, api: Api) -> Result<Vec<Adapter>, Fault> {
        self.ask(&Question { api, position: None }.to_string())
    }

    fn check(&self, adapter: &Adapter) -> Result<(), Fault> {
        self.ask(&Question { api: adapter.api, position: Some(adapter.position) }.to_string())
    }
}

#[cfg(unix)]
fn signal(status: ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}

#[cfg(not(unix))]
fn signal(_: ExitStatus) -> Option<i32> {
    None
}

/// What a child is asked, as `vulkan` for a list and `vulkan:0` for a check.
struct Question {
    api: Api,
    position: Option<usize>,
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let api = serde_json::to_string(&self.api).map_err(|_| fmt::Error)?;
        f.write_str(api.trim_matches('"'))?;
        self.position.map_or(Ok(()), |position| write!(f, ":{position}"))
    }
}

/// What a child says.
#[derive(serde::Serialize, Deserialize)]
enum Reply<T> {
    Ok(T),
    Err(String),
}

impl<T> From<Result<T, Fault>> for Reply<T> {
    fn from(result: Result<T, Fault>) -> Self {
        match result {
            Ok(found) => Reply::Ok(found),
            Err(fault) => Reply::Err(fault.to_string()),
        }
    }
}

/// What a child of [`InChild`] prints when it is asked.
///
/// # Errors
///
/// If it is no question of that kind.
pub fn answer(question: &str) -> Result<String, serde_json::Error> {
    let (api, position) = question.split_once(':').unzip();
    let api: Api = serde_json::from_value(api.unwrap_or(question).into())?;
    let Some(position) = position else {
        return serde_json::to_string(&Reply::from(Direct.list(api)));
    };
    let position: usize = serde_json::from_str(position)?;
    let checked = Direct.list(api).and_then(|adapters| {
        let adapter = adapters.get(position);
        let gone = || Fault::Says("it is not there any more".to_owned());
        Direct.check(adapter.ok_or_else(gone)?)
    });
    serde_json::to_string(&Reply::from(checked))
}

#[cfg(test)]
mod tests {
    use super::super::adapter::{AdapterKind, sample};
    use super::*;

    /// A shell as a child; what it is asked becomes `$0`.
    fn shell(script: &str) -> InChild {
        InChild {
            program: "sh".into(),
            arguments: vec!["-c".into(), script.into()],
            limit: Duration::from_secs(20),
        }
    }

    #[test]
    fn a_crash_ends_no_more_than_the_question() {
        let adapter = sample("card", AdapterKind::Discrete, Api::Vulkan);
        for (script, expected) in [
            ("kill -SEGV $$", Err(Fault::Crashed(11))),
            ("kill -ABRT $$", Err(Fault::Crashed(6))),
            ("exit 3", Err(Fault::Ended)),
            ("echo '{\"Err\":\"it is tired\"}'", Err(Fault::Says("it is tired".to_owned()))),
            ("test $0 = vulkan:0 && echo '{\"Ok\":null}'", Ok(())),
        ] {
            assert_eq!(shell(script).check(&adapter), expected, "{script}");
        }
        let hanging = InChild { limit: Duration::from_millis(50), ..shell("exec sleep 20") };
        assert_eq!(hanging.check(&adapter), Err(Fault::TimedOut(0)));
        let absent = InChild { program: "/nonexistent/program".into(), ..shell("") };
        assert!(matches!(absent.check(&adapter), Err(Fault::NotAsked(_))));
        assert_eq!(Fault::Crashed(11).to_string(), "its driver crashed (signal 11)");
    }

    #[test]
    fn adapters_come_back_from_a_child_as_they_are() {
        let adapters = vec![sample("card", AdapterKind::Discrete, Api::Dx12)];
        let reply = serde_json::to_string(&Reply::Ok(&adapters)).unwrap();
        let child = shell(&format!("test $0 = dx12 && echo '{reply}'"));
        assert_eq!(child.list(Api::Dx12), Ok(adapters));
    }

    #[test]
    fn questions_that_are_none_are_refused() {
        for question in ["", "vulkan:", "vulkan:x", "gpu", "vulkan:0:1", "Vulkan"] {
            assert!(answer(question).is_err(), "{question}");
        }
    }
}
