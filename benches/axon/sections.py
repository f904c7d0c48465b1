"""Sections of BENCHMARKS.md that a script writes. Needs nothing but Python."""

import os
import platform
import textwrap
from pathlib import Path

LINE_WIDTH = 100


def write_section(path: Path, name: str, script: str, section: str) -> None:
    """Replaces the text between the two markers; they come at the end if there are none."""
    begin = f"<!-- {name}: {script} writes from here -->"
    end = f"<!-- {name}: to here -->"
    text = path.read_text() if path.exists() else ""
    if (begin in text) != (end in text) or text.find(end) < text.find(begin):
        raise ValueError(f"`{path}` should have both `{begin}` and, below it, `{end}`, or neither")
    if begin in text:
        before, after = text[: text.index(begin)], text[text.index(end) + len(end) :]
    else:
        before, after = f"{text.rstrip()}\n\n".lstrip(), "\n"
    new = path.with_name(path.name + ".new")
    new.write_text(f"{before}{begin}\n{section.strip()}\n{end}{after}")
    new.replace(path)


def wrapped(text: str) -> str:
    """Paragraphs of lines that are not too long; headings, tables and commands stay as they are."""
    paragraphs = text.strip().split("\n\n")
    lines = [
        paragraph
        if paragraph.startswith(("#", " ", "|"))
        else textwrap.fill(paragraph, LINE_WIDTH, break_on_hyphens=False)
        for paragraph in paragraphs
    ]
    return "\n\n".join(lines) + "\n"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown; all columns but the first are numbers."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def processor() -> str:
    """How many cores of what."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    return f"{len(os.sched_getaffinity(0))} cores, {name}, {platform.system()}"
