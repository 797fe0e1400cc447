"""A whole semantic step, engine and all, and within it the search of the clusters against SemDeDup's own loop.

The documents are those of `near_duplicates`, fewer of them. datatrove has no such step, and SemDeDup's published code
wants embeddings that another program made. So the other side gets ours, with our clusters, sorted by the distance to
the centroid, and does what that code does in each of them with numpy in float32: multiply all with all, and take the
largest product with an earlier one. Both find what goes at the same ε; fixed point may decide otherwise where a cosine
is within 2e-4 of the bound.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Final

from benchmarks import ours
from benchmarks.inputs import Inputs
from benchmarks.measure import Meter, Row, Sample, against, divided, rate
from benchmarks.near_duplicates import corpus, few_documents, judged, kept_names

TITLE: Final = "Semantic dedup"
DOCUMENTS: Final = 40_000
EPSILON: Final = 0.05
PASSES: Final = 20
"""Each side searches the same clusters so often: once takes no time."""
RUNS: Final = 1
"""The run that both sides search is made anew for each of them: they run once, whatever ``--runs`` says."""
SIDES: Final = {
    "curate": "benchmarks.semantic:whole_step",
    "curate, search": "benchmarks.semantic:search",
    "numpy, search": "benchmarks.semantic:numpy_search",
}


def whole_step(inputs: Inputs, meter: Meter) -> dict[str, Any]:
    """Word vectors, embedding, k-means, assignment, search and verdicts, in a run that has collected the documents."""
    output, receipts = run(inputs, meter)
    found = judged(inputs, kept_names(output), DOCUMENTS)
    return found | {"stages": ours.counted(receipts)["stages"]}


def run(inputs: Inputs, meter: Meter) -> tuple[str, list[Any]]:
    files = corpus(inputs, DOCUMENTS), few_documents(inputs, DOCUMENTS)
    # as much as it likes: what is installed repeats itself
    return ours.run_step(inputs, meter, *files, "semantic", f'epsilon = {EPSILON}\nalarm = "off"')


def clusters(inputs: Inputs) -> Iterator[Any]:
    """Yield the vectors of each cluster of a run (int16 [rows, width], the farthest from its centroid first)."""
    from curate.engine.exchange import merge
    from curate.pipelines.semantic import cluster_vectors, clusters_of
    from curate.report.run_folder import read_run

    output, _ = run(inputs, Meter())
    (phase,) = read_run(output).of_stage("semantic.assign")
    runs = [os.path.join(output, receipt.files("run")[0].path) for receipt in phase.done]
    for cluster in clusters_of(merge(runs)):
        yield cluster_vectors(cluster)


def search(inputs: Inputs, meter: Meter) -> dict[str, Any]:
    """The search of the clusters alone, vectors in memory."""
    from curate.dedup.semantic import SemanticSettings, find_similar

    given = list(clusters(inputs))
    most = SemanticSettings().max_cluster
    find_similar(given[0][:8], "semdedup", [EPSILON], most)
    with meter:
        for _ in range(PASSES):
            found = [find_similar(vectors, "semdedup", [EPSILON], most)[0] for vectors in given]
    removed = sum(int((one.match >= 0).sum()) for one in found)
    return searched(given, removed)


def numpy_search(inputs: Inputs, meter: Meter) -> dict[str, Any]:
    """The loop of SemDeDup's code on the same vectors as float32, brought to length one before."""
    import numpy as np

    given = list(clusters(inputs))
    floats = [vectors.astype(np.float32) / np.float32(32767) for vectors in given]
    with meter:
        for _ in range(PASSES):
            nearest = [np.triu(vectors @ vectors.T, k=1).max(axis=0) for vectors in floats]
    removed = sum(int((best > 1 - EPSILON).sum()) for best in nearest)
    return searched(given, removed)


def searched(given: list[Any], removed: int) -> dict[str, Any]:
    """Return the facts of a search."""
    rows = [len(vectors) for vectors in given]
    return {
        "documents": PASSES * sum(rows),
        "bytes": PASSES * sum(vectors.nbytes for vectors in given),
        "rows": sum(rows),
        "clusters": len(rows),
        "removed": removed,
    }


def rows(samples: dict[str, list[Sample]]) -> list[Row]:
    """Return the table of this comparison."""
    whole, mine, theirs = (samples[name] for name in SIDES)
    table = [Row("whole step", rate(whole, "documents"))] if whole else []
    table.append(against("search of the clusters; numpy, float32", mine, theirs, "documents"))
    for name, runs in ((name, samples[name]) for name in ("curate, search", "numpy, search")):
        for sample in runs:
            facts = sample.facts
            what = f"{name}: documents that go, of {facts['rows']:,} in {facts['clusters']} clusters"
            table.append(Row(what, f"{facts['removed']:,}", f"{sample.peak_mib:,.0f} MiB"))
    for sample in whole:
        found = ", ".join(f"{value:.3f}" for value in sample.facts["found"].values())
        what = "planted copies found with 1, 3, 5% of words edited; peak memory"
        table.append(Row(what, found, f"{sample.peak_mib:,.0f} MiB"))
    if whole:
        what = "CPU-s of the run, by stage (collect was done before; fastText trains in a process that is not counted)"
        table.append(Row(what, divided(whole, "stages")))
    return table
