"""The numba code behind `shingles` and `minhash`: from the bytes of a document to the hashes of its n-grams.

One document at a time, while its bytes are in the cache: `fold_text` writes its comparable form, `hash_words` or
`hash_characters` goes over that and hashes each n-gram; the symbols of code that `fold_code` writes are hashed as
words. Definitions are in `curate.dedup.shingles`.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from curate.dedup.code_kernel import fold_code
from curate.dedup.fold_kernel import fold_text
from curate.text.compiled import Bytes, Hashes, Words, as_hash, as_int, compiled, load_u64, trailing_zeros
from curate.text.utf8 import SPACES, TOP_BITS

K1 = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio
K2 = np.uint64(0xD6E8FEB86659FD93)
U1 = np.uint64(1)
U32 = np.uint64(32)
ONES = np.uint64(0x0101010101010101)
WORDS, CHARACTERS, AUTO, CODE = 0, 1, 2, 3
# an automatic unit is the character from one unspaced letter in so many letters and digits on
UNSPACED_SHARE: Final = 5

SOURCES: Final = ("dedup/shingles_kernel.py", "dedup/code_kernel.py", "dedup/fold_*")


@compiled
def _mix(value: Any, block: Any) -> Any:
    value = (value ^ block) * K2
    return (value ^ (value >> U32)) * K1


@compiled
def _push(unit: Any, count: int, place: int, rolling: Any, power: Any, ring: Words, hashes: Hashes) -> tuple[int, Any]:
    """Take unit number `count`, which has its place in the ring: write the hash of the n-gram that it completes, if
    any; return the next place and the rolling sum."""
    # the ring begins with zeros, which take nothing away
    rolling = (rolling - ring[place] * power) * K1 + unit
    ring[place] = unit
    place += 1
    if count + 1 >= ring.size:
        hashes[count + 1 - ring.size] = as_hash(((rolling ^ (rolling >> U32)) * K2) >> U32)
    return (0 if place == ring.size else place), rolling


@compiled
def _power(ngram: int) -> Any:
    power = U1
    for _ in range(ngram - 1):
        power *= K1
    return power


@compiled
def hash_words(folded: Bytes, size: int, ring: Words, hashes: Hashes) -> int:
    """Write the hash of each word n-gram, in order; return how many there are. `ring` is room for n words."""
    power = _power(ring.size)
    rolling = np.uint64(0)
    ring[:] = 0
    place = 0
    words = 0
    at = 0
    while at < size:
        gaps = load_u64(folded, at) ^ SPACES  # a zero byte is a space
        spaces = trailing_zeros(gaps) >> 3
        if spaces:
            at += spaces
            continue
        unit = K1
        while True:
            word = load_u64(folded, at)
            gaps = word ^ SPACES
            # the lowest zero byte has the lowest bit that this sets
            length = trailing_zeros((gaps - ONES) & ~gaps & TOP_BITS) >> 3
            at += length
            if length == 8:
                unit = _mix(unit, word)
                continue
            if length:
                shift = np.uint64(64 - 8 * length)
                unit = _mix(unit, (word << shift) >> shift)
            break
        place, rolling = _push(unit, words, place, rolling, power, ring, hashes)
        words += 1
    return max(0, words - ring.size + 1)


@compiled
def hash_characters(folded: Bytes, size: int, ring: Words, hashes: Hashes) -> int:
    """Write the hash of each character n-gram, gaps left out; return how many there are."""
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
        place, rolling = _push(unit, characters, place, rolling, power, ring, hashes)
        characters += 1
        at += width
    return max(0, characters - ring.size + 1)


@compiled
def shingle_document(
    data: Bytes, unit: int, index: Hashes, entries: Hashes, pairs: Hashes, folded: Bytes, ring: Words, hashes: Hashes
) -> int:
    """Write the hash of each shingle of a document, in order and with repetitions; return how many there are."""
    if unit == CODE:
        return hash_words(folded, fold_code(data, folded), ring, hashes)
    size, kept, unspaced = fold_text(data, index, entries, pairs, folded)
    if unit == CHARACTERS or (unit == AUTO and unspaced and unspaced * UNSPACED_SHARE >= kept):
        return hash_characters(folded, size, ring, hashes)
    return hash_words(folded, size, ring, hashes)


@compiled
def sort_unique(hashes: Hashes, count: int, spare: Hashes, histogram: Hashes) -> int:
    """Sort the first `count` hashes and leave each once; return how many stay. Radix sort: linear for any input.

    spare: as many places again. histogram: [256].
    """
    if count < 48:
        for i in range(1, count):
            value = hashes[i]
            j = i
            while j > 0 and hashes[j - 1] > value:
                hashes[j] = hashes[j - 1]
                j -= 1
            hashes[j] = value
    else:
        for half in range(2):
            _radix_pass(hashes, spare, count, histogram, as_hash(16 * half))
            _radix_pass(spare, hashes, count, histogram, as_hash(16 * half + 8))
    unique = min(count, 1)
    for i in range(1, count):
        if hashes[i] != hashes[unique - 1]:
            hashes[unique] = hashes[i]
            unique += 1
    return unique


@compiled
def _radix_pass(source: Hashes, target: Hashes, count: int, histogram: Hashes, shift: Any) -> None:
    byte = as_hash(0xFF)
    histogram[:] = 0
    for i in range(count):
        histogram[(source[i] >> shift) & byte] += as_hash(1)
    place = as_hash(0)
    for value in range(256):
        here = histogram[value]
        histogram[value] = place
        place += here
    for i in range(count):
        value = (source[i] >> shift) & byte
        target[histogram[value]] = source[i]
        histogram[value] += as_hash(1)
