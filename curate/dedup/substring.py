"""Exact substring dedup: a passage of so many bytes that an earlier document holds goes, wherever it stands.

After Lee et al. 2022 (arXiv:2107.06499, section 4.1, ExactSubstr), who look for 50 BPE tokens with a suffix array. The
definition here, over all texts in the order (source priority, id):

    A passage is any run of `length_bytes` bytes of one text. It is a repeat if the first passage with the same bytes,
    by text and place, is in another text or ends before it begins. Every character goes that is wholly in repeats.

So one copy of everything stays, the first, and a run of one repeated character keeps its first passage. 50 tokens are
about 200 bytes of English (GPT-2 makes a token of about four bytes). Passages in two texts at once are not looked at:
there is no text across documents, as there is in a suffix array of all of them.

Bounded memory instead of a suffix array: *anchors*. Winnowing (Schleimer et al. 2003) chooses in every passage the
run of bytes, a third as long, with the smallest hash, the last of equals; equal passages choose the same one at the
same place. So each passage belongs to one anchor, whose hash goes through the exchange: only anchors that occur twice
can have repeats, and each key has all copies of its passages. For these the bytes around them are sent and compared: a
hash collision costs time, never text. One text has about three anchors for each `length_bytes` bytes. However a text
repeats itself, time is linear in it: the kernels say why.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from curate.dedup.keys import Dedup, ScopeSettings
from curate.dedup.passages_kernel import LEAST_SLOTS, STATE_SIZE, WORK, compare_contexts
from curate.dedup.substring_kernel import copy_ranges, find_anchors
from curate.dedup.units import Cuts
from curate.text.buffers import text_buffers
from curate.text.compiled import Bytes, Ints, Words

PASSAGES: Final = 1 << 19
STORE_BYTES: Final = 16 << 20
"""What a comparison remembers of one key: so many passages, in contexts of so many bytes; at most 56 MiB in all."""


class SubstringSettings(ScopeSettings):
    """How long a passage is, whose documents are compared, and what a document that loses some must keep."""

    length_bytes: int = Field(200, ge=16, le=1 << 16)
    min_bytes: int = Field(1, ge=1)


class Anchors(NamedTuple):
    """The anchors of a batch of texts: those of text i are numbers bounds[i] to bounds[i + 1].

    key uint64 [anchors], the hash of its bytes; first and last int64 [anchors]: it stands for the passages of its text
    that begin at bytes first … last, at most `length_bytes` of them. Anchors of a text come in order, and each passage
    belongs to one. Anchors with the same key that follow each other, as in a run of one character, are one from the
    second on.
    """

    bounds: Ints
    key: Words
    first: Ints
    last: Ints

    def texts(self) -> Ints:
        """Return the number of the text of each anchor, int64 [anchors]."""
        return np.repeat(np.arange(len(self.bounds) - 1), np.diff(self.bounds))


def gram_bytes(length_bytes: int) -> int:
    """Return how many bytes of a passage its anchor is. Longer ones repeat less often by chance; of shorter ones a text
    has fewer: a third moves least."""
    return max(length_bytes // 3, min(16, length_bytes // 2))


def long_gram_bytes(length_bytes: int) -> int:
    """Return how many bytes an anchor is that tells passages apart which have too much in common for one key."""
    return length_bytes - length_bytes // 4


def anchors(text: pa.Array, length_bytes: int, gram: int | None = None) -> Anchors:
    """Return the anchors of each text (large_string [rows]), of `gram` bytes if not of `gram_bytes`; none for null and
    for texts that hold no passage."""
    data, bounds = text_buffers(text)
    gram = gram or gram_bytes(length_bytes)
    window = length_bytes - gram + 1
    room = int(np.maximum(np.diff(bounds) - length_bytes + 1, 0).sum()) + 1
    key = np.empty(room, dtype=np.uint64)
    first, last = np.empty(room, dtype=np.int64), np.empty(room, dtype=np.int64)
    lists = np.zeros(len(bounds), dtype=np.int64)
    memory = (np.empty(window, dtype=np.uint64), np.empty(window, dtype=np.uint64), np.empty(window, dtype=np.int64))
    used = find_anchors(data, bounds, gram, *memory, lists, key, first, last)
    return Anchors(lists, key[:used].copy(), first[:used].copy(), last[:used].copy())


def passage_bytes(text: pa.Array, rows: Ints, starts: Ints, ends: Ints) -> pa.Array:
    """Return bytes [starts[k], ends[k]) of text rows[k] for each k, large_binary; int64 all. They may overlap."""
    data, bounds = text_buffers(text)
    sizes = ends - starts
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    result = np.empty(offsets[-1], dtype=np.uint8)
    copy_ranges(data, bounds[rows] + starts, offsets, result)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(result)]
    return pa.Array.from_buffers(pa.large_binary(), len(rows), buffers)


class Ranges(NamedTuple):
    """Ranges of passages in contexts, int64 [ranges] each: number of the context, first and last passage, counted from
    the context's beginning."""

    context: Ints
    first: Ints
    last: Ints


class Passages:
    """The passages of one key so far, in bounded memory: says of each next one whether it was there before."""

    def __init__(self, length_bytes: int, passages: int = PASSAGES, store_bytes: int = STORE_BYTES) -> None:
        """Remember at most so many `passages` in contexts of `store_bytes`. Raises ValueError if these cannot hold a
        context."""
        if store_bytes < 2 * length_bytes:
            raise ValueError(f"{store_bytes} bytes do not hold a context of {2 * length_bytes}")
        self._size = length_bytes
        slots = max(LEAST_SLOTS, 1 << (2 * passages - 1).bit_length())
        self._memory = (
            np.zeros(STATE_SIZE, dtype=np.int64),  # passages, bytes, contexts; no more room; slots in use; work so far
            np.zeros(2, dtype=np.uint64),  # the key
            np.empty(slots, dtype=np.int64),  # number of a passage
            np.zeros(passages, dtype=np.uint64),  # its hash
            np.zeros(passages, dtype=np.int64),  # where it is among the bytes
            np.zeros(passages, dtype=np.int64),  # number of its context
            np.zeros(passages, dtype=np.int64),  # number of the passage that was last found behind it
            np.zeros(passages, dtype=np.int64),  # and how far behind
            np.zeros((passages, 2), dtype=np.uint64),  # id of the text of a context
            np.zeros(passages, dtype=np.int64),  # from a place among the bytes to that in the text
            np.empty(store_bytes, dtype=np.uint8),
        )

    @property
    def work(self) -> int:
        """Bytes and known passages that were looked at so far."""
        return int(self._memory[0][WORK])

    def compare(self, data: Bytes, bounds: Ints, keys: Words, ids: Words, starts: Ints) -> tuple[Ranges, Ranges]:
        """Return (repeats, those for which there was no room) of the next contexts.

        data uint8, bounds int64 [contexts + 1]: their bytes; keys uint64 [contexts, 2]; ids uint64 [contexts, 2] and
        starts int64 [contexts]: the text of each, and where in it the context begins. All contexts of a key come in the
        order of texts and places, one key after the other. Of passages with the same bytes either all or none are left
        over, so that what is left over can be compared by itself, by new `Passages`.
        """
        room = int(np.maximum(np.diff(bounds) - self._size + 1, 0).sum())
        ranges = tuple(np.empty(room, dtype=np.int64) for _ in range(3))
        found, back = compare_contexts(data, bounds, self._size, keys, ids, starts, *self._memory, *ranges)
        # written from the back: turned round, they are in order again
        return Ranges(*(column[:found] for column in ranges)), Ranges(*(column[back:][::-1] for column in ranges))


def passage_cuts(text: pa.Array, rows: Ints, starts: Ints, ends: Ints) -> Cuts:
    """Return the whole characters in the union of byte ranges.

    rows, starts, ends: int64 [ranges], sorted by (rows, starts): range k is bytes [starts[k], ends[k]) of text rows[k].
    """
    data, bounds = text_buffers(text)
    first, last = bounds[rows] + starts, bounds[rows] + ends
    # the end so far: texts follow each other in the buffer, and a range never leaves its text
    reach = np.maximum.accumulate(last) if len(last) else last
    new = np.ones(len(first), dtype=bool)
    new[1:] = (first[1:] > reach[:-1]) | (rows[1:] != rows[:-1])
    heads = np.flatnonzero(new)
    begin, row = first[heads], rows[heads]
    end = reach[np.append(heads[1:], len(first))[: len(heads)] - 1] if len(heads) else last
    for _ in range(3):
        begin += _continues(data, begin, bounds[row + 1])
        end -= _continues(data, end, bounds[row + 1])
    kept = end > begin
    row, begin, end = row[kept], begin[kept], end[kept]
    lists = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(bounds) - 1))])
    return Cuts(lists, begin - bounds[row], end - bounds[row])


def _continues(data: Bytes, at: Ints, ends: Ints) -> NDArray[np.int64]:
    """Return 1 where a byte belongs to the character that began before it, 0 at the end of a text. int64 [places]."""
    inside = at < ends
    byte = data[np.where(inside, at, 0)] if len(data) else np.zeros(len(at), dtype=np.uint8)
    return (inside & (byte & 0xC0 == 0x80)).astype(np.int64)


SUBSTRING: Final = Dedup(SubstringSettings, None, needs_text=True, version=3, libraries=("pyarrow",), cuts=True)
