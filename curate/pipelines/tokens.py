"""The stages between verdicts and the shuffle: encode every document once, count everything."""

from __future__ import annotations

import functools

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.engine.tasks import Task
from curate.pipelines import mixing
from curate.pipelines.parts import local_path, read_batches, read_groups, read_parquet, read_tokens
from curate.pipelines.quarantine import pieces
from curate.pipelines.rehydration import read_repeats
from curate.pipelines.views import edits_column, view_text
from curate.schema import VERDICT
from curate.tokenize import registry
from curate.tokenize.tokenizer import Tokenizer


@functools.lru_cache(maxsize=2)
def _load(path: str, name: str, identity: tuple[str, ...]) -> Tokenizer:
    """Return the tokenizer at `path`; `identity`, its files' content ids, keeps a changed file apart."""
    return registry.load(path, name=name)


def _tokenizer(task: Task) -> Tokenizer:
    refs = task.inputs("tokenizer")
    return _load(local_path(task, refs), task.settings["tokenizer_name"], tuple(ref.id for ref in refs))


def tokenize_part(task: Task) -> None:
    """Encode every document of one part once, kept or not, so that a moved threshold or mix encodes nothing again."""
    tokenizer = _tokenizer(task)
    task.facts["tokenizer"] = tokenizer.identity()
    views = task.settings["views"]
    columns = ["id", "text", *(edits_column(view) for view in views)]
    with task.write("tokens", "tokens/{key}-{number}.arrow") as output:
        schema = pa.schema(
            [VERDICT.field("id"), pa.field("tokens", token_list(_token_type(tokenizer)), nullable=False)]
        )
        with pa.ipc.new_file(output.path, schema) as writer:
            for _, batch in read_batches(task, task.input("documents"), columns):
                tokens = _encode(task, tokenizer, batch)
                writer.write_batch(pa.record_batch([batch.column("id"), tokens], schema=schema))
                task.flows["in"].add(batch.column("id"))
                task.flows["kept"].add(batch.column("id"))
                task.stats["tokens"] += len(tokens.flatten())
                output.rows += len(batch)


def token_list(token_type: pa.DataType) -> pa.DataType:
    """Return list<uint16 or uint32, not null>: the tokens of one document."""
    return pa.list_(pa.field("item", token_type, nullable=False))


def _token_type(tokenizer: Tokenizer) -> pa.DataType:
    return pa.from_numpy_dtype(tokenizer.dtype)


def _encode(task: Task, tokenizer: Tokenizer, batch: pa.RecordBatch) -> pa.Array:
    """Return the tokens of a batch of documents, list<uint16 or uint32> [rows]; none for those in quarantine."""
    settings = task.settings
    place = np.zeros(len(batch), dtype=np.int64)
    tokens = [pa.array([[]], token_list(_token_type(tokenizer)))]
    for piece in pieces(task, batch.append_column("row", pa.array(np.arange(len(batch))))):
        text = view_text(piece, settings["views"], settings["view"])
        place[piece.column("row").to_numpy()] = np.arange(len(piece)) + sum(len(encoded) for encoded in tokens)
        tokens.append(tokenizer.encode_batch(text, add_bos=settings["add_bos"], add_eos=settings["add_eos"]))
    return pa.concat_arrays(tokens).take(pa.array(place))


def tally_part(task: Task) -> None:
    """Count documents, bytes and tokens of one part by source, language and what became of them.

    Statistics are keyed ``tally|source|language|reason|unit``; reason is ``kept`` for kept documents. Documents that a
    rule marked are ``mark|source|reason``. With a token budget also ``mix|source|bin``: kept tokens, as often as an
    epoch holds them, over the selection key, from which quotas are found.
    """
    groups = read_groups(task)
    verdicts = read_parquet(task, task.input("verdicts"), ["id", "keep", "reason", "marks"])
    lengths = np.zeros(len(groups), dtype=np.int64)
    if task.inputs("tokens"):
        for first, batch in read_tokens(task, task.input("tokens")):
            lengths[first : first + len(batch)] = pc.list_value_length(batch.column("tokens")).to_numpy()
    table = groups.append_column("reason", verdicts.column("reason").fill_null("kept"))
    table = table.append_column("tokens", pa.array(lengths))
    grouped = table.group_by(["source", "language", "reason"]).aggregate(
        [([], "count_all"), ("bytes", "sum"), ("tokens", "sum")]
    )
    for row in grouped.to_pylist():
        key = f"tally|{row['source']}|{row['language']}|{row['reason']}|"
        task.stats[key + "documents"] += row["count_all"]
        task.stats[key + "bytes"] += row["bytes_sum"]
        if task.inputs("tokens"):
            task.stats[key + "tokens"] += row["tokens_sum"]
    marks = verdicts.column("marks").combine_chunks()
    marked = table.select(["source"]).take(pc.list_parent_indices(marks)).append_column("mark", pc.list_flatten(marks))
    for row in marked.group_by(["source", "mark"]).aggregate([([], "count_all")]).to_pylist():
        task.stats[f"mark|{row['source']}|{row['mark']}"] += row["count_all"]
    keep = verdicts.column("keep").to_numpy()
    ids = verdicts.column("id").combine_chunks()
    task.flows["in"].add(ids)
    task.flows["kept"].add(ids.filter(pa.array(keep)))
    task.flows["dropped"].add(ids.filter(pa.array(~keep)))
    if task.settings["mix_seed"] is not None:
        kept = pa.array(keep)
        seen = lengths * read_repeats(task, len(lengths))
        _count_mix(task, ids.filter(kept), table.column("source").filter(kept), seen[keep])


def _count_mix(task: Task, ids: pa.Array, source: pa.ChunkedArray, lengths: NDArray[np.int64]) -> None:
    keys = mixing.selection_keys(ids, task.settings["mix_seed"])
    sources = source.combine_chunks()
    for name in pc.unique(sources).to_pylist():
        chosen = pc.equal(sources, name).to_numpy(zero_copy_only=False)
        for place, count in mixing.token_histogram(keys[chosen], lengths[chosen]).items():
            task.stats[f"mix|{name}|{place}"] += count
