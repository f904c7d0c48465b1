"""What else the machine did meanwhile: figures of a busy machine say little."""

import os
import resource
import time
from pathlib import Path

# A larger share of the processors than this disturbs what is measured.
MOST_SHARE = 0.05


class Others:
    """Looks at the processors from when it is made on."""

    def __init__(self) -> None:
        """Begins to look."""
        self.start = time.perf_counter()
        self.busy = busy_seconds(Path("/proc/stat").read_text())
        self.own = own_seconds()

    def share(self) -> float:
        """The share of all processors that neither idled nor worked for this process and its
        children that are over.
        """
        seconds = (time.perf_counter() - self.start) * (os.cpu_count() or 1)
        busy = busy_seconds(Path("/proc/stat").read_text()) - self.busy
        return max(0.0, busy - (own_seconds() - self.own)) / max(seconds, 1e-9)


def busy_seconds(stat: str) -> float:
    """Seconds of all processors together in which they did not idle; those that the host of a
    virtual machine took for others count too.
    """
    user, nice, system, _idle, _wait, *rest = map(int, stat.splitlines()[0].split()[1:9])
    return (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")


def own_seconds() -> float:
    """Processor time of this process and of its children that are over."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def told(share: float) -> str:
    """A sentence for the section."""
    verdict = "" if share <= MOST_SHARE else " That is too much to trust the figures."
    return f"Other processes took {100 * share:.0f} % of the processors meanwhile.{verdict}"
