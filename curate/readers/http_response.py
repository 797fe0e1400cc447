"""HTTP responses as archives hold them: tolerant parsing, and bodies decoded within a bound.

Crawlers store headers that no longer fit the body (already unchunked, already inflated), so an encoding that is
declared but visibly absent is ignored. A body that breaks off is kept as far as it goes; one that is damaged, or grows
past its bound while it is inflated, is an InputError.
"""

from __future__ import annotations

import io
import re
import zlib
from typing import Any, Final, NamedTuple

from fastwarc.stream_io import BrotliReader, ZstdReader

from curate.errors import InputError

MAX_HTTP_HEADER_BYTES: Final = 512 << 10
PIECE_BYTES: Final = 64 << 10
MAX_ENCODINGS: Final = 4
MAX_MEMBERS: Final = 100
_STATUS = re.compile(rb"\s*(?:HTTP|ICY|SHTTP)[/\d. ]*?\s-?(\d{1,9})(?!\d)[^\r\n]*\r?\n?", re.IGNORECASE)
_BLANK = re.compile(rb"\r?\n[ \t]*\r?\n")
_NOT_A_HEADER = re.compile(rb"^(?=[<{]|[ \t]+<)", re.MULTILINE)
_CHARSET = re.compile(r"charset\s*=\s*(?:[\"']\s*)?([^\s;\"',]+)", re.IGNORECASE)
_CHUNK = re.compile(rb"[ \t]*([0-9a-fA-F]{1,16})[ \t]*(?:;[^\r\n]{0,4096})?\r?\n")
_HTML_START = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]{0,200}>\s*)?(?:<!--.{0,500}?-->\s*)?"
    rb"<(?:!doctype\s+html|html|head|body|title|meta)\b",
    re.IGNORECASE | re.DOTALL,
)


class Response(NamedTuple):
    """A parsed response; header names are lowercase, `body` is not decoded yet."""

    status: int
    headers: dict[str, str]
    body: bytes


def parse_response(block: bytes) -> Response:
    """Return the response in a record's block. Raises InputError('http') if it does not begin with a status line."""
    status = _STATUS.match(block[:4096])
    if status is None:
        raise InputError("http", "the record does not begin with an HTTP status line")
    start = status.end()
    limit = start + MAX_HTTP_HEADER_BYTES
    # positions in the block, because each slice of it would copy a page
    if block.startswith((b"\r\n", b"\n"), start):
        head_end, body_start = start, start + (2 if block[start] == 13 else 1)
    elif (blank := _BLANK.search(block, start, limit)) is not None:
        head_end, body_start = blank.span()
    else:
        head_end = body_start = min(len(block), limit)
    # a header without its blank line: the page begins at the first line that opens a tag
    if (tag := _NOT_A_HEADER.search(block, start, head_end)) is not None:
        head_end = body_start = tag.start()
    elif head_end == limit:
        raise InputError("http", f"the HTTP header is longer than {MAX_HTTP_HEADER_BYTES} bytes")
    return Response(int(status[1]), _headers(block[start:head_end]), block[body_start:])


def _headers(head: bytes) -> dict[str, str]:
    # pieces of each value, because a header may hold a hundred thousand lines of one name
    pieces: dict[str, list[str]] = {}
    name = ""
    for line in head.decode("latin-1").split("\n"):
        if line[:1] in " \t":
            if name and line.strip():
                pieces[name].append(" " + line.strip())
            continue
        key, colon, value = line.partition(":")
        if not colon:
            continue
        name, value = key.strip().lower(), value.strip()
        held = pieces.setdefault(name, [])
        if held and name != "content-type":
            held.append(", " + value)
        elif value and not held:
            held.append(value)
    return {name: "".join(values) for name, values in pieces.items()}


def content_type(value: str | None) -> tuple[str, str | None]:
    """Return the lowercase type without parameters ('' if there is none) and the charset that the header claims."""
    if not value:
        return "", None
    mime = value.split(";", 1)[0].split(",", 1)[0].strip().lower()
    charset = _CHARSET.search(value)
    return (mime if "/" in mime else ""), charset[1] if charset else None


def looks_like_html(body: bytes) -> bool:
    """Return whether a body of undeclared type opens as an HTML page does."""
    return _HTML_START.match(body[:2048]) is not None


def decode_body(response: Response, max_bytes: int) -> bytes:
    """Return the body without transfer and content encodings.

    Raises InputError('decoded_too_large') as soon as more than `max_bytes` come out, and InputError('content_encoding')
    for damaged data.
    """
    body = response.body
    headers = response.headers
    if "chunked" in headers.get("transfer-encoding", "").lower():
        body = unchunk(body)
    encodings = re.split(r"[,\s]+", headers.get("content-encoding", "").lower().strip())
    encodings = [name.removeprefix("x-") for name in encodings if name.removeprefix("x-") in _DECODERS]
    if len(encodings) > MAX_ENCODINGS:
        raise InputError("content_encoding", f"{len(encodings)} content encodings (limit {MAX_ENCODINGS})")
    for name in reversed(encodings):
        body = _DECODERS[name](body, max_bytes)
    if len(body) > max_bytes:
        raise InputError("decoded_too_large", f"the body has {len(body)} bytes (limit {max_bytes})")
    return body


def unchunk(body: bytes) -> bytes:
    """Return the payload of a chunked body, as far as its chunk sizes hold; a body that is not chunked as it is."""
    # one buffer, because a body may consist of millions of chunks of one byte
    payload = bytearray()
    position = 0
    while chunk := _CHUNK.match(body, position):
        size = int(chunk[1], 16)
        start = chunk.end()
        if size == 0:
            break
        if position == 0 and start + size > len(body) + 2 and looks_like_html(body):
            return body
        payload += body[start : start + size]
        position = start + size
        if body.startswith(b"\r\n", position):
            position += 2
        elif body.startswith(b"\n", position):
            position += 1
    else:
        if position == 0:
            return body
        # a wrong size: what follows is still page, and a parser copes with a stray line better than with its loss
        payload += body[position:]
    return bytes(payload)


def _too_large(max_bytes: int) -> InputError:
    return InputError("decoded_too_large", f"the body grows past {max_bytes} bytes when it is decoded")


def _inflate(body: bytes, window_bits: int, max_bytes: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    # members beyond the bound are left out: each one copies the rest of the body
    while body and len(pieces) < MAX_MEMBERS:
        inflate = zlib.decompressobj(window_bits)
        try:
            piece = inflate.decompress(body, max_bytes + 1 - size)
        except zlib.error as error:
            if pieces:
                break
            raise InputError("content_encoding", f"the body is damaged: {error}") from error
        pieces.append(piece)
        size += len(piece)
        if size > max_bytes:
            raise _too_large(max_bytes)
        if not inflate.eof or not inflate.unused_data.startswith(b"\x1f\x8b"):
            break
        body = inflate.unused_data
    return b"".join(pieces)


def _gunzip(body: bytes, max_bytes: int) -> bytes:
    return _inflate(body, 31, max_bytes) if body.startswith(b"\x1f\x8b") else body


def _deflate(body: bytes, max_bytes: int) -> bytes:
    if len(body) < 2 or looks_like_html(body):
        return body
    is_zlib = body[0] & 15 == 8 and (body[0] << 8 | body[1]) % 31 == 0
    return _inflate(body, 15 if is_zlib else -15, max_bytes)


def _read_bounded(reader: Any, max_bytes: int, name: str) -> bytes:
    pieces: list[bytes] = []
    size = 0
    try:
        while piece := bytes(reader.read(PIECE_BYTES)):
            pieces.append(piece)
            size += len(piece)
            if size > max_bytes:
                raise _too_large(max_bytes)
    except OSError as error:
        if not pieces:
            raise InputError("content_encoding", f"the {name} body is damaged: {error}") from error
    return b"".join(pieces)


def _brotli(body: bytes, max_bytes: int) -> bytes:
    if not body or looks_like_html(body):
        return body
    return _read_bounded(BrotliReader(io.BytesIO(body)), max_bytes, "brotli")


def _zstd(body: bytes, max_bytes: int) -> bytes:
    if not body.startswith(b"\x28\xb5\x2f\xfd"):
        return body
    return _read_bounded(ZstdReader(io.BytesIO(body)), max_bytes, "zstd")


_DECODERS: Final = {"gzip": _gunzip, "deflate": _deflate, "br": _brotli, "zstd": _zstd}
