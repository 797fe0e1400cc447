"""The texts of a part in a view, piece by piece, for stages that need nothing else of a document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.engine.tasks import Task
from curate.pipelines.parts import read_batches, stored_batches
from curate.pipelines.quarantine import pieces
from curate.pipelines.views import EXTRACTED, edits_column, view_text

Texts = tuple[NDArray[np.int64], pa.RecordBatch, pa.Array]


def read_texts(task: Task, columns: Sequence[str], wanted: NDArray[np.bool_] | None = None) -> Iterator[Texts]:
    """Yield (row numbers, batch of `columns`, text) of the `wanted` rows (bool [rows], all if None) of the part of a
    task, in the last of the `views` of its settings. Documents in quarantine are left out; see `pieces`."""
    views = task.settings["views"]
    names = _names(columns, views)
    for first, batch in read_batches(task, task.input("documents"), names, wanted):
        for piece in pieces(task, chosen_rows(first, batch, wanted)):
            yield _texts(piece, columns, views)


def stored_texts(
    documents: str,
    edits: Mapping[str, str],
    views: Sequence[str],
    columns: Sequence[str],
    wanted: NDArray[np.bool_] | None = None,
) -> Iterator[Texts]:
    """Yield the same of a documents file, outside any task. `edits`: the files that hold the edits of views which came
    after collect, by view."""
    beside = {edits_column(view): uri for view, uri in edits.items()}
    for first, batch in stored_batches(documents, beside, _names(columns, views), wanted):
        chosen = chosen_rows(first, batch, wanted)
        if len(chosen):
            yield _texts(chosen, columns, views)


def _names(columns: Sequence[str], views: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(("id", *columns, "text", *map(edits_column, views))))


def chosen_rows(first: int, batch: pa.RecordBatch, wanted: NDArray[np.bool_] | None) -> pa.RecordBatch:
    """Return the wanted rows with their numbers in the part as a column ``row``."""
    rows = np.arange(first, first + len(batch))
    if wanted is not None:
        rows = rows[wanted[rows]]
    chosen = batch if len(rows) == len(batch) else batch.take(pa.array(rows - first))
    return chosen.append_column("row", pa.array(rows))


def _texts(batch: pa.RecordBatch, columns: Sequence[str], views: Sequence[str]) -> Texts:
    text = view_text(batch, views, views[-1] if views else EXTRACTED)
    return batch.column("row").to_numpy(), batch.select(list(columns)), text
