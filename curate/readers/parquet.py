"""Parquet files, read by row group: a range starts where a row group's first column chunk does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curate.errors import RetryableError
from curate.readers.columns import Row, document_batch, make_row
from curate.readers.parquet_values import (
    CONVERSION_ERRORS,
    UNREADABLE,
    as_objects,
    column_of,
    find_values,
    row_bytes,
    slices,
)
from curate.readers.records import COLUMNS, Reader, ReadSettings, Reject, damage_id, describe, mapping_text
from curate.storage import InputFile, is_local, open_input

VERSION: Final = 2
MAX_BATCH_ROWS: Final = 4096
ROW_BYTES: Final = 128


def _group_start(metadata: Any, group: int) -> int:
    starts: list[int] = []
    for index in range(metadata.num_columns):
        column = metadata.row_group(group).column(index)
        offsets = (column.dictionary_page_offset, column.data_page_offset)
        starts.append(min(offset for offset in offsets if offset is not None and offset > 0))
    return min(starts)


def _group_starts(metadata: Any) -> list[int]:
    """Return the byte where each row group starts; those that hold no column start where the file does."""
    return [_group_start(metadata, group) if metadata.num_columns else 0 for group in range(metadata.num_row_groups)]


def _damage(error: Exception, file: InputFile, source: str, offset: int, length: int) -> Reject:
    if isinstance(error, OSError) and not is_local(file.uri) and "AWS Error" in str(error):
        raise RetryableError(f"{file.name}: {error}") from error
    detail = describe(f"{file.name}:{offset}: the Parquet data cannot be read ({type(error).__name__})")
    return Reject(damage_id(source, offset, b"parquet"), None, offset, length, "error.corrupt", detail)


def _wanted(schema: Any, settings: ReadSettings) -> dict[str, str]:
    """Return the file's column for each of our names that it has one for; a name that it has twice is none."""
    names = {name: settings.column(name) for name in COLUMNS} | {f"meta.{name}": name for name in settings.meta}
    return {name: column for name, column in names.items() if column_of(schema, column) is not None}


def _as_text(value: object) -> object:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _rows(
    columns: dict[str, list[Any]], count: int, offset: int, length: int, source: str, settings: ReadSettings
) -> Iterator[Row | tuple[str, str]]:
    """Yield a row for each of `count` rows, or the kind and message of what is wrong with it."""
    absent = [None] * count
    metas = [name for name in columns if name.startswith("meta.")]
    name = settings.column("text")
    for index, value in enumerate(columns.get("text", absent)):
        if not isinstance(value, (bytes, str)):
            yield "no_text", f"column {name!r} holds no text, or occurs twice; map it with columns.text"
            continue
        size = len(value) if isinstance(value, bytes) else len(value.encode(errors="surrogatepass"))
        if size > settings.max_record_bytes:
            yield "record_too_large", f"a text has {size} bytes (limit {settings.max_record_bytes})"
            continue
        # a time that Python cannot hold is no date, as a string that is none
        url, key = (_as_text(columns.get(name, absent)[index]) for name in ("url", "id"))
        date = _as_text(columns.get("date", absent)[index])
        others = {name[5:]: _as_text(columns[name][index]) for name in metas}
        if any(field is UNREADABLE for field in (url, key, *others.values())):
            yield "row", "a value of the row cannot be read"
            continue
        try:
            meta = mapping_text(others)
            text = str(_as_text(value))
            yield make_row(text, url, None if date is UNREADABLE else date, key, offset, length, meta, source)
        except CONVERSION_ERRORS as error:
            yield "row", f"the row cannot be converted ({type(error).__name__})"


def read_parquet(
    file: InputFile, start: int, end: int, source: str, settings: ReadSettings, tally: Counter[str]
) -> Iterator[pa.RecordBatch | Reject]:
    """Yield the rows of the row groups that start in [start, end) as DOCUMENT batches."""
    with open_input(file.uri) as handle:
        try:
            data = pq.ParquetFile(handle)
            starts = _group_starts(data.metadata)
            wanted = _wanted(data.schema_arrow, settings)
        except CONVERSION_ERRORS as error:
            if start == 0:
                tally["records"] += 1
                yield _damage(error, file, source, 0, file.size)
            return
        for group, offset in enumerate(starts):
            # a range that starts at 0 begins before the first group, which starts behind the file's magic bytes
            if not (start <= offset < end):
                continue
            following = starts[group + 1] if group + 1 < len(starts) else file.size
            yield from _read_group(data, group, offset, following - offset, wanted, file, source, settings, tally)


def _batches(data: Any, group: int, wanted: dict[str, str], limit: int) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield the wanted columns (arrays by our names) of a row group, and how many rows they have, in runs of at most
    `limit` bytes or one row. What rows take shows only once they are decoded, so batches start with one row."""
    columns = sorted({column_of(data.schema_arrow, column) or "" for column in wanted.values()})
    batches = data.iter_batches(batch_size=1, row_groups=[group], columns=columns, use_threads=False)
    for batch in batches:
        found = {name: find_values(batch, column) for name, column in wanted.items()}
        arrays = {name: array for name, array in found.items() if array is not None}
        sizes = np.ones(batch.num_rows, dtype=np.int64)
        for array in arrays.values():
            sizes += row_bytes(array)
        for start, length in slices(sizes, limit):
            yield {name: array.slice(start, length) for name, array in arrays.items()}, length
        fitting = limit * batch.num_rows // max(1, int(sizes.sum()), batch.nbytes)
        data.reader.set_batch_size(max(1, min(MAX_BATCH_ROWS, 2 * batch.num_rows, fitting)))


def _read_group(
    data: Any,
    group: int,
    offset: int,
    length: int,
    wanted: dict[str, str],
    file: InputFile,
    source: str,
    settings: ReadSettings,
    tally: Counter[str],
) -> Iterator[pa.RecordBatch | Reject]:
    rows: list[Row] = []
    size = bad = 0
    batches = _batches(data, group, wanted, settings.batch_bytes)
    damage: Exception | None = None
    while damage is None:
        try:
            arrays, count = next(batches)
        except StopIteration:
            break
        except CONVERSION_ERRORS as error:
            damage = error
            break
        columns = {name: as_objects(array) for name, array in arrays.items()}
        for row in _rows(columns, count, offset, length, source, settings):
            tally["records"] += 1
            if isinstance(row, Row):
                rows.append(row)
                size += len(row.text) + ROW_BYTES
                continue
            bad += 1
            detail = describe(f"{file.name}:{offset}: {row[1]}")
            identity = damage_id(source, offset, b"row %d" % bad)
            yield Reject(identity, None, offset, length, f"error.{row[0]}", detail)
        if size >= settings.batch_bytes or len(rows) >= MAX_BATCH_ROWS:
            yield document_batch(rows, file.name, source)
            rows, size = [], 0
    if rows:
        yield document_batch(rows, file.name, source)
    if damage is not None:
        tally["records"] += 1
        yield _damage(damage, file, source, offset, length)


def boundary(file: InputFile, offset: int) -> int:
    """Return the first row group's start at or after `offset`, the file size if there is none."""
    if offset <= 0:
        return 0
    with open_input(file.uri) as handle:
        try:
            starts = _group_starts(pq.ParquetFile(handle).metadata)
        except CONVERSION_ERRORS:
            return file.size
    return min((start for start in starts if start >= offset), default=file.size)


def splittable(file: InputFile) -> bool:
    """Return whether the file holds more than one row group."""
    with open_input(file.uri) as handle:
        try:
            return bool(pq.ParquetFile(handle).metadata.num_row_groups > 1)
        except CONVERSION_ERRORS:
            return False


PARQUET: Final = Reader(read_parquet, boundary, splittable, (".parquet", ".pq"), VERSION, ("pyarrow",))
