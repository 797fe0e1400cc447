"""WARC, WET and ARC: framing, compression, splitting, and what becomes a page."""

from __future__ import annotations

import gzip
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import zstandard
from archive_files import COMPRESS, arc, arc2, as_file, assert_tiles, http, page, read, warc, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate.readers import READERS


@pytest.mark.parametrize("suffix", list(COMPRESS))
def test_reads_every_record_of_a_file_compressed_record_by_record(tmp_path: Path, suffix: str) -> None:
    members = [COMPRESS[suffix](warc(number, page(number))) for number in range(20)]
    file = write(tmp_path, "a.warc" + suffix, b"".join(members))
    pages, rejects, _ = read("warc", file)
    assert not rejects
    assert [page.url for page in pages] == [f"http://example.org/{number}" for number in range(20)]
    assert [page.offset for page in pages] == [sum(map(len, members[:number])) for number in range(20)]
    assert [page.length for page in pages] == [len(member) for member in members]
    assert pages[3].date == datetime.fromisoformat("2024-05-06T07:08:09")
    assert pages[3].body is not None
    assert pages[3].body.startswith(b"<html>")
    assert len({page.id for page in pages}) == 20
    assert READERS["warc"].splittable(file)


@pytest.mark.parametrize("suffix", [".gz", ".zst", ".lz4"])
def test_reads_a_file_that_is_one_compressed_stream_and_does_not_split_it(tmp_path: Path, suffix: str) -> None:
    data = b"".join(warc(number, page(number, 4000)) for number in range(40))
    file = write(tmp_path, "a.warc" + suffix, COMPRESS[suffix](data))
    pages, rejects, _ = read("warc", file)
    assert len(pages) == 40
    assert not rejects
    assert {page.offset for page in pages} == {0}
    assert not READERS["warc"].splittable(file)


def test_reads_zstd_with_the_dictionary_of_its_skippable_first_frame(tmp_path: Path) -> None:
    samples = [warc(number, page(number)) for number in range(500)]
    dictionary = zstandard.train_dictionary(8192, samples)
    compressor = zstandard.ZstdCompressor(dict_data=dictionary)
    frames = b"".join(compressor.compress(sample) for sample in samples[:20])
    for name, stored in (("raw", dictionary.as_bytes()), ("packed", zstandard.compress(dictionary.as_bytes()))):
        head = b"\x5d\x2a\x4d\x18" + len(stored).to_bytes(4, "little") + stored
        file = write(tmp_path, f"{name}.warc.zst", head + frames)
        pages, rejects, _ = read("warc", file)
        assert len(pages) == 20
        assert not rejects
        middle = READERS["warc"].boundary(file, file.size // 2)
        assert len(read("warc", file, 0, middle)[0]) + len(read("warc", file, middle)[0]) == 20


def test_keeps_each_record_once_when_a_member_holds_two(tmp_path: Path) -> None:
    members = [gzip.compress(warc(2 * n, page(2 * n)) + warc(2 * n + 1, page(2 * n + 1))) for n in range(10)]
    assert_tiles("warc", write(tmp_path, "a.warc.gz", b"".join(members)), [0, 1, len(members[0]), 500, 900], 20)


LAYOUTS = {
    **{f"warc{suffix}": ("warc", warc, compress) for suffix, compress in COMPRESS.items()},
    "arc": ("arc", arc, COMPRESS[""]),
    "arc.gz": ("arc", arc, COMPRESS[".gz"]),
    "arc2": ("arc", arc2, COMPRESS[""]),
    "arc2.gz": ("arc", arc2, COMPRESS[".gz"]),
}


@pytest.mark.parametrize("layout", list(LAYOUTS))
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_split_yields_the_same_records_even_of_damaged_files(tmp_path: Path, layout: str, data: Any) -> None:
    kind, make, compress = LAYOUTS[layout]
    sizes = data.draw(st.lists(st.integers(0, 300), min_size=1, max_size=12))
    members = [compress(make(number, page(number, words))) for number, words in enumerate(sizes)]
    content = bytearray(b"".join(members))
    damage = data.draw(st.lists(st.integers(0, len(content) - 1), max_size=3))
    for place in damage:
        content[place] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.sampled_from([0, 0, 1, 5, 60]))
    file = write(tmp_path, "x", bytes(content[: len(content) - cut]))
    offsets = data.draw(st.lists(st.integers(0, len(content)), max_size=6))
    clean = len(sizes) if not damage and not cut else None
    assert_tiles(kind, file, offsets, clean)


def test_units_of_any_size_tile_a_real_file(shared_data: Path) -> None:
    file = as_file(shared_data / "sample-crawl" / "dev-crawl-00000.warc.gz")
    for unit_bytes in (1 << 20, 64 << 10):
        assert_tiles("warc", file, list(range(0, file.size, unit_bytes)))


def test_a_boundary_is_monotone_and_its_own_boundary(tmp_path: Path) -> None:
    members = [gzip.compress(warc(number, page(number))) for number in range(10)]
    file = write(tmp_path, "a.warc.gz", b"".join(members))
    starts = [sum(map(len, members[:number])) for number in range(11)]
    for offset in range(file.size + 1):
        assert READERS["warc"].boundary(file, offset) == min(start for start in starts if start >= offset)


def test_a_record_quoted_inside_a_page_is_no_boundary_of_a_gzip_file(tmp_path: Path) -> None:
    inner = b"".join(warc(number, page(number)) for number in range(3))
    file = write(tmp_path, "a.warc", warc(7, http(b"<pre>WARC/1.0\r\n" + b"WARC-Type: response\r\n" + b"</pre>")))
    assert READERS["warc"].boundary(file, 1) == file.size
    file = write(tmp_path, "b.warc.gz", gzip.compress(warc(8, http(inner))) + gzip.compress(warc(9, page(9))))
    assert READERS["warc"].boundary(file, 1) == len(gzip.compress(warc(8, http(inner))))


def test_an_empty_file_and_one_of_zero_bytes_hold_nothing(tmp_path: Path) -> None:
    for content in (b"", b"\r\n\r\n"):
        file = write(tmp_path, "a.warc", content)
        assert read("warc", file)[:2] == ([], [])
        assert READERS["warc"].boundary(file, 0) == 0


def test_what_is_no_page_is_counted_by_its_reason(tmp_path: Path) -> None:
    records = [
        warc(0, b"software: x\r\n", b"warcinfo"),
        warc(1, b"GET / HTTP/1.1\r\n\r\n", b"request"),
        warc(2, http(b""), b"revisit"),
        warc(3, b"a: b\r\n", b"metadata"),
        warc(4, http(b"x", status=b"404 Not Found")),
        warc(5, http(b"x", status=b"301 Moved")),
        warc(6, http(b"x", b"Content-Type: image/png\r\n")),
        warc(7, http(b"x", b"")),
        warc(8, b"text", b"conversion"),
        warc(9, b"text", b"nonsense"),
        warc(10, page(10)),
    ]
    pages, rejects, tally = read("warc", write(tmp_path, "a.warc", b"".join(records)))
    assert len(pages) == 1
    assert not rejects
    skipped = {name[8:]: count for name, count in tally.items() if name.startswith("skipped.")}
    assert skipped == {
        "warcinfo": 1,
        "request": 1,
        "revisit": 1,
        "metadata": 1,
        "status": 2,
        "content_type": 2,
        "conversion": 1,
        "unknown": 1,
    }


def test_a_page_without_content_type_is_recognised_by_its_beginning(tmp_path: Path) -> None:
    body = b"\n<!-- saved -->\n<!DOCTYPE html><p>x"
    records = [warc(0, http(body, b"")), warc(1, http(b"GIF89a", b"Content-Type:\r\n"))]
    identified = warc(2, http(b"<p>x", b""), extra=b"WARC-Identified-Payload-Type: text/html\r\n")
    pages, _, tally = read("warc", write(tmp_path, "a.warc", b"".join([*records, identified])))
    assert [(page.url[-1], page.content_type) for page in pages] == [("0", "text/html"), ("2", "text/html")]
    assert tally["skipped.content_type"] == 1


def test_charset_and_type_come_from_the_header_without_its_decoration(tmp_path: Path) -> None:
    record = warc(0, http(b"x", b'CONTENT-TYPE:  Text/HTML ; Charset="ISO-8859-2"; x=y\r\n'))
    [only] = read("warc", write(tmp_path, "a.warc", record))[0]
    assert (only.content_type, only.charset) == ("text/html", "ISO-8859-2")


def test_wet_texts_are_pages_that_hold_text(tmp_path: Path) -> None:
    record = warc(0, "Grüße\0".encode(), b"conversion").replace(b"application/http; msgtype=response", b"text/plain")
    file = write(tmp_path, "a.warc.wet.gz", gzip.compress(warc(1, b"x", b"warcinfo")) + gzip.compress(record))
    [only] = read("wet", file)[0]
    assert only.text == "Grüße"
    assert only.body is None
    assert only.content_type == "text/plain"


def test_arc_records_of_both_versions_are_pages_with_stable_ids(tmp_path: Path) -> None:
    head = b"filedesc://x.arc 0.0.0.0 20080101000000 text/plain 76\n1 0 Org\nURL IP-address Archive-date Content-type"
    head += b" Archive-length\n\n"
    block = head.split(b"\n", 1)[1]
    head = b"filedesc://x.arc 0.0.0.0 20080101000000 text/plain %d\n" % len(block) + block + b"\n"
    one = read("arc", write(tmp_path, "a.arc", head + arc(1, page(1)) + arc(2, page(2))))
    two = read("arc", write(tmp_path, "b.arc", head + arc2(1, page(1)) + arc2(2, page(2))))
    assert not one[1]
    assert not two[1]
    assert [page.id for page in one[0]] == [page.id for page in two[0]]
    assert one[0][0].date == datetime.fromisoformat("2008-01-02T03:04:05")
    assert one[2]["skipped.warcinfo"] == 1


def test_arc_urls_may_hold_blanks(tmp_path: Path) -> None:
    record = arc(1, page(1)).replace(b"/1 192", b"/a b c 192", 1)
    [only] = read("arc", write(tmp_path, "a.arc", record))[0]
    assert only.url == "http://example.org/a%20b%20c"
