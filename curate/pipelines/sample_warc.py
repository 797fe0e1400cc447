"""Write WARC/1.1 records (ISO 28500:2017), each a gzip member of its own: just what the built-in sample crawl needs.

Every byte is a function of the arguments: record ids are UUIDv5 of what they name, dates are given, gzip members carry
no time. (The compressed bytes also depend on the zlib that Python is built with; the records do not.) Not for
archiving: no deduplication against other files, no segmentation, no DNS records.
"""

from __future__ import annotations

import base64
import hashlib
import uuid
import zlib
from collections.abc import Sequence
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

Fields = Sequence[tuple[str, str]]

_NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_URL, "https://curate.example/sample")


def record_id(kind: str, url: str, date: datetime) -> str:
    """Return the WARC-Record-ID of the record of that type, URL and capture date."""
    return f"<urn:uuid:{uuid.uuid5(_NAMESPACE, f'{kind} {url} {warc_date(date)}')}>"


def warc_date(date: datetime) -> str:
    """Return a UTC date as WARC writes it: ``2024-03-01T06:00:00Z``."""
    return date.strftime("%Y-%m-%dT%H:%M:%SZ")


def digest(data: bytes) -> str:
    """Return ``sha1:`` and the base32 digest, as crawlers write it."""
    return "sha1:" + base64.b32encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode()


def http_message(first_line: str, headers: Fields, body: bytes) -> bytes:
    """Return an HTTP/1.1 message: first line, headers, empty line, body."""
    head = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"{first_line}\r\n{head}\r\n".encode("latin-1") + body


def gzipped(data: bytes) -> bytes:
    """Return one gzip member without time or name; gzip.compress writes another header in each version of Python."""
    return zlib.compress(data, 9, wbits=31)


def chunked(body: bytes, size: int = 4096) -> bytes:
    """Return a body in HTTP's chunked transfer coding."""
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in [*parts, b""])


def warcinfo(file: str, date: datetime, fields: Fields) -> bytes:
    """Return the record that opens a WARC file and describes it."""
    block = "".join(f"{name}: {value}\r\n" for name, value in fields).encode()
    headers = [("WARC-Filename", file), ("Content-Type", "application/warc-fields")]
    return _record("warcinfo", file, date, headers, block)


def request(url: str, date: datetime) -> bytes:
    """Return the record of the request that led to the response for `url` at `date`."""
    parts = urlsplit(url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    block = http_message(f"GET {path} HTTP/1.1", [("Host", parts.netloc), ("User-Agent", "curate-sample")], b"")
    headers = [
        ("WARC-Target-URI", url),
        ("WARC-Concurrent-To", record_id("response", url, date)),
        ("Content-Type", "application/http; msgtype=request"),
    ]
    return _record("request", url, date, headers, block)


def response(url: str, date: datetime, message: bytes, payload: bytes, payload_type: str) -> bytes:
    """Return the record of an HTTP response. `payload` is its body as it was sent (crawlers take the digest before they
    decode), `payload_type` its MIME type as a crawler would detect it ("" leaves it out).
    """
    headers = [("WARC-Target-URI", url), ("Content-Type", "application/http; msgtype=response")]
    headers.append(("WARC-Payload-Digest", digest(payload)))
    if payload_type:
        headers.append(("WARC-Identified-Payload-Type", payload_type))
    return _record("response", url, date, headers, message)


def revisit(url: str, date: datetime, first_date: datetime, message: bytes, payload: bytes) -> bytes:
    """Return the record of a capture whose payload equals that of the one at `first_date`; `message` has no body."""
    headers = [
        ("WARC-Target-URI", url),
        ("WARC-Profile", "http://netpreserve.org/warc/1.1/revisit/identical-payload-digest"),
        ("WARC-Refers-To", record_id("response", url, first_date)),
        ("WARC-Refers-To-Target-URI", url),
        ("WARC-Refers-To-Date", warc_date(first_date)),
        ("WARC-Payload-Digest", digest(payload)),
        ("Content-Type", "application/http; msgtype=response"),
    ]
    return _record("revisit", url, date, headers, message)


def _record(kind: str, name: str, date: datetime, headers: Fields, block: bytes) -> bytes:
    """Return one record as a gzip member."""
    fields = [("WARC-Type", kind), ("WARC-Record-ID", record_id(kind, name, date)), ("WARC-Date", warc_date(date))]
    fields += [*headers, ("WARC-Block-Digest", digest(block)), ("Content-Length", str(len(block)))]
    head = "WARC/1.1\r\n" + "".join(f"{field}: {value}\r\n" for field, value in fields) + "\r\n"
    return gzipped(head.encode() + block + b"\r\n\r\n")
