"""Collect: read, extract, clean and measure one unit of input. The expensive stage, and the one that holds no bound.

Everything that was extracted is written, kept later or not: ``documents`` (text and provenance, with the edits of each
cleaner) and ``signals`` (one row per document), in parts of bounded size, row for row. What could not become a document
is a row in ``rejects``. Batches are cut by bytes of text, never by time, so that an attempt that works one document at
a time (after a crash) writes the same bytes.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from curate.engine.tasks import DOCUMENT as LABEL
from curate.engine.tasks import Output, Task
from curate.errors import InputError
from curate.extract import ENGINES, ExtractSettings, extract
from curate.filters.decide import decide
from curate.filters.rules import ResolvedRule
from curate.pipelines.parts import asset_paths
from curate.pipelines.quarantine import document_label, pieces
from curate.pipelines.views import (
    PARQUET,
    View,
    concat,
    document_schema,
    flat,
    measure_batch,
    signals_schema,
    text_bytes,
    without_text,
)
from curate.readers import READERS, Page, Reader, ReadSettings, Reject
from curate.schema import DOCUMENT, MAX_TEXT_BYTES, ORIGIN, REJECT, document_id
from curate.storage import InputFile

DOCUMENT_OVERHEAD_BYTES = 256
REJECT_ROWS = 8192
ROLL_ROWS = 250_000
"""A part is rolled at so many documents, too: later stages hold its signals and verdicts whole."""


class CollectSettings(BaseModel):
    """What shapes the bytes that `collect` writes, but the input itself.

    ``start`` and ``end`` are the byte range of the plan; the range really read runs from the first record boundary
    after one to the first after the other. ``versions`` are those of the reader, extractor, measures and cleaners;
    ``engine_source`` identifies a user's engine. ``text_rules``: the text of a document that fails one of these rules
    is not written (``keep_text = "kept"``); with them this stage does depend on bounds.
    """

    model_config = ConfigDict(frozen=True)

    source: str
    file: str
    format: str
    size: int
    start: int
    end: int
    read: ReadSettings
    extract: ExtractSettings
    views: tuple[View, ...]
    roll_bytes: int
    versions: dict[str, int]
    engine_source: str = ""
    text_rules: tuple[dict[str, Any], ...] = ()


class _Parts:
    """The documents and signals files of one task, rolled so that no part holds more than `roll_bytes` of text."""

    def __init__(self, task: Task, settings: CollectSettings, assets: Mapping[str, str]) -> None:
        self._task = task
        self._views = settings.views
        self._assets = assets
        self._roll_bytes = settings.roll_bytes
        self._text_rules = [ResolvedRule.model_validate(rule) for rule in settings.text_rules]
        self._stack: ExitStack | None = None
        self._bytes = self._rows = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Measure a batch and append it to the current part."""
        if batch.num_rows == 0:
            return
        if self._stack is None:
            self._open()
        documents, signals = self._measure(batch)
        if self._text_rules:
            documents = without_text(documents, pc.invert(flat(decide(signals, self._text_rules).column("keep"))))
        self._documents.write_batch(documents, row_group_size=len(documents))
        self._signals.write_batch(signals, row_group_size=len(signals))
        self._task.flows["kept"].add(batch.column("id"))
        self._bytes += batch.column("text").nbytes
        for output in self._outputs:
            output.rows += len(batch)
            output.facts["text_bytes"] = output.facts.get("text_bytes", 0) + text_bytes(batch.column("text"))
        self._rows += len(batch)
        if self._bytes >= self._roll_bytes or self._rows >= ROLL_ROWS:
            self.close()

    def _measure(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        measured = [measure_batch(piece, self._views, self._assets) for piece in pieces(self._task, batch)]
        return concat([documents for documents, _ in measured]), concat([signals for _, signals in measured])

    def _open(self) -> None:
        self._stack = ExitStack()
        documents = self._stack.enter_context(self._task.write("documents", "documents/{key}-{number}.parquet"))
        signals = self._stack.enter_context(self._task.write("signals", "signals/{key}-{number}.parquet"))
        self._outputs: tuple[Output, Output] = (documents, signals)
        self._documents = self._stack.enter_context(
            pq.ParquetWriter(documents.path, document_schema(self._views), **PARQUET)
        )
        self._signals = self._stack.enter_context(
            pq.ParquetWriter(signals.path, signals_schema(self._views), **PARQUET)
        )
        self._bytes = self._rows = 0

    def close(self) -> None:
        """Finish the current part."""
        if self._stack is not None:
            self._stack.close()
            self._stack = None


class _Rejects:
    """The rejects file, which exists only if there are any. Rows are written as they gather."""

    def __init__(self, task: Task, settings: CollectSettings) -> None:
        self._task = task
        self._settings = settings
        self._rows: list[dict[str, Any]] = []
        self._stack = ExitStack()
        self._output: Output | None = None

    def add(self, item: Page | Reject, reason: str, detail: str) -> None:
        """Count one record that could not become a document."""
        origin = {"file": self._settings.file, "offset": item.offset, "length": item.length}
        self._rows.append(
            {
                "id": item.id,
                "url": item.url,
                "source": self._settings.source,
                "origin": origin,
                "reason": reason,
                "detail": detail[:500],
            }
        )
        self._task.stats[reason] += 1
        if document_label(item.id) in self._task.skip or f"{LABEL}@{item.offset}" in self._task.skip:
            self._task.quarantined.append({"file": origin["file"], "offset": item.offset, "reason": reason})
        if len(self._rows) >= REJECT_ROWS:
            self._flush()

    def _flush(self) -> None:
        if not self._rows:
            return
        if self._output is None:
            self._output = self._stack.enter_context(self._task.write("rejects", "rejects/{key}-{number}.parquet"))
            self._writer = self._stack.enter_context(pq.ParquetWriter(self._output.path, REJECT, **PARQUET))
        table = pa.Table.from_pylist(self._rows, schema=REJECT)
        self._task.flows["errors"].add(table.column("id"))
        self._writer.write_table(table, row_group_size=REJECT_ROWS)
        self._output.rows += len(table)
        self._rows = []

    def close(self) -> None:
        """Finish the file."""
        try:
            self._flush()
        finally:
            self._stack.close()


class _Batch:
    """Pages on their way into one record batch."""

    def __init__(self, settings: CollectSettings) -> None:
        self._settings = settings
        self._rows: list[tuple[Page, str]] = []
        self.bytes = 0

    def add(self, page: Page, text: str) -> None:
        """Append one extracted page."""
        self._rows.append((page, text))
        self.bytes += (len(text) if text.isascii() else len(text.encode())) + DOCUMENT_OVERHEAD_BYTES

    def take(self) -> pa.RecordBatch:
        """Return the batch (schema DOCUMENT) and start a new one."""
        pages, texts = zip(*self._rows, strict=True) if self._rows else ((), ())
        self._rows, self.bytes = [], 0
        rows = len(pages)
        origin = pa.StructArray.from_arrays(
            [
                pa.array([self._settings.file] * rows, pa.string()),
                pa.array([page.offset for page in pages], pa.int64()),
                pa.array([page.length for page in pages], pa.int64()),
            ],
            fields=list(ORIGIN),
        )
        return pa.RecordBatch.from_arrays(
            [
                pa.array([page.id for page in pages], DOCUMENT.field("id").type),
                pa.array(texts, pa.large_string()),
                pa.array([page.url for page in pages], pa.string()),
                pa.array([self._settings.source] * rows, pa.string()),
                pa.array([page.date for page in pages], pa.timestamp("s")),
                origin,
                pa.array([list(page.meta.items()) for page in pages], DOCUMENT.field("meta").type),
                pa.nulls(rows, DOCUMENT.field("spans").type),
            ],
            schema=DOCUMENT,
        )


def collect(task: Task) -> None:
    """Read the range of one input file and write its documents, signals and rejects."""
    settings = CollectSettings(**task.settings)
    ref = task.input("source")
    file = InputFile(task.uri(ref), settings.file, settings.size)
    reader = READERS[settings.format]
    whole = settings.start == 0 and settings.end == settings.size
    assets = asset_paths(task)
    task.heartbeat("warm-up")
    warm_up(settings.views, settings.extract, tuple(sorted(assets.items())))
    task.heartbeat("boundary")
    start = settings.start if settings.start == 0 else reader.boundary(file, settings.start)
    end = settings.size if whole or settings.end == settings.size else reader.boundary(file, settings.end)
    task.facts["range"] = [start, end]
    tally: Counter[str] = Counter()
    parts = _Parts(task, settings, assets)
    rejects = _Rejects(task, settings)
    batch = _Batch(settings)
    try:
        for item in _items(task, settings, reader, file, start, end, tally):
            if isinstance(item, pa.RecordBatch):
                task.flows["in"].add(item.column("id"))
            else:
                task.flows["in"].add_one(item.id)
            if isinstance(item, Reject):
                rejects.add(item, item.reason, item.detail)
            elif isinstance(item, Page):
                _page(task, settings, item, batch, rejects)
                if batch.bytes >= settings.read.batch_bytes:
                    parts.write(batch.take())
            else:
                parts.write(batch.take())
                parts.write(_without_skipped(task, item, rejects))
        parts.write(batch.take())
    finally:
        parts.close()
        rejects.close()
    task.stats.update(tally)


@functools.cache
def warm_up(views: tuple[View, ...], settings: ExtractSettings, assets: tuple[tuple[str, str], ...]) -> None:
    """Load models and compile kernels, once a process, so that no document's own time pays for it."""
    if settings.engine in ENGINES:
        extract(b"<html><body><p>One.</p></body></html>", "text/html", None, settings)
    row = {"id": bytes(16), "text": "One.", "source": "none"}
    measure_batch(pa.RecordBatch.from_pylist([row], schema=DOCUMENT), views, dict(assets))


def _items(
    task: Task,
    settings: CollectSettings,
    reader: Reader,
    file: InputFile,
    start: int,
    end: int,
    tally: Counter[str],
) -> Iterator[Page | Reject | pa.RecordBatch]:
    """Yield what the reader finds in [start, end).

    While a record is read it has no name yet; it is known by the offset after the record before it. If reading there
    felled a worker twice, that offset is in quarantine, and reading goes on at the next record boundary.
    """
    while start < end:
        items = reader.read(file, start, end, settings.source, settings.read, tally)
        at = start
        while (label := f"{LABEL}@{at}") not in task.skip:
            task.heartbeat(label)
            item = next(items, None)
            if item is None:
                return
            yield item
            at = _end_of(item, at)
        start = min(end, reader.boundary(file, at + 1)) if reader.splittable(file) else end
        tally["records"] += 1
        identity = document_id(source=settings.source, key=f"{settings.file}:{at}")
        yield Reject(
            identity, None, at, start - at, task.skip[label], "quarantined: its worker did not survive reading it"
        )


def _end_of(item: Page | Reject | pa.RecordBatch, at: int) -> int:
    """Return the offset behind what was read."""
    if isinstance(item, pa.RecordBatch):
        if not len(item):
            return at
        item_origin = item.column("origin")[-1].as_py()
        return max(at, int(item_origin["offset"] + item_origin["length"]))
    return max(at, item.offset + item.length)


def _page(task: Task, settings: CollectSettings, page: Page, batch: _Batch, rejects: _Rejects) -> None:
    label = document_label(page.id)
    if task.skip and label in task.skip:
        rejects.add(page, task.skip[label], "quarantined: its worker did not survive it")
        return
    task.heartbeat(label)
    try:
        text = page.text
        if text is None:
            text = extract(page.body or b"", page.content_type, page.charset, settings.extract)
        if len(text) > MAX_TEXT_BYTES // 4 and len(text.encode()) > MAX_TEXT_BYTES:
            raise InputError("text_too_large", f"the text has over {MAX_TEXT_BYTES} bytes")
    except InputError as error:
        rejects.add(page, f"error.{error.kind}", str(error))
        return
    # the page's bytes are not needed any more, and a batch of short texts may come from very large pages
    batch.add(page._replace(body=None), text)


def _without_skipped(task: Task, batch: pa.RecordBatch, rejects: _Rejects) -> pa.RecordBatch:
    """Return a batch without its quarantined documents, which become rejects."""
    if not task.skip:
        return batch
    keep = []
    for row, identity in enumerate(batch.column("id").to_pylist()):
        reason = task.skip.get(document_label(identity))
        keep.append(reason is None)
        if reason is not None:
            origin = batch.column("origin")[row].as_py()
            url = batch.column("url")[row].as_py()
            reject = Reject(identity, url, origin["offset"], origin["length"], reason, "")
            rejects.add(reject, reason, "quarantined: its worker did not survive it")
    return batch.filter(pa.array(keep))
