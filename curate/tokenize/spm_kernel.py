"""SentencePiece BPE on UTF-8 bytes: a text in pieces that no merge can cross, and the ids of one piece.

Two neighbouring characters that no vocabulary entry has side by side are never merged, nor is anything across them: the
text can be cut there, and what is between two cuts encoded alone, with the very ids of the whole. In a vocabulary whose
entries have a space only in front, as LLaMA's, those are mostly words. Which characters are neighbours in some entry is
kept exactly for ASCII and in a hashed bitmap for the rest, where a collision only means a cut less.

A space is U+2581 in the vocabulary; a U+2581 of the text itself, and every character that is not in the vocabulary,
becomes the byte pieces of its UTF-8.
"""

from __future__ import annotations

import itertools
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.text.compiled import Bytes, Spans, as_int, cached, compiled, source_digest
from curate.tokenize import pairs
from curate.tokenize.merges import merge
from curate.tokenize.pairs import MAX_SYMBOLS, merge_of

FILE: Final = "tokenize/spm_kernel.py"
SPACE: Final = 0x2581
BLANK: Final = 0x20
BITMAP_BITS: Final = 20
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
U32 = np.uint64(32)
BITMAP_SHIFT = np.uint64(64 - BITMAP_BITS)


class Pieces(NamedTuple):
    """What encoding needs of a model: its entries with their ids, and its 256 byte pieces by byte.

    What can be merged follows from ``scores``, one for each entry, or is listed in ``merges``: (left, right, result) as
    numbers of entries, in the order of their ranks.
    """

    strings: list[str]
    ids: list[int]
    byte_ids: list[int]
    dummy_prefix: bool
    scores: list[float] | None = None
    merges: NDArray[np.int32] | None = None


class Tables(NamedTuple):
    """What encoding reads.

    ``symbols`` of each code point int32 [0x110000], `MAX_SYMBOLS` + code point where it is no entry; ``ids`` of each
    symbol and ``byte_ids`` of each byte; ``joins`` of two ASCII characters uint8 [128 * 128], ``bitmap`` of the others;
    ``singles``: the id of an ASCII character alone; ``prefix``: the symbol of the space before a text, -1 without one.
    """

    symbols: Spans
    ids: Spans
    byte_ids: Spans
    joins: Bytes
    bitmap: Bytes
    singles: Spans
    prefix: int
    known: pairs.Pairs


def supports(pieces: Pieces) -> bool:
    """Return whether there are tables for these pieces: every character of an entry is one itself, the space is
    among them, and sizes are within its tables."""
    known = set(pieces.strings)
    return (
        chr(SPACE) in known
        and "" not in known
        and all(char in known for char in set().union(*known))
        and not any(np.isnan(pieces.scores or []))
        and len(known) <= MAX_SYMBOLS
        and max(len(one.encode()) for one in known) <= pairs.MAX_TOKEN_BYTES
        and len(pieces.byte_ids) == 256
    )


def _pairs(pieces: Pieces) -> tuple[NDArray[np.int64], pairs.Pairs]:
    """Return which entry each symbol is, and the pairs of symbols."""
    if pieces.merges is not None:
        left, right, makes = (np.ascontiguousarray(column) for column in pieces.merges.T)
        return np.arange(len(pieces.strings)), pairs.listed(left, right, makes)
    scores = np.array(pieces.scores)
    order = np.argsort(-scores, kind="stable")
    scores = scores[order]
    known = pairs.spelled(pairs.vocabulary([pieces.strings[at].encode() for at in order]))
    first = np.flatnonzero(np.concatenate([[True], scores[1:] != scores[:-1]]))
    ties = np.repeat(first, np.diff([*first, len(scores)])).astype(np.int32)
    return order, known._replace(ties=ties)


def tables(pieces: Pieces) -> Tables:
    """Return the tables of pieces that are supported: about 6 MB for 32,000 of them."""
    order, known = _pairs(pieces)
    strings = [pieces.strings[at] for at in order]
    ids = np.array(pieces.ids, dtype=np.int32)[order]
    symbols = np.arange(MAX_SYMBOLS, MAX_SYMBOLS + 0x110000, dtype=np.int32)
    for number, string in enumerate(strings):
        if len(string) == 1:
            symbols[ord(string)] = number
    prefix = int(symbols[SPACE])
    # in a text a space stands for the entry, and U+2581 for itself
    symbols[BLANK], symbols[SPACE] = prefix, MAX_SYMBOLS + SPACE
    byte_ids = np.array(pieces.byte_ids, dtype=np.int32)
    singles = np.array([ids[at] if at < MAX_SYMBOLS else byte_ids[byte] for byte, at in enumerate(symbols[:128])])
    joins, bitmap = _neighbours(strings)
    prefix = prefix if pieces.dummy_prefix else -1
    return Tables(symbols, ids, byte_ids, joins, bitmap, singles.astype(np.int32), prefix, known)


def _neighbours(strings: list[str]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return which characters of a text may be merged: (joins, bitmap) of `Tables`."""
    joins = np.zeros(128 * 128, dtype=np.uint8)
    bitmap = np.zeros(1 << BITMAP_BITS >> 3, dtype=np.uint8)
    found = {(a, b) for string in strings for a, b in itertools.pairwise(string)}
    for pair in found:
        left, right = (BLANK if ord(char) == SPACE else ord(char) for char in pair)
        if left < 128 and right < 128:
            joins[left << 7 | right] = 1
        else:
            _ADD(bitmap, left, right)
    return joins, bitmap


@compiled
def _bit(left: int, right: int) -> int:
    """The place of a pair of code points in the bitmap."""
    pair = np.uint64(left) << U32 | np.uint64(right)
    mixed = (pair ^ (pair >> U32) * MULTIPLIER) * MULTIPLIER
    return as_int(mixed >> BITMAP_SHIFT)


@compiled
def _point(data: Bytes, at: int) -> tuple[int, int]:
    """The code point at `at`, of valid UTF-8, and its number of bytes."""
    first = as_int(data[at])
    if first < 0x80:
        return first, 1
    if first < 0xE0:
        return (first & 0x1F) << 6 | (as_int(data[at + 1]) & 0x3F), 2
    if first < 0xF0:
        point = (first & 0x0F) << 12 | (as_int(data[at + 1]) & 0x3F) << 6 | (as_int(data[at + 2]) & 0x3F)
        return point, 3
    point = (first & 0x07) << 18 | (as_int(data[at + 1]) & 0x3F) << 12
    return point | (as_int(data[at + 2]) & 0x3F) << 6 | (as_int(data[at + 3]) & 0x3F), 4


@compiled
def piece_end(data: Bytes, at: int, end: int, joins: Bytes, bitmap: Bytes) -> int:
    """Where the first cut after `at` < `end` is."""
    left, size = _point(data, at)
    at += size
    while at < end:
        right, size = _point(data, at)
        if left < 128 and right < 128:
            if joins[left << 7 | right] == 0:
                break
        else:
            if left == SPACE or right == SPACE:
                break
            bit = _bit(left, right)
            if (bitmap[bit >> 3] >> (bit & 7)) & 1 == 0:
                break
        left = right
        at += size
    return at


@compiled
def encode_piece(data: Bytes, at: int, stop: int, prefix: int, tables: Any, room: Any, out: Any, filled: int) -> int:
    """Write the ids of ``data[at:stop]``, after the symbol `prefix` unless it is negative; return where they end. The
    scratch and the output have room for one more than there are bytes."""
    symbols, ids, byte_ids, known = tables[0], tables[1], tables[2], tables[7]
    found, merged = room[0], room[1]
    count = 0
    if prefix >= 0:
        found[0] = prefix
        count = 1
    while at < stop:
        point, size = _point(data, at)
        found[count] = symbols[point]
        count += 1
        at += size
    for one in range(count - 1):
        merged[one] = merge_of(known[0], known[1], as_int(found[one]), as_int(found[one + 1]))
    for one in range(merge(room, count, known)):
        symbol = as_int(found[one])
        if symbol < MAX_SYMBOLS:
            out[filled] = ids[symbol]
            filled += 1
        else:
            filled = _write_bytes(symbol - MAX_SYMBOLS, byte_ids, out, filled)
    return filled


@compiled
def _write_bytes(point: int, byte_ids: Spans, out: Any, filled: int) -> int:
    """Write the byte pieces of a code point; return where they end."""
    if point < 0x80:
        out[filled] = byte_ids[point]
        return filled + 1
    if point < 0x800:
        out[filled] = byte_ids[0xC0 | point >> 6]
    else:
        if point < 0x10000:
            out[filled] = byte_ids[0xE0 | point >> 12]
        else:
            out[filled] = byte_ids[0xF0 | point >> 18]
            out[filled + 1] = byte_ids[0x80 | (point >> 12 & 0x3F)]
            filled += 1
        out[filled + 1] = byte_ids[0x80 | (point >> 6 & 0x3F)]
        filled += 1
    out[filled + 1] = byte_ids[0x80 | (point & 0x3F)]
    return filled + 2


def _compile(sources: str) -> Any:
    """Return what sets a bit of the bitmap; `sources` is a `source_digest`."""

    @cached
    def add(bitmap: Bytes, left: int, right: int) -> None:
        sources  # noqa: B018 - part of the key of the cache on disk
        bit = _bit(left, right)
        bitmap[bit >> 3] |= np.uint8(1 << (bit & 7))

    return add


_ADD: Final = _compile(source_digest(FILE))
