"""scikit-learn: logistic regression; times by least squares, or by linear median regression."""

import numpy as np
from sklearn.linear_model import LinearRegression, LogisticRegression, QuantileRegressor

from ..data import Rows
from . import How, Predict, TimeLoss
from .inputs import Standardiser


def fit_classifier(training: Rows, validation: Rows, how: How) -> Predict:
    """There is nothing to stop, and nothing random."""
    inputs = Standardiser.fit(training.features)
    model = LogisticRegression(max_iter=1000)
    model.fit(inputs(training.features), training.converted)
    positive = int(np.flatnonzero(model.classes_)[0])
    return lambda features: model.predict_proba(inputs(features))[:, positive]


def fit_times(training: Rows, validation: Rows, how: How, loss: TimeLoss) -> Predict:
    """There is nothing to stop, and nothing random."""
    inputs = Standardiser.fit(training.features)
    if loss == "squared":
        model = LinearRegression()
    else:
        # No penalty. The interior point method takes seconds, the default one much longer.
        model = QuantileRegressor(quantile=0.5, alpha=0.0, solver="highs-ipm")
    model.fit(inputs(training.features), training.time_seconds)
    return lambda features: model.predict(inputs(features))
