"""A part: one documents file with its signals, verdicts and tokens, row for row; how stages read and write one.

A part's handle, a hash of its content-addressed name, routes rows of an exchange back to it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
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
    """Return id, source, language (`UNKNOWN` where it was not measured) and bytes (of the extracted text) of the
    documents of a part, from its signals."""
    ref = task.input("signals")
    with storage.open_input(task.uri(ref)) as stream:
        file = parquet_file(stream, ref)
        measured = LANGUAGE in file.schema_arrow.names
        signals = file.read(columns=["id", "source", "text.bytes", *([LANGUAGE] if measured else [])])
    language = signals.column(LANGUAGE).fill_null(UNKNOWN) if measured else pa.array([UNKNOWN] * len(signals))
    columns = [signals.column("id"), signals.column("source"), language, signals.column("text.bytes")]
    return pa.table(columns, names=["id", "source", "language", "bytes"])


def read_batches(task: Task, ref: FileRef, columns: Sequence[str]) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield (number of the first row, batch) of a Parquet file, one row group at a time."""
    row = 0
    with storage.open_input(task.uri(ref)) as stream:
        file = parquet_file(stream, ref)
        for group in range(file.num_row_groups):
            for batch in file.read_row_group(group, columns=list(columns)).to_batches():
                yield row, batch
                row += len(batch)


def parquet_file(stream: pa.NativeFile, ref: FileRef) -> pq.ParquetFile:
    """Return a Parquet file of a run folder; InputError if it is of a version that this one does not read."""
    file = pq.ParquetFile(stream)
    check_schema(file.schema_arrow, ref.path)
    return file


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
