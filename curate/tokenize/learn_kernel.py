"""The numba kernels behind `learn`: words as arrays of slots, counts of adjacent pairs, and the loop that merges them.

**Slots.** All words lie in one int32 array, a separator before, between and after them. A token of n bytes has n slots:
its id in the first, ``-n`` in the last (if n > 1), something negative between. So from a position one step leads to the
token after it and one to the token before it, no list of neighbours is needed, and a place that was merged away is
recognised: its slot is negative.

**Pairs.** An entry holds a pair of tokens, its count (a sum of weights), and a list of the slots where it was found,
ascending. A pair comes into being only when the younger of its two tokens does, in one merge, which therefore knows its
full count; from then on the count only falls. Lists are not kept up to date: a slot that no longer starts the pair is
passed over.

**Floor.** Pairs that come into being with a count below the floor are not entered, which saves most of the memory. As
long as a pair at or above the floor is left, the largest is among the entered ones. When none is left, the caller
lowers the floor and counts anew from the slots, which are all the state that there is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.text.compiled import Ints, Spans, Words, as_int, cached, compiled, source_digest
from curate.tokenize.learn_pairs import LOW_32, U32, Pairs, enter, find, hash_key, lower, pair_key, sink, top

SEPARATOR: Final = -(1 << 31)
INSIDE = -1
FINISHED, EXHAUSTED, FULL = 0, 1, 2


class Groups(NamedTuple):
    """Words of equal weight lie together. `end`: the slot after each group, rising; `weight`: of one occurrence of a
    pair in a word of the group; both int64 [groups]."""

    end: Ints
    weight: Ints


class Scratch(NamedTuple):
    """What one merge needs, zero between merges. For each token id, as the neighbour on the left (row 0) or on the
    right (row 1): `weight`, `size` (then the entry of the new pair, or -1), int64 [2, ids]. `seen`: int32 [2, ids],
    the neighbours found. `event`: int32 [2, …], neighbour (one on the right as ~id) and slot of each new pair.
    `found`: int64 [3], how many events, left and right neighbours there are."""

    weight: NDArray[np.int64]
    size: NDArray[np.int64]
    seen: NDArray[np.int32]
    event: NDArray[np.int32]
    found: Ints


@compiled
def _note(side: int, neighbour: int, slot: int, weight: int, scratch: Scratch) -> None:
    """Note a new pair of the merged token and its neighbour."""
    found = scratch.found
    if scratch.size[side, neighbour] == 0:
        scratch.seen[side, found[1 + side]] = neighbour
        found[1 + side] += 1
    scratch.size[side, neighbour] += 1
    scratch.weight[side, neighbour] += weight
    scratch.event[0, found[0]] = neighbour if side == 0 else ~neighbour
    scratch.event[1, found[0]] = slot
    found[0] += 1


@compiled
def group_of(ends: Ints, group: int, slot: int) -> int:
    """The first group, from `group` on, that ends after `slot`."""
    low, step = group, 1
    while True:
        high = min(low + step, ends.size) - 1
        if ends[high] > slot:
            break
        low = high + 1
        step *= 2
    while low < high:
        middle = (low + high) >> 1
        if ends[middle] <= slot:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def _merge_slots(
    slots: Spans, groups: Groups, lengths: Spans, entry: int, new: int, pairs: Pairs, scratch: Scratch
) -> None:
    """Put the token `new` wherever the pair of `entry` still is, from left to right, and note the pairs it makes."""
    left, right = as_int(pairs.key[entry] >> U32), as_int(pairs.key[entry] & LOW_32)
    length = as_int(lengths[left])
    whole = length + as_int(lengths[right])
    group = 0
    for place in range(pairs.first[entry], pairs.first[entry] + pairs.size[entry]):
        slot = as_int(pairs.places[place])
        if slots[slot] != left or slots[slot + length] != right:
            continue
        group = group_of(groups.end, group, slot)
        weight = groups.weight[group]
        last = as_int(slots[slot - 1])
        if last != SEPARATOR:
            before = slot - 1 if last >= 0 else slot + last
            neighbour = as_int(slots[before])
            if neighbour == new:
                # the merge just before this one took `left` for its right neighbour
                scratch.weight[1, left] -= weight
            else:
                lower(neighbour, left, weight, pairs)
            _note(0, neighbour, before, weight, scratch)
        neighbour = as_int(slots[slot + whole])
        if neighbour >= 0:
            lower(right, neighbour, weight, pairs)
            _note(1, neighbour, slot, weight, scratch)
        slots[slot + length] = INSIDE
        slots[slot + whole - 1] = -whole
        slots[slot] = new


@compiled
def _enter_new(new: int, floor: int, pairs: Pairs, scratch: Scratch) -> None:
    """Enter the pairs that a merge has noted, if they reach the floor, and clean the scratch."""
    for side in range(2):
        for index in range(scratch.found[1 + side]):
            neighbour = as_int(scratch.seen[side, index])
            size, count = scratch.size[side, neighbour], scratch.weight[side, neighbour]
            scratch.weight[side, neighbour] = 0
            scratch.size[side, neighbour] = -1
            if count >= floor:
                entry = pairs.used[0]
                first = pairs.used[1]
                pairs.used[1] += size
                pairs.size[entry] = 0
                key = pair_key(neighbour, new) if side == 0 else pair_key(new, neighbour)
                enter(key, count, first, pairs)
                scratch.size[side, neighbour] = entry
    for event in range(scratch.found[0]):
        neighbour = as_int(scratch.event[0, event])
        side = 0 if neighbour >= 0 else 1
        entry = scratch.size[side, neighbour if side == 0 else ~neighbour]
        if entry >= 0:
            pairs.places[pairs.first[entry] + pairs.size[entry]] = scratch.event[1, event]
            pairs.size[entry] += 1
    for side in range(2):
        for index in range(scratch.found[1 + side]):
            scratch.size[side, scratch.seen[side, index]] = 0
    scratch.found[:] = 0


@compiled
def _pair_at(slots: Spans, lengths: Spans, slot: int) -> tuple[int, int, int]:
    """The token at `slot`, the token after it, and where to go on; one of the two is negative at the end of a word."""
    left = as_int(slots[slot])
    if left < 0:
        return left, left, slot + 1
    after = slot + as_int(lengths[left])
    return left, as_int(slots[after]), after


def _compile(sources: str) -> tuple[Callable[..., Any], ...]:
    """Return the compiled entry points; `sources` is a `source_digest`."""

    @cached
    def fill(tokens: Any, bounds: Ints, order: Ints, lengths: Spans, slots: Spans) -> None:
        """Lay words out in `order`; word number i is ``tokens[bounds[i]:bounds[i + 1]]``, ids or (uint8) bytes."""
        sources  # noqa: B018 - a closure variable is part of the key of numba's cache on disk
        slots[0] = SEPARATOR
        slot = 1
        for index in range(order.size):
            word = order[index]
            for at in range(bounds[word], bounds[word + 1]):
                token = as_int(tokens[at])
                length = as_int(lengths[token])
                slots[slot + 1 : slot + length - 1] = INSIDE
                slots[slot + length - 1] = -length
                slots[slot] = token
                slot += length
            slots[slot] = SEPARATOR
            slot += 1

    @cached
    def sketch(slots: Spans, groups: Groups, lengths: Spans, buckets: Ints) -> None:
        """Add the weight of every adjacent pair to the bucket of its hash, int64 [a power of two]."""
        sources  # noqa: B018
        mask = np.uint64(buckets.size - 1)
        for group in range(groups.end.size):
            slot = 1 if group == 0 else groups.end[group - 1]
            while slot < groups.end[group]:
                left, right, slot = _pair_at(slots, lengths, slot)
                if right >= 0:
                    buckets[as_int(hash_key(pair_key(left, right)) & mask)] += groups.weight[group]

    @cached
    def count(slots: Spans, groups: Groups, lengths: Spans, buckets: Ints, floor: int, pairs: Pairs) -> bool:
        """Count the pairs whose bucket reaches the floor; False if there is no room for them."""
        sources  # noqa: B018
        mask = np.uint64(buckets.size - 1)
        for group in range(groups.end.size):
            slot = 1 if group == 0 else groups.end[group - 1]
            while slot < groups.end[group]:
                left, right, slot = _pair_at(slots, lengths, slot)
                if right < 0:
                    continue
                key = pair_key(left, right)
                if buckets[as_int(hash_key(key) & mask)] < floor:
                    continue
                at = find(key, pairs)
                entry = pairs.table[at]
                if entry < 0:
                    entry = pairs.used[0]
                    if entry == pairs.key.size:
                        return False
                    pairs.used[0] += 1
                    pairs.table[at] = entry
                    pairs.key[entry] = key
                    pairs.total[entry] = 0
                    pairs.size[entry] = 0
                pairs.total[entry] += groups.weight[group]
                pairs.size[entry] += 1
        return True

    @cached
    def locate(slots: Spans, groups: Groups, lengths: Spans, floor: int, pairs: Pairs) -> None:
        """List the slots of the counted pairs that reach the floor, and make the heap of them."""
        sources  # noqa: B018
        for entry in range(pairs.used[0]):
            pairs.first[entry] = pairs.used[1]
            if pairs.total[entry] >= floor:
                pairs.used[1] += pairs.size[entry]
                pairs.heap[pairs.used[2]] = entry
                pairs.heap_count[pairs.used[2]] = pairs.total[entry]
                pairs.used[2] += 1
            pairs.size[entry] = 0
        for item in range(pairs.used[2] // 2 - 1, -1, -1):
            sink(pairs, item)
        for group in range(groups.end.size):
            slot = 1 if group == 0 else groups.end[group - 1]
            while slot < groups.end[group]:
                place = slot
                left, right, slot = _pair_at(slots, lengths, slot)
                entry = pairs.table[find(pair_key(left, right), pairs)] if right >= 0 else -1
                if entry >= 0 and pairs.total[entry] >= floor:
                    pairs.places[pairs.first[entry] + pairs.size[entry]] = place
                    pairs.size[entry] += 1

    @cached
    def merge(
        slots: Spans,
        groups: Groups,
        lengths: Spans,
        floor: int,
        new: int,
        last: int,
        pairs: Pairs,
        scratch: Scratch,
        merged: Words,
    ) -> tuple[int, int]:
        """Make the tokens `new` to `last` - 1, each the most frequent pair, in `merged` (uint64 keys [ids]).

        Returns why it stopped and the next token: FINISHED, EXHAUSTED (no pair reaches the floor) or FULL.
        """
        sources  # noqa: B018
        while new < last:
            entry = top(pairs, floor)
            if entry < 0:
                return EXHAUSTED, new
            size = pairs.size[entry]
            if (
                pairs.used[0] + min(2 * size, 2 * new + 2) > pairs.key.size
                or pairs.used[1] + 2 * size > pairs.places.size
                or 2 * size > scratch.event.shape[1]
            ):
                return FULL, new
            key = pairs.key[entry]
            merged[new] = key
            lengths[new] = lengths[as_int(key >> U32)] + lengths[as_int(key & LOW_32)]
            _merge_slots(slots, groups, lengths, entry, new, pairs, scratch)
            pairs.total[entry] = 0
            _enter_new(new, floor, pairs, scratch)
            new += 1
        return FINISHED, new

    return fill, sketch, count, locate, merge


fill, sketch, count, locate, merge = _compile(source_digest("tokenize/learn_kernel.py", "tokenize/learn_pairs.py"))
