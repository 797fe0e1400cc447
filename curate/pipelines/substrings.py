"""The stages of exact substring dedup; `curate.dedup.substring` has the definition.

1. *scatter*: each part sends the keys of its anchors, each once a batch with a count.
2. *reduce* (that of `cuts`): anchors that occur twice go back to every part that holds one.
3. *contexts*: parts send the bytes of all passages of these anchors to the anchor's key.
4. *compare*: passages are compared, byte for byte; repeats go back to their parts. What a key has more of than memory
   holds is put aside in a file, told apart by longer anchors and compared after it, as often as it takes.
5. *apply*: the union of the repeats of each text becomes its cuts.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.dedup.copies import KEY_SORT
from curate.dedup.substring import (
    Anchors,
    Passages,
    SubstringSettings,
    anchors,
    long_gram_bytes,
    passage_bytes,
    passage_cuts,
)
from curate.engine.exchange import RunWriter, merge, write_run
from curate.engine.tasks import Task
from curate.pipelines.cut_files import CutsOfPart, too_little
from curate.pipelines.cuts import COUNT_ROW, count_rows, document_order, frequent_keys
from curate.pipelines.part_texts import read_texts
from curate.pipelines.parts import part_handle, read_kept
from curate.pipelines.standing import read_standing
from curate.text.buffers import text_buffers

CONTEXT_SORT: Final = ("key", "scope", "rank", "id_hi", "id_lo", "start")
CONTEXT_ROW = pa.schema(
    [
        *(pa.field(name, pa.uint64(), nullable=False) for name in (*CONTEXT_SORT, "part", "row")),
        pa.field("context", pa.large_binary(), nullable=False),
    ]
)
SPAN_SORT: Final = ("part", "row", "start", "end")
SPAN_ROW = pa.schema([pa.field(name, pa.uint64(), nullable=False) for name in SPAN_SORT])
SLICE_BYTES: Final = 1 << 20
"""How many bytes of contexts are copied at once."""
Ints = NDArray[np.int64]
Words = NDArray[np.uint64]


def settings_of(task: Task) -> SubstringSettings:
    """Return the settings of a task's step."""
    return SubstringSettings.model_validate(task.settings["settings"])


def anchor_keys(found: Anchors, scope: Words) -> Words:
    """Return the keys of anchors as `count_keys` takes them, uint64 [anchors, 2]: only documents of one scope (uint64
    [texts, 2]) share them."""
    return np.column_stack([found.key, scope[found.texts(), 0]])


def scatter_anchors(task: Task) -> None:
    """Write the keys of the anchors of one part's kept documents, each once a batch."""
    settings = settings_of(task)
    part = part_handle(task.settings["part"])
    keep = read_kept(task, task.input("documents").rows)
    standing = read_standing(task, task.settings)

    def rows() -> Iterator[pa.RecordBatch]:
        for numbers, batch, text in read_texts(task, ["id"], keep):
            ids = batch.column("id")
            task.flows["in"].add(ids)
            task.flows["kept"].add(ids)
            found = anchors(text, settings.length_bytes)
            task.stats["units"] += len(found.key)
            documents = document_order(standing, numbers, ids)[found.texts()]
            yield count_rows(anchor_keys(found, standing.scope[numbers]), documents, part)

    with task.write("run", "dedup/{key}-{number}.run") as output:
        output.rows = write_run(output.path, rows(), COUNT_ROW, KEY_SORT)


def send_contexts(task: Task) -> None:
    """Send the bytes of the passages of each anchor that occurs elsewhere, too."""
    settings = settings_of(task)
    part = part_handle(task.settings["part"])
    keep = read_kept(task, task.input("documents").rows)
    standing = read_standing(task, task.settings)
    lookup = frequent_keys(task, documents=False)

    def rows() -> Iterator[pa.RecordBatch]:
        for numbers, batch, text in read_texts(task, ["id"], keep):
            found = anchors(text, settings.length_bytes)
            keys = anchor_keys(found, standing.scope[numbers])
            asked = np.flatnonzero(lookup.find(keys) >= 0)
            texts = found.texts()[asked]
            order = document_order(standing, numbers, batch.column("id"))[texts]
            first, end = found.first[asked], found.last[asked] + settings.length_bytes
            columns = [*keys[asked].T, *order.T, first.astype(np.uint64)]
            columns += [np.full(len(asked), part, np.uint64), numbers[texts].astype(np.uint64)]
            yield from context_rows(columns, text, texts, first, end)

    with task.write("run", "dedup/{key}-{number}.run") as output:
        output.rows = write_run(output.path, rows(), CONTEXT_ROW, CONTEXT_SORT)


def context_rows(
    columns: Sequence[Words], text: pa.Array, texts: Ints, first: Ints, end: Ints
) -> Iterator[pa.RecordBatch]:
    """Yield rows of CONTEXT_ROW, of which `columns` are all but the last, with bytes [first, end) of their texts: many
    passages of one text may be sent, so only so many at once as come to SLICE_BYTES."""
    sizes = np.cumsum(end - first)
    at = 0
    while at < len(texts):
        most = SLICE_BYTES + (sizes[at - 1] if at else 0)
        cut = slice(at, max(at + 1, int(np.searchsorted(sizes, most, "right"))))
        contexts = passage_bytes(text, texts[cut], first[cut], end[cut])
        yield pa.record_batch([*(pa.array(column[cut]) for column in columns), contexts], schema=CONTEXT_ROW)
        at = cut.stop


def compare_contexts(task: Task) -> None:
    """Find the repeats among the passages of one range of keys."""
    settings = settings_of(task)
    low, high = (int(bound) for bound in task.settings["range"])

    def spans() -> Iterator[pa.RecordBatch]:
        runs = merge([task.uri(ref) for ref in task.inputs("runs")], low, high)
        with task.folder("dedup") as folder:
            left = os.path.join(folder, "left.run")
            while True:
                yield from compared(runs, left)
                task.stats["rounds"] += 1
                if not os.path.exists(left):
                    return
                waiting = os.path.join(folder, "waiting.run")
                if task.stats["rounds"] == 1:
                    apart = (rows for batch in merge([left]) for rows in _apart(batch, settings.length_bytes))
                    write_run(waiting, apart, CONTEXT_ROW, CONTEXT_SORT)
                    os.unlink(left)
                else:
                    os.rename(left, waiting)
                runs = merge([waiting])

    def compared(runs: Iterator[pa.RecordBatch], left: str) -> Iterator[pa.RecordBatch]:
        """Yield the repeats of runs, and write what is left over to a file, if anything is."""
        later = RunWriter(left, CONTEXT_ROW, CONTEXT_SORT)
        passages = Passages(settings.length_bytes)
        for batch in runs:
            task.heartbeat("batch")
            task.stats["rows"] += len(batch) if not task.stats["rounds"] else 0
            found, rest = _compare(batch, passages, settings.length_bytes)
            later.write(rest)
            yield found
        later.close()
        if not later.rows:
            os.unlink(left)

    with task.write("run", "dedup/{key}-{number}.run") as output:
        output.rows = write_run(output.path, spans(), SPAN_ROW, SPAN_SORT)


def _compare(batch: pa.RecordBatch, passages: Passages, length_bytes: int) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """Return (repeats as spans of their texts, contexts of passages that are left over)."""
    rows = {name: batch.column(name).to_numpy() for name in CONTEXT_ROW.names[:-1]}
    data, bounds = text_buffers(batch.column("context"))
    base = int(bounds[0])
    starts = rows["start"].astype(np.int64)
    ids = np.column_stack([rows["id_hi"], rows["id_lo"]])
    keys = np.column_stack([rows["key"], rows["scope"]])
    repeats, left = passages.compare(data[base : bounds[-1]], bounds - base, keys, ids, starts)
    begin = starts[repeats.context] + repeats.first
    end = starts[repeats.context] + repeats.last + length_bytes
    columns = [rows["part"][repeats.context], rows["row"][repeats.context]]
    columns += [begin.astype(np.uint64), end.astype(np.uint64)]
    found = pa.record_batch([pa.array(column) for column in columns], schema=SPAN_ROW)
    moved = {name: column[left.context] for name, column in rows.items()}
    moved["start"] = (starts[left.context] + left.first).astype(np.uint64)
    contexts = passage_bytes(batch.column("context"), left.context, left.first, left.last + length_bytes)
    arrays = [pa.array(moved[name]) for name in CONTEXT_ROW.names[:-1]]
    return found, pa.record_batch([*arrays, contexts], schema=CONTEXT_ROW)


def _apart(batch: pa.RecordBatch, length_bytes: int) -> Iterator[pa.RecordBatch]:
    """Yield the contexts of a key that has more than memory holds by longer anchors: such a key is often that of a
    common phrase, and what stands around it differs."""
    context = batch.column("context")
    found = anchors(context, length_bytes, long_gram_bytes(length_bytes))
    rows = found.texts()
    columns = {name: batch.column(name).to_numpy()[rows] for name in CONTEXT_ROW.names[:-1]}
    columns["key"] = columns["key"] ^ found.key
    columns["start"] = columns["start"] + found.first.astype(np.uint64)
    yield from context_rows(list(columns.values()), context, rows, found.first, found.last + length_bytes)


def apply_substrings(task: Task) -> None:
    """Write the cuts of one part, and drop documents of which too little is left."""
    settings = settings_of(task)
    part = part_handle(task.settings["part"])
    found = pa.Table.from_batches(
        list(merge([task.uri(ref) for ref in task.inputs("runs")], part, part + 1)), schema=SPAN_ROW
    )
    task.stats["changes"] = len(found)
    row, start, end = (found.column(name).to_numpy().astype(np.int64) for name in SPAN_SORT[1:])
    written = CutsOfPart(task)
    wanted = np.zeros(len(written.keep), dtype=bool)
    wanted[row] = True
    for numbers, _, text in read_texts(task, ["id"], wanted):
        here = slice(*np.searchsorted(row, [numbers[0], numbers[-1] + 1]))
        cuts = passage_cuts(text, np.searchsorted(numbers, row[here]), start[here], end[here])
        written.add(numbers, cuts, np.diff(cuts.lists), too_little(text, cuts, settings.min_bytes))
    written.write()
