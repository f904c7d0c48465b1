"""The rows that everybody learns from and is judged on: files that `convminer generate` makes."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from .convminer import Convminer

CHALLENGES = ("rule", "template", "noisy")
FEATURES = 40
# Test rows have a seed of their own, which no training rows have.
TEST_SEED_OFFSET = 1000

NOT_FEATURES = (
    "session_id",
    "conversion_happened",
    "time_to_conversion_seconds",
    "time_to_conversion_minutes",
)


@dataclass(frozen=True)
class Rows:
    """Conversations and what became of them."""

    features: np.ndarray
    """float64, rows x 40; NaN where a value is missing."""
    converted: np.ndarray
    """bool."""
    time_seconds: np.ndarray
    """float64; -1 where the conversation did not convert."""

    def __len__(self) -> int:
        """Rows."""
        return len(self.converted)

    def part(self, selection: slice | np.ndarray) -> "Rows":
        """Some of the rows: a slice, or a mask."""
        return Rows(
            self.features[selection], self.converted[selection], self.time_seconds[selection]
        )

    def only_converted(self) -> "Rows":
        """The rows that times are learned from."""
        return self.part(self.converted)


@dataclass(frozen=True)
class Sizes:
    """How many rows there are of each kind."""

    training: int
    validation: int
    test: int


@dataclass(frozen=True)
class Task:
    """One challenge with one seed."""

    challenge: str
    seed: int
    train_file: Path
    """Training rows first, then validation rows. convminer gets the whole file."""
    test_file: Path
    best_possible: float
    """The mean reward of the generator's own answers to the test rows."""
    sizes: Sizes

    def learning_rows(self) -> tuple[Rows, Rows]:
        """Training and validation rows."""
        rows = read(self.train_file)
        expect_rows(self.train_file, rows, self.sizes.training + self.sizes.validation)
        return rows.part(slice(self.sizes.training)), rows.part(slice(self.sizes.training, None))

    def test_rows(self) -> Rows:
        """Test rows."""
        rows = read(self.test_file)
        expect_rows(self.test_file, rows, self.sizes.test)
        return rows


def read(path: Path) -> Rows:
    """Reads a labelled table in the columns and their order that `convminer generate` gives it."""
    table = pl.read_parquet(path)
    features = table.drop(NOT_FEATURES).cast(pl.Float64).fill_null(float("nan")).to_numpy()
    if features.shape[1] != FEATURES:
        raise ValueError(f"`{path}` should have {FEATURES} features, but has {features.shape[1]}")
    return Rows(
        np.ascontiguousarray(features),
        table["conversion_happened"].to_numpy() == 1,
        table["time_to_conversion_seconds"].cast(pl.Float64).to_numpy(),
    )


def expect_rows(path: Path, rows: Rows, count: int) -> None:
    """Refuses a file that another run with other sizes has left."""
    if len(rows) != count:
        raise ValueError(
            f"`{path}` should have {count} rows, but has {len(rows)}: "
            "take another --data-dir, or the sizes that it was made with"
        )


def make_task(binary: Convminer, folder: Path, challenge: str, seed: int, sizes: Sizes) -> Task:
    """Generates the files of a task, unless they are in the folder already."""
    name = f"{challenge}-{seed}"
    train_file = folder / f"{name}-train.parquet"
    test_file = folder / f"{name}-test.parquet"
    summary_file = folder / f"{name}-test.json"
    if not train_file.exists():
        binary.generate(challenge, sizes.training + sizes.validation, seed, train_file)
    if not (test_file.exists() and summary_file.exists()):
        summary = binary.generate(challenge, sizes.test, TEST_SEED_OFFSET + seed, test_file)
        summary_file.write_text(json.dumps(summary))
    summary = json.loads(summary_file.read_text())
    best_possible = summary["best_possible"]["mean_reward"]
    return Task(challenge, seed, train_file, test_file, best_possible, sizes)
