"""Runs one model on one task, from learning to scores."""

import dataclasses
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from . import scoring
from .convminer import Convminer, differences
from .data import Rows, Task
from .models import PEERS, How, Predict, TimeLoss

WARM_UP_ROWS = 50
TIMED_ROWS = 500
# Two ways to sum the same 10,000 numbers differ by far less.
AGREEMENT = 1e-6


@dataclass(frozen=True)
class Outcome:
    """One way to answer on one task."""

    key: str
    title: str
    mean_reward: float
    rewards: np.ndarray | None = None
    """Of each test row; None for the best possible, of which the mean alone is known."""
    scores: scoring.Scores | None = None
    """None where no model gave a probability."""
    fit_seconds: float | None = None
    microseconds: float | None = None
    """To predict one row."""


@dataclass(frozen=True)
class Fitted:
    """A peer that has learned."""

    classify: Predict
    times: Predict
    time_accuracy: float | None
    """The mean kernel of its times on validation rows; None for a threshold of 0.5."""

    def answer(self, features: np.ndarray) -> tuple[scoring.Answers, np.ndarray]:
        """Answers, and the times that go with class 1 whatever class was answered."""
        probability = self.classify(features)
        seconds = self.times(features)
        if self.time_accuracy is None:
            converted = probability >= 0.5
        else:
            converted = scoring.earns_more(probability, self.time_accuracy)
        return scoring.answer(converted, seconds, probability), seconds


def best_possible(task: Task) -> Outcome:
    """The generator's own answers."""
    return Outcome("best possible", "best possible", task.best_possible)


def always_no(task: Task) -> Outcome:
    """What a miner earns that knows nothing."""
    test = task.test_rows()
    answers = scoring.answer(
        np.zeros(len(test), dtype=bool), np.zeros(len(test)), np.zeros(len(test))
    )
    rewards = scoring.rewards(answers, test.converted, test.time_seconds)
    return Outcome("always no", "always no", float(rewards.mean()), rewards)


def convminer(binary: Convminer, task: Task, microseconds: float | None) -> Outcome:
    """Its default configuration, trained on all of the task's learning rows."""
    test = task.test_rows()
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder, "checkpoint")
        fit_seconds = binary.train(task.train_file, checkpoint)
        said = binary.evaluate(task.test_file, checkpoint)["miner"]
        answers = binary.predict(task.test_file, checkpoint)
    scores = scoring.scores(answers, test.converted, test.time_seconds, None)
    apart = differences(said, scores)
    if max(apart.values()) > AGREEMENT:
        raise RuntimeError(f"`convminer evaluate` and this script disagree, by {apart}")
    # Its answers have a time only where they say "converts"; it knows the others.
    scores = dataclasses.replace(scores, time_mae_seconds=said["time_mae_seconds"])
    rewards = scoring.rewards(answers, test.converted, test.time_seconds)
    return Outcome(
        "convminer",
        "**convminer**",
        scores.mean_reward,
        rewards,
        scores,
        fit_seconds,
        microseconds,
    )


def peer(key: str, task: Task, threads: int) -> list[Outcome]:
    """A peer, naive and aware, in a process of its own: so no library's idle threads slow it."""
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
        return pool.submit(peer_in_this_process, key, task, threads).result()


def peer_in_this_process(key: str, task: Task, threads: int) -> list[Outcome]:
    """One classifier, and a regressor for each of the two ways to use it."""
    module = PEERS[key].load()
    training, validation = task.learning_rows()
    converted = training.only_converted(), validation.only_converted()
    test = task.test_rows()
    how = How(task.seed, threads)
    start = time.perf_counter()
    classify = module.fit_classifier(training, validation, how)
    classifier_seconds = time.perf_counter() - start
    # The slow ones take minutes a fit, so they run only as what suits them better.
    losses: tuple[TimeLoss, ...] = ("absolute",) if PEERS[key].is_slow else ("squared", "absolute")
    outcomes = []
    for loss in losses:
        start = time.perf_counter()
        times = module.fit_times(*converted, how, loss)
        accuracy = time_accuracy(times, converted[1]) if loss == "absolute" else None
        seconds = classifier_seconds + time.perf_counter() - start
        outcomes.append(outcome(key, Fitted(classify, times, accuracy), test, seconds))
    return outcomes


def time_accuracy(times: Predict, converted: Rows) -> float:
    """What the times of rows that converted earn: the mean of the kernel."""
    errors = times(converted.features) - converted.time_seconds
    return float(scoring.time_kernel(errors).mean())


def outcome(key: str, model: Fitted, test: Rows, fit_seconds: float) -> Outcome:
    """What a peer's answers are worth."""
    variant = "naive" if model.time_accuracy is None else "aware"
    answers, seconds = model.answer(test.features)
    scores = scoring.scores(answers, test.converted, test.time_seconds, seconds)
    return Outcome(
        f"{key} {variant}",
        f"{PEERS[key].title}, {variant}",
        scores.mean_reward,
        scoring.rewards(answers, test.converted, test.time_seconds),
        scores,
        fit_seconds,
        single_row_microseconds(model, test.features),
    )


def single_row_microseconds(model: Fitted, features: np.ndarray) -> float:
    """The median time of an answer to one row, from its 40 numbers."""
    taken = []
    for row in range(min(WARM_UP_ROWS + TIMED_ROWS, len(features))):
        one = features[row : row + 1]
        start = time.perf_counter_ns()
        model.answer(one)
        taken.append((time.perf_counter_ns() - start) / 1000.0)
    return statistics.median(taken[WARM_UP_ROWS:] or taken)
