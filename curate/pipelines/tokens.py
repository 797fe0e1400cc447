"""The stages between verdicts and the shuffle: train a tokenizer, encode every document once, count everything."""

from __future__ import annotations

import functools
import os
import threading

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.engine.tasks import Task
from curate.pipelines import mixing
from curate.pipelines.parts import read_batches, read_groups, read_parquet, read_tokens
from curate.pipelines.rehydration import read_repeats
from curate.pipelines.views import document_label, edits_column, view_text
from curate.schema import VERDICT
from curate.tokenize import registry, train
from curate.tokenize.tokenizer import Tokenizer

TRAINING_BEAT_S = 30.0


@functools.lru_cache(maxsize=2)
def _load(path: str, name: str, identity: tuple[str, ...]) -> Tokenizer:
    """Return the tokenizer at `path`; `identity`, its files' content ids, keeps a changed file apart."""
    return registry.load(path, name=name)


def _tokenizer(task: Task) -> Tokenizer:
    refs = task.inputs("tokenizer")
    folder = task.local(refs)
    path = folder if len(refs) > 1 else os.path.join(folder, os.path.basename(refs[0].path))
    return _load(path, task.settings["tokenizer_name"], tuple(ref.id for ref in refs))


def train_tokenizer(task: Task) -> None:
    """Train a tokenizer on the kept documents whose selection key is below the threshold, in the order of those keys:
    the same documents give the same bytes, however they are split into files."""
    settings = task.settings
    chosen: list[tuple[int, bytes, str]] = []
    for documents, verdicts in zip(task.inputs("documents"), task.inputs("verdicts"), strict=True):
        keep = read_parquet(task, verdicts, ["keep"]).column("keep").to_numpy()
        columns = ["id", "text", *(edits_column(view) for view in settings["views"])]
        for first, batch in read_batches(task, documents, columns):
            task.heartbeat("batch")
            keys = mixing.selection_keys(batch.column("id"), settings["seed"])
            numbers = np.flatnonzero(keep[first : first + len(batch)] & (keys <= np.uint64(int(settings["last_key"]))))
            if len(numbers):
                batch = batch.take(pa.array(numbers))
                text = view_text(batch, settings["views"], settings["view"]).to_pylist()
                chosen += zip(keys[numbers].tolist(), batch.column("id").to_pylist(), text, strict=True)
    chosen.sort(key=lambda entry: entry[:2])
    beating = threading.Event()

    def beat() -> None:
        while not beating.wait(TRAINING_BEAT_S):
            task.heartbeat("training")

    # a trainer says nothing for as long as it works, and how long that is depends on the text
    thread = threading.Thread(target=beat, name="training", daemon=True)
    thread.start()
    trainer = train.train_bpe if settings["kind"] == "bpe" else train.train_sentencepiece
    try:
        files = trainer((text for _, _, text in chosen), settings["vocab_size"], **settings["options"])
    finally:
        beating.set()
        thread.join()
    for name in sorted(files):
        with task.write("tokenizer", f"tokenizer/{{key}}/{name}") as output, open(output.path, "wb") as stream:
            stream.write(files[name])


def tokenize_part(task: Task) -> None:
    """Encode every document of one part once, kept or not, so that a moved threshold or mix encodes nothing again."""
    tokenizer = _tokenizer(task)
    task.facts["tokenizer"] = tokenizer.identity()
    views, settings = task.settings["views"], task.settings
    columns = ["id", "text", *(edits_column(view) for view in views)]
    with task.write("tokens", "tokens/{key}-{number}.arrow") as output:
        schema = pa.schema(
            [VERDICT.field("id"), pa.field("tokens", token_list(_token_type(tokenizer)), nullable=False)]
        )
        with pa.ipc.new_file(output.path, schema) as writer:
            for _, batch in read_batches(task, task.input("documents"), columns):
                text = _without_skipped(task, batch.column("id"), view_text(batch, views, settings["view"]))
                tokens = _encode(task, tokenizer, batch.column("id"), text)
                writer.write_batch(pa.record_batch([batch.column("id"), tokens], schema=schema))
                task.flows["in"].add(batch.column("id"))
                task.flows["kept"].add(batch.column("id"))
                task.stats["tokens"] += len(tokens.flatten())
                output.rows += len(batch)


def _without_skipped(task: Task, ids: pa.Array, text: pa.Array) -> pa.Array:
    """Return texts with those in quarantine empty: they stay in their files, and no token of them reaches a shard."""
    if not task.skip:
        return text
    reasons = [task.skip.get(document_label(identity)) for identity in ids.to_pylist()]
    for identity, reason in zip(ids.to_pylist(), reasons, strict=True):
        if reason is not None:
            task.quarantined.append({"id": identity.hex(), "stage": "tokenize", "reason": reason})
    skipped = pa.array([reason is not None for reason in reasons])
    return pc.if_else(skipped, pa.scalar("", pa.large_string()), text)


def token_list(token_type: pa.DataType) -> pa.DataType:
    """Return list<uint16 or uint32, not null>: the tokens of one document."""
    return pa.list_(pa.field("item", token_type, nullable=False))


def _token_type(tokenizer: Tokenizer) -> pa.DataType:
    return pa.from_numpy_dtype(tokenizer.dtype)


def _encode(task: Task, tokenizer: Tokenizer, ids: pa.Array, text: pa.Array) -> pa.Array:
    add_bos, add_eos = task.settings["add_bos"], task.settings["add_eos"]
    if not task.careful:
        task.heartbeat("batch")
        return tokenizer.encode_batch(text, add_bos=add_bos, add_eos=add_eos)
    rows = []
    for row, identity in enumerate(ids.to_pylist()):
        task.heartbeat(document_label(identity))
        rows.append(tokenizer.encode_batch(text.slice(row, 1), add_bos=add_bos, add_eos=add_eos))
    return pa.concat_arrays(rows)


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
    for marks, name in zip(verdicts.column("marks").to_pylist(), table.column("source").to_pylist(), strict=True):
        for mark in marks:
            task.stats[f"mark|{name}|{mark}"] += 1
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
