"""Values of Parquet columns as Python objects: columns by dotted names, bytes for strings, and no value that raises."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

CONVERSION_ERRORS: Final = (pa.ArrowException, ValueError, OverflowError, KeyError, TypeError, RecursionError, OSError)


class Unreadable:
    """A value that Python cannot hold: a time beyond the year 9999, bytes that are no text inside a list."""


UNREADABLE: Final = Unreadable()


def column_of(schema: Any, name: str) -> str | None:
    """Return the top column that `name` is read from; None if there is none, or several."""
    for column in (name, name.split(".")[0]):
        if column in schema.names:
            return column if schema.get_field_index(column) >= 0 else None
    return None


def find_values(batch: Any, name: str) -> Any:
    """Return the array of the column `name`, or of the struct field that a dotted name leads to; None if it leads
    nowhere."""
    index = batch.schema.get_field_index(name)
    if index >= 0:
        return batch.column(index)
    first, *path = name.split(".")
    index = batch.schema.get_field_index(first)
    array = batch.column(index) if index >= 0 else None
    for part in path:
        if array is None or not pa.types.is_struct(array.type):
            return None
        index = array.type.get_field_index(part)
        array = pc.struct_field(array, [index]) if index >= 0 else None
    return array


def _is_text(kind: Any) -> bool:
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
    )


def row_bytes(array: Any) -> np.ndarray:
    """Return int64 [rows]: the bytes of each value once a dictionary is no longer shared, by average for others than
    strings."""
    kind = array.type
    if pa.types.is_dictionary(kind) and _is_text(kind.value_type):
        lengths = pc.binary_length(array.dictionary).take(array.indices)
    elif _is_text(kind):
        lengths = pc.binary_length(array)
    else:
        return np.full(len(array), array.nbytes // max(1, len(array)), dtype=np.int64)
    return np.asarray(pc.fill_null(lengths, 0).to_numpy(zero_copy_only=False), dtype=np.int64)


def slices(sizes: np.ndarray, limit: int) -> Iterator[tuple[int, int]]:
    """Yield (start, length) of the fewest runs of rows that hold at most `limit` bytes each, or one row."""
    ends = np.cumsum(sizes)
    start = 0
    while start < len(sizes):
        before = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + limit, side="right")))
        yield start, stop - start
        start = stop


def as_objects(array: Any) -> list[Any]:
    """Return the values of `array`: strings as bytes, because Parquet files hold invalid UTF-8 that Arrow does not
    notice; times to the microsecond, because finer ones need pandas; `UNREADABLE` for what Python cannot hold."""
    try:
        return list(_plain(array).to_pylist())
    except CONVERSION_ERRORS:
        return [_one(array[index : index + 1]) for index in range(len(array))]


def _one(array: Any) -> Any:
    try:
        return _plain(array).to_pylist()[0]
    except CONVERSION_ERRORS:
        return UNREADABLE


def _plain(array: Any) -> Any:
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    kind = array.type
    if pa.types.is_string(kind):
        return array.view(pa.binary())
    if pa.types.is_large_string(kind):
        return array.view(pa.large_binary())
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        return pc.cast(array, pa.timestamp("us", kind.tz), safe=False)
    return array
