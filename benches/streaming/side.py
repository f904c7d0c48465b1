"""One library on one table, in a process of its own: prints what each phase took, as JSON."""

import argparse
import importlib
import json
import time
from pathlib import Path

import numpy as np

LIBRARIES = ("pandas", "polars")


def main() -> None:
    """Featurise, learn the scale, and read all rows once as a network would."""
    parser = argparse.ArgumentParser(prog="python -m streaming.side", description=__doc__)
    parser.add_argument("library", choices=LIBRARIES)
    parser.add_argument("mode")
    parser.add_argument("--data", type=Path, required=True, help="a folder of parquet files")
    parser.add_argument("--cache", type=Path, required=True, help="an empty folder")
    parser.add_argument("--statistics", type=Path, help="write them here, as .npz")
    arguments = parser.parse_args()
    library = importlib.import_module(f".with_{arguments.library}", __package__)
    files = sorted(arguments.data.glob("*.parquet"))
    way = library.MODES[arguments.mode](files, arguments.cache)

    start = time.perf_counter()
    rows = way.featurise()
    featurised = time.perf_counter()
    statistics = way.statistics()
    known = time.perf_counter()
    read = sum(len(part) for part in way.epoch(statistics))
    done = time.perf_counter()
    if read != rows:
        raise RuntimeError(f"{rows} rows were made, but {read} were read")
    if arguments.statistics:
        means, inverse = statistics.scale()
        np.savez(arguments.statistics, means=means, inverse=inverse)
    phases = {
        "features": featurised - start,
        "statistics": known - featurised,
        "reading": done - known,
    }
    print(json.dumps({"rows": rows, "phases": phases}))


if __name__ == "__main__":
    main()
