"""What every dedup by key has in common: the rows that go into the exchange, and which of equal rows is the best.

Rows of one key are one group. The exchange sorts by (key, rank, quality, id), and the first row of a group is the one
to keep: the smallest rank, then the best quality, then the smallest document id. All are properties of the document,
so no order of files, tasks or arrival can change the choice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from pydantic import BaseModel, ConfigDict, Field

MAX_PRIORITY: Final = (1 << 23) - 1
"""Source priorities lie in -MAX_PRIORITY … MAX_PRIORITY: they share a 64-bit rank with a date in seconds."""
_SIGN: Final = np.uint64(1 << 63)
_WORST: Final = np.uint64((1 << 64) - 1)


class DedupSettings(BaseModel):
    """Base of the settings of a dedup step: frozen, strict, unknown keys refused."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


Scope = Literal["global", "source", "language", "crawl"]
"""Whose documents are compared with each other: all, or those of one source, one language or one crawl."""


class ScopeSettings(DedupSettings):
    """What every dedup step by text can say: documents of different `scope` never meet."""

    scope: Scope = "global"


class GroupSettings(ScopeSettings):
    """What every dedup step that drops documents can say.

    Of a group, the document of the source with the highest priority stays, then the one whose signal `quality` is the
    largest (none is the least), then the one with the smallest id.
    """

    quality: str | None = Field(default=None, min_length=1)


class Rows(NamedTuple):
    """What the exchange needs to know of each document of a batch.

    `key` uint64 [rows, 2], the 128-bit key as big-endian words; `rank` uint64 [rows], smaller is better; `valid` bool
    [rows], false where a document has no key and belongs to no group (its key and rank are 0).
    """

    key: np.ndarray
    rank: np.ndarray
    valid: np.ndarray


class Dedup(NamedTuple):
    """A kind of dedup.

    `settings` is its model; `keys(text, batch, settings, priorities)` returns the `Rows` of a batch, where `text` is
    the text of the step's view (large_string; None unless `needs_text`), `batch` holds the other document columns
    (id, url, date, source), and `priorities` maps each source to its priority (larger is better, 0 when it is not
    listed). `version` changes when its keys or ranks do; `libraries` are the distributions whose versions shape them.
    A kind that `cuts` edits texts and makes a new view of them.
    """

    settings: type[BaseModel]
    keys: Callable[[Any, Any, Any, Mapping[str, int]], Rows] | None
    needs_text: bool
    version: int
    libraries: tuple[str, ...]
    cuts: bool = False


def hash_words(values: Iterable[bytes | memoryview | None]) -> tuple[np.ndarray, np.ndarray]:
    """Return xxh3-128 of each value as uint64 [rows, 2] big-endian words, and bool [rows] false where it is None."""
    digest = xxhash.xxh3_128_digest
    nothing = bytes(16)
    known: list[bool] = []
    digests: list[bytes] = []
    for value in values:
        known.append(value is not None)
        digests.append(nothing if value is None else digest(value))
    words = np.frombuffer(b"".join(digests), dtype=">u8").astype(np.uint64).reshape(-1, 2)
    return words, np.array(known, dtype=bool)


def priority_rank(sources: pa.Array | pa.ChunkedArray, priorities: Mapping[str, int]) -> np.ndarray:
    """Return 24-bit ranks, uint64 [rows]: the higher the priority of its source, the smaller."""
    encoded = one_array(sources).dictionary_encode()
    ranks = [MAX_PRIORITY - priorities.get(name, 0) for name in encoded.dictionary.to_pylist()]
    return np.array(ranks, dtype=np.uint64)[encoded.indices.to_numpy(zero_copy_only=False)]


def quality_rank(values: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Return 64-bit ranks of a numeric signal, uint64 [rows]: the larger the value, the smaller; null is the largest.

    Every int64 and every float64 keeps its place (0.0 and -0.0 are one): nothing is rounded.
    """
    column = one_array(values)
    known = np.asarray(column.is_valid())
    if pa.types.is_integer(column.type):
        bits = pc.fill_null(column.cast(pa.int64()), 0).to_numpy(zero_copy_only=False).view(np.uint64)
        rising = bits ^ _SIGN
    else:
        # IEEE 754: what is positive sorts by its bits, what is negative by their complement
        doubles = pc.fill_null(column.cast(pa.float64()), 0.0).to_numpy(zero_copy_only=False) + 0.0
        bits = doubles.view(np.uint64)
        rising = np.where(bits >= _SIGN, ~bits, bits | _SIGN)
    # the rank of the least int64 is that of null: both are the worst there is
    return np.where(known, ~rising, _WORST)


def scope_words(values: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Return what tells scopes apart, uint64 [rows, 2]: xxh3-128 of each string; nulls are one scope of their own."""
    encoded = one_array(values).dictionary_encode(null_encoding="encode")
    names = (b"" if name is None else b"=" + name.encode() for name in encoded.dictionary.to_pylist())
    words: np.ndarray = hash_words(names)[0][encoded.indices.to_numpy(zero_copy_only=False)]
    return words


def one_array(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return a column as one array."""
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
