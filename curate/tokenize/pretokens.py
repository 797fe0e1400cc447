r"""Pre-tokens: the pieces that a split pattern cuts a text into, found by a kernel on UTF-8 bytes.

One kernel serves the patterns of `PATTERNS`: Llama 3's, which is that of GPT-4 (``cl100k``), its kin with fewer digits,
and the simpler one of GPT-2. It gives the matches of the pattern as ``tiktoken`` finds them (leftmost, first
alternative first); the classes of characters are those of `pretokens_table`. What Llama 3's alternatives come to, at a
character:

==================  ==================================================================================================
letter              letters
number              one to three numbers
``'``               with s t re ve m ll d in any case (ſ is an s): a contraction
other               before a letter: it and the letters; else other characters and the line breaks after them
white space         before a letter, unless it is a line break: it and the letters. A space before another character:
                    as there. Else the run of white space: up to its last line break if it has one; all of it at the end
                    of the text; all but its last character, which belongs to what follows; that one if it is alone
==================  ==================================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import pyarrow as pa

from curate.text.compiled import Bytes, Ints, as_int, cached, compiled, source_digest
from curate.tokenize import pretokens_table as table

LLAMA3_PATTERN: Final = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
GPT2_PATTERN: Final = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
GPT2: Final = 0
PATTERNS: Final[Mapping[str, int]] = {
    LLAMA3_PATTERN: 3,
    LLAMA3_PATTERN.replace("{1,3}", "{1,2}"): 2,
    LLAMA3_PATTERN.replace("{1,3}", ""): 1,
    GPT2_PATTERN: GPT2,
    GPT2_PATTERN.replace("'(?:[sdmt]|ll|ve|re)", "'s|'t|'re|'ve|'m|'ll|'d"): GPT2,
}
"""The patterns that the kernel knows, and how many numbers make one pre-token; `GPT2` marks that pattern."""
FILES: Final = ("tokenize/pretokens.py", "tokenize/pretokens_table.*")
"""What compiled code that uses `pretoken_end` is made from, for `source_digest`."""

LETTER, NUMBER, SPACE, NEWLINE = table.LETTER, table.NUMBER, table.SPACE, table.NEWLINE
INDEX, FLAGS = table.load()
ASCII = FLAGS[as_int(INDEX[0]) << 8 :][:128].copy()
BLANK, APOSTROPHE = ord(" "), ord("'")
S, T, M, D, R, E, V, L = (ord(letter) for letter in "stmdrevl")
LONG_S = (0xC5, 0xBF)


@compiled
def character(data: Bytes, at: int) -> tuple[int, int]:
    """The flags of the character at `at` and its number of bytes. The text is valid UTF-8."""
    first = as_int(data[at])
    if first < 0x80:
        return as_int(ASCII[first]), 1
    if first < 0xE0:
        point, size = (first & 0x1F) << 6 | (as_int(data[at + 1]) & 0x3F), 2
    elif first < 0xF0:
        point = (first & 0x0F) << 12 | (as_int(data[at + 1]) & 0x3F) << 6 | (as_int(data[at + 2]) & 0x3F)
        size = 3
    else:
        point = (first & 0x07) << 18 | (as_int(data[at + 1]) & 0x3F) << 12
        point |= (as_int(data[at + 2]) & 0x3F) << 6 | (as_int(data[at + 3]) & 0x3F)
        size = 4
    return as_int(FLAGS[as_int(INDEX[point >> 8]) << 8 | (point & 255)]), size


@compiled
def _letters(data: Bytes, at: int, end: int) -> int:
    while at < end:
        flags, size = character(data, at)
        if not flags & LETTER:
            break
        at += size
    return at


@compiled
def _others(data: Bytes, at: int, end: int) -> int:
    """Where a run of other characters, and of line breaks after it, ends."""
    while at < end:
        flags, size = character(data, at)
        if flags & (LETTER | NUMBER | SPACE):
            break
        at += size
    while at < end and (data[at] == 10 or data[at] == 13):
        at += 1
    return at


@compiled
def _contraction(data: Bytes, at: int, end: int) -> int:
    """Where the contraction ends whose apostrophe is before `at`; -1 if there is none."""
    if at >= end:
        return -1
    first = as_int(data[at]) | 0x20
    if first in (S, T, M, D):
        return at + 1
    if at + 1 >= end:
        return -1
    if data[at] == LONG_S[0] and data[at + 1] == LONG_S[1]:
        return at + 2
    second = as_int(data[at + 1]) | 0x20
    if (first == R and second == E) or (first == V and second == E) or (first == L and second == L):
        return at + 2
    return -1


@compiled
def _white_space(data: Bytes, at: int, end: int, newline: int) -> int:
    """Where white space from `at` on is cut; a character with the flag `newline` ends it."""
    start, last, line = at, at, -1
    while at < end:
        flags, size = character(data, at)
        if not flags & SPACE:
            break
        last = at
        at += size
        if flags & newline:
            line = at
    if line >= 0:
        return line
    return last if at < end and last > start else at


@compiled
def _gpt2_end(data: Bytes, at: int, end: int) -> int:
    """`pretoken_end` of GPT-2's pattern: a contraction in small letters; or after at most one space letters, numbers or
    other characters; or white space."""
    flags, size = character(data, at)
    after = at + size
    if data[at] == APOSTROPHE:
        contraction = _contraction(data, after, end)
        small = contraction >= 0 and data[after] < 0x80 and data[after] & 0x20 and data[contraction - 1] & 0x20
        if small:
            return contraction
    if data[at] == BLANK and after < end:
        following, size = character(data, after)
        if not following & SPACE:
            flags = following
            after += size
    if flags & SPACE:
        return _white_space(data, at, end, 0)
    kind = flags & (LETTER | NUMBER)
    while after < end:
        flags, size = character(data, after)
        if flags & (LETTER | NUMBER | SPACE) != kind:
            break
        after += size
    return after


@compiled
def pretoken_end(data: Bytes, at: int, end: int, digits: int) -> int:
    """Where the pre-token ends that begins at `at` < `end`; `digits` is the value in `PATTERNS`.

    ``data[:end]`` is valid UTF-8, and `at` is the beginning of the text or the end of another pre-token.
    """
    if digits == GPT2:
        return _gpt2_end(data, at, end)
    flags, size = character(data, at)
    after = at + size
    if flags & LETTER:
        return _letters(data, after, end)
    if flags & NUMBER:
        for _ in range(digits - 1):
            if after == end:
                break
            flags, size = character(data, after)
            if not flags & NUMBER:
                break
            after += size
        return after
    if data[at] == APOSTROPHE:
        contraction = _contraction(data, after, end)
        if contraction >= 0:
            return contraction
    if after < end and not flags & NEWLINE:
        following, size = character(data, after)
        if following & LETTER:
            return _letters(data, after + size, end)
        if not flags & SPACE or (data[at] == BLANK and not following & (NUMBER | SPACE)):
            return _others(data, after, end)
    return _white_space(data, at, end, NEWLINE) if flags & SPACE else after


def _compile(sources: str) -> Callable[..., int]:
    """Return the compiled loop over texts; `sources` is a `source_digest`."""

    @cached
    def boundaries(data: Bytes, bounds: Ints, digits: int, ends: Ints) -> int:
        sources  # noqa: B018 - a closure variable is part of the key of numba's cache on disk
        count = 0
        for row in range(bounds.size - 1):
            at, end = bounds[row], bounds[row + 1]
            while at < end:
                at = pretoken_end(data, at, end, digits)
                ends[count] = at
                count += 1
        return count

    return boundaries


_BOUNDARIES: Final = _compile(source_digest(*FILES))


def boundaries(data: pa.Buffer | bytes, bounds: Ints, pattern: str = LLAMA3_PATTERN) -> Ints:
    """Return where each pre-token ends, int64 [pre-tokens] in bytes of `data`, in the order of the text.

    Text number i is ``data[bounds[i]:bounds[i + 1]]`` and valid UTF-8. Raises KeyError for a pattern that is not in
    `PATTERNS`.
    """
    view: Any = np.frombuffer(data, dtype=np.uint8)
    ends = np.empty(max(1, int(bounds[-1] - bounds[0])), dtype=np.int64)
    return ends[: _BOUNDARIES(view, bounds, PATTERNS[pattern], ends)].copy()
