//! What `convminer devices` shows.

use std::fs;
use std::thread;

use burn::tensor::Device;
use serde::Serialize;

use super::adapter::{Adapter, Api};
use super::capacity::Memory;
use super::check;
use super::choice::DeviceChoice;
use super::inventory::Inventory;
use super::probe::Probe;

/// A device as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// What `--device` calls it; the first name is the usual one.
    pub device: Vec<String>,
    /// As it names itself.
    pub name: String,
    /// Discrete, integrated or virtual GPU, software, or how many cores.
    #[serde(rename = "type")]
    pub kind: String,
    /// What drives it.
    pub backend: String,
    /// The driver and its version, if it says so.
    pub driver: String,
    /// How much memory it has.
    pub memory: Memory,
    /// The largest single buffer in bytes that it lends.
    pub largest_buffer_bytes: Option<u64>,
    /// What is wrong with it; none if its products of matrices came out right.
    pub fault: Option<String>,
}

/// Every device there is, the CPU first, and what was found wrong while looking for others.
pub fn list(probe: &dyn Probe) -> (Vec<Listed>, Inventory) {
    let inventory = Inventory::take(probe, Api::built());
    let mut listed = vec![cpu(DeviceChoice::Cpu, "Burn flex")];
    if cfg!(feature = "ndarray") {
        listed.push(cpu(DeviceChoice::Ndarray, "Burn ndarray"));
    }
    for (choices, adapter) in inventory.named() {
        let fault = probe.check(adapter).err().map(|fault| fault.to_string());
        listed.push(of_adapter(&choices, adapter, fault));
    }
    (listed, inventory)
}

fn of_adapter(choices: &[DeviceChoice], adapter: &Adapter, fault: Option<String>) -> Listed {
    Listed {
        device: choices.iter().map(ToString::to_string).collect(),
        name: adapter.name.clone(),
        kind: adapter.kind.to_string(),
        backend: adapter.api.to_string(),
        driver: adapter.driver.clone(),
        memory: adapter.memory,
        largest_buffer_bytes: adapter.largest_buffer_bytes,
        fault,
    }
}

fn cpu(choice: DeviceChoice, backend: &str) -> Listed {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let checked = choice.open().map_err(|error| error.to_string());
    Listed {
        device: vec![choice.to_string()],
        name: cpu_name(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default()),
        kind: if cores == 1 { "1 core".to_owned() } else { format!("{cores} cores") },
        backend: backend.to_owned(),
        driver: String::new(),
        memory: Memory::of_cpu(),
        largest_buffer_bytes: None,
        fault: checked.and_then(|device: Device| check::products(&device)).err(),
    }
}

/// As Linux's `/proc/cpuinfo` has it, or else only what kind it is.
fn cpu_name(text: &str) -> String {
    let line = text.lines().find(|line| line.starts_with("model name"));
    let name = line.and_then(|line| line.split_once(':')).map(|(_, name)| name.trim());
    name.filter(|name| !name.is_empty()).unwrap_or(std::env::consts::ARCH).to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::adapter::{AdapterKind, sample};
    use super::super::probe::Fault;
    use super::*;

    /// A good card, and one whose driver crashes.
    struct Two;

    impl Probe for Two {
        fn list(&self, api: Api) -> Result<Vec<Adapter>, Fault> {
            match api {
                Api::Vulkan => Ok(vec![
                    sample("good", AdapterKind::Discrete, api),
                    sample("bad", AdapterKind::Integrated, api),
                ]),
                _ => Err(Fault::Crashed(11)),
            }
        }

        fn check(&self, adapter: &Adapter) -> Result<(), Fault> {
            if adapter.name == "good" { Ok(()) } else { Err(Fault::Crashed(6)) }
        }
    }

    #[test]
    fn the_cpu_comes_first_and_a_crash_is_a_line() {
        let (listed, inventory) = list(&Two);
        assert_eq!((listed[0].device[0].as_str(), &listed[0].fault), ("cpu", &None));
        let adapters: Vec<_> = listed.iter().filter(|it| it.backend == "Vulkan").collect();
        assert_eq!(adapters[0].device, ["wgpu:0", "vulkan:0"]);
        assert_eq!((adapters[0].kind.as_str(), &adapters[0].fault), ("discrete GPU", &None));
        assert_eq!(adapters[1].fault.as_deref(), Some("its driver crashed (signal 6)"));
        assert!(inventory.faults().iter().all(|(_, fault)| *fault == Fault::Crashed(11)));
    }

    #[test]
    fn names_of_processors() {
        assert_eq!(cpu_name("processor: 0\nmodel name\t: AMD EPYC 9654\n"), "AMD EPYC 9654");
        assert_eq!(cpu_name("processor: 0\n"), std::env::consts::ARCH);
    }
}
