"""A cache of encoded words: the pieces of running text repeat, so most of them are looked up and not merged.

A word of at most `MAX_WORD_BYTES` and `MAX_WORD_TOKENS` has an entry of eight uint64, one line of a processor's cache:
four hold its bytes with their number in the last byte, four its tokens as uint32 after their number. Entries come in
pairs; a new word takes the place of the older of two. A word is found by all of its bytes, and what is stored depends
on them alone, so that the state of the cache never shows in the ids. No text can make a lookup cost more than two
entries.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from curate.text.compiled import Bytes, Words, as_int, compiled, load_part

FILE: Final = "tokenize/words.py"
BITS: Final = 17
CACHE_BYTES: Final = 64 << BITS
"""Memory of one cache: 8 MiB."""
MAX_WORD_BYTES: Final = 31
MAX_WORD_TOKENS: Final = 7
K0, K1 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)
K2, K3 = np.uint64(0xA0761D6478BD642F), np.uint64(0xE7037ED1A0B428DB)
SHIFT = np.uint64(64 - BITS + 1)
LOW = np.uint64(0xFFFFFFFF)
U32, U56 = np.uint64(32), np.uint64(56)


def empty() -> Words:
    """Return a cache without words: uint64 [entries * 8]."""
    cache = np.zeros((8 << BITS) + 7, dtype=np.uint64)
    # numpy aligns to 16 bytes: an entry would lie on two lines
    begin = -cache.ctypes.data % 64 // 8
    return cache[begin : begin + (8 << BITS)]


@compiled
def key(data: Bytes, at: int, size: int) -> Any:
    """The four parts of the key of a word of 1 to `MAX_WORD_BYTES` bytes."""
    first, second, third = load_part(data, at, size), np.uint64(0), np.uint64(0)
    last = np.uint64(size) << U56
    if size > 8:
        second = load_part(data, at + 8, size - 8)
        if size > 16:
            third = load_part(data, at + 16, size - 16)
            last |= load_part(data, at + 24, size - 24)
    return first, second, third, last


@compiled
def place(word: Any) -> int:
    """Where in a cache the pair of entries of a key begins."""
    mixed = word[0] * K0 ^ word[1] * K1 ^ word[2] * K2 ^ word[3] * K3
    mixed = (mixed ^ (mixed >> U32)) * K1
    return as_int(mixed >> SHIFT) << 4


@compiled
def look_up(cache: Words, at: int, word: Any) -> int:
    """Where the entry of a key begins whose pair begins at `at`; -1 if it is not there."""
    if cache[at] == word[0] and cache[at + 3] == word[3] and cache[at + 1] == word[1] and cache[at + 2] == word[2]:
        return at
    at += 8
    if cache[at] == word[0] and cache[at + 3] == word[3] and cache[at + 1] == word[1] and cache[at + 2] == word[2]:
        return at
    return -1


@compiled
def copy(cache: Words, entry: int, out: Any, filled: int) -> int:
    """Write the tokens of an entry to `out` from `filled` on; return where they end."""
    pair = cache[entry + 4]
    count = as_int(pair & LOW)
    out[filled] = pair >> U32
    for number in range(1, count):
        pair = cache[entry + 4 + ((number + 1) >> 1)]
        out[filled + number] = pair & LOW if number & 1 else pair >> U32
    return filled + count


@compiled
def remember(cache: Words, at: int, word: Any, out: Any, start: int, end: int) -> None:
    """Keep the tokens ``out[start:end]`` of a key whose pair of entries begins at `at`, if there are few enough."""
    if end - start > MAX_WORD_TOKENS or end == start:
        return
    for part in range(8):
        cache[at + 8 + part] = cache[at + part]
    cache[at], cache[at + 1], cache[at + 2], cache[at + 3] = word
    for part in range(4):
        cache[at + 4 + part] = np.uint64(0)
    cache[at + 4] = np.uint64(end - start)
    for number in range(end - start):
        part = at + 4 + ((number + 1) >> 1)
        cache[part] |= np.uint64(out[start + number]) << (np.uint64(0) if number & 1 else U32)
