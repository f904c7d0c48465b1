"""The inputs by polars: expressions, in float32."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from .features import (
    CYCLES,
    FEATURES,
    INPUTS,
    LIMIT,
    LOGARITHMS,
    MINUS_ONE_IS_MISSING,
    RATIOS,
)
from .scale import Statistics

# Rows that are handed over at once: what the streaming engine takes when nothing is said is less.
BATCH_ROWS = 1 << 18


def value(name: str) -> pl.Expr:
    """A feature; null where it is unknown."""
    known = pl.col(name).cast(pl.Float32).fill_nan(None)
    return pl.when(known != -1).then(known) if name in MINUS_ONE_IS_MISSING else known


def derived() -> dict[str, pl.Expr]:
    """The derived inputs by name, of the columns that `value` makes."""
    col = pl.col
    found = {name: col(above) / col(below).clip(1) for name, above, below in RATIOS}
    for prefix, name, period in CYCLES:
        angle = col(name) * pl.lit(2 * math.pi / period, pl.Float32)
        found |= {f"{prefix}_sin": angle.sin(), f"{prefix}_cos": angle.cos()}
    for name in LOGARITHMS:
        found[f"log_{name}"] = col(name).sign() * col(name).abs().log1p()
    duration = col("conversation_duration_seconds")
    duration = pl.when(duration > 0).then(duration)
    waited = col("avg_response_time_seconds") * (col("total_messages") - 1)
    found["waiting_share_longest"] = (col("response_gap_max") / duration).clip(0, 1)
    found["waiting_share_total"] = (waited / duration).clip(0, 1)
    found["entities_with_target"] = col("has_target_entity") * col("entities_collected_count")
    known = pl.sum_horizontal(col(name).is_not_null() for name in FEATURES)
    found["coverage"] = known / pl.lit(len(FEATURES), pl.Float32)
    return found


def engineer(table: pl.LazyFrame) -> pl.LazyFrame:
    """The 102 inputs; null where one is unknown."""
    values = table.select(value(name).alias(name) for name in FEATURES)
    flags = [pl.col(name).is_null().cast(pl.Float32).alias(f"missing:{name}") for name in FEATURES]
    others = [expression.cast(pl.Float32).alias(name) for name, expression in derived().items()]
    return values.with_columns(*flags, *others).select(INPUTS)


def statistics(inputs: pl.LazyFrame) -> Statistics:
    """Of each input, where it is known."""
    every = pl.all().cast(pl.Float64)
    row = inputs.select(
        pl.all().count().cast(pl.Float64).name.suffix(" count"),
        every.mean().name.suffix(" mean"),
        every.var(ddof=0).name.suffix(" variance"),
    ).collect(engine="streaming")
    count, mean, variance = row.to_numpy()[0].astype(np.float64).reshape(3, -1)
    return Statistics(count, mean, variance)


def scaled(inputs: pl.LazyFrame, statistics: Statistics) -> pl.LazyFrame:
    """What a network reads."""
    means, inverse = (values.tolist() for values in statistics.scale())
    return inputs.select(
        ((pl.col(name) - pl.lit(mean, pl.Float32)) * pl.lit(factor, pl.Float32))
        .clip(-LIMIT, LIMIT)
        .fill_null(0)
        for name, mean, factor in zip(INPUTS, means, inverse, strict=True)
    )


def matrix(rows: pl.DataFrame) -> np.ndarray:
    """`[rows, 102]`, row after row."""
    return rows.to_numpy(order="c")


class Whole:
    """The table is loaded, and all that follows is in memory."""

    def __init__(self, files: list[Path], _cache: Path) -> None:
        self.files = files
        self.inputs = pl.DataFrame()

    def featurise(self) -> int:
        """Loads, and makes the inputs."""
        self.inputs = engineer(pl.read_parquet(self.files, columns=list(FEATURES)).lazy()).collect()
        return len(self.inputs)

    def statistics(self) -> Statistics:
        """Of all rows."""
        return statistics(self.inputs.lazy())

    def epoch(self, statistics: Statistics) -> Iterator[np.ndarray]:
        """All rows as a network reads them."""
        yield matrix(scaled(self.inputs.lazy(), statistics).collect())


class Streaming:
    """polars' streaming engine, from the files to the inputs on the disk and back."""

    def __init__(self, files: list[Path], cache: Path) -> None:
        self.files = files
        self.part = cache / "inputs.parquet"

    def inputs(self) -> pl.LazyFrame:
        """What is on the disk."""
        return pl.scan_parquet(self.part)

    def featurise(self) -> int:
        """Loads, makes the inputs and writes them."""
        engineer(pl.scan_parquet(self.files)).sink_parquet(self.part, compression="lz4")
        return self.inputs().select(pl.len()).collect().item()

    def statistics(self) -> Statistics:
        """In one pass."""
        return statistics(self.inputs())

    def epoch(self, statistics: Statistics) -> Iterator[np.ndarray]:
        """Some rows at a time."""
        rows = scaled(self.inputs(), statistics)
        batches = rows.collect_batches(
            chunk_size=BATCH_ROWS, maintain_order=False, engine="streaming"
        )
        for batch in batches:
            yield matrix(batch)


class Chunks(Streaming):
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
            inputs = engineer(pl.read_parquet(file, columns=list(FEATURES)).lazy()).collect()
            inputs.write_parquet(part, compression="lz4")
            rows += len(inputs)
        return rows

    def statistics(self) -> Statistics:
        """Joined from those of the files."""
        return Statistics.joined(statistics(pl.read_parquet(part).lazy()) for part in self.parts())

    def epoch(self, statistics: Statistics) -> Iterator[np.ndarray]:
        """A file's rows at a time."""
        for part in self.parts():
            yield matrix(scaled(pl.read_parquet(part).lazy(), statistics).collect())


MODES = {"whole": Whole, "streaming": Streaming, "chunks": Chunks}
