"""C4's line cleaner (Raffel et al. 2020, arXiv:1910.10683, section 2.2), and the variants of it in use.

A line is kept if it ends in a terminal mark (``. ! ? "``) and not in ``...``, has enough white-space words, none of
more than 1,000 characters, and mentions neither "javascript" nor a policy ("privacy policy", "uses cookies", …) in any
case of ASCII letters. Citations (``[12]``, ``[]``, ``[edit]``, ``[citation needed]``) are cut out of it. Kept lines
lose their outer white space and are joined by one newline. Lines end at newlines; other line separators count as white
space.

The page rules of C4 (sentences, "lorem ipsum", curly brackets) are the filter table ``c4`` on the view that this makes;
it says what of C4 is left out.

======================  ========================================================================================
``c4_lines``            the paper: three words a line
``c4_lines_tfds``       the code in TensorFlow Datasets that built C4: five words, counted after citations are cut
``c4_lines_datatrove``  datatrove: as the paper, but a line may end in ``'``, too
``c4_lines_fineweb``    FineWeb: lines without a terminal mark stay
======================  ========================================================================================
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa

from curate.filters import unicode_table as unicode
from curate.filters.edits import make_cuts
from curate.text.buffers import text_buffers
from curate.text.compiled import Bytes, Flags, Ints, as_int, cached, compiled, source_digest
from curate.text.utf8 import decode, entry_at

MAX_WORD_CHARACTERS: Final = 1000
END_MARKS: Final = '.!?"'
PHRASES: Final = (
    b"javascript",
    b"terms of use",
    b"privacy policy",
    b"cookie policy",
    b"uses cookies",
    b"use of cookies",
    b"use cookies",
)


class Variant(NamedTuple):
    """end_marks: what a kept line ends in, empty for anything. min_words: white-space words a kept line needs, counted
    with or without the citations in it."""

    end_marks: str = END_MARKS
    min_words: int = 3
    count_citations: bool = True


VARIANTS: Final[dict[str, Variant]] = {
    "c4_lines": Variant(),
    "c4_lines_tfds": Variant(min_words=5, count_citations=False),
    "c4_lines_datatrove": Variant(end_marks=END_MARKS + "'"),
    "c4_lines_fineweb": Variant(end_marks=""),
}


class Cleaned(NamedTuple):
    """edits: `curate.schema.EDITS` [rows], byte spans of the text that was given. signals: arrays [rows] by name."""

    edits: pa.Array
    signals: dict[str, pa.Array]


# Rows of the kernel's result: lines that hold more than white space, removed lines by their first cause, citations,
# bytes
CAUSES: Final = ("long_word", "no_end_mark", "few_words", "javascript", "policy")
LINES, CITATIONS, REMOVED_BYTES, TEXT_BYTES = len(CAUSES), len(CAUSES) + 1, len(CAUSES) + 2, len(CAUSES) + 3
ROWS = len(CAUSES) + 4
LONG_WORD, NO_END_MARK, FEW_WORDS, JAVASCRIPT, POLICY = range(len(CAUSES))

SPACE = unicode.SPACE
SPACE_FLAGS = np.array([unicode.flags_of(chr(c)) & SPACE if c < 128 else 0 for c in range(256)], dtype=np.uint8)
PHRASE_BYTES = np.zeros((len(PHRASES), 16), dtype=np.uint8)
PHRASE_SIZES = np.array([len(phrase) for phrase in PHRASES], dtype=np.int64)
PHRASE_HEADS = np.zeros(256, dtype=np.uint8)
for _number, _phrase in enumerate(PHRASES):
    PHRASE_BYTES[_number, : len(_phrase)] = list(_phrase)
    PHRASE_HEADS[[_phrase[0], _phrase[0] - 32]] = 1
BRACKETS: Final = (b"edit]", b"citation needed]")
EDIT_BRACKET, CITATION_BRACKET = (np.frombuffer(text, dtype=np.uint8) for text in BRACKETS)


def signals_of(name: str) -> dict[str, str]:
    """Return the dtypes of the signals of one variant.

    ``<name>.removed_fraction``: of the text's bytes, 0 to 1; ``.removed_line_fraction``: of lines that hold more than
    white space; ``.citations``: cut out of kept lines; ``.lines_removed_<cause>``: lines by the first cause that
    removed them.
    """
    counts = ["citations", *(f"lines_removed_{cause}" for cause in CAUSES)]
    ratios = ["removed_fraction", "removed_line_fraction"]
    return {f"{name}.{signal}": "int64" for signal in counts} | {f"{name}.{signal}": "float64" for signal in ratios}


def clean_lines(text: pa.Array, name: str = "c4_lines") -> Cleaned:
    """Return the edits that turn each text (large_string [rows]) into its kept lines, and what was removed.

    A null text has no edits and null signals.
    """
    variant = VARIANTS[name]
    data, bounds = text_buffers(text)
    rows = len(bounds) - 1
    end_marks = np.zeros(256, dtype=np.uint8)
    end_marks[[ord(mark) for mark in variant.end_marks] if variant.end_marks else slice(None)] = 1
    room = int(bounds[-1] - bounds[0]) // 2 + 2 * rows + 1  # cuts have a byte between them
    starts, ends = np.empty(room, dtype=np.int64), np.empty(room, dtype=np.int64)
    lists = np.zeros(rows + 1, dtype=np.int64)
    counts = np.zeros((ROWS, rows), dtype=np.int64)
    index, classes = unicode.load()
    used = _CLEAN(
        data, bounds, index, classes, end_marks, not variant.end_marks, variant.min_words, variant.count_citations,
        np.empty(2 * room, dtype=np.int64), np.empty(6, dtype=np.int64), lists, starts, ends, counts,
    )  # fmt: skip
    missing = text.is_null().to_numpy(zero_copy_only=False) if text.null_count else None
    signals = {f"{name}.citations": pa.array(counts[CITATIONS], mask=missing)}
    for row, cause in enumerate(CAUSES):
        signals[f"{name}.lines_removed_{cause}"] = pa.array(counts[row], mask=missing)
    removed_lines = counts[: len(CAUSES)].sum(axis=0)
    for signal, part, whole in (
        ("removed_fraction", counts[REMOVED_BYTES], counts[TEXT_BYTES]),
        ("removed_line_fraction", removed_lines, counts[LINES]),
    ):
        ratio = np.divide(part, whole, out=np.zeros(rows, dtype=np.float64), where=whole != 0)
        signals[f"{name}.{signal}"] = pa.array(ratio, mask=missing)
    return Cleaned(make_cuts(lists, starts[:used], ends[:used]), signals)


@compiled
def _space_after(data: Bytes, at: int, end: int, index: Flags, classes: Flags) -> int:
    """The bytes of the white-space character at `at`, or 0."""
    if data[at] < 0x80:
        return as_int(SPACE_FLAGS[data[at]] != 0)
    point, width = decode(data, at, end)
    flags = entry_at(index, classes, point)
    return width if flags & SPACE else 0


@compiled
def _space_before(data: Bytes, start: int, at: int, index: Flags, classes: Flags) -> int:
    """The bytes of the white-space character that ends at `at`, or 0."""
    if data[at - 1] < 0x80:
        return as_int(SPACE_FLAGS[data[at - 1]] != 0)
    for width in range(2, 4):  # no white space beyond U+FFFF
        if at - width >= start and data[at - width] >= 0xC0:
            found = _space_after(data, at - width, at, index, classes)
            return width if found == width else 0
    return 0


@compiled
def _phrase_at(data: Bytes, at: int, end: int) -> int:
    """The number of the phrase at `at`, or -1. Letters of either case."""
    for number in range(PHRASE_SIZES.size):
        size = PHRASE_SIZES[number]
        if at + size > end:
            continue
        same = 0
        while same < size:
            wanted = PHRASE_BYTES[number, same]
            byte = data[at + same]
            if wanted != 0x20:
                byte |= np.uint8(0x20)
            if byte != wanted:
                break
            same += 1
        if same == size:
            return number
    return -1


@compiled
def _citation_end(data: Bytes, at: int, end: int) -> int:
    """Where the citation ends whose bracket opens at `at`, or `at`."""
    close = at + 1
    while close < end and 0x30 <= data[close] <= 0x39:
        close += 1
    if close < end and data[close] == 0x5D:
        return close + 1
    for number in range(2):
        words = EDIT_BRACKET if number == 0 else CITATION_BRACKET
        if at + 1 + words.size <= end:
            same = 0
            while same < words.size and data[at + 1 + same] == words[same]:
                same += 1
            if same == words.size:
                return at + 1 + same
    return at


@compiled
def _read_line(
    data: Bytes, start: int, end: int, index: Flags, classes: Flags, spans: Ints, n: int, facts: Ints
) -> int:
    """Write the spans of a stripped line without its citations to `spans` from number `n`; return the next number.

    `facts` takes: words, words without citations, whether a word is too long, whether there is "javascript", a policy
    phrase, citations. Phrases are looked for within spans; a citation inside one would hide it.
    """
    facts[:] = 0
    span_start = start
    length = 0  # of the white-space word at hand
    bare_length = 0  # the same without citations
    citation_end = start
    at = start
    while at < end:
        byte = data[at]
        width = _space_after(data, at, end, index, classes)
        if width > 0:
            length = 0
            if at >= citation_end:
                bare_length = 0
            at += width
            continue
        if byte == 0x5B and at >= citation_end:
            close = _citation_end(data, at, end)
            if close > at:
                if at > span_start:
                    spans[2 * n], spans[2 * n + 1] = span_start, at
                    n += 1
                span_start = close
                citation_end = close
                facts[5] += 1
        width = 1
        if byte >= 0x80:
            _, width = decode(data, at, end)
        elif PHRASE_HEADS[byte] and at >= citation_end:
            phrase = _phrase_at(data, at, end)
            if phrase == 0:
                facts[3] = 1
            elif phrase > 0:
                facts[4] = 1
        length += 1
        facts[0] += length == 1
        facts[2] |= length > MAX_WORD_CHARACTERS
        if at >= citation_end:
            bare_length += 1
            facts[1] += bare_length == 1
        at += width
    if end > span_start:
        spans[2 * n], spans[2 * n + 1] = span_start, end
        n += 1
    return n


@compiled
def _ends_well(data: Bytes, spans: Ints, first: int, n: int, end_marks: Bytes) -> bool:
    """Whether the line in spans [first, n) ends in an end mark and not in three full stops."""
    if n == first:
        return False
    last = data[spans[2 * n - 1] - 1]
    if not end_marks[last]:
        return False
    dots = 0
    k = n
    while k > first and dots < 3:
        k -= 1
        at = spans[2 * k + 1]
        while at > spans[2 * k] and dots < 3 and data[at - 1] == 0x2E:
            at -= 1
            dots += 1
        if at > spans[2 * k]:
            break
    return dots < 3


@compiled
def _strip_spans(data: Bytes, spans: Ints, n: int, index: Flags, classes: Flags) -> tuple[int, int]:
    """Remove outer white space from the kept spans; return the first and the next number."""
    first = 0
    while first < n:
        width = 0
        if spans[2 * first] < spans[2 * first + 1]:
            width = _space_after(data, spans[2 * first], spans[2 * first + 1], index, classes)
            if width == 0:
                break
            spans[2 * first] += width
        else:
            first += 1
    while n > first:
        width = 0
        if spans[2 * n - 2] < spans[2 * n - 1]:
            width = _space_before(data, spans[2 * n - 2], spans[2 * n - 1], index, classes)
            if width == 0:
                break
            spans[2 * n - 1] -= width
        else:
            n -= 1
    return first, n


def _compile(sources: str) -> Any:
    """Return the compiled loop over texts; `sources` is a `source_digest`."""

    @cached
    def _clean(
        data: Bytes,
        bounds: Ints,
        index: Flags,
        classes: Flags,
        end_marks: Bytes,
        any_end: bool,
        min_words: int,
        count_citations: bool,
        spans: Ints,
        facts: Ints,
        lists: Ints,
        starts: Ints,
        ends: Ints,
        counts: Ints,
    ) -> int:
        sources  # noqa: B018 - part of the key of the cache on disk
        used = 0
        for text in range(bounds.size - 1):
            document = data[bounds[text] : bounds[text + 1]]
            size = document.size
            counts[TEXT_BYTES, text] = size
            n = 0
            begin = 0
            while begin <= size:
                end = begin
                while end < size and document[end] != 0x0A:
                    end += 1
                start, stop = begin, end
                width = 1
                while start < stop and width > 0:
                    width = _space_after(document, start, stop, index, classes)
                    start += width
                width = 1
                while start < stop and width > 0:
                    width = _space_before(document, start, stop, index, classes)
                    stop -= width
                if start < stop:
                    counts[LINES, text] += 1
                    first = n
                    if n > 0:
                        spans[2 * n], spans[2 * n + 1] = begin - 1, begin  # the newline before it
                        n += 1
                    body = n
                    n = _read_line(document, start, stop, index, classes, spans, n, facts)
                    cause = -1
                    if facts[2]:
                        cause = LONG_WORD
                    elif not any_end and not _ends_well(document, spans, body, n, end_marks):
                        cause = NO_END_MARK
                    elif (facts[0] if count_citations else facts[1]) < min_words:
                        cause = FEW_WORDS
                    elif facts[3]:
                        cause = JAVASCRIPT
                    elif facts[4]:
                        cause = POLICY
                    if cause >= 0:
                        counts[cause, text] += 1
                        n = first
                    else:
                        counts[CITATIONS, text] += facts[5]
                begin = end + 1
            first, n = _strip_spans(document, spans, n, index, classes)
            at = 0
            for k in range(first, n):
                if spans[2 * k] > at:
                    starts[used], ends[used] = at, spans[2 * k]
                    counts[REMOVED_BYTES, text] += spans[2 * k] - at
                    used += 1
                at = spans[2 * k + 1]
            if at < size:
                starts[used], ends[used] = at, size
                counts[REMOVED_BYTES, text] += size - at
                used += 1
            lists[text + 1] = used
        return used

    return _clean


_CLEAN: Final = _compile(source_digest("filters/c4_lines.py", "filters/unicode_table.*"))
