"""What a semantic dedup step would remove at other values of ε, from the vectors and clusters of a run.

Nothing is embedded or clustered again: each cluster is searched once more, at every ε. What a larger ε removes beyond
the smaller one is shown by example pairs: those that the ε just reaches, least similar first.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import storage
from curate.dedup.fixed_point import Vectors, to_cosine
from curate.dedup.semantic import Found, SemanticSettings, find_similar
from curate.engine.exchange import merge
from curate.engine.tasks import FileRef
from curate.errors import RecipeError
from curate.pipelines.parts import part_handle
from curate.pipelines.semantic import cluster_vectors, clusters_of
from curate.report.audit import Side
from curate.report.audit_texts import Place, beginnings, first_difference, lens_of, read_texts
from curate.report.run_folder import DUPLICATE, PartFiles, Phase, RunFolder, read_run
from curate.report.terminal import place_text

EPSILONS: Final = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)


class Pair(NamedTuple):
    """A document that goes at an ε, the one that is kept for it, and their cosine."""

    cosine: float
    removed: Side
    kept: Side


class Level(NamedTuple):
    """What goes at one ε: documents, bytes of their text, tokens (None where the run has none), and examples of what
    the smaller values leave."""

    epsilon: float
    documents: int
    bytes: int
    tokens: int | None
    examples: Sequence[Pair]

    def to_json(self) -> dict[str, Any]:
        """Return this as plain JSON data."""
        examples = [
            {"cosine": pair.cosine, "removed": pair.removed._asdict(), "kept": pair.kept._asdict()}
            for pair in self.examples
        ]
        return {**self._asdict(), "examples": examples}


class Sweep(NamedTuple):
    """The levels of one step by growing ε; `documents` and `bytes` are of all that came to it with a vector."""

    step: str
    scheme: str
    documents: int
    bytes: int
    levels: Sequence[Level]

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain JSON data."""
        return {**self._asdict(), "levels": [level.to_json() for level in self.levels]}


class _Totals:
    """What one ε removes, counted cluster by cluster, and the least similar pairs that no smaller ε reaches."""

    def __init__(self) -> None:
        self.documents = 0
        self.bytes = 0
        self.gone: dict[int, list[np.ndarray]] = {}
        self.pairs: list[tuple[float, tuple[int, int], tuple[int, int]]] = []

    def add(
        self, column: Mapping[str, np.ndarray], vectors: Vectors, found: Found, before: np.ndarray, most: int
    ) -> None:
        """Count a cluster: its documents' part, row and bytes, and what becomes of each; `before` went already."""
        going = found.match >= 0
        self.documents += int(going.sum())
        self.bytes += int(column["bytes"][going].sum())
        for part in np.unique(column["part"][going]).tolist():
            self.gone.setdefault(part, []).append(column["row"][going & (column["part"] == part)])
        new = np.flatnonzero(going & ~before)
        cosines = to_cosine((vectors[new].astype(np.int64) * vectors[found.match[new]]).sum(axis=1))
        for at, cosine in zip(new.tolist(), cosines.tolist(), strict=True):
            one, other = ((int(column["part"][row]), int(column["row"][row])) for row in (at, found.match[at]))
            self.pairs.append((cosine, one, other))
        self.pairs = heapq.nsmallest(most, self.pairs)

    def tokens(self, counts: Sequence[np.ndarray], handles: Mapping[int, int]) -> int:
        """Return how many tokens go: `counts` int64 [rows] of each part, `handles` the numbers of parts."""
        rows = {handles[part]: np.concatenate(gone).astype(np.int64) for part, gone in self.gone.items()}
        return sum(int(counts[part][where].sum()) for part, where in rows.items())


def parse_epsilons(text: str) -> list[float]:
    """Return the numbers of a comma-separated list. Raises RecipeError unless all are at least 0 and below 1."""
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if not values or not all(0 <= value < 1 for value in values):
        raise RecipeError(f"--epsilon {text}: give numbers of at least 0 and below 1, as 0.01,0.05")
    return values


def read_sweep(
    run: str, step: str | None = None, *, epsilons: Sequence[float] = EPSILONS, number: int = 2
) -> list[Sweep]:
    """Return the sweep of each semantic step of a run, or of one `step`, with `number` example pairs for each ε.

    One cluster at a time is held in memory. Raises RecipeError for a folder that is no run, and where no semantic step
    has clusters.
    """
    folder = read_run(run)
    phases = {phase.name: phase for phase in folder.of_stage("semantic.assign") if phase.complete}
    found = {name.removeprefix(DUPLICATE).removesuffix("-assign"): phase for name, phase in phases.items()}
    if step is not None:
        found = {name: phase for name, phase in found.items() if name == step.removeprefix(DUPLICATE)}
    if not found:
        wanted = "semantic step" if step is None else f"semantic step {step}"
        why = "none has come so far, or no document has a vector"
        raise RecipeError(f"{place_text(folder.uri)}: no {wanted} has clusters: {why}")
    levels = sorted({float(epsilon) for epsilon in epsilons})
    return [_sweep(folder, name, phase, levels, number) for name, phase in found.items()]


def _sweep(folder: RunFolder, step: str, phase: Phase, epsilons: Sequence[float], number: int) -> Sweep:
    given = {key: value for key, value in folder.recipe["dedup"][step].items() if key not in ("kind", "alarm")}
    settings = SemanticSettings.model_validate(given)
    totals = [_Totals() for _ in epsilons]
    documents = text_bytes = 0
    runs = [storage.join(folder.uri, receipt.files("run")[0].path) for receipt in phase.done]
    for cluster in clusters_of(merge(runs)):
        column = {name: cluster.column(name).to_numpy() for name in ("part", "row", "bytes")}
        documents += len(cluster)
        text_bytes += int(column["bytes"].sum())
        vectors = cluster_vectors(cluster)
        before = np.zeros(len(vectors), dtype=bool)
        results = find_similar(vectors, settings.scheme, epsilons, settings.max_cluster)
        for total, found in zip(totals, results, strict=True):
            total.add(column, vectors, found, before, number)
            before |= found.match >= 0
    parts = folder.parts()
    handles = {part_handle(part.documents.path): at for at, part in enumerate(parts)}
    tokens = _token_counts(folder, parts)
    levels = []
    for epsilon, total in zip(epsilons, totals, strict=True):
        removed = None if tokens is None else total.tokens(tokens, handles)
        examples = _examples(folder, parts, step, handles, total)
        levels.append(Level(epsilon, total.documents, total.bytes, removed, examples))
    return Sweep(step, settings.scheme, documents, text_bytes, levels)


def _token_counts(folder: RunFolder, parts: Sequence[PartFiles]) -> list[np.ndarray] | None:
    """Return the tokens of each document of each part, int64 [rows]; None unless all of them are encoded."""
    found: dict[str, FileRef] = {}
    for phase in folder.of_stage("tokenize"):
        for task, receipt in zip(phase.tasks, phase.receipts, strict=True):
            if receipt is not None:
                found[task["unit"]] = receipt.files("tokens")[0]
    if any(part.name not in found for part in parts):
        return None
    counts = []
    for part in parts:
        with storage.open_input(storage.join(folder.uri, found[part.name].path)) as stream:
            file = pa.ipc.open_file(stream)
            lengths = [
                pc.list_value_length(file.get_batch(at).column("tokens")).to_numpy()
                for at in range(file.num_record_batches)
            ]
        counts.append(np.concatenate(lengths) if lengths else np.zeros(0, dtype=np.int64))
    return counts


def _examples(
    folder: RunFolder, parts: Sequence[PartFiles], step: str, handles: Mapping[int, int], total: _Totals
) -> list[Pair]:
    """Return the example pairs with what they say."""
    lens = lens_of(folder.recipe, step)
    pairs = [
        (cosine, Place(handles[one[0]], one[1]), Place(handles[other[0]], other[1]))
        for cosine, one, other in total.pairs
    ]
    wanted = {place for _, one, other in pairs for place in (one, other)}
    texts = beginnings(parts, lens, wanted)
    sides: dict[Place, dict[str, Any]] = {}
    for here, table, _ in read_texts(parts, lens, wanted):
        sides |= dict(zip(here, table.to_pylist(), strict=True))
    examples = []
    for cosine, removed, kept in pairs:
        passages = first_difference(texts[removed], texts[kept])
        one, other = (
            Side(sides[place]["id"].hex(), sides[place]["url"], sides[place]["source"], passage)
            for place, passage in zip((removed, kept), passages, strict=True)
        )
        examples.append(Pair(cosine, one, other))
    return examples
