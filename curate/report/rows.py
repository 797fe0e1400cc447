"""Reading what a run folder holds for people to look at: columns of one file, and single documents of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from curate import storage
from curate.engine.tasks import FileRef
from curate.errors import RecipeError
from curate.pipelines.parts import parquet_file
from curate.report.run_folder import RunFolder
from curate.report.terminal import place_text

TEXT_CHARACTERS = 2400
"""How much of the beginning of a document is read to be shown; what is shown of it is shorter."""


def open_file(folder: RunFolder, ref: FileRef) -> pa.NativeFile:
    """Open a file of a run. Raises RecipeError if it is gone."""
    try:
        return storage.open_input(storage.join(folder.uri, ref.path))
    except FileNotFoundError:
        raise RecipeError(
            f"{place_text(folder.uri)}/{ref.path}: is gone; run the recipe again, it makes what is missing"
        ) from None


def read_columns(folder: RunFolder, ref: FileRef, columns: Sequence[str]) -> pa.Table:
    """Return columns of a Parquet file of a run."""
    with open_file(folder, ref) as stream:
        return parquet_file(stream, ref).read(columns=list(columns))


def read_rows(
    folder: RunFolder, ref: FileRef, rows: Sequence[int], columns: Sequence[str]
) -> Iterator[tuple[list[int], pa.Table]]:
    """Yield (row numbers, these rows) of a documents file, `rows` ascending; only row groups that hold one are read,
    one at a time."""
    with open_file(folder, ref) as stream:
        file = parquet_file(stream, ref)
        first = 0
        for group in range(file.num_row_groups):
            end = first + file.metadata.row_group(group).num_rows
            here = [row for row in rows if first <= row < end]
            if here:
                table = file.read_row_group(group, columns=list(columns))
                yield here, table.take(pa.array([row - first for row in here]))
            first = end


def with_beginnings(table: pa.Table) -> pa.Table:
    """Return documents with no more than `TEXT_CHARACTERS` of their text."""
    # a document may be as large as a gigabyte: cut before it becomes a Python string
    text = pc.utf8_slice_codeunits(table.column("text"), 0, TEXT_CHARACTERS)
    return table.set_column(table.schema.get_field_index("text"), "text", text)
