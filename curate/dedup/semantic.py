"""Semantic dedup inside one cluster: SemDeDup (Abbas et al. 2023, arXiv:2303.09540) and Llama 3's greedy rule.

Both go through the documents of a cluster in an order and look for the most similar one before it. The documents of
sources with a higher priority come first, as in every dedup step; without priorities the order is the paper's.

- ``semdedup``: by the distance to the centroid, the farthest first (section 3: the one "with the lowest cosine
  similarity to the cluster centroid" is kept; `keep_hard` of the published code); a document goes when its similarity
  to *any* earlier one is above 1 - ε, even to one that went itself.
- ``llama3``: by quality, the best first; a document goes when its similarity to one that is *kept* is above 1 - ε
  (Llama 3, arXiv:2407.21783, section 4.2.3: "greedily" leaves open whether dropped examples count; this is our
  reading).

What is left of the order is by document id. Documents with equal vectors are compared once. A cluster of more than
`max_cluster` different vectors is split by k-means again; where that does not divide it, into pieces in its order.
Pairs across such pieces are not compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from curate.dedup.fixed_point import Products, Vectors, least_product, nearest, nearest_earlier, nearest_kept
from curate.dedup.keys import Dedup, GroupSettings
from curate.dedup.kmeans import find_centroids

Scheme = Literal["semdedup", "llama3"]
SPLIT_ROUNDS: Final = 10
SPLIT_SAMPLE: Final = 1 << 14
IDENTICAL: Final = np.iinfo(np.int32).max
"""Stands for the product of equal vectors, above every threshold."""


class SemanticSettings(GroupSettings):
    """Settings of a semantic dedup step: what a document's vector is, how they are clustered, and what goes. Clusters
    are of all documents; within one, only those of one `scope` are compared."""

    embedder: Literal["skipgram", "sentence-transformers", "onnx"] = "skipgram"
    model: str | None = None  # folder of the model; none for skipgram, which is trained on the run
    dim: int = Field(96, ge=8, le=1024)  # of skipgram vectors
    sample_bytes: int = Field(8 << 20, ge=1 << 10)  # of text that skipgram vectors are trained on
    epochs: int = Field(3, ge=1)
    max_chars: int = Field(1200, ge=1)  # of a text that a sentence model reads
    clusters: int | None = Field(None, ge=1)  # the square root of the number of documents if not given
    iterations: int = Field(20, ge=1)  # of k-means; SemDeDup has 100
    kmeans: Literal["builtin", "faiss"] = "builtin"
    max_cluster: int = Field(50_000, ge=2)  # different vectors that are compared with each other
    scheme: Scheme = "semdedup"
    epsilon: float = Field(0.05, ge=0, lt=1)  # what is nearer than a cosine of 1 - epsilon goes
    seed: int = Field(1234, ge=0, lt=1 << 31)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.model is None) != (self.embedder == "skipgram"):
            raise ValueError(
                "model belongs to sentence-transformers and onnx: give the folder of a model, or leave both out"
            )
        if self.quality is not None and self.scheme != "llama3":
            raise ValueError('quality orders documents for scheme = "llama3"; semdedup goes by the distance alone')
        return self


class Found(NamedTuple):
    """What becomes of the documents of a cluster, row for row: `match`, the row that is kept in its place, -1 where the
    row is kept, int64; `best`, the product with the most similar earlier row that counts, int32."""

    match: NDArray[np.int64]
    best: Products


def find_similar(vectors: Vectors, scheme: Scheme, epsilons: Sequence[float], max_cluster: int) -> list[Found]:
    """Find what goes from one cluster at each ε; vectors int16 [rows, dim] in the order of the scheme. SemDeDup
    compares once for all of them."""
    rows = len(vectors)
    packed = np.ascontiguousarray(vectors).view(f"V{vectors.shape[1] * vectors.itemsize}").reshape(-1)
    _, first, inverse = np.unique(packed, return_index=True, return_inverse=True)
    # the rows that are the first of their kind, in order, and for each row the place of its kind among them
    order = np.sort(first)
    place = np.searchsorted(order, first[inverse])
    repeated = order[place] != np.arange(rows)
    thresholds = [least_product(1 - epsilon) for epsilon in epsilons]
    searched: dict[int, tuple[Any, Products]] = {}
    results = []
    for above in thresholds:
        # what an earlier one is most similar to does not depend on the threshold
        asked = above if scheme == "llama3" else min(thresholds)
        if asked not in searched:
            searched[asked] = _search(vectors[order], scheme, asked, max_cluster, 0)
        match, best = searched[asked]
        found = np.where((match >= 0) & (best > above), order[match], -1)[place]
        product = best[place]
        found[repeated] = order[place][repeated]
        product[repeated] = IDENTICAL
        # follow those that went to the one that is kept: matches come earlier, so this ends
        while (going := (found >= 0) & (found[found] >= 0)).any():
            found[going] = found[found[going]]
        results.append(Found(found, product))
    return results


def _search(vectors: Vectors, scheme: Scheme, above: int, max_cluster: int, depth: int) -> tuple[Any, Products]:
    """Return (match or -1, best product) of different vectors; split them while they are too many. For SemDeDup the
    match is the most similar earlier row, whether it is above the threshold or not."""
    rows = len(vectors)
    if rows <= max_cluster:
        return nearest_kept(vectors, above) if scheme == "llama3" else nearest_earlier(vectors)
    pieces = -(-rows // max_cluster)
    number: NDArray[Any] = np.arange(rows) // max_cluster
    if depth < 3:
        sample = vectors[:: max(1, rows // SPLIT_SAMPLE)]
        split, _ = nearest(vectors, find_centroids(sample, 2 * pieces, SPLIT_ROUNDS))
        if np.bincount(split).max() < rows:
            number = split
    match = np.full(rows, -1, dtype=np.int64)
    best = np.full(rows, np.iinfo(np.int32).min, dtype=np.int32)
    for piece in np.unique(number):
        members = np.flatnonzero(number == piece)
        inner, best[members] = _search(vectors[members], scheme, above, max_cluster, depth + 1)
        match[members] = np.where(inner >= 0, members[inner], -1)
    return match, best


SEMANTIC: Final = Dedup(SemanticSettings, None, needs_text=True, version=1, libraries=("fasttext-community",))
