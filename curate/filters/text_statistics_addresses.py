"""Which words are URLs or e-mail addresses: these stay one segment.

A piece is a white-space word decoded to rows of (code point, flags, byte offset).
"""

from __future__ import annotations

from curate.filters import unicode_table as unicode
from curate.text.compiled import Ints, compiled

POINT, FLAGS, OFFSET = 0, 1, 2  # columns of a piece
# plain module-level integers, which numba freezes into the code
LETTER, NUMBER, UPPER = unicode.LETTER, unicode.NUMBER, unicode.UPPER
WORD = LETTER | NUMBER | unicode.COMBINING


@compiled
def _is_host(piece: Ints, at: int, back: int) -> bool:
    """host.tld or an IPv4 address, then nothing, a port, or what begins with / ? #."""
    labels = 1
    label = at
    digits_only = True
    i = at
    while True:
        ends = i == back or not (
            piece[i, FLAGS] & WORD != 0 or piece[i, POINT] == 0x2D or piece[i, POINT] == 0x5F or piece[i, POINT] == 0x2E
        )
        if ends or piece[i, POINT] == 0x2E:
            size = i - label
            if ends:
                break
            if size < 1 or size > 64:
                return False
            first, last = piece[label, POINT], piece[i - 1, POINT]
            if first == 0x2D or first == 0x5F or last == 0x2D or last == 0x5F:
                return False
            digits_only = digits_only and size <= 3 and piece[label, FLAGS] & NUMBER != 0
            labels += 1
            label = i + 1
        elif piece[i, FLAGS] & NUMBER == 0:
            digits_only = False
        i += 1
    size = i - label
    if labels < 2:
        return False
    if not (labels == 4 and digits_only and 1 <= size <= 3):
        if size < 2 or size > 63:
            return False
        for k in range(label, i):
            if piece[k, FLAGS] & LETTER == 0 or piece[k, FLAGS] & UPPER != 0:
                return False
    if i < back and piece[i, POINT] == 0x3A:
        digits = 0
        i += 1
        while i < back and piece[i, FLAGS] & NUMBER != 0:
            i += 1
            digits += 1
        if digits < 2 or digits > 5:
            return False
    return i == back or piece[i, POINT] == 0x2F or piece[i, POINT] == 0x3F or piece[i, POINT] == 0x23


@compiled
def is_address(piece: Ints, front: int, back: int) -> bool:
    """[scheme://][user@]host…: a URL or e-mail address stays one segment."""
    at = front
    i = front
    while i < back and (piece[i, FLAGS] & WORD != 0 or 0x2B <= piece[i, POINT] <= 0x2E or piece[i, POINT] == 0x5F):
        i += 1
    if (
        i - front >= 2
        and i + 2 < back
        and piece[i, POINT] == 0x3A
        and piece[i + 1, POINT] == 0x2F
        and piece[i + 2, POINT] == 0x2F
    ):
        at = i + 3
    if _is_host(piece, at, back):
        return True
    first = -1
    last = -1
    for k in range(at, back):
        if piece[k, POINT] == 0x40:
            if first < 0:
                first = k
            last = k
    if first > at and _is_host(piece, first + 1, back):
        return True
    return last > first and first >= 0 and _is_host(piece, last + 1, back)
