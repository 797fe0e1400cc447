"""WARC and WET files: response records become pages, conversion records become texts.

ISO 28500 WARC 1.0/1.1, with per-record gzip, one gzip stream, zstd (with dictionary), lz4, or plain. Payloads that are
spread over `continuation` records are not joined.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

import xxhash

from curate.errors import InputError
from curate.readers.archive import Damage, Grammar, Header, Record, find_boundary, is_splittable, read_records
from curate.readers.http_response import content_type, decode_body, looks_like_html, parse_response
from curate.readers.records import (
    Page,
    Reader,
    ReadSettings,
    Reject,
    clean_text,
    clean_url,
    damage_id,
    decode_field,
    describe,
    parse_date,
)
from curate.schema import document_id
from curate.storage import InputFile

VERSION: Final = 2
_HEADER_END = re.compile(rb"\r?\n\r?\n")
_START = re.compile(rb"WARC/\d")
_VERSION_LINE = re.compile(rb"WARC/\d+\.\d+[ \t]*\r?$")
_HTTP_SCHEMES: Final = ("http://", "https://")
_KNOWN_TYPES: Final = frozenset(
    {"warcinfo", "response", "resource", "request", "metadata", "revisit", "conversion", "continuation"}
)


def _header_end(block: bytes) -> int:
    found = _HEADER_END.search(block)
    return found.end() if found else -1


def parse_header(head: bytes) -> Header:
    """Parse a record header with its closing blank line. Of a repeated field the first value counts."""
    lines = head.split(b"\n")
    if not _VERSION_LINE.match(lines[0]):
        raise InputError("corrupt", "no WARC record starts here")
    # pieces of each value, because a header may hold half a million continuation lines
    pieces: dict[str, list[str]] = {}
    name = ""
    for line in lines[1:]:
        if line[:1] in (b" ", b"\t"):
            if name:
                pieces[name].append(decode_field(line.strip()))
            continue
        key, colon, value = line.partition(b":")
        if not colon:
            if line.strip():
                raise InputError("corrupt", "a line of a WARC header has no colon")
            continue
        name = key.strip().lower().decode("latin-1")
        if name in pieces:
            name = ""
        else:
            pieces[name] = [decode_field(value.strip())]
    fields = {name: " ".join(values) for name, values in pieces.items()}
    length = fields.get("content-length", "")
    if not (length.isascii() and length.isdigit()) or len(length) > 18:
        raise InputError("corrupt", f"Content-Length {length[:30]!r} is not a size")
    return Header(fields, int(length))


def _grammar(wanted_type: str) -> Grammar:
    return Grammar(
        header_end=_header_end,
        parse=parse_header,
        starts=lambda head: _START.match(head) is not None,
        line=re.compile(rb"\nWARC/\d+\.\d+[ \t]*\r?\n"),
        line_bytes=64,
        wanted=lambda fields: fields.get("warc-type", "").lower() == wanted_type,
    )


_WARC: Final = _grammar("response")
_WET: Final = _grammar("conversion")


def record_identity(record: Record | Damage, source: str) -> tuple[bytes, str | None]:
    """Return the id and URL of a record; of damaged stretches too, as far as their header could be read."""
    fields = record.fields
    url = clean_url(fields.get("warc-target-uri"))
    record_id = fields.get("warc-record-id", "").strip().strip("<>")
    if record_id:
        return document_id(source=source, record_id=record_id), url
    if isinstance(record, Damage):
        return damage_id(source, record.offset, record.head), url
    digest = xxhash.xxh3_128_digest(record.block or b"")
    return document_id(source=source, url=url, date=fields.get("warc-date"), digest=digest), url


def reject(record: Record | Damage, source: str, file: InputFile, kind: str, message: str) -> Reject:
    """Return the reject row of a record, naming file and offset."""
    identity, url = record_identity(record, source)
    detail = describe(f"{file.name}:{record.offset}: {message}")
    return Reject(identity, url, record.offset, record.length, f"error.{kind}", detail)


def _page(record: Record, source: str, settings: ReadSettings) -> Page | str:
    """Return the page of a response record, or why it is passed over."""
    fields = record.fields
    block = record.block or b""
    is_http = fields.get("content-type", "").lower().startswith("application/http")
    if not is_http and not (fields.get("warc-target-uri", "").lower().lstrip("<").startswith(_HTTP_SCHEMES)):
        return "not_http"
    response = parse_response(block)
    if not 200 <= response.status < 300:
        return "status"
    mime, charset = content_type(response.headers.get("content-type"))
    declared = mime
    if not mime:
        mime = content_type(fields.get("warc-identified-payload-type"))[0]
    if mime and mime not in settings.content_types:
        return "content_type"
    body = decode_body(response, settings.max_decoded_bytes)
    if not mime:
        if not looks_like_html(body):
            return "content_type"
        mime = "text/html"
    identity, url = record_identity(record, source)
    meta = {}
    if not declared:
        meta["content_type"] = "identified"
    if truncated := fields.get("warc-truncated"):
        meta["truncated"] = clean_text(truncated)
    date = parse_date(fields.get("warc-date"))
    return Page(identity, url, date, record.offset, record.length, body, mime, charset, None, meta)


def _text(record: Record, source: str, settings: ReadSettings) -> Page | str:
    """Return the text of a conversion record, or why it is passed over."""
    fields = record.fields
    mime = content_type(fields.get("content-type"))[0] or "text/plain"
    if mime != "text/plain":
        return "content_type"
    identity, url = record_identity(record, source)
    text = clean_text((record.block or b"").decode("utf-8", "replace"))
    languages = fields.get("warc-identified-content-language")
    meta = {"identified_language": clean_text(languages)} if languages else {}
    date = parse_date(fields.get("warc-date"))
    return Page(identity, url, date, record.offset, record.length, None, mime, None, text, meta)


def convert_records(
    records: Iterator[Record | Damage],
    convert: Callable[[Record, str, ReadSettings], Page | str],
    file: InputFile,
    source: str,
    settings: ReadSettings,
    tally: Counter[str],
) -> Iterator[Page | Reject]:
    """Turn records into pages and rejects, counting each of them and each that is passed over."""
    for record in records:
        tally["records"] += 1
        if isinstance(record, Damage):
            yield reject(record, source, file, record.kind, record.message)
            continue
        if record.block is None:
            kind = record.fields.get("warc-type", "").lower()
            tally[f"skipped.{kind if kind in _KNOWN_TYPES else 'unknown'}"] += 1
            continue
        try:
            page = convert(record, source, settings)
        except InputError as error:
            yield reject(record, source, file, error.kind, str(error))
            continue
        except (ValueError, OverflowError, KeyError, TypeError) as error:
            # bad input is data: one odd record must not end the file
            yield reject(record, source, file, "record", f"the record cannot be converted ({type(error).__name__})")
            continue
        if isinstance(page, str):
            tally[f"skipped.{page}"] += 1
        else:
            yield page


def read_warc(
    file: InputFile, start: int, end: int, source: str, settings: ReadSettings, tally: Counter[str]
) -> Iterator[Page | Reject]:
    """Yield the 2xx HTML and text responses that start in [start, end) of a WARC file, and its damaged stretches."""
    records = read_records(file, start, end, _WARC, settings.max_record_bytes)
    return convert_records(records, _page, file, source, settings, tally)


def read_wet(
    file: InputFile, start: int, end: int, source: str, settings: ReadSettings, tally: Counter[str]
) -> Iterator[Page | Reject]:
    """Yield the texts of the conversion records that start in [start, end) of a WET file."""
    records = read_records(file, start, end, _WET, settings.max_record_bytes)
    return convert_records(records, _text, file, source, settings, tally)


def boundary(file: InputFile, offset: int) -> int:
    """Return the first verified record start at or after `offset`."""
    return find_boundary(file, offset, _WARC)


_SUFFIXES: Final = ("", ".gz", ".zst", ".lz4")
_LIBRARIES: Final = ("fastwarc",)
WARC: Final = Reader(
    read_warc,
    boundary,
    is_splittable,
    tuple(kind + suffix for kind in (".warc", ".wat") for suffix in _SUFFIXES),
    VERSION,
    _LIBRARIES,
)
WET: Final = Reader(
    read_wet,
    boundary,
    is_splittable,
    tuple(".wet" + suffix for suffix in _SUFFIXES),
    VERSION,
    _LIBRARIES,
)
