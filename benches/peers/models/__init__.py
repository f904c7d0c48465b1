"""The peers: one module each, imported only when it runs, in a process of its own.

A module has two functions:

    fit_classifier(training: Rows, validation: Rows, how: How) -> Predict
    fit_times(training: Rows, validation: Rows, how: How, loss: TimeLoss) -> Predict

The first gives probabilities; the second, of rows that converted, seconds. Validation rows are for
stopping only. Predicting takes one thread, which is quickest for one row.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Literal

import numpy as np

# From rows x 40 features (NaN where missing) to one number a row.
Predict = Callable[[np.ndarray], np.ndarray]
# "squared" aims at the mean, "absolute" at the median.
TimeLoss = Literal["squared", "absolute"]


@dataclass(frozen=True)
class How:
    """How to learn."""

    seed: int
    threads: int
    """At most."""


@dataclass(frozen=True)
class Peer:
    """A model that other miners use."""

    title: str
    module: str
    package: str
    """What to give the version of."""
    is_slow: bool = False

    def load(self) -> ModuleType:
        """Its two functions."""
        return import_module(f"peers.models.{self.module}")


PEERS = {
    "guide": Peer("guide's PyTorch network", "guide", "torch"),
    "logistic": Peer("logistic regression", "logistic", "scikit-learn"),
    "xgboost": Peer("XGBoost", "boosting_xgboost", "xgboost"),
    "lightgbm": Peer("LightGBM", "boosting_lightgbm", "lightgbm"),
    "catboost": Peer("CatBoost", "boosting_catboost", "catboost"),
    "realmlp": Peer("RealMLP", "realmlp", "pytabkit", is_slow=True),
    "tabm": Peer("TabM", "tabm", "pytabkit", is_slow=True),
}
