"""What the notebooks share: calling `convminer`, reading tables, a few statistics, the looks."""

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import matplotlib as mpl
import numpy as np
import polars as pl
import polars.selectors as cs
from IPython.display import HTML
from matplotlib_inline.backend_inline import set_matplotlib_formats

HERE = Path(__file__).resolve().parent

ID = "session_id"
LABEL = "conversion_happened"
TIME = "time_to_conversion_seconds"
NOT_FEATURES = (ID, LABEL, TIME, "time_to_conversion_minutes")

# The features in which -1 stands for "not available", as `src/subnet/schema.rs` has it.
MINUS_ONE_IS_MISSING = (
    "hour_of_day",
    "day_of_week",
    "time_to_first_response_seconds",
    "avg_response_time_seconds",
    "max_response_time_seconds",
    "min_response_time_seconds",
    "avg_agent_response_time_seconds",
    "avg_user_response_time_seconds",
    "response_time_stddev",
    "response_gap_max",
    "avg_entity_confidence",
    "min_entity_confidence",
)

# Colours that colour-blind readers can tell apart (Okabe and Ito).
BLUE, ORANGE, GREEN, VERMILION = "#0072b2", "#e69f00", "#009e73", "#d55e00"
GREY, LIGHT_GREY, INK = "#7a7a7a", "#d9d9d9", "#222222"


def binary() -> str:
    """The program: CONVMINER, else `convminer` on PATH, else what cargo built."""
    if named := os.environ.get("CONVMINER"):
        return named
    if on_path := shutil.which("convminer"):
        return on_path
    target = Path(os.environ.get("CARGO_TARGET_DIR", HERE.parent / "target"))
    if (built := target / "release" / "convminer").is_file():
        return str(built)
    raise FileNotFoundError(
        "no convminer on PATH nor in the target folder: build it with `cargo build --release`, "
        "or name it in the environment variable CONVMINER"
    )


def convminer(*arguments) -> str:
    """Runs the program and returns what it printed; what it complained of becomes the exception."""
    command = [binary(), "--quiet", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"`{' '.join(command)}` ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


def convminer_json(*arguments) -> dict:
    """Runs the program with `--json` and returns what it printed."""
    return json.loads(convminer(*arguments, "--json"))


def generate(challenge: str, rows: int, seed: int, out: Path) -> tuple[dict, pl.DataFrame]:
    """Makes labelled conversations: the program's summary of them, and the table."""
    arguments = ("--challenge", challenge, "--rows", rows, "--seed", seed, "--out", out)
    return convminer_json("generate", *arguments), read_table(out)


def read_table(path) -> pl.DataFrame:
    """Reads labelled conversations as the program does: names in snake_case, missing cells null."""
    path = Path(path)
    match path.suffix:
        case ".parquet" | ".pq":
            table = pl.read_parquet(path)
        case ".csv":
            table = pl.read_csv(path, infer_schema_length=None)
        case ".ndjson" | ".jsonl":
            # Python's reader, because such rows can hold a bare NaN.
            lines = path.read_text().splitlines()
            table = pl.DataFrame([json.loads(line) for line in lines if line.strip()])
        case other:
            raise ValueError(f"expected .parquet, .csv or .ndjson, but `{path}` ends in `{other}`")
    snake_case = {
        name: re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", name)
        for name in table.columns
    }
    return (
        table.rename(snake_case)
        .with_columns(
            cs.boolean().cast(pl.Int8),
            (cs.string() - cs.by_name(ID)).cast(pl.Float64, strict=False),
        )
        .with_columns(cs.float().fill_nan(None))
        .with_columns(
            pl.col(name).replace(-1, None)
            for name in MINUS_ONE_IS_MISSING
            if name in snake_case.values()
        )
    )


def wilson(hits, rows, z: float = 1.96):
    """The 95 % interval of a share after Wilson: (low, high). Arrays or numbers."""
    hits, rows = np.asarray(hits, dtype=float), np.asarray(rows, dtype=float)
    share, weight = hits / rows, z * z / rows
    middle = (share + weight / 2) / (1 + weight)
    half = z * np.sqrt(share * (1 - share) / rows + weight / rows / 4) / (1 + weight)
    return middle - half, middle + half


def auc(score: pl.Series, converted: pl.Series) -> float:
    """The area under the ROC curve, ties counting half; NaN without both outcomes."""
    known = pl.DataFrame({"score": score, "converted": converted.cast(pl.Boolean)}).drop_nulls()
    yes = known["converted"].sum()
    no = known.height - yes
    if yes == 0 or no == 0:
        return float("nan")
    rank_sum = known["score"].rank("average").filter(known["converted"]).sum()
    return (rank_sum - yes * (yes + 1) / 2) / (yes * no)


def quantile_bin(column: str, bins: int) -> pl.Expr:
    """The number, from 0, of a value's bin among bins of equal size; equal values stay together."""
    known = pl.col(column)
    return ((known.rank("min") - 1) * bins // known.count()).alias("bin")


def show(table: pl.DataFrame, decimals: int = 4) -> HTML:
    """A table as a notebook shows it best: text left, numbers right, `-` for nothing."""

    def written(value) -> str:
        if value is None:
            return "-"
        return (
            f"{value:,.{decimals}f}"
            if isinstance(value, float)
            else f"{value:,}"
            if isinstance(value, int)
            else str(value)
        )

    sides = ["right" if kind.is_numeric() else "left" for kind in table.dtypes]

    def row(tag: str, texts) -> str:
        cells = (
            f'<{tag} style="text-align: {side}">{html.escape(text)}</{tag}>'
            for side, text in zip(sides, texts, strict=True)
        )
        return f"<tr>{''.join(cells)}</tr>"

    body = "".join(row("td", map(written, values)) for values in table.iter_rows())
    return HTML(f"<table><thead>{row('th', table.columns)}</thead><tbody>{body}</tbody></table>")


def use_plot_style() -> None:
    """Sets the look of every plot of a notebook."""
    set_matplotlib_formats("retina")
    mpl.rcParams.update(
        {
            "figure.dpi": 90,
            "figure.constrained_layout.use": True,
            "font.size": 9.5,
            "axes.titlesize": 10.5,
            "axes.titlelocation": "left",
            "axes.labelcolor": INK,
            "axes.edgecolor": GREY,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": "#ececec",
            "xtick.color": INK,
            "ytick.color": INK,
            "legend.frameon": False,
        }
    )


def percent_axis(axis) -> None:
    """Writes an axis of shares as percentages."""
    axis.set_major_formatter(mpl.ticker.PercentFormatter(1.0, decimals=0))
