"""Text statistics: every threshold-free number that the Gopher, C4 and FineWeb heuristics look at.

One pass of a numba kernel over Arrow's UTF-8 buffers gives all of them; no Python object is made for a document. The
readable definition of each signal is kept in the tests (``tests/filters/plain_text_statistics.py``); kernel and
definition agree on any bytes. Signals never depend on other documents, and a ratio over nothing is 0.0.

What is counted
    *character*: a code point; an invalid UTF-8 byte is one character without a class. Classes come from the shipped
    table (`unicode_table`), never from the running Python.

    *white-space word*: what stands between white space (``str.split``).

    *segment*: a word or a mark. Marks are split off both edges of a white-space word, one by one, a run of full stops
    together; inside, words split at hyphens, dashes, slashes, commas, colons between letters, at ellipses, emoji and
    other symbols; ``n't 's 'll 've 're 'd 'm`` split off; URLs, e-mail addresses, decimal numbers and usual
    abbreviations stay whole. A letter of Han, Kana, Thai, Lao, Khmer, Myanmar … is a segment with the combining marks
    behind it. On English this comes within 0.1% of the boundaries of spaCy's tokenizer, which datatrove uses.
    White-space words are split in pieces of 16,384 characters.

    *word*: a segment that holds a letter, number or combining mark.

    *line*: what stands between newlines and holds more than white space. *all_lines* counts empty lines, too;
    *nonempty_lines* leaves out the empty ones but not those of white space.

    *paragraph*: what stands between two or more newlines in the text without its outer white space.

    *sentence*: begins with each line, and after a terminal mark (and the punctuation behind it).

    *duplicate*: equal to an earlier one of the same document; the first copy is not a duplicate.

    *n-gram*: n consecutive segments. The top n-gram is the most frequent one (the first of several), counted with a
    space between segments; duplicate n-grams are found left to right, each is counted without spaces and then jumped
    over, so that no character counts twice; the *union* counts the segments that stand in any duplicate n-gram, each
    once. Only the first 2,097,152 segments, and lines, are searched for repetition;
    the n-gram fractions are then of the characters up to there.

The definitions follow datatrove's reference implementation of Gopher (Rae et al. 2021, arXiv:2112.11446, A.1.1), C4
(Raffel et al. 2020, arXiv:1910.10683, 2.2) and FineWeb (Penedo et al. 2024, arXiv:2406.17557), down to its
denominators; ``whitespace_words``, ``stop_words.count`` and ``lines.*bullet*`` serve the variants of DCLM (Li et al.
2024, arXiv:2406.11794).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import pyarrow as pa

from curate.filters.text_statistics_counts import Count
from curate.filters.text_statistics_kernel import count_texts
from curate.text.buffers import text_buffers
from curate.text.compiled import Ints

# signal: what is counted
COUNTS: Final[dict[str, Count]] = {
    "text.bytes": Count.BYTES,
    "text.characters": Count.CHARACTERS,
    "text.curly_brackets": Count.CURLY_BRACKETS,  # {
    "text.lorem_ipsum": Count.LOREM_IPSUM,  # in any case
    "segments.count": Count.SEGMENTS,
    "words.count": Count.WORDS,
    "whitespace_words.count": Count.WHITESPACE_WORDS,
    "sentences.count": Count.SENTENCES,
    "lines.count": Count.LINES,
    "paragraphs.count": Count.PARAGRAPHS,
    "stop_words.distinct": Count.DISTINCT_STOP_WORDS,  # of the, be, to, of, and, that, have, with among the segments
    "stop_words.count": Count.STOP_WORDS,  # white-space words that are one of them in any case
}

# signal: (sum of what is divided, divisor)
RATIOS: Final[dict[str, tuple[tuple[Count, ...], Count]]] = {
    "segments.alphabetic_fraction": ((Count.ALPHABETIC_SEGMENTS,), Count.SEGMENTS),
    "words.mean_length": ((Count.WORD_CHARACTERS,), Count.WORDS),
    "words.alphabetic_fraction": ((Count.ALPHABETIC_WORDS,), Count.WORDS),
    "whitespace_words.mean_length": ((Count.WHITESPACE_WORD_CHARACTERS,), Count.WHITESPACE_WORDS),
    "whitespace_words.alphabetic_fraction": ((Count.ALPHABETIC_WHITESPACE_WORDS,), Count.WHITESPACE_WORDS),
    # symbols
    "hashes.per_segment": ((Count.HASHES,), Count.SEGMENTS),
    "hashes.per_word": ((Count.HASHES,), Count.WORDS),
    "ellipses.per_segment": ((Count.ELLIPSES,), Count.SEGMENTS),  # ... and …
    "ellipses.per_word": ((Count.ELLIPSES,), Count.WORDS),
    "hashes_and_ellipses.per_whitespace_word": (
        (Count.HASHES, Count.ELLIPSES, Count.SPACED_ELLIPSES),  # the last: . . .
        Count.WHITESPACE_WORDS,
    ),
    "newlines.per_segment": ((Count.NEWLINES,), Count.SEGMENTS),
    # lines
    "all_lines.bullet_fraction": ((Count.BULLET_LINES,), Count.ALL_LINES),  # begin with - or •
    "all_lines.ellipsis_fraction": ((Count.ELLIPSIS_LINES,), Count.ALL_LINES),  # end with ... or …
    "lines.bullet_fraction": ((Count.BULLET_LINES,), Count.LINES),
    "lines.wide_bullet_fraction": ((Count.WIDE_BULLET_LINES,), Count.LINES),  # begin with - • * or ●
    "lines.ellipsis_fraction": ((Count.ELLIPSIS_LINES,), Count.LINES),
    "lines.terminal_punctuation_fraction": ((Count.TERMINAL_LINES,), Count.LINES),  # Unicode Sentence_Terminal
    "lines.at_most_30_chars_fraction": ((Count.LINES_AT_MOST_30,), Count.LINES),
    "lines.below_30_chars_fraction": ((Count.LINES_BELOW_30,), Count.LINES),
    # repetition
    "lines.duplicate_fraction": ((Count.DUPLICATE_LINES,), Count.LINES),
    "lines.duplicate_char_fraction": ((Count.DUPLICATE_LINE_CHARACTERS,), Count.NON_NEWLINES),
    "nonempty_lines.duplicate_fraction": ((Count.DUPLICATE_NONEMPTY_LINES,), Count.NONEMPTY_LINES),
    "nonempty_lines.duplicate_char_fraction": ((Count.DUPLICATE_NONEMPTY_LINE_CHARACTERS,), Count.CHARACTERS),
    "paragraphs.duplicate_fraction": ((Count.DUPLICATE_PARAGRAPHS,), Count.PARAGRAPHS),
    "paragraphs.duplicate_char_fraction": ((Count.DUPLICATE_PARAGRAPH_CHARACTERS,), Count.CHARACTERS),
    "ngrams.top_2_char_fraction": ((Count.TOP_2,), Count.SEARCHED_CHARACTERS),
    "ngrams.top_3_char_fraction": ((Count.TOP_3,), Count.SEARCHED_CHARACTERS),
    "ngrams.top_4_char_fraction": ((Count.TOP_4,), Count.SEARCHED_CHARACTERS),
    "ngrams.duplicate_5_char_fraction": ((Count.DUPLICATE_5,), Count.SEARCHED_CHARACTERS),
    "ngrams.duplicate_6_char_fraction": ((Count.DUPLICATE_6,), Count.SEARCHED_CHARACTERS),
    "ngrams.duplicate_7_char_fraction": ((Count.DUPLICATE_7,), Count.SEARCHED_CHARACTERS),
    "ngrams.duplicate_8_char_fraction": ((Count.DUPLICATE_8,), Count.SEARCHED_CHARACTERS),
    "ngrams.duplicate_9_char_fraction": ((Count.DUPLICATE_9,), Count.SEARCHED_CHARACTERS),
    "ngrams.duplicate_10_char_fraction": ((Count.DUPLICATE_10,), Count.SEARCHED_CHARACTERS),
    "ngrams.duplicate_5_union_char_fraction": ((Count.UNION_5,), Count.SEARCHED_CHARACTERS),
    "ngrams.duplicate_6_union_char_fraction": ((Count.UNION_6,), Count.SEARCHED_CHARACTERS),
    "ngrams.duplicate_7_union_char_fraction": ((Count.UNION_7,), Count.SEARCHED_CHARACTERS),
    "ngrams.duplicate_8_union_char_fraction": ((Count.UNION_8,), Count.SEARCHED_CHARACTERS),
    "ngrams.duplicate_9_union_char_fraction": ((Count.UNION_9,), Count.SEARCHED_CHARACTERS),
    "ngrams.duplicate_10_union_char_fraction": ((Count.UNION_10,), Count.SEARCHED_CHARACTERS),
}

SIGNALS: Final[dict[str, str]] = dict.fromkeys(COUNTS, "int64") | dict.fromkeys(RATIOS, "float64")


def measure_text(text: pa.Array, assets: Mapping[str, str] | None = None) -> dict[str, pa.Array]:
    """Return every signal in `SIGNALS` for each text, as int64 or float64 arrays; null where the text is null.

    text: large_string (or string). `assets` is there for the common signature of measures and is not read.
    Cost: about 11 ns per byte on one core of 2024; linear on any text.
    """
    data, bounds = text_buffers(text)
    counts = count_texts(data, bounds)
    missing = text.is_null().to_numpy(zero_copy_only=False) if text.null_count else None
    signals = {name: pa.array(counts[row], mask=missing) for name, row in COUNTS.items()}
    for name, (parts, divisor) in RATIOS.items():
        signals[name] = pa.array(_ratio(sum(counts[part] for part in parts), counts[divisor]), mask=missing)
    return signals


def _ratio(dividend: Ints, divisor: Ints) -> np.ndarray:
    return np.divide(dividend, divisor, out=np.zeros(len(divisor), dtype=np.float64), where=divisor != 0)
