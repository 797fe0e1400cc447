"""Where a text has words, numbers and indentation, as spans of its UTF-8 bytes, and how many tokens lie on them.

A *word* is a run of characters that are no white space (Unicode's property White_Space). Scripts that are written
without spaces between words (Chinese, Japanese, Thai, …) have none: what is counted per word is not counted there. A
*number* is a run of the digits 0 to 9. An *indentation* is the run of spaces and tabs before the first other character
of a line, from two spaces or one tab on; its levels are its tabs and its spaces over the smallest indentation in
spaces of the text (2 to 8).

The *script* of a text is that of most of its letters. Scripts are told apart by Unicode blocks, a constant table, so
that the version of Python changes nothing.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

Offsets = npt.NDArray[np.int64]

_WHITE_SPACE: Final = np.zeros(0x3002, dtype=bool)
_WHITE_SPACE[[*range(9, 14), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F]] = True
_WHITE_SPACE[0x3000] = True
_BLOCKS: Final[tuple[tuple[int, int, str], ...]] = (
    (0x41, 0x5A, "Latin"),
    (0x61, 0x7A, "Latin"),
    (0xC0, 0x24F, "Latin"),
    (0x370, 0x3FF, "Greek"),
    (0x400, 0x52F, "Cyrillic"),
    (0x531, 0x58F, "Armenian"),
    (0x591, 0x5FF, "Hebrew"),
    (0x600, 0x77F, "Arabic"),
    (0x8A0, 0x8FF, "Arabic"),
    (0x900, 0x97F, "Devanagari"),
    (0x980, 0x9FF, "Bengali"),
    (0xA00, 0xA7F, "Gurmukhi"),
    (0xA80, 0xAFF, "Gujarati"),
    (0xB80, 0xBFF, "Tamil"),
    (0xC00, 0xC7F, "Telugu"),
    (0xC80, 0xCFF, "Kannada"),
    (0xD00, 0xD7F, "Malayalam"),
    (0xD80, 0xDFF, "Sinhala"),
    (0xE00, 0xE7F, "Thai"),
    (0xE80, 0xEFF, "Lao"),
    (0xF00, 0xFFF, "Tibetan"),
    (0x1000, 0x109F, "Myanmar"),
    (0x10A0, 0x10FF, "Georgian"),
    (0x1100, 0x11FF, "Hangul"),
    (0x1200, 0x139F, "Ethiopic"),
    (0x1780, 0x17FF, "Khmer"),
    (0x1E00, 0x1EFF, "Latin"),
    (0x1F00, 0x1FFF, "Greek"),
    (0x3040, 0x30FF, "Kana"),
    (0x3130, 0x318F, "Hangul"),
    (0x31F0, 0x31FF, "Kana"),
    (0x3400, 0x4DBF, "Han"),
    (0x4E00, 0x9FFF, "Han"),
    (0xAC00, 0xD7AF, "Hangul"),
    (0xF900, 0xFAFF, "Han"),
    (0xFB50, 0xFDFF, "Arabic"),
    (0xFE70, 0xFEFF, "Arabic"),
    (0x20000, 0x3FFFF, "Han"),
)
_FIRST: Final = np.array([first for first, _, _ in _BLOCKS])
_LAST: Final = np.array([last for _, last, _ in _BLOCKS])
SCRIPTS: Final = tuple(dict.fromkeys(name for _, _, name in _BLOCKS))
_NUMBER: Final = np.array([SCRIPTS.index(name) for _, _, name in _BLOCKS])
NO_SCRIPT: Final = "other"
WITHOUT_SPACES: Final = frozenset({"Han", "Kana", "Thai", "Lao", "Khmer", "Myanmar", "Tibetan"})


class Spans(NamedTuple):
    """Begins and ends of spans in bytes, int64 [spans] each, in order; they do not overlap."""

    starts: Offsets
    ends: Offsets


class Shape(NamedTuple):
    """What is counted in a text, whatever the tokenizer: its size, its script, its words, numbers and indentations."""

    bytes: int
    characters: int
    script: str
    words: Spans
    numbers: Spans
    digits: int
    indents: Spans
    levels: int


def shape(text: str) -> Shape:
    """Return where `text` has words, numbers and indentation. Linear in the text."""
    points = np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
    offsets = np.zeros(len(points) + 1, dtype=np.int64)
    np.cumsum(1 + (points >= 0x80) + (points >= 0x800) + (points >= 0x10000), out=offsets[1:])
    script = script_of(points)
    white = _WHITE_SPACE[np.minimum(points, len(_WHITE_SPACE) - 1)]
    none = np.zeros(len(points), dtype=bool)
    digit = (points >= 0x30) & (points <= 0x39)
    indents, levels = _indents(points, white)
    return Shape(
        bytes=int(offsets[-1]),
        characters=len(points),
        script=script,
        words=_in_bytes(_runs(none if script in WITHOUT_SPACES else ~white), offsets),
        numbers=_in_bytes(_runs(digit), offsets),
        digits=int(np.count_nonzero(digit)),
        indents=_in_bytes(indents, offsets),
        levels=levels,
    )


def script_of(points: npt.NDArray[Any]) -> str:
    """Return the script of most letters among code points, of two equally frequent ones the first of `SCRIPTS`."""
    block = np.searchsorted(_FIRST, points, side="right") - 1
    inside = points <= _LAST[block]
    counts = np.bincount(_NUMBER[block[inside & (block >= 0)]], minlength=len(SCRIPTS))
    return SCRIPTS[int(counts.argmax())] if counts.any() else NO_SCRIPT


def _runs(mask: npt.NDArray[np.bool_]) -> Spans:
    """Return the runs of true values as spans of positions."""
    edges = np.flatnonzero(np.diff(mask.astype(np.int8), prepend=0, append=0))
    return Spans(edges[::2], edges[1::2])


def _in_bytes(spans: Spans, offsets: Offsets) -> Spans:
    return Spans(offsets[spans.starts], offsets[spans.ends])


def _indents(points: npt.NDArray[Any], white: npt.NDArray[np.bool_]) -> tuple[Spans, int]:
    """Return the indentations as spans of positions, and their levels in all."""
    starts, ends = _runs((points == 0x20) | (points == 0x09))
    begins_line = (starts == 0) | (points[np.maximum(starts - 1, 0)] == 0x0A)
    # a line of nothing but white space is not indented
    goes_on = (ends < len(points)) & ~white[np.minimum(ends, len(points) - 1)]
    tabs = np.concatenate([[0], np.cumsum(points == 0x09)])
    tabs = tabs[ends] - tabs[starts]
    spaces = ends - starts - tabs
    chosen = begins_line & goes_on & ((spaces >= 2) | (tabs >= 1))
    spaces, tabs = spaces[chosen], tabs[chosen]
    unit = min(8, int(spaces[spaces >= 2].min(initial=8)))
    levels = np.maximum(1, tabs + (2 * spaces + unit) // (2 * unit))
    return Spans(starts[chosen], ends[chosen]), int(levels.sum())


def cuts_inside(spans: Spans, ends: Offsets) -> Offsets:
    """Return how often each span is cut, int64 [spans]: the ends of tokens that lie inside it. One more is the number
    of tokens that hold a byte of it.

    ends: int64 [tokens], where each token ends, ascending; none is there twice.
    """
    return np.searchsorted(ends, spans.ends, side="left") - np.searchsorted(ends, spans.starts, side="right")


def tokens_within(spans: Spans, ends: Offsets) -> Offsets:
    """Return how many tokens lie wholly inside each span, int64 [spans]; a token that holds the last space of an
    indentation and the word behind it is the word's."""
    edges = np.concatenate([[0], ends])
    first = np.searchsorted(edges, spans.starts, side="left")
    return np.maximum(np.searchsorted(edges, spans.ends, side="right") - first - 1, 0)
