//! How much memory an adapter has. wgpu does not say, so the system is asked.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::adapter::AdapterKind;
use super::child;

/// How long NVIDIA's tool may take. It hangs where the driver does, and memory is only shown.
const PATIENCE: Duration = Duration::from_secs(5);

/// The memory of an adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind", content = "bytes")]
pub enum Memory {
    /// So many bytes of its own.
    Own(u64),
    /// The machine's, which has so many bytes.
    Shared(u64),
    /// Nobody says.
    Unknown,
}

/// A card as NVIDIA's tool tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NvidiaCard {
    pub(super) pci: String,
    pub(super) name: String,
    pub(super) driver: String,
    pub(super) memory_bytes: u64,
}

impl Memory {
    /// The memory of an adapter at a PCI address; `nvidia` are NVIDIA's cards, if they are asked
    /// for.
    pub(super) fn of(
        kind: AdapterKind,
        pci: Option<&str>,
        nvidia: impl FnOnce() -> Vec<NvidiaCard>,
    ) -> Memory {
        let Some(pci) = pci.filter(|_| kind != AdapterKind::Integrated) else {
            return match kind {
                AdapterKind::Software | AdapterKind::Integrated => {
                    of_machine().map_or(Memory::Unknown, Memory::Shared)
                }
                _ => Memory::Unknown,
            };
        };
        let by_nvidia = || nvidia().iter().find(|card| card.is_at(pci)).map(NvidiaCard::memory);
        let of_card = of_card(Path::new("/sys/bus/pci/devices"), pci);
        of_card.or_else(by_nvidia).unwrap_or(Memory::Unknown)
    }

    /// The machine's, as the CPU's own.
    pub(super) fn of_cpu() -> Memory {
        of_machine().map_or(Memory::Unknown, Memory::Own)
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gibibytes = |bytes: u64| bytes as f64 / f64::from(1 << 30);
        match self {
            Memory::Own(bytes) => f.pad(&format!("{:.1} GiB", gibibytes(*bytes))),
            Memory::Shared(bytes) => f.pad(&format!("{:.1} GiB, shared", gibibytes(*bytes))),
            Memory::Unknown => f.pad("not known"),
        }
    }
}

/// As Linux's amdgpu has it.
fn of_card(devices: &Path, pci: &str) -> Option<Memory> {
    // A driver's text becomes part of a path here.
    let is_address = |byte: u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
    if !pci.bytes().all(is_address) || pci.contains("..") {
        return None;
    }
    let text = fs::read_to_string(devices.join(pci).join("mem_info_vram_total")).ok()?;
    text.trim().parse().ok().map(Memory::Own)
}

fn of_machine() -> Option<u64> {
    total(&fs::read_to_string("/proc/meminfo").ok()?)
}

/// `MemTotal` of Linux's `/proc/meminfo`.
fn total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kibibytes| kibibytes * 1024)
}

impl NvidiaCard {
    fn memory(&self) -> Memory {
        Memory::Own(self.memory_bytes)
    }

    /// NVIDIA writes the domain in eight digits, and Vulkan in four.
    fn is_at(&self, pci: &str) -> bool {
        let short = |address: &str| address.to_ascii_lowercase().trim_start_matches('0').to_owned();
        short(&self.pci) == short(pci)
    }
}

/// What `nvidia-smi` says; nothing where it is not installed, or does not answer in time.
pub(super) fn nvidia_cards() -> Vec<NvidiaCard> {
    told_by(&mut Command::new("nvidia-smi"), PATIENCE)
}

fn told_by(tool: &mut Command, limit: Duration) -> Vec<NvidiaCard> {
    tool.arg("--query-gpu=pci.bus_id,memory.total,driver_version,name");
    tool.arg("--format=csv,noheader,nounits");
    let ended = child::run(tool, limit).ok().filter(|ended| ended.status.success());
    ended.map_or(Vec::new(), |ended| cards(&ended.stdout))
}

fn cards(text: &str) -> Vec<NvidiaCard> {
    let card = |line: &str| {
        let mut fields = line.splitn(4, ',').map(str::trim);
        Some(NvidiaCard {
            pci: fields.next()?.to_owned(),
            memory_bytes: fields.next()?.parse::<u64>().ok()? << 20,
            driver: fields.next()?.to_owned(),
            name: fields.next()?.to_owned(),
        })
    };
    text.lines().filter_map(card).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_an_amd_card() {
        let devices = tempfile::tempdir().unwrap();
        let card = devices.path().join("0000:03:00.0");
        fs::create_dir(&card).unwrap();
        fs::write(card.join("mem_info_vram_total"), "17163091968\n").unwrap();
        assert_eq!(of_card(devices.path(), "0000:03:00.0"), Some(Memory::Own(17_163_091_968)));
        assert_eq!(of_card(devices.path(), "0000:04:00.0"), None);
        assert_eq!(of_card(&card, "../0000:03:00.0"), None, "no path, whatever a driver says");
    }

    #[test]
    fn memory_of_an_nvidia_card() {
        let text = "00000000:19:00.0, 143771, 570.86.15, NVIDIA H200\n\
                    00000001:0A:00.0, 81559, 570.86.15, NVIDIA H100, 80GB\nno devices\n";
        let cards = cards(text);
        assert_eq!(cards.len(), 2);
        assert_eq!(cards[0].memory(), Memory::Own(143_771 << 20));
        assert!(cards[0].is_at("0000:19:00.0"));
        assert!(cards[1].is_at("0001:0a:00.0"));
        assert!(!cards[1].is_at("0000:0a:00.0"));
    }

    #[test]
    fn a_tool_that_hangs_or_fails_says_nothing() {
        let told = |script: &str, limit| {
            let mut tool = Command::new("sh");
            told_by(tool.args(["-c", script]), limit)
        };
        let long = Duration::from_secs(20);
        let card = "echo 00000000:19:00.0, 143771, 570.86.15, NVIDIA H200";
        assert_eq!(told(card, long).len(), 1);
        assert_eq!(told(&format!("{card}; exit 9"), long), []);
        assert_eq!(told(&format!("{card}; exec sleep 20"), Duration::from_millis(50)), []);
    }

    #[test]
    fn memory_of_the_machine() {
        assert_eq!(total("MemTotal:        8147472 kB\nMemFree: 1 kB\n"), Some(8_343_011_328));
        assert_eq!(total("nothing\n"), None);
    }

    #[test]
    fn amounts_as_they_are_read() {
        assert_eq!(Memory::Own(143_771 << 20).to_string(), "140.4 GiB");
        assert_eq!(Memory::Shared(8 << 30).to_string(), "8.0 GiB, shared");
        assert_eq!(Memory::Unknown.to_string(), "not known");
    }
}
