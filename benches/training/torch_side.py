"""PyTorch's side, in a process of its own: prints rows a second as JSON."""

import argparse
import json
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .steps import MODES, Steps


def main() -> None:
    """Measures what the specification names."""
    parser = argparse.ArgumentParser(prog="python -m training.torch_side", description=__doc__)
    add = parser.add_argument
    add("--specification", type=Path, help="networks and batch sizes; without it, the device alone")
    add("--data", type=Path, help="a .npz of inputs, converted and times")
    add("--device", choices=("cpu", "cuda"), default="cpu")
    add("--mode", choices=MODES, default="eager")
    add("--threads", type=int, default=2)
    add("--seconds", type=float, default=0.5)
    add("--warm-up", type=float, default=0.3)
    add("--repetitions", type=int, default=5)
    arguments = parser.parse_args()
    report: dict[str, Any] = {"device": described(arguments.device)}
    if arguments.specification:
        torch.set_num_threads(arguments.threads)
        torch.manual_seed(0)
        # As convminer computes: all of f32.
        torch.set_float32_matmul_precision("highest")
        rows = load(arguments.data, arguments.device)
        specification = json.loads(arguments.specification.read_text())
        report["speeds"] = [
            {
                "network": subject["network"],
                "batch_size": subject["batch_size"],
                "rows_per_second": measure(subject, rows, arguments),
            }
            for subject in specification
        ]
    print(json.dumps(report))


def described(device: str) -> dict[str, Any] | None:
    """The device's name; none if it is not there."""
    if device == "cpu":
        return {"name": "CPU", "torch": torch.__version__, "python": platform.python_version()}
    if not torch.cuda.is_available():
        return None
    properties = torch.cuda.get_device_properties(0)
    return {
        "name": properties.name,
        "memory_bytes": properties.total_memory,
        "cuda": torch.version.cuda,
        "torch": torch.__version__,
    }


def load(data: Path, device: str) -> dict[str, torch.Tensor]:
    """Rows on the device."""
    with np.load(data) as arrays:
        return {name: torch.from_numpy(arrays[name]).to(device) for name in arrays.files}


def measure(
    subject: dict[str, Any], rows: dict[str, torch.Tensor], arguments: argparse.Namespace
) -> list[float]:
    """Rows of the table a second, one number a repetition, as convminer counts them."""
    seconds_a_row = [0.0] * arguments.repetitions
    for spec in subject["networks"]:
        torch.compiler.reset()
        steps = Steps(spec, rows, subject["batch_size"], arguments.mode)
        count = warm_up(steps, arguments)
        for repetition in range(arguments.repetitions):
            seconds_a_row[repetition] += spec["share_of_rows"] / rate(steps, count)
    return [1.0 / seconds for seconds in seconds_a_row]


def warm_up(steps: Steps, arguments: argparse.Namespace) -> int:
    """Trains for a while; how many steps a repetition has."""
    start = time.perf_counter()
    steps.run(1)
    count, taken = 1, timed(steps, 1)
    while time.perf_counter() - start < arguments.warm_up or taken < arguments.seconds / 4:
        count *= 2
        taken = timed(steps, count)
    return max(1, round(arguments.seconds * count / max(taken, 1e-9)))


def rate(steps: Steps, count: int) -> float:
    """Rows of its own a second."""
    return count * steps.batch_size / timed(steps, count)


def timed(steps: Steps, count: int) -> float:
    """Seconds of so many steps."""
    start = time.perf_counter()
    steps.run(count)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
