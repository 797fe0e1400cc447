"""Finds repeated lines, paragraphs and n-grams in linear time, with hash tables that documents share as scratch space.

Equality is exact: keys are contents, or are compared byte by byte. A salt of the process makes collisions unpredictable
for hostile text, and since things are numbered in order of first occurrence it never reaches the result.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from curate.filters.text_statistics_bytes import K1, U32, bytes_word, equal_bytes, hash_bytes
from curate.text.compiled import Bytes, Ints, Spans, Words, as_int, compiled

LONG = np.uint64(0xFF << 56)  # marks the key of a span of eight bytes or more


@compiled
def _empty_table(slots: Words, items: int) -> Any:
    """Empty an open-addressing table in the scratch array `slots`, at most half full with so many items, and return
    how many bits its index has. A slot holds a key, 0 if it is empty; what the key stands for is in `owners` at the
    same place."""
    bits = 4
    while 1 << bits < 2 * items:
        bits += 1
    for i in range(1 << bits):
        slots[i] = np.uint64(0)
    return np.uint64(bits)


@compiled
def number_spans(
    data: Bytes,
    spans: Spans,
    count: int,
    slots: Words,
    owners: Spans,
    numbers: Spans,
    first: Spans,
    seed: Any,
) -> int:
    """Number byte spans (start, size, ...) by content in order of first occurrence. `numbers` takes the number of each
    span, `first` the first span of each number. Returns how many numbers there are."""
    bits = _empty_table(slots, count)
    shift = np.uint64(64) - bits
    mask = (np.uint64(1) << bits) - np.uint64(1)
    distinct = 0
    for i in range(count):
        start, size = as_int(spans[i, 0]), as_int(spans[i, 1])
        if size < 8:  # the key is the content
            key = bytes_word(data, start, size) | np.uint64(size) << np.uint64(56)
        else:  # the key is a hash: equal keys must be compared
            key = hash_bytes(data, start, size, seed) | LONG
        slot = ((key ^ seed) * K1) >> shift
        number = -1
        while number < 0:
            if slots[slot] == np.uint64(0):
                slots[slot] = key
                owners[slot] = distinct
                first[distinct] = i
                number = distinct
                distinct += 1
            elif slots[slot] == key:
                number = as_int(owners[slot])
                if size >= 8:
                    other = as_int(first[number])
                    if spans[other, 1] != size or not equal_bytes(data, as_int(spans[other, 0]), start, size):
                        number = -1
            slot = (slot + np.uint64(1)) & mask
        numbers[i] = number
    return distinct


@compiled
def count_duplicates(
    numbers: Spans,
    first: Spans,
    spans: Spans,
    count: int,
    result: Ints,
) -> None:
    """Add the spans that occurred before, and their characters (`spans[:, 2]`), to result[0] and result[1]."""
    for i in range(count):
        if first[numbers[i]] != i:
            result[0] += 1
            result[1] += spans[i, 2]


@compiled
def join_paragraphs(lines: Spans, count: int, trimmed: Ints, paragraphs: Spans) -> int:
    """Join lines that one newline separates, inside the trimmed text. Returns how many paragraphs there are."""
    n = 0
    last_end = -2
    for i in range(count):
        start = max(as_int(lines[i, 0]), trimmed[0])
        end = min(as_int(lines[i, 0] + lines[i, 1]), trimmed[1])
        if end <= start:
            continue
        first = max(as_int(lines[i, 3]), trimmed[2])
        last = min(as_int(lines[i, 3] + lines[i, 2]), trimmed[3])
        if start == last_end + 1:
            paragraphs[n - 1, 1] = end - paragraphs[n - 1, 0]
            paragraphs[n - 1, 2] = last - paragraphs[n - 1, 3]
        else:
            paragraphs[n, 0] = start
            paragraphs[n, 1] = end - start
            paragraphs[n, 2] = last - first
            paragraphs[n, 3] = first
            n += 1
        last_end = end
    return n


@compiled
def count_ngrams(
    segments: Spans,
    count: int,
    distinct: int,
    numbers: Spans,
    places: Spans,
    frequency: Spans,
    slots: Words,
    owners: Spans,
    seed: Any,
    top: Ints,
    union: Ints,
) -> None:
    """Write to `top` the characters in the most frequent 2-, 3- and 4-gram and in duplicate 5- to 10-grams, found left
    to right and jumped over; to `union` the characters in any duplicate 5- to 10-gram.

    An n-gram is named exactly by the numbers of the two (n-1)-grams in it. One that holds an (n-1)-gram that occurs
    once occurs once itself, so that only places whose both (n-1)-grams are repeated are looked up: in running text they
    vanish quickly, and on the most repetitive text there are at most `count` for each n. `numbers` is overwritten.
    """
    frequency[:distinct] = 0
    for i in range(count):
        frequency[numbers[i]] += 1
    alive = 0  # places[:alive]: where a repeated (n-1)-gram begins; numbers[:alive]: which one
    for i in range(count):
        number = numbers[i]
        places[alive] = i  # written always, kept if repeated: no branch to mispredict
        numbers[alive] = number
        alive += frequency[number] > 1
    for n in range(2, 11):
        if count < n:
            break
        bits = _empty_table(slots, alive)
        shift = np.uint64(64) - bits
        mask = (np.uint64(1) << bits) - np.uint64(1)
        found = 0
        distinct = 0
        for k in range(alive - 1):
            if places[k + 1] != places[k] + 1:
                continue
            key = np.uint64(numbers[k] + 1) << U32 | np.uint64(numbers[k + 1])
            slot = ((key ^ seed) * K1) >> shift
            while slots[slot] != np.uint64(0) and slots[slot] != key:
                slot = (slot + np.uint64(1)) & mask
            if slots[slot] == np.uint64(0):
                slots[slot] = key
                owners[slot] = distinct
                frequency[distinct] = 0
                distinct += 1
            number = owners[slot]
            frequency[number] += 1
            places[found] = places[k]
            numbers[found] = number
            found += 1
        if n <= 4:
            best = 1
            place = 0
            for k in range(found):
                if frequency[numbers[k]] > best:
                    best = frequency[numbers[k]]
                    place = places[k]
            characters = n - 1
            for i in range(place, place + n):
                characters += segments[i, 2]
            top[n - 2] = best * characters
        alive = 0
        for k in range(found):
            number = numbers[k]
            places[alive] = places[k]
            numbers[alive] = number
            alive += frequency[number] > 1
        if n >= 5:
            # Left to right. In `top` an n-gram seen before counts and is jumped over, so that no character counts
            # twice; what begins in a jump is not seen. In `union` each one counts from where the last one ended. A
            # frequency is done with here, and marks what was seen: -1 by `union` alone, 0 by both.
            resume = 0
            covered = 0
            for k in range(alive):
                place = places[k]
                seen = frequency[numbers[k]]
                if seen <= 0:
                    for i in range(max(place, covered), place + n):
                        union[n - 5] += segments[i, 2]
                    covered = place + n
                else:
                    frequency[numbers[k]] = -1
                if place < resume:
                    continue
                if seen == 0:
                    for i in range(place, place + n):
                        top[n - 2] += segments[i, 2]
                    resume = place + n
                else:
                    frequency[numbers[k]] = 0
