"""The order of uint64 keys, in time that grows with their number: one counting pass by leading bits, then insertion.

Keys of an exchange are hashes, spread evenly over their range, so a bucket holds a key or two. Where they are not, the
insertions soon show it: then numpy's merge sort takes over, and no input costs more than that.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

FEW: Final = 64
"""Keys that are not worth a counting pass."""
MAX_BUCKET_BITS: Final = 16
MANY: Final = 128
"""Ties that are not worth sorting by insertion."""
MOVES_PER_KEY: Final = 8
"""Insertions that keys may cost on average before merging is cheaper."""

_njit: Any = njit


def stable_order(keys: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Return the order int64 [keys] that sorts `keys`, equal ones staying in theirs, and the sorted keys. Cost: about
    10 ns a key."""
    if len(keys) >= FEW:
        low, high = int(keys.min()), int(keys.max())
        bits = min(MAX_BUCKET_BITS, len(keys).bit_length())
        shift = max(0, (high - low).bit_length() - bits)
        counts = np.zeros((1 << bits) + 1, dtype=np.int64)
        order, found = np.empty(len(keys), dtype=np.int64), np.empty(len(keys), dtype=np.uint64)
        if _order_by_buckets(keys, np.uint64(low), np.uint64(shift), counts, MOVES_PER_KEY * len(keys), order, found):
            return order, found
    order = np.argsort(keys, kind="stable")
    return order, keys[order]


def equal_runs(values: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return (begin, end) of each run of two or more equal values, int64 [runs, 2]."""
    found = np.empty((len(values) // 2, 2), dtype=np.int64)
    return found[: _equal_runs(values, 0, len(values), found, 0)]


def order_ties(order: NDArray[np.int64], column: NDArray[np.uint64], runs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sort each of the `runs` of `order` by a column, equal ones staying in theirs; return the runs of those that are
    still equal."""
    for start, end in runs[runs[:, 1] - runs[:, 0] > MANY]:
        rows = order[start:end]
        order[start:end] = rows[stable_order(column[rows])[0]]
    values = np.empty(len(order), dtype=np.uint64)
    found = np.empty((int((runs[:, 1] - runs[:, 0]).sum()) // 2, 2), dtype=np.int64)
    return found[: _order_ties(order, column, runs, values, found)]


@_njit(nogil=True, cache=True)
def _equal_runs(values: Any, start: int, end: int, found: Any, count: int) -> int:
    """Write the runs of equal values in values[start:end] after the first `count` of `found`; return how many these are
    then."""
    at = start
    while at < end:
        stop = at + 1
        while stop < end and values[stop] == values[at]:
            stop += 1
        if stop - at > 1:
            found[count, 0], found[count, 1] = at, stop
            count += 1
        at = stop
    return count


@_njit(nogil=True, cache=True)
def _order_ties(order: Any, column: Any, runs: Any, values: Any, found: Any) -> int:
    """Sort runs by insertion, which leaves those alone that are in order; return how many runs are `found`."""
    count = 0
    for run in range(runs.shape[0]):
        start, end = runs[run]
        for i in range(start, end):
            row = order[i]
            value = column[row]
            j = i
            while j > start and values[j - 1] > value:
                values[j], order[j] = values[j - 1], order[j - 1]
                j -= 1
            values[j], order[j] = value, row
        count = _equal_runs(values, start, end, found, count)
    return count


@_njit(nogil=True, cache=True)
def _order_by_buckets(keys: Any, low: Any, shift: Any, counts: Any, most_moves: int, order: Any, found: Any) -> bool:
    """Write the order and the sorted keys; return whether it took no more than so many moves."""
    for i in range(keys.size):
        counts[np.int64((keys[i] - low) >> shift) + 1] += 1
    for bucket in range(1, counts.size):
        counts[bucket] += counts[bucket - 1]
    for i in range(keys.size):
        bucket = np.int64((keys[i] - low) >> shift)
        place = counts[bucket]
        order[place] = i
        found[place] = keys[i]
        counts[bucket] = place + 1
    moves = 0
    for i in range(1, keys.size):
        key, row = found[i], order[i]
        j = i
        while j > 0 and found[j - 1] > key:
            found[j], order[j] = found[j - 1], order[j - 1]
            j -= 1
        found[j], order[j] = key, row
        moves += i - j
        if moves > most_moves:
            return False
    return True
