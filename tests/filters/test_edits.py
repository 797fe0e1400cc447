"""Edits of a text, applied, are the next view of it."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import InvariantError
from curate.filters.edits import apply_edits
from curate.schema import EDITS


def plain(text: bytes, edits: list[dict[str, object]]) -> bytes:
    """The last edit first, so that the offsets of the others hold."""
    for edit in reversed(edits):
        text = text[: edit["start"]] + str(edit["text"]).encode() + text[edit["end"] :]
    return text


@st.composite
def edited(draw: st.DrawFn) -> tuple[bytes, list[dict[str, object]]]:
    text = draw(st.text(max_size=30)).encode()
    bounds = sorted(draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pairs = zip(bounds[::2], bounds[1::2], strict=False)
    return text, [{"start": a, "end": b, "text": draw(st.text(max_size=4))} for a, b in pairs]


@settings(max_examples=200, deadline=None)
@given(st.lists(edited(), max_size=5), st.integers(0, 3))
def test_edits_replace_their_spans_in_any_batch_and_slice(
    rows: list[tuple[bytes, list[dict[str, object]]]], skip: int
) -> None:
    text = pa.array([row[0] for row in rows], type=pa.large_binary()).view(pa.large_string()).slice(skip)
    edits = pa.array([row[1] for row in rows], type=EDITS).slice(skip)
    result = apply_edits(text, edits)
    assert result.view(pa.large_binary()).to_pylist() == [plain(*row) for row in rows[skip:]]


def test_null_edits_change_nothing_and_a_null_text_stays_null() -> None:
    text = pa.array(["same", None, "cut"], type=pa.large_string())
    edits = pa.array([None, None, [{"start": 0, "end": 2, "text": "pu"}]], type=EDITS)
    result = apply_edits(text, edits)
    assert result.to_pylist() == ["same", None, "put"]
    assert result.type == pa.large_string()
    result.validate(full=True)


@pytest.mark.parametrize("spans", [[(2, 1)], [(0, 4)], [(1, 3), (2, 3)], [(2, 3), (0, 1)], [(-1, 1)]])
def test_edits_out_of_order_or_range_are_our_bug(spans: list[tuple[int, int]]) -> None:
    edits = pa.array([[{"start": a, "end": b, "text": ""} for a, b in spans]], type=EDITS)
    with pytest.raises(InvariantError, match="text 0"):
        apply_edits(pa.array(["abc"], type=pa.large_string()), edits)
