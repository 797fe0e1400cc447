"""Archives of other programs end in pages or named errors, and agree with warcio."""

from __future__ import annotations

import zlib
from collections import Counter
from pathlib import Path

from archive_files import as_file, read, write


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
