"""UTF-8 in compiled code: one character decoded, its entry in a table, runs of ASCII letters, masks for eight bytes."""

from __future__ import annotations

from typing import Any

import numpy as np

from curate.text.compiled import Bytes, as_int, compiled, inlined, letters_ahead

# eight bytes in a word
SPACES = np.uint64(0x2020202020202020)
LOW_BITS = np.uint64(0x7F7F7F7F7F7F7F7F)
TOP_BITS = np.uint64(0x8080808080808080)
# added to bytes below 0x80 they carry into the top bit from the named character on
FROM_A, AFTER_Z = np.uint64(0x1F1F1F1F1F1F1F1F), np.uint64(0x0505050505050505)
FROM_0, AFTER_9 = np.uint64(0x5050505050505050), np.uint64(0x4646464646464646)


@inlined
def decode(data: Bytes, at: int, end: int) -> tuple[int, int]:
    """The code point at `at` and its bytes, as CPython decodes with errors="surrogateescape": strict UTF-8; a byte that
    belongs to no valid sequence is the lone surrogate 0xDC00 + byte."""
    first = as_int(data[at])
    if first < 0x80:
        return first, 1
    left = end - at
    if 0xC2 <= first <= 0xDF and left >= 2:
        second = as_int(data[at + 1])
        if second & 0xC0 == 0x80:
            return (first & 0x1F) << 6 | (second & 0x3F), 2
    elif 0xE0 <= first <= 0xEF and left >= 3:
        second = as_int(data[at + 1])
        third = as_int(data[at + 2])
        low = 0xA0 if first == 0xE0 else 0x80
        high = 0x9F if first == 0xED else 0xBF
        if low <= second <= high and third & 0xC0 == 0x80:
            return (first & 0x0F) << 12 | (second & 0x3F) << 6 | (third & 0x3F), 3
    elif 0xF0 <= first <= 0xF4 and left >= 4:
        second = as_int(data[at + 1])
        third = as_int(data[at + 2])
        fourth = as_int(data[at + 3])
        low = 0x90 if first == 0xF0 else 0x80
        high = 0x8F if first == 0xF4 else 0xBF
        if low <= second <= high and third & 0xC0 == 0x80 and fourth & 0xC0 == 0x80:
            return (first & 0x07) << 18 | (second & 0x3F) << 12 | (third & 0x3F) << 6 | (fourth & 0x3F), 4
    return 0xDC00 + first, 1


@compiled
def count_characters(data: Bytes, end: int) -> int:
    """How many characters the first `end` bytes hold."""
    at = 0
    count = 0
    while at < end:
        at += decode(data, at, end)[1]
        count += 1
    return count


@inlined
def entry_at(index: Any, entries: Any, point: int) -> int:
    """The entry of a code point in a two-stage table (`curate.text.tables`)."""
    return as_int(entries[(as_int(index[point >> 8]) << 8) | (point & 0xFF)])


@inlined
def letters_end(data: Bytes, at: int) -> int:
    """Where the run of ASCII letters ends that begins at `at`, 32 bytes at a time."""
    while at + 32 <= data.size:
        count = letters_ahead(data, at)
        at += count
        if count < 32:
            return at
    while at < data.size and 0x61 <= (data[at] | 0x20) <= 0x7A:
        at += 1
    return at
