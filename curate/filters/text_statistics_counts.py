"""What the text-statistics kernel counts, and what it keeps beside the counts while it reads a document."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Final

import numpy as np

from curate.filters.text_statistics_bytes import packed
from curate.text.compiled import as_int, inlined


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
S_STOP_MASK = COUNTS  # which stop words stand among the segments
S_LINE_START = COUNTS + 1  # 1 before the first segment of a line
S_SENTENCE_ENDED = COUNTS + 2  # 1 behind a terminal mark
S_AFTER_ELLIPSIS, S_AFTER_SPACED_ELLIPSIS = COUNTS + 3, COUNTS + 4  # where the last one ended
STATE_SIZE: Final = COUNTS + 5

# Gopher's eight English stop words (Rae et al. 2021, A.1.1), packed little-endian, with their size behind
STOP_WORD_LIST: Final = ("the", "be", "to", "of", "and", "that", "have", "with")
STOP_FACTOR = np.uint64(0x91B7584A2265B1F5)  # sends the eight words to different places
STOP_WORDS = np.zeros(16, dtype=np.uint64)
STOP_BITS = np.zeros(16, dtype=np.int64)
for _bit, _word in enumerate(STOP_WORD_LIST):
    _key = packed(_word) | len(_word) << 32
    _at = (_key * int(STOP_FACTOR) % 2**64) >> 60
    STOP_WORDS[_at], STOP_BITS[_at] = _key, 1 << _bit


@inlined
def stop_word(word: Any, size: int) -> int:
    """One bit for each of the eight stop words, 0 for any other word; `word` holds the first eight of its `size`
    bytes."""
    key = word | np.uint64(size) << np.uint64(32)
    at = (key * STOP_FACTOR) >> np.uint64(60)
    return as_int(STOP_BITS[at]) if STOP_WORDS[at] == key else 0
