"""``python -m benchmarks [NAME…] [--runs N] [--data FOLDER] [--update]``: run comparisons and print their tables."""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Final

from rich.console import Console
from rich.table import Table

from benchmarks import (
    collect,
    cuts,
    engine,
    filters,
    kernel,
    memory,
    near_duplicates,
    scale,
    semantic,
    tokens,
    train,
    train_pieces,
)
from benchmarks.inputs import Inputs, crawl_files
from benchmarks.measure import ROOT, Row, SideError, run_rounds, run_side

COMPARISONS: Final[dict[str, ModuleType]] = {
    "kernel": kernel,
    "filters": filters,
    "collect": collect,
    "memory": memory,
    "engine": engine,
    "tokens": tokens,
    "near-duplicates": near_duplicates,
    "scale": scale,
    "cuts": cuts,
    "semantic": semantic,
    "train": train,
    "train-pieces": train_pieces,
}
PACKAGES: Final = (
    "curate-llm", "datatrove", "trafilatura", "resiliparse", "fastwarc", "fasttext-community", "tiktoken",
    "sentencepiece", "datasketch", "rensa", "rustbpe", "spacy", "pyarrow", "numpy", "numba", "ray",
)  # fmt: skip
LOG_WIDTH: Final = 160
README: Final = Path(__file__).with_name("README.md")
COLUMNS: Final = ("what; compared with", "curate", "other", "ratio", "wanted")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; return 1 if a side failed."""
    options = parse(arguments)
    console = Console() if sys.stdout.isatty() else Console(width=LOG_WIDTH)
    if not crawl_files(options.data):
        console.print(f"skipped: no sample crawl in {options.data}/sample-crawl; give its parent with --data FOLDER")
        return 0
    told = conditions(options.runs)
    console.print(told)
    failed = False
    with tempfile.TemporaryDirectory(prefix="curate-benchmarks-") as folder:
        inputs = Inputs(str(Path(options.data).resolve()), folder)
        console.print("preparing inputs")
        prepared = run_side("benchmarks.inputs:prepare", inputs).facts
        console.print(f"{prepared['documents']} pages, {prepared['bytes'] / 1e6:.2f} MB of extracted text")
        for name in options.names or COMPARISONS:
            module = COMPARISONS[name]
            console.print(f"\n[bold]{name}[/bold]")
            runs = min(options.runs, getattr(module, "RUNS", options.runs))
            try:
                samples = run_rounds(module.SIDES, inputs, runs, console.print, once=getattr(module, "ONCE", ()))
                rows = module.rows(samples)
            except SideError as error:
                console.print(f"[red]{name} failed[/red]", style=None)
                console.print(str(error), markup=False)
                failed = True
                continue
            console.print(drawn(module.TITLE, rows))
            if options.update:
                update(name, markdown(module.TITLE, rows, conditions(runs)))
    return int(failed)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"comparisons to run (default: all): {', '.join(COMPARISONS)}"
    )
    parser.add_argument("--runs", type=int, default=3, help="how often each side runs (default: 3)")
    parser.add_argument(
        "--data", default=str(ROOT.parent / "shared" / "data"), help="folder with sample-crawl/ and dev-data/"
    )
    parser.add_argument("--update", action="store_true", help="write the tables into benchmarks/README.md")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in COMPARISONS]
    if unknown:
        parser.error(f"unknown comparison {', '.join(unknown)}; known: {', '.join(COMPARISONS)}")
    if options.runs < 1:
        parser.error("--runs must be at least 1")
    return options


def conditions(runs: int) -> str:
    """Return machine, versions and number of runs in one line."""
    versions = []
    for package in PACKAGES:
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    runs_told = "1 run" if runs == 1 else f"median of {runs} runs (min–max)"
    return f"{cpu_model()}, Python {platform.python_version()}, {runs_told}; {', '.join(versions)}"


def cpu_model() -> str:
    """Return what the processor calls itself."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()


def drawn(title: str, rows: Sequence[Row]) -> Table:
    """Return the table for a terminal."""
    table = Table(*COLUMNS, title=title, title_justify="left")
    for row in rows:
        table.add_row(row.what, row.ours, row.other, row.ratio, row.wanted)
    return table


def markdown(title: str, rows: Sequence[Row], told: str) -> str:
    """Return the table for the README."""
    lines = [f"### {title}", "", " | ".join(("", *COLUMNS, "")).strip(), "|".join(("", *["---"] * len(COLUMNS), ""))]
    lines += [" | ".join(("", row.what, row.ours, row.other, row.ratio, row.wanted, "")).strip() for row in rows]
    return "\n".join([*lines, "", told])


def update(name: str, text: str) -> None:
    """Put a table between the marks of its comparison in README.md."""
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    page = README.read_text(encoding="utf-8")
    start, stop = page.index(begin) + len(begin), page.index(end)
    README.write_text(page[:start] + text + "\n" + page[stop:], encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
