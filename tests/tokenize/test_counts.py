from __future__ import annotations

import gzip
import itertools
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import InputError, RecipeError
from curate.tokenize import bpe, counts
from curate.tokenize.counts import COUNTS, PretokenCounter, add_up, histogram, least_count


def collected(batches: list[pa.RecordBatch]) -> Counter[bytes]:
    found: Counter[bytes] = Counter()
    for batch in batches:
        assert batch.schema == COUNTS
        for word, count in zip(batch.column("word").to_pylist(), batch.column("count").to_pylist(), strict=True):
            found[word] += count
    return found


def counted(texts: list[str], weights: list[int] | None = None, pattern: str = bpe.LLAMA3_PATTERN) -> Counter[bytes]:
    counter = PretokenCounter(pattern)
    given_weights = None if weights is None else np.array(weights, np.int64)
    return collected([*counter.add(pa.array(texts, pa.large_string()), given_weights), *counter.flush()])


def by_regex(texts: list[str], pattern: str = bpe.LLAMA3_PATTERN) -> Counter[bytes]:
    blocks = (block for text in texts for block in bpe.blocks(text))
    return Counter(match.encode() for block in blocks for match in regex.findall(pattern, block))


def test_counts_are_those_of_the_regular_expression_on_real_pages(shared_data: Path) -> None:
    file = min((shared_data / "sample-crawl").glob("*.warc.gz"))
    pages = gzip.decompress(file.read_bytes()).decode("utf-8", errors="replace")
    texts = [pages[at : at + 100_000] for at in range(0, min(len(pages), 3_000_000), 100_000)]
    assert counted(texts) == by_regex(texts)


def test_long_texts_and_long_runs_are_cut_where_the_encoder_cuts_them() -> None:
    choose = random.Random(0)
    texts = ["a" * 60_000 + " " * 30_000 + "b c\x1c" * 110_000 + "\u3000" * 26_000, "ab " * 133_333 + "a" * 25_001]
    lengths = [1, 5, 24_999, 25_000, 25_001, 50_001]
    for _ in range(20):
        runs = [choose.choice(["a", "é", " ", "\n", "\x1c", "b "]) * choose.choice(lengths) for _ in range(40)]
        texts.append("".join(runs))
    assert counted(texts) == by_regex(texts)
    assert max(map(len, counted(texts))) <= 4 * (2 * bpe.MAX_RUN_CHARS + 1)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(alphabet="aé \n1'sT.\u3000世", max_size=30), max_size=5))
def test_other_patterns_are_counted_by_the_regular_expression_itself(texts: list[str]) -> None:
    pattern = bpe.LLAMA3_PATTERN + "|never"
    assert counted(texts, pattern=pattern) == counted(texts) == by_regex(texts)


def test_a_weight_counts_a_text_so_often_and_zero_leaves_it_out() -> None:
    texts = ["a b", "never seen", "b c", ""]
    for pattern in (bpe.LLAMA3_PATTERN, r"(?s:\S+|\s+)"):
        alone = [counted([text], pattern=pattern) for text in texts]
        wanted = Counter({word: 2 * n for word, n in alone[0].items()}) + alone[2]
        assert counted(texts, [2, 0, 1, 5], pattern) == wanted


def test_a_full_table_is_handed_out_and_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    letters = str.maketrans("0123456789", "abcdefghij")
    numbers = [" ".join(f"{i % 700} {i}" for i in range(at, at + 900)) for at in range(0, 20_000, 900)]
    texts = [text.translate(letters) for text in numbers]
    monkeypatch.setattr(counts, "MAX_ENTRIES", 1 << 14)
    monkeypatch.setattr(counts, "MAX_BYTES", 40_000)
    for pattern in (bpe.LLAMA3_PATTERN, r"\p{L}+|(?s:.)"):
        counter = PretokenCounter(pattern)
        handed_out = list(counter.add(pa.array(texts, pa.large_string())))
        assert handed_out
        assert collected([*handed_out, *counter.flush()]) == by_regex(texts, pattern)
        assert list(counter.flush()) == []


def test_slices_and_narrow_strings_are_counted() -> None:
    for kind in (pa.string(), pa.large_string()):
        counter = PretokenCounter()
        text = pa.array(["left out", "a b", "c", "left out"], kind).slice(1, 2)
        assert collected([*counter.add(text), *counter.flush()]) == {b"a": 1, b" b": 1, b"c": 1}


def test_invalid_utf8_nulls_and_bad_patterns_are_errors() -> None:
    invalid = pa.array([b"ok", b"\xff"], pa.large_binary()).view(pa.large_string())
    for pattern in (bpe.LLAMA3_PATTERN, r"\S+|\s+"):
        with pytest.raises(InputError, match="UTF-8"):
            list(PretokenCounter(pattern).add(invalid))
        with pytest.raises(InputError, match="null"):
            list(PretokenCounter(pattern).add(pa.array(["a", None])))
    with pytest.raises(RecipeError, match="pattern"):
        PretokenCounter("(")


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from([b"a", b"b", b"c"]), st.integers(1, 9)), max_size=30),
       st.lists(st.integers(0, 30), max_size=5))  # fmt: skip
def test_sums_do_not_depend_on_batches_even_if_keys_collide(
    rows: list[tuple[int, bytes, int]], cuts: list[int]
) -> None:
    rows = sorted(rows, key=lambda row: row[0])
    wanted: Counter[tuple[int, bytes]] = Counter()
    for key, word, count in rows:
        wanted[key, word] += count
    table = pa.table([list(column) for column in zip(*rows, strict=True)] if rows else [[], [], []], schema=COUNTS)
    edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    batches = [batch for a, b in itertools.pairwise(edges) for batch in table.slice(a, b - a).to_batches()]
    summed = [tuple(row.values()) for batch in add_up(iter(batches)) for row in batch.to_pylist()]
    assert summed == [(key, word, count) for (key, word), count in sorted(wanted.items())]


def test_bins_are_exact_below_256_and_powers_of_two_above() -> None:
    words = pa.array([b"a", b"bb", b"c", b"dd", b"eee", b"f"], pa.large_binary())
    found = histogram(words, np.array([1, 1, 255, 256, 511, 1 << 50], np.int64))
    assert found == {1: [2, 3], 255: [1, 1], 256: [2, 5], 1 << 50: [1, 1]}


def test_the_least_count_lets_in_as_many_words_as_fit() -> None:
    found = {1: [100, 900], 2: [10, 90], 7: [5, 45], 256: [1, 9]}
    assert least_count(found, 1, 1160) == 1
    assert least_count(found, 1, 1159) == 2
    assert least_count(found, 1, 159) == 7
    assert least_count(found, 3, 1160) == 3
    assert least_count(found, 3, 59) == 256
    assert least_count(found, 1, 5) == 257
    assert least_count({}, 4, 5) == 4
