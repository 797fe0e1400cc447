"""Unit vectors in 16-bit fixed point, so that every cosine is an integer and the same on every machine.

A coordinate x of a vector of length one is kept as round(x · 32767). The product of two vectors is a sum of 32-bit
integers, exact in any order: the number of threads, the size of blocks and the width of the processor's registers
cannot change it. By Cauchy and Schwarz it stays near 32767² < 2³⁰, so 32 bits hold it. Against the float vectors
the cosine is off by less than 2e-4 at 768 dimensions; nothing here rounds anything else.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from curate.text.compiled import Ints, cached, compiled, source_digest

Vectors = NDArray[np.int16]
Products = NDArray[np.int32]
SCALE: Final = 32767
ONE: Final = SCALE * SCALE
"""The product of a vector with itself, up to rounding."""


def to_fixed(vectors: NDArray[Any]) -> tuple[Vectors, NDArray[np.bool_]]:
    """Return vectors (numbers [rows, dim]) at length one in fixed point, and bool [rows], false where a vector is zero
    or not finite: such a row is zero."""
    wide = np.asarray(vectors, dtype=np.float64)
    # summed coordinate by coordinate: numpy's own order of a sum depends on the shape
    squares = np.zeros(len(wide))
    for column in range(wide.shape[1]):
        squares += wide[:, column] * wide[:, column]
    valid = np.isfinite(squares) & (squares > 0)
    length = np.sqrt(np.where(valid, squares, 1.0))
    scaled = np.where(valid[:, None], wide, 0.0) / length[:, None] * SCALE
    return np.rint(scaled).astype(np.int16), valid


def to_cosine(products: NDArray[Any]) -> NDArray[np.float64]:
    """Return products of fixed-point vectors as cosines, float64, at most 1."""
    return np.minimum(np.asarray(products, dtype=np.float64) / ONE, 1.0)


def least_product(cosine: float) -> int:
    """Return the greatest product that is not above `cosine`: a pair is nearer when its product is above it."""
    return int(np.floor(cosine * ONE))


def nearest(vectors: Vectors, centroids: Vectors) -> tuple[NDArray[np.int32], Products]:
    """Return for each vector the number of the centroid with the largest product, the first of equals, int32 [rows],
    and that product, int32 [rows]. vectors int16 [rows, dim]; centroids int16 [k, dim], k >= 1."""
    number = np.zeros(len(vectors), dtype=np.int32)
    best = np.zeros(len(vectors), dtype=np.int32)
    _NEAREST(np.ascontiguousarray(vectors), np.ascontiguousarray(centroids), number, best)
    return number, best


def nearest_earlier(vectors: Vectors) -> tuple[Ints, Products]:
    """Return for each vector the earlier one with the largest product, the first of equals, int64 [rows], and that
    product, int32 [rows]; -1 and the least int32 for the first one. Work grows with the square of the rows."""
    match = np.full(len(vectors), -1, dtype=np.int64)
    best = np.full(len(vectors), np.iinfo(np.int32).min, dtype=np.int32)
    _EARLIER(np.ascontiguousarray(vectors), match, best)
    return match, best


def nearest_kept(vectors: Vectors, above: int) -> tuple[Ints, Products]:
    """Return the same against kept vectors only: a vector is kept when none of those kept before it has a product with
    it above `above`. The match of a kept vector is -1."""
    match = np.full(len(vectors), -1, dtype=np.int64)
    best = np.full(len(vectors), np.iinfo(np.int32).min, dtype=np.int32)
    kept = np.empty_like(np.ascontiguousarray(vectors))
    _KEPT(np.ascontiguousarray(vectors), above, kept, np.empty(len(vectors), dtype=np.int64), match, best)
    return match, best


@compiled
def _product(one: Any, other: Any) -> Any:
    total = np.int32(0)
    for column in range(one.size):
        total += np.int32(one[column]) * np.int32(other[column])
    return total


def _compile(sources: str) -> tuple[Any, Any, Any]:
    """Return the compiled loops; `sources` is a `source_digest`."""

    @cached
    def _nearest(vectors: Any, centroids: Any, number: Any, best: Any) -> None:
        sources  # noqa: B018 - part of the key of the cache on disk
        for row in range(vectors.shape[0]):
            highest = np.int32(-2147483648)
            where = 0
            for k in range(centroids.shape[0]):
                total = _product(vectors[row], centroids[k])
                if total > highest:
                    highest = total
                    where = k
            number[row] = where
            best[row] = highest

    @cached
    def _earlier(vectors: Any, match: Any, best: Any) -> None:
        sources  # noqa: B018 - part of the key of the cache on disk
        rows = vectors.shape[0]
        tile = 64
        # a tile of vectors stays in the cache while all earlier ones pass by once
        for first in range(0, rows, tile):
            last = min(first + tile, rows)
            for other in range(last - 1):
                for row in range(max(first, other + 1), last):
                    total = _product(vectors[row], vectors[other])
                    if total > best[row]:
                        best[row] = total
                        match[row] = other

    @cached
    def _kept(vectors: Any, above: int, kept: Any, names: Any, match: Any, best: Any) -> None:
        sources  # noqa: B018 - part of the key of the cache on disk
        rows, dim = vectors.shape
        count = 0
        for row in range(rows):
            highest = np.int32(-2147483648)
            where = -1
            for other in range(count):
                total = _product(vectors[row], kept[other])
                if total > highest:
                    highest = total
                    where = other
            best[row] = highest
            if where >= 0 and highest > above:
                match[row] = names[where]
            else:
                for column in range(dim):
                    kept[count, column] = vectors[row, column]
                names[count] = row
                count += 1

    return _nearest, _earlier, _kept


_NEAREST, _EARLIER, _KEPT = _compile(source_digest("dedup/fixed_point.py"))
