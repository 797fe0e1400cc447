"""Damaged, truncated and oversized archives cost the records that they hit, and no more memory than others."""

from __future__ import annotations

import gzip
import io
import time
from collections import Counter
from pathlib import Path

import pytest
import zstandard
from archive_files import COMPRESS, SETTINGS, http, page, read, warc, write

from curate.readers import READERS, ReadSettings
from curate.readers.warc import parse_header


def test_a_damaged_zstd_dictionary_ends_in_named_errors(tmp_path: Path) -> None:
    stored = b"\x28\xb5\x2f\xfdnot a frame"
    samples = [warc(number, page(number)) for number in range(500)]
    compressor = zstandard.ZstdCompressor(dict_data=zstandard.train_dictionary(8192, samples))
    head = b"\x5d\x2a\x4d\x18" + len(stored).to_bytes(4, "little") + stored
    pages, rejects, _ = read("warc", write(tmp_path, "a.warc.zst", head + compressor.compress(samples[0])))
    assert not pages
    assert [reject.reason for reject in rejects] == ["error.corrupt"]


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


def test_a_header_of_many_continuation_lines_costs_no_more_than_its_length() -> None:
    lines = 300_000
    start = time.process_time()
    header = parse_header(b"WARC/1.1\r\nX-Long: a\r\n" + b" b\r\n" * lines + b"Content-Length: 7\r\n\r\n")
    assert header.length == 7
    assert header.fields["x-long"] == "a" + " b" * lines
    # the square of this number takes five seconds and more
    assert time.process_time() - start < 2


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
