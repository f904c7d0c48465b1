"""Tests of what the table rests on. Run by

PYTHONPATH=benches python -m unittest streaming.test_streaming
"""

import importlib
import tempfile
import unittest
from pathlib import Path

import numpy as np
import polars as pl

from . import __main__ as command
from .features import FEATURES, INPUTS
from .scale import Statistics
from .side import LIBRARIES

# What is known of three conversations; nothing else is.
KNOWN = (
    {
        "conversation_duration_seconds": 92.0,
        "hour_of_day": 6.0,
        "day_of_week": 0.0,
        "agent_messages_count": 4.0,
        "user_messages_count": 5.0,
        "total_messages": 9.0,
        "avg_response_time_seconds": 11.5,
        "response_gap_max": 15.0,
        "entities_collected_count": 5.0,
        "has_target_entity": 1.0,
    },
    {
        "conversation_duration_seconds": 0.0,
        "hour_of_day": -1.0,
        "agent_messages_count": 3.0,
        "user_messages_count": 0.0,
        "message_ratio": -1.0,
        "response_gap_max": 4.0,
    },
    {},
)
# What comes of them, by the formulas; None for what stays unknown.
EXPECTED = {
    "missing:message_ratio": (1, 0, 1),
    "missing:hour_of_day": (0, 1, 1),
    "agent_user_message_ratio": (0.8, 3.0, None),  # 4 / 5, and 3 over what counts as 1
    "hour_sin": (1.0, None, None),
    "hour_cos": (0.0, None, None),
    "log_conversation_duration_seconds": (np.log(93), 0.0, None),
    "log_message_ratio": (None, -np.log(2), None),
    "waiting_share_longest": (15 / 92, None, None),  # no share of nothing
    "waiting_share_total": (1.0, None, None),  # 11.5 * 8 = 92
    "entities_with_target": (5.0, None, None),
    "coverage": (10 / 40, 5 / 40, 0.0),
}


def table(folder: str, rows: tuple[dict[str, float], ...] = KNOWN) -> list[Path]:
    """A file a row."""
    files = []
    for number, known in enumerate(rows):
        values = {name: [known.get(name)] for name in FEATURES}
        files.append(Path(folder, f"part-{number}.parquet"))
        pl.DataFrame(values, schema=dict.fromkeys(FEATURES, pl.Float64)).write_parquet(files[-1])
    return files


class Inputs(unittest.TestCase):
    """What each library makes of conversations, in each of its ways."""

    def test_by_hand(self) -> None:
        """Statistics of one row at a time are its inputs."""
        for library in LIBRARIES:
            modes = importlib.import_module(f".with_{library}", __package__).MODES
            for row in range(len(KNOWN)):
                with tempfile.TemporaryDirectory() as folder:
                    way = modes["whole"](table(folder)[row : row + 1], Path(folder))
                    self.assertEqual(way.featurise(), 1)
                    found = dict(zip(INPUTS, way.statistics().mean, strict=True))
                for name, values in EXPECTED.items():
                    expected = np.nan if values[row] is None else values[row]
                    np.testing.assert_allclose(
                        found[name], expected, atol=1e-6, err_msg=f"{library}, {row}, {name}"
                    )

    def test_all_ways_agree(self) -> None:
        """The same statistics and the same rows, in whatever order they come."""
        rng = np.random.default_rng(1)
        rows = tuple(
            {name: float(rng.integers(0, 20)) for name in FEATURES if rng.random() < 0.9}
            for _ in range(12)
        )
        first: tuple[Statistics, np.ndarray] | None = None
        for library in LIBRARIES:
            modes = importlib.import_module(f".with_{library}", __package__).MODES
            for mode, kind in modes.items():
                with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as kept:
                    way = kind(table(folder, rows), Path(kept))
                    self.assertEqual(way.featurise(), len(rows))
                    found = way.statistics()
                    matrix = np.concatenate(list(way.epoch(found)))
                self.assertEqual(matrix.shape, (12, 102))
                self.assertTrue(matrix.flags.c_contiguous and matrix.dtype == np.float32)
                matrix = matrix[np.lexsort(matrix.round(3).T)]
                if first is None:
                    first = found, matrix
                message = f"{library}, {mode}"
                np.testing.assert_allclose(found.mean, first[0].mean, atol=1e-5, err_msg=message)
                np.testing.assert_allclose(matrix, first[1], atol=1e-4, err_msg=message)


class Scale(unittest.TestCase):
    """Statistics of parts."""

    def test_joined(self) -> None:
        """1, 2 and 3, 7 are the same as 1, 2, 3, 7; the second column is known in one part only."""
        parts = [
            Statistics(np.array([2.0, 0.0]), np.array([1.5, np.nan]), np.array([0.25, np.nan])),
            Statistics(np.array([2.0, 1.0]), np.array([5.0, 4.0]), np.array([4.0, 0.0])),
        ]
        found = Statistics.joined(parts)
        np.testing.assert_allclose(found.mean, [3.25, 4.0])
        np.testing.assert_allclose(found.variance, [np.var([1, 2, 3, 7]), 0.0])
        means, inverse = found.scale()
        np.testing.assert_allclose(means, [3.25, 4.0])
        np.testing.assert_allclose(inverse, [1 / np.std([1, 2, 3, 7]), 0.0])


class Options(unittest.TestCase):
    """What is written on the command line."""

    def test_numbers_of_rows(self) -> None:
        """The smallest table comes first."""
        self.assertEqual(command.counts("5M,1000,0.5M"), [1000, 500_000, 5_000_000])

    def test_sizes(self) -> None:
        """As convminer writes them."""
        self.assertEqual(command.size("4GiB"), 4 << 30)


if __name__ == "__main__":
    unittest.main()
