"""What scaling needs to know of the inputs."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Statistics:
    """Of each input, over the rows where it is known; all `[102]`."""

    count: np.ndarray
    mean: np.ndarray
    """NaN where there is no such row."""
    variance: np.ndarray
    """Of the population."""

    @staticmethod
    def joined(parts: "Iterable[Statistics]") -> "Statistics":
        """Of all rows from those of parts of them (Chan, Golub and LeVeque, 1979)."""
        count = mean = squares = np.float64(0)
        for part in parts:
            total = count + part.count
            share = part.count / np.maximum(total, 1)
            delta = np.where(part.count > 0, part.mean - mean, 0.0)
            squares = squares + np.where(part.count > 0, part.variance * part.count, 0.0)
            squares = squares + delta**2 * count * share
            mean = mean + delta * share
            count = total
        known = np.maximum(count, 1)
        return Statistics(count, np.where(count > 0, mean, np.nan), squares / known)

    def scale(self) -> tuple[np.ndarray, np.ndarray]:
        """Means, and one over the deviations: 0 for an input that never varies. float32."""
        means = np.nan_to_num(self.mean)
        deviation = np.sqrt(np.nan_to_num(self.variance))
        varies = deviation > 1e-6 * np.maximum(np.abs(means), 1e-6)
        inverse = np.where(varies, 1.0 / np.where(varies, deviation, 1.0), 0.0)
        return means.astype(np.float32), inverse.astype(np.float32)
