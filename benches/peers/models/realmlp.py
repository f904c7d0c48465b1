"""RealMLP, through pytabkit, with 64 of its 256 epochs."""

from typing import Any

import numpy as np
from pytabkit import RealMLP_TD_Classifier, RealMLP_TD_Regressor

from ..data import Rows
from . import How, Predict, TimeLoss
from .inputs import Standardiser


def settings(how: How) -> dict[str, Any]:
    """What classifier and regressor share."""
    return {"n_epochs": 64, "n_threads": how.threads, "device": "cpu", "random_state": how.seed}


def fit_classifier(training: Rows, validation: Rows, how: How) -> Predict:
    """Cross-entropy without smoothed labels: the probabilities count here."""
    inputs = Standardiser.fit(training.features)
    model = RealMLP_TD_Classifier(**settings(how), use_ls=False, val_metric_name="cross_entropy")
    model.fit(
        inputs(training.features).astype(np.float32),
        training.converted.astype(int),
        inputs(validation.features).astype(np.float32),
        validation.converted.astype(int),
    )
    return lambda features: model.predict_proba(inputs(features).astype(np.float32))[:, 1].astype(
        float
    )


def fit_times(training: Rows, validation: Rows, how: How, loss: TimeLoss) -> Predict:
    """Squared or absolute error."""
    inputs = Standardiser.fit(training.features)
    train_metric, validation_metric = {"squared": ("mse", "rmse"), "absolute": ("mae", "mae")}[loss]
    model = RealMLP_TD_Regressor(
        **settings(how), train_metric_name=train_metric, val_metric_name=validation_metric
    )
    model.fit(
        inputs(training.features).astype(np.float32),
        training.time_seconds.astype(np.float32),
        inputs(validation.features).astype(np.float32),
        validation.time_seconds.astype(np.float32),
    )
    return lambda features: model.predict(inputs(features).astype(np.float32)).astype(float)
