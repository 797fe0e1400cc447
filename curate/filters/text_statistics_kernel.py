"""The numba kernel behind `text_statistics`: one call counts everything in a batch of UTF-8 texts.

For each document, while its bytes are in the cache: split it into white-space words, those into segments (words and
marks) and lines; count; then find repeated lines, paragraphs and n-grams with exact, linear-time hashing. What is
counted, and how text is split, is defined in `curate.filters.text_statistics`.

The kernel is nopython and nogil, has no fastmath and keeps no state between documents: scratch arrays are overwritten
or cleared. An invalid UTF-8 byte is one character without any class.
"""

from __future__ import annotations

import secrets
from typing import Any, Final

import numpy as np

from curate.filters import unicode_table as unicode
from curate.filters.text_statistics_counts import (
    C_DUPLICATE_LINES,
    C_DUPLICATE_PARAGRAPHS,
    C_NONEMPTY_LINES,
    C_PARAGRAPHS,
    C_SEGMENTS,
    C_TOP,
    C_UNION,
    COUNTS,
    STATE_SIZE,
)
from curate.filters.text_statistics_lines import join_paragraphs
from curate.filters.text_statistics_ngrams import count_ngrams
from curate.filters.text_statistics_repetition import count_duplicates, number_repeated
from curate.filters.text_statistics_scan import ASCII_FLAGS, scan
from curate.filters.text_statistics_symbols import PADDED, count_symbols
from curate.filters.text_statistics_words import MAX_PIECE
from curate.text.compiled import Bytes, Flags, Ints, Spans, Words, cached, source_digest

MAX_SEGMENTS: Final = 1 << 21  # segments, and lines, of one document that are searched for repetition
SEED: Final = secrets.randbits(64)


def _compile(sources: str) -> Any:
    """Return the compiled loop over documents; `sources` is a `source_digest`."""

    @cached
    def _count_texts(
        data: Bytes,
        bounds: Ints,
        index: Flags,
        classes: Flags,
        ascii_flags: Flags,
        padded: Bytes,
        seed: Any,
        limit: int,
        piece: Ints,
        stack: Ints,
        segments: Spans,
        lines: Spans,
        paragraphs: Spans,
        numbers: Spans,
        places: Spans,
        keys: Words,
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
            scan(document, index, classes, ascii_flags, piece, stack, state, segments, limit, lines, trimmed)
            count_symbols(document, padded, state)
            count = min(state[C_NONEMPTY_LINES], limit)
            count_duplicates(document, lines, count, slots, owners, seed, state[C_DUPLICATE_LINES:])
            count = join_paragraphs(lines, count, trimmed, paragraphs)
            state[C_PARAGRAPHS] = count
            count_duplicates(document, paragraphs, count, slots, owners, seed, state[C_DUPLICATE_PARAGRAPHS:])
            count = min(state[C_SEGMENTS], limit)
            repeated = number_repeated(document, segments, count, slots, owners, seed, numbers, places)
            count_ngrams(
                segments, count, repeated, numbers, places, keys, slots, owners, seed, state[C_TOP:], state[C_UNION:]
            )
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
        data, bounds, index, classes, ASCII_FLAGS, np.empty(PADDED, dtype=np.uint8),
        np.uint64(SEED if seed is None else seed), limit,
        np.empty((MAX_PIECE + 1, 3), dtype=np.int64),
        np.empty((MAX_PIECE, 2), dtype=np.int64),
        np.empty((limit + 2 * MAX_PIECE, 3), dtype=np.int32),
        np.empty((limit, 5), dtype=np.int32),
        np.empty((limit, 4), dtype=np.int32),
        np.empty(limit, dtype=np.int32),
        np.empty(limit, dtype=np.int32),
        np.empty(limit, dtype=np.uint64),
        np.empty(max(16, 4 * limit), dtype=np.uint64),
        np.empty(max(16, 4 * limit), dtype=np.int32),
        np.empty(4, dtype=np.int64),
        np.empty(STATE_SIZE, dtype=np.int64),
        result,
    )  # fmt: skip
    return result
