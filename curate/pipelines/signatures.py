"""Signature files: the MinHash signatures of a part's documents, and the bands that are cut from them.

A file holds what any later question about near-duplicates needs: bands and rows of any shape, comparisons, runs that
name this one in ``against``, and `curate dedup lookup`. It says in its metadata how its signatures were made, so that
one row loads as a `datasketch.MinHash` (`curate.dedup.minhash.to_datasketch`). Documents without shingles have no row.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate import storage
from curate.dedup.minhash import SCHEME, MinHashSettings, band_keys, sign_sets
from curate.engine.exchange import CHUNK_BYTES, write_runs
from curate.engine.order_kernel import stable_order
from curate.engine.tasks import FileRef, Task, canonical_json
from curate.pipelines.part_texts import chosen_rows
from curate.pipelines.parts import part_handle, read_batches, read_kept
from curate.pipelines.quarantine import pieces
from curate.pipelines.standing import read_standing
from curate.pipelines.views import concat, edits_column, view_text
from curate.schema import ID, check_schema, id_words, ids_from_words, named_schema
from curate.text.buffers import text_buffers
from curate.text.compiled import Hashes, Ints

Words = NDArray[np.uint64]

SHAPING: Final = ("ngram", "unit", "permutations", "seed")
"""The settings that shape a signature."""


def word_fields(*names: str) -> list[pa.Field]:
    """Return uint64 fields without nulls."""
    return [pa.field(name, pa.uint64(), nullable=False) for name in names]


BAND_SORT: Final = ("key", "id_hi", "part", "row")
BAND_ROW: Final = pa.schema(word_fields(*BAND_SORT))
MEET_SORT: Final = ("key", "new", "id_hi", "part", "row")
MEET_ROW: Final = pa.schema(word_fields(*MEET_SORT))
"""A band of a document of this run (`new` 1) or of an older one (0): older ones come first."""


KEYS_AT_A_TIME: Final = 1 << 19
"""Keys of bands that are sorted in memory, 32 bytes each."""


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


SET_FILE: Final = named_schema(
    "shingles",
    [
        pa.field("id", ID, nullable=False),
        *word_fields("row", "scope"),
        pa.field("set", pa.large_binary(), nullable=False),  # uint32 hashes, ascending, little-endian
    ],
)
"""A file of sets, beside a signature file and with its rows: the shingles that the signatures are of."""
SIGNATURES: Final = "signatures/{key}-{number}.arrow"
SETS: Final = "dedup/{key}-{number}.sets"


def sign(task: Task) -> None:
    """Write the signatures of the kept documents of one part, and (with ``keep_sets``) their shingles."""
    settings = settings_of(task)
    keep_sets = bool(task.settings["keep_sets"])
    views = task.settings["views"]
    keep = read_kept(task, task.input("documents").rows)
    scope = read_standing(task, task.settings).scope[:, 0]
    columns = ["id", "text", *(edits_column(view) for view in views)]
    schema = signature_schema(settings)

    def signed(chosen: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        task.flows["in"].add(chosen.column("id"))
        task.flows["kept"].add(chosen.column("id"))
        found = sign_sets(view_text(chosen, views, task.settings["view"]), settings, keep_sets=keep_sets)
        values, valid = found.signatures
        task.stats["without_signature"] += int((~valid).sum())
        rows = chosen.column("row").to_numpy()[valid]
        ids = ids_from_words(id_words(chosen.column("id"))[valid])
        places = [ids, pa.array(rows.astype(np.uint64)), pa.array(scope[rows])]
        lists = pa.FixedSizeListArray.from_arrays(pa.array(values[valid].reshape(-1)), type=schema.field("values").type)
        # sets of rows that are not valid are empty: the next one begins where they do
        bounds = np.append(found.shingles.bounds[:-1][valid], found.shingles.bounds[-1])
        sets = pack_sets(found.shingles.hashes, bounds)
        return pa.record_batch([*places, lists], schema=schema), pa.record_batch([*places, sets], schema=SET_FILE)

    with ExitStack() as stack:
        files = []
        for name, pattern, kind in (("signatures", SIGNATURES, schema), ("sets", SETS, SET_FILE))[: 1 + keep_sets]:
            output = stack.enter_context(task.write(name, pattern))
            files.append((output, stack.enter_context(pa.ipc.new_file(output.path, kind))))
        for first, batch in read_batches(task, task.input("documents"), columns, keep):
            found = [signed(piece) for piece in pieces(task, chosen_rows(first, batch, keep))]
            for (output, writer), batches in zip(files, zip(*found, strict=True), strict=False):
                writer.write_batch(concat(batches))
                output.rows += sum(map(len, batches))


def pack_sets(hashes: Hashes, bounds: Ints) -> pa.Array:
    """Return hashes[bounds[i]:bounds[i + 1]] of each row i as a column ``set``, large_binary [rows]."""
    buffers = [None, pa.py_buffer(4 * bounds), pa.py_buffer(np.ascontiguousarray(hashes, dtype="<u4"))]
    return pa.Array.from_buffers(pa.large_binary(), len(bounds) - 1, buffers)


def unpack_sets(sets: pa.Array) -> tuple[Hashes, Ints]:
    """Return the hashes of all rows of a column ``set``, and their bounds, int64 [rows + 1]."""
    data, bounds = text_buffers(sets)
    hashes = data[bounds[0] : bounds[-1]].view("<u4")
    hashes.setflags(write=False)  # Arrow gives both kinds, and kernels are compiled for each
    return hashes, (bounds - bounds[0]) // 4


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
        index = np.flatnonzero(wanted[batch.row])
        yield batch if len(index) == len(batch.row) else batch.take(index)


class Banded(NamedTuple):
    """Documents and the keys of their bands: `keys` uint64 [rows, bands], `ids` and `row` uint64 [rows]."""

    keys: Words
    ids: Words
    row: Words


def scatter_bands(task: Task) -> None:
    """Write one row per band for each kept document of one part: of this run, or (in a meeting) of an older one."""
    settings = settings_of(task)
    meets = task.settings.get("new")
    schema, sort = (BAND_ROW, BAND_SORT) if meets is None else (MEET_ROW, MEET_SORT)
    constant = {"part": part_handle(task.settings["part"]), "new": meets}
    keep = read_kept(task, task.settings["rows"])
    slice_rows = CHUNK_BYTES // (8 * len(schema))

    def banded() -> Iterator[Banded]:
        for found in read_signed(task, task.input("signatures"), keep):
            task.stats["documents"] += len(found.row)
            keys = band_keys(found.values, settings) ^ found.scope[:, None]
            yield Banded(keys, found.ids[:, 0], found.row.astype(np.uint64))

    def in_order(chunk: Banded) -> Iterator[pa.RecordBatch]:
        # documents in their order, then keys of which equal ones stay in theirs
        documents, ids = stable_order(chunk.ids)
        order, keys = stable_order(chunk.keys[documents].reshape(-1))
        order //= settings.bands
        row = chunk.row[documents]
        for start in range(0, len(order), slice_rows):
            chosen = order[start : start + slice_rows]
            columns = {"key": keys[start : start + slice_rows], "id_hi": ids.take(chosen), "row": row.take(chosen)}
            columns |= {name: np.full(len(chosen), constant[name], np.uint64) for name in sort if name in constant}
            yield pa.record_batch([pa.array(columns[name]) for name in sort], schema=schema)

    with task.write("run", "dedup/{key}-{number}.run") as output:
        chunks = _chunks(banded(), KEYS_AT_A_TIME)
        output.rows = write_runs(output.path, map(in_order, chunks), schema, sort)


def _chunks(batches: Iterator[Banded], most_keys: int) -> Iterator[Banded]:
    """Join batches until they have so many keys."""
    waiting: list[Banded] = []
    for batch in batches:
        waiting.append(batch)
        if sum(one.keys.size for one in waiting) >= most_keys:
            yield Banded(*map(np.concatenate, zip(*waiting, strict=True)))
            waiting.clear()
    if waiting:
        yield Banded(*map(np.concatenate, zip(*waiting, strict=True)))
