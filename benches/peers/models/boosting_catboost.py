"""CatBoost."""

from typing import Any

from catboost import CatBoostClassifier, CatBoostRegressor

from ..data import Rows
from . import How, Predict, TimeLoss


def settings(how: How) -> dict[str, Any]:
    """What classifier and regressor share."""
    return {
        "iterations": 4000,
        "early_stopping_rounds": 100,
        "learning_rate": 0.05,
        "depth": 6,
        "thread_count": how.threads,
        "random_seed": how.seed,
        "allow_writing_files": False,
        "verbose": False,
    }


def fit_classifier(training: Rows, validation: Rows, how: How) -> Predict:
    """Stops at the best validation log loss."""
    model = CatBoostClassifier(**settings(how), loss_function="Logloss")
    held_out = (validation.features, validation.converted.astype(int))
    model.fit(training.features, training.converted.astype(int), eval_set=held_out)
    return lambda features: model.predict_proba(features, thread_count=1)[:, 1]


def fit_times(training: Rows, validation: Rows, how: How, loss: TimeLoss) -> Predict:
    """Stops at the best validation error of its own kind."""
    function = {"squared": "RMSE", "absolute": "MAE"}[loss]
    model = CatBoostRegressor(**settings(how), loss_function=function)
    held_out = (validation.features, validation.time_seconds)
    model.fit(training.features, training.time_seconds, eval_set=held_out)
    return lambda features: model.predict(features, thread_count=1)
