//! What the system says of this process.

/// The memory that the process holds, in bytes. `None` where the system has no `/proc`.
pub(super) fn resident_bytes() -> Option<u64> {
    parse(&std::fs::read_to_string("/proc/self/status").ok()?)
}

fn parse(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_proc() {
        let status = "Name:\tconvminer\nVmHWM:\t  999 kB\nVmRSS:\t   62344 kB\nThreads:\t3\n";
        assert_eq!(parse(status), Some(63_840_256));
        assert_eq!(parse("Name:\tx\n"), None);
        assert_eq!(parse("VmRSS:\t many kB\n"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_memory() {
        assert!(resident_bytes().unwrap() > 1 << 20);
    }
}
