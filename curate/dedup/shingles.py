"""Shingles: the set of n-grams of a text, as 32-bit hashes, of which near-duplicates share most (Broder 1997).

A text is first made comparable, as datatrove's MinHash does (`TextNormConfig`; Penedo et al. 2024, arXiv:2406.17557):
lower case; each number becomes ``0``; punctuation becomes a gap; canonical decomposition without combining marks;
white space separates words and nothing else. Where we differ, on purpose:

- *punctuation* is all of Unicode's punctuation, symbols and controls; datatrove lists characters by hand, with ``’``
  but without ``‘``, ``•`` or ``।``;
- invisible format characters (soft hyphens, joiners, byte order marks) are left out, ``ς`` is ``σ``, and every mark
  with a combining class goes, so that canonically equivalent texts have equal shingles;
- words are what stands between gaps; no tokenizer that splits ``cannot`` or guesses at Chinese words comes after.

Texts in scripts without spaces between words (Han, Kana, Thai, Lao, Khmer, Myanmar …) are cut in characters instead,
with the gaps left out. The unit ``auto`` takes characters where at least one in five letters and digits belongs to such
a script (a Latin word has about five letters, a Han character says about as much as a word), and words elsewhere.

The unit ``code`` is for source files: symbols in which every identifier is the same one (`curate.dedup.code`).

A text with fewer than n words (or characters) has no shingles, and so no near-duplicates. Text is taken from Arrow's
UTF-8 buffers; bytes that are no UTF-8 are gaps. Unicode is that of the shipped table (`fold_table`), on every Python.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import pyarrow as pa

from curate.dedup import fold_table
from curate.dedup.fold_kernel import GROWTH, SLACK, collapse_gaps, fold_text
from curate.dedup.shingles_kernel import (
    AUTO,
    BUCKET_BITS,
    CHARACTERS,
    CODE,
    EDGES,
    K1,
    K2,
    SOURCES,
    WORDS,
    Scratch,
    Tables,
    shingle_document,
    sort_unique,
)
from curate.text.buffers import text_buffers
from curate.text.compiled import Bytes, Hashes, Ints, cached, source_digest

Unit = Literal["words", "characters", "auto", "code"]
UNITS: Final[dict[Unit, int]] = {"words": WORDS, "characters": CHARACTERS, "auto": AUTO, "code": CODE}
MAX_NGRAM: Final = 64
_MASK: Final = (1 << 64) - 1


class Shingles(NamedTuple):
    """The shingles of a batch: those of row i are hashes[bounds[i]:bounds[i + 1]], sorted, each once.

    hashes uint32 [all shingles]; bounds int64 [rows + 1].
    """

    hashes: Hashes
    bounds: Ints

    def sizes(self) -> Ints:
        """Return how many shingles each row has, int64 [rows]."""
        return np.diff(self.bounds)


def shingles(text: pa.Array, ngram: int = 5, unit: Unit = "auto") -> Shingles:
    """Return the set of n-grams of each text (large_string or string [rows]); none for null and short texts.

    `ngram` is how many words or characters are one shingle, 1 to 64. Two n-grams of one text share a hash with a
    probability of 2⁻³². Cost: about 2 ns per byte of web text on one core. Memory besides the result: about ten bytes
    per byte of the longest text, of which what is not written stays unused.
    """
    check_ngram(ngram)
    data, bounds = text_buffers(text)
    result = np.empty(int(bounds[-1] - bounds[0]), dtype=np.uint32)  # the system gives its pages as they are touched
    ends = np.zeros(bounds.size, dtype=np.int64)
    scratch = new_scratch(ngram, int(np.diff(bounds).max(initial=0)))
    used = _SHINGLE(data, bounds, UNITS[unit], Tables(*fold_table.load()), scratch, ends, result)
    return Shingles(result[:used].copy(), ends)


def comparable(text: pa.Array) -> pa.Array:
    """Return each text as it is compared, large_string [rows]: the words that shingles are made of, a space between
    them. Null stays null. Done twice, it changes nothing more."""
    data, bounds = text_buffers(text)
    longest = int(np.diff(bounds).max(initial=0))
    result = np.empty(GROWTH * int(bounds[-1] - bounds[0]), dtype=np.uint8)
    ends = np.zeros(bounds.size, dtype=np.int64)
    used = _FOLD(data, bounds, Tables(*fold_table.load()), new_scratch(1, longest), ends, result)
    missing = pa.array(text.is_valid()).buffers()[1] if text.null_count else None
    buffers = [missing, pa.py_buffer(ends), pa.py_buffer(result[:used].tobytes())]
    return pa.Array.from_buffers(pa.large_string(), len(text), buffers)


def hash_shingle(units: Sequence[str]) -> int:
    """Return the 32-bit hash of one shingle, given as its words or characters in order: the definition in plain Python.

    It is a `hashfunc` for datasketch: a ``MinHash(hashfunc=hash_shingle)`` updated with the n-grams of a text holds
    what `curate.dedup.minhash.signatures` computes. A word's hash mixes its UTF-8 in blocks of eight bytes; that of an
    n-gram is a polynomial of its words' hashes, so that the kernel rolls it from one n-gram to the next.
    """
    rolling = 0
    for unit in units:
        value = int(K1)
        encoded = unit.encode()
        for start in range(0, len(encoded), 8):
            value = (value ^ int.from_bytes(encoded[start : start + 8], "little")) * int(K2) & _MASK
            value = (value ^ value >> 32) * int(K1) & _MASK
        rolling = (rolling * int(K1) + value) & _MASK
    return ((rolling ^ rolling >> 32) * int(K2) & _MASK) >> 32


def check_ngram(ngram: int) -> None:
    """Raise ValueError unless 1 <= ngram <= MAX_NGRAM."""
    if not 1 <= ngram <= MAX_NGRAM:
        raise ValueError(f"ngram is {ngram}; a shingle has 1 to {MAX_NGRAM} words or characters")


def new_scratch(ngram: int, longest: int) -> Scratch:
    """Return scratch for documents of at most so many bytes; its pages are real once they are written."""
    return Scratch(
        np.empty(GROWTH * longest + SLACK, dtype=np.uint8),
        np.empty(ngram, dtype=np.uint64),
        np.empty(EDGES, dtype=np.int64),
        np.empty(longest, dtype=np.uint32),
        np.empty(longest, dtype=np.uint32),
        np.empty(1 << BUCKET_BITS, dtype=np.uint32),
    )


def _compile(sources: str) -> tuple[Any, Any]:
    """Return the compiled loops over documents; `sources` is a `source_digest`."""

    @cached
    def _shingle(
        data: Bytes, bounds: Ints, unit: int, tables: Tables, scratch: Scratch, ends: Ints, result: Hashes
    ) -> int:
        sources  # noqa: B018 - part of the key of the cache on disk
        used = 0
        for row in range(bounds.size - 1):
            count = shingle_document(data[bounds[row] : bounds[row + 1]], unit, tables, scratch)
            used += sort_unique(scratch, count, result[used:])
            ends[row + 1] = used
        return used

    @cached
    def _fold(data: Bytes, bounds: Ints, tables: Tables, scratch: Scratch, ends: Ints, result: Bytes) -> int:
        sources  # noqa: B018 - part of the key of the cache on disk
        used = 0
        for row in range(bounds.size - 1):
            document = data[bounds[row] : bounds[row + 1]]
            size, _, _ = fold_text(document, tables.index, tables.entries, tables.pairs, scratch.folded)
            used += collapse_gaps(scratch.folded, size, result[used:])
            ends[row + 1] = used
        return used

    return _shingle, _fold


_SHINGLE, _FOLD = _compile(source_digest(*SOURCES))
