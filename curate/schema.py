"""The Arrow schemas that stages exchange, and the identity of a document.

``DOCUMENT`` is one extracted document, ``REJECT`` an input record that could not become one, ``VERDICT`` what the
filters and global steps decided about a document. Each schema carries ``curate.schema = name/major``, and so do files;
readers of a run folder refuse files of another major.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import xxhash

from curate.errors import InputError

ID_BYTES: Final = 16
ID_MODULUS: Final = 1 << 128
MAX_TEXT_BYTES: Final = 1 << 30
SCHEMA_KEY: Final = b"curate.schema"
MAJORS: Final[Mapping[str, int]] = {
    "document": 1, "edits": 1, "reject": 1, "shingles": 1, "signals": 1, "signature": 1, "verdict": 1,
}  # fmt: skip

ID = pa.binary(ID_BYTES)
ORIGIN = pa.struct([("file", pa.string()), ("offset", pa.int64()), ("length", pa.int64())])
EDIT = pa.struct(
    [
        pa.field("start", pa.int64(), nullable=False),
        pa.field("end", pa.int64(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
    ]
)
"""Replace the UTF-8 bytes ``[start, end)`` of the text that the view starts from by ``text`` (mostly empty: a cut)."""
EDITS = pa.list_(pa.field("item", EDIT, nullable=False))


def named_schema(name: str, fields: Sequence[pa.Field]) -> pa.Schema:
    """Return the schema of `fields` that says which of `MAJORS` it is, and of which major."""
    return pa.schema(fields, metadata={SCHEMA_KEY: f"{name}/{MAJORS[name]}".encode()})


DOCUMENT: Final = named_schema(
    "document",
    [
        pa.field("id", ID, nullable=False),
        pa.field("text", pa.large_string(), nullable=False),
        pa.field("url", pa.string()),
        pa.field("source", pa.string(), nullable=False),
        pa.field("date", pa.timestamp("s")),
        pa.field("origin", ORIGIN),
        pa.field("meta", pa.map_(pa.string(), pa.string())),
        pa.field(
            "spans",
            pa.list_(pa.struct([("start", pa.int64()), ("end", pa.int64()), ("label", pa.string())])),
        ),
    ],
)

REJECT: Final = named_schema(
    "reject",
    [
        pa.field("id", ID, nullable=False),
        pa.field("url", pa.string()),
        pa.field("source", pa.string(), nullable=False),
        pa.field("origin", ORIGIN),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("detail", pa.string(), nullable=False),
    ],
)

VERDICT: Final = named_schema(
    "verdict",
    [
        pa.field("id", ID, nullable=False),
        pa.field("keep", pa.bool_(), nullable=False),
        pa.field("reason", pa.string()),
        pa.field("failed", pa.list_(pa.string()), nullable=False),
        pa.field("marks", pa.list_(pa.string()), nullable=False),
        pa.field("kept_id", ID),
        pa.field("cluster_size", pa.int64()),
        pa.field("similarity", pa.float64()),
    ],
)


def document_id(
    *,
    source: str,
    record_id: str | None = None,
    url: str | None = None,
    date: str | None = None,
    digest: bytes | None = None,
    key: str | None = None,
) -> bytes:
    """Return the 16-byte id (xxh3-128) of a document: from its WARC record id; else from url, date and payload digest;
    else from a key that the user's data carries; else from its source and the digest of its text.

    ``digest`` is the xxh3-128 of the payload bytes or of the UTF-8 text. Row numbers, paths and arrival order never
    count, so that re-sharded and renamed inputs keep their ids.
    """
    if record_id:
        parts: tuple[bytes, ...] = (b"record", record_id.encode())
    elif url and digest is not None:
        parts = (b"url", url.encode(errors="surrogatepass"), (date or "").encode(), digest)
    elif key is not None:
        parts = (b"key", source.encode(), key.encode(errors="surrogatepass"))
    elif digest is not None:
        parts = (b"text", source.encode(), digest)
    else:
        raise InputError("id", "a document needs a record id, a url with a digest, a key, or a digest of its text")
    return xxhash.xxh3_128_digest(b"\0".join(parts))


def id_sum(ids: pa.Array | pa.ChunkedArray) -> int:
    """Return the sum of 16-byte ids as big-endian integers, modulo 2**128 (the conservation invariant)."""
    if isinstance(ids, pa.ChunkedArray):
        return sum(id_sum(chunk) for chunk in ids.chunks) % ID_MODULUS
    words = id_words(ids)
    # 32-bit halves summed in uint64 cannot overflow below 2**32 rows
    total = 0
    for column, shift in ((0, 64), (1, 0)):
        word = words[:, column]
        low = int(np.sum(word & np.uint64(0xFFFFFFFF), dtype=np.uint64))
        high = int(np.sum(word >> np.uint64(32), dtype=np.uint64))
        total += (low + (high << 32)) << shift
    return total % ID_MODULUS


def id_words(ids: pa.Array) -> np.ndarray:
    """Return ids as uint64 [rows, 2], big-endian words, so that comparing word pairs compares ids."""
    start = ids.offset * ID_BYTES
    raw = np.frombuffer(ids.buffers()[1] or b"", dtype=np.uint8)[start : start + len(ids) * ID_BYTES]
    return raw.view(">u8").astype(np.uint64).reshape(len(ids), 2)


def ids_from_words(words: np.ndarray) -> pa.Array:
    """Return uint64 [rows, 2] words (see `id_words`) as a fixed_size_binary[16] array."""
    raw = np.ascontiguousarray(words.astype(">u8"))
    return pa.Array.from_buffers(ID, len(words), [None, pa.py_buffer(raw.tobytes())])


def check_schema(schema: pa.Schema, where: str) -> None:
    """Raise InputError unless `schema` says that it is one of `MAJORS`, of the major that this version reads."""
    found = (schema.metadata or {}).get(SCHEMA_KEY, b"").decode(errors="replace")
    name = found.partition("/")[0]
    if name not in MAJORS:
        raise InputError("schema", f"{where}: holds no curate data")
    if found != f"{name}/{MAJORS[name]}":
        raise InputError(
            "schema",
            f"{where}: holds {found}, this version reads {name}/{MAJORS[name]}; use the version of curate that wrote "
            "it, or a new run folder",
        )
