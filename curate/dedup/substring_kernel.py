"""The numba code behind `substring`: the anchors of texts, in time that no text can make more than linear.

A block of as many grams as a window holds is hashed at a time. A window reaches from the block before into this one:
its smallest hash is that of the suffix minimum there or of the prefix minimum here (van Herk 1992), about three
comparisons a byte whatever the bytes are.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from curate.text.compiled import Bytes, Ints, Words, cached, compiled, source_digest

BASE = np.uint64(0x9E3779B97F4A7C15 | 1)
K1, K2 = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)
U1, U32 = np.uint64(1), np.uint64(32)
NONE: Any = np.int64(-1)


@compiled
def _mixed(value: Any, factor: Any) -> Any:
    """A permutation of uint64: a polynomial's low bits alone would choose badly."""
    value = (value ^ (value >> U32)) * factor
    return value ^ (value >> U32)


@compiled
def _power(exponent: int) -> Any:
    power = U1
    for _ in range(exponent):
        power *= BASE
    return power


@compiled
def _hash_grams(data: Bytes, start: int, gram: int, leaves: Any, rolling: Any, hashes: Words, count: int) -> Any:
    """Write the hashes of the grams that begin at `start` and behind it, so many; return the polynomial of the last but
    for its first byte, which counts for `leaves`. `rolling` is that of the gram before `start`."""
    for k in range(count):
        at = start + k
        # only this product waits for the one before
        whole = rolling * BASE + (np.uint64(data[at + gram - 1]) + U1)
        hashes[k] = _mixed(whole, K1)
        rolling = whole - (np.uint64(data[at]) + U1) * leaves
    return rolling


@compiled
def _suffix_minima(hashes: Words, first: int, minima: Words, places: Ints) -> None:
    """Write the smallest of hashes[k:] and where it is, the last of equals, for each k; they begin at place `first`."""
    least, place = hashes[hashes.size - 1], hashes.size - 1
    for back in range(hashes.size):
        k = hashes.size - 1 - back
        if hashes[k] < least:
            least, place = hashes[k], k
        minima[k], places[k] = least, first + place


@compiled
def _anchors_of(
    data: Bytes,
    gram: int,
    hashes: Words,
    minima: Words,
    places: Ints,
    used: int,
    keys: Words,
    firsts: Ints,
    lasts: Ints,
) -> int:
    """Write each anchor of one text: its key, and the first and last passage that it stands for; return the next place.

    `hashes`, `minima` and `places` have the size of a window. Where a text repeats itself within a window, each of its
    passages has another anchor of the same key: from the second of these on, one entry stands for as many as a context
    of two passages holds.
    """
    window, grams = hashes.size, data.size - gram + 1
    leaves = _power(gram - 1)
    rolling = np.uint64(0)
    for at in range(min(gram - 1, data.size)):
        rolling = rolling * BASE + (np.uint64(data[at]) + U1)
    begin = used
    chosen = NONE
    again = False  # whether the last entry has the key of the one before it
    for start in range(0, grams, window):
        count = min(window, grams - start)
        rolling = _hash_grams(data, start, gram, leaves, rolling, hashes, count)
        least, least_place = hashes[0], start
        for k in range(count):
            if hashes[k] <= least:
                least, least_place = hashes[k], start + k
            value, place = least, least_place
            if k + 1 < window:
                if start == 0:
                    continue  # the first window is not full
                if minima[k + 1] < least:
                    value, place = minima[k + 1], places[k + 1]
            if place == chosen:
                continue
            chosen = place
            passage = start + k - window + 1
            # minima are small, and the exchange routes by the upper bits
            key = _mixed(value, K2)
            same = used > begin and keys[used - 1] == key
            if same and again and passage - firsts[used - 1] < gram:
                continue
            again = same
            if used > begin:
                lasts[used - 1] = passage - 1
            keys[used], firsts[used] = key, passage
            used += 1
        if count == window:
            _suffix_minima(hashes, start, minima, places)
    if used > begin:
        lasts[used - 1] = grams - window
    return used


def _compile(sources: str) -> tuple[Any, Any]:
    """Return the compiled loops over texts and ranges; `sources` is a `source_digest`."""

    @cached
    def _anchors(
        data: Bytes,
        bounds: Ints,
        gram: int,
        hashes: Words,
        minima: Words,
        places: Ints,
        lists: Ints,
        keys: Words,
        firsts: Ints,
        lasts: Ints,
    ) -> int:
        sources  # noqa: B018 - part of the key of the cache on disk
        used = 0
        for row in range(bounds.size - 1):
            text = data[bounds[row] : bounds[row + 1]]
            used = _anchors_of(text, gram, hashes, minima, places, used, keys, firsts, lasts)
            lists[row + 1] = used
        return used

    @cached
    def _copy_ranges(data: Bytes, starts: Ints, offsets: Ints, result: Bytes) -> None:
        """Copy the bytes of `data` from starts[k] on to offsets[k], up to offsets[k + 1]."""
        sources  # noqa: B018 - part of the key of the cache on disk
        for k in range(starts.size):
            for place in range(offsets[k + 1] - offsets[k]):
                result[offsets[k] + place] = data[starts[k] + place]

    return _anchors, _copy_ranges


find_anchors, copy_ranges = _compile(source_digest("dedup/substring_kernel.py"))
