"""Puts the same load on the SDK's axon and on `convminer serve`."""

import argparse
import shlex
import statistics
import sys
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .sections import write_section
from .servers import ROOT, Convminer, Server, default_binary, running
from .shown import markdown

MILLION = 1_000_000
# After so many requests it is looked at the memory for the first time.
WARM = 100_000


@dataclass
class Measured:
    """What is known of one server."""

    title: str
    start_seconds: list[float] = field(default_factory=list)
    first_answer_ms: list[float] = field(default_factory=list)
    resident_at_start: int = 0
    one: dict[str, Any] = field(default_factory=dict)
    """One connection, closed loop."""
    most: dict[str, Any] = field(default_factory=dict)
    """Many connections, closed loop."""
    half: dict[str, Any] = field(default_factory=dict)
    """Many connections, open loop at half the rate of the closed one."""
    floor: dict[str, Any] | None = None
    warm_bytes: int | None = None
    million_bytes: int | None = None
    million_answered: int | None = None


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="benches/axon/run.sh",
        description=__doc__,
        epilog="run.sh itself takes --venv DIR, a Python environment to use or to make.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--binary", type=Path, default=default_binary(), help="convminer, a release build")
    add("--checkpoint", type=Path, default=ROOT / "checkpoints" / "default")
    add("--connections", type=int, default=16, help="of the second and third load")
    add("--seconds", type=float, default=15.0, help="how long each load is")
    add("--starts", type=int, default=5, help="how often each server is started")
    add("--million", action="store_true", help="convminer's memory after a million requests")
    add("--only", choices=("python", "convminer"), help="one of the two; writes nothing")
    add("--benchmarks", type=Path, metavar="FILE", default=ROOT / "BENCHMARKS.md", help="to write")
    add("--print-only", action="store_true", help="leave BENCHMARKS.md as it is")
    arguments = parser.parse_args()
    if not arguments.binary.is_file():
        parser.error(
            f"expected a program at `{arguments.binary}`: run `cargo build --release`, "
            "or name one with --binary"
        )
    return arguments


def measure(
    arguments: argparse.Namespace, convminer: Convminer, title: str, command: list[str]
) -> Measured:
    """Starts a server some times, and puts the loads on the last one."""
    measured = Measured(title)
    for start in range(arguments.starts):
        with running(command) as server:
            first = convminer.bench(server, "--requests=1", "--connections=1", "--warm-up=0")
            measured.start_seconds.append(server.start_seconds)
            measured.first_answer_ms.append(first["runs"][0]["latency_ms"]["max"])
            measured.resident_at_start = server.resident_bytes()
            if start + 1 == arguments.starts:
                load(arguments, convminer, server, measured)
    return measured


def load(
    arguments: argparse.Namespace, convminer: Convminer, server: Server, measured: Measured
) -> None:
    """The three loads."""
    seconds = f"--duration={arguments.seconds}"
    [measured.one] = convminer.bench(server, seconds, "--connections=1")["runs"]
    many = f"--connections={arguments.connections}"
    found = convminer.bench(server, seconds, many, "--find-max", "--floor")
    measured.most, measured.half = found["runs"]
    measured.floor = found["floor"]
    for run in (measured.one, measured.most, measured.half):
        print(
            f"{measured.title}: {run['answered_per_second']:.1f} a second, "
            f"p50 {run['latency_ms']['p50']:.3f} ms, p99 {run['latency_ms']['p99']:.3f} ms, "
            f"{run['failed']} failed",
            file=sys.stderr,
            flush=True,
        )


def million(
    arguments: argparse.Namespace, convminer: Convminer, command: list[str], of: Measured
) -> None:
    """A fresh server's memory after some requests, and after a million."""
    many = f"--connections={arguments.connections}"
    with running(command) as server:
        answered = 0
        for requests in (WARM, MILLION - WARM):
            [run] = convminer.bench(server, f"--requests={requests}", many, "--warm-up=0")["runs"]
            answered += run["answered"]
            if of.warm_bytes is None:
                of.warm_bytes = server.resident_bytes()
        of.million_bytes = server.resident_bytes()
        of.million_answered = answered


def run(arguments: argparse.Namespace) -> tuple[list[Measured], dict[str, str]]:
    """Both servers, and the versions of what ran."""
    convminer = Convminer(arguments.binary.resolve())
    versions = {"convminer": convminer.version(), "Python": sys.version.split()[0]}
    measured = []
    if arguments.only != "convminer":
        versions |= {package: version(package) for package in ("bittensor", "torch")}
        miner = [sys.executable, str(Path(__file__).with_name("miner.py"))]
        title = f"bittensor {versions['bittensor']}, PyTorch"
        measured.append(measure(arguments, convminer, title, miner))
    if arguments.only != "python":
        command = convminer.serve_command(
            f"--checkpoint={arguments.checkpoint.resolve()}", "--allow-unregistered"
        )
        measured.append(measure(arguments, convminer, "**convminer**", command))
        if arguments.million:
            million(arguments, convminer, command, measured[-1])
    return measured, versions


def reproduce(arguments: argparse.Namespace) -> str:
    """The command that gives the same figures elsewhere."""
    options = [
        f"--{name}={getattr(arguments, name)}"
        for name, usual in (("connections", 16), ("seconds", 15.0), ("starts", 5))
        if getattr(arguments, name) != usual
    ]
    options += ["--million"] if arguments.million else []
    return shlex.join(["benches/axon/run.sh", *options])


def main() -> None:
    """Runs, prints and writes."""
    arguments = parse_arguments()
    measured, versions = run(arguments)
    for each in measured:
        seconds = statistics.median(each.start_seconds)
        print(f"{each.title}: ready after {seconds:.3f} s", file=sys.stderr)
    section = markdown(reproduce(arguments), versions, measured, arguments.connections)
    print(section)
    if not arguments.print_only and arguments.only is None:
        write_section(arguments.benchmarks, "axon", "benches/axon/run.sh", section)


if __name__ == "__main__":
    main()
