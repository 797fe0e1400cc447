"""Finds repeated lines, paragraphs and segments in linear time, with hash tables that documents share as scratch space.

Equality is exact: keys are contents, or are compared byte by byte. A salt of the process makes collisions unpredictable
for hostile text. It decides only where a table holds a key, and so never reaches the result.

A table is two scratch arrays: `slots` holds keys, 0 in an empty slot; `owners` what the key of a slot stands for.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from curate.filters.text_statistics_bytes import K1, bytes_word, equal_bytes, hash_bytes
from curate.text.compiled import Bytes, Ints, Spans, Words, as_int, compiled, inlined

LONG = np.uint64(0xFF << 56)  # marks the key of a span of eight bytes or more
FIRST = (1 << 30) - 1  # an owner is the first span with its content,
REPEATED = 1 << 30  # and whether there is another one


@inlined
def table_bits(items: int) -> Any:
    """How many bits the index of a table has that so many items fill to half at most."""
    bits = 4
    while 1 << bits < 2 * items:
        bits += 1
    return np.uint64(bits)


@inlined
def clear(slots: Words, size: Any) -> None:
    for i in range(as_int(size)):
        slots[i] = np.uint64(0)


@inlined
def _key(data: Bytes, start: int, size: int, seed: Any) -> Any:
    """The content and size of a short span, or the hash of a long one."""
    if size < 8:
        return bytes_word(data, start, size) | np.uint64(size) << np.uint64(56)
    return hash_bytes(data, start, size, seed) | LONG


@compiled
def _same(data: Bytes, spans: Spans, a: int, b: int) -> bool:
    """Whether two spans of eight bytes or more are equal."""
    size = as_int(spans[b, 1])
    return spans[a, 1] == size and equal_bytes(data, as_int(spans[a, 0]), as_int(spans[b, 0]), size)


@inlined
def _enter(data: Bytes, spans: Spans, i: int, bits: Any, slots: Words, owners: Spans, seed: Any) -> tuple[Any, bool]:
    """Find or make the slot of span `i`; return it, and whether it was there."""
    mask = (np.uint64(1) << bits) - np.uint64(1)
    key = _key(data, as_int(spans[i, 0]), as_int(spans[i, 1]), seed)
    slot = ((key ^ seed) * K1) >> (np.uint64(64) - bits)
    # Branches, though they mispredict: without them each lookup would wait for the stores of the one before it
    while True:
        held = slots[slot]
        if held == key:
            if key < LONG or _same(data, spans, as_int(owners[slot]) & FIRST, i):
                owners[slot] |= REPEATED
                return slot, True
        elif held == np.uint64(0):
            slots[slot] = key
            owners[slot] = i
            return slot, False
        slot = (slot + np.uint64(1)) & mask


@compiled
def count_duplicates(
    data: Bytes, spans: Spans, count: int, slots: Words, owners: Spans, seed: Any, result: Ints
) -> None:
    """Add to result[0] and result[1] the spans (start, size, characters, position) that occurred before, and their
    characters; to result[2] and result[3] those of them whose fifth column, if there is one, is 1."""
    if count < 2:
        return
    bits = table_bits(count)
    clear(slots, np.uint64(1) << bits)
    for i in range(count):
        _, seen = _enter(data, spans, i, bits, slots, owners, seed)
        if seen:
            result[0] += 1
            result[1] += spans[i, 2]
            if spans.shape[1] > 4 and spans[i, 4] == 1:
                result[2] += 1
                result[3] += spans[i, 2]


@compiled
def number_repeated(
    data: Bytes, spans: Spans, count: int, slots: Words, owners: Spans, seed: Any, numbers: Spans, places: Spans
) -> int:
    """Number spans (start, size, ...) by content. Write to `places` which spans occur more than once, in order, and to
    `numbers` their numbers; return how many these are."""
    bits = table_bits(count)
    clear(slots, np.uint64(1) << bits)
    for i in range(count):
        slot, _ = _enter(data, spans, i, bits, slots, owners, seed)
        numbers[i] = as_int(slot)
    repeated = 0
    for i in range(count):
        number = numbers[i]
        places[repeated] = i  # written always, kept if repeated: no branch to mispredict
        numbers[repeated] = number
        repeated += owners[number] >= REPEATED
    return repeated
