"""Byte strings brought together: those of plain slices, wherever they begin and end."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.text.gather import gather_bytes

DATA = bytes(range(256))


@given(st.lists(st.tuples(st.integers(0, 256), st.integers(0, 40)), max_size=30))
def test_byte_strings_are_those_of_plain_slices(spans: list[tuple[int, int]]) -> None:
    starts = np.array([start for start, _ in spans], dtype=np.int64)
    sizes = np.array([min(size, 256 - start) for start, size in spans], dtype=np.int64)
    found = gather_bytes(np.frombuffer(DATA, dtype=np.uint8), starts, sizes)
    expected = [DATA[start : start + size] for start, size in zip(starts.tolist(), sizes.tolist(), strict=True)]
    assert found.to_pylist() == expected


@pytest.mark.parametrize(("start", "size"), [(-1, 2), (250, 7), (0, -1)])
def test_a_string_beyond_the_data_is_refused(start: int, size: int) -> None:
    with pytest.raises(IndexError, match="beyond the 256 bytes"):
        gather_bytes(np.frombuffer(DATA, dtype=np.uint8), np.array([start]), np.array([size]))
