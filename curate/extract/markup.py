"""Where tags, comments and raw text of HTML end (WHATWG HTML standard, section 13.2.5), as numba kernels on bytes."""

from __future__ import annotations

import numpy as np
from numba import njit

from curate.extract.elements import (
    BITS,
    HASH_OF_SCRIPT,
    HASH_PRIME,
    HASH_SEED,
    KEYS,
    SLOTS,
)


@njit(nogil=True, cache=True)
def bits_of(name: np.uint64) -> int:
    slot = np.int64(name & np.uint64(SLOTS - 1))
    while KEYS[slot] != np.uint64(0):
        if KEYS[slot] == name:
            return BITS[slot]
        slot = (slot + 1) & (SLOTS - 1)
    return 0


@njit(nogil=True, cache=True)
def is_space(byte: int) -> bool:
    return byte == 32 or (9 <= byte <= 13 and byte != 11)


@njit(nogil=True, cache=True)
def lower(byte: int) -> int:
    return byte + 32 if 65 <= byte <= 90 else byte


@njit(nogil=True, cache=True)
def tag_name(data: np.ndarray, at: int) -> tuple[int, np.uint64]:
    """Return the end of the tag name at `at` and the hash of the lowercase name."""
    value = np.uint64(HASH_SEED)
    while at < len(data):
        byte = data[at]
        if byte == 62 or byte == 47 or is_space(byte):
            break
        value = (value ^ np.uint64(lower(byte))) * np.uint64(HASH_PRIME)
        at += 1
    return at, value


@njit(nogil=True, cache=True)
def tag_end(data: np.ndarray, at: int) -> tuple[int, bool, int]:
    """Return the index past the tag's '>' (past the data if it has none), and whether it closes itself, and how
    many attributes it has. Quotes count only where an attribute's value begins."""
    size = len(data)
    slash = False
    attributes = 0
    while at < size:
        byte = data[at]
        if byte == 62:
            return at + 1, slash, attributes
        slash = byte == 47
        at += 1
        # an equals sign that begins a name belongs to the name
        if slash or is_space(byte):
            continue
        attributes += 1
        while at < size and data[at] != 61 and data[at] != 62 and data[at] != 47 and not is_space(data[at]):
            at += 1
        while at < size and is_space(data[at]):
            at += 1
        if at >= size or data[at] != 61:
            continue
        at += 1
        while at < size and is_space(data[at]):
            at += 1
        if at < size and (data[at] == 34 or data[at] == 39):
            at = skip_until(data, at + 1, data[at])
        else:
            while at < size and data[at] != 62 and not is_space(data[at]):
                at += 1
    return size + 1, False, attributes


@njit(nogil=True, cache=True)
def bytes_hash(data: np.ndarray, at: int, end: int) -> np.uint64:
    value = np.uint64(HASH_SEED)
    while at < end:
        value = (value ^ np.uint64(data[at])) * np.uint64(HASH_PRIME)
        at += 1
    return value


@njit(nogil=True, cache=True)
def skip_until(data: np.ndarray, at: int, byte: int) -> int:
    while at < len(data) and data[at] != byte:
        at += 1
    return at + 1


@njit(nogil=True, cache=True)
def comment_end(data: np.ndarray, at: int) -> int:
    """Return the index past a comment whose text starts at `at`, just behind '<!--'."""
    size = len(data)
    if at < size and data[at] == 62:
        return at + 1
    if at + 1 < size and data[at] == 45 and data[at + 1] == 62:
        return at + 2
    while at + 2 < size:
        if data[at] == 45 and data[at + 1] == 45:
            if data[at + 2] == 62:
                return at + 3
            if data[at + 2] == 33 and at + 3 < size and data[at + 3] == 62:
                return at + 4
        at += 1
    return size


@njit(nogil=True, cache=True)
def names_script(data: np.ndarray, at: int) -> bool:
    """Return whether 'script' and a tag-name end are at `at`."""
    if at + 6 >= len(data):
        return False
    end, name = tag_name(data, at)
    return end == at + 6 and name == HASH_OF_SCRIPT and end < len(data)


@njit(nogil=True, cache=True)
def raw_end(data: np.ndarray, at: int, name: np.uint64) -> int:
    """Return the index of the '<' of the end tag that closes raw text, the size of the data if it never ends."""
    size = len(data)
    script = name == HASH_OF_SCRIPT
    state = 0  # of script data: 1 in a comment, 2 in a script within that comment
    while at < size:
        byte = data[at]
        if byte == 60 and at + 1 < size:
            if data[at + 1] == 47:
                end, found = tag_name(data, at + 2)
                if found == name and end < size:
                    if state < 2:
                        return at
                    state = 1
            elif script and state == 0 and at + 3 < size and data[at + 1] == 33:
                if data[at + 2] == 45 and data[at + 3] == 45:
                    state = 1
                    at += 2
                    continue
            elif script and state == 1 and names_script(data, at + 1):
                state = 2
        elif script and state > 0 and byte == 45 and at + 2 < size and data[at + 1] == 45 and data[at + 2] == 62:
            state = 0
        at += 1
    return size
