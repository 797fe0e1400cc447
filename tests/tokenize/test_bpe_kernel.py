from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from encoded import asset_path, large, raw_pages, same
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curate.tokenize import batches, bpe, bpe_kernel, pairs, registry, words
from curate.tokenize.tokenizer import Tokenizer

TEXTS = st.text(alphabet="abcdefgh thewr.,'\n\r\t 0123456789éß川世Рк🙂\x00\u2028", max_size=200)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(TEXTS, st.text(max_size=80)), max_size=5))
@example(["", "the water of the river", "", "\u2581 \ufdd0", "'ſ 'S"])
def test_any_text_gets_the_ids_of_the_library(byte_pair: Tokenizer, texts: list[str]) -> None:
    same(byte_pair, texts)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(alphabet="ab ", max_size=50), max_size=3), st.text(alphabet="ab ", max_size=400))
def test_long_pieces_are_merged_as_short_ones(texts: list[str], long: str) -> None:
    same(REPEATS, [*texts, long, long.replace(" ", ""), long.replace(" ", "") * 3])


def _repeats() -> Tokenizer:
    """Ranks over two letters in which the same bytes come from many pairs, and some tokens from no merge at all."""
    tokens = [bytes([byte]) for byte in range(256)]
    tokens += [b"aa", b"ab", b"ba", b"aab", b"aba", b"bb", b"abab", b"aaaa", b"bab", b"bbbb", b"abba", b"ababab"]
    tokens += [b"qzx", b" a", b" ab"]
    return bpe.from_ranks(bpe.format_ranks({token: rank for rank, token in enumerate(tokens)}), where="repeats")


REPEATS = _repeats()


def test_a_token_that_no_merge_leads_to_is_found_where_it_is_a_word() -> None:
    assert REPEATS.encode_batch(large(["qzx"])).to_pylist() == [[256 + 12]]
    same(REPEATS, ["qzx", "qzxq", "qzx qzx"])


@pytest.mark.parametrize("size", [1, 7, 8, 9, 15, 16, 17, 23, 24, 25, 30, 31, 32, 33, 40, 41, 64, 1000])
def test_words_of_every_size_are_encoded_alike_the_first_and_the_second_time(byte_pair: Tokenizer, size: int) -> None:
    word = ("riverwaterseaß" * 100).encode()[:size].decode(errors="ignore")
    same(byte_pair, [word])
    same(byte_pair, [f"{word} {word}", word, word[:-1]])


def test_what_was_encoded_before_never_shows_in_the_ids(byte_pair: Tokenizer) -> None:
    # more words than the cache has entries, so that most drive an older one out
    count = 3 << words.BITS >> 1
    texts = [
        " ".join(f"{chr(0x4E00 + at % 20_000)}{at}the{at % 7}" for at in range(start, count, 3)) for start in range(3)
    ]
    for order in (texts, texts[::-1], texts[:1]):
        same(byte_pair, order)


def test_little_room_is_made_larger_on_the_way(
    byte_pair: Tokenizer, monkeypatch: pytest.MonkeyPatch, corpus: list[str]
) -> None:
    monkeypatch.setattr(batches, "FIRST_ROOM", 1)
    monkeypatch.setattr(batches, "GUESSED_BYTES_PER_TOKEN", 1 << 30)
    same(byte_pair, [*corpus, "x" * 50_000, "", "\x01\x02\x03" * 100])
    lists = byte_pair.encode_batch(large(["", "a", ""]), add_bos=True, add_eos=True)
    assert lists.to_pylist() == [[397, 398], [397, ord("a"), 398], [397, 398]]


@pytest.mark.parametrize("text", ["a" * 60_000, " " * 60_000, "ab " * 140_000, "\U0001f642" * 30_000, "\x1c" * 26_000])
def test_long_texts_are_cut_as_by_the_library(byte_pair: Tokenizer, text: str) -> None:
    same(byte_pair, ["before", text, "", text + "after", "after"])
    framed = byte_pair.encode_batch(large(["x", text]), add_bos=True, add_eos=True)[1].values.to_numpy()
    assert np.flatnonzero(framed >= 397).tolist() == [0, len(framed) - 1]


def test_threads_may_share_a_tokenizer(byte_pair: Tokenizer, corpus: list[str]) -> None:
    expected = byte_pair.encode_batch(large(corpus)).to_pylist()
    found: list[bool] = []

    def work(shift: int) -> None:
        turned = corpus[shift:] + corpus[:shift]
        lists = [byte_pair.encode_batch(large(turned)).to_pylist() for _ in range(20)]
        found.append(all(one == expected[shift:] + expected[:shift] for one in lists))

    threads = [threading.Thread(target=work, args=(shift,)) for shift in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 4


def test_a_pattern_of_its_own_is_left_to_the_library(bpe_files: dict[str, bytes]) -> None:
    tokenizer = bpe.from_ranks(bpe_files["ranks.tiktoken"], where="ranks", pattern=r"\s+|\S+")
    assert tokenizer.kernel is None
    assert tokenizer.encode_batch(large(["a b"])).to_pylist() == [tokenizer.encode_text("a b").tolist()]


def test_huge_tokens_are_left_to_the_library() -> None:
    ranks = {bytes([byte]): byte for byte in range(256)}
    for size, supported in ((pairs.MAX_TOKEN_BYTES, True), (pairs.MAX_TOKEN_BYTES + 1, False)):
        assert bpe_kernel.supports({**ranks, b"a" * size: 256}, bpe.LLAMA3_PATTERN) is supported


@pytest.mark.slow
def test_llama_3_gives_the_ids_of_tiktoken_on_raw_pages(shared_data: Path) -> None:
    tokenizer = registry.load(asset_path("llama3-tokenizer"))
    for text in raw_pages(shared_data, 3_000_000):
        same(tokenizer, [text])
