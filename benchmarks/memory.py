"""Peak memory of a worker process while the input grows: it must not.

The shipped recipe runs whole, on Ray with one worker, over one file that is the crawl once, 4 and 16 times, and over a
file that is one single gzip stream, which cannot be cut into units. Memory is VmHWM of the worker process, read five
times a second.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from benchmarks import ours
from benchmarks.inputs import Inputs
from benchmarks.measure import Meter, Row, Sample, high_water_mib, verdict

TITLE: Final = "Peak memory of a worker"
MOST_MIB: Final = 700.0 * 1e6 / (1 << 20)
WORKER: Final = "curate.engine.worker"
SIDES: Final = {
    "crawl x1": "benchmarks.memory:once",
    "crawl x4": "benchmarks.memory:four_times",
    "crawl x16": "benchmarks.memory:sixteen_times",
    "crawl x4, one gzip stream": "benchmarks.memory:one_stream",
}
RUNS: Final = 1
"""Memory repeats to a few MiB, and the longest side takes minutes: it runs once, whatever ``--runs`` says."""


def once(inputs: Inputs, meter: Meter) -> dict[str, Any]:
    """The crawl as one file."""
    return run_whole(inputs, meter, join_crawl(inputs, 1))


def four_times(inputs: Inputs, meter: Meter) -> dict[str, Any]:
    """The crawl four times over."""
    return run_whole(inputs, meter, join_crawl(inputs, 4))


def sixteen_times(inputs: Inputs, meter: Meter) -> dict[str, Any]:
    """The crawl sixteen times over."""
    return run_whole(inputs, meter, join_crawl(inputs, 16))


def one_stream(inputs: Inputs, meter: Meter) -> dict[str, Any]:
    """The crawl four times over, compressed again as one gzip stream."""
    joined = join_crawl(inputs, 4)
    single = inputs.output("single.warc.gz")
    with open(single, "wb") as sink:
        unzip = subprocess.Popen(["gzip", "-dc", joined], stdout=subprocess.PIPE)
        subprocess.run(["gzip", "-1", "-c"], stdin=unzip.stdout, stdout=sink, check=True)
        if unzip.wait() != 0:
            raise RuntimeError("gzip could not unpack the crawl")
    os.unlink(joined)
    return run_whole(inputs, meter, single)


def join_crawl(inputs: Inputs, times: int) -> str:
    """Return a file that holds all files of the crawl, `times` over."""
    joined = inputs.output("joined.warc.gz")
    with open(joined, "wb") as sink:
        for _ in range(times):
            for path in sorted(Path(inputs.crawl).iterdir()):
                with path.open("rb") as source:
                    shutil.copyfileobj(source, sink)
    return joined


def run_whole(inputs: Inputs, meter: Meter, file: str) -> dict[str, Any]:
    """Run the shipped recipe on one file and return the highest memory that any worker reached."""
    from curate.pipelines.recipe import load_recipe

    recipe = load_recipe("crawl-to-shards", inputs=[file])
    with meter, watched() as peaks:
        receipts = ours.run(recipe, inputs.output("run"), "ray", 1)
    return ours.counted(receipts) | {
        "bytes": os.path.getsize(file),
        "worker_mib": max(peaks.values(), default=0.0),
        "receipts_mib": max(receipt.cost["peak_mib"] for receipt in receipts),
        "driver_mib": high_water_mib(),
    }


@contextmanager
def watched() -> Iterator[dict[int, float]]:
    """Give the highest VmHWM seen of every worker process, by process id, while the block runs."""
    peaks: dict[int, float] = {}
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.2):
            for pid in workers():
                peaks[pid] = max(peaks.get(pid, 0.0), high_water_mib(pid))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield peaks
    finally:
        over.set()
        thread.join()


def workers() -> list[int]:
    """Return the ids of the worker processes below this one."""
    import psutil

    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if WORKER in process.cmdline():
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def rows(samples: dict[str, list[Sample]]) -> list[Row]:
    """Return the table of this comparison."""
    table = []
    first = next((runs[0].facts["worker_mib"] for runs in samples.values() if runs), 0.0)
    for name, runs in samples.items():
        for sample in runs:
            facts = sample.facts
            peak = facts["worker_mib"]
            mark = verdict("< 700 MB", MOST_MIB - peak, 0.0)
            table.append(
                Row(
                    f"{name}: {facts['bytes'] / 1e6:,.0f} MB, {facts['documents']:,} pages",
                    f"{peak * (1 << 20) / 1e6:,.0f} MB",
                    f"driver {facts['driver_mib'] * (1 << 20) / 1e6:,.0f} MB",
                    f"{peak / first:.2f}× the first" if first else "",
                    mark,
                )
            )
    return table
