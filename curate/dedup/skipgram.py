"""Word vectors of the run itself: fastText's skipgram (Bojanowski et al. 2017) on a sample of its texts.

The words are those of the shingles (`curate.dedup.shingles`): folded, and single characters in scripts without spaces.
Training runs in a process of its own with one thread: the same texts, settings and library give the same vectors. What
fastText computes between equal machines of different make is not promised to the last bit.

The weight of a word is a / (a + p) with a = 10⁻³ and its share p of the sample (Arora et al. 2017, "A simple but
tough-to-beat baseline for sentence embeddings"). A document's vector is the weighted mean over its *different* words,
so that a repeated menu counts once, at length one. Then what all documents have in common is taken from it: their mean
and their first dim // 5 principal directions (Mu and Viswanath 2018, "All-but-the-top"), which hold the language, the
genre and the length. With them, two thirds of a crawl are within a cosine of 0.99 of another page. The others are
brought to equal variance (Su et al. 2021, "Whitening sentence representations"), or what the pages of one small
language share would outweigh what they say: recipes in Italian were within 0.95 of each other. Few documents show few
directions: one for every ten of them is treated so, and those below keep their proportions.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.dedup.shingles import comparable, shingles
from curate.errors import InputError
from curate.text.compiled import cached, source_digest

SMOOTH: Final = 1e-3
MIN_COUNT: Final = 2
WINDOW: Final = 5
COMMON_SHARE: Final = 5
DOCUMENTS_PER_DIRECTION: Final = 10
LEAST_VARIANCE: Final = 1e-12
"""Of vectors of length one: less is rounding."""
MAX_WORD_BYTES: Final = 1 << 10
SCHEMA_NAME: Final = b"word-vectors/2"
Floats = NDArray[np.float32]


class WordVectors(NamedTuple):
    """words uint32 [words], their 32-bit hashes, sorted, each once; vectors float32 [words, dim]; weights float32
    [words]; mean float64 [dim] of the documents that it was trained on; projection float64 [dim, width], what makes of
    a difference from the mean the vector of a document, where width is at most dim."""

    words: NDArray[np.uint32]
    vectors: Floats
    weights: Floats
    mean: NDArray[np.float64]
    projection: NDArray[np.float64]


def train(texts: Sequence[str], dim: int, epochs: int, folder: str) -> WordVectors:
    """Train vectors on texts; `folder` is scratch space on a local disk.

    Where fewer than two words occur twice there is nothing to learn: the model then knows no word. Raises
    InputError(embed) when fastText fails.
    """
    lines = list(_lines(texts))
    counted = Counter(word for line in lines for word in line.split())
    repeated = {word for word, count in counted.items() if count >= MIN_COUNT}
    # fastText draws words that are not the one at hand: of a single one, for ever
    if len(repeated) < 2:
        nothing = np.zeros((0, dim), dtype=np.float32)
        return WordVectors(np.zeros(0, dtype=np.uint32), nothing, nothing[:, 0].copy(), np.zeros(dim), np.eye(dim))
    # it goes over the text until it has met as many known words as there are words of all kinds
    most_are_rare = 2 * sum(counted[word] for word in repeated) < counted.total()
    words = repeated if most_are_rare else set(counted)
    path = os.path.join(folder, "words.txt")
    with open(path, "w", encoding="utf-8") as stream:
        stream.writelines(" ".join(word for word in line.split() if word in words) + "\n" for line in lines)
    order = {"words": path, "dim": dim, "epochs": epochs, "folder": folder}
    done = subprocess.run(
        [sys.executable, "-m", "curate.dedup.skipgram", json.dumps(order)], capture_output=True, check=False
    )
    if done.returncode != 0:
        told = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or [f"code {done.returncode}"]
        raise InputError("embed", f"no word vectors could be trained on {len(texts)} texts: {told[0][:300]}")
    with open(os.path.join(folder, "names.txt"), encoding="utf-8") as stream:
        names = pa.array(stream.read().split("\n")[:-1])
    counts = np.load(os.path.join(folder, "counts.npy"))
    vectors = np.load(os.path.join(folder, "vectors.npy"))
    found = shingles(names.cast(pa.large_string()), 1, "words")
    # what fastText adds itself, the end of a sentence, is no word here
    single = found.sizes() == 1
    hashes = found.hashes[found.bounds[:-1][single]]
    _, first = np.unique(hashes, return_index=True)
    share = counts[single][first] / max(1, int(counts.sum()))
    model = WordVectors(
        hashes[first],
        np.ascontiguousarray(vectors[single][first], dtype=np.float32),
        (SMOOTH / (SMOOTH + share)).astype(np.float32),
        np.zeros(dim),
        np.eye(dim),
    )
    means, valid = mean_vectors(pa.array(texts, pa.large_string()), model)
    mean, projection = _whitening(means[valid])
    return model._replace(mean=mean, projection=projection)


def _lines(texts: Sequence[str]) -> Iterator[str]:
    """Yield the words of each text with a space between them, characters in scripts without spaces."""
    array = pa.array(texts, pa.large_string())
    units, words = shingles(array, 1, "auto"), shingles(array, 1, "words")
    for row, folded in enumerate(comparable(array).to_pylist()):
        ours = units.hashes[units.bounds[row] : units.bounds[row + 1]]
        by_word = np.array_equal(ours, words.hashes[words.bounds[row] : words.bounds[row + 1]])
        tokens = folded.split(" ") if by_word else folded.replace(" ", "")
        yield " ".join(token for token in tokens if len(token) <= MAX_WORD_BYTES)


def _whitening(vectors: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean of vectors (float64 [rows, dim]), float64 [dim], and the projection of what differs from it,
    float64 [dim, width]: without the first directions, the others at equal variance as far as the rows show it."""
    rows, dim = vectors.shape
    if rows < 2:
        return np.zeros(dim), np.eye(dim)
    sums, gram = np.zeros(dim), np.zeros((dim, dim))
    _GRAM(vectors, sums, gram)
    mean = sums / rows
    variances, directions = np.linalg.eigh(gram / rows - np.outer(mean, mean))
    largest = np.argsort(-variances, kind="stable")
    variances, directions = variances[largest], directions[:, largest]
    shown = min(dim, rows // DOCUMENTS_PER_DIRECTION)
    left_out = min(dim // COMMON_SHARE, shown)
    least = max(variances[max(shown, left_out + 1) - 1], LEAST_VARIANCE)
    return mean, np.ascontiguousarray((directions / np.sqrt(np.maximum(variances, least)))[:, left_out:])


def mean_vectors(text: pa.Array, model: WordVectors) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the vector of each text (large_string [rows]), float64 [rows, width], and bool [rows], false where no word
    is known: such a row is zero."""
    result = np.zeros((len(text), model.projection.shape[1]))
    known = np.zeros(len(text), dtype=np.bool_)
    if not len(model.words):
        return result, known
    found = shingles(text, 1, "auto")
    places = np.minimum(np.searchsorted(model.words, found.hashes), len(model.words) - 1)
    hit = model.words[places] == found.hashes
    bounds = np.ascontiguousarray(found.bounds)
    total = np.empty(len(model.mean))
    _MEAN(bounds, places, hit, model.vectors, model.weights, model.mean, model.projection, total, result, known)
    return result, known


def write(path: str, model: WordVectors) -> None:
    """Write a model as an Arrow IPC file."""
    dim = model.vectors.shape[1]
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(model.vectors.reshape(-1)), dim)
    stored = {b"mean": model.mean, b"projection": model.projection}
    metadata = {name: base64.b64encode(array.astype("<f8").tobytes()) for name, array in stored.items()}
    arrays = [pa.array(model.words), vectors, pa.array(model.weights)]
    batch = pa.record_batch(arrays, names=["word", "vector", "weight"])
    batch = batch.replace_schema_metadata({b"curate.schema": SCHEMA_NAME, **metadata})
    with pa.ipc.new_file(path, batch.schema) as writer:
        writer.write_batch(batch)


def read(path: str) -> WordVectors:
    """Read what `write` wrote. Raises InputError(schema) for any other file."""
    with pa.memory_map(path) as stream:
        file = pa.ipc.open_file(stream)
        metadata = file.schema.metadata or {}
        if metadata.get(b"curate.schema") != SCHEMA_NAME:
            raise InputError("schema", f"{os.path.basename(path)}: holds no word vectors")
        batch = file.get_batch(0)
        dim = batch.column("vector").type.list_size
        return WordVectors(
            batch.column("word").to_numpy().copy(),
            batch.column("vector").flatten().to_numpy().reshape(-1, dim).copy(),
            batch.column("weight").to_numpy().copy(),
            _stored(metadata[b"mean"]),
            _stored(metadata[b"projection"]).reshape(dim, -1),
        )


def _stored(text: bytes) -> NDArray[np.float64]:
    return np.frombuffer(base64.b64decode(text), dtype="<f8").astype(np.float64)


def _compile(sources: str) -> tuple[Any, Any]:
    """Return the compiled loops; `sources` is a `source_digest`. They add in one order, without fastmath."""

    @cached
    def _mean(
        bounds: Any,
        places: Any,
        hit: Any,
        vectors: Any,
        weights: Any,
        mean: Any,
        projection: Any,
        total: Any,
        result: Any,
        known: Any,
    ) -> None:
        sources  # noqa: B018 - part of the key of the cache on disk
        dim = vectors.shape[1]
        for row in range(bounds.size - 1):
            total[:] = 0.0
            for at in range(bounds[row], bounds[row + 1]):
                if not hit[at]:
                    continue
                known[row] = True
                weight = np.float64(weights[places[at]])
                for column in range(dim):
                    total[column] += weight * np.float64(vectors[places[at], column])
            if not known[row]:
                continue
            squares = 0.0
            for column in range(dim):
                squares += total[column] * total[column]
            length = np.sqrt(squares)
            for column in range(dim):
                apart = (total[column] / length if length > 0.0 else 0.0) - mean[column]
                for to in range(projection.shape[1]):
                    result[row, to] += apart * projection[column, to]

    @cached
    def _gram(vectors: Any, sums: Any, result: Any) -> None:
        sources  # noqa: B018 - part of the key of the cache on disk
        rows, dim = vectors.shape
        for row in range(rows):
            for i in range(dim):
                sums[i] += vectors[row, i]
                for j in range(dim):
                    result[i, j] += vectors[row, i] * vectors[row, j]

    return _mean, _gram


_MEAN, _GRAM = _compile(source_digest("dedup/skipgram.py"))


def main(order: dict[str, Any]) -> None:
    """Train in this process and leave names, counts and vectors in the folder of `order`."""
    import fasttext

    model = fasttext.train_unsupervised(
        order["words"], model="skipgram", dim=order["dim"], epoch=order["epochs"], ws=WINDOW, minCount=MIN_COUNT,
        minn=0, maxn=0, thread=1, verbose=0,
    )  # fmt: skip
    names, counts = model.get_words(include_freq=True)
    vectors = np.stack([model.get_word_vector(name) for name in names])
    np.save(os.path.join(order["folder"], "counts.npy"), np.asarray(counts, dtype=np.int64))
    np.save(os.path.join(order["folder"], "vectors.npy"), vectors.astype(np.float32))
    with open(os.path.join(order["folder"], "names.txt"), "w", encoding="utf-8") as stream:
        stream.writelines(f"{name}\n" for name in names)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
