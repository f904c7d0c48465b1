"""The section of BENCHMARKS.md."""

from __future__ import annotations

import datetime
import statistics
from collections.abc import Callable
from typing import TYPE_CHECKING

from .sections import processor, table, wrapped

if TYPE_CHECKING:
    from .__main__ import Measured

INTRODUCTION = """\
## Beside the SDK's axon

    {command}

{machine}, {date}; {versions}.

The same load on both, from `convminer bench serve` on the same cores: signed requests of five kinds
with 40 features, over connections that stay open. The SDK's axon verifies signatures and nonces as
it does by default, lets everybody call and answers with the guide's two networks, one forward pass
a request; convminer answers with the ensemble of `checkpoints/default` and has no limit on a single
caller's rate.
"""

NOTES = """\
*Half rate*: an open loop at half of the closed loop's rate; requests are due at fixed times, and
each is timed from when it was due, so that a stall counts for all who waited. *Cryptography alone*:
one verification and one signature a request on all cores, the mean of measuring it just before and
just after the loads; the load generator shares the cores with the server, and its own work is not
taken off. *Ready*: from the start of the process to its line that says so, the median of {starts}
starts; *first answer*: what the first request took then. *Resident*: the memory that it holds.
"""


def markdown(
    command: str, versions: dict[str, str], measured: list[Measured], connections: int
) -> str:
    """The section."""
    introduction = INTRODUCTION.format(
        command=command,
        machine=processor(),
        date=datetime.date.today().isoformat(),
        versions=", ".join(f"{name} {version}" for name, version in versions.items()),
    )
    head = ["", *[each.title for each in measured]]
    compared = len(measured) == 2
    if compared:
        head.append("ratio")
    rows = []
    for name, value, form in figures(connections):
        values = [value(each) for each in measured]
        if all(each is None for each in values):
            continue
        cells = [name, *["-" if each is None else form(each) for each in values]]
        if compared:
            cells.append(ratio(values))
        rows.append(cells)
    notes = NOTES.format(starts=len(measured[0].start_seconds))
    return "\n".join([wrapped(introduction), table(head, rows), "", wrapped(notes)])


Value = Callable[["Measured"], float | None]
Form = Callable[[float], str]


def figures(connections: int) -> list[tuple[str, Value, Form]]:
    """What is shown of each server: a name, a number and how it is written."""

    def of(load: str, figure: str) -> Value:
        return lambda each: getattr(each, load)[figure]

    def latency(load: str, quantile: str) -> Value:
        return lambda each: getattr(each, load)["latency_ms"][quantile]

    def number(digits: int) -> Form:
        return lambda value: f"{value:,.{digits}f}"

    loads = [
        ("one", "1 connection"),
        ("most", f"{connections} connections"),
        ("half", f"{connections} connections, half rate"),
    ]
    rows: list[tuple[str, Value, Form]] = []
    for load, title in loads:
        rows.append((f"{title}: answers/s", of(load, "answered_per_second"), number(0)))
        for quantile in ("p50", "p99", "p99.9"):
            rows.append((f"{title}: {quantile}, ms", latency(load, quantile), number(2)))
        rows.append((f"{title}: not answered", of(load, "failed"), number(0)))
    rows += [
        ("cryptography alone, requests/s", lambda e: e.floor and e.floor["per_second"], number(0)),
        ("share of that, %", lambda e: 100 * e.most["share_of_floor"], number(1)),
        ("server's processor time, µs a request", server_microseconds, number(0)),
        ("ready, s", lambda e: statistics.median(e.start_seconds), number(3)),
        ("first answer, ms", lambda e: statistics.median(e.first_answer_ms), number(2)),
        ("resident when ready, MB", lambda e: e.resident_at_start / 1e6, number(1)),
        (
            "resident after these loads, MB",
            lambda e: e.half["server"]["resident_bytes_after"] / 1e6,
            number(1),
        ),
        (
            "resident after 100,000 requests, MB",
            lambda e: e.warm_bytes and e.warm_bytes / 1e6,
            number(1),
        ),
        (
            "resident after 1,000,000 requests, MB",
            lambda e: e.million_bytes and e.million_bytes / 1e6,
            number(1),
        ),
    ]
    return rows


def server_microseconds(each: Measured) -> float:
    """In the closed loop with many connections."""
    return 1e6 * each.most["server"]["cpu_seconds"] / max(each.most["sent"], 1)


def ratio(values: list[float | None]) -> str:
    """Convminer's figure over the other one's."""
    other, ours = values
    if other is None or ours is None or other == 0:
        return ""
    return f"{ours / other:.3g}"
