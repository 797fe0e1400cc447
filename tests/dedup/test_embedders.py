"""Sentence models give the vectors that they are said to give, text by text, whatever the batch."""

from __future__ import annotations

import pathlib

import numpy as np
import pyarrow as pa
import pytest
from little_models import DIM, WORDS, embedding, word_mean, write_onnx, write_sentence_model

from curate.dedup.embedders import BATCH_TEXTS, EMBEDDERS, MAX_TOKENS, checked, model_mistake, package_mistake
from curate.dedup.exact import ExactSettings
from curate.dedup.fixed_point import nearest, to_fixed
from curate.dedup.kmeans import find_centroids_faiss
from curate.dedup.semantic import SemanticSettings
from curate.errors import InputError

ONNX = EMBEDDERS["onnx"].function
SENTENCES = EMBEDDERS["sentence-transformers"].function


def column(*texts: str | None) -> pa.Array:
    return pa.array(texts, pa.large_string())


def many_texts() -> list[str]:
    """Return texts of different lengths, more than a batch."""
    return [
        " ".join(WORDS[2 + (number + at) % 10] for at in range(1 + number % 9)) for number in range(BATCH_TEXTS + 9)
    ]


def test_onnx_gives_the_mean_over_the_tokens_of_each_text(tmp_path: pathlib.Path) -> None:
    pytest.importorskip("onnxruntime")
    model = str(write_onnx(tmp_path / "model"))
    texts = many_texts()
    vectors, valid = ONNX(column(*texts), model, 1000)
    assert valid.all()
    assert np.allclose(vectors, [word_mean(text) for text in texts], atol=1e-6)
    one, _ = ONNX(column(texts[7]), model, 1000)
    assert np.allclose(one[0], vectors[7], atol=1e-6)


def test_an_onnx_model_that_pools_by_itself_is_taken_at_its_word(tmp_path: pathlib.Path) -> None:
    pytest.importorskip("onnxruntime")
    model = str(write_onnx(tmp_path / "model", pooled=True))
    vectors, _ = ONNX(column("the river", "the river runs dark"), model, 1000)
    assert np.allclose(vectors, [2 * word_mean("the river"), 4 * word_mean("the river runs dark")], atol=1e-5)


def test_texts_are_cut_by_characters_and_by_tokens(tmp_path: pathlib.Path) -> None:
    pytest.importorskip("onnxruntime")
    model = str(write_onnx(tmp_path / "model"))
    texts = column("the river runs dark", " ".join(["far"] * MAX_TOKENS + ["away"]))
    vectors, _ = ONNX(texts, model, len("the river"))
    assert np.allclose(vectors[0], word_mean("the river"), atol=1e-6)
    whole, _ = ONNX(texts, model, 100_000)
    assert np.allclose(whole[1], word_mean("far"), atol=1e-6)


def test_a_text_without_a_word_has_no_vector(tmp_path: pathlib.Path) -> None:
    pytest.importorskip("onnxruntime")
    model = str(write_onnx(tmp_path / "model"))
    vectors, valid = ONNX(column("the river", "", " \n\t", None, "zyx"), model, 1000)
    assert valid.tolist() == [True, False, False, False, True]
    assert np.allclose(vectors[4], embedding()[1])
    nothing, valid = ONNX(column(), model, 1000)
    assert len(nothing) == len(valid) == 0


@pytest.mark.slow
def test_sentence_transformers_gives_what_its_model_does(tmp_path: pathlib.Path) -> None:
    pytest.importorskip("sentence_transformers")
    model = str(write_sentence_model(tmp_path / "model"))
    texts = many_texts()
    vectors, valid = SENTENCES(column(*texts, "", "the river runs dark"), model, len("the river"))
    assert valid.tolist() == [True] * len(texts) + [False, True]
    assert vectors.shape == (len(texts) + 2, DIM)
    assert np.allclose(vectors[-1], word_mean("the river"), atol=1e-6)


def test_faiss_finds_separate_groups_and_the_same_every_time() -> None:
    pytest.importorskip("faiss")
    dice = np.random.default_rng(0)
    points = to_fixed(np.repeat(np.eye(6)[:4], 50, axis=0) + 0.05 * dice.normal(size=(200, 6)))[0]
    centroids = find_centroids_faiss(points, 4, 20, seed=1)
    assert np.array_equal(centroids, find_centroids_faiss(points, 4, 20, seed=1))
    groups = nearest(points, centroids)[0].reshape(4, 50)
    assert (groups == groups[:, :1]).all()
    assert len(np.unique(groups)) == 4
    assert len(find_centroids_faiss(points[:2], 9, 5, seed=1)) == 2


def test_what_a_step_lacks_is_told_with_what_to_install(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnx = SemanticSettings(embedder="onnx", model=str(tmp_path))
    sentences = SemanticSettings(embedder="sentence-transformers", model=str(tmp_path))
    faiss = SemanticSettings(kmeans="faiss")
    for settings in (SemanticSettings(), ExactSettings()):
        assert package_mistake(settings) == model_mistake(settings) == ""
    assert model_mistake(sentences) == ""
    assert model_mistake(onnx) == f"{tmp_path} has no model.onnx"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    told = {settings: package_mistake(settings) for settings in (onnx, sentences, faiss)}
    assert told == {
        onnx: "needs the package onnxruntime; pip install 'curate-llm[onnx]'",
        sentences: "needs the package sentence_transformers; pip install 'curate-llm[embed]'",
        faiss: "needs the package faiss; pip install 'curate-llm[faiss]'",
    }


def test_an_embedder_that_loses_a_row_stops_the_step() -> None:
    checked(np.zeros((3, 8)), 3)
    for wrong in (np.zeros((2, 8)), np.zeros(3)):
        with pytest.raises(InputError, match="for 3 texts"):
            checked(wrong, 3)
