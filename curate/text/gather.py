"""Byte strings from anywhere in a buffer, brought together as an Arrow column."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from curate.text.compiled import Bytes, Ints, as_int, cached, load_u64, source_digest, store_u64


def gather_bytes(data: Bytes, starts: Ints, sizes: Ints) -> pa.Array:
    """Return data[starts[i]:starts[i] + sizes[i]] for each i, large_binary [rows].

    data uint8; starts, sizes int64 [rows]. Raises IndexError for a string beyond the data.
    """
    bounds = np.zeros(len(starts) + 1, dtype=np.int64)
    np.cumsum(sizes, out=bounds[1:])
    if len(starts) and (starts.min() < 0 or sizes.min() < 0 or (starts + sizes).max() > len(data)):
        raise IndexError(f"a byte string lies beyond the {len(data)} bytes there are")
    result = np.empty(int(bounds[-1]), dtype=np.uint8)
    _GATHER(data, np.ascontiguousarray(starts, dtype=np.int64), bounds, result)
    return pa.Array.from_buffers(pa.large_binary(), len(starts), [None, pa.py_buffer(bounds), pa.py_buffer(result)])


def _compile(sources: str) -> Any:
    """Return the compiled loop over strings; `sources` is a `source_digest`."""

    @cached
    def _gather(data: Bytes, starts: Ints, bounds: Ints, result: Bytes) -> None:
        sources  # noqa: B018 - part of the key of the cache on disk
        for row in range(starts.size):
            start, begin, size = starts[row], bounds[row], bounds[row + 1] - bounds[row]
            blocks = size & ~as_int(7)
            for at in range(0, blocks, 8):
                store_u64(result, begin + at, load_u64(data, start + at))
            for at in range(blocks, size):
                result[begin + at] = data[start + at]

    return _gather


_GATHER = _compile(source_digest())
