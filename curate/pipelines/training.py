"""The stages that train a tokenizer on kept documents: count pre-tokens of each part, add them up, learn merges.

A BPE needs no text, only how often each distinct pre-token occurs (for SentencePiece: each word of a line). Parts are
counted one by one into run files (64-bit counts), each key range of them is added up, and what is common enough reaches
the trainer: no task holds more than its tables. Only with options that change how it reads text, SentencePiece is given
the sample itself, in the order of its selection keys.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate import storage
from curate.engine.exchange import merge, write_merged, write_run
from curate.engine.tasks import FileRef, Task
from curate.errors import RecipeError
from curate.pipelines import mixing
from curate.pipelines.parts import local_path, read_batches, read_parquet
from curate.pipelines.quarantine import pieces
from curate.pipelines.train_settings import TrainSettings
from curate.pipelines.views import edits_column, view_text
from curate.schema import ID
from curate.tokenize import bpe, train, train_spm
from curate.tokenize.card import Reading
from curate.tokenize.counts import COUNTS, LINES, SORT, PretokenCounter, add_up, arrays, histogram, least_count

TRAINING_BEAT_S: Final = 30.0
FED_ROWS: Final = 1024
RUN: Final = "tokenizer/{key}-{number}.run"


def plan_of(settings: TrainSettings, base: train.Base | None) -> train.Plan:
    """Return what a byte-level BPE of these settings is to be. Raises RecipeError."""
    specials = settings.specials if settings.specials is not None else base.specials if base else bpe.DEFAULT_SPECIALS
    grown = len(base.tokens) + (settings.new_tokens or 0) + len(specials) if base else 0
    return train.Plan(
        vocab_size=settings.vocab_size or grown,
        pattern=settings.pattern or (base.pattern if base else bpe.LLAMA3_PATTERN),
        specials=tuple(specials),
        min_count=settings.min_count,
        merge_bytes=settings.merge_bytes,
        base=base,
    )


def counted_pattern(settings: TrainSettings, base: train.Base | None) -> str | None:
    """Return by which split pattern the pre-tokens are counted that a tokenizer is trained on; None if it is trained on
    text. Raises RecipeError."""
    if settings.kind == "bpe":
        return plan_of(settings, base).pattern
    return LINES if train_spm.learns_from_counts(settings.sentencepiece) else None


def sample_quotas(
    kept: Mapping[str, int], sample_bytes: int, weights: Mapping[str, float]
) -> dict[str, tuple[int, str]]:
    """Return of each source how often every document is part of the sample, and below which selection key once more.

    `kept`: bytes of each source. The sample has `sample_bytes`, at most all there are; of these each source gives its
    weight, or without `weights` its natural share. A source with less text than that is repeated. The bound is a
    decimal number below 2**64, which JSON would not keep as a number. Raises RecipeError.
    """
    lacking = [name for name, weight in weights.items() if weight > 0 and not kept.get(name)]
    if lacking:
        told = f"{', '.join(lacking)} shall be part of the sample, but nothing of it is kept"
        raise RecipeError(f"tokenizer.train.source_weights: {told}; set 0 or look at its filters")
    total = sum(kept.values())
    budget = min(sample_bytes, total)
    quotas = {}
    for name, size in kept.items():
        wanted = round(weights.get(name, 0.0) * budget) if weights else budget * size // max(1, total)
        copies, rest = divmod(wanted, max(1, size))
        quotas[name] = (copies, str((rest << 64) // max(1, size)))
    return quotas


def _sample(
    task: Task, documents: FileRef, verdicts: FileRef
) -> Iterator[tuple[pa.Array, pa.Array, NDArray[np.int64]]]:
    """Yield (ids, texts, copies) of the documents that one part gives to the sample."""
    settings = task.settings
    keep = read_parquet(task, verdicts, ["keep"]).column("keep").to_numpy()
    columns = ["id", "source", "text", *(edits_column(view) for view in settings["views"])]
    for first, batch in read_batches(task, documents, columns):
        keys = mixing.selection_keys(batch.column("id"), settings["seed"])
        copies = np.zeros(len(batch), dtype=np.int64)
        for name, (whole, bound) in settings["quotas"].items():
            mine = pc.equal(batch.column("source"), name).to_numpy(zero_copy_only=False)
            copies[mine] = whole + (keys[mine] < np.uint64(int(bound)))
        rows = pa.array(np.flatnonzero(copies * keep[first : first + len(batch)]))
        for piece in pieces(task, batch.append_column("copies", pa.array(copies)).take(rows)):
            text = view_text(piece, settings["views"], settings["view"])
            yield piece.column("id"), text, piece.column("copies").to_numpy()


def count_pretokens(task: Task) -> None:
    """Count the pre-tokens of what one part gives to the sample."""
    counter = PretokenCounter(task.settings["pattern"])

    def counted() -> Iterator[pa.RecordBatch]:
        for _, text, copies in _sample(task, task.input("documents"), task.input("verdicts")):
            lengths = {"characters": pc.utf8_length(text), "bytes": pc.binary_length(text)}
            task.stats["documents"] += int(copies.sum())
            for name, each in lengths.items():
                task.stats[name] += int(np.dot(each.to_numpy().astype(np.int64), copies))
            yield from counter.add(text, copies)
        yield from counter.flush()

    with task.write("run", RUN) as output:
        output.rows = write_run(output.path, counted(), COUNTS, SORT)


def sum_pretokens(task: Task) -> None:
    """Add up the counts of one key range; the fact ``histogram`` says how many words occur how often."""
    low, high = (int(bound) for bound in task.settings["range"])

    def chunks() -> Iterator[pa.RecordBatch]:
        for batch in merge([task.uri(ref) for ref in task.inputs("runs")], low, high):
            task.heartbeat("batch")
            task.stats["rows"] += len(batch)
            yield batch

    with task.write("words", RUN) as output:
        output.rows, found, task.stats["pretokens"] = _write_sums(output.path, chunks())
    task.facts["histogram"] = {str(edge): sizes for edge, sizes in sorted(found.items())}


def warm_up(pattern: str) -> None:
    """Compile what counts pre-tokens once, into numba's cache on disk, instead of in every worker at the same time."""
    for _ in _counted(["a"], pattern):
        pass


def _write_sums(path: str, batches: Iterator[pa.RecordBatch]) -> tuple[int, dict[int, list[int]], int]:
    """Add up counts that are sorted by key into a run file; return its rows, their histogram and the sum of counts."""
    found: dict[int, list[int]] = {}
    pretokens = 0

    def summed() -> Iterator[pa.RecordBatch]:
        nonlocal pretokens
        for batch in add_up(batches):
            counts = batch.column("count").to_numpy()
            pretokens += int(counts.sum())
            add_histogram(found, histogram(batch.column("word"), counts))
            yield batch

    return write_merged(path, summed(), COUNTS, SORT), found, pretokens


def add_histogram(total: dict[int, list[int]], part: Mapping[Any, Sequence[int]]) -> None:
    """Add a part of a histogram, whose keys may be text as JSON has them, to `total`."""
    for edge, sizes in part.items():
        held = total.setdefault(int(edge), [0, 0])
        total[int(edge)] = [held[0] + sizes[0], held[1] + sizes[1]]


def read_words(uris: Sequence[str], least: int) -> tuple[pa.Array, NDArray[np.int64]]:
    """Return the words (large_binary) of run files that occur at least so often, and their counts (int64, 1:1)."""
    words, counts = [pa.array([], pa.large_binary())], [np.empty(0, np.int64)]
    for uri in uris:
        for batch in merge([uri]):
            # what a filter returns is a copy, so that blocks of which little is needed are not held
            common = batch.filter(pc.greater_equal(batch.column("count"), least))
            words.append(common.column("word"))
            counts.append(common.column("count").to_numpy())
    return pa.concat_arrays(words), np.concatenate(counts)


def train_tokenizer(task: Task) -> None:
    """Train a tokenizer on the words that are common enough, or on the sample's texts. The same documents give the same
    bytes, however they are split into files."""
    settings = task.settings
    with _beating(task) as begin:
        wanted = TrainSettings.model_validate(settings["train"])
        if "told" not in settings:
            texts = _fed(task, _drawn(task), begin)
            assert wanted.vocab_size is not None
            files = train_spm.train_sentencepiece(texts, wanted.vocab_size, settings=wanted.sentencepiece)
        else:
            begin()
            refs = task.inputs("base")
            base = train.read_base(local_path(task, refs)) if refs else None
            words, counts = read_words([task.uri(ref) for ref in task.inputs("words")], settings["told"]["least_count"])
            files = _learned(words, counts, wanted, base, settings["told"])
    for name in sorted(files):
        with task.write("tokenizer", f"tokenizer/{{key}}/{name}") as output:
            Path(output.path).write_bytes(files[name])


def _learned(
    words: pa.Array,
    counts: NDArray[np.int64],
    settings: TrainSettings,
    base: train.Base | None,
    told: Mapping[str, int],
    name: str = "",
) -> dict[str, bytes]:
    """Return the files of a tokenizer learned from words and their counts."""
    if settings.kind == "bpe":
        return train.from_counts(words, counts, plan_of(settings, base), told, name=name)
    assert settings.vocab_size is not None
    return train_spm.from_counts(words, counts, settings.vocab_size, told, settings=settings.sentencepiece, name=name)


def _drawn(task: Task) -> list[tuple[bytes, str]]:
    """Return the documents of the sample (id, text), copies included, in the order of their selection keys."""
    chosen: list[tuple[int, bytes, str]] = []
    for documents, verdicts in zip(task.inputs("documents"), task.inputs("verdicts"), strict=True):
        for ids, text, copies in _sample(task, documents, verdicts):
            keys = mixing.selection_keys(ids, task.settings["seed"]).tolist()
            drawn = zip(keys, ids.to_pylist(), text.to_pylist(), copies.tolist(), strict=True)
            chosen += [(key, identity, each) for key, identity, each, count in drawn for _ in range(count)]
    chosen.sort(key=lambda entry: entry[:2])
    return [(identity, text) for _, identity, text in chosen]


def _fed(task: Task, documents: Sequence[tuple[bytes, str]], begin: Callable[[], None]) -> Iterator[str]:
    """Yield texts to a trainer. What it dies of while it reads a document is that document's fault; from `begin` on it
    works on all of them at once, and no single one can be named."""
    for start in range(0, len(documents), FED_ROWS):
        ids, text = zip(*documents[start : start + FED_ROWS], strict=True)
        for piece in pieces(task, pa.table({"id": pa.array(ids, ID), "text": pa.array(text, pa.large_string())})):
            yield from piece.column("text").to_pylist()
    begin()


@contextmanager
def _beating(task: Task) -> Iterator[Callable[[], None]]:
    """Give a function from whose call on the heart of the task beats until the block ends: a trainer says nothing for
    as long as it works, and how long that is depends on the text."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(TRAINING_BEAT_S):
            task.heartbeat("training")

    thread = threading.Thread(target=beat, name="training", daemon=True)

    def begin() -> None:
        task.heartbeat("training")
        thread.start()

    try:
        yield begin
    finally:
        over.set()
        if thread.ident is not None:
            thread.join()


def train_on_texts(texts: Iterable[str], settings: TrainSettings, *, name: str = "") -> dict[str, bytes]:
    """Return the files of a tokenizer trained on all of `texts`, outside any run; `settings.base` is a path.

    Counts are kept in a temporary folder, so that memory is bounded. Raises RecipeError and AssetError.
    """
    base = train.read_base(settings.base) if settings.base else None
    pattern = counted_pattern(settings, base)
    if pattern is None:
        assert settings.vocab_size is not None
        return train_spm.train_sentencepiece(texts, settings.vocab_size, settings=settings.sentencepiece, name=name)
    reading = Reading()
    with tempfile.TemporaryDirectory(prefix="curate-train-") as folder:
        run, words_run = storage.join(folder, "counts.run"), storage.join(folder, "words.run")
        write_run(run, _counted(reading.over(texts), pattern), COUNTS, SORT)
        rows, found, pretokens = _write_sums(words_run, merge([run]))
        least = least_count(found, settings.min_count, settings.merge_bytes)
        words, counts = read_words([words_run], least)
    told = {**reading.told(), "pretokens": pretokens, "distinct_pretokens": rows, "least_count": least}
    return _learned(words, counts, settings, base, told, name)


def _counted(texts: Iterable[str], pattern: str) -> Iterator[pa.RecordBatch]:
    """Yield the counts of texts; the tables that this needs are gone when it ends."""
    counter = PretokenCounter(pattern)
    for text in arrays(texts):
        yield from counter.add(text)
    yield from counter.flush()
