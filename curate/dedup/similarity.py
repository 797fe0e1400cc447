"""How similar pairs of documents are: exactly, from their sets of shingles, or estimated, from their signatures.

Jaccard similarity is the share of common shingles in all shingles of both texts. Containment is their share in the
smaller set: 1.0 for an excerpt of a longer text. Texts without shingles are similar to nothing, themselves included.

Pairs are given as row numbers, int64 [pairs, 2]; every function is symmetric in them.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from curate.dedup.shingles import Shingles
from curate.text.compiled import Hashes, Ints, cached, source_digest

Similarity = Literal["jaccard", "containment"]
Floats = NDArray[np.float64]


def exact_similarity(shingles: Shingles, pairs: Ints, kind: Similarity = "jaccard") -> Floats:
    """Return the similarity of each pair, float64 [pairs], 0 to 1.

    It is exact but for shingles of one pair that share a 32-bit hash: a thousand shingles in each text change it by
    about 1e-7. Cost: about 3 ns per shingle of both texts on one core.
    """
    return _share(overlaps(shingles, pairs), shingles.sizes(), pairs, kind)


def overlaps(shingles: Shingles, pairs: Ints) -> Ints:
    """Return how many shingles each pair has in common, int64 [pairs]."""
    counts = np.zeros(len(pairs), dtype=np.int64)
    _OVERLAPS(shingles.hashes, shingles.bounds, _checked(pairs, len(shingles.bounds) - 1), counts)
    return counts


def estimated_similarity(values: NDArray[np.uint32], sizes: Ints, pairs: Ints, kind: Similarity = "jaccard") -> Floats:
    """Return the similarity of each pair as their signatures show it, float64 [pairs], 0 to 1.

    values: uint32 [rows, permutations]. sizes: int64 [rows], how many shingles each row has: 0 for those without a
    signature, and needed for containment. The Jaccard similarity is the share of equal values; its standard error is
    √(J(1 - J) / permutations): 0.04 for J = 0.8 and 112 permutations. Containment follows from it and the sizes.
    """
    equal = np.zeros(len(pairs), dtype=np.int64)
    _EQUAL(np.ascontiguousarray(values), _checked(pairs, len(values)), equal)
    jaccard = equal / values.shape[1]
    left, right = sizes[pairs[:, 0]], sizes[pairs[:, 1]]
    smaller = np.minimum(left, right)
    if kind == "containment":
        common = jaccard / (1 + jaccard) * (left + right)
        jaccard = np.minimum(np.divide(common, smaller, out=np.zeros(len(pairs)), where=smaller > 0), 1.0)
    return np.where(smaller > 0, jaccard, 0.0)


def _share(common: Ints, sizes: Ints, pairs: Ints, kind: Similarity) -> Floats:
    left, right = sizes[pairs[:, 0]], sizes[pairs[:, 1]]
    whole = np.minimum(left, right) if kind == "containment" else left + right - common
    return np.divide(common, whole, out=np.zeros(len(pairs)), where=np.minimum(left, right) > 0)


def _checked(pairs: Ints, rows: int) -> Ints:
    """Return the pairs for a kernel that does not check its indices."""
    if len(pairs) and not (pairs.min() >= 0 and pairs.max() < rows):
        raise IndexError(f"a pair names a row beyond 0 to {rows - 1}")
    return np.ascontiguousarray(pairs, dtype=np.int64)


def _compile(sources: str) -> tuple[Any, Any]:
    """Return the compiled loops over pairs; `sources` is a `source_digest`."""

    @cached
    def _overlaps(hashes: Hashes, bounds: Ints, pairs: Ints, counts: Ints) -> None:
        sources  # noqa: B018 - part of the key of the cache on disk
        for pair in range(pairs.shape[0]):
            i, left_end = bounds[pairs[pair, 0]], bounds[pairs[pair, 0] + 1]
            j, right_end = bounds[pairs[pair, 1]], bounds[pairs[pair, 1] + 1]
            count = 0
            while i < left_end and j < right_end:
                # which side moves depends on random bits: adding flags costs less than branches that are guessed wrong
                left, right = hashes[i], hashes[j]
                count += left == right
                i += left <= right
                j += right <= left
            counts[pair] = count

    @cached
    def _equal(values: Hashes, pairs: Ints, counts: Ints) -> None:
        sources  # noqa: B018 - part of the key of the cache on disk
        for pair in range(pairs.shape[0]):
            left, right = values[pairs[pair, 0]], values[pairs[pair, 1]]
            count = 0
            for i in range(left.size):
                count += left[i] == right[i]
            counts[pair] = count

    return _overlaps, _equal


_OVERLAPS, _EQUAL = _compile(source_digest())
