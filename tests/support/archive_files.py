"""Archives made record by record, and what a reader finds in them."""

from __future__ import annotations

import gzip
import itertools
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lz4.frame
import zstandard

from curate.readers import READERS, Page, ReadSettings, Reject
from curate.storage import InputFile

SETTINGS = ReadSettings()


def as_file(path: Path) -> InputFile:
    return InputFile(uri=str(path), name=path.name, size=path.stat().st_size)


def write(folder: Path, name: str, data: bytes) -> InputFile:
    path = folder / name
    path.write_bytes(data)
    return as_file(path)


def read(kind: str, file: InputFile, start: int = 0, end: int | None = None, settings: ReadSettings = SETTINGS) -> Any:
    tally: Counter[str] = Counter()
    end = file.size if end is None else end
    items = list(READERS[kind].read(file, start, end, "web", settings, tally))
    pages = [item for item in items if isinstance(item, Page)]
    rejects = [item for item in items if isinstance(item, Reject)]
    skipped = sum(count for name, count in tally.items() if name.startswith("skipped."))
    assert tally["records"] == len(pages) + len(rejects) + skipped
    return pages, rejects, tally


def http(body: bytes, headers: bytes = b"Content-Type: text/html\r\n", status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 " + status + b"\r\n" + headers + b"\r\n" + body


def warc(
    number: int, block: bytes, kind: bytes = b"response", length: bytes | None = None, extra: bytes = b""
) -> bytes:
    size = str(len(block)).encode() if length is None else length
    return (
        b"WARC/1.0\r\nWARC-Type: "
        + kind
        + b"\r\nWARC-Record-ID: <urn:uuid:%d>\r\n" % number
        + b"WARC-Target-URI: http://example.org/%d\r\nWARC-Date: 2024-05-06T07:08:09Z\r\n" % number
        + b"Content-Type: application/http; msgtype=response\r\n"
        + extra
        + b"Content-Length: "
        + size
        + b"\r\n\r\n"
        + block
        + b"\r\n\r\n"
    )


def arc(number: int, block: bytes) -> bytes:
    return b"http://example.org/%d 192.0.2.1 20080102030405 text/html %d\n" % (number, len(block)) + block + b"\n"


def arc2(number: int, block: bytes) -> bytes:
    line = b"http://example.org/%d 192.0.2.1 20080102030405 text/html 200 - - 0 x.arc.gz %d\n"
    return line % (number, len(block)) + block + b"\n"


def page(number: int, words: int = 40) -> bytes:
    return http(b"<html><body><p>" + b"page %d " % number * words + b"</p></body></html>")


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda data: data,
    ".gz": lambda data: gzip.compress(data, mtime=0),
    ".zst": zstandard.ZstdCompressor().compress,
    ".lz4": lz4.frame.compress,
}


def assert_tiles(kind: str, file: InputFile, cuts: list[int], count: int | None = None) -> None:
    whole = read(kind, file)
    edges = sorted({0, file.size, *(READERS[kind].boundary(file, min(cut, file.size)) for cut in cuts)})
    parts = [read(kind, file, start, end) for start, end in itertools.pairwise(edges)]
    assert [page for part in parts for page in part[0]] == whole[0]
    assert [reject for part in parts for reject in part[1]] == whole[1]
    assert sum((part[2] for part in parts), Counter()) == whole[2]
    for part, start, end in zip(parts, edges, edges[1:], strict=False):
        assert all(start <= item.offset < end for items in part[:2] for item in items)
    if count is not None:
        assert len(whole[0]) == count
