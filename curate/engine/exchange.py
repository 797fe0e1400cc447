"""The exchange: the only global step. Scatter sorts rows by key into run files, reduce merges key ranges of many.

Rows are Arrow batches whose sort columns are uint64; the first one is the routing key, so a partition is a range of it,
and (partition, key) order is key order. A run file holds blocks of sorted rows and a footer with each block's first
routing key, so a reducer reads one contiguous range per file. Merging reads blocks, never whole ranges: a key
with a billion rows needs no more memory than one with two. Rows that are equal in
all sort columns have no order among them: a stage that needs one sorts by more columns.

File layout: blocks (Arrow IPC record batch messages), then a JSON footer {schema, blocks}, its length (8 bytes, little
endian), and the magic.
"""

from __future__ import annotations

import base64
import heapq
import itertools
import json
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate import storage
from curate.engine.order_kernel import stable_order
from curate.errors import InputError

MAGIC: Final = b"CURATEX1"
BLOCK_BYTES: Final = 128 << 10
SORTED_BLOCKS: Final = 8
SORT_BYTES: Final = 16 << 20
MAX_SPILLS: Final = 64
MIN_SEGMENT_BYTES: Final = 64 << 10
MAX_FAN_IN: Final = 256
KEY_SPAN: Final = 1 << 64


def partition_range(partition: int, partitions: int) -> tuple[int, int]:
    """Return the half-open range of routing keys [low, high) of a partition."""
    return -(-partition * KEY_SPAN // partitions), -(-(partition + 1) * KEY_SPAN // partitions)


def partition_count(total_bytes: int, partition_bytes: int) -> int:
    """Return how many partitions hold `total_bytes`: a function of data size alone, never of machines."""
    return max(1, -(-total_bytes // partition_bytes))


def merge_groups(files: int, total_bytes: int, partitions: int) -> list[range]:
    """Return the groups of files that a merge level joins first, so that a planned segment is not under 64 KiB and a
    reducer does not open more than 256 files; no groups if the files can be read as they are."""
    tiny = partitions > 1 and total_bytes < MIN_SEGMENT_BYTES * files * partitions
    if files <= 16 or not (tiny or files > MAX_FAN_IN):
        return []
    wide = -(-files // MAX_FAN_IN)
    deep = -(-MIN_SEGMENT_BYTES * files * partitions // max(1, total_bytes)) if tiny else 2
    group = max(2, min(MAX_FAN_IN, max(wide, deep)))
    return [range(start, min(start + group, files)) for start in range(0, files, group)]


def _column(batch: pa.RecordBatch | pa.Table, name: str) -> NDArray[np.uint64]:
    column = batch.column(name)
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.uint64)


def sort_order(columns: Sequence[NDArray[np.uint64]]) -> NDArray[np.int64]:
    """Return the order that sorts rows by uint64 columns, the first most significant; equal rows stay in theirs.

    Each column orders only what those before it leave tied: mostly the first one settles nearly all rows.
    """
    order, values = stable_order(columns[0])
    tied, group = _ties(values, None)
    for column in columns[1:]:
        if not len(tied):
            break
        inner, values = stable_order(column[order[tied]])
        again, group = stable_order(group[inner])
        order[tied] = order[tied][inner[again]]
        left, group = _ties(values[again], group)
        tied = tied[left]
    return order


def _ties(values: NDArray[np.uint64], group: NDArray[np.uint64] | None) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Return the places of rows that have a neighbour of the same group and value, and a number for each such run."""
    same = np.zeros(len(values) + 1, dtype=bool)
    same[1:-1] = values[1:] == values[:-1]
    if group is not None:
        same[1:-1] &= group[1:] == group[:-1]
    tied = np.flatnonzero(same[1:] | same[:-1])
    return tied, np.cumsum(~same[:-1][tied], dtype=np.uint64)


class RunWriter:
    """Writes sorted rows to a run file, block by block."""

    def __init__(self, path: str, schema: pa.Schema, sort: Sequence[str]) -> None:
        self._stream = open(path, "wb")  # noqa: SIM115 - closed by close(), which writes the footer
        self._schema = schema
        self._sort = list(sort)
        self._offsets: list[int] = [0]
        self._first: list[int] = []
        self._last = 0
        self.rows = 0
        self.bytes = 0

    def write(self, batch: pa.RecordBatch, order: NDArray[np.int64] | None = None) -> None:
        """Append rows, sorted by `order` if there is one, that sort after everything written before."""
        if batch.num_rows == 0:
            return
        rows = max(1, batch.num_rows * BLOCK_BYTES // max(1, batch.nbytes))
        # sorted a few blocks at a time: a second copy of all rows would be as large as what is to be sorted
        for first in range(0, batch.num_rows, SORTED_BLOCKS * rows):
            count = min(SORTED_BLOCKS * rows, batch.num_rows - first)
            chosen = batch.slice(first, count) if order is None else batch.take(pa.array(order[first : first + count]))
            keys = _column(chosen, self._sort[0])
            for start in range(0, count, rows):
                self._first.append(int(keys[start]))
                self._stream.write(chosen.slice(start, rows).serialize())  # a message holds its own rows alone
                self._offsets.append(self._stream.tell())
            self._last = int(keys[-1])
        self.rows += batch.num_rows

    def close(self) -> None:
        """Write the footer."""
        footer = json.dumps(
            {
                "schema": base64.b64encode(self._schema.serialize()).decode(),
                "sort": self._sort,
                "rows": self.rows,
                "offsets": self._offsets,
                "first": [str(key) for key in self._first],
                "last": str(self._last),
            }
        ).encode()
        self._stream.write(footer + struct.pack("<Q", len(footer)) + MAGIC)
        self.bytes = self._stream.tell()
        self._stream.close()


class RunReader:
    """Reads key ranges of one run file."""

    def __init__(self, uri: str) -> None:
        self._stream = storage.open_input(uri)
        size = self._stream.size()
        tail = bytes(self._stream.read_at(min(size, 16), max(0, size - 16)))
        if tail[8:] != MAGIC:
            raise InputError("exchange", f"{uri}: is no exchange file, or was cut off; delete it and run again")
        (length,) = struct.unpack("<Q", tail[:8])
        footer: dict[str, Any] = json.loads(bytes(self._stream.read_at(length, size - 16 - length)))
        self.schema: pa.Schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(footer["schema"])))
        self.sort: list[str] = footer["sort"]
        self.rows: int = footer["rows"]
        self._offsets: list[int] = footer["offsets"]
        self._first = np.array([int(key) for key in footer["first"]], dtype=np.uint64)
        self._last = int(footer["last"])

    def read(self, low: int = 0, high: int = KEY_SPAN, ahead_bytes: int = 0) -> Iterator[pa.RecordBatch]:
        """Yield the blocks of rows whose routing key is in [low, high), cut to it; as many at once as fit in
        `ahead_bytes`, but one at least."""
        if self.rows == 0 or self._last < low:
            return
        start = max(0, int(np.searchsorted(self._first, np.uint64(low), side="left")) - 1)
        stop = int(np.searchsorted(self._first, np.uint64(high), side="left")) if high < KEY_SPAN else len(self._first)
        while start < stop:
            end = start + 1
            while end < stop and self._offsets[end + 1] - self._offsets[start] <= ahead_bytes:
                end += 1
            batch = self._blocks(start, end)
            start = end
            keys = _column(batch, self.sort[0])
            first = int(np.searchsorted(keys, np.uint64(low), side="left"))
            last = len(keys) if high >= KEY_SPAN else int(np.searchsorted(keys, np.uint64(high), side="left"))
            if first < last:
                yield batch.slice(first, last - first)

    def _blocks(self, start: int, end: int) -> pa.RecordBatch:
        """Return the rows of blocks `start` to `end` - 1."""
        stream = pa.py_buffer(self._stream.read_at(self._offsets[end] - self._offsets[start], self._offsets[start]))
        spans = itertools.pairwise(offset - self._offsets[start] for offset in self._offsets[start : end + 1])
        found = [pa.ipc.read_record_batch(stream[low:high], self.schema) for low, high in spans]
        return found[0] if len(found) == 1 else pa.concat_batches(found)

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


def write_run(
    path: str,
    batches: Iterable[pa.RecordBatch],
    schema: pa.Schema,
    sort: Sequence[str],
    sort_bytes: int = SORT_BYTES,
) -> int:
    """Sort `batches` into a run file at the local `path` in bounded memory and return the number of rows.

    Up to `sort_bytes` are sorted in memory; more is spilled beside `path` as sorted runs and merged, 64 at a time.
    """
    pending: list[pa.RecordBatch] = []
    spills: list[str] = []
    named = 0
    size = 0
    try:
        for batch in batches:
            pending.append(batch)
            size += batch.nbytes
            if size >= sort_bytes:
                spills.append(f"{path}.{named}.tmp")
                named += 1
                _write_sorted(spills[-1], pending, schema, sort)
                size = 0
        if not spills:
            return _write_sorted(path, pending, schema, sort)
        if pending:
            spills.append(f"{path}.{named}.tmp")
            named += 1
            _write_sorted(spills[-1], pending, schema, sort)
        while len(spills) > MAX_SPILLS:
            joined = f"{path}.{named}.tmp"
            named += 1
            spills.append(joined)
            write_merged(joined, merge(spills[:MAX_SPILLS]), schema, sort)
            for spill in spills[:MAX_SPILLS]:
                os.unlink(spill)
            del spills[:MAX_SPILLS]
        return write_merged(path, merge(spills), schema, sort)
    finally:
        for spill in spills:
            if os.path.exists(spill):
                os.unlink(spill)


def write_merged(path: str, batches: Iterable[pa.RecordBatch], schema: pa.Schema, sort: Sequence[str]) -> int:
    """Write batches that are sorted already to a run file and return the number of rows."""
    writer = RunWriter(path, schema, sort)
    for batch in batches:
        writer.write(batch)
    writer.close()
    return writer.rows


def _write_sorted(path: str, batches: list[pa.RecordBatch], schema: pa.Schema, sort: Sequence[str]) -> int:
    """Write the rows of `batches`, which is emptied, sorted to a run file."""
    columns = [[batch.column(index) for batch in batches] for index in range(len(schema))]
    batches.clear()
    joined: list[pa.Array] = []
    for column in columns:
        joined.append(pa.concat_arrays(column) if column else pa.array([], schema.field(len(joined)).type))
        column.clear()  # of all rows, one column at a time is there twice
    batch = pa.record_batch(joined, schema=schema)
    writer = RunWriter(path, schema, sort)
    writer.write(batch, sort_order([_column(batch, name) for name in sort]))
    writer.close()
    return writer.rows


class _Cursor:
    """The unread rows of one run within a range: those from `_start` on of the block in hand, and later blocks."""

    def __init__(self, reader: RunReader, low: int, high: int, ahead_bytes: int) -> None:
        self._blocks = reader.read(low, high, ahead_bytes)
        self._sort = reader.sort
        self._advance()

    def _advance(self) -> None:
        """Read the next block; `block` is None at the end. `last`: the sort columns of its last row."""
        self.block = next(self._blocks, None)
        self._start = 0
        if self.block is not None:
            self._columns = [_column(self.block, name) for name in self._sort]
            self.last = tuple(int(column[-1]) for column in self._columns)

    def split(self, bound: tuple[int, ...]) -> pa.RecordBatch:
        """Take the rows that sort at or before `bound`."""
        assert self.block is not None
        end = self.block.num_rows if self.last <= bound else self._count_until(bound)
        head = self.block.slice(self._start, end - self._start)
        self._start = end
        if end == self.block.num_rows:
            self._advance()
        return head

    def _count_until(self, bound: tuple[int, ...]) -> int:
        low, high = self._start, len(self._columns[0])
        for column, value in zip(self._columns, map(np.uint64, bound), strict=True):
            rows = column[low:high]
            low, high = low + int(rows.searchsorted(value, "left")), low + int(rows.searchsorted(value, "right"))
            if low == high:
                break
        return high


def merge(uris: Sequence[str], low: int = 0, high: int = KEY_SPAN, ahead_bytes: int = 0) -> Iterator[pa.RecordBatch]:
    """Yield the rows of many run files with routing keys in [low, high), in order; see `merge_orders`.

    Where batches end depends on `ahead_bytes`, so what is written to a run file as it comes (`write_merged`) is read
    without.
    """
    for batch, order in merge_orders(uris, low, high, ahead_bytes):
        yield batch if order is None else batch.take(pa.array(order))


def merge_orders(
    uris: Sequence[str], low: int = 0, high: int = KEY_SPAN, ahead_bytes: int = 0
) -> Iterator[tuple[pa.RecordBatch, NDArray[np.int64] | None]]:
    """Yield rows of many run files with routing keys in [low, high) and the order that sorts them (None if they are in
    order): all rows of one batch sort before those of the next. For stages that need not move every row.

    Each step finds the smallest last row among the blocks in hand: everything up to it can be emitted. Memory is one
    block (about 128 KiB) per file, or `ahead_bytes` for all files if that is more: steps cost about a millisecond each,
    and yield more rows with more in hand.
    """
    readers = [RunReader(uri) for uri in uris]
    ahead = ahead_bytes // max(1, len(readers))
    try:
        cursors = [cursor for reader in readers if (cursor := _Cursor(reader, low, high, ahead)).block is not None]
        heap = [(cursor.last, index) for index, cursor in enumerate(cursors)]
        heapq.heapify(heap)
        while heap:
            bound, owner = heapq.heappop(heap)
            if cursors[owner].block is None or cursors[owner].last != bound:
                # equal rows in two files: this cursor moved on together with the one that was the bound
                if cursors[owner].block is not None:
                    heapq.heappush(heap, (cursors[owner].last, owner))
                continue
            waiting = [cursor for cursor in cursors if cursor.block is not None]
            heads = [head for cursor in waiting if (head := cursor.split(bound)).num_rows]
            # only the cursor whose last row was the bound has moved to its next block
            if cursors[owner].block is not None:
                heapq.heappush(heap, (cursors[owner].last, owner))
            yield _joined(heads, readers[0].sort)
    finally:
        for reader in readers:
            reader.close()


def _joined(heads: list[pa.RecordBatch], sort: Sequence[str]) -> tuple[pa.RecordBatch, NDArray[np.int64] | None]:
    """Return the rows of `heads`, which is emptied so that nothing holds their blocks any longer, and their order."""
    if len(heads) == 1:
        return heads.pop(), None
    batch = pa.concat_batches(heads)
    heads.clear()
    return batch, sort_order([_column(batch, name) for name in sort])
