"""Which documents an audit looks at: a uniform sample of those that a dedup step removed, and what they went for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.pipelines.mixing import selection_keys
from curate.pipelines.views import TEXT_DIGEST, flat
from curate.report.audit_texts import Place
from curate.report.rows import read_columns
from curate.report.run_folder import DUPLICATE, PartFiles, RunFolder
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


def end_of_chain(found: Mapping[bytes, Node], identity: bytes) -> Node:
    """Return the document that stands for `identity` at the end: itself, or what it was removed for, and so on."""
    node = found[identity]
    while _is_removed(node) and node.kept is not None and node.kept in found:
        node = found[node.kept]
    return node


def _is_removed(node: Node) -> bool:
    return node.reason is not None and node.reason.startswith(DUPLICATE)
