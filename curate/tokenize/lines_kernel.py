"""The numba kernel that counts what the SentencePiece trainer would make of texts: words of lines.

The trainer reads a text line by line, puts a space before each line, cuts it before every run of spaces, and from then
on knows only how often each of these words occurs. So its model follows from the counted words. What it does to a line
before that is done here, too: a carriage return at its end goes, U+2581 is a space, and a line with U+2585, the
trainer's own mark for unknown characters, is left out. A line of more than `MAX_LINE_BYTES`, which it would silently
skip, is cut at white space.

A word begins with its spaces. A tab in it is told as a line break, which no line can hold: the trainer is given words
and counts with a tab between them, and a line break sorts as the tab would.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from curate.text.compiled import Bytes, Ints, cached, compiled, source_digest
from curate.tokenize import counts_kernel
from curate.tokenize.counts_kernel import AT, BYTES, ENTRIES, ROW, Table, add

MAX_LINE_BYTES: Final = 4192
SCRATCH_BYTES: Final = MAX_LINE_BYTES + 1
"""A line and the space before it: at most so many words, with at most so many bytes."""
MAX_LINE_CHARACTERS: Final = MAX_LINE_BYTES // 4
SPACE, TAB, NEWLINE, RETURN = ord(" "), ord("\t"), ord("\n"), ord("\r")


@compiled
def piece_end(data: Bytes, at: int, end: int) -> int:
    """Where what the trainer is given from `at` on ends: the line, or the part of a long one before its last space
    among `MAX_LINE_CHARACTERS`, or all of these. Cut parts join to the line."""
    stop = at
    while stop < end and stop - at <= MAX_LINE_BYTES and data[stop] != NEWLINE:
        stop += 1
    if stop - at <= MAX_LINE_BYTES:
        return stop
    stop, space = at, at
    for _ in range(MAX_LINE_CHARACTERS):
        if data[stop] == SPACE:
            space = stop
        first = data[stop]
        stop += 1 if first < 0x80 else 2 if first < 0xE0 else 3 if first < 0xF0 else 4
    return space if space > at else stop


@compiled
def read_piece(data: Bytes, at: int, stop: int, scratch: Bytes) -> int:
    """Write the line between `at` and `stop` as the trainer has it to `scratch`; return its bytes, 0 if it is left
    out."""
    while stop > at and data[stop - 1] == RETURN:
        stop -= 1
    if stop == at:
        return 0
    scratch[0] = SPACE
    size = 1
    while at < stop:
        byte = data[at]
        if byte == 0xE2 and data[at + 1] == 0x96 and (data[at + 2] == 0x81 or data[at + 2] == 0x85):
            if data[at + 2] == 0x85:
                return 0
            byte = np.uint8(SPACE)
            at += 2
        scratch[size] = NEWLINE if byte == TAB else byte
        size += 1
        at += 1
    return size


def _compile(sources: str) -> Callable[..., Any]:
    """Return the compiled entry point; `sources` is a `source_digest`."""

    @cached
    def count(data: Bytes, bounds: Ints, weights: Ints, scratch: Bytes, seed: Any, table: Table, where: Ints) -> bool:
        """Count the words of the lines of each text, its weight each time; texts without weight are passed over.

        `scratch`: uint8 [SCRATCH_BYTES]. `where`, int64 [2], is where to begin, and where the table was full: row,
        byte. Returns whether all is done.
        """
        sources  # noqa: B018 - a closure variable is part of the key of numba's cache on disk
        while where[ROW] < weights.size:
            row = where[ROW]
            at, end, weight = where[AT], bounds[row + 1], weights[row]
            while at < end and weight > 0:
                entries, room = table.total.size - table.used[ENTRIES], table.data.size - table.used[BYTES]
                if min(entries, room) < SCRATCH_BYTES:
                    where[AT] = at
                    return False
                stop = piece_end(data, at, end)
                size = read_piece(data, at, stop, scratch)
                begin = 0
                while begin < size:
                    following = begin + 1
                    while following < size and scratch[following] == SPACE:
                        following += 1
                    while following < size and scratch[following] != SPACE:
                        following += 1
                    add(scratch, begin, following - begin, weight, seed, table)
                    begin = following
                at = stop + 1 if stop < end and data[stop] == NEWLINE else stop
            where[ROW] = row + 1
            where[AT] = end
        return True

    return count


count = _compile(source_digest("tokenize/lines_kernel.py", *counts_kernel.FILES))
