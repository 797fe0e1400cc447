"""How the cost of near-dedup grows with the number of documents: 10^5, 10^6 and 10^7 on one machine.

Documents are drawn: 60 words each from a vocabulary in which word n comes with a weight of 1 / (n + 10); every tenth is
a copy of the one before it with one word replaced. The step runs on Ray with two workers, from collected documents;
disk is what it adds to the run folder. ``CURATE_BENCH_DOCUMENTS`` (say 100000,1000000) takes other sizes.
"""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks import ours
from benchmarks.inputs import Inputs
from benchmarks.measure import Meter, Row, Sample, high_water_mib
from benchmarks.memory import watched

TITLE: Final = "Near-dedup by number of documents"
SIZES: Final = tuple(
    int(size) for size in os.environ.get("CURATE_BENCH_DOCUMENTS", "100000,1000000,10000000").split(",")
)
RUNS: Final = 1
"""The largest size works for long: each runs once, whatever ``--runs`` says."""
WORKERS: Final = 2
FILE_DOCUMENTS: Final = 250_000
WARM_UP_DOCUMENTS: Final = 2_000
WORDS: Final = 60
COPY_EVERY: Final = 10
REPLACED: Final = 1
VOCABULARY: Final = 100_000
SIDES: Final = {f"{size:,}": f"benchmarks.scale:documents_{size}" for size in SIZES}


def __getattr__(name: str) -> Any:
    """Return the side of one size: ``documents_<size>``."""
    head, _, size = name.partition("documents_")
    if head or not size.isdigit():
        raise AttributeError(name)
    return lambda inputs, meter: run_size(inputs, meter, int(size))


def texts(first: int, count: int, seed: int) -> pa.Array:
    """Return the texts of the documents first … first + count - 1, string [count]."""
    dice = np.random.default_rng((seed, first))
    weights = 1.0 / (np.arange(VOCABULARY) + 10.0)
    bounds = np.cumsum(weights / weights.sum())
    drawn = np.searchsorted(bounds, dice.random((count, WORDS))).clip(0, VOCABULARY - 1)
    copies = np.arange(1, count, COPY_EVERY)
    drawn[copies] = drawn[copies - 1]
    drawn[copies[:, None], dice.integers(0, WORDS, (len(copies), REPLACED))] = dice.integers(
        0, VOCABULARY, (len(copies), REPLACED)
    )
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    names = np.random.default_rng(seed).integers(0, 26, (VOCABULARY, 7))
    words = pa.array(["".join(letters[name[: 3 + number % 5]]) for number, name in enumerate(names)])
    offsets = pa.array(np.arange(count + 1, dtype=np.int32) * WORDS)
    return pc.binary_join(pa.ListArray.from_arrays(offsets, words.take(pa.array(drawn.reshape(-1)))), " ")


def write_files(folder: Path, documents: int) -> None:
    """Write the documents as Parquet files."""
    folder.mkdir()
    for first in range(0, documents, FILE_DOCUMENTS):
        count = min(FILE_DOCUMENTS, documents - first)
        path = folder / f"{first:010d}.parquet"
        names = pc.cast(pa.array(np.arange(first, first + count)), pa.string())
        pq.write_table(pa.table({"id": names, "text": texts(first, count, 1)}), path, row_group_size=20_000)


def run_size(inputs: Inputs, meter: Meter, documents: int) -> dict[str, Any]:
    """Measure the step on so many documents."""
    from curate.pipelines.recipe import load_recipe

    def recipe(folder: str, steps: list[str]) -> Any:
        path = Path(inputs.output(f"{folder}.toml"))
        path.write_text(
            f'name = "scale"\nsteps = {steps}\n[[sources]]\nname = "drawn"\ninput = ["{folder}/*.parquet"]\n'
        )
        return load_recipe(str(path))

    few, all_of_them = inputs.output("few"), inputs.output("documents")
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as other:  # its memory is not the driver's
        for folder, count in ((few, WARM_UP_DOCUMENTS), (all_of_them, documents)):
            other.submit(write_files, Path(folder), count).result()
    ours.run(recipe(few, ["minhash"]), inputs.output("warm-up"), "ray", WORKERS)
    output = inputs.output("run")
    ours.run(recipe(all_of_them, []), output, "ray", WORKERS)
    before = folder_bytes(Path(output))
    with meter, watched() as peaks:
        receipts = ours.run(recipe(all_of_them, ["minhash"]), output, "ray", WORKERS)
    step = [receipt for receipt in receipts if receipt.stage.startswith("minhash.")]
    applied = [receipt for receipt in receipts if receipt.stage == "duplicates.apply"]
    return ours.counted(receipts) | {
        "step_cpu_s": sum(receipt.cost["cpu_s"] for receipt in step),
        "tasks": len(step),
        "removed": sum(receipt.flows["dropped"].count for receipt in applied),
        "disk_bytes": folder_bytes(Path(output)) - before,
        "worker_mib": max(peaks.values(), default=0.0),
        "driver_mib": high_water_mib(),
    }


def folder_bytes(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def rows(samples: dict[str, list[Sample]]) -> list[Row]:
    """Return the table of this comparison."""
    table = []
    first: float | None = None
    for name, runs in samples.items():
        for sample in runs:
            facts = sample.facts
            cost = 1e6 * facts["step_cpu_s"] / facts["documents"]
            first = first or cost
            table.append(
                Row(
                    f"{name} documents, {facts['bytes'] / 1e6:,.0f} MB, {facts['tasks']} tasks, {WORKERS} workers",
                    f"{cost:.1f} CPU-µs a document; {sample.wall_s:,.0f} s wall",
                    f"worker {facts['worker_mib']:,.0f} MiB, driver {facts['driver_mib']:,.0f} MiB, "
                    f"disk {facts['disk_bytes'] / facts['documents']:,.0f} bytes a document",
                    f"{cost / first:.2f}× the first",
                    f"{facts['removed']:,} removed",
                )
            )
    return table
