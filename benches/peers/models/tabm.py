"""TabM, through pytabkit, with 16 of its 32 members."""

from typing import Any

import numpy as np
from pytabkit import TabM_D_Classifier, TabM_D_Regressor

from ..data import Rows
from . import How, Predict, TimeLoss
from .inputs import Standardiser


def settings(how: How) -> dict[str, Any]:
    """What classifier and regressor share."""
    return {"tabm_k": 16, "n_threads": how.threads, "device": "cpu", "random_state": how.seed}


def fit_classifier(training: Rows, validation: Rows, how: How) -> Predict:
    """Cross-entropy."""
    inputs = Standardiser.fit(training.features)
    model = TabM_D_Classifier(**settings(how), val_metric_name="cross_entropy")
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
    model = TabM_D_Regressor(
        **settings(how), train_metric_name=train_metric, val_metric_name=validation_metric
    )
    model.fit(
        inputs(training.features).astype(np.float32),
        training.time_seconds.astype(np.float32),
        inputs(validation.features).astype(np.float32),
        validation.time_seconds.astype(np.float32),
    )
    return lambda features: model.predict(inputs(features).astype(np.float32)).astype(float)
