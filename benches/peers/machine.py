"""What a run ran on."""

import datetime
import os
import platform
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .models import PEERS


def machine(peers: Iterable[str], convminer_version: str) -> dict[str, Any]:
    """Cores, processor and versions."""
    packages = dict.fromkeys(PEERS[key].package for key in peers)
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": processor(),
        "system": f"{platform.system()} {platform.release()}",
        "date": datetime.date.today().isoformat(),
        "versions": {
            "convminer": convminer_version,
            "Python": platform.python_version(),
            **{package: version(package) for package in packages},
        },
    }


def processor() -> str:
    """Its name, as Linux knows it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
