"""Splits a white-space word into segments: words and marks. The rules are told in `text_statistics`.

A piece is a white-space word, or 16,384 characters of a longer one, decoded to rows of (code point, flags, byte
offset). A segment is a row of (first byte, bytes, characters).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from curate.filters import unicode_table as unicode
from curate.filters.text_statistics_addresses import FLAGS, OFFSET, POINT, WORD, is_address
from curate.filters.text_statistics_bytes import contains, packed
from curate.filters.text_statistics_counts import (
    C_ALPHABETIC_SEGMENTS,
    C_ALPHABETIC_WORDS,
    C_SEGMENTS,
    C_SENTENCES,
    C_WORD_CHARACTERS,
    C_WORDS,
    S_LINE_START,
    S_SENTENCE_ENDED,
    S_STOP_MASK,
    stop_word,
)
from curate.text.compiled import Ints, Spans, compiled, inlined

MAX_PIECE: Final = 1 << 14

LETTER, NUMBER, COMBINING = unicode.LETTER, unicode.NUMBER, unicode.COMBINING
PUNCTUATION, UPPER, SOLO = unicode.PUNCTUATION, unicode.UPPER, unicode.SOLO
TERMINAL, QUOTE, ICON = unicode.TERMINAL, unicode.QUOTE, unicode.ICON
CURRENCY, HYPHEN = unicode.CURRENCY, unicode.HYPHEN
MARK = PUNCTUATION | unicode.SYMBOL

# English abbreviations that keep their full stop (besides single letters and dotted capitals, which rules cover)
ABBREVIATION_LIST: Final = (
    "Mr. Mrs. Ms. Dr. Prof. St. Mt. Jr. Inc. Ltd. Co. co. Corp. Bros. Gen. Gov. Rep. Rev. Sen. Adm. Messrs. "
    "Mo. Mont. Md. vs. v.s. e.g. E.g. E.G. i.e. I.e. I.E. a.m. p.m. Ph.D. D.C. Jan. Feb. Mar. Apr. Jun. Jul. "
    "Aug. Sep. Sept. Oct. Nov. Dec. Ala. Ariz. Ark. Calif. Colo. Conn. Del. Fla. Ga. Ia. Id. Ill. Ind. Kan. "
    "Kans. Ky. La. Mass. Mich. Minn. Miss. Neb. Nebr. Nev. Okla. Ore. Pa. Tenn. Va. Wash. Wis."
)
ABBREVIATIONS = np.array(sorted(packed(word) for word in ABBREVIATION_LIST.split()), dtype=np.uint64)
# Units that are split from the number before them
UNIT_LIST: Final = "km m dm cm mm ha nm yd in ft kg g mg t lb oz kmh mph hPa Pa mb MB kb KB gb GB tb TB T G M K"
UNITS = np.array(sorted(packed(word) for word in UNIT_LIST.split()), dtype=np.uint64)


@inlined
def _is_joiner(point: int) -> bool:
    """- / \\ @ ^ | ~ and the two Unicode hyphens: never split off at the edge of a word."""
    return (
        point == 0x2D
        or point == 0x2F
        or point == 0x5C
        or point == 0x40
        or point == 0x5E
        or point == 0x7C
        or point == 0x7E
        or point == 0x2010
        or point == 0x2011
    )


@inlined
def _opens(piece: Ints, at: int, back: int) -> bool:
    point = piece[at, POINT]
    if point == 0x2E or _is_joiner(point):
        return False
    if point == 0x2B:
        return not (at + 1 < back and piece[at + 1, FLAGS] & NUMBER != 0)
    return piece[at, FLAGS] & MARK != 0


@inlined
def _closes(piece: Ints, front: int, at: int) -> bool:
    point = piece[at, POINT]
    flag = piece[at, FLAGS]
    if flag & MARK == 0 or _is_joiner(point) or point == 0x3D or point == 0xA7:
        return False
    if at == front:
        return point != 0x2E and point != 0x2B and point != 0x25 and flag & CURRENCY == 0
    before = piece[at - 1, POINT]
    before_flag = piece[at - 1, FLAGS]
    if point == 0x2E:
        if before_flag & UPPER:
            return at - 2 >= front and piece[at - 2, FLAGS] & UPPER != 0
        if before_flag & LETTER:
            return at - 1 > front or before >= 0x80
        if before_flag & (NUMBER | COMBINING):
            return True
        return before_flag & MARK != 0 and not _is_joiner(before) and before != 0x3D and before != 0x2E
    if point == 0x2B or point == 0x25 or flag & CURRENCY:
        return before_flag & NUMBER != 0
    return True


@inlined
def _packed_ascii(piece: Ints, front: int, back: int) -> Any:
    """Up to eight ASCII characters packed as bytes; 0 if there is any other."""
    word = np.uint64(0)
    for i in range(front, back):
        if piece[i, POINT] >= 0x80:
            return np.uint64(0)
        word |= np.uint64(piece[i, POINT]) << np.uint64(8 * (i - front))
    return word


@compiled
def _unit_start(piece: Ints, front: int, back: int) -> int:
    """Where a unit begins that ends at `back` and follows a number, or `back`."""
    at = back
    while at > front and back - at < 4 and piece[at - 1, POINT] < 0x80 and piece[at - 1, FLAGS] & LETTER != 0:
        at -= 1
    if front < at < back and piece[at - 1, FLAGS] & NUMBER != 0 and contains(UNITS, _packed_ascii(piece, at, back)):
        return at
    return back


@inlined
def _infix_end(piece: Ints, front: int, at: int, back: int) -> int:
    """Where a separator inside a word ends that begins at `at` > front, or `at` if there is none."""
    point = piece[at, POINT]
    if piece[at, FLAGS] & ICON or point == 0x2026:
        return at + 1
    before = piece[at - 1, FLAGS]
    after = 0
    if at + 1 < back:
        after = piece[at + 1, FLAGS]
    if point == 0x2E:
        end = at
        while end < back and piece[end, POINT] == 0x2E:
            end += 1
        if end - at >= 2:
            return end
        splits = (before & (LETTER | UPPER) == LETTER or before & QUOTE != 0) and after & (UPPER | QUOTE) != 0
        return at + 1 if splits else at
    if piece[at, FLAGS] & HYPHEN:
        longest = 3 if point == 0x2D else 2 if point == 0x2014 else 1
        end = at
        while end < back and piece[end, POINT] == point and end - at < longest:
            end += 1
        if before & (LETTER | NUMBER) and end < back and piece[end, FLAGS] & LETTER:
            return end
        if point == 0x2D and before & NUMBER and at + 1 < back and (after & NUMBER or piece[at + 1, POINT] == 0x2D):
            return at + 1
        return at
    if point == 0x2C:
        return at + 1 if before & LETTER and after & LETTER else at
    if point == 0x3A or point == 0x3C or point == 0x3E or point == 0x3D or point == 0x2F:
        return at + 1 if before & (LETTER | NUMBER) and after & LETTER else at
    if point == 0x2B or point == 0x2A or point == 0x5E:
        follows = at + 1 < back and (after & NUMBER != 0 or piece[at + 1, POINT] == 0x2D)
        return at + 1 if before & NUMBER and follows else at
    return at


@inlined
def _contraction(piece: Ints, front: int, back: int) -> int:
    """Where n't, 'll, 've, 're, 'd or 'm begins at the end of a word of letters, or `back`."""
    split = back
    for tail in range(1, 3):
        quote = back - 1 - tail
        if quote > front and (piece[quote, POINT] == 0x27 or piece[quote, POINT] == 0x2019):
            a = piece[quote + 1, POINT]
            if tail == 1:
                if a == 0x74 and piece[quote - 1, POINT] == 0x6E:
                    split = quote - 1
                elif a == 0x64 or a == 0x6D:
                    split = quote
            else:
                b = piece[quote + 2, POINT]
                if (a == 0x6C and b == 0x6C) or (b == 0x65 and (a == 0x76 or a == 0x72)):
                    split = quote
    if split == front:
        return back
    if split < back:
        for i in range(front, split):
            if piece[i, FLAGS] & LETTER == 0:
                return back
    return split


@inlined
def _emit(piece: Ints, front: int, back: int, segments: Spans, n: int, state: Ints) -> int:
    """Append characters [front, back) of a piece as segment number `n`, and count it, unless there are none; return the
    next number."""
    if back <= front:
        return n
    size = back - front
    union = 0
    common = PUNCTUATION
    for i in range(front, back):
        union |= piece[i, FLAGS]
        common &= piece[i, FLAGS]
    state[C_SEGMENTS] += 1
    if union & WORD:
        alphabetic = 1 if union & LETTER else 0
        state[C_ALPHABETIC_SEGMENTS] += alphabetic
        state[C_ALPHABETIC_WORDS] += alphabetic
        state[C_WORDS] += 1
        state[C_WORD_CHARACTERS] += size
        if 2 <= size <= 4:
            state[S_STOP_MASK] |= stop_word(_packed_ascii(piece, front, back), size)
    terminal = size == 1 and union & TERMINAL != 0
    if state[S_LINE_START] or (state[S_SENTENCE_ENDED] and not terminal and not common):
        state[C_SENTENCES] += 1
        state[S_LINE_START] = 0
        state[S_SENTENCE_ENDED] = 0
    if terminal:
        state[S_SENTENCE_ENDED] = 1
    segments[n, 0] = piece[front, OFFSET]
    segments[n, 1] = piece[back, OFFSET] - piece[front, OFFSET]
    segments[n, 2] = size
    return n + 1


@compiled
def _segment_core(
    piece: Ints,
    front: int,
    back: int,
    segments: Spans,
    n: int,
    state: Ints,
) -> int:
    """What is left of a white-space word without the marks at its edges."""
    has_dot = False
    has_solo = False
    for i in range(front, back):
        has_dot = has_dot or piece[i, POINT] == 0x2E
        has_solo = has_solo or piece[i, FLAGS] & SOLO != 0
    if has_dot and not has_solo and is_address(piece, front, back):
        return int(_emit(piece, front, back, segments, n, state))
    start = front
    at = front
    while at < back:
        end = at
        if piece[at, FLAGS] & SOLO:
            end = at + 1
            while end < back and piece[end, FLAGS] & COMBINING:
                end += 1
        elif at > front and piece[at, FLAGS] & MARK:
            end = _infix_end(piece, front, at, back)
        if end > at:
            n = _emit(piece, start, at, segments, n, state)
            n = _emit(piece, at, end, segments, n, state)
            start = end
            at = end
        else:
            at += 1
    if start == front:
        split = _contraction(piece, front, back)
        n = _emit(piece, front, split, segments, n, state)
        start = split
    return int(_emit(piece, start, back, segments, n, state))


@compiled
def segment_piece(
    piece: Ints,
    stack: Ints,
    count: int,
    segments: Spans,
    n: int,
    state: Ints,
) -> int:
    """Split off the marks at both edges of a piece, then split the rest."""
    if count == 1:
        return int(_emit(piece, 0, 1, segments, n, state))
    front = 0
    back = count
    closing = 0
    while front < back:
        last = piece[back - 1, POINT]
        if last == 0x2E and back - front <= 8 and contains(ABBREVIATIONS, _packed_ascii(piece, front, back)):
            break
        end = front
        if piece[front, POINT] == 0x2E:
            while end < back and piece[end, POINT] == 0x2E:
                end += 1
            if end - front == 1:
                end = front
        elif _opens(piece, front, back):
            end = front + 1
        if end > front:
            n = _emit(piece, front, end, segments, n, state)
            front = end
            continue
        start = back
        if last == 0x2E and back - 2 >= front and piece[back - 2, POINT] == 0x2E:
            while start > front and piece[start - 1, POINT] == 0x2E:
                start -= 1
        elif (
            back - front > 2
            and (last == 0x73 or last == 0x53)
            and (piece[back - 2, POINT] == 0x27 or piece[back - 2, POINT] == 0x2019)
        ):
            start = back - 2
        elif _closes(piece, front, back - 1):
            start = back - 1
        else:
            start = _unit_start(piece, front, back)
        if start == back:
            break
        stack[closing, 0] = start
        stack[closing, 1] = back
        closing += 1
        back = start
    if front < back:
        last = piece[back - 1, POINT]
        if last == 0x2E and back - front <= 8 and contains(ABBREVIATIONS, _packed_ascii(piece, front, back)):
            n = _emit(piece, front, back, segments, n, state)
        else:
            n = _segment_core(piece, front, back, segments, n, state)
    while closing > 0:
        closing -= 1
        n = _emit(piece, stack[closing, 0], stack[closing, 1], segments, n, state)
    return n
