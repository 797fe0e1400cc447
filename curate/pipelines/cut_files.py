"""What every step that cuts writes of a part: the edits of its view, verdicts, and what the cuts come to."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.dedup.units import Cuts, split_units
from curate.engine.tasks import Task
from curate.filters.edits import apply_edits, make_cuts
from curate.pipelines.guards import count_step
from curate.pipelines.parts import read_groups, read_verdicts, write_groups, write_verdicts
from curate.pipelines.quarantine import drop_lost, lost_in
from curate.pipelines.views import edits_column
from curate.schema import EDITS, VERDICT, named_schema

Ints = NDArray[np.int64]


class CutsOfPart:
    """Gathers the cuts of one part, batch by batch, and writes them; `keep` (bool [rows]) says which documents were
    kept before.

    Statistics are ``cut|source|language|unit`` with the units ``texts`` (edited ones), ``units`` (lines, sentences or
    passages that went), ``bytes`` and ``dropped`` (of these texts).
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._groups = read_groups(task)
        ids = self._groups.column("id")
        self._verdicts = drop_lost(read_verdicts(task, ids), lost_in(task, ids))
        self._before = self._verdicts.column("keep").combine_chunks()
        self.keep: NDArray[np.bool_] = self._before.to_numpy(zero_copy_only=False)
        rows = len(self.keep)
        self._counts, self._units, self._bytes = (np.zeros(rows, dtype=np.int64) for _ in range(3))
        self._dropped = np.zeros(rows, dtype=bool)
        self._starts, self._ends = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]

    def add(self, numbers: Ints, cuts: Cuts, removed: Ints, dropped: NDArray[np.bool_]) -> None:
        """Take in a batch: rows `numbers` (int64 [texts], after those before), their cuts, how many units of each are
        removed (int64 [texts]), and which are dropped (bool [texts])."""
        sizes = np.concatenate([[0], np.cumsum(cuts.ends - cuts.starts)])
        self._bytes[numbers] = np.diff(sizes[cuts.lists])
        self._counts[numbers] = np.diff(cuts.lists)
        self._units[numbers] = removed
        self._dropped[numbers] = dropped
        self._starts.append(cuts.starts)
        self._ends.append(cuts.ends)

    def write(self) -> None:
        """Write the edits of the view that the settings name, and the verdicts."""
        task = self._task
        lists = np.concatenate([[0], np.cumsum(self._counts)])
        edits = make_cuts(lists, np.concatenate(self._starts), np.concatenate(self._ends))
        column = pa.field(edits_column(task.settings["view"]), EDITS, nullable=False)
        schema = named_schema("edits", [VERDICT.field("id"), column])
        table = pa.table([self._verdicts.column("id"), edits], schema=schema)
        with task.write("edits", "edits/{key}-{number}.parquet") as output:
            write_groups(task.uri(task.input("documents")), table, output.path)
            output.rows = len(table)
        self._tally()
        write_verdicts(task, without(self._verdicts, self._dropped, task.settings["reason"]), self._before)

    def _tally(self) -> None:
        removed = np.logical_and(self.keep, self._dropped)
        count_step(self._task, self._groups, self._before, removed, np.zeros(len(removed), dtype=np.int64))
        cut = np.flatnonzero(self._counts)
        columns = {"texts": self._counts > 0, "units": self._units, "bytes": self._bytes, "dropped": self._dropped}
        lost = pa.table({name: pa.array(column[cut].astype(np.int64)) for name, column in columns.items()})
        for name in ("source", "language"):
            lost = lost.append_column(name, self._groups.column(name).take(pa.array(cut)))
        found = lost.group_by(["source", "language"]).aggregate([(name, "sum") for name in columns])
        for group in found.to_pylist():
            for name in columns:
                self._task.stats[f"cut|{group['source']}|{group['language']}|{name}"] += group[f"{name}_sum"]


def without(verdicts: pa.Table, dropped: NDArray[np.bool_], reason: str) -> pa.Table:
    """Return verdicts after documents were dropped for a reason, which each has only if it has none yet."""
    gone = pa.array(dropped)
    added = pc.if_else(gone, pa.scalar(reason), pa.scalar(None, pa.string()))
    columns = {
        "keep": pc.and_(verdicts.column("keep").combine_chunks(), pc.invert(gone)),
        "reason": pc.coalesce(verdicts.column("reason").combine_chunks(), added),
    }
    return pa.table([columns.get(name, verdicts.column(name)) for name in VERDICT.names], schema=VERDICT)


def too_little(
    text: pa.Array, cuts: Cuts, min_bytes: int, min_words: int = 0, min_sentences: int = 0
) -> NDArray[np.bool_]:
    """Return which texts lose something and are then too short, bool [texts]: bytes and words are those between white
    space."""
    cut = np.flatnonzero(np.diff(cuts.lists))
    if not len(cut):
        return np.zeros(len(text), dtype=bool)
    left = pc.utf8_trim_whitespace(apply_edits(text, make_cuts(*cuts)).take(pa.array(cut)))
    short = pc.binary_length(left).to_numpy() < min_bytes
    if min_words:
        short |= pc.list_value_length(pc.utf8_split_whitespace(left)).to_numpy() < min_words
    if min_sentences:
        short |= np.diff(split_units(left, "sentences").bounds) < min_sentences
    result = np.zeros(len(text), dtype=bool)
    result[cut[short]] = True
    return result
