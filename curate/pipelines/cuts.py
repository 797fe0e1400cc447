"""The stages of a dedup step that edits texts: it removes repeated lines or spans of sentences, not documents.

1. *scatter*: each part sends the keys of its units, each once a batch with a count, and the best document that has it.
2. *reduce*: keys that are counted too often go back to every part that holds one, with the document whose copy stays.
3. *apply*: each part finds these units again in its own texts and writes their bytes as cuts, row for row beside its
   documents: the edits of a new view, named after the step. A document of which too little is left is dropped.

Memory is a batch, and in *apply* the frequent keys of one part. No unit travels, only its key.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.dedup import DEDUPS
from curate.dedup.copies import FOUND, KEY_SORT, Frequencies, Lookup, chosen, count_keys, covered, group_keys
from curate.dedup.lines import Scheme
from curate.dedup.units import Keys, Units, split_units, unit_cuts, unit_keys
from curate.engine.exchange import merge, write_run
from curate.engine.tasks import Task
from curate.pipelines.cut_files import CutsOfPart, too_little
from curate.pipelines.part_texts import read_texts
from curate.pipelines.parts import part_handle, read_kept
from curate.pipelines.standing import Standing, read_standing
from curate.schema import id_words

COUNT_ROW = pa.schema([pa.field(name, pa.uint64(), nullable=False) for name in (*KEY_SORT, "count")])
FOUND_SORT: Final = ("part", "key_hi", "key_lo")
FOUND_ROW = pa.schema([pa.field(name, pa.uint64(), nullable=False) for name in FOUND])


def scheme_of(kind: str, settings: Any) -> Scheme:
    """Return what a step of this kind with these settings does."""
    scheme: Scheme = DEDUPS[kind].settings.model_validate(settings).scheme()  # type: ignore[attr-defined]
    return scheme


class _Runs(NamedTuple):
    """The runs of units of a batch that are compared: their units, keys in their groups, and number of the text."""

    units: Units
    keys: Keys
    texts: NDArray[np.int64]


def runs_of(ids: pa.Array, text: pa.Array, scheme: Scheme, buckets: int, scope: NDArray[np.uint64]) -> _Runs:
    """Return what is compared of the texts of some documents; `scope` uint64 [rows, 2] says who may meet, see
    `standing`."""
    units = split_units(text, scheme.unit)
    keys = unit_keys(text, units, scheme.normalise, scheme.span)
    if not scheme.blank_units:
        keys = Keys(keys.key[~keys.blank], keys.first[~keys.blank], keys.blank[~keys.blank])
    texts = units.texts()[keys.first]
    if scheme.scope != "global":
        keys = keys._replace(key=group_keys(keys.key, scope[texts, 0]))
    if buckets > 1:
        keys = keys._replace(key=group_keys(keys.key, (id_words(ids)[:, 1] % np.uint64(buckets))[texts]))
    return _Runs(units, keys, texts)


def _batches(
    task: Task, scheme: Scheme, keep: NDArray[np.bool_], scope: NDArray[np.uint64]
) -> Iterator[tuple[NDArray[np.int64], pa.Array, pa.Array, _Runs]]:
    """Yield (row numbers, ids, text, runs) of the documents of a part that are kept."""
    for numbers, batch, text in read_texts(task, ["id"], keep):
        ids = batch.column("id")
        yield numbers, ids, text, runs_of(ids, text, scheme, task.settings["buckets"], scope[numbers])


def scatter_units(task: Task) -> None:
    """Write the keys of one part's kept documents, each once a batch."""
    scheme = scheme_of(task.settings["kind"], task.settings["settings"])
    part = part_handle(task.settings["part"])
    keep = read_kept(task, task.input("documents").rows)
    standing = read_standing(task, task.settings)

    def rows() -> Iterator[pa.RecordBatch]:
        for numbers, ids, _, runs in _batches(task, scheme, keep, standing.scope):
            task.flows["in"].add(ids)
            task.flows["kept"].add(ids)
            task.stats["units"] += len(runs.texts)
            documents = document_order(standing, numbers, ids)[runs.texts]
            yield count_rows(runs.keys.key, documents, part, by_document=scheme.counted == "documents")

    with task.write("run", "dedup/{key}-{number}.run") as output:
        output.rows = write_run(output.path, rows(), COUNT_ROW, KEY_SORT)


def document_order(standing: Standing, numbers: NDArray[np.int64], ids: pa.Array) -> NDArray[np.uint64]:
    """Return (rank, id words) of the documents with these row numbers and ids, uint64 [rows, 3]: the smaller, the
    better."""
    return np.column_stack([standing.priority[numbers], id_words(ids)])


def count_rows(
    key: NDArray[np.uint64], documents: NDArray[np.uint64], part: int, *, by_document: bool = False
) -> pa.RecordBatch:
    """Return a batch's rows for the exchange (COUNT_ROW); see `count_keys`."""
    counted = count_keys(key, documents, by_document=by_document)
    best = documents[counted.best]
    columns = [counted.key[:, 0], counted.key[:, 1], best[:, 0], best[:, 1], best[:, 2]]
    columns += [np.full(len(best), part, np.uint64), counted.counts]
    return pa.record_batch([pa.array(column) for column in columns], schema=COUNT_ROW)


def reduce_units(task: Task) -> None:
    """Sum the counts of one key range, and send keys that are counted too often back to the parts that hold them."""
    low, high = (int(bound) for bound in task.settings["range"])
    frequencies = Frequencies(task.settings["max_count"])

    def chunks() -> Iterator[dict[str, NDArray[np.uint64]]]:
        for batch in merge([task.uri(ref) for ref in task.inputs("runs")], low, high):
            task.heartbeat("batch")
            task.stats["rows"] += len(batch)
            yield {name: batch.column(name).to_numpy() for name in COUNT_ROW.names}

    def found() -> Iterator[pa.RecordBatch]:
        for columns in frequencies.take(chunks()):
            yield pa.record_batch([pa.array(columns[name]) for name in FOUND], schema=FOUND_ROW)

    with task.write("run", "dedup/{key}-{number}.run") as output:
        output.rows = write_run(output.path, found(), FOUND_ROW, FOUND_SORT)
    task.stats["frequent"] = frequencies.texts
    task.facts["top"] = [
        {"count": entry.times, "key": "".join(f"{word:016x}" for word in entry.key),
         "id": "".join(f"{word:016x}" for word in entry.id)}
        for entry in frequencies.top
    ]  # fmt: skip


def apply_cuts(task: Task) -> None:
    """Write the cuts of one part, and drop documents of which too little is left."""
    scheme = scheme_of(task.settings["kind"], task.settings["settings"])
    lookup = frequent_keys(task, documents=scheme.keep == "first")
    written = CutsOfPart(task)
    scope = read_standing(task, task.settings).scope
    for numbers, ids, text, runs in _batches(task, scheme, written.keep, scope):
        holders = id_words(ids)[runs.texts]
        goes = chosen(
            runs.keys.key, holders, runs.texts, lookup, keep=scheme.keep, once_a_document=scheme.once_a_document
        )
        gone = covered(runs.units, runs.keys.first[goes], scheme.span)
        cuts = unit_cuts(
            text, runs.units, gone, scheme.unit, collapse=scheme.unit == "lines" and not scheme.blank_units
        )
        removed = np.bincount(runs.units.texts()[gone], minlength=len(numbers))
        least = (scheme.min_bytes, scheme.min_words, scheme.min_sentences)
        written.add(numbers, cuts, removed, too_little(text, cuts, *least))
    written.write()


def frequent_keys(task: Task, *, documents: bool = True) -> Lookup:
    """Return the frequent keys that this part holds, with the best document of each if `documents` are asked for."""
    part = part_handle(task.settings["part"])
    none = np.zeros((0, 2), dtype=np.uint64)
    keys, best = [none], [none]
    for batch in merge([task.uri(ref) for ref in task.inputs("runs")], part, part + 1):
        task.stats["changes"] += len(batch)
        words = np.column_stack([batch.column(name).to_numpy() for name in FOUND[1:]])
        # each batch of documents that holds a key has asked for it
        new = np.append(True, (words[1:, :2] != words[:-1, :2]).any(axis=1))[: len(words)]
        keys.append(words[new, :2])
        if documents:
            best.append(words[new, 2:])
    return Lookup(np.concatenate(keys), np.concatenate(best))
