"""The section of BENCHMARKS.md."""

import datetime
from typing import Any

from axon.sections import processor, table, wrapped

from .goals import Goal
from .turns import Found, Way, convminer_way, torch_way

INTRODUCTION = """\
## Training beside PyTorch

    {command}

{machine}, {date}; {versions}. {others}

The same networks on the same {rows} conversations of the public rule, by turns: {rounds} of each,
of {repetitions} repetitions of {seconds} s, medians. On the CPU both may use the same {threads} of
the cores, whatever the machine has. PyTorch has as many threads, and one in a column of its own;
the ratio is to the former. It is written for speed: rows on the device and
selected there, fused AdamW, one matrix product for all packed networks. convminer cuts each
parameter's gradient at its own norm, which PyTorch has no fast way for, so there it is the norm of
all. A row counts when every network that learns from it has taken it: of the ensemble that is two
mixtures, a tabular classifier and, for rows that converted, two regressors.
"""

NOTES = """\
*Floor*: what the device could do at best, from the operations and bytes of the layers and, on a
GPU, from kernels that wait for each other (`src/train/throughput/cost.rs` says how that is
counted); of the CPU from its products of small matrices and its copies, measured in the same run.
"""

NO_GPU = """\
There was no GPU, so nothing of the GPU was measured. Where there is one, with PyTorch for CUDA,
what measures it is

    benches/training/run.sh --gpu=wgpu:0 --peak-tflops=67 --bandwidth-gbs=4800

with what that GPU does at best (here an H200), or with --gpu=cuda:0 and a convminer that was built
with `--features cuda`.
"""

TITLES = {
    "mlp": "guide's classifier",
    "mixture": "mixture",
    "tabular": "tabular classifier",
    "regressor": "regressor",
    "ensemble": "**whole default ensemble**",
    "residual": "residual classifier",
}


def markdown(
    found: Found,
    goals: list[Goal],
    introduction: dict[str, Any],
    cells: dict[str, list[tuple[str, int]]],
    gpu: tuple[str, str, str] | None,
    torch_modes: list[str],
) -> str:
    """The section; `gpu` is convminer's name of it, its own name, and its driver."""
    parts = [
        wrapped(
            INTRODUCTION.format(
                machine=processor(), date=datetime.date.today().isoformat(), **introduction
            )
        ),
        costs(found),
        "",
        "### CPU",
        "",
        speeds(found, cells["cpu"], convminer_way("cpu"), cpu_columns(found)),
        "",
        "### GPU",
        "",
    ]
    if gpu is None:
        parts.append(wrapped(NO_GPU))
    else:
        device, name, driver = gpu
        columns = {f"PyTorch, {mode}": torch_way("cuda", mode) for mode in torch_modes}
        parts += [f"{name}, {driver}.", ""]
        parts += [speeds(found, cells["gpu"], convminer_way(device), columns), ""]
    if found.rewards:
        parts += [rewards(found), ""]
    parts += [wrapped(NOTES), goal_table(goals)]
    return "\n".join(parts)


def cpu_columns(found: Found) -> dict[str, Way]:
    """The other ways on the CPU that were measured."""
    columns = {
        "PyTorch": torch_way("cpu", "eager"),
        "PyTorch, 1 thread": torch_way("cpu", "eager", 1),
        "PyTorch, compile": torch_way("cpu", "compile"),
        "Burn's gradients": convminer_way("burn"),
    }
    return {title: way for title, way in columns.items() if way in found.rates}


def costs(found: Found) -> str:
    """What a step must cost."""
    rows = []
    for network, parts in found.costs.items():

        def total(name: str, shared: bool = True, parts: list[dict[str, Any]] = parts) -> float:
            return sum(
                part["cost"][name] * (part["share_of_rows"] if shared else 1) for part in parts
            )

        rows.append(
            [
                TITLES.get(network, network),
                f"{total('parameters', shared=False):,.0f}",
                f"{total('operations_per_row') / 1e3:,.0f}",
                f"{total('bytes_per_row') / 1e3:,.1f}",
                f"{total('launches_per_step', shared=False):,.0f}",
            ]
        )
    return table(["", "parameters", "kFLOP a row", "kB a row", "launches a step"], rows)


def speeds(found: Found, cells: list[tuple[str, int]], ours: Way, others: dict[str, Way]) -> str:
    """Rows a second, of each network at each batch size."""
    head = ["", "batch", *others, "**convminer**", "ratio", "floor", "of it"]
    rows = []
    for cell in cells:
        network, batch_size = cell
        first = next(iter(others.values()), ours)
        floor = found.floors.get(ours, {}).get(cell)
        rate = found.rate(ours, cell)
        rows.append(
            [
                TITLES.get(network, network),
                f"{batch_size:,}",
                *[rounded(found.rate(way, cell)) for way in others.values()],
                rounded(rate),
                ratio(found.ratio(ours, first, cell)),
                rounded(floor and floor["rows_per_second"]),
                f"{100 * rate / floor['rows_per_second']:.1f} %" if floor and rate else "-",
            ]
        )
    return table(head, rows)


def rewards(found: Found) -> str:
    """How long a training took that earns so much."""
    rows = []
    for of in found.rewards:
        for reached in of["reached"]:
            seconds = reached["seconds"]
            shown = "not reached" if seconds is None else f"{seconds:.1f}"
            rows.append([of["device"], f"{reached['wanted']}", shown])
    return table(["whole training on", "mean reward", "seconds"], rows)


def goal_table(goals: list[Goal]) -> str:
    """What was to be reached."""
    rows = [
        [
            goal.text,
            f"{'at most ' if goal.at_most else ''}{goal.wanted:g}",
            "-" if goal.found is None else f"{goal.found:.2f}",
            goal.verdict(),
        ]
        for goal in goals
    ]
    return table(["goal", "wanted", "found", ""], rows) + "\n"


def rounded(rate: float | None) -> str:
    """Rows a second, to three digits."""
    if not rate:
        return "-"
    return f"{float(f'{rate:.3g}'):,.0f}"


def ratio(value: float | None) -> str:
    """Two digits behind the point."""
    return "-" if value is None else f"{value:.2f}"
