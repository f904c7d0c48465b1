"""convminer, through its command line."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import child

# More than any command that only prepares needs.
PLENTY_BYTES = 1 << 40


@dataclass(frozen=True)
class Convminer:
    """A binary."""

    path: Path

    def version(self) -> str:
        """Its version."""
        done = subprocess.run([self.path, "--version"], capture_output=True, text=True, check=True)
        return done.stdout.strip().removeprefix("convminer ")

    def generate(self, challenge: str, rows: int, seed: int, out: Path) -> None:
        """Makes a table."""
        arguments = ["--challenge", challenge, "--rows", rows, "--seed", seed, "--out", out]
        self._run("generate", *arguments, cwd=out.parent)

    def scaler(self, data: Path, checkpoint: Path) -> dict[str, list[float]]:
        """Trains as little as can be on two folds, and gives back the statistics of all rows."""
        guide = ["--classifiers", "mlp", "--regressors", "mlp"]
        arguments = ["--data", data, "--out", checkpoint, "--folds", 2, "--epochs", 1, *guide]
        self._run("train", *arguments, cwd=data.parent)
        return json.loads((checkpoint / "scaler.json").read_text())

    def _run(self, *arguments: object, cwd: Path) -> None:
        command = [str(argument) for argument in (self.path, *arguments)]
        ended = child.run(command, PLENTY_BYTES, cwd)
        if ended.status != 0:
            raise RuntimeError(f"`{' '.join(command)}` failed:\n{ended.errors}")


# What convminer calls the phases, and what they are called here.
PHASES = {
    "reading, features and cache": "features",
    "statistics": "statistics",
    "training, classifier mlp": "classifier",
    "training, regressor mlp": "regressor",
}


def phases(report: dict[str, Any], rows: int) -> dict[str, tuple[int, float]] | None:
    """The rows and seconds of each phase; none if all rows were held in memory."""
    if "streaming" not in report:
        return None
    found = {
        PHASES.get(phase["phase"], phase["phase"]): (phase["rows"], phase["seconds"])
        for phase in report["streaming"]["phases"]
    }
    if found["features"][0] != rows:
        raise RuntimeError(f"expected {rows} rows, but it read {found['features'][0]}")
    return found


def train_command(binary: Path, data: Path, cache: Path, out: Path, limit_bytes: int) -> list[str]:
    """An epoch of the guide's networks on all files of a folder, within a limit of memory."""
    command: list[Any] = [binary, "train", "--data", data, "--cache", cache, "--out", out]
    command += ["--max-memory", f"{limit_bytes >> 20}MiB", "--epochs", 1, "--device", "cpu"]
    command += ["--classifiers", "mlp", "--regressors", "mlp", "--json"]
    return [str(part) for part in command]
