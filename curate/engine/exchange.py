"""The exchange: the only global step. Scatter sorts rows by key into run files, reduce merges key ranges of many.

Rows are Arrow batches whose sort columns are uint64; the first one is the routing key, so a partition is a range of it,
and (partition, key) order is key order. A run file holds blocks of sorted rows and an index with the sort columns of
each block's first row, so a reducer reads one contiguous range per file. Merging reads blocks, never whole ranges: a
key with a billion rows needs no more memory than one with two. Rows that are equal in all sort columns have no order
among them: a stage that needs one sorts by more columns.

File layout: blocks (Arrow IPC record batch messages); the index, a row of uint64 for each block, where it begins and
the sort columns of its first row, and one for the end with those of the last row; a JSON footer {schema, sort, rows,
index, keys, last}, its length (8 bytes, little endian), and the magic. `keys` are the routing keys of every 1,024th
block, so that a reader takes from the index what concerns its range, however large the file.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import struct
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate import storage
from curate.engine.order_kernel import equal_runs, order_ties, stable_order
from curate.errors import InputError

MAGIC: Final = b"CURATEX2"
BLOCK_BYTES: Final = 128 << 10
CHUNK_BYTES: Final = 1 << 20
SORT_BYTES: Final = 8 << 20
INDEX_STEP: Final = 1024
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
    runs = equal_runs(values)
    for column in columns[1:]:
        if not len(runs):
            break
        runs = order_ties(order, column, runs)
    return order


class RunWriter:
    """Writes sorted rows to a run file, block by block."""

    def __init__(self, path: str, schema: pa.Schema, sort: Sequence[str]) -> None:
        self._stream = open(path, "wb")  # noqa: SIM115 - closed by close(), which writes the footer
        self._schema = schema
        self._sort = list(sort)
        self._index = array("Q")
        self._last = [0] * len(sort)
        self.rows = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Append rows that sort after everything written before."""
        if batch.num_rows == 0:
            return
        columns = [_column(batch, name) for name in self._sort]
        rows = -(-batch.num_rows // max(1, min(batch.num_rows, round(batch.nbytes / BLOCK_BYTES))))
        for start in range(0, batch.num_rows, rows):
            self._index.extend([self._stream.tell(), *(int(column[start]) for column in columns)])
            self._stream.write(batch.slice(start, rows).serialize())  # a message holds its own rows alone
        self._last = [int(column[-1]) for column in columns]
        self.rows += batch.num_rows

    def close(self) -> None:
        """Write the index and the footer."""
        at = self._stream.tell()
        width = 1 + len(self._sort)
        keys = self._index[1 :: width * INDEX_STEP]
        self._index.extend([at, *self._last])
        self._stream.write(np.array(self._index, dtype="<u8").tobytes())
        footer = json.dumps(
            {
                "schema": base64.b64encode(self._schema.serialize()).decode(),
                "sort": self._sort,
                "rows": self.rows,
                "index": at,
                "keys": [str(key) for key in keys],
                "last": str(self._last[0]),
            }
        ).encode()
        self._stream.write(footer + struct.pack("<Q", len(footer)) + MAGIC)
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
        self._at: int = footer["index"]
        self._blocks = (size - 16 - length - self._at) // (8 * (1 + len(self.sort))) - 1
        self._keys = [int(key) for key in footer["keys"]]
        self._last = int(footer["last"])

    def index(self, low: int = 0, high: int = KEY_SPAN) -> NDArray[np.uint64]:
        """Return the rows of the index for the blocks that may hold routing keys in [low, high), and the one after
        them: uint64 [blocks + 1, 1 + sort columns]."""
        width = 1 + len(self.sort)
        if self.rows == 0 or self._last < low:
            return np.zeros((1, width), dtype=np.uint64)
        start = INDEX_STEP * max(0, bisect_left(self._keys, low) - 1)
        stop = min(self._blocks, INDEX_STEP * bisect_left(self._keys, high))
        data = self._stream.read_at(8 * width * (stop + 1 - start), self._at + 8 * width * start)
        rows = np.frombuffer(data, dtype="<u8").reshape(-1, width)
        keys = rows[:-1, 1]
        first = max(0, int(keys.searchsorted(np.uint64(low), "left")) - 1)
        last = len(keys) if high >= KEY_SPAN else int(keys.searchsorted(np.uint64(high), "left"))
        return rows[first : last + 1]

    def read(self, index: NDArray[np.uint64], low: int = 0, high: int = KEY_SPAN) -> list[pa.RecordBatch]:
        """Return the rows of the blocks of some rows of `index` but the last one, which tells where they end: block by
        block, those whose routing key is in [low, high), without empty blocks."""
        *offsets, last, end = (int(offset) for offset in index[:, 0])
        parts = []
        if offsets:
            data = pa.py_buffer(self._stream.read_at(last - offsets[0], offsets[0]))
            spans = itertools.pairwise(offset - offsets[0] for offset in [*offsets, last])
            parts = [data[begin:stop] for begin, stop in spans]
        parts.append(pa.py_buffer(self._stream.read_at(end - last, last)))  # it may have to wait, but holds no others
        found = [pa.ipc.read_record_batch(part, self.schema) for part in parts]
        keys = [int(key) for key in index[:, 1]]
        for at, (first, following) in enumerate(itertools.pairwise(keys)):
            if first < low or following >= high:
                found[at] = self._cut(found[at], low, high)
        return [batch for batch in found if len(batch)]

    def _cut(self, batch: pa.RecordBatch, low: int, high: int) -> pa.RecordBatch:
        keys = _column(batch, self.sort[0])
        first = int(np.searchsorted(keys, np.uint64(low), side="left"))
        last = len(keys) if high >= KEY_SPAN else int(np.searchsorted(keys, np.uint64(high), side="left"))
        return batch.slice(first, last - first)

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


def write_run(
    path: str,
    batches: Iterable[pa.RecordBatch],
    schema: pa.Schema,
    sort: Sequence[str],
    *,
    distinct: bool = False,
) -> int:
    """Sort `batches` into a run file at the local `path` in bounded memory and return the number of rows: up to
    `SORT_BYTES` are sorted at a time. With ``distinct`` one of several equal rows is written; `sort` is all columns."""
    runs = _sorted_runs(batches, schema, sort)
    return write_runs(path, map(distinct_rows, runs) if distinct else runs, schema, sort, distinct=distinct)


def write_runs(
    path: str,
    runs: Iterable[Iterable[pa.RecordBatch]],
    schema: pa.Schema,
    sort: Sequence[str],
    *,
    distinct: bool = False,
) -> int:
    """Write runs of batches, each of which is sorted, to one run file at the local `path` and return the number of
    rows. All but a single one are spilled beside `path` and merged, 64 at a time."""

    def merged(paths: Sequence[str]) -> Iterator[pa.RecordBatch]:
        return distinct_rows(merge(paths)) if distinct else merge(paths)

    spills: list[str] = []
    named = itertools.count()
    try:
        for batches in runs:
            spills.append(f"{path}.{next(named)}.tmp")
            rows = write_merged(spills[-1], batches, schema, sort)
        if len(spills) == 1:
            os.replace(spills[0], path)
            return rows
        while len(spills) > MAX_SPILLS:
            spills.append(f"{path}.{next(named)}.tmp")
            write_merged(spills[-1], merged(spills[:MAX_SPILLS]), schema, sort)
            for spill in spills[:MAX_SPILLS]:
                os.unlink(spill)
            del spills[:MAX_SPILLS]
        return write_merged(path, merged(spills), schema, sort)
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


def distinct_rows(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield sorted rows, one of several that are equal."""
    last: list[Any] = []
    for batch in batches:
        columns = [_column(batch, name) for name in batch.schema.names]
        fresh = np.zeros(len(batch), dtype=bool)
        fresh[0] = last != [column[0] for column in columns]
        for column in columns:
            fresh[1:] |= column[1:] != column[:-1]
        last = [column[-1] for column in columns]
        yield batch if fresh.all() else batch.filter(pa.array(fresh))


def _sorted_runs(
    batches: Iterable[pa.RecordBatch], schema: pa.Schema, sort: Sequence[str]
) -> Iterator[Iterator[pa.RecordBatch]]:
    pending: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        pending.append(batch)
        size += batch.nbytes
        if size >= SORT_BYTES:
            yield _sorted(pending, schema, sort)
            size = 0
    if pending:
        yield _sorted(pending, schema, sort)


def _sorted(batches: list[pa.RecordBatch], schema: pa.Schema, sort: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield the rows of `batches`, which is emptied, in order, about a chunk at a time: a second copy of all rows would
    be as large as what is to be sorted."""
    columns = [[batch.column(index) for batch in batches] for index in range(len(schema))]
    batches.clear()
    joined: list[pa.Array] = []
    for column in columns:
        joined.append(pa.concat_arrays(column))
        column.clear()  # of all rows, one column at a time is there twice
    batch = pa.record_batch(joined, schema=schema)
    order = sort_order([_column(batch, name) for name in sort])
    rows = max(1, len(batch) * CHUNK_BYTES // max(1, batch.nbytes))
    for first in range(0, len(batch), rows):
        yield batch.take(pa.array(order[first : first + rows]))


def merge(
    uris: Sequence[str], low: int = 0, high: int = KEY_SPAN, chunk_bytes: int = CHUNK_BYTES
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of many run files with routing keys in [low, high), in order; see `merge_orders`."""
    for batch, order in merge_orders(uris, low, high, chunk_bytes):
        yield batch if order is None else batch.take(pa.array(order))


def merge_orders(
    uris: Sequence[str], low: int = 0, high: int = KEY_SPAN, chunk_bytes: int = CHUNK_BYTES
) -> Iterator[tuple[pa.RecordBatch, NDArray[np.int64] | None]]:
    """Yield rows of many run files with routing keys in [low, high) and the order that sorts them (None if they are in
    order): all rows of one batch sort before those of the next. For stages that need not move every row.

    An index tells what each block begins with, so blocks are read in the order of all files, about `chunk_bytes` at a
    time (a block at the least): rows up to where the next block begins can go. What may have to wait for them is one
    block of each file, so memory is that and a chunk.
    """
    if not uris:
        return
    readers = [RunReader(uri) for uri in uris]
    try:
        sort = readers[0].sort
        indexes = [reader.index(low, high) for reader in readers]
        file = np.repeat(np.arange(len(readers)), [len(index) - 1 for index in indexes])
        block = np.concatenate([np.arange(len(index) - 1) for index in indexes])
        first = np.ascontiguousarray(np.concatenate([index[:-1, 1:] for index in indexes]).T, dtype=np.uint64)
        sizes = np.concatenate([np.diff(index[:, 0]) for index in indexes])
        order = sort_order(list(first))
        ends = np.cumsum(sizes[order])
        waiting: list[list[pa.RecordBatch]] = [[] for _ in readers]
        done = 0
        while done < len(order):
            before = int(ends[done - 1]) if done else 0
            stop = max(done + 1, int(ends.searchsorted(np.uint64(before + chunk_bytes), "right")))
            chosen = order[done:stop]
            for number in np.unique(file[chosen]):
                of_file = block[chosen[file[chosen] == number]]  # neighbours, in order
                index = indexes[number][of_file[0] : of_file[-1] + 2]
                waiting[number] += readers[number].read(index, low, high)
            bound = tuple(int(value) for value in first[:, order[stop]]) if stop < len(order) else None
            done = stop
            heads = [_split(rows, sort, bound) for rows in waiting if rows]
            heads = [head for head in heads if head]
            if heads:
                yield _joined(heads, sort)
    finally:
        for reader in readers:
            reader.close()


def _split(rows: list[pa.RecordBatch], sort: Sequence[str], bound: tuple[int, ...] | None) -> list[pa.RecordBatch]:
    """Take from the unread `rows` of one file those that sort at or before `bound`, which lies beyond the beginning of
    the last of these batches."""
    heads = list(rows)
    rows.clear()
    if bound is not None:
        batch = heads.pop()
        end = _count_until(batch, sort, bound)
        if end:
            heads.append(batch.slice(0, end))
        if end < len(batch):
            rows.append(batch.slice(end))
    return heads


def _count_until(batch: pa.RecordBatch, sort: Sequence[str], bound: tuple[int, ...]) -> int:
    """Return how many rows sort at or before `bound`."""
    low, high = 0, len(batch)
    for name, value in zip(sort, map(np.uint64, bound), strict=True):
        rows = _column(batch, name)[low:high]
        low, high = low + int(rows.searchsorted(value, "left")), low + int(rows.searchsorted(value, "right"))
        if low == high:
            break
    return high


def _joined(heads: list[list[pa.RecordBatch]], sort: Sequence[str]) -> tuple[pa.RecordBatch, NDArray[np.int64] | None]:
    """Return the rows of some files and their order. `heads` is emptied, so that nothing holds blocks any longer."""
    one_file = len(heads) == 1
    batches = [batch for head in heads for batch in head]
    heads.clear()
    batch = batches[0] if len(batches) == 1 else pa.concat_batches(batches)
    batches.clear()
    return batch, None if one_file else sort_order([_column(batch, name) for name in sort])
