"""The numba code behind `curate.dedup.leaders`: one pass over the sets of stars, and the index of a star's leaders.

`sets` and `bounds` hold the leaders of the open star, `state` what is known of it. The index: `shared` counts by slot
in how many leaders an element is; `heads` and `entries` are linked lists of the leaders that have a rare element among
their first ones; `leaders` holds of each leader when it was last compared and how many common elements it has, and in
its last row the leaders of mostly common elements, in order.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from curate.text.compiled import Hashes, Ints, as_int, cached, compiled, source_digest

COMMON_FROM: Final = 3
"""Leaders that share an element from which on it is common."""
INDEX_FROM: Final = 8
"""Leaders that are compared one by one; with more of them the index is asked."""
LEFT, ALONE = -1, -2
"""What a set has instead of the number of its leader."""
ANY, LEADS, JOINS = 0, 1, 2
"""What a set may be: a leader or a member, as it comes; a leader without a look at others; a member or nothing."""
JACCARD, CONTAINMENT, ESTIMATED = 0, 1, 2
STATE: Final = 12
"""Integers that the kernel remembers between chunks, by these numbers."""
OPEN, USED, BASE, FULL, PREFIXES, INDEXED, BUILT, ENTRIES, PLAIN, WASTED, ASKED, COMPARED = range(STATE)


@compiled
def _needed(mode: int, threshold: float, left: int, right: int) -> int:
    """How many elements two sets share at least where they are similar enough; never too many for the rounding."""
    if mode == JACCARD:
        return as_int(threshold / (1.0 + threshold) * (left + right)) - 1
    return as_int(threshold * min(left, right)) - 1


@compiled
def _shared(left: Hashes, right: Hashes, need: int) -> int:
    """How many elements two ascending sets share; -1 as soon as it shows that these are fewer than `need`.

    Each step of a merge waits for the one before: the lower and the upper half are merged side by side.
    """
    low, high = 0, right.size
    middle = left.size // 2
    while low < high:  # where the upper half begins on the right
        at = (low + high) // 2
        if right[at] < left[middle]:
            low = at + 1
        else:
            high = at
    cut = low
    i, j, k, m, count = 0, 0, middle, cut, 0
    while i + 8 <= middle and j + 8 <= cut and k + 8 <= left.size and m + 8 <= right.size:
        for _ in range(8):
            one, other = left[i], right[j]
            third, fourth = left[k], right[m]
            count += one == other
            i += one <= other
            j += other <= one
            count += third == fourth
            k += third <= fourth
            m += fourth <= third
        if count + min(middle - i, cut - j) + min(left.size - k, right.size - m) < need:
            return -1
    return count + _merged(left[i:middle], right[j:cut]) + _merged(left[k:], right[m:])


@compiled
def _merged(left: Hashes, right: Hashes) -> int:
    i, j, count = 0, 0, 0
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
    for entry in range(state[ENTRIES]):
        heads[entries[2, entry]] = 0
    for at in range(bounds[state[BUILT]]):
        shared[as_int(sets[at]) & (shared.size - 1)] = 0
    state[INDEXED], state[BUILT], state[ENTRIES], state[PLAIN], state[WASTED] = 0, 0, 0, 0, 0


@compiled
def _count_shared(state: Ints, sets: Hashes, bounds: Ints, shared: Any) -> None:
    """Count in how many leaders each element is."""
    for at in range(bounds[state[OPEN]]):
        slot = as_int(sets[at]) & (shared.size - 1)
        if shared[slot] < COMMON_FROM:
            shared[slot] += 1
    state[BUILT] = state[OPEN]


@compiled
def _index(
    threshold: float, state: Ints, sets: Hashes, bounds: Ints, heads: Any, entries: Any, shared: Any, leaders: Ints
) -> None:
    """Bring all leaders into the index: the rare elements of their prefixes, and which of them are mostly common."""
    known, built = state[OPEN], state[BUILT]
    if built == 0 or (state[WASTED] > 4 * known and known > built + built // 8):
        # what has come since then may be common by now: a new index costs about as much as a comparison with each
        _forget_index(state, sets, bounds, heads, entries, shared)
        _count_shared(state, sets, bounds, shared)
    for leader in range(state[INDEXED], known):
        start, end = bounds[leader], bounds[leader + 1]
        wanted = _prefix_length(threshold, end - start)
        leaders[1, leader] = 0
        for at in range(start, end):
            if _is_common(shared, sets[at]):
                leaders[1, leader] += 1
            elif wanted > 0:
                slot = as_int(sets[at]) & (heads.size - 1)
                entry = state[ENTRIES]
                entries[0, entry], entries[1, entry], entries[2, entry] = heads[slot], leader, slot
                heads[slot] = entry + 1
                state[ENTRIES] += 1
                wanted -= 1
        if leaders[1, leader] >= _least_common(threshold, end - start):
            leaders[2, state[PLAIN]] = leader
            state[PLAIN] += 1
    state[INDEXED] = known


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
    state[ASKED] += 1
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
            if number == 0 or leaders[0, number] == state[ASKED] or (0 <= best <= number):
                continue
            leaders[0, number] = state[ASKED]
            found = _compare(threshold, mine, number, state, sets, bounds)
            if found >= threshold:
                best, similarity = number, found
    if common < _least_common(threshold, mine.size):
        return best, similarity
    for place in range(state[PLAIN]):
        number = leaders[2, place]
        if 0 <= best <= number:
            break
        size = bounds[number + 1] - bounds[number]
        if min(common, leaders[1, number]) < _needed(JACCARD, threshold, mine.size, size):
            continue
        if number == 0 or leaders[0, number] == state[ASKED]:
            continue
        found = _compare(threshold, mine, number, state, sets, bounds)
        if found >= threshold:
            return number, found
    return best, similarity


@compiled
def _compare(threshold: float, mine: Hashes, number: int, state: Ints, sets: Hashes, bounds: Ints) -> float:
    state[COMPARED] += 1
    found = _similarity(JACCARD, threshold, mine, sets[bounds[number] : bounds[number + 1]])
    if found < threshold:
        state[WASTED] += 1
    return found


def _compile(sources: str) -> Any:
    """Return the compiled loop over sets; `sources` is a `source_digest`."""

    @cached
    def _settle(
        starts: NDArray[np.bool_],
        may: NDArray[np.int8],
        hashes: Hashes,
        begins: Ints,
        ends: Ints,
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
        total = state[OPEN]
        state[BASE] = 0
        for row in range(starts.size):
            if starts[row]:
                if state[INDEXED]:
                    _forget_index(state, sets, bounds, heads, entries, shared)
                state[BASE] = total
                state[OPEN], state[USED], state[FULL], state[PREFIXES] = 0, 0, 0, 0
            mine = hashes[begins[row] : ends[row]]
            best = -1
            known = state[OPEN]
            one_by_one = known if mode != JACCARD or known <= INDEX_FROM or threshold <= 0.0 else 1
            if may[row] == LEADS:
                one_by_one = known = 0
            for number in range(one_by_one):
                state[COMPARED] += 1
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
                leader[row] = state[BASE] + best
                continue
            if may[row] == JOINS:
                leader[row] = LEFT if state[FULL] else ALONE
                continue
            known = state[OPEN]
            taken = state[USED] + mine.size
            prefixes = state[PREFIXES] + (_prefix_length(threshold, mine.size) if mode == JACCARD else 0)
            fits = taken <= room and known + 1 < bounds.size and prefixes <= entries.shape[1]
            if state[FULL] or (known > 0 and not fits):
                state[FULL] = 1
                continue
            for at in range(mine.size):  # a slice could not be assigned without an allocation
                sets[state[USED] + at] = mine[at]
            state[USED], state[PREFIXES] = taken, prefixes
            state[OPEN] = known + 1
            bounds[known + 1] = taken
            leader[row] = total
            leads[row] = True
            similarity[row] = 1.0
            total += 1

    return _settle


SETTLE = _compile(source_digest())
