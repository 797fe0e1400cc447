"""Bytes of words in compiled code: runs of letters, up to eight bytes as a number, hashing, comparing."""

from __future__ import annotations

from typing import Any

import numpy as np

from curate.text.compiled import Bytes, Words, compiled, load_u64, trailing_zeros
from curate.text.utf8 import AFTER_Z, FROM_A, LOW_BITS, SPACES, TOP_BITS

K1 = np.uint64(0x9E3779B97F4A7C15)
K2 = np.uint64(0xD6E8FEB86659FD93)
U29 = np.uint64(29)
U32 = np.uint64(32)


def packed(word: str) -> int:
    """Return a word of at most eight ASCII characters as `bytes_word` reads it."""
    return int.from_bytes(word.encode(), "little")


@compiled
def letters_end(data: Bytes, at: int) -> int:
    """Where the run of ASCII letters ends that begins at `at`, eight bytes at a time."""
    while at + 8 <= data.size:
        word = load_u64(data, at)
        lower = (word | SPACES) & LOW_BITS
        letters = (lower + FROM_A) & ~(lower + AFTER_Z) & ~word & TOP_BITS  # the top bit of each byte that is a letter
        count = trailing_zeros(letters ^ TOP_BITS) >> 3
        at += count
        if count < 8:
            return at
    while at < data.size and 0x61 <= (data[at] | 0x20) <= 0x7A:
        at += 1
    return at


@compiled
def bytes_word(data: Bytes, at: int, size: int) -> Any:
    """Up to eight bytes, zero-padded, as uint64."""
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
def _mix(value: Any) -> Any:
    value = (value ^ (value >> U32)) * K2
    value = (value ^ (value >> U29)) * K1
    return value ^ (value >> U32)


@compiled
def hash_bytes(data: Bytes, at: int, size: int, seed: Any) -> Any:
    value = seed ^ (np.uint64(size) * K1)
    while size > 8:
        value = (value ^ bytes_word(data, at, 8)) * K2
        value ^= value >> U32
        at += 8
        size -= 8
    return _mix(value ^ bytes_word(data, at, size))


@compiled
def equal_bytes(data: Bytes, a: int, b: int, size: int) -> bool:
    while size >= 8:
        if bytes_word(data, a, 8) != bytes_word(data, b, 8):
            return False
        a += 8
        b += 8
        size -= 8
    return size == 0 or bytes_word(data, a, size) == bytes_word(data, b, size)


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
