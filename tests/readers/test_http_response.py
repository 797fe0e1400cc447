"""HTTP responses: odd headers, encodings and bombs."""

from __future__ import annotations

import gzip
import time
import tracemalloc
import zlib

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import InputError
from curate.readers.http_response import content_type, decode_body, parse_response, unchunk

PAGE = b"<!doctype html><p>" + b"some words " * 100
LIMIT = 1 << 20


def chunked(body: bytes, size: int = 100) -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def decode(body: bytes, headers: bytes, limit: int = LIMIT) -> bytes:
    return decode_body(parse_response(b"HTTP/1.1 200 OK\r\n" + headers + b"\r\n" + body), limit)


def raw_deflate(data: bytes) -> bytes:
    deflate = zlib.compressobj(wbits=-15)
    return deflate.compress(data) + deflate.flush()


ENCODERS = {
    b"gzip": gzip.compress,
    b"x-gzip": gzip.compress,
    b"deflate": zlib.compress,
    b"Deflate": raw_deflate,
    b"br": lambda data: brotli.compress(data, quality=3),
    b"zstd": zstandard.compress,
}


@pytest.mark.parametrize("name", list(ENCODERS))
def test_content_encodings_are_undone_and_ignored_where_they_are_absent(name: bytes) -> None:
    header = b"Content-Encoding: " + name + b"\r\n"
    assert decode(ENCODERS[name](PAGE), header) == PAGE
    assert decode(PAGE, header) == PAGE
    assert decode(chunked(ENCODERS[name](PAGE)), header + b"Transfer-Encoding: chunked\r\n") == PAGE


@pytest.mark.parametrize("name", list(ENCODERS))
def test_a_bomb_is_stopped_while_it_is_inflated(name: bytes) -> None:
    bomb = ENCODERS[name](b"\0" * 30_000_000)
    decode(ENCODERS[name](PAGE), b"Content-Encoding: " + name + b"\r\n")
    tracemalloc.start()
    with pytest.raises(InputError) as caught:
        decode(bomb, b"Content-Encoding: " + name + b"\r\n")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert caught.value.kind == "decoded_too_large"
    assert peak < 8 << 20


def test_a_bomb_within_a_bomb_is_stopped_too() -> None:
    bomb = gzip.compress(gzip.compress(b"\0" * 50_000_000))
    with pytest.raises(InputError, match="grows past"):
        decode(bomb, b"Content-Encoding: gzip, gzip\r\n")
    with pytest.raises(InputError, match="content encodings"):
        decode(PAGE, b"Content-Encoding: gzip, gzip, gzip, gzip, gzip\r\n")


@pytest.mark.parametrize("name", [b"gzip", b"deflate", b"br", b"zstd"])
def test_a_damaged_body_is_a_named_error(name: bytes) -> None:
    magic = {b"gzip": b"\x1f\x8b\x08\0", b"zstd": b"\x28\xb5\x2f\xfd"}.get(name, b"")
    with pytest.raises(InputError) as caught:
        decode(magic + b"\xff\xfe\x07garbage" * 20, b"Content-Encoding: " + name + b"\r\n")
    assert caught.value.kind == "content_encoding"


def test_a_body_that_breaks_off_is_kept_as_far_as_it_goes() -> None:
    packed = gzip.compress(bytes(range(256)) * 400)
    assert (bytes(range(256)) * 400).startswith(decode(packed[:-20], b"Content-Encoding: gzip\r\n"))


def test_millions_of_tiny_members_end_soon() -> None:
    start = time.process_time()
    decode(gzip.compress(b"") * 200_000, b"Content-Encoding: gzip\r\n")
    assert time.process_time() - start < 3


def test_chunk_sizes_that_lie_lose_no_text() -> None:
    good = chunked(PAGE)
    assert unchunk(good) == PAGE
    assert unchunk(PAGE) == PAGE
    assert unchunk(b"ffffffffffff\r\n" + PAGE) == PAGE
    assert PAGE[:100] in unchunk(b"40\r\n" + PAGE + b"\r\n0\r\n\r\n")
    assert unchunk(good.replace(b"64\r\n", b"64;x=y\r\n")) == PAGE
    assert unchunk(good[:-300]) == PAGE[: len(unchunk(good[:-300]))]


@given(st.binary(max_size=300))
def test_any_bytes_can_be_unchunked(body: bytes) -> None:
    assert len(unchunk(body)) <= len(body)


def test_headers_may_be_odd() -> None:
    odd = (
        b"HTTP/1.0  200\n"
        b"content-TYPE : text/html;\n"
        b"\tcharset=utf-8\n"
        b"no colon here\n"
        b": no name\n"
        b"X-Nul: a\0b\n"
        b"X-Latin: \xe9\xff\n"
        b"Content-Length: -5\n"
        b"Content-Type: image/png\n\nbody"
    )
    response = parse_response(odd)
    assert response.status == 200
    assert response.body == b"body"
    assert content_type(response.headers["content-type"]) == ("text/html", "utf-8")
    assert response.headers["x-latin"] == "\xe9\xff"


def test_a_missing_blank_line_does_not_swallow_the_page() -> None:
    response = parse_response(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n" + PAGE + b"\n\nmore")
    assert response.headers == {"content-type": "text/html"}
    assert response.body == PAGE + b"\n\nmore"


def test_a_response_without_headers_or_without_body_is_one() -> None:
    assert parse_response(b"HTTP/1.1 200 OK\r\n\r\nx") == (200, {}, b"x")
    assert parse_response(b"HTTP/1.1 204 No Content\r\n\r\n") == (204, {}, b"")
    assert parse_response(b"HTTP/1.1 200") == (200, {}, b"")
    assert parse_response(b"ICY 200 OK\r\nA: b\r\n").body == b""


def test_what_is_no_response_is_a_named_error() -> None:
    for block in (b"", b"\0" * 100, b"GET / HTTP/1.1\r\n\r\n", b"<html>", b"HTTP/1.1 OK\r\n\r\n"):
        with pytest.raises(InputError) as caught:
            parse_response(block)
        assert caught.value.kind == "http"
    with pytest.raises(InputError, match="header is longer"):
        parse_response(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 10_000_000)


@given(st.binary(max_size=200))
def test_any_bytes_behind_a_status_line_parse(rest: bytes) -> None:
    response = parse_response(b"HTTP/1.1 200 OK\r\n" + rest)
    assert response.status == 200
    assert len(response.body) <= len(rest)


def test_millions_of_tiny_chunks_take_the_memory_of_their_payload() -> None:
    body = b"2\r\nxy\r\n" * 500_000 + b"0\r\n\r\n"
    tracemalloc.start()
    payload = unchunk(body)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert payload == b"xy" * 500_000
    assert peak < 5_000_000


HOSTILE_HEADERS = {
    "a header folded over many lines": b"X-Long: a" + b"\r\n a" * 120_000,
    "one header again and again": b"X-Long: a" + b"\r\nX-Long: a" * 45_000,
    "a charset of blanks": b"Content-Type: text/html; charset=" + b" " * 500_000 + b";",
}


@pytest.mark.parametrize("name", list(HOSTILE_HEADERS))
def test_a_header_costs_time_in_proportion_to_its_length(name: str) -> None:
    start = time.process_time()
    headers = parse_response(b"HTTP/1.1 200 OK\r\n" + HOSTILE_HEADERS[name] + b"\r\n\r\n" + PAGE).headers
    assert content_type(headers.get("content-type"))[1] is None
    # the square of these lengths takes several seconds to many minutes
    assert time.process_time() - start < 1


def test_values_of_one_header_are_joined_in_order() -> None:
    head = b"A: \r\nA: 1\r\n 2\r\nB: x\r\nA:\r\nA: 3\r\n  4 \r\nContent-Type: a/b\r\nContent-Type: c/d\r\n"
    headers = parse_response(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n").headers
    assert headers == {"a": "1 2, , 3 4", "b": "x", "content-type": "a/b"}


@pytest.mark.parametrize("charset", ["charset=x", "charset = 'x'", 'CHARSET= " x "', "a; charset=x; charset=y"])
def test_a_charset_is_found_with_blanks_and_quotes_around_it(charset: str) -> None:
    assert content_type(f"text/html; {charset}")[1] == "x"
