"""What was found, as Markdown and as JSON."""

import dataclasses
import json
import math
import statistics
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import scoring
from .data import Task
from .measure import Outcome

BEGIN = "<!-- peers: benches/peers/run.sh writes from here -->"
END = "<!-- peers: to here -->"

LINE_WIDTH = 100

# From so many seeds on, they say how much depends on the rows that were learned from. On template
# that is more than what depends on the test rows.
SEEDS_FOR_ERROR = 3

HEAD = (
    "| model | reward | against convminer | AUC | log loss | Brier | ECE | time MAE, s "
    "| fit, s | one row, µs |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
)

INTRODUCTION = """\
## Beside its peers

    {command}

{machine}

{averages} The reward is the mean total of a validator (spec `main`, answers after 0.05 s, the class
weights that it starts with) on {test} rows that nobody has seen, after learning from {training}
rows with {validation} more for stopping; convminer gets these {learning} as one file and holds out
a part itself. Peers have the 40 features as they are, and at most {threads} to learn.

*Naive* is a threshold of 0.5 and the mean time (squared error); *aware* is the class of the larger
expected reward, given how exact the model's times were on validation rows, and the median time
(absolute error). No setting differs between the tables. The best possible is what the generator
itself would answer; on `noisy` it also knows the cells that are missing.
"""

NOTES = """\
*Against convminer*: the mean over the rows of the model's reward less convminer's, and its standard
error: the one between the rows, paired, or, where it is larger, the one between three seeds or
more, each of which has rows of its own to learn from. *Time MAE*: over the rows that converted,
whatever class was answered. *Fit*: classifier and regressor; of convminer the whole command, with
reading the file and writing the checkpoint. *One row*: the median time from 40 numbers to class,
time and probability, of a peer through its Python API and on one thread; {microseconds}
"""


@dataclass
class Results:
    """All outcomes of a run, by challenge, then seed, in the order in which they came."""

    command: str
    """As it was typed."""
    reproduce: str
    """The same without what is of this machine alone."""
    machine: dict[str, Any]
    threads: int
    """Of a peer that learns."""
    tasks: dict[str, dict[int, Task]] = field(default_factory=dict)
    outcomes: dict[str, dict[int, dict[str, Outcome]]] = field(default_factory=dict)

    def add(self, task: Task, outcome: Outcome) -> None:
        """Takes note of one."""
        self.tasks.setdefault(task.challenge, {})[task.seed] = task
        seeds = self.outcomes.setdefault(task.challenge, {})
        seeds.setdefault(task.seed, {})[outcome.key] = outcome

    def difference(self, challenge: str, seed: int, key: str) -> tuple[float, float] | None:
        """A model's reward less convminer's, and its standard error where there is one."""
        found = self.outcomes[challenge][seed]
        if key == "convminer" or "convminer" not in found:
            return None
        ours, theirs = found["convminer"], found[key]
        error = math.nan
        if ours.rewards is not None and theirs.rewards is not None:
            error = scoring.paired_error(ours.rewards, theirs.rewards)
        return theirs.mean_reward - ours.mean_reward, error

    def write_json(self, path: Path) -> None:
        """Every number, one record a challenge, seed and model."""
        records = [
            self._record(challenge, seed, outcome)
            for challenge, seeds in self.outcomes.items()
            for seed, found in seeds.items()
            for outcome in found.values()
        ]
        report = {
            "command": self.command,
            "machine": self.machine,
            "threads": self.threads,
            "results": records,
        }
        replace(path, json.dumps(report, indent=1, allow_nan=False) + "\n")

    def _record(self, challenge: str, seed: int, outcome: Outcome) -> dict[str, Any]:
        difference = self.difference(challenge, seed, outcome.key)
        difference, error = difference or (None, None)
        return {
            "challenge": challenge,
            "seed": seed,
            "model": outcome.key,
            "reward": outcome.mean_reward,
            "against_convminer": difference,
            "standard_error": None if error is None or math.isnan(error) else error,
            **({} if outcome.scores is None else dataclasses.asdict(outcome.scores)),
            "fit_seconds": outcome.fit_seconds,
            "single_row_microseconds": outcome.microseconds,
        }

    def markdown(self) -> str:
        """The section of BENCHMARKS.md."""
        first = next(iter(next(iter(self.tasks.values())).values()))
        seeds = sorted({seed for found in self.tasks.values() for seed in found})
        sizes = first.sizes
        introduction = INTRODUCTION.format(
            command=self.reproduce,
            machine=describe(self.machine),
            training=f"{sizes.training:,}",
            validation=f"{sizes.validation:,}",
            learning=f"{sizes.training + sizes.validation:,}",
            test=f"{sizes.test:,}",
            averages=averages(seeds),
            threads="one thread" if self.threads == 1 else f"{self.threads} threads",
        )
        is_timed = any(
            found["convminer"].microseconds is not None
            for by_seed in self.outcomes.values()
            for found in by_seed.values()
            if "convminer" in found
        )
        microseconds = (
            "of convminer as `cargo bench` says, of a miner of the default shape."
            if is_timed
            else "what convminer needs is in the first table of this file."
        )
        tables = [self._table(challenge) for challenge in self.outcomes]
        notes = NOTES.format(microseconds=microseconds)
        return "\n".join([wrapped(introduction), *tables, wrapped(notes)])

    def _table(self, challenge: str) -> str:
        by_seed = self.outcomes[challenge]
        # A model that some seed lacks has no mean that could stand beside the others'.
        keys = [
            key
            for key in next(iter(by_seed.values()))
            if all(key in found for found in by_seed.values())
        ]
        rows = [self._row(challenge, key) for key in in_order(keys, by_seed)]
        return "\n".join([f"### {challenge}\n", HEAD, *rows, ""])

    def _row(self, challenge: str, key: str) -> str:
        by_seed = self.outcomes[challenge]
        outcomes = [found[key] for found in by_seed.values()]
        scores = [outcome.scores for outcome in outcomes]

        def score(name: str, digits: int) -> str:
            return shown([score and getattr(score, name) for score in scores], digits)

        cells = [
            outcomes[0].title,
            shown([outcome.mean_reward for outcome in outcomes], 4),
            shown_difference([self.difference(challenge, seed, key) for seed in by_seed]),
            score("auc", 4),
            score("log_loss", 4),
            score("brier", 4),
            score("ece", 4),
            score("time_mae_seconds", 2),
            shown([outcome.fit_seconds for outcome in outcomes], 1),
            shown([outcome.microseconds for outcome in outcomes], 0),
        ]
        return f"| {' | '.join(cells)} |"


def in_order(keys: Sequence[str], by_seed: dict[int, dict[str, Outcome]]) -> list[str]:
    """The best possible, then models by their reward, then what knows nothing."""

    def place(key: str) -> tuple[int, float]:
        ends = {"best possible": 0, "always no": 2}
        reward = statistics.fmean(found[key].mean_reward for found in by_seed.values())
        return ends.get(key, 1), -reward

    return sorted(keys, key=place)


def averages(seeds: list[int]) -> str:
    """How the table's figures come from seeds."""
    names = ", ".join(map(str, seeds))
    return f"Means over the seeds {names}." if len(seeds) > 1 else f"Seed {names}."


def shown(values: Sequence[float | None], digits: int) -> str:
    """A mean, or a dash where there is none."""
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return "-"
    return f"{statistics.fmean(known):.{digits}f}"


def shown_difference(differences: Sequence[tuple[float, float] | None]) -> str:
    """A mean difference with its standard error, if that is known."""
    known = [difference for difference in differences if difference is not None]
    if len(known) < len(differences):
        return "-"
    values = [value for value, _ in known]
    mean = statistics.fmean(values)
    error = math.sqrt(sum(error**2 for _, error in known)) / len(known)
    if len(known) >= SEEDS_FOR_ERROR and not math.isnan(error):
        error = max(error, statistics.stdev(values) / math.sqrt(len(known)))
    return f"{mean:+.4f}" if math.isnan(error) else f"{mean:+.4f} ± {error:.4f}"


def wrapped(text: str) -> str:
    """Paragraphs of lines that are not too long; a heading and a command stay one line."""
    paragraphs = text.strip().split("\n\n")
    lines = [
        paragraph if paragraph.startswith(("#", " ")) else textwrap.fill(paragraph, LINE_WIDTH)
        for paragraph in paragraphs
    ]
    return "\n\n".join(lines) + "\n"


def describe(machine: dict[str, Any]) -> str:
    """One sentence."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return f"{machine['cores']} cores, {machine['processor']}, {machine['date']}; {versions}."


def write_section(path: Path, section: str) -> None:
    """Replaces the text between the two markers; they come at the end if there are none."""
    text = path.read_text() if path.exists() else ""
    if (BEGIN in text) != (END in text) or text.find(END) < text.find(BEGIN):
        raise ValueError(f"`{path}` should have both `{BEGIN}` and, below it, `{END}`, or neither")
    if BEGIN in text:
        before, after = text[: text.index(BEGIN)], text[text.index(END) + len(END) :]
    else:
        before, after = f"{text.rstrip()}\n\n".lstrip(), "\n"
    replace(path, f"{before}{BEGIN}\n{section.strip()}\n{END}{after}")


def replace(path: Path, text: str) -> None:
    """Writes a file that is whole or the old one."""
    new = path.with_name(path.name + ".new")
    new.write_text(text)
    new.replace(path)
