"""convminer, through its command line."""

import dataclasses
import json
import os
import re
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from .scoring import Answers, Scores

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Convminer:
    """A binary."""

    path: Path

    def version(self) -> str:
        """Its version."""
        return self._run("--version").strip().removeprefix("convminer ")

    def generate(self, challenge: str, rows: int, seed: int, out: Path) -> dict[str, Any]:
        """Makes a table; gives back the summary."""
        arguments = ["--challenge", challenge, "--rows", rows, "--seed", seed, "--out", out]
        return json.loads(self._run("generate", *arguments, "--json"))

    def train(self, data: Path, out: Path) -> float:
        """Trains with the default configuration; gives back the seconds of the whole command."""
        start = time.perf_counter()
        self._run("train", "--data", data, "--out", out)
        return time.perf_counter() - start

    def evaluate(self, data: Path, checkpoint: Path) -> dict[str, Any]:
        """What it says about itself."""
        arguments = ["--data", data, "--checkpoint", checkpoint, "--reward-spec", "main", "--json"]
        return json.loads(self._run("evaluate", *arguments))

    def predict(self, data: Path, checkpoint: Path) -> Answers:
        """Its answer to each row."""
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder, "answers.parquet")
            self._run("predict", "--data", data, "--checkpoint", checkpoint, "--out", out)
            table = pl.read_parquet(out)
        return Answers(
            table["conversion_happened"].to_numpy() == 1,
            table["time_to_conversion_seconds"].to_numpy(),
            table["confidence"].to_numpy(),
        )

    def _run(self, *arguments: object) -> str:
        command = [str(argument) for argument in (self.path, *arguments)]
        # Settings of this machine's operator are no defaults: neither from the environment nor
        # from a file in the current folder.
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("CONVMINER_")
        }
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                command, env=environment, cwd=folder, capture_output=True, text=True, check=False
            )
        if done.returncode != 0:
            raise RuntimeError(f"`{' '.join(command)}` failed:\n{done.stderr}")
        return done.stdout


def default_path() -> Path:
    """Where `cargo build --release` leaves the binary."""
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"), "release", "convminer")


def single_row_microseconds() -> float:
    """Runs the criterion benchmark of one prediction, of a miner of the default shape."""
    command = ["cargo", "bench", "--bench", "miner", "--", "predict/batch 1$"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"`{' '.join(command)}` failed:\n{done.stderr}")
    return criterion_microseconds(done.stdout)


def criterion_microseconds(output: str) -> float:
    """The middle estimate of `predict/batch 1` in what criterion prints."""
    found = re.search(
        r"^predict/batch 1\s+time:\s+\[\S+ \S+ ([\d.]+) (\S+) \S+ \S+\]", output, re.MULTILINE
    )
    if found is None:
        raise RuntimeError(f"criterion printed no time of `predict/batch 1`:\n{output}")
    factors = {"ns": 1e-3, "µs": 1.0, "us": 1.0, "ms": 1e3, "s": 1e6}
    return float(found[1]) * factors[found[2]]


def differences(said: dict[str, Any], counted: Scores) -> dict[str, float]:
    """How far the scores that convminer reports are from those counted here, by name."""
    return {
        name: abs(said[name] - value)
        for name, value in dataclasses.asdict(counted).items()
        if value is not None
    }
