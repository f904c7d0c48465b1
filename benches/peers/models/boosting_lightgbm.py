"""LightGBM."""

from typing import Any

from lightgbm import LGBMClassifier, LGBMRegressor, early_stopping

from ..data import Rows
from . import How, Predict, TimeLoss

STOPPING_ROUNDS = 100


def settings(how: How) -> dict[str, Any]:
    """What classifier and regressor share."""
    return {
        "n_estimators": 4000,
        "learning_rate": 0.05,
        "num_leaves": 31,
        "min_child_samples": 20,
        "subsample": 0.8,
        "subsample_freq": 1,
        "colsample_bytree": 0.8,
        "n_jobs": how.threads,
        "random_state": how.seed,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }


def fit_classifier(training: Rows, validation: Rows, how: How) -> Predict:
    """Stops at the best validation log loss."""
    model = LGBMClassifier(**settings(how))
    model.fit(
        training.features,
        training.converted,
        eval_set=[(validation.features, validation.converted)],
        callbacks=[early_stopping(STOPPING_ROUNDS, verbose=False)],
    )
    return lambda features: model.predict_proba(features, num_threads=1)[:, 1]


def fit_times(training: Rows, validation: Rows, how: How, loss: TimeLoss) -> Predict:
    """Stops at the best validation error of its own kind."""
    objective = {"squared": "regression", "absolute": "regression_l1"}[loss]
    model = LGBMRegressor(**settings(how), objective=objective)
    model.fit(
        training.features,
        training.time_seconds,
        eval_set=[(validation.features, validation.time_seconds)],
        callbacks=[early_stopping(STOPPING_ROUNDS, verbose=False)],
    )
    return lambda features: model.predict(features, num_threads=1)
