//! What a process takes of the machine, as Linux counts it.

use std::time::Duration;
use std::{fs, io};

/// Ticks of the processor's clock a second, in `/proc`: the same on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a process has taken so far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProcessUse {
    /// Memory that it holds, in bytes.
    pub resident_bytes: u64,
    /// Time on processors, its own and the system's for it.
    pub cpu: Duration,
}

impl ProcessUse {
    /// Of the process with this number.
    ///
    /// # Errors
    ///
    /// If there is none, it may not be looked at, or this is no Linux.
    pub fn of(pid: u32) -> io::Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        parse(&status, &stat).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid} is not as expected"))
        })
    }

    /// Of this process.
    ///
    /// # Errors
    ///
    /// If this is no Linux.
    pub fn own() -> io::Result<Self> {
        ProcessUse::of(std::process::id())
    }
}

fn parse(status: &str, stat: &str) -> Option<ProcessUse> {
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = resident.trim().strip_suffix("kB")?.trim().parse().ok()?;
    // The name in parentheses may hold spaces, and parentheses; utime and stime are the 12th and
    // the 13th field after it (proc_pid_stat(5)).
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let ticks = ticks()? + ticks()?;
    Some(ProcessUse {
        resident_bytes: kib * 1024,
        cpu: Duration::from_secs_f64(ticks as f64 / TICKS_PER_SECOND),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_proc_are_read() {
        let status = "Name:\tx\nVmPeak:\t  9 kB\nVmRSS:\t    1234 kB\nThreads:\t1\n";
        let stat = "42 (a) b) S 1 42 42 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 3 0 1 2 3";
        let cpu = Duration::from_secs(2);
        assert_eq!(parse(status, stat), Some(ProcessUse { resident_bytes: 1234 * 1024, cpu }));
        assert_eq!(parse("", stat), None);
        assert_eq!(parse(status, "42 (a) S 1"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_holds_memory() {
        assert!(ProcessUse::own().unwrap().resident_bytes > 1 << 20);
        assert!(ProcessUse::of(u32::MAX).is_err());
    }
}
