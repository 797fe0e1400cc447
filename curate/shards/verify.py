"""Check a folder of shards against its manifest, down to the single token.

Found and named: a missing, extra, truncated, damaged or swapped shard; one of another tokenizer, layout or run; ids
outside the vocabulary; segments that do not tile their rows or do not continue their documents; counts that are wrong.
Reads every byte once for its sha256 and once for its content; memory is the segments of one shard.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from curate import storage
from curate.errors import ShardError
from curate.shards.layout import shard_metadata, shard_name
from curate.shards.manifest import MANIFEST_FILE, TOTALS, read_manifest
from curate.shards.reader import ShardData, map_file, open_shard, read_shard
from curate.shards.writer import by_source


class Problem(NamedTuple):
    """Something wrong with a file of the folder: ``kind`` is one word for programs, ``detail`` a sentence."""

    path: str
    kind: str
    detail: str


def verify(folder: str) -> list[Problem]:
    """Return everything that is wrong with the shards of `folder` (a path or URI); empty if all is well."""
    try:
        manifest = read_manifest(folder)
    except ShardError as error:
        return [Problem(MANIFEST_FILE, "manifest", str(error))]
    entries = {str(entry["path"]): entry for entry in manifest["shards"]}
    problems = list(_check_totals(manifest))
    names = set(storage.list_names(folder))
    for name in sorted(names - entries.keys()):
        if name.endswith(".arrow") and not name.startswith("."):
            problems.append(Problem(name, "extra", "not in the manifest; another run wrote here, or a file was added"))
    by_digest = {entry["sha256"]: path for path, entry in entries.items()}
    for path, entry in entries.items():
        if path not in names:
            problems.append(Problem(path, "missing", "in the manifest, but not in the folder"))
        else:
            problems += _check_file(storage.join(folder, path), entry, manifest, by_digest)
    return problems


def _check_totals(manifest: Mapping[str, Any]) -> Iterator[Problem]:
    for key in TOTALS:
        found = sum(entry[key] for entry in manifest["shards"])
        if found != manifest["totals"][key]:
            yield Problem(
                MANIFEST_FILE, "totals", f"{key}: its shards have {found}, totals say {manifest['totals'][key]}"
            )


def _check_file(
    uri: str, entry: Mapping[str, Any], manifest: Mapping[str, Any], by_digest: Mapping[str, str]
) -> list[Problem]:
    path = str(entry["path"])
    if storage.is_local(uri):
        buffer = map_file(storage.local_path(uri)) if storage.size(uri) else pa.py_buffer(b"")
    else:
        with storage.open_input(uri) as stream:
            buffer = stream.read_buffer()
    digest = hashlib.sha256(buffer).hexdigest()
    if digest != entry["sha256"]:
        if digest in by_digest:
            return [Problem(path, "swapped", f"holds what belongs to {by_digest[digest]}")]
        if buffer.size != entry["bytes"]:
            kind = "truncated" if buffer.size < entry["bytes"] else "size"
            return [Problem(path, kind, f"{buffer.size} bytes, the manifest says {entry['bytes']}")]
        return [Problem(path, "sha256", "right size, wrong content: bits were flipped")]
    try:
        return [Problem(path, kind, detail) for kind, detail in _check_content(buffer, entry, manifest)]
    except ShardError as error:
        return [Problem(path, "schema", str(error))]


def _check_content(
    buffer: pa.Buffer, entry: Mapping[str, Any], manifest: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    path = str(entry["path"])
    batch = read_shard(buffer, path)
    meta = shard_metadata(batch.schema, path)
    # a run puts a digest of the content between name and extension
    if not path.startswith(shard_name(meta["partition"], meta["index"]).removesuffix(".arrow")):
        yield "swapped", f"says it is shard {meta['index']} of partition {meta['partition']}"
    data = open_shard(buffer, manifest, path)
    if any(column.null_count for column in batch.columns):
        yield "schema", "it has nulls"
    if any(offsets != offsets_of(batch, "segment_lengths") for offsets in _parallel_offsets(batch)):
        yield "segments", "the segment lists are not parallel"
        return
    ids = data.ids.reshape(-1)
    if len(ids) and int(ids.max()) >= manifest["tokenizer"]["vocab_size"]:
        yield "tokens", f"id {int(ids.max())} is outside the vocabulary of {manifest['tokenizer']['vocab_size']}"
    if len(data.sources) and int(data.sources.max()) >= len(manifest["sources"]):
        yield "segments", f"source {int(data.sources.max())} has no name"
    yield from _check_segments(data, manifest)
    yield from _check_counts(data, entry, manifest)


def offsets_of(batch: pa.RecordBatch, column: str) -> bytes:
    """Return the list offsets of a column as bytes."""
    return bytes(np.asarray(batch.column(column).offsets).tobytes())


def _parallel_offsets(batch: pa.RecordBatch) -> list[bytes]:
    names = ("segment_starts", "doc_ids", "sources")
    return [offsets_of(batch, name) for name in names] if "segment_lengths" in batch.schema.names else []


def _check_segments(data: ShardData, manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if manifest["layout"] != "packed":
        return
    length = int(manifest["context_length"])
    per_row = np.diff(data.offsets)
    covered = _per_row(data.lengths, data.offsets)
    if len(per_row) and (int(per_row.min()) < 1 or int(data.lengths.min()) < 1 or int(data.starts.min()) < 0):
        yield "segments", "a row without segments, or a segment without tokens"
        return
    full = covered == length
    if int(covered.max(initial=0)) > length or (manifest["packing"] == "concatenate" and not full[:-1].all()):
        yield "segments", f"segments do not tile row {int(np.flatnonzero(~full)[0])}"
        return
    rows = np.flatnonzero(~full)
    if any((data.ids[row, covered[row] :] != manifest["fill_id"]).any() for row in rows.tolist()):
        yield "segments", f"padding is not all {manifest['fill_id']}"
    if manifest["packing"] == "concatenate":
        yield from _check_continuation(data)


def _check_continuation(data: ShardData) -> Iterator[tuple[str, str]]:
    """A document that goes on in the next row goes on where it stopped."""
    goes_on = np.flatnonzero(data.starts[1:] > 0) + 1
    before = goes_on - 1
    wrong = (data.starts[goes_on] != data.starts[before] + data.lengths[before]) | (
        data.doc_ids[goes_on] != data.doc_ids[before]
    ).any(axis=1)
    if wrong.any():
        segment = int(goes_on[np.flatnonzero(wrong)[0]])
        row = int(np.searchsorted(data.offsets, segment, side="right")) - 1
        yield "segments", f"row {row} does not go on where its document stopped"


def _check_counts(data: ShardData, entry: Mapping[str, Any], manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    packed = manifest["layout"] == "packed"
    begins = data.starts == 0
    tokens = int(data.lengths.sum(dtype=np.int64))
    found: dict[str, Any] = {
        "rows": len(data.ids) if packed else len(data.id_offsets) - 1,
        "documents": int(begins.sum()),
        "tokens": tokens,
        "padding_tokens": data.ids.size - tokens,
        "sources": by_source(manifest["sources"], data.sources[begins], data.sources, data.lengths),
    }
    for key, value in found.items():
        if value != entry[key]:
            yield "counts", f"{key}: the shard has {value}, the manifest says {entry[key]}"


def _per_row(lengths: Any, offsets: Any) -> Any:
    sums = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    return sums[offsets[1:]] - sums[offsets[:-1]]
