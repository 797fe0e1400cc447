"""Spherical k-means on fixed-point vectors (Dhillon and Modha 2001), exact and the same on every machine.

A vector belongs to the centroid with which its product is largest, the first of equals; a centroid is the sum of its
vectors, an exact integer, brought to length one. Starting centroids are spread over the vectors in the order in which
they are given, so the caller gives them in an order that follows from document ids alone.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from curate.dedup.fixed_point import Vectors, nearest, to_fixed

POINTS_PER_CENTROID: Final = 256
"""More points than so many for each centroid change little (as faiss has it)."""


def find_centroids(vectors: Vectors, clusters: int, iterations: int) -> Vectors:
    """Return the centroids of `vectors` (int16 [rows, dim], none of them zero), int16 [k, dim] with 1 <= k <= clusters.

    k is smaller than `clusters` where there are fewer different vectors among the starting ones. It ends before
    `iterations` rounds when no vector changes its centroid. Raises ValueError without a vector.
    """
    if not len(vectors):
        raise ValueError("no vectors to cluster")
    count = min(clusters, len(vectors))
    starts = np.arange(count, dtype=np.int64) * len(vectors) // count
    centroids = np.unique(vectors[starts], axis=0)
    before = np.full(len(vectors), -1, dtype=np.int32)
    for _ in range(iterations):
        number, _ = nearest(vectors, centroids)
        if np.array_equal(number, before):
            break
        before = number
        sums = np.zeros((len(centroids), vectors.shape[1]), dtype=np.int64)
        np.add.at(sums, number, vectors)
        moved, valid = to_fixed(sums)
        # a centroid without vectors, or whose vectors cancel out, stays where it is
        centroids = np.where(valid[:, None], moved, centroids)
    return centroids


def find_centroids_faiss(vectors: Vectors, clusters: int, iterations: int, seed: int) -> Vectors:
    """Return centroids found by faiss (an extra) with one thread: faster at many clusters; the same on one machine and
    one version of it. Raises ImportError without it."""
    import faiss

    faiss.omp_set_num_threads(1)
    points = vectors.astype(np.float32)
    found = faiss.Kmeans(
        points.shape[1], min(clusters, len(points)), niter=iterations, spherical=True, seed=seed,
        max_points_per_centroid=POINTS_PER_CENTROID, min_points_per_centroid=1,
    )  # fmt: skip
    found.train(points)
    centroids, valid = to_fixed(found.centroids)
    return np.unique(centroids[valid], axis=0)
