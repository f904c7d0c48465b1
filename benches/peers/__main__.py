"""Compares convminer with the models that other miners use."""

import argparse
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Collection
from pathlib import Path

from . import measure
from .convminer import ROOT, Convminer, default_path, single_row_microseconds
from .data import CHALLENGES, Sizes, Task, make_task
from .machine import machine
from .models import PEERS
from .table import Results, write_section

# What numbers are unless they are given.
USUAL = {
    "threads": 2,
    "training_rows": 20_000,
    "validation_rows": 5_000,
    "test_rows": 10_000,
}


def names(of: Collection[str]) -> Callable[[str], list[str]]:
    """A parser of a comma-separated choice."""

    def parse(text: str) -> list[str]:
        chosen = [name.strip() for name in text.split(",") if name.strip()]
        unknown = [name for name in chosen if name not in of]
        if unknown or not chosen:
            raise argparse.ArgumentTypeError(
                f"expected some of {', '.join(of)}, but it is `{text}`"
            )
        return chosen

    return parse


def seeds(text: str) -> list[int]:
    """Comma-separated seeds."""
    return [int(seed) for seed in text.split(",")]


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="benches/peers/run.sh",
        description=__doc__,
        epilog="run.sh itself takes --venv DIR, a Python environment to use or to make.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--binary", type=Path, default=default_path(), help="convminer, a release build")
    add("--seeds", type=seeds, default="31,32,33", help="one data set a challenge for each")
    add("--challenges", type=names(CHALLENGES), default=",".join(CHALLENGES))
    add("--only", type=names(PEERS), help=f"these peers alone: {', '.join(PEERS)}")
    add("--slow", action="store_true", help="RealMLP and TabM too, which take minutes a data set")
    add("--without-convminer", action="store_true", help="the peers alone")
    add("--cargo-bench", action="store_true", help="time one prediction of convminer, by criterion")
    add("--threads", type=int, choices=(1, 2), help="of a peer that learns; 1 on a busy machine")
    add("--json", type=Path, metavar="FILE", help="every figure, written after each model")
    add("--benchmarks", type=Path, metavar="FILE", default=ROOT / "BENCHMARKS.md", help="to write")
    add("--print-only", action="store_true", help="leave BENCHMARKS.md as it is")
    add("--data-dir", type=Path, metavar="DIR", help="keep the data here, or take it from here")
    add("--training-rows", type=int, help="for peers")
    add("--validation-rows", type=int, help="for peers, to stop at; convminer gets both together")
    add("--test-rows", type=int, help="for everybody")
    parser.set_defaults(**USUAL)
    arguments = parser.parse_args()
    if not arguments.binary.is_file():
        parser.error(
            f"expected a program at `{arguments.binary}`: run `cargo build --release`, "
            "or name one with --binary"
        )
    slow = [key for key in arguments.only or [] if PEERS[key].is_slow]
    if slow and not arguments.slow:
        parser.error(f"{' and '.join(slow)} need --slow, which installs what they need")
    return arguments


def command_line(options: list[str]) -> str:
    """How it was called."""
    return shlex.join(["benches/peers/run.sh", *options])


def reproduce(arguments: argparse.Namespace) -> str:
    """The command that gives the same figures elsewhere: the options but those that name files."""
    options = [f"--seeds={','.join(map(str, arguments.seeds))}"]
    if arguments.challenges != list(CHALLENGES):
        options.append(f"--challenges={','.join(arguments.challenges)}")
    if arguments.only:
        options.append(f"--only={','.join(arguments.only)}")
    for name in ("slow", "without_convminer", "cargo_bench"):
        if getattr(arguments, name):
            options.append(f"--{name.replace('_', '-')}")
    for name, usual in USUAL.items():
        if getattr(arguments, name) != usual:
            options.append(f"--{name.replace('_', '-')}={getattr(arguments, name)}")
    return command_line(options)


def run(arguments: argparse.Namespace, folder: Path) -> Results:
    """All models on all tasks."""
    binary = Convminer(arguments.binary.resolve())
    peers = arguments.only or [
        key for key, peer in PEERS.items() if arguments.slow or not peer.is_slow
    ]
    # Some minutes of building, so before anything that is measured.
    microseconds = single_row_microseconds() if arguments.cargo_bench else None
    sizes = Sizes(arguments.training_rows, arguments.validation_rows, arguments.test_rows)
    results = Results(
        command_line(sys.argv[1:]),
        reproduce(arguments),
        machine(peers, binary.version()),
        arguments.threads,
    )
    for seed in arguments.seeds:
        for challenge in arguments.challenges:
            task = make_task(binary, folder, challenge, seed, sizes)
            run_task(arguments, binary, task, peers, microseconds, results)
    return results


def run_task(
    arguments: argparse.Namespace,
    binary: Convminer,
    task: Task,
    peers: list[str],
    microseconds: float | None,
    results: Results,
) -> None:
    """All models on one task."""
    runs = [lambda: [measure.best_possible(task)], lambda: [measure.always_no(task)]]
    if not arguments.without_convminer:
        runs.append(lambda: [measure.convminer(binary, task, microseconds)])
    runs.extend(lambda key=key: measure.peer(key, task, arguments.threads) for key in peers)
    for each in runs:
        start = time.perf_counter()
        for outcome in each():
            results.add(task, outcome)
            print(
                f"{task.challenge:8} {task.seed:4}  {outcome.key:18} {outcome.mean_reward:.4f}"
                f"  after {time.perf_counter() - start:.0f} s",
                file=sys.stderr,
                flush=True,
            )
        if arguments.json is not None:
            results.write_json(arguments.json)


def main() -> None:
    """Runs, prints and writes."""
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="convminer-peers-") as temporary:
        folder = arguments.data_dir or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        results = run(arguments, folder.resolve())
    section = results.markdown()
    print(section)
    if not arguments.print_only:
        write_section(arguments.benchmarks, section)


if __name__ == "__main__":
    main()
