from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import ShardError
from curate.shards.order import mix64, order_key, permute


@settings(max_examples=120, deadline=None)
@given(st.integers(1, 5000), st.integers(-(2**70), 2**70), st.integers(0, 10))
def test_a_permutation_is_a_permutation(size: int, seed: int, epoch: int) -> None:
    rows = permute(np.arange(size), size, order_key("f" * 64, seed, epoch))
    assert (np.sort(rows) == np.arange(size)).all()


@pytest.mark.parametrize("size", [*range(1, 70), 127, 128, 129, 4095, 4096, 4097, 5000])
def test_a_permutation_is_a_permutation_at_the_edges(size: int) -> None:
    assert sorted(permute(np.arange(size), size, order_key("a", 0, 0)).tolist()) == list(range(size))


def test_any_part_of_an_order_is_that_part_of_the_whole() -> None:
    key = order_key("a", 1, 2)
    whole = permute(np.arange(999), 999, key)
    assert (permute(np.arange(500, 600), 999, key) == whole[500:600]).all()
    assert permute(np.array([7]), 999, key)[0] == whole[7]


def test_fingerprint_seed_and_epoch_each_change_the_order() -> None:
    keys = [order_key("a", 1, 2), order_key("b", 1, 2), order_key("a", 3, 2), order_key("a", 1, 4)]
    orders = {tuple(permute(np.arange(100), 100, key).tolist()) for key in keys}
    assert len(orders) == 4


def test_an_order_looks_random() -> None:
    size = 20_000
    rows = permute(np.arange(size), size, order_key("a", 0, 0))
    # the correlation of neighbours and the displacement of a uniform shuffle, within five standard deviations
    assert abs(np.corrcoef(rows[:-1], rows[1:])[0, 1]) < 5 / size**0.5
    assert abs(np.abs(rows - np.arange(size)).mean() / size - 1 / 3) < 0.01
    first = [int(permute(np.array([0]), 10, order_key("a", seed, 0))[0]) for seed in range(2000)]
    assert abs(np.bincount(first, minlength=10) - 200).max() < 75


def test_billions_of_samples_need_no_index() -> None:
    size = 10**12 + 39
    rows = permute(np.array([0, 1, size - 1]), size, order_key("a", 0, 0))
    assert len(set(rows.tolist())) == 3
    assert rows.min() >= 0
    assert rows.max() < size


def test_the_order_is_golden() -> None:
    """Checkpoints hold one integer: the order it indexes may never change."""
    assert permute(np.arange(12), 12, order_key("0" * 64, 7, 1)).tolist() == GOLDEN_12
    assert permute(np.array([0, 1, 2]), 1_000_003, order_key("0" * 64, 7, 1)).tolist() == GOLDEN_LARGE


GOLDEN_12 = [3, 11, 1, 7, 0, 2, 9, 5, 10, 4, 8, 6]
GOLDEN_LARGE = [578690, 868782, 607093]


def test_mix64_is_splitmix64() -> None:
    # the first outputs of the reference generator (xoshiro.di.unimi.it/splitmix64.c) seeded with 1234567
    state = np.array([1234567], dtype=np.uint64) + np.arange(1, 4, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    assert mix64(state).tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_positions_outside_the_epoch_are_refused() -> None:
    with pytest.raises(ShardError, match="outside an epoch"):
        permute(np.array([5]), 5, order_key("a", 0, 0))
    with pytest.raises(ShardError, match="empty"):
        permute(np.array([], dtype=np.int64), 0, order_key("a", 0, 0))
