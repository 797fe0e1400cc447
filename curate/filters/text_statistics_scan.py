"""Splits one document into white-space words, segments and lines, and counts them, in one pass over its bytes.

Most words of running text are letters or digits with a mark behind them at most, and take the fast path here: it gives
what `segment_piece` would, which splits every other word.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from curate.filters import unicode_table as unicode
from curate.filters.text_statistics_addresses import FLAGS, LETTER, NUMBER, OFFSET, POINT, UPPER
from curate.filters.text_statistics_bytes import bytes_word, contains
from curate.filters.text_statistics_counts import (
    C_ALL_LINES,
    C_ALPHABETIC_SEGMENTS,
    C_ALPHABETIC_SPACED,
    C_ALPHABETIC_WORDS,
    C_BYTES,
    C_CHARACTERS,
    C_DISTINCT_STOP_WORDS,
    C_NEWLINES,
    C_NON_NEWLINES,
    C_SEARCHED,
    C_SEGMENTS,
    C_SENTENCES,
    C_SPACED,
    C_SPACED_CHARACTERS,
    C_STOP_WORDS,
    C_WORD_CHARACTERS,
    C_WORDS,
    S_LINE_START,
    S_SENTENCE_ENDED,
    S_STOP_MASK,
    stop_word,
)
from curate.filters.text_statistics_lines import end_line
from curate.filters.text_statistics_words import ABBREVIATIONS, MAX_PIECE, segment_piece
from curate.text.compiled import Bytes, Flags, Ints, Spans, as_int, compiled, count_ones, inlined
from curate.text.utf8 import count_characters, decode, entry_at, letters_end

SPACE, COMBINING, PUNCTUATION = unicode.SPACE, unicode.COMBINING, unicode.PUNCTUATION
SOLO, TERMINAL = unicode.SOLO, unicode.TERMINAL
# Of ASCII characters besides: it is a mark, and split off behind a word of letters or digits; of other bytes: nothing
# but that more bytes are to be read
CLOSES, WIDE = 1 << 14, 1 << 15
CLOSING: Final = "!\"#&'()*,:;<>?[]_`{}"
ASCII_FLAGS = np.array(
    [unicode.flags_of(chr(c)) | CLOSES * (chr(c) in CLOSING) if c < 128 else WIDE for c in range(256)], dtype=np.uint16
)
SPACES = np.uint64(0x2020202020202020)


@inlined
def _flags_at(data: Bytes, at: int, end: int, ascii_flags: Flags) -> int:
    """The flags of the byte at `at`; behind the end there is white space."""
    return as_int(ascii_flags[data[at]]) if at < end else SPACE


@inlined
def _run_end(
    data: Bytes, at: int, allowed: int, index: Flags, classes: Flags, ascii_flags: Flags
) -> tuple[int, int, int]:
    """Where the run of characters with one of the flags `allowed` ends that begins at `at`, how many they are, and the
    flags of the last one. A letter that is a word of its own ends it."""
    characters = 0
    last_flags = 0
    while at < data.size:
        flags = as_int(ascii_flags[data[at]])
        width = 1
        if flags & WIDE:
            point, width = decode(data, at, data.size)
            flags = entry_at(index, classes, point)
        if not flags & allowed or flags & SOLO:
            break
        last_flags = flags
        characters += 1
        at += width
    return at, characters, last_flags


@compiled
def _full_stop_closes(data: Bytes, start: int, stop: int, last_flags: int) -> bool:
    """Whether a full stop behind a word is split off: after digits, and after lower-case letters, two or more, that are
    no abbreviation."""
    if last_flags & NUMBER:
        return True
    if last_flags & (UPPER | COMBINING) or stop - start < 2:
        return False
    return stop - start > 7 or not contains(ABBREVIATIONS, bytes_word(data, start, stop - start + 1))


@inlined
def _read_pieces(
    data: Bytes,
    at: int,
    index: Flags,
    classes: Flags,
    ascii_flags: Flags,
    piece: Ints,
    stack: Ints,
    segments: Spans,
    n: int,
    limit: int,
    state: Ints,
) -> tuple[int, int, int, int]:
    """Segment the white-space word at `at`, in pieces of at most MAX_PIECE characters. Return where it ends, how many
    characters it has, the flags of the last one, and the number of the next segment."""
    characters = 0
    last_flags = 0
    union = 0
    more = True
    while more:
        if n + MAX_PIECE > segments.shape[0]:  # beyond the searched segments, the rest of the buffer is used again
            n = limit
        count = 0
        more = False
        while at < data.size:
            byte = data[at]
            point = as_int(byte)
            width = 1
            flags = as_int(ascii_flags[byte])
            if flags & WIDE:
                point, width = decode(data, at, data.size)
                flags = entry_at(index, classes, point)
            if flags & SPACE:
                break
            if count == MAX_PIECE:
                more = True
                break
            piece[count, POINT] = point
            piece[count, FLAGS] = flags
            piece[count, OFFSET] = at
            union |= flags
            last_flags = flags
            count += 1
            at += width
        piece[count, OFFSET] = at
        n = segment_piece(piece, stack, count, segments, n, state)
        characters += count
    state[C_ALPHABETIC_SPACED] += (union & LETTER) != 0
    return at, characters, last_flags, n


@compiled
def scan(
    data: Bytes,
    index: Flags,
    classes: Flags,
    ascii_flags: Flags,
    piece: Ints,
    stack: Ints,
    state: Ints,
    segments: Spans,
    limit: int,
    lines: Spans,
    trimmed: Ints,
) -> None:
    """Split a document into white-space words, segments (at most `limit` are kept) and lines, and count them.

    `trimmed` takes the first byte, the end byte, the first and the end character of the text without outer white space.
    """
    end = data.size
    at = 0
    position = 0
    line_start = 0
    line_position = 0
    first_word = -1
    last_word_end = 0
    last_word_position = 0
    last_flags = 0
    trimmed[:] = 0
    n = 0  # segments in the buffer
    line_starts = 1
    ended = 0  # 1 behind a terminal mark
    stop_mask = 0
    found = words = word_characters = alphabetic = sentences = 0
    spaced = spaced_characters = alphabetic_spaced = stop_words = 0
    while at < end:
        flags = as_int(ascii_flags[data[at]])
        if flags & SPACE:
            if data[at] == 0x0A:
                state[C_NEWLINES] += 1
                end_line(
                    data, line_start, at, line_position, position - line_position,
                    first_word, last_word_end, last_flags, state, lines,
                )  # fmt: skip
                line_start = at + 1
                line_position = position + 1
                line_starts = 1
            at += 1
            position += 1
            continue
        stop = at
        kind = flags & (LETTER | NUMBER)
        if flags & WIDE:
            point, width = decode(data, at, end)
            flags = entry_at(index, classes, point)
            if flags & SPACE:
                at += width
                position += 1
                continue
            kind = flags & (LETTER | NUMBER)
        elif flags & LETTER:
            stop = letters_end(data, at)
        if last_word_end == 0:
            trimmed[0] = at
            trimmed[2] = position
        if first_word < line_start:
            first_word = at
        if n + MAX_PIECE > segments.shape[0]:
            n = limit
        length = stop - at
        after = _flags_at(data, stop, end, ascii_flags)
        if kind != 0 and (stop == at or after & WIDE):
            allowed = LETTER | COMBINING if kind == LETTER else NUMBER
            stop, more, last_flags = _run_end(data, stop, allowed, index, classes, ascii_flags)
            length += more
            after = _flags_at(data, stop, end, ascii_flags)
        elif kind != 0:
            last_flags = as_int(ascii_flags[data[stop - 1]])
        marks = 0
        if not after & SPACE:
            closes = after & CLOSES != 0
            if length > 0 and not closes and data[stop] == 0x2E:
                closes = _full_stop_closes(data, at, stop, last_flags)
            marks = 1 if closes and _flags_at(data, stop + 1, end, ascii_flags) & SPACE else -1
        spaced += 1
        if 0 < length < MAX_PIECE and marks >= 0:
            size = stop - at
            word = bytes_word(data, at, size)
            folded = word | SPACES >> np.uint64(64 - 8 * min(size, 8))
            stop_bit = stop_word(folded, size)
            stop_words += stop_bit != 0 and marks == 0
            stop_mask |= stop_bit if folded == word else 0
            segments[n, 0] = at
            segments[n, 1] = size
            segments[n, 2] = length
            letters = 1 if kind == LETTER else 0
            words += 1
            word_characters += length
            alphabetic += letters
            alphabetic_spaced += letters
            sentences += line_starts | ended
            line_starts = ended = 0
            found += 1
            n += 1
            at = stop
            if marks:
                segments[n, 0] = stop
                segments[n, 1] = 1
                segments[n, 2] = 1
                last_flags = after
                ended = 1 if after & TERMINAL else 0
                found += 1
                n += 1
                length += 1
                at = stop + 1
            position += length
            spaced_characters += length
        else:
            state[S_LINE_START] = line_starts
            state[S_SENTENCE_ENDED] = ended
            start = at
            at, length, last_flags, n = _read_pieces(
                data, at, index, classes, ascii_flags, piece, stack, segments, n, limit, state
            )
            line_starts = 0
            ended = state[S_SENTENCE_ENDED]
            position += length
            spaced_characters += length
            size = at - start
            if 2 <= size <= 4:  # the white-space word in lower case: no other byte than A or a becomes a
                stop_words += stop_word(bytes_word(data, start, size) | SPACES >> np.uint64(64 - 8 * size), size) != 0
        last_word_end = at
        last_word_position = position
    end_line(
        data, line_start, end, line_position, position - line_position,
        first_word, last_word_end, last_flags, state, lines,
    )  # fmt: skip
    trimmed[1] = last_word_end
    trimmed[3] = last_word_position
    state[C_ALL_LINES] = state[C_NEWLINES] + (1 if end > line_start else 0)
    state[C_SEGMENTS] += found
    state[C_ALPHABETIC_SEGMENTS] += alphabetic
    state[C_ALPHABETIC_WORDS] += alphabetic
    state[C_WORDS] += words
    state[C_WORD_CHARACTERS] += word_characters
    state[C_SENTENCES] += sentences
    state[C_SPACED] = spaced
    state[C_SPACED_CHARACTERS] = spaced_characters
    state[C_ALPHABETIC_SPACED] += alphabetic_spaced
    state[C_STOP_WORDS] = stop_words
    state[C_BYTES] = end
    state[C_CHARACTERS] = position
    state[C_NON_NEWLINES] = position - state[C_NEWLINES]
    state[C_DISTINCT_STOP_WORDS] = as_int(count_ones(np.uint64(state[S_STOP_MASK] | stop_mask)))
    state[C_SEARCHED] = position
    if state[C_SEGMENTS] > limit:
        state[C_SEARCHED] = count_characters(data, as_int(segments[limit - 1, 0] + segments[limit - 1, 1]))
