"""The order of uint64 keys: that of a stable sort, for keys of any kind."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.engine.order_kernel import FEW, stable_order

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
