"""What a validator gives, and the other scores, written down anew from the network's formulas.

Nothing is shared with convminer's own evaluation: that both say the same of convminer's answers is
checked on every run, and makes the table worth something.
"""

from dataclasses import dataclass

import numpy as np

# Spec `main`, with the class weights that a validator starts with.
CLASS_SHARE = 0.55
TIME_SHARE = 0.45
POSITIVE_WEIGHT = 0.375
NEGATIVE_WEIGHT = 0.625
TIMEOUT_SECONDS = 60.0
RESPONSE_TIME_SECONDS = 0.05
PREDICTION_SHARE = 0.8
RESPONSE_SHARE = 0.2
TIME_WINDOW_SECONDS = 15.0

NOT_CONVERTED = -1.0
# The network refuses times that are not positive.
SHORTEST_TIME_SECONDS = 0.1
ECE_BINS = 10


@dataclass(frozen=True)
class Answers:
    """What a miner says of each row."""

    converted: np.ndarray
    """bool."""
    time_seconds: np.ndarray
    """float64; -1 where the answer is that the conversation does not convert."""
    confidence: np.ndarray
    """The probability that it converts."""


@dataclass(frozen=True)
class Scores:
    """The scores of a model. A score that the rows cannot give is None."""

    mean_reward: float
    auc: float
    log_loss: float
    brier: float
    ece: float
    time_mae_seconds: float | None


def time_kernel(error_seconds: np.ndarray) -> np.ndarray:
    """What a time earns that is so far from the true one."""
    return np.maximum(0.0, 1.0 - np.abs(error_seconds) / TIME_WINDOW_SECONDS)


def rewards(answers: Answers, converted: np.ndarray, time_seconds: np.ndarray) -> np.ndarray:
    """The total reward of each row, given the truth; 0 for an answer that breaks the rules."""
    weight = np.where(converted, POSITIVE_WEIGHT, NEGATIVE_WEIGHT)
    of_class = np.where(answers.converted == converted, weight, 0.0)
    both = answers.converted & converted
    of_time = np.where(both, time_kernel(answers.time_seconds - time_seconds), 0.0)
    prediction = CLASS_SHARE * of_class + TIME_SHARE * of_time
    response = max(0.0, 1.0 - RESPONSE_TIME_SECONDS / TIMEOUT_SECONDS)
    total = PREDICTION_SHARE * prediction + RESPONSE_SHARE * response
    return np.where(is_valid(answers), total, 0.0)


def is_valid(answers: Answers) -> np.ndarray:
    """Which answers a validator accepts."""
    time = answers.time_seconds
    good_time = np.where(answers.converted, np.isfinite(time) & (time > 0), time == NOT_CONVERTED)
    return good_time & (answers.confidence >= 0.0) & (answers.confidence <= 1.0)


def answer(converted: np.ndarray, time_seconds: np.ndarray, confidence: np.ndarray) -> Answers:
    """Answers as the wire wants them."""
    time = np.where(converted, np.maximum(time_seconds, SHORTEST_TIME_SECONDS), NOT_CONVERTED)
    return Answers(converted, time, confidence)


def earns_more(probability: np.ndarray, time_accuracy: float) -> np.ndarray:
    """Where "converts" has the larger expected reward.

    `time_accuracy` is the mean kernel that the model's times earned on validation rows.
    """
    yes = CLASS_SHARE * POSITIVE_WEIGHT + TIME_SHARE * time_accuracy
    no = CLASS_SHARE * NEGATIVE_WEIGHT
    return probability * yes > (1.0 - probability) * no


def scores(
    answers: Answers,
    converted: np.ndarray,
    true_seconds: np.ndarray,
    said_seconds: np.ndarray | None,
) -> Scores:
    """All scores. `said_seconds` are the times that go with class 1, whatever class was said."""
    probability = answers.confidence
    mae = None
    if said_seconds is not None:
        mae = float(np.abs(said_seconds - true_seconds)[converted].mean())
    return Scores(
        mean_reward=float(rewards(answers, converted, true_seconds).mean()),
        auc=area_under_roc(probability, converted),
        log_loss=log_loss(probability, converted),
        brier=float(np.mean((probability - converted) ** 2)),
        ece=expected_calibration_error(probability, converted),
        time_mae_seconds=mae,
    )


def log_loss(probability: np.ndarray, converted: np.ndarray) -> float:
    """In nats; a certain error costs what 1e-6 costs, as in convminer."""
    of_truth = np.where(converted, probability, 1.0 - probability)
    return float(-np.log(np.clip(of_truth, 1e-6, 1.0)).mean())


def area_under_roc(score: np.ndarray, converted: np.ndarray) -> float:
    """The rank sum of Mann and Whitney, with the mean rank for ties."""
    _, group, counts = np.unique(score, return_inverse=True, return_counts=True)
    last_rank = np.cumsum(counts)
    rank = (last_rank - (counts - 1) / 2.0)[group]
    positives = int(converted.sum())
    negatives = len(converted) - positives
    rank_sum = float(rank[converted].sum())
    return (rank_sum - positives * (positives + 1) / 2.0) / (positives * negatives)


def expected_calibration_error(probability: np.ndarray, converted: np.ndarray) -> float:
    """Over ten bins of equal width."""
    bins = np.minimum((probability * ECE_BINS).astype(int), ECE_BINS - 1)
    said = np.bincount(bins, weights=probability, minlength=ECE_BINS)
    came_true = np.bincount(bins, weights=converted, minlength=ECE_BINS)
    return float(np.abs(said - came_true).sum() / len(probability))


def paired_error(left: np.ndarray, right: np.ndarray) -> float:
    """The standard error of the mean difference of two rewards of the same rows."""
    return float(np.std(left - right, ddof=1) / np.sqrt(len(left)))
