"""Leader clustering of sets (Hartigan 1975, chapter 3): each joins the first leader that it is similar to, or leads.

The sets of one *star* come in order. The first is a leader. Each other one is compared with the leaders of its star in
their order: it joins the first that is similar enough, and where none is, it becomes a leader itself. So every set is
settled, and the work is members times clusters, not members squared.

Only leaders are remembered, and only those of the star that is open. Where they outgrow the memory they may take, sets
that would lead are *left*, and so is every later set of their star that no remembered leader is similar to: given
again, in the same order, as a star of their own, they come to what they would have come to with room for all.

With more than a few leaders an index tells which ones may be similar: sets of a Jaccard similarity t share one of their
first |x| - ⌈t|x|⌉ + 1 elements in any order (prefix filter: Chaudhuri, Ganti, Kaushik, ICDE 2006). What the first
leaders have in common comes last in ours, so boilerplate does not make candidates of all of them.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.dedup.compiled import Hashes, Ints, as_int, cached, compiled, source_digest
from curate.dedup.similarity import Similarity

LEADER_BYTES: Final = 32 << 20
"""Bytes of sets that the leaders of one star may take; with their index, all takes twice that."""
MAX_LEADERS: Final = 1 << 18
INDEX_SLOTS: Final = 1 << 20
INDEX_FROM: Final = 8
"""Leaders that are compared one by one; with more of them the index is asked."""
LEFT, ALONE = -1, -2
ANY, LEADS, JOINS = 0, 1, 2
"""What a set may be: a leader or a member, as it comes; a leader without a look at others; a member or nothing."""
JACCARD, CONTAINMENT, ESTIMATED = 0, 1, 2
_OPEN, _USED, _BASE, _FULL, _PREFIXES, _INDEXED, _ENTRIES, _ASKED, _COMPARED = range(9)


class Settled(NamedTuple):
    """What became of each set: `leader` int64 [rows] numbers the leaders that were open before, then the new ones in
    order (`leads` bool [rows]: those of these rows); LEFT for another round; ALONE for a set that JOINS and has no
    leader. `similarity` float64 [rows] to the leader; 1 for leaders, 0 without one."""

    leader: Ints
    leads: NDArray[np.bool_]
    similarity: NDArray[np.float64]


class Leaders:
    """Settles sets chunk by chunk. `open` is how many leaders the star has that the last row belonged to; `compared`
    counts all comparisons."""

    def __init__(
        self,
        threshold: float,
        kind: Similarity | None,
        memory_bytes: int = LEADER_BYTES,
        max_leaders: int = MAX_LEADERS,
    ) -> None:
        """Sets are similar from `threshold` (0 to 1) on. `kind` None: "sets" are signatures, all of one length, and
        their similarity is the share of equal values."""
        self._threshold = threshold
        self._mode = ESTIMATED if kind is None else CONTAINMENT if kind == "containment" else JACCARD
        self._hashes = max(1, memory_bytes // 4)
        self._state = np.zeros(9, dtype=np.int64)
        self._sets = np.empty(self._hashes, dtype=np.uint32)  # the system gives its pages as they are touched
        self._bounds = np.zeros(max_leaders + 1, dtype=np.int64)
        self._heads = np.zeros(INDEX_SLOTS, dtype=np.int32)  # number of the last entry from 1, 0 for none
        self._entries = np.empty((3, self._hashes // 2 + 1), dtype=np.int32)
        self._common = np.zeros(INDEX_SLOTS, dtype=np.uint8)
        self._seen = np.zeros(max_leaders, dtype=np.int64)

    @property
    def open(self) -> int:
        """How many leaders the open star has."""
        return int(self._state[_OPEN])

    @property
    def compared(self) -> int:
        """How many pairs were compared so far."""
        return int(self._state[_COMPARED])

    def take(self, starts: NDArray[np.bool_], may: NDArray[np.int8], hashes: Hashes, bounds: Ints) -> Settled:
        """Settle the next rows. starts bool [rows]: the row begins a star. may int8 [rows]: ANY, LEADS or JOINS.

        The set of row i is hashes[bounds[i]:bounds[i + 1]], uint32, ascending and without repeats (a signature is in
        its own order).
        """
        rows = len(starts)
        largest = int(np.diff(bounds).max(initial=0))
        if largest > len(self._sets) or largest > self._entries.shape[1]:
            self._grow(largest)
        leader = np.full(rows, LEFT, dtype=np.int64)
        leads = np.zeros(rows, dtype=np.bool_)
        similarity = np.zeros(rows)
        _SETTLE(
            starts, may, hashes, np.ascontiguousarray(bounds, dtype=np.int64), self._mode, self._threshold,
            self._hashes, self._state, self._sets, self._bounds, self._heads, self._entries, self._common, self._seen,
            leader, leads, similarity,
        )  # fmt: skip
        return Settled(leader, leads, similarity)

    def _grow(self, largest: int) -> None:
        """Make room for a set that is larger than all leaders together may be: the first of a star always leads."""
        sets = np.empty(max(largest, len(self._sets)), dtype=np.uint32)
        used = int(self._state[_USED])
        sets[:used] = self._sets[:used]
        self._sets = sets
        entries = np.empty((3, max(largest, self._entries.shape[1])), dtype=np.int32)
        filled = int(self._state[_ENTRIES])
        entries[:, :filled] = self._entries[:, :filled]
        self._entries = entries


@compiled
def _needed(mode: int, threshold: float, left: int, right: int) -> int:
    """How many elements two sets share at least where they are similar enough; never too many for the rounding."""
    if mode == JACCARD:
        return as_int(threshold / (1.0 + threshold) * (left + right)) - 1
    return as_int(threshold * min(left, right)) - 1


@compiled
def _shared(left: Hashes, right: Hashes, need: int) -> int:
    """How many elements two ascending sets share; -1 as soon as it shows that these are fewer than `need`."""
    i, j, count = 0, 0, 0
    while i + 16 <= left.size and j + 16 <= right.size:
        for _ in range(16):
            one, other = left[i], right[j]
            count += one == other
            i += one <= other
            j += other <= one
        if count + min(left.size - i, right.size - j) < need:
            return -1
    while i < left.size and j < right.size:
        one, other = left[i], right[j]
        count += one == other
        i += one <= other
        j += other <= one
    return count


@compiled
def _equal(left: Hashes, right: Hashes, need: int) -> int:
    """How many values two signatures have in common; -1 as soon as it shows that these are fewer than `need`."""
    count = 0
    for i in range(left.size):
        count += left[i] == right[i]
        if i % 16 == 15 and count + left.size - i - 1 < need:
            return -1
    return count


@compiled
def _similarity(mode: int, threshold: float, left: Hashes, right: Hashes) -> float:
    """The similarity of two sets, -1 where it is certainly below the threshold."""
    smaller, larger = min(left.size, right.size), max(left.size, right.size)
    if smaller == 0:
        return 0.0
    if mode == JACCARD and smaller < as_int(threshold * larger):
        return -1.0
    need = _needed(mode, threshold, left.size, right.size)
    common = _equal(left, right, need) if mode == ESTIMATED else _shared(left, right, need)
    if common < 0:
        return -1.0
    return common / (left.size + right.size - common if mode == JACCARD else smaller)


@compiled
def _prefix_length(threshold: float, size: int) -> int:
    return size - max(1, as_int(threshold * size)) + 1


@compiled
def _forget_index(state: Ints, heads: Any, entries: Any, common: Any) -> None:
    if state[_INDEXED] == 0:
        return
    for entry in range(state[_ENTRIES]):
        heads[entries[2, entry]] = 0
    for slot in range(common.size):
        common[slot] = 0
    state[_INDEXED] = 0
    state[_ENTRIES] = 0


@compiled
def _index(threshold: float, state: Ints, sets: Hashes, bounds: Ints, heads: Any, entries: Any, common: Any) -> None:
    """Bring all leaders into the index. Elements that two of the first leaders share are common ever after."""
    mask = heads.size - 1
    if state[_INDEXED] == 0:
        for at in range(bounds[state[_OPEN]]):
            slot = as_int(sets[at]) & mask
            common[slot] = min(2, common[slot] + 1)
    for leader in range(state[_INDEXED], state[_OPEN]):
        start, end = bounds[leader], bounds[leader + 1]
        wanted = _prefix_length(threshold, end - start)
        for kind in range(2):
            for at in range(start, end):
                slot = as_int(sets[at]) & mask
                if wanted == 0 or (common[slot] >= 2) != (kind == 1):
                    continue
                entry = state[_ENTRIES]
                entries[0, entry], entries[1, entry], entries[2, entry] = heads[slot], leader, slot
                heads[slot] = entry + 1
                state[_ENTRIES] += 1
                wanted -= 1
    state[_INDEXED] = state[_OPEN]


def _compile(sources: str) -> Any:
    """Return the compiled loop over sets; `sources` is a `source_digest`."""

    @cached
    def _settle(
        starts: NDArray[np.bool_],
        may: NDArray[np.int8],
        hashes: Hashes,
        row_bounds: Ints,
        mode: int,
        threshold: float,
        room: int,
        state: Ints,
        sets: Hashes,
        bounds: Ints,
        heads: Any,
        entries: Any,
        common: Any,
        seen: Ints,
        leader: Ints,
        leads: NDArray[np.bool_],
        similarity: NDArray[np.float64],
    ) -> None:
        sources  # noqa: B018 - part of the key of the cache on disk
        total = state[_OPEN]
        state[_BASE] = 0
        mask = heads.size - 1
        for row in range(starts.size):
            if starts[row]:
                _forget_index(state, heads, entries, common)
                state[_BASE] = total
                state[_OPEN], state[_USED], state[_FULL], state[_PREFIXES] = 0, 0, 0, 0
            mine = hashes[row_bounds[row] : row_bounds[row + 1]]
            best = -1
            known = state[_OPEN]
            one_by_one = known if mode != JACCARD or known <= INDEX_FROM or threshold <= 0.0 else 1
            if may[row] == LEADS:
                one_by_one = known = 0
            for number in range(one_by_one):
                state[_COMPARED] += 1
                found = _similarity(mode, threshold, mine, sets[bounds[number] : bounds[number + 1]])
                if found >= threshold:
                    best = number
                    similarity[row] = found
                    break
            if best < 0 and one_by_one < known:
                _index(threshold, state, sets, bounds, heads, entries, common)
                wanted = _prefix_length(threshold, mine.size)
                state[_ASKED] += 1
                for kind in range(2):
                    for at in range(mine.size):
                        slot = as_int(mine[at]) & mask
                        if wanted == 0 or (common[slot] >= 2) != (kind == 1):
                            continue
                        wanted -= 1
                        entry = heads[slot]
                        while entry > 0:
                            number = entries[1, entry - 1]
                            entry = entries[0, entry - 1]
                            # the first leader was compared already
                            if number == 0 or seen[number] == state[_ASKED] or (0 <= best <= number):
                                continue
                            seen[number] = state[_ASKED]
                            state[_COMPARED] += 1
                            found = _similarity(mode, threshold, mine, sets[bounds[number] : bounds[number + 1]])
                            if found >= threshold:
                                best = number
                                similarity[row] = found
            if best >= 0:
                leader[row] = state[_BASE] + best
                continue
            if may[row] == JOINS:
                leader[row] = LEFT if state[_FULL] else ALONE
                continue
            known = state[_OPEN]
            taken = state[_USED] + mine.size
            prefixes = state[_PREFIXES] + (_prefix_length(threshold, mine.size) if mode == JACCARD else 0)
            fits = taken <= room and known + 1 < bounds.size and prefixes <= entries.shape[1]
            if state[_FULL] or (known > 0 and not fits):
                state[_FULL] = 1
                continue
            for at in range(mine.size):  # a slice could not be assigned without an allocation
                sets[state[_USED] + at] = mine[at]
            state[_USED], state[_PREFIXES] = taken, prefixes
            state[_OPEN] = known + 1
            bounds[known + 1] = taken
            leader[row] = total
            leads[row] = True
            similarity[row] = 1.0
            total += 1

    return _settle


_SETTLE = _compile(source_digest())
