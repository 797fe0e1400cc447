"""Word vectors of the run itself: fastText's skipgram (Bojanowski et al. 2017) on a sample of its texts.

The words are those of the shingles (`curate.dedup.shingles`): folded, and single characters in scripts without spaces.
Training runs in a process of its own with one thread: the same texts, settings and library give the same vectors. What
fastText computes between equal machines of different make is not promised to the last bit.

The weight of a word is a / (a + p) with a = 10⁻³ and its share p of the sample (Arora et al. 2017, "A simple but
tough-to-beat baseline for sentence embeddings"). A document's vector is the weighted mean over its *different* words,
so that a repeated menu counts once, at length one. Then what all documents have in common is taken from it: their mean
and their first dim // 5 principal directions (Mu and Viswanath 2018, "All-but-the-top"). These hold the language, the
genre and the length, in which any two pages of one site agree: with them, two thirds of a crawl are within a cosine of
0.99 of another page.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
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
MAX_WORD_BYTES: Final = 1 << 10
SCHEMA_NAME: Final = b"word-vectors/1"
Floats = NDArray[np.float32]


class WordVectors(NamedTuple):
    """words uint32 [words], their 32-bit hashes, sorted, each once; vectors float32 [words, dim]; weights float32
    [words]; common float64 [1 + dim // 5, dim], the mean and first directions of documents."""

    words: NDArray[np.uint32]
    vectors: Floats
    weights: Floats
    common: NDArray[np.float64]


def train(texts: Sequence[str], dim: int, epochs: int, folder: str) -> WordVectors:
    """Train vectors on texts; `folder` is scratch space on a local disk.

    Where no word occurs twice there is nothing to learn: the model then knows no word. Raises InputError(embed) when
    fastText fails.
    """
    words = os.path.join(folder, "words.txt")
    seen: set[str] = set()
    repeated = False
    with open(words, "w", encoding="utf-8") as stream:
        for line in _lines(texts):
            stream.write(line + "\n")
            if not repeated:
                tokens = line.split(" ")
                repeated = len(set(tokens)) < len(tokens) or not seen.isdisjoint(tokens)
                seen.update(tokens)
    if not repeated:
        nothing = np.zeros((0, dim), dtype=np.float32)
        common = np.zeros((1 + dim // COMMON_SHARE, dim))
        return WordVectors(np.zeros(0, dtype=np.uint32), nothing, nothing[:, 0].copy(), common)
    order = {"words": words, "dim": dim, "epochs": epochs, "folder": folder}
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
        np.zeros((1 + dim // COMMON_SHARE, dim)),
    )
    means, valid = mean_vectors(pa.array(texts, pa.large_string()), model)
    return model._replace(common=_in_common(means[valid], dim))


def _lines(texts: Sequence[str]) -> Iterator[str]:
    """Yield the words of each text with a space between them, characters in scripts without spaces."""
    array = pa.array(texts, pa.large_string())
    units, words = shingles(array, 1, "auto"), shingles(array, 1, "words")
    for row, folded in enumerate(comparable(array).to_pylist()):
        ours = units.hashes[units.bounds[row] : units.bounds[row + 1]]
        by_word = np.array_equal(ours, words.hashes[words.bounds[row] : words.bounds[row + 1]])
        tokens = folded.split(" ") if by_word else folded.replace(" ", "")
        yield " ".join(token for token in tokens if len(token) <= MAX_WORD_BYTES)


def _in_common(vectors: NDArray[np.float64], dim: int) -> NDArray[np.float64]:
    """Return the mean of vectors and, below it, their first dim // 5 principal directions: float64 [1 + dim // 5, dim].
    Directions that too few vectors leave undefined are zero."""
    common = np.zeros((1 + dim // COMMON_SHARE, dim))
    if len(vectors) < 2:
        return common
    sums, gram = np.zeros(dim), np.zeros((dim, dim))
    _GRAM(vectors, sums, gram)
    common[0] = sums / len(vectors)
    values, directions = np.linalg.eigh(gram / len(vectors) - np.outer(common[0], common[0]))
    first = np.argsort(-values, kind="stable")[: min(len(common) - 1, len(vectors) - 1)]
    common[1 : 1 + len(first)] = directions[:, first].T
    return common


def mean_vectors(text: pa.Array, model: WordVectors) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the vector of each text (large_string [rows]), float64 [rows, dim], and bool [rows], false where no word
    is known: such a row is zero."""
    result = np.zeros((len(text), model.vectors.shape[1]))
    known = np.zeros(len(text), dtype=np.bool_)
    if not len(model.words):
        return result, known
    found = shingles(text, 1, "auto")
    places = np.minimum(np.searchsorted(model.words, found.hashes), len(model.words) - 1)
    hit = model.words[places] == found.hashes
    bounds = np.ascontiguousarray(found.bounds)
    _MEAN(bounds, places, hit, model.vectors, model.weights, model.common, result, known)
    return result, known


def write(path: str, model: WordVectors) -> None:
    """Write a model as an Arrow IPC file."""
    dim = model.vectors.shape[1]
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(model.vectors.reshape(-1)), dim)
    metadata = {b"curate.schema": SCHEMA_NAME, b"common": base64.b64encode(model.common.astype("<f8").tobytes())}
    arrays = [pa.array(model.words), vectors, pa.array(model.weights)]
    batch = pa.record_batch(arrays, names=["word", "vector", "weight"]).replace_schema_metadata(metadata)
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
            np.frombuffer(base64.b64decode(metadata[b"common"]), dtype="<f8").reshape(-1, dim).astype(np.float64),
        )


def _compile(sources: str) -> tuple[Any, Any]:
    """Return the compiled loops; `sources` is a `source_digest`. They add in one order, without fastmath."""

    @cached
    def _mean(
        bounds: Any, places: Any, hit: Any, vectors: Any, weights: Any, common: Any, result: Any, known: Any
    ) -> None:
        sources  # noqa: B018 - part of the key of the cache on disk
        dim = vectors.shape[1]
        for row in range(bounds.size - 1):
            for at in range(bounds[row], bounds[row + 1]):
                if not hit[at]:
                    continue
                known[row] = True
                weight = np.float64(weights[places[at]])
                for column in range(dim):
                    result[row, column] += weight * np.float64(vectors[places[at], column])
            if not known[row]:
                continue
            squares = 0.0
            for column in range(dim):
                squares += result[row, column] * result[row, column]
            length = np.sqrt(squares)
            for column in range(dim):
                result[row, column] = (result[row, column] / length if length > 0.0 else 0.0) - common[0, column]
            for direction in range(1, common.shape[0]):
                along = 0.0
                for column in range(dim):
                    along += result[row, column] * common[direction, column]
                for column in range(dim):
                    result[row, column] -= along * common[direction, column]

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
