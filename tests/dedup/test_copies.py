"""Counting keys over chunks and choosing copies equal their plain definitions."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.dedup.copies import FOUND, KEY_SORT, Frequencies, Lookup, chosen, count_keys, covered, group_keys
from curate.dedup.units import Units

# (key, rank, name, part, count): few values, so that everything ties
rows = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 1), st.integers(0, 3), st.integers(0, 2), st.integers(1, 3)),
    max_size=40,
)


def columns_of(chunk: list[tuple[int, ...]]) -> dict[str, np.ndarray]:
    """KEY_SORT columns; both words of a key and an id tell them apart."""
    table = np.array(
        [(key % 2, key // 2, rank, name % 2, name // 2, part, count) for key, rank, name, part, count in chunk]
    )
    return {name: table.reshape(-1, 7)[:, place].astype(np.uint64) for place, name in enumerate((*KEY_SORT, "count"))}


def in_order(row: tuple[int, ...]) -> tuple[int, ...]:
    key, rank, name, part, _ = row
    return (key % 2, key // 2, rank, name % 2, name // 2, part)


@settings(max_examples=300, deadline=None)
@given(rows, st.lists(st.integers(0, 40), max_size=5), st.integers(1, 6))
def test_frequent_keys_are_found_whatever_the_chunks(rows: list, cuts: list[int], max_count: int) -> None:
    ordered = sorted(rows, key=in_order)
    edges = [0, *sorted(cuts), len(ordered)]
    chunks = [columns_of(ordered[start:end]) for start, end in itertools.pairwise(edges)]
    frequencies = Frequencies(max_count, size=1)
    found = [
        tuple(row) for chunk in frequencies.take(chunks) for row in np.column_stack([chunk[n] for n in FOUND]).tolist()
    ]
    total: Counter[int] = Counter()
    for key, _, _, _, count in ordered:
        total[key] += count
    best = {}
    for key, _, name, _, _ in ordered:
        best.setdefault(key, name)
    expected = [
        (part, key % 2, key // 2, best[key] % 2, best[key] // 2)
        for key, _, _, part, _ in ordered
        if total[key] > max_count
    ]
    assert sorted(found) == sorted(expected)
    # keys that share their first word are one text in several groups
    texts: dict[int, list[int]] = {}
    for key in sorted(total):
        if total[key] > max_count:
            texts.setdefault(key % 2, []).append(key)
    over = sorted((-sum(total[key] for key in keys), (first, keys[0] // 2)) for first, keys in texts.items())
    assert [(-entry.times, entry.key) for entry in frequencies.top] == over[:1]
    assert frequencies.texts == len(over)


batches = st.lists(st.lists(st.integers(0, 4), max_size=6), min_size=1, max_size=5)
occurrences = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=30)


@settings(max_examples=200, deadline=None)
@given(occurrences, st.booleans())
def test_keys_of_a_batch_are_counted_once(given: list[tuple[int, int]], by_document: bool) -> None:
    pairs = sorted(given, key=lambda pair: pair[1] * 7 % 4)  # those of one document follow each other
    key = np.array([(0, key) for key, _ in pairs], dtype=np.uint64).reshape(-1, 2)
    documents = np.array([(0, 1, document) for _, document in pairs], dtype=np.uint64).reshape(-1, 3)
    counted = count_keys(key, documents, by_document=by_document)
    expected = Counter(key for key, _ in (set(pairs) if by_document else pairs))
    assert dict(zip(counted.key[:, 1].tolist(), counted.counts.tolist(), strict=True)) == expected
    for (_, name), best in zip(counted.key.tolist(), counted.best.tolist(), strict=True):
        assert pairs[best] == (name, min(document for key, document in pairs if key == name))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 4), max_size=6), min_size=1, max_size=5),
    st.dictionaries(st.integers(0, 4), st.integers(0, 4)),
)
def test_copies_are_chosen_as_said(documents: list[list[int]], frequent: dict[int, int]) -> None:
    flat = [(row, key) for row, keys in enumerate(documents) for key in keys]
    key = np.array([(7, key) for _, key in flat], dtype=np.uint64).reshape(-1, 2)
    ids = np.array([(0, row) for row, _ in flat], dtype=np.uint64).reshape(-1, 2)
    texts = np.array([row for row, _ in flat], dtype=np.int64)
    known = sorted(frequent.items())
    # a key may come from several batches of a part, and all keys share their first word
    lookup = Lookup(
        np.array([(7, key) for key, _ in known for _ in range(2)], dtype=np.uint64).reshape(-1, 2),
        np.array([(0, row) for _, row in known for _ in range(2)], dtype=np.uint64).reshape(-1, 2),
    )
    first = [flat.index(pair) == place for place, pair in enumerate(flat)]
    every = chosen(key, ids, texts, lookup, keep="none", once_a_document=False)
    once = chosen(key, ids, texts, lookup, keep="none", once_a_document=True)
    but_one = chosen(key, ids, texts, lookup, keep="first", once_a_document=False)
    assert every.tolist() == [key in frequent for _, key in flat]
    assert once.tolist() == [key in frequent or not new for (_, key), new in zip(flat, first, strict=True)]
    assert but_one.tolist() == [
        key in frequent and not (new and frequent[key] == row) for (row, key), new in zip(flat, first, strict=True)
    ]


def test_groups_keep_keys_apart_and_within_a_group_together() -> None:
    key = np.array([(1, 2), (1, 2), (1, 3), (1, 2)], dtype=np.uint64)
    moved = group_keys(key, np.array([0, 1, 0, 0], dtype=np.uint64)).tolist()
    assert moved[0] == moved[3]
    assert len({tuple(words) for words in moved}) == 3
    assert {first for first, _ in moved} == {1}  # what they are routed by


def test_a_run_covers_its_units_and_runs_may_overlap() -> None:
    units = Units(np.array([0, 6]), np.arange(6), np.arange(1, 7))
    assert covered(units, np.array([1, 2]), 3).tolist() == [False, True, True, True, True, False]
    assert not covered(units, np.array([], dtype=np.int64), 3).any()
