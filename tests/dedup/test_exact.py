"""Which texts are exact copies of each other, and which copy stays."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.dedup.exact import ExactSettings, exact_keys
from curate.dedup.keys import MAX_PRIORITY


def _keys(texts: list[str | None], how: str = "whitespace") -> tuple[list[bytes], np.ndarray]:
    batch = pa.table({"source": ["a"] * len(texts)})
    rows = exact_keys(pa.array(texts, pa.large_string()), batch, ExactSettings(normalise=how), {})  # type: ignore[arg-type]
    return [row.astype(">u8").tobytes() for row in rows.key], rows.valid


SAME = [
    ("whitespace", "a b\n\nc", "  a\tb c \n"),
    ("whitespace", "a\u00a0b\u3000c\u2028d", "a b c d"),
    ("lower_alphanumeric", "It's ÉTÉ, 2024!", "its été 2024"),
]
DIFFERENT = [
    ("none", "a b", "a  b"),
    ("whitespace", "ab", "a b"),
    ("whitespace", "A b", "a b"),
    ("whitespace", "e\u0301", "\u00e9"),
    ("whitespace", "a\u200bb", "a b"),
    ("lower_alphanumeric", "its 2024", "its 2023"),
]


@pytest.mark.parametrize(("how", "one", "other"), SAME)
def test_texts_that_differ_in_what_is_normalised_share_a_key(how: str, one: str, other: str) -> None:
    keys, _ = _keys([one, other], how)
    assert keys[0] == keys[1]


@pytest.mark.parametrize(("how", "one", "other"), DIFFERENT)
def test_other_texts_have_other_keys(how: str, one: str, other: str) -> None:
    keys, _ = _keys([one, other], how)
    assert keys[0] != keys[1]


def test_the_key_is_xxh3_128_of_the_normalised_utf8() -> None:
    keys, _ = _keys(["  été \n 2 "])
    assert keys == [xxhash.xxh3_128_digest("été 2".encode())]


@pytest.mark.parametrize("how", ["none", "whitespace", "lower_alphanumeric"])
def test_a_text_of_which_nothing_is_left_has_no_key(how: str) -> None:
    _, valid = _keys(["", None, "a"], how)
    assert valid.tolist() == [False, False, True]
    if how != "none":
        assert not _keys([" \n\u3000"], how)[1].any()
    if how == "lower_alphanumeric":
        assert not _keys(["*** --- ***"], how)[1].any()


def test_sources_of_higher_priority_rank_first() -> None:
    batch = pa.table({"source": ["low", "high", "other", "high"]})
    priorities = {"low": -MAX_PRIORITY, "high": MAX_PRIORITY}
    rank = exact_keys(pa.array(["x"] * 4, pa.large_string()), batch, ExactSettings(), priorities).rank
    assert rank[1] == rank[3] < rank[2] < rank[0]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.text(), max_size=12), st.integers(0, 12), st.sampled_from(["none", "whitespace", "lower_alphanumeric"])
)
def test_a_key_does_not_depend_on_the_batch_around_its_text(texts: list[str], cut: int, how: str) -> None:
    array = pa.array(texts, pa.large_string())
    batch = pa.table({"source": ["a"] * len(texts)})
    how_settings = ExactSettings(normalise=how)  # type: ignore[arg-type]
    whole = exact_keys(array, batch, how_settings, {})
    tail = exact_keys(array.slice(cut), batch.slice(cut), how_settings, {})
    assert (whole.key[cut:] == tail.key).all()
    assert (whole.valid[cut:] == tail.valid).all()


WHITE_SPACE = " \t\n\x0b\x0c\r\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)


@pytest.mark.parametrize("space", WHITE_SPACE)
def test_every_white_space_is_one_space(space: str) -> None:
    keys, _ = _keys([f"{space}a{space}{space}b", "a b"])
    assert keys[0] == keys[1]


@pytest.mark.parametrize("mark", "\u200b\u180e\u2060\ufeff\xad")
def test_invisible_characters_are_no_white_space(mark: str) -> None:
    keys, _ = _keys([f"a{mark}b", "a b"])
    assert keys[0] != keys[1]
