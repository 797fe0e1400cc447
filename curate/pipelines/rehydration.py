"""Re-hydration (FineWeb2): a kept document is seen as often as the size of its cluster says.

What some pages repeat is often worth repeating; what thousands repeat is mostly spam. FineWeb2 chose its table by the
filtering rates of cluster sizes: those of which its filters removed few documents are repeated. The copies stay
removed: it is the kept document that is seen again.

The size is that of one dedup step: one for the kept document, and one for each that the step removed directly for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from curate.engine.tasks import Receipt, Task
from curate.pipelines.parts import read_parquet

STAT: Final = "repeats"


def repeats_of(sizes: NDArray[np.int64], table: Mapping[str, int]) -> NDArray[np.int64]:
    """Return how often documents of clusters of `sizes` (int64 [rows], 1 without a cluster) are seen in an epoch."""
    steps = sorted((int(size), often) for size, often in table.items())
    limits = np.array([size for size, _ in steps], dtype=np.int64)
    often = np.array([1, *(often for _, often in steps)], dtype=np.int64)
    return often[np.searchsorted(limits, sizes, side="right")]


def read_repeats(task: Task, rows: int) -> NDArray[np.int64]:
    """Return how often each document of a part is seen in an epoch, int64 [rows]: once, unless the task's setting
    ``repeats`` says otherwise. Its inputs ``clusters`` and ``clusters_before`` are the verdicts after and before the
    dedup step."""
    table = task.settings.get("repeats")
    if table is None:
        return np.ones(rows, dtype=np.int64)
    after = _cluster_sizes(task, "clusters")
    before = _cluster_sizes(task, "clusters_before") if task.inputs("clusters_before") else np.ones_like(after)
    # sizes add up over steps; a document that is not kept may have fallen to 0
    return repeats_of(np.maximum(after - before + 1, 1), table)


def _cluster_sizes(task: Task, name: str) -> NDArray[np.int64]:
    sizes = read_parquet(task, task.input(name), ["cluster_size"]).column("cluster_size")
    return sizes.fill_null(1).to_numpy()


def count_repeats(
    task: Task, repeats: NDArray[np.int64], drawn: NDArray[np.int64], sources: NDArray[np.uint16], names: Sequence[str]
) -> None:
    """Count documents, and how often they were drawn, by source and repeats into the statistics of `task`.

    `repeats`, `drawn` and `sources` (places in `names`) are [rows].
    """
    if task.settings.get("repeats") is None:
        return
    for number, name in enumerate(names):
        for often in np.unique(repeats[sources == number]).tolist():
            mine = (sources == number) & (repeats == often)
            task.stats[f"{STAT}|{name}|{often}|documents"] += int(mine.sum())
            task.stats[f"{STAT}|{name}|{often}|drawn"] += int(drawn[mine].sum())


def realised_repeats(receipts: Sequence[Receipt]) -> dict[str, dict[str, dict[str, int]]]:
    """Return by source and repeats how many documents there are, and how often they were drawn in all."""
    found: dict[str, dict[str, dict[str, int]]] = {}
    for receipt in receipts:
        for key, count in receipt.stats.items():
            kind, *place = key.split("|")
            if kind == STAT:
                name, often, unit = place
                cell = found.setdefault(name, {}).setdefault(often, {"documents": 0, "drawn": 0})
                cell[unit] += count
    return found
