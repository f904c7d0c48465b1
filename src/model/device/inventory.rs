//! What there is, in the order in which it is numbered.

use std::fmt;

use super::adapter::{Adapter, Api};
use super::choice::DeviceChoice;
use super::probe::{Fault, Probe};
use super::work::Work;

/// The adapters that were found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inventory {
    /// The one that promises most first.
    adapters: Vec<Adapter>,
    /// Where looking for them failed.
    faults: Vec<(Api, Fault)>,
}

/// Why there is no adapter, or none that is of use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Missing {
    /// What failed, and how.
    faults: Vec<(String, Fault)>,
    /// The software rasterisers, which were there and not wanted.
    software: Vec<String>,
}

impl Inventory {
    /// Looks for adapters.
    pub fn take(probe: &dyn Probe, apis: Vec<Api>) -> Inventory {
        let mut adapters = Vec::new();
        let mut faults = Vec::new();
        for api in apis {
            match probe.list(api) {
                Ok(found) => adapters.extend(found),
                Err(fault) => faults.push((api, fault)),
            }
        }
        Inventory { faults, ..Inventory::of(adapters) }
    }

    /// Of these adapters.
    pub(super) fn of(mut adapters: Vec<Adapter>) -> Inventory {
        // Stable: what ranks alike stays in the driver's order.
        adapters.sort_by_key(Adapter::rank);
        Inventory { adapters, faults: Vec::new() }
    }

    /// wgpu's adapters, as `wgpu:N` counts them.
    pub fn wgpu(&self) -> Vec<&Adapter> {
        self.adapters.iter().filter(|adapter| adapter.api != Api::Cuda).collect()
    }

    /// One API's adapters, as `vulkan:N` and `cuda:N` count them.
    pub fn on(&self, api: Api) -> Vec<&Adapter> {
        self.adapters.iter().filter(|adapter| adapter.api == api).collect()
    }

    /// Every adapter with the names that it can be asked for by, the usual one first.
    pub fn named(&self) -> impl Iterator<Item = (Vec<DeviceChoice>, &Adapter)> {
        let among = |of: Vec<&Adapter>, one: &Adapter| of.iter().position(|other| *other == one);
        self.adapters.iter().map(move |adapter| {
            let choices = match adapter.api {
                Api::Cuda => vec![among(self.on(Api::Cuda), adapter).map(DeviceChoice::Cuda)],
                Api::Vulkan if !adapter.is_software() => vec![
                    among(self.wgpu(), adapter).map(DeviceChoice::Wgpu),
                    among(self.on(Api::Vulkan), adapter).map(DeviceChoice::Vulkan),
                ],
                _ => vec![among(self.wgpu(), adapter).map(DeviceChoice::Wgpu)],
            };
            (choices.into_iter().flatten().collect(), adapter)
        })
    }

    /// The GPUs, with the name to ask for each by; no software rasteriser is one.
    pub fn gpus(&self) -> impl Iterator<Item = (DeviceChoice, &Adapter)> {
        self.named()
            .filter(|(_, adapter)| !adapter.is_software())
            .filter_map(|(choices, adapter)| Some((*choices.first()?, adapter)))
    }

    /// Where looking failed.
    pub fn faults(&self) -> &[(Api, Fault)] {
        &self.faults
    }

    /// Why what was looked for is not here.
    pub fn missing(&self) -> Missing {
        let software = self.adapters.iter().filter(|adapter| adapter.is_software());
        Missing {
            faults: self.faults.iter().map(|(api, it)| (api.to_string(), it.clone())).collect(),
            software: software.map(|adapter| adapter.name.clone()).collect(),
        }
    }

    /// The first GPU that computes what it should, and the name to ask for it by.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn usable_gpu(&self, probe: &dyn Probe) -> Result<(DeviceChoice, &Adapter), Missing> {
        let mut missing = self.missing();
        for (choice, adapter) in self.gpus() {
            match probe.check(adapter) {
                Ok(()) => return Ok((choice, adapter)),
                Err(fault) => missing.faults.push((format!("`{}`", adapter.name), fault)),
            }
        }
        Err(missing)
    }
}

/// The GPU for this work, and none if so many cores of a CPU are done with it as soon. Whether
/// there is a GPU is not looked at before it could pay: that alone would take longer than small
/// work.
///
/// # Errors
///
/// If a GPU would pay, and there is none that is of use.
pub fn automatic(
    work: Work,
    cores: usize,
    probe: &dyn Probe,
) -> Result<Option<(DeviceChoice, Adapter)>, Missing> {
    if !work.pays_on_gpu(cores) {
        return Ok(None);
    }
    let inventory = Inventory::take(probe, Api::built());
    let (choice, adapter) = inventory.usable_gpu(probe)?;
    Ok(Some((choice, adapter.clone())))
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (what, fault)) in self.faults.iter().enumerate() {
            let comma = if index == 0 { "" } else { "; " };
            write!(f, "{comma}{what}: {fault}")?;
        }
        match (self.faults.is_empty(), self.software.first()) {
            (false, _) => Ok(()),
            (true, Some(name)) => write!(f, "there is only a software rasteriser, `{name}`"),
            (true, None) => {
                f.write_str("no driver offers a GPU (on Linux: Vulkan, or OpenGL ES by EGL)")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::adapter::{AdapterKind, sample};
    use super::*;

    /// Finds what it is told to.
    struct Told(Vec<(Api, Result<Vec<Adapter>, Fault>)>);

    /// The only adapter that computes.
    const SOUND: &str = "sound";

    impl Probe for Told {
        fn list(&self, api: Api) -> Result<Vec<Adapter>, Fault> {
            let told = self.0.iter().find(|(one, _)| *one == api);
            told.map_or(Ok(Vec::new()), |(_, found)| found.clone())
        }

        fn check(&self, adapter: &Adapter) -> Result<(), Fault> {
            if adapter.name == SOUND { Ok(()) } else { Err(Fault::TimedOut(60)) }
        }
    }

    #[test]
    fn a_driver_that_crashes_hides_no_other() {
        let software = sample("llvmpipe", AdapterKind::Software, Api::Gl);
        let probe = Told(vec![
            (Api::Vulkan, Err(Fault::Crashed(11))),
            (Api::Gl, Ok(vec![software.clone()])),
        ]);
        let inventory = Inventory::take(&probe, vec![Api::Vulkan, Api::Gl]);
        assert_eq!(inventory.wgpu(), [&software]);
        assert_eq!(inventory.faults(), [(Api::Vulkan, Fault::Crashed(11))]);
        assert_eq!(inventory.missing().to_string(), "Vulkan: its driver crashed (signal 11)");
        let none = Inventory::take(&Told(Vec::new()), vec![Api::Vulkan]);
        assert_eq!(
            DeviceChoice::Vulkan(0).find(&none).unwrap_err().to_string(),
            "there is no `vulkan:0`: no driver offers a GPU (on Linux: Vulkan, or OpenGL ES by EGL)"
        );
    }

    #[test]
    fn every_adapter_has_its_names() {
        let card = |name| sample(name, AdapterKind::Discrete, Api::Vulkan);
        let inventory = Inventory::of(vec![
            sample("software", AdapterKind::Software, Api::Vulkan),
            card("first"),
            card("second"),
            sample("first", AdapterKind::Discrete, Api::Cuda),
        ]);
        let names: Vec<String> = inventory
            .named()
            .map(|(choices, adapter)| {
                let choices: Vec<String> = choices.iter().map(ToString::to_string).collect();
                format!("{} {}", adapter.name, choices.join(" "))
            })
            .collect();
        let expected =
            ["first cuda:0", "first wgpu:0 vulkan:0", "second wgpu:1 vulkan:1", "software wgpu:2"];
        assert_eq!(names, expected);
        for (choices, adapter) in inventory.named() {
            for choice in choices {
                assert_eq!(choice.find(&inventory), Ok(adapter), "{choice}");
            }
        }
        let gpus: Vec<DeviceChoice> = inventory.gpus().map(|(choice, _)| choice).collect();
        let expected = [DeviceChoice::Cuda(0), DeviceChoice::Wgpu(0), DeviceChoice::Wgpu(1)];
        assert_eq!(gpus, expected);
    }

    #[test]
    fn drivers_are_left_alone_while_there_is_little_to_do() {
        /// Must not be asked.
        struct Nobody;
        impl Probe for Nobody {
            fn list(&self, _: Api) -> Result<Vec<Adapter>, Fault> {
                panic!("a driver was asked")
            }

            fn check(&self, _: &Adapter) -> Result<(), Fault> {
                panic!("a driver was asked")
            }
        }
        let small = Work::training(20_000.0 * 60.0, 22_000.0, 5000.0);
        assert_eq!(automatic(small, 2, &Nobody), Ok(None));
        let large = Work::training(1e9, 22_000.0, 60_000.0);
        let card = sample(SOUND, AdapterKind::Discrete, Api::Vulkan);
        let probe = Told(vec![(Api::Vulkan, Ok(vec![card.clone()]))]);
        assert_eq!(automatic(large, 2, &probe), Ok(Some((DeviceChoice::Wgpu(0), card))));
        assert_eq!(automatic(large, 2, &Told(Vec::new())), Err(Missing::default()));
    }

    #[test]
    fn no_software_is_taken_for_a_gpu() {
        let found = |adapters: Vec<Adapter>| {
            let probe = Told(vec![(Api::Vulkan, Ok(adapters))]);
            let inventory = Inventory::take(&probe, vec![Api::Vulkan]);
            let gpu = inventory.usable_gpu(&probe);
            gpu.map(|(choice, _)| choice).map_err(|missing| missing.to_string())
        };
        let card = |name| sample(name, AdapterKind::Discrete, Api::Vulkan);
        let software = || sample(SOUND, AdapterKind::Software, Api::Vulkan);
        assert_eq!(found(vec![card("unsound"), card(SOUND)]), Ok(DeviceChoice::Wgpu(1)));
        assert_eq!(
            found(vec![software()]),
            Err("there is only a software rasteriser, `sound`".to_owned())
        );
        assert_eq!(
            found(vec![card("unsound"), software()]),
            Err("`unsound`: its driver did not answer within 60 s".to_owned())
        );
    }
}
