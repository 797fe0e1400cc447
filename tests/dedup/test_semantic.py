"""Semantic dedup inside a cluster against its plain definitions, and the fixed-point vectors and k-means below it."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.dedup import skipgram
from curate.dedup.fixed_point import ONE, SCALE, least_product, nearest, nearest_earlier, to_cosine, to_fixed
from curate.dedup.kmeans import find_centroids
from curate.dedup.semantic import IDENTICAL, SemanticSettings, find_similar
from curate.errors import InputError

EPSILONS = (0.0, 0.01, 0.1, 0.5)


def cluster(seed: int, rows: int, dim: int, spread: float) -> Any:
    """Return fixed-point vectors around a few directions, some of them equal."""
    dice = np.random.default_rng(seed)
    centers = dice.normal(size=(3, dim))
    points = centers[dice.integers(0, 3, rows)] + spread * dice.normal(size=(rows, dim))
    if rows > 3:
        points[rows // 2] = points[0]
        points[-1] = points[1]
    return to_fixed(points)[0]


def plain_semdedup(vectors: Any, epsilon: float) -> list[int]:
    """Return for each row the row kept in its place, -1 if it stays: the definition, pair by pair."""
    wide = vectors.astype(np.int64)
    kept: list[int] = []
    for row in range(len(wide)):
        products = [int(wide[row] @ wide[other]) for other in range(row)]
        same = [other for other in range(row) if (wide[row] == wide[other]).all()]
        best = max(range(row), key=lambda other: (products[other], -other)) if row else -1
        found = same[0] if same else best if row and products[best] > least_product(1 - epsilon) else -1
        kept.append(kept[found] if found >= 0 and kept[found] >= 0 else found)
    return kept


def plain_llama3(vectors: Any, epsilon: float) -> list[int]:
    """The same for the greedy rule: only kept rows count."""
    wide = vectors.astype(np.int64)
    kept: list[int] = []
    for row in range(len(wide)):
        staying = [other for other in range(row) if kept[other] < 0]
        same = [other for other in range(row) if (wide[row] == wide[other]).all()]
        if same:
            kept.append(kept[same[0]] if kept[same[0]] >= 0 else same[0])
            continue
        best = max(staying, key=lambda other: (int(wide[row] @ wide[other]), -other), default=-1)
        above = best >= 0 and int(wide[row] @ wide[best]) > least_product(1 - epsilon)
        kept.append(best if above else -1)
    return kept


@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(1, 40), st.integers(2, 9), st.sampled_from([0.01, 0.1, 0.4, 2.0]))
def test_both_schemes_are_their_definitions(seed: int, rows: int, dim: int, spread: float) -> None:
    vectors = cluster(seed, rows, dim, spread)
    for epsilon, found in zip(EPSILONS, find_similar(vectors, "semdedup", EPSILONS, 1000), strict=True):
        assert found.match.tolist() == plain_semdedup(vectors, epsilon)
    for epsilon, found in zip(EPSILONS, find_similar(vectors, "llama3", EPSILONS, 1000), strict=True):
        assert found.match.tolist() == plain_llama3(vectors, epsilon)


@pytest.mark.parametrize("scheme", ["semdedup", "llama3"])
def test_more_goes_at_a_larger_epsilon_and_every_match_is_kept(scheme: Any) -> None:
    vectors = cluster(7, 300, 16, 0.15)
    gone = []
    for found in find_similar(vectors, scheme, EPSILONS, 1000):
        going = found.match >= 0
        assert (found.match[found.match[going]] == -1).all()
        assert (found.match[going] < np.flatnonzero(going)).all()
        gone.append(int(going.sum()))
    assert gone == sorted(gone)
    assert gone[0] >= 2
    assert gone[-1] > 250


@pytest.mark.parametrize("scheme", ["semdedup", "llama3"])
def test_a_cluster_that_is_too_large_is_split_and_equal_vectors_still_meet(scheme: Any) -> None:
    vectors = np.concatenate([cluster(3, 500, 12, 0.3)] * 4)
    (whole,) = find_similar(vectors, scheme, [0.02], 10_000)
    (split,) = find_similar(vectors, scheme, [0.02], 40)
    assert (split.match[500:] >= 0).all()
    assert (split.best[500:] == IDENTICAL).all()
    # splitting can only miss pairs
    assert 0 < (split.match >= 0).sum() <= (whole.match >= 0).sum()
    one = np.repeat(vectors[:1], 100_000, axis=0)
    (same,) = find_similar(one, scheme, [0.02], 10)
    assert same.match[0] == -1
    assert (same.match[1:] == 0).all()


def test_vectors_that_no_split_divides_end_in_pieces() -> None:
    vectors = np.zeros((50, 4), dtype=np.int16)
    vectors[:, 0] = SCALE
    vectors[:, 1] = np.arange(50)
    (found,) = find_similar(vectors, "semdedup", [0.1], 5)
    assert 0 < (found.match >= 0).sum() < 50


@settings(deadline=None)
@given(st.integers(0, 100), st.integers(1, 12))
def test_fixed_point_products_are_cosines(seed: int, dim: int) -> None:
    points = np.random.default_rng(seed).normal(size=(20, dim)) * 10.0 ** np.random.default_rng(seed).integers(-9, 9)
    vectors, valid = to_fixed(points)
    assert valid.all()
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    products = vectors.astype(np.int64) @ vectors.T.astype(np.int64)
    assert np.abs(to_cosine(products) - np.minimum(unit @ unit.T, 1)).max() < 2e-4
    assert np.abs(np.diag(products) - ONE).max() < ONE * 2e-4
    number, best = nearest(vectors, vectors)
    assert (best == products.max(axis=1)).all()
    assert (number == products.argmax(axis=1)).all()


def test_zero_and_endless_vectors_are_no_vectors() -> None:
    vectors, valid = to_fixed(np.array([[0.0, 0.0], [np.nan, 1.0], [np.inf, 1.0], [1e-200, 0.0], [3.0, 4.0]]))
    assert valid.tolist() == [False, False, False, False, True]
    assert vectors.tolist() == [[0, 0], [0, 0], [0, 0], [0, 0], [round(0.6 * SCALE), round(0.8 * SCALE)]]


def test_the_first_vector_has_no_earlier_one() -> None:
    match, best = nearest_earlier(cluster(1, 3, 4, 1.0))
    assert match[0] == -1
    assert best[0] == np.iinfo(np.int32).min


def test_kmeans_finds_separate_groups_whatever_their_number() -> None:
    dice = np.random.default_rng(0)
    centers = np.eye(6)[:4]
    points = to_fixed(np.repeat(centers, 50, axis=0) + 0.05 * dice.normal(size=(200, 6)))[0]
    number, _ = nearest(points, find_centroids(points, 4, 20))
    groups = number.reshape(4, 50)
    assert (groups == groups[:, :1]).all()
    assert len(np.unique(groups)) == 4
    assert len(find_centroids(points[:3], 10, 5)) == 3
    assert len(find_centroids(points[:1], 1, 5)) == 1
    assert len(find_centroids(np.repeat(points[:1], 9, axis=0), 4, 5)) == 1
    with pytest.raises(ValueError, match="no vectors"):
        find_centroids(points[:0], 4, 5)


def test_settings_say_what_does_not_fit() -> None:
    assert SemanticSettings().epsilon == 0.05
    for wrong in ({"model": "folder"}, {"embedder": "onnx"}, {"quality": "words.count"}, {"epsilon": 1.0}, {"dim": 2}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            SemanticSettings(**wrong)


TEXTS = [
    f"The {animal} {verb} near the {place} when the {weather} comes."
    for animal in ("fox", "heron", "otter", "badger")
    for verb in ("sleeps", "hunts", "waits", "drinks")
    for place in ("river", "forest", "old mill", "harbour")
    for weather in ("rain", "snow", "warm wind", "fog")
]


def test_word_vectors_are_the_same_every_time_and_survive_their_file(tmp_path: pathlib.Path) -> None:
    models = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        models.append(skipgram.train([*TEXTS, "狐は川の近くで眠る。狐は川で休む。"], 16, 2, str(folder)))
    path = str(tmp_path / "words.arrow")
    skipgram.write(path, models[0])
    models.append(skipgram.read(path))
    for model in models[1:]:
        for one, other in zip(models[0], model, strict=True):
            assert one.dtype == other.dtype
            assert np.array_equal(one, other)
    assert models[0].words.tolist() == sorted(set(models[0].words.tolist()))
    vectors, known = skipgram.mean_vectors(pa.array([TEXTS[0], "zyx", "", None, "狐"], pa.large_string()), models[0])
    assert known.tolist() == [True, False, False, False, True]
    assert not vectors[1:4].any()
    assert np.isfinite(vectors).all()


def test_word_vectors_bring_what_documents_differ_in_to_equal_variance(tmp_path: pathlib.Path) -> None:
    dice = np.random.default_rng(4)
    words = ["".join(dice.choice(list("aeioklmnrst"), 6)) for _ in range(300)]
    texts = [" ".join(dice.choice(words, 30)) for _ in range(400)]
    model = skipgram.train(texts, 16, 1, str(tmp_path))
    assert model.projection.shape == (16, 13)
    vectors, _ = skipgram.mean_vectors(pa.array(texts, pa.large_string()), model)
    assert np.allclose(np.cov(vectors.T, bias=True), np.eye(13), atol=1e-6)


@pytest.mark.parametrize("count", [1, 2, 9, 30])
def test_a_few_documents_show_few_directions(tmp_path: pathlib.Path, count: int) -> None:
    model = skipgram.train([f"{text} {text}" for text in TEXTS[::8][:count]], 16, 1, str(tmp_path))
    # one for ten documents is left out
    assert model.projection.shape == (16, 16 - count // 10)
    assert np.isfinite(model.projection).all()
    # what is not shown keeps its proportions
    if count == 9:
        scales = np.linalg.norm(model.projection, axis=0)
        assert np.allclose(scales, scales[0])


@pytest.mark.parametrize("text", ["every word once", "of all words one comes twice: of", "same " * 5000])
def test_a_text_without_two_repeated_words_teaches_nothing(tmp_path: pathlib.Path, text: str) -> None:
    model = skipgram.train([text, ""], 16, 1, str(tmp_path))
    assert len(model.words) == 0
    path = str(tmp_path / "words.arrow")
    skipgram.write(path, model)
    vectors, known = skipgram.mean_vectors(pa.array(["every word"], pa.large_string()), skipgram.read(path))
    assert not known.any()
    assert vectors.shape == (1, 16)


@pytest.mark.parametrize(("rare", "written"), [(6, 12), (7, 6)])
def test_words_that_occur_once_stay_away_where_they_are_most(tmp_path: pathlib.Path, rare: int, written: int) -> None:
    skipgram.train([f"day and night {' '.join('abcdefg'[:rare])}", "and day night"], 16, 1, str(tmp_path))
    assert len((tmp_path / "words.txt").read_text().split()) == written


def test_a_trainer_that_fails_says_why(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "false")
    with pytest.raises(InputError, match=r"no word vectors.*code 1"):
        skipgram.train(["one two one two"], 16, 1, str(tmp_path))


def test_a_file_that_holds_no_word_vectors_is_refused(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "other.arrow")
    batch = pa.record_batch([pa.array([1])], names=["x"])
    with pa.ipc.new_file(path, batch.schema) as writer:
        writer.write_batch(batch)
    with pytest.raises(InputError, match=r"other\.arrow"):
        skipgram.read(path)
