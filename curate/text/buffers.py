"""The bytes of an Arrow text column, as kernels read them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from curate.text.compiled import Bytes, Ints


def text_buffers(text: pa.Array) -> tuple[Bytes, Ints]:
    """Return (data uint8, bounds int64 [rows + 1]) of a large_string, string or binary array without a copy of its
    data; row i is data[bounds[i]:bounds[i + 1]]. Offsets and slices are honoured; a null row is empty."""
    if text.null_count:
        text = text.fill_null("")  # the bytes below a null are not said to be none
    if not pa.types.is_large_string(text.type) and not pa.types.is_large_binary(text.type):
        text = text.cast(pa.large_binary())
    _, offsets, data = text.buffers()
    if len(text) == 0:
        return np.empty(0, dtype=np.uint8), np.zeros(1, dtype=np.int64)
    bounds = np.frombuffer(offsets, dtype=np.int64)[text.offset : text.offset + len(text) + 1]
    return np.frombuffer(data if data is not None else b"", dtype=np.uint8), bounds
