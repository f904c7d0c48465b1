"""Tests of what needs nothing but Python: processes that are watched, and what is said of them. Run by

PYTHONPATH=benches python -m unittest streaming.test_watching
"""

import os
import sys
import unittest

from . import child, miner, others, shown
from .shown import Outcome


class Children(unittest.TestCase):
    """Processes that are watched."""

    def test_the_peak_is_seen(self) -> None:
        """A hundred megabytes, for a while."""
        code = "import time; held = bytearray(b'x') * 100_000_000; time.sleep(0.3); print('done')"
        ended = child.run([sys.executable, "-c", code], 1 << 30)
        self.assertEqual((ended.output, ended.status, ended.was_over), ("done\n", 0, False))
        self.assertGreater(ended.peak_own_bytes, 100_000_000)
        self.assertGreaterEqual(ended.peak_bytes, ended.peak_own_bytes)

    def test_who_takes_too_much_is_ended(self) -> None:
        """Without end."""
        code = "held = []\nwhile True: held.append(bytearray(b'x') * 1_000_000)"
        ended = child.run([sys.executable, "-c", code], 200_000_000)
        self.assertTrue(ended.was_over)
        self.assertNotEqual(ended.status, 0)

    def test_sizes_of_the_kernel(self) -> None:
        """In kB there."""
        found = child.parse_status("Name:\tx\nVmHWM:\t     200 kB\nThreads:\t1\n")
        self.assertEqual(found, {"VmHWM": 204_800})


class Machines(unittest.TestCase):
    """What else a machine did."""

    def test_busy_seconds(self) -> None:
        """All but idling and waiting for disks; the first line is of all processors."""
        stat = "cpu  100 20 30 999 888 4 5 41 7 7\ncpu0 1 1 1 1 1 1 1 1\n"
        self.assertEqual(others.busy_seconds(stat) * os.sysconf("SC_CLK_TCK"), 200)

    def test_own_work_is_no_disturbance(self) -> None:
        """A child's neither."""
        watch = others.Others()
        code = "import time; end = time.time() + 0.3\nwhile time.time() < end: pass"
        before = others.own_seconds()
        child.run([sys.executable, "-c", code], 1 << 30)
        self.assertGreater(others.own_seconds() - before, 0.1)
        self.assertTrue(0.0 <= watch.share() <= 1.05)

    def test_too_much_is_told(self) -> None:
        """From a twentieth on."""
        self.assertNotIn("trust", others.told(0.05))
        self.assertIn("50 % of the processors meanwhile. That is too much", others.told(0.5))


class Reports(unittest.TestCase):
    """What the sides say."""

    def test_convminers_phases(self) -> None:
        """By their names here; none where nothing was streamed."""
        phase = {"rows": 10, "seconds": 2.0, "rows_per_second": 5.0}
        named = [phase | {"phase": name} for name in miner.PHASES]
        found = miner.phases({"streaming": {"phases": named}}, 10)
        self.assertEqual(found, dict.fromkeys(miner.PHASES.values(), (10, 2.0)))
        self.assertIsNone(miner.phases({}, 10))
        with self.assertRaisesRegex(RuntimeError, "expected 11 rows"):
            miner.phases({"streaming": {"phases": named}}, 11)


class Text(unittest.TestCase):
    """Lines of the table."""

    def test_growth(self) -> None:
        """Seconds a million rows, of what came to its end."""
        million = 1_000_000
        phases = {"features": (million, 2.0), "statistics": (million, 1.0)}
        outcomes = [
            Outcome("polars", million, phases, 13.0, 2, 1),
            Outcome("polars", 10 * million, {}, 5.0, 2, 1, "ended at 4096 MiB"),
        ]
        self.assertEqual(outcomes[0].phase("load"), (million, 3.0))
        self.assertIn("| polars | 3.00 | - |", shown.growth(outcomes))
        failed = shown.row(outcomes[1], True)
        self.assertEqual(failed[:3], ["10 million", "polars", "ended at 4096 MiB"])
        self.assertEqual(len(failed), len(shown.row(outcomes[0], False)))


if __name__ == "__main__":
    unittest.main()
