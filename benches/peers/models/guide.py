"""The two networks of the miner guide, in PyTorch.

Two things are kinder to them than the guide is: times are standardised too, in place of a last
ReLU, which starts at 0 seconds and can die there; and times are not cut off at 120 s.
"""

import copy
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from ..data import Rows
from . import How, Predict, TimeLoss
from .inputs import Standardiser

LEARNING_RATE = 1e-3
BATCH_ROWS = 64
MOST_EPOCHS = 200
# Epochs without a better validation loss.
PATIENCE = 15


def network(inputs: int, dropout: float) -> nn.Sequential:
    """The guide's layers up to the logit, or the time."""
    return nn.Sequential(
        nn.Linear(inputs, 128),
        nn.BatchNorm1d(128),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(128, 64),
        nn.ReLU(),
        nn.Linear(64, 1),
    )


def fit_classifier(training: Rows, validation: Rows, how: How) -> Predict:
    """Binary cross-entropy."""
    inputs = Standardiser.fit(training.features)
    model = fit(
        lambda width: network(width, dropout=0.3),
        nn.BCEWithLogitsLoss(),
        (inputs(training.features), training.converted),
        (inputs(validation.features), validation.converted),
        how.seed,
    )
    return lambda features: torch.sigmoid(run(model, inputs(features))).numpy().astype(float)


def fit_times(training: Rows, validation: Rows, how: How, loss: TimeLoss) -> Predict:
    """The guide's squared error, or the absolute one."""
    inputs = Standardiser.fit(training.features)
    mean, deviation = training.time_seconds.mean(), training.time_seconds.std()
    model = fit(
        lambda width: network(width, dropout=0.2),
        nn.MSELoss() if loss == "squared" else nn.L1Loss(),
        (inputs(training.features), (training.time_seconds - mean) / deviation),
        (inputs(validation.features), (validation.time_seconds - mean) / deviation),
        how.seed,
    )
    return lambda features: run(model, inputs(features)).numpy() * deviation + mean


def fit(
    make: Callable[[int], nn.Module],
    loss: nn.Module,
    training: tuple[np.ndarray, np.ndarray],
    validation: tuple[np.ndarray, np.ndarray],
    seed: int,
) -> nn.Module:
    """Adam until the validation loss gets no better; the best epoch's weights."""
    # Of two threads, one would wait for the other more than it would help with batches so small.
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    x, y = (torch.from_numpy(part.astype(np.float32)) for part in training)
    x_validation, y_validation = (torch.from_numpy(part.astype(np.float32)) for part in validation)
    model = make(x.shape[1])
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, fused=True)
    best, best_weights, best_epoch = np.inf, copy.deepcopy(model.state_dict()), 0
    for epoch in range(MOST_EPOCHS):
        model.train()
        for batch in torch.randperm(len(x)).split(BATCH_ROWS):
            # A batch norm cannot learn from one row.
            if len(batch) > 1:
                optimizer.zero_grad()
                loss(model(x[batch]).squeeze(1), y[batch]).backward()
                optimizer.step()
        model.eval()
        with torch.inference_mode():
            found = loss(model(x_validation).squeeze(1), y_validation).item()
        if found < best:
            best, best_weights, best_epoch = found, copy.deepcopy(model.state_dict()), epoch
        elif epoch - best_epoch >= PATIENCE:
            break
    model.load_state_dict(best_weights)
    return model.eval()


@torch.inference_mode()
def run(model: nn.Module, inputs: np.ndarray) -> torch.Tensor:
    """One number a row."""
    return model(torch.from_numpy(inputs.astype(np.float32))).squeeze(1)
