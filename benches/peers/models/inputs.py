"""The input of models that take neither missing values nor any scale."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Standardiser:
    """Means for missing values, then mean 0 and deviation 1, and flags of what was missing."""

    mean: np.ndarray
    deviation: np.ndarray
    flagged: np.ndarray
    """Indices of the features that were missing somewhere."""

    @classmethod
    def fit(cls, features: np.ndarray) -> "Standardiser":
        """Learns from training rows."""
        deviation = np.nanstd(features, axis=0)
        return cls(
            np.nanmean(features, axis=0),
            # A constant is 0 after its mean is taken away, whatever it is divided by.
            np.where(deviation > 0.0, deviation, 1.0),
            np.flatnonzero(np.isnan(features).any(axis=0)),
        )

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Inputs, rows x (40 + flags), float64."""
        missing = np.isnan(features)
        scaled = np.where(missing, 0.0, (features - self.mean) / self.deviation)
        return np.hstack([scaled, missing[:, self.flagged]])
