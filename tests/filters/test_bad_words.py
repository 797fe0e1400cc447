"""Listed words are found as C4's expression finds them, in any case, script and company. All lists here are made up."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import AssetError
from curate.filters import bad_words
from curate.filters.decide import Columns, passes
from curate.filters.measures import MEASURES
from curate.filters.rules import resolve
from curate.filters.tables import load_filter
from curate.text.tables import UNICODE_VERSION

LISTS = {
    "en": ["frob", "frobnicate", "quux corge", "nate", "a_b", "3d", "#tag", "öl"],
    "es": ["Garply", "año"],
    "tr": ["ısı", "inek", "i\u0307z"],
    "el": ["λόγος"],
    "hi": ["कखग", "किताब"],
    "zh": ["茶壶", "壶", "abc"],
    "th": ["กา"],
    "xx": [],
}


@pytest.fixture(scope="module")
def lists(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file of made-up lists."""
    path = tmp_path_factory.mktemp("lists") / "words.json"
    path.write_text(json.dumps(LISTS), encoding="utf-8")
    return str(path)


def count(texts: Sequence[str | bytes | None], codes: Sequence[str | None], path: str) -> list[int | None]:
    encoded = [text.encode() if isinstance(text, str) else text for text in texts]
    column = pa.array(encoded, pa.large_binary()).view(pa.large_string())
    signals = bad_words.measure_bad_words(column, {"bad-words": path}, pa.array(codes, pa.string()))
    found: list[int | None] = signals["bad_words.count"].to_pylist()
    return found


def plain_count(text: bytes, code: str) -> int:
    """The places where a listed word begins, by C4's expression in lower case."""
    words = "|".join(re.escape(word.lower().replace("ς", "σ")) for word in LISTS[code])
    apart = code not in ("ja", "th", "zh")
    pattern = re.compile(rf"(?=(?:(?<!\w)(?:{words})(?!\w)))" if apart else f"(?={words})")
    lower = text.decode(errors="surrogateescape").lower().replace("ς", "σ")
    return sum(1 for _ in pattern.finditer(lower)) if words else 0


FRAGMENTS = [word for words in LISTS.values() for word in words]
FRAGMENTS += [word.upper() for word in FRAGMENTS] + [
    *"aiİIıſKnΣς_ -.\n9é中壶\u0307\u200b\u093f",
    "FROB",
    "Nate",
    "cate",
]
hostile = st.lists(st.sampled_from(FRAGMENTS), max_size=12).map(lambda parts: "".join(parts).encode()) | st.binary(
    max_size=40
)
documents = st.lists(st.tuples(hostile, st.sampled_from(sorted(LISTS))), min_size=1, max_size=4)


@settings(max_examples=400, deadline=None)
@given(documents)
def test_counts_what_the_expression_of_c4_finds_in_any_bytes(lists: str, documents: list[tuple[bytes, str]]) -> None:
    texts, codes = zip(*documents, strict=True)
    expected = [plain_count(text, code) for text, code in documents]
    assert count(texts, codes, lists) == expected


@pytest.mark.parametrize(
    ("text", "code", "expected"),
    [
        ("", "en", 0),
        ("frob", "en", 1),
        ("Frob, FROB\nfrob!", "en", 3),
        ("frobs befrob frob_ 1frob frobé", "en", 0),
        ("frobnicate", "en", 1),
        ("quux corge quux  corge quux\ncorge", "en", 1),
        ("x#tag", "en", 0),
        ("(#tag)", "en", 1),
        ("frob", "es", 0),
        ("garply GARPLY Garply", "es", 3),
        ("ΛΌΓΟΣ", "el", 1),
        ("İZ", "tr", 1),
        ("新茶壶里", "zh", 2),
        ("xabcx", "zh", 1),
        ("frob", "xx", 0),
        ("कखगि", "hi", 1),
    ],
)
def test_words_stand_apart_but_in_scripts_without_spaces(lists: str, text: str, code: str, expected: int) -> None:
    assert count([text], [code], lists) == [expected]


def test_is_not_measured_without_a_text_a_language_or_a_list(lists: str) -> None:
    assert count(["frob", None, "frob", "frob"], ["en", "en", "de", None], lists) == [1, None, None, None]


def test_the_table_drops_one_listed_word_and_passes_none_and_what_is_not_measured(lists: str) -> None:
    found, mistakes = load_filter("c4_bad_words")
    assert not mistakes
    ((reason, rule),) = found.rules.items()
    counts = count(["no", "frob", "frob frob", "frob"], ["en", "en", "en", "de"], lists)
    resolved = resolve(rule, reason, {rule.signal: rule.signal})
    keep = passes(resolved, Columns(pa.table({rule.signal: counts})), must_know=np.full(4, True))
    assert keep.tolist() == [True, False, False, True]


def test_neighbours_and_slices_change_nothing(lists: str) -> None:
    texts = ["frob", "", "no", None, "frob frob"]
    column = pa.array(texts, pa.large_string()).slice(1, 4)
    codes = pa.array(["en"] * 5).slice(1, 4)
    measured = bad_words.measure_bad_words(column, {"bad-words": lists}, codes)["bad_words.count"]
    assert measured.to_pylist() == [0, 0, None, 2]


@pytest.mark.parametrize(
    "content",
    ["frob\nquux", "[]", "{}", '"frob"', '{"en": "frob"}', '{"en": [1]}', '{"en": [" "]}', "[" * 100_000, "\udc80"],
)
def test_a_file_of_another_form_is_refused_with_the_form_to_give(tmp_path: Path, content: str) -> None:
    path = tmp_path / "words.json"
    path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(AssetError, match=r'words\.json: not word lists; expected .*"two words"'):
        bad_words.load_lists(str(path))


@pytest.mark.skipif(unicodedata.unidata_version != UNICODE_VERSION, reason="the table is of another Unicode")
def test_a_word_character_is_what_the_expression_takes_for_one(lists: str) -> None:
    table = bad_words.load_lists(lists).table
    word = re.compile(r"\w")
    assert [p for p in range(0x110000) if bool(word.match(chr(p))) != bool(table[p] & bad_words.WORD)] == []


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match=r"cannot be read \(Is a directory\)"):
        bad_words.load_lists(str(tmp_path))


def test_more_characters_than_symbols_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "words.json"
    path.write_text(json.dumps({"xx": [chr(point) for point in range(0x20000, 0x20000 + bad_words.SYMBOL + 1)]}))
    with pytest.raises(AssetError, match="32768 different characters, the limit is 32767"):
        bad_words.load_lists(str(path))


def test_lists_that_change_are_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "words.json"
    for word, expected in (("frob", 1), ("quux", 0)):
        path.write_text(json.dumps({"en": [word]}))
        assert count(["frob"], ["en"], str(path)) == [expected]


def test_only_one_character_is_two_in_lower_case() -> None:
    assert [point for point in range(0x110000) if len(chr(point).lower()) != 1] == [bad_words.CAPITAL_I_WITH_DOT]


def test_the_language_is_measured_before_it_and_only_with_it() -> None:
    assert set(MEASURES["bad_words"].given) <= set(MEASURES["language"].signals)
    given = {signal for measure in MEASURES.values() for signal in measure.given}
    givers = [measure for measure in MEASURES.values() if given & set(measure.signals)]
    assert not any(measure.given for measure in givers), "one order of measures, given signals last, must do for all"


def test_no_listed_word_is_written_down_in_the_source() -> None:
    for allowed in bad_words.ALLOWED.values():
        assert all(re.fullmatch("[0-9a-f]{16}", digest) for digest in allowed)


def test_a_process_of_another_hash_seed_compiles_the_same_lists(lists: str) -> None:
    script = (
        "import sys; from curate.filters.bad_words import load_lists; import xxhash\n"
        "found = load_lists(sys.argv[1]); print(xxhash.xxh3_64_hexdigest(b''.join(a.tobytes() for a in found[1:])))"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", script, lists],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1
