"""Where keys stand in TOML, writing it, and --set."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.pipelines.toml_text import apply_override, key_lines, parse_override, write_toml

TEXT = '''# a comment with [brackets] = "quotes"
name = "x" # [no.table]
"quoted key" = 1
a.b = { c = 1, "d.e" = [1, 2] }
text = """
[not.a.table]
key = 1 \\""" still
"""
raw = \'\'\'it's "raw" # text\'\'\'
list = [
  "one", # two, three
  { x = "]" },
  [1, 2],
]
date = 2024-01-01T00:00:00Z

[table]
x = -1.5e3

  [ table . "sub table" ]
  y = true

[[items]]
name = "first"
[items.inner]
z = 1
[[items]]
name = "second"
inner.z = 2
[[items.deep]]
k = 1
[[items.deep]]
k = 2
'''


def test_every_key_is_found_on_its_line() -> None:
    lines = key_lines(TEXT)
    written = TEXT.splitlines()
    expected = {
        ("name",): 'name = "x"',
        ("quoted key",): '"quoted key"',
        ("a", "b", "c"): "a.b =",
        ("a", "b", "d.e", 1): "a.b =",
        ("text",): "text =",
        ("raw",): "raw =",
        ("list", 0): '"one"',
        ("list", 1, "x"): "{ x",
        ("list", 2, 1): "[1, 2]",
        ("date",): "date",
        ("table",): "[table]",
        ("table", "x"): "x = -1.5e3",
        ("table", "sub table", "y"): "y = true",
        ("items", 0, "name"): 'name = "first"',
        ("items", 0, "inner", "z"): "z = 1",
        ("items", 1, "name"): 'name = "second"',
        ("items", 1, "inner", "z"): "inner.z = 2",
        ("items", 1, "deep", 0, "k"): "k = 1",
        ("items", 1, "deep", 1, "k"): "k = 2",
    }
    for place, start in expected.items():
        assert written[lines[place] - 1].strip().startswith(start), place
    assert ("not", "a", "table") not in lines
    assert ("no",) not in lines


def _places(value: Any, place: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
    found = {place} if place else set()
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return found.union(*(_places(inner, (*place, key)) for key, inner in items))


KEYS = st.text(st.characters(codec="utf-8"), max_size=6)
SCALARS = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(codec="utf-8"), max_size=20),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_what_is_written_reads_back_equal_and_every_key_of_it_has_a_line(table: dict[str, Any]) -> None:
    text = write_toml(table)
    assert tomllib.loads(text) == table
    assert set(key_lines(text)) == _places(table)


def test_none_is_left_out() -> None:
    assert write_toml({"a": None, "b": {"c": None}}) == "[b]\n"


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("a.b.c=12", ("a", "b", "c"), 12),
        ("a = 0.5", ("a",), 0.5),
        ("a=true", ("a",), True),
        ("a=off", ("a",), "off"),
        ('a="12"', ("a",), "12"),
        ('a=["x", "y"]', ("a",), ["x", "y"]),
        ("a={quantile=0.9}", ("a",), {"quantile": 0.9}),
        ("a=s3://bucket/key?x=1", ("a",), "s3://bucket/key?x=1"),
        ('a."b.c"=1', ("a", "b.c"), 1),
        ("a=", ("a",), ""),
        ("a=1\nb=2", ("a",), "1\nb=2"),
    ],
)
def test_an_override_is_a_key_path_and_a_value(text: str, path: tuple[str, ...], value: Any) -> None:
    assert parse_override(text) == (path, value)


@pytest.mark.parametrize("text", ["a.b", "=1", "a..b=1", "a b=1", ".a=1", "[a]=1", "a=1=\nb"])
def test_a_bad_override_says_what_is_wrong(text: str) -> None:
    if text == "a=1=\nb":
        assert parse_override(text) == (("a",), "1=\nb")
        return
    with pytest.raises(ValueError, match="write"):
        parse_override(text)


def test_an_override_reaches_into_lists_by_number_and_by_name() -> None:
    table: dict[str, Any] = {"sources": [{"name": "web"}, {"name": "books"}]}
    assert apply_override(table, ("sources", "books", "weight"), 0.5) == ("sources", 1, "weight")
    assert apply_override(table, ("sources", "0", "columns", "text"), "body") == ("sources", 0, "columns", "text")
    assert table == {"sources": [{"name": "web", "columns": {"text": "body"}}, {"name": "books", "weight": 0.5}]}
    with pytest.raises(ValueError, match="sources has no item news; it has web, books"):
        apply_override(table, ("sources", "news", "weight"), 1)
    with pytest.raises(ValueError, match="is a value and has no key"):
        apply_override(table, ("sources", "web", "name", "x"), 1)
