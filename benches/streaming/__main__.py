"""Lets convminer, pandas and polars load more rows than memory holds."""

import argparse
import dataclasses
import json
import re
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from axon.sections import write_section
from axon.servers import ROOT, default_binary

from . import child, miner, others, shown
from .check import TOLERANCE, check
from .miner import Convminer
from .shown import Outcome

# The ways in Python: a library, how it is used, and its name.
WAYS = (
    ("polars", "streaming", "polars, streaming"),
    ("polars", "chunks", "polars, chunks"),
    ("polars", "whole", "polars, whole"),
    ("pandas", "chunks", "pandas, chunks"),
    ("pandas", "whole", "pandas, whole"),
)
# What options are unless they are given.
USUAL: dict[str, Any] = {
    "rows": [1_000_000, 5_000_000, 10_000_000, 50_000_000],
    "file_rows": 500_000,
    "challenge": "noisy",
    "max_memory": "4GiB",
    "most_disk": "25GiB",
}
UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def size(text: str) -> int:
    """Bytes, as in 4GiB."""
    found = re.fullmatch(r"([\d.]+)(KiB|MiB|GiB)", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"expected a size such as 4GiB, but it is `{text}`")
    return int(float(found[1]) * UNITS[found[2]])


def counts(text: str) -> list[int]:
    """Comma-separated numbers of rows, the smallest first; 5M is five million."""
    return sorted(
        int(float(part.removesuffix("M")) * (1e6 if "M" in part else 1)) for part in text.split(",")
    )


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="benches/streaming/run.sh",
        description=__doc__,
        epilog="run.sh itself takes --venv DIR, a Python environment to use or to make.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--binary", type=Path, default=default_binary(), help="convminer, a release build")
    add("--rows", type=counts, help="sizes of tables, with commas; 5M is five million")
    add("--file-rows", type=int, help="rows of a parquet file")
    add("--challenge", choices=("rule", "template", "noisy"), help="what is generated")
    add("--max-memory", help="what each may hold")
    add("--most-disk", help="what all files together may take")
    add("--only", help="the ways whose names have this in them")
    add("--folder", type=Path, help="where files are kept meanwhile; else the system's own place")
    add("--json", type=Path, metavar="FILE", help="every figure, written after each way")
    add("--benchmarks", type=Path, metavar="FILE", default=ROOT / "BENCHMARKS.md", help="to write")
    add("--print-only", action="store_true", help="leave BENCHMARKS.md as it is")
    parser.set_defaults(**USUAL)
    arguments = parser.parse_args()
    if not arguments.binary.is_file():
        parser.error(
            f"expected a program at `{arguments.binary}`: run `cargo build --release`, "
            "or name one with --binary"
        )
    arguments.binary = arguments.binary.resolve()
    for name in ("max_memory", "most_disk"):
        try:
            size(getattr(arguments, name))
        except argparse.ArgumentTypeError as error:
            parser.error(str(error))
    return arguments


def reproduce(arguments: argparse.Namespace) -> str:
    """The command that gives the same figures elsewhere."""
    options = []
    for name, usual in USUAL.items():
        value = getattr(arguments, name)
        if value != usual:
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            options.append(f"--{name.replace('_', '-')}={text}")
    if arguments.only:
        options.append(f"--only={arguments.only}")
    return shlex.join(["benches/streaming/run.sh", *options])


class Tables:
    """Tables of growing size: each has the files of the smaller ones, and more."""

    def __init__(self, convminer: Convminer, arguments: argparse.Namespace, folder: Path) -> None:
        self.convminer = convminer
        self.challenge = arguments.challenge
        self.file_rows = arguments.file_rows
        self.most_bytes = size(arguments.most_disk)
        self.folder = folder / "data"
        self.folder.mkdir()
        self.rows = 0

    def grow(self, rows: int) -> None:
        """Generates what is missing, file by file."""
        while self.rows < rows:
            number = len(list(self.folder.iterdir()))
            count = min(self.file_rows, rows - self.rows)
            out = self.folder / f"part-{number:04}.parquet"
            self.convminer.generate(self.challenge, count, number, out)
            self.rows += count
            if used(self.folder) > self.most_bytes:
                raise SystemExit(f"the tables take more than {self.most_bytes} bytes of disk")


def used(folder: Path) -> int:
    """The bytes of all files below."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def run(arguments: argparse.Namespace, folder: Path) -> list[Outcome]:
    """All ways on all tables."""
    convminer = Convminer(arguments.binary)
    check(convminer)
    tables = Tables(convminer, arguments, folder)
    outcomes: list[Outcome] = []
    for rows in arguments.rows:
        start = time.perf_counter()
        tables.grow(rows)
        seconds = time.perf_counter() - start
        print(
            f"{rows:,} rows in {used(tables.folder) / 1e9:.2f} GB, after {seconds:.0f} s",
            file=sys.stderr,
            flush=True,
        )
        for way in ("convminer", *(name for *_, name in WAYS)):
            if arguments.only and arguments.only not in way:
                continue
            outcomes.append(one(arguments, way, rows, folder))
            print(told(outcomes[-1]), file=sys.stderr, flush=True)
            if arguments.json:
                write_json(arguments, outcomes)
    return outcomes


def one(arguments: argparse.Namespace, way: str, rows: int, folder: Path) -> Outcome:
    """One way on one table."""
    most = size(arguments.max_memory)
    if way != "convminer":
        library, mode = next((library, mode) for library, mode, name in WAYS if name == way)

        def python_command(kept: Path) -> list[str]:
            command = [sys.executable, "-m", "streaming.side", library, mode]
            return [*command, "--data", str(folder / "data"), "--cache", str(kept / "cache")]

        return attempt(way, rows, folder, python_command, side_phases, most)
    for limit in (most, most // 2, most // 4, most // 8):

        def convminer_command(kept: Path, limit: int = limit) -> list[str]:
            binary, cache, out = arguments.binary, kept / "cache", kept / "checkpoint"
            return miner.train_command(binary, folder / "data", cache, out, limit)

        name = "**convminer**" + ("" if limit == most else f" with {limit >> 20} MiB")
        outcome = attempt(name, rows, folder, convminer_command, miner.phases, most)
        # All rows were in memory: nothing of what is to be shown was done.
        if outcome.phases or outcome.failure:
            return outcome
    raise SystemExit(f"convminer keeps {rows} rows in memory: take more")


def attempt(
    way: str,
    rows: int,
    folder: Path,
    command: Callable[[Path], list[str]],
    phases: Callable[[dict[str, Any], int], dict[str, tuple[int, float]] | None],
    most_bytes: int,
) -> Outcome:
    """Runs a command; what it keeps on the disk is deleted."""
    with tempfile.TemporaryDirectory(dir=folder) as kept:
        cache = Path(kept, "cache")
        cache.mkdir()
        ended = child.run(command(Path(kept)), most_bytes, Path(kept))
        disk = used(cache)
    if disk:
        print(f"  {way} kept {disk / 1e9:.2f} GB on the disk", file=sys.stderr)
    failure, found = None, None
    if ended.was_over:
        failure = f"ended at {most_bytes >> 20} MiB"
    elif ended.status != 0:
        failure = f"failed: {last_line(ended.errors)}"
    else:
        found = phases(json.loads(ended.output), rows)
    seconds, peaks = ended.seconds, (ended.peak_bytes, ended.peak_own_bytes)
    return Outcome(way, rows, found or {}, seconds, *peaks, failure)


def side_phases(report: dict[str, Any], rows: int) -> dict[str, tuple[int, float]]:
    """The rows and seconds of each phase of a side in Python."""
    if report["rows"] != rows:
        raise RuntimeError(f"expected {rows} rows, but it read {report['rows']}")
    return {name: (rows, seconds) for name, seconds in report["phases"].items()}


def last_line(text: str) -> str:
    """What a process said last."""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1][:120] if lines else "without a word"


def told(outcome: Outcome) -> str:
    """A line while it runs."""
    phases = [f"{name} {seconds:.1f} s" for name, (_, seconds) in outcome.phases.items()]
    said = outcome.failure or ", ".join(phases)
    peak = f"{outcome.peak_bytes / 1e6:.0f} MB, {outcome.peak_own_bytes / 1e6:.0f} of its own"
    return f"  {outcome.way}: {said}; {outcome.total_seconds:.1f} s in all; at most {peak}"


def write_json(arguments: argparse.Namespace, outcomes: list[Outcome]) -> None:
    """Every figure."""
    report = {
        "command": reproduce(arguments),
        "outcomes": [dataclasses.asdict(outcome) for outcome in outcomes],
    }
    arguments.json.write_text(json.dumps(report, indent=1) + "\n")


def main() -> None:
    """Runs, prints and writes."""
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="convminer-streaming-", dir=arguments.folder) as folder:
        free = shutil.disk_usage(folder).free
        if free < size(arguments.most_disk):
            print(f"only {free / 1e9:.0f} GB are free in `{folder}`", file=sys.stderr)
        watch = others.Others()
        outcomes = run(arguments, Path(folder).resolve())
        share = watch.share()
    versions = {
        "convminer": Convminer(arguments.binary).version(),
        "Python": sys.version.split()[0],
        **{package: version(package) for package in ("pandas", "polars", "pyarrow")},
    }
    section = shown.markdown(
        outcomes,
        {
            "command": reproduce(arguments),
            "versions": ", ".join(f"{name} {number}" for name, number in versions.items()),
            "others": others.told(share),
            "challenge": arguments.challenge,
            "file_rows": arguments.file_rows,
            "limit": arguments.max_memory,
            "tolerance": TOLERANCE,
        },
    )
    print(section)
    if not arguments.print_only:
        write_section(arguments.benchmarks, "streaming", "benches/streaming/run.sh", section)


if __name__ == "__main__":
    main()
