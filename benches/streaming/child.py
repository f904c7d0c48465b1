"""Runs a process, watches its memory, and ends it when that is more than it may have."""

import os
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

WATCH_SECONDS = 0.02


@dataclass(frozen=True)
class Ended:
    """A process that is over."""

    output: str
    errors: str
    status: int
    seconds: float
    peak_bytes: int
    """The most memory that was resident, as the kernel counts it (VmHWM): mapped files too."""
    peak_own_bytes: int
    """The most of it that was not of files: what cannot be given back while it is needed."""
    was_over: bool
    """Whether it was ended for that."""


def run(command: list[str], most_bytes: int, cwd: Path | None = None) -> Ended:
    """Runs a command to its end, or until its own memory is more than that."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("CONVMINER_")
    }
    start = time.perf_counter()
    peak = peak_own = 0
    was_over = False
    # Files and not pipes: who prints much must not wait for who watches.
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdout=output, stderr=errors, env=environment, cwd=cwd)
        while process.poll() is None:
            resident = memory(process.pid)
            peak = max(peak, resident.get("VmHWM", 0))
            peak_own = max(peak_own, own(resident))
            if own(resident) > most_bytes:
                was_over = True
                process.kill()
            time.sleep(WATCH_SECONDS)
        seconds = time.perf_counter() - start
        for file in (output, errors):
            file.seek(0)
        texts = [file.read().decode(errors="replace") for file in (output, errors)]
    return Ended(*texts, process.returncode, seconds, peak, peak_own, was_over)


def memory(pid: int) -> dict[str, int]:
    """What the kernel says of a process's memory, in bytes; nothing once it is over."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return {}
    return parse_status(text)


def parse_status(text: str) -> dict[str, int]:
    """The sizes in a `/proc/PID/status`."""
    found = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        number, _, unit = rest.strip().partition(" ")
        if unit == "kB":
            found[name] = int(number) * 1024
    return found


def own(resident: dict[str, int]) -> int:
    """The part that is of no file."""
    return resident.get("RssAnon", 0) + resident.get("RssShmem", 0)
