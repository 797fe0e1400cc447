"""The numba code that makes a text comparable: UTF-8 bytes to folded UTF-8 with spaces for gaps.

ASCII passes in blocks of eight bytes; everything else goes through the shipped table, a character at a time. What
becomes of which character is defined in `curate.dedup.fold_table`, of numbers and gaps in `curate.dedup.shingles`.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from curate.dedup import fold_table
from curate.text.compiled import Bytes, Hashes, as_int, compiled, count_ones, load_u64, store_u64, trailing_zeros
from curate.text.utf8 import AFTER_9, AFTER_Z, FROM_0, FROM_A, LOW_BITS, SPACES, TOP_BITS, decode, entry_at

U1 = np.uint64(1)
U7 = np.uint64(7)
BYTE = np.uint64(0xFF)

PAYLOAD, KIND, UNSPACED, SEPARATOR = fold_table.PAYLOAD, fold_table.KIND, fold_table.UNSPACED, fold_table.SEPARATOR
LETTER, GAP, NOTHING = fold_table.LETTER, fold_table.GAP, fold_table.NOTHING
DIGIT, PAIR, HANGUL = fold_table.DIGIT, fold_table.PAIR, fold_table.HANGUL

GROWTH: Final = 3  # a Hangul syllable of 3 bytes becomes up to three letters of 3 bytes; nothing grows more
SLACK: Final = 80  # blocks of eight bytes are written beyond the end, blocks of 64 are read


@compiled
def _encode(folded: Bytes, at: int, point: int) -> int:
    """Write a code point as UTF-8 and return where it ends."""
    if point < 0x80:
        folded[at] = point
        return at + 1
    if point < 0x800:
        folded[at] = 0xC0 | point >> 6
        folded[at + 1] = 0x80 | point & 0x3F
        return at + 2
    if point < 0x10000:
        folded[at] = 0xE0 | point >> 12
        folded[at + 1] = 0x80 | point >> 6 & 0x3F
        folded[at + 2] = 0x80 | point & 0x3F
        return at + 3
    folded[at] = 0xF0 | point >> 18
    folded[at + 1] = 0x80 | point >> 12 & 0x3F
    folded[at + 2] = 0x80 | point >> 6 & 0x3F
    folded[at + 3] = 0x80 | point & 0x3F
    return at + 4


@compiled
def _digits_end(data: Bytes, at: int, index: Hashes, entries: Hashes) -> tuple[int, bool]:
    """Where the digits end that begin at `at`, past characters that fold to nothing, and whether there is a digit."""
    found = False
    while at < data.size:
        point, width = decode(data, at, data.size)
        kind = entry_at(index, entries, point) & KIND
        if kind != DIGIT and kind != NOTHING:
            break
        found |= kind == DIGIT
        at += width
    return at, found


@compiled
def _number_end(data: Bytes, at: int, index: Hashes, entries: Hashes) -> int:
    """Where the number ends that begins with the digit at `at`: digits, and once a separator with more digits."""
    end, _ = _digits_end(data, at, index, entries)
    if end < data.size:
        point, width = decode(data, end, data.size)
        if entry_at(index, entries, point) & SEPARATOR:
            more, found = _digits_end(data, end + width, index, entries)
            if found:
                return more
    return end


@compiled
def _short_number(data: Bytes, at: int, index: Hashes, entries: Hashes) -> int:
    """How many digits of a number begin at `at` if they are all of it: less than eight of ASCII, with a character of
    ASCII behind that belongs to no number; else 0."""
    if at + 8 > data.size:
        return 0
    word = load_u64(data, at)
    low = word & LOW_BITS
    digits = (low + FROM_0) & ~(low + AFTER_9) & ~word & TOP_BITS
    others = digits ^ TOP_BITS
    if others == 0:
        return 0
    count = trailing_zeros(others) >> 3
    behind = data[at + count]
    return 0 if behind >= 0x80 or entry_at(index, entries, as_int(behind)) & SEPARATOR else count


@compiled
def fold_text(data: Bytes, index: Hashes, entries: Hashes, pairs: Hashes, folded: Bytes) -> tuple[int, int, int]:
    """Write the comparable form of a document to `folded`; return its bytes, its letters and digits, and how many of
    these belong to unspaced scripts. At least eight spaces follow."""
    at = 0
    size = 0
    kept = 0
    unspaced = 0
    while at < data.size:
        if at + 8 <= data.size:
            word = load_u64(data, at)
            low = word & LOW_BITS
            stops = (((low + FROM_0) & ~(low + AFTER_9)) | word) & TOP_BITS  # digits, and what is not ASCII
            lower = low | SPACES
            letters = (lower + FROM_A) & ~(lower + AFTER_Z) & TOP_BITS
            mask = (letters >> U7) * BYTE
            store_u64(folded, size, (lower & mask) | (SPACES & ~mask))
            if stops == 0:  # guessed right, the next block need not wait for what this one holds
                kept += count_ones(letters)
                at += 8
                size += 8
                continue
            count = trailing_zeros(stops) >> 3
            kept += count_ones(letters & ((stops & (~stops + U1)) - U1))
            at += count
            size += count
            digits = _short_number(data, at, index, entries)
            if digits:
                folded[size] = 0x30
                kept += 1
                at += digits
                size += 1
                continue
        point, width = decode(data, at, data.size)
        entry = entry_at(index, entries, point)
        kind = entry & KIND
        if kind == LETTER:
            kept += 1
            unspaced += entry & UNSPACED != 0
            size = _encode(folded, size, (entry & PAYLOAD) or point)
        elif kind == GAP:
            folded[size] = 0x20
            size += 1
        elif kind == DIGIT:
            kept += 1
            folded[size] = 0x30
            size += 1
            at = _number_end(data, at, index, entries)
            continue
        elif kind == HANGUL:
            syllable = point - 0xAC00
            kept += 2
            size = _encode(folded, size, 0x1100 + syllable // 588)
            size = _encode(folded, size, 0x1161 + syllable % 588 // 28)
            if syllable % 28:
                kept += 1
                size = _encode(folded, size, 0x11A7 + syllable % 28)
        elif kind == PAIR:
            kept += 2
            size = _encode(folded, size, as_int(pairs[entry & PAYLOAD, 0]))
            size = _encode(folded, size, as_int(pairs[entry & PAYLOAD, 1]))
        at += width
    store_u64(folded, size, SPACES)
    return size, kept, unspaced


@compiled
def collapse_gaps(folded: Bytes, size: int, target: Bytes) -> int:
    """Copy what `fold_text` wrote with one space for each gap and none at the ends; return the bytes written."""
    end = 0
    for at in range(size):
        if folded[at] != 0x20:
            target[end] = folded[at]
            end += 1
        elif end and at + 1 < size and folded[at + 1] != 0x20:
            target[end] = 0x20
            end += 1
    return end
