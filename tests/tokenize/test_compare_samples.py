from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.tokenize.compare_intervals import interval, ratio, totals
from curate.tokenize.compare_samples import MAX_DOCUMENT_BYTES, Document, draw

DOCUMENTS = [Document(f"text number {number} " + "x" * (number % 7), "en", f"s{number % 2}") for number in range(60)]


@settings(deadline=None)
@given(order=st.permutations(range(60)), max_documents=st.integers(1, 70), max_bytes=st.integers(1, 1500))
def test_no_order_of_documents_changes_what_is_drawn(order: list[int], max_documents: int, max_bytes: int) -> None:
    options = {"seed": 3, "max_documents": max_documents, "max_bytes": max_bytes}
    drawn = draw([DOCUMENTS[number] for number in order], **options)
    assert drawn == draw(DOCUMENTS, **options)
    assert len(drawn.documents) <= max_documents
    size = sum(len(document.text) for document in drawn.documents)
    assert size <= max_bytes or len(drawn.documents) == 1


def test_a_draw_counts_everything_that_it_saw() -> None:
    drawn = draw([*DOCUMENTS, Document("", "en", "s0")], seed=0, max_documents=5)
    assert len(drawn.documents) == 5
    assert drawn.seen_documents == 60
    assert drawn.seen_bytes == sum(len(document.text) for document in DOCUMENTS)


def test_a_smaller_draw_is_the_beginning_of_a_larger_one() -> None:
    larger = draw(DOCUMENTS, seed=1, max_documents=20).documents
    assert draw(DOCUMENTS, seed=1, max_documents=7).documents == larger[:7]
    assert draw(DOCUMENTS, seed=2, max_documents=20).documents != larger


def test_a_long_document_is_cut_between_two_characters() -> None:
    text = "a" + "é" * MAX_DOCUMENT_BYTES
    drawn = draw([Document(text, "fr", "s")], seed=0, max_documents=1)
    (document,) = drawn.documents
    assert (drawn.cut, drawn.seen_bytes) == (1, len(text.encode()))
    assert text.startswith(document.text)
    assert len(document.text.encode()) == MAX_DOCUMENT_BYTES - 1


# Intervals


def test_the_first_row_are_the_plain_sums_and_the_others_resamples() -> None:
    counts = np.array([[1, 10], [2, 20], [4, 40]])
    sums = totals(counts, resamples=200, seed=0)
    assert sums.shape == (201, 2)
    assert sums[0].tolist() == [7, 70]
    # of each resample, the columns belong to the same three documents
    assert (sums[:, 1] == 10 * sums[:, 0]).all()
    assert set(sums[1:, 0].tolist()) <= {a + b + c for a in (1, 2, 4) for b in (1, 2, 4) for c in (1, 2, 4)}
    assert sums[1:, 0].mean() == pytest.approx(7, rel=0.1)


def test_resamples_follow_the_seed_alone() -> None:
    counts = np.array([[number] for number in range(50)])
    assert (totals(counts, resamples=9, seed=4) == totals(counts, resamples=9, seed=4)).all()
    assert (totals(counts, resamples=9, seed=4) != totals(counts, resamples=9, seed=5)).any()


def test_resamples_are_drawn_in_blocks_as_if_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = np.array([[number * number] for number in range(30)])
    whole = totals(counts, resamples=40, seed=1)
    monkeypatch.setattr("curate.tokenize.compare_intervals._AT_A_TIME", 100)
    assert (totals(counts, resamples=40, seed=1) == whole).all()


def test_an_interval_covers_the_mean_about_as_often_as_it_says() -> None:
    source = random.Random(7)
    covered = 0
    for seed in range(200):
        values = np.array([[source.randrange(100), 1] for _ in range(60)])
        sums = totals(values, resamples=200, seed=seed)
        found = interval(ratio(sums[:, 0], sums[:, 1]))
        assert found is not None
        covered += found["low"] <= 49.5 <= found["high"]
    # 95% of 200, give or take three standard deviations and the shortfall of percentile intervals
    assert 175 <= covered <= 200


def test_one_document_has_no_interval_and_nothing_over_nothing_no_value() -> None:
    sums = totals(np.array([[6, 2, 0]]), resamples=50, seed=0)
    assert interval(ratio(sums[:, 0], sums[:, 1])) == {"value": 3.0, "low": None, "high": None}
    assert interval(ratio(sums[:, 0], sums[:, 2])) is None


def test_resamples_without_a_value_are_left_out() -> None:
    sums = totals(np.array([[1, 1], [0, 0], [0, 0]]), resamples=50, seed=0)
    assert interval(ratio(sums[:, 0], sums[:, 1])) == {"value": 1.0, "low": 1.0, "high": 1.0}
