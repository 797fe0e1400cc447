"""Batches of text through an encoding kernel: Arrow buffers in, Arrow lists out, no Python object for a text or token.

A kernel encodes *blocks*: a text, or where its tokenizer cuts long texts, a part of one. It writes ids until the output
is full or a piece of text needs more scratch, and goes on from there when it has been given more.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.errors import InputError
from curate.text.compiled import Bytes, Ints
from curate.tokenize import merges

DONE: Final = 0
FULL: Final = 1  # the output has no room for state[3] more ids
ROOM: Final = 2  # the scratch has no room for a piece of state[3] symbols
BEGINS: Final = 1  # a block begins a text
ENDS: Final = 2  # a block ends a text
MAX_BATCH_TOKENS: Final = (1 << 31) - 1
GUESSED_BYTES_PER_TOKEN: Final = 3
FIRST_ROOM: Final = 4096

Room = merges.Scratch
Blocks = tuple[Bytes, Ints, Bytes, Ints, Ints]


@dataclass(frozen=True)
class Kernel:
    """An encoder with its tables and cache: ``step(blocks, room, out, state)`` returns DONE, FULL or ROOM.

    ``blocks`` are (data uint8, bounds int64 [blocks + 1], flags uint8 [blocks], the ids before and after a text or -1
    int64 [2], ends int64 [blocks]: where the ids of each block end); ``out`` is uint16 or uint32, and ``state`` int64
    [4] is block, byte (-1: at its beginning), ids written, room needed. ``cut`` gives the blocks of a text; those of at
    most ``cut_bytes`` bytes are one. One thread at a time runs a kernel.
    """

    step: Callable[[Blocks, Room, NDArray[Any], Ints], int]
    cut: Callable[[str], Iterator[str]]
    cut_bytes: int
    lock: threading.Lock = field(default_factory=threading.Lock)


def encode(
    kernel: Kernel,
    text: pa.Array,
    dtype: np.dtype[Any],
    frame: tuple[int | None, int | None],
) -> tuple[Ints, NDArray[Any]]:
    """Return (where the ids of each text begin and end int64 [rows + 1], ids of `dtype`) of a large_string array.

    It is valid UTF-8 and has no null. `frame` are the ids before and after each text.

    Raises InputError("tokens") for more than 2^31 - 1 ids.
    """
    data, rows = buffers(text)
    bounds, flags = _blocks(data, rows, kernel)
    for array in (data, bounds, flags):
        # compiled code knows arrays that may be written from those that may not: here none
        array.setflags(write=False)
    around = np.array([-1 if one is None else one for one in frame], dtype=np.int64)
    ends = np.zeros(len(flags), dtype=np.int64)
    out = np.empty((rows[-1] - rows[0]) // GUESSED_BYTES_PER_TOKEN + 2 * len(text) + 16, dtype=dtype)
    state = np.array([0, -1, 0, 0], dtype=np.int64)
    room = merges.scratch(FIRST_ROOM)
    with kernel.lock:
        while status := kernel.step((data, bounds, flags, around, ends), room, out, state):
            if status == ROOM:
                room = merges.scratch(int(state[3]))
                continue
            check_tokens(int(state[2] + state[3]), len(text))
            # in place where the allocator can: nothing else refers to the buffer yet
            out.resize(max(int(state[2] + state[3]), 2 * len(out)), refcheck=False)
    out.resize(int(state[2]), refcheck=False)
    return np.concatenate([np.zeros(1, np.int64), ends[(flags & ENDS) != 0]]), out


def encode_text(kernel: Kernel, text: str) -> NDArray[np.uint32]:
    """Return the ids of one text. Raises InputError("utf8") for half a surrogate pair."""
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        raise InputError("utf8", f"character {error.start} of a text is half a surrogate pair") from error
    positions = pa.py_buffer(np.array([0, len(data)], dtype=np.int64))
    array = pa.Array.from_buffers(pa.large_string(), 1, [None, positions, pa.py_buffer(data)])
    return encode(kernel, array, np.dtype(np.uint32), (None, None))[1]


def check_tokens(tokens: int, texts: int) -> None:
    """Raise InputError("tokens") if a batch has more tokens than one Arrow list array may hold."""
    if tokens > MAX_BATCH_TOKENS:
        raise InputError("tokens", f"a batch of {texts} texts has over {MAX_BATCH_TOKENS} tokens; split it")


def buffers(text: pa.Array) -> tuple[Bytes, Ints]:
    """Return (UTF-8 bytes uint8, where each text begins and ends in them int64 [rows + 1]), both zero-copy."""
    _, positions, data = text.buffers()
    if not len(text) or data is None or not data.size:
        return np.zeros(1, dtype=np.uint8), np.zeros(len(text) + 1, dtype=np.int64)
    rows = np.frombuffer(positions, dtype=np.int64)[text.offset : text.offset + len(text) + 1]
    return np.frombuffer(data, dtype=np.uint8), rows


def _blocks(data: Bytes, rows: Ints, kernel: Kernel) -> tuple[Ints, NDArray[np.uint8]]:
    """Return (bounds, flags) of the blocks of texts that lie in ``data[rows[i]:rows[i + 1]]``."""
    bounds: list[NDArray[np.int64]] = []
    inner: list[int] = []
    done = 0
    for row in np.flatnonzero(np.diff(rows) > kernel.cut_bytes).tolist():
        parts = kernel.cut(data[rows[row] : rows[row + 1]].tobytes().decode())
        at = int(rows[row])
        cuts = [at := at + len(part.encode()) for part in parts][:-1]
        if cuts:
            bounds += [rows[done : row + 1], np.array(cuts, dtype=np.int64)]
            inner.extend(range(sum(map(len, bounds)) - len(cuts), sum(map(len, bounds))))
            done = row + 1
    if not inner:
        return rows, np.full(len(rows) - 1, BEGINS | ENDS, dtype=np.uint8)
    places = np.concatenate([*bounds, rows[done:]])
    flags = np.full(len(places) - 1, BEGINS | ENDS, dtype=np.uint8)
    flags[inner] &= ~np.uint8(BEGINS)
    flags[np.array(inner) - 1] &= ~np.uint8(ENDS)
    return places, flags
