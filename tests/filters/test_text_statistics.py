"""The kernel gives exactly what the plain definitions say, for any bytes, whatever stands beside a document."""

from __future__ import annotations

import importlib.util
import json
import math
import time
import unicodedata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.filters import unicode_table
from curate.filters.text_statistics import SIGNALS, measure_text
from curate.filters.text_statistics_counts import Count
from curate.filters.text_statistics_kernel import count_texts
from curate.filters.text_statistics_words import MAX_PIECE
from curate.text.buffers import text_buffers
from curate.text.tables import UNICODE_VERSION, to_bytes


def _load_plain():
    path = Path(__file__).with_name("plain_text_statistics.py")
    spec = importlib.util.spec_from_file_location("plain_text_statistics", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


plain = _load_plain()

# What the rules of segmentation, lines and repetition turn on, so that random texts hit them often.
MARKS_AND_CLASSES = (
    "aZé9٣ \t\n\n.,:;!?'’\"“”()[]{}#*-–—/\\@^|~+=%$§_•●…©😀。！中かคກខမ"
    "\u0301\u0e31\u200b\x00\x0b\r\x1c\x85\u2028\xa0\ufffd\U00010428"
)
FRAGMENTS = [
    *MARKS_AND_CLASSES,
    *("...", ". . .", "the ", "of", "That ", "don't", "it’s", "they'll", "I'm", "Mr.", "U.S.", "e.g.", "10km", "5MB."),
    *("www.example.com/a?b", "https://user@host.org:80/", "me@mail.net", "127.0.0.1", "3.14", "1-2", "2+3", "no,yes"),
    *("well-known", "a--b", "x---y", "either/or", "end.Start", "- item\n", "• item\n", "wait...\n", "\n\n"),
    *("a b c d e ", "a b a b a b ", "Lorem IPSUM ", "LOREM ipsu", "naïve ", "слово ", "ελληνικά. ", "日本語の文。"),
    *("ภาษาไทย", "[1]", "[edit]"),
]
texts = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=3), max_size=40).map("".join)
hostile = texts.map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(max_size=80)
several = st.lists(hostile, min_size=1, max_size=6)


def as_array(documents: list[bytes]) -> pa.Array:
    return pa.array(documents, type=pa.large_binary()).view(pa.large_string())


def rows_of(signals: dict[str, pa.Array]) -> list[dict[str, object]]:
    return pa.table(signals).to_pylist()


def expected(document: bytes) -> dict[str, int | float]:
    return plain.measure(document.decode("utf-8", "surrogateescape"))


@settings(max_examples=400, deadline=None)
@given(hostile)
def test_every_signal_equals_its_plain_definition_on_any_bytes(document: bytes) -> None:
    [row] = rows_of(measure_text(as_array([document])))
    assert row == expected(document)


@settings(max_examples=100, deadline=None)
@given(several, st.integers(0, 6))
def test_neighbours_and_splits_of_a_batch_change_nothing(documents: list[bytes], cut: int) -> None:
    together = rows_of(measure_text(as_array(documents)))
    apart = rows_of(measure_text(as_array(documents[:cut]))) + rows_of(measure_text(as_array(documents[cut:])))
    reverse = rows_of(measure_text(as_array(documents[::-1])))[::-1]
    alone = [rows_of(measure_text(as_array([document])))[0] for document in documents]
    assert together == apart == reverse == alone


@settings(max_examples=100, deadline=None)
@given(several)
def test_every_signal_is_finite_and_every_fraction_is_between_0_and_1(documents: list[bytes]) -> None:
    for row in rows_of(measure_text(as_array(documents))):
        for name, value in row.items():
            assert math.isfinite(value), name
            assert value >= 0, name
            if name.endswith("_fraction") and not name.startswith("ngrams.top"):  # overlaps count twice in a top n-gram
                assert value <= 1, name


@settings(max_examples=50, deadline=None)
@given(several, st.integers(0, 2**64 - 1))
def test_the_salt_of_the_hashes_never_reaches_the_result(documents: list[bytes], seed: int) -> None:
    data, bounds = text_buffers(as_array(documents))
    assert np.array_equal(count_texts(data, bounds, seed=seed), count_texts(data, bounds, seed=1))


def test_a_slice_of_an_array_is_measured_like_its_own_texts() -> None:
    documents = [b"before", "zwölf Boxkämpfer jagen.\n- Eva".encode(), b"", b"after this"]
    whole = as_array(documents)
    assert rows_of(measure_text(whole.slice(1, 2))) == rows_of(measure_text(as_array(documents[1:3])))
    assert rows_of(measure_text(whole.slice(4))) == []


def test_five_hundred_languages_are_measured_as_the_plain_definitions_say(shared_data: Path) -> None:
    with (shared_data / "dev-data" / "udhr.jsonl").open(encoding="utf-8") as lines:
        documents = [json.loads(line)["text"][:500].encode() for line in lines]
    assert len(documents) > 500
    rows = rows_of(measure_text(as_array(documents)))
    assert rows == [expected(document) for document in documents]


def test_names_and_types_are_as_declared() -> None:
    signals = measure_text(as_array([b"a"]))
    assert {name: str(array.type).replace("double", "float64") for name, array in signals.items()} == SIGNALS


def test_a_null_text_has_null_signals() -> None:
    signals = measure_text(pa.array(["one", None], type=pa.large_string()))
    assert all(array.null_count == 1 and array[1].as_py() is None for array in signals.values())


def test_an_empty_text_measures_zero_everywhere() -> None:
    [row] = rows_of(measure_text(as_array([b""])))
    assert set(row.values()) == {0}


@pytest.mark.parametrize(
    ("text", "segments"),
    [
        ("I don't think it's Mr. Smith's.", ["I", "do", "n't", "think", "it", "'s", "Mr.", "Smith", "'s", "."]),
        ("(well-known), U.S. end.", ["(", "well", "-", "known", ")", ",", "U.S.", "end", "."]),
        ("see https://example.com/a,b. Now", ["see", "https://example.com/a,b", ".", "Now"]),
        ("mail me@mail.net or call 127.0.0.1:80", ["mail", "me@mail.net", "or", "call", "127.0.0.1:80"]),
        ("$3.50 for 10km… wow!!", ["$", "3.50", "for", "10", "km", "…", "wow", "!", "!"]),
        ("either/or 1-2 a,b 1,000", ["either", "/", "or", "1", "-", "2", "a", ",", "b", "1,000"]),
        ("我爱北京。", ["我", "爱", "北", "京", "。"]),
        ("กำไร ໄທ ខ្មែរ", ["ก", "ำ", "ไ", "ร", "ໄ", "ທ", "ខ្", "មែ", "រ"]),
        ("naïve café, Ελλάδα. слово!", ["naïve", "café", ",", "Ελλάδα", ".", "слово", "!"]),
        ("हिन्दी भाषा।", ["हिन्दी", "भाषा", "।"]),
    ],
)
def test_text_is_split_into_words_and_marks(text: str, segments: list[str]) -> None:
    assert plain.segments(text) == segments
    data, bounds = text_buffers(as_array([text.encode()]))
    assert count_texts(data, bounds)[Count.SEGMENTS, 0] == len(segments)


def test_words_longer_than_a_piece_and_texts_beyond_the_search_limit_are_counted_in_full() -> None:
    word = b"x" * (MAX_PIECE - 2) + b",y.z" + b"-w" * MAX_PIECE
    [row] = rows_of(measure_text(as_array([word + b" end."])))
    assert row == expected(word + b" end.")
    text = b"one two three. " * 200
    data, bounds = text_buffers(as_array([text]))
    whole, limited = count_texts(data, bounds)[:, 0], count_texts(data, bounds, max_segments=8)[:, 0]
    assert limited[: Count.SENTENCES + 1].tolist() == whole[: Count.SENTENCES + 1].tolist()
    assert limited[Count.SEARCHED_CHARACTERS] == len("one two three. one two three.")
    assert limited[Count.TOP_2] == 2 * len("one two")


def test_a_zero_byte_belongs_to_the_word_it_stands_in() -> None:
    [row] = rows_of(measure_text(as_array([b"of\0 that\0 \0be the"])))
    assert row == expected(b"of\0 that\0 \0be the")
    assert row["stop_words.distinct"] == row["stop_words.count"] == 1


def test_symbols_count_wherever_they_stand_in_a_block_of_bytes() -> None:
    symbols = b"....lorem ipsum#{. . . . .\xe2\x80\xa6...LOREM IPSUM lorem\x00ipsum \xe2\x80"
    documents = [b"x" * before + symbols + b" y" * after for before in range(140) for after in (0, 3, 70)]
    rows = rows_of(measure_text(as_array(documents)))
    assert rows == [expected(document) for document in documents]
    assert rows[0]["text.lorem_ipsum"] == 2


def test_words_of_any_size_are_told_apart_by_any_byte() -> None:
    documents = []
    for size in [*range(1, 40), 63, 64, 65]:
        word = b"abcdefghij" * 7
        words = [word[:size], b"z" + word[1:size], word[: size // 2] + b"z" + word[size // 2 + 1 : size]]
        words.append(word[: size - 1] + b"z")
        documents.append(b" ".join([*words, *words[::-1], *words, *words, words[1]]) + b".\n" + b"\n".join(words * 2))
    assert rows_of(measure_text(as_array(documents))) == [expected(document) for document in documents]


UNITS = [
    b"word ",
    b"x",
    b".",
    b"\n",
    b"a\n",
    b"{#",
    b"\xe4\xb8\xad",
    b"\xff",
    b"a b c d e f g\n",
    b"ab-",
    b"(",
    b"a@",
    b"a.",
]


@pytest.mark.parametrize("unit", UNITS)
def test_time_is_linear_on_repetitive_text(unit: bytes) -> None:
    measure_text(as_array([unit * 100]))
    began = time.process_time()
    [row] = rows_of(measure_text(as_array([unit * (3_000_000 // len(unit))])))
    assert time.process_time() - began < 20  # seconds; quadratic time would be hours
    assert all(math.isfinite(value) for value in row.values())


def test_a_million_equal_words_are_one_top_ngram() -> None:
    [row] = rows_of(measure_text(as_array([b"spam " * 1_000_000])))
    assert row["words.count"] == 1_000_000
    assert row["ngrams.top_2_char_fraction"] == 999_999 * 9 / 5_000_000
    assert row["ngrams.duplicate_10_char_fraction"] == pytest.approx(0.8, abs=1e-4)


def test_the_shipped_character_table_equals_this_pythons_where_unicode_versions_agree() -> None:
    if unicodedata.unidata_version != UNICODE_VERSION:
        pytest.skip(f"this Python has Unicode {unicodedata.unidata_version}")
    assert unicode_table.FILE.read_bytes() == to_bytes(unicode_table.build())


def test_assigned_characters_keep_letter_digit_and_space_classes_in_any_python() -> None:
    changed = [
        point
        for point in range(0x110000)
        if (flags := unicode_table.flags_of(chr(point))) and (flags ^ unicode_table.classify(chr(point))) & 7
    ]
    assert len(changed) <= 20  # a few categories were corrected between Unicode versions
