"""Rows of structured inputs (JSONL, Parquet) as DOCUMENT batches, with ids computed from what the rows carry."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import NamedTuple

import pyarrow as pa
import xxhash

from curate.readers.records import clean_text, clean_url, parse_date
from curate.schema import DOCUMENT, ID, ORIGIN, document_id


class Row(NamedTuple):
    """One row that has a text; `offset` and `length` are bytes of the file."""

    id: bytes
    text: str
    url: str | None
    date: datetime | None
    offset: int
    length: int
    meta: dict[str, str]


def make_row(
    text: str, url: object, when: object, key: object, offset: int, length: int, meta: dict[str, str], source: str
) -> Row:
    """Return a row with its id: from url, date and text, else from its key, else from its source and text."""
    text = clean_text(text)
    address = clean_url(clean_text(url)) if isinstance(url, str) else None
    digest = xxhash.xxh3_128_digest(text.encode())
    identity = document_id(
        source=source,
        url=address,
        date=None if when is None else str(when),
        digest=digest,
        key=None if key is None else clean_text(str(key)),
    )
    return Row(identity, text, address, as_date(when), offset, length, meta)


def as_date(value: object) -> datetime | None:
    """Return a date column's value as naive UTC in whole seconds: a date, an ISO 8601 string, or seconds or
    milliseconds since 1970."""
    if isinstance(value, datetime):
        if value.tzinfo is not None:
            value = value.astimezone(UTC).replace(tzinfo=None)
        return value.replace(microsecond=0)
    if isinstance(value, date):
        return datetime.combine(value, time())
    if isinstance(value, str):
        return parse_date(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            # an int of hundreds of digits is too large to divide
            seconds = value / 1000 if abs(value) >= 1e11 else value
            return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None, microsecond=0)
        except (ValueError, OverflowError, OSError):
            return None
    return None


def document_batch(rows: list[Row], file: str, source: str) -> pa.RecordBatch:
    """Return `rows` of input `file` as one batch of the DOCUMENT schema."""
    count = len(rows)
    columns = {
        "id": pa.array([row.id for row in rows], ID),
        "text": pa.array([row.text for row in rows], pa.large_string()),
        "url": pa.array([row.url for row in rows], pa.string()),
        "source": pa.array([source] * count, pa.string()),
        "date": pa.array([row.date for row in rows], pa.timestamp("s")),
        "origin": pa.array([{"file": file, "offset": row.offset, "length": row.length} for row in rows], ORIGIN),
        "meta": pa.array([list(row.meta.items()) for row in rows], pa.map_(pa.string(), pa.string())),
    }
    arrays = [columns[field.name] if field.name in columns else pa.nulls(count, field.type) for field in DOCUMENT]
    return pa.RecordBatch.from_arrays(arrays, schema=DOCUMENT)
