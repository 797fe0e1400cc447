"""Which documents an audit looks at: a uniform sample of those that a dedup step removed, and what they went for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate import storage
from curate.pipelines.mixing import selection_keys
from curate.pipelines.views import TEXT_DIGEST, flat
from curate.report.audit_texts import Place
from curate.report.rows import read_columns
from curate.report.run_folder import DUPLICATE, RECIPE_FILE, PartFiles, RunFolder, read_run
from curate.schema import ID, id_words, ids_from_words

ID_STEP: Final = "id"
Words = NDArray[np.uint64]


class Sample(NamedTuple):
    """Removed documents of one step, ordered by key: keys uint64 [rows], ids and kept ids uint64 [rows, 2], parts and
    rows int64 [rows]."""

    keys: Words
    ids: Words
    kept: Words
    parts: NDArray[np.int64]
    rows: NDArray[np.int64]

    def places(self) -> list[Place]:
        """Return where the documents are."""
        return [Place(int(part), int(row)) for part, row in zip(self.parts, self.rows, strict=True)]

    def kept_ids(self) -> list[bytes]:
        """Return the ids of the documents that these were removed for."""
        kept: list[bytes] = ids_from_words(self.kept).to_pylist()
        return kept

    def smallest(self, other: Sample, number: int) -> Sample:
        """Return the `number` documents of both with the smallest keys."""
        keys, ids, kept, parts, rows = (np.concatenate(pair) for pair in zip(self, other, strict=True))
        order = np.lexsort((rows, parts, ids[:, 1], ids[:, 0], keys))[:number]
        return Sample(keys[order], ids[order], kept[order], parts[order], rows[order])


def draw_samples(
    folder: RunFolder, parts: Sequence[PartFiles], steps: Iterable[str], number: int, seed: int
) -> dict[str, Sample]:
    """Return of each step the `number` removed documents with the smallest hash of (seed, id): a uniform sample without
    replacement, whatever the files and their order. The verdicts of one part are read after the other."""
    words, numbers = np.zeros((0, 2), dtype=np.uint64), np.zeros(0, dtype=np.int64)
    samples = {step: Sample(words[:, 0], words, words, numbers, numbers) for step in steps}
    for index, part in enumerate(parts):
        if part.verdicts is None:
            continue
        verdicts = read_columns(folder, part.verdicts, ["id", "reason", "kept_id"])
        for step in samples:
            removed = pc.equal(verdicts.column("reason"), DUPLICATE + step).fill_null(False)
            rows = np.flatnonzero(removed.to_numpy())
            if not len(rows):
                continue
            chosen = verdicts.take(pa.array(rows))
            ids = id_words(flat(chosen.column("id")))
            drawn_by = ids_from_words(_told_apart(folder, part, step, rows, ids))
            kept = id_words(flat(chosen.column("kept_id")))
            found = Sample(selection_keys(drawn_by, seed), ids, kept, np.full(len(rows), index), rows)
            samples[step] = samples[step].smallest(found, number)
    return samples


def _told_apart(folder: RunFolder, part: PartFiles, step: str, rows: NDArray[np.int64], ids: Words) -> Words:
    """Return what the sample is drawn by: ids; where these are what was equal, ids mixed with the digests of texts, so
    that only records of one id and one text come or stay away together."""
    if step != ID_STEP:
        return ids
    digests = read_columns(folder, part.signals, [TEXT_DIGEST]).column(TEXT_DIGEST).to_numpy()[rows]
    return np.stack([ids[:, 0], ids[:, 1] ^ digests.view(np.uint64)], axis=1)


class Node(NamedTuple):
    """Where a document is, why it was dropped (None for a kept one), and for which document."""

    place: Place
    reason: str | None
    kept: bytes | None


def find_documents(folder: RunFolder, parts: Sequence[PartFiles], ids: Iterable[bytes]) -> dict[bytes, Node]:
    """Return the documents of some ids, and those that they were removed for themselves, to the end of each chain.

    What the run does not hold is left out. Each link of the longest chain costs one pass over the ids of the run; there
    are no more of them than dedup steps.
    """
    found: dict[bytes, Node] = {}
    wanted = set(ids)
    while wanted:
        values = pa.array(sorted(wanted), ID)
        for index, part in enumerate(parts):
            if part.verdicts is None:
                continue
            table = read_columns(folder, part.verdicts, ["id", "reason", "kept_id"])
            # records that went for their equal id have that id, too: the one that stayed is meant
            went = pc.equal(table.column("reason"), DUPLICATE + ID_STEP).fill_null(False)
            hit = pc.and_(pc.is_in(table.column("id"), values), pc.invert(went))
            rows = np.flatnonzero(hit.to_numpy())
            for row, one in zip(rows.tolist(), table.take(pa.array(rows)).to_pylist(), strict=True):
                found[one["id"]] = Node(Place(index, row), one["reason"], one["kept_id"])
        links = {found[identity].kept for identity in wanted & found.keys() if _is_removed(found[identity])}
        wanted = {kept for kept in links if kept is not None} - found.keys()
    return found


def older_runs(folder: RunFolder) -> list[RunFolder]:
    """Return the runs that a run went against, as far as their folders still say what is in them."""
    named = [uri for table in folder.recipe.get("dedup", {}).values() for uri in table.get("against", ())]
    return [read_run(uri) for uri in dict.fromkeys(named) if storage.exists(storage.join(uri, RECIPE_FILE))]


def find_kept(folder: RunFolder, parts: Sequence[PartFiles], ids: Iterable[bytes], first: int) -> dict[bytes, Node]:
    """Return the documents of some ids that an older run kept and still holds; its parts are numbered from `first`."""
    values = pa.array(sorted(set(ids)), ID)
    found = {}
    for index, part in enumerate(parts, first):
        files = [ref for ref in (part.verdicts, part.documents) if ref is not None]
        if len(files) < 2 or not all(storage.exists(storage.join(part.run, ref.path)) for ref in files):
            continue
        table = read_columns(folder, files[0], ["id", "keep"])
        hit = pc.and_(pc.is_in(table.column("id"), values), table.column("keep"))
        for row in np.flatnonzero(hit.to_numpy()).tolist():
            found[table.column("id")[row].as_py()] = Node(Place(index, row), None, None)
    return found


class Kept(NamedTuple):
    """Where removals lead: the documents of this run by id, those that older runs kept, and the place of each step in
    the recipe, by its name."""

    here: Mapping[bytes, Node]
    older: Mapping[bytes, Node]
    order: Mapping[str, int]

    def named(self, identity: bytes, step: str) -> Node | None:
        """Return the document for which `step` removed another one: that of this run if it came through the step
        itself, else that of an older run, which may hold the same record; None if no run has it."""
        node = self.here.get(identity)
        return node if node is not None and self._came_through(node, step) else self.older.get(identity)

    def at_end(self, node: Node) -> Node:
        """Return the document that stands for another one at the end: itself, or what it was removed for, and so on.

        Each link was removed by a later step than the one before it, so there is an end.
        """
        while _is_removed(node) and node.kept is not None:
            following = self.named(node.kept, (node.reason or "").removeprefix(DUPLICATE))
            if following is None:
                break
            node = following
        return node

    def _came_through(self, node: Node, step: str) -> bool:
        if node.reason is None:
            return True
        name = node.reason.removeprefix(DUPLICATE) if _is_removed(node) else node.reason.partition(".")[0]
        # what is lost to a crash may be so at any time
        return self.order.get(name, len(self.order)) > self.order[step]


def step_order(recipe: Mapping[str, Any]) -> dict[str, int]:
    """Return the place of each step of a resolved recipe (a TOML table), by its name; every run begins with ``id``."""
    return {name: place for place, name in enumerate((ID_STEP, *recipe.get("steps", ())))}


def _is_removed(node: Node) -> bool:
    return node.reason is not None and node.reason.startswith(DUPLICATE)
