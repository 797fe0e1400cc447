"""Write token shards: concatenate-and-chop rows of one context length, or one row per document.

Documents arrive in their final order as Arrow batches (``id`` fixed_size_binary[16], ``source`` uint16 index,
``tokens`` list<uint16 | uint32>). The stream of their tokens is chopped into rows as LLaMA did: a document that crosses
a row's end goes on in the next row, or in the next shard of the same partition, each part with its own segment. How the
stream is cut into batches changes no byte. Memory: the ids of one shard, and 30 bytes per segment.

Files are built in a local folder under their final names; publishing them is the caller's (`curate.storage.commit`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.errors import ShardError
from curate.shards.layout import ID_BYTES, ShardSpec, shard_name, shard_schema

MAX_OFFSET: Final = (1 << 31) - 1

Array = npt.NDArray[Any]


class ShardSummary(NamedTuple):
    """One finished shard. ``documents`` counts those that begin in it, ``tokens`` leaves padding out,
    ``sources`` maps a source's name to its documents and tokens."""

    path: str
    rows: int
    documents: int
    tokens: int
    padding_tokens: int
    bytes: int
    sha256: str
    sources: dict[str, dict[str, int]]


class Incoming(NamedTuple):
    """One batch as numpy: ids uint8 [rows, 16], sources uint16 [rows], offsets int64 [rows + 1] from 0, flat values."""

    ids: Array
    sources: Array
    offsets: Array
    values: Array


class Segments(NamedTuple):
    """Parts of documents inside rows, 1:1: row number in the shard, length and start in the document in tokens."""

    row: Array
    length: Array
    start: Array
    ids: Array
    source: Array

    @staticmethod
    def join(parts: list[Segments]) -> Segments:
        return Segments(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


class PackedWriter:
    """Writes the packed shards of one shuffle partition."""

    def __init__(self, folder: str, spec: ShardSpec, partition: int) -> None:
        self._folder, self._spec, self._partition = folder, spec, partition
        rows = max(1, spec.shard_bytes // (spec.context_length * spec.dtype.itemsize))
        # untouched pages of an empty array cost nothing: a small partition stays small
        self._ids = np.empty(rows * spec.context_length, dtype=spec.dtype)
        self._filled = 0
        self._segments: list[Segments] = []
        self._shards: list[ShardSummary] = []

    def write(self, batch: pa.RecordBatch) -> None:
        """Append the documents of `batch`. Documents without tokens leave no trace. Raises ShardError."""
        incoming = read_batch(batch, self._spec)
        done, total = 0, int(incoming.offsets[-1])
        while done < total:
            end = min(total, done + len(self._ids) - self._filled)
            self._ids[self._filled : self._filled + end - done] = incoming.values[done:end]
            self._segments.append(_segments(incoming, done, end, self._filled, self._spec.context_length))
            self._filled += end - done
            done = end
            if self._filled == len(self._ids):
                self._flush()

    def close(self) -> list[ShardSummary]:
        """Pad and write what is left; return the partition's shards in order."""
        if self._filled:
            self._flush()
        return self._shards

    def _flush(self) -> None:
        length = self._spec.context_length
        rows = -(-self._filled // length)
        ids = self._ids[: rows * length]
        ids[self._filled :] = self._spec.fill_id
        segments = Segments.join(self._segments)
        self._shards.append(
            write_packed(
                self._folder, self._spec, self._partition, len(self._shards), ids.reshape(rows, length), segments
            )
        )
        self._filled, self._segments = 0, []


class DocumentsWriter:
    """Writes the shards of one shuffle partition with a row per document; a document is never cut."""

    def __init__(self, folder: str, spec: ShardSpec, partition: int) -> None:
        self._folder, self._spec, self._partition = folder, spec, partition
        self._capacity = max(1, spec.shard_bytes // spec.dtype.itemsize)
        self._ids = np.empty(self._capacity, dtype=spec.dtype)
        self._filled = 0
        self._rows: list[tuple[Array, Array, Array]] = []
        self._shards: list[ShardSummary] = []

    def write(self, batch: pa.RecordBatch) -> None:
        """Append the documents of `batch`; one that no longer fits begins the next shard. Raises ShardError."""
        incoming = read_batch(batch, self._spec)
        first, rows = 0, len(incoming.ids)
        while first < rows:
            limit = int(incoming.offsets[first]) + max(0, self._capacity - self._filled)
            if not self._rows:
                # a document larger than a shard gets a shard of its own
                limit = max(limit, int(incoming.offsets[first + 1]))
            # side="right": documents without tokens stay with the one before, wherever a batch ends
            last = int(np.searchsorted(incoming.offsets, limit, side="right")) - 1
            if last > first:
                self._append(incoming, first, last)
            if last < rows:
                self._flush()
            first = last

    def close(self) -> list[ShardSummary]:
        """Write what is left; return the partition's shards in order."""
        if self._rows:
            self._flush()
        return self._shards

    def _append(self, incoming: Incoming, first: int, last: int) -> None:
        begin, end = int(incoming.offsets[first]), int(incoming.offsets[last])
        if end - begin > MAX_OFFSET:
            raise ShardError(f"a document has {end - begin} tokens; a shard holds at most {MAX_OFFSET}")
        needed = self._filled + end - begin
        if needed > len(self._ids):
            self._ids = np.concatenate([self._ids[: self._filled], np.empty(end - begin, dtype=self._ids.dtype)])
        self._ids[self._filled : needed] = incoming.values[begin:end]
        lengths = np.diff(incoming.offsets[first : last + 1])
        # copies: a view would keep the whole batch alive
        self._rows.append((lengths, incoming.ids[first:last].copy(), incoming.sources[first:last].copy()))
        self._filled = needed

    def _flush(self) -> None:
        lengths, ids, sources = (np.concatenate(parts) for parts in zip(*self._rows, strict=True))
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        columns = [
            list_array(flat_array(self._ids[: self._filled]), offsets),
            id_array(ids),
            flat_array(sources),
        ]
        count = by_source(self._spec.sources, sources, sources, lengths)
        facts = {"rows": len(lengths), "documents": len(lengths), "tokens": self._filled, "padding_tokens": 0}
        self._shards.append(
            _write_file(self._folder, self._spec, self._partition, len(self._shards), columns, facts, count)
        )
        self._filled, self._rows = 0, []
        self._ids = self._ids if len(self._ids) <= self._capacity else np.empty(self._capacity, dtype=self._ids.dtype)


def read_batch(batch: pa.RecordBatch, spec: ShardSpec) -> Incoming:
    """Return the columns ``id``, ``source`` and ``tokens`` of a batch as numpy, zero-copy, checked against `spec`."""
    ids, sources, tokens = (batch.column(name) for name in ("id", "source", "tokens"))
    expected = pa.from_numpy_dtype(spec.dtype)
    if not pa.types.is_list(tokens.type) and not pa.types.is_large_list(tokens.type):
        raise ShardError(f"tokens are {tokens.type}, not a list")
    if tokens.type.value_type != expected or ids.type != pa.binary(ID_BYTES) or sources.type != pa.uint16():
        raise ShardError(
            f"a batch of id {ids.type}, source {sources.type}, tokens {tokens.type} does not fit a shard of {expected}"
        )
    if ids.null_count or sources.null_count or tokens.null_count or tokens.values.null_count:
        raise ShardError("ids, sources and tokens are never null")
    offsets = np.asarray(tokens.offsets).astype(np.int64)
    values = np.asarray(tokens.values)[offsets[0] : offsets[-1]]
    source = np.asarray(sources)
    if len(source) and int(source.max()) >= len(spec.sources):
        raise ShardError(f"source {int(source.max())} is outside the {len(spec.sources)} sources of this run")
    raw = np.frombuffer(ids.buffers()[1] or b"", dtype=np.uint8)
    raw = raw[ids.offset * ID_BYTES : (ids.offset + len(ids)) * ID_BYTES].reshape(len(ids), ID_BYTES)
    return Incoming(raw, source, offsets - offsets[0], values)


def _segments(incoming: Incoming, begin: int, end: int, at: int, length: int) -> Segments:
    """Return the segments of the batch's tokens [begin, end) when put at token `at` of a shard of `length`-token
    rows."""
    first = int(np.searchsorted(incoming.offsets, begin, side="right")) - 1
    last = int(np.searchsorted(incoming.offsets, end, side="left"))
    document = np.arange(first, last)
    document = document[incoming.offsets[document + 1] > incoming.offsets[document]]
    starts = np.maximum(incoming.offsets[document], begin)
    left = starts - begin + at
    right = np.minimum(incoming.offsets[document + 1], end) - begin + at
    rows = (right - 1) // length - left // length + 1
    of = np.repeat(np.arange(len(document)), rows)
    row = left[of] // length + np.arange(len(of)) - np.repeat(np.cumsum(rows) - rows, rows)
    segment_left = np.maximum(left[of], row * length)
    segment_right = np.minimum(right[of], (row + 1) * length)
    return Segments(
        row=row.astype(np.int32),
        length=(segment_right - segment_left).astype(np.int32),
        start=segment_left - left[of] + (starts - incoming.offsets[document])[of],
        ids=incoming.ids[document[of]],
        source=incoming.sources[document[of]],
    )


def write_packed(
    folder: str, spec: ShardSpec, partition: int, index: int, ids: Array, segments: Segments
) -> ShardSummary:
    """Write one packed shard of `ids` [rows, context_length] and its segments, which are in row order."""
    rows = len(ids)
    offsets = np.zeros(rows + 1, dtype=np.int32)
    np.cumsum(np.bincount(segments.row, minlength=rows), out=offsets[1:])
    flat = flat_array(ids.reshape(-1))
    columns = [
        pa.FixedSizeListArray.from_arrays(flat, type=pa.list_(_item(flat.type), spec.context_length)),
        list_array(flat_array(segments.length), offsets),
        list_array(flat_array(segments.start), offsets),
        list_array(id_array(segments.ids), offsets),
        list_array(flat_array(segments.source), offsets),
    ]
    tokens = int(segments.length.sum(dtype=np.int64))
    begins = segments.start == 0
    facts = {
        "rows": rows,
        "documents": int(begins.sum()),
        "tokens": tokens,
        "padding_tokens": ids.size - tokens,
    }
    count = by_source(spec.sources, segments.source[begins], segments.source, segments.length)
    return _write_file(folder, spec, partition, index, columns, facts, count)


def by_source(names: Sequence[str], documents: Array, sources: Array, lengths: Array) -> dict[str, dict[str, int]]:
    """Return source name -> {documents, tokens} where there are any: `documents` has the source of each document that
    begins, `sources` and `lengths` (in tokens) those of each segment."""
    documents_of = np.bincount(documents, minlength=len(names))
    # a sum of float64 weights is exact: a shard holds fewer than 2**53 tokens
    tokens_of = np.bincount(sources, weights=lengths, minlength=len(names))
    return {
        name: {"documents": int(documents_of[i]), "tokens": int(tokens_of[i])}
        for i, name in enumerate(names)
        if tokens_of[i] or documents_of[i]
    }


def _write_file(
    folder: str,
    spec: ShardSpec,
    partition: int,
    index: int,
    columns: list[pa.Array],
    facts: Mapping[str, int],
    sources: dict[str, dict[str, int]],
) -> ShardSummary:
    schema = shard_schema(spec.settings(), partition, index)
    name = shard_name(partition, index)
    path = os.path.join(folder, name)
    # the Arrow version of the format and no compression are spelled out: defaults may move, bytes may not
    options = pa.ipc.IpcWriteOptions(metadata_version=pa.ipc.MetadataVersion.V5, compression=None, use_threads=False)
    with pa.OSFile(path, "wb") as sink, pa.ipc.new_file(sink, schema, options=options) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
    return ShardSummary(path=name, bytes=os.path.getsize(path), sha256=file_sha256(path), sources=sources, **facts)


def file_sha256(path: str) -> str:
    """Return the sha256, in hex, of a local file."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def flat_array(values: Array) -> pa.Array:
    """Return a flat numpy array as an Arrow array without nulls, zero-copy."""
    data = np.ascontiguousarray(values)
    return pa.Array.from_buffers(pa.from_numpy_dtype(data.dtype), len(data), [None, pa.py_buffer(data)], null_count=0)


def id_array(ids: Array) -> pa.Array:
    """Return ids, uint8 [rows, 16], as a fixed_size_binary[16] array, zero-copy."""
    data = np.ascontiguousarray(ids)
    return pa.Array.from_buffers(pa.binary(ID_BYTES), len(data), [None, pa.py_buffer(data)], null_count=0)


def list_array(values: pa.Array, offsets: Array) -> pa.Array:
    """Return lists over `values` by int32 `offsets` [rows + 1], items not null, zero-copy."""
    buffers = [None, pa.py_buffer(offsets)]
    return pa.Array.from_buffers(
        pa.list_(_item(values.type)), len(offsets) - 1, buffers, null_count=0, children=[values]
    )


def _item(kind: pa.DataType) -> pa.Field:
    return pa.field("item", kind, nullable=False)
