"""Counts the characters in frequent and in repeated n-grams of segments, exactly and in linear time.

An n-gram is named exactly by the numbers of the two (n-1)-grams in it. One that holds an (n-1)-gram that occurs once
occurs once itself, so that only places whose both (n-1)-grams are repeated are looked up: in running text they vanish
quickly, and on the most repetitive text there are at most as many as segments for each n.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from curate.filters.text_statistics_bytes import K1
from curate.filters.text_statistics_repetition import clear, table_bits
from curate.text.compiled import Ints, Spans, Words, as_int, compiled

U1 = np.uint64(1)
U32 = np.uint64(32)
U64 = np.uint64(64)


@compiled
def _pair_adjacent(alive: int, numbers: Spans, places: Spans, keys: Words) -> int:
    """Write to `keys` the pairs of numbers at adjacent places, and to `places` where; return how many these are."""
    found = 0
    for k in range(alive - 1):
        # written always, kept if adjacent: no branch to mispredict
        keys[found] = np.uint64(numbers[k] + 1) << U32 | np.uint64(numbers[k + 1])
        places[found] = places[k]
        found += places[k + 1] == places[k] + 1
    return found


@compiled
def _number_pairs(keys: Words, found: int, slots: Words, counts: Spans, seed: Any, numbers: Spans) -> None:
    """Number pairs: `numbers` takes the number of each, `counts` how often each number occurs."""
    bits = table_bits(found)
    mask = (U1 << bits) - U1
    clear(slots, U1 << bits)
    for k in range(found):
        key = keys[k]
        slot = ((key ^ seed) * K1) >> (U64 - bits)
        # Branches, though they mispredict: without them each lookup would wait for the stores of the one before it
        while slots[slot] != key:
            if slots[slot] == np.uint64(0):
                slots[slot] = key
                counts[slot] = 0
                break
            slot = (slot + U1) & mask
        counts[slot] += 1
        numbers[k] = as_int(slot)


@compiled
def _top_characters(segments: Spans, n: int, found: int, numbers: Spans, places: Spans, counts: Spans) -> int:
    """The characters of all copies of the first of the most frequent n-grams, with a space between segments."""
    best = 1
    place = 0
    for k in range(found):
        if counts[numbers[k]] > best:
            best = counts[numbers[k]]
            place = places[k]
    characters = n - 1
    for i in range(place, place + n):
        characters += segments[i, 2]
    return best * characters


@compiled
def _duplicate_characters(
    segments: Spans, n: int, alive: int, numbers: Spans, places: Spans, counts: Spans
) -> tuple[int, int]:
    """The characters in duplicate n-grams, found left to right and jumped over, and in any duplicate n-gram.

    In the first sum an n-gram seen before counts and is jumped over, so that no character counts twice; what begins in
    a jump is not seen. In the second each one counts from where the last one ended. A count is done with here, and
    marks what was seen: -1 by the second alone, 0 by both.
    """
    jumped = 0
    union = 0
    resume = 0
    covered = 0
    for k in range(alive):
        place = places[k]
        seen = counts[numbers[k]]
        if seen <= 0:
            for i in range(max(place, covered), place + n):
                union += segments[i, 2]
            covered = place + n
        else:
            counts[numbers[k]] = -1
        if place < resume:
            continue
        if seen == 0:
            for i in range(place, place + n):
                jumped += segments[i, 2]
            resume = place + n
        else:
            counts[numbers[k]] = 0
    return jumped, union


@compiled
def count_ngrams(
    segments: Spans,
    count: int,
    alive: int,
    numbers: Spans,
    places: Spans,
    keys: Words,
    slots: Words,
    counts: Spans,
    seed: Any,
    top: Ints,
    union: Ints,
) -> None:
    """Write to `top` the characters in the most frequent 2-, 3- and 4-gram and in duplicate 5- to 10-grams, found left
    to right and jumped over; to `union` the characters in any duplicate 5- to 10-gram.

    places[:alive]: which of the `count` segments occur more than once; numbers[:alive]: their numbers, by content.
    Both are overwritten.
    """
    for n in range(2, 11):
        if count < n:
            break
        found = _pair_adjacent(alive, numbers, places, keys)
        _number_pairs(keys, found, slots, counts, seed, numbers)
        if n <= 4:
            top[n - 2] = _top_characters(segments, n, found, numbers, places, counts)
        alive = 0
        for k in range(found):
            number = numbers[k]
            places[alive] = places[k]
            numbers[alive] = number
            alive += counts[number] > 1
        if n >= 5:
            top[n - 2], union[n - 5] = _duplicate_characters(segments, n, alive, numbers, places, counts)
