"""XGBoost."""

from typing import Any

from xgboost import XGBClassifier, XGBRegressor

from ..data import Rows
from . import How, Predict, TimeLoss


def settings(how: How) -> dict[str, Any]:
    """What classifier and regressor share."""
    return {
        "n_estimators": 4000,
        "early_stopping_rounds": 100,
        "learning_rate": 0.05,
        "max_depth": 6,
        "min_child_weight": 5,
        "subsample": 0.8,
        "colsample_bytree": 0.8,
        "tree_method": "hist",
        "n_jobs": how.threads,
        "random_state": how.seed,
    }


def fit_classifier(training: Rows, validation: Rows, how: How) -> Predict:
    """Stops at the best validation log loss."""
    model = XGBClassifier(**settings(how), eval_metric="logloss")
    held_out = [(validation.features, validation.converted)]
    model.fit(training.features, training.converted, eval_set=held_out, verbose=False)
    model.get_booster().set_param("nthread", 1)
    return lambda features: model.predict_proba(features)[:, 1].astype(float)


def fit_times(training: Rows, validation: Rows, how: How, loss: TimeLoss) -> Predict:
    """Stops at the best validation error of its own kind."""
    objective, metric = {
        "squared": ("reg:squarederror", "rmse"),
        "absolute": ("reg:absoluteerror", "mae"),
    }[loss]
    model = XGBRegressor(**settings(how), objective=objective, eval_metric=metric)
    held_out = [(validation.features, validation.time_seconds)]
    model.fit(training.features, training.time_seconds, eval_set=held_out, verbose=False)
    model.get_booster().set_param("nthread", 1)
    return lambda features: model.predict(features).astype(float)
