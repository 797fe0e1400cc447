"""The stack of open elements and the list of active formatting elements, as HTML tree construction keeps them.

Numba kernels on parallel arrays: `names` and `tags` uint64 [room] (hashes of element names and of attributes) and
`kinds` int64 [room] (bits of `elements`), the first `depth` of them open; `fmt` uint64 [room, 2] (name and tag, zeros
for a marker) and `off` int64 [room] (1 if closed by an ancestor's end but still active), of which `used` are active.
Section numbers of the rules: 13.2.4.2, 13.2.4.3 and 13.2.6.4.7 of the WHATWG HTML standard.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from curate.extract.elements import (
    BUTTON,
    CELL,
    CLOSES_P,
    CLOSES_SELECT,
    FOREIGN,
    FORM,
    FORMATTING,
    HASH_OF_LI,
    HASH_OF_P,
    HASH_OF_TR,
    HEADING,
    IGNORED,
    INTEGRATION,
    ITEM,
    LIST,
    MARKER,
    OPTION,
    PARAGRAPH,
    PERMEABLE,
    SCOPE,
    SELECT,
    SPECIAL,
    TABLE,
    TABLE_PART,
    TEMPLATE,
    VOID,
)


@njit(nogil=True, cache=True)
def clear_to_marker(fmt: np.ndarray, off: np.ndarray, count: int) -> int:
    while count > 0:
        count -= 1
        if fmt[count, 0] == np.uint64(0):
            break
        off[count] = 0
    return count


@njit(nogil=True, cache=True)
def pop_to(
    names: np.ndarray,
    tags: np.ndarray,
    kinds: np.ndarray,
    depth: int,
    to: int,
    fmt: np.ndarray,
    off: np.ndarray,
    used: int,
) -> tuple[int, int]:
    """Close elements until `to` are open; formatting ones stay active, one marker is cleared. Return both counts."""
    marker = False
    while depth > to:
        depth -= 1
        if kinds[depth] & FOREIGN:
            continue
        if kinds[depth] & FORMATTING:
            for index in range(used - 1, -1, -1):
                if fmt[index, 0] == names[depth] and fmt[index, 1] == tags[depth] and off[index] == 0:
                    off[index] = 1
                    break
        if kinds[depth] & MARKER:
            marker = True
    if marker:
        used = clear_to_marker(fmt, off, used)
    return depth, used


@njit(nogil=True, cache=True)
def find(names: np.ndarray, kinds: np.ndarray, depth: int, name: np.uint64, mask: int, stop: int) -> int:
    """Return the index of the innermost open HTML element of that name, or of a class in `mask`; -1 if one of a class
    in `stop` is met first."""
    for index in range(depth - 1, -1, -1):
        kind = kinds[index]
        foreign = kind & FOREIGN != 0
        if not foreign and (names[index] == name or kind & mask):
            return index
        if (not foreign and kind & stop) or (foreign and kind & INTEGRATION):
            return -1
    return -1


@njit(nogil=True, cache=True)
def end_formatting(
    names: np.ndarray,
    tags: np.ndarray,
    kinds: np.ndarray,
    depth: int,
    name: np.uint64,
    fmt: np.ndarray,
    off: np.ndarray,
    used: int,
) -> tuple[int, int]:
    """Close the innermost active formatting element `name`, as adoption does: blocks inside it stay open."""
    entry = -1
    for index in range(used - 1, -1, -1):
        if fmt[index, 0] == np.uint64(0):
            break
        if fmt[index, 0] == name:
            entry = index
            break
    if entry < 0:
        place = find(names, kinds, depth, name, 0, SPECIAL)
        return pop_to(names, tags, kinds, depth, place, fmt, off, used) if place >= 0 else (depth, used)
    tag = fmt[entry, 1]
    was_off = off[entry] != 0
    for index in range(entry, used - 1):
        fmt[index, 0], fmt[index, 1], off[index] = fmt[index + 1, 0], fmt[index + 1, 1], off[index + 1]
    used -= 1
    if was_off:
        return depth, used
    blocks = 0
    for index in range(depth - 1, -1, -1):
        if kinds[index] & FOREIGN:
            if kinds[index] & INTEGRATION:
                break
            continue
        if names[index] == name and tags[index] == tag:
            if blocks == 0:
                return pop_to(names, tags, kinds, depth, index, fmt, off, used)
            if blocks < 8:
                for place in range(index, depth - 1):
                    names[place], tags[place], kinds[place] = names[place + 1], tags[place + 1], kinds[place + 1]
                depth -= 1
            break
        if kinds[index] & SPECIAL:
            blocks += 1
        if kinds[index] & SCOPE:
            break
    return depth, used


@njit(nogil=True, cache=True)
def reopen(
    names: np.ndarray,
    tags: np.ndarray,
    kinds: np.ndarray,
    depth: int,
    fmt: np.ndarray,
    off: np.ndarray,
    used: int,
    limit: int,
) -> int:
    """Open again the active formatting elements that an ancestor's end closed, as text and inline elements do."""
    first = used
    while first > 0 and off[first - 1] and fmt[first - 1, 0] != np.uint64(0):
        first -= 1
    for index in range(first, used):
        if depth > limit + 1:
            break
        names[depth], tags[depth], kinds[depth] = fmt[index, 0], fmt[index, 1], FORMATTING
        off[index] = 0
        depth += 1
    return depth


@njit(nogil=True, cache=True)
def start_target(names: np.ndarray, kinds: np.ndarray, depth: int, name: np.uint64, bits: int) -> int:
    """Return to how many open elements the start tag `name` first closes others (its implied ends)."""
    if bits & CLOSES_P:
        if bits & ITEM:
            for index in range(depth - 1, -1, -1):
                kind = kinds[index]
                if kind & FOREIGN:
                    break
                if kind & ITEM and (names[index] == name or (name != HASH_OF_LI and names[index] != HASH_OF_LI)):
                    depth = index
                    break
                if kind & SPECIAL and not kind & PERMEABLE:
                    break
        place = find(names, kinds, depth, HASH_OF_P, 0, SCOPE | BUTTON)
        if place >= 0:
            depth = place
        if bits & HEADING and depth > 0 and kinds[depth - 1] & HEADING and not kinds[depth - 1] & FOREIGN:
            depth -= 1
    elif bits & CELL:
        place = find(names, kinds, depth, name, CELL, TABLE | TEMPLATE | SELECT)
        if place >= 0:
            depth = place
    elif bits & TABLE_PART:
        mask = 0 if name == HASH_OF_TR else TABLE_PART
        place = find(names, kinds, depth, name, mask, TABLE | TEMPLATE | SELECT)
        while place >= 0:
            depth = place
            place = find(names, kinds, depth, name, mask, TABLE | TEMPLATE | SELECT)
    elif bits & OPTION:
        if depth > 0 and kinds[depth - 1] & OPTION and names[depth - 1] == name:
            depth -= 1
    elif bits & (SELECT | CLOSES_SELECT):
        place = find(names, kinds, depth, np.uint64(0), SELECT, SCOPE)
        if place >= 0:
            depth = place
    elif bits & BUTTON:
        place = find(names, kinds, depth, name, 0, SCOPE)
        if place >= 0:
            depth = place
    return depth


@njit(nogil=True, cache=True)
def end_target(names: np.ndarray, kinds: np.ndarray, depth: int, name: np.uint64, bits: int) -> int:
    """Return how many elements stay open after the end tag `name` of an element that is not formatting."""
    if bits & (IGNORED | VOID):
        return depth
    if bits & FORM:
        top = depth
        while top > 0 and kinds[top - 1] & (ITEM | OPTION | PARAGRAPH) and not kinds[top - 1] & FOREIGN:
            top -= 1
        return top - 1 if top > 0 and names[top - 1] == name and not kinds[top - 1] & FOREIGN else depth
    if bits & HEADING:
        place = find(names, kinds, depth, name, HEADING, SCOPE)
    elif bits & PARAGRAPH:
        place = find(names, kinds, depth, name, 0, SCOPE | BUTTON)
    elif bits & ITEM and name == HASH_OF_LI:
        place = find(names, kinds, depth, name, 0, SCOPE | LIST)
    elif bits & (CELL | TABLE_PART | TABLE):
        place = find(names, kinds, depth, name, 0, TABLE | TEMPLATE | SELECT)
    elif bits & TEMPLATE:
        place = find(names, kinds, depth, name, 0, 0)
    elif bits & SPECIAL:
        place = find(names, kinds, depth, name, 0, SCOPE)
    else:
        place = find(names, kinds, depth, name, 0, SPECIAL)
    return place if place >= 0 else depth


@njit(nogil=True, cache=True)
def at_most_three(fmt: np.ndarray, off: np.ndarray, used: int) -> int:
    """Forget the earliest of four active formatting elements that are alike since the last marker."""
    alike = 0
    earliest = -1
    for index in range(used - 1, -1, -1):
        if fmt[index, 0] == np.uint64(0):
            break
        if fmt[index, 0] == fmt[used - 1, 0] and fmt[index, 1] == fmt[used - 1, 1]:
            alike += 1
            earliest = index
    if alike < 4:
        return used
    for index in range(earliest, used - 1):
        fmt[index, 0], fmt[index, 1], off[index] = fmt[index + 1, 0], fmt[index + 1, 1], off[index + 1]
    return used - 1
