"""Tests of what the table rests on. Run by

PYTHONPATH=benches python -m unittest peers.test_peers
"""

import tempfile
import unittest
from pathlib import Path

import numpy as np

from . import scoring, table
from .convminer import criterion_microseconds
from .models.inputs import Standardiser
from .scoring import Answers

RESPONSE = 0.2 * (1.0 - 0.05 / 60.0)


def array(*values: float) -> np.ndarray:
    """Numbers."""
    return np.array(values, dtype=float)


def mask(*values: int) -> np.ndarray:
    """Truth values."""
    return np.array(values, dtype=bool)


class Rewards(unittest.TestCase):
    """The validator's formula."""

    def test_by_hand(self) -> None:
        """Right, wrong, and a time that is 6 s off."""
        said = Answers(mask(1, 1, 0, 0), array(66, 50, -1, -1), array(0.8, 0.6, 0.1, 0.4))
        found = scoring.rewards(said, mask(1, 0, 0, 1), array(60, -1, -1, 70))
        expected = array(0.8 * (0.55 * 0.375 + 0.45 * 0.6), 0.0, 0.8 * 0.55 * 0.625, 0.0)
        np.testing.assert_allclose(found, expected + RESPONSE, atol=1e-12)

    def test_answers_that_break_the_rules_earn_nothing(self) -> None:
        """One fault a row; all of the classes are right."""
        said = Answers(
            mask(1, 1, 1, 0, 0, 0, 0),
            array(0, np.nan, np.inf, 60, -1, -1, -1),
            array(0.9, 0.9, 0.9, 0.1, 1.1, -0.1, np.nan),
        )
        truth = array(60, 60, 60, -1, -1, -1, -1)
        np.testing.assert_array_equal(scoring.rewards(said, said.converted, truth), np.zeros(7))

    def test_the_class_that_earns_more(self) -> None:
        """With exact times the classes meet at p = 0.34375, without any luck at 0.625."""
        for accuracy, probability in [(1.0, 0.34375), (0.0, 0.625)]:
            around = array(probability - 1e-4, probability + 1e-4)
            np.testing.assert_array_equal(scoring.earns_more(around, accuracy), [False, True])

    def test_times_that_are_answered_are_valid(self) -> None:
        """A regressor may say -3 s."""
        said = scoring.answer(mask(1, 1, 0), array(-3, 60, 60), array(1, 1, 0))
        np.testing.assert_array_equal(said.time_seconds, [0.1, 60, -1])
        self.assertTrue(scoring.is_valid(said).all())


class Scores(unittest.TestCase):
    """The same examples as in convminer's own tests."""

    def test_area_under_roc(self) -> None:
        """Three pairs of four are right, and one is a tie."""
        found = scoring.area_under_roc(array(0.1, 0.4, 0.4, 0.8), mask(0, 0, 1, 1))
        self.assertAlmostEqual(found, 3.5 / 4)

    def test_calibration_error(self) -> None:
        """[0.1, 0.2) says 0.15 and came true 0.5; [0.9, 1] says 0.95 and came true 1."""
        probability = array(0.1, 0.2 - 1e-9, 0.9, 1.0)
        found = scoring.expected_calibration_error(probability, mask(0, 1, 1, 1))
        self.assertAlmostEqual(found, (0.35 * 2 + 0.05 * 2) / 4, places=6)

    def test_log_loss(self) -> None:
        """A certain error costs what 1e-6 costs."""
        found = scoring.log_loss(array(0.8, 1.0), mask(1, 0))
        self.assertAlmostEqual(found, -(np.log(0.8) + np.log(1e-6)) / 2)

    def test_paired_error(self) -> None:
        """Differences 1, 2, 3: deviation 1, over the root of 3."""
        found = scoring.paired_error(array(2, 3, 5), array(1, 1, 2))
        self.assertAlmostEqual(found, 1 / np.sqrt(3))


class Inputs(unittest.TestCase):
    """What networks and the logistic regression see."""

    def test_missing_values_are_the_mean_and_flagged(self) -> None:
        """The second column is never missing, the third is constant."""
        inputs = Standardiser.fit(np.array([[1, 0, 7], [3, 2, 7], [np.nan, 4, 7]], dtype=float))
        found = inputs(np.array([[3, 2, 7], [np.nan, np.nan, 8]], dtype=float))
        np.testing.assert_allclose(found, [[1, 0, 0, 0], [0, 0, 1, 1]])


class Text(unittest.TestCase):
    """What is read from text and written into it."""

    def test_criterion(self) -> None:
        """As criterion 0.8 prints it."""
        line = "predict/batch 1         time:   [14.940 µs 15.180 µs 15.432 µs]\n"
        self.assertEqual(criterion_microseconds(f"Benchmarking\n{line}thrpt: 1"), 15.18)
        nanoseconds = line.replace("µs", "ns")
        self.assertAlmostEqual(criterion_microseconds(nanoseconds), 0.01518)
        with self.assertRaisesRegex(RuntimeError, "no time"):
            criterion_microseconds(line.replace("batch 1 ", "batch 64"))

    def test_the_section_is_replaced_and_nothing_else(self) -> None:
        """Added once, then replaced where it is."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "BENCHMARKS.md")
            path.write_text("# Benchmarks\n\ntext\n")
            table.write_section(path, "one\n")
            one = f"{table.BEGIN}\none\n{table.END}\n"
            self.assertEqual(path.read_text(), f"# Benchmarks\n\ntext\n\n{one}")
            path.write_text(path.read_text() + "\n## More\n")
            table.write_section(path, "two")
            two = one.replace("one", "two")
            self.assertEqual(path.read_text(), f"# Benchmarks\n\ntext\n\n{two}\n## More\n")
            path.write_text(path.read_text().replace(table.END, ""))
            with self.assertRaisesRegex(ValueError, "should have both"):
                table.write_section(path, "three")

    def test_means_over_seeds(self) -> None:
        """Errors of independent seeds: sqrt(0.03^2 + 0.04^2) / 2."""
        found = table.shown_difference([(-0.1, 0.03), (-0.2, 0.04)])
        self.assertEqual(found, "-0.1500 ± 0.0250")
        self.assertEqual(table.shown_difference([(0.1, float("nan"))]), "+0.1000")
        # Three seeds that differ more than their rows say: sqrt(0.01 / 3).
        found = table.shown_difference([(0.0, 0.01), (0.1, 0.01), (0.2, 0.01)])
        self.assertEqual(found, "+0.1000 ± 0.0577")
        # And less: sqrt(3) * 0.03 / 3.
        found = table.shown_difference([(0.1, 0.03), (0.1, 0.03), (0.1, 0.03)])
        self.assertEqual(found, "+0.1000 ± 0.0173")
        self.assertEqual(table.shown([1.0, None], 2), "-")


if __name__ == "__main__":
    unittest.main()
