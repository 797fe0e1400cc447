"""The reduce over sorted rows against a definition with a dict, under any chunking."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.dedup.groups import ORDER, resolve
from curate.errors import InvariantError

Row = tuple[int, int, int, int, int, int]
Outcome = tuple[bool, tuple[int, int], int]

SMALL = st.integers(0, 2)
BIG = st.sampled_from([0, 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
ROWS = st.lists(st.tuples(SMALL, BIG, SMALL, BIG, SMALL, BIG), max_size=30).map(sorted)


def _chunks(rows: list[Row], cuts: list[int]) -> list[dict[str, np.ndarray]]:
    table = np.array(rows, dtype=np.uint64).reshape(len(rows), len(ORDER))
    edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    return [
        {name: table[start:end, at] for at, name in enumerate(ORDER)} | {"row": np.arange(start, end)}
        for start, end in itertools.pairwise(edges)
    ]


def _definition(rows: list[Row]) -> dict[int, Outcome]:
    groups: dict[tuple[int, int], list[int]] = {}
    for at, row in enumerate(rows):
        groups.setdefault(row[:2], []).append(at)
    outcome: dict[int, Outcome] = {}
    for members in groups.values():
        best = min(members, key=lambda at: (rows[at][2:], at))
        for at in members:
            outcome[at] = (at != best, rows[best][4:], len(members) if at == best else 0)
    return outcome


@settings(max_examples=400, deadline=None)
@given(ROWS, st.lists(st.integers(0, 30), max_size=8))
def test_any_chunking_gives_what_the_definition_gives(rows: list[Row], cuts: list[int]) -> None:
    found: dict[int, Outcome] = {}
    for part in resolve(_chunks(rows, cuts)):
        for at in range(len(part["row"])):
            assert int(part["row"][at]) not in found
            kept = (int(part["kept_hi"][at]), int(part["kept_lo"][at]))
            found[int(part["row"][at])] = (bool(part["drop"][at]), kept, int(part["size"][at]))
    assert found == _definition(rows)


def test_a_structured_array_is_a_chunk_too() -> None:
    chunk = np.zeros(2, dtype=[(name, np.uint64) for name in ORDER])
    chunk["id_lo"] = [4, 9]
    parts = list(resolve([chunk]))
    assert [part["drop"].tolist() for part in parts] == [[True], [False]]
    assert parts[0]["kept_lo"].tolist() == parts[1]["kept_lo"].tolist() == [4]
    assert parts[1]["size"].tolist() == [2]


def test_a_giant_group_is_never_held() -> None:
    rows, chunks = 1000, 300
    base = {name: np.zeros(rows, dtype=np.uint64) for name in ORDER}
    seen = 0
    for part in resolve(
        {**base, "id_lo": np.arange(rows, dtype=np.uint64) + np.uint64(at * rows)} for at in range(chunks)
    ):
        assert len(part["rank"]) <= rows
        seen += len(part["rank"])
    assert seen == rows * chunks
    assert part["size"].tolist() == [rows * chunks]


@pytest.mark.parametrize("split", [0, 1])
def test_unsorted_rows_are_an_error(split: int) -> None:
    rows = [(1, 0, 0, 0, 0, 0), (0, 9, 9, 9, 9, 9)]
    with pytest.raises(InvariantError, match="not sorted"):
        list(resolve(_chunks(rows, [split])))  # type: ignore[arg-type]
