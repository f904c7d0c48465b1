"""Starts the servers, and puts load on them. Needs nothing but Python."""

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 120.0


def default_binary() -> Path:
    """Where `cargo build --release` leaves the program."""
    target = os.environ.get("CARGO_TARGET_DIR", str(ROOT / "target"))
    return Path(target, "release", "convminer")


@dataclass(frozen=True)
class Server:
    """A server that is ready."""

    address: str
    hotkey: str
    pid: int
    start_seconds: float
    """From the start of the process to its line that says that it is ready."""

    def resident_bytes(self) -> int:
        """The memory that it holds."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        [line] = [line for line in lines if line.startswith("VmRSS:")]
        return int(line.split()[1]) * 1024


@contextmanager
def running(
    command: Sequence[str], log: Path | None = None, cwd: Path | None = None
) -> Iterator[Server]:
    """Runs a server that says on one line of JSON when it is ready."""
    with tempfile.TemporaryDirectory(prefix="convminer-bench-") as home:
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("CONVMINER_")
        }
        with open(log or Path(home, "log"), "wb") as errors:
            began = time.perf_counter()
            process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**environment, "HOME": home},
                cwd=cwd or home,
                text=True,
            )
            try:
                line = first_line(process)
                seconds = time.perf_counter() - began
                if not line:
                    text = Path(errors.name).read_text(errors="replace")
                    raise RuntimeError(f"`{command[0]}` ended before it was ready: {text}")
                ready = json.loads(line)
                yield Server(ready["listening"], ready["hotkey"], process.pid, seconds)
            finally:
                process.kill()
                process.wait()
                process.stdout.close()


def first_line(process: subprocess.Popen) -> str:
    """What the process prints first; whatever comes later is read and dropped."""
    lines: queue.Queue = queue.Queue()

    def read() -> None:
        lines.put(process.stdout.readline())
        for _ in process.stdout:
            pass

    threading.Thread(target=read, daemon=True).start()
    return lines.get(timeout=PATIENCE_SECONDS)


@dataclass(frozen=True)
class Convminer:
    """The program."""

    binary: Path

    def version(self) -> str:
        """As it says."""
        command = [self.binary, "--version"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stdout.split()[-1]

    def serve_command(self, *arguments: str) -> list[str]:
        """An axon on this machine; without limits on a single caller, if it knows such limits."""
        done = subprocess.run(
            [self.binary, "serve", "--help"], capture_output=True, text=True, check=True
        )
        limits = ["--rate-limit.hotkey", "--rate-limit.ip"]
        off = [f"{limit}=0" for limit in limits if limit in done.stdout]
        free = ["--admin.listen=127.0.0.1:0"] if "--admin.listen" in done.stdout else []
        return [
            str(self.binary),
            "serve",
            "--axon.ip=127.0.0.1",
            "--axon.port=0",
            *off,
            *free,
            *arguments,
        ]

    def bench_command(self, server: Server, *arguments: str) -> list[str]:
        """A load on a server."""
        return [
            str(self.binary),
            "bench",
            "serve",
            f"--axon={server.address}",
            f"--hotkey={server.hotkey}",
            f"--pid={server.pid}",
            "--json",
            *arguments,
        ]

    def bench(self, server: Server, *arguments: str) -> dict[str, Any]:
        """Puts a load on a server; what was measured."""
        with tempfile.TemporaryDirectory(prefix="convminer-bench-") as home:
            done = subprocess.run(
                self.bench_command(server, *arguments),
                capture_output=True,
                text=True,
                env={**os.environ, "HOME": home},
            )
        sys.stderr.write(done.stderr)
        if done.returncode not in (0, 1) or not done.stdout:
            raise RuntimeError(f"the load failed with exit code {done.returncode}: {done.stderr}")
        return json.loads(done.stdout)
