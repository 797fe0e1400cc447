"""Lines and sentences tile their text, have the keys that the plain definitions say, and leave what a join leaves."""

from __future__ import annotations

import hashlib
import re
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.dedup.shingles import comparable
from curate.dedup.units import Units, split_units, unit_cuts, unit_keys
from curate.filters.edits import apply_edits, make_cuts

FRAGMENTS = [
    *"aZéß٣9१ \t\n\n.!?。！»”\"')।—…１％►«x", "\u0301", "\x00", "\x1c", "\x7f", "\x85", "\u2028", "\xa0",
    "3.14", "e.g. ", "中文。", "Yes!", "Name: ", "한글", "🙂",
]  # fmt: skip
SETTLED = st.characters(codec="utf-8").filter(
    # lower case of these depends on their neighbours, or is two characters, in Python
    lambda character: unicodedata.ucd_3_2_0.category(character) != "Cn" and character not in "İΣ"
)
texts = st.lists(st.sampled_from(FRAGMENTS) | st.text(SETTLED, max_size=3), max_size=40).map("".join)
several = st.lists(texts, min_size=1, max_size=5)
kinds = st.sampled_from(["lines", "sentences"])

MARKS = "，。、„”“«»１」「《》´∶：？！（）；–—．～’…━〈〉【】％►"
CONTROLS = "".join(map(chr, [*range(32), *range(127, 160)]))


def ccnet(line: str) -> str:
    """What CCNet hashes of a line (cc_net/text_normalizer.py, normalize_for_dedup)."""
    return re.sub(f"[{MARKS}{re.escape(CONTROLS)}]", "", re.sub(r"\d", "0", line.strip().lower()))


PLAIN = {
    "strip": str.strip,
    "lower": lambda line: line.strip().lower(),
    "ccnet": ccnet,
    "comparable": lambda line: comparable(pa.array([line], pa.large_string())).to_pylist()[0],
}


def as_array(documents: list[str]) -> pa.Array:
    return pa.array(documents, pa.large_string())


def pieces(document: str, units: Units, row: int) -> list[str]:
    data = document.encode()
    numbers = range(units.bounds[row], units.bounds[row + 1])
    return [data[units.starts[number] : units.ends[number]].decode() for number in numbers]


@settings(max_examples=200, deadline=None)
@given(several, kinds)
def test_units_tile_every_text(documents: list[str], kind: str) -> None:
    units = split_units(as_array(documents), kind)
    for row, document in enumerate(documents):
        found = pieces(document, units, row)
        assert "".join(found) == document
        if kind == "lines":
            assert found == re.findall(r"[^\n]*\n|[^\n]+", document)
        elif document.strip():
            assert all(piece.strip() for piece in found)


@settings(max_examples=200, deadline=None)
@given(several, kinds, st.integers(1, 3), st.sampled_from(sorted(PLAIN)))
def test_keys_are_the_hash_of_the_plain_form(documents: list[str], kind: str, span: int, how: str) -> None:
    units = split_units(as_array(documents), kind)
    keys = unit_keys(as_array(documents), units, how, span)
    expected, blank, first = [], [], []
    for row, document in enumerate(documents):
        plain = [PLAIN[how](piece) for piece in pieces(document, units, row)]
        for start in range(len(plain) - span + 1):
            joined = " ".join(plain[start : start + span])
            expected.append(hashlib.sha1(joined.encode()).digest()[:16])
            blank.append(not "".join(plain[start : start + span]))
            first.append(int(units.bounds[row]) + start)
    assert [words.astype(">u8").tobytes() for words in keys.key] == expected
    assert keys.blank.tolist() == blank
    assert keys.first.tolist() == first


@settings(max_examples=200, deadline=None)
@given(several, st.randoms(use_true_random=False))
def test_what_is_left_of_lines_is_joined_by_newlines(documents: list[str], dice) -> None:
    # a line break at the end begins no further line
    documents = [document.rstrip("\n") for document in documents]
    text = as_array(documents)
    units = split_units(text, "lines")
    gone = np.array([dice.random() < 0.4 for _ in units.starts], dtype=bool)
    left = apply_edits(text, make_cuts(*unit_cuts(text, units, gone, "lines"))).to_pylist()
    for row, document in enumerate(documents):
        lines = (
            zip(document.split("\n"), gone[units.bounds[row] : units.bounds[row + 1]], strict=True) if document else ()
        )
        assert left[row] == "\n".join(line for line, goes in lines if not goes)


def test_slices_and_nulls_are_honoured() -> None:
    text = pa.array(["x\ny", None, "é\nb", ""], pa.large_string())
    whole = split_units(text, "lines")
    part = split_units(text.slice(2), "lines")
    assert whole.bounds.tolist() == [0, 2, 2, 4, 4]
    assert part.starts.tolist() == [0, 3]
    keys = [unit_keys(column, units, "ccnet").key.tolist() for column, units in ((text, whole), (text.slice(2), part))]
    assert keys[0][2:] == keys[1]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two! Three?", ["One.", " Two!", " Three?"]),
        ("Pi is 3.14. See e.g.this", ["Pi is 3.14.", " See e.g.this"]),
        ('He said "no." And (left.) Then', ['He said "no."', " And (left.)", " Then"]),
        ("Title\nFirst line\n\nLast.", ["Title", "\nFirst line", "\n\nLast."]),
        ("中文。好的！“对。”完", ["中文。", "好的！", "“对。”", "完"]),
        ("Wait... what?!  Yes. \n", ["Wait...", " what?!", "  Yes. \n"]),
        ("यह है। वह था।", ["यह है।", " वह था।"]),
        (" \n ", [" \n "]),
    ],
)
def test_sentences_end_where_people_end_them(text: str, sentences: list[str]) -> None:
    assert pieces(text, split_units(as_array([text]), "sentences"), 0) == sentences


def test_of_blank_lines_around_a_cut_one_stays() -> None:
    text = as_array(["x\n\nA\n\nx\n\nB\n\nx"])
    units = split_units(text, "lines")
    gone = np.array([piece.strip() == "x" for piece in pieces(text[0].as_py(), units, 0)])
    lists = unit_cuts(text, units, gone, "lines", collapse=True)
    assert apply_edits(text, make_cuts(*lists)).to_pylist() == ["A\n\nB\n"]
