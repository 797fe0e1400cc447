from __future__ import annotations

import gzip
import random
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.tokenize import counts, lines_kernel
from curate.tokenize.card import Reading
from curate.tokenize.counts import LINES, PretokenCounter, count_texts
from curate.tokenize.train_spm import _lines


def counted(texts: list[str]) -> Counter[str]:
    words, numbers = count_texts(texts, LINES)
    return Counter(dict(zip([word.decode() for word in words.to_pylist()], numbers.tolist(), strict=True)))


def by_hand(texts: list[str]) -> Counter[str]:
    """The words of lines, from what the docstring of the kernel says."""
    found: Counter[str] = Counter()
    for line in _lines(Reading(), texts, lines_kernel.MAX_LINE_BYTES):
        bare = line.rstrip("\r")
        if bare and "\u2585" not in bare:
            found.update(re.findall(" +[^ ]*", " " + bare.replace("\u2581", " ").replace("\t", "\n")))
    return found


def test_a_word_is_what_follows_spaces_with_all_of_them() -> None:
    assert counted(["a  b a\na \n\n c\td\r\n"]) == {" a": 3, "  b": 1, " ": 1, "  c\nd": 1}


def test_a_line_with_the_mark_for_unknown_characters_is_left_out() -> None:
    assert counted(["a\nb \u2585 c\n\u2581d"]) == {" a": 1, "  d": 1}


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(alphabet="ab \n\r\té\u2581\u2585\u2580世🙂\0", max_size=40), max_size=5))
def test_words_are_those_of_the_rule(texts: list[str]) -> None:
    assert counted(texts) == by_hand(texts)


def test_words_of_real_pages_are_those_of_the_rule(shared_data: Path) -> None:
    file = min((shared_data / "sample-crawl").glob("*.warc.gz"))
    pages = gzip.decompress(file.read_bytes()).decode("utf-8", errors="replace")
    texts = [pages[at : at + 100_000] for at in range(0, min(len(pages), 3_000_000), 100_000)]
    assert counted(texts) == by_hand(texts)


def test_long_lines_are_cut_where_white_space_is_and_no_byte_is_lost() -> None:
    choose = random.Random(0)
    runs = ["a", "é", "世", "🙂", " ", "word ", "\t"]
    texts = ["x" * 4192, "x" * 4193, "é" * 2096, "é" * 2097, "🙂" * 1048, "🙂" * 1049, " " * 9000, "a " + "b" * 9000]
    texts += ["".join(choose.choice(runs) * choose.choice([1, 7, 900, 5000]) for _ in range(9)) for _ in range(40)]
    for text in texts:
        assert counted([text]) == by_hand([text])


@pytest.mark.parametrize("text", ["a" * 3_000_000, "a " * 1_500_000, "世" * 1_000_000])
def test_one_endless_line_has_bounded_words(text: str) -> None:
    found = counted([text])
    assert max(len(word.encode()) for word in found) <= lines_kernel.SCRATCH_BYTES
    assert sum(len(word.replace(" ", "")) * number for word, number in found.items()) == len(text.replace(" ", ""))


def test_a_full_table_is_handed_out_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [" ".join(f"w{number % 9000}" for number in range(at, at + 1500)) + "\n" for at in range(0, 30_000, 1000)]
    whole = counted(texts)
    monkeypatch.setattr(counts, "MAX_ENTRIES", 1 << 13)
    monkeypatch.setattr(counts, "MAX_BYTES", 1 << 14)
    counter = PretokenCounter(LINES)
    parts = [*counter.add(pa.array(texts, pa.large_string()), np.ones(len(texts), np.int64)), *counter.flush()]
    assert len(parts) > 3
    found: Counter[str] = Counter()
    for part in parts:
        for word, number in zip(part.column("word").to_pylist(), part.column("count").to_pylist(), strict=True):
            found[word.decode()] += number
    assert found == whole == by_hand(texts)
