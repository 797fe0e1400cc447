"""The numba code behind `copies`: a hash table of 128-bit keys, and what is counted of each.

Keys are numbered in the order in which they first come; a table holds these numbers, at most half as many as slots.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from curate.text.compiled import Ints, Words, cached, compiled, source_digest

K1, K2, U32 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xFF51AFD7ED558CCD), np.uint64(32)
NONE: Any = np.int64(-1)


@compiled
def _place(key: Words, row: int, known: Words, firsts: Ints, slots: Ints) -> int:
    """The slot of a key, or the free one where it belongs."""
    mixed = (key[row, 0] ^ key[row, 1] * K1) * K2
    mask = np.uint64(slots.size - 1)
    slot = (mixed >> U32) & mask
    while slots[slot] != NONE:
        first = firsts[slots[slot]]
        if known[first, 0] == key[row, 0] and known[first, 1] == key[row, 1]:
            break
        slot = (slot + np.uint64(1)) & mask
    return np.int64(slot)  # type: ignore[return-value]


@compiled
def _earlier(documents: Words, row: int, other: int) -> bool:
    """Whether a document is better than another: by rank, then id."""
    for word in range(3):
        if documents[row, word] != documents[other, word]:
            return bool(documents[row, word] < documents[other, word])
    return False


def _compile(sources: str) -> tuple[Any, Any, Any, Any]:
    """Return the compiled loops over keys; `sources` is a `source_digest`."""

    @cached
    def _number(key: Words, slots: Ints, numbers: Ints, firsts: Ints) -> int:
        """Write the number of each key, and the row in which each number first comes; return how many there are."""
        sources  # noqa: B018 - part of the key of the cache on disk
        slots[:] = NONE
        used = 0
        for row in range(key.shape[0]):
            slot = _place(key, row, key, firsts, slots)
            if slots[slot] == NONE:
                slots[slot], firsts[used] = used, row
                used += 1
            numbers[row] = slots[slot]
        return used

    @cached
    def _find(key: Words, known: Words, firsts: Ints, slots: Ints, rows: Ints) -> None:
        """Write the row of each key among the known ones, or NONE."""
        sources  # noqa: B018 - part of the key of the cache on disk
        for row in range(key.shape[0]):
            number = slots[_place(key, row, known, firsts, slots)]
            rows[row] = NONE if number == NONE else firsts[number]

    @cached
    def _count(numbers: Ints, documents: Words, by_document: bool, lasts: Ints, best: Ints, counts: Words) -> None:
        """Count the rows or the documents of each number, and write the row of its best document. `lasts` is room; it
        and `best` begin as the first row of each."""
        sources  # noqa: B018 - part of the key of the cache on disk
        for row in range(numbers.size):
            number = numbers[row]
            last = lasts[number]
            again = last != row and not (_earlier(documents, row, last) or _earlier(documents, last, row))
            if not (by_document and again):
                counts[number] += np.uint64(1)
            lasts[number] = row
            if _earlier(documents, row, best[number]):
                best[number] = row

    @cached
    def _first_of_text(numbers: Ints, texts: Ints, last_text: Ints, first: Any) -> None:
        """Write whether each row is the first of its number in its text. `last_text` is room, all NONE."""
        sources  # noqa: B018 - part of the key of the cache on disk
        for row in range(numbers.size):
            first[row] = last_text[numbers[row]] != texts[row]
            last_text[numbers[row]] = texts[row]

    return _number, _find, _count, _first_of_text


number_rows, find_rows, count_rows, mark_first_of_text = _compile(source_digest("dedup/copies_kernel.py"))
