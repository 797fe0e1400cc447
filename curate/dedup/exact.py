"""Exact dedup: documents whose normalised texts have the same xxh3-128 are one; the best of them stays.

Kept is the document of the source with the highest priority, then of the best quality, then with the smallest id.
Normalisation is deliberately small: ``none`` compares bytes; ``whitespace`` (default) collapses every run of white
space (Unicode White_Space and the separators U+001C to U+001F) to one space and strips the ends, so that line breaks
and indentation do not tell copies apart; ``lower_alphanumeric`` keeps letters and digits alone, in lower case. No
Unicode normal form is applied: differently composed characters are different texts. A text of which nothing is left is
no copy of anything.

Two different texts share a key with a probability of about n² / 2¹²⁹. xxh3 is no cryptographic hash: an author who
wants two of his own pages to collide can do that, and loses one of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.dedup.keys import Dedup, GroupSettings, Rows, hash_words, priority_rank

Normalise = Literal["none", "whitespace", "lower_alphanumeric"]

_STRINGS_AT_ONCE: Final = 64
_NOT_ALPHANUMERIC: Final = r"[^\pL\pM\pN]+"


class ExactSettings(GroupSettings):
    """Settings of an exact dedup step: what of a text is compared."""

    normalise: Normalise = "whitespace"


def exact_keys(text: pa.Array, batch: pa.Table, settings: ExactSettings, priorities: Mapping[str, int]) -> Rows:
    """Return the exchange rows of a batch; see `Dedup`. Documents whose normalised text is empty have no key."""
    key, valid = hash_words(_normalised_bytes(text, settings.normalise))
    rank = priority_rank(batch.column("source"), priorities)
    return Rows(key, np.where(valid, rank, np.uint64(0)), valid)


def _normalised_bytes(text: pa.Array, how: Normalise) -> Iterator[bytes | memoryview | None]:
    """Yield what is compared of each text, as UTF-8; None where nothing is left."""
    if how == "whitespace":
        # str.split is three times as fast as Arrow's regular expressions here, and the same in every Python version
        return (" ".join(one.split()).encode() or None if one else None for one in _strings(text))
    if how == "lower_alphanumeric":
        text = pc.replace_substring_regex(pc.utf8_lower(text), _NOT_ALPHANUMERIC, "")
    return _slices(text)


def _strings(text: pa.Array) -> Iterator[str | None]:
    """Yield the texts one by one, with few of them as Python strings at a time."""
    for start in range(0, len(text), _STRINGS_AT_ONCE):
        yield from text.slice(start, _STRINGS_AT_ONCE).to_pylist()


def _slices(text: pa.Array) -> Iterator[memoryview | None]:
    """Yield the UTF-8 bytes of each text without copying them; None for empty and null texts."""
    offsets = np.frombuffer(text.buffers()[1], dtype=np.int64)[text.offset : text.offset + len(text) + 1].tolist()
    data = memoryview(text.buffers()[2] or b"")
    for start, end in itertools.pairwise(offsets):
        yield data[start:end] if end > start else None


EXACT: Final = Dedup(ExactSettings, exact_keys, needs_text=True, version=1, libraries=("pyarrow", "xxhash"))
