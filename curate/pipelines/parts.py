"""A part: one documents file with its signals, verdicts and tokens, row for row; how stages read and write one.

A part's handle, a hash of its content-addressed name, routes rows of an exchange back to it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash
from numpy.typing import NDArray

from curate import storage
from curate.engine.tasks import FileRef, Task
from curate.errors import AssetError
from curate.pipelines.views import PARQUET
from curate.schema import VERDICT, check_schema

LANGUAGE: Final = "language.code"
UNKNOWN: Final = "unknown"
"""What documents are counted under whose language was not measured."""
SLICE_BYTES: Final = 2 << 20
"""Bytes of a row group that are decoded at a time: what stages hold of a text and make of it stays in the cache."""


def part_handle(documents_path: str) -> int:
    """Return the uint64 that names a part within one run."""
    return xxhash.xxh3_64_intdigest(documents_path.encode())


def local_path(task: Task, refs: Sequence[FileRef]) -> str:
    """Return the local path of a tokenizer: its one file, or the folder of its files. Raises AssetError if one of them
    is no longer what it was when the run began."""
    folder = task.local(refs)
    for ref in refs:
        file = os.path.join(folder, os.path.basename(ref.path))
        # an id of a source is its size and digest, that of an output of the run its digest
        if storage.content_id(file, full=True).rpartition("-")[2] != ref.id.rpartition("-")[2]:
            raise AssetError(f"{file}: the tokenizer has changed since the run began; put it back, or start again")
    return folder if len(refs) > 1 else os.path.join(folder, os.path.basename(refs[0].path))


def read_parquet(task: Task, ref: FileRef, columns: Sequence[str] | None = None) -> pa.Table:
    """Return columns of a Parquet file of the run."""
    with storage.open_input(task.uri(ref)) as stream:
        return parquet_file(stream, ref).read(columns=list(columns) if columns is not None else None)


def read_groups(task: Task) -> pa.Table:
    """Return id, source, language (on the last view on which it was measured, else `UNKNOWN`) and bytes (of the
    extracted text) of the documents of a part, from its signals."""
    signals = read_parquet(task, task.input("signals"), ["id", "source", "text.bytes"])
    language = pa.nulls(len(signals), pa.string())
    for ref in (task.input("signals"), *task.inputs("measured")):
        with storage.open_input(task.uri(ref)) as stream:
            file = parquet_file(stream, ref)
            names = [name for name in file.schema_arrow.names if name.partition("@")[0] == LANGUAGE]
            for column in file.read(columns=names).columns:
                language = pc.coalesce(column.combine_chunks(), language)
    columns = [
        signals.column("id"),
        signals.column("source"),
        language.fill_null(UNKNOWN),
        signals.column("text.bytes"),
    ]
    return pa.table(columns, names=["id", "source", "language", "bytes"])


def read_signals(task: Task, columns: Sequence[str]) -> pa.Table:
    """Return columns of the signals of a part: of the file beside its documents, or of one measured later."""
    found: dict[str, pa.ChunkedArray] = {}
    for ref in (task.input("signals"), *task.inputs("measured")):
        with storage.open_input(task.uri(ref)) as stream:
            file = parquet_file(stream, ref)
            here = [name for name in columns if name in file.schema_arrow.names and name not in found]
            found |= dict(zip(here, file.read(columns=here).columns, strict=True))
    return pa.table({name: found[name] for name in columns if name in found})


def read_batches(
    task: Task, ref: FileRef, columns: Sequence[str], wanted: NDArray[np.bool_] | None = None
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield (number of the first row, batch) of a Parquet file, in slices of its row groups, without row groups that
    have no `wanted` row (bool [rows]). Edits of views that came after collect are read from the file of their own that
    is an input of the task by the name of their column, in the order of its documents."""
    beside = {name: task.inputs(name) for name in columns if task.inputs(name)}
    place = task.inputs("documents").index(ref) if beside else 0
    edits = {name: task.uri(refs[place]) for name, refs in beside.items()}
    yield from stored_batches(task.uri(ref), edits, columns, wanted)


def stored_batches(
    uri: str, edits: Mapping[str, str], columns: Sequence[str], wanted: NDArray[np.bool_] | None = None
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield (number of the first row, batch) of columns of a Parquet file, `SLICE_BYTES` or a row at a time. `edits`
    says in which other files some of them are, row group by row group. Row groups without a `wanted` row (bool [rows])
    are not read."""
    first = 0
    own = [name for name in columns if name not in edits]
    with ExitStack() as stack:
        file, *others = (
            checked_file(stack.enter_context(storage.open_input(place)), place) for place in (uri, *edits.values())
        )
        for group in range(file.num_row_groups):
            metadata = file.metadata.row_group(group)
            if wanted is not None and not wanted[first : first + metadata.num_rows].any():
                first += metadata.num_rows
                continue
            beside = {
                name: other.read_row_group(group, columns=[name]).column(0).combine_chunks()
                for name, other in zip(edits, others, strict=True)
            }
            done = 0
            slices = file.iter_batches(_slice_rows(metadata, own), row_groups=[group], columns=own, use_threads=False)
            for batch in slices:
                for name, column in beside.items():
                    batch = batch.append_column(name, column.slice(done, len(batch)))
                yield first + done, batch.select(list(columns))
                done += len(batch)
            first += metadata.num_rows


def _slice_rows(group: pq.RowGroupMetaData, columns: Sequence[str]) -> int:
    """Return how many rows of a row group are about `SLICE_BYTES` of some of its columns."""
    chunks = [group.column(index) for index in range(group.num_columns)]
    size = sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema.partition(".")[0] in columns)
    return max(1, group.num_rows * SLICE_BYTES // max(1, size))


def parquet_file(stream: pa.NativeFile, ref: FileRef) -> pq.ParquetFile:
    """Return a Parquet file of a run folder; InputError if it is of a version that this one does not read."""
    return checked_file(stream, ref.path)


def checked_file(stream: pa.NativeFile, where: str) -> pq.ParquetFile:
    """Return a Parquet file of a run folder; see `parquet_file`."""
    file = pq.ParquetFile(stream)
    check_schema(file.schema_arrow, where)
    return file


def write_groups(documents: str, table: pa.Table, path: str) -> None:
    """Write a table, row for row beside a documents file, to a Parquet file with the same row groups."""
    with storage.open_input(documents) as stream:
        metadata = pq.ParquetFile(stream).metadata
    first = 0
    with pq.ParquetWriter(path, table.schema, **PARQUET) as writer:
        for group in range(metadata.num_row_groups):
            rows = metadata.row_group(group).num_rows
            writer.write_table(table.slice(first, rows), row_group_size=rows)
            first += rows


def asset_paths(task: Task) -> dict[str, str]:
    """Return the local path of each asset that the plan gave."""
    paths = {}
    for name, refs in task.spec.inputs.items():
        if name.startswith("asset:"):
            paths[name.removeprefix("asset:")] = os.path.join(task.local(refs), os.path.basename(refs[0].path))
    return paths


def read_tokens(task: Task, ref: FileRef) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield (number of the first row, batch) of a tokens file."""
    row = 0
    with storage.open_input(task.uri(ref)) as stream:
        file = pa.ipc.open_file(stream)
        for index in range(file.num_record_batches):
            batch = file.get_batch(index)
            yield row, batch
            row += len(batch)


def read_verdicts(task: Task, ids: pa.ChunkedArray) -> pa.Table:
    """Return the verdicts of a part so far (schema VERDICT); everything is kept before the first step."""
    if task.inputs("verdicts"):
        return read_parquet(task, task.input("verdicts"))
    rows = len(ids)
    empty = pa.ListArray.from_arrays(pa.array(np.zeros(rows + 1, np.int32)), pa.array([], pa.string()))
    columns = {"id": ids, "keep": pa.array(np.ones(rows, dtype=bool)), "failed": empty, "marks": empty}
    fields = [columns.get(field.name, pa.nulls(rows, field.type)) for field in VERDICT]
    return pa.table(fields, schema=VERDICT)


def read_kept(task: Task, rows: int) -> NDArray[np.bool_]:
    """Return which documents of a part are kept so far, bool [rows]."""
    if not task.inputs("verdicts"):
        return np.ones(rows, dtype=bool)
    keep: NDArray[np.bool_] = read_parquet(task, task.input("verdicts"), ["keep"]).column("keep").to_numpy()
    return keep


def write_verdicts(task: Task, verdicts: pa.Table, before: pa.Array) -> None:
    """Write verdicts and count what this step did to the documents that were kept `before` (bool [rows])."""
    ids = verdicts.column("id").combine_chunks()
    keep = verdicts.column("keep").combine_chunks()
    dropped = pc.and_(before, pc.invert(keep))
    task.flows["in"].add(ids.filter(before))
    task.flows["kept"].add(ids.filter(keep))
    task.flows["dropped"].add(ids.filter(dropped))
    with task.write("verdicts", "verdicts/{key}-{number}.parquet") as output:
        pq.write_table(verdicts, output.path, **PARQUET)
        output.rows = len(verdicts)
