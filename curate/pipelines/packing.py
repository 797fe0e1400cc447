"""The last stages: draw the mix into the global shuffle, and pack each of its partitions into whole shards."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import storage
from curate.engine.exchange import merge, write_run
from curate.engine.tasks import Flow, Task
from curate.pipelines import mixing
from curate.pipelines.parts import read_kept, read_parquet, read_tokens
from curate.pipelines.rehydration import count_repeats, read_repeats
from curate.pipelines.tokens import token_list
from curate.schema import id_words, ids_from_words
from curate.shards.best_fit import BestFitWriter
from curate.shards.layout import ShardSpec
from curate.shards.writer import DocumentsWriter, PackedWriter

SHUFFLE_SORT = ("key_hi", "key_lo", "id_hi", "id_lo", "copy")


def shuffle_schema(token_type: pa.DataType) -> pa.Schema:
    """Return the schema of the rows that the shuffle moves."""
    fields = [pa.field(name, pa.uint64(), nullable=False) for name in SHUFFLE_SORT]
    return pa.schema(
        [
            *fields,
            pa.field("source", pa.uint16(), nullable=False),
            pa.field("tokens", token_list(token_type), nullable=False),
        ]
    )


def scatter_shuffle(task: Task) -> None:
    """Write one part's kept documents, as often as the mix wants each, sorted by the shuffle key."""
    settings = task.settings
    sources = read_parquet(task, task.input("signals"), ["source"]).column("source")
    keep = read_kept(task, len(sources))
    source = pc.index_in(sources, pa.array(settings["sources"])).to_numpy().astype(np.uint16)
    names = settings["sources"]
    plan = mixing.MixPlan.from_json(settings["mix"]) if settings["mix"] else None
    with storage.open_input(task.uri(task.input("tokens"))) as stream:
        token_type = pa.ipc.open_file(stream).schema.field("tokens").type.value_type
    schema = shuffle_schema(token_type)
    repeats = read_repeats(task, len(keep))
    sent = Flow()

    def rows() -> Iterator[pa.RecordBatch]:
        for first, batch in read_tokens(task, task.input("tokens")):
            here = first + np.flatnonzero(keep[first : first + len(batch)])
            kept = batch.take(pa.array(here - first))
            ids = kept.column("id")
            task.flows["in"].add(ids)
            task.flows["kept"].add(ids)
            numbers = source[here]
            taken, copies = mixing.draw(ids, numbers, names, plan, repeats[here])
            count_repeats(task, repeats[here], np.bincount(taken, minlength=len(here)), numbers, names)
            if not len(taken):
                continue
            drawn = kept.take(pa.array(taken))
            words = id_words(drawn.column("id"))
            sent.add(drawn.column("id"))
            task.stats["drawn_tokens"] += len(drawn.column("tokens").flatten())
            columns = [
                *mixing.shuffle_keys(drawn.column("id"), copies, settings["seed"]).T,
                words[:, 0],
                words[:, 1],
                copies.astype(np.uint64),
                numbers[taken],
                drawn.column("tokens"),
            ]
            yield pa.record_batch([pa.array(column) for column in columns], schema=schema)

    with task.write("run", "tokens/{key}-{number}.run") as output:
        output.rows = write_run(output.path, rows(), schema, SHUFFLE_SORT)
    task.facts["drawn"] = sent.to_json()


def _writer(spec: ShardSpec) -> type[PackedWriter | DocumentsWriter | BestFitWriter]:
    if spec.layout == "documents":
        return DocumentsWriter
    return BestFitWriter if spec.packing == "best_fit" else PackedWriter


def pack_partition(task: Task) -> None:
    """Write one shuffle partition, in shuffle order, as one or more whole shards."""
    low, high = (int(bound) for bound in task.settings["range"])
    partition = task.settings["partition"]
    spec = ShardSpec(**{**task.settings["spec"], "sources": tuple(task.settings["spec"]["sources"])})
    packed = Flow()
    with task.folder("shards") as folder:
        writer = _writer(spec)(folder, spec, partition)
        for batch in merge([task.uri(ref) for ref in task.inputs("runs")], low, high):
            task.heartbeat("batch")
            ids = ids_from_words(np.stack([batch.column(name).to_numpy() for name in ("id_hi", "id_lo")], axis=1))
            writer.write(
                pa.record_batch([ids, batch.column("source"), batch.column("tokens")], ["id", "source", "tokens"])
            )
            task.stats["rows"] += len(batch)
            packed.add(ids)
        for summary in writer.close():
            stem = summary.path.removesuffix(".arrow")
            # the digest in the name keeps shards of different settings apart: a receipt never speaks for other bytes
            with task.write("shards", f"shards/{stem}-{{digest}}.arrow") as output:
                os.rename(os.path.join(folder, summary.path), output.path)
                output.rows = summary.rows
                output.facts = summary._asdict()
    task.facts["packed"] = packed.to_json()
