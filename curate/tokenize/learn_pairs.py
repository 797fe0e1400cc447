"""Counted pairs of adjacent tokens: a hash table to find them, and a heap to find the largest (used by `learn_kernel`).

The heap is lazy: counts only fall once a pair is in it, so an item that reaches the top with too high a count is put
right and sinks.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from curate.text.compiled import Ints, Spans, Words, as_int, compiled

U32 = np.uint64(32)
LOW_32 = np.uint64(0xFFFFFFFF)
U29 = np.uint64(29)
K1 = np.uint64(0x9E3779B97F4A7C15)
K2 = np.uint64(0xD6E8FEB86659FD93)


class Pairs(NamedTuple):
    """The entered pairs. `key`: left id << 32 | right id, uint64 [entries]. `total`: its count, int64 [entries].
    `first`, `size`: where the pair's slots are in `places`, int64 [entries]. `table`: int32 [a power of two], entry or
    -1, open addressing. `heap`, `heap_count`: int32 and int64 [entries], a heap by falling count, then rising key; a
    count in it may be too high. `places`: int32. `used`: int64 [3], how many entries, places and heap items there
    are."""

    key: Words
    total: Ints
    first: Ints
    size: Ints
    table: Spans
    heap: Spans
    heap_count: Ints
    places: Spans
    used: Ints


@compiled
def hash_key(value: Any) -> Any:
    value = (value ^ (value >> U32)) * K2
    value = (value ^ (value >> U29)) * K1
    return value ^ (value >> U32)


@compiled
def pair_key(left: int, right: int) -> Any:
    return np.uint64(left) << U32 | np.uint64(right)


@compiled
def find(key: Any, pairs: Pairs) -> int:
    """The place in the table that holds the entry of `key`, or the empty one where it would be."""
    mask = pairs.table.size - 1
    at = as_int(hash_key(key) & np.uint64(mask))
    while True:
        entry = pairs.table[at]
        if entry < 0 or pairs.key[entry] == key:
            return at
        at = (at + 1) & mask


@compiled
def _before(pairs: Pairs, a: int, b: int) -> bool:
    """Whether heap item a comes before heap item b."""
    if pairs.heap_count[a] != pairs.heap_count[b]:
        return pairs.heap_count[a] > pairs.heap_count[b]
    return pairs.key[pairs.heap[a]] < pairs.key[pairs.heap[b]]


@compiled
def _swap(pairs: Pairs, a: int, b: int) -> None:
    pairs.heap[a], pairs.heap[b] = pairs.heap[b], pairs.heap[a]
    pairs.heap_count[a], pairs.heap_count[b] = pairs.heap_count[b], pairs.heap_count[a]


@compiled
def sink(pairs: Pairs, at: int) -> None:
    size = pairs.used[2]
    while True:
        child = 2 * at + 1
        if child >= size:
            return
        if child + 1 < size and _before(pairs, child + 1, child):
            child += 1
        if not _before(pairs, child, at):
            return
        _swap(pairs, at, child)
        at = child


@compiled
def _rise(pairs: Pairs, at: int) -> None:
    while at > 0:
        parent = (at - 1) >> 1
        if not _before(pairs, at, parent):
            return
        _swap(pairs, at, parent)
        at = parent


@compiled
def top(pairs: Pairs, floor: int) -> int:
    """The entry of the largest count, the smallest key among equals; -1 if none is at or above the floor."""
    while pairs.used[2] > 0:
        entry = pairs.heap[0]
        count = pairs.total[entry]
        if count >= floor:
            if count == pairs.heap_count[0]:
                return as_int(entry)
            pairs.heap_count[0] = count
        else:
            pairs.used[2] -= 1
            pairs.heap[0] = pairs.heap[pairs.used[2]]
            pairs.heap_count[0] = pairs.heap_count[pairs.used[2]]
        sink(pairs, 0)
    return -1


@compiled
def enter(key: Any, count: int, first: int, pairs: Pairs) -> None:
    """Enter a new pair whose slots will be in `places` from `first` on, and put it into the heap."""
    entry, item = pairs.used[0], pairs.used[2]
    pairs.used[0] += 1
    pairs.used[2] += 1
    pairs.table[find(key, pairs)] = entry
    pairs.key[entry] = key
    pairs.total[entry] = count
    pairs.first[entry] = first
    pairs.heap[item] = entry
    pairs.heap_count[item] = count
    _rise(pairs, item)


@compiled
def lower(left: int, right: int, weight: int, pairs: Pairs) -> None:
    entry = pairs.table[find(pair_key(left, right), pairs)]
    if entry >= 0:
        pairs.total[entry] -= weight
