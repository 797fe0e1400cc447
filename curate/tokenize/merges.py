"""Byte-pair merges: a table of pairs, and the kernel that merges a piece of text with it.

Merging repeats one step until no pair of neighbours is in the table: of the pairs with the lowest rank the leftmost
becomes one symbol (Sennrich et al. 2016, section 3.2). That is what ``tiktoken`` does with ranks and SentencePiece's
BPE with scores, the highest first: there a pair is in the table when what both sides spell together is in the
vocabulary, a symbol is numbered by its rank, and *ties*, where there are any, say for each symbol which is the first of
equal rank. Hugging Face's BPE lists the pairs: there a merge has a number of its own, which is its rank, and *makes*
says which symbol it makes.

A short piece is searched for its lowest rank again and again, a long one keeps a heap: time grows with n log n.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from curate.text.compiled import Ints, Spans, Words, as_int, compiled
from curate.tokenize.pairs import NOTHING, merge_of

FILE: Final = "tokenize/merges.py"
SHORT: Final = 40
"""Up to how many symbols a piece is merged without a heap."""
PLACE: Final = (1 << 32) - 1


class Scratch(NamedTuple):
    """Room for the symbols of one piece: all of one length, but ``heap`` of three times that."""

    symbols: Spans
    merged: Spans
    before: Spans
    after: Spans
    heap: Ints


def scratch(symbols: int) -> Scratch:
    """Return room for a piece of so many symbols: 40 bytes for each."""
    symbol, merged, before, after = (np.empty(symbols, dtype=np.int32) for _ in range(4))
    return Scratch(symbol, merged, before, after, np.empty(3 * symbols, np.int64))


@compiled
def _rank(ties: Any, number: int) -> int:
    """The number of the first merge of equal rank; `ties` is None where every rank is another."""
    if ties is None:
        return number
    return number if number == NOTHING else as_int(ties[number])


@compiled
def _made(makes: Any, number: int) -> int:
    """The symbol that a merge makes; `makes` is None where it has the number of the merge."""
    if makes is None:
        return number
    return as_int(makes[number])


@compiled
def merge(room: Any, count: int, known: Any) -> int:
    """Merge the first `count` symbols of the scratch in place; return how many are left.

    The scratch has room for `count`, and ``merged[i]`` is the `merge_of` of symbols i and i + 1, i < count - 1.
    """
    symbols, merged, before, after, heap = room
    table, shift, ties, makes = known
    merged[count - 1] = NOTHING
    if count <= SHORT:
        return _merge_short(symbols, merged, count, table, shift, ties, makes)
    return _merge_long(symbols, merged, before, after, heap, count, table, shift, ties, makes)


@compiled
def _merge_short(symbols: Spans, merged: Spans, count: int, table: Words, shift: int, ties: Any, makes: Any) -> int:
    while count > 1:
        lowest, place = NOTHING, -1
        for at in range(count - 1):
            if merged[at] < lowest:
                lowest, place = as_int(merged[at]), at
        if place < 0:
            break
        if ties is not None:
            place = 0
            while _rank(ties, as_int(merged[place])) != as_int(ties[lowest]):
                place += 1
            lowest = as_int(merged[place])
        symbol = _made(makes, lowest)
        symbols[place] = symbol
        count -= 1
        for at in range(place + 1, count):
            symbols[at] = symbols[at + 1]
            merged[at] = merged[at + 1]
        merged[place] = NOTHING
        if place + 1 < count:
            merged[place] = merge_of(table, shift, symbol, as_int(symbols[place + 1]))
        if place > 0:
            merged[place - 1] = merge_of(table, shift, as_int(symbols[place - 1]), symbol)
    return count


@compiled
def _push(heap: Ints, size: int, rank: int, place: int) -> int:
    """Add rank << 32 | place, unless the rank is NOTHING; return the new size."""
    if rank == NOTHING:
        return size
    entry = as_int(rank) << 32 | place
    at = size
    while at > 0:
        parent = (at - 1) >> 1
        if heap[parent] <= entry:
            break
        heap[at] = heap[parent]
        at = parent
    heap[at] = entry
    return size + 1


@compiled
def _drop_first(heap: Ints, size: int) -> int:
    """Remove the smallest entry; return the new size."""
    size -= 1
    entry = heap[size]
    at = 0
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= entry:
            break
        heap[at] = heap[child]
        at = child
    heap[at] = entry
    return size


@compiled
def _merge_long(
    symbols: Spans,
    merged: Spans,
    before: Spans,
    after: Spans,
    heap: Ints,
    count: int,
    table: Words,
    shift: int,
    ties: Any,
    makes: Any,
) -> int:
    size = 0
    for at in range(count):
        before[at], after[at] = at - 1, at + 1
        size = _push(heap, size, _rank(ties, as_int(merged[at])), at)
    while size > 0:
        entry = heap[0]
        size = _drop_first(heap, size)
        place = entry & PLACE
        number = as_int(merged[place])
        # an entry is out of date when its pair has changed or gone: an absorbed symbol merges with nothing
        if _rank(ties, number) != entry >> 32:
            continue
        symbol = _made(makes, number)
        gone = as_int(after[place])
        following, previous = as_int(after[gone]), as_int(before[place])
        symbols[place], after[place] = symbol, following
        merged[place] = merged[gone] = NOTHING
        if following < count:
            before[following] = place
            merged[place] = merge_of(table, shift, symbol, as_int(symbols[following]))
            size = _push(heap, size, _rank(ties, as_int(merged[place])), place)
        if previous >= 0:
            merged[previous] = merge_of(table, shift, as_int(symbols[previous]), symbol)
            size = _push(heap, size, _rank(ties, as_int(merged[previous])), previous)
    left, at = 0, 0
    while at < count:
        symbols[left] = symbols[at]
        left += 1
        at = as_int(after[at])
    return left
