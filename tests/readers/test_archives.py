"""WARC, WET and ARC: framing, damage, splitting, and agreement with warcio on real files."""

from __future__ import annotations

import gzip
import io
import itertools
import zlib
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import lz4.frame
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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


def test_a_damaged_zstd_dictionary_ends_in_named_errors(tmp_path: Path) -> None:
    stored = b"\x28\xb5\x2f\xfdnot a frame"
    samples = [warc(number, page(number)) for number in range(500)]
    compressor = zstandard.ZstdCompressor(dict_data=zstandard.train_dictionary(8192, samples))
    head = b"\x5d\x2a\x4d\x18" + len(stored).to_bytes(4, "little") + stored
    pages, rejects, _ = read("warc", write(tmp_path, "a.warc.zst", head + compressor.compress(samples[0])))
    assert not pages
    assert [reject.reason for reject in rejects] == ["error.corrupt"]


def test_keeps_each_record_once_when_a_member_holds_two(tmp_path: Path) -> None:
    members = [gzip.compress(warc(2 * n, page(2 * n)) + warc(2 * n + 1, page(2 * n + 1))) for n in range(10)]
    assert_tiles("warc", write(tmp_path, "a.warc.gz", b"".join(members)), [0, 1, len(members[0]), 500, 900], 20)


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


def test_a_truncated_file_yields_what_is_whole_and_one_reject(tmp_path: Path) -> None:
    for suffix, compress in COMPRESS.items():
        members = [compress(warc(number, page(number))) for number in range(5)]
        for missing in (1, 20, len(members[4]) - 8):
            file = write(tmp_path, "a.warc" + suffix, b"".join(members)[:-missing])
            pages, rejects, _ = read("warc", file)
            if suffix == "" and missing == 1:
                assert len(pages) == 5
                assert not rejects
                continue
            assert len(pages) == 4, suffix
            assert [reject.reason for reject in rejects] in (["error.truncated"], ["error.corrupt"])
            assert str(sum(map(len, members[:4]))) in rejects[0].detail
            assert rejects[0].offset == sum(map(len, members[:4]))
            assert rejects[0].offset + rejects[0].length == file.size


def test_a_damaged_member_costs_one_reject_and_reading_goes_on(tmp_path: Path) -> None:
    members = [gzip.compress(warc(number, page(number))) for number in range(5)]
    broken = bytearray(members[2])
    broken[len(broken) // 2] ^= 0xFF
    members[2] = bytes(broken)
    pages, rejects, _ = read("warc", write(tmp_path, "a.warc.gz", b"".join(members)))
    assert [page.url for page in pages] == [f"http://example.org/{number}" for number in (0, 1, 3, 4)]
    assert [reject.reason for reject in rejects] == ["error.corrupt"]


def test_a_wrong_checksum_refuses_the_record(tmp_path: Path) -> None:
    members = [bytearray(gzip.compress(warc(number, page(number)))) for number in range(3)]
    members[1][-6] ^= 1
    pages, rejects, _ = read("warc", write(tmp_path, "a.warc.gz", b"".join(members)))
    assert len(pages) == 2
    assert [reject.reason for reject in rejects] == ["error.corrupt"]
    assert rejects[0].offset == len(members[0])


def test_garbage_between_members_is_one_reject_and_padding_is_none(tmp_path: Path) -> None:
    members = [gzip.compress(warc(number, page(number))) for number in range(3)]
    file = write(tmp_path, "a.warc.gz", members[0] + b"\0" * 700 + members[1] + b"oops" * 9 + members[2] + b"\0" * 512)
    pages, rejects, _ = read("warc", file)
    assert len(pages) == 3
    assert [(reject.reason, reject.offset) for reject in rejects] == [
        ("error.corrupt", len(members[0]) + 700 + len(members[1]))
    ]


@pytest.mark.parametrize("length", [b"-5", b"abc", b"", b"1e3", b"9" * 40, b"9223372036854775807", b"5", b"100000"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_lying_content_length_costs_only_its_own_record(tmp_path: Path, length: bytes, suffix: str) -> None:
    records = [warc(0, page(0)), warc(1, page(1), length=length), warc(2, page(2)), warc(3, page(3))]
    file = write(tmp_path, "a.warc" + suffix, b"".join(COMPRESS[suffix](record) for record in records))
    pages, rejects, _ = read("warc", file)
    assert [page.url[-1] for page in pages] == ["0", "2", "3"]
    assert len(rejects) == 1
    assert rejects[0].reason in {"error.corrupt", "error.truncated"}


def test_a_record_above_the_limit_is_refused_without_being_held(tmp_path: Path) -> None:
    limits = ReadSettings(max_record_bytes=10_000)
    bomb = gzip.compress(warc(1, http(b"\0" * 50_000_000)))
    file = write(tmp_path, "a.warc.gz", gzip.compress(warc(0, page(0))) + bomb + gzip.compress(warc(2, page(2))))
    pages, rejects, _ = read("warc", file, settings=limits)
    assert [page.url[-1] for page in pages] == ["0", "2"]
    assert [reject.reason for reject in rejects] == ["error.record_too_large"]
    assert rejects[0].url == "http://example.org/1"


def test_a_header_line_of_ten_megabytes_is_refused(tmp_path: Path) -> None:
    long = warc(1, page(1), extra=b"X-Long: " + b"a" * 10_000_000 + b"\r\n")
    for suffix in ("", ".gz"):
        data = b"".join(map(COMPRESS[suffix], [warc(0, page(0)), long, warc(2, page(2))]))
        pages, rejects, _ = read("warc", write(tmp_path, "a.warc" + suffix, data))
        assert [page.url[-1] for page in pages] == ["0", "2"]
        assert [reject.reason for reject in rejects] == ["error.header_too_large"]


def test_missing_blank_lines_between_records_are_tolerated_and_bare_newlines_too(tmp_path: Path) -> None:
    records = [warc(number, page(number)) for number in range(3)]
    data = records[0].rstrip(b"\r\n") + records[1] + b"\n\n\n" + records[2]
    assert len(read("warc", write(tmp_path, "a.warc", data))[0]) == 3
    head, block = records[0].split(b"\r\n\r\n", 1)
    bare = head.replace(b"\r\n", b"\n") + b"\n\n" + block
    assert len(read("warc", write(tmp_path, "b.warc", bare + records[1]))[0]) == 2


def test_a_header_that_runs_into_its_block_is_damage_not_a_page(tmp_path: Path) -> None:
    record = warc(1, page(1)).replace(b"\r\n\r\nHTTP", b"\r\nHTTP", 1)
    pages, rejects, _ = read("warc", write(tmp_path, "a.warc", warc(0, page(0)) + record + warc(2, page(2))))
    assert [page.url[-1] for page in pages] == ["0", "2"]
    assert len(rejects) == 1


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


def oracle(path: Path) -> tuple[Counter[str], Counter[str]]:
    """Return warcio's count of each record type and of the URIs of its responses."""
    from warcio.archiveiterator import ArchiveIterator

    types: Counter[str] = Counter()
    urls: Counter[str] = Counter()
    with path.open("rb") as stream:
        for record in ArchiveIterator(stream):
            types[record.rec_type] += 1
            if record.rec_type == "response":
                headers = record.rec_headers
                urls[(headers.get_header("WARC-Target-URI") or headers.get_header("uri")).replace(" ", "%20")] += 1
    return types, urls


ODD = {
    "bad.arc": "lengths that are no numbers",
    "example-space-in-url.arc": "its last record is cut",
    "example-bad-non-chunked.warc.gz": "warcio refuses it",
    "example-bad.warc.gz.bad": "warcio refuses it",
    "example-trunc.warc": "a length that leads nowhere",
    "example-wrong-chunks.warc.gz": "records cut across gzip members",
    "resiliparse-clipped.warc.gz": "cut",
    "resiliparse-warcfile.warc.lz4": "warcio reads no lz4",
    "brotli.warc": "warcio lacks a current brotli",
    "transfer_compression_brotli.warc.gz": "warcio lacks a current brotli",
}


def native_files(shared_data: Path) -> list[Path]:
    return sorted(path for path in (shared_data / "native-warc").glob("*/*") if path.is_file())


def kind_of(path: Path) -> str:
    return "arc" if ".arc" in path.name else "wet" if ".wet" in path.name else "warc"


def test_every_native_file_ends_in_pages_or_named_errors(shared_data: Path) -> None:
    for path in native_files(shared_data):
        pages, rejects, tally = read(kind_of(path), as_file(path))
        assert tally["records"] > 0, path.name
        assert all(reject.reason.startswith("error.") and path.name in reject.detail for reject in rejects)
        assert all(len(page.id) == 16 for page in pages)


def test_well_formed_native_files_agree_with_warcio(shared_data: Path) -> None:
    from curate.readers import arc as arc_module
    from curate.readers import warc as warc_module
    from curate.readers.archive import Record, read_records
    from curate.readers.records import clean_url

    for path in native_files(shared_data):
        if path.name in ODD:
            continue
        types, urls = oracle(path)
        grammar = arc_module._ARC if kind_of(path) == "arc" else warc_module._WARC
        file = as_file(path)
        records = list(read_records(file, 0, file.size, grammar, 1 << 30))
        assert all(isinstance(record, Record) for record in records), path.name
        responses = [record for record in records if record.fields.get("warc-type") == "response"]
        assert len(records) == sum(types.values()), path.name
        assert len(responses) == types["response"], path.name
        assert Counter(clean_url(record.fields["warc-target-uri"]) for record in responses) == urls, path.name


def test_native_payloads_equal_those_of_warcio(shared_data: Path) -> None:
    from warcio.archiveiterator import ArchiveIterator

    for path in native_files(shared_data):
        if path.name in ODD or kind_of(path) == "wet":
            continue
        bodies = {}
        with path.open("rb") as stream:
            for record in ArchiveIterator(stream):
                if record.rec_type == "response" and record.http_headers:
                    bodies[record.raw_stream.tell(), len(bodies)] = record.content_stream().read()
        known = Counter(zlib.crc32(body) for body in bodies.values())
        pages = read(kind_of(path), as_file(path))[0]
        assert not Counter(zlib.crc32(page.body or b"") for page in pages) - known, path.name


def test_the_same_crawl_as_arc_and_as_warc_has_the_same_pages(shared_data: Path) -> None:
    folder = shared_data / "native-warc" / "pages"
    arcs = read("arc", as_file(folder / "IAH-20080430204825-blackbook.arc.gz"))[0]
    warcs = read("warc", as_file(folder / "IAH-20080430204825-blackbook.warc.gz"))[0]
    assert Counter((page.url, page.body) for page in arcs) == Counter((page.url, page.body) for page in warcs)


def test_any_file_cut_anywhere_ends(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "native-warc" / "quirks" / "example.warc.gz"
    content = path.read_bytes()
    for size in range(0, len(content), 97):
        pages, rejects, _ = read("warc", write(tmp_path, "cut.warc.gz", content[:size]))
        assert len(rejects) <= 1
        assert len(pages) <= 1


def test_reading_holds_little_of_a_long_single_stream(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=1) as archive:
        for number in range(300):
            archive.write(warc(number, page(number, 20_000)))
    file = write(tmp_path, "a.warc.gz", stream.getvalue())
    import tracemalloc

    tracemalloc.start()
    count = sum(1 for _ in READERS["warc"].read(file, 0, file.size, "web", SETTINGS, Counter()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 300
    assert peak < 4 << 20


def test_a_bad_length_in_one_stream_costs_that_record_only(tmp_path: Path) -> None:
    for length in (b"-5", b"50"):
        records = [
            warc(number, page(number, 4000), length=length if number in (3, 7) else None) for number in range(20)
        ]
        for suffix in (".gz", ".zst", ".lz4"):
            pages, rejects, _ = read("warc", write(tmp_path, "a.warc" + suffix, COMPRESS[suffix](b"".join(records))))
            assert len(pages) == 18, (length, suffix)
            assert [reject.reason for reject in rejects] == ["error.corrupt"] * 2
            assert len({reject.id for reject in rejects}) == 2
            assert all("passed over" in reject.detail for reject in rejects)


def test_records_decompressed_before_a_stream_breaks_off_are_kept(tmp_path: Path) -> None:
    data = gzip.compress(b"".join(warc(number, page(number)) for number in range(20)))
    pages, rejects, _ = read("warc", write(tmp_path, "a.warc.gz", data[:-30]))
    assert len(pages) >= 15
    assert [reject.reason for reject in rejects] == ["error.truncated"]
