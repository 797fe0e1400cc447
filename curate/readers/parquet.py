"""Parquet files, read by row group: a range starts where a row group's first column chunk does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from curate.errors import RetryableError
from curate.readers.columns import Row, document_batch, make_row
from curate.readers.records import COLUMNS, Reader, ReadSettings, Reject, damage_id, describe, mapping_text
from curate.storage import InputFile, is_local, open_input

VERSION: Final = 1
MAX_BATCH_ROWS: Final = 4096


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
    """Return the file's column for each of our names that it has one for."""
    names = {name: settings.column(name) for name in COLUMNS} | {f"meta.{name}": name for name in settings.meta}
    top = set(schema.names)
    return {name: column for name, column in names.items() if column in top or column.split(".")[0] in top}


def _values(batch: Any, column: str) -> list[Any]:
    """Return the values of a column, or of the field of a struct column that a dotted name leads to."""
    if column in batch.schema.names:
        return list(batch.column(column).to_pylist())
    first, *path = column.split(".")
    values = batch.column(first).to_pylist()
    for part in path:
        values = [value.get(part) if isinstance(value, dict) else None for value in values]
    return list(values)


def _as_text(value: object) -> str | None:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else None


def _readable(value: object) -> object:
    return _as_text(value) if isinstance(value, bytes) else value


def _strings_as_bytes(batch: Any) -> Any:
    """Return `batch` with string columns as bytes: Parquet files hold invalid UTF-8 that Arrow would not notice."""
    for index, field in enumerate(batch.schema):
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
            kind = pa.binary() if pa.types.is_string(field.type) else pa.large_binary()
            batch = batch.set_column(index, field.name, batch.column(index).view(kind))
    return batch


def _rows(batch: Any, wanted: dict[str, str], offset: int, length: int, source: str) -> Iterator[Row | None]:
    """Yield a row for each row of `batch`, None for one without text."""
    batch = _strings_as_bytes(batch)
    columns = {name: _values(batch, column) for name, column in wanted.items()}
    absent = [None] * batch.num_rows
    metas = [name for name in columns if name.startswith("meta.")]
    for index, value in enumerate(columns.get("text", absent)):
        text = _as_text(value)
        if text is None:
            yield None
            continue
        url, date, key = (_readable(columns.get(name, absent)[index]) for name in ("url", "date", "id"))
        meta = mapping_text({name[5:]: _readable(columns[name][index]) for name in metas})
        yield make_row(text, url, date, key, offset, length, meta, source)


def read_parquet(
    file: InputFile, start: int, end: int, source: str, settings: ReadSettings, tally: Counter[str]
) -> Iterator[pa.RecordBatch | Reject]:
    """Yield the rows of the row groups that start in [start, end) as DOCUMENT batches."""
    with open_input(file.uri) as handle:
        try:
            data = pq.ParquetFile(handle)
            starts = _group_starts(data.metadata)
        except (pa.ArrowException, OSError, ValueError) as error:
            if start == 0:
                tally["records"] += 1
                yield _damage(error, file, source, 0, file.size)
            return
        wanted = _wanted(data.schema_arrow, settings)
        for group, offset in enumerate(starts):
            # a range that starts at 0 begins before the first group, which starts behind the file's magic bytes
            if not (start <= offset < end):
                continue
            following = starts[group + 1] if group + 1 < len(starts) else file.size
            yield from _read_group(data, group, offset, following - offset, wanted, file, source, settings, tally)


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
    metadata = data.metadata.row_group(group)
    row_bytes = max(1, metadata.total_byte_size // max(1, metadata.num_rows))
    batch_rows = max(1, min(MAX_BATCH_ROWS, settings.batch_bytes // row_bytes))
    columns = sorted(
        {column if column in data.schema_arrow.names else column.split(".")[0] for column in wanted.values()}
    )
    without_text = 0
    try:
        for batch in data.iter_batches(batch_size=batch_rows, row_groups=[group], columns=columns, use_threads=False):
            rows = list(_rows(batch, wanted, offset, length, source))
            tally["records"] += len(rows)
            usable = [row for row in rows if row is not None and len(row.text) <= settings.max_record_bytes]
            for row in rows:
                if row is None:
                    without_text += 1
                    yield _no_text(file, source, settings, offset, length, without_text)
                elif len(row.text) > settings.max_record_bytes:
                    detail = describe(f"{file.name}:{offset}: a text has {len(row.text)} characters")
                    yield Reject(row.id, row.url, offset, length, "error.record_too_large", detail)
            if usable:
                yield document_batch(usable, file.name, source)
    except (pa.ArrowException, OSError, ValueError) as error:
        tally["records"] += 1
        yield _damage(error, file, source, offset, length)


def _no_text(file: InputFile, source: str, settings: ReadSettings, offset: int, length: int, number: int) -> Reject:
    column = settings.column("text")
    detail = describe(f"{file.name}:{offset}: column {column!r} holds no text; map it with columns.text")
    return Reject(damage_id(source, offset, b"row %d" % number), None, offset, length, "error.no_text", detail)


def boundary(file: InputFile, offset: int) -> int:
    """Return the first row group's start at or after `offset`, the file size if there is none."""
    if offset <= 0:
        return 0
    with open_input(file.uri) as handle:
        try:
            starts = _group_starts(pq.ParquetFile(handle).metadata)
        except (pa.ArrowException, OSError, ValueError):
            return file.size
    return min((start for start in starts if start >= offset), default=file.size)


def splittable(file: InputFile) -> bool:
    """Return whether the file holds more than one row group."""
    with open_input(file.uri) as handle:
        try:
            return bool(pq.ParquetFile(handle).metadata.num_row_groups > 1)
        except (pa.ArrowException, OSError, ValueError):
            return False


PARQUET: Final = Reader(read_parquet, boundary, splittable, (".parquet", ".pq"), VERSION, ("pyarrow",))
