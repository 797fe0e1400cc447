"""How often each distinct pre-token occurs: all that BPE training needs to know of a text.

Texts are cut as the encoder cuts them: into the blocks of `bpe.blocks`, then by the split pattern. So a pre-token has
at most about 50,000 characters, and no text costs more than linear time. Llama 3's pattern and its kin are cut by a
kernel on the bytes of Arrow arrays, as are the lines of SentencePiece (`LINES`); any other pattern by the ``regex``
module, at a fifteenth of the speed.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import regex

from curate.errors import InputError, RecipeError
from curate.text.compiled import Ints
from curate.tokenize import bpe, lines_kernel
from curate.tokenize import counts_kernel as kernel
from curate.tokenize.pretokens import PATTERNS
from curate.tokenize.tokenizer import strings

LINES: Final = ""
"""In the place of a split pattern: the words that the SentencePiece trainer makes of a text (see `lines_kernel`)."""
BATCH_CHARACTERS: Final = 4 << 20
MAX_ENTRIES: Final = 1 << 20
MAX_BYTES: Final = 24 << 20
"""A table must hold what one block of `bpe.blocks` may hold: 400,000 words, or 1,600,000 bytes."""
FLUSH_ENTRIES: Final = 1 << 17
EXACT: Final = 256
"""Counts below it have bins of their own."""
KEY_SEED: Final = np.uint64(0)
SORT: Final = ("key",)
COUNTS: Final = pa.schema(
    [
        pa.field("key", pa.uint64(), nullable=False),
        pa.field("word", pa.large_binary(), nullable=False),
        pa.field("count", pa.int64(), nullable=False),
    ]
)
"""A distinct pre-token: a hash of its bytes, which spreads words evenly over its range; its bytes; its count."""


class PretokenCounter:
    """Counts pre-tokens in bounded memory (about 70 MiB): what is full is handed out, to be added up later."""

    def __init__(self, pattern: str = bpe.LLAMA3_PATTERN) -> None:
        known = pattern == LINES or pattern in PATTERNS
        self._pattern = None if known else compile_pattern(pattern)
        # what a kernel is told besides the text: numbers to a pre-token, or a place for one line
        self._told = np.empty(lines_kernel.SCRATCH_BYTES, np.uint8) if pattern == LINES else PATTERNS.get(pattern)
        self._count = lines_kernel.count if pattern == LINES else kernel.count
        self._found: Counter[bytes] = Counter()
        self._found_bytes = 0
        self._table = kernel.Table(
            table=np.full(2 * MAX_ENTRIES, -1, dtype=np.int32),
            hash=np.empty(MAX_ENTRIES, dtype=np.uint64),
            start=np.zeros(MAX_ENTRIES + 1, dtype=np.int64),
            total=np.empty(MAX_ENTRIES, dtype=np.int64),
            data=np.empty(MAX_BYTES, dtype=np.uint8),
            used=np.zeros(2, dtype=np.int64),
        )
        self._seed = np.uint64(secrets.randbits(64))

    def add(self, text: pa.Array, weights: Ints | None = None) -> Iterator[pa.RecordBatch]:
        """Count the pre-tokens of texts (string or large_string), each as often as its weight (int64, 1:1) says, and
        yield counts (schema `COUNTS`) whenever they fill the table. Raises InputError("utf8" or "null")."""
        if text.null_count:
            raise InputError("null", f"{text.null_count} of {len(text)} texts are null; a document always has a text")
        if not len(text):
            return
        weights = np.ones(len(text), dtype=np.int64) if weights is None else weights
        if self._pattern is not None:
            yield from self._add_slowly(text, weights)
            return
        wide = text if pa.types.is_large_string(text.type) else text.cast(pa.large_string())
        try:
            wide.validate(full=True)
        except pa.ArrowInvalid as error:
            raise InputError("utf8", f"a text of the batch is not UTF-8: {error}") from error
        _, positions, data = wide.buffers()
        bounds = np.frombuffer(positions, dtype=np.int64)[wide.offset : wide.offset + len(wide) + 1]
        view: Any = np.frombuffer(data if data is not None else b"", dtype=np.uint8)
        where = np.array([0, bounds[0], bpe.MAX_BLOCK_CHARS], dtype=np.int64)
        while not self._count(view, bounds, weights, self._told, self._seed, self._table, where):
            yield from self.flush()

    def flush(self) -> Iterator[pa.RecordBatch]:
        """Yield what is counted and not yet handed out, if anything, and begin anew."""
        if self._found:
            yield _batch(pa.array(list(self._found), pa.large_binary()), np.array(list(self._found.values()), np.int64))
            self._found.clear()
            self._found_bytes = 0
        entries = int(self._table.used[kernel.ENTRIES])
        if entries:
            for first in range(0, entries, FLUSH_ENTRIES):
                last = min(first + FLUSH_ENTRIES, entries)
                begin, end = self._table.start[first], self._table.start[last]
                starts, data = self._table.start[first : last + 1] - begin, self._table.data[begin:end].copy()
                buffers = [None, pa.py_buffer(starts), pa.py_buffer(data)]
                words = pa.Array.from_buffers(pa.large_binary(), last - first, buffers, null_count=0)
                yield _batch(words, self._table.total[first:last].copy())
            self._table.used[:] = 0
            self._table.table.fill(-1)

    def _add_slowly(self, text: pa.Array, weights: Ints) -> Iterator[pa.RecordBatch]:
        assert self._pattern is not None
        for document, weight in zip(strings(text), weights.tolist(), strict=True):
            for block in bpe.blocks(document) if weight else ():
                for match in self._pattern.finditer(block):
                    word = match.group().encode()
                    if word and not self._found[word]:
                        self._found_bytes += len(word)
                    if word:
                        self._found[word] += weight
                if len(self._found) >= MAX_ENTRIES or self._found_bytes >= MAX_BYTES:
                    yield from self.flush()


def compile_pattern(pattern: str) -> regex.Pattern[str]:
    """Return a split pattern, compiled. Raises RecipeError."""
    try:
        return regex.compile(pattern)
    except regex.error as error:
        raise RecipeError(f"tokenizer.train.pattern: {error}") from error


def _batch(words: pa.Array, counts: Ints) -> pa.RecordBatch:
    keys = np.empty(len(words), dtype=np.uint64)
    _, positions, data = words.buffers()
    kernel.hashes(np.frombuffer(data, np.uint8), np.frombuffer(positions, np.int64), KEY_SEED, keys)
    return pa.record_batch([pa.array(keys), words, pa.array(counts)], schema=COUNTS)


def count_texts(texts: Iterable[str], pattern: str = bpe.LLAMA3_PATTERN) -> tuple[pa.Array, Ints]:
    """Return the distinct pre-tokens of texts (large_binary), in an order that depends on nothing else, and how often
    each occurs (int64, 1:1). All of them are held in memory. Raises InputError."""
    counter = PretokenCounter(pattern)
    found = [batch for text in arrays(texts) for batch in counter.add(text)]
    found += counter.flush()
    ordered = pa.Table.from_batches(found).sort_by("key").to_batches() if found else []
    table = pa.Table.from_batches(add_up(iter(ordered)), schema=COUNTS).combine_chunks()
    return table.column("word").combine_chunks(), table.column("count").to_numpy()


def arrays(texts: Iterable[str]) -> Iterator[pa.Array]:
    """Yield texts in arrays of about `BATCH_CHARACTERS`."""
    held: list[str] = []
    size = 0
    for text in texts:
        held.append(text)
        size += len(text)
        if size >= BATCH_CHARACTERS:
            yield pa.array(held, pa.large_string())
            held, size = [], 0
    yield pa.array(held, pa.large_string())


def add_up(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield each distinct word once, with the sum of its counts, from batches sorted by key; sorted by key and word."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        if not batch.num_rows:
            continue
        keys = batch.column("key")
        # the last key may go on in the next batch, and two words may share a key
        last = keys[len(keys) - 1]
        tail = int(pc.sum(pc.equal(keys, last)).as_py())
        if held and keys[0].as_py() == held[-1].column("key")[0].as_py() and tail == len(batch):
            held.append(batch)
            continue
        yield from _summed([*held, batch.slice(0, len(batch) - tail)])
        held = [batch.slice(len(batch) - tail)]
    yield from _summed(held)


def _summed(batches: list[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    table = pa.Table.from_batches(batches, schema=COUNTS)
    if len(table):
        summed = table.group_by(["key", "word"], use_threads=False).aggregate([("count", "sum")])
        ordered = summed.sort_by([("key", "ascending"), ("word", "ascending")])
        (batch,) = ordered.rename_columns(COUNTS.names).cast(COUNTS).combine_chunks().to_batches()
        yield batch


def histogram(words: pa.Array, counts: Ints) -> dict[int, list[int]]:
    """Return {least count of the bin: [distinct words, their bytes]}: a bin for each count below 256, and above for
    each power of two. Integers that can be added up in any order."""
    edges = np.where(counts < EXACT, counts, np.int64(1) << (np.frexp(counts.astype(np.float64))[1] - 1))
    sizes = pc.binary_length(words).to_numpy(zero_copy_only=False)
    found: dict[int, list[int]] = {}
    for edge in np.unique(edges).tolist():
        here = edges == edge
        found[edge] = [int(here.sum()), int(sizes[here].sum())]
    return found


def least_count(found: Mapping[int, Sequence[int]], min_count: int, merge_bytes: int) -> int:
    """Return how often a word must occur so that all such words, with one byte more for each, fit into `merge_bytes`:
    at least `min_count`, else a count that begins a bin of `histogram`."""
    least, filled = min_count, 0
    for edge in sorted(found, reverse=True):
        filled += sum(found[edge])
        if filled > merge_bytes:
            # this bin as a whole is too much
            above = [bound for bound in found if bound > edge]
            return max(min_count, min(above, default=edge + 1))
        if edge <= min_count:
            break
    return least
