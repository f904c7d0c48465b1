"""The inputs by pandas: columns as wholes, in float32."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from .features import CYCLES, DERIVED, FEATURES, LIMIT, LOGARITHMS, MINUS_ONE_IS_MISSING, RATIOS
from .scale import Statistics


def read(file: Path) -> pd.DataFrame:
    """The features of a table."""
    return pd.read_parquet(file, columns=list(FEATURES))


def engineer(table: pd.DataFrame) -> pd.DataFrame:
    """The 102 inputs; NaN where one is unknown."""
    values = table.astype(np.float32)
    marked = list(MINUS_ONE_IS_MISSING)
    values[marked] = values[marked].mask(values[marked] == -1)
    missing = values.isna()
    derived: dict[str, pd.Series] = {}
    for name, above, below in RATIOS:
        derived[name] = values[above] / values[below].clip(lower=1)
    for prefix, name, period in CYCLES:
        angle = values[name] * np.float32(2 * np.pi / period)
        derived[f"{prefix}_sin"], derived[f"{prefix}_cos"] = np.sin(angle), np.cos(angle)
    for name in LOGARITHMS:
        derived[f"log_{name}"] = np.sign(values[name]) * np.log1p(values[name].abs())
    duration = values["conversation_duration_seconds"]
    duration = duration.where(duration > 0)
    waited = values["avg_response_time_seconds"] * (values["total_messages"] - 1)
    derived["waiting_share_longest"] = (values["response_gap_max"] / duration).clip(0, 1)
    derived["waiting_share_total"] = (waited / duration).clip(0, 1)
    derived["entities_with_target"] = (
        values["has_target_entity"] * values["entities_collected_count"]
    )
    derived["coverage"] = (1 - missing.mean(axis=1)).astype(np.float32)
    flags = missing.astype(np.float32).add_prefix("missing:")
    return pd.concat([values, flags, pd.DataFrame(derived)[list(DERIVED)]], axis=1)


def statistics(inputs: pd.DataFrame) -> Statistics:
    """Of each input, where it is known."""
    return Statistics(
        inputs.count().to_numpy(np.float64),
        inputs.mean().to_numpy(np.float64),
        # Sums of a column of float32 are exact enough; the deviation is wanted of all rows.
        inputs.var(ddof=0).to_numpy(np.float64),
    )


def scaled(inputs: pd.DataFrame, statistics: Statistics) -> np.ndarray:
    """What a network reads: `[rows, 102]`, row after row."""
    means, inverse = statistics.scale()
    table = (inputs - means) * inverse
    return np.ascontiguousarray(table.clip(-LIMIT, LIMIT).fillna(0).to_numpy(np.float32))


class Whole:
    """The table is loaded, and all that follows is in memory."""

    def __init__(self, files: list[Path], _cache: Path) -> None:
        self.files = files
        self.inputs = pd.DataFrame()

    def featurise(self) -> int:
        """Loads, and makes the inputs."""
        table = pd.concat([read(file) for file in self.files], ignore_index=True)
        self.inputs = engineer(table)
        return len(self.inputs)

    def statistics(self) -> Statistics:
        """Of all rows."""
        return statistics(self.inputs)

    def epoch(self, statistics: Statistics) -> Iterator[np.ndarray]:
        """All rows as a network reads them."""
        yield scaled(self.inputs, statistics)


class Chunks:
    """A file at a time; the inputs wait on the disk."""

    def __init__(self, files: list[Path], cache: Path) -> None:
        self.files = files
        self.cache = cache

    def parts(self) -> list[Path]:
        """One a file."""
        return [self.cache / file.name for file in self.files]

    def featurise(self) -> int:
        """Loads, makes the inputs and writes them, file by file."""
        rows = 0
        for file, part in zip(self.files, self.parts(), strict=True):
            inputs = engineer(read(file))
            inputs.to_parquet(part, compression="lz4", index=False)
            rows += len(inputs)
        return rows

    def statistics(self) -> Statistics:
        """Joined from those of the files."""
        return Statistics.joined(statistics(pd.read_parquet(part)) for part in self.parts())

    def epoch(self, statistics: Statistics) -> Iterator[np.ndarray]:
        """A file's rows at a time."""
        for part in self.parts():
            yield scaled(pd.read_parquet(part), statistics)


MODES = {"whole": Whole, "chunks": Chunks}
