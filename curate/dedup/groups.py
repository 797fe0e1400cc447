"""The reduce of every dedup by key: from rows sorted by (key, rank, quality, id) to what happened to each document.

Rows arrive in chunks and a group may span any number of them; only the first row of the open group is remembered, so a
group of any size needs no memory. A dropped row leaves with its chunk. A kept row leaves when its group ends, because
only then is the size of the group known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from curate.errors import InvariantError

ORDER = ("key_hi", "key_lo", "rank", "quality", "id_hi", "id_lo")

Columns = dict[str, np.ndarray]


def resolve(chunks: Iterable[Mapping[str, np.ndarray] | np.ndarray]) -> Iterator[Columns]:
    """Yield what becomes of each row, every row exactly once.

    Each chunk maps the names of ``ORDER`` to uint64 [rows] arrays, or is a structured array with these fields; any
    other columns are carried along. Over all chunks, rows are sorted by ``ORDER``.

    Yielded chunks hold the same columns and ``drop`` bool [rows], ``kept_hi`` and ``kept_lo`` uint64 [rows] (the id of
    the group's kept row, its own for a kept row) and ``size`` int64 [rows]: the rows of the whole group for a kept row,
    0 for a dropped one.
    """
    first: Columns | None = None  # the first row of the open group
    size = 0  # rows of the open group so far
    last: Columns | None = None
    for chunk in chunks:
        rows = _columns(chunk)
        if not len(rows["rank"]):
            continue
        _check_sorted(rows, last)
        starts = np.flatnonzero(_starts(rows, first))
        total = len(rows["rank"])
        closed = []
        if len(starts) and first is not None:
            closed.append(_outcome(first, first, np.array([size + starts[0]])))
        # the row that stays for each row of the chunk: -1 is the group that was open before it
        group = np.cumsum(np.bincount(starts, minlength=total)) - 1
        leaving = np.ones(total, dtype=bool)
        if len(starts):
            leaving[starts[-1]] = False
            heads = _take(rows, starts)
            sizes = np.zeros(total, dtype=np.int64)
            sizes[starts] = np.diff(starts, append=total)
        else:
            sizes = np.zeros(total, dtype=np.int64)
            heads = {}
        kept = {name: _kept_ids(group, heads, first, name) for name in ("id_hi", "id_lo")}
        closed.append(_take(_outcome(rows, kept, sizes), np.flatnonzero(leaving)))
        yield _joined(closed)
        if len(starts):
            first, size = _take(rows, starts[-1:]), int(total - starts[-1])
        else:
            size += total
        last = _take(rows, np.array([total - 1]))
    if first is not None:
        yield _outcome(first, first, np.array([size]))


def _columns(chunk: Mapping[str, np.ndarray] | np.ndarray) -> Columns:
    names: Any = chunk.dtype.names if isinstance(chunk, np.ndarray) else chunk.keys()
    return {name: chunk[name] for name in names}


def _starts(rows: Columns, first: Columns | None) -> np.ndarray:
    """Return which rows begin a new group, bool [rows]."""
    starts = np.ones(len(rows["rank"]), dtype=bool)
    starts[1:] = (np.diff(rows["key_hi"]) != 0) | (np.diff(rows["key_lo"]) != 0)
    if first is not None:
        starts[0] = any(rows[name][0] != first[name][0] for name in ("key_hi", "key_lo"))
    return starts


def _check_sorted(rows: Columns, last: Columns | None) -> None:
    before = {name: rows[name] if last is None else np.concatenate([last[name], rows[name]]) for name in ORDER}
    rising = np.zeros(len(before["rank"]) - 1, dtype=bool)
    equal = np.ones_like(rising)
    for name in ORDER:
        rising |= equal & (before[name][1:] > before[name][:-1])
        equal &= before[name][1:] == before[name][:-1]
    if not bool((rising | equal).all()):
        raise InvariantError("the rows of an exchange partition are not sorted by key, rank, quality and id")


def _kept_ids(group: np.ndarray, heads: Columns, first: Columns | None, name: str) -> np.ndarray:
    ids = heads[name] if heads else np.zeros(0, dtype=np.uint64)
    # group -1 picks the last entry: the row that was open before this chunk
    opened = first[name] if first is not None else np.zeros(1, dtype=np.uint64)
    return np.concatenate([ids, opened])[group]


def _outcome(rows: Columns, kept: Columns, sizes: np.ndarray) -> Columns:
    return {**rows, "drop": sizes == 0, "kept_hi": kept["id_hi"], "kept_lo": kept["id_lo"], "size": sizes}


def _take(columns: Columns, rows: np.ndarray) -> Columns:
    return {name: column[rows] for name, column in columns.items()}


def _joined(parts: list[Columns]) -> Columns:
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
