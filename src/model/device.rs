//! Where tensors live: the CPU or a GPU, chosen at run time.

use std::fmt;
use std::panic;
use std::str::FromStr;

use burn::tensor::{Device, DeviceKind, Tensor};

/// A device as a user names it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// What suits the work. The networks are small enough that this is the CPU.
    #[default]
    Auto,
    /// Burn's flex device.
    Cpu,
    /// Burn's ndarray device, with the cargo feature of that name.
    Ndarray,
    /// The GPU that wgpu prefers.
    Wgpu,
}

/// Why a device cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// There is no device of this name.
    #[error("expected a device, one of `auto`, `cpu`, `ndarray` and `wgpu`, but found `{0}`")]
    Unknown(String),
    /// The program was built without it.
    #[error(
        "this convminer was built without the device `ndarray`; build it with `--features ndarray`"
    )]
    NotBuilt,
    /// No adapter answers.
    #[error("wgpu finds no GPU with a working driver (on Linux: Vulkan, or OpenGL ES by EGL)")]
    NoGpu,
    /// It computes something else.
    #[error("the GPU gives wrong results: a product of ones came out as {0}")]
    Wrong(String),
}

impl DeviceChoice {
    /// Every choice, in the order of the help.
    pub const ALL: [DeviceChoice; 4] =
        [DeviceChoice::Auto, DeviceChoice::Cpu, DeviceChoice::Ndarray, DeviceChoice::Wgpu];

    /// The device, after a small computation on it where it may be missing.
    ///
    /// # Errors
    ///
    /// If the program was built without it, or it does not compute.
    pub fn open(self) -> Result<Device, DeviceError> {
        match self.resolved() {
            DeviceChoice::Auto | DeviceChoice::Cpu => Ok(Device::flex()),
            DeviceChoice::Ndarray => ndarray(),
            DeviceChoice::Wgpu => probed(Device::wgpu(DeviceKind::DefaultDevice)),
        }
    }

    /// The choice that `auto` comes down to.
    pub fn resolved(self) -> DeviceChoice {
        match self {
            DeviceChoice::Auto => DeviceChoice::Cpu,
            named => named,
        }
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            DeviceChoice::Auto => "auto",
            DeviceChoice::Cpu => "cpu",
            DeviceChoice::Ndarray => "ndarray",
            DeviceChoice::Wgpu => "wgpu",
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
    Err(DeviceError::NotBuilt)
}

/// wgpu finds its adapter at the first use, and panics if there is none or its driver fails; a
/// user who asked for a GPU should read one line instead.
fn probed(device: Device) -> Result<Device, DeviceError> {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| ()));
    let result = panic::catch_unwind(|| {
        let ones = Tensor::<2>::ones([2, 2], &device);
        ones.clone().matmul(ones).into_data().try_into_vec::<f32>()
    });
    panic::set_hook(hook);
    match result {
        Ok(Ok(values)) if values == [2.0; 4] => Ok(device),
        Ok(values) => Err(DeviceError::Wrong(format!("{values:?}"))),
        // What the panic says is of wgpu's inside and names no cause.
        Err(_) => Err(DeviceError::NoGpu),
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for DeviceChoice {
    type Err = DeviceError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        DeviceChoice::ALL
            .into_iter()
            .find(|choice| choice.as_str() == name)
            .ok_or_else(|| DeviceError::Unknown(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for choice in DeviceChoice::ALL {
            assert_eq!(choice.to_string().parse(), Ok(choice));
        }
        assert_eq!(
            "gpu".parse::<DeviceChoice>().unwrap_err().to_string(),
            "expected a device, one of `auto`, `cpu`, `ndarray` and `wgpu`, but found `gpu`"
        );
    }

    #[test]
    fn the_cpu_is_always_there() {
        assert_eq!(DeviceChoice::Auto.open(), Ok(Device::flex()));
        assert_eq!(DeviceChoice::Cpu.open(), Ok(Device::flex()));
        assert_eq!(DeviceChoice::Ndarray.open().is_ok(), cfg!(feature = "ndarray"));
    }
}
