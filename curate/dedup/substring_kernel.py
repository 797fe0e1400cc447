"""The numba code behind `substring`: anchors of a text, and which of its passages an earlier one holds."""

from __future__ import annotations

from typing import Any

import numpy as np

from curate.text.compiled import Bytes, Ints, Words, as_int, cached, compiled, source_digest

BASE = np.uint64(0x9E3779B97F4A7C15 | 1)
K1, K2 = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)
U1, U33 = np.uint64(1), np.uint64(33)
FREE = np.int64(-1)
# what the state of a comparison holds; a context that is remembered is an owner of passages
PASSAGES, STORED_BYTES, OWNERS, FULL, SLOTS_USED = range(5)
LEAST_SLOTS = 256


@compiled
def _mixed(value: Any) -> Any:
    """MurmurHash3's finalizer: a polynomial's low bits alone would choose badly."""
    value = (value ^ (value >> U33)) * K1
    value = (value ^ (value >> U33)) * K2
    return value ^ (value >> U33)


@compiled
def _power(exponent: int) -> Any:
    power = U1
    for _ in range(exponent):
        power *= BASE
    return power


@compiled
def _rolled(rolling: Any, data: Bytes, at: int, size: int, power: Any) -> Any:
    """The polynomial of the `size` bytes up to `at`, from that of those up to the byte before it."""
    if at >= size:
        rolling -= (np.uint64(data[at - size]) + U1) * power
    return rolling * BASE + np.uint64(data[at]) + U1


@compiled
def _anchors_of(
    data: Bytes, gram: int, window: int, places: Ints, hashes: Words, used: int, keys: Words, firsts: Ints, lasts: Ints
) -> int:
    """Write each anchor of one text: its key, and the first and last passage that it stands for; return the next
    place. `places` and `hashes` are rings of a power of two, more than the window: the minima to come, by rising
    hash. Where a text repeats itself within a gram, each of its passages has another anchor of the same key: from the
    second of these on, one entry stands for as many as a context of two passages holds."""
    power = _power(gram - 1)
    ring = places.size - 1
    rolling = np.uint64(0)
    head = count = 0
    chosen = FREE
    begin = used
    again = False  # whether the last entry has the key of the one before it
    for at in range(data.size):
        rolling = _rolled(rolling, data, at, gram, power)
        place = at - gram + 1
        if place < 0:
            continue
        value = _mixed(rolling)
        # of equal minima the last one stands
        while count > 0 and hashes[(head + count - 1) & ring] >= value:
            count -= 1
        tail = (head + count) & ring
        places[tail], hashes[tail] = place, value
        count += 1
        passage = place - window + 1
        if passage < 0:
            continue
        if places[head] < passage:
            head = (head + 1) & ring
            count -= 1
        if places[head] != chosen:
            chosen = places[head]
            same = used > begin and keys[used - 1] == hashes[head]
            if not (same and again and passage - firsts[used - 1] < gram):
                again = same
                keys[used], firsts[used] = hashes[head], passage
                used += 1
        lasts[used - 1] = passage
    return used


@compiled
def _same(store: Bytes, at: int, data: Bytes, start: int, size: int) -> bool:
    place = 0
    while place < size and store[at + place] == data[start + place]:
        place += 1
    return place == size


@compiled
def _empty(slots: Ints, count: int) -> None:
    for slot in range(count):
        slots[slot] = FREE


@compiled
def _grow(state: Ints, slots: Ints, hashes: Words) -> None:
    """Double the slots in use: few of them for most keys, so that they stay in the cache."""
    state[SLOTS_USED] *= 2
    _empty(slots, state[SLOTS_USED])
    mask = np.uint64(state[SLOTS_USED] - 1)
    for number in range(state[PASSAGES]):
        slot = hashes[number] & mask
        while slots[slot] != FREE:
            slot = (slot + U1) & mask
        slots[slot] = number


def _compile(sources: str) -> tuple[Any, Any]:
    """Return the compiled loops over texts and contexts; `sources` is a `source_digest`."""

    @cached
    def _anchors(
        data: Bytes,
        bounds: Ints,
        gram: int,
        window: int,
        places: Ints,
        hashes: Words,
        lists: Ints,
        keys: Words,
        firsts: Ints,
        lasts: Ints,
    ) -> int:
        sources  # noqa: B018 - part of the key of the cache on disk
        used = 0
        for row in range(bounds.size - 1):
            text = data[bounds[row] : bounds[row + 1]]
            used = _anchors_of(text, gram, window, places, hashes, used, keys, firsts, lasts)
            lists[row + 1] = used
        return used

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
        power = _power(size - 1)
        found, back = 0, rows.size
        for row in range(bounds.size - 1):
            if keys[row, 0] != open_key[0] or keys[row, 1] != open_key[1] or state[OWNERS] == 0:
                _empty(slots, max(state[SLOTS_USED], LEAST_SLOTS))
                state[:] = 0
                state[SLOTS_USED] = LEAST_SLOTS
                open_key[0], open_key[1] = keys[row, 0], keys[row, 1]
            context = data[bounds[row] : bounds[row + 1]]
            stored = FREE  # where the context is in the store, once it is
            last_kind = 0
            seen_at = FREE  # where the passage before this one was found in the store
            rolling = np.uint64(0)
            for at in range(context.size):
                rolling = _rolled(rolling, context, at, size, power)
                passage = at - size + 1
                if passage < 0:
                    continue
                value = _mixed(rolling)
                mask = np.uint64(state[SLOTS_USED] - 1)
                slot = value & mask
                kind = 0  # 1: an earlier passage is equal, 2: no room to remember it
                here = FREE
                while slots[slot] != FREE:
                    number = slots[slot]
                    if known_hash[number] == value:
                        known = known_at[number]
                        if seen_at != FREE and known == seen_at + 1:
                            equal = store[known + size - 1] == context[at]
                        else:
                            equal = _same(store, known, context, passage, size)
                        if equal:
                            here = known
                            owner = known_owner[number]
                            same_text = owner_ids[owner, 0] == ids[row, 0] and owner_ids[owner, 1] == ids[row, 1]
                            # in its own text it counts once it has ended
                            ended = known + owner_shift[owner] + size <= starts[row] + passage
                            kind = 1 if not same_text or ended else 0
                            break
                    slot = (slot + U1) & mask
                if here == FREE:
                    # once there was no room, nothing new is remembered: copies of what was left over are left over, too
                    no_bytes = stored == FREE and state[STORED_BYTES] + context.size > store.size
                    if state[PASSAGES] == known_hash.size or no_bytes:
                        state[FULL] = 1
                    if state[FULL]:
                        kind = 2
                    else:
                        if stored == FREE:
                            owner = state[OWNERS]
                            stored = as_int(state[STORED_BYTES])
                            for place in range(context.size):
                                store[stored + place] = context[place]
                            owner_ids[owner, 0], owner_ids[owner, 1] = ids[row, 0], ids[row, 1]
                            owner_shift[owner] = starts[row] - stored
                            state[STORED_BYTES] += context.size
                            state[OWNERS] += 1
                        number = state[PASSAGES]
                        known_hash[number], known_at[number] = value, stored + passage
                        known_owner[number] = state[OWNERS] - 1
                        slots[slot] = number
                        state[PASSAGES] += 1
                        if 2 * state[PASSAGES] > state[SLOTS_USED] and state[PASSAGES] < known_hash.size:
                            _grow(state, slots, known_hash)
                seen_at = here
                if kind == 1:
                    if last_kind == 1:
                        lasts[found - 1] = passage
                    else:
                        rows[found], firsts[found], lasts[found] = row, passage, passage
                        found += 1
                elif kind == 2:
                    if last_kind == 2:
                        lasts[back] = passage
                    else:
                        back -= 1
                        rows[back], firsts[back], lasts[back] = row, passage, passage
                last_kind = kind
        return found, back

    return _anchors, _compare


find_anchors, compare_contexts = _compile(source_digest("dedup/substring_kernel.py"))
