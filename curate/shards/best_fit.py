"""Best-fit packing: rows that cut fewer documents than concatenate-and-chop does.

After Ding et al., "Fewer Truncations Improve Language Modeling" (2404.10830): documents longer than a row are chopped
into full rows and a rest; rests and short documents, longest first, each go into the fullest row that still has room.
So only documents longer than a row are cut at all. The price is padding at the end of rows, below 1% for web text.

One shard's worth of tokens is packed at a time, so that memory stays at twice a shard and the result does not depend on
batches. Rows, and documents within a row, then keep the order of arrival, which is the global shuffle.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.shards.layout import ShardSpec
from curate.shards.writer import Incoming, Segments, ShardSummary, read_batch, write_packed

LOOP_PIECES: Final = 1 << 16

Array = npt.NDArray[Any]


class BestFitWriter:
    """Writes the packed shards of one shuffle partition, as `curate.shards.writer.PackedWriter` does."""

    def __init__(self, folder: str, spec: ShardSpec, partition: int) -> None:
        self._folder, self._spec, self._partition = folder, spec, partition
        rows = max(1, spec.shard_bytes // (spec.context_length * spec.dtype.itemsize))
        self._window = np.empty(rows * spec.context_length, dtype=spec.dtype)
        self._filled = 0
        self._pieces: list[Segments] = []
        self._shards: list[ShardSummary] = []

    def write(self, batch: pa.RecordBatch) -> None:
        """Append the documents of `batch`. Documents without tokens leave no trace. Raises ShardError."""
        incoming = read_batch(batch, self._spec)
        pieces = _pieces(incoming, self._spec.context_length)
        ends = np.cumsum(pieces.length, dtype=np.int64)
        first, done = 0, 0
        while first < len(ends):
            room = len(self._window) - self._filled
            last = int(np.searchsorted(ends, done + room, side="right"))
            upto = int(ends[last - 1]) if last else 0
            if last > first:
                self._window[self._filled : self._filled + upto - done] = incoming.values[done:upto]
                self._pieces.append(Segments(*(column[first:last].copy() for column in pieces)))
                self._filled, first, done = self._filled + upto - done, last, upto
            if first < len(ends):
                self._flush()

    def close(self) -> list[ShardSummary]:
        """Pack and write what is left; return the partition's shards in order."""
        if self._filled:
            self._flush()
        return self._shards

    def _flush(self) -> None:
        pieces = Segments.join(self._pieces)
        row = _arrival_order(best_fit(pieces.length, self._spec.context_length))
        order = np.argsort(row, kind="stable")
        ids = np.full((int(row.max()) + 1, self._spec.context_length), self._spec.fill_id, dtype=self._spec.dtype)
        self._place(ids.reshape(-1), pieces.length, row, order)
        packed = Segments(*(values[order] for values in pieces._replace(row=row)))
        self._shards.append(write_packed(self._folder, self._spec, self._partition, len(self._shards), ids, packed))
        self._filled, self._pieces = 0, []

    def _place(self, flat: Array, lengths: Array, row: Array, order: Array) -> None:
        """Copy the window's pieces to their rows in `flat`; `order` sorts pieces by row."""
        begins = np.cumsum(lengths, dtype=np.int64) - lengths
        ends = np.cumsum(lengths[order], dtype=np.int64)
        first = np.flatnonzero(np.diff(row[order], prepend=-1))
        before_row = np.repeat(ends[first] - lengths[order[first]], np.diff(first, append=len(order)))
        targets = ends - lengths[order] - before_row + row[order].astype(np.int64) * self._spec.context_length
        for part in range(0, len(order), LOOP_PIECES):
            some = slice(part, part + LOOP_PIECES)
            source, length = begins[order[some]].tolist(), lengths[order[some]].tolist()
            for to, begin, count in zip(targets[some].tolist(), source, length, strict=True):
                flat[to : to + count] = self._window[begin : begin + count]


def _pieces(incoming: Incoming, length: int) -> Segments:
    """Return the documents of a batch chopped into pieces of at most `length` tokens, from each one's start."""
    tokens = np.diff(incoming.offsets)
    counts = -(-tokens // length)
    of = np.repeat(np.arange(len(tokens)), counts)
    start = (np.arange(len(of)) - np.repeat(np.cumsum(counts) - counts, counts)) * length
    return Segments(
        row=np.zeros(len(of), dtype=np.int32),
        length=np.minimum(tokens[of] - start, length).astype(np.int32),
        start=start.astype(np.int64),
        ids=incoming.ids[of],
        source=incoming.sources[of],
    )


def best_fit(lengths: Array, capacity: int) -> npt.NDArray[np.int32]:
    """Return the row, int32, of each piece by best-fit decreasing: 1:1 to `lengths`, which are at most `capacity`.

    Pieces are placed longest first, equal ones in order; each takes the row with the least room that suffices, the
    youngest such row if there are several. About a microsecond a piece.
    """
    rows = np.empty(len(lengths), dtype=np.int32)
    rooms: list[int] = []  # the sizes of room that some row has, ascending
    rows_with: dict[int, list[int]] = {}
    opened = 0
    order = np.argsort(-lengths.astype(np.int64), kind="stable")
    for piece, length in _pairs(order, lengths):
        at = bisect.bisect_left(rooms, length)
        if at == len(rooms):
            row, room = opened, capacity
            opened += 1
        else:
            room = rooms[at]
            row = rows_with[room].pop()
            if not rows_with[room]:
                del rows_with[room], rooms[at]
        rows[piece] = row
        if room > length:
            if room - length not in rows_with:
                rows_with[room - length] = []
                bisect.insort(rooms, room - length)
            rows_with[room - length].append(row)
    return rows


def _pairs(order: Array, lengths: Array) -> Iterator[tuple[int, int]]:
    """Yield each piece of `order` and its length, a part at a time: Python integers take ten times the memory."""
    for part in range(0, len(order), LOOP_PIECES):
        some = order[part : part + LOOP_PIECES]
        yield from zip(some.tolist(), lengths[some].tolist(), strict=True)


def _arrival_order(rows: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Return `rows` renumbered in the order in which each first occurs."""
    _, first, number = np.unique(rows, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first)).astype(np.int32)[number]
