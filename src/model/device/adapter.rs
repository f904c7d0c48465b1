//! The adapters that drivers offer.

use std::cell::LazyCell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use burn::tensor::wgpu::wgpu;
use serde::{Deserialize, Serialize};

use super::capacity::{self, Memory, NvidiaCard};

/// What an adapter is driven by, the one to be preferred first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Api {
    /// NVIDIA's own, without wgpu.
    Cuda,
    /// Vulkan.
    Vulkan,
    /// Apple's.
    Metal,
    /// Windows'.
    Dx12,
    /// OpenGL, on Linux by EGL.
    Gl,
}

/// What an adapter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AdapterKind {
    /// A card with memory of its own.
    Discrete,
    /// Beside the CPU, in its memory.
    Integrated,
    /// A part of a GPU, in a virtual machine.
    Virtual,
    /// A GPU of which the driver says no more.
    Other,
    /// The CPU, made up as a GPU.
    Software,
}

/// What can be opened as a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adapter {
    /// As the driver names it.
    pub name: String,
    /// What it is.
    pub kind: AdapterKind,
    /// What it is driven by.
    pub api: Api,
    /// Which of those it is, in the driver's own order.
    pub position: usize,
    /// The driver and its version; empty if it says neither.
    pub driver: String,
    /// Where it is plugged in, such as `0000:01:00.0`, if it says so.
    pub pci: Option<String>,
    /// How much memory it has.
    pub memory: Memory,
    /// The largest single buffer in bytes that it lends; none if it says nothing of that.
    pub largest_buffer_bytes: Option<u64>,
}

impl Api {
    /// All that this program can use, on this system and with its cargo features.
    pub fn built() -> Vec<Api> {
        let cuda = cfg!(feature = "cuda").then_some(Api::Cuda);
        cuda.into_iter().chain(Api::of_wgpu()).collect()
    }

    /// Those of them that are wgpu's.
    pub fn of_wgpu() -> Vec<Api> {
        let enabled = wgpu::Instance::enabled_backend_features();
        let all = [Api::Vulkan, Api::Metal, Api::Dx12, Api::Gl];
        all.into_iter()
            .filter(|api| api.backend().is_some_and(|backend| enabled.contains(backend.into())))
            .collect()
    }

    /// wgpu's name for it.
    pub(super) fn backend(self) -> Option<wgpu::Backend> {
        match self {
            Api::Cuda => None,
            Api::Vulkan => Some(wgpu::Backend::Vulkan),
            Api::Metal => Some(wgpu::Backend::Metal),
            Api::Dx12 => Some(wgpu::Backend::Dx12),
            Api::Gl => Some(wgpu::Backend::Gl),
        }
    }
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Api::Cuda => "CUDA",
            Api::Vulkan => "Vulkan",
            Api::Metal => "Metal",
            Api::Dx12 => "Direct3D 12",
            Api::Gl => "OpenGL",
        })
    }
}

impl fmt::Display for AdapterKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            AdapterKind::Discrete => "discrete GPU",
            AdapterKind::Integrated => "integrated GPU",
            AdapterKind::Virtual => "virtual GPU",
            AdapterKind::Other => "GPU",
            AdapterKind::Software => "software",
        })
    }
}

impl Adapter {
    /// Whether it is the CPU, made up as a GPU: slower than the CPU as such, and none that anybody
    /// wants without asking for it.
    pub fn is_software(&self) -> bool {
        self.kind == AdapterKind::Software
    }

    /// By what adapters are put in order, the one that promises most first. What rasterises in
    /// software comes after all GPUs, and a GPU that is there twice comes first as what drives it
    /// better.
    pub(super) fn rank(&self) -> (bool, Api, AdapterKind) {
        (self.is_software(), self.api, self.kind)
    }

    fn new(
        adapter: &wgpu::Adapter,
        api: Api,
        position: usize,
        nvidia: impl FnOnce() -> Vec<NvidiaCard>,
    ) -> Adapter {
        let info = adapter.get_info();
        let limits = adapter.limits();
        let kind = kind_of(info.device_type, &info.name);
        let pci = Some(info.device_pci_bus_id).filter(|address| !address.is_empty());
        Adapter {
            memory: Memory::of(kind, pci.as_deref(), nvidia),
            name: info.name,
            kind,
            api,
            position,
            driver: [info.driver, info.driver_info].join(" ").trim().to_owned(),
            pci,
            largest_buffer_bytes: Some(
                limits.max_buffer_size.min(limits.max_storage_buffer_binding_size),
            ),
        }
    }
}

/// Drivers mostly say what they are; the names are for those that do not.
fn kind_of(said: wgpu::DeviceType, name: &str) -> AdapterKind {
    const SOFTWARE: [&str; 5] =
        ["llvmpipe", "lavapipe", "softpipe", "swiftshader", "microsoft basic render driver"];
    let name = name.to_lowercase();
    if SOFTWARE.iter().any(|software| name.contains(software)) {
        return AdapterKind::Software;
    }
    match said {
        wgpu::DeviceType::DiscreteGpu => AdapterKind::Discrete,
        wgpu::DeviceType::IntegratedGpu => AdapterKind::Integrated,
        wgpu::DeviceType::VirtualGpu => AdapterKind::Virtual,
        wgpu::DeviceType::Cpu => AdapterKind::Software,
        wgpu::DeviceType::Other => AdapterKind::Other,
    }
}

/// wgpu's instances, made at their first use and never taken down: Vulkan's loader crashes when
/// instances come and go on several threads at once.
static INSTANCES: Mutex<BTreeMap<Api, wgpu::Instance>> = Mutex::new(BTreeMap::new());

/// The instance and its adapters, in the driver's order.
pub(super) fn raw(api: Api) -> Option<(wgpu::Instance, Vec<wgpu::Adapter>)> {
    let backend = api.backend()?;
    let mut instances = INSTANCES.lock().unwrap_or_else(PoisonError::into_inner);
    let instance = instances.entry(api).or_insert_with(|| {
        wgpu::Instance::new(wgpu::InstanceDescriptor {
            backends: backend.into(),
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        })
    });
    let adapters = block_on(instance.enumerate_adapters(backend.into()));
    Some((instance.clone(), adapters))
}

/// What an API has, asked in this process.
pub(super) fn list(api: Api) -> Vec<Adapter> {
    if api == Api::Cuda {
        return cuda();
    }
    let adapters = raw(api).map_or(Vec::new(), |(_, adapters)| adapters);
    // Asked once, and only if there is a card whose memory nobody else tells.
    let nvidia = LazyCell::new(capacity::nvidia_cards);
    let numbered = adapters.iter().enumerate();
    numbered
        .map(|(position, adapter)| Adapter::new(adapter, api, position, || nvidia.clone()))
        .collect()
}

#[cfg(feature = "cuda")]
fn cuda() -> Vec<Adapter> {
    use burn::tensor::{Device, DeviceType};
    let count = Device::enumerate(DeviceType::Cuda).len();
    let cards = capacity::nvidia_cards();
    let card = |position: usize| {
        // CUDA has an order of its own, so a name is known for certain only if there is one card.
        let known = cards.first().filter(|_| count == 1 && cards.len() == 1);
        Adapter {
            name: known.map_or_else(|| format!("CUDA device {position}"), |it| it.name.clone()),
            kind: AdapterKind::Discrete,
            api: Api::Cuda,
            position,
            driver: known.map_or_else(String::new, |it| format!("NVIDIA {}", it.driver)),
            pci: known.map(|it| it.pci.clone()),
            memory: known.map_or(Memory::Unknown, |it| Memory::Own(it.memory_bytes)),
            largest_buffer_bytes: None,
        }
    };
    (0..count).map(card).collect()
}

#[cfg(not(feature = "cuda"))]
fn cuda() -> Vec<Adapter> {
    Vec::new()
}

/// Waits for what wgpu promises. Outside of browsers it has kept that by the time it promises it,
/// so there is nothing to sleep for.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::yield_now(),
        }
    }
}

/// An adapter that there is not.
#[cfg(test)]
pub(super) fn sample(name: &str, kind: AdapterKind, api: Api) -> Adapter {
    Adapter {
        name: name.to_owned(),
        kind,
        api,
        position: 0,
        driver: "Mesa 22.3.6".to_owned(),
        pci: None,
        memory: Memory::Unknown,
        largest_buffer_bytes: Some(1 << 27),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_is_known_by_its_kind_and_by_its_name() {
        for (said, name, expected) in [
            (wgpu::DeviceType::Cpu, "llvmpipe (LLVM 15.0.6, 256 bits)", AdapterKind::Software),
            (wgpu::DeviceType::Cpu, "some renderer", AdapterKind::Software),
            (wgpu::DeviceType::Other, "llvmpipe (LLVM 15.0.6, 256 bits)", AdapterKind::Software),
            (wgpu::DeviceType::VirtualGpu, "Virtio-GPU Venus (llvmpipe)", AdapterKind::Software),
            (wgpu::DeviceType::DiscreteGpu, "SwiftShader Device (LLVM 10)", AdapterKind::Software),
            (wgpu::DeviceType::Other, "Microsoft Basic Render Driver", AdapterKind::Software),
            (wgpu::DeviceType::DiscreteGpu, "NVIDIA H200", AdapterKind::Discrete),
            (wgpu::DeviceType::IntegratedGpu, "AMD Radeon 780M (RADV)", AdapterKind::Integrated),
            (wgpu::DeviceType::VirtualGpu, "NVIDIA A16-4Q", AdapterKind::Virtual),
            (wgpu::DeviceType::Other, "NVIDIA GeForce RTX 4090/PCIe/SSE2", AdapterKind::Other),
        ] {
            assert_eq!(kind_of(said, name), expected, "{name} as {said:?}");
        }
    }

    #[test]
    fn a_gpu_comes_before_what_is_none() {
        let mut adapters = [
            sample("llvmpipe", AdapterKind::Software, Api::Vulkan),
            sample("card by GL", AdapterKind::Other, Api::Gl),
            sample("beside the CPU", AdapterKind::Integrated, Api::Vulkan),
            sample("card", AdapterKind::Discrete, Api::Vulkan),
        ];
        adapters.sort_by_key(Adapter::rank);
        let names = adapters.map(|adapter| adapter.name);
        assert_eq!(names, ["card", "beside the CPU", "card by GL", "llvmpipe"]);
    }
}
