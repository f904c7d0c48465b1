//! Makes a device of an adapter.

use std::sync::Arc;
use std::sync::{Mutex, PoisonError};

use burn::tensor::Device;
use burn::tensor::wgpu::{WgpuSetup, wgpu};

use super::adapter::{self, Adapter, Api, block_on};
use super::probe::Fault;
use super::{check, memory, quietly};

/// The devices that this process has opened. Each opening would make a runtime with memory of its
/// own, and cubecl forgets none.
static OPENED: Mutex<Vec<((Api, usize), Device)>> = Mutex::new(Vec::new());

/// Opens an adapter, and lets it compute a little.
pub(super) fn checked(adapter: &Adapter) -> Result<Device, Fault> {
    let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
    let key = (adapter.api, adapter.position);
    if let Some((_, device)) = opened.iter().find(|(other, _)| *other == key) {
        return Ok(device.clone());
    }
    // wgpu and cubecl panic where drivers fail, and users should read one line instead.
    let device = quietly(|| {
        let device = device(adapter)?;
        check::products(&device)?;
        Ok(device)
    });
    let device = device.and_then(|checked: Result<Device, String>| checked);
    let device = device.map_err(|reason| Fault::Says(check::first_line(&reason)))?;
    opened.push((key, device.clone()));
    Ok(device)
}

fn device(adapter: &Adapter) -> Result<Device, String> {
    match adapter.api {
        Api::Cuda => cuda(adapter.position),
        api => wgpu_device(api, adapter),
    }
}

#[cfg(feature = "cuda")]
fn cuda(position: usize) -> Result<Device, String> {
    Ok(Device::cuda(position))
}

#[cfg(not(feature = "cuda"))]
fn cuda(_: usize) -> Result<Device, String> {
    Err("this convminer was built without CUDA".to_owned())
}

/// Burn's selectors know kinds of adapters and not which one, so the adapter is opened here and
/// handed over. What is asked of it is what cubecl itself asks, but for wgpu's experiments, of
/// which WGSL needs none.
fn wgpu_device(api: Api, adapter: &Adapter) -> Result<Device, String> {
    let gone = || "it is not there any more".to_owned();
    let backend = api.backend().ok_or_else(gone)?;
    let (instance, adapters) = adapter::raw(api).ok_or_else(gone)?;
    let raw = adapters.into_iter().nth(adapter.position).ok_or_else(gone)?;
    if raw.get_info().name != adapter.name {
        return Err(gone());
    }
    let unwanted =
        wgpu::Features::MAPPABLE_PRIMARY_BUFFERS | wgpu::Features::all_experimental_mask();
    let (device, queue) = block_on(raw.request_device(&wgpu::DeviceDescriptor {
        label: None,
        required_features: raw.features().difference(unwanted),
        required_limits: raw.limits(),
        experimental_features: wgpu::ExperimentalFeatures::disabled(),
        // Memory comes in large pieces, which cubecl divides.
        memory_hints: wgpu::MemoryHints::MemoryUsage,
        trace: wgpu::Trace::Off,
    }))
    .map_err(|error| error.to_string())?;
    let setup = WgpuSetup { instance, adapter: raw, device: device.clone(), queue, backend };
    let opened = Device::wgpu_options().setup(setup).init().map_err(|error| error.to_string())?;
    // After cubecl's own handler, which it replaces: that panics too, but nobody would hear it.
    let shortage = memory::watch(&opened);
    device.on_uncaptured_error(Arc::new(move |error| {
        if matches!(error, wgpu::Error::OutOfMemory { .. }) {
            shortage.note();
        }
        panic!("wgpu error: {error}");
    }));
    Ok(opened)
}
