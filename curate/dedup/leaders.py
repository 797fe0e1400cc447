"""Leader clustering of sets (Hartigan 1975, chapter 3): each joins the first leader that it is similar to, or leads.

The sets of one *star* come in order. The first is a leader. Each other one is compared with the leaders of its star in
their order: it joins the first that is similar enough, and where none is, it becomes a leader itself. So every set is
settled, and the work is members times clusters, not members squared.

Only leaders are remembered, and only those of the star that is open. Where they outgrow the memory they may take, sets
that would lead are *left*, and so is every later set of their star that no remembered leader is similar to: given
again, in the same order, as a star of their own, they come to what they would have come to with room for all.

With more than a few leaders an index tells which ones may be similar by Jaccard. Elements that several leaders share
are *common*, the others rare. In an order in which rare elements come first, similar sets share one of their first
|x| - ⌈t|x|⌉ + 1 elements (prefix filter: Chaudhuri, Ganti, Kaushik, ICDE 2006). If that is a rare one, the index lists
it. If not, they share no rare element at all, and have to be similar by their common ones alone: how many of these
each has tells whether that can be. So pages of one template cost next to nothing unless they are near-duplicates.
For containment and for signatures there is no index: leaders are compared one by one, at about 1 µs and 0.05 µs a pair.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.dedup.compiled import Hashes, Ints, as_int, cached, compiled, source_digest
from curate.dedup.similarity import Similarity

LEADER_BYTES: Final = 16 << 20
"""Bytes of sets that the leaders of one star may take; with their index, all takes about 70 MB."""
MAX_LEADERS: Final = 1 << 18
INDEX_SLOTS: Final = 1 << 22
COMMON_FROM: Final = 3
"""Leaders that share an element from which on it is common."""
INDEX_FROM: Final = 8
"""Leaders that are compared one by one; with more of them the index is asked."""
LEFT, ALONE = -1, -2
ANY, LEADS, JOINS = 0, 1, 2
"""What a set may be: a leader or a member, as it comes; a leader without a look at others; a member or nothing."""
JACCARD, CONTAINMENT, ESTIMATED = 0, 1, 2
_OPEN, _USED, _BASE, _FULL, _PREFIXES, _INDEXED, _BUILT, _ENTRIES, _PLAIN, _WASTED, _ASKED, _COMPARED = range(12)


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
        self._state = np.zeros(12, dtype=np.int64)
        self._sets = np.empty(self._hashes, dtype=np.uint32)  # the system gives its pages as they are touched
        self._bounds = np.zeros(max_leaders + 1, dtype=np.int64)
        self._heads = np.zeros(INDEX_SLOTS, dtype=np.int32)  # number of the last entry from 1, 0 for none
        self._entries = np.empty((3, self._hashes // 2 + 1), dtype=np.int32)
        self._shared = np.zeros(INDEX_SLOTS, dtype=np.uint8)
        # of each leader: when it was last compared, its common elements; then the leaders of mostly common ones
        self._leaders = np.zeros((3, max_leaders), dtype=np.int64)

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
            self._hashes, self._state, self._sets, self._bounds, self._heads, self._entries, self._shared,
            self._leaders, leader, leads, similarity,
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
def _is_common(shared: Any, value: Any) -> bool:
    return bool(shared[as_int(value) & (shared.size - 1)] >= COMMON_FROM)


@compiled
def _forget_index(state: Ints, sets: Hashes, bounds: Ints, heads: Any, entries: Any, shared: Any) -> None:
    for entry in range(state[_ENTRIES]):
        heads[entries[2, entry]] = 0
    for at in range(bounds[state[_BUILT]]):
        shared[as_int(sets[at]) & (shared.size - 1)] = 0
    state[_INDEXED], state[_BUILT], state[_ENTRIES], state[_PLAIN], state[_WASTED] = 0, 0, 0, 0, 0


@compiled
def _count_shared(state: Ints, sets: Hashes, bounds: Ints, shared: Any) -> None:
    """Count in how many leaders each element is."""
    for at in range(bounds[state[_OPEN]]):
        slot = as_int(sets[at]) & (shared.size - 1)
        if shared[slot] < COMMON_FROM:
            shared[slot] += 1
    state[_BUILT] = state[_OPEN]


@compiled
def _index(
    threshold: float, state: Ints, sets: Hashes, bounds: Ints, heads: Any, entries: Any, shared: Any, leaders: Ints
) -> None:
    """Bring all leaders into the index: the rare elements of their prefixes, and which of them are mostly common."""
    known, built = state[_OPEN], state[_BUILT]
    if built == 0 or (state[_WASTED] > 4 * known and known > built + built // 8):
        # what has come since then may be common by now: a new index costs about as much as a comparison with each
        _forget_index(state, sets, bounds, heads, entries, shared)
        _count_shared(state, sets, bounds, shared)
    for leader in range(state[_INDEXED], known):
        start, end = bounds[leader], bounds[leader + 1]
        wanted = _prefix_length(threshold, end - start)
        leaders[1, leader] = 0
        for at in range(start, end):
            if _is_common(shared, sets[at]):
                leaders[1, leader] += 1
            elif wanted > 0:
                slot = as_int(sets[at]) & (heads.size - 1)
                entry = state[_ENTRIES]
                entries[0, entry], entries[1, entry], entries[2, entry] = heads[slot], leader, slot
                heads[slot] = entry + 1
                state[_ENTRIES] += 1
                wanted -= 1
        if leaders[1, leader] >= _least_common(threshold, end - start):
            leaders[2, state[_PLAIN]] = leader
            state[_PLAIN] += 1
    state[_INDEXED] = known


@compiled
def _least_common(threshold: float, size: int) -> int:
    """How many common elements a set has at least that is similar to another by common elements alone."""
    return as_int(threshold * size) - 1


@compiled
def _ask_index(
    threshold: float,
    mine: Hashes,
    state: Ints,
    sets: Hashes,
    bounds: Ints,
    heads: Any,
    entries: Any,
    shared: Any,
    leaders: Ints,
) -> tuple[int, float]:
    """The first leader but number 0 that is similar, and how similar; -1 if there is none."""
    state[_ASKED] += 1
    best, similarity = -1, 0.0
    common = 0
    wanted = _prefix_length(threshold, mine.size)
    for at in range(mine.size):
        if _is_common(shared, mine[at]):
            common += 1
            continue
        entry = heads[as_int(mine[at]) & (heads.size - 1)] if wanted > 0 else 0
        wanted -= 1
        while entry > 0:
            number = entries[1, entry - 1]
            entry = entries[0, entry - 1]
            if number == 0 or leaders[0, number] == state[_ASKED] or (0 <= best <= number):
                continue
            leaders[0, number] = state[_ASKED]
            found = _compare(threshold, mine, number, state, sets, bounds)
            if found >= threshold:
                best, similarity = number, found
    if common < _least_common(threshold, mine.size):
        return best, similarity
    for place in range(state[_PLAIN]):
        number = leaders[2, place]
        if 0 <= best <= number:
            break
        size = bounds[number + 1] - bounds[number]
        if min(common, leaders[1, number]) < _needed(JACCARD, threshold, mine.size, size):
            continue
        if number == 0 or leaders[0, number] == state[_ASKED]:
            continue
        found = _compare(threshold, mine, number, state, sets, bounds)
        if found >= threshold:
            return number, found
    return best, similarity


@compiled
def _compare(threshold: float, mine: Hashes, number: int, state: Ints, sets: Hashes, bounds: Ints) -> float:
    state[_COMPARED] += 1
    found = _similarity(JACCARD, threshold, mine, sets[bounds[number] : bounds[number + 1]])
    if found < threshold:
        state[_WASTED] += 1
    return found


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
        shared: Any,
        leaders: Ints,
        leader: Ints,
        leads: NDArray[np.bool_],
        similarity: NDArray[np.float64],
    ) -> None:
        sources  # noqa: B018 - part of the key of the cache on disk
        total = state[_OPEN]
        state[_BASE] = 0
        for row in range(starts.size):
            if starts[row]:
                if state[_INDEXED]:
                    _forget_index(state, sets, bounds, heads, entries, shared)
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
                _index(threshold, state, sets, bounds, heads, entries, shared, leaders)
                best, similarity[row] = _ask_index(
                    threshold, mine, state, sets, bounds, heads, entries, shared, leaders
                )
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
