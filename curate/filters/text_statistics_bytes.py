"""Bytes of words in compiled code: up to eight as a number, hashing, comparing."""

from __future__ import annotations

from typing import Any

import numpy as np

from curate.text.compiled import Bytes, Words, compiled, inlined, load_u64, multiply_fold

K1 = np.uint64(0x9E3779B97F4A7C15)
K2 = np.uint64(0xD6E8FEB86659FD93)


def packed(word: str) -> int:
    """Return a word of at most eight ASCII characters as `bytes_word` reads it."""
    return int.from_bytes(word.encode(), "little")


@inlined
def bytes_word(data: Bytes, at: int, size: int) -> Any:
    """Up to eight bytes, zero-padded, as uint64; at least one."""
    if at + 8 <= data.size:
        if size >= 8:
            return load_u64(data, at)
        shift = np.uint64(64 - 8 * size)
        return (load_u64(data, at) << shift) >> shift
    word = np.uint64(0)
    for i in range(min(size, 8)):
        word |= np.uint64(data[at + i]) << np.uint64(8 * i)
    return word


@compiled
def hash_bytes(data: Bytes, at: int, size: int, seed: Any) -> Any:
    """A hash of eight bytes or more, after wyhash (Wang Yi): 16 bytes for each 128-bit product, the last 16 overlapping
    those before. Nobody who does not know the seed can make a factor zero."""
    end = at + size
    secret = (seed ^ K2) * K1
    value = seed ^ (np.uint64(size) * K1)
    while at + 16 < end:
        value = multiply_fold(load_u64(data, at) ^ secret, load_u64(data, at + 8) ^ value)
        at += 16
    value = multiply_fold(load_u64(data, max(end - 16, end - size)) ^ secret, load_u64(data, end - 8) ^ value)
    return multiply_fold(value, K1)


@compiled
def equal_bytes(data: Bytes, a: int, b: int, size: int) -> bool:
    """Whether two spans of eight bytes or more are equal."""
    for i in range(0, size - 8, 8):
        if load_u64(data, a + i) != load_u64(data, b + i):
            return False
    return load_u64(data, a + size - 8) == load_u64(data, b + size - 8)


@compiled
def contains(sorted_words: Words, word: Any) -> bool:
    low, high = 0, sorted_words.size
    while low < high:
        middle = (low + high) >> 1
        if sorted_words[middle] < word:
            low = middle + 1
        else:
            high = middle
    return low < sorted_words.size and sorted_words[low] == word
