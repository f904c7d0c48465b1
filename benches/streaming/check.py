"""Holds the inputs that both libraries make to those of convminer."""

import importlib
import tempfile
from pathlib import Path

import numpy as np

from . import side
from .features import INPUTS
from .miner import Convminer

# Fewer than a thousand, from which on convminer's scaler holds extreme values back.
ROWS = 900
# Of float32 on one side against float64 on the other.
TOLERANCE = 2e-4


def check(convminer: Convminer) -> None:
    """Compares the mean and the deviation of each input, over rows of which cells are missing.

    A checkpoint keeps them; with folds, they are of all rows.
    """
    with tempfile.TemporaryDirectory(prefix="convminer-streaming-") as folder:
        data = Path(folder, "data.parquet")
        convminer.generate("noisy", ROWS, 1, data)
        scaler = convminer.scaler(data, Path(folder, "checkpoint"))
        expected = {
            "mean": np.array(scaler["means"]),
            "inverse deviation": np.array(scaler["inverse_deviations"]),
        }
        for library in side.LIBRARIES:
            way = importlib.import_module(f".with_{library}", __package__).MODES["whole"](
                [data], Path(folder)
            )
            way.featurise()
            found = dict(zip(expected, way.statistics().scale(), strict=True))
            expect_equal(library, found, expected)


def expect_equal(
    library: str, found: dict[str, np.ndarray], expected: dict[str, np.ndarray]
) -> None:
    """Refuses numbers that are not the same, by name."""
    for what, values in expected.items():
        apart = np.abs(found[what] - values) / np.maximum(np.abs(values), 1e-2)
        worst = int(np.argmax(apart))
        if not apart[worst] <= TOLERANCE:
            raise RuntimeError(
                f"{library} and convminer disagree about the {what} of `{INPUTS[worst]}`: "
                f"{found[what][worst]} and {values[worst]}"
            )
