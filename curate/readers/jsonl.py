"""JSON Lines, plain or compressed: one object a line, columns mapped by the settings."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import pyarrow as pa
import xxhash

from curate.readers.columns import Row, document_batch, make_row
from curate.readers.lines import Line, line_boundary, read_lines
from curate.readers.records import Reader, ReadSettings, Reject, damage_id, describe, mapping_text
from curate.readers.streams import Frames, has_many_frames
from curate.schema import document_id
from curate.storage import InputFile

VERSION: Final = 2


def _lookup(value: dict[str, Any], name: str) -> Any:
    """Return the field `name`, or what lies at its dotted path; None if there is nothing."""
    if name in value:
        return value[name]
    found: Any = value
    for part in name.split("."):
        if not isinstance(found, dict):
            return None
        found = found.get(part)
    return found


def _parse(line: Line, source: str, settings: ReadSettings) -> Row | tuple[str, str]:
    """Return the row of a line, or the kind and message of what is wrong with it."""
    try:
        value = json.loads(line.data or b"")
    except (ValueError, RecursionError) as error:
        place = f" at column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        return "json", f"the line is not JSON ({type(error).__name__}{place})"
    if not isinstance(value, dict):
        return "json", f"the line holds a {type(value).__name__}, not an object"
    try:
        return _row(value, line, source, settings)
    except (ValueError, OverflowError, KeyError, TypeError, RecursionError) as error:
        return "row", f"the line cannot be converted ({type(error).__name__})"


def _row(value: dict[str, Any], line: Line, source: str, settings: ReadSettings) -> Row | tuple[str, str]:
    text = _lookup(value, settings.column("text"))
    if not isinstance(text, str):
        return "no_text", f"column {settings.column('text')!r} holds no text; map it with columns.text"
    url, date, key = (_lookup(value, settings.column(name)) for name in ("url", "date", "id"))
    meta = mapping_text({name: _lookup(value, name) for name in settings.meta})
    return make_row(text, url, date, key, line.offset, line.length, meta, source)


def _reject(line: Line, error: tuple[str, str], file: InputFile, source: str) -> Reject:
    if line.data is None:
        identity = damage_id(source, line.offset, b"")
    else:
        identity = document_id(source=source, digest=xxhash.xxh3_128_digest(line.data))
    detail = describe(f"{file.name}:{line.offset}: {error[1]}")
    return Reject(identity, None, line.offset, line.length, f"error.{error[0]}", detail)


def read_jsonl(
    file: InputFile, start: int, end: int, source: str, settings: ReadSettings, tally: Counter[str]
) -> Iterator[pa.RecordBatch | Reject]:
    """Yield the objects whose lines start in [start, end) as DOCUMENT batches; unusable lines as rejects."""
    rows: list[Row] = []
    size = 0
    for line in read_lines(file, start, end, settings.max_record_bytes):
        if line.data is not None and not line.data.strip():
            continue
        tally["records"] += 1
        row = line.error or _parse(line, source, settings)
        if not isinstance(row, Row):
            yield _reject(line, row, file, source)
            continue
        rows.append(row)
        size += len(line.data or b"")
        if size >= settings.batch_bytes:
            yield document_batch(rows, file.name, source)
            rows, size = [], 0
    if rows:
        yield document_batch(rows, file.name, source)


def splittable(file: InputFile) -> bool:
    """Return whether the file is plain, or compressed in more than one zstd or lz4 frame."""
    with Frames(file) as frames:
        codec = frames.codec
    return codec != "gzip" and has_many_frames(file)


_EXTENSIONS: Final = tuple(
    kind + suffix for kind in (".jsonl", ".json", ".ndjson") for suffix in ("", ".gz", ".zst", ".lz4")
)
JSONL: Final = Reader(read_jsonl, line_boundary, splittable, _EXTENSIONS, VERSION, ("fastwarc",))
