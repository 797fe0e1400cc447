"""Counts # { ... . . . … and "lorem ipsum" (ASCII letters of either case), 64 bytes at a time."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from curate.filters.text_statistics_counts import (
    C_CURLY,
    C_ELLIPSES,
    C_HASHES,
    C_LOREM,
    C_SPACED_ELLIPSES,
    S_AFTER_ELLIPSIS,
    S_AFTER_SPACED_ELLIPSIS,
)
from curate.text.compiled import Bytes, Ints, as_int, bytes_equal, compiled, count_ones, trailing_zeros

BLOCK: Final = 64
LOREM = np.frombuffer(b"lorem ipsum", dtype=np.uint8)
AHEAD: Final = len(LOREM)  # what begins in a block ends at most so many bytes behind it
PADDED: Final = 3 * BLOCK  # bytes of the scratch array that takes the end of a document: two blocks, and zeros behind
U1 = np.uint64(1)


@compiled
def _either_case(data: Bytes, at: int, letter: int) -> Any:
    return bytes_equal(data, at, np.uint8(letter)) | bytes_equal(data, at, np.uint8(letter ^ 0x20))


@compiled
def _is_lorem(data: Bytes, at: int) -> bool:
    """Whether a byte is of "lorem ipsum" in any case: no other byte than A or a becomes a."""
    for i in range(AHEAD):
        byte = data[at + i]
        if (byte | 0x20) != LOREM[i] or (byte == 0x20) != (LOREM[i] == 0x20):
            return False
    return True


@compiled
def _count_apart(starts: Any, origin: int, size: int, counter: int, after: int, state: Ints) -> None:
    """Add to state[counter] the things of `size` bytes that do not overlap, left to right; `starts` has a bit for each
    place from `origin` on. state[after] is where the last one ended."""
    while starts != np.uint64(0):
        start = origin + trailing_zeros(starts)
        if start >= state[after]:
            state[counter] += 1
            state[after] = start + size
        starts &= starts - U1


@compiled
def _count_block(data: Bytes, at: int, origin: int, state: Ints) -> None:
    """Count what begins in the 64 bytes at `at`, which are those of the document at `origin`."""
    dots = bytes_equal(data, at, np.uint8(0x2E))
    if dots != np.uint64(0):
        dots &= bytes_equal(data, at + 2, np.uint8(0x2E))
        between = bytes_equal(data, at + 1, np.uint8(0x2E))
        _count_apart(dots & between, origin, 3, C_ELLIPSES, S_AFTER_ELLIPSIS, state)
        spaced = dots & bytes_equal(data, at + 1, np.uint8(0x20))
        if spaced != np.uint64(0):
            spaced &= bytes_equal(data, at + 3, np.uint8(0x20)) & bytes_equal(data, at + 4, np.uint8(0x2E))
            _count_apart(spaced, origin, 5, C_SPACED_ELLIPSES, S_AFTER_SPACED_ELLIPSIS, state)
    state[C_HASHES] += count_ones(bytes_equal(data, at, np.uint8(0x23)))
    state[C_CURLY] += count_ones(bytes_equal(data, at, np.uint8(0x7B)))
    wide = bytes_equal(data, at, np.uint8(0xE2))
    if wide != np.uint64(0):
        wide &= bytes_equal(data, at + 1, np.uint8(0x80)) & bytes_equal(data, at + 2, np.uint8(0xA6))
        state[C_ELLIPSES] += count_ones(wide)
    lorem = _either_case(data, at + 4, 0x6D) & bytes_equal(data, at + 5, np.uint8(0x20))
    if lorem != np.uint64(0):
        lorem &= _either_case(data, at + 6, 0x69) & _either_case(data, at, 0x6C)
        while lorem != np.uint64(0):
            state[C_LOREM] += _is_lorem(data, at + as_int(trailing_zeros(lorem)))
            lorem &= lorem - U1


@compiled
def count_symbols(data: Bytes, padded: Bytes, state: Ints) -> None:
    """Count the symbols of one document, each kind without overlaps. `padded` takes its end, with zeros behind."""
    at = 0
    while at + BLOCK + AHEAD <= data.size:
        _count_block(data, at, at, state)
        at += BLOCK
    padded[:] = 0
    for i in range(data.size - at):
        padded[i] = data[at + i]
    for block in range(0, data.size - at, BLOCK):
        _count_block(padded, block, at + block, state)
