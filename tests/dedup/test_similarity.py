"""Similarities of pairs against Python's sets, and what signatures estimate."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.dedup.shingles import Shingles
from curate.dedup.similarity import estimated_similarity, exact_similarity, overlaps

HASHES = st.sampled_from([0, 1, 2, 3, 5, 8, 2**31, 2**32 - 2, 2**32 - 1])
SETS = st.lists(st.sets(HASHES, max_size=8), min_size=1, max_size=6)


def as_shingles(sets: list[set[int]]) -> Shingles:
    hashes = np.array([value for one in sets for value in sorted(one)], dtype=np.uint32)
    return Shingles(hashes, np.cumsum([0, *map(len, sets)], dtype=np.int64))


def all_pairs(count: int) -> np.ndarray:
    return np.array([(a, b) for a in range(count) for b in range(count)], dtype=np.int64).reshape(-1, 2)


@settings(max_examples=300, deadline=None)
@given(SETS)
def test_similarities_are_those_of_pythons_sets(sets: list[set[int]]) -> None:
    shingles, pairs = as_shingles(sets), all_pairs(len(sets))
    common = [len(sets[a] & sets[b]) for a, b in pairs.tolist()]
    jaccard, containment = [], []
    for a, b in pairs.tolist():
        empty = not sets[a] or not sets[b]
        jaccard.append(0.0 if empty else len(sets[a] & sets[b]) / len(sets[a] | sets[b]))
        containment.append(0.0 if empty else len(sets[a] & sets[b]) / min(len(sets[a]), len(sets[b])))
    assert overlaps(shingles, pairs).tolist() == common
    assert exact_similarity(shingles, pairs).tolist() == jaccard
    assert exact_similarity(shingles, pairs, "containment").tolist() == containment


def test_four_shared_of_five_are_just_similar_enough_and_four_of_six_are_not() -> None:
    shingles = as_shingles([{1, 2, 3, 4}, {1, 2, 3, 4, 5}, {1, 2, 3, 4, 5, 6}])
    pairs = np.array([[0, 1], [1, 0], [0, 2]])
    assert (exact_similarity(shingles, pairs) >= 0.8).tolist() == [True, True, False]
    assert exact_similarity(shingles, pairs, "containment").tolist() == [1.0, 1.0, 1.0]


def test_an_estimate_is_the_share_of_equal_values() -> None:
    values = np.array([[1, 2, 3, 4], [1, 2, 3, 9], [9, 9, 9, 9], [1, 2, 3, 4]], dtype=np.uint32)
    sizes = np.array([6, 8, 5, 0])
    pairs = np.array([[0, 0], [0, 1], [0, 2], [0, 3]])
    assert estimated_similarity(values, sizes, pairs).tolist() == [1.0, 0.75, 0.0, 0.0]
    # 0.75 of the union of 6 and 8 shingles: 6 in common, all of the smaller
    assert estimated_similarity(values, sizes, pairs, "containment").tolist() == [1.0, 1.0, 0.0, 0.0]


def test_an_estimate_is_near_the_similarity_and_never_above_one() -> None:
    generator = np.random.default_rng(3)
    values = generator.integers(0, 2**32, (2, 4096), dtype=np.uint32)
    values[1, generator.random(4096) < 0.3] = values[0, 0]
    values[1, 1024:] = values[0, 1024:]
    sizes = np.array([100, 100])
    pairs = np.array([[0, 1]])
    jaccard = estimated_similarity(values, sizes, pairs)[0]
    assert jaccard == pytest.approx(0.75, abs=0.01)
    assert estimated_similarity(values, sizes, pairs, "containment")[0] == pytest.approx(2 * jaccard / (1 + jaccard))
    assert estimated_similarity(values, np.array([1, 10**9]), pairs, "containment").tolist() == [1.0]


def test_no_pairs_are_no_similarities() -> None:
    pairs = np.zeros((0, 2), dtype=np.int64)
    assert exact_similarity(as_shingles([{1}]), pairs).tolist() == []
    assert estimated_similarity(np.zeros((1, 4), dtype=np.uint32), np.array([1]), pairs).tolist() == []


@pytest.mark.parametrize("pair", [[0, 2], [-1, 0]])
def test_a_row_that_is_not_there_is_an_error(pair: list[int]) -> None:
    shingles = as_shingles([{1}, {2}])
    with pytest.raises(IndexError, match="beyond 0 to 1"):
        exact_similarity(shingles, np.array([pair]))
    with pytest.raises(IndexError, match="beyond 0 to 1"):
        estimated_similarity(np.zeros((2, 4), dtype=np.uint32), np.array([1, 1]), np.array([pair]))
