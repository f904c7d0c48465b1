"""Recomputes what a miner earned from its journal and the outcomes, apart from the program.

    recompute.py JOURNAL OUTCOMES

Prints the mean reward under the spec `main` over all answers whose truth is known, with every digit.
Reads lines (`*.jsonl`) alone; a journal that was compacted into tables is refused. Needs nothing but
Python's standard library.
"""

import json
import math
import sys
from collections import defaultdict
from pathlib import Path

CLASS_WEIGHT, TIME_WEIGHT, TIMEOUT_SECONDS = 0.55, 0.45, 60.0
WINDOW_SECONDS = 15.0
TRUTHS_BETWEEN_WEIGHTS = 100


def lines(folder):
    """Every whole line of a folder's files, in the order of their names."""
    for path in sorted(folder.glob("[!.]*.jsonl")):
        for line in path.read_bytes().splitlines(keepends=True):
            if line.endswith(b"\n") and line.strip():
                try:
                    yield json.loads(line)
                except ValueError:
                    print(f"{path}: passed over a damaged line", file=sys.stderr)


def known_truths(folder):
    """By its name, whether a conversation converted, and after how many seconds if that is known."""
    truths = {}
    for outcome in sorted(lines(folder), key=lambda outcome: outcome["known_ns"]):
        converted, time = outcome["converted"], outcome.get("time_seconds")
        earlier = truths.get(outcome["id"])
        # The later one counts, unless it says the same and knows less.
        if earlier is None or earlier[0] != converted or time is not None:
            truths[outcome["id"]] = (converted, time if converted else None)
    return truths


def answered(folder):
    """Every answered request once, in order of time."""
    if tables := sorted(folder.glob("*.parquet")):
        sys.exit(f"expected a journal of lines, but {tables[0]} is a table")
    records = {}
    for record in lines(folder):
        records.setdefault((record["validator"], record["nonce"]), record)
    return sorted(
        records.values(), key=lambda one: (one["time_ns"], one["validator"], one["nonce"])
    )


def is_valid(answer):
    """Whether a validator takes the answer at all."""
    time = answer["time_seconds"]
    right_time = time > 0 and math.isfinite(time) if answer["converted"] else time == -1.0
    return right_time and 0.0 <= answer["confidence"] <= 1.0


def reward(record, truth, positive, negative):
    """What a validator with these class weights gives."""
    answer, (converted, time) = record["answer"], truth
    if not is_valid(answer):
        return 0.0
    right, near = 0.0, 0.0
    if answer["converted"] == converted:
        right = positive if converted else negative
    if answer["converted"] and converted and time is not None:
        near = max(0.0, 1.0 - abs(answer["time_seconds"] - time) / WINDOW_SECONDS)
    quick = max(0.0, 1.0 - record["response_time_seconds"] / TIMEOUT_SECONDS)
    return 0.8 * (CLASS_WEIGHT * right + TIME_WEIGHT * near) + 0.2 * quick


def mean_reward(journal, outcomes):
    """The mean over all answers whose truth is known."""
    truths = known_truths(outcomes)
    weights = defaultdict(lambda: (0.375, 0.625))
    seen = defaultdict(list)
    rewards = []
    for record in answered(journal):
        name = record.get("test_pk") or record.get("session_id")
        if name not in truths:
            continue
        validator = record["validator"]
        rewards.append(reward(record, truths[name], *weights[validator]))
        seen[validator].append(truths[name][0])
        if len(seen[validator]) == TRUTHS_BETWEEN_WEIGHTS:
            converted = sum(seen.pop(validator))
            share = converted / TRUTHS_BETWEEN_WEIGHTS
            weights[validator] = (1.0 - share, share)
    if not rewards:
        sys.exit("no answer has a known truth")
    return math.fsum(rewards) / len(rewards)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    print(repr(mean_reward(Path(sys.argv[1]), Path(sys.argv[2]))))
