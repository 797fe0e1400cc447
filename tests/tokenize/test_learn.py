from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import regex
import rustbpe
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curate.errors import RecipeError
from curate.tokenize import bpe, learn
from curate.tokenize.learn import Learner, next_floor


def by_rustbpe(texts: list[str], tokens: int) -> list[bytes]:
    trainer = rustbpe.Tokenizer()
    trainer.train_from_iterator(iter(texts), tokens, 256, bpe.LLAMA3_PATTERN)
    return [bytes(token) for token, _ in sorted(trainer.get_mergeable_ranks(), key=lambda item: item[1])]


def learner(texts: list[str]) -> Learner:
    counts = Counter(match.encode() for text in texts for match in regex.findall(bpe.LLAMA3_PATTERN, text))
    return Learner(pa.array(list(counts), pa.large_binary()), np.array(list(counts.values()), np.int64))


def ours(texts: list[str], tokens: int) -> list[bytes]:
    found = learner(texts)
    found.learn(tokens - 256)
    return found.tokens


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text(alphabet="ab", max_size=40), max_size=8))
@example(["aaaa", "aaa aaaaaaa"])
@example(["abab", "ababab baba"])
def test_merges_are_those_of_rustbpe_with_two_letters(texts: list[str]) -> None:
    assert ours(texts, 300) == by_rustbpe(texts, 300)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(alphabet="abcdé \n", max_size=80), max_size=8))
def test_merges_are_those_of_rustbpe_with_a_small_alphabet(texts: list[str]) -> None:
    assert ours(texts, 400) == by_rustbpe(texts, 400)


def test_merges_are_those_of_rustbpe_on_real_text_of_many_scripts(shared_data: Path) -> None:
    rows = [json.loads(line) for line in (shared_data / "dev-data" / "udhr.jsonl").read_text("utf-8").splitlines()]
    texts = [row["text"] for row in rows]
    assert sum(map(len, texts)) > 100_000
    # more than there are pairs: down to the last one
    assert ours(texts, 1 << 18) == by_rustbpe(texts, 1 << 18)


def test_learning_in_steps_is_learning_at_once(corpus: list[str]) -> None:
    stepwise = learner(corpus)
    assert [stepwise.learn(merges) for merges in (0, 1, 10, 60)] == [0, 1, 10, 60]
    assert stepwise.tokens == ours(corpus, 256 + 71)


@pytest.mark.parametrize("share", [1, 4, 1 << 40])
def test_no_merge_depends_on_the_floor_or_on_collisions(
    corpus: list[str], share: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = ours(corpus, 600)
    monkeypatch.setattr(learn, "FIRST_FLOOR_SHARE", share)
    monkeypatch.setattr(learn, "SKETCH_BUCKETS", 2)
    monkeypatch.setattr(learn, "LEAST_ENTRIES", 1)
    assert ours(corpus, 600) == wanted


def test_the_floor_falls_until_it_is_one() -> None:
    floors = [1 << 40]
    while floors[-1] > 1:
        floors.append(next_floor(floors[-1], 1000, 2000))
    assert floors == sorted(floors, reverse=True)
    assert len(floors) < 42
    assert next_floor(1000, 100, 1000) == 50


def test_counts_beyond_32_bits_are_exact() -> None:
    words, counts = [b"ab", b"cd", b"ef"], [1 << 40, (1 << 40) + 1, 5]
    found = Learner(pa.array(words, pa.large_binary()), np.array(counts, np.int64))
    assert found.learn(10) == 3
    assert found.tokens[256:] == [b"cd", b"ab", b"ef"]


def test_equal_counts_go_by_the_smaller_ids() -> None:
    found = Learner(pa.array([b"xb", b"ab", b"aa", b"b"], pa.large_binary()), np.array([3, 3, 3, 9], np.int64))
    found.learn(3)
    assert found.tokens[256:] == [b"aa", b"ab", b"xb"]


def test_words_of_one_byte_and_no_words_have_no_merges() -> None:
    for words in ([], [b"a", b"b"]):
        assert Learner(pa.array(words, pa.large_binary()), np.ones(len(words), np.int64)).learn(5) == 0


def test_more_words_than_slots_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learn, "MAX_SLOTS", 10)
    with pytest.raises(RecipeError, match="raise min_count or lower merge_bytes"):
        Learner(pa.array([b"abcdef", b"ghijkl"], pa.large_binary()), np.ones(2, np.int64))
