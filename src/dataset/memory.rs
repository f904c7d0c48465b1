//! How much memory a run may take, and what it does with it.

use std::fmt;
use std::fs;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// The units that people write, in lower case, and their bytes.
const UNITS: [(&str, u64); 12] = [
    ("", 1),
    ("b", 1),
    ("k", KIB),
    ("kib", KIB),
    ("kb", 1_000),
    ("m", MIB),
    ("mib", MIB),
    ("mb", 1_000_000),
    ("g", GIB),
    ("gib", GIB),
    ("gb", 1_000_000_000),
    ("tib", 1 << 40),
];

/// A number of bytes, as people write it: `2GiB`, `512 MiB`, `1.5GB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ByteCount(pub u64);

/// It is no number of bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a number and KiB, MiB, GiB, MB or GB, such as 2GiB, but it is {0:?}")]
pub struct NoByteCount(String);

impl FromStr for ByteCount {
    type Err = NoByteCount;

    fn from_str(text: &str) -> Result<ByteCount, NoByteCount> {
        let wrong = || NoByteCount(text.to_owned());
        let trimmed = text.trim();
        let end = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(end);
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let unit = unit.trim().to_ascii_lowercase();
        let (_, bytes) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        // Below 2^53 exact, and no machine has more.
        let count = (number * *bytes as f64).round();
        if !(1.0..=9e15).contains(&count) {
            return Err(wrong());
        }
        Ok(ByteCount(count as u64))
    }
}

impl fmt::Display for ByteCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, bytes) in [("GiB", GIB), ("MiB", MIB), ("KiB", KIB)] {
            if self.0 >= bytes {
                let tenths = (self.0 as f64 / bytes as f64 * 10.0).round() / 10.0;
                return write!(f, "{tenths} {unit}");
            }
        }
        write!(f, "{} B", self.0)
    }
}

/// Of the machine's memory, what a run takes if nobody says otherwise: the rest is for the page
/// cache, through which all data comes, and for who else is there.
const DEFAULT_SHARE: f64 = 0.6;

/// What a machine is taken for that does not say how much memory it has.
const UNKNOWN_MACHINE: u64 = 4 * GIB;

/// The limit of who names none: a share of the memory of the machine or, if that is less, of the
/// control group that the process is in.
pub fn default_limit() -> ByteCount {
    let read = |path: &Path| fs::read_to_string(path).ok();
    let machine =
        read(Path::new("/proc/meminfo")).as_deref().and_then(|text| value_of(text, "MemTotal:"));
    let group = read(Path::new("/proc/self/cgroup"))
        .and_then(|groups| group_limit(&groups, &|path| read(path)));
    let memory = machine.unwrap_or(UNKNOWN_MACHINE).min(group.unwrap_or(u64::MAX));
    ByteCount((memory as f64 * DEFAULT_SHARE) as u64)
}

/// The most memory that was resident in this process so far, where the system says so.
pub fn peak() -> Option<ByteCount> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    value_of(&status, "VmHWM:").map(ByteCount)
}

/// A value of /proc/meminfo or /proc/self/status, in bytes.
fn value_of(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * KIB)
}

/// The least limit of the control groups from the process's own up to the root, by
/// /proc/self/cgroup; of version 2 and, in its place, of version 1. In a container the path may lie
/// outside of what is mounted, and the root's limit is then the container's.
fn group_limit(groups: &str, read: &dyn Fn(&Path) -> Option<String>) -> Option<u64> {
    let mut least = None;
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            "memory" => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            _ => continue,
        };
        for group in Path::new(path.trim_start_matches('/')).ancestors() {
            let limit = read(&Path::new(root).join(group).join(file));
            // `max` is no limit.
            let limit = limit.and_then(|limit| limit.trim().parse::<u64>().ok());
            least = [least, limit].into_iter().flatten().min();
        }
    }
    least
}

/// What the program takes before it reads a row: its own pages, the threads' stacks, networks in
/// training, and what the allocator holds back. Measured: half of it.
const FIXED: u64 = 150 * MIB;
/// What a row of a batch takes while a step is computed. Measured: 3.5 kB.
const BATCH_ROW: u64 = 6_000;
/// What a row takes while a table of it is read and trained on in memory, with all copies. Measured:
/// 2.3 kB up to the 200,000 rows that the baseline is fitted to, 1.6 kB of a million.
const IN_MEMORY_ROW: u64 = 2_600;
/// What a row takes while its chunk is scanned, featurised and written.
const SCANNED_ROW: u64 = 2_400;
/// What a row takes that is held in memory while the others are streamed.
const HELD_ROW: u64 = 2_000;
/// What a row of a pass takes: the chunk that is trained on, its copy on the device, and the next
/// chunk, which is made meanwhile.
const CHUNK_ROW: u64 = 1_500;

/// Bounds of what is worth having.
const SCAN_ROWS: (u64, u64) = (1 << 13, 1 << 17);
const SAMPLE_ROWS: (u64, u64) = (20_000, 200_000);
/// More rows are not shuffled better, for their blocks come from everywhere already, and are slower
/// to learn from: rows that are gathered out of a million are in no cache of the processor (407,000
/// rows/s against 547,000 out of 158,000: the guide's network, two cores).
const CHUNK_ROWS: (u64, u64) = (1 << 15, 1 << 18);

/// A limit below which nothing goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a memory limit of at least {} MiB, but it is {limit}", least.0.div_ceil(MIB))]
pub struct LimitTooSmall {
    /// What is needed at least.
    pub least: ByteCount,
    /// What was given.
    pub limit: ByteCount,
}

/// How a limit is spent on a table that does not fit into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MemoryPlan {
    /// Rows that are scanned at once.
    pub scan_rows: usize,
    /// Rows that are held from the beginning to the end: sampled and held-out ones.
    pub sample_rows: usize,
    /// Rows of a pass that are shuffled together.
    pub chunk_rows: usize,
}

impl ByteCount {
    /// Whether a table of so many rows can be trained on in memory below this limit.
    pub fn holds(self, rows: usize) -> bool {
        (rows as u64).saturating_mul(IN_MEMORY_ROW).saturating_add(FIXED) <= self.0
    }

    /// How to stay below this limit with more rows, and steps on so many rows at once.
    ///
    /// # Errors
    ///
    /// If it is too small for anything.
    pub fn plan(self, batch_rows: usize) -> Result<MemoryPlan, LimitTooSmall> {
        let fixed = FIXED + batch_rows as u64 * BATCH_ROW;
        let least = fixed
            + (SCAN_ROWS.0 * SCANNED_ROW).max(SAMPLE_ROWS.0 * HELD_ROW + CHUNK_ROWS.0 * CHUNK_ROW);
        let free = self.0.saturating_sub(fixed);
        if self.0 < least {
            return Err(LimitTooSmall { least: ByteCount(least), limit: self });
        }
        // A third for what is held all the time, the rest for what comes and goes.
        let rows = |bytes: u64, row: u64, (least, most): (u64, u64)| {
            usize::try_from((bytes / row).clamp(least, most)).unwrap_or(usize::MAX)
        };
        let sample_rows = rows(free / 3, HELD_ROW, SAMPLE_ROWS);
        let left = free - sample_rows as u64 * HELD_ROW;
        Ok(MemoryPlan {
            scan_rows: rows(free, SCANNED_ROW, SCAN_ROWS),
            sample_rows,
            chunk_rows: rows(left, CHUNK_ROW, CHUNK_ROWS),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_people_write_it() {
        for (text, bytes) in [
            ("2GiB", 2 << 30),
            ("512 MiB", 512 << 20),
            ("1.5gb", 1_500_000_000),
            ("4G", 4 << 30),
            ("300000KB", 300_000_000),
            ("64KiB", 65_536),
            ("1234567", 1_234_567),
        ] {
            assert_eq!(text.parse(), Ok(ByteCount(bytes)), "{text}");
        }
        for text in ["", "GiB", "2 pints", "-1GiB", "0", "1.2.3G", "99999999TiB", "1e3"] {
            let error = text.parse::<ByteCount>().unwrap_err();
            assert!(error.to_string().contains("such as 2GiB"), "{text}");
        }
    }

    #[test]
    fn shown() {
        for (bytes, expected) in
            [(12, "12 B"), (2 << 30, "2 GiB"), (1_500_000_000, "1.4 GiB"), (300 << 20, "300 MiB")]
        {
            assert_eq!(ByteCount(bytes).to_string(), expected);
        }
    }

    #[test]
    fn the_least_limit_counts() {
        assert_eq!(
            value_of("MemFree: 1 kB\nMemTotal:   24596 kB\n", "MemTotal:"),
            Some(24_596 << 10)
        );
        assert_eq!(value_of("nonsense", "MemTotal:"), None);
        let files = |path: &Path| {
            let found = match path.to_str()? {
                "/sys/fs/cgroup/a/b/memory.max" => "max\n",
                "/sys/fs/cgroup/a/memory.max" => "1000\n",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes" => "9000\n",
                _ => return None,
            };
            Some(found.to_owned())
        };
        assert_eq!(group_limit("0::/a/b\n", &files), Some(1000));
        assert_eq!(group_limit("4:memory:/docker/x\n2:cpu:/\n", &files), Some(9000));
        assert_eq!(group_limit("0::/elsewhere\n", &files), None);
    }

    #[test]
    fn a_plan_stays_below_its_limit() {
        for limit in [512 * MIB, GIB, 2 * GIB, 4 * GIB, 64 * GIB] {
            for batch_rows in [256, 16_384] {
                let plan = ByteCount(limit).plan(batch_rows).unwrap();
                let fixed = FIXED + batch_rows as u64 * BATCH_ROW;
                let held = plan.sample_rows as u64 * HELD_ROW;
                let passes = fixed + held + plan.chunk_rows as u64 * CHUNK_ROW;
                let scan = fixed + plan.scan_rows as u64 * SCANNED_ROW;
                assert!(passes.max(scan) <= limit, "{limit} {plan:?}");
            }
        }
        let large = ByteCount(64 * GIB).plan(256).unwrap();
        assert_eq!((large.sample_rows, large.chunk_rows), (200_000, 1 << 18));
    }

    #[test]
    fn what_is_too_small_says_the_least() {
        let error = ByteCount(100 * MIB).plan(256).unwrap_err();
        assert!(error.least.plan(256).is_ok());
        assert!(ByteCount(error.least.0 - 1).plan(256).is_err());
        let told = error.to_string();
        let least = told.split("at least ").nth(1).unwrap().split(',').next().unwrap();
        assert!(least.parse::<ByteCount>().unwrap().plan(256).is_ok(), "{told}");
        assert!(ByteCount(GIB).plan(1_000_000).is_err(), "a batch has to fit, too");
    }

    #[test]
    fn small_tables_fit() {
        assert!(ByteCount(2 * GIB).holds(400_000));
        assert!(!ByteCount(2 * GIB).holds(1_500_000));
        assert!(!ByteCount(2 * GIB).holds(usize::MAX));
    }
}
