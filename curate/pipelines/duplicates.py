"""The stages of a dedup step: scatter keys, join run files, find groups, bring the outcome back to each part."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.dedup import DEDUPS
from curate.dedup.groups import ORDER, resolve
from curate.engine.exchange import merge, write_merged, write_run
from curate.engine.tasks import Task, check_rows
from curate.pipelines.guards import count_step
from curate.pipelines.parts import (
    part_handle,
    read_batches,
    read_groups,
    read_kept,
    read_parquet,
    read_verdicts,
    write_verdicts,
)
from curate.pipelines.quarantine import pieces
from curate.pipelines.standing import read_standing
from curate.pipelines.views import TEXT_DIGEST, concat, edits_column, view_text
from curate.schema import VERDICT, id_words, ids_from_words

DUPLICATE_SORT = (*ORDER, "digest", "part", "row")
DUPLICATE_ROW = pa.schema([pa.field(name, pa.uint64(), nullable=False) for name in DUPLICATE_SORT])
CHANGE_SORT = ("part", "row")
CHANGE_ROW = pa.schema(
    [
        pa.field("part", pa.uint64(), nullable=False),
        pa.field("row", pa.uint64(), nullable=False),
        pa.field("drop", pa.bool_(), nullable=False),
        pa.field("kept_hi", pa.uint64(), nullable=False),
        pa.field("kept_lo", pa.uint64(), nullable=False),
        pa.field("cluster_size", pa.int64(), nullable=False),
        pa.field("similarity", pa.float64(), nullable=False),
    ]
)


def scatter_duplicates(task: Task) -> None:
    """Write the sorted keys of one part's kept documents for a dedup step."""
    dedup = DEDUPS[task.settings["kind"]]
    settings = dedup.settings.model_validate(task.settings["settings"])
    part = part_handle(task.settings["part"])
    digests = read_parquet(task, task.input("signals"), [TEXT_DIGEST]).column(TEXT_DIGEST).to_numpy()
    places = read_standing(task, task.settings)
    keep = read_kept(task, len(digests))
    views = task.settings["views"]
    columns = ["id", "url", "date", "source"]
    if dedup.needs_text:
        columns += ["text", *(edits_column(view) for view in views)]

    def rows() -> Iterator[pa.RecordBatch]:
        for first, batch in read_batches(task, task.input("documents"), columns):
            kept = keep[first : first + len(batch)]
            if not kept.any():
                continue
            numbers = np.flatnonzero(kept)
            chosen = batch.take(pa.array(numbers)).append_column("row", pa.array((first + numbers).astype(np.uint64)))
            found = [keyed(piece) for piece in pieces(task, chosen)]
            if found:
                yield concat(found)

    def keyed(chosen: pa.RecordBatch) -> pa.RecordBatch:
        text = view_text(chosen, views, task.settings["view"]) if dedup.needs_text else None
        assert dedup.keys is not None
        keys = dedup.keys(text, pa.Table.from_batches([chosen]), settings, task.settings["priorities"])
        ids = id_words(chosen.column("id"))
        rows = chosen.column("row").to_numpy()
        task.flows["in"].add(chosen.column("id"))
        task.flows["kept"].add(chosen.column("id"))
        task.stats["without_key"] += int((~keys.valid).sum())
        columns_out = [
            keys.key[:, 0] ^ places.scope[rows, 0],
            keys.key[:, 1] ^ places.scope[rows, 1],
            keys.rank,
            places.quality[rows],
            ids[:, 0],
            ids[:, 1],
            digests[rows].view(np.uint64),
            np.full(len(rows), part, np.uint64),
            rows,
        ]
        return pa.record_batch([pa.array(column[keys.valid]) for column in columns_out], schema=DUPLICATE_ROW)

    with task.write("run", "dedup/{key}-{number}.run") as output:
        output.rows = write_run(output.path, rows(), DUPLICATE_ROW, DUPLICATE_SORT)


def merge_runs(task: Task) -> None:
    """Join several run files into one: the merge level of an exchange with many files or small segments."""
    refs = task.inputs("runs")
    batches = merge([task.uri(ref) for ref in refs])
    first = next(batches)

    def all_batches() -> Iterator[pa.RecordBatch]:
        yield first
        for batch in batches:
            task.heartbeat("batch")
            yield batch

    with task.write("run", "dedup/{key}-{number}.run") as output:
        output.rows = write_merged(output.path, all_batches(), first.schema, task.settings["sort"])
        check_rows("merge", sum(ref.rows for ref in refs), output.rows)


def _columns(batch: pa.RecordBatch) -> dict[str, NDArray[np.uint64]]:
    return {name: batch.column(name).to_numpy() for name in batch.schema.names}


def reduce_duplicates(task: Task) -> None:
    """Find the groups of one key range and write, for each member of a group of two or more, what becomes of it."""
    low, high = (int(bound) for bound in task.settings["range"])

    def chunks() -> Iterator[dict[str, NDArray[np.uint64]]]:
        for batch in merge([task.uri(ref) for ref in task.inputs("runs")], low, high):
            task.heartbeat("batch")
            task.stats["rows"] += len(batch)
            yield _columns(batch)

    def changes() -> Iterator[pa.RecordBatch]:
        for found in resolve(chunks()):
            told = found["drop"] | (found["size"] > 1)
            task.stats["duplicates"] += int(found["drop"].sum())
            names = ("part", "row", "drop", "kept_hi", "kept_lo", "size")
            columns = [*(found[name][told] for name in names), np.ones(int(told.sum()))]
            yield pa.record_batch([pa.array(column) for column in columns], schema=CHANGE_ROW)

    with task.write("run", "dedup/{key}-{number}.run") as output:
        output.rows = write_run(output.path, changes(), CHANGE_ROW, CHANGE_SORT)


def apply_duplicates(task: Task) -> None:
    """Bring what a dedup step found back to the verdicts of one part."""
    part = part_handle(task.settings["part"])
    groups = read_groups(task)
    verdicts = read_verdicts(task, groups.column("id"))
    before = verdicts.column("keep").combine_chunks()
    batches = list(merge([task.uri(ref) for ref in task.inputs("runs")], part, part + 1))
    found = pa.Table.from_batches(batches, schema=CHANGE_ROW)
    task.stats["changes"] = len(found)
    # of several documents that a document is near to, each of which would stay for it, the smallest id is named
    found = found.sort_by([(name, "ascending") for name in ("row", "kept_hi", "kept_lo")])
    row = found.column("row").to_numpy()
    found = found.filter(pa.array(np.append(True, row[1:] != row[:-1])[: len(row)]))
    rows = found.column("row").to_numpy()
    drop = found.column("drop").to_numpy()
    dropped = np.zeros(len(verdicts), dtype=bool)
    dropped[rows[drop]] = True
    words = np.zeros((len(verdicts), 2), dtype=np.uint64)
    words[rows] = np.stack([found.column("kept_hi").to_numpy(), found.column("kept_lo").to_numpy()], axis=1)
    found_sizes = np.zeros(len(verdicts), dtype=np.int64)
    found_sizes[rows] = found.column("cluster_size").to_numpy()
    # what earlier steps removed for a document stays counted; what is dropped stands for nothing any more
    sizes = verdicts.column("cluster_size").fill_null(1).to_numpy() + np.maximum(found_sizes - 1, 0)
    sizes[dropped] = 0
    keep = pc.and_(before, pa.array(~dropped))
    reason = task.settings["reason"]
    added = pc.if_else(pa.array(dropped), pa.scalar(reason), pa.scalar(None, pa.string()))
    similarity = np.zeros(len(verdicts))
    similarity[rows] = found.column("similarity").to_numpy()
    columns = {
        "keep": keep,
        "reason": pc.coalesce(verdicts.column("reason").combine_chunks(), added),
        "kept_id": pc.if_else(pa.array(dropped), ids_from_words(words), verdicts.column("kept_id").combine_chunks()),
        "cluster_size": pa.array(sizes),
        "similarity": pc.if_else(
            pa.array(dropped), pa.array(similarity), verdicts.column("similarity").combine_chunks()
        ),
    }
    table = pa.table([columns.get(name, verdicts.column(name)) for name in VERDICT.names], schema=VERDICT)
    write_verdicts(task, table, before)
    count_step(task, groups, before, dropped, found_sizes)
