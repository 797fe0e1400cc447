"""The rule on bad words in a run, with word lists of the user's own: words of each page's language, on any view."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import curate
from curate import assets
from curate.errors import AssetError, RecipeError
from curate.pipelines.check_files import checked_units
from curate.pipelines.units import views_of

RECIPE = """
name = "clean-words"
steps = ["c4_lines", "c4_bad_words"]
sources = [{ name = "pages", input = "pages.jsonl" }]
assets = { "bad-words" = "words.json" }
"""
ENGLISH = "The weather in the north of the country is very nice today. We went to the river and saw {} on its bank."
GERMAN = "Das Wetter im Norden des Landes ist heute sehr schön. Wir waren am Fluss und sahen {} an seinem Ufer."
PAGES = {
    "en, listed": ENGLISH.format("Frobs"),
    "en, harmless": ENGLISH.format("birds"),
    "en, listed in a line that is cut": ENGLISH.format("birds") + "\nfrobs - menu",
    "en, a word of the German list": ENGLISH.format("Quuxe"),
    "de, listed": GERMAN.format("Quuxe"),
    "fr, no list": "Le temps dans le nord du pays est très beau aujourd'hui. Nous avons vu frobs au bord du fleuve.",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A recipe, its pages and its lists."""
    try:
        assets.path("lid.176")
    except AssetError as error:
        pytest.skip(str(error))
    (tmp_path / "pages.jsonl").write_text("".join(json.dumps({"id": i, "text": t}) + "\n" for i, t in PAGES.items()))
    (tmp_path / "words.json").write_text('{"en": ["frobs"], "de": ["quuxe"]}')
    (tmp_path / "recipe.toml").write_text(RECIPE)
    return tmp_path


def kept_texts(folder: Path, recipe: curate.Recipe) -> set[str]:
    run = folder / "run"
    curate.run(recipe, str(run), curate.Options(executor="inline"))
    return {sample.text for sample in curate.read_samples(str(run), kept=True, number=99)}


def test_pages_with_a_word_of_their_own_language_go(folder: Path) -> None:
    kept = kept_texts(folder, curate.load_recipe(str(folder / "recipe.toml")))
    gone = {name for name, text in PAGES.items() if text.partition("\n")[0] not in kept}
    assert gone == {"en, listed", "de, listed"}
    (dropped,) = {sample.reason for sample in curate.read_samples(str(folder / "run"), "c4_bad_words")}
    assert dropped == "c4_bad_words.listed"


def test_the_language_is_that_of_the_extracted_text_and_measured_once(folder: Path) -> None:
    recipe = curate.load_recipe(str(folder / "recipe.toml"))
    assert {view.name: view.measures for view in views_of(recipe)} == {
        "extracted": ("language", "text"),
        "c4_lines": ("bad_words",),
    }
    kept_texts(folder, recipe)
    (signals,) = (folder / "run" / "signals").glob("*.parquet")
    table = pq.read_table(signals)
    counts = dict(zip(table["language.code"].to_pylist(), table["bad_words.count@c4_lines"].to_pylist(), strict=True))
    assert counts["fr"] is None
    assert counts["de"] == 1
    assert "language.code@c4_lines" not in table.column_names


def test_on_the_extracted_text_it_comes_after_the_language(folder: Path) -> None:
    recipe = curate.load_recipe(str(folder / "recipe.toml"), ['steps=["c4_bad_words"]'])
    assert [view.measures for view in views_of(recipe)] == [("language", "text", "bad_words")]
    kept = kept_texts(folder, recipe)
    assert {name for name, text in PAGES.items() if text not in kept} == {
        "en, listed",
        "en, listed in a line that is cut",
        "de, listed",
    }


def test_other_recipes_do_not_need_the_lists(folder: Path) -> None:
    recipe = curate.load_recipe(str(folder / "recipe.toml"), ['steps=["c4_lines", "c4"]'])
    assert all("bad_words" not in view.measures for view in views_of(recipe))


def test_lists_of_another_form_are_a_mistake_of_the_recipe(folder: Path) -> None:
    (folder / "words.json").write_text("frobs\n")
    with pytest.raises(RecipeError) as caught:
        checked_units(curate.load_recipe(str(folder / "recipe.toml")))
    (mistake,) = caught.value.mistakes
    assert mistake.startswith(f"assets.bad-words: {folder}/words.json: not word lists; expected")
