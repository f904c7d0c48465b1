"""Tests of ratios and goals, which need nothing but Python. Run by

PYTHONPATH=benches python -m unittest training.test_goals
"""

import unittest

from . import shown
from .goals import goals
from .turns import Found


class Goals(unittest.TestCase):
    """Ratios, and what is reached."""

    def found(self) -> Found:
        """Three turns, of which the second was disturbed for both."""
        found = Found()
        for ours, theirs in [(200.0, 100.0), (20.0, 8.0), (190.0, 100.0)]:
            found.add("convminer cpu", ("mlp", 256), [ours])
            found.add("torch cpu eager", ("mlp", 256), [theirs, theirs])
        return found

    def test_ratios_are_of_turns(self) -> None:
        """2, 2.5 and 1.9."""
        found = self.found()
        self.assertEqual(found.ratio("convminer cpu", "torch cpu eager", ("mlp", 256)), 2.0)
        self.assertIsNone(found.ratio("convminer cpu", "torch cuda eager", ("mlp", 256)))
        self.assertEqual(found.rate("convminer cpu", ("mlp", 256)), 190.0)

    def test_verdicts(self) -> None:
        """What was not measured is neither met nor missed."""
        reached = goals(self.found(), None, [4096])
        self.assertEqual(
            [goal.verdict() for goal in reached],
            ["not measured", "met", *["not measured"] * 5],
        )
        found = self.found()
        found.add("convminer wgpu:0", ("ensemble", 4096), [19e6])
        found.add("convminer wgpu:0", ("mlp", 4096), [3.0])
        found.add("torch cuda eager", ("mlp", 4096), [2.0])
        for seconds, verdict in [([19.0, 5.0], "met"), ([19.0, None], "missed")]:
            reached = [{"wanted": 0.6, "seconds": each} for each in seconds]
            found.rewards = [{"device": "wgpu:0", "reached": reached}]
            verdicts = [goal.verdict() for goal in goals(found, "wgpu:0", [4096])[4:]]
            self.assertEqual(verdicts, ["met", "missed", verdict])

    def test_a_busy_machine_reaches_nothing(self) -> None:
        """Nor does it miss anything."""
        found = self.found()
        found.others = 0.5
        verdicts = [goal.verdict() for goal in goals(found, None, [4096])]
        self.assertEqual(verdicts[:2], ["not measured", "disturbed"])

    def test_rounded(self) -> None:
        """Three digits."""
        self.assertEqual(shown.rounded(123_456.0), "123,000")
        self.assertEqual(shown.rounded(None), "-")


if __name__ == "__main__":
    unittest.main()
