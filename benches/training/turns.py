"""Both sides by turns, each in a process of its own."""

import json
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streaming import child
from streaming.miner import PLENTY_BYTES

# A way to train: convminer on a device, or PyTorch on a device in a mode.
Way = str
Cell = tuple[str, int]
"""A network and a batch size."""


@dataclass
class Found:
    """What all turns found."""

    rates: dict[Way, dict[Cell, list[float]]] = field(default_factory=dict)
    """Rows a second, each the median of a turn's repetitions."""
    floors: dict[Way, dict[Cell, dict[str, Any]]] = field(default_factory=dict)
    """convminer's distance to what the device could do."""
    costs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Of each network: what a step must cost."""
    rewards: list[dict[str, Any]] = field(default_factory=list)
    """How long a training took that earns so much."""
    peaks: dict[str, dict[str, float]] = field(default_factory=dict)
    failures: dict[Way, str] = field(default_factory=dict)
    others: float = 0.0
    """The share of the processors that other processes took meanwhile."""

    def add(self, way: Way, cell: Cell, rates: list[float]) -> None:
        """Takes note of a turn."""
        rate = statistics.median(rates)
        self.rates.setdefault(way, {}).setdefault(cell, []).append(rate)

    def rate(self, way: Way, cell: Cell) -> float | None:
        """The median of the turns."""
        rates = self.rates.get(way, {}).get(cell)
        return statistics.median(rates) if rates else None

    def ratio(self, ours: Way, theirs: Way, cell: Cell) -> float | None:
        """How many times as fast one way is as another: the median of the turns' ratios, for what
        disturbs a turn disturbs both.
        """
        pairs = zip(
            self.rates.get(ours, {}).get(cell, []),
            self.rates.get(theirs, {}).get(cell, []),
            strict=False,
        )
        ratios = [one / other for one, other in pairs]
        return statistics.median(ratios) if ratios else None


@dataclass(frozen=True)
class Plan:
    """What is measured, and for how long."""

    binary: Path
    data: Path
    rows: int
    seed: int
    seconds: float
    repetitions: int
    threads: int
    gpu_peak: list[str]
    """convminer's options that say what the GPU could do."""

    def convminer(self, found: Found, device: str, network: str, batch_sizes: list[int]) -> None:
        """A turn of convminer."""
        report = self._bench(
            f"--devices={device}",
            f"--networks={network}",
            f"--batch-sizes={','.join(map(str, batch_sizes))}",
            f"--seconds={self.seconds}",
            f"--repetitions={self.repetitions}",
        )
        found.peaks |= report["peaks"]
        for speed in report["speeds"]:
            cell = network, speed["batch_size"]
            found.add(convminer_way(device), cell, speed["rows_per_second"]["all"])
            found.costs[network] = speed["networks"]
            if speed["floor"]:
                floors = found.floors.setdefault(convminer_way(device), {})
                floors[cell] = speed["floor"]

    def rewards(self, found: Found, device: str, wanted: str) -> None:
        """How long convminer trains for what it is to earn."""
        report = self._bench(
            f"--devices={device}",
            f"--to-reward={wanted}",
            "--networks=mlp",
            "--batch-sizes=1024",
            "--seconds=0",
            "--repetitions=1",
        )
        found.rewards += report["rewards"]

    def torch(
        self,
        found: Found,
        device: str,
        mode: str,
        network: str,
        batch_sizes: list[int],
        threads: int | None = None,
    ) -> None:
        """A turn of PyTorch, with the networks as convminer has reported them."""
        specification = [
            {"network": network, "batch_size": size, "networks": found.costs[network]}
            for size in batch_sizes
        ]
        file = self.data.with_name("specification.json")
        file.write_text(json.dumps(specification))
        report = torch_side(
            f"--specification={file}",
            f"--data={self.data}",
            f"--device={device}",
            f"--mode={mode}",
            f"--threads={threads or self.threads}",
            f"--seconds={self.seconds}",
            f"--repetitions={self.repetitions}",
        )
        for speed in report["speeds"]:
            cell = network, speed["batch_size"]
            found.add(torch_way(device, mode, threads), cell, speed["rows_per_second"])

    def _bench(self, *options: str) -> dict[str, Any]:
        command = [str(self.binary), "bench", "train", "--json", "--quiet"]
        command += [f"--rows={self.rows}", f"--seed={self.seed}", *self.gpu_peak, *options]
        return answer(command, self.data.parent)


def convminer_way(device: str) -> Way:
    """Its name."""
    return f"convminer {device}"


def torch_way(device: str, mode: str, threads: int | None = None) -> Way:
    """Its name; threads where they are not those that are compared with."""
    return f"torch {device} {mode}" + (f" {threads}" if threads else "")


def torch_side(*options: str) -> dict[str, Any]:
    """What PyTorch's process reports."""
    return answer([sys.executable, "-m", "training.torch_side", *options], None)


def devices(binary: Path) -> list[dict[str, Any]]:
    """What `convminer devices` lists."""
    done = subprocess.run([binary, "devices", "--json"], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)["devices"]


def answer(command: list[str], cwd: Path | None) -> dict[str, Any]:
    """The JSON that a process prints."""
    ended = child.run(command, PLENTY_BYTES, cwd)
    if ended.status != 0:
        raise RuntimeError(f"`{' '.join(command)}` failed:\n{ended.errors[-2000:]}")
    return json.loads(ended.output)
