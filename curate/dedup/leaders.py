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
For containment and for signatures there is no index: leaders are compared one by one, at about 1 µs and 0.04 µs a pair.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.dedup.leaders_kernel import (
    ALONE,
    ANY,
    COMPARED,
    CONTAINMENT,
    ENTRIES,
    ESTIMATED,
    JACCARD,
    JOINS,
    LEADS,
    LEFT,
    OPEN,
    SETTLE,
    STATE,
    USED,
)
from curate.dedup.similarity import Similarity
from curate.text.compiled import Hashes, Ints

__all__ = ["ALONE", "ANY", "JOINS", "LEADS", "LEADER_BYTES", "LEFT", "Leaders", "Settled"]

LEADER_BYTES: Final = 16 << 20
"""Bytes of sets that the leaders of one star may take; with their index, all takes about 70 MB."""
MAX_LEADERS: Final = 1 << 18
INDEX_SLOTS: Final = 1 << 21


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
        self._state = np.zeros(STATE, dtype=np.int64)
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
        return int(self._state[OPEN])

    @property
    def compared(self) -> int:
        """How many pairs were compared so far."""
        return int(self._state[COMPARED])

    def take(
        self, starts: NDArray[np.bool_], may: NDArray[np.int8], hashes: Hashes, begins: Ints, ends: Ints
    ) -> Settled:
        """Settle the next rows. starts bool [rows]: the row begins a star. may int8 [rows]: ANY, LEADS or JOINS.

        The set of row i is hashes[begins[i]:ends[i]], uint32, ascending and without repeats (a signature is in its own
        order); begins, ends int64 [rows].
        """
        rows = len(starts)
        largest = int((ends - begins).max(initial=0))
        if largest > len(self._sets) or largest > self._entries.shape[1]:
            self._grow(largest)
        leader = np.full(rows, LEFT, dtype=np.int64)
        leads = np.zeros(rows, dtype=np.bool_)
        similarity = np.zeros(rows)
        SETTLE(
            starts, may, hashes, begins, ends, self._mode, self._threshold,
            self._hashes, self._state, self._sets, self._bounds, self._heads, self._entries, self._shared,
            self._leaders, leader, leads, similarity,
        )  # fmt: skip
        return Settled(leader, leads, similarity)

    def _grow(self, largest: int) -> None:
        """Make room for a set that is larger than all leaders together may be: the first of a star always leads."""
        sets = np.empty(max(largest, len(self._sets)), dtype=np.uint32)
        used = int(self._state[USED])
        sets[:used] = self._sets[:used]
        self._sets = sets
        entries = np.empty((3, max(largest, self._entries.shape[1])), dtype=np.int32)
        filled = int(self._state[ENTRIES])
        entries[:, :filled] = self._entries[:, :filled]
        self._entries = entries
