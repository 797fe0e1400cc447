"""What is compared of documents: sets of shingles, stored once by *sign*, sent to the stars that ask for them.

A file of sets holds a row for each signed document of a part, beside its signature file. Sets are small next to what it
takes to make them: a text is read and cut into shingles once, however many rounds of comparisons ask for it. A part
sends its rows in the order of the stars, each copied once from the mapped file to the run file.

With ``verify = "estimated"``, and for older runs, the signatures themselves are sent instead.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate import storage
from curate.engine.exchange import distinct_rows, merge, sort_order, write_merged
from curate.engine.tasks import FileRef, Task
from curate.errors import InvariantError
from curate.pipelines.parts import part_handle
from curate.pipelines.signatures import word_fields
from curate.pipelines.standing import read_standing
from curate.schema import check_schema, id_words
from curate.text.buffers import text_buffers
from curate.text.compiled import Bytes, Ints
from curate.text.gather import gather_bytes

Columns = dict[str, Any]

REQUEST_SORT: Final = ("part", "row", "star_hi", "star_lo", "role")
REQUEST_ROW: Final = pa.schema(word_fields(*REQUEST_SORT))
ROOT, MEMBER = 0, 1
SET_SORT: Final = (
    "star_hi", "star_lo", "scope", "role", "priority", "quality", "id_hi", "id_lo", "part", "row",
)  # fmt: skip
SET_ROW: Final = pa.schema([*word_fields(*SET_SORT), pa.field("set", pa.large_binary(), nullable=False)])
"""`set`: uint32 hashes as their little-endian bytes, which Arrow moves ten times faster than lists of numbers."""
SLICE_BYTES: Final = 1 << 20
MAPPED_BYTES: Final = 16 << 20
"""Bytes of a mapped file that may stay in this process's memory; the system keeps them in its own."""


class Stored(NamedTuple):
    """Rows of a file of sets or signatures: `row` int64 [rows], ascending; `ids` uint64 [rows, 2]; `scope` uint64
    [rows]; what is compared of row i is mapped[starts[i]:starts[i] + sizes[i]], both int64 [rows]."""

    row: Ints
    ids: NDArray[np.uint64]
    scope: NDArray[np.uint64]
    starts: Ints
    sizes: Ints
    mapped: _Mapped


class _Mapped:
    """The bytes of a file: mapped if it is local, read if it is not."""

    def __init__(self, uri: str) -> None:
        self._map: mmap.mmap | None = None
        self._touched = 0
        if storage.is_local(uri):
            with open(storage.local_path(uri), "rb") as stream:
                self._map = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        held = storage.read_bytes(uri) if self._map is None else self._map
        self.bytes: Bytes = np.frombuffer(held, dtype=np.uint8)

    def take(self, starts: Ints, sizes: Ints) -> pa.Array:
        """Return some byte strings, large_binary [rows]."""
        taken = gather_bytes(self.bytes, starts, sizes)
        self.touched(int(sizes.sum()))
        return taken

    def touched(self, size: int) -> None:
        """Take note that so many bytes were looked at, and give them back when they are many."""
        self._touched += size
        if self._map is not None and self._touched > MAPPED_BYTES:
            self._map.madvise(mmap.MADV_DONTNEED)
            self._touched = 0

    def start_of(self, part: NDArray[Any]) -> int:
        """Return where an array lies that Arrow found in these bytes."""
        return int(part.ctypes.data) - int(self.bytes.ctypes.data)


def send_sets(task: Task) -> None:
    """Send the shingles or signatures of this part's documents to the stars that ask for them."""
    part = part_handle(task.settings["part"])
    # one pair can be a candidate in many bands
    asked = distinct_rows(merge([task.uri(ref) for ref in task.inputs("runs")], part, part + 1))
    found = pa.Table.from_batches(asked, schema=REQUEST_ROW)
    request = {name: found.column(name).to_numpy() for name in REQUEST_SORT}
    with task.write("run", "dedup/{key}-{number}.run") as output:
        batches = _sorted_sets(task, request) if len(found) else iter(())
        output.rows = write_merged(output.path, batches, SET_ROW, SET_SORT)


def _sorted_sets(task: Task, request: Columns) -> Iterator[pa.RecordBatch]:
    """Yield what is asked for as SET rows in their order, about `SLICE_BYTES` at a time."""
    (ref,) = task.inputs("sets") or task.inputs("signatures")
    stored = _read_stored(task, ref, "set" if task.inputs("sets") else "values")
    at = np.searchsorted(stored.row, request["row"].astype(np.int64))
    if at.max() >= len(stored.row) or (stored.row[at] != request["row"]).any():
        raise InvariantError(f"{task.spec.unit}: documents are asked for that were not signed; please report it")
    columns = _standing_columns(task, stored.row[at]) | {
        "scope": stored.scope[at],
        "id_hi": stored.ids[at, 0],
        "id_lo": stored.ids[at, 1],
    }
    columns |= {name: request[name] for name in REQUEST_SORT}
    order = sort_order([columns[name] for name in SET_SORT])
    slices = np.cumsum(stored.sizes[at[order]] + 8 * len(SET_SORT)) // SLICE_BYTES
    for rows in np.split(order, np.flatnonzero(slices[1:] != slices[:-1]) + 1):
        task.heartbeat("batch")
        sets = stored.mapped.take(stored.starts[at[rows]], stored.sizes[at[rows]])
        yield pa.record_batch([*(pa.array(columns[name][rows]) for name in SET_SORT), sets], schema=SET_ROW)


def _standing_columns(task: Task, rows: Ints) -> Columns:
    """Return what decides which of these documents is better; nothing does between runs."""
    if not task.inputs("signals"):
        return dict.fromkeys(("priority", "quality"), np.zeros(len(rows), dtype=np.uint64))
    standing = read_standing(task, task.settings)
    return {"priority": standing.priority[rows], "quality": standing.quality[rows]}


def _read_stored(task: Task, ref: FileRef, column: str) -> Stored:
    """Read a file of sets (`column` ``set``) or of signatures (``values``), but for what is compared."""
    mapped = _Mapped(task.uri(ref))
    found = []
    with pa.ipc.open_file(pa.py_buffer(mapped.bytes)) as file:
        check_schema(file.schema, ref.path)
        for index in range(file.num_record_batches):
            batch = file.get_batch(index)
            values = batch.column(column)
            if pa.types.is_fixed_size_list(values.type):
                data = values.flatten().to_numpy().view(np.uint8)
                bounds = np.arange(len(values) + 1, dtype=np.int64) * (4 * values.type.list_size)
            else:
                data, bounds = text_buffers(values)
            row = batch.column("row").to_numpy().astype(np.int64)
            ids, scope = id_words(batch.column("id")), batch.column("scope").to_numpy()
            found.append((row, ids, scope.copy(), mapped.start_of(data) + bounds[:-1], np.diff(bounds)))
            mapped.touched(batch.nbytes)  # the system brings in all of a batch with the columns that are read
    row, ids, scope, starts, sizes = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return Stored(row, ids, scope, starts, sizes, mapped)
