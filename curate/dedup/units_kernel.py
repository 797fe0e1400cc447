"""The numba code behind `units`: where sentences end, and what is compared of a unit."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from curate.dedup.fold_table import DIGIT, KIND
from curate.text.compiled import Bytes, Hashes, Ints, as_int, cached, compiled, source_digest

DIGIT_KIND, KIND_MASK = np.uint32(DIGIT), np.uint32(KIND)
ENDS_FREE: Final = "。！？｡．।॥؟۔።፧᙮‼⁇⁈⁉…"
"""Marks beyond ASCII that end a sentence; those of scripts without spaces do so wherever they stand."""
SPACED: Final = "।॥؟۔።፧᙮‼⁇⁈⁉…．"
"""Those of them that need white space behind them, as the ASCII marks do."""
CLOSING: Final = "”’»›」』）】〉》〕］｝"
"""What closes a quotation or bracket, beside the ASCII ones: it belongs to the sentence that ends before it."""
CCNET_MARKS: Final = "，。、„”“«»１」「《》´∶：？！（）；–—．～’…━〈〉【】％►"
"""What CCNet leaves out (text_normalizer.py, UNICODE_PUNCT), beside controls; its ``１`` is a 0 by then."""


def _points(characters: str) -> Ints:
    return np.array(sorted(map(ord, characters)), dtype=np.int64)


ENDS_POINTS, SPACED_POINTS, CLOSING_POINTS = _points(ENDS_FREE), _points(SPACED), _points(CLOSING)
MARK_POINTS = _points(CCNET_MARKS)


@compiled
def _among(point: int, points: Ints) -> bool:
    found = False
    for k in range(points.size):
        found |= points[k] == point
    return found


@compiled
def _decode(data: Bytes, at: int, end: int) -> tuple[int, int]:
    """The code point at `at` of valid UTF-8, and its bytes."""
    first = as_int(data[at])
    if first < 0x80:
        return first, 1
    if first < 0xE0 and at + 1 < end:
        return (first & 0x1F) << 6 | (as_int(data[at + 1]) & 0x3F), 2
    if first < 0xF0 and at + 2 < end:
        return (first & 0x0F) << 12 | (as_int(data[at + 1]) & 0x3F) << 6 | (as_int(data[at + 2]) & 0x3F), 3
    if at + 3 < end:
        high = (first & 0x07) << 18 | (as_int(data[at + 1]) & 0x3F) << 12
        return high | (as_int(data[at + 2]) & 0x3F) << 6 | (as_int(data[at + 3]) & 0x3F), 4
    return first, 1


@compiled
def is_space(point: int) -> bool:
    """Whether str.isspace() holds for a code point."""
    if point < 0x80:
        return point == 0x20 or 0x09 <= point <= 0x0D or 0x1C <= point <= 0x1F
    if point < 0x1680:
        return point == 0x85 or point == 0xA0
    return (
        point == 0x1680
        or 0x2000 <= point <= 0x200A
        or point == 0x2028
        or point == 0x2029
        or point == 0x202F
        or point == 0x205F
        or point == 0x3000
    )


@compiled
def _ends_sentence(point: int) -> bool:
    if point < 0x80:
        return point == 0x2E or point == 0x21 or point == 0x3F
    return _among(point, ENDS_POINTS)


@compiled
def _closes(point: int) -> bool:
    if point < 0x80:
        return point == 0x22 or point == 0x27 or point == 0x29 or point == 0x5D or point == 0x7D
    return _among(point, CLOSING_POINTS)


@compiled
def _sentences_of(data: Bytes, start: int, end: int, used: int, ends: Ints) -> int:
    """Write where the sentences of data[start:end] end; return the next place."""
    first = used
    holds = False  # whether the sentence at hand holds more than white space
    at = start
    while at < end:
        if 0x40 <= data[at] < 0x80:
            # what most characters are: no white space, and no mark that ends a sentence
            holds = True
            at += 1
            continue
        point, width = _decode(data, at, end)
        if point == 0x0A and holds:
            ends[used] = at
            used += 1
            holds = False
        holds |= not is_space(point)
        at += width
        if not _ends_sentence(point):
            continue
        free = False
        behind = point
        while _ends_sentence(behind) or _closes(behind):
            free |= behind >= 0x80 and _ends_sentence(behind) and not _among(behind, SPACED_POINTS)
            if at >= end:
                behind = 0x20
                break
            behind, width = _decode(data, at, end)
            if _ends_sentence(behind) or _closes(behind):
                at += width
        if free or is_space(behind):
            ends[used] = at
            used += 1
            holds = False
    if end == start:
        return used
    # white space alone is no sentence: it belongs to the last one
    if holds or used == first:
        used += 1
    ends[used - 1] = end
    return used


@compiled
def _strip(data: Bytes, start: int, end: int) -> tuple[int, int]:
    """Return [start, end) without outer white space."""
    while start < end:
        point, width = _decode(data, start, end)
        if not is_space(point):
            break
        start += width
    while end > start:
        at = end - 1
        while at > start and data[at] & 0xC0 == 0x80:
            at -= 1
        point, _ = _decode(data, at, end)
        if not is_space(point):
            break
        end = at
    return start, end


@compiled
def _ccnet(data: Bytes, start: int, end: int, index: Hashes, entries: Hashes, result: Bytes, used: int) -> int:
    """Copy data[start:end], which is in lower case, with digits as 0 and without CCNet's marks; return the next
    place."""
    at = start
    while at < end:
        point, width = _decode(data, at, end)
        entry = entries[(as_int(index[point >> 8]) << 8) | (point & 0xFF)]
        if entry & KIND_MASK == DIGIT_KIND:
            result[used] = 0x30
            used += 1
        elif not (point < 0x20 or 0x7F <= point < 0xA0 or (point >= 0x80 and _among(point, MARK_POINTS))):
            for k in range(width):
                result[used + k] = data[at + k]
            used += width
        at += width
    return used


@compiled
def _blank(data: Bytes, start: int, end: int) -> bool:
    start, end = _strip(data, start, end)
    return start == end


@compiled
def _cuts_of(
    data: Bytes,
    starts: Ints,
    ends: Ints,
    gone: Bytes,
    lines: bool,
    collapse: bool,
    used: int,
    cut_starts: Ints,
    cut_ends: Ints,
) -> int:
    """Write the cuts of one text, whose units that go are `gone`; return the next place."""
    first = used
    before_blank = True  # whether nothing or a blank line stands before the cut at hand
    kept_end = 0
    any_gone = False
    pending = False
    for unit in range(starts.size):
        goes = gone[unit] != 0
        any_gone |= goes
        if not goes and collapse and pending and before_blank and _blank(data, starts[unit], ends[unit]):
            goes = True  # of the blank lines around a cut one is enough
        if not goes:
            begin = starts[unit]
            if kept_end == 0 and not lines and pending:
                begin, _ = _strip(data, begin, ends[unit])
            if begin > kept_end:
                cut_starts[used], cut_ends[used] = kept_end, begin
                used += 1
            kept_end = ends[unit]
            before_blank = _blank(data, starts[unit], ends[unit])
        pending = goes
    size = ends[ends.size - 1] if ends.size else 0
    if kept_end < size:
        # lines are joined by newlines: the last one has none
        if lines and kept_end > 0 and data[kept_end - 1] == 0x0A:
            kept_end -= 1
        cut_starts[used], cut_ends[used] = kept_end, size
        used += 1
    return used if any_gone else first


def _compile(sources: str) -> tuple[Any, Any, Any]:
    """Return the compiled loops over texts and units; `sources` is a `source_digest`."""

    @cached
    def _cuts(
        data: Bytes,
        bounds: Ints,
        lists: Ints,
        starts: Ints,
        ends: Ints,
        gone: Bytes,
        lines: bool,
        collapse: bool,
        cut_lists: Ints,
        cut_starts: Ints,
        cut_ends: Ints,
    ) -> int:
        sources  # noqa: B018 - part of the key of the cache on disk
        used = 0
        for row in range(bounds.size - 1):
            units = slice(lists[row], lists[row + 1])
            text = data[bounds[row] : bounds[row + 1]]
            used = _cuts_of(text, starts[units], ends[units], gone[units], lines, collapse, used, cut_starts, cut_ends)
            cut_lists[row + 1] = used
        return used

    @cached
    def _sentence_ends(data: Bytes, bounds: Ints, ends: Ints) -> int:
        sources  # noqa: B018 - part of the key of the cache on disk
        used = 0
        for row in range(bounds.size - 1):
            used = _sentences_of(data, bounds[row], bounds[row + 1], used, ends)
        return used

    @cached
    def _simplify(
        data: Bytes, bounds: Ints, level: int, index: Hashes, entries: Hashes, result: Bytes, ends: Ints
    ) -> int:
        sources  # noqa: B018 - part of the key of the cache on disk
        used = 0
        for row in range(bounds.size - 1):
            start, end = bounds[row], bounds[row + 1]
            if level > 0:
                start, end = _strip(data, start, end)
            if level == 2:
                used = _ccnet(data, start, end, index, entries, result, used)
            else:
                for at in range(start, end):
                    result[used + at - start] = data[at]
                used += end - start
            result[used] = 0x20
            used += 1
            ends[row + 1] = used
        return used

    return _cuts, _sentence_ends, _simplify


cuts, sentence_ends, simplify = _compile(source_digest("dedup/units_kernel.py", "dedup/fold_*"))
