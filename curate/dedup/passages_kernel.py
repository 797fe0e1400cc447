"""The numba code behind `substring.Passages`: which passages of a context were there before, byte for byte.

Passages are looked up by a hash and then compared. Two that follow each other share all bytes but the last, and so need
neither where the known ones are known to follow each other, too: they stand side by side in the store, or did so in an
earlier context, which each remembers of the last one that followed it. A whole hash and comparison are left where a
context takes another way than the last one did, as to a child of a node of a search tree that is not the preferred one:
on average a few times a context, whatever the texts are. `Passages.work` counts what is looked at.

Most contexts are those of one passage that was copied with all around it, the same bytes from end to end. So the first
context of a key is kept as it is, and only one that is not the same makes it worth to look at passages.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from curate.dedup.polynomial_kernel import advanced, leaving
from curate.text.compiled import Bytes, Ints, Words, as_int, cached, compiled, load_u64, source_digest

K1, U1, U32 = np.uint64(0xFF51AFD7ED558CCD), np.uint64(1), np.uint64(32)
NONE: Any = np.int64(-1)
# what the state of a comparison holds; a context that is remembered is an owner of passages
PASSAGES, STORED_BYTES, OWNERS, FIRST_BYTES, FULL, SLOTS_USED, WORK = range(7)
STATE_SIZE: Final = 7
LEAST_SLOTS: Final = 256
NEW, REPEAT, LEFT_OVER = range(3)


@compiled
def _same(store: Bytes, at: int, data: Bytes, start: int, size: int, state: Ints) -> bool:
    """Whether `size` bytes are the same; counts those that were looked at."""
    place = 0
    while place + 8 <= size and load_u64(store, at + place) == load_u64(data, start + place):
        place += 8
    while place < size and store[at + place] == data[start + place]:
        place += 1
    state[WORK] += place
    return place == size


@compiled
def _empty(slots: Ints, count: int) -> None:
    for slot in range(count):
        slots[slot] = NONE


@compiled
def _slot(value: Any, used: int) -> Any:
    return (value * K1 >> U32) & np.uint64(used - 1)


@compiled
def _grow(state: Ints, slots: Ints, hashes: Words) -> None:
    """Double the slots in use: few of them for most keys, so that they stay in the cache."""
    state[SLOTS_USED] *= 2
    _empty(slots, state[SLOTS_USED])
    mask = np.uint64(state[SLOTS_USED] - 1)
    for number in range(state[PASSAGES]):
        slot = _slot(hashes[number], state[SLOTS_USED])
        while slots[slot] != NONE:
            slot = (slot + U1) & mask
        slots[slot] = number


@compiled
def _next(
    last: int, byte: int, size: int, state: Ints, known_at: Ints, follower: Ints, follower_gap: Ints, store: Bytes
) -> int:
    """The known passage that is known to follow the one with the number `last` and ends with `byte`, or NONE."""
    state[WORK] += 1
    beside = last + 1
    if beside < state[PASSAGES] and known_at[beside] == known_at[last] + 1 and store[known_at[last] + size] == byte:
        return beside
    after = follower[last]
    if after != NONE and follower_gap[last] == 1 and store[known_at[after] + size - 1] == byte:
        return after
    return NONE


@compiled
def _find(
    value: Any, context: Bytes, passage: int, size: int, last: int, gap: int, state: Ints, slots: Ints,
    known_hash: Words, known_at: Ints, follower: Ints, follower_gap: Ints, store: Bytes,
) -> tuple[int, Any]:  # fmt: skip
    """Return (number of the known passage that is the same as one of the context, or NONE; its slot, or a free one).
    `last` is the number of the passage `gap` before it, or NONE."""
    slot = _slot(value, state[SLOTS_USED])
    mask = np.uint64(state[SLOTS_USED] - 1)
    while slots[slot] != NONE:
        number = slots[slot]
        state[WORK] += 1
        if known_hash[number] == value:
            shared = 0  # bytes that it is known to have in common, as the last one has them
            if last != NONE and gap < size:
                beside = known_at[number] == known_at[last] + gap
                if beside or (follower[last] == number and follower_gap[last] == gap):
                    shared = size - gap
            if _same(store, known_at[number] + shared, context, passage + shared, size - shared, state):
                if last != NONE:
                    follower[last], follower_gap[last] = number, gap
                return number, slot
        slot = (slot + U1) & mask
    return NONE, slot


@compiled
def _keep_context(
    context: Bytes, identity: Words, start: int, state: Ints, owner_ids: Words, owner_shift: Ints, store: Bytes
) -> None:
    owner, stored = state[OWNERS], state[STORED_BYTES]
    for place in range(context.size):
        store[stored + place] = context[place]
    owner_ids[owner, 0], owner_ids[owner, 1] = identity[0], identity[1]
    owner_shift[owner] = start - stored
    state[STORED_BYTES] += context.size
    state[OWNERS] += 1
    if owner == 0:
        state[FIRST_BYTES] = context.size


@compiled
def _remember(
    value: Any, at: int, slot: Any, state: Ints, slots: Ints, known_hash: Words, known_at: Ints, known_owner: Ints,
    follower: Ints,
) -> int:  # fmt: skip
    """Remember the passage at a place of the store, of the last context there; return its number."""
    number = as_int(state[PASSAGES])
    known_hash[number], known_at[number] = value, at
    known_owner[number] = state[OWNERS] - 1
    follower[number] = NONE
    slots[slot] = number
    state[PASSAGES] += 1
    if 2 * state[PASSAGES] > state[SLOTS_USED] and state[PASSAGES] < known_hash.size:
        _grow(state, slots, known_hash)
    return number


@compiled
def _remember_first(
    size: int, leaves: Any, state: Ints, slots: Ints, known_hash: Words, known_at: Ints, known_owner: Ints,
    follower: Ints, follower_gap: Ints, store: Bytes,
) -> None:  # fmt: skip
    """Remember the passages of the first context, which is all that is in the store."""
    context = store[: state[FIRST_BYTES]]
    polynomial, hashed = np.uint64(0), NONE
    for passage in range(context.size - size + 1):
        polynomial, steps = advanced(polynomial, context, hashed, passage, size, leaves)
        state[WORK] += steps
        hashed = as_int(passage)
        last, gap = NONE, 0  # it is in one piece: where it repeats itself is seen once it is followed
        if state[PASSAGES] > 0:
            last, gap = as_int(state[PASSAGES] - 1), as_int(passage - known_at[state[PASSAGES] - 1])
        number, slot = _find(
            polynomial, context, passage, size, last, gap, state, slots, known_hash, known_at, follower, follower_gap,
            store,
        )  # fmt: skip
        if number == NONE:
            _remember(polynomial, passage, slot, state, slots, known_hash, known_at, known_owner, follower)


def _compile(sources: str) -> Any:
    """Return the compiled loop over contexts; `sources` is a `source_digest`."""

    @cached
    def _compare(
        data: Bytes,
        bounds: Ints,
        size: int,
        keys: Words,
        ids: Words,
        starts: Ints,
        state: Ints,
        open_key: Words,
        slots: Ints,
        known_hash: Words,
        known_at: Ints,
        known_owner: Ints,
        follower: Ints,
        follower_gap: Ints,
        owner_ids: Words,
        owner_shift: Ints,
        store: Bytes,
        rows: Ints,
        firsts: Ints,
        lasts: Ints,
    ) -> tuple[int, int]:
        """Look every passage of each context up among those of its key before it; return (ranges found, the place of
        the first range that is left over).

        Ranges of passages that were found are written from the front of (rows, firsts, lasts), those for which there
        was no room from their back: first and last passage, counted from the beginning of the context.
        """
        sources  # noqa: B018 - part of the key of the cache on disk
        leaves = leaving(size)
        found, back = 0, rows.size
        for row in range(bounds.size - 1):
            if keys[row, 0] != open_key[0] or keys[row, 1] != open_key[1] or state[OWNERS] == 0:
                for field in range(WORK):
                    state[field] = 0
                state[SLOTS_USED] = LEAST_SLOTS
                _empty(slots, LEAST_SLOTS)
                open_key[0], open_key[1] = keys[row, 0], keys[row, 1]
            context = data[bounds[row] : bounds[row + 1]]
            passages = context.size - size + 1
            if passages <= 0:
                continue
            if state[OWNERS] == 0 and passages <= min(size, known_hash.size):
                # so short that no passage of it ends before another one begins: it holds no repeats of itself
                _keep_context(context, ids[row], starts[row], state, owner_ids, owner_shift, store)
                continue
            if state[OWNERS] > 0:
                same_text = owner_ids[0, 0] == ids[row, 0] and owner_ids[0, 1] == ids[row, 1]
                same_size = state[FIRST_BYTES] == context.size
                if not same_text and same_size and _same(store, 0, context, 0, context.size, state):
                    rows[found], firsts[found], lasts[found] = row, 0, passages - 1
                    found += 1
                    continue
                if state[PASSAGES] == 0:
                    _remember_first(
                        size, leaves, state, slots, known_hash, known_at, known_owner, follower, follower_gap, store
                    )
            stored = NONE  # where the context is in the store, once it is
            last_kind = NEW
            last, last_at = NONE, as_int(0)  # the last passage that is known
            polynomial, hashed = np.uint64(0), NONE  # that of the passage with this number
            slot = np.uint64(0)
            for passage in range(passages):
                kind = NEW
                number = NONE
                if last != NONE and last_at == passage - 1:
                    end = context[passage + size - 1]
                    number = _next(last, end, size, state, known_at, follower, follower_gap, store)
                if number == NONE:
                    polynomial, steps = advanced(polynomial, context, hashed, passage, size, leaves)
                    state[WORK] += steps
                    hashed = as_int(passage)
                    number, slot = _find(
                        polynomial, context, passage, size, last, passage - last_at, state, slots,
                        known_hash, known_at, follower, follower_gap, store,
                    )  # fmt: skip
                if number != NONE:
                    owner = known_owner[number]
                    same_text = owner_ids[owner, 0] == ids[row, 0] and owner_ids[owner, 1] == ids[row, 1]
                    # in its own text it counts once it has ended
                    if not same_text or known_at[number] + owner_shift[owner] + size <= starts[row] + passage:
                        kind = REPEAT
                else:
                    # once there was no room, nothing new is remembered: copies of what was left over are left over, too
                    no_bytes = stored == NONE and state[STORED_BYTES] + context.size > store.size
                    if state[PASSAGES] == known_hash.size or no_bytes:
                        state[FULL] = 1
                    if state[FULL]:
                        kind = LEFT_OVER
                    else:
                        if stored == NONE:
                            stored = as_int(state[STORED_BYTES])
                            _keep_context(context, ids[row], starts[row], state, owner_ids, owner_shift, store)
                        number = _remember(
                            polynomial,
                            stored + passage,
                            slot,
                            state,
                            slots,
                            known_hash,
                            known_at,
                            known_owner,
                            follower,
                        )
                if number != NONE:
                    last, last_at = number, as_int(passage)
                if kind == REPEAT:
                    if last_kind == REPEAT:
                        lasts[found - 1] = passage
                    else:
                        rows[found], firsts[found], lasts[found] = row, passage, passage
                        found += 1
                elif kind == LEFT_OVER:
                    if last_kind == LEFT_OVER:
                        lasts[back] = passage
                    else:
                        back -= 1
                        rows[back], firsts[back], lasts[back] = row, passage, passage
                last_kind = kind
        return found, back

    return _compare


compare_contexts = _compile(source_digest("dedup/passages_kernel.py", "dedup/polynomial_kernel.py"))
