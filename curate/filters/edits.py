"""Edits: byte spans of a text and what replaces them. A cleaner returns edits; applying them gives the next view.

The edits of one text (`curate.schema.EDITS`) are sorted and do not overlap; offsets are of the text that the cleaner
was given. Two edits may touch. So a view can be made again at any time from the text before it, and any byte of a view
leads back to the extracted document.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from curate.errors import InvariantError
from curate.schema import EDIT, EDITS
from curate.text.buffers import text_buffers
from curate.text.compiled import Bytes, Ints, cached, compiled


def make_cuts(lists: Ints, starts: Ints, ends: Ints) -> pa.Array:
    """Return edits that remove spans: text i loses [starts[k], ends[k]) for k in [lists[i], lists[i + 1]). int64
    all."""
    count = len(starts)
    nothing = pa.StringArray.from_buffers(count, pa.py_buffer(np.zeros(count + 1, dtype=np.int32)), pa.py_buffer(b""))
    spans = pa.StructArray.from_arrays([pa.array(starts), pa.array(ends), nothing], fields=list(EDIT))
    return pa.ListArray.from_arrays(pa.array(lists.astype(np.int32)), spans, type=EDITS)


def apply_edits(text: pa.Array, edits: pa.Array) -> pa.Array:
    """Return the texts (large_string) after their edits. A null list of edits changes nothing; a null text stays null.

    text: large_string [rows]; edits: `EDITS` [rows]. Raises InvariantError where edits are unsorted, overlap or go
    beyond the text. Costs one copy of the text.
    """
    if len(text) != len(edits):
        raise InvariantError(f"{len(text)} texts with {len(edits)} lists of edits")
    data, bounds = text_buffers(text)
    lists, starts, ends, new_data, new_bounds = _edit_buffers(edits)
    sizes = np.zeros(len(text) + 1, dtype=np.int64)
    bad = _measure(bounds, lists, starts, ends, new_bounds, sizes)
    if bad >= 0:
        raise InvariantError(f"the edits of text {bad} in this batch overlap, are unsorted or go beyond its end")
    offsets = np.cumsum(sizes)
    result = np.empty(int(offsets[-1]), dtype=np.uint8)
    _copy(data, bounds, lists, starts, ends, new_data, new_bounds, offsets, result)
    valid = None if not text.null_count else pa.array(text.is_valid().to_numpy(zero_copy_only=False)).buffers()[1]
    return pa.Array.from_buffers(
        pa.large_string(), len(text), [valid, pa.py_buffer(offsets), pa.py_buffer(result)], null_count=text.null_count
    )


def _edit_buffers(edits: pa.Array) -> tuple[Ints, Ints, Ints, Bytes, Ints]:
    """Lists [rows + 1, 2] as (first, end) edit of each text, then starts, ends, replacement bytes and their bounds."""
    counts = np.asarray(edits.value_lengths().fill_null(0)).astype(np.int64)
    lists = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts)])
    spans = edits.flatten()  # leaves out null lists and honours slices
    starts, ends, new = spans.flatten()
    new_data, new_bounds = text_buffers(new.cast(pa.large_string()))
    return lists, np.asarray(starts), np.asarray(ends), new_data, new_bounds


@cached
def _measure(bounds: Ints, lists: Ints, starts: Ints, ends: Ints, new_bounds: Ints, sizes: Ints) -> int:
    """Write the bytes of each new text to `sizes`[1:]; return the first text with bad edits, or -1."""
    for row in range(bounds.size - 1):
        length = bounds[row + 1] - bounds[row]
        size = length
        last = 0
        for k in range(lists[row], lists[row + 1]):
            if starts[k] < last or ends[k] < starts[k] or ends[k] > length:
                return row
            last = ends[k]
            size += new_bounds[k + 1] - new_bounds[k] - (ends[k] - starts[k])
        sizes[row + 1] = size
    return -1


@compiled
def _copy_bytes(source: Bytes, start: int, end: int, target: Bytes, at: int) -> int:
    """Copy source[start:end] to `at`; return where it ends there."""
    for i in range(end - start):
        target[at + i] = source[start + i]
    return at + end - start


@cached
def _copy(
    data: Bytes,
    bounds: Ints,
    lists: Ints,
    starts: Ints,
    ends: Ints,
    new_data: Bytes,
    new_bounds: Ints,
    offsets: Ints,
    result: Bytes,
) -> None:
    for row in range(bounds.size - 1):
        source = bounds[row]
        target = offsets[row]
        for k in range(lists[row], lists[row + 1]):
            target = _copy_bytes(data, source, bounds[row] + starts[k], result, target)
            target = _copy_bytes(new_data, new_bounds[k], new_bounds[k + 1], result, target)
            source = bounds[row] + ends[k]
        _copy_bytes(data, source, bounds[row + 1], result, target)
