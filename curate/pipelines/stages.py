"""The stages after collect, as task functions: decide, deduplicate, tokenize, tally, shuffle, pack.

Each takes a `Task` and leaves files; which task reads what is bound in `plan.py`. A *part* is one documents file with
its signals, verdicts and tokens, row for row; its handle, a hash of its content-addressed name, routes rows back to it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash
from numpy.typing import NDArray

from curate import storage
from curate.dedup import DEDUPS
from curate.dedup.groups import ORDER, resolve
from curate.engine.exchange import merge, write_run
from curate.engine.tasks import FileRef, Task
from curate.filters.decide import Columns, decide
from curate.filters.quantiles import Search, rule_histogram
from curate.filters.rules import ResolvedRule
from curate.pipelines import mixing
from curate.pipelines.collect import PARQUET, TEXT_DIGEST, document_label, edits_column, view_text
from curate.schema import VERDICT, id_words, ids_from_words
from curate.shards.best_fit import BestFitWriter
from curate.shards.layout import ShardSpec
from curate.shards.writer import DocumentsWriter, PackedWriter
from curate.tokenize import registry, train
from curate.tokenize.tokenizer import Tokenizer

UNKNOWN = "unknown"
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
    ]
)
SHUFFLE_SORT = ("key_hi", "key_lo", "id_hi", "id_lo", "copy")


def part_handle(documents_path: str) -> int:
    """Return the uint64 that names a part within one run."""
    return xxhash.xxh3_64_intdigest(documents_path.encode())


def read_parquet(task: Task, ref: FileRef, columns: Sequence[str] | None = None) -> pa.Table:
    """Return columns of a Parquet file of the run."""
    with storage.open_input(task.uri(ref)) as stream:
        return pq.ParquetFile(stream).read(columns=list(columns) if columns is not None else None)


def read_batches(task: Task, ref: FileRef, columns: Sequence[str]) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield (number of the first row, batch) of a Parquet file, one row group at a time."""
    row = 0
    with storage.open_input(task.uri(ref)) as stream:
        file = pq.ParquetFile(stream)
        for group in range(file.num_row_groups):
            for batch in file.read_row_group(group, columns=list(columns)).to_batches():
                yield row, batch
                row += len(batch)


def read_verdicts(task: Task, ids: pa.ChunkedArray) -> pa.Table:
    """Return the verdicts of a part so far (schema VERDICT); everything is kept before the first step."""
    if task.inputs("verdicts"):
        return read_parquet(task, task.input("verdicts"))
    rows = len(ids)
    empty = pa.ListArray.from_arrays(pa.array(np.zeros(rows + 1, np.int32)), pa.array([], pa.string()))
    columns = {"id": ids, "keep": pa.array(np.ones(rows, dtype=bool)), "failed": empty, "marks": empty}
    fields = [columns.get(field.name, pa.nulls(rows, field.type)) for field in VERDICT]
    return pa.table(fields, schema=VERDICT)


def read_kept(task: Task, rows: int) -> NDArray[np.bool_]:
    """Return which documents of a part are kept so far, bool [rows]."""
    if not task.inputs("verdicts"):
        return np.ones(rows, dtype=bool)
    keep: NDArray[np.bool_] = read_parquet(task, task.input("verdicts"), ["keep"]).column("keep").to_numpy()
    return keep


def write_verdicts(task: Task, verdicts: pa.Table, before: pa.Array) -> None:
    """Write verdicts and count what this step did to the documents that were kept `before` (bool [rows])."""
    ids = verdicts.column("id").combine_chunks()
    keep = verdicts.column("keep").combine_chunks()
    dropped = pc.and_(before, pc.invert(keep))
    task.flows["in"].add(ids.filter(before))
    task.flows["kept"].add(ids.filter(keep))
    task.flows["dropped"].add(ids.filter(dropped))
    with task.write("verdicts", "verdicts/{key}-{number}.parquet") as output:
        pq.write_table(verdicts, output.path, **PARQUET)
        output.rows = len(verdicts)


def decide_part(task: Task) -> None:
    """Apply the rules of consecutive filters to the signals of one part."""
    rules = [ResolvedRule.model_validate(rule) for rule in task.settings["rules"]]
    columns = ["id", *dict.fromkeys(name for rule in rules for name in rule.signals())]
    signals = read_parquet(task, task.input("signals"), columns)
    previous = read_verdicts(task, signals.column("id"))
    write_verdicts(task, decide(signals, rules, previous), previous.column("keep").combine_chunks())


def quantile_part(task: Task) -> None:
    """Count one round of the histograms from which a quantile bound is found, over documents still kept."""
    rule = ResolvedRule.model_validate(task.settings["rule"])
    signals = read_parquet(task, task.input("signals"), ["id", *rule.signals()])
    kept = read_kept(task, len(signals))
    search = Search.model_validate(task.settings["search"])
    task.facts["histogram"] = rule_histogram(Columns(signals), rule, task.settings["side"], kept, search)


def scatter_duplicates(task: Task) -> None:
    """Write the sorted keys of one part's kept documents for a dedup step."""
    dedup = DEDUPS[task.settings["kind"]]
    settings = dedup.settings.model_validate(task.settings["settings"])
    part = part_handle(task.settings["part"])
    digests = read_parquet(task, task.input("signals"), [TEXT_DIGEST]).column(TEXT_DIGEST).to_numpy()
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
            task.heartbeat("batch")
            numbers = np.flatnonzero(kept)
            chosen = batch.take(pa.array(numbers))
            text = view_text(chosen, views, task.settings["view"]) if dedup.needs_text else None
            keys = dedup.keys(text, pa.Table.from_batches([chosen]), settings, task.settings["priorities"])
            ids = id_words(chosen.column("id"))
            valid = keys.valid
            task.flows["in"].add(chosen.column("id"))
            task.flows["kept"].add(chosen.column("id"))
            task.stats["without_key"] += int((~valid).sum())
            columns_out = [
                keys.key[:, 0],
                keys.key[:, 1],
                keys.rank,
                ids[:, 0],
                ids[:, 1],
                digests[first : first + len(batch)][numbers].view(np.uint64),
                np.full(len(numbers), part, np.uint64),
                (first + numbers).astype(np.uint64),
            ]
            yield pa.record_batch([pa.array(column[valid]) for column in columns_out], schema=DUPLICATE_ROW)

    with task.write("run", "dedup/{key}-{number}.run") as output:
        output.rows = write_run(output.path, rows(), DUPLICATE_ROW, DUPLICATE_SORT)


def merge_runs(task: Task) -> None:
    """Join several run files into one: the merge level of an exchange with many small segments."""
    uris = [task.uri(ref) for ref in task.inputs("runs")]
    batches = merge(uris)
    first = next(batches)
    sort = task.settings["sort"]

    def all_batches() -> Iterator[pa.RecordBatch]:
        yield first
        yield from batches

    with task.write("run", "dedup/{key}-{number}.run") as output:
        output.rows = write_run(output.path, all_batches(), first.schema, sort)


def _columns(batch: pa.RecordBatch) -> dict[str, NDArray[np.uint64]]:
    return {name: batch.column(name).to_numpy() for name in batch.schema.names}


def reduce_duplicates(task: Task) -> None:
    """Find the groups of one key range and write, for each member of a group of two or more, what becomes of it."""
    low, high = (int(bound) for bound in task.settings["range"])
    chunks = (_columns(batch) for batch in merge([task.uri(ref) for ref in task.inputs("runs")], low, high))

    def changes() -> Iterator[pa.RecordBatch]:
        for found in resolve(chunks):
            told = found["drop"] | (found["size"] > 1)
            task.stats["duplicates"] += int(found["drop"].sum())
            names = ("part", "row", "drop", "kept_hi", "kept_lo", "size")
            yield pa.record_batch([pa.array(found[name][told]) for name in names], schema=CHANGE_ROW)

    with task.write("run", "dedup/{key}-{number}.run") as output:
        output.rows = write_run(output.path, changes(), CHANGE_ROW, CHANGE_SORT)


def apply_duplicates(task: Task) -> None:
    """Bring what a dedup step found back to the verdicts of one part."""
    part = part_handle(task.settings["part"])
    verdicts = read_verdicts(task, read_parquet(task, task.input("signals"), ["id"]).column("id"))
    before = verdicts.column("keep").combine_chunks()
    batches = list(merge([task.uri(ref) for ref in task.inputs("runs")], part, part + 1))
    found = pa.Table.from_batches(batches, schema=CHANGE_ROW)
    rows = found.column("row").to_numpy()
    drop = found.column("drop").to_numpy()
    dropped = np.zeros(len(verdicts), dtype=bool)
    dropped[rows[drop]] = True
    words = np.zeros((len(verdicts), 2), dtype=np.uint64)
    words[rows] = np.stack([found.column("kept_hi").to_numpy(), found.column("kept_lo").to_numpy()], axis=1)
    sizes = verdicts.column("cluster_size").fill_null(1).to_numpy().copy()
    sizes[rows] = found.column("cluster_size").to_numpy()
    keep = pc.and_(before, pa.array(~dropped))
    reason = task.settings["reason"]
    added = pc.if_else(pa.array(dropped), pa.scalar(reason), pa.scalar(None, pa.string()))
    columns = {
        "keep": keep,
        "reason": pc.coalesce(verdicts.column("reason").combine_chunks(), added),
        "kept_id": pc.if_else(pa.array(dropped), ids_from_words(words), verdicts.column("kept_id").combine_chunks()),
        "cluster_size": pa.array(sizes),
    }
    table = pa.table([columns.get(name, verdicts.column(name)) for name in VERDICT.names], schema=VERDICT)
    write_verdicts(task, table, before)


def _tokenizer(task: Task) -> Tokenizer:
    refs = task.inputs("tokenizer")
    folder = task.local(refs)
    name = task.settings["tokenizer_name"]
    return registry.load(folder if len(refs) > 1 else os.path.join(folder, os.path.basename(refs[0].path)), name=name)


def train_tokenizer(task: Task) -> None:
    """Train a tokenizer on the kept documents whose selection key is below the threshold, in the order of those keys:
    the same documents give the same bytes, however they are split into files."""
    settings = task.settings
    chosen: list[tuple[int, bytes, str]] = []
    for documents, verdicts in zip(task.inputs("documents"), task.inputs("verdicts"), strict=True):
        keep = read_parquet(task, verdicts, ["keep"]).column("keep").to_numpy()
        columns = ["id", "text", *(edits_column(view) for view in settings["views"])]
        for first, batch in read_batches(task, documents, columns):
            keys = mixing.selection_keys(batch.column("id"), settings["seed"])
            numbers = np.flatnonzero(keep[first : first + len(batch)] & (keys <= np.uint64(int(settings["last_key"]))))
            if len(numbers):
                batch = batch.take(pa.array(numbers))
                text = view_text(batch, settings["views"], settings["view"]).to_pylist()
                chosen += zip(keys[numbers].tolist(), batch.column("id").to_pylist(), text, strict=True)
    chosen.sort(key=lambda entry: entry[:2])
    task.heartbeat("training")
    trainer = train.train_bpe if settings["kind"] == "bpe" else train.train_sentencepiece
    files = trainer((text for _, _, text in chosen), settings["vocab_size"], **settings["options"])
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
                text = view_text(batch, views, settings["view"])
                tokens = _encode(task, tokenizer, batch.column("id"), text)
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


def read_tokens(task: Task, ref: FileRef) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield (number of the first row, batch) of a tokens file."""
    row = 0
    with storage.open_input(task.uri(ref)) as stream:
        file = pa.ipc.open_file(stream)
        for index in range(file.num_record_batches):
            batch = file.get_batch(index)
            yield row, batch
            row += len(batch)


def tally_part(task: Task) -> None:
    """Count documents, bytes and tokens of one part by source, language and what became of them.

    Statistics are keyed ``tally|source|language|reason|unit``; reason is ``kept`` for kept documents. With a token
    budget also ``mix|source|bin``: kept tokens over the selection key, from which quotas are found.
    """
    names = pq.read_schema(storage.open_input(task.uri(task.input("signals")))).names
    wanted = ["id", "source", "text.bytes", *(["language.code"] if "language.code" in names else [])]
    signals = read_parquet(task, task.input("signals"), [name for name in wanted if name in names])
    verdicts = read_parquet(task, task.input("verdicts"), ["id", "keep", "reason"])
    lengths = np.zeros(len(signals), dtype=np.int64)
    if task.inputs("tokens"):
        for first, batch in read_tokens(task, task.input("tokens")):
            lengths[first : first + len(batch)] = pc.list_value_length(batch.column("tokens")).to_numpy()
    table = pa.table(
        {
            "source": signals.column("source"),
            "language": signals.column("language.code").fill_null(UNKNOWN)
            if "language.code" in names
            else pa.array([UNKNOWN] * len(signals), pa.string()),
            "reason": verdicts.column("reason").fill_null("kept"),
            "bytes": signals.column("text.bytes"),
            "tokens": pa.array(lengths),
        }
    )
    grouped = table.group_by(["source", "language", "reason"]).aggregate(
        [([], "count_all"), ("bytes", "sum"), ("tokens", "sum")]
    )
    for row in grouped.to_pylist():
        key = f"tally|{row['source']}|{row['language']}|{row['reason']}|"
        task.stats[key + "documents"] += row["count_all"]
        task.stats[key + "bytes"] += row["bytes_sum"]
        if task.inputs("tokens"):
            task.stats[key + "tokens"] += row["tokens_sum"]
    keep = verdicts.column("keep").to_numpy()
    ids = verdicts.column("id").combine_chunks()
    task.flows["in"].add(ids)
    task.flows["kept"].add(ids.filter(pa.array(keep)))
    task.flows["dropped"].add(ids.filter(pa.array(~keep)))
    if task.settings["mix_seed"] is not None:
        kept = pa.array(keep)
        _count_mix(task, ids.filter(kept), table.column("source").filter(kept), lengths[keep])


def _count_mix(task: Task, ids: pa.Array, source: pa.ChunkedArray, lengths: NDArray[np.int64]) -> None:
    keys = mixing.selection_keys(ids, task.settings["mix_seed"])
    sources = source.combine_chunks()
    for name in pc.unique(sources).to_pylist():
        chosen = pc.equal(sources, name).to_numpy(zero_copy_only=False)
        for place, count in mixing.token_histogram(keys[chosen], lengths[chosen]).items():
            task.stats[f"mix|{name}|{place}"] += count


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
    keep = read_parquet(task, task.input("verdicts"), ["keep"]).column("keep").to_numpy()
    sources = read_parquet(task, task.input("signals"), ["source"]).column("source")
    source = pc.index_in(sources, pa.array(settings["sources"])).to_numpy().astype(np.uint16)
    names = settings["sources"]
    plan = mixing.MixPlan.from_json(settings["mix"]) if settings["mix"] else None
    with storage.open_input(task.uri(task.input("tokens"))) as stream:
        token_type = pa.ipc.open_file(stream).schema.field("tokens").type.value_type
    schema = shuffle_schema(token_type)

    def rows() -> Iterator[pa.RecordBatch]:
        for first, batch in read_tokens(task, task.input("tokens")):
            kept = batch.take(pa.array(np.flatnonzero(keep[first : first + len(batch)])))
            ids = kept.column("id")
            task.flows["in"].add(ids)
            task.flows["kept"].add(ids)
            numbers = source[first : first + len(batch)][keep[first : first + len(batch)]]
            taken, copies = np.arange(len(kept)), np.zeros(len(kept), dtype=np.int64)
            if plan is not None:
                taken, copies = mixing.draw(ids, numbers, names, plan)
            if not len(taken):
                continue
            drawn = kept.take(pa.array(taken))
            words = id_words(drawn.column("id"))
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


def _writer(spec: ShardSpec) -> type[PackedWriter | DocumentsWriter | BestFitWriter]:
    if spec.layout == "documents":
        return DocumentsWriter
    return BestFitWriter if spec.packing == "best_fit" else PackedWriter


def pack_partition(task: Task) -> None:
    """Write one shuffle partition, in shuffle order, as one or more whole shards."""
    low, high = (int(bound) for bound in task.settings["range"])
    partition = task.settings["partition"]
    spec = ShardSpec(**{**task.settings["spec"], "sources": tuple(task.settings["spec"]["sources"])})
    with task.folder("shards") as folder:
        writer = _writer(spec)(folder, spec, partition)
        for batch in merge([task.uri(ref) for ref in task.inputs("runs")], low, high):
            task.heartbeat("batch")
            ids = ids_from_words(np.stack([batch.column(name).to_numpy() for name in ("id_hi", "id_lo")], axis=1))
            writer.write(
                pa.record_batch([ids, batch.column("source"), batch.column("tokens")], ["id", "source", "tokens"])
            )
            task.stats["documents"] += len(batch)
        for summary in writer.close():
            stem = summary.path.removesuffix(".arrow")
            # the digest in the name keeps shards of different settings apart: a receipt never speaks for other bytes
            with task.write("shards", f"shards/{stem}-{{digest}}.arrow") as output:
                os.rename(os.path.join(folder, summary.path), output.path)
                output.rows = summary.rows
                output.facts = summary._asdict()
