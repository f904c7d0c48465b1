"""Removes what a run leaves in notebooks: outputs, counts, and what editors note down.

    python clean.py [--check] NOTEBOOK...

With --check nothing is written: it names the notebooks that are not clean and ends with 1.
"""

import argparse
import sys
from pathlib import Path

import nbformat

KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


def cleaned(text: str) -> str:
    """The notebook as it belongs into the repository; refuses one that is not valid."""
    notebook = nbformat.reads(text, as_version=4)
    for cell in notebook.cells:
        cell.metadata = {name: value for name, value in cell.metadata.items() if name == "tags"}
        if cell.cell_type == "code":
            cell.outputs = []
            cell.execution_count = None
    notebook.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    nbformat.validate(notebook)
    return nbformat.writes(notebook) + "\n"


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument(
        "--check",
        action="store_true",
        help="write nothing, and end with 1 if a notebook is not clean",
    )
    arguments.add_argument("notebooks", nargs="+", type=Path, metavar="NOTEBOOK")
    options = arguments.parse_args()
    status = 0
    for path in options.notebooks:
        before = path.read_text(encoding="utf-8")
        after = cleaned(before)
        if before == after:
            continue
        if options.check:
            print(
                f"`{path}` holds outputs, counts or an editor's notes: run clean.py on it",
                file=sys.stderr,
            )
            status = 1
        else:
            path.write_text(after, encoding="utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main())
