from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.shards.best_fit import best_fit
from curate.shards.reader import ShardSet


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=60))
def test_rows_are_never_overfull_and_best_fit_decreasing_is_followed(lengths: list[int]) -> None:
    rows = best_fit(np.array(lengths, dtype=np.int32), 30)
    assert sorted(set(rows.tolist())) == list(range(rows.max() + 1))
    assert np.bincount(rows, weights=lengths).max() <= 30
    # the plain definition: longest first, into the fullest row with room
    room: list[int] = []
    for length in sorted(lengths, reverse=True):
        fitting = [r for r in room if r >= length]
        if fitting:
            room.remove(min(fitting))
            room.append(min(fitting) - length)
        else:
            room.append(30 - length)
    assert sorted(30 - np.bincount(rows, weights=lengths).astype(int)) == sorted(room)


def test_only_documents_longer_than_a_row_are_cut(toy: Any, tmp_path: Path) -> None:
    lengths = np.random.default_rng(0).integers(1, 60, 300).tolist()
    documents = toy.documents(lengths)
    cut = {}
    for packing in ("concatenate", "best_fit"):
        spec = toy.spec(context_length=40, shard_bytes=1 << 20, packing=packing)
        manifest = toy.write_set(tmp_path / packing, [documents], spec)
        shards = ShardSet.open(str(tmp_path / packing))
        parts = [doc_id for i in range(len(shards)) for doc_id in shards.row(i).doc_ids]
        cut[packing] = len(parts) - len(set(parts))
        assert manifest["totals"]["tokens"] == sum(lengths)
    assert cut["best_fit"] == sum(length > 40 for length in lengths) < cut["concatenate"]


def test_rows_and_documents_keep_the_order_of_arrival(toy: Any, tmp_path: Path) -> None:
    documents = toy.documents([3, 6, 2, 7, 5, 1, 4, 8])
    toy.write_set(tmp_path, [documents], toy.spec(context_length=8, shard_bytes=1 << 20, packing="best_fit"))
    shards = ShardSet.open(str(tmp_path))
    place = {doc_id: i for i, (doc_id, _, _) in enumerate(documents)}
    rows = [[place[doc_id] for doc_id in shards.row(i).doc_ids] for i in range(len(shards))]
    assert all(row == sorted(row) for row in rows)
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)
    assert rows == [[0, 4], [1, 2], [3, 5], [6], [7]]
