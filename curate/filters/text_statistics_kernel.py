"""The numba kernel behind `text_statistics`: one call counts everything in a batch of UTF-8 texts.

For each document, while its bytes are in the cache: split it into white-space words, those into segments (words and
marks) and lines; count; then find repeated lines, paragraphs and n-grams with exact, linear-time hashing. What is
counted, and how text is split, is defined in `curate.filters.text_statistics`.

The kernel is nopython and nogil, has no fastmath and keeps no state between documents: scratch arrays are overwritten
or cleared. An invalid UTF-8 byte is one character without any class.
"""

from __future__ import annotations

import secrets
from enum import IntEnum
from typing import Any, Final

import numpy as np

from curate.filters import unicode_table as unicode
from curate.filters.text_statistics_bytes import bytes_word, contains, letters_end, packed
from curate.filters.text_statistics_repetition import count_duplicates, count_ngrams, join_paragraphs, number_spans
from curate.filters.text_statistics_words import (
    ABBREVIATIONS,
    ALL_PUNCTUATION,
    COMBINING,
    FLAGS,
    LETTER,
    LINE_START,
    MAX_PIECE,
    NUMBER,
    OFFSET,
    POINT,
    SENTENCE_END,
    SOLO,
    TERMINAL,
    UPPER,
    WORD,
    segment_piece,
)
from curate.text.compiled import Bytes, Flags, Ints, Spans, Words, as_int, cached, compiled, source_digest
from curate.text.utf8 import count_characters, decode, entry_at

MAX_SEGMENTS: Final = 1 << 21  # segments, and lines, of one document that are searched for repetition
SPACE = unicode.SPACE


class Count(IntEnum):
    """What the kernel counts: the rows of its result. The words are explained in `text_statistics`."""

    BYTES = 0
    CHARACTERS = 1
    NEWLINES = 2
    CURLY_BRACKETS = 3
    LOREM_IPSUM = 4
    HASHES = 5
    ELLIPSES = 6
    SPACED_ELLIPSES = 7
    SEGMENTS = 8
    ALPHABETIC_SEGMENTS = 9
    WORDS = 10
    WORD_CHARACTERS = 11
    ALPHABETIC_WORDS = 12
    WHITESPACE_WORDS = 13
    WHITESPACE_WORD_CHARACTERS = 14
    ALPHABETIC_WHITESPACE_WORDS = 15
    DISTINCT_STOP_WORDS = 16
    STOP_WORDS = 17
    SENTENCES = 18
    ALL_LINES = 19
    NONEMPTY_LINES = 20
    LINES = 21
    BULLET_LINES = 22
    WIDE_BULLET_LINES = 23
    ELLIPSIS_LINES = 24
    TERMINAL_LINES = 25
    LINES_AT_MOST_30 = 26
    DUPLICATE_NONEMPTY_LINES = 27
    DUPLICATE_NONEMPTY_LINE_CHARACTERS = 28
    DUPLICATE_LINES = 29
    DUPLICATE_LINE_CHARACTERS = 30
    PARAGRAPHS = 31
    DUPLICATE_PARAGRAPHS = 32
    DUPLICATE_PARAGRAPH_CHARACTERS = 33
    SEARCHED_CHARACTERS = 34  # characters up to the last segment searched for n-grams; CHARACTERS but in huge texts
    TOP_2 = 35
    TOP_3 = 36
    TOP_4 = 37
    DUPLICATE_5 = 38
    DUPLICATE_6 = 39
    DUPLICATE_7 = 40
    DUPLICATE_8 = 41
    DUPLICATE_9 = 42
    DUPLICATE_10 = 43
    NON_NEWLINES = 44
    LINES_BELOW_30 = 45
    UNION_5 = 46
    UNION_6 = 47
    UNION_7 = 48
    UNION_8 = 49
    UNION_9 = 50
    UNION_10 = 51


COUNTS: Final = len(Count)
# plain module-level integers, which numba freezes into the code
C_BYTES, C_CHARACTERS, C_NEWLINES = int(Count.BYTES), int(Count.CHARACTERS), int(Count.NEWLINES)
C_CURLY, C_LOREM, C_HASHES = int(Count.CURLY_BRACKETS), int(Count.LOREM_IPSUM), int(Count.HASHES)
C_ELLIPSES, C_SPACED_ELLIPSES = int(Count.ELLIPSES), int(Count.SPACED_ELLIPSES)
C_SEGMENTS, C_ALPHABETIC_SEGMENTS = int(Count.SEGMENTS), int(Count.ALPHABETIC_SEGMENTS)
C_WORDS, C_WORD_CHARACTERS = int(Count.WORDS), int(Count.WORD_CHARACTERS)
C_ALPHABETIC_WORDS = int(Count.ALPHABETIC_WORDS)
C_SPACED, C_SPACED_CHARACTERS = int(Count.WHITESPACE_WORDS), int(Count.WHITESPACE_WORD_CHARACTERS)
C_ALPHABETIC_SPACED = int(Count.ALPHABETIC_WHITESPACE_WORDS)
C_DISTINCT_STOP_WORDS, C_STOP_WORDS = int(Count.DISTINCT_STOP_WORDS), int(Count.STOP_WORDS)
C_SENTENCES, C_ALL_LINES = int(Count.SENTENCES), int(Count.ALL_LINES)
C_NONEMPTY_LINES, C_LINES = int(Count.NONEMPTY_LINES), int(Count.LINES)
C_BULLETS, C_WIDE_BULLETS = int(Count.BULLET_LINES), int(Count.WIDE_BULLET_LINES)
C_ELLIPSIS_LINES, C_TERMINAL_LINES = int(Count.ELLIPSIS_LINES), int(Count.TERMINAL_LINES)
C_AT_MOST_30, C_BELOW_30 = int(Count.LINES_AT_MOST_30), int(Count.LINES_BELOW_30)
C_PARAGRAPHS, C_UNION = int(Count.PARAGRAPHS), int(Count.UNION_5)
C_DUPLICATE_LINES, C_DUPLICATE_PARAGRAPHS = int(Count.DUPLICATE_NONEMPTY_LINES), int(Count.DUPLICATE_PARAGRAPHS)
C_SEARCHED, C_TOP, C_NON_NEWLINES = int(Count.SEARCHED_CHARACTERS), int(Count.TOP_2), int(Count.NON_NEWLINES)
# kept beside the counts while a document is read
S_STOP_MASK, S_SENTENCE_ENDED = COUNTS, COUNTS + 1
# Gopher's eight English stop words (Rae et al. 2021, A.1.1), packed little-endian
STOP_WORD_LIST: Final = ("the", "be", "to", "of", "and", "that", "have", "with")
STOP_FACTOR = np.uint64(0xA648A7DD06839EB9)  # sends the eight words to different places
STOP_WORDS = np.zeros(16, dtype=np.uint64)
STOP_BITS = np.zeros(16, dtype=np.int64)
for _bit, _word in enumerate(STOP_WORD_LIST):
    _at = (packed(_word) * int(STOP_FACTOR) % 2**64) >> 60
    STOP_WORDS[_at], STOP_BITS[_at] = packed(_word), 1 << _bit
INTERESTING = np.zeros(256, dtype=np.uint8)  # the first bytes of what `_count_symbols` counts
INTERESTING[[ord("#"), ord("{"), ord("."), 0xE2, ord("l"), ord("L")]] = 1
SEED: Final = secrets.randbits(64)
ASCII_FLAGS = np.array([unicode.flags_of(chr(c)) if c < 128 else 0 for c in range(256)], dtype=np.uint16)


@compiled
def _stop_word(word: Any) -> int:
    """One bit for each of the eight stop words, 0 for any other word of at most four bytes."""
    at = (word * STOP_FACTOR) >> np.uint64(60)
    return as_int(STOP_BITS[at]) if STOP_WORDS[at] == word else 0


@compiled
def _tally(data: Bytes, segments: Spans, begin: int, end: int, state: Ints) -> None:
    """Count segments [begin, end) by their kind, and sentences."""
    alphabetic = words = characters = sentences = 0
    ended = state[S_SENTENCE_ENDED]
    mask = state[S_STOP_MASK]
    for i in range(begin, end):
        kind = segments[i, 3]
        size = as_int(segments[i, 1])
        if kind & WORD:
            words += 1
            characters += segments[i, 2]
            alphabetic += (kind & LETTER) != 0
            if 2 <= size <= 4:
                mask |= _stop_word(bytes_word(data, as_int(segments[i, 0]), size))
        if kind & LINE_START or (ended != 0 and kind & (SENTENCE_END | ALL_PUNCTUATION) == 0):
            sentences += 1
            ended = 0
        if kind & SENTENCE_END:
            ended = 1
    state[C_SEGMENTS] += end - begin
    state[C_ALPHABETIC_SEGMENTS] += alphabetic
    state[C_ALPHABETIC_WORDS] += alphabetic
    state[C_WORDS] += words
    state[C_WORD_CHARACTERS] += characters
    state[C_SENTENCES] += sentences
    state[S_SENTENCE_ENDED] = ended
    state[S_STOP_MASK] = mask


@compiled
def _end_line(
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
def _scan(
    data: Bytes,
    index: Flags,
    classes: Flags,
    ascii_flags: Flags,
    piece: Ints,
    stack: Ints,
    state: Ints,
    segments: Spans,
    max_segments: int,
    lines: Spans,
    trimmed: Ints,
) -> None:
    """Split one document into white-space words, segments and lines, and count them.

    `trimmed` takes the first byte, the end byte, the first and the end character of the text without outer white space.
    """
    end = data.size
    at = 0
    position = 0
    line_start = 0
    line_position = 0
    first_word = -1
    last_word_end = 0
    last_flags = 0
    trimmed[:] = 0
    n = 0  # segments in the buffer
    tallied = 0  # of which these are counted
    line_start_flag = LINE_START
    spaced = spaced_characters = alphabetic_spaced = stop_words = 0
    while at < end:
        byte = data[at]
        flag = as_int(ascii_flags[byte])
        width = 1
        if byte >= 0x80:
            point, width = decode(data, at, end)
            flag = entry_at(index, classes, point)
        if flag & SPACE:
            if byte == 0x0A:
                state[C_NEWLINES] += 1
                _end_line(
                    data, line_start, at, line_position, position - line_position,
                    first_word, last_word_end, last_flags, state, lines,
                )  # fmt: skip
                line_start = at + 1
                line_position = position + 1
                line_start_flag = LINE_START
            at += width
            position += 1
            continue
        if first_word < line_start:
            first_word = at
        if trimmed[1] == 0:
            trimmed[0] = at
            trimmed[2] = position
        if n + MAX_PIECE > segments.shape[0]:  # beyond the searched segments, the rest of the buffer is used again
            _tally(data, segments, tallied, n, state)
            n = max_segments
            tallied = n
        before = n
        # Fast path: a word of letters or a number, alone or with one ASCII mark behind it. It is split as
        # _segment_piece would.
        word_start = at
        word_position = position
        kind = flag & (LETTER | NUMBER)
        stop = at
        length = 0
        if kind != 0:
            allowed = kind
            if kind == LETTER:
                allowed |= COMBINING
                if byte < 0x80:
                    stop = letters_end(data, at)
                    length = stop - at
                    last_flags = as_int(ascii_flags[data[stop - 1]])
                    if stop < end:
                        byte = data[stop]
                        flag = as_int(ascii_flags[byte])
                        if byte >= 0x80:
                            point, width = decode(data, stop, end)
                            flag = entry_at(index, classes, point)
            while stop < end and flag & allowed and not flag & SOLO:
                last_flags = flag
                stop += width
                length += 1
                if stop < end:
                    byte = data[stop]
                    width = 1
                    flag = as_int(ascii_flags[byte])
                    if byte >= 0x80:
                        point, width = decode(data, stop, end)
                        flag = entry_at(index, classes, point)
        if 0 < length < MAX_PIECE:
            after = stop
            mark = 0
            if stop < end and not ascii_flags[data[stop]] & SPACE:
                mark = as_int(data[stop])
                if mark == 0x2E:  # . after a lower-case word of two letters or more that is no abbreviation
                    usual = (
                        kind == LETTER and stop - at > 1 and last_flags & (UPPER | COMBINING) == 0
                        and (stop - at > 7 or not contains(ABBREVIATIONS, bytes_word(data, at, stop - at + 1)))
                    )  # fmt: skip
                    after += usual
                elif mark == 0x2C or mark == 0x3A or mark == 0x3B or mark == 0x21 or mark == 0x3F or mark == 0x29:
                    after += 1
            if after == end or ascii_flags[data[after]] & SPACE:
                segments[n, 0] = at
                segments[n, 1] = stop - at
                segments[n, 2] = length
                segments[n, 3] = kind
                n += 1
                if after > stop:
                    last_flags = as_int(ascii_flags[mark])
                    segments[n, 0] = stop
                    segments[n, 1] = 1
                    segments[n, 2] = 1
                    segments[n, 3] = ALL_PUNCTUATION | (SENTENCE_END if last_flags & TERMINAL else 0)
                    n += 1
                    length += 1
                alphabetic_spaced += kind == LETTER
                position += length
                at = after
        if at == word_start:  # any other word, in pieces of at most MAX_PIECE characters
            alphabetic = False
            more = True
            while more:
                if n + MAX_PIECE > segments.shape[0]:
                    segments[before, 3] |= line_start_flag
                    line_start_flag = 0
                    _tally(data, segments, tallied, n, state)
                    n = max_segments
                    tallied = n
                    before = n
                count = 0
                more = False
                while at < end:
                    byte = data[at]
                    point = as_int(byte)
                    width = 1
                    flag = as_int(ascii_flags[byte])
                    if byte >= 0x80:
                        point, width = decode(data, at, end)
                        flag = entry_at(index, classes, point)
                    if flag & SPACE:
                        break
                    if count == MAX_PIECE:
                        more = True
                        break
                    piece[count, POINT] = point
                    piece[count, FLAGS] = flag
                    piece[count, OFFSET] = at
                    alphabetic = alphabetic or flag & LETTER != 0
                    last_flags = flag
                    count += 1
                    at += width
                piece[count, OFFSET] = at
                n = segment_piece(piece, stack, count, segments, n)
                position += count
            alphabetic_spaced += alphabetic
        segments[before, 3] |= line_start_flag
        line_start_flag = 0
        spaced += 1
        spaced_characters += position - word_position
        size = at - word_start
        if 2 <= size <= 4:  # the white-space word in lower case: no other byte than A or a becomes a
            lower = bytes_word(data, word_start, size) | np.uint64(0x2020202020202020 >> (64 - 8 * size))
            stop_words += _stop_word(lower) != 0
        last_word_end = at
        trimmed[1] = at
        trimmed[3] = position
    _end_line(
        data, line_start, end, line_position, position - line_position,
        first_word, last_word_end, last_flags, state, lines,
    )  # fmt: skip
    state[C_ALL_LINES] = state[C_NEWLINES] + (1 if end > line_start else 0)
    _tally(data, segments, tallied, n, state)
    state[C_SPACED] = spaced
    state[C_SPACED_CHARACTERS] = spaced_characters
    state[C_ALPHABETIC_SPACED] = alphabetic_spaced
    state[C_STOP_WORDS] = stop_words
    state[C_BYTES] = end
    state[C_CHARACTERS] = position
    state[C_NON_NEWLINES] = position - state[C_NEWLINES]
    state[C_SEARCHED] = position
    if state[C_SEGMENTS] > max_segments:
        last = max_segments - 1
        state[C_SEARCHED] = count_characters(data, as_int(segments[last, 0] + segments[last, 1]))
    mask = state[S_STOP_MASK]
    while mask > 0:
        state[C_DISTINCT_STOP_WORDS] += mask & 1
        mask >>= 1


@compiled
def _count_symbols(data: Bytes, interesting: Bytes, state: Ints) -> None:
    """Count # { ... . . . … and "lorem ipsum" (ASCII letters of either case), each without overlaps."""
    end = data.size
    dots = 0  # length of the run of dots that ends before `at`
    spaced_from = 0  # where the next ". . ." may begin
    lorem = b"lorem ipsum"
    for at in range(end):
        byte = data[at]
        if not interesting[byte]:
            dots = 0
            continue
        if byte == 0x2E:
            dots += 1
            if dots == 3:
                state[C_ELLIPSES] += 1
                dots = 0
            spaced = at >= spaced_from and at + 4 < end and data[at + 1] == 0x20 and data[at + 3] == 0x20
            if spaced and data[at + 2] == 0x2E and data[at + 4] == 0x2E:
                state[C_SPACED_ELLIPSES] += 1
                spaced_from = at + 5
            continue
        dots = 0
        if byte == 0x23:
            state[C_HASHES] += 1
        elif byte == 0x7B:
            state[C_CURLY] += 1
        elif byte == 0xE2:
            state[C_ELLIPSES] += at + 2 < end and data[at + 1] == 0x80 and data[at + 2] == 0xA6
        elif at + 11 <= end and data[at + 1] | 0x20 == 0x6F:  # l, L
            i = 1
            while i < 11 and data[at + i] | 0x20 == lorem[i] and (data[at + i] == 0x20) == (lorem[i] == 0x20):
                i += 1
            state[C_LOREM] += i == 11


def _compile(sources: str) -> Any:
    """Return the compiled loop over documents; `sources` is a `source_digest`."""

    @cached
    def _count_texts(
        data: Bytes,
        bounds: Ints,
        index: Flags,
        classes: Flags,
        ascii_flags: Flags,
        interesting: Bytes,
        seed: Any,
        limit: int,
        piece: Ints,
        stack: Ints,
        segments: Spans,
        lines: Spans,
        paragraphs: Spans,
        numbers: Spans,
        places: Spans,
        frequency: Spans,
        slots: Words,
        owners: Spans,
        trimmed: Ints,
        state: Ints,
        result: Ints,
    ) -> None:
        sources  # noqa: B018 - part of the key of the cache on disk
        for text in range(bounds.size - 1):
            document = data[bounds[text] : bounds[text + 1]]
            state[:] = 0
            _scan(document, index, classes, ascii_flags, piece, stack, state, segments, limit, lines, trimmed)
            _count_symbols(document, interesting, state)
            count = min(state[C_NONEMPTY_LINES], limit)
            number_spans(document, lines, count, slots, owners, numbers, places, seed)
            count_duplicates(numbers, places, lines, count, state[C_DUPLICATE_LINES:])
            for i in range(count):
                if lines[i, 4] == 1 and places[numbers[i]] != i:
                    state[C_DUPLICATE_LINES + 2] += 1
                    state[C_DUPLICATE_LINES + 3] += lines[i, 2]
            count = join_paragraphs(lines, count, trimmed, paragraphs)
            state[C_PARAGRAPHS] = count
            number_spans(document, paragraphs, count, slots, owners, numbers, places, seed)
            count_duplicates(numbers, places, paragraphs, count, state[C_DUPLICATE_PARAGRAPHS:])
            count = min(state[C_SEGMENTS], limit)
            distinct = number_spans(document, segments, count, slots, owners, numbers, places, seed)
            count_ngrams(
                segments, count, distinct, numbers, places, frequency, slots, owners, seed,
                state[C_TOP:], state[C_UNION:],
            )  # fmt: skip
            for row in range(COUNTS):
                result[row, text] = state[row]

    return _count_texts


_COUNT_TEXTS: Final = _compile(source_digest("filters/text_statistics*.py", "filters/unicode_table.*"))


def count_texts(data: Bytes, bounds: Ints, max_segments: int = MAX_SEGMENTS, seed: int | None = None) -> Ints:
    """Return int64 [len(Count), texts]: everything that `Count` names, for each text.

    data: uint8, the UTF-8 bytes. bounds: int64 [texts + 1]; text i is data[bounds[i]:bounds[i + 1]]. `max_segments`
    bounds the memory for repetition (about 120 bytes each), `seed` salts the hashes; it changes nothing in the result.
    """
    index, classes = unicode.load()
    result = np.zeros((COUNTS, bounds.size - 1), dtype=np.int64)
    limit = min(int(np.diff(bounds).max(initial=0)), max_segments)
    # The system gives pages of these arrays only as they are touched.
    _COUNT_TEXTS(
        data, bounds, index, classes, ASCII_FLAGS, INTERESTING, np.uint64(SEED if seed is None else seed), limit,
        np.empty((MAX_PIECE + 1, 3), dtype=np.int64),
        np.empty((MAX_PIECE, 2), dtype=np.int64),
        np.empty((limit + 2 * MAX_PIECE, 4), dtype=np.int32),
        np.empty((limit, 5), dtype=np.int32),
        np.empty((limit, 4), dtype=np.int32),
        np.empty(limit, dtype=np.int32),
        np.empty(limit, dtype=np.int32),
        np.empty(limit, dtype=np.int32),
        np.empty(max(16, 4 * limit), dtype=np.uint64),
        np.empty(max(16, 4 * limit), dtype=np.int32),
        np.empty(4, dtype=np.int64),
        np.empty(COUNTS + 2, dtype=np.int64),
        result,
    )  # fmt: skip
    return result
