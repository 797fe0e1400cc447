"""Signature files: the MinHash signatures of a part's documents, and the bands that are cut from them.

A file holds what any later question about near-duplicates needs: bands and rows of any shape, comparisons, runs that
name this one in ``against``, and `curate dedup lookup`. It says in its metadata how its signatures were made, so that
one row loads as a `datasketch.MinHash` (`curate.dedup.minhash.to_datasketch`). Documents without shingles have no row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate import storage
from curate.dedup.minhash import SCHEME, MinHashSettings, band_keys, signatures
from curate.engine.exchange import write_run
from curate.engine.tasks import FileRef, Task, canonical_json
from curate.pipelines.part_texts import chosen_rows
from curate.pipelines.parts import part_handle, read_batches, read_kept
from curate.pipelines.quarantine import pieces
from curate.pipelines.standing import read_standing
from curate.pipelines.views import concat, edits_column, view_text
from curate.schema import ID, check_schema, id_words, ids_from_words, named_schema

Words = NDArray[np.uint64]

SHAPING: Final = ("ngram", "unit", "permutations", "seed")
"""The settings that shape a signature."""


def word_fields(*names: str) -> list[pa.Field]:
    """Return uint64 fields without nulls."""
    return [pa.field(name, pa.uint64(), nullable=False) for name in names]


BAND_SORT: Final = ("key", "id_hi", "id_lo", "part", "row")
BAND_ROW: Final = pa.schema(word_fields(*BAND_SORT))
MEET_SORT: Final = ("key", "new", "id_hi", "id_lo", "part", "row")
MEET_ROW: Final = pa.schema(word_fields(*MEET_SORT))
"""A band of a document of this run (`new` 1) or of an older one (0): older ones come first."""


class Signed(NamedTuple):
    """Rows of a signature file: `row` int64 [rows], their places in the documents file, ascending; `ids` uint64
    [rows, 2]; `scope` uint64 [rows], equal for documents that may meet; `values` uint32 [rows, permutations]."""

    row: NDArray[np.int64]
    ids: Words
    scope: Words
    values: NDArray[np.uint32]

    def take(self, index: NDArray[Any]) -> Signed:
        """Return some of the rows."""
        return Signed(self.row[index], self.ids[index], self.scope[index], self.values[index])


def settings_of(task: Task) -> MinHashSettings:
    """Return the MinHash settings of a task."""
    return MinHashSettings.model_validate(task.settings["settings"])


def signature_schema(settings: MinHashSettings) -> pa.Schema:
    """Return the schema of a signature file; its metadata says how the signatures are made."""
    made = {name: getattr(settings, name) for name in SHAPING} | {"scheme": SCHEME}
    fields = [
        pa.field("id", ID, nullable=False),
        *word_fields("row", "scope"),
        pa.field("values", pa.list_(pa.field("item", pa.uint32(), nullable=False), settings.permutations)),
    ]
    named = named_schema("signature", fields)
    return named.with_metadata({**named.metadata, b"curate.minhash": canonical_json(made).encode()})


def sign(task: Task) -> None:
    """Write the signatures of the kept documents of one part."""
    settings = settings_of(task)
    views = task.settings["views"]
    keep = read_kept(task, task.input("documents").rows)
    scope = read_standing(task, task.settings).scope[:, 0]
    columns = ["id", "text", *(edits_column(view) for view in views)]
    schema = signature_schema(settings)

    def signed(chosen: pa.RecordBatch) -> pa.RecordBatch:
        task.flows["in"].add(chosen.column("id"))
        task.flows["kept"].add(chosen.column("id"))
        values, valid = signatures(view_text(chosen, views, task.settings["view"]), settings)
        task.stats["without_signature"] += int((~valid).sum())
        rows = chosen.column("row").to_numpy()[valid]
        arrays = [
            ids_from_words(id_words(chosen.column("id"))[valid]),
            pa.array(rows.astype(np.uint64)),
            pa.array(scope[rows]),
            pa.FixedSizeListArray.from_arrays(pa.array(values[valid].reshape(-1)), type=schema.field("values").type),
        ]
        return pa.record_batch(arrays, schema=schema)

    with (
        task.write("signatures", "signatures/{key}-{number}.arrow") as output,
        pa.ipc.new_file(output.path, schema) as writer,
    ):
        for first, batch in read_batches(task, task.input("documents"), columns, keep):
            found = [signed(piece) for piece in pieces(task, chosen_rows(first, batch, keep))]
            if found:
                writer.write_batch(concat(found))
                output.rows += sum(map(len, found))


def read_signatures(uri: str) -> Iterator[Signed]:
    """Yield what a signature file holds, batch by batch. Raises InputError if it is none."""
    with storage.open_input(uri) as stream, pa.ipc.open_file(stream) as file:
        check_schema(file.schema, uri)
        width = file.schema.field("values").type.list_size
        for index in range(file.num_record_batches):
            batch = file.get_batch(index)
            yield Signed(
                batch.column("row").to_numpy().astype(np.int64),
                id_words(batch.column("id")),
                batch.column("scope").to_numpy(),
                batch.column("values").flatten().to_numpy().reshape(-1, width),
            )


def read_signed(task: Task, ref: FileRef, wanted: NDArray[Any]) -> Iterator[Signed]:
    """Yield the rows of a signature file that are `wanted`: bool over the rows of the documents file."""
    for batch in read_signatures(task.uri(ref)):
        task.heartbeat("batch")
        yield batch.take(np.flatnonzero(wanted[batch.row]))


def scatter_bands(task: Task) -> None:
    """Write one row per band for each kept document of one part: of this run, or (in a meeting) of an older one."""
    settings = settings_of(task)
    part = part_handle(task.settings["part"])
    meets = task.settings.get("new")
    keep = read_kept(task, task.settings["rows"])

    def rows() -> Iterator[pa.RecordBatch]:
        for found in read_signed(task, task.input("signatures"), keep):
            task.stats["documents"] += len(found.row)
            keys = band_keys(found.values, settings) ^ found.scope[:, None]
            many = keys.size
            columns: Mapping[str, Words] = {
                "key": keys.reshape(-1),
                "id_hi": np.repeat(found.ids[:, 0], settings.bands),
                "id_lo": np.repeat(found.ids[:, 1], settings.bands),
                "part": np.full(many, part, np.uint64),
                "row": np.repeat(found.row, settings.bands).astype(np.uint64),
                "new": np.full(many, meets or 0, np.uint64),
            }
            yield pa.record_batch([pa.array(columns[name]) for name in schema.names], schema=schema)

    schema, sort = (BAND_ROW, BAND_SORT) if meets is None else (MEET_ROW, MEET_SORT)
    with task.write("run", "dedup/{key}-{number}.run") as output:
        output.rows = write_run(output.path, rows(), schema, sort)
