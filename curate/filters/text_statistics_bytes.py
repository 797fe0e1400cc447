"""Numba helpers on UTF-8 bytes: decoding, eight bytes at a time, hashing, comparing.

Every helper is nopython, nogil, without fastmath and without numba's reference counting (`_nrt=False`): atomic counts
for each array argument are not free in functions this small. In return compiled code cannot allocate: callers pass
scratch arrays.
An index is never negative and never beyond the array. Only the entry point in `text_statistics_kernel` is cached on
disk.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import xxhash
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Flags = NDArray[np.uint16]
Spans = NDArray[np.int32]
Ints = NDArray[np.int64]
Words = NDArray[np.uint64]

# numba's stubs know neither the option _nrt nor that a compiled function is called like the Python one
_njit: Any = njit
as_int: Any = np.int64  # in compiled code; int() of an unsigned integer would stay unsigned

Function = TypeVar("Function", bound=Callable[..., Any])


def _typed_intrinsic(function: Callable[..., Any]) -> Any:
    return intrinsic(function)


def compiled(function: Function) -> Function:
    """Compile a helper when the entry point that calls it is compiled."""
    return _njit(nogil=True, _nrt=False)(function)


def cached(function: Function) -> Function:
    """Compile an entry point, and keep it on disk."""
    return _njit(nogil=True, cache=True, _nrt=False)(function)


K1 = np.uint64(0x9E3779B97F4A7C15)
K2 = np.uint64(0xD6E8FEB86659FD93)
U29 = np.uint64(29)
U32 = np.uint64(32)
SPACES = np.uint64(0x2020202020202020)
LOW_BITS = np.uint64(0x7F7F7F7F7F7F7F7F)
TOP_BITS = np.uint64(0x8080808080808080)
FROM_A = np.uint64(0x1F1F1F1F1F1F1F1F)  # carries into the top bit from a on
AFTER_Z = np.uint64(0x0505050505050505)  # and beyond z


def source_digest(pattern: str) -> str:
    """Return a digest of the files of this folder that compiled code is made from, the Unicode table included.

    numba's cache on disk watches only the file of the function that it caches. A closure variable belongs to the key of
    that cache: an entry point that closes over this digest notices the other files, too.
    """
    folder = Path(__file__).parent
    names = {Path(__file__).name, "unicode_table.py", "unicode_table.bin"} | {
        path.name for path in folder.glob(pattern)
    }
    return xxhash.xxh3_128_hexdigest(b"\0".join((folder / name).read_bytes() for name in sorted(names)))


def packed(word: str) -> int:
    """Return a word of at most eight ASCII characters as `bytes_word` reads it."""
    return int.from_bytes(word.encode(), "little")


@_typed_intrinsic
def _load_u64(typing_context: Any, array: Any, index: Any) -> Any:
    """Eight bytes of a uint8 array at any index as uint64. The caller keeps index + 8 <= array.size."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        struct = cgutils.create_struct_proxy(signature.args[0])(context, builder, args[0])
        pointer = builder.gep(struct.data, [args[1]])
        wide = builder.bitcast(pointer, ir.IntType(64).as_pointer())
        return builder.load(wide, align=1)

    return types.uint64(array, types.int64), codegen


@_typed_intrinsic
def _trailing_zeros(typing_context: Any, value: Any) -> Any:
    """How many zero bits are below the lowest set bit of a uint64; 64 if none is set."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), codegen


@compiled
def letters_end(data: Bytes, at: int) -> int:
    """Where the run of ASCII letters ends that begins at `at`, eight bytes at a time."""
    while at + 8 <= data.size:
        word = _load_u64(data, at)
        lower = (word | SPACES) & LOW_BITS
        letters = (lower + FROM_A) & ~(lower + AFTER_Z) & ~word & TOP_BITS  # the top bit of each byte that is a letter
        count = _trailing_zeros(letters ^ TOP_BITS) >> 3
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
            return _load_u64(data, at)
        shift = np.uint64(64 - 8 * size)
        return (_load_u64(data, at) << shift) >> shift
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


@compiled
def decode(data: Bytes, at: int, end: int) -> tuple[int, int]:
    """The code point at `at` and its bytes, as CPython decodes with errors="surrogateescape": strict UTF-8; a byte that
    belongs to no valid sequence is the lone surrogate 0xDC00 + byte."""
    first = as_int(data[at])
    if first < 0x80:
        return first, 1
    left = end - at
    if 0xC2 <= first <= 0xDF and left >= 2:
        second = as_int(data[at + 1])
        if second & 0xC0 == 0x80:
            return (first & 0x1F) << 6 | (second & 0x3F), 2
    elif 0xE0 <= first <= 0xEF and left >= 3:
        second = as_int(data[at + 1])
        third = as_int(data[at + 2])
        low = 0xA0 if first == 0xE0 else 0x80
        high = 0x9F if first == 0xED else 0xBF
        if low <= second <= high and third & 0xC0 == 0x80:
            return (first & 0x0F) << 12 | (second & 0x3F) << 6 | (third & 0x3F), 3
    elif 0xF0 <= first <= 0xF4 and left >= 4:
        second = as_int(data[at + 1])
        third = as_int(data[at + 2])
        fourth = as_int(data[at + 3])
        low = 0x90 if first == 0xF0 else 0x80
        high = 0x8F if first == 0xF4 else 0xBF
        if low <= second <= high and third & 0xC0 == 0x80 and fourth & 0xC0 == 0x80:
            return (first & 0x07) << 18 | (second & 0x3F) << 12 | (third & 0x3F) << 6 | (fourth & 0x3F), 4
    return 0xDC00 + first, 1


@compiled
def count_characters(data: Bytes, end: int) -> int:
    """How many characters the first `end` bytes hold."""
    at = 0
    count = 0
    while at < end:
        at += decode(data, at, end)[1]
        count += 1
    return count
