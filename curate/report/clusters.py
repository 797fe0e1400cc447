"""What each dedup step found: its clusters by size, the largest with their members, and what each source and language
lost. Counts are sums of integers in receipts; only for the largest clusters are verdicts and documents looked at.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.engine.tasks import FileRef, Receipt
from curate.pipelines.guards import LARGEST, Loss, largest_clusters, losses
from curate.pipelines.views import flat
from curate.report.rows import read_columns, read_rows, with_beginnings
from curate.report.run_folder import DUPLICATE, DedupRounds, Phase, RunFolder, read_run
from curate.report.stats import Amount, tallied_cells
from curate.schema import ID, id_words

__all__ = ["LARGEST", "Bucket", "Cluster", "Group", "Member", "StepClusters", "read_clusters"]


class Bucket(NamedTuple):
    """Clusters of `smallest` to 2 · `smallest` - 1 documents: how many, their documents (the kept ones included), and
    bytes of text of the kept ones."""

    smallest: int
    clusters: int
    documents: int
    kept_bytes: int


class Group(NamedTuple):
    """What a step took from a source or language; `removed_tokens` is None where nothing was tokenized."""

    loss: Loss
    removed_tokens: int | None

    def to_json(self) -> dict[str, Any]:
        """Return this as plain JSON data."""
        return {**self.loss._asdict(), "share": self.loss.share, "removed_tokens": self.removed_tokens}


class Member(NamedTuple):
    """A document of a cluster: `similarity` to the kept one as the step found it (None for the kept one itself), and
    the first line of its text, which mostly is its title."""

    id: str
    url: str | None
    source: str
    similarity: float | None
    line: str


class Cluster(NamedTuple):
    """A cluster: documents in it, the kept one, and of the removed ones those least similar to it."""

    size: int
    kept: Member
    removed: Sequence[Member]

    def to_json(self) -> dict[str, Any]:
        """Return this as plain JSON data."""
        return {
            "size": self.size,
            "kept": self.kept._asdict(),
            "removed": [member._asdict() for member in self.removed],
        }


class StepClusters(NamedTuple):
    """One dedup step: what came in, what it removed, and where that lay. `older` were removed for documents of older
    runs, and are in no cluster. `complete` is false while parts are missing; counts are then of the others."""

    step: str
    complete: bool
    documents: int
    removed: int
    older: int
    histogram: Sequence[Bucket]
    sources: Sequence[Group]
    languages: Sequence[Group]
    largest: Sequence[Cluster]

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain JSON data."""
        return {
            "step": self.step,
            "complete": self.complete,
            "documents": self.documents,
            "removed": self.removed,
            "older": self.older,
            "histogram": [bucket._asdict() for bucket in self.histogram],
            "sources": [group.to_json() for group in self.sources],
            "languages": [group.to_json() for group in self.languages],
            "largest": [cluster.to_json() for cluster in self.largest],
        }


def read_clusters(run: str, step: str | None = None, *, number: int = 5, members: int = 3) -> list[StepClusters]:
    """Return what each dedup step of a run found, or one `step` alone; works on unfinished and stopped runs.

    Of the `number` (at most `LARGEST`) largest clusters the kept document is looked up, and the `members` that are
    least similar to it. One part of the run is read after the other; memory is one part's verdicts and what is shown.

    Raises RecipeError for a folder that is no run and a step that it does not have.
    """
    folder = read_run(run)
    cells = tallied_cells(folder)
    return [_step(folder, rounds, cells, number, members) for rounds in folder.dedup_steps(step).values()]


def _step(
    folder: RunFolder,
    rounds: DedupRounds,
    cells: Mapping[tuple[str, str, str], Amount],
    number: int,
    members: int,
) -> StepClusters:
    own, older = rounds.own, rounds.older
    sources = losses(own, "source", older)
    return StepClusters(
        step=rounds.name,
        complete=rounds.complete,
        documents=sum(loss.documents for loss in sources),
        removed=sum(loss.removed for loss in sources),
        older=sum(loss.removed for loss in losses(older, "source")),
        histogram=_histogram(own),
        sources=_groups(sources, cells, rounds.name, 0),
        languages=_groups(losses(own, "language", older), cells, rounds.name, 1),
        largest=_largest(folder, rounds, number, members),
    )


def _histogram(receipts: Iterable[Receipt]) -> list[Bucket]:
    sums: dict[int, Counter[str]] = {}
    for receipt in receipts:
        for key, count in receipt.stats.items():
            kind, _, place = key.partition("|")
            if kind == "clusters":
                size, _, unit = place.partition("|")
                sums.setdefault(int(size), Counter())[unit] += count
    return [Bucket(size, n["clusters"], n["documents"], n["bytes"]) for size, n in sorted(sums.items())]


def _groups(found: Sequence[Loss], cells: Mapping[tuple[str, str, str], Amount], step: str, by: int) -> list[Group]:
    """Return the losses of sources (`by` 0) or languages (1) with the tokens that went, as far as they are known."""
    tokens: dict[str, int | None] = {}
    for place, amount in cells.items():
        if place[2] == DUPLICATE + step:
            before = tokens.get(place[by], 0)
            tokens[place[by]] = None if before is None or amount.tokens is None else before + amount.tokens
    known = any(amount.tokens is not None for amount in cells.values())
    return [Group(loss, tokens.get(loss.name, 0) if known else None) for loss in found]


class _Found(NamedTuple):
    """A row of a part, ordered by its similarity to the kept document and then by id."""

    similarity: float
    id: bytes
    part: str
    row: int


def _largest(folder: RunFolder, rounds: DedupRounds, number: int, members: int) -> list[Cluster]:
    """Return the largest clusters with their kept document and the members that are least similar to it."""
    top = largest_clusters(rounds.own, number)
    wanted = pa.array([bytes.fromhex(kept) for _, kept in top], ID)
    heads: dict[bytes, _Found] = {}
    removed: dict[bytes, list[_Found]] = {}
    for part, verdicts in _verdict_files(rounds.last):
        table = read_columns(folder, verdicts, ["id", "keep", "reason", "kept_id", "similarity"]).combine_chunks()
        is_head = pc.and_(table.column("keep"), pc.is_in(table.column("id"), wanted))
        for row in np.flatnonzero(is_head.to_numpy()).tolist():
            identity = table.column("id")[row].as_py()
            heads[identity] = _Found(1.0, identity, part, row)
        mine = pc.equal(table.column("reason"), DUPLICATE + rounds.name).fill_null(False)
        for kept in wanted.to_pylist():
            of_kept = pc.and_(mine, pc.equal(table.column("kept_id"), pa.scalar(kept, ID)).fill_null(False))
            found = _least_similar(table, np.flatnonzero(of_kept.to_numpy()), part, members)
            removed[kept] = heapq.nsmallest(members, [*removed.get(kept, ()), *found])
    shown = _members(folder, [*heads.values(), *(one for found in removed.values() for one in found)])
    clusters = []
    for size, name in top:
        kept = heads.get(bytes.fromhex(name))
        # a part that is not done yet may hold the kept document
        if kept is not None:
            others = [shown[one] for one in removed[kept.id]]
            clusters.append(Cluster(size, shown[kept]._replace(similarity=None), others))
    return clusters


def _verdict_files(phase: Phase) -> list[tuple[str, FileRef]]:
    """Return (name of the part, its verdicts) of the tasks that are done."""
    pairs = zip(phase.tasks, phase.receipts, strict=True)
    return [(str(task["unit"]), receipt.files("verdicts")[0]) for task, receipt in pairs if receipt is not None]


def _least_similar(table: pa.Table, rows: NDArray[np.int64], part: str, number: int) -> list[_Found]:
    """Return the `number` of `rows` that are least similar to their kept document, ties by id."""
    ids = flat(table.column("id").take(pa.array(rows)))
    similarity = table.column("similarity").take(pa.array(rows)).fill_null(0.0).to_numpy()
    words = id_words(ids)
    order = np.lexsort((rows, words[:, 1], words[:, 0], similarity))[:number]
    return [_Found(float(similarity[at]), ids[at].as_py(), part, int(rows[at])) for at in order.tolist()]


def _members(folder: RunFolder, found: Sequence[_Found]) -> dict[_Found, Member]:
    """Look up the documents of some rows."""
    documents = {part.name: part.documents for part in folder.parts()}
    members = {}
    for part in sorted({one.part for one in found}):
        # one row can be asked for once only: a document belongs to one cluster of a step
        by_row = {one.row: one for one in found if one.part == part}
        for rows, table in read_rows(folder, documents[part], sorted(by_row), ["id", "url", "source", "text"]):
            for row, document in zip(rows, with_beginnings(table).to_pylist(), strict=True):
                one = by_row[row]
                line = first_line(document["text"])
                members[one] = Member(one.id.hex(), document["url"], document["source"], one.similarity, line)
    return members


def first_line(text: str) -> str:
    """Return the first line of a text that is not blank; empty if there is none."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
