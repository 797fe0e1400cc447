"""What a shard is: an uncompressed Arrow IPC *file* with one record batch, no dictionary, no null.

Layout ``packed`` has one row per context::

    input_ids        fixed_size_list<uint16 | uint32>[context_length]   its values buffer, reshaped, is the 2-D array
    segment_lengths  list<int32>        tokens of each document segment of the row, in order
    segment_starts   list<int64>        token offset of the segment inside its document
    doc_ids          list<binary[16]>   the document of the segment
    sources          list<uint16>       its source, an index into the ``sources`` of the metadata

Segments tile a row from column 0; what they leave is padding (the fill id). Layout ``documents`` has one row per
document::

    input_ids        list<uint16 | uint32>
    doc_id           binary[16]
    source           uint16

The schema metadata identify a shard that lies alone: ``curate.schema`` is ``shard/1``, ``curate.shard`` a JSON object
(layout, packing, context_length, dtype, tokenizer, fill_id, sources, partition, index, run).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from curate.errors import RecipeError, ShardError

SCHEMA_NAME: Final = "shard/1"
SCHEMA_KEY: Final = b"curate.schema"
SHARD_KEY: Final = b"curate.shard"
LAYOUTS: Final = ("packed", "documents")
PACKINGS: Final = ("concatenate", "best_fit")
ID_BYTES: Final = 16
MAX_SOURCES: Final = 1 << 16
MAX_CONTEXT_LENGTH: Final = 1 << 30
MAX_SHARD_BYTES: Final = 1 << 32
"""List offsets are int32: a shard holds fewer than 2**31 tokens of two bytes or more."""


@dataclass(frozen=True)
class ShardSpec:
    """Everything that a shard's bytes depend on beside its tokens.

    ``tokenizer`` is a tokenizer's identity (name, kind, sha256, vocab_size, bos_id, eos_id, pad_id, unk_id);
    ``sources`` the source names that the index column points into; ``shard_bytes`` the size of the ids of a full shard;
    ``run`` identifies the run so far as it is known before packing (a digest, never a path or time).
    """

    layout: str
    context_length: int
    tokenizer: Mapping[str, Any]
    sources: tuple[str, ...]
    shard_bytes: int = 128 << 20
    packing: str = "concatenate"
    run: str = ""

    def __post_init__(self) -> None:
        mistakes = []
        if self.layout not in LAYOUTS:
            mistakes.append(f"shards.layout = {self.layout!r}: must be one of {', '.join(LAYOUTS)}")
        if self.packing not in PACKINGS:
            mistakes.append(f"shards.packing = {self.packing!r}: must be one of {', '.join(PACKINGS)}")
        if self.layout == "packed" and not 1 <= self.context_length <= MAX_CONTEXT_LENGTH:
            mistakes.append(
                f"shards.context_length = {self.context_length}: must be between 1 and {MAX_CONTEXT_LENGTH}"
            )
        if not 1 <= self.shard_bytes < MAX_SHARD_BYTES:
            mistakes.append(f"shards.shard_bytes = {self.shard_bytes}: must be below {MAX_SHARD_BYTES} (int32 offsets)")
        if not 1 <= len(self.sources) <= MAX_SOURCES or len(set(self.sources)) != len(self.sources):
            mistakes.append(f"sources: between 1 and {MAX_SOURCES} distinct names are needed (the index is a uint16)")
        if mistakes:
            raise RecipeError(mistakes)

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint16 for a vocabulary of at most 65,536 ids, else uint32."""
        return np.dtype(np.uint16 if self.tokenizer["vocab_size"] <= 1 << 16 else np.uint32)

    @property
    def fill_id(self) -> int:
        """What pads an incomplete row: the pad id, else the eos id, else 0."""
        pad, eos = self.tokenizer["pad_id"], self.tokenizer["eos_id"]
        return int(pad if pad is not None else eos if eos is not None else 0)

    def settings(self) -> dict[str, Any]:
        """Return what manifest and shard metadata record of this."""
        packed = self.layout == "packed"
        return {
            "layout": self.layout,
            "packing": self.packing if packed else None,
            "context_length": self.context_length if packed else None,
            "dtype": self.dtype.name,
            "tokenizer": dict(self.tokenizer),
            "fill_id": self.fill_id,
            "sources": list(self.sources),
            "run": self.run,
        }


def shard_name(partition: int, index: int) -> str:
    """Return the file name of shard `index` of a shuffle partition; names sort in (partition, index) order."""
    return f"shard-{partition:06d}-{index:05d}.arrow"


def shard_schema(settings: Mapping[str, Any], partition: int, index: int) -> pa.Schema:
    """Return the Arrow schema, metadata included, of one shard."""
    meta = {**settings, "partition": partition, "index": index}
    metadata = {
        SCHEMA_KEY: SCHEMA_NAME.encode(),
        SHARD_KEY: json.dumps(meta, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode(),
    }
    return pa.schema(shard_fields(settings), metadata=metadata)


def shard_fields(settings: Mapping[str, Any]) -> list[pa.Field]:
    """Return the columns of a shard; `settings` (or a manifest) has layout, dtype and context_length."""
    item = pa.field("item", pa.from_numpy_dtype(settings["dtype"]), nullable=False)
    if settings["layout"] == "documents":
        columns: dict[str, pa.DataType] = {
            "input_ids": pa.list_(item),
            "doc_id": pa.binary(ID_BYTES),
            "source": pa.uint16(),
        }
    else:
        columns = {"input_ids": pa.list_(item, settings["context_length"])}
        parallel = [("segment_lengths", pa.int32()), ("segment_starts", pa.int64())]
        parallel += [("doc_ids", pa.binary(ID_BYTES)), ("sources", pa.uint16())]
        columns.update({name: pa.list_(pa.field("item", kind, nullable=False)) for name, kind in parallel})
    return [pa.field(name, kind, nullable=False) for name, kind in columns.items()]


def shard_metadata(schema: pa.Schema, where: str) -> dict[str, Any]:
    """Return what the metadata of a shard say of it. Raises ShardError if it is no shard of this version."""
    metadata = schema.metadata or {}
    kind = metadata.get(SCHEMA_KEY, b"").decode(errors="replace")
    if kind != SCHEMA_NAME:
        raise ShardError(f"{where}: holds {kind or 'no curate data'}, this version reads {SCHEMA_NAME}")
    try:
        meta = json.loads(metadata[SHARD_KEY])
        if isinstance(meta["partition"], int) and isinstance(meta["index"], int):
            return dict(meta)
    except (KeyError, ValueError, TypeError) as error:
        raise ShardError(f"{where}: its metadata are damaged") from error
    raise ShardError(f"{where}: its metadata name no partition and index")
