"""Answers for a long time, with reloads and a model that panics, and loses nothing."""

import argparse
import datetime
import json
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from axon.sections import processor, table, wrapped, write_section
from axon.servers import ROOT, Convminer, Server, default_binary, running

CALLERS = 8
SEED = 5


@dataclass
class Soak:
    """What was seen."""

    minutes: float
    most_per_second: float
    load: dict[str, Any]
    resident: list[tuple[float, int]]
    """Seconds since the start, and bytes."""
    replaced: dict[str, int]
    log: dict[str, int] = field(default_factory=dict)
    """How often the server's log tells of something."""

    def is_clean(self) -> bool:
        """Whether nothing was lost and nothing wrong."""
        checks = self.load["checks"]
        return (
            self.load["failed"] == 0
            and checks["wrong"] == 0
            and checks["checked"] == self.load["answered"] == self.load["sent"]
        )

    def resident_megabytes(self, share: float) -> float:
        """The memory when this share of the time had passed."""
        index = min(int(share * len(self.resident)), len(self.resident) - 1)
        return self.resident[index][1] / 1e6


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="benches/soak/run.sh",
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--minutes", type=float, default=30.0, help="how long")
    add("--binary", type=Path, default=default_binary(), help="convminer, a release build")
    add("--checkpoint", type=Path, default=ROOT / "checkpoints" / "default", help="the first one")
    add("--other", type=Path, help="the second one; by default one is trained")
    add("--every", type=float, default=10.0, help="seconds between two reloads")
    add("--panic-every", type=int, default=1000, help="conversations from panic to panic; 0: none")
    add("--connections", type=int, default=16, help="of the load")
    add("--rate", type=float, help="requests a second; by default half of the maximal rate")
    add("--json", type=Path, metavar="FILE", help="every figure")
    add("--log", type=Path, metavar="FILE", help="keep the server's log")
    add("--benchmarks", type=Path, metavar="FILE", default=ROOT / "BENCHMARKS.md", help="to write")
    add("--print-only", action="store_true", help="leave BENCHMARKS.md as it is")
    arguments = parser.parse_args()
    if not arguments.binary.is_file():
        parser.error(
            f"expected a program at `{arguments.binary}`: run `cargo build --release`, "
            "or name one with --binary"
        )
    return arguments


class Scene:
    """A folder with two checkpoints of which one is the latest, and a metagraph."""

    def __init__(self, folder: Path, arguments: argparse.Namespace, convminer: Convminer) -> None:
        self.convminer = convminer
        self.folder = folder
        self.root = folder / "checkpoints"
        self.root.mkdir()
        self.metagraph = folder / "metagraph.json"
        self.checkpoints = [self.root / "first", self.root / "second"]
        self.replaced = {"checkpoint": 0, "metagraph": 0}
        copy(arguments.checkpoint, self.checkpoints[0])
        if arguments.other is not None:
            copy(arguments.other, self.checkpoints[1])
        else:
            self.train(self.checkpoints[1])
        self.set_latest(0)
        self.write_metagraph("1000,10,1")

    def command(self, *arguments: str) -> None:
        """Runs convminer in the folder."""
        subprocess.run(
            [self.convminer.binary, "--quiet", *arguments],
            cwd=self.folder,
            check=True,
            stdout=subprocess.DEVNULL,
        )

    def train(self, out: Path) -> None:
        """A small checkpoint that answers otherwise than the first one."""
        data = str(self.folder / "second.csv")
        self.command("generate", "--challenge=noisy", "--rows=3000", "--seed=77", f"--out={data}")
        self.command("train", f"--data={data}", "--epochs=3", "--device=cpu", f"--out={out}")

    def set_latest(self, index: int) -> None:
        """Names the checkpoint that is to be served."""
        new = self.root / "latest.new"
        new.write_text(f"{self.checkpoints[index].name}\n")
        new.replace(self.root / "latest")

    def write_metagraph(self, stakes: str) -> None:
        """All callers of the load are in it, with these stakes."""
        self.command(
            "bench",
            "serve",
            f"--callers={CALLERS}",
            f"--seed={SEED}",
            f"--stake={stakes}",
            f"--write-metagraph={self.metagraph}",
        )

    def replace(self, turn: int) -> None:
        """Names the other checkpoint, and writes the metagraph with other stakes."""
        self.set_latest(turn % 2)
        self.write_metagraph(["1000,10,1", "1,10,1000"][turn % 2])
        self.replaced["checkpoint"] += 1
        self.replaced["metagraph"] += 1


def copy(checkpoint: Path, to: Path) -> None:
    """A checkpoint's files."""
    to.mkdir()
    for file in checkpoint.iterdir():
        if file.is_file():
            (to / file.name).write_bytes(file.read_bytes())


class Meanwhile(threading.Thread):
    """Replaces files and looks at the server's memory, until it is told to stop."""

    def __init__(self, scene: Scene, server: Server, every: float) -> None:
        super().__init__(daemon=True)
        self.scene, self.server, self.every = scene, server, every
        self.stopped = threading.Event()
        self.resident: list[tuple[float, int]] = []
        self.error: Exception | None = None

    def run(self) -> None:
        began, turn = time.monotonic(), 1
        try:
            while True:
                seconds = time.monotonic() - began
                self.resident.append((seconds, self.server.resident_bytes()))
                if self.stopped.wait(self.every - (seconds % self.every)):
                    return
                self.scene.replace(turn)
                turn += 1
        except Exception as error:  # Told when the load has ended.
            self.error = error

    def stop(self) -> None:
        """Ends it; what went wrong in it is raised here."""
        self.stopped.set()
        self.join()
        if self.error is not None:
            raise self.error


def soak(arguments: argparse.Namespace, folder: Path) -> Soak:
    """The whole of it."""
    convminer = Convminer(arguments.binary.resolve())
    scene = Scene(folder, arguments, convminer)
    who = [f"--callers={CALLERS}", f"--seed={SEED}", f"--connections={arguments.connections}"]
    log = (arguments.log or folder / "serve.log").resolve()
    serve = convminer.serve_command(f"--metagraph={scene.metagraph}")
    if arguments.panic_every:
        serve.append(f"--fault.panic-every={arguments.panic_every}")
    with running(serve, log, cwd=folder) as server:
        [closed] = convminer.bench(server, "--duration=5", *who)["runs"]
        most = closed["answered_per_second"]
        rate = arguments.rate or most / 2
        print(f"{most:.0f} a second at most; now {rate:.0f}", file=sys.stderr, flush=True)
        meanwhile = Meanwhile(scene, server, arguments.every)
        meanwhile.start()
        try:
            [load] = convminer.bench(
                server,
                f"--duration={60 * arguments.minutes}",
                f"--rate={rate}",
                "--verify-answers",
                *(f"--checkpoint={path}" for path in scene.checkpoints),
                *who,
            )["runs"]
        finally:
            meanwhile.stop()
        meanwhile.resident.append((60 * arguments.minutes, server.resident_bytes()))
    text = log.read_text(errors="replace")
    told = {"panicked": text.count("panicked"), " ERROR ": text.count(" ERROR ")}
    return Soak(arguments.minutes, most, load, meanwhile.resident, scene.replaced, told)


SECTION = """\
## A soak

    {command}

{machine}, {date}; convminer {version}.

`convminer serve` at {rate} for {minutes:g} minutes, an open loop over {connections} connections of
{callers} callers, while another checkpoint and another metagraph took
the place of the last every {every:g} s{panics}. Each answer was checked: its signature, its
features, and that one of the models of the two checkpoints gives it.

{table}

{verdict}
"""


def markdown(arguments: argparse.Namespace, found: Soak, version: str) -> str:
    """The section of BENCHMARKS.md."""
    load, checks = found.load, found.load["checks"]
    panics = ""
    if arguments.panic_every:
        panics = f", and the ensemble panicked at every {arguments.panic_every:,}th conversation"
    latency = load["latency_ms"]
    rows = [
        ["requests a second", f"{load['rate_per_second']:,.0f}"],
        ["requests", f"{load['sent']:,}"],
        ["answered", f"{load['answered']:,}"],
        ["not answered", f"{load['failed']:,}"],
        ["wrong", f"{checks['wrong']:,}"],
        *([f"answers of {name}", f"{count:,}"] for name, count in given_by(checks)),
        ["checkpoints replaced", f"{found.replaced['checkpoint']:,}"],
        ["metagraphs replaced", f"{found.replaced['metagraph']:,}"],
        ["p50, ms", f"{latency['p50']:.2f}"],
        ["p99, ms", f"{latency['p99']:.2f}"],
        ["p99.9, ms", f"{latency['p99.9']:.2f}"],
        ["longest, ms", f"{latency['max']:.2f}"],
        ["resident at the start, MB", f"{found.resident_megabytes(0.0):.1f}"],
        ["resident in the middle, MB", f"{found.resident_megabytes(0.5):.1f}"],
        ["resident at the end, MB", f"{found.resident_megabytes(1.0):.1f}"],
    ]
    verdict = "Not one answer was wrong or lost."
    if not found.is_clean():
        faults = {**load["failures"], **checks["faults"]}
        verdict = f"**Not clean**: {json.dumps(faults)}."
    return wrapped(
        SECTION.format(
            command=reproduce(arguments),
            machine=processor(),
            date=datetime.date.today().isoformat(),
            version=version,
            minutes=arguments.minutes,
            rate="half of its maximal rate" if arguments.rate is None else "a fixed rate",
            connections=arguments.connections,
            callers=CALLERS,
            every=arguments.every,
            panics=panics,
            table=table(["", "seen"], rows),
            verdict=verdict,
        )
    )


def reproduce(arguments: argparse.Namespace) -> str:
    """The command that does the same elsewhere."""
    options = [f"--minutes={arguments.minutes:g}"]
    usuals = {"every": 10.0, "panic_every": 1000, "connections": 16, "rate": None}
    for name, usual in usuals.items():
        value = getattr(arguments, name)
        if value != usual:
            options.append(f"--{name.replace('_', '-')}={value:g}")
    return shlex.join(["benches/soak/run.sh", *options])


def given_by(checks: dict[str, Any]) -> list[tuple[str, int]]:
    """How many answers each model gave, by the last parts of the checkpoint's path."""
    return [(name.rsplit("/", 1)[-1], count) for name, count in checks["given_by"].items()]


def main() -> None:
    """Runs, prints, writes, and fails if anything was lost or wrong."""
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="convminer-soak-") as folder:
        found = soak(arguments, Path(folder).resolve())
    section = markdown(arguments, found, Convminer(arguments.binary.resolve()).version())
    print(section)
    print(f"the server's log: {found.log}", file=sys.stderr)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(vars(found), indent=1) + "\n")
    if not arguments.print_only:
        write_section(arguments.benchmarks, "soak", "benches/soak/run.sh", section)
    sys.exit(0 if found.is_clean() else 1)


if __name__ == "__main__":
    main()
