from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import ShardError
from curate.shards.reader import ShardSet
from curate.shards.stream import LAST_BLOCK, TokenStream


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory, toy: object) -> ShardSet:
    folder = tmp_path_factory.mktemp("set")
    toy.write_set(folder, [toy.documents([37] * 9), toy.documents([8], 1)], toy.spec())  # type: ignore[attr-defined]
    return ShardSet.open(str(folder))


def order_of(shards: ShardSet, seed: int, count: int) -> list[int]:
    stream = TokenStream(shards, seed=seed)
    return stream.rows(np.arange(count)).tolist()


def test_an_epoch_has_every_sample_once_and_the_next_another_order(shards: ShardSet) -> None:
    size = len(shards)
    order = order_of(shards, 1, 3 * size)
    epochs = [order[i * size : (i + 1) * size] for i in range(3)]
    assert all(sorted(epoch) == list(range(size)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**40),
    legs=st.lists(st.tuples(st.integers(1, 7), st.integers(0, 40)), min_size=1, max_size=5),
)
def test_resuming_with_any_number_of_ranks_loses_and_repeats_nothing(
    shards: ShardSet, seed: int, legs: list[tuple[int, int]]
) -> None:
    """Each leg is (world size, steps); the ranks of a leg, taken in turn, must give the one global order."""
    seen: list[int] = []
    state = TokenStream(shards, seed=seed).state()
    for world_size, steps in legs:
        ranks = [shards.stream(seed=seed, rank=rank, world_size=world_size) for rank in range(world_size)]
        for stream in ranks:
            stream.load_state(state)
        iterators = [stream.row_numbers() for stream in ranks]
        for _ in range(steps):
            seen += [next(iterator) for iterator in iterators]
        states = [stream.state() for stream in ranks]
        assert all(other == states[0] for other in states)
        state = states[0]
    assert state["consumed"] == len(seen)
    assert seen == order_of(shards, seed, len(seen))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.integers(1, 7), st.integers(1, 3))
def test_a_finite_stream_ends_after_its_epochs(shards: ShardSet, world_size: int, batch_size: int, epochs: int) -> None:
    streams = [shards.stream(seed=3, rank=r, world_size=world_size, epochs=epochs) for r in range(world_size)]
    rows = [list(stream.row_numbers()) for stream in streams]
    assert sorted(row for part in rows for row in part) == sorted(list(range(len(shards))) * epochs)
    assert {stream.consumed for stream in streams} == {epochs * len(shards)}
    batched = [shards.stream(seed=3, rank=r, world_size=world_size, epochs=epochs) for r in range(world_size)]
    for stream, part in zip(batched, rows, strict=True):
        ids = [ids for batch in stream.batches(batch_size) for ids in batch.tolist()]
        assert ids == [shards[row].tolist() for row in part]


def test_batches_are_int64_and_advance_the_state_by_whole_batches(shards: ShardSet) -> None:
    stream = shards.stream(seed=0, rank=1, world_size=2)
    batches = stream.batches(4)
    batch = next(batches)
    assert batch.dtype == np.int64
    assert batch.shape == (4, 8)
    assert stream.consumed == 8
    resumed = shards.stream(seed=0, rank=1, world_size=2)
    resumed.load_state(stream.state())
    assert (next(resumed.batches(4)) == next(batches)).all()


def test_samples_are_views_and_go_on_for_ever(shards: ShardSet) -> None:
    stream = shards.stream(seed=0)
    taken = [ids for ids, _ in zip(stream, range(3 * len(shards)), strict=False)]
    assert len(taken) == 3 * len(shards)
    assert not any(ids.flags.owndata for ids in taken)


def test_the_blocks_in_which_the_order_is_computed_changes_nothing(shards: ShardSet) -> None:
    iterator = shards.stream(seed=5).row_numbers()
    assert [next(iterator) for _ in range(3 * LAST_BLOCK + 3)] == order_of(shards, 5, 3 * LAST_BLOCK + 3)


def test_a_state_loaded_between_two_samples_is_followed(shards: ShardSet) -> None:
    stream = shards.stream(seed=5)
    iterator = stream.row_numbers()
    order = order_of(shards, 5, 10)
    assert [next(iterator) for _ in range(4)] == order[:4]
    stream.load_state({**stream.state(), "consumed": 1})
    assert [next(iterator) for _ in range(4)] == order[1:5]


def test_a_state_of_other_shards_another_seed_or_version_is_refused(shards: ShardSet) -> None:
    stream = shards.stream(seed=5)
    for key, value in (("fingerprint", "0" * 64), ("seed", 6), ("version", 2), ("consumed", -1), ("consumed", "4")):
        with pytest.raises(ShardError, match=key):
            stream.load_state({**stream.state(), key: value})
    with pytest.raises(ShardError):
        stream.load_state({})
    assert stream.consumed == 0


def test_windows_of_another_length_are_another_order(two_partitions: Callable[..., Path]) -> None:
    folder = str(two_partitions(layout="documents"))
    state = ShardSet.open(folder, context_length=6).stream(seed=1).state()
    with pytest.raises(ShardError, match="fingerprint"):
        ShardSet.open(folder, context_length=7).stream(seed=1).load_state(state)


def test_streams_that_make_no_sense_are_refused(shards: ShardSet, two_partitions: Callable[..., Path]) -> None:
    for rank, world_size in ((1, 1), (-1, 2), (0, 0)):
        with pytest.raises(ShardError, match="ranks are"):
            shards.stream(seed=0, rank=rank, world_size=world_size)
    with pytest.raises(ShardError, match="open the shards with a context_length"):
        next(ShardSet.open(str(two_partitions(layout="documents"))).stream(seed=0).batches(2))
    with pytest.raises(ShardError, match="no sample"):
        ShardSet.open(str(two_partitions(layout="documents")), context_length=1000).stream(seed=0)
