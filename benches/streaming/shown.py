"""The section of BENCHMARKS.md."""

import datetime
from dataclasses import dataclass

from axon.sections import processor, table, wrapped

INTRODUCTION = """\
## More rows than memory

    {command}

{machine}, {date}; {versions}. {others}

Conversations of the `{challenge}` challenge in parquet files of {file_rows:,} rows. Each way has
{limit} of memory for its own; when it holds more, it is ended. convminer checks and hashes the
files, writes the inputs of its networks to a cache, learns their scale, and trains the guide's
classifier and regressor for one epoch, the latter on what converted. pandas and polars make the
same 102 inputs in float32 (checked against convminer's, to {tolerance:g}), learn their scale, and
read them all once, scaled, as an epoch would; they train nothing. *Whole*: the table is loaded and
all that follows is in memory. *Chunks*: a file at a time, with the inputs on the disk. *Streaming*:
polars' own engine for that. Thousand rows a second:
"""

NOTES = """\
*Features*: from the files to the inputs, and to having been written where they are kept on the
disk. *Load*: that and the statistics, one after the other. *Reading*: the inputs once more, scaled.
*Total*: the whole process; of convminer with evaluation, calibration and a report. *Peak*: the most
memory that was resident, with mapped files and without. convminer keeps a table in memory that it
holds there; a smaller limit, which is named then, made it stream all the same.
"""

# What is shown of each way, in thousand rows a second.
PHASES = ("features", "statistics", "load", "reading", "classifier", "regressor")


@dataclass(frozen=True)
class Outcome:
    """One way on one table."""

    way: str
    rows: int
    phases: dict[str, tuple[int, float]]
    """Rows and seconds of each phase; nothing if it did not come to its end."""
    total_seconds: float
    """Of the whole process."""
    peak_bytes: int
    peak_own_bytes: int
    failure: str | None = None

    def phase(self, name: str) -> tuple[int, float] | None:
        """Rows and seconds. `load` is from the files to inputs whose scale is known."""
        if name == "load" and "features" in self.phases:
            seconds = self.phases["features"][1] + self.phases["statistics"][1]
            return self.rows, seconds
        return self.phases.get(name)


def markdown(outcomes: list[Outcome], introduction: dict[str, object]) -> str:
    """The section."""
    text = INTRODUCTION.format(
        machine=processor(), date=datetime.date.today().isoformat(), **introduction
    )
    head = ["rows", "way", *PHASES, "total, s", "peak, MB"]
    rows = [row(outcome, first(outcomes, outcome)) for outcome in outcomes]
    text = wrapped(text) + "\n" + table(head, rows) + "\n\n"
    return text + growth(outcomes) + "\n" + wrapped(NOTES)


def first(outcomes: list[Outcome], outcome: Outcome) -> bool:
    """Whether it is the first one of its table."""
    return next(each for each in outcomes if each.rows == outcome.rows) is outcome


def row(outcome: Outcome, is_first: bool) -> list[str]:
    """A line of the table."""
    cells = [f"{outcome.rows / 1e6:g} million" if is_first else "", outcome.way]
    ends = [f"{outcome.total_seconds:.1f}", peak(outcome)]
    if outcome.failure:
        return [*cells, outcome.failure, *[""] * (len(PHASES) - 1), *ends]
    return [*cells, *[thousands(outcome.phase(name)) for name in PHASES], *ends]


def thousands(phase: tuple[int, float] | None) -> str:
    """Thousand rows a second."""
    return f"{phase[0] / phase[1] / 1e3:,.0f}" if phase else "-"


def peak(outcome: Outcome) -> str:
    """Megabytes: all, and what is of no file."""
    return f"{outcome.peak_bytes / 1e6:,.0f} / {outcome.peak_own_bytes / 1e6:,.0f}"


def growth(outcomes: list[Outcome]) -> str:
    """How the cost of each way grows with the rows: seconds a million rows."""
    ways = dict.fromkeys(outcome.way.partition(" with ")[0] for outcome in outcomes)
    sizes = sorted({outcome.rows for outcome in outcomes})
    if len(sizes) < 2:
        return ""
    found = {(outcome.way.partition(" with ")[0], outcome.rows): outcome for outcome in outcomes}
    rows = []
    for way in ways:
        cells = [way]
        for size in sizes:
            outcome = found.get((way, size))
            load = outcome.phase("load") if outcome else None
            cells.append(f"{load[1] / size * 1e6:.2f}" if load else "-")
        rows.append(cells)
    head = ["seconds to load a million rows, of", *[f"{size / 1e6:g} million" for size in sizes]]
    return table(head, rows) + "\n"
