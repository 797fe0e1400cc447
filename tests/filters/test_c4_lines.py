"""The C4 line cleaner gives exactly what its plain definition says, as edits of the text it was given."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.filters import c4_lines
from curate.filters.edits import apply_edits
from curate.filters.measures import CLEANERS


def _load_plain():
    path = Path(__file__).with_name("plain_c4_lines.py")
    spec = importlib.util.spec_from_file_location("plain_c4_lines", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


plain = _load_plain()

FRAGMENTS = [
    *"a.!?\"' \t\n\n[]{1\r\x0b\x1c\x85\u2028\u3000é中\u200b",
    *("one two three. ", "One two three four five!", "...", "..", "x" * 999, "é" * 1001, " \n ", "word "),
    *("[1]", "[]", "[edit]", "[citation needed]", "[citation", "needed]", "privacy[2] policy"),
    *("javascript", "JavaScript", "Privacy Policy", "uses  cookies", "use of cookies", "Terms of use", "cookie policy"),
]
hostile = st.lists(st.sampled_from(FRAGMENTS), max_size=25).map(lambda parts: "".join(parts).encode()) | st.binary(
    max_size=60
)


def as_array(documents: list[bytes]) -> pa.Array:
    return pa.array(documents, type=pa.large_binary()).view(pa.large_string())


@settings(max_examples=300, deadline=None)
@given(st.lists(hostile, min_size=1, max_size=4), st.sampled_from(sorted(c4_lines.VARIANTS)))
def test_edits_and_signals_equal_the_plain_definition_on_any_bytes(documents: list[bytes], name: str) -> None:
    text = as_array(documents)
    cleaned = c4_lines.clean_lines(text, name)
    view = apply_edits(text, cleaned.edits).view(pa.large_binary()).to_pylist()
    rows = pa.table(cleaned.signals).to_pylist()
    for document, result, row in zip(documents, view, rows, strict=True):
        outcome = plain.clean(document.decode("utf-8", "surrogateescape"), *c4_lines.VARIANTS[name])
        assert result == outcome.text.encode("utf-8", "surrogateescape")
        removed = sum(outcome.causes.values())
        assert row == {
            f"{name}.removed_fraction": (len(document) - len(result)) / len(document) if document else 0.0,
            f"{name}.removed_line_fraction": removed / outcome.lines if outcome.lines else 0.0,
            f"{name}.citations": outcome.citations,
        } | {f"{name}.lines_removed_{cause}": count for cause, count in outcome.causes.items()}


@pytest.mark.parametrize("name", sorted(c4_lines.VARIANTS))
def test_every_variant_is_a_registered_cleaner_with_the_signals_it_declares(name: str) -> None:
    cleaner = CLEANERS[name]
    _, signals = cleaner.function(as_array([b"One line that stays, because it ends well."]))
    assert {key: str(array.type).replace("double", "float64") for key, array in signals.items()} == cleaner.signals


@pytest.mark.parametrize(
    ("line", "paper", "tfds", "datatrove", "fineweb"),
    [
        ("Two words.", False, False, False, False),
        ("Now three words.", True, False, True, True),
        ("Here are four words.", True, False, True, True),
        ("Here there are five words.", True, True, True, True),
        ("No mark at the end", False, False, False, True),
        ("It goes on and on...", False, False, False, True),
        ('He said: "that is enough"', True, True, True, True),
        ("He said: 'that is enough now'", False, False, True, True),
        ("He said it's enough'...", False, False, False, True),
        ("Please enable JavaScript in your browser.", False, False, False, False),
        ("Read our Privacy Policy before you go.", False, False, False, False),
        ("This site uses cookies for your comfort.", False, False, False, False),
        ("A word of " + "x" * 1000 + " characters stays.", True, True, True, True),
        ("A word of " + "x" * 1001 + " characters goes.", False, False, False, False),
        ("Cited four times so.[1]", True, False, True, True),
        ("Only two [1] [2].", True, False, True, True),
    ],
)
def test_a_line_stays_or_goes_by_variant(line: str, paper: bool, tfds: bool, datatrove: bool, fineweb: bool) -> None:
    expected = {"c4_lines": paper, "c4_lines_tfds": tfds, "c4_lines_datatrove": datatrove, "c4_lines_fineweb": fineweb}
    assert expected.keys() == c4_lines.VARIANTS.keys()
    for name, stays in expected.items():
        text = as_array([line.encode()])
        [view] = apply_edits(text, c4_lines.clean_lines(text, name).edits).to_pylist()
        assert bool(view) is stays, name


def test_citations_are_cut_and_lines_joined() -> None:
    text = as_array([b"  Paris is a city.[1][citation needed]  \n\nMenu\n\nIt is[23] large. \n"])
    cleaned = c4_lines.clean_lines(text)
    assert apply_edits(text, cleaned.edits).to_pylist() == ["Paris is a city.\nIt is large."]
    assert cleaned.signals["c4_lines.citations"].to_pylist() == [3]
    assert cleaned.signals["c4_lines.lines_removed_no_end_mark"].to_pylist() == [1]


def test_a_null_text_has_no_edits_and_null_signals_and_slices_are_honoured() -> None:
    text = pa.array(["gone", None, "One two three.\nno"], type=pa.large_string()).slice(1)
    cleaned = c4_lines.clean_lines(text)
    assert cleaned.signals["c4_lines.removed_fraction"].to_pylist() == [None, 3 / 17]
    assert apply_edits(text, cleaned.edits).to_pylist() == [None, "One two three."]
