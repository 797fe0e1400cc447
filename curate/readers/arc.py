"""ARC files, the Internet Archive's format before WARC, versions 1 and 2, gzip per record or plain.

A record is one header line and a block of the length that its last field states. Version 1 has five fields, version 2
ten (with status, checksum, location, offset and file name); both end alike, and unescaped blanks occur inside URLs, so
lines are read from the right. Ids come from URL, date and digest: ARC has no record ids.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Final

import xxhash

from curate.errors import InputError
from curate.readers.archive import Grammar, Header, Record, find_boundary, is_splittable, read_records
from curate.readers.http_response import content_type, decode_body, looks_like_html, parse_response
from curate.readers.records import Page, Reader, ReadSettings, Reject, clean_url, decode_field, parse_date
from curate.readers.warc import convert_records
from curate.schema import document_id
from curate.storage import InputFile

VERSION: Final = 2
_SCHEME = re.compile(rb"[a-zA-Z][a-zA-Z0-9+.\-]{0,30}:")
MAX_LINE_BYTES: Final = 64 << 10


def _header_end(block: bytes) -> int:
    end = block.find(b"\n", 0, MAX_LINE_BYTES)
    if end < 0 and len(block) >= MAX_LINE_BYTES:
        raise InputError("header_too_large", f"an ARC header line is longer than {MAX_LINE_BYTES} bytes")
    return end + 1 if end >= 0 else -1


def _split_line(line: bytes) -> tuple[bytes, bytes, bytes, bytes] | None:
    """Return URL, date, content type and length of a header line of either version; None if it is no header."""
    line = line.rstrip(b"\r\n ")
    if not _SCHEME.match(line):
        return None
    for fields, date in ((10, 2), (5, 2)):
        parts = line.rsplit(b" ", fields - 1)
        if len(parts) == fields and parts[date].isdigit() and 8 <= len(parts[date]) <= 20:
            return parts[0].strip(), parts[date], parts[3], parts[-1]
    return None


def parse_line(line: bytes) -> Header:
    """Parse one header line of version 1 or 2."""
    parts = _split_line(line)
    if parts is None:
        raise InputError("corrupt", "no ARC record starts here")
    url, date, mime, length = (decode_field(part) for part in parts)
    if not (length.isascii() and length.isdigit()) or len(length) > 18:
        raise InputError("corrupt", f"the length {length[:30]!r} of an ARC record is not a size")
    fields = {
        "url": url,
        "date": date,
        "type": mime,
        "warc-type": "warcinfo" if url.startswith("filedesc:") else "response",
        "warc-target-uri": url,
    }
    return Header(fields, int(length))


def _starts(head: bytes) -> bool:
    return _split_line(head.split(b"\n", 1)[0]) is not None


_ARC: Final = Grammar(
    header_end=_header_end,
    parse=parse_line,
    starts=_starts,
    line=re.compile(rb"\n[a-zA-Z][a-zA-Z0-9+.\-]{0,30}:[^\r\n]{1,8192}? [0-9a-fA-F.:\-]{1,45} \d{8,20} "),
    line_bytes=8400,
    wanted=lambda fields: fields["warc-type"] == "response",
)


def _page(record: Record, source: str, settings: ReadSettings) -> Page | str:
    """Return the page of a record, or why it is passed over."""
    fields = record.fields
    if not fields["url"].lower().startswith(("http:", "https:")):
        return "not_http"
    response = parse_response(record.block or b"")
    if not 200 <= response.status < 300:
        return "status"
    mime, charset = content_type(response.headers.get("content-type"))
    if not mime:
        mime = content_type(fields["type"])[0]
    if mime and mime not in settings.content_types:
        return "content_type"
    body = decode_body(response, settings.max_decoded_bytes)
    if not mime:
        if not looks_like_html(body):
            return "content_type"
        mime = "text/html"
    url = clean_url(fields["url"])
    digest = xxhash.xxh3_128_digest(response.body)
    identity = document_id(source=source, url=url, date=fields["date"], digest=digest)
    date = parse_date(fields["date"])
    return Page(identity, url, date, record.offset, record.length, body, mime, charset, None, {})


def read_arc(
    file: InputFile, start: int, end: int, source: str, settings: ReadSettings, tally: Counter[str]
) -> Iterator[Page | Reject]:
    """Yield the 2xx HTML and text responses that start in [start, end) of an ARC file, and its damaged stretches."""
    records = read_records(file, start, end, _ARC, settings.max_record_bytes)
    return convert_records(records, _page, file, source, settings, tally)


def boundary(file: InputFile, offset: int) -> int:
    """Return the first verified record start at or after `offset`."""
    return find_boundary(file, offset, _ARC)


ARC: Final = Reader(read_arc, boundary, is_splittable, (".arc", ".arc.gz"), VERSION, ("fastwarc",))
