"""Views of a document's text, and the columns that collect writes of them.

A view is the extracted text or what a cleaner, or a dedup step that cuts, makes of the view before it. Only the
extracted text is stored, beside the edits of each: any view is made again by applying them, and any byte of a view
leads back to the page. Edits of views before the first step that cuts are columns of the documents files; those of
later ones have files of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from pydantic import BaseModel, ConfigDict

from curate.filters.edits import apply_edits
from curate.filters.measures import CLEANERS, MEASURES
from curate.schema import DOCUMENT, EDITS, named_schema

EXTRACTED = "extracted"
EDITS_PREFIX = "edits@"
TEXT_DIGEST = "text.digest"
"""Signal int64: the xxh3-64 of the extracted text, by which two records of one id are told apart."""
PARQUET: Mapping[str, Any] = {"compression": "zstd", "compression_level": 3, "write_statistics": False}


class View(BaseModel):
    """One state of the text: its name, the cleaner that makes it from the view before (none for the extracted text and
    for what a dedup step left), and the measures that are taken on it, in order: those that are given signals come
    after those that give them."""

    model_config = ConfigDict(frozen=True)

    name: str
    cleaner: str | None = None
    measures: tuple[str, ...] = ()


def document_schema(views: Sequence[View]) -> pa.Schema:
    """Return the schema of a documents file: DOCUMENT, and the edits of each cleaner."""
    return named_schema("document", [*DOCUMENT, *edits_fields(views)])


def edits_fields(views: Sequence[View]) -> list[pa.Field]:
    """Return the columns that hold the edits of cleaners."""
    return [pa.field(edits_column(view.name), EDITS, nullable=False) for view in views if view.cleaner]


def edits_column(view: str) -> str:
    """Return the name of the column that holds the edits which make `view` from the view before it."""
    return EDITS_PREFIX + view


def signal_column(signal: str, view: str) -> str:
    """Return the full name of a signal: plain on the extracted text, ``signal@view`` elsewhere."""
    return signal if view == EXTRACTED else f"{signal}@{view}"


def signals_schema(views: Sequence[View]) -> pa.Schema:
    """Return the schema of a signals file: id, source, url digest columns and every signal of every view."""
    fields = [DOCUMENT.field("id"), DOCUMENT.field("source"), pa.field(TEXT_DIGEST, pa.int64(), nullable=False)]
    return named_schema("signals", [*fields, *signal_fields(views)])


def signal_fields(views: Sequence[View]) -> list[pa.Field]:
    """Return the columns that hold the signals of views."""
    types = {"int64": pa.int64(), "float64": pa.float64(), "bool": pa.bool_(), "string": pa.string()}
    fields = []
    for view in views:
        tables = [MEASURES[name].signals for name in view.measures]
        if view.cleaner:
            tables.append(CLEANERS[view.cleaner].signals)
        fields += [
            pa.field(signal_column(name, view.name), types[kind]) for table in tables for name, kind in table.items()
        ]
    return fields


def view_text(documents: pa.RecordBatch | pa.Table, views: Sequence[str], wanted: str) -> pa.Array:
    """Return the text (large_string) of documents in the view `wanted`; `views` are the cleaners' views in order."""
    text = flat(documents.column("text"))
    for view in views:
        if wanted == EXTRACTED:
            break
        text = apply_edits(text, flat(documents.column(edits_column(view))))
        if view == wanted:
            break
    return text


def flat(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def measure_batch(
    documents: pa.RecordBatch, views: Sequence[View], assets: Mapping[str, str]
) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """Return (documents with edits, signals) of a batch of extracted documents. Row by row a pure function."""
    text = documents.column("text")
    digests = [xxhash.xxh3_64_intdigest(value.as_buffer() or b"") for value in text]
    measured = measure_views(text, views, assets, {})
    edits = [measured.column(field.name) for field in edits_fields(views)]
    signals = [documents.column("id"), documents.column("source"), pa.array(digests, pa.uint64()).view(pa.int64())]
    signals += [measured.column(field.name) for field in signal_fields(views)]
    return (
        pa.RecordBatch.from_arrays([*documents.columns, *edits], schema=document_schema(views)),
        pa.RecordBatch.from_arrays(signals, schema=signals_schema(views)),
    )


def measure_views(
    text: pa.Array, views: Sequence[View], assets: Mapping[str, str], extracted: Mapping[str, pa.Array]
) -> pa.RecordBatch:
    """Return the edits of each cleaner and the signals of each view as columns: `edits_fields`, then `signal_fields`.

    `text` is that of the first view, unless a cleaner makes that one of it. `extracted` holds the signals of the
    extracted text that measures are given, where that is not among the views. Row by row a pure function.
    """
    edits: list[pa.Array] = []
    signals: list[pa.Array] = []
    for view in views:
        measured: dict[str, pa.Array] = {}
        names: list[str] = []
        cleaned: dict[str, pa.Array] = {}
        if view.cleaner:
            result = CLEANERS[view.cleaner].function(text)
            edits.append(result.edits)
            cleaned = result.signals
            text = apply_edits(text, result.edits)
        for name in view.measures:
            given = [flat(extracted[signal]) for signal in MEASURES[name].given]
            measured |= MEASURES[name].function(text, assets, *given)
            if view.name == EXTRACTED:
                extracted = measured
            names += MEASURES[name].signals
        if view.cleaner:
            measured |= cleaned
            names += CLEANERS[view.cleaner].signals
        signals += [flat(measured[name]) for name in names]
    return pa.RecordBatch.from_arrays(
        [*edits, *signals], schema=pa.schema([*edits_fields(views), *signal_fields(views)])
    )


def concat(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)


def text_bytes(text: pa.Array) -> int:
    if not len(text):
        return 0
    return int(pc.sum(pc.binary_length(text)).as_py() or 0)


def without_text(documents: pa.RecordBatch, dropped: pa.Array) -> pa.RecordBatch:
    """Return documents whose text and edits are empty where `dropped` (bool [rows])."""
    columns = []
    for field, column in zip(documents.schema, documents.columns, strict=True):
        if field.name == "text" or field.name.startswith(EDITS_PREFIX):
            nothing = pa.scalar("" if field.name == "text" else [], field.type)
            column = pc.if_else(dropped, nothing, column)
        columns.append(column)
    return pa.RecordBatch.from_arrays(columns, schema=documents.schema)
