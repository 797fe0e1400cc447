"""Near-duplicates of new texts in a finished run, through `datasketch.MinHashLSH` over the run's stored signatures.

The index holds `INDEX_DOCUMENTS` documents of the run at a time, whatever its size: about 270 MB with 14 bands. Texts
are held as signatures. A similarity is the share of equal values of two signatures: with P values its standard error
is √(J(1 - J) / P), 0.04 for J = 0.8 and 112 values.
"""

from __future__ import annotations

import heapq
import itertools
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import datasketch
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curate import storage
from curate.dedup.minhash import MinHashSettings, signatures, to_datasketch
from curate.errors import RecipeError
from curate.filters.edits import apply_edits
from curate.filters.measures import CLEANERS
from curate.pipelines.older_runs import OlderFile, read_signature_manifest
from curate.pipelines.signatures import Signed, read_signatures
from curate.pipelines.texts import list_texts, read_texts
from curate.readers import ReadSettings

INDEX_DOCUMENTS: Final = 50_000
STDIN: Final = "-"
MAX_TEXT_BYTES: Final = 64 << 20
_BATCH_BYTES: Final = 16 << 20


class Near(NamedTuple):
    """A document of the run that is near to a text: its id as 32 hex digits, what is known of it, how near it is
    (estimated, 0 to 1), whether the run kept it, and if not, for which reason it was dropped."""

    id: str
    url: str | None
    source: str
    similarity: float
    kept: bool
    reason: str | None


class Lookup(NamedTuple):
    """A text by its name (file and number), how long it is, how many near-duplicates were `found`, and the nearest of
    them; `short` is true for a text with fewer words than a shingle, which has none."""

    text: str
    bytes: int
    short: bool
    found: int
    near: list[Near]

    def to_json(self) -> dict[str, Any]:
        """Return what was found as plain JSON data."""
        return {**self._asdict(), "near": [one._asdict() for one in self.near]}


class _Texts(NamedTuple):
    names: list[str]
    bytes: list[int]
    values: NDArray[np.uint32]
    valid: NDArray[np.bool_]


class _Hit(NamedTuple):
    """A document that is near to a text; they sort by nearness, then by id."""

    distance: float
    id_hi: int
    id_lo: int
    file: int
    row: int


def read_texts_to_look_up(paths: Sequence[str], tally: Counter[str]) -> Iterator[tuple[str, str]]:
    """Yield (name, text) of everything in files: a record of JSONL, Parquet or a crawl is a text, and so is a whole
    plain text file; ``-`` is standard input as one plain text. What cannot be read is counted in `tally`.

    Raises RecipeError for a pattern that matches nothing.
    """
    for path in paths:
        if path == STDIN:
            text = sys.stdin.buffer.read(MAX_TEXT_BYTES + 1)
            if len(text) > MAX_TEXT_BYTES:
                raise RecipeError(f"standard input: is longer than {MAX_TEXT_BYTES >> 20} MiB")
            yield STDIN, text.decode(errors="replace")
            continue
        try:
            files = list_texts([path])
        except RecipeError as error:
            raise RecipeError([mistake.removeprefix("--input ") for mistake in error.mistakes]) from None
        for kind, file in files:
            if kind == "text":
                if file.size > MAX_TEXT_BYTES:
                    raise RecipeError(f"{path}: is longer than {MAX_TEXT_BYTES >> 20} MiB")
                yield file.name, "".join(read_texts([(kind, file)], ReadSettings(), Counter()))
                continue
            for number, text_of in enumerate(read_texts([(kind, file)], ReadSettings(), tally), start=1):
                yield f"{file.name}:{number}", text_of


def look_up(
    run: str,
    texts: Iterable[tuple[str, str]],
    *,
    step: str | None = None,
    threshold: float | None = None,
    number: int = 10,
) -> list[Lookup]:
    """Return the near-duplicates of (name, text) pairs among the documents that a finished run had signed, in the order
    of the texts. `step` is the MinHash step that is meant where a run has several; `threshold` is its own if not given.
    Of each text all are counted and the `number` nearest returned, ties by id: a cluster may be of any size.

    Raises RecipeError for a run without stored signatures.
    """
    manifest = read_signature_manifest(run, step)
    asked = _signed(texts, manifest.settings, manifest.views)
    least = manifest.settings.threshold if threshold is None else threshold
    found: Counter[int] = Counter()
    nearest: dict[int, list[_Hit]] = {}
    for block in _blocks(manifest.files, INDEX_DOCUMENTS):
        for text, count, hits in _hits(block, asked, manifest.settings, least, number):
            found[text] += count
            nearest[text] = heapq.nsmallest(number, [*nearest.get(text, ()), *hits])
    told = iter(_documents(manifest.files, [hit for hits in nearest.values() for hit in hits]))
    near = {text: list(itertools.islice(told, len(hits))) for text, hits in nearest.items()}
    return [
        Lookup(name, size, not valid, found[text], near.get(text, []))
        for text, (name, size, valid) in enumerate(zip(asked.names, asked.bytes, asked.valid.tolist(), strict=True))
    ]


def make_index(rows: Iterable[tuple[int, NDArray[np.uint32]]], settings: MinHashSettings) -> datasketch.MinHashLSH:
    """Return an index of (key, signature) pairs with the bands and rows of `settings`."""
    index = datasketch.MinHashLSH(num_perm=settings.permutations, params=(settings.bands, settings.rows))
    with index.insertion_session() as session:
        for key, values in rows:
            session.insert(key, to_datasketch(values, settings), check_duplication=False)
    return index


class _Block(NamedTuple):
    """Signatures of documents of the run: values uint32 [rows, permutations], ids uint64 [rows, 2], and where each
    document is, its file and row there."""

    values: NDArray[np.uint32]
    ids: NDArray[np.uint64]
    places: list[tuple[int, int]]


def _blocks(files: Sequence[OlderFile], size: int) -> Iterator[_Block]:
    waiting: list[Signed] = []
    places: list[tuple[int, int]] = []
    for number, file in enumerate(files):
        for batch in read_signatures(file.signatures.path):
            for start in range(0, len(batch.row), size):
                part = batch.take(np.arange(start, min(start + size, len(batch.row))))
                if places and len(places) + len(part.row) > size:
                    yield _block(waiting, places)
                    waiting, places = [], []
                waiting.append(part)
                places += [(number, row) for row in part.row.tolist()]
    if places:
        yield _block(waiting, places)


def _block(waiting: Sequence[Signed], places: list[tuple[int, int]]) -> _Block:
    values, ids = (
        np.concatenate(arrays) for arrays in zip(*((part.values, part.ids) for part in waiting), strict=True)
    )
    return _Block(values, ids, places)


def _hits(
    block: _Block, asked: _Texts, settings: MinHashSettings, least: float, number: int
) -> Iterator[tuple[int, int, list[_Hit]]]:
    """Yield (text, how many documents of the block are near to it, the `number` nearest)."""
    index = make_index(enumerate(block.values), settings)
    for text in np.flatnonzero(asked.valid).tolist():
        keys = np.array(index.query(to_datasketch(asked.values[text], settings)), dtype=np.int64)
        similarity = (block.values[keys] == asked.values[text]).mean(axis=1)
        near = similarity >= least
        keys, distance = keys[near], -similarity[near]
        order = np.lexsort((block.ids[keys, 1], block.ids[keys, 0], distance))[:number]
        chosen = zip(distance[order].tolist(), block.ids[keys[order]].tolist(), keys[order].tolist(), strict=True)
        yield text, len(keys), [_Hit(apart, *words, *block.places[key]) for apart, words, key in chosen]


def _signed(texts: Iterable[tuple[str, str]], settings: MinHashSettings, views: Sequence[str]) -> _Texts:
    """Return the signatures of texts, each brought into the view that the run compared; what a step of the run cut out
    of its documents stays in these."""
    names: list[str] = []
    sizes: list[int] = []
    signed = []
    for batch in _batches(texts):
        text = pa.array([text for _, text in batch], pa.large_string())
        names += [name for name, _ in batch]
        sizes += [len(one.encode(errors="replace")) for _, one in batch]
        for view in (name for name in views if name in CLEANERS):
            text = apply_edits(text, CLEANERS[view].function(text).edits)
        signed.append(signatures(text, settings))
    if not signed:
        return _Texts([], [], np.zeros((0, settings.permutations), np.uint32), np.zeros(0, dtype=bool))
    values, valid = (np.concatenate(column) for column in zip(*signed, strict=True))
    return _Texts(names, sizes, values, valid)


def _batches(texts: Iterable[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    batch: list[tuple[str, str]] = []
    size = 0
    for name, text in texts:
        # a lone surrogate is no Unicode text; Arrow holds none
        batch.append((name, text.encode(errors="replace").decode()))
        size += len(text)
        if size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _documents(files: Sequence[OlderFile], hits: Sequence[_Hit]) -> list[Near]:
    """Return what is known of each hit, reading only the row groups that hold one."""
    rows: dict[int, set[int]] = defaultdict(set)
    for hit in hits:
        rows[hit.file].add(hit.row)
    known: dict[tuple[int, int], Near] = {}
    for number, wanted in sorted(rows.items()):
        chosen = sorted(wanted)
        documents = _rows(files[number].documents, ["id", "url", "source"], chosen)
        verdicts = _rows(files[number].verdicts.path, ["keep", "reason"], chosen)
        for row, document, verdict in zip(chosen, documents, verdicts, strict=True):
            identity = document.pop("id").hex()
            known[number, row] = Near(
                identity, **document, similarity=0.0, kept=verdict["keep"], reason=verdict["reason"]
            )
    return [known[hit.file, hit.row]._replace(similarity=-hit.distance) for hit in hits]


def _rows(uri: str, columns: list[str], wanted: Sequence[int]) -> list[dict[str, Any]]:
    """Return rows of a Parquet file, ascending, as mappings."""
    found: list[dict[str, Any]] = []
    first = 0
    with storage.open_input(uri) as stream:
        file = pq.ParquetFile(stream)
        for group in range(file.num_row_groups):
            count = file.metadata.row_group(group).num_rows
            mine = [row - first for row in wanted if first <= row < first + count]
            if mine:
                found += file.read_row_group(group, columns=columns).take(mine).to_pylist()
            first += count
    return found
