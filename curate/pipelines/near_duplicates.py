"""The stages of a MinHash dedup step, around the same exchange as every other step.

1. *bands*: each kept document sends one row per band of its signature to the band's key.
2. *stars*: documents of one key are candidates. The smallest id is the root; each other is to be compared with it. A
   star is linear in the size of a bucket, so boilerplate needs no cap.
3. *sets*: each part sends the shingles (or, for ``verify = "estimated"``, the signatures) of the documents asked for to
   their roots.
4. *compare*: a member that is similar enough is an edge. Members that fail form a star of their own, whose root is the
   first of them, until none is left or `MAX_ROUNDS` are over.
5. *components*: union-find over edges only; the best document of each component, by (source priority, id), is its root.
6. *sets* and *compare* again, with these roots: a document is dropped only for its own similarity to the one that is
   kept. Those too far from it form stars of their own. With ``chain = true`` a path of edges is enough.

No step holds more than one bucket's root and a few blocks in memory, but for the union-find, which holds the edges.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.dedup.components import components
from curate.dedup.keys import priority_rank
from curate.dedup.minhash import MinHashSettings, band_keys, signatures
from curate.dedup.shingles import Shingles, shingles
from curate.dedup.similarity import estimated_similarity, exact_similarity
from curate.engine.exchange import merge, write_run
from curate.engine.tasks import Task
from curate.pipelines.duplicates import CHANGE_ROW, CHANGE_SORT
from curate.pipelines.parts import part_handle, read_batches, read_kept
from curate.pipelines.quarantine import pieces
from curate.pipelines.views import concat, edits_column, view_text
from curate.schema import id_words

MAX_ROUNDS: Final = 16
"""How often members that fail form stars among themselves before they count as different."""

Words = NDArray[np.uint64]
Columns = dict[str, Any]


def _words(*names: str) -> list[pa.Field]:
    return [pa.field(name, pa.uint64(), nullable=False) for name in names]


BAND_SORT = ("key", "id_hi", "id_lo", "part", "row")
BAND_ROW = pa.schema(_words(*BAND_SORT))
REQUEST_SORT = ("part", "row", "root_hi", "root_lo", "role")
REQUEST_ROW = pa.schema(_words(*REQUEST_SORT))
ROOT, MEMBER = 0, 1
SLICE_ROWS: Final = 4096
SET_SORT = ("root_hi", "root_lo", "role", "rank", "id_hi", "id_lo", "part", "row")
SET_ROW = pa.schema([*_words(*SET_SORT), pa.field("set", pa.large_list(pa.uint32()), nullable=False)])
EDGE_SORT = ("root_hi", "root_lo", "id_hi", "id_lo")
NODE = ("part", "row", "rank", "root_part", "root_row", "root_rank")
EDGE_ROW = pa.schema([*_words(*EDGE_SORT, *NODE), pa.field("similarity", pa.float64(), nullable=False)])


def settings_of(task: Task) -> MinHashSettings:
    """Return the MinHash settings of a task."""
    return MinHashSettings.model_validate(task.settings["settings"])


def scatter_bands(task: Task) -> None:
    """Write one row per band for each kept document of one part."""
    settings = settings_of(task)
    views = task.settings["views"]
    part = part_handle(task.settings["part"])
    keep = read_kept(task, task.input("documents").rows)
    columns = ["id", "text", *(edits_column(view) for view in views)]

    def rows() -> Iterator[pa.RecordBatch]:
        for first, batch in read_batches(task, task.input("documents"), columns):
            numbers = np.flatnonzero(keep[first : first + len(batch)])
            if not len(numbers):
                continue
            chosen = batch.take(pa.array(numbers)).append_column("row", pa.array((first + numbers).astype(np.uint64)))
            found = [bands(piece) for piece in pieces(task, chosen)]
            if found:
                yield concat(found)

    def bands(chosen: pa.RecordBatch) -> pa.RecordBatch:
        task.flows["in"].add(chosen.column("id"))
        task.flows["kept"].add(chosen.column("id"))
        signed = signatures(view_text(chosen, views, task.settings["view"]), settings)
        task.stats["without_signature"] += int((~signed.valid).sum())
        keys = band_keys(signed.values[signed.valid], settings)
        ids = np.repeat(id_words(chosen.column("id"))[signed.valid], settings.bands, axis=0)
        row = np.repeat(chosen.column("row").to_numpy()[signed.valid], settings.bands)
        arrays = [keys.reshape(-1), ids[:, 0], ids[:, 1], np.full(len(row), part, np.uint64), row]
        return pa.record_batch([pa.array(array) for array in arrays], schema=BAND_ROW)

    with task.write("run", "dedup/{key}-{number}.run") as output:
        output.rows = write_run(output.path, rows(), BAND_ROW, BAND_SORT)


def _chunks(task: Task) -> Iterator[Columns]:
    low, high = (int(bound) for bound in task.settings["range"])
    for batch in merge([task.uri(ref) for ref in task.inputs("runs")], low, high):
        task.heartbeat("batch")
        task.stats["rows"] += len(batch)
        yield {name: batch.column(name).to_numpy(zero_copy_only=False) for name in batch.schema.names}


def find_stars(task: Task) -> None:
    """Ask for a comparison of each candidate with the smallest id of its bucket."""

    def requests() -> Iterator[pa.RecordBatch]:
        last: Columns | None = None
        for chunk in _chunks(task):
            rows = chunk if last is None else {name: np.concatenate([last[name], chunk[name]]) for name in chunk}
            starts = np.ones(len(rows["key"]), dtype=bool)
            starts[1:] = rows["key"][1:] != rows["key"][:-1]
            heads = np.flatnonzero(starts)[np.cumsum(starts) - 1]
            members = np.flatnonzero(~starts)
            roots = heads[members]
            task.stats["candidates"] += len(members)
            yield _requests(rows, np.unique(roots), np.unique(roots), ROOT)
            yield _requests(rows, members, roots, MEMBER)
            # the root of the bucket that is still open begins the next chunk
            last = {name: column[heads[-1:]] for name, column in rows.items()}

    _write_requests(task, requests())


def _requests(rows: Columns, members: NDArray[np.int64], roots: NDArray[np.int64], role: int) -> pa.RecordBatch:
    arrays = [
        rows["part"][members],
        rows["row"][members],
        rows["id_hi"][roots],
        rows["id_lo"][roots],
        np.full(len(members), role, np.uint64),
    ]
    return pa.record_batch([pa.array(array) for array in arrays], schema=REQUEST_ROW)


def _write_requests(task: Task, batches: Iterator[pa.RecordBatch]) -> None:
    with task.write("requests", "dedup/{key}-requests-{number}.run") as output:
        output.rows = write_run(output.path, batches, REQUEST_ROW, REQUEST_SORT)


def send_sets(task: Task) -> None:
    """Send the shingles or signatures of this part's documents to the roots that ask for them."""
    settings = settings_of(task)
    views = task.settings["views"]
    part = part_handle(task.settings["part"])
    found = list(merge([task.uri(ref) for ref in task.inputs("runs")], part, part + 1))
    # one pair can be a candidate in many bands
    asked = pa.Table.from_batches(found, schema=REQUEST_ROW).group_by(list(REQUEST_SORT)).aggregate([])
    request = {name: asked.column(name).to_numpy() for name in REQUEST_SORT}
    wanted = np.unique(request["row"]).astype(np.int64)
    columns = ["id", "source", "text", *(edits_column(view) for view in views)]

    def rows() -> Iterator[pa.RecordBatch]:
        for first, batch in read_batches(task, task.input("documents"), columns):
            numbers = wanted[(wanted >= first) & (wanted < first + len(batch))]
            if not len(numbers):
                continue
            sent = []
            chosen = batch.take(pa.array(numbers - first)).append_column("number", pa.array(numbers))
            for piece in pieces(task, chosen):
                sent.append((piece, _sets(view_text(piece, views, task.settings["view"]), settings)))
            if not sent:
                continue
            chosen, sets = concat([piece for piece, _ in sent]), pa.concat_arrays([found for _, found in sent])
            numbers = chosen.column("number").to_numpy()
            ids = id_words(chosen.column("id"))
            rank = priority_rank(chosen.column("source"), task.settings["priorities"])
            mine = np.flatnonzero(np.isin(request["row"], numbers.astype(np.uint64)))
            at = np.searchsorted(numbers, request["row"][mine].astype(np.int64))
            arrays = [
                request["root_hi"][mine],
                request["root_lo"][mine],
                request["role"][mine],
                rank[at],
                ids[at, 0],
                ids[at, 1],
                np.full(len(mine), part, np.uint64),
                request["row"][mine],
            ]
            # in slices: many roots may ask for one large set
            for start in range(0, len(mine), SLICE_ROWS):
                cut = slice(start, start + SLICE_ROWS)
                taken = [pa.array(array[cut]) for array in arrays]
                yield pa.record_batch([*taken, sets.take(pa.array(at[cut]))], schema=SET_ROW)

    with task.write("run", "dedup/{key}-{number}.run") as output:
        output.rows = write_run(output.path, rows(), SET_ROW, SET_SORT)


def _sets(text: pa.Array, settings: MinHashSettings) -> pa.Array:
    """Return what is compared of each text: its sorted shingles, or its signature, as large_list<uint32>."""
    if settings.verify == "estimated":
        values = signatures(text, settings).values
        offsets = np.arange(len(values) + 1, dtype=np.int64) * settings.permutations
        return pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(values.reshape(-1)))
    found = shingles(text, settings.ngram, settings.unit)
    return pa.LargeListArray.from_arrays(pa.array(found.bounds), pa.array(found.hashes))


class _Outcome(NamedTuple):
    """What one chunk came to: verified edges, or (in the last pass) what becomes of its documents."""

    compared: int
    edges: pa.RecordBatch
    changes: pa.RecordBatch


class _Walk:
    """Walks through sorted SET rows chunk by chunk: each root, then its members in the order (rank, id).

    Between chunks it remembers the open root with its set, how many members it has, and its first failed member.
    """

    def __init__(self, settings: MinHashSettings, threshold: float) -> None:
        self._settings = settings
        self._threshold = threshold
        self._root: Columns = {name: np.zeros(1, dtype=np.uint64) for name in SET_SORT}
        self._set = np.empty(0, dtype=np.uint32)
        self._size = 0
        self._failed: Columns | None = None
        self.failed: list[pa.RecordBatch] = []

    def take(self, batch: pa.RecordBatch) -> _Outcome:
        """Compare the members of a chunk with their roots."""
        rows = {name: np.concatenate([self._root[name], batch.column(name).to_numpy()]) for name in SET_SORT}
        # row 0 is the root that was open before the chunk
        is_root = rows["role"] == ROOT
        is_root[0] = True
        heads = np.flatnonzero(is_root)
        group = np.cumsum(is_root) - 1
        members = np.flatnonzero(~is_root)
        pairs = np.stack([heads[group[members]], members], axis=1).astype(np.int64)
        sets = self._sets(batch)
        similarity = self._similarity(sets, pairs)
        similar = similarity >= self._threshold
        edges = self._edges(rows, pairs[similar], similarity[similar])
        self._ask_again(rows, group, members[~similar])
        counts = np.bincount(group[members[similar]], minlength=len(heads))
        counts[0] += self._size
        changes = self._changes(rows, pairs[similar], similarity[similar], heads[:-1], counts[:-1])
        last = int(heads[-1])
        self._root = {name: column[last : last + 1] for name, column in rows.items()}
        self._set = sets.hashes[sets.bounds[last] : sets.bounds[last + 1]].copy()
        self._size = int(counts[-1])
        return _Outcome(len(members), edges, changes)

    def end(self) -> pa.RecordBatch:
        """Return what becomes of the last root."""
        nothing = np.zeros((0, 2), dtype=np.int64)
        return self._changes(self._root, nothing, np.zeros(0), np.array([0]), np.array([self._size]))

    def _sets(self, batch: pa.RecordBatch) -> Shingles:
        """Return the sets of the chunk with that of the open root in front."""
        column = batch.column("set")
        offsets = column.offsets.to_numpy().astype(np.int64)
        hashes = column.values.to_numpy()[offsets[0] : offsets[-1]]
        bounds = np.concatenate([[0], len(self._set) + offsets - offsets[0]])
        return Shingles(np.concatenate([self._set, hashes]), bounds)

    def _similarity(self, sets: Shingles, pairs: NDArray[np.int64]) -> NDArray[np.float64]:
        if self._settings.verify == "exact":
            return exact_similarity(sets, pairs, self._settings.similarity)
        # row 0 is empty in the first chunk; no pair names it then
        width = self._settings.permutations
        missing = width - len(self._set)
        values = np.concatenate([np.zeros(missing, dtype=np.uint32), sets.hashes]).reshape(-1, width)
        return estimated_similarity(values, np.ones(len(values), dtype=np.int64), pairs)

    def _edges(self, rows: Columns, pairs: NDArray[np.int64], similarity: NDArray[np.float64]) -> pa.RecordBatch:
        root, member = pairs[:, 0], pairs[:, 1]
        columns = [rows[name][root] for name in ("id_hi", "id_lo")]
        columns += [rows[name][member] for name in ("id_hi", "id_lo", "part", "row", "rank")]
        columns += [rows[name][root] for name in ("part", "row", "rank")]
        return pa.record_batch([pa.array(column) for column in (*columns, similarity)], schema=EDGE_ROW)

    def _ask_again(self, rows: Columns, group: NDArray[np.int64], failed: NDArray[np.int64]) -> None:
        """Ask for the comparison of each failed member with the first failed one of its group."""
        if self._failed is not None:
            rows = {name: np.concatenate([column, self._failed[name]]) for name, column in rows.items()}
        groups, first = np.unique(group[failed], return_index=True)
        roots = failed[first]
        if self._failed is not None and len(groups) and groups[0] == 0:
            roots[0] = len(rows["part"]) - 1
        root = roots[np.searchsorted(groups, group[failed])]
        others = failed != root
        if others.any():
            used = np.unique(root[others])
            self.failed.append(_requests(rows, used, used, ROOT))
            self.failed.append(_requests(rows, failed[others], root[others], MEMBER))
        if group[-1] > 0:
            self._failed = None
        if len(groups) and groups[-1] == group[-1] and self._failed is None:
            self._failed = {name: column[roots[-1:]] for name, column in rows.items()}

    def _changes(
        self,
        rows: Columns,
        pairs: NDArray[np.int64],
        similarity: NDArray[np.float64],
        ended: NDArray[np.int64],
        counts: NDArray[np.int64],
    ) -> pa.RecordBatch:
        """Return the CHANGE rows of members that go, and of the roots of groups that ended."""
        kept = ended[counts > 0]
        who = np.concatenate([pairs[:, 1], kept])
        root = np.concatenate([pairs[:, 0], kept])
        drop = np.arange(len(who)) < len(pairs)
        sizes = np.concatenate([np.zeros(len(pairs), dtype=np.int64), counts[counts > 0] + 1])
        values = np.concatenate([similarity, np.ones(len(kept))])
        columns = [rows["part"][who], rows["row"][who], drop, rows["id_hi"][root], rows["id_lo"][root], sizes, values]
        return pa.record_batch([pa.array(column) for column in columns], schema=CHANGE_ROW)


def compare(task: Task) -> None:
    """Compare members with their roots: write edges or, in the last pass, what becomes of each document; ask for the
    comparisons of members that failed among themselves."""
    settings = settings_of(task)
    final = bool(task.settings["final"])
    walk = _Walk(settings, 0.0 if final and settings.chain else settings.threshold)

    def outcomes() -> Iterator[pa.RecordBatch]:
        low, high = (int(bound) for bound in task.settings["range"])
        for batch in merge([task.uri(ref) for ref in task.inputs("runs")], low, high):
            task.heartbeat("batch")
            task.stats["rows"] += len(batch)
            found = walk.take(batch)
            task.stats["compared"] += found.compared
            task.stats["similar"] += len(found.edges)
            yield found.changes if final else found.edges
        if final:
            yield walk.end()

    schema, sort = (CHANGE_ROW, CHANGE_SORT) if final else (EDGE_ROW, EDGE_SORT)
    with task.write("run", "dedup/{key}-{number}.run") as output:
        output.rows = write_run(output.path, outcomes(), schema, sort)
    _write_requests(task, iter(walk.failed))


def join_components(task: Task) -> None:
    """Find the components of all edges, and ask for the comparison of each document with the best of its component."""
    batches = [batch for ref in task.inputs("runs") for batch in merge([task.uri(ref)])]
    table = pa.Table.from_batches(batches, schema=EDGE_ROW)
    edge = {name: table.column(name).to_numpy() for name in EDGE_ROW.names}
    roots = np.stack([edge["root_hi"], edge["root_lo"]], axis=1)
    members = np.stack([edge["id_hi"], edge["id_lo"]], axis=1)
    found = components(roots, members)
    node: Columns = {"id_hi": found.nodes[:, 0], "id_lo": found.nodes[:, 1]}
    for ids, prefix in ((roots, "root_"), (members, "")):
        place = np.searchsorted(_keys(found.nodes), _keys(ids))
        for name in ("part", "row", "rank"):
            node.setdefault(name, np.zeros(len(found.nodes), dtype=np.uint64))[place] = edge[prefix + name]
    label = np.searchsorted(_keys(found.nodes), _keys(found.labels))
    order = np.lexsort((node["id_lo"], node["id_hi"], node["rank"], label))
    starts = np.ones(len(order), dtype=bool)
    starts[1:] = label[order][1:] != label[order][:-1]
    best = order[np.flatnonzero(starts)[np.cumsum(starts) - 1]]
    for size in np.bincount(label)[np.unique(label)].tolist():
        task.stats[f"components|{1 << (size.bit_length() - 1)}"] += 1

    def requests() -> Iterator[pa.RecordBatch]:
        yield _requests(node, order[starts], order[starts], ROOT)
        yield _requests(node, order[~starts], best[~starts], MEMBER)

    _write_requests(task, requests())


def _keys(ids: Words) -> NDArray[np.bytes_]:
    """Return ids (uint64 [rows, 2]) as sortable bytes [rows] of one length."""
    return np.ascontiguousarray(ids.astype(">u8")).view("S16").reshape(-1)
