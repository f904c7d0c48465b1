"""Trains the same networks with convminer and with PyTorch, by turns."""

import argparse
import json
import os
import shlex
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from axon.sections import write_section
from axon.servers import ROOT, default_binary
from streaming import others
from streaming.miner import Convminer

from . import data, shown, turns
from .goals import goals
from .steps import MODES
from .turns import Found, Plan

NETWORKS = ("mlp", "mixture", "tabular", "regressor", "ensemble")
# What options are unless they are given.
USUAL: dict[str, Any] = {
    "networks": list(NETWORKS),
    "batch_sizes": [64, 256, 1024, 4096],
    "gpu_batch_sizes": [256, 1024, 4096, 16_384, 65_536],
    "rows": 131_072,
    "seconds": 0.5,
    "repetitions": 3,
    "rounds": 3,
    "threads": 2,
    "to_reward": "0.6",
}


def numbers(text: str) -> list[int]:
    """Comma-separated numbers."""
    return [int(number) for number in text.split(",")]


def names(text: str) -> list[str]:
    """Comma-separated networks."""
    chosen = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in chosen if name not in shown.TITLES]
    if unknown or not chosen:
        raise argparse.ArgumentTypeError(
            f"expected some of {', '.join(NETWORKS)}, but it is `{text}`"
        )
    return chosen


def device_name(name: str) -> str:
    """A device as `convminer devices` names it: the first of its kind, if no number is given."""
    return name if ":" in name else f"{name}:0"


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="benches/training/run.sh",
        description=__doc__,
        epilog="run.sh itself takes --venv DIR, a Python environment to use or to make.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--binary", type=Path, default=default_binary(), help="convminer, a release build")
    add("--networks", type=names, help="which of them")
    add("--batch-sizes", type=numbers, help="on the CPU")
    add("--gpu-batch-sizes", type=numbers, help="on the GPU")
    add(
        "--gpu",
        metavar="DEVICE",
        type=device_name,
        help="convminer's name of the GPU, such as wgpu:0; else the first that it lists",
    )
    add("--no-cpu", action="store_true", help="the GPU alone")
    add("--peak-tflops", type=float, help="what the GPU computes at best in f32: 67 for an H200")
    add("--bandwidth-gbs", type=float, help="what its memory moves at best: 4800 for an H200")
    add("--rows", type=int, help="conversations to train on")
    add("--seed", type=int, default=0, help="of the conversations")
    add("--seconds", type=float, help="of a repetition")
    add("--repetitions", type=int, help="of a turn")
    add("--rounds", type=int, help="turns of each side")
    add("--threads", type=int, help="of PyTorch on the CPU, and cores that both may use")
    add("--compile", action="store_true", help="torch.compile on the CPU too")
    add("--burn", action="store_true", help="convminer by Burn's gradients on the CPU too")
    add("--to-reward", help="mean rewards to train for, with commas; empty for none")
    add("--json", type=Path, metavar="FILE", help="every figure")
    add("--benchmarks", type=Path, metavar="FILE", default=ROOT / "BENCHMARKS.md", help="to write")
    add("--print-only", action="store_true", help="leave BENCHMARKS.md as it is")
    parser.set_defaults(**USUAL)
    arguments = parser.parse_args()
    if not arguments.binary.is_file():
        parser.error(
            f"expected a program at `{arguments.binary}`: run `cargo build --release`, "
            "or name one with --binary"
        )
    arguments.binary = arguments.binary.resolve()
    cores = len(os.sched_getaffinity(0))
    if not 1 <= arguments.threads <= cores:
        parser.error(f"expected --threads in 1..={cores}, the cores here, not {arguments.threads}")
    if (arguments.peak_tflops is None) != (arguments.bandwidth_gbs is None):
        parser.error("--peak-tflops and --bandwidth-gbs say something only together")
    return arguments


def reproduce(arguments: argparse.Namespace) -> str:
    """The command that gives the same figures elsewhere."""
    options = []
    for name, usual in USUAL.items():
        value = getattr(arguments, name)
        if value != usual:
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            options.append(f"--{name.replace('_', '-')}={text}")
    for name in ("gpu", "peak_tflops", "bandwidth_gbs"):
        if getattr(arguments, name) is not None:
            options.append(f"--{name.replace('_', '-')}={getattr(arguments, name)}")
    for name in ("no_cpu", "compile", "burn"):
        if getattr(arguments, name):
            options.append(f"--{name.replace('_', '-')}")
    return shlex.join(["benches/training/run.sh", *options])


def find_gpu(arguments: argparse.Namespace) -> tuple[str, str, str] | None:
    """convminer's name of the GPU, the GPU's own, and its driver; none where there is none."""
    for device in turns.devices(arguments.binary):
        names = device["device"]
        is_gpu = "gpu" in device["type"].lower() and device["fault"] is None
        if arguments.gpu in names if arguments.gpu else is_gpu:
            return arguments.gpu or names[0], device["name"], device["driver"]
    if arguments.gpu:
        raise SystemExit(f"`convminer devices` lists no `{arguments.gpu}`")
    return None


@contextmanager
def on_cores(count: int) -> Iterator[None]:
    """Lets the processes that are started meanwhile use no more than so many cores: PyTorch's
    threads are counted, and convminer would take all there are.
    """
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(allowed)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def measure(arguments: argparse.Namespace, plan: Plan, gpu: str | None, cuda: bool) -> Found:
    """All turns."""
    found = Found()
    for turn in range(arguments.rounds):
        for network in arguments.networks:
            print(f"turn {turn + 1} of {arguments.rounds}: {network}", file=sys.stderr, flush=True)
            # The first turn also says what shape the networks have.
            if not arguments.no_cpu:
                with on_cores(arguments.threads):
                    on_cpu(plan, found, network, arguments)
            if gpu:
                plan.convminer(found, gpu, network, arguments.gpu_batch_sizes)
            for mode in MODES if gpu and cuda else ():
                on_gpu(plan, found, mode, network, arguments.gpu_batch_sizes)
    if arguments.to_reward:
        if not arguments.no_cpu:
            with on_cores(arguments.threads):
                plan.rewards(found, "cpu", arguments.to_reward)
        if gpu:
            plan.rewards(found, gpu, arguments.to_reward)
    return found


def on_cpu(plan: Plan, found: Found, network: str, arguments: argparse.Namespace) -> None:
    """A turn of both on the CPU."""
    sizes = arguments.batch_sizes
    plan.convminer(found, "cpu", network, sizes)
    plan.torch(found, "cpu", "eager", network, sizes)
    if arguments.threads > 1:
        # Batches so small may be better off with one.
        plan.torch(found, "cpu", "eager", network, sizes, threads=1)
    if arguments.compile:
        plan.torch(found, "cpu", "compile", network, sizes)
    if arguments.burn:
        plan.convminer(found, "burn", network, sizes)


def on_gpu(plan: Plan, found: Found, mode: str, network: str, batch_sizes: list[int]) -> None:
    """A turn of PyTorch on the GPU. A mode that fails there is told, and not the end."""
    try:
        plan.torch(found, "cuda", mode, network, batch_sizes)
    except RuntimeError as error:
        found.failures[f"{mode}, {network}"] = str(error)
        print(f"PyTorch, {mode}, {network}: {error}", file=sys.stderr)


def write_json(path: Path, arguments: argparse.Namespace, found: Found, gpu: object) -> None:
    """Every figure."""
    report = {
        "command": reproduce(arguments),
        "gpu": gpu,
        "threads": arguments.threads,
        "share_of_others": found.others,
        "rates": [
            {"way": way, "network": network, "batch_size": size, "rows_per_second": rates}
            for way, cells in found.rates.items()
            for (network, size), rates in cells.items()
        ],
        "floors": [
            {"way": way, "network": network, "batch_size": size, **floor}
            for way, cells in found.floors.items()
            for (network, size), floor in cells.items()
        ],
        "peaks": found.peaks,
        "costs": found.costs,
        "rewards": found.rewards,
        "failures": found.failures,
    }
    path.write_text(json.dumps(report, indent=1) + "\n")


def main() -> None:
    """Runs, prints and writes."""
    arguments = parse_arguments()
    convminer = Convminer(arguments.binary)
    gpu = find_gpu(arguments)
    cuda = turns.torch_side("--device=cuda")["device"]
    if gpu is None:
        print("no GPU: the GPU part is not measured", file=sys.stderr)
    peak = []
    if arguments.peak_tflops is not None:
        peak = [
            f"--peak-tflops={arguments.peak_tflops}",
            f"--bandwidth-gbs={arguments.bandwidth_gbs}",
        ]
    with tempfile.TemporaryDirectory(prefix="convminer-training-") as folder:
        rows = Path(folder, "rows.npz")
        largest = max(arguments.batch_sizes + (arguments.gpu_batch_sizes if gpu else []))
        count = max(arguments.rows, 2 * largest)
        data.make(convminer, count, arguments.seed, rows)
        plan = Plan(
            convminer.path,
            rows,
            count,
            arguments.seed,
            arguments.seconds,
            arguments.repetitions,
            arguments.threads,
            peak,
        )
        watch = others.Others()
        found = measure(arguments, plan, gpu and gpu[0], bool(cuda))
        found.others = watch.share()
    if arguments.json:
        write_json(arguments.json, arguments, found, gpu and {"convminer": gpu, "torch": cuda})
    versions = {"convminer": convminer.version(), "Python": sys.version.split()[0]}
    versions["torch"] = version("torch")
    introduction = {
        "command": reproduce(arguments),
        "versions": ", ".join(f"{name} {number}" for name, number in versions.items()),
        "rows": f"{count:,}",
        "rounds": arguments.rounds,
        "repetitions": arguments.repetitions,
        "seconds": arguments.seconds,
        "threads": arguments.threads,
        "others": others.told(found.others),
    }
    cells = {
        where: [(network, size) for network in arguments.networks for size in sizes]
        for where, sizes in [("cpu", arguments.batch_sizes), ("gpu", arguments.gpu_batch_sizes)]
    }
    reached = goals(found, gpu and gpu[0], arguments.gpu_batch_sizes)
    section = shown.markdown(found, reached, introduction, cells, gpu, list(MODES))
    print(section)
    if not arguments.print_only:
        write_section(arguments.benchmarks, "training", "benches/training/run.sh", section)


if __name__ == "__main__":
    main()
