"""The numba kernel behind `counts`: cut texts into pre-tokens, count the distinct ones in a hash table of fixed size.

The table is open addressing over entries whose bytes are compared, so equal hashes do no harm; the hash is keyed, so
that no page can aim at it. What does not fit is for the caller: the kernel stops, and goes on with an empty table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np

from curate.text.compiled import (
    Bytes,
    Ints,
    Spans,
    Words,
    as_int,
    cached,
    compiled,
    load_part,
    load_u64,
    source_digest,
)
from curate.tokenize import pretokens
from curate.tokenize.bpe import MAX_BLOCK_CHARS, MAX_RUN_CHARS
from curate.tokenize.learn_pairs import K1, K2, U32, hash_key
from curate.tokenize.pretokens import character, pretoken_end
from curate.tokenize.pretokens_table import PYTHON_SPACE

ENTRIES, BYTES = 0, 1
ROW, AT, LEFT = 0, 1, 2
FILES: Final = ("tokenize/counts_kernel.py", "tokenize/learn_pairs.py", *pretokens.FILES)


class Table(NamedTuple):
    """`table`: int32 [a power of two], entry or -1. `hash`: uint64 [entries]. `start`: int64 [entries + 1], where the
    entry's bytes begin in `data` (uint8). `total`: int64 [entries]. `used`: int64 [2], entries and bytes."""

    table: Spans
    hash: Words
    start: Ints
    total: Ints
    data: Bytes
    used: Ints


@compiled
def _hash(data: Bytes, at: int, size: int, seed: Any) -> Any:
    """A hash of `size` > 0 bytes."""
    value = seed ^ (np.uint64(size) * K1)
    while size > 8:
        value = (value ^ load_part(data, at, 8)) * K2
        value ^= value >> U32
        at += 8
        size -= 8
    return hash_key(value ^ load_part(data, at, size))


@compiled
def _same(a: Bytes, at_a: int, b: Bytes, at_b: int, size: int) -> bool:
    while size > 8:
        if load_u64(a, at_a) != load_u64(b, at_b):
            return False
        at_a += 8
        at_b += 8
        size -= 8
    return load_part(a, at_a, size) == load_part(b, at_b, size)


@compiled
def add(data: Bytes, at: int, size: int, weight: int, seed: Any, table: Table) -> None:
    """Count ``data[at : at + size]``, which is not empty, `weight` times. The caller keeps room for one entry more."""
    value = _hash(data, at, size, seed)
    mask = table.table.size - 1
    place = as_int(value & np.uint64(mask))
    while True:
        entry = table.table[place]
        if entry < 0:
            break
        start = table.start[entry]
        if (
            table.hash[entry] == value
            and table.start[entry + 1] - start == size
            and _same(data, at, table.data, start, size)
        ):
            table.total[entry] += weight
            return
        place = (place + 1) & mask
    entry, start = table.used[ENTRIES], table.used[BYTES]
    table.table[place] = entry
    table.hash[entry] = value
    table.total[entry] = weight
    for i in range(size):
        table.data[start + i] = data[at + i]
    table.start[entry + 1] = start + size
    table.used[ENTRIES] += 1
    table.used[BYTES] += size


@compiled
def piece_end(data: Bytes, at: int, end: int, left: int) -> tuple[int, int]:
    """Where the piece ends that `bpe.blocks` would yield from `at` on, and how many characters it has.

    `left`: how many characters the block of 400,000 still has. ``data[at:end]`` is the rest of the text. Of a short
    rest the number of bytes is told, which is not less.
    """
    if end - at <= min(left, MAX_RUN_CHARS):
        return end, end - at
    count, run, kind = 0, 0, -1
    while at < end and count < left:
        flags, size = character(data, at)
        if (flags & PYTHON_SPACE) != kind:
            kind = flags & PYTHON_SPACE
            run = 0
        if run == MAX_RUN_CHARS:
            break
        run += 1
        count += 1
        at += size
    return at, count


def _compile(sources: str) -> tuple[Callable[..., Any], ...]:
    """Return the compiled entry points; `sources` is a `source_digest`."""

    @cached
    def count(data: Bytes, bounds: Ints, weights: Ints, digits: int, seed: Any, table: Table, where: Ints) -> bool:
        """Count the pre-tokens of each text, its weight each time; texts without weight are passed over.

        `where`, int64 [3], is where to begin, and where the table was full: row, byte, characters left in the block.
        Returns whether all is done.
        """
        sources  # noqa: B018 - a closure variable is part of the key of numba's cache on disk
        while where[ROW] < weights.size:
            row = where[ROW]
            at, end, weight = where[AT], bounds[row + 1], weights[row]
            while at < end and weight > 0:
                stop, characters = piece_end(data, at, end, where[LEFT])
                # a pre-token has at least one character
                entries, room = table.total.size - table.used[ENTRIES], table.data.size - table.used[BYTES]
                if characters > entries or stop - at > room:
                    where[AT] = at
                    return False
                while at < stop:
                    following = pretoken_end(data, at, stop, digits)
                    add(data, at, following - at, weight, seed, table)
                    at = following
                where[LEFT] -= characters
                if where[LEFT] <= 0:
                    where[LEFT] = MAX_BLOCK_CHARS
            where[ROW] = row + 1
            where[AT] = end
            where[LEFT] = MAX_BLOCK_CHARS
        return True

    @cached
    def hashes(data: Bytes, bounds: Ints, seed: Any, out: Words) -> None:
        """Hash each word."""
        sources  # noqa: B018
        for row in range(out.size):
            out[row] = _hash(data, bounds[row], bounds[row + 1] - bounds[row], seed)

    return count, hashes


count, hashes = _compile(source_digest(*FILES))
