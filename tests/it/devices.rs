//! GPUs: what is shown of them, what happens without one, and that what they compute is right.
//!
//! CI has no GPU but Mesa's software Vulkan, and sets `REQUIRE_WGPU`. Elsewhere, where no driver
//! offers anything, the tests that need one say that they are left out.

use std::env;
use std::io::Write as _;
use std::process::Command;
use std::sync::OnceLock;

use burn::tensor::{Device, Tensor, TensorData};
use convminer::features::engineer::INPUT_COUNT;
use convminer::model::device::probe::Direct;
use convminer::model::device::{Adapter, Api, DeviceChoice, DeviceError, Inventory};
use convminer::model::ensemble::Ensemble;
use convminer::model::networks::{Network, floats};
use convminer::subnet::challenge::Challenge;
use convminer::subnet::reward::RewardSpec;
use convminer::train::evaluation::evaluate;
use convminer::train::{TrainConfig, Trained, train};
use serde_json::Value;

use crate::support::{convminer, examples, fail, generate, succeed, transcript};

/// The best adapter of wgpu, which may be a software rasteriser; none if there is none.
fn adapter() -> Option<&'static Adapter> {
    static FOUND: OnceLock<Option<Adapter>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let inventory = Inventory::take(&Direct, Api::of_wgpu());
        inventory.wgpu().first().map(|adapter| (*adapter).clone())
    });
    let required = env::var_os("REQUIRE_WGPU").is_some();
    assert!(found.is_some() || !required, "there is no adapter, and REQUIRE_WGPU is set");
    if found.is_none() {
        // Not `eprintln!`, which the test harness keeps to itself when a test passes.
        let name = std::thread::current().name().unwrap_or("a test").to_owned();
        let _ = writeln!(std::io::stderr(), "LEFT OUT: {name}: no driver offers an adapter");
    }
    found.as_ref()
}

fn wgpu() -> Option<Device> {
    adapter().map(|adapter| DeviceChoice::Wgpu(0).open_adapter(adapter).unwrap())
}

/// The program on a machine without any driver of a GPU.
fn without_drivers(command: &mut Command) -> &mut Command {
    for variable in ["VK_DRIVER_FILES", "VK_ICD_FILENAMES", "__EGL_VENDOR_LIBRARY_FILENAMES"] {
        command.env(variable, "/nonexistent");
    }
    command.env("__EGL_VENDOR_LIBRARY_DIRS", "/nonexistent").env("PATH", "/nonexistent")
}

#[test]
fn a_machine_without_gpu_has_its_cpu() {
    let folder = tempfile::tempdir().unwrap();
    let output = without_drivers(&mut convminer(folder.path())).arg("devices").output().unwrap();
    let text = transcript(&output);
    assert!(output.status.success(), "{text}");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(lines.iter().filter(|line| line.starts_with("cpu ")).count(), 1, "{text}");
    assert!(lines.iter().all(|line| !line.contains("wgpu")), "{text}");
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "no GPU: no driver offers a GPU (on Linux: Vulkan, or OpenGL ES by EGL)\n"
    );
}

#[test]
fn a_device_that_is_not_there_is_an_error_and_auto_is_the_cpu() {
    let folder = tempfile::tempdir().unwrap();
    generate(folder.path(), "rule", 40, 3, "data.parquet");
    let train = |device: &str| {
        let mut command = convminer(folder.path());
        without_drivers(&mut command);
        command.args("train --data data.parquet --epochs 1 --out model --device".split(' '));
        command.arg(device);
        command
    };
    let hint = "hint: `convminer devices` shows what there is; --device cpu needs none\n";
    for device in ["wgpu:0", "vulkan:3"] {
        let expected = format!(
            "error: there is no `{device}`: no driver offers a GPU (on Linux: Vulkan, or OpenGL ES \
             by EGL)\n{hint}"
        );
        assert_eq!(fail(&mut train(device)), expected);
    }
    if !cfg!(feature = "cuda") {
        let expected = "error: this convminer was built without the device `cuda`; build it with \
                        `--features cuda`\n";
        assert_eq!(fail(&mut train("cuda")), expected);
    }
    let unknown = fail(&mut train("gpu"));
    assert!(unknown.contains("`wgpu:N`, `vulkan:N` and `cuda:N`, but found `gpu`"), "{unknown}");
    // So little work that nobody looks for a GPU, and nothing is said of any.
    let output = train("auto").output().unwrap();
    let text = transcript(&output);
    assert!(output.status.success(), "{text}");
    assert!(!text.contains("GPU") && !text.contains("computing on"), "{text}");
    let manifest = succeed(convminer(folder.path()).args(["inspect", "model", "--json"]));
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!(manifest["device"], "cpu");
}

#[test]
fn adapters_are_shown_and_software_is_called_software() {
    let Some(adapter) = adapter() else { return };
    let folder = tempfile::tempdir().unwrap();
    let shown = succeed(convminer(folder.path()).args(["devices", "--json"]));
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let devices = shown["devices"].as_array().unwrap();
    let first = devices.iter().find(|device| device["device"][0] == "wgpu:0").unwrap();
    assert_eq!(first["name"], adapter.name.as_str());
    assert_eq!(first["fault"], Value::Null, "{first}");
    assert_eq!(shown["faults"].as_array().map(Vec::len), Some(0), "{shown}");
    let vulkan = DeviceChoice::Vulkan(0).open();
    if !adapter.is_software() {
        return;
    }
    assert_eq!(first["type"], "software");
    if adapter.api == Api::Vulkan {
        let name = adapter.name.clone();
        let choice = DeviceChoice::Vulkan(0);
        assert_eq!(vulkan, Err(DeviceError::Software { choice, name }));
    }
    generate(folder.path(), "rule", 60, 3, "data.parquet");
    let checkpoint = concat!(env!("CARGO_MANIFEST_DIR"), "/checkpoints/default");
    let arguments = ["predict", "--data", "data.parquet", "--checkpoint", checkpoint];
    let mut predict = convminer(folder.path());
    // Without it, a layer of Mesa's complains on stderr.
    predict.env("XDG_RUNTIME_DIR", folder.path());
    let output = predict.args(arguments).args(["--device", "wgpu"]).output().unwrap();
    assert!(output.status.success(), "{}", transcript(&output));
    let expected =
        format!("warning: wgpu:0 is no GPU but a software rasteriser, {}\n", adapter.name);
    assert_eq!(String::from_utf8_lossy(&output.stderr), expected);
    let on_cpu = succeed(convminer(folder.path()).args(arguments).args(["--device", "cpu"]));
    assert_same_answers(&String::from_utf8_lossy(&output.stdout), &on_cpu);
}

/// CSV of answers: the same classes, and numbers to 1e-3.
fn assert_same_answers(one: &str, other: &str) {
    assert_eq!(one.lines().count(), other.lines().count());
    for (one, other) in one.lines().zip(other.lines()).skip(1) {
        for (one, other) in one.split(',').zip(other.split(',')).skip(1) {
            let (one, other): (f64, f64) = (one.parse().unwrap(), other.parse().unwrap());
            assert!((one - other).abs() <= 1e-3 * other.abs().max(1.0), "{one}, {other}");
        }
    }
}

/// A run without dropout, whose masks are each device's own.
fn config() -> TrainConfig {
    let member = |stage: &str, name: &str| {
        format!(
            "[[{stage}]]\narchitecture = '{name}'\nepochs = 6\npatience = 6\nleast_steps = 0\n\
             batch_size = 128\ndropout = 0.0\nunits = 32\n"
        )
    };
    // Small steps: large ones magnify the last digits, in which devices differ.
    let tabular = member("classifier", "tabular") + "bins = 2\nlearning_rate = 0.003\n";
    let classifiers = tabular + &member("classifier", "mlp");
    let regressors = member("regressor", "mlp");
    TrainConfig::from_toml(&format!("folds = 1\nseed = 5\n{classifiers}{regressors}")).unwrap()
}

fn trained_on(device: &Device) -> Trained {
    let (conversations, truths) = examples(Challenge::Rule, 1500, 11);
    train(&conversations, &truths, &config(), device, &mut ()).unwrap()
}

#[test]
fn training_learns_and_agrees_with_the_cpu() {
    let Some(device) = wgpu() else { return };
    let on_device = trained_on(&device);
    let on_cpu = trained_on(&Device::flex());

    for (stage, on_cpu) in on_device.stages.iter().zip(&on_cpu.stages) {
        let name = format!("{} {}", stage.stage, stage.member);
        let first = stage.epochs.first().unwrap().validation;
        let best = stage.epochs.iter().map(|epoch| epoch.validation).fold(first, f64::min);
        assert!(best < 0.97 * first, "{name} learns nothing: {first}, {best}");
        assert_eq!(stage.epochs.len(), on_cpu.epochs.len(), "{name}");
        for (one, other) in stage.epochs.iter().zip(&on_cpu.epochs) {
            let near = (one.loss / other.loss - 1.0).abs() < 0.01;
            assert!(near, "{name}: {:?}, on the CPU {:?}", stage.epochs, on_cpu.epochs);
        }
    }
    let (conversations, truths) = examples(Challenge::Rule, 3000, 12);
    let reward = |trained: &Trained| {
        let spec: RewardSpec = trained.predictor.spec;
        let scores = evaluate(&trained.predictor, &conversations, &truths, &spec).unwrap();
        (scores.miner.mean_reward, scores.baseline.mean_reward)
    };
    let ((ours, baseline), (on_cpu, _)) = (reward(&on_device), reward(&on_cpu));
    assert!((ours - on_cpu).abs() < 0.002, "a reward of {ours}, on the CPU {on_cpu}");
    assert!(ours > baseline + 0.005, "a reward of {ours}, and of {baseline} by the baseline");
}

#[test]
fn a_forward_pass_is_the_cpus() {
    let Some(device) = wgpu() else { return };
    let (conversations, truths) = examples(Challenge::Rule, 1000, 11);
    let member = |stage: &str, name: &str| {
        format!("[[{stage}]]\narchitecture = '{name}'\nepochs = 2\nleast_steps = 0\n")
    };
    let names = ["mixture", "tabular", "residual", "mlp"];
    let mut text = "folds = 1\n".to_owned();
    text.extend(names.iter().map(|name| member("classifier", name)));
    text += &member("regressor", "mlp");
    let config = TrainConfig::from_toml(&text).unwrap();
    let trained = train(&conversations, &truths, &config, &Device::flex(), &mut ()).unwrap();
    let ensemble = trained.predictor.ensemble.as_ref().unwrap();
    let bytes = ensemble.networks().to_safetensors().unwrap();
    let config = ensemble.config().clone();
    let copy = Ensemble::from_safetensors(bytes, config, &device).unwrap();

    let rows = trained.predictor.scaler.rows(&conversations[..300]);
    let raw = |network: &Network, device: &Device| {
        let rows = TensorData::new(rows.clone(), [300, INPUT_COUNT]);
        floats(network.forward(Tensor::from_data(rows, device)).flatten(0, 2))
    };
    let here = ensemble.networks().classifiers.iter().chain(&ensemble.networks().regressors);
    let there = copy.networks().classifiers.iter().chain(&copy.networks().regressors);
    let mut compared = 0;
    for (here, there) in here.zip(there) {
        let (here, there) = (raw(here, &Device::flex()), raw(there, &device));
        assert_eq!(here.len(), there.len());
        for (here, there) in here.iter().zip(&there) {
            assert!((here - there).abs() < 1e-4, "{here} on the CPU, {there} by wgpu");
        }
        compared += 1;
    }
    assert_eq!(compared, 5);
}
