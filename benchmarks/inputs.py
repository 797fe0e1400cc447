"""What both sides of a comparison read, prepared once for each invocation in a temporary folder.

- ``crawl/``: the sample crawl, each response record with the header ``WARC-Identified-Payload-Type: text/html``.
  datatrove guesses the type of a record without it from the page's first bytes, and drops a quarter of them unread.
- ``warm-up/``: the first pages of it, for the part of each side that is not measured.
- ``texts.arrow``: the text that `curate` extracts from the crawl; ``wikitext.arrow``: the articles of wikitext-2.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

WARM_UP_RECORDS: Final = 24
BATCH_BYTES: Final = 16 << 20
_TITLE: Final = re.compile(r"^ = [^=].* = $", re.MULTILINE)


class SkippedError(Exception):
    """A side cannot run here (a package or a file is missing); the message says what is needed."""


@dataclass(frozen=True)
class Inputs:
    """Where the data are (`data`: the folder with sample-crawl and dev-data; `folder`: what `prepare` wrote), and a
    folder for one side's own files."""

    data: str
    folder: str
    scratch: str = ""

    @property
    def crawl(self) -> str:
        """The folder of the crawl that both sides read."""
        return os.path.join(self.folder, "crawl")

    @property
    def warm_up(self) -> str:
        """The folder of a few pages to warm up with."""
        return os.path.join(self.folder, "warm-up")

    def output(self, name: str) -> str:
        """Return a fresh folder name of this side."""
        return os.path.join(self.scratch, name)


def crawl_files(data: str) -> list[Path]:
    """Return the WARC files of the sample crawl; none if it is not there."""
    return sorted(Path(data, "sample-crawl").glob("*.warc.gz"))


def prepare(inputs: Inputs, meter: Any) -> dict[str, int]:
    """Write everything that `Inputs` names. Runs as a side of its own, so that its memory is gone afterwards."""
    for folder in (inputs.crawl, inputs.warm_up):
        os.makedirs(folder)
    pages = 0
    for number, path in enumerate(crawl_files(inputs.data)):
        pages += identify(path, Path(inputs.crawl, path.name))
        if number == 0:
            identify(path, Path(inputs.warm_up, path.name), WARM_UP_RECORDS)
    texts = list(extracted(inputs))
    write_documents(os.path.join(inputs.folder, "texts.arrow"), texts)
    articles = list(wikitext(inputs.data))
    if articles:
        write_documents(os.path.join(inputs.folder, "wikitext.arrow"), articles)
    return {"documents": pages, "bytes": sum(len(text.encode()) for _, text in texts)}


def identify(source: Path, target: Path, most: int | None = None) -> int:
    """Copy the first `most` (all if None) response records of a WARC file, saying in each that it is HTML; return how
    many there are."""
    from warcio.archiveiterator import ArchiveIterator
    from warcio.warcwriter import WARCWriter

    count = 0
    with source.open("rb") as reading, target.open("wb") as writing:
        writer = WARCWriter(writing, gzip=True)
        for record in ArchiveIterator(reading, no_record_parse=True):
            if record.rec_type == "response":
                if count == most:
                    break
                count += 1
                record.rec_headers.replace_header("WARC-Identified-Payload-Type", "text/html")
            writer.write_record(record)
    return count


def extracted(inputs: Inputs) -> Iterator[tuple[str, str]]:
    """Yield (url, text) of every page of the crawl that has text."""
    from curate.errors import InputError
    from curate.extract import ExtractSettings, extract
    from curate.readers import READERS, Page, ReadSettings
    from curate.storage import list_inputs

    for file in list_inputs(inputs.crawl):
        for page in READERS["warc"].read(file, 0, file.size, "web", ReadSettings(), Counter()):
            if not isinstance(page, Page):
                continue
            try:
                yield page.url or "", extract(page.body or b"", page.content_type, page.charset, ExtractSettings())
            except InputError:
                continue


def wikitext(data: str) -> Iterator[tuple[str, str]]:
    """Yield (name, text) of the articles of wikitext-2, a paragraph a line. As the files are, every other line is a
    blank, for which datatrove's first filter drops every article before it has looked at a word."""
    for path in sorted(Path(data, "dev-data", "wikitext-2").glob("*.txt")):
        text = path.read_text(encoding="utf-8")
        starts = [found.start() for found in _TITLE.finditer(text)]
        for number, (start, end) in enumerate(zip(starts, [*starts[1:], len(text)], strict=True)):
            lines = (line.strip() for line in text[start:end].split("\n"))
            yield f"{path.stem}/{number}", "\n".join(line for line in lines if line)


def write_documents(path: str, texts: Iterable[tuple[str, str]]) -> None:
    """Write (url, text) pairs as batches of documents, cut by bytes as the pipeline cuts them."""
    import xxhash

    from curate.schema import DOCUMENT

    with pa.ipc.new_file(path, DOCUMENT) as writer:
        rows: list[dict[str, Any]] = []
        size = 0
        for url, text in texts:
            rows.append({"id": xxhash.xxh3_128_digest(url.encode()), "url": url, "source": "web", "text": text})
            size += len(text)
            if size >= BATCH_BYTES:
                writer.write_batch(pa.RecordBatch.from_pylist(rows, schema=DOCUMENT))
                rows, size = [], 0
        if rows:
            writer.write_batch(pa.RecordBatch.from_pylist(rows, schema=DOCUMENT))


def read_documents(inputs: Inputs, name: str) -> list[pa.RecordBatch]:
    """Return the batches of ``<name>.arrow`` in memory, with buffers of their own as a reader makes them."""
    path = os.path.join(inputs.folder, f"{name}.arrow")
    if not os.path.exists(path):
        raise SkippedError(f"no {name} in {inputs.data}")
    with pa.OSFile(path) as stream:
        file = pa.ipc.open_file(stream)
        return [file.get_batch(number) for number in range(file.num_record_batches)]


def text_bytes(batches: Iterable[pa.RecordBatch]) -> int:
    """Return the UTF-8 bytes of the texts of `batches`."""
    import pyarrow.compute as pc

    return sum(int(pc.sum(pc.binary_length(batch.column("text"))).as_py()) for batch in batches)
