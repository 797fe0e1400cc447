"""Byte pair encoding (Gage 1994; Sennrich et al. 2016, 1508.07909) learned from counted words, exactly.

Each step merges the pair of adjacent tokens with the largest count, and of equal counts the pair with the smaller ids
(left, then right): the merges, in their order, that ``rustbpe`` learns from a text in which each word stands so often.
Counts are 64-bit. Pairs overlap: ``aaa`` holds the pair (a, a) twice, and one merge.

Memory is about ten bytes for each byte of distinct words, and about 60 for each pair that reaches the floor (see
`learn_kernel`), of which there are a few times as many as merges; how often words occur makes no difference.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.errors import RecipeError
from curate.text.compiled import Ints
from curate.tokenize import learn_kernel as kernel
from curate.tokenize.learn_pairs import Pairs

MAX_SLOTS: Final = (1 << 31) - 1
SKETCH_BUCKETS: Final = 1 << 22
FIRST_FLOOR_SHARE: Final = 1 << 10
LEAST_ENTRIES: Final = 1 << 16

Encode = Callable[[bytes], NDArray[Any]]


class Learner:
    """Learns merges over `words` (large_binary, distinct) that occur `counts` times (int64, 1:1).

    Without `base`, tokens are the 256 bytes, id = byte. With it, they are its tokens in rank order, and `encode` gives
    the ids of a word; merges continue from there. `tokens` grows with `learn`.
    """

    def __init__(
        self, words: pa.Array, counts: Ints, *, base: Sequence[bytes] | None = None, encode: Encode | None = None
    ) -> None:
        self.tokens = list(base) if base is not None else [bytes([byte]) for byte in range(256)]
        self._lengths = np.array([len(token) for token in self.tokens], dtype=np.int32)
        tokens, bounds = _flat(words) if encode is None else _encoded(words, encode)
        order = np.argsort(-counts, kind="stable")
        # a word of one token holds no pair
        order = order[np.diff(bounds)[order] > 1]
        sizes = np.diff(_flat(words)[1])[order] + 1
        total = int(sizes.sum()) + 1
        if total > MAX_SLOTS:
            raise RecipeError(
                f"tokenizer.train: {len(order)} distinct pre-tokens hold {total} bytes (limit {MAX_SLOTS}); raise "
                "min_count or lower merge_bytes"
            )
        weights = counts[order]
        last = np.flatnonzero(np.diff(weights, append=-1))
        self._groups = kernel.Groups((1 + np.cumsum(sizes))[last], weights[last])
        self._slots = np.empty(total, dtype=np.int32)
        kernel.fill(tokens, bounds, order, self._lengths, self._slots)
        self._floor = max(1, int(weights.sum()) // FIRST_FLOOR_SHARE)
        self._pairs: Pairs | None = None
        self._largest = 0

    def learn(self, merges: int) -> int:
        """Learn up to `learn` merges more, append their tokens, and return how many there were; fewer only when no two
        tokens are adjacent any more."""
        begin = len(self.tokens)
        last = begin + merges
        self._lengths = np.concatenate([self._lengths, np.zeros(merges, dtype=np.int32)])
        merged = np.zeros(last, dtype=np.uint64)
        new = begin
        while new < last and len(self._groups.end):
            if self._pairs is None:
                self._pairs = self._count()
            scratch = _scratch(last, self._largest)
            why, new = kernel.merge(
                self._slots, self._groups, self._lengths, self._floor, new, last, self._pairs, scratch, merged
            )
            if why != kernel.FINISHED:
                self._pairs = None
            if why == kernel.EXHAUSTED:
                if self._floor == 1:
                    break
                self._floor = next_floor(self._floor, new - begin, last - begin)
        for key in merged[begin:new].tolist():
            self.tokens.append(self.tokens[key >> 32] + self.tokens[key & 0xFFFFFFFF])
        self._lengths = self._lengths[:new]
        return new - begin

    def _count(self) -> Pairs:
        """Return the pairs that reach the floor, counted from the slots."""
        state = self._slots, self._groups, self._lengths
        buckets = np.zeros(SKETCH_BUCKETS, dtype=np.int64)
        kernel.sketch(*state, buckets)
        room = max(LEAST_ENTRIES, int((buckets >= self._floor).sum()))
        while True:
            # merges enter pairs of their own: half as many again, and whatever one merge can need
            pairs = _pairs(room + room // 2 + 2 * len(self._lengths) + 2)
            if kernel.count(*state, buckets, self._floor, pairs):
                break
            room *= 2
        reach = pairs.total[: pairs.used[0]] >= self._floor
        sizes = pairs.size[: pairs.used[0]][reach]
        self._largest = int(sizes.max(initial=0))
        places = int(sizes.sum())
        pairs = pairs._replace(places=np.empty(places + places // 2 + 2 * self._largest, dtype=np.int32))
        kernel.locate(*state, self._floor, pairs)
        return pairs


def next_floor(floor: int, done: int, wanted: int) -> int:
    """Return the floor that should last to the end: counts fall about as one over the number of the merge."""
    return max(1, min(floor // 2, floor * done // (2 * wanted)))


def _flat(words: pa.Array) -> tuple[NDArray[np.uint8], Ints]:
    """Return the bytes of all words and where each begins, int64 [words + 1]."""
    _, positions, data = words.buffers()
    bounds = np.frombuffer(positions, dtype=np.int64)[words.offset : words.offset + len(words) + 1]
    return np.frombuffer(data if data is not None else b"", dtype=np.uint8), bounds


def _encoded(words: pa.Array, encode: Encode) -> tuple[NDArray[np.int32], Ints]:
    ids = [encode(word) for word in words.to_pylist()]
    bounds = np.cumsum([0, *map(len, ids)], dtype=np.int64)
    return np.concatenate([*ids, np.empty(0, np.int32)]).astype(np.int32), bounds


def _pairs(entries: int) -> Pairs:
    table = np.full(1 << (2 * entries - 1).bit_length(), -1, dtype=np.int32)
    return Pairs(
        key=np.empty(entries, dtype=np.uint64),
        total=np.empty(entries, dtype=np.int64),
        first=np.empty(entries, dtype=np.int64),
        size=np.empty(entries, dtype=np.int64),
        table=table,
        heap=np.empty(entries, dtype=np.int32),
        heap_count=np.empty(entries, dtype=np.int64),
        places=np.empty(0, dtype=np.int32),
        used=np.zeros(3, dtype=np.int64),
    )


def _scratch(ids: int, largest: int) -> kernel.Scratch:
    return kernel.Scratch(
        weight=np.zeros((2, ids), dtype=np.int64),
        size=np.zeros((2, ids), dtype=np.int64),
        seen=np.empty((2, ids), dtype=np.int32),
        event=np.empty((2, 2 * largest), dtype=np.int32),
        found=np.zeros(3, dtype=np.int64),
    )
