"""The numba code behind `shingles` and `minhash`: from the bytes of a document to the hashes of its n-grams.

One document at a time, while its bytes are in the cache: `fold_text` writes its comparable form, `hash_words` or
`hash_characters` goes over that and hashes each n-gram; the symbols of code that `fold_code` writes are hashed as
words. Definitions are in `curate.dedup.shingles`.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from curate.dedup.code_kernel import fold_code
from curate.dedup.fold_kernel import fold_text
from curate.text.compiled import (
    Bytes,
    Hashes,
    Ints,
    Words,
    as_hash,
    as_int,
    bytes_equal,
    compiled,
    count_ones,
    load_u64,
    trailing_zeros,
)

K1 = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio
K2 = np.uint64(0xD6E8FEB86659FD93)
U1 = np.uint64(1)
U32 = np.uint64(32)
U63 = np.uint64(63)
ALL_ONES = np.uint64(0xFFFFFFFFFFFFFFFF)
SPACE = np.uint8(0x20)
WORDS, CHARACTERS, AUTO, CODE = 0, 1, 2, 3
# an automatic unit is the character from one unspaced letter in so many letters and digits on
UNSPACED_SHARE: Final = 5

# of `sort_unique`: hashes that are sorted by insertion alone, and so many at the most in one bucket
FEW: Final = 32
MAX_BUCKET: Final = 32
BUCKET_BITS: Final = 16
EDGES: Final = 68

SOURCES: Final = ("dedup/shingles_kernel.py", "dedup/code_kernel.py", "dedup/fold_*")


class Tables(NamedTuple):
    """The table of characters (`curate.dedup.fold_table`): `index`, `entries`, `pairs`."""

    index: Hashes
    entries: Hashes
    pairs: Hashes


class Scratch(NamedTuple):
    """What kernels write while they work on a document, since they cannot allocate.

    `folded` uint8 [`GROWTH` × bytes + `SLACK`]; `ring` uint64 [n]; `places` int64 [`EDGES`]; `hashes`, `spare` uint32
    [bytes]; `counts` uint32 [2^`BUCKET_BITS`].
    """

    folded: Bytes
    ring: Words
    places: Ints
    hashes: Hashes
    spare: Hashes
    counts: Hashes


@compiled
def _mix(value: Any, block: Any) -> Any:
    value = (value ^ block) * K2
    return (value ^ (value >> U32)) * K1


@compiled
def _push(unit: Any, count: int, place: int, rolling: Any, power: Any, ring: Words, hashes: Hashes) -> tuple[int, Any]:
    """Take unit number `count`, which has its place in the ring: write the hash of the n-gram that it completes, if
    any; return the next place and the rolling sum."""
    # the ring holds what units of the last n-gram take away, K1^n times each; it begins with zeros
    rolling = rolling * K1 + (unit - ring[place])
    ring[place] = unit * power
    place += 1
    if count + 1 >= ring.size:
        hashes[count + 1 - ring.size] = as_hash(((rolling ^ (rolling >> U32)) * K2) >> U32)
    return (0 if place == ring.size else place), rolling


@compiled
def _power(ngram: int) -> Any:
    power = K1
    for _ in range(ngram - 1):
        power *= K1
    return power


@compiled
def _hash_word(folded: Bytes, start: int, end: int) -> Any:
    """The hash of a word of one byte or more: its blocks of eight, the last one filled up with zeros."""
    unit = K1
    while end - start > 8:
        unit = _mix(unit, load_u64(folded, start))
        start += 8
    shift = np.uint64(64 - 8 * (end - start))
    return _mix(unit, (load_u64(folded, start) << shift) >> shift)


@compiled
def hash_words(folded: Bytes, size: int, scratch: Scratch) -> int:
    """Write the hash of each word n-gram, in order; return how many there are.

    Where words begin and end is read off masks of 64 bytes: a loop over bytes would guess wrong once a word.
    """
    ring, places = scratch.ring, scratch.places
    power = _power(ring.size)
    rolling = np.uint64(0)
    ring[:] = 0
    place = 0
    words = 0
    waiting = 0  # 1 if places begins with the start of a word without its end
    before = U1  # whether the byte before the block is a gap
    for at in range(0, size + 1, 64):  # what follows the text is a gap, and ends its last word
        gaps = bytes_equal(folded, at, SPACE)
        if size - at < 64:
            gaps |= ALL_ONES << np.uint64(size - at)
        edges = gaps ^ (gaps << U1 | before)
        before = gaps >> U63
        found = waiting + count_ones(edges)
        write = waiting
        while edges:  # four at once, some beyond the last: how often this loops is guessed wrong less often
            for _ in range(4):
                places[write] = at + trailing_zeros(edges)
                edges &= edges - U1
                write += 1
        waiting = found & 1
        for edge in range(0, found - waiting, 2):
            unit = _hash_word(folded, places[edge], places[edge + 1])
            place, rolling = _push(unit, words, place, rolling, power, ring, scratch.hashes)
            words += 1
        if waiting:
            places[0] = places[found - 1]
    return max(0, words - ring.size + 1)


@compiled
def hash_characters(folded: Bytes, size: int, scratch: Scratch) -> int:
    """Write the hash of each character n-gram, gaps left out; return how many there are."""
    ring = scratch.ring
    power = _power(ring.size)
    rolling = np.uint64(0)
    ring[:] = 0
    place = 0
    characters = 0
    at = 0
    while at < size:
        first = as_int(folded[at])
        if first == 0x20:
            at += 1
            continue
        width = 1 if first < 0x80 else 2 if first < 0xE0 else 3 if first < 0xF0 else 4
        shift = np.uint64(64 - 8 * width)
        unit = _mix(K1, (load_u64(folded, at) << shift) >> shift)
        place, rolling = _push(unit, characters, place, rolling, power, ring, scratch.hashes)
        characters += 1
        at += width
    return max(0, characters - ring.size + 1)


@compiled
def shingle_document(data: Bytes, unit: int, tables: Tables, scratch: Scratch) -> int:
    """Write the hash of each shingle of a document, in order and with repetitions; return how many there are."""
    folded = scratch.folded
    if unit == CODE:
        return hash_words(folded, fold_code(data, folded), scratch)
    size, kept, unspaced = fold_text(data, tables.index, tables.entries, tables.pairs, folded)
    if unit == CHARACTERS or (unit == AUTO and unspaced and unspaced * UNSPACED_SHARE >= kept):
        return hash_characters(folded, size, scratch)
    return hash_words(folded, size, scratch)


@compiled
def sort_unique(scratch: Scratch, count: int, result: Hashes) -> int:
    """Write the first `count` hashes to `result`, sorted and each once; return how many these are.

    One counting pass by leading bits leaves a hash or none in most buckets, and insertion sorts the rest. Where buckets
    are larger, or there are more hashes than buckets for them, a radix sort follows: linear for any input.
    """
    hashes, spare = scratch.hashes, scratch.spare
    if count >= FEW:
        bits = 5
        while bits < BUCKET_BITS and 1 << bits < 2 * count:
            bits += 1
        if not (count <= 2 << bits and _sort_buckets(hashes, spare, count, scratch.counts, bits)):
            for half in range(2):
                _radix_pass(hashes, spare, count, scratch.counts, as_hash(16 * half))
                _radix_pass(spare, hashes, count, scratch.counts, as_hash(16 * half + 8))
            spare = hashes
    else:
        spare = hashes
        _insert(spare, count)
    unique = 0
    for i in range(count):
        if i == 0 or spare[i] != spare[i - 1]:
            result[unique] = spare[i]
            unique += 1
    return unique


@compiled
def _insert(hashes: Hashes, count: int) -> None:
    for i in range(1, count):
        value = hashes[i]
        j = i
        while j > 0 and hashes[j - 1] > value:
            hashes[j] = hashes[j - 1]
            j -= 1
        hashes[j] = value


@compiled
def _sort_buckets(source: Hashes, target: Hashes, count: int, counts: Hashes, bits: int) -> bool:
    """Sort into `target` by buckets of the leading `bits`; return False, with `source` as it was, if one is too large
    to sort by insertion."""
    shift = as_hash(32 - bits)
    buckets = counts[: 1 << bits]
    buckets[:] = 0
    for i in range(count):
        buckets[source[i] >> shift] += as_hash(1)
    place = as_hash(0)
    largest = as_hash(0)
    for bucket in range(buckets.size):
        here = buckets[bucket]
        buckets[bucket] = place
        place += here
        largest = max(largest, here)
    if largest > MAX_BUCKET:
        return False
    for i in range(count):
        value = source[i]
        target[buckets[value >> shift]] = value
        buckets[value >> shift] += as_hash(1)
    _insert(target, count)
    return True


@compiled
def _radix_pass(source: Hashes, target: Hashes, count: int, counts: Hashes, shift: Any) -> None:
    byte = as_hash(0xFF)
    counts[:256] = 0
    for i in range(count):
        counts[(source[i] >> shift) & byte] += as_hash(1)
    place = as_hash(0)
    for value in range(256):
        here = counts[value]
        counts[value] = place
        place += here
    for i in range(count):
        value = (source[i] >> shift) & byte
        target[counts[value]] = source[i]
        counts[value] += as_hash(1)
