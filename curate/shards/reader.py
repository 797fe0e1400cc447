"""Read token shards as numpy views, and find the document behind any token.

Local shards are memory-mapped: a row is a view of the page cache, nothing is copied or parsed. Remote ones are fetched
whole, once, into a cache folder (then mapped) or into memory. A shard is opened when first needed. Trust: the manifest
says what is there; sizes are compared on opening, sha256 on request (``verify="hash"``, or `curate.shards.verify`).
"""

from __future__ import annotations

import bisect
import hashlib
import os
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate import storage
from curate.errors import ShardError
from curate.shards.layout import ID_BYTES, shard_fields, shard_metadata
from curate.shards.manifest import read_manifest

if TYPE_CHECKING:
    from curate.shards.stream import TokenStream

Array = npt.NDArray[Any]


class Row(NamedTuple):
    """One sample and its segments, 1:1 lists: ``doc_ids`` (16 bytes each), ``starts`` int64 and ``lengths`` int32 in
    tokens, ``sources`` uint16. Segments tile ``ids`` from column 0; the rest is padding."""

    ids: Array
    doc_ids: list[bytes]
    starts: Array
    lengths: Array
    sources: Array

    @property
    def cu_seqlens(self) -> npt.NDArray[np.int32]:
        """Cumulative segment ends, int32, from 0 to len(ids), as variable-length attention wants them; padding counts
        as one segment of its own at the end."""
        ends = np.concatenate([[0], np.cumsum(self.lengths)])
        if ends[-1] < len(self.ids):
            ends = np.append(ends, len(self.ids))
        return ends.astype(np.int32)


class Trace(NamedTuple):
    """Where a token comes from: the document, the token's place in it, and the name of its source."""

    doc_id: bytes
    offset: int
    source: str


class ShardData(NamedTuple):
    """One open shard as numpy views. ``ids`` is 2-D [rows, context_length] if packed, else flat with ``id_offsets``
    [rows + 1]. Segments (packed: those of row r are [offsets[r], offsets[r + 1]); else: one per document) are flat 1:1
    lists, doc_ids uint8 [segments, 16]."""

    ids: Array
    id_offsets: Array
    offsets: Array
    lengths: Array
    starts: Array
    doc_ids: Array
    sources: Array


class ShardSet:
    """The shards of one folder as a sequence of samples: rows, documents, or windows over documents.

    Use `ShardSet.open`. ``len(s)`` counts samples, ``s[i]`` is a read-only view of the ids of sample i.
    """

    def __init__(
        self, uri: str, manifest: Mapping[str, Any], *, cache: str | None = None, context_length: int | None = None
    ) -> None:
        self.uri, self.manifest, self.cache = uri, manifest, cache
        self.packed = manifest["layout"] == "packed"
        if self.packed and context_length not in (None, manifest["context_length"]):
            raise ShardError(
                f"rows of {manifest['context_length']} tokens have no view of context_length {context_length}"
            )
        if context_length is not None and context_length < 1:
            raise ShardError(f"context_length = {context_length}: must be at least 1")
        self.context_length: int | None = manifest["context_length"] if self.packed else context_length
        self.sources: list[str] = list(manifest["sources"])
        self.dtype = np.dtype(manifest["dtype"])
        self._entries = manifest["shards"]
        counts = [self._samples(entry) for entry in self._entries]
        self._ends = np.cumsum(counts, dtype=np.int64).tolist()
        self._open: dict[int, ShardData] = {}

    @classmethod
    def open(
        cls, uri: str, *, verify: str = "size", cache: str | None = None, context_length: int | None = None
    ) -> ShardSet:
        """Return the shards of the folder at `uri`.

        `verify` is "size" (each file is there in full), "hash" (its sha256 too) or "none". `cache` is a local folder
        for remote shards. `context_length` makes windows over layout ``documents``: windows never cross a shard, the
        incomplete one at a shard's end is left out. Raises ShardError.
        """
        if verify not in ("none", "size", "hash"):
            raise ShardError(f"verify = {verify!r}: must be none, size or hash")
        found = cls(uri, read_manifest(uri), cache=cache, context_length=context_length)
        for entry in found._entries if verify != "none" else ():
            found._check(entry, full=verify == "hash")
        return found

    @property
    def fingerprint(self) -> str:
        """Identifies the samples: the manifest's fingerprint; for windows also their length."""
        whole = str(self.manifest["fingerprint"])
        if self.packed or self.context_length is None:
            return whole
        return hashlib.sha256(f"{whole}:{self.context_length}".encode()).hexdigest()

    def __len__(self) -> int:
        return int(self._ends[-1]) if self._ends else 0

    def __getitem__(self, sample: int) -> Array:
        shard, row = self._find(sample)
        data = self.shard(shard)
        view: Array = data.ids[row] if self.packed else data.ids[slice(*self._span(data, row))]
        return view

    def row(self, sample: int) -> Row:
        """Return sample number `sample` with its document segments."""
        shard, row = self._find(sample)
        data = self.shard(shard)
        which: slice | Array
        if self.packed:
            which = slice(int(data.offsets[row]), int(data.offsets[row + 1]))
            starts, lengths = data.starts[which], data.lengths[which]
        else:
            which, starts, lengths = _cut(data, *self._span(data, row))
        return Row(self[sample], [bytes(raw) for raw in data.doc_ids[which]], starts, lengths, data.sources[which])

    def trace(self, sample: int, column: int) -> Trace | None:
        """Return where the token at `column` of a sample comes from; None for padding."""
        row = self.row(sample)
        if not 0 <= column < len(row.ids):
            raise IndexError(f"column {column} of a sample of {len(row.ids)} tokens")
        ends = np.cumsum(row.lengths)
        segment = int(np.searchsorted(ends, column, side="right"))
        if segment == len(ends):
            return None
        inside = column - int(ends[segment]) + int(row.lengths[segment])
        return Trace(row.doc_ids[segment], int(row.starts[segment]) + inside, self.sources[int(row.sources[segment])])

    def stream(self, *, seed: int, rank: int = 0, world_size: int = 1, epochs: int | None = None) -> TokenStream:
        """Return the samples in the order of `seed`, as rank `rank` of `world_size` sees them."""
        from curate.shards.stream import TokenStream

        return TokenStream(self, seed=seed, rank=rank, world_size=world_size, epochs=epochs)

    def torch(
        self,
        *,
        seed: int,
        batch_size: int,
        rank: int = 0,
        world_size: int = 1,
        epochs: int | None = None,
        state: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return a ``torch.utils.data.IterableDataset`` of int64 batches [batch_size, context_length].

        Needs the extra ``curate-llm[torch]``. Give it to a DataLoader with ``batch_size=None``.
        """
        try:
            from curate.shards.torch import TokenDataset
        except ImportError as error:
            raise ImportError('ShardSet.torch needs PyTorch: pip install "curate-llm[torch]"') from error
        stream = self.stream(seed=seed, rank=rank, world_size=world_size, epochs=epochs)
        if state is not None:
            stream.load_state(state)
        return TokenDataset(stream, batch_size)

    def shard(self, index: int) -> ShardData:
        """Return shard number `index` (in manifest order) as numpy views, opening it when first asked."""
        data = self._open.get(index)
        if data is None:
            entry = self._entries[index]
            data = self._open[index] = open_shard(self._buffer(entry), self.manifest, str(entry["path"]))
        return data

    def __reduce__(self) -> tuple[Any, ...]:
        # views of mapped files do not travel between processes; the files are opened again there
        return _reopen, (self.uri, self.manifest, self.cache, self.context_length if not self.packed else None)

    def _samples(self, entry: Mapping[str, Any]) -> int:
        windows = not self.packed and self.context_length is not None
        return int(entry["tokens"] // self.context_length if windows else entry["rows"])

    def _span(self, data: ShardData, row: int) -> tuple[int, int]:
        """Return the tokens of a document-layout shard that its sample number `row` covers."""
        if self.context_length is not None:
            return row * self.context_length, (row + 1) * self.context_length
        return int(data.id_offsets[row]), int(data.id_offsets[row + 1])

    def _find(self, sample: int) -> tuple[int, int]:
        wanted = sample + len(self) if sample < 0 else sample
        if not 0 <= wanted < len(self):
            raise IndexError(f"sample {sample} of {len(self)}")
        shard = bisect.bisect_right(self._ends, wanted)
        return shard, wanted - (self._ends[shard - 1] if shard else 0)

    def _check(self, entry: Mapping[str, Any], *, full: bool) -> None:
        uri = storage.join(self.uri, entry["path"])
        try:
            found = storage.size(uri)
        except FileNotFoundError as error:
            raise ShardError(f"{entry['path']}: missing; fetch the folder again") from error
        if found != entry["bytes"]:
            raise ShardError(f"{entry['path']}: {found} bytes, the manifest says {entry['bytes']}; fetch it again")
        if full and hashlib.sha256(self._buffer(entry)).hexdigest() != entry["sha256"]:
            raise ShardError(f"{entry['path']}: its sha256 is not the manifest's; fetch it again")

    def _buffer(self, entry: Mapping[str, Any]) -> pa.Buffer:
        uri = storage.join(self.uri, entry["path"])
        if storage.is_local(uri):
            return map_file(storage.local_path(uri))
        if self.cache is None:
            with storage.open_input(uri) as stream:
                return stream.read_buffer()
        path = os.path.join(self.cache, f"{entry['sha256']}.arrow")
        if not os.path.exists(path) or os.path.getsize(path) != entry["bytes"]:
            _fetch(uri, path)
        return map_file(path)


def _reopen(uri: str, manifest: Mapping[str, Any], cache: str | None, context_length: int | None) -> ShardSet:
    return ShardSet(uri, manifest, cache=cache, context_length=context_length)


def _fetch(uri: str, path: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    staged = f"{path}.{uuid.uuid4().hex}.tmp"
    with storage.open_input(uri) as source, open(staged, "wb") as target:
        while block := source.read(8 << 20):
            target.write(block)
    os.replace(staged, path)


def map_file(path: str) -> pa.Buffer:
    """Return the bytes of a local file as a memory-mapped buffer; it lives on without an open file handle."""
    try:
        with pa.memory_map(path) as source:
            return source.read_buffer()
    except FileNotFoundError as error:
        raise ShardError(f"{os.path.basename(path)}: missing; fetch the folder again") from error


def open_shard(buffer: pa.Buffer, manifest: Mapping[str, Any], where: str) -> ShardData:
    """Return a shard's numpy views. Raises ShardError if it is damaged or belongs to another tokenizer or layout."""
    batch = read_shard(buffer, where)
    meta = shard_metadata(batch.schema, where)
    for key in ("layout", "packing", "context_length", "dtype", "tokenizer", "fill_id", "sources", "run"):
        if meta.get(key) != manifest[key]:
            raise ShardError(f"{where}: its {key} is not the manifest's; it belongs to another set of shards")
    if not batch.schema.equals(pa.schema(shard_fields(manifest)), check_metadata=False):
        raise ShardError(f"{where}: its columns are not those of a {meta['layout']} shard")
    ids = batch.column("input_ids")
    if meta["layout"] == "packed":
        parts = {name: batch.column(name) for name in ("segment_lengths", "segment_starts", "doc_ids", "sources")}
        return ShardData(
            ids=np.asarray(ids.flatten()).reshape(len(ids), meta["context_length"]),
            id_offsets=np.empty(0, dtype=np.int32),
            offsets=np.asarray(parts["segment_lengths"].offsets),
            lengths=np.asarray(parts["segment_lengths"].values),
            starts=np.asarray(parts["segment_starts"].values),
            doc_ids=raw_ids(parts["doc_ids"].values),
            sources=np.asarray(parts["sources"].values),
        )
    offsets = np.asarray(ids.offsets)
    return ShardData(
        ids=np.asarray(ids.values),
        id_offsets=offsets,
        offsets=np.empty(0, dtype=np.int32),
        lengths=np.diff(offsets),
        starts=np.zeros(len(ids), dtype=np.int64),
        doc_ids=raw_ids(batch.column("doc_id")),
        sources=np.asarray(batch.column("source")),
    )


def read_shard(buffer: pa.Buffer, where: str) -> pa.RecordBatch:
    """Return the one record batch of a shard file, zero-copy. Raises ShardError if there is no such thing."""
    try:
        reader = pa.ipc.open_file(buffer)
        if reader.num_record_batches != 1:
            raise ShardError(f"{where}: {reader.num_record_batches} record batches, a shard has one")
        return reader.get_batch(0)
    except (pa.ArrowInvalid, OSError) as error:
        raise ShardError(f"{where}: not a whole Arrow file ({str(error).splitlines()[0]}); fetch it again") from error


def raw_ids(ids: pa.Array) -> Array:
    """Return a fixed_size_binary[16] array as uint8 [rows, 16], zero-copy."""
    raw = np.frombuffer(ids.buffers()[1] or b"", dtype=np.uint8)
    return raw[ids.offset * ID_BYTES : (ids.offset + len(ids)) * ID_BYTES].reshape(len(ids), ID_BYTES)


def _cut(data: ShardData, begin: int, end: int) -> tuple[Array, Array, Array]:
    """Return the documents, starts and lengths of the segments of a document-layout shard's tokens [begin, end)."""
    first = int(np.searchsorted(data.id_offsets, begin, side="right")) - 1
    last = max(first, int(np.searchsorted(data.id_offsets, end, side="left")))
    edges = data.id_offsets[first : last + 1].astype(np.int64)
    left, right = np.maximum(edges[:-1], begin), np.minimum(edges[1:], end)
    some = right > left
    return np.arange(first, last)[some], (left - edges[:-1])[some], (right - left)[some].astype(np.int32)
