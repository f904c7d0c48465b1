//! What a user may name as a device.

use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;

use super::adapter::{Adapter, Api};
use super::inventory::{Inventory, Missing};
use super::open;
use super::probe::{Direct, Fault};

/// A device as a user names it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// A GPU where there is one and the work is large enough to pay; else the CPU.
    #[default]
    Auto,
    /// Burn's flex device.
    Cpu,
    /// Burn's ndarray device, with the cargo feature of that name.
    Ndarray,
    /// An adapter of wgpu, by its number in `convminer devices`; 0 is the one that promises most.
    /// It may be a software rasteriser.
    Wgpu(usize),
    /// An adapter of wgpu's Vulkan, counted without the others. Never a software rasteriser.
    ///
    /// Its kernels are WGSL, as everywhere: Burn's own `vulkan` feature would hand SPIR-V of
    /// another compiler to the driver, and Mesa's software rasteriser dies of that.
    Vulkan(usize),
    /// Burn's CUDA device of this number, with the cargo feature `cuda`.
    Cuda(usize),
}

/// Why a device cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// There is no device of this name.
    #[error(
        "expected a device, one of `auto`, `cpu`, `ndarray`, `wgpu`, `wgpu:N`, `vulkan:N` and \
         `cuda:N`, but found `{0}`"
    )]
    Unknown(String),
    /// The program was built without it.
    #[error("this convminer was built without the device `{0}`; build it with `--features {0}`")]
    NotBuilt(&'static str),
    /// No adapter answers.
    #[error("there is no `{choice}`: {reason}")]
    NoGpu {
        /// What was asked for.
        choice: DeviceChoice,
        /// What was found instead.
        reason: Missing,
    },
    /// There are devices of this kind, but fewer.
    #[error("there is no `{choice}`, for there {are} {found} of that kind, counted from 0",
        are = if *found == 1 { "is" } else { "are" })]
    NoSuch {
        /// What was asked for.
        choice: DeviceChoice,
        /// How many there are.
        found: usize,
    },
    /// What was asked for must be a GPU, and is none.
    #[error("`{choice}` is `{name}`, which is no GPU but a software rasteriser")]
    Software {
        /// What was asked for.
        choice: DeviceChoice,
        /// What it is.
        name: String,
    },
    /// It is there and of no use.
    #[error("`{choice}` (`{name}`) cannot be used: {fault}")]
    Failed {
        /// What was asked for.
        choice: DeviceChoice,
        /// What it is.
        name: String,
        /// What is wrong with it.
        fault: Fault,
    },
}

impl DeviceChoice {
    /// The device, opened in this process whatever its driver may do, after a small computation
    /// on it. `auto` is the CPU here, since nothing is known of the work.
    ///
    /// # Errors
    ///
    /// If the program was built without it, it is not there, or it does not compute.
    pub fn open(self) -> Result<Device, DeviceError> {
        match self {
            DeviceChoice::Auto | DeviceChoice::Cpu => Ok(Device::flex()),
            DeviceChoice::Ndarray => ndarray(),
            named => named.open_adapter(named.find(&Inventory::take(&Direct, named.apis()?))?),
        }
    }

    /// The adapter of an inventory that this names.
    ///
    /// # Errors
    ///
    /// If there is none, or it is a software rasteriser and must not be one.
    pub fn find(self, inventory: &Inventory) -> Result<&Adapter, DeviceError> {
        let (index, adapters) = match self {
            DeviceChoice::Wgpu(index) => (index, inventory.wgpu()),
            DeviceChoice::Vulkan(index) => (index, inventory.on(Api::Vulkan)),
            DeviceChoice::Cuda(index) => (index, inventory.on(Api::Cuda)),
            DeviceChoice::Auto | DeviceChoice::Cpu | DeviceChoice::Ndarray => (0, Vec::new()),
        };
        let found = adapters.len();
        let adapter = adapters.into_iter().nth(index).ok_or_else(|| match found {
            0 => DeviceError::NoGpu { choice: self, reason: inventory.missing() },
            found => DeviceError::NoSuch { choice: self, found },
        })?;
        if matches!(self, DeviceChoice::Vulkan(_)) && adapter.is_software() {
            return Err(DeviceError::Software { choice: self, name: adapter.name.clone() });
        }
        Ok(adapter)
    }

    /// Opens an adapter that [`DeviceChoice::find`] found, after a small computation on it.
    ///
    /// # Errors
    ///
    /// If it does not compute.
    pub fn open_adapter(self, adapter: &Adapter) -> Result<Device, DeviceError> {
        open::checked(adapter).map_err(|fault| DeviceError::Failed {
            choice: self,
            name: adapter.name.clone(),
            fault,
        })
    }

    /// Where adapters of this name are to be looked for; nowhere for what is no adapter.
    ///
    /// # Errors
    ///
    /// If the program was built without it.
    pub fn apis(self) -> Result<Vec<Api>, DeviceError> {
        match self {
            DeviceChoice::Auto => Ok(Api::built()),
            DeviceChoice::Cpu | DeviceChoice::Ndarray => Ok(Vec::new()),
            DeviceChoice::Wgpu(_) => Ok(Api::of_wgpu()),
            DeviceChoice::Vulkan(_) => Ok(vec![Api::Vulkan]),
            DeviceChoice::Cuda(_) if cfg!(feature = "cuda") => Ok(vec![Api::Cuda]),
            DeviceChoice::Cuda(_) => Err(DeviceError::NotBuilt("cuda")),
        }
    }
}

#[cfg(feature = "ndarray")]
fn ndarray() -> Result<Device, DeviceError> {
    #[expect(deprecated, reason = "deprecated is why it sits behind a feature")]
    let device = Device::ndarray();
    Ok(device)
}

#[cfg(not(feature = "ndarray"))]
fn ndarray() -> Result<Device, DeviceError> {
    Err(DeviceError::NotBuilt("ndarray"))
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceChoice::Auto => f.pad("auto"),
            DeviceChoice::Cpu => f.pad("cpu"),
            DeviceChoice::Ndarray => f.pad("ndarray"),
            DeviceChoice::Wgpu(index) => f.pad(&format!("wgpu:{index}")),
            DeviceChoice::Vulkan(index) => f.pad(&format!("vulkan:{index}")),
            DeviceChoice::Cuda(index) => f.pad(&format!("cuda:{index}")),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = DeviceError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let unknown = || DeviceError::Unknown(name.to_owned());
        let (kind, index) = match name.split_once(':') {
            // `parse` would take a plus sign too.
            Some((kind, digits)) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                (kind, Some(digits.parse().map_err(|_| unknown())?))
            }
            Some(_) => return Err(unknown()),
            None => (name, None),
        };
        match (kind, index) {
            ("auto", None) => Ok(DeviceChoice::Auto),
            ("cpu", None) => Ok(DeviceChoice::Cpu),
            ("ndarray", None) => Ok(DeviceChoice::Ndarray),
            ("wgpu", index) => Ok(DeviceChoice::Wgpu(index.unwrap_or(0))),
            ("vulkan", index) => Ok(DeviceChoice::Vulkan(index.unwrap_or(0))),
            ("cuda", index) => Ok(DeviceChoice::Cuda(index.unwrap_or(0))),
            _ => Err(unknown()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::adapter::{AdapterKind, sample};
    use super::*;

    #[test]
    fn names() {
        for (name, choice) in [
            ("auto", DeviceChoice::Auto),
            ("cpu", DeviceChoice::Cpu),
            ("ndarray", DeviceChoice::Ndarray),
            ("wgpu:0", DeviceChoice::Wgpu(0)),
            ("wgpu:12", DeviceChoice::Wgpu(12)),
            ("vulkan:1", DeviceChoice::Vulkan(1)),
            ("cuda:0", DeviceChoice::Cuda(0)),
        ] {
            assert_eq!(name.parse(), Ok(choice));
            assert_eq!(choice.to_string(), name);
        }
        for (short, choice) in [
            ("wgpu", DeviceChoice::Wgpu(0)),
            ("vulkan", DeviceChoice::Vulkan(0)),
            ("cuda", DeviceChoice::Cuda(0)),
        ] {
            assert_eq!(short.parse(), Ok(choice));
        }
        let too_large = "wgpu:99999999999999999999";
        for name in
            ["gpu", "", "cpu:0", "auto:1", "wgpu:", "wgpu:+1", "wgpu:-1", "wgpu:a", too_large]
        {
            let expected = format!(
                "expected a device, one of `auto`, `cpu`, `ndarray`, `wgpu`, `wgpu:N`, `vulkan:N` \
                 and `cuda:N`, but found `{name}`"
            );
            assert_eq!(name.parse::<DeviceChoice>().map_err(|it| it.to_string()), Err(expected));
        }
    }

    #[test]
    fn the_cpu_is_always_there() {
        assert_eq!(DeviceChoice::Auto.open(), Ok(Device::flex()));
        assert_eq!(DeviceChoice::Cpu.open(), Ok(Device::flex()));
        assert_eq!(DeviceChoice::Ndarray.open().is_ok(), cfg!(feature = "ndarray"));
        if !cfg!(feature = "cuda") {
            assert_eq!(DeviceChoice::Cuda(0).open(), Err(DeviceError::NotBuilt("cuda")));
        }
    }

    #[test]
    fn adapters_are_found_by_their_numbers() {
        let inventory = Inventory::of(vec![
            sample("llvmpipe", AdapterKind::Software, Api::Vulkan),
            sample("card by GL", AdapterKind::Other, Api::Gl),
            sample("card", AdapterKind::Discrete, Api::Vulkan),
            sample("H200", AdapterKind::Discrete, Api::Cuda),
        ]);
        let name = |choice: DeviceChoice| choice.find(&inventory).map(|it| it.name.as_str());
        assert_eq!(name(DeviceChoice::Wgpu(0)), Ok("card"));
        assert_eq!(name(DeviceChoice::Wgpu(1)), Ok("card by GL"));
        // By name, wgpu may have what Vulkan must not.
        assert_eq!(name(DeviceChoice::Wgpu(2)), Ok("llvmpipe"));
        assert_eq!(name(DeviceChoice::Vulkan(0)), Ok("card"));
        assert_eq!(name(DeviceChoice::Cuda(0)), Ok("H200"));
        let refusal = |choice: DeviceChoice| name(choice).unwrap_err().to_string();
        assert_eq!(
            refusal(DeviceChoice::Vulkan(1)),
            "`vulkan:1` is `llvmpipe`, which is no GPU but a software rasteriser"
        );
        assert_eq!(
            refusal(DeviceChoice::Wgpu(3)),
            "there is no `wgpu:3`, for there are 3 of that kind, counted from 0"
        );
        assert_eq!(
            refusal(DeviceChoice::Cuda(7)),
            "there is no `cuda:7`, for there is 1 of that kind, counted from 0"
        );
    }
}
