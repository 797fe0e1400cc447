"""Hash tables of a vocabulary: which byte strings are in it, and which two of its symbols merge.

How symbols and merges are numbered is explained in `merges`. A text cannot make a lookup slow: the tables are built
once, from the tokenizer's file, and are at most half full.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from curate.text.compiled import Bytes, Ints, Spans, Words, as_int, cached, compiled, load_part, source_digest

FILE: Final = "tokenize/pairs.py"
MAX_SYMBOLS: Final = 1 << 21
MAX_TOKEN_BYTES: Final = 1024
NOTHING: Final = (1 << 31) - 1
"""The number of the merge of a pair that is not in the table: its rank is above all others."""
EMPTY = np.uint64(0xFFFFFFFFFFFFFFFF)
MULTIPLIER, SPREAD = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)
SYMBOL_BITS, PAIR_BITS = np.uint64(21), np.uint64(22)
MERGED = np.uint64((1 << 22) - 1)
U32, ONE, ZERO = np.uint64(32), np.uint64(1), np.uint64(0)
LOW: Final = (1 << 32) - 1


class Vocabulary(NamedTuple):
    """The byte strings of a vocabulary, and how to find one.

    String number i is ``data[offsets[i]:offsets[i + 1]]``; ``slots`` is a hash table, a power of two long: upper half
    of the hash | number, -1 where empty.
    """

    data: Bytes
    offsets: Ints
    slots: Ints


class Pairs(NamedTuple):
    """A hash table of pairs: left symbol << 43 | right symbol << 22 | number of the merge, uint64 [1 << (64 - shift)].

    Behind it lie four bits for each of its places, set where a pair may be: most pairs that are looked up are not in
    the table, and the bits are small enough for the processor's cache.
    ``ties`` and ``makes`` are explained in `merges`; both are None where they are plain.
    """

    table: Words
    shift: int
    ties: Spans | None = None
    makes: Spans | None = None


def vocabulary(strings: Sequence[bytes]) -> Vocabulary:
    """Return the table of distinct, non-empty `strings`, in the order of their ranks.

    The caller keeps to `MAX_SYMBOLS` strings of `MAX_TOKEN_BYTES` bytes.
    """
    offsets = np.cumsum([0, *map(len, strings)], dtype=np.int64)
    slots = np.full(1 << max(4, (2 * len(strings)).bit_length()), -1, dtype=np.int64)
    data: Any = np.frombuffer(b"".join(strings) or b"\0", dtype=np.uint8)
    _FILL(data, offsets, slots)
    return Vocabulary(data, offsets, slots)


def spelled(words: Vocabulary) -> Pairs:
    """Return the pairs of strings that together spell a string of `words`; a symbol is the number of a string."""
    count = _PAIR(*words, np.empty(0, np.uint64), 64)
    bits = max(4, (2 * count).bit_length())
    table = _empty(bits)
    _PAIR(*words, table, 64 - bits)
    return Pairs(table, 64 - bits)


def _empty(bits: int) -> Words:
    return np.concatenate([np.full(1 << bits, EMPTY, np.uint64), np.zeros(1 << bits >> 4, np.uint64)])


def listed(left: Spans, right: Spans, makes: Spans) -> Pairs:
    """Return the table of distinct pairs ``left[i], right[i]`` in the order of their ranks; each becomes ``makes[i]``.

    Symbols are below `MAX_SYMBOLS`, and there are at most twice as many pairs.
    """
    bits = max(4, (2 * len(left)).bit_length())
    table = _empty(bits)
    _ENTER(left, right, table, 64 - bits)
    return Pairs(table, 64 - bits, None, makes)


def merges_of(known: Pairs, left: Spans, right: Spans) -> Spans:
    """Return the number of the merge of each pair ``left[i], right[i]``, NOTHING if there is none: int32 [pairs]."""
    merged = np.empty(len(left), dtype=np.int32)
    _LOOK_UP(known.table, known.shift, left, right, merged)
    return merged


@compiled
def _hash(data: Bytes, start: int, end: int) -> int:
    """A hash of ``data[start:end]``, not negative."""
    state = np.uint64(end - start) * SPREAD
    for at in range(start, end, 8):
        state = (state ^ load_part(data, at, end - at)) * MULTIPLIER
        state ^= state >> U32
    return as_int((state * SPREAD) >> np.uint64(1))


@compiled
def find(words: Bytes, offsets: Ints, slots: Ints, data: Bytes, start: int, end: int) -> int:
    """The number of the string ``data[start:end]`` in a vocabulary; -1 if it is not there."""
    size = end - start
    if size > MAX_TOKEN_BYTES:
        return -1
    mixed = _hash(data, start, end)
    mask = slots.size - 1
    slot = mixed & mask
    while slots[slot] >= 0:
        if (slots[slot] ^ mixed) & ~LOW == 0:
            number = slots[slot] & LOW
            at = offsets[number]
            if offsets[number + 1] - at == size:
                same = 0
                while same < size and words[at + same] == data[start + same]:
                    same += 1
                if same == size:
                    return number
        slot = (slot + 1) & mask
    return -1


@compiled
def _pair_hash(pair: Any, shift: int) -> int:
    """A hash of so many bits that its upper part is the slot of a pair, and all of it the place of its bit."""
    return as_int((pair * MULTIPLIER ^ (pair >> SYMBOL_BITS) * SPREAD) >> np.uint64(shift - 2))


@compiled
def _enter(table: Words, shift: int, pair: Any, number: int) -> None:
    size = 1 << (64 - shift)
    mixed = _pair_hash(pair, shift)
    table[size + (mixed >> 6)] |= ONE << np.uint64(mixed & 63)
    slot = mixed >> 2
    while table[slot] != EMPTY:
        slot = (slot + 1) & (size - 1)
    table[slot] = pair << PAIR_BITS | np.uint64(number)


@compiled
def merge_of(table: Words, shift: int, left: int, right: int) -> int:
    """The number of the merge of a pair, NOTHING if there is none. A symbol from `MAX_SYMBOLS` on has no pair."""
    if left >= MAX_SYMBOLS or right >= MAX_SYMBOLS:
        return NOTHING
    size = 1 << (64 - shift)
    pair = np.uint64(left) << SYMBOL_BITS | np.uint64(right)
    mixed = _pair_hash(pair, shift)
    if (table[size + (mixed >> 6)] >> np.uint64(mixed & 63)) & ONE == ZERO:
        return NOTHING
    slot = mixed >> 2
    while True:
        found = table[slot]
        if found >> PAIR_BITS == pair:
            return as_int(found & MERGED)
        if found == EMPTY:
            return NOTHING
        slot = (slot + 1) & (size - 1)


def _compile(sources: str) -> tuple[Any, Any, Any, Any]:
    """Return the compiled builders of the tables, and before the last a loop over pairs; `sources` is a digest."""

    @cached
    def fill(data: Bytes, offsets: Ints, slots: Ints) -> None:
        sources  # noqa: B018 - part of the key of the cache on disk
        mask = slots.size - 1
        for number in range(offsets.size - 1):
            mixed = _hash(data, offsets[number], offsets[number + 1])
            slot = mixed & mask
            while slots[slot] >= 0:
                slot = (slot + 1) & mask
            slots[slot] = mixed & ~LOW | number

    @cached
    def pair(data: Bytes, offsets: Ints, slots: Ints, table: Words, shift: int) -> int:
        """Count the pairs, and enter them if `table` is not empty."""
        sources  # noqa: B018 - part of the key of the cache on disk
        count = 0
        for number in range(offsets.size - 1):
            start, end = offsets[number], offsets[number + 1]
            for cut in range(start + 1, end):
                left = find(data, offsets, slots, data, start, cut)
                if left < 0:
                    continue
                right = find(data, offsets, slots, data, cut, end)
                if right < 0:
                    continue
                count += 1
                if table.size > 0:
                    _enter(table, shift, np.uint64(left) << SYMBOL_BITS | np.uint64(right), number)
        return count

    @cached
    def look_up(table: Words, shift: int, left: Spans, right: Spans, merged: Spans) -> None:
        sources  # noqa: B018 - part of the key of the cache on disk
        for at in range(left.size):
            merged[at] = merge_of(table, shift, as_int(left[at]), as_int(right[at]))

    @cached
    def enter(left: Spans, right: Spans, table: Words, shift: int) -> None:
        sources  # noqa: B018 - part of the key of the cache on disk
        for number in range(left.size):
            _enter(table, shift, np.uint64(left[number]) << SYMBOL_BITS | np.uint64(right[number]), number)

    return fill, pair, look_up, enter


_FILL, _PAIR, _LOOK_UP, _ENTER = _compile(source_digest(FILE))
