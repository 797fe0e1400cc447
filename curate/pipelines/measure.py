"""Measure views that come after a global step: the view that its cuts make, and those of the cleaners after it.

Only documents that are still kept are measured; the others have null signals and no edits. Signals go to a file of
their own beside those of collect, row for row, and so do the edits of cleaners.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curate.engine.tasks import Task
from curate.filters.measures import MEASURES
from curate.pipelines.part_texts import read_texts
from curate.pipelines.parts import asset_paths, read_parquet, read_signals, write_groups
from curate.pipelines.quarantine import lost_in
from curate.pipelines.views import (
    PARQUET,
    View,
    edits_fields,
    flat,
    measure_views,
    signal_fields,
)
from curate.schema import EDITS, VERDICT, named_schema


def measure_part(task: Task) -> None:
    """Measure the kept documents of one part on the views of one segment."""
    segment = tuple(View.model_validate(view) for view in task.settings["segment"])
    verdicts = read_parquet(task, task.input("verdicts"), ["id", "keep"])
    ids, keep = verdicts.column("id").combine_chunks(), verdicts.column("keep").to_numpy()
    keep = keep & lost_in(task, ids).is_null().to_numpy(zero_copy_only=False)
    fields = [*edits_fields(segment), *signal_fields(segment)]
    rows, batches = [np.zeros(0, dtype=np.int64)], [pa.RecordBatch.from_pylist([], schema=pa.schema(fields))]
    for numbers, measured in _measured(task, segment, keep):
        rows.append(numbers)
        batches.append(measured)
    place = np.full(len(ids), -1, dtype=np.int64)
    place[np.concatenate(rows)] = np.arange(sum(map(len, rows)))
    table = pa.Table.from_batches(batches).combine_chunks().take(pa.array(place, mask=place < 0))
    edits = [VERDICT.field("id"), *edits_fields(segment)]
    if len(edits) > 1:
        nothing = pa.scalar([], EDITS)
        columns = [pc.coalesce(table.column(field.name).combine_chunks(), nothing) for field in edits[1:]]
        with task.write("edits", "edits/{key}-{number}.parquet") as output:
            cuts = pa.table([ids, *columns], schema=named_schema("edits", edits))
            write_groups(task.uri(task.input("documents")), cuts, output.path)
            output.rows = len(ids)
    with task.write("measured", "signals/{key}-{number}.parquet") as output:
        signals = named_schema("signals", [VERDICT.field("id"), *signal_fields(segment)])
        names = signals.names[1:]
        pq.write_table(pa.table([ids, *(table.column(name) for name in names)], schema=signals), output.path, **PARQUET)
        output.rows = len(ids)
    task.flows["in"].add(ids.filter(pa.array(keep)))
    task.flows["kept"].add(ids.filter(pa.array(keep)))


def _measured(
    task: Task, segment: tuple[View, ...], keep: NDArray[np.bool_]
) -> Iterator[tuple[NDArray[np.int64], pa.RecordBatch]]:
    """Yield (row numbers, edits and signals) of kept documents."""
    assets = asset_paths(task)
    given = [signal for view in segment for name in view.measures for signal in MEASURES[name].given]
    extracted = read_signals(task, list(dict.fromkeys(given))).combine_chunks()
    for numbers, _, text in read_texts(task, ["id"], keep):
        known = {name: flat(extracted.column(name)).take(pa.array(numbers)) for name in extracted.column_names}
        yield numbers, measure_views(text, segment, assets, known)
