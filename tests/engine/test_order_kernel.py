"""The order of uint64 keys: that of a stable sort, for keys of any kind."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.engine.order_kernel import FEW, MANY, equal_runs, order_ties, stable_order

HASHES = np.random.default_rng(5).integers(0, 1 << 64, 5000, dtype=np.uint64)
KEYS = {
    "hashes": HASHES,
    "one": np.full(5000, 7, dtype=np.uint64),
    "few": HASHES[:9][np.arange(5000) % 9],
    "ascending": np.sort(HASHES),
    "descending": np.sort(HASHES)[::-1],
    # nearly all fall into one bucket, in an order that insertion would need millions of moves for
    "crowded": np.concatenate([np.arange(5000, 0, -1, dtype=np.uint64), [np.uint64(1 << 63)]]),
    "extremes": np.array([0, (1 << 64) - 1] * FEW, dtype=np.uint64),
}


@pytest.mark.parametrize("kind", KEYS)
def test_keys_come_in_the_order_of_a_stable_sort(kind: str) -> None:
    order, found = stable_order(KEYS[kind])
    assert np.array_equal(order, np.argsort(KEYS[kind], kind="stable"))
    assert np.array_equal(found, np.sort(KEYS[kind]))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, (1 << 64) - 1) | st.integers(0, 3), max_size=3 * FEW))
def test_any_keys_come_in_the_order_of_a_stable_sort(values: list[int]) -> None:
    keys = np.array(values, dtype=np.uint64)
    order, found = stable_order(keys)
    assert np.array_equal(order, np.argsort(keys, kind="stable"))
    assert np.array_equal(found, np.sort(keys))


@pytest.mark.parametrize("longest", [2, 5, MANY, 20 * MANY])
def test_ties_are_ordered_by_the_next_column_and_told_where_they_stay(longest: int) -> None:
    draw = np.random.default_rng(longest)
    first = np.sort(np.repeat(draw.permutation(400), draw.integers(1, longest + 1, 400)))[: 40 * MANY].astype(np.uint64)
    second = draw.integers(0, max(2, longest // 2), len(first), dtype=np.uint64)
    rows = draw.permutation(len(first))  # row rows[i] sorts as number i by the first column
    columns = np.empty((2, len(rows)), dtype=np.uint64)
    columns[:, rows] = first, second
    order, values = stable_order(columns[0])
    left = order_ties(order, columns[1], equal_runs(values))
    assert np.array_equal(order, np.lexsort([columns[1], columns[0]]))
    tied = np.zeros(len(rows) - 1, dtype=bool)
    for start, end in left:
        tied[start : end - 1] = True
    assert np.array_equal(tied, (columns[:, order[1:]] == columns[:, order[:-1]]).all(axis=0))


def test_runs_of_nothing_and_of_single_values_are_none() -> None:
    assert equal_runs(np.zeros(0, dtype=np.uint64)).tolist() == []
    assert equal_runs(np.arange(5, dtype=np.uint64)).tolist() == []
    assert equal_runs(np.array([1, 1, 2, 3, 3, 3], dtype=np.uint64)).tolist() == [[0, 2], [3, 6]]
