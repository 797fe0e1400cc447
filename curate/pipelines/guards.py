"""What each dedup step took: counted where it is brought back to the verdicts, and an alarm that stops the run over it.

Dedup that goes wrong does so without an error: a template, a broken key or too short shingles join what has nothing to
do with each other, and a source of a million documents is left with two. So every step counts what came in and what it
removed per source and language, and its clusters by size; the alarm looks at the sums of these integers at the barrier.

Statistics in the receipts of ``duplicates.apply``:

- ``before|SOURCE|LANGUAGE|documents`` and ``…|bytes``: what came in; ``removed|SOURCE|LANGUAGE|…``: what went;
- ``clusters|SIZE|clusters``, ``…|documents`` and ``…|bytes``: clusters of SIZE to 2·SIZE - 1 documents, SIZE a power of
  two; their documents, the kept one included; and the text of the kept one.

The fact ``largest`` holds the ``[size, id of the kept document]`` of the part's `LARGEST` largest clusters. Bytes are
those of the extracted text.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.engine.tasks import Receipt, Task
from curate.errors import AlarmError
from curate.pipelines.parts import UNKNOWN
from curate.pipelines.settings import AlarmSettings, DedupChoice

LARGEST: Final = 20
MAX_TOLD: Final = 10
"""Broken bounds that an alarm lists."""


def count_step(
    task: Task, groups: pa.Table, before: pa.Array, removed: NDArray[np.bool_], sizes: NDArray[np.int64]
) -> None:
    """Count what a dedup step did to one part into the statistics of `task`.

    All are 1:1: `groups` (see `parts.read_groups`), which documents came in (`before`, bool) and which of them were
    `removed`; `sizes` of the clusters that this step found, at their kept documents, 0 elsewhere.
    """
    came = groups.append_column("removed", pa.array(removed)).filter(before)
    grouped = came.group_by(["source", "language", "removed"]).aggregate([([], "count_all"), ("bytes", "sum")])
    for row in grouped.to_pylist():
        place = f"{row['source']}|{row['language']}"
        for name in ("before", "removed") if row["removed"] else ("before",):
            task.stats[f"{name}|{place}|documents"] += row["count_all"]
            task.stats[f"{name}|{place}|bytes"] += row["bytes_sum"]
    heads = np.flatnonzero(sizes)
    found, lengths = sizes[heads], groups.column("bytes").to_numpy()[heads]
    for bucket in np.unique(_bucket(found)).tolist():
        mine = _bucket(found) == bucket
        task.stats[f"clusters|{1 << bucket}|clusters"] += int(mine.sum())
        task.stats[f"clusters|{1 << bucket}|documents"] += int(found[mine].sum())
        task.stats[f"clusters|{1 << bucket}|bytes"] += int(lengths[mine].sum())
    names = groups.column("id").take(pa.array(heads)).to_pylist()
    best = heapq.nsmallest(LARGEST, zip((-found).tolist(), names, strict=True))
    task.facts["largest"] = [[-size, kept.hex()] for size, kept in best]


def _bucket(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the binary logarithm of positive sizes, rounded down."""
    # frexp is exact where a logarithm of floats may round up to the next power
    return np.frexp(sizes.astype(np.float64))[1].astype(np.int64) - 1


def largest_clusters(receipts: Iterable[Receipt], number: int) -> list[tuple[int, str]]:
    """Return (size, id of the kept document) of the largest clusters of a step, at most `LARGEST` of them."""
    found = {(int(size), str(kept)) for receipt in receipts for size, kept in receipt.facts.get("largest", ())}
    return sorted(found, key=lambda cluster: (-cluster[0], cluster[1]))[: min(number, LARGEST)]


class Loss(NamedTuple):
    """What a dedup step took from a source or language: documents and bytes of text that came in and that went."""

    name: str
    documents: int
    removed: int
    bytes: int
    removed_bytes: int

    @property
    def share(self) -> float:
        """The share of documents that went, 0 to 1."""
        return self.removed / self.documents if self.documents else 0.0


def losses(receipts: Sequence[Receipt], by: str, earlier: Sequence[Receipt] = ()) -> list[Loss]:
    """Return what a step took from each source or language (`by`), the largest share first. `earlier` are the receipts
    of a round before in the same step, to which its documents came."""
    sums: dict[str, Counter[str]] = {}
    for counted, rounds in (("before", earlier or receipts), ("removed", [*earlier, *receipts])):
        for receipt in rounds:
            for key, count in receipt.stats.items():
                kind, *place = key.split("|")
                if kind == counted:
                    source, language, unit = place
                    name = source if by == "source" else language
                    sums.setdefault(name, Counter())[f"{kind} {unit}"] += count
    found = [
        Loss(name, n["before documents"], n["removed documents"], n["before bytes"], n["removed bytes"])
        for name, n in sums.items()
    ]
    return sorted(found, key=lambda loss: (-loss.share, -loss.documents, loss.name))


def cut_bytes(receipts: Iterable[Receipt], by: str) -> dict[str, int]:
    """Return how many bytes a step that cuts took out of the texts of each source or language (`by`)."""
    found: Counter[str] = Counter()
    for receipt in receipts:
        for key, count in receipt.stats.items():
            kind, *place = key.split("|")
            if kind == "cut" and place[-1] == "bytes":
                found[place[0] if by == "source" else place[1]] += count
    return dict(found)


def check_alarm(
    step: str, receipts: Sequence[Receipt], alarm: AlarmSettings, run: str, earlier: Sequence[Receipt] = ()
) -> None:
    """Raise AlarmError if the step took a larger share of the documents of a source or language, cut a larger share out
    of their texts, or made a larger cluster than `alarm` allows. `run` is the run folder as it is shown, `earlier` the
    receipts of a round before in the same step."""
    broken: list[str] = []
    bounds = (("source", alarm.max_lost_share_per_source), ("language", alarm.max_lost_share_per_language))
    for by, bound in bounds:
        groups = [
            loss
            for loss in losses(receipts, by, earlier)
            if loss.documents >= alarm.min_documents and not (by == "language" and loss.name == UNKNOWN)
        ]
        cut = cut_bytes(receipts, by)
        broken += [
            f"{by} {loss.name}: {loss.removed:,} of {loss.documents:,} documents would go ({loss.share:.2%}); "
            f"max_lost_share_per_{by} = {bound:g}"
            for loss in groups
            if loss.share > bound
        ]
        broken += [
            f"{by} {loss.name}: {cut[loss.name]:,} of {loss.bytes:,} bytes would be cut "
            f"({cut[loss.name] / loss.bytes:.2%}); max_lost_share_per_{by} = {bound:g}"
            for loss in groups
            if cut.get(loss.name, 0) > bound * loss.bytes
        ]
    large = [(size, kept) for size, kept in largest_clusters(receipts, LARGEST) if size > alarm.max_cluster_size]
    broken += [
        f"the cluster of {kept}: {size:,} documents; max_cluster_size = {alarm.max_cluster_size:,}"
        for size, kept in large
    ]
    if broken:
        # no more than the largest are known by name
        least = "at least " if len(large) == LARGEST else ""
        more = [f"and {least}{len(broken) - MAX_TOLD:,} more"] if len(broken) > MAX_TOLD else []
        commands = ("lines",) if cut_bytes(receipts, "source") else ("clusters", "audit")
        raise AlarmError(step, [*broken[:MAX_TOLD], *more], run, commands)


def alarm_of(choices: Mapping[str, DedupChoice], step: str) -> AlarmSettings:
    """Return the alarm of a dedup step; that of a step which the recipe does not name, like ``id``, is the default."""
    return choices[step].alarm if step in choices else AlarmSettings()
