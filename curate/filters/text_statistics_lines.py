"""Lines and paragraphs of a document: what is counted where a line ends, and which lines make a paragraph.

A line is a row of (first byte, bytes, characters, first character, 1 if it holds more than white space), a paragraph
one of (first byte, bytes, characters, first character).
"""

from __future__ import annotations

from curate.filters import unicode_table as unicode
from curate.filters.text_statistics_counts import (
    C_AT_MOST_30,
    C_BELOW_30,
    C_BULLETS,
    C_ELLIPSIS_LINES,
    C_LINES,
    C_NONEMPTY_LINES,
    C_TERMINAL_LINES,
    C_WIDE_BULLETS,
)
from curate.text.compiled import Bytes, Ints, Spans, as_int, compiled, inlined

TERMINAL = unicode.TERMINAL


@inlined
def end_line(
    data: Bytes,
    start: int,
    end: int,
    position: int,
    characters: int,
    first_word: int,
    last_word_end: int,
    last_flags: int,
    state: Ints,
    lines: Spans,
) -> None:
    """Count the line of bytes [start, end) that begins at character `position`; `first_word` < `start`: it is blank."""
    if end == start:
        return
    blank = first_word < start
    n = state[C_NONEMPTY_LINES]
    state[C_NONEMPTY_LINES] = n + 1
    if n < lines.shape[0]:
        lines[n, 0] = start
        lines[n, 1] = end - start
        lines[n, 2] = characters
        lines[n, 3] = position
        lines[n, 4] = 0 if blank else 1
    if blank:
        return
    state[C_LINES] += 1
    state[C_AT_MOST_30] += characters <= 30
    state[C_BELOW_30] += characters < 30
    state[C_TERMINAL_LINES] += last_word_end == end and last_flags & TERMINAL != 0
    bullet = as_int(data[first_word])
    round_bullet = 0
    if bullet == 0xE2 and end - first_word >= 3:
        round_bullet = as_int(data[first_word + 1]) << 8 | as_int(data[first_word + 2])
    narrow = bullet == 0x2D or round_bullet == 0x80A2  # - •
    state[C_BULLETS] += narrow
    state[C_WIDE_BULLETS] += narrow or bullet == 0x2A or round_bullet == 0x978F  # * ●
    if last_word_end - first_word >= 3:
        a, b, c = data[last_word_end - 3], data[last_word_end - 2], data[last_word_end - 1]
        state[C_ELLIPSIS_LINES] += (a == 0x2E and b == 0x2E and c == 0x2E) or (a == 0xE2 and b == 0x80 and c == 0xA6)


@compiled
def join_paragraphs(lines: Spans, count: int, trimmed: Ints, paragraphs: Spans) -> int:
    """Join lines that one newline separates, inside the trimmed text. Returns how many paragraphs there are."""
    n = 0
    last_end = -2
    for i in range(count):
        start = max(as_int(lines[i, 0]), trimmed[0])
        end = min(as_int(lines[i, 0] + lines[i, 1]), trimmed[1])
        if end <= start:
            continue
        first = max(as_int(lines[i, 3]), trimmed[2])
        last = min(as_int(lines[i, 3] + lines[i, 2]), trimmed[3])
        if start == last_end + 1:
            paragraphs[n - 1, 1] = end - paragraphs[n - 1, 0]
            paragraphs[n - 1, 2] = last - paragraphs[n - 1, 3]
        else:
            paragraphs[n, 0] = start
            paragraphs[n, 1] = end - start
            paragraphs[n, 2] = last - first
            paragraphs[n, 3] = first
            n += 1
        last_end = end
    return n
