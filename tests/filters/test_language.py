"""Language codes and scores are fastText's own, one row per text."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from curate.errors import AssetError
from curate.filters.language import known_languages, measure_language


def measure(lid_model: str, *texts: str | None) -> list[tuple[str | None, float | None]]:
    signals = measure_language(pa.array(texts, type=pa.large_string()), {"lid.176": lid_model})
    return list(zip(signals["language.code"].to_pylist(), signals["language.score"].to_pylist(), strict=True))


def test_common_languages_are_recognised(lid_model: str) -> None:
    found = measure(
        lid_model,
        "The quick brown fox jumps over the lazy dog.",
        "Der schnelle braune Fuchs springt über den faulen Hund.",
        "Быстрая коричневая лиса перепрыгивает ленивую собаку.",
        "我们今天去北京看长城。",
        "今日は天気がいいですね。",
    )
    assert [code for code, _ in found] == ["en", "de", "ru", "zh", "ja"]


def test_scores_are_float32_probabilities_and_never_above_one(lid_model: str) -> None:
    import fasttext

    text = "これは日本語の文章です。とても良い天気ですね。"
    [label], [probability] = fasttext.FastText._FastText(lid_model).predict(text)
    [(code, score)] = measure(lid_model, text)
    assert f"__label__{code}" == label
    assert score == min(float(probability), 1.0)


def test_newlines_count_as_spaces(lid_model: str) -> None:
    assert measure(lid_model, "one two\nthree\n") == measure(lid_model, "one two three ")


def test_hostile_texts_have_a_known_code_and_a_finite_score(lid_model: str) -> None:
    documents = [
        b"",
        b"\0\0",
        b"\n\n",
        b"\xff\xfe \x80",
        b"x" * 100_000,
        "\u2028\U0001f600".encode(),
        b"</s> __label__fr",
    ]
    text = pa.array(documents, type=pa.large_binary()).view(pa.large_string())
    signals = measure_language(text, {"lid.176": lid_model})
    assert set(signals["language.code"].to_pylist()) <= known_languages(lid_model)
    assert all(0 <= score <= 1 for score in signals["language.score"].to_pylist())


def test_neighbours_change_nothing_and_null_stays_null(lid_model: str) -> None:
    together = measure(lid_model, "Bonjour tout le monde", None, "Guten Morgen")
    assert together == [*measure(lid_model, "Bonjour tout le monde"), (None, None), *measure(lid_model, "Guten Morgen")]


def test_the_model_knows_176_languages(lid_model: str) -> None:
    languages = known_languages(lid_model)
    assert len(languages) == 176
    assert {"en", "de", "zh", "ceb"} <= languages
    assert "french" not in languages


def test_a_file_that_is_no_model_is_an_asset_error(tmp_path: Path) -> None:
    path = tmp_path / "lid.176.ftz"
    path.write_bytes(b"no model")
    with pytest.raises(AssetError, match="fetch the asset"):
        measure_language(pa.array(["a"], type=pa.large_string()), {"lid.176": str(path)})
