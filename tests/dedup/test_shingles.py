"""Shingles are what the plain definitions say, for any bytes, whatever stands beside a document."""

from __future__ import annotations

import importlib.util
import json
import random
import time
import unicodedata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from curate.dedup import fold_table
from curate.dedup.shingles import MAX_NGRAM, comparable, hash_shingle, new_scratch, shingles
from curate.dedup.shingles_kernel import Scratch, sort_unique
from curate.filters import unicode_table
from curate.text.tables import UNICODE_VERSION, to_bytes


def _load_plain():
    path = Path(__file__).with_name("plain_shingles.py")
    spec = importlib.util.spec_from_file_location("plain_shingles", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


plain = _load_plain()

# What folding, numbers and the choice of a unit turn on, and words around the eight bytes that are read at once
FRAGMENTS = [
    *"aZéÉßİΣς9٣९ \t\n\n.,:;!?'’‘\"“”()[]{}#*-–—/\\@^|~+=%$§_•●…©😀。！中漢かがカｶ한글ကខௌௐ⎖،٫",
    *("\u0301", "\u0e31", "\u200b", "\u200d", "\xad", "\ufeff", "\x00", "\x1c", "\x85", "\u2028", "\xa0", "\ufffd"),
    *("\u0bca", "\u0344", "\u1b44", "\u212b", "\U00010400", "\U0001d7ce", "\U000e0001", "\uf900"),
    *("1,234.50", "3.14", "1..2", "٣٫٤", "v2", "2nd", "the ", "The quick brown fox ", "naïve ", "слово ", "ΟΔΟΣ "),
    *("seven77", "sixteen letters ", "eighteen", "incomprehensibly", "extraordinarily", "日本語の文。", "ภาษาไทย"),
    *("a b c d e ", "a b a b a b ", "x" * 7, "x" * 8, "x" * 9, "ü" * 4, "\xe1\xbb\x87"),
]
texts = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=3), max_size=40).map("".join)
hostile = texts.map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(max_size=80)
several = st.lists(hostile, min_size=1, max_size=6)
units = st.sampled_from(["words", "characters", "auto"])
# assigned for so long that every Python, datatrove's `regex` and our table agree on them
SETTLED = st.characters(codec="utf-8").filter(lambda character: unicodedata.ucd_3_2_0.category(character) != "Cn")


def as_array(documents: list[bytes]) -> pa.Array:
    return pa.array(documents, type=pa.large_binary()).view(pa.large_string())


def sets(text: pa.Array, n: int, unit: str) -> list[list[int]]:
    found = shingles(text, n, unit)
    return [found.hashes[start:end].tolist() for start, end in zip(found.bounds, found.bounds[1:], strict=False)]


@settings(max_examples=400, deadline=None)
@given(hostile, st.integers(1, 7), units)
def test_shingles_equal_their_plain_definition_on_any_bytes(document: bytes, n: int, unit: str) -> None:
    text = document.decode("utf-8", "surrogateescape")
    assert comparable(as_array([document])).to_pylist() == [plain.comparable(text)]
    assert sets(as_array([document]), n, unit) == [plain.shingles(text, n, unit)]


@settings(max_examples=100, deadline=None)
@given(several, st.integers(0, 6), units)
def test_neighbours_splits_and_slices_change_nothing(documents: list[bytes], cut: int, unit: str) -> None:
    whole = as_array(documents)
    together = sets(whole, 3, unit)
    assert sets(whole.slice(0, cut), 3, unit) + sets(whole.slice(cut), 3, unit) == together
    assert sets(as_array(documents[::-1]), 3, unit)[::-1] == together
    assert [sets(as_array([document]), 3, unit)[0] for document in documents] == together


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_null_texts_have_no_shingles_and_other_string_types_have_theirs(kind: pa.DataType) -> None:
    text = pa.array(["one two three", None, "four five"], kind)
    assert [len(found) for found in sets(text, 2, "words")] == [2, 0, 1]
    assert comparable(text).to_pylist() == ["one two three", None, "four five"]
    assert sets(text.slice(1), 2, "words") == sets(text, 2, "words")[1:]
    assert sets(text.slice(3), 2, "words") == comparable(text.slice(3)).to_pylist() == []


@settings(max_examples=200, deadline=None)
@given(st.text(SETTLED, max_size=40))
def test_canonically_equivalent_texts_are_compared_as_one(text: str) -> None:
    forms = [text, *(unicodedata.normalize(form, text) for form in ("NFC", "NFD"))]
    assert len(set(comparable(pa.array(forms, pa.large_string())).to_pylist())) == 1


@settings(max_examples=200, deadline=None)
@given(texts)
def test_what_is_comparable_stays_as_it_is(text: str) -> None:
    once = comparable(as_array([text.encode("utf-8", "surrogatepass")]))
    once.validate(full=True)
    assert comparable(once) == once


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ÉCOLE de l’Été", "ecole de l ete"),
        ("It cost 1,234.50 in 2024 (v2.0)", "it cost 0 0 in 0 v0"),  # a number has one separator, as in datatrove
        ("٣٫١٤ ५", "0 0"),
        ("9\u03449 1\u0301.\u03012 3.\u0301", "0 0 0"),  # what folds to nothing ends no number
        ("co\u00adop\u200cera\u2060tive zero\u200bwidth", "cooperative zero width"),
        ("ΟΔΟΣ οδος", "οδοσ οδοσ"),
        ("‘quote’ «quote» “quote” • quote…", "quote quote quote quote"),
        ("© 100 € → 😀", "0"),
        ("한글", unicodedata.normalize("NFD", "한글")),
        ("İstanbul ẞ Å", "istanbul ß a"),
    ],
)
def test_case_marks_numbers_and_punctuation_do_not_count(text: str, expected: str) -> None:
    assert comparable(pa.array([text])).to_pylist() == [expected]


@pytest.mark.parametrize("unit", ["words", "characters", "auto"])
def test_a_text_of_n_units_is_one_shingle_and_of_fewer_none(unit: str) -> None:
    enough, short = ("a b c d e", "a b c d !") if unit != "auto" else ("漢字かな文", "漢字かな。")
    assert [len(found) for found in sets(pa.array([enough, short, "", "...", " \n"]), 5, unit)] == [1, 0, 0, 0, 0]


def test_auto_takes_characters_from_one_unspaced_letter_in_five_on() -> None:
    at_the_share, below = "漢 abc 1", "漢 abc 1 d"
    assert sets(pa.array([at_the_share, below]), 2, "auto") == [
        plain.shingles(at_the_share, 2, "characters"),
        plain.shingles(below, 2, "words"),
    ]


@pytest.mark.parametrize("size", [47, 48, 5000])
def test_sets_of_any_size_are_sorted_and_hold_each_hash_once(size: int) -> None:
    generator = random.Random(size)
    text = " ".join(generator.choice(["alpha", "beta", "gamma", "delta"]) for _ in range(size + 3))
    repeated = f"{text} {text}"
    assert sets(pa.array([text, repeated, text]), 4, "words") == [
        plain.shingles(text, 4, "words"),
        plain.shingles(repeated, 4, "words"),
        plain.shingles(text, 4, "words"),
    ]


def test_the_hash_of_a_shingle_never_changes() -> None:
    # stored signatures are made of these
    assert [hash_shingle(units) for units in (("a",), tuple("abcde"), ("incomprehensibly", "é", "漢"))] == [
        346802944,
        1063221535,
        1470731704,
    ]


def test_order_counts_within_a_shingle_and_word_boundaries_do() -> None:
    different = [("a", "b"), ("b", "a"), ("ab",), ("a", "b", "b"), ("ab", "b"), ("abcdefgh", "i"), ("abcdefghi",)]
    assert len({hash_shingle(units) for units in different}) == len(different)


@pytest.mark.parametrize("ngram", [0, MAX_NGRAM + 1])
def test_an_impossible_ngram_is_an_error(ngram: int) -> None:
    with pytest.raises(ValueError, match="a shingle has 1 to 64"):
        shingles(pa.array(["a"]), ngram)


def test_the_longest_ngram_is_hashed_like_any_other() -> None:
    text = " ".join(f"w{chr(97 + at % 26)}{chr(97 + at // 26)}" for at in range(MAX_NGRAM + 3))
    assert sets(pa.array([text]), MAX_NGRAM, "words") == [plain.shingles(text, MAX_NGRAM, "words")]


@pytest.mark.parametrize(
    "piece", ["a ", "a", "1", "1.", "漢", "\u0301", " ", "a\u0301", "한", ".", "word " * 200 + "\n"]
)
def test_time_is_linear_in_monotonous_texts(piece: str) -> None:
    def seconds(size: int) -> float:
        text = pa.array([piece * (size // len(piece.encode()))], pa.large_string())
        start = time.process_time()
        for unit in ("words", "characters"):
            shingles(text, 5, unit)
        return time.process_time() - start

    seconds(100)
    assert seconds(2_000_000) < 2.0  # a few hundredths as it is; what is quadratic takes hours


@pytest.mark.skipif(unicodedata.unidata_version != UNICODE_VERSION, reason="the table is of another Unicode version")
def test_the_shipped_table_is_what_its_generator_makes() -> None:
    assert fold_table.FILE.read_bytes() == to_bytes(fold_table.build())


def test_unspaced_letters_are_those_of_the_text_signals() -> None:
    for point in range(0x110000):
        character = chr(point)
        flags = unicode_table.flags_of(character)
        unspaced = bool(fold_table.entry_of(character) & fold_table.UNSPACED)
        # the table has the spacing vowel signs of these scripts, too, which are part of the words
        assert unspaced == bool(flags & unicode_table.SOLO) or (unspaced and flags & unicode_table.COMBINING), point


def _as_in_datatrove(character: str, listed: str) -> bool:
    """Whether it is a character that datatrove and we treat alike: see the list in `curate.dedup.shingles`."""
    category = unicodedata.category(character)
    if category[0] in "PS" or category == "Cf" or character in "Σς":
        return character in listed
    return not unicodedata.combining(character) or category == "Mn"


def test_comparable_texts_are_datatroves_but_for_what_is_listed() -> None:
    text = pytest.importorskip("datatrove.utils.text")

    @settings(max_examples=500, deadline=None)
    @given(
        st.lists(
            st.sampled_from(["1,234.5", "É", " ", "3.", ".3", " ٣٫٤ ", "’s", "\n", "(a)", "İ", "が", "한"])
            | SETTLED.filter(lambda character: _as_in_datatrove(character, text.PUNCTUATION)),
            max_size=30,
        ).map("".join)
    )
    def check(document: str) -> None:
        # it leaves two spaces where a mark stood alone
        assert comparable(pa.array([document])).to_pylist() == [" ".join(text.simplify_text(document).split())]

    check()


def test_five_hundred_languages_are_compared_as_the_plain_definition_says(shared_data: Path) -> None:
    with (shared_data / "dev-data" / "udhr.jsonl").open(encoding="utf-8") as lines:
        documents = [json.loads(line)["text"][:1500] for line in lines]
    text = pa.array(documents, pa.large_string())
    assert comparable(text).to_pylist() == [plain.comparable(document) for document in documents]
    assert sets(text, 5, "auto") == [plain.shingles(document, 5, "auto") for document in documents]
    assert np.all(shingles(text).sizes() > 0)


CROWDED = {
    "spread": np.random.default_rng(3).integers(0, 1 << 32, 3000),
    "small": np.arange(3000)[::-1],
    "equal": np.full(3000, 9),
    "one more than a bucket may hold": np.concatenate([np.arange(2900) << 20, (1500 << 20) + np.arange(40)[::-1]]),
}


@pytest.mark.parametrize("kind", CROWDED)
def test_hashes_are_sorted_whatever_buckets_they_crowd(kind: str) -> None:
    @njit
    def sort(scratch: Scratch, count: int, result: np.ndarray) -> int:
        return sort_unique(scratch, count, result)

    hashes = CROWDED[kind].astype(np.uint32)
    scratch = new_scratch(1, len(hashes))
    scratch.hashes[: len(hashes)] = hashes
    result = np.empty(len(hashes), dtype=np.uint32)
    assert np.array_equal(result[: sort(scratch, len(hashes), result)], np.unique(hashes))
