from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

import curate.shards
from curate.shards.reader import ShardSet


@pytest.fixture(scope="module")
def torch() -> Any:
    return pytest.importorskip("torch", reason="torch is not installed")


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory, toy: Any) -> ShardSet:
    folder = tmp_path_factory.mktemp("set")
    toy.write_set(folder, [toy.documents([37] * 9)], toy.spec())
    return ShardSet.open(str(folder))


# torch warns of more workers than processors
@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
@pytest.mark.parametrize("workers", [0, 1, 3])
def test_any_number_of_workers_gives_the_same_batches(torch: Any, shards: ShardSet, workers: int) -> None:
    dataset = shards.torch(seed=1, batch_size=4, rank=1, world_size=2, epochs=3)
    loader = torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=workers)
    batches = [batch.tolist() for batch in loader]
    expected = [batch.tolist() for batch in shards.stream(seed=1, rank=1, world_size=2, epochs=3).batches(4)]
    assert batches == expected


def test_batches_are_int64_tensors(torch: Any, shards: ShardSet) -> None:
    batch = next(iter(shards.torch(seed=1, batch_size=4)))
    assert batch.dtype == torch.int64
    assert tuple(batch.shape) == (4, 8)
    assert torch.nn.Embedding(1000, 2)(batch).shape == (4, 8, 2)


def test_the_state_after_some_steps_resumes_there_with_other_ranks_and_workers(torch: Any, shards: ShardSet) -> None:
    first = shards.torch(seed=1, batch_size=4, rank=0, world_size=2)
    state = first.state(3)
    assert state["consumed"] == 24
    second = shards.torch(seed=1, batch_size=6, state=state)
    reference = shards.stream(seed=1)
    reference.load_state(state)
    loader = iter(torch.utils.data.DataLoader(second, batch_size=None, num_workers=2))
    assert next(loader).tolist() == next(reference.batches(6)).tolist()


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_workers_share_the_batches_of_a_rank(monkeypatch: pytest.MonkeyPatch, shards: ShardSet, workers: int) -> None:
    """Without torch: a stand-in plays the DataLoader, which asks its workers in turn."""
    current = SimpleNamespace(id=0, num_workers=workers)
    data = SimpleNamespace(IterableDataset=object, get_worker_info=lambda: current)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(from_numpy=lambda array: array))
    monkeypatch.setitem(sys.modules, "torch.utils.data", data)
    monkeypatch.delitem(sys.modules, "curate.shards.torch", raising=False)
    monkeypatch.delattr(curate.shards, "torch", raising=False)
    dataset = shards.torch(seed=1, batch_size=4, rank=1, world_size=3, epochs=2)
    # the module that was imported with the stand-in must not stay; monkeypatch would bring it back
    del sys.modules["curate.shards.torch"], curate.shards.torch  # type: ignore[attr-defined]
    iterators = [iter(dataset) for _ in range(workers)]
    batches: list[Any] = []
    while (batch := _next_of(iterators, current, len(batches) % workers)) is not None:
        batches.append(batch.tolist())
    expected = shards.stream(seed=1, rank=1, world_size=3, epochs=2).batches(4)
    assert batches == [batch.tolist() for batch in expected]
    assert dataset.state(2)["consumed"] == 2 * 4 * 3
    assert dataset.state(10**6)["consumed"] == 2 * len(shards)


def _next_of(iterators: list[Any], current: SimpleNamespace, worker: int) -> Any:
    current.id = worker
    return next(iterators[worker], None)


def test_without_torch_the_error_names_the_extra(shards: ShardSet) -> None:
    try:
        import torch  # noqa: F401
    except ImportError:
        with pytest.raises(ImportError, match=r"curate-llm\[torch\]"):
            shards.torch(seed=1, batch_size=4)
    else:
        pytest.skip("torch is installed")
