"""The stages of a MinHash dedup step, around the same exchange as every other step.

1. *sign* (`signatures.py`): the signature and the shingles of each kept document are stored.
2. *bands*: each document sends one row per band of its signature to the band's key.
3. *stars*: documents of one key are candidates. The smallest id is the root of the star; each other is to be compared
   with it. A star is linear in the size of a bucket, so boilerplate needs no cap.
4. *sets* (`near_duplicate_sets.py`): each part sends the shingles (or, for ``verify = "estimated"``, the signatures) of
   the documents asked for to their stars.
5. *compare*: leader clustering of each star (`curate.dedup.leaders`), the root first, then by (priority, quality, id):
   a member that is similar enough to a leader is an edge, one that is similar to none leads itself. What the memory
   for leaders does not hold goes through 4 and 5 again, so that the result does not depend on it.
6. *components* (`near_duplicate_components.py`) of all edges. A document is dropped only for its own similarity to the
   best of its component. Where edges tell that of every member, as in every pair, all is said; the members of each
   other component are asked for as one star.
7. *sets* and *compare* again, now from the best document on. Those too far from it have leaders of their own. With
   ``chain = true`` a path of edges is enough.

Against older runs (`older_runs.py`), stars are made of their documents, all of which lead, and of this run's, which
never do.
No step holds more than the leaders of one star and a few blocks in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.dedup.leaders import ANY, JOINS, LEADER_BYTES, LEADS, LEFT, Leaders
from curate.dedup.minhash import MinHashSettings
from curate.engine.exchange import SORT_BYTES, merge, merge_orders, write_merged, write_run
from curate.engine.tasks import Task
from curate.pipelines.duplicates import CHANGE_ROW, CHANGE_SORT
from curate.pipelines.near_duplicate_sets import MEMBER, REQUEST_ROW, REQUEST_SORT, ROOT, SET_SORT
from curate.pipelines.signatures import settings_of, unpack_sets, word_fields

Columns = dict[str, Any]
Index = NDArray[np.int64]

CHUNK_BYTES: Final = 2 << 20
STAR: Final = ("star_hi", "star_lo", "scope")
"""What a star is known by. Its key alone could bring documents of two scopes together, once in 2⁶⁴."""
EDGE_SORT: Final = ("leader_id_hi", "leader_id_lo", "id_hi", "id_lo")
NODE: Final = ("id_hi", "id_lo", "part", "row", "priority", "quality")
EDGE_ROW: Final = pa.schema(
    [
        *word_fields(*EDGE_SORT, *(f"leader_{name}" for name in NODE[2:]), *NODE[2:]),
        pa.field("similarity", pa.float64(), nullable=False),
    ]
)
"""A verified pair: both documents, and what decides which of them is better."""
COMPARED: Final = "compared"
SIMILAR: Final = "similar"


def find_stars(task: Task) -> None:
    """Ask for the comparison of the documents of each bucket as one star, which is known by half the id of the bucket's
    first document: where two of these are the same, once in 2⁶⁴, more documents than needed are compared. In
    a meeting with older runs the first is one of theirs, and a bucket that lacks one side asks nothing.
    """
    meets = bool(task.settings["meets"])

    def requests() -> Iterator[pa.RecordBatch]:
        waiting: Columns | None = None
        for batch, order in _chunks(task):
            keys = batch.column("key").to_numpy()
            order = order[_shared(keys[order])]
            rows = {name: batch.column(name).to_numpy()[order] for name in batch.schema.names}
            if waiting is not None:
                rows = {name: np.concatenate([waiting[name], rows[name]]) for name in rows}
            asked, heads, role, open_rows = bucket_members(rows, meets=meets)
            task.stats["candidates"] += int((role == MEMBER).sum())
            yield _requests(rows, asked, rows["id_hi"][heads], np.zeros(len(heads), dtype=np.uint64), role)
            waiting = {name: column[open_rows] for name, column in rows.items()}

    with task.write("requests", "dedup/{key}-requests-{number}.run") as output:
        output.rows = write_run(output.path, requests(), REQUEST_ROW, REQUEST_SORT, distinct=True)


def _shared(keys: NDArray[np.uint64]) -> Index:
    """Return the places of sorted keys that are there twice, and of the first and last one, which may be elsewhere."""
    same = np.ones(len(keys) + 1, dtype=bool)
    same[1:-1] = keys[1:] == keys[:-1]
    return np.flatnonzero(same[1:] | same[:-1])


def bucket_members(rows: Columns, *, meets: bool) -> tuple[Index, Index, NDArray[np.uint64], Index]:
    """Return the rows to ask for, 1:1 the first row of their bucket, their roles; and what of the last bucket must wait
    for the rows to come: its first row, and in a meeting all of it until one of the new documents is there. All rows
    whose half of an id is the first one's are roots: none of them comes first by its place alone."""
    starts = np.ones(len(rows["key"]), dtype=bool)
    starts[1:] = rows["key"][1:] != rows["key"][:-1]
    firsts = np.flatnonzero(starts)
    bucket = np.cumsum(starts) - 1
    member = rows["new"] == 1 if meets else ~starts
    found = np.bincount(bucket[member], minlength=len(firsts)) > 0
    chosen = found[bucket]
    if meets:
        chosen &= (rows["new"][firsts] == 0)[bucket]
    asked = np.flatnonzero(chosen)
    heads = firsts[bucket[asked]]
    joins = member[asked] if meets else rows["id_hi"][asked] != rows["id_hi"][heads]
    role = np.where(joins, MEMBER, ROOT).astype(np.uint64)
    last = np.arange(firsts[-1], len(starts))
    if meets and found[-1]:
        last = last[[0, -1]]
    elif not meets:
        last = last[:1]
    return asked, heads, role, last


def _requests(rows: Columns, index: Index, star_hi: Any, star_lo: Any, role: NDArray[np.uint64]) -> pa.RecordBatch:
    arrays = [rows["part"][index], rows["row"][index], star_hi, star_lo, role]
    return pa.record_batch([pa.array(array) for array in arrays], schema=REQUEST_ROW)


def _chunks(task: Task) -> Iterator[tuple[pa.RecordBatch, Index]]:
    """Yield rows of the range of a task and their order, chunk by chunk."""
    low, high = (int(bound) for bound in task.settings["range"])
    uris = [task.uri(ref) for ref in task.inputs("runs")]
    for batch, order in merge_orders(uris, low, high, CHUNK_BYTES):
        task.heartbeat("batch")
        task.stats["rows"] += len(batch)
        yield batch, np.arange(len(batch)) if order is None else order
        del batch, order  # the next ones are read before these names are taken again


class Outcome(NamedTuple):
    """What one chunk of sets came to: verified edges; what becomes of documents, as far as it is known; and the rows
    that go into another round, as requests."""

    edges: pa.RecordBatch
    changes: pa.RecordBatch
    left: pa.RecordBatch


class Walk:
    """Walks through sorted SET rows chunk by chunk; between chunks it remembers the leaders of the open star."""

    def __init__(self, settings: MinHashSettings, *, final: bool, older: bool, memory_bytes: int) -> None:
        kind = settings.similarity if settings.verify == "exact" and not older else None
        self.settler = Leaders(0.0 if final and settings.chain else settings.threshold, kind, memory_bytes)
        self._older = older
        self._leaders: Columns = {name: np.zeros(0, dtype=np.uint64) for name in SET_SORT}
        self._counts = np.zeros(0, dtype=np.int64)
        self._star: Columns | None = None

    def take(self, batch: pa.RecordBatch, order: Index) -> Outcome:
        """Settle the members of a chunk, which `order` sorts."""
        rows = {name: batch.column(name).to_numpy()[order] for name in SET_SORT}
        starts = np.zeros(len(batch), dtype=bool)
        starts[0] = self._star is None or any(self._star[name][0] != rows[name][0] for name in STAR)
        for name in STAR:
            starts[1:] |= rows[name][1:] != rows[name][:-1]
        hashes, bounds = unpack_sets(batch.column("set"))
        older = np.where(rows["role"] == ROOT, LEADS, JOINS)
        may = (older if self._older else np.full(len(batch), ANY)).astype(np.int8)
        settled = self.settler.take(starts, may, hashes, bounds[:-1][order], bounds[1:][order])
        led = np.flatnonzero((settled.leader >= 0) & ~settled.leads)
        leaders = {name: np.concatenate([self._leaders[name], rows[name][settled.leads]]) for name in SET_SORT}
        counts = np.concatenate([self._counts, np.zeros(int(settled.leads.sum()), dtype=np.int64)])
        counts += np.bincount(settled.leader[led], minlength=len(counts))
        members = {name: rows[name][led] for name in SET_SORT}
        theirs = {name: leaders[name][settled.leader[led]] for name in SET_SORT}
        left = np.flatnonzero(settled.leader == LEFT)
        closed = len(counts) - self.settler.open
        ended = {name: leaders[name][:closed] for name in SET_SORT}
        outcome = Outcome(
            _edges(theirs, members, settled.similarity[led]),
            changes_of(members, theirs, settled.similarity[led], ended, counts[:closed]),
            _requests(rows, left, rows["star_hi"][left], rows["star_lo"][left], rows["role"][left]),
        )
        self._leaders = {name: column[closed:] for name, column in leaders.items()}
        self._counts = counts[closed:]
        self._star = {name: rows[name][-1:] for name in STAR}
        return outcome

    def end(self) -> pa.RecordBatch:
        """Return what becomes of the last leaders."""
        nobody = {name: np.zeros(0, dtype=np.uint64) for name in SET_SORT}
        return changes_of(nobody, nobody, np.zeros(0), self._leaders, self._counts)


def _edges(leaders: Columns, members: Columns, similarity: NDArray[np.float64]) -> pa.RecordBatch:
    columns = {f"leader_{name}": leaders[name] for name in NODE} | {name: members[name] for name in NODE}
    columns["similarity"] = similarity
    return pa.record_batch([pa.array(columns[name]) for name in EDGE_ROW.names], schema=EDGE_ROW)


def changes_of(
    members: Columns, leaders: Columns, similarity: NDArray[np.float64], ended: Columns, counts: Index
) -> pa.RecordBatch:
    """Return the CHANGE rows of members that go (1:1 `leaders`), and of leaders that `ended` with any (`counts`)."""
    kept = {name: column[counts > 0] for name, column in ended.items()}
    total = len(similarity) + int((counts > 0).sum())
    columns: Columns = {name: np.concatenate([members[name], kept[name]]) for name in ("part", "row")}
    columns["drop"] = np.arange(total) < len(similarity)
    columns["kept_hi"] = np.concatenate([leaders["id_hi"], kept["id_hi"]])
    columns["kept_lo"] = np.concatenate([leaders["id_lo"], kept["id_lo"]])
    columns["cluster_size"] = np.concatenate([np.zeros(len(similarity), dtype=np.int64), counts[counts > 0] + 1])
    columns["similarity"] = np.concatenate([similarity, np.ones(int((counts > 0).sum()))])
    return pa.record_batch([pa.array(columns[name]) for name in CHANGE_ROW.names], schema=CHANGE_ROW)


def compare(task: Task) -> None:
    """Settle the stars of one range: write edges, or what becomes of each document (in the ``final`` pass, and of this
    run's documents in a meeting with ``older`` runs), and ask again for what is left."""
    final, older = bool(task.settings["final"]), bool(task.settings["older"])
    walk = Walk(settings_of(task), final=final, older=older, memory_bytes=LEADER_BYTES)
    with task.folder("dedup") as folder:
        later = _Later(folder)

        def outcomes() -> Iterator[pa.RecordBatch]:
            for batch, order in _chunks(task):
                found = walk.take(batch, order)
                del batch, order
                task.stats[SIMILAR] += len(found.edges)
                later.add(found.left)
                yield _of_this_run(found.changes) if older else found.changes if final else found.edges
            if final and not older:
                yield walk.end()
            task.stats[COMPARED] += walk.settler.compared

        schema, sort = (CHANGE_ROW, CHANGE_SORT) if final or older else (EDGE_ROW, EDGE_SORT)
        with task.write("run", "dedup/{key}-{number}.run") as output:
            output.rows = write_run(output.path, outcomes(), schema, sort)
        with task.write("requests", "dedup/{key}-requests-{number}.run") as output:
            output.rows = later.write(output.path)


def _of_this_run(changes: pa.RecordBatch) -> pa.RecordBatch:
    """Return the changes of documents that go: a leader is a document of an older run, which nothing can change."""
    return changes.filter(changes.column("drop"))


class _Later:
    """Requests for another round, sorted on disk as soon as they fill the memory for sorting."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._waiting: list[pa.RecordBatch] = []
        self._bytes = 0
        self._runs: list[str] = []

    def add(self, batch: pa.RecordBatch) -> None:
        """Take in some requests."""
        if len(batch):
            self._waiting.append(batch)
            self._bytes += batch.nbytes
        if self._bytes >= SORT_BYTES:
            self._spill()

    def write(self, path: str) -> int:
        """Write all of them as one run file and return how many they are."""
        if not self._runs:
            return write_run(path, self._waiting, REQUEST_ROW, REQUEST_SORT)
        self._spill()
        return write_merged(path, merge(self._runs), REQUEST_ROW, REQUEST_SORT)

    def _spill(self) -> None:
        self._runs.append(f"{self._folder}/{len(self._runs)}.run")
        write_run(self._runs[-1], self._waiting, REQUEST_ROW, REQUEST_SORT)
        self._waiting, self._bytes = [], 0
