"""Substring dedup by anchors and contexts removes what the plain definition removes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_cuts import whole_characters

from curate.dedup.substring import Passages, anchors, passage_cuts
from curate.filters.edits import apply_edits, make_cuts


def plain_repeats(texts: Sequence[bytes], size: int) -> list[set[int]]:
    """The bytes of each text that are in repeats, by the definition: texts are in order."""
    first: dict[bytes, tuple[int, int]] = {}
    gone: list[set[int]] = []
    for number, text in enumerate(texts):
        gone.append(set())
        for at in range(len(text) - size + 1):
            holder, place = first.setdefault(text[at : at + size], (number, at))
            if holder != number or place + size <= at:
                gone[-1].update(range(at, at + size))
    return gone


class Deduped(NamedTuple):
    """What is left of texts, the bytes that were sent, and what comparisons looked at (`Passages.work`)."""

    left: list[str]
    sent: int
    work: int


def dedup(texts: Sequence[str], size: int, chunk: int = 1 << 30, **memory: int) -> list[str]:
    """Return what is left of texts."""
    return deduped(texts, size, chunk, **memory).left


def deduped(texts: Sequence[str], size: int, chunk: int = 1 << 30, **memory: int) -> Deduped:
    """Anchors, comparisons and cuts put together in memory, with contexts in chunks of so many."""
    text = pa.array(texts, pa.large_string())
    found = anchors(text, size)
    data = [one.encode() for one in texts]
    entries = sorted(
        (int(key), row, int(first), data[row][first : last + size])
        for key, row, first, last in zip(found.key, found.texts().tolist(), found.first, found.last, strict=True)
    )
    spans: list[tuple[int, int, int]] = []
    sent = work = 0
    while entries:
        later = []
        passages = Passages(size, **memory)
        for start in range(0, len(entries), chunk):
            part = entries[start : start + chunk]
            bounds = np.cumsum([0, *(len(entry[3]) for entry in part)])
            whole = np.frombuffer(b"".join(entry[3] for entry in part), dtype=np.uint8)
            keys = np.array([(entry[0], 0) for entry in part], dtype=np.uint64)
            ids = np.array([(0, entry[1]) for entry in part], dtype=np.uint64)
            starts = np.array([entry[2] for entry in part], dtype=np.int64)
            repeats, left = passages.compare(whole, bounds, keys, ids, starts)
            for place, first, last in zip(*(column.tolist() for column in repeats), strict=True):
                _, row, begin, _ = part[place]
                spans.append((row, begin + first, begin + last + size))
            for place, first, last in zip(*(column.tolist() for column in left), strict=True):
                key, row, begin, context = part[place]
                later.append((key, row, begin + first, context[first : last + size]))
            sent += len(whole)
        work += passages.work
        entries = later
    columns = np.array(sorted(spans), dtype=np.int64).reshape(-1, 3)
    left = apply_edits(text, make_cuts(*passage_cuts(text, *columns.T))).to_pylist()
    return Deduped(left, sent, work)


pieces = st.sampled_from(["abcdefgh", "ab", "aaaa", "é中", "the same words. ", "🙂", "xyz", "cdefghab"])
texts = st.lists(st.lists(pieces | st.text("abé", max_size=3), max_size=15).map("".join), min_size=1, max_size=5)


@settings(max_examples=300, deadline=None)
@given(texts, st.integers(4, 17), st.integers(1, 3))
def test_what_goes_is_what_the_definition_says(documents: list[str], size: int, chunk: int) -> None:
    expected = plain_repeats([text.encode() for text in documents], size)
    left = [whole_characters(text, gone) for text, gone in zip(documents, expected, strict=True)]
    assert dedup(documents, size) == left
    # a group in pieces, and with memory for hardly a context
    assert dedup(documents, size, chunk, passages=8, store_bytes=2 * size) == left


@settings(max_examples=100, deadline=None)
@given(texts, st.integers(4, 17))
def test_every_passage_has_one_anchor_and_equal_ones_the_same(documents: list[str], size: int) -> None:
    text = pa.array(documents, pa.large_string())
    found = anchors(text, size)
    keys: dict[bytes, int] = {}
    for row, document in enumerate(documents):
        data = document.encode()
        mine = slice(found.bounds[row], found.bounds[row + 1])
        passages = [
            at for first, last in zip(found.first[mine], found.last[mine], strict=True) for at in range(first, last + 1)
        ]
        assert passages == list(range(len(data) - size + 1))
        counts = (found.last - found.first)[mine] + 1
        for at, key in zip(passages, np.repeat(found.key[mine], counts).tolist(), strict=True):
            assert keys.setdefault(data[at : at + size], key) == key


def test_slices_and_nulls_are_honoured() -> None:
    text = pa.array(["x" * 40, None, "the quick brown fox jumps over the lazy dog", ""], pa.large_string())
    whole, part = anchors(text, 16), anchors(text.slice(1), 16)
    assert np.diff(part.bounds).tolist() == np.diff(whole.bounds)[1:].tolist()
    assert part.key.tolist() == whole.key[whole.bounds[1] :].tolist()


def test_a_passage_just_as_long_goes_and_one_byte_less_stays() -> None:
    same = "0123456789abcdefghij"
    assert dedup([f"one {same}", f"two?{same[:-1]}!"], 20) == [f"one {same}", f"two?{same[:-1]}!"]
    assert dedup([f"one {same}", f"two?{same}!"], 20) == [f"one {same}", "two?!"]


def test_a_run_of_one_character_keeps_its_first_passage() -> None:
    assert dedup(["a" * 1000], 50) == ["a" * 50]
    assert dedup(["ab" * 500, "ab" * 30], 50) == ["ab" * 25, ""]


@pytest.mark.parametrize("size", [16, 50, 200])
@pytest.mark.parametrize("period", [1, 2, 7, 24, 25, 26, 99, 100, 101])
def test_a_text_that_repeats_itself_sends_no_more_than_others(size: int, period: int) -> None:
    dice = np.random.default_rng(period)
    text = "".join(map(chr, dice.integers(97, 123, period))) * (20_000 // period)
    found = anchors(pa.array([text], pa.large_string()), size)
    assert len(found.key) * size / len(text) < 5
    sent = found.last - found.first + size
    assert sent.max() < 2 * size
    assert sent.sum() < 6 * len(text)
    # what repeats is still known to: no key that holds a repeat is there once
    if 2 * size + period < len(text):
        assert np.unique(found.key, return_counts=True)[1].min() > 1


@pytest.mark.parametrize("size", [16, 50, 200])
def test_a_text_has_about_three_anchors_a_passage_length(size: int) -> None:
    dice = np.random.default_rng(1)
    text = "".join(map(chr, dice.integers(97, 123, 100_000)))
    found = anchors(pa.array([text], pa.large_string()), size)
    assert 2.5 < len(found.key) * size / len(text) < 4
    # the exchange routes by the first bits
    assert np.histogram(found.key / 2**64, bins=4, range=(0, 1))[0].min() > len(found.key) / 5


def thue_morse(length: int) -> str:
    """The first letters of the word that reads the same after each letter is made a pair: ab for a, ba for b."""
    word = "a"
    while len(word) < length:
        word += word.translate(str.maketrans("ab", "ba"))
    return word[:length]


def de_bruijn(order: int) -> str:
    """A word of two letters that holds each run of `order` of them once, if it is read in a circle."""
    seen, word = {"a" * order}, "a" * order
    while len(seen) < 2**order:
        word += "b" if (word[len(word) - order + 1 :] + "b") not in seen else "a"
        seen.add(word[-order:])
    return word


def hostile_texts(size: int) -> dict[str, list[str]]:
    """Texts that repeat themselves, or each other, in ways that make naive comparisons long."""
    dice = random.Random(size)
    length = 12 * size
    spine = "".join(dice.choices("abcdefgh", k=2 * size))
    forks = [spine[:at] + "X" + spine[at + 1 :] for at in range(0, 2 * size, max(1, size // 8))]
    halves = thue_morse(size // 2), thue_morse(size // 2).translate(str.maketrans("ab", "ba"))
    return {
        **{f"period {n}": [("".join(dice.choices("abcdefgh", k=n)) * (length // n))] for n in (2, 3, 50)},
        "period of a passage": ["".join(dice.choices("abcdefgh", k=size)) * 12],
        "one character": ["a" * length, "a" * length],
        "runs that end": [f"{'a' * (2 * size + n)}b{'a' * size}c" for n in range(6)] * 2,
        "one line": ["The same line, again and again.\n" * (length // 30)],
        "short lines": ["ok\n" * (length // 3), "ok\nno\n" * (length // 6)],
        "forks of one text, twice": [spine, *forks, spine, *forks],
        "Thue-Morse": [thue_morse(length)],
        "words of one hash": ["".join(dice.choices(halves, k=24))],
        "de Bruijn": [de_bruijn(14)[:length], de_bruijn(14)[: length // 2]],
        "random": ["".join(dice.choices("abcdefgh", k=length))] * 2,
    }


@pytest.mark.parametrize("name", sorted(hostile_texts(16)))
def test_no_text_makes_comparisons_look_at_a_byte_more_than_three_times(name: str) -> None:
    for size in (16, 200, 4096, 1 << 16):
        texts = hostile_texts(size)[name]
        found = deduped(texts, size)
        assert found.sent < 9 * sum(map(len, texts))
        assert found.work <= 3 * found.sent
        if size <= 200:
            expected = plain_repeats([text.encode() for text in texts], size)
            assert found.left == [whole_characters(text, gone) for text, gone in zip(texts, expected, strict=True)]


@pytest.mark.parametrize("name", sorted(hostile_texts(16)))
def test_nor_where_memory_is_short_and_most_is_left_over(name: str) -> None:
    texts = hostile_texts(200)[name]
    found = deduped(texts, 200, passages=300, store_bytes=1_000)
    assert found.work <= 3 * found.sent
    assert found.left == dedup(texts, 200)
